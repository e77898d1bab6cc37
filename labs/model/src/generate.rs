//! Text from the model.

use ndarray::ArrayView1;

use crate::{Cache, Model, ModelError};

/// `prompt` and at most `count` tokens that follow, each the most likely token (greedy decoding). An
/// end-of-text token is the last.
///
/// # Errors
/// If the prompt is empty or has a token outside the vocabulary, or prompt and `count` exceed the
/// model's positions.
pub fn greedy(model: &Model, prompt: &[u32], count: usize) -> Result<Vec<u32>, ModelError> {
    let mut cache = Cache::new(model.config(), prompt.len().saturating_add(count))?;
    let mut tokens = prompt.to_vec();
    let mut new = prompt.to_vec();
    for _ in 0..count {
        // The whole prompt first (prefill), then one token a step (decode).
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

/// The token with the largest of `logits`, `[vocab_size]`; of equals the first.
pub fn most_likely(logits: ArrayView1<f32>) -> u32 {
    let best = logits
        .into_iter()
        .enumerate()
        .fold((0, f32::NEG_INFINITY), |best, (i, x)| if *x > best.1 { (i, *x) } else { best });
    best.0 as u32
}
