//! Tables of sixteen values in the layout of bitsandbytes: NF4 is written, and any table of a file is read.
//!
//! Codes are two a byte, the first in the high nibble, of a matrix as one row: blocks of 64 weights run on from
//! one row to the next. The table is in the file, and the shape is in a *quant state*, which is JSON in a tensor
//! of bytes. With double quantization the scales are codes of a second table. Source: `QuantState.as_dict` and
//! `quantize_4bit` of bitsandbytes 0.50.2 (`functional.py`, `backends/default/ops.py`).

use ndarray::Array2;
use serde::Deserialize;

use crate::FormatError;
use crate::magnitude::absmax;
use crate::stored_part::StoredPart;

/// Weights of a block.
pub const BLOCK: usize = 64;

/// The values of NF4, which are quantiles of the normal distribution. Lab 08 computes them.
pub const NF4: [f32; 16] = [
    -1.0,
    -0.696_192_8,
    -0.525_073_05,
    -0.394_917_5,
    -0.284_441_38,
    -0.184_773_43,
    -0.091_050_036,
    0.0,
    0.079_580_3,
    0.160_930_2,
    0.246_112_3,
    0.337_915_24,
    0.440_709_83,
    0.562_617,
    0.722_956_84,
    1.0,
];

/// The codes of NF4 of `w`, `[out_features, in_features]`, and the largest magnitude of each block of a row,
/// `[out_features, in_features / 64]`. Rows are whole blocks.
///
/// # Errors
/// For NaN and infinity.
pub fn quantize_nf4(w: &Array2<f32>) -> Result<(Array2<u8>, Array2<f32>), FormatError> {
    if let Some((index, &value)) = w.iter().enumerate().find(|(_, value)| !value.is_finite()) {
        return Err(FormatError::NotFinite { index, value });
    }
    let limits: Vec<f32> = NF4.windows(2).map(|ends| (ends[0] + ends[1]) / 2.0).collect();
    let (mut codes, mut scales) = (Array2::zeros(w.dim()), Vec::new());
    let blocks = w.exact_chunks((1, BLOCK)).into_iter();
    for (block, mut codes) in blocks.zip(codes.exact_chunks_mut((1, BLOCK))) {
        let scale = absmax(block);
        // The library multiplies by the inverse, which is not always the quotient.
        let inverse = 1.0 / scale.max(1e-38);
        codes.zip_mut_with(&block, |code, &weight| {
            let value = (weight * inverse).clamp(-1.0, 1.0);
            *code = limits.iter().filter(|limit| **limit < value).count() as u8;
        });
        scales.push(scale);
    }
    let shape = (w.nrows(), w.ncols() / BLOCK);
    Ok((codes, Array2::from_shape_vec(shape, scales).unwrap_or_default()))
}

/// Two codes a byte, the first in the high nibble.
pub(crate) fn pack<'a>(codes: impl IntoIterator<Item = &'a u8>) -> Vec<u8> {
    let codes: Vec<u8> = codes.into_iter().copied().collect();
    codes.chunks(2).map(|pair| pair[0] << 4 | pair.get(1).copied().unwrap_or(0)).collect()
}

/// The quant state of a matrix in NF4 without double quantization, as the library writes it. The type is that of
/// the values which the library decodes to.
pub fn nf4_state([out, inputs]: [u64; 2]) -> Vec<u8> {
    let state = format!(
        r#"{{"quant_type": "nf4", "blocksize": {BLOCK}, "dtype": "float16", "shape": [{out}, {inputs}]}}"#
    );
    state.into_bytes()
}

/// The last part of the name of the tensor with the quant state of a table, `nf4` or `fp4`.
pub fn state_name(table: &str) -> &'static str {
    if table == "fp4" { "bitsandbytes__fp4" } else { "bitsandbytes__nf4" }
}

/// What a quant state says beside the names of types.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct QuantState {
    /// `[out_features, in_features]`.
    pub shape: [usize; 2],
    /// Weights of a block.
    pub blocksize: usize,
    /// With double quantization, the scales of a block.
    #[serde(default)]
    nested_blocksize: usize,
    /// With double quantization, what is added to each scale.
    #[serde(default)]
    nested_offset: f64,
}

impl QuantState {
    /// The quant state in a tensor of bytes.
    ///
    /// # Errors
    /// If the tensor is none, or a block has no weights.
    pub fn read(part: &StoredPart) -> Result<Self, FormatError> {
        let state = serde_json::from_slice(&part.bytes);
        let state: Self = state.map_err(|error| part.refused(format!("is no state: {error}")))?;
        if state.blocksize == 0 {
            return Err(part.refused("has blocks of 0 weights".into()));
        }
        Ok(state)
    }

    /// Weights of the matrix.
    ///
    /// # Errors
    /// If there are more than this machine can count.
    fn weights(&self, part: &StoredPart) -> Result<usize, FormatError> {
        let [out, inputs] = self.shape;
        let product = out.checked_mul(inputs);
        product.ok_or_else(|| part.refused(format!("has the shape {:?}", self.shape)))
    }
}

/// The parts of a matrix.
pub(crate) struct Parts<'a> {
    pub(crate) state: &'a StoredPart,
    pub(crate) weight: &'a StoredPart,
    pub(crate) quant_map: &'a StoredPart,
    pub(crate) absmax: &'a StoredPart,
    /// With double quantization: the scales of the scales, and their table.
    pub(crate) nested: Option<[&'a StoredPart; 2]>,
}

impl Parts<'_> {
    /// The matrix of `shape`.
    ///
    /// # Errors
    /// If a part does not have the numbers that the quant state asks for.
    pub(crate) fn dequantize(&self, shape: [usize; 2]) -> Result<Array2<f32>, FormatError> {
        let state = QuantState::read(self.state)?;
        if state.shape != shape {
            let problem = format!("is that of a matrix {:?}, not {shape:?}", state.shape);
            return Err(self.state.refused(problem));
        }
        let weights = state.weights(self.state)?;
        let bytes = self.weight.numbers([1, weights.div_ceil(2)], |[byte]: [u8; 1]| byte)?;
        let table = self.quant_map.floats([1, NF4.len()])?;
        let scales = self.scales(&state, weights.div_ceil(state.blocksize))?;
        let value = |at: usize| {
            let code = bytes[(0, at / 2)] >> (4 * (1 - at % 2)) & 0x0F;
            table[(0, usize::from(code))] * scales[at / state.blocksize]
        };
        self.weight.shaped((0..weights).map(value).collect(), shape)
    }

    /// The scale of each of so many blocks.
    fn scales(&self, state: &QuantState, blocks: usize) -> Result<Vec<f32>, FormatError> {
        let Some([nested_absmax, nested_map]) = self.nested else {
            return Ok(self.absmax.floats([1, blocks])?.into_raw_vec_and_offset().0);
        };
        if state.nested_blocksize == 0 {
            return Err(self.state.refused("has no nested_blocksize".into()));
        }
        let codes = self.absmax.numbers([1, blocks], |[byte]: [u8; 1]| byte)?;
        let table = nested_map.floats([1, 256])?;
        let scales = nested_absmax.floats([1, blocks.div_ceil(state.nested_blocksize)])?;
        let scale = |(at, &code): (usize, &u8)| {
            let scale = scales[(0, at / state.nested_blocksize)];
            table[(0, usize::from(code))] * scale + state.nested_offset as f32
        };
        Ok(codes.iter().enumerate().map(scale).collect())
    }
}
