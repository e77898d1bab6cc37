//! The way back: the matrix of floats that the parts of a quantized matrix stand for, in the files of any
//! program.
//!
//! Every layout with a scale is `(code - zero point) * scale`. Layouts differ in where a code lies,
//! where the zero point lies, and which scale a weight has. The shapes and the bits come from
//! [`checkpoint`](crate::checkpoint), so that a file of another tool is read by what the file says and
//! not by what this course would have written.

use ndarray::Array2;

use crate::FormatError;
use crate::bitsandbytes;
use crate::checkpoint::{GptqVersion, Quantized, Scheme};
use crate::e8m0;
use crate::float4;
use crate::format::Group;
use crate::gguf;
use crate::layouts::awq;
use crate::stored_part::StoredPart;

/// Bits of a word of packed codes.
const WORD: usize = 32;

/// How a matrix is stored: all that shapes and names of its parts do not say again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Layout {
    /// Who packed the codes, and how.
    pub scheme: Scheme,
    /// Bits of a code.
    pub bits: u64,
    /// The weights that share a scale.
    pub group: Group,
}

impl Layout {
    /// The layout of a matrix that the inspector found; `None` if its bits or its shape are not known.
    pub fn of(found: &Quantized) -> Option<Self> {
        found.matrix()?;
        Some(Self { scheme: found.scheme, bits: found.bits?, group: found.group })
    }

    /// Whether [`dequantize`] reads the layout.
    pub fn is_read(self) -> bool {
        decoder(self.scheme).is_some()
    }
}

type Decode = fn(&Matrix) -> Result<Array2<f32>, FormatError>;

/// The decoder of a scheme; `None` for a scheme that is not decoded here.
fn decoder(scheme: Scheme) -> Option<Decode> {
    Some(match scheme {
        Scheme::PackQuantized => |matrix| matrix.pack_quantized(),
        Scheme::IntQuantized => |matrix| matrix.int_quantized(),
        Scheme::Fp8 => |matrix| matrix.fp8("weight_scale"),
        Scheme::Fp8ScaleInv => |matrix| matrix.fp8("weight_scale_inv"),
        Scheme::Mxfp8 => |matrix| matrix.mxfp8(),
        Scheme::Mxfp4 => |matrix| matrix.mxfp4(),
        Scheme::Nvfp4 => |matrix| matrix.nvfp4(),
        Scheme::AwqGemm => |matrix| matrix.awq(),
        Scheme::Gptq(GptqVersion::V1 | GptqVersion::V2 | GptqVersion::Unsaid) => {
            |matrix| matrix.gptq()
        }
        Scheme::BnbTable { .. } => |matrix| matrix.table(),
        Scheme::Ggml(_) => |matrix| matrix.blocks(),
        _ => return None,
    })
}

/// The matrix of `shape`, `[out_features, in_features]`, that `parts` stand for. Scales may be of any
/// float type, and the parts may come in any order.
///
/// # Errors
/// If a part is missing, or of another shape or type, if [`Layout::is_read`] says no, or if a group index names a group that is not there.
pub fn dequantize(
    layout: Layout,
    shape: [usize; 2],
    parts: &[StoredPart],
) -> Result<Array2<f32>, FormatError> {
    let decode = decoder(layout.scheme);
    let decode = decode.ok_or_else(|| FormatError::NotDecoded(layout.scheme.to_string()))?;
    decode(&Matrix { layout, shape, parts })
}

struct Matrix<'a> {
    layout: Layout,
    shape: [usize; 2],
    parts: &'a [StoredPart],
}

