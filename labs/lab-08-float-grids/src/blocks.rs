//! Codes in blocks along the rows of a matrix, and the order of two codes in a byte.

use ndarray::Array2;

use crate::FloatError;

/// Codes of a matrix in blocks along `in_features`, and the scale of each block, which is a code too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocks {
    codes: Array2<u8>,
    scales: Array2<u8>,
}

impl Blocks {
    /// Puts `codes`, `[out_features, in_features]`, and their `scales`, `[out_features, in_features /
    /// block]`, together.
    ///
    /// # Errors
    /// [`FloatError::ScalesDoNotFit`] if the scales do not cut every row into equal blocks.
    pub fn new(codes: Array2<u8>, scales: Array2<u8>) -> Result<Self, FloatError> {
        let (blocks, features) = (scales.ncols(), codes.ncols());
        let divides = blocks > 0 && features > 0 && features.is_multiple_of(blocks);
        if !divides || scales.nrows() != codes.nrows() {
            let (scales, codes) = ([scales.nrows(), blocks], [codes.nrows(), features]);
            return Err(FloatError::ScalesDoNotFit { scales, codes });
        }
        Ok(Self { codes, scales })
    }

    /// The codes, `[out_features, in_features]`.
    pub fn codes(&self) -> &Array2<u8> {
        &self.codes
    }

    /// The codes of the scales, `[out_features, in_features / block]`.
    pub fn scales(&self) -> &Array2<u8> {
        &self.scales
    }

    /// Weights of a block.
    pub fn block(&self) -> usize {
        self.codes.ncols() / self.scales.ncols()
    }
}

/// Refuses a matrix that rows of `block` weights do not divide, and NaN and infinity.
///
/// # Errors
/// [`FloatError::BlockDoesNotDivide`] first, then [`FloatError::NotFinite`] with the first such value in
/// the order of the rows.
pub fn check_matrix(w: &Array2<f32>, block: usize) -> Result<(), FloatError> {
    let in_features = w.ncols();
    if in_features == 0 || !in_features.is_multiple_of(block) {
        return Err(FloatError::BlockDoesNotDivide { in_features, block });
    }
    check_finite(w)
}

/// Refuses values that hold NaN or infinity. A matrix is counted row by row.
///
/// # Errors
/// [`FloatError::NotFinite`] with the first such value.
pub fn check_finite<'a>(values: impl IntoIterator<Item = &'a f32>) -> Result<(), FloatError> {
    let mut values = values.into_iter().enumerate();
    match values.find(|(_, value)| !value.is_finite()) {
        Some((index, &value)) => Err(FloatError::NotFinite { index, value }),
        None => Ok(()),
    }
}

/// Which two codes of four bits share a byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NibbleOrder {
    /// Neighbours, the first in the low nibble: compressed-tensors.
    LowFirst,
    /// Neighbours, the first in the high nibble: bitsandbytes.
    HighFirst,
    /// In a block of so many codes the first half in the low nibbles, the second half in the high ones:
    /// llama.cpp, with 32 for MXFP4 and 16 for NVFP4.
    Halves(usize),
}
