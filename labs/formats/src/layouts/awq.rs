//! AutoAWQ, version "gemm": eight output channels share a word.
//!
//! The matrix lies transposed, `[in_features, out_features]`, and a word holds the codes that one
//! input channel meets in eight neighbouring outputs, even neighbours in the low half. Zero points
//! are packed the same way and stored as they are. Source: `awq/modules/linear/gemm.py` of autoawq
//! 0.2.9, which packs what the golden file of this lab holds.

use half::f16;
use ndarray::Array2;

use super::words::{check_divides, check_shape, pack_rows, transposed, unpack_rows};
use super::words::{pack_word, unpack_word};
use super::{Along, Grouped, LayoutError, Stored, WordLayout};
use kit::int4::AWQ_ORDER;

const LAYOUT: &str = "AutoAWQ";

/// Which neighbour is in which nibble.
pub const WORDS: WordLayout = WordLayout {
    name: LAYOUT,
    tensor: "qweight",
    shape: "[in_features, out_features / 8]",
    along: Along::OutFeatures,
    order: AWQ_ORDER,
};

/// The tensors of a linear layer in an AutoAWQ checkpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct AwqTensors {
    /// Codes, `[in_features, out_features / 8]`.
    pub qweight: Array2<i32>,
    /// Zero points, `[groups, out_features / 8]`.
    pub qzeros: Array2<i32>,
    /// Scales, `[groups, out_features]`.
    pub scales: Array2<f16>,
}

impl AwqTensors {
    /// The tensors as a file lists them.
    pub fn stored(&self) -> Vec<Stored> {
        vec![
            Stored::of::<i32>("qweight", "I32", self.qweight.shape()),
            Stored::of::<i32>("qzeros", "I32", self.qzeros.shape()),
            Stored::of::<f16>("scales", "F16", self.scales.shape()),
        ]
    }
}

/// Packs a matrix as AutoAWQ does.
///
/// # Errors
/// If `out_features` is not a multiple of 32: AutoAWQ's own packer divides by 32 first and
/// drops the rest. If a zero point is 16, or the matrix is in act-order.
pub fn pack(w: &Grouped) -> Result<AwqTensors, LayoutError> {
    let fix = "AutoAWQ's packer would drop the rest; leave this layer in 16 bits";
    check_divides(LAYOUT, "out_features", w.out_features(), 32, fix)?;
    w.refuse_act_order(LAYOUT)?;
    // Only GPTQ v1 stores zero points minus one, and so has a code for 16.
    w.refuse_zero_16(LAYOUT)?;
    let word = |codes| pack_word(codes, &WORDS.order);
    Ok(AwqTensors {
        qweight: pack_rows(w.codes().t(), word)?,
        qzeros: pack_rows(w.zeros().t(), word)?,
        scales: transposed(w.scales()),
    })
}

/// The codes or zero points, `[rows, out_features]`, in words of eight outputs each.
pub(crate) fn codes(words: &Array2<i32>, out_features: usize) -> Array2<u8> {
    unpack_rows(words.view(), out_features, |word| unpack_word(word, &WORDS.order))
}

/// Unpacks the tensors of an AutoAWQ checkpoint, whatever they hold.
///
/// # Errors
/// If the shapes do not fit together, or a scale is NaN or infinite.
pub fn unpack(tensors: &AwqTensors) -> Result<Grouped, LayoutError> {
    let (groups, out_features) = tensors.scales.dim();
    // 8 and not 32, because AutoAWQ reads widths that its packer does not write.
    check_divides(LAYOUT, "out_features", out_features, 8, "are these the scales of this layer?")?;
    let words = out_features / 8;
    check_shape(LAYOUT, "qweight", tensors.qweight.shape(), &[tensors.qweight.nrows(), words])?;
    check_shape(LAYOUT, "qzeros", tensors.qzeros.shape(), &[groups, words])?;
    Grouped::new(
        transposed(&codes(&tensors.qweight, out_features)),
        transposed(&codes(&tensors.qzeros, out_features)),
        transposed(&tensors.scales),
    )
}