impl Matrix<'_> {
    /// `(code - zero) * scale`, each of the three by row and column of the weight; `zero` gets the
    /// column of the scale.
    fn weights(
        &self,
        scales: &Scales,
        code: impl Fn(usize, usize) -> f32,
        zero: impl Fn(usize, usize) -> f32,
    ) -> Array2<f32> {
        Array2::from_shape_fn(self.shape, |(row, column)| {
            let at = scales.at(row, column);
            (code(row, column) - zero(at[0], at[1])) * scales.values[at]
        })
    }

    /// compressed-tensors: codes plus `2^(bits - 1)` in words along the inputs, zero points in words
    /// along the outputs. `weight_g_idx` is there where columns were quantized in act-order.
    fn pack_quantized(&self) -> Result<Array2<f32>, FormatError> {
        let [out, inputs] = self.shape;
        let shape = self.part("weight_shape")?.numbers([1, 2], i64::from_le_bytes)?;
        // Read and not assumed, because a file whose shape is transposed must not load.
        if shape.iter().ne([out as i64, inputs as i64].iter()) {
            let problem =
                format!("says {:?}, and the codes are [{out}, {inputs}]", shape.as_slice());
            return Err(self.part("weight_shape")?.refused(problem));
        }
        let scales = self.scales("weight_scale", self.found("weight_g_idx"))?;
        let packed = self.part("weight_packed")?;
        let codes = Packed::compressed(self.bits()?, inputs, packed.columns());
        let words = packed.words([out, codes.words(inputs)])?;
        // Codes and zero points are both stored plus half of the grid, which their difference loses.
        let half = 2f32.powi(self.bits()? as i32 - 1);
        let zeros = self.found("weight_zero_point");
        let zeros =
            zeros.map(|part| part.words([codes.words(out), scales.values.ncols()])).transpose()?;
        let code = |row, column| codes.code(|word| words[(row, word)], column);
        Ok(self.weights(&scales, code, |row, group| match &zeros {
            Some(zeros) => codes.code(|word| zeros[(word, group)], row),
            None => half,
        }))
    }

    /// compressed-tensors: one `int8` a weight, and zero points as they are.
    fn int_quantized(&self) -> Result<Array2<f32>, FormatError> {
        let int8 = |[byte]: [u8; 1]| f32::from(i8::from_le_bytes([byte]));
        let codes = self.part("weight")?.numbers(self.shape, int8)?;
        let scales = self.scales("weight_scale", None)?;
        let zeros = self.found("weight_zero_point");
        let zeros = zeros.map(|part| part.numbers(scales.shape(), int8)).transpose()?;
        let zero = |row, column| zeros.as_ref().map_or(0.0, |zeros| zeros[(row, column)]);
        Ok(self.weights(&scales, |row, column| codes[(row, column)], zero))
    }

    /// One FP8 a weight, with one scale, a scale for each row, or a scale for each block.
    fn fp8(&self, scale: &'static str) -> Result<Array2<f32>, FormatError> {
        let part = self.part("weight")?;
        let codes = part.float8(self.shape)?;
        let scales = self.scales(scale, None)?;
        Ok(self.weights(&scales, |row, column| codes[(row, column)], |_, _| 0.0))
    }

    /// One FP8 a weight, and a power of two for each block.
    fn mxfp8(&self) -> Result<Array2<f32>, FormatError> {
        let codes = self.part("weight")?.float8(self.shape)?;
        let scales = self.powers_of_two()?;
        Ok(self.weights(&scales, |row, column| codes[(row, column)], |_, _| 0.0))
    }

    /// Two FP4 a byte, and a power of two for each block.
    fn mxfp4(&self) -> Result<Array2<f32>, FormatError> {
        let codes = self.fp4()?;
        let scales = self.powers_of_two()?;
        Ok(self.weights(&scales, |row, column| codes[(row, column)], |_, _| 0.0))
    }

    /// Two FP4 a byte, an FP8 scale for each block, and the number by which these scales are divided.
    fn nvfp4(&self) -> Result<Array2<f32>, FormatError> {
        let codes = self.fp4()?;
        let part = self.part("weight_global_scale")?;
        let global = part.floats([1, 1])?[(0, 0)];
        if !(global.is_finite() && global > 0.0) {
            return Err(part.refused(format!("is {global}, and scales are divided by that")));
        }
        let scales = self.scales("weight_scale", None)?;
        let scales = Scales { values: scales.values.mapv(|scale| scale / global), ..scales };
        Ok(self.weights(&scales, |row, column| codes[(row, column)], |_, _| 0.0))
    }

    /// The values of FP4 codes, two a byte, the first in the low nibble.
    fn fp4(&self) -> Result<Array2<f32>, FormatError> {
        let [out, inputs] = self.shape;
        let pairs = self.part("weight_packed")?.numbers([out, inputs / 2], |[byte]| byte)?;
        Ok(Array2::from_shape_fn(self.shape, |(row, column)| {
            float4::decode(pairs[(row, column / 2)] >> (4 * (column % 2)))
        }))
    }

    /// Scales of one byte of exponent.
    fn powers_of_two(&self) -> Result<Scales, FormatError> {
        let part = self.part("weight_scale")?;
        let value = |[code]: [u8; 1]| e8m0::decode(code).unwrap_or(f32::NAN);
        let values = part.numbers(self.scale_grid(part)?, value)?;
        self.scales_of(part, values, None)
    }

    /// AutoAWQ, version gemm: eight outputs share a word, in the order of [`awq::WORDS`].
    fn awq(&self) -> Result<Array2<f32>, FormatError> {
        let [out, inputs] = self.shape;
        let scales = self.transposed_scales(None)?;
        let [codes, zeros] = [("qweight", inputs), ("qzeros", scales.values.ncols())]
            .map(|(name, rows)| self.part(name)?.words([rows, out / 8]));
        let (codes, zeros) = (awq::codes(&codes?, out), awq::codes(&zeros?, out));
        let code = |row, column| f32::from(codes[(column, row)]);
        Ok(self.weights(&scales, code, |row, group| f32::from(zeros[(group, row)])))
    }

    /// GPTQ: codes in words along the inputs, zero points in words along the outputs. Version 1 stores
    /// each zero point minus one, and loaders read a file without a version as version 1. A file
    /// without zero points is symmetric.
    fn gptq(&self) -> Result<Array2<f32>, FormatError> {
        let [out, inputs] = self.shape;
        // GPTQModel, the only program with such files, stores these widths in planes.
        if let bits @ 5..=7 = self.layout.bits {
            return Err(FormatError::NotDecoded(format!("GPTQ of {bits} bits")));
        }
        let scales = self.transposed_scales(self.found("g_idx"))?;
        let codes = Packed::Stream(self.bits()?);
        let words = self.part("qweight")?.words([codes.words(inputs), out])?;
        let zeros = self.found("qzeros");
        let zeros =
            zeros.map(|part| part.words([scales.values.ncols(), codes.words(out)])).transpose()?;
        let is_v2 = self.layout.scheme == Scheme::Gptq(GptqVersion::V2);
        let plus = if is_v2 { 0.0 } else { 1.0 };
        let middle = 2f32.powi(self.bits()? as i32 - 1);
        let code = |row, column| codes.code(|word| words[(word, row)], column);
        Ok(self.weights(&scales, code, |row, group| match &zeros {
            Some(zeros) => codes.code(|word| zeros[(group, word)], row) + plus,
            None => middle,
        }))
    }

    /// bitsandbytes: two codes of a table a byte, and the table.
    fn table(&self) -> Result<Array2<f32>, FormatError> {
        let Scheme::BnbTable { table, double } = self.layout.scheme else {
            return Err(FormatError::NothingQuantized);
        };
        let nested = match double {
            true => Some([self.part("nested_absmax")?, self.part("nested_quant_map")?]),
            false => None,
        };
        let parts = bitsandbytes::Parts {
            state: self.part(bitsandbytes::state_name(table))?,
            weight: self.part("weight")?,
            quant_map: self.part("quant_map")?,
            absmax: self.part("absmax")?,
            nested,
        };
        parts.dequantize(self.shape)
    }

    /// GGML: one tensor of blocks, each with its scale.
    fn blocks(&self) -> Result<Array2<f32>, FormatError> {
        let [blocks] = self.parts else { return Err(self.lacks("one tensor of blocks")) };
        blocks.shaped(gguf::dequantize(blocks.blocks()?, &blocks.bytes)?, self.shape)
    }

    /// Bits of a code in a word.
    fn bits(&self) -> Result<usize, FormatError> {
        match self.layout.bits {
            bits @ 2..=8 => Ok(bits as usize),
            bits => Err(FormatError::NotDecoded(format!("{} of {bits} bits", self.layout.scheme))),
        }
    }

    /// Scales that lie as the weights do: a row of them for each row, or for each row of blocks.
    fn scales(
        &self,
        name: &'static str,
        g_idx: Option<&StoredPart>,
    ) -> Result<Scales, FormatError> {
        let part = self.part(name)?;
        let values = part.floats(self.scale_grid(part)?)?;
        self.scales_of(part, values, g_idx)
    }

    /// Scales of AutoAWQ and GPTQ, `[groups, out_features]`.
    fn transposed_scales(&self, g_idx: Option<&StoredPart>) -> Result<Scales, FormatError> {
        let part = self.part("scales")?;
        let [rows, columns] = self.scale_grid(part)?;
        let values = part.floats([columns, rows])?.reversed_axes();
        self.scales_of(part, values, g_idx)
    }

    fn scale_grid(&self, part: &StoredPart) -> Result<[usize; 2], FormatError> {
        let [out, inputs] = self.shape;
        let grid = self.layout.group.grid(out as u64, inputs as u64);
        let grid = grid.ok_or_else(|| part.refused("has no known granularity".into()))?;
        Ok(grid.map(|axis| axis as usize))
    }

    fn scales_of(
        &self,
        part: &StoredPart,
        values: Array2<f32>,
        g_idx: Option<&StoredPart>,
    ) -> Result<Scales, FormatError> {
        if let Some(((row, column), value)) = values.indexed_iter().find(|(_, v)| !v.is_finite()) {
            return Err(part.refused(format!("holds {value} at [{row}, {column}]")));
        }
        let [out, inputs] = self.shape;
        let [height, width] = match self.layout.group {
            Group::Block(rows, columns) => [rows as usize, columns as usize],
            Group::Size(size) => [1, size as usize],
            Group::Channel => [1, inputs],
            Group::Tensor | Group::Unread => [out, inputs],
        };
        let Some(g_idx) = g_idx else {
            let groups = (0..inputs).map(|column| column / width.max(1)).collect();
            return Ok(Scales { values, height: height.max(1), groups });
        };
        let groups = g_idx.numbers([1, inputs], i32::from_le_bytes)?;
        let groups = groups.iter().map(|&group| usize::try_from(group).unwrap_or(usize::MAX));
        let groups: Vec<usize> = groups.collect();
        match groups.iter().position(|&group| group >= values.ncols()) {
            Some(input) => {
                let problem = format!("gives input {input} a group that has no scale");
                Err(g_idx.refused(problem))
            }
            None => Ok(Scales { values, height: height.max(1), groups }),
        }
    }

    fn found(&self, name: &str) -> Option<&StoredPart> {
        self.parts.iter().find(|part| part.is(name))
    }

    fn part(&self, name: &'static str) -> Result<&StoredPart, FormatError> {
        self.found(name).ok_or_else(|| self.lacks(name))
    }

    fn lacks(&self, missing: &'static str) -> FormatError {
        let names: Vec<&str> = self.parts.iter().map(|part| part.tensor.name.as_str()).collect();
        let layout = self.layout.scheme.to_string();
        FormatError::MissingPart { layout, missing, found: names.join(", ") }
    }
}

