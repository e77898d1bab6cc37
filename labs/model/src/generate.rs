//! Text from the model.

use ndarray::ArrayView1;

use crate::{Cache, Model, ModelError};

/// `prompt` and the tokens that follow it, the most likely one each time: at most `count`, and none
/// after the model's end-of-text token.
///
/// # Errors
/// If there is no prompt, a token of it is not in the vocabulary, or it all does not fit the model.
pub fn greedy(model: &Model, prompt: &[u32], count: usize) -> Result<Vec<u32>, ModelError> {
    let mut cache = Cache::new(model.config(), prompt.len().saturating_add(count))?;
    let mut tokens = prompt.to_vec();
    let mut new = prompt.to_vec();
    for _ in 0..count {
        let hidden = model.hidden(&new, &mut cache, &mut |_, _| ())?;
        let token = most_likely(model.logits_of_last(&hidden)?.row(0));
        tokens.push(token);
        if model.config().eos.contains(&token) {
            break;
        }
        new = vec![token];
    }
    Ok(tokens)
}

/// The token with the largest of these logits, `[vocab_size]`; the first one among equals.
pub fn most_likely(logits: ArrayView1<f32>) -> u32 {
    let best = logits
        .into_iter()
        .enumerate()
        .fold((0, f32::NEG_INFINITY), |best, (i, x)| if *x > best.1 { (i, *x) } else { best });
    best.0 as u32
}
