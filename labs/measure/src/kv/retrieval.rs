//! Whether a text is found again at a distance.
//!
//! A prompt is a text and then the text once more, from one of several places on. A model that finds the
//! place guesses the tokens that follow, which a model that cannot look back does not.

use anyhow::{Result, ensure};
use kit::workspace::fetched_model;
use model::{Cache, Model, Tokenizer, most_likely, passage};

use super::Retrieval;

/// Tokens of the text.
pub const CONTEXTS: [usize; 2] = [2048, 7936];
/// Places at which the text begins again.
const PLACES: usize = 16;
/// Tokens that are given from there.
const GIVEN: usize = 8;
/// Tokens that are then guessed.
const GUESSED: usize = 24;

/// Asks the model at each place.
///
/// # Errors
/// If the passage is too short, or the model fails.
pub fn run(model: &Model, format: &str, context: usize) -> Result<Retrieval> {
    let text = Tokenizer::load(fetched_model())?.encode(passage::ALICE)?;
    ensure!(text.len() > context, "the passage has {} tokens", text.len());
    let text = &text[..context];
    let mut cache = Cache::new(model.config(), context + GIVEN + GUESSED)?;
    model.hidden(text, &mut cache, &mut |_, _| ())?;
    // Each place starts from a copy, because a cut into codes would turn the cut block's tokens into floats.
    let read = cache;
    let mut right = 0;
    for place in 0..PLACES {
        // Never the last tokens, which a window leaves in 32 bits.
        let start = place * (context - 256) / PLACES;
        let again = &text[start..start + GIVEN + GUESSED];
        let mut cache = read.clone();
        for (at, pair) in again.windows(2).enumerate() {
            let hidden = model.hidden(&pair[..1], &mut cache, &mut |_, _| ())?;
            if at + 1 >= GIVEN {
                let guess = most_likely(model.logits_of_last(&hidden)?.row(0));
                right += usize::from(guess == pair[1]);
            }
        }
    }
    Ok(Retrieval { format: format.into(), context, right, asked: PLACES * GUESSED })
}
