//! GGML's blocks Q4_0, Q4_1, Q8_0 and MXFP4: 32 weights of a row with their scale in front. The types with
//! super-blocks, and others with 32 weights, are in [`crate::gguf::k_quants`].
//!
//! A row is a whole number of blocks and everything is little-endian. In the 4-bit types byte `j`
//! of the codes holds element `j` low and element `j + 16` high. [`crate::gguf::dequantize`] is the
//! inverse. The rounding is that of the reference
//! functions in ggml-quants.c, of which gguf 0.19.0 is the Python form that wrote the golden file
//! of this lab:
//!
//! | type | stored | code | value |
//! | --- | --- | --- | --- |
//! | Q4_0 | d = (value furthest from 0) / -8 | x / d + 8.5, cut off, at most 15 | (code - 8) * d |
//! | Q4_1 | d = (max - min) / 15, m = min | (x - m) / d + 0.5, cut off, at most 15 | code * d + m |
//! | Q8_0 | d = (largest magnitude) / 127 | x / d, ties away from zero | code * d |
//! | MXFP4 | e = floor(log2(largest magnitude)) - 2 | nearest of FP4 to x / 2^e, ties to 0 | FP4 * 2^e |
//!
//! Codes come from the `f32` scale (multiplied by its inverse), and only what is stored is rounded
//! to `f16`.

use crate::gguf::{BLOCK, TensorType, k_quants};
use half::f16;
use ndarray::Array2;

use super::words::check_divides;
use super::{Grouped, LayoutError};
use crate::e8m0;
use crate::float4;
use crate::magnitude::absmax;
use crate::rules;

/// What one byte of a block holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockByte {
    /// Byte 0 or 1 of the scale `d`, an `f16`.
    Scale(usize),
    /// Byte 0 or 1 of the minimum `m`, an `f16`.
    Minimum(usize),
    /// Two codes of four bits.
    Nibbles {
        /// The element in the bits 0 to 3.
        low: usize,
        /// The element in the bits 4 to 7.
        high: usize,
    },
    /// A code of eight bits with a sign: the element.
    Code(usize),
}

/// What each byte of a block holds, in file order: fields first, then codes.
///
/// # Errors
/// [`LayoutError::NotEncoded`] for any type but Q4_0, Q4_1 and Q8_0.
pub fn block_bytes(kind: TensorType) -> Result<Vec<BlockByte>, LayoutError> {
    use BlockByte::{Code, Minimum, Nibbles, Scale};
    let scale = [Scale(0), Scale(1)];
    let nibbles = (0..BLOCK / 2).map(|j| Nibbles { low: j, high: j + BLOCK / 2 });
    match kind {
        TensorType::Q4_0 => Ok(scale.into_iter().chain(nibbles).collect()),
        TensorType::Q4_1 => {
            Ok(scale.into_iter().chain([Minimum(0), Minimum(1)]).chain(nibbles).collect())
        }
        TensorType::Q8_0 => Ok(scale.into_iter().chain((0..BLOCK).map(Code)).collect()),
        other => Err(LayoutError::NotEncoded(other)),
    }
}

/// The fields of a block. `m` is 0 in the types that have none.
#[derive(Clone, Copy)]
struct Block {
    d: f16,
    m: f16,
    codes: [u8; BLOCK],
}

impl Block {
    fn write(&self, map: &[BlockByte], bytes: &mut Vec<u8>) {
        bytes.extend(map.iter().map(|byte| match *byte {
            BlockByte::Scale(i) => self.d.to_le_bytes()[i],
            BlockByte::Minimum(i) => self.m.to_le_bytes()[i],
            BlockByte::Nibbles { low, high } => self.codes[low] | self.codes[high] << 4,
            BlockByte::Code(i) => self.codes[i],
        }));
    }

    fn read(map: &[BlockByte], bytes: &[u8]) -> Self {
        let (mut d, mut m, mut codes) = ([0; 2], [0; 2], [0; BLOCK]);
        for (what, &byte) in map.iter().zip(bytes) {
            match *what {
                BlockByte::Scale(i) => d[i] = byte,
                BlockByte::Minimum(i) => m[i] = byte,
                BlockByte::Nibbles { low, high } => {
                    (codes[low], codes[high]) = (byte & 15, byte >> 4)
                }
                BlockByte::Code(i) => codes[i] = byte,
            }
        }
        Self { d: f16::from_le_bytes(d), m: f16::from_le_bytes(m), codes }
    }
}

/// Encodes `values`, whole blocks, as blocks of `kind`.
///
/// Rows of a matrix one after another are a tensor of a GGUF file, if `in_features` is whole blocks.
///
/// # Errors
/// [`LayoutError::NotEncoded`] for a type that is not encoded here; if `values` ends inside a block, holds NaN
/// or infinity, or a scale or a minimum is beyond `f16`.
pub fn encode(kind: TensorType, values: &[f32]) -> Result<Vec<u8>, LayoutError> {
    encode_row(kind, values, None)
}

