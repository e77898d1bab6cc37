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
    generate(model, &mut cache, prompt, count, &mut most_likely, &mut |token| tokens.push(token))?;
    Ok(tokens)
}

/// Hands to `hear` at most `count` tokens that follow those in `cache` and `new`, as they come. `choose`
/// takes one from the logits, `[vocab_size]`. An end-of-text token is the last.
///
/// The last token that is heard is not in the cache yet, because no token has followed it.
///
/// # Errors
/// If `new` is empty or has a token outside the vocabulary, or the cache is full.
pub fn generate(
    model: &Model,
    cache: &mut Cache,
    new: &[u32],
    count: usize,
    choose: &mut dyn FnMut(ArrayView1<f32>) -> u32,
    hear: &mut dyn FnMut(u32),
) -> Result<(), ModelError> {
    let mut new = new.to_vec();
    for _ in 0..count {
        // The whole prompt first (prefill), then one token a step (decode).
        let hidden = model.hidden(&new, cache, &mut |_, _| ())?;
        let token = choose(model.logits_of_last(&hidden)?.row(0));
        hear(token);
        if model.config().eos.contains(&token) {
            break;
        }
        new = vec![token];
    }
    Ok(())
}

/// The token with the largest of `logits`, `[vocab_size]`; of equals the first.
pub fn most_likely(logits: ArrayView1<f32>) -> u32 {
    let best = logits
        .into_iter()
        .enumerate()
        .fold((0, f32::NEG_INFINITY), |best, (i, x)| if *x > best.1 { (i, *x) } else { best });
    best.0 as u32
}

/// The token at `at`, from 0 to 1, of the distribution that `logits`, `[vocab_size]`, have at this
/// temperature: with a uniform `at`, a draw. At temperature 0 the most likely token.
pub fn drawn(logits: ArrayView1<f32>, temperature: f64, at: f64) -> u32 {
    let largest = logits.fold(f32::NEG_INFINITY, |largest, &x| largest.max(x));
    // Minus the largest, because `exp` of a logit alone may be infinite.
    let weight = |x: &f32| (f64::from(x - largest) / temperature).exp();
    if temperature == 0.0 {
        return most_likely(logits);
    }
    let mut left = at * logits.iter().map(weight).sum::<f64>();
    for (token, x) in logits.iter().enumerate() {
        left -= weight(x);
        if left < 0.0 {
            return token as u32;
        }
    }
    // Rounding may leave a rest.
    most_likely(logits)
}

#[cfg(test)]
mod tests {
    use ndarray::aview1;

    use super::*;

    #[test]
    fn a_draw_follows_the_probabilities_and_temperature_0_is_greedy() {
        // Probabilities 1/2, 1/4, 1/4.
        let logits = [2.0_f32.ln(), 0.0, 0.0];
        let drawn = |temperature, at| drawn(aview1(&logits), temperature, at);
        assert_eq!([0.0, 0.49, 0.51, 0.74, 0.76, 1.0].map(|at| drawn(1.0, at)), [0, 0, 1, 1, 2, 0]);
        // At temperature 1/2 they are squared: 2/3, 1/6, 1/6.
        assert_eq!([0.66, 0.67, 0.84].map(|at| drawn(0.5, at)), [0, 1, 2]);
        assert_eq!(drawn(0.0, 0.99), 0);
    }

    #[test]
    fn large_logits_are_drawn_from_too() {
        assert_eq!(drawn(aview1(&[1e4, -1e4]), 1e-3, 0.5), 0);
        assert_eq!(drawn(aview1(&[-1e4, 1e4]), 1e-3, 0.5), 1);
    }
}
