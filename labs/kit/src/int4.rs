//! A matrix of int4 codes in groups, the orders of nibbles, and the errors of both.

use half::f16;
use ndarray::Array2;

/// The largest code of the grid: int4 without -8, so that the grid is symmetric around 0.
pub const QMAX: f32 = 7.0;

/// The order of eight neighbours in a 32-bit word: nibble `i`, the bits `4i` to `4i + 3`, holds
/// neighbour `order[i]`.
pub type NibbleOrder = [usize; 8];

/// Neighbour `i` in nibble `i`: GPTQ and compressed-tensors.
pub const LINEAR_ORDER: NibbleOrder = [0, 1, 2, 3, 4, 5, 6, 7];

/// AutoAWQ's order, version "gemm": even neighbours in the low half, odd ones in the high half.
///
/// A kernel that masks a word with `0x000F000F` gets two codes at a time, 16 bits apart; this order
/// makes them neighbours. Source: `awq/modules/linear/gemm.py` of autoawq 0.2.9.
pub const AWQ_ORDER: NibbleOrder = [0, 2, 4, 6, 1, 3, 5, 7];

/// A matrix of int4 codes in groups along `in_features`, and the `f16` scale of each group.
#[derive(Clone, Debug, PartialEq)]
pub struct Int4Groups {
    q: Array2<i8>,
    scales: Array2<f16>,
}

impl Int4Groups {
    /// Puts codes `q`, `[out_features, in_features]`, and their `scales`,
    /// `[out_features, in_features / group_size]`, together. One column of scales is per channel.
    ///
    /// # Errors
    /// [`Int4Error::ScalesDoNotFit`] if the scales do not cut every row into equal groups,
    /// [`Int4Error::CodeOutOfRange`] if a code does not fit four bits (-8..=7).
    pub fn new(q: Array2<i8>, scales: Array2<f16>) -> Result<Self, Int4Error> {
        let groups = scales.ncols();
        let fits = groups > 0 && q.ncols() > 0 && q.ncols().is_multiple_of(groups);
        if !fits || scales.nrows() != q.nrows() {
            return Err(Int4Error::ScalesDoNotFit {
                scales: [scales.nrows(), groups],
                codes: [q.nrows(), q.ncols()],
            });
        }
        match q.iter().position(|code| !(-8..=7).contains(code)) {
            Some(index) => Err(Int4Error::CodeOutOfRange {
                index,
                code: q[(index / q.ncols(), index % q.ncols())].into(),
                range: "-8..=7",
            }),
            None => Ok(Self { q, scales }),
        }
    }

    /// The codes, `[out_features, in_features]`.
    pub fn q(&self) -> &Array2<i8> {
        &self.q
    }

    /// The scales, `[out_features, in_features / group_size]`.
    pub fn scales(&self) -> &Array2<f16> {
        &self.scales
    }

    /// Weights of a row that share a scale.
    pub fn group_size(&self) -> usize {
        self.q.ncols() / self.scales.ncols()
    }
}

/// The group sizes that cut rows of `in_features` into equal groups of whole 32-bit words: the
/// divisors of `in_features` that are multiples of 8, from small to large.
pub fn sizes_that_divide(in_features: usize) -> Vec<usize> {
    (8..=in_features).step_by(8).filter(|size| in_features.is_multiple_of(*size)).collect()
}

/// The maxima that a search for the scale of a group tries, from `absmax`, the largest magnitude of the
/// group, down to 0.81 of it in steps of a hundredth.
///
/// llm-compressor's `mse` observer tries the same (`grid` 100, `maxshrink` 0.20;
/// `src/llmcompressor/observers/mse.py` at commit 09fd17a).
pub fn shrunk_maxima(absmax: f32) -> impl Iterator<Item = f32> {
    (0..20u8).map(move |i| absmax * (1.0 - f32::from(i) / 100.0))
}