/// Scales, and which of them a weight has.
struct Scales {
    values: Array2<f32>,
    /// Rows that share a row of scales.
    height: usize,
    /// The column of scales of each input.
    groups: Vec<usize>,
}

impl Scales {
    fn shape(&self) -> [usize; 2] {
        [self.values.nrows(), self.values.ncols()]
    }

    fn at(&self, row: usize, column: usize) -> [usize; 2] {
        [row / self.height, self.groups[column]]
    }
}

/// Codes in words of 32 bits.
#[derive(Clone, Copy)]
enum Packed {
    /// A stream of bits from the lowest bit up. Codes of 3, 5, 6 and 7 bits cross words.
    Stream(usize),
    /// A whole number of codes in each word, and the rest of the word empty.
    Whole(usize),
}

impl Packed {
    /// The packing of compressed-tensors: a stream since version 0.10, whole codes before. The number of
    /// words tells the two apart, and where the number is the same, the newer one is taken.
    fn compressed(bits: usize, codes: usize, words: usize) -> Self {
        let whole = Self::Whole(bits);
        if Self::Stream(bits).words(codes) != words && whole.words(codes) == words {
            whole
        } else {
            Self::Stream(bits)
        }
    }

    /// The words that so many codes fill.
    fn words(self, codes: usize) -> usize {
        match self {
            Self::Stream(bits) => (codes * bits).div_ceil(WORD),
            Self::Whole(bits) => codes.div_ceil(WORD / bits),
        }
    }

    /// The code at `index`, in `0..2^bits`.
    fn code(self, word: impl Fn(usize) -> i32, index: usize) -> f32 {
        let (bits, at, shift) = match self {
            Self::Stream(bits) => (bits, index * bits / WORD, index * bits % WORD),
            Self::Whole(bits) => (bits, index / (WORD / bits), index % (WORD / bits) * bits),
        };
        let low = word(at).cast_unsigned() >> shift;
        // Only a code that crosses the end of its word needs the next one, which may not be there.
        let is_cut = shift + bits > WORD;
        let high = if is_cut { word(at + 1).cast_unsigned() << (WORD - shift) } else { 0 };
        f32::from(((low | high) & ((1 << bits) - 1)) as u8)
    }
}