/// As [`encode`], for one row and with the weight of the error of each column, where there is an importance
/// matrix. Q8_0, MXFP4 and F16 do without.
///
/// # Errors
/// As [`encode`], and if `importance` is not of the same length.
pub fn encode_row(
    kind: TensorType,
    values: &[f32],
    importance: Option<&[f32]>,
) -> Result<Vec<u8>, LayoutError> {
    let (in_block, _) = kind.block().ok_or(LayoutError::NotEncoded(kind))?;
    let unit = if in_block == BLOCK { "a block is 32 values" } else { "a block is 256 values" };
    check_divides("GGML", "the number of values", values.len(), in_block, unit)?;
    if let Some(index) = values.iter().position(|value| !value.is_finite()) {
        return Err(LayoutError::NotFinite { index, value: values[index] });
    }
    if let Some(found) = importance.map(<[f32]>::len).filter(|&found| found != values.len()) {
        return Err(LayoutError::Importance { found, wanted: values.len() });
    }
    let (blocks, _) = values.as_chunks::<BLOCK>();
    match (kind, k_quants::layout::Layout::of(kind)) {
        (TensorType::F16, _) => {
            let halves = values.iter().enumerate().map(|(index, &value)| to_f16(index, value));
            let bytes = halves.map(|half| half.map(f16::to_le_bytes));
            Ok(bytes.collect::<Result<Vec<_>, _>>()?.concat())
        }
        (TensorType::Mxfp4, _) => Ok(blocks.iter().flat_map(mxfp4).collect()),
        (TensorType::Q8_0, _) => q8_0(blocks),
        (_, Some(layout)) => k_quants::encode(layout, values, importance).map_err(
            |k_quants::Overflow { block, value }| LayoutError::BlockOverflow { block, value },
        ),
        _ => Err(LayoutError::NotEncoded(kind)),
    }
}

fn q8_0(blocks: &[[f32; BLOCK]]) -> Result<Vec<u8>, LayoutError> {
    let map = block_bytes(TensorType::Q8_0)?;
    let mut bytes = Vec::with_capacity(blocks.len() * map.len());
    for (index, x) in blocks.iter().enumerate() {
        let (d, _, codes) = rules::ggml::q8_0(x);
        // The low byte of a signed code is its two's complement, as Q8_0 stores the code.
        let mut stored = [0; BLOCK];
        stored.iter_mut().zip(codes).for_each(|(stored, code)| *stored = code as u8);
        Block { codes: stored, d: to_f16(index, d)?, m: f16::ZERO }.write(&map, &mut bytes);
    }
    Ok(bytes)
}

/// A block of MXFP4. The exponent is the OCP rule's, and of two codes at equal distance the smaller is
/// taken, as llama.cpp finds the first in its table.
fn mxfp4(x: &[f32; BLOCK]) -> Vec<u8> {
    // The exponent field of an f32 has the bias of E8M0, and 4 = 2^2 is the last power of two of FP4.
    let exponent = (absmax(x).to_bits() >> 23).saturating_sub(2) as u8;
    let scale = e8m0::decode(exponent).unwrap_or(f32::NAN);
    let codes = x.map(|value| float4::encode_first(value / scale));
    let (low, high) = codes.split_at(BLOCK / 2);
    let codes = low.iter().zip(high).map(|(low, high)| low | high << 4);
    [exponent].into_iter().chain(codes).collect()
}

fn to_f16(block: usize, value: f32) -> Result<f16, LayoutError> {
    let half = f16::from_f32(value);
    if half.is_finite() { Ok(half) } else { Err(LayoutError::BlockOverflow { block, value }) }
}

/// Packs a symmetric matrix in groups of 32 as Q4_0: the codes as they are, the scale as `d`.
///
/// # Errors
/// If the groups are not 32 neighbours, or a zero point is not 8.
pub fn pack_q4_0(w: &Grouped) -> Result<Vec<u8>, LayoutError> {
    if let Some(((row, group), &zero)) = w.zeros().indexed_iter().find(|(_, zero)| **zero != 8) {
        return Err(LayoutError::Zero {
            layout: "Q4_0",
            row,
            group,
            zero,
            range: "8 alone".into(),
        });
    }
    pack_blocks(w, TensorType::Q4_0, |_, _, _| Ok(f16::ZERO))
}

/// Unpacks Q4_0 blocks of a matrix, `[out_features, in_features]`: groups of 32, zero points 8.
///
/// # Errors
/// If the bytes are not those of such a matrix, or a scale is NaN or infinite.
pub fn unpack_q4_0(
    bytes: &[u8],
    out_features: usize,
    in_features: usize,
) -> Result<Grouped, LayoutError> {
    unpack_blocks(bytes, TensorType::Q4_0, out_features, in_features, |_, _| Ok(8))
}

