//! Whether a text is found again at a distance.
//!
//! A prompt is a text and then the text once more, from one of several places on. A model that finds the
//! place guesses the tokens that follow, which a model that cannot look back does not.

use anyhow::{Result, ensure};
use model::{Cache, Model, most_likely};

use super::Retrieval;

/// Tokens of the text that the model has read. With 0 it has read nothing but what is given, which is the
/// control.
pub const CONTEXTS: [usize; 3] = [0, CONTROL, 7936];
/// Tokens of the text in which the control begins.
const CONTROL: usize = 2048;
/// Places at which the text begins again.
const PLACES: usize = 16;
/// Tokens that are given from there.
const GIVEN: usize = 8;
/// Tokens that are then guessed.
const GUESSED: usize = 24;

/// Asks the model at each place of `text`, which is longer than `context` tokens.
///
/// # Errors
/// If the text is too short, or the model fails.
pub fn run(model: &Model, text: &[u32], format: &str, context: usize) -> Result<Retrieval> {
    ensure!(text.len() > context, "the passage has {} tokens", text.len());
    let mut cache = Cache::new(model.config(), context + GIVEN + GUESSED)?;
    if context > 0 {
        model.hidden(&text[..context], &mut cache, &mut |_, _| ())?;
    }
    // Never the last tokens, which a window leaves in 32 bits.
    let span = if context == 0 { CONTROL } else { context } - 256;
    let starts: Vec<usize> = (0..PLACES).map(|place| place * span / PLACES).collect();
    // Each place goes on with a copy of the cache, and all places together, so that a step reads the
    // weights once.
    let mut caches = vec![cache; PLACES];
    let mut right = 0;
    for at in 0..GIVEN + GUESSED - 1 {
        let tokens: Vec<u32> = starts.iter().map(|start| text[start + at]).collect();
        let logits = model.step(&tokens, &mut caches)?;
        if at + 1 >= GIVEN {
            let guesses = logits.rows().into_iter().map(most_likely);
            let next = starts.iter().map(|start| text[start + at + 1]);
            right += guesses.zip(next).filter(|(guess, next)| guess == next).count();
        }
    }
    Ok(Retrieval { format: format.into(), context, right, asked: PLACES * GUESSED })
}
