//! The largest magnitude of weights, from which scales follow.

/// The largest magnitude; 0 for none.
pub fn absmax<'a>(weights: impl IntoIterator<Item = &'a f32>) -> f32 {
    weights.into_iter().fold(0.0, |max: f32, weight| max.max(weight.abs()))
}

/// The numbers that are compared at once. A maximum in one variable waits for the comparison before.
const LANES: usize = 8;

/// The weight of largest magnitude, with its sign and of equals the first; 0 for none.
pub fn furthest(weights: &[f32]) -> f32 {
    let magnitude = -extremes_of(weights, |weight| -weight.abs()).0;
    let is_it = |weight: &&f32| weight.abs() == magnitude;
    // The sign of a zero is none.
    if magnitude > 0.0 { weights.iter().find(is_it).copied().unwrap_or(0.0) } else { 0.0 }
}

/// The smallest and the largest weight; infinities for none.
pub fn extremes(weights: &[f32]) -> (f32, f32) {
    extremes_of(weights, |weight| weight)
}

fn extremes_of(weights: &[f32], of: impl Fn(f32) -> f32) -> (f32, f32) {
    let ends = (f32::INFINITY, f32::NEG_INFINITY);
    // What is not greater stays, so NaN is passed over. This is one instruction, and `f32::max` is more.
    let less = |a: f32, b: f32| if b < a { b } else { a };
    let more = |a: f32, b: f32| if b > a { b } else { a };
    let (registers, rest) = weights.as_chunks::<LANES>();
    let (mut min, mut max) = ([ends.0; LANES], [ends.1; LANES]);
    for register in registers {
        for lane in 0..LANES {
            let value = of(register[lane]);
            (min[lane], max[lane]) = (less(min[lane], value), more(max[lane], value));
        }
    }
    let rest = || rest.iter().map(|&weight| of(weight));
    (
        min.into_iter().chain(rest()).fold(ends.0, less),
        max.into_iter().chain(rest()).fold(ends.1, more),
    )
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