/// The errors of int4 codes and of their storage.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Int4Error {
    /// A value is NaN or infinite: its group would get a NaN or infinite scale.
    #[error(
        "row {row} holds {value} at column {column}: only finite values have a place on a grid"
    )]
    NotFinite {
        /// The row of the value.
        row: usize,
        /// Its column.
        column: usize,
        /// The value, NaN or infinite.
        value: f32,
    },
    /// The rows do not divide into groups.
    #[error(
        "group_size {group_size} does not divide in_features {in_features}; {}",
        works(*in_features)
    )]
    GroupDoesNotDivide {
        /// Weights in a row.
        in_features: usize,
        /// Weights in a group, as asked for.
        group_size: usize,
    },
    /// A scale is too large for `f16`.
    #[error(
        "group {group} of row {row} reaches {absmax}: its scale, a seventh of that, is beyond the \
         largest f16, 65504. Divide the row by a constant, or leave this tensor in 16 bits"
    )]
    ScaleOverflow {
        /// The row of the group.
        row: usize,
        /// The group inside the row.
        group: usize,
        /// The largest magnitude in it.
        absmax: f32,
    },
    /// The scales do not cut the rows of codes into equal groups.
    #[error(
        "scales of shape {scales:?} do not fit codes of shape {codes:?}: they need a row for each \
         of the {} rows, and a number of columns that divides {}", codes[0], codes[1]
    )]
    ScalesDoNotFit {
        /// Shape of the scales.
        scales: [usize; 2],
        /// Shape of the codes.
        codes: [usize; 2],
    },
    /// A code that four bits cannot hold.
    #[error("code {index} is {code}: four bits hold {range}")]
    CodeOutOfRange {
        /// Its index.
        index: usize,
        /// The code.
        code: i32,
        /// The codes that fit, in any words.
        range: &'static str,
    },
    /// An odd number of codes: the last byte would be half empty.
    #[error("{0} codes do not fill whole bytes: a byte holds two; pad each row to an even length")]
    HalfAByte(usize),
    /// A zero point of 0 in the format that stores it minus one.
    #[error(
        "zero point {index} is 0: GPTQ v1 stores it minus one, and -1 does not fit a nibble. Use \
         checkpoint_format gptq_v2, or a zero point from 1 up"
    )]
    ZeroMinusOne {
        /// Which of the eight.
        index: usize,
    },
    /// The input and the weight disagree about `in_features`.
    #[error("x has {x} features a row and the weight has {w}: both must be in_features")]
    FeaturesDiffer {
        /// Columns of `x`.
        x: usize,
        /// Columns of the weight.
        w: usize,
    },
}

/// The group sizes that divide a row, in words.
fn works(in_features: usize) -> String {
    let sizes: Vec<String> = sizes_that_divide(in_features).iter().map(usize::to_string).collect();
    if sizes.is_empty() {
        return format!(
            "{in_features} has no divisor that is a multiple of 8, so no packed layout will take \
             this tensor: leave it in 16 bits"
        );
    }
    format!("these multiples of 8 do: {}", sizes.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_real_models_problem_is_named_with_the_sizes_that_work() {
        let error = Int4Error::GroupDoesNotDivide { in_features: 576, group_size: 128 };
        let text = error.to_string();
        assert!(text.contains("576") && text.contains("128"), "{text}");
        assert!(text.contains("8, 16, 24, 32, 48, 64, 72, 96, 144, 192, 288, 576"), "{text}");
        let odd = Int4Error::GroupDoesNotDivide { in_features: 100, group_size: 128 };
        assert!(odd.to_string().contains("leave it in 16 bits"), "{odd}");
    }

    #[test]
    fn scales_that_do_not_fit_are_refused_with_both_shapes() {
        for (rows, groups) in [(3, 2), (4, 3), (4, 0)] {
            let scales = Array2::from_elem((rows, groups), f16::ONE);
            let error = Int4Groups::new(Array2::zeros((4, 8)), scales).unwrap_err().to_string();
            assert!(error.contains("[4, 8]"), "{error}");
        }
    }

    #[test]
    fn the_shape_of_the_scales_is_the_group_size() -> Result<(), Int4Error> {
        for (groups, size) in [(1, 8), (2, 4), (8, 1)] {
            let scales = Array2::from_elem((4, groups), f16::ONE);
            assert_eq!(Int4Groups::new(Array2::zeros((4, 8)), scales)?.group_size(), size);
        }
        Ok(())
    }

    #[test]
    fn a_code_of_five_bits_is_refused_and_minus_8_is_not() {
        let with = |code| {
            let mut q = Array2::zeros((2, 8));
            q[(1, 2)] = code;
            Int4Groups::new(q, Array2::from_elem((2, 1), f16::ONE))
        };
        assert!(with(-8).is_ok());
        let error = with(8).unwrap_err();
        assert!(matches!(error, Int4Error::CodeOutOfRange { index: 10, code: 8, .. }), "{error}");
    }
}
