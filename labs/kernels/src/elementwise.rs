//! The elementwise operations between the products of a layer, a whole register at a time.

use crate::dispatch::{dispatched, multiply_add};

dispatched! {
    /// `up * silu(gate)`, element by element, into `up`; `silu(x) = x / (1 + exp(-x))`.
    pub fn gate_into(up: &mut [f32], gate: &[f32]) = gate_body
}

#[inline(always)]
fn gate_body<const FMA: bool>(up: &mut [f32], gate: &[f32]) {
    for (up, gate) in up.iter_mut().zip(gate) {
        *up *= gate / (1.0 + exp::<FMA>(-gate));
    }
}

/// The softmax of `scores`, in place: `exp(score - max)` divided by the sum of all `exp`.
pub fn softmax(scores: &mut [f32]) {
    let (_, sum) = exponentials(scores);
    scores.iter_mut().for_each(|score| *score /= sum);
}

dispatched! {
    /// `exp(score - max)` of `scores`, in place: the maximum, and the sum of all `exp`.
    pub fn exponentials(scores: &mut [f32]) -> (f32, f32) = exponentials_body
}

#[inline(always)]
fn exponentials_body<const FMA: bool>(scores: &mut [f32]) -> (f32, f32) {
    // Eight lanes side by side, because a compiler must not reorder the steps of one sum or maximum
    // and so cannot use a register for it.
    let mut lanes = [f32::NEG_INFINITY; 8];
    let (registers, rest) = scores.as_chunks::<8>();
    for register in registers {
        for lane in 0..8 {
            lanes[lane] = lanes[lane].max(register[lane]);
        }
    }
    let max = lanes.iter().chain(rest).fold(f32::NEG_INFINITY, |max, score| max.max(*score));
    // The maximum is subtracted, because `exp` of a large score would overflow.
    for score in scores.iter_mut() {
        *score = exp::<FMA>(*score - max);
    }
    let (registers, rest) = scores.as_chunks::<8>();
    let mut sums = [0.0; 8];
    for register in registers {
        for lane in 0..8 {
            sums[lane] += register[lane];
        }
    }
    (max, sums.iter().chain(rest).sum())
}

/// [`exp`] clamps its argument to these bounds, within which its result is a normal `f32`.
const SMALLEST: f32 = -87.0;
const LARGEST: f32 = 88.0;
/// `ln 2` in two parts. The first has so few bits that its product with `n` is exact.
const LN_2_HIGH: f32 = 0.693_359_4;
const LN_2_LOW: f32 = -2.121_944_4e-4;

/// `exp(x)` with a relative error of a few units in the last place, `x` clamped to -87..=88. NaN gives
/// NaN.
///
/// `exp(x) = 2^n exp(r)` with `n = round(x / ln 2)`, so that `r` lies within `ln 2 / 2` of 0, and the
/// Taylor polynomial of degree 7 leaves out less than `r^8 / 8!`, 6e-9. These steps vectorize, and
/// `f32::exp` is a call for each number.
#[inline(always)]
fn exp<const FMA: bool>(x: f32) -> f32 {
    // 1.5 * 2^23: an `f32` of this size has no fraction, so that the addition rounds.
    const ROUND: f32 = 12_582_912.0;
    let x = x.clamp(SMALLEST, LARGEST);
    let shifted = multiply_add::<FMA>(x, std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = multiply_add::<FMA>(-n, LN_2_LOW, multiply_add::<FMA>(-n, LN_2_HIGH, x));
    let mut sum = 1.0 / 5040.0;
    for coefficient in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        sum = multiply_add::<FMA>(sum, r, coefficient);
    }
    // The lowest bits of `shifted` are n; plus the bias they are the exponent of 2^n.
    let power = shifted.to_bits().wrapping_add(127) << 23;
    sum * f32::from_bits(power)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The error of `exp(r)` has four parts: the rounding of `r`, up to three times half a unit of
    /// 0.35; the rounding of the last step of the polynomial, once for the product and once for the
    /// sum, and less than as much again for all steps before; the terms that the polynomial leaves
    /// out; the error of the two parts of `ln 2`, times 128.
    fn bound() -> f64 {
        let unit = f64::from(f32::EPSILON) / 2.0;
        let lacks = std::f64::consts::LN_2 - f64::from(LN_2_HIGH) - f64::from(LN_2_LOW);
        (3.0 * 0.5 + 2.0 * 2.0) * unit + 6e-9 + 128.0 * lacks.abs()
    }

    #[test]
    fn exp_is_that_of_f64_within_a_few_units_everywhere() {
        let mut worst = 0.0_f64;
        for step in -87_000..=88_000 {
            let x = step as f32 / 1000.0;
            for found in [exp::<false>(x), exp::<true>(x)] {
                worst = worst.max((f64::from(found) / f64::from(x).exp() - 1.0).abs());
            }
        }
        println!("worst {worst:.2e}, bound {:.2e}", bound());
        assert!(worst <= bound(), "{worst:e}, bound {:e}", bound());
    }

    #[test]
    fn exp_of_what_has_none_is_the_nearest_or_nan() {
        assert!(exp::<false>(f32::NAN).is_nan());
        assert_eq!(exp::<false>(-1e30), exp::<false>(SMALLEST));
        assert_eq!(exp::<false>(f32::INFINITY), exp::<false>(LARGEST));
        assert_eq!((exp::<false>(0.0), exp::<true>(-0.0)), (1.0, 1.0));
    }

    #[test]
    fn a_softmax_sums_to_one_and_is_the_same_for_shifted_scores() {
        for count in [1, 7, 8, 45] {
            let mut scores: Vec<f32> = (0..count).map(|i| (i * 13 % 17) as f32 / 2.0).collect();
            let mut shifted: Vec<f32> = scores.iter().map(|score| score + 512.0).collect();
            softmax(&mut scores);
            softmax(&mut shifted);
            assert_eq!(scores, shifted, "whole shifts are exact in these numbers");
            // Each term is rounded once, and so is each of the sums that it passes through.
            let unit = f64::from(f32::EPSILON) / 2.0;
            let sum: f64 = scores.iter().copied().map(f64::from).sum();
            assert!((sum - 1.0).abs() <= (count + 1) as f64 * unit, "{sum}");
        }
    }
}