/// Packs a matrix in groups of 32 as Q4_1: `d` is the scale and `m` is -zero * scale.
///
/// The product is an `f16` again if the zero point is a power of two and the scale not huge, or if
/// the scale ends in enough zero bits. Otherwise `m` would be rounded and every weight of the group
/// moved with it, so it is refused: [`encode`] the dequantized weights then, which finds new codes.
///
/// # Errors
/// If the groups are not 32 neighbours, or [`LayoutError::MinimumNotExact`].
pub fn pack_q4_1(w: &Grouped) -> Result<Vec<u8>, LayoutError> {
    w.refuse_zero_16("Q4_1")?;
    pack_blocks(w, TensorType::Q4_1, |row, group, scale| {
        let minimum = minimum(w.zeros()[(row, group)], scale);
        let half = f16::from_f32(minimum);
        let exact = half.to_f32() == minimum;
        if exact { Ok(half) } else { Err(LayoutError::MinimumNotExact { row, group, minimum }) }
    })
}

/// Unpacks Q4_1 blocks of a matrix, `[out_features, in_features]`, whose minima are -zero * scale.
///
/// # Errors
/// [`LayoutError::NoZeroPoint`] for a minimum that no zero point gives, as most blocks that were
/// encoded from floats have; otherwise as [`unpack_q4_0`].
pub fn unpack_q4_1(
    bytes: &[u8],
    out_features: usize,
    in_features: usize,
) -> Result<Grouped, LayoutError> {
    unpack_blocks(bytes, TensorType::Q4_1, out_features, in_features, |block, fields| {
        let (scale, m) = (fields.d, fields.m.to_f32());
        let zero = (0..=15).find(|&zero| minimum(zero, scale) == m);
        zero.ok_or(LayoutError::NoZeroPoint { block, scale, minimum: fields.m })
    })
}

/// The value of code 0. The product is subtracted from 0 and not negated, so that a zero point of 0
/// has the minimum 0 and not -0.
fn minimum(zero: u8, scale: f16) -> f32 {
    0.0 - f32::from(zero) * scale.to_f32()
}

/// Blocks of a grouped matrix; `m` gives the minimum of a group from its row, its number and scale.
fn pack_blocks(
    w: &Grouped,
    kind: TensorType,
    m: impl Fn(usize, usize, f16) -> Result<f16, LayoutError>,
) -> Result<Vec<u8>, LayoutError> {
    w.refuse_act_order("GGML")?;
    if w.group_size() != BLOCK {
        let found = w.group_size();
        return Err(LayoutError::GroupSize { layout: "GGML", found, wanted: BLOCK });
    }
    let map = block_bytes(kind)?;
    let mut bytes = Vec::with_capacity(w.scales().len() * map.len());
    for ((row, group), &d) in w.scales().indexed_iter() {
        let codes = std::array::from_fn(|i| w.codes()[(row, group * BLOCK + i)]);
        Block { d, m: m(row, group, d)?, codes }.write(&map, &mut bytes);
    }
    Ok(bytes)
}

/// The grouped matrix in `bytes`; `zero` gives the zero point of a block.
fn unpack_blocks(
    bytes: &[u8],
    kind: TensorType,
    out_features: usize,
    in_features: usize,
    zero: impl Fn(usize, &Block) -> Result<u8, LayoutError>,
) -> Result<Grouped, LayoutError> {
    check_divides("GGML", "in_features", in_features, BLOCK, "a row is whole blocks of 32")?;
    let map = block_bytes(kind)?;
    let groups = in_features / BLOCK;
    let expected = out_features.checked_mul(groups).and_then(|n| n.checked_mul(map.len()));
    // Empty bytes are refused, because they would fit any number of rows without columns.
    if expected != Some(bytes.len()) || bytes.is_empty() {
        let expected = expected.map_or("more than memory".into(), |bytes| bytes.to_string());
        let found = bytes.len();
        return Err(LayoutError::Bytes { kind, out_features, in_features, found, expected });
    }
    let blocks: Vec<Block> =
        bytes.chunks_exact(map.len()).map(|bytes| Block::read(&map, bytes)).collect();
    let zeros: Vec<u8> =
        blocks.iter().enumerate().map(|(i, block)| zero(i, block)).collect::<Result<_, _>>()?;
    // Every index below is inside: there is a block for each group of each row.
    let at = |row, group| row * groups + group;
    Grouped::new(
        Array2::from_shape_fn((out_features, in_features), |(row, column)| {
            blocks[at(row, column / BLOCK)].codes[column % BLOCK]
        }),
        Array2::from_shape_fn((out_features, groups), |(row, group)| zeros[at(row, group)]),
        Array2::from_shape_fn((out_features, groups), |(row, group)| blocks[at(row, group)].d),
    )
}
