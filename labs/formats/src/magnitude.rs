//! The largest magnitude of weights, from which scales follow.

/// The largest magnitude; 0 for none.
pub fn absmax<'a>(weights: impl IntoIterator<Item = &'a f32>) -> f32 {
    weights.into_iter().fold(0.0, |max: f32, weight| max.max(weight.abs()))
}

/// As [`absmax`], for weights that lie side by side.
pub fn absmax_of_slice(weights: &[f32]) -> f32 {
    in_lanes(weights, 0.0, |max, weight| greater(max, weight.abs()))
}

/// The weight of largest magnitude, with its sign and of equals the first; 0 for none.
pub fn furthest(weights: &[f32]) -> f32 {
    let absmax = absmax_of_slice(weights);
    // The sign of a zero is none.
    let is_it = |weight: &&f32| absmax > 0.0 && weight.abs() == absmax;
    weights.iter().find(is_it).copied().unwrap_or(0.0)
}

/// The smallest and the largest weight; infinities for none.
pub fn extremes(weights: &[f32]) -> (f32, f32) {
    (in_lanes(weights, f32::INFINITY, less), in_lanes(weights, f32::NEG_INFINITY, greater))
}

// What is not less or greater is passed over, NaN too. `f32::min` and `f32::max` take more instructions.
fn less(a: f32, b: f32) -> f32 {
    if b < a { b } else { a }
}

fn greater(a: f32, b: f32) -> f32 {
    if b > a { b } else { a }
}

/// Folds several weights at once, because a comparison of one variable waits for the comparison before.
fn in_lanes(weights: &[f32], start: f32, step: impl Fn(f32, f32) -> f32) -> f32 {
    const LANES: usize = 8;
    let (registers, rest) = weights.as_chunks::<LANES>();
    let mut lanes = [start; LANES];
    for register in registers {
        for (lane, weight) in lanes.iter_mut().zip(register) {
            *lane = step(*lane, *weight);
        }
    }
    lanes.iter().chain(rest).fold(start, |found, weight| step(found, *weight))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_equal_magnitudes_the_first_with_its_sign_is_the_furthest() {
        let mut weights = vec![0.25; 21];
        for (index, value) in [(19, 3.0), (11, -3.0), (4, 2.0), (20, f32::NAN)] {
            weights[index] = value;
        }
        assert_eq!(furthest(&weights), -3.0);
        assert_eq!(extremes(&weights), (-3.0, 3.0));
        assert_eq!(absmax(&weights), 3.0);
    }

    #[test]
    fn weights_of_zeros_or_none_have_no_sign() {
        for weights in [&[][..], &[-0.0, 0.0], &[-0.0; 16]] {
            assert_eq!(furthest(weights).to_bits(), 0);
        }
        assert_eq!(extremes(&[]), (f32::INFINITY, f32::NEG_INFINITY));
    }
}
