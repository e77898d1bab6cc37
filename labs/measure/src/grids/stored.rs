//! Every format of the comparison: what a matrix is worth after it was stored, and what it costs.

use anyhow::Result;
use float_grids::{
    DOUBLE_BLOCK, E2M1, E4M3, FloatGrid, MX_BLOCK, NVFP4_BLOCK, ScaleRule, bits_per_weight,
    dequantize_mx, dequantize_nvfp4, dequantize_table, double_dequantize, double_quantize,
    dynamic_table, normal_float, nvfp4_global, quantize_mx, quantize_nvfp4, quantize_table,
};
use formats::float8;
use formats::magnitude::absmax;
use formats::rules::{COMPRESSED_TENSORS_SYMMETRIC, GGML_Q4_0, GGML_Q4_1, LAB_01, LAB_03, Rule};
use ndarray::{Array2, Axis};

/// The weights of a square matrix of the model, over which a number for the tensor is spread.
const WEIGHTS: usize = 576 * 576;
/// Weights of a block of NF4.
const NF4_BLOCK: usize = 64;

/// A way to store weights.
pub struct Stored {
    /// The format, and the rule of its scale where rules differ.
    pub name: &'static str,
    /// Bits of a code.
    pub code_bits: u32,
    /// Bits that so many weights share.
    pub overhead: &'static [(u32, usize)],
    /// The values that the codes of a matrix `[out_features, in_features]` stand for. The number is the largest
    /// magnitude of the matrices that share a global scale.
    pub back: fn(&Array2<f32>, f32) -> Result<Array2<f32>>,
}

impl Stored {
    /// The values that the codes of a matrix stand for which shares nothing with another matrix.
    ///
    /// # Errors
    /// If the matrix cannot be rounded.
    pub fn alone(&self, w: &Array2<f32>) -> Result<Array2<f32>> {
        (self.back)(w, absmax(w))
    }

    /// Bits of a weight of a matrix `[576, 576]`.
    pub fn bits(&self) -> f64 {
        bits_per_weight(self.code_bits, self.overhead)
    }
}

/// Four bits.
const fn four(
    name: &'static str,
    overhead: &'static [(u32, usize)],
    back: fn(&Array2<f32>, f32) -> Result<Array2<f32>>,
) -> Stored {
    Stored { name, code_bits: 4, overhead, back }
}

/// Eight bits.
const fn eight(
    name: &'static str,
    overhead: &'static [(u32, usize)],
    back: fn(&Array2<f32>, f32) -> Result<Array2<f32>>,
) -> Stored {
    Stored { name, code_bits: 8, overhead, back }
}

/// Every format, four bits first.
pub static ALL: &[Stored] = &[
    four("int4 g128, max / 7", &[(16, 128)], |w, _| by_rule(&LAB_03, w, 128)),
    four("int4 g64, max / 7", &[(16, 64)], |w, _| by_rule(&LAB_03, w, 64)),
    four("int4 g64, max / 7.5", &[(16, 64)], |w, _| by_rule(&COMPRESSED_TENSORS_SYMMETRIC, w, 64)),
    four("int4 g32, max / 7", &[(16, 32)], |w, _| by_rule(&LAB_03, w, 32)),
    four("int4 g32, max / 7.5", &[(16, 32)], |w, _| by_rule(&COMPRESSED_TENSORS_SYMMETRIC, w, 32)),
    four("Q4_0", &[(16, 32)], |w, _| by_rule(&GGML_Q4_0, w, 32)),
    four("Q4_1", &[(16, 32), (16, 32)], |w, _| by_rule(&GGML_Q4_1, w, 32)),
    four("NF4", &[(32, NF4_BLOCK)], |w, _| nf4(w, false)),
    four(
        "NF4, double quantization",
        &[(8, NF4_BLOCK), (32, NF4_BLOCK * DOUBLE_BLOCK), (32, WEIGHTS)],
        |w, _| nf4(w, true),
    ),
    four("MXFP4, OCP floor", &[(8, MX_BLOCK)], |w, _| mx(w, &E2M1, ScaleRule::Floor)),
    // EVEN has the same codes on FP4.
    four("MXFP4, compressed-tensors", &[(8, MX_BLOCK)], |w, _| {
        mx(w, &E2M1, ScaleRule::CompressedTensors)
    }),
    four("MXFP4, RCEIL", &[(8, MX_BLOCK)], |w, _| mx(w, &E2M1, ScaleRule::NoClip)),
    four("MXFP4, CEIL", &[(8, MX_BLOCK)], |w, _| mx(w, &E2M1, ScaleRule::Ceil)),
    four(NVFP4, &[(8, NVFP4_BLOCK), (32, WEIGHTS)], |w, absmax| {
        let global = nvfp4_global(absmax);
        Ok(dequantize_nvfp4(&quantize_nvfp4(w, global)?, global))
    }),
    eight("int8 per channel", &[(32, 576)], |w, _| by_rule(&LAB_01, w, w.ncols())),
    eight("E4M3 per channel", &[(32, 576)], |w, _| {
        let (codes, scales) = float8::quantize_per_channel(w)?;
        Ok(codes.mapv(float8::decode) * scales)
    }),
    eight("MXFP8, OCP floor", &[(8, MX_BLOCK)], |w, _| mx(w, &E4M3, ScaleRule::Floor)),
    eight("MXFP8, compressed-tensors", &[(8, MX_BLOCK)], |w, _| {
        mx(w, &E4M3, ScaleRule::CompressedTensors)
    }),
];

/// The name of NVFP4.
pub const NVFP4: &str = "NVFP4";

/// `w` in groups of `size`, the last of a row shorter where `size` does not divide, by a rule.
fn by_rule(rule: &Rule, w: &Array2<f32>, size: usize) -> Result<Array2<f32>> {
    let mut back = w.clone();
    for mut row in back.rows_mut() {
        for mut group in row.axis_chunks_iter_mut(Axis(0), size) {
            let encoded = rule.encode(&group.to_vec())?;
            group.iter_mut().zip(encoded.values).for_each(|(weight, value)| *weight = value);
        }
    }
    Ok(back)
}

fn mx(w: &Array2<f32>, grid: &FloatGrid, rule: ScaleRule) -> Result<Array2<f32>> {
    Ok(dequantize_mx(&quantize_mx(w, grid, rule)?, grid))
}

/// NF4 with scales in `f32` or in eight bits.
fn nf4(w: &Array2<f32>, is_double: bool) -> Result<Array2<f32>> {
    let (table, values) = (normal_float(), w.iter().copied().collect::<Vec<f32>>());
    let mut blocks = quantize_table(&values, &table, NF4_BLOCK)?;
    if is_double {
        let dynamic = dynamic_table();
        blocks.absmax = double_dequantize(&double_quantize(&blocks.absmax, &dynamic)?, &dynamic);
    }
    Ok(Array2::from_shape_vec(w.dim(), dequantize_table(&blocks, &table))?)
}
