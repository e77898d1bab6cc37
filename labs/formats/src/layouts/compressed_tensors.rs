//! compressed-tensors, format `pack-quantized` at 4 bits: eight input channels share a word.
//!
//! The matrix lies as it is, `[out_features, in_features]`, in linear order, and a width that is
//! not a multiple of 8 is filled up with zero bits; `weight_shape` has the true one. Codes and zero
//! points have a sign and are stored plus 8, which is what [`Grouped`] holds already; the zero
//! points are packed along the outputs. Source: `compressors/pack_quantized` of compressed-tensors
//! 0.20.0, which packs what the golden file of this lab holds.
//!
//! Scales are `f16` here. Files whose model is `bf16` have `bf16` scales.

use half::f16;
use ndarray::Array2;

use super::words::{check_shape, pack_rows, transposed, unpack_rows};
use super::words::{pack_word, unpack_word};
use super::{Along, Grouped, LayoutError, Stored, WordLayout};
use kit::int4::LINEAR_ORDER;

const LAYOUT: &str = "compressed-tensors";

/// Which neighbour is in which nibble.
pub const WORDS: WordLayout = WordLayout {
    name: LAYOUT,
    tensor: "weight_packed",
    shape: "[out_features, in_features / 8]",
    along: Along::InFeatures,
    order: LINEAR_ORDER,
};

/// The tensors of a linear layer in a `pack-quantized` checkpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct CompressedTensors {
    /// Codes, `[out_features, in_features / 8, rounded up]`.
    pub weight_packed: Array2<i32>,
    /// Scales, `[out_features, groups]`.
    pub weight_scale: Array2<f16>,
    /// `[out_features, in_features]`.
    pub weight_shape: [i64; 2],
    /// Zero points, `[out_features / 8, rounded up, groups]`; a symmetric matrix has none.
    pub weight_zero_point: Option<Array2<i32>>,
}

impl CompressedTensors {
    /// The tensors as a file lists them.
    pub fn stored(&self) -> Vec<Stored> {
        let mut stored = vec![
            Stored::of::<i32>("weight_packed", "I32", self.weight_packed.shape()),
            Stored::of::<f16>("weight_scale", "F16", self.weight_scale.shape()),
            Stored::of::<i64>("weight_shape", "I64", &[2]),
        ];
        if let Some(zeros) = &self.weight_zero_point {
            stored.push(Stored::of::<i32>("weight_zero_point", "I32", zeros.shape()));
        }
        stored
    }
}

/// Packs a matrix as compressed-tensors does; a symmetric one without zero points.
///
/// # Errors
/// If a zero point is 16, or the matrix is in act-order.
pub fn pack(w: &Grouped) -> Result<CompressedTensors, LayoutError> {
    let packed = pack_with_zeros(w)?;
    let zeros = packed.weight_zero_point.filter(|_| !w.is_symmetric());
    Ok(CompressedTensors { weight_zero_point: zeros, ..packed })
}

/// As [`pack`], with zero points whatever they are: a config says for all layers whether there are any.
///
/// # Errors
/// As [`pack`].
pub fn pack_with_zeros(w: &Grouped) -> Result<CompressedTensors, LayoutError> {
    w.refuse_act_order(LAYOUT)?;
    w.refuse_zero_16(LAYOUT)?;
    let word = |codes| pack_word(codes, &WORDS.order);
    Ok(CompressedTensors {
        weight_packed: pack_rows(w.codes().view(), word)?,
        weight_scale: w.scales().clone(),
        weight_shape: [w.out_features() as i64, w.in_features() as i64],
        weight_zero_point: Some(transposed(&pack_rows(w.zeros().t(), word)?)),
    })
}

/// Unpacks the tensors of a `pack-quantized` checkpoint, whatever they hold.
///
/// # Errors
/// If the shapes do not fit together or to `weight_shape`, or a scale is NaN or infinite.
pub fn unpack(tensors: &CompressedTensors) -> Result<Grouped, LayoutError> {
    let no_shape = || LayoutError::WeightShape(tensors.weight_shape);
    let [out_features, in_features] = tensors.weight_shape.map(usize::try_from);
    let (out_features, in_features) =
        (out_features.map_err(|_| no_shape())?, in_features.map_err(|_| no_shape())?);
    // A shape that fits the words is not too large for memory, because the words are in memory.
    let words = [out_features, in_features.div_ceil(8)];
    check_shape(LAYOUT, "weight_packed", tensors.weight_packed.shape(), &words)?;
    let codes = |word| unpack_word(word, &WORDS.order);
    let groups = tensors.weight_scale.ncols();
    let zeros = match &tensors.weight_zero_point {
        // A symmetric matrix stores no zero points: each is 0, which is stored as 8.
        None => Array2::from_elem(tensors.weight_scale.dim(), 8),
        Some(words) => {
            let shape = [out_features.div_ceil(8), groups];
            check_shape(LAYOUT, "weight_zero_point", words.shape(), &shape)?;
            transposed(&unpack_rows(words.t(), out_features, codes))
        }
    };
    Grouped::new(
        unpack_rows(tensors.weight_packed.view(), in_features, codes),
        zeros,
        tensors.weight_scale.clone(),
    )
}
