//! GPTQ, checkpoint formats `gptq` (v1) and `gptq_v2`: eight input channels share a word.
//!
//! The matrix lies transposed, `[in_features, out_features]`, and a word holds eight neighbours
//! down a column, in linear order. The zero points are packed along the outputs; v1 stores each
//! minus one. Scales and zero points are looked up by `g_idx`, so that groups need not be
//! neighbours (act-order, `desc_act`). Sources: `qlinear_cuda_old.py` of auto-gptq 0.7.1 (v1),
//! `nn_modules/qlinear` of gptqmodel 7.7.0 (v2), which pack what the golden file of this lab holds.
//!
//! Codes of three bits are one stream, from the lowest bit of the first word up: 32 codes in three words, of
//! which the eleventh code and the twenty-second one are cut by the end of a word.
//!
//! # The zero point that wipes its word
//!
//! A zero point of 0, minus one, is -1: all 32 bits set. auto-gptq shifts it into its nibble
//! without a mask and ORs, and every nibble from there up becomes `f`. gptqmodel subtracts 1 from
//! all eight nibbles in one subtraction of words, and the 0 borrows from its neighbour. [`pack`]
//! refuses.
//!
//! ```
//! let or_unmasked = |zeros: [i32; 8]| {
//!     zeros.iter().enumerate().fold(0i32, |word, (i, zero)| word | (zero - 1) << (4 * i))
//! };
//! assert_eq!(or_unmasked([8; 8]), 0x77777777);
//! assert_eq!(or_unmasked([8, 8, 8, 0, 8, 8, 8, 8]), 0xfffff777_u32 as i32); // five are gone
//! assert_eq!(formats::layouts::gptq::word_v2_to_v1(0x88888088), 0x77776f77); // two are wrong
//! ```

use half::f16;
use ndarray::{Array1, Array2};

use super::words::{
    check_divides, check_shape, codes_of_whole_words, pack_stream, transposed, unpack_rows,
    unpack_word,
};
use super::{Along, Grouped, LayoutError, Stored, WordLayout};
use kit::int4::LINEAR_ORDER;

const LAYOUT: &str = "GPTQ";
const FIX: &str = "leave this layer in 16 bits";
/// One in every nibble.
const ONES: u32 = 0x1111_1111;

/// Which neighbour is in which nibble of `qweight`.
pub const WORDS: WordLayout = WordLayout {
    name: LAYOUT,
    tensor: "qweight",
    shape: "[in_features / 8, out_features]",
    along: Along::InFeatures,
    order: LINEAR_ORDER,
};

/// How zero points are stored. Nothing in the tensors says it, only `checkpoint_format` in the
/// model's configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// Each minus one: 1..=16.
    V1,
    /// As they are: 0..=15.
    V2,
}

impl Version {
    /// The name in `checkpoint_format`.
    pub fn checkpoint_format(self) -> &'static str {
        match self {
            Self::V1 => "gptq",
            Self::V2 => "gptq_v2",
        }
    }
}

/// The tensors of a linear layer in a GPTQ checkpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct GptqTensors {
    /// Codes, `[in_features / 8, out_features]` where they have four bits.
    pub qweight: Array2<i32>,
    /// Zero points, `[groups, out_features / 8]` where they have four bits.
    pub qzeros: Array2<i32>,
    /// Scales, `[groups, out_features]`.
    pub scales: Array2<f16>,
    /// The group of each input channel, `[in_features]`.
    pub g_idx: Array1<i32>,
}

impl GptqTensors {
    /// The tensors as a file lists them.
    pub fn stored(&self) -> Vec<Stored> {
        vec![
            Stored::of::<i32>("qweight", "I32", self.qweight.shape()),
            Stored::of::<i32>("qzeros", "I32", self.qzeros.shape()),
            Stored::of::<f16>("scales", "F16", self.scales.shape()),
            Stored::of::<i32>("g_idx", "I32", self.g_idx.shape()),
        ]
    }
}

/// Packs a matrix as GPTQ checkpoints of four bits have it.
///
/// # Errors
/// As [`pack_bits`].
pub fn pack(w: &Grouped, version: Version) -> Result<GptqTensors, LayoutError> {
    pack_bits(w, 4, version)
}

/// Packs a matrix as GPTQ checkpoints of 2, 3 or 4 `bits` have it: `qweight` is
/// `[in_features * bits / 32, out_features]`, `qzeros` is `[groups, out_features * bits / 32]`.
///
/// # Errors
/// If codes do not fill whole words along `in_features` or `out_features` (multiples of 8 for 4 bits, of 32 for
/// 3), a code does not fit the bits, or `version` cannot store a zero point: [`LayoutError::ZeroMinusOne`] for 0
/// in v1.
pub fn pack_bits(w: &Grouped, bits: u32, version: Version) -> Result<GptqTensors, LayoutError> {
    let whole = codes_of_whole_words(bits);
    check_divides(LAYOUT, "in_features", w.in_features(), whole, FIX)?;
    check_divides(LAYOUT, "out_features", w.out_features(), whole, FIX)?;
    w.refuse_codes_beyond(bits)?;
    let minus = match version {
        // Refused before the subtraction, which would leave a u8.
        Version::V1 => refuse_zero_0(w).map(|()| 1)?,
        Version::V2 => 0,
    };
    let name = if version == Version::V1 { "GPTQ v1" } else { "GPTQ v2" };
    w.refuse_zeros_above(name, (1 << bits) - 1 + minus)?;
    let zeros = w.zeros().mapv(|zero| zero - minus);
    Ok(GptqTensors {
        // Words along the inputs are made in rows and then transposed, as the file has them.
        qweight: transposed(&pack_stream(w.codes().view(), bits)),
        qzeros: pack_stream(zeros.t(), bits),
        scales: transposed(w.scales()),
        g_idx: w.g_idx().iter().map(|&group| group as i32).collect(),
    })
}

/// Unpacks the tensors of a GPTQ checkpoint of four bits, whatever they hold. Each input channel has the scale of its group in `g_idx`.
///
/// # Errors
/// If the shapes do not fit together, `g_idx` names a group that is not there, or a scale
/// is NaN or infinite.
pub fn unpack(tensors: &GptqTensors, version: Version) -> Result<Grouped, LayoutError> {
    let (groups, out_features) = tensors.scales.dim();
    let in_features = tensors.g_idx.len();
    check_divides(LAYOUT, "in_features", in_features, 8, "is this the g_idx of this layer?")?;
    check_divides(LAYOUT, "out_features", out_features, 8, "are these the scales of this layer?")?;
    check_shape(LAYOUT, "qweight", tensors.qweight.shape(), &[in_features / 8, out_features])?;
    check_shape(LAYOUT, "qzeros", tensors.qzeros.shape(), &[groups, out_features / 8])?;
    let zeros = match version {
        Version::V1 => {
            // A stored 15 is the zero point 16, which fits a u8 and no nibble: one is added to the
            // codes and not to the word, where it would carry into the next nibble.
            let plus_one = |word| codes(word).map(|stored| stored + 1);
            unpack_rows(tensors.qzeros.view(), out_features, plus_one)
        }
        Version::V2 => unpack_rows(tensors.qzeros.view(), out_features, codes),
    };
    Grouped::with_g_idx(
        unpack_rows(tensors.qweight.t(), in_features, codes),
        transposed(&zeros),
        transposed(&tensors.scales),
        groups_of(&tensors.g_idx, groups)?,
    )
}

fn codes(word: u32) -> [u8; 8] {
    unpack_word(word, &WORDS.order)
}

fn refuse_zero_0(w: &Grouped) -> Result<(), LayoutError> {
    match w.zeros().indexed_iter().find(|(_, zero)| **zero == 0) {
        Some(((row, group), _)) => Err(LayoutError::ZeroMinusOne { row, group }),
        None => Ok(()),
    }
}

fn groups_of(g_idx: &Array1<i32>, groups: usize) -> Result<Vec<usize>, LayoutError> {
    let group_of = |(input, &group): (usize, &i32)| match usize::try_from(group) {
        Ok(known) if known < groups => Ok(known),
        _ => Err(LayoutError::NoSuchGroup { input, group: group.into(), groups }),
    };
    g_idx.iter().enumerate().map(group_of).collect()
}

/// A word of v1 zero points as v2: one addition for all eight, as gptqmodel does it. A nibble `f`
/// carries into its neighbour.
pub fn word_v1_to_v2(word: u32) -> u32 {
    word.wrapping_add(ONES)
}

/// A word of v2 zero points as v1: one subtraction for all eight, as gptqmodel does it. A nibble 0
/// borrows from its neighbour.
pub fn word_v2_to_v1(word: u32) -> u32 {
    word.wrapping_sub(ONES)
}

/// The `qzeros` of a v1 checkpoint as those of v2.
///
/// # Errors
/// [`LayoutError::Carry`] if the word addition would change a neighbour.
pub fn qzeros_v1_to_v2(qzeros: &Array2<i32>) -> Result<Array2<i32>, LayoutError> {
    let words = qzeros.mapv(i32::cast_unsigned);
    match words.iter().find(|&&word| codes(word).contains(&15)) {
        Some(&word) => Err(LayoutError::Carry { word }),
        None => Ok(words.mapv(|word| word_v1_to_v2(word).cast_signed())),
    }
}

/// The `qzeros` of a v2 checkpoint, `[groups, out_features / 8]`, as those of v1.
///
/// # Errors
/// [`LayoutError::ZeroMinusOne`] if a zero point is 0.
pub fn qzeros_v2_to_v1(qzeros: &Array2<i32>) -> Result<Array2<i32>, LayoutError> {
    for ((group, index), word) in qzeros.indexed_iter() {
        if let Some(i) = codes(word.cast_unsigned()).iter().position(|&zero| zero == 0) {
            return Err(LayoutError::ZeroMinusOne { row: 8 * index + i, group });
        }
    }
    Ok(qzeros.mapv(|word| word_v2_to_v1(word.cast_unsigned()).cast_signed()))
}
