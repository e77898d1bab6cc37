//! The tables of lab 08: small floats, the scales of their blocks, and every four- and eight-bit grid on
//! the same weights.

use anyhow::{Context, Result};
use float_grids::{
    DOUBLE_BLOCK, E2M1, E4M3, FloatGrid, MX_BLOCK, NVFP4_BLOCK, ScaleRule, Specials,
    bits_per_weight, block_exponent, decode, decode_e8m0, dequantize_mx, dequantize_nvfp4,
    double_dequantize, double_quantize, dynamic_table, largest, normal_float, nvfp4_global,
    nvfp4_scale, quantize_mx, quantize_nvfp4, quantize_table,
};
use formats::float8;
use formats::rules::{COMPRESSED_TENSORS_SYMMETRIC, GGML_Q4_0, GGML_Q4_1, LAB_01, LAB_03, Rule};
use kit::Table;
use kit::data::{Normal, normal_matrix, with_outlier_channel};
use kit::meters::relative_error;
use kit::table::{percent, sig3};
use ndarray::{Array2, Axis};

use crate::inputs::Slice;
use crate::rows::{absmax, median};

/// Rows and columns of the planted matrices.
const PLANTED: (usize, usize) = (64, 1536);
/// The weights of a square matrix of the model, over which a number for the tensor is spread.
const WEIGHTS: usize = 576 * 576;

/// The grids: sizes, ends and specials.
pub fn grids() -> Result<Table> {
    let values = |grid: &FloatGrid| {
        let codes = (0..grid.codes()).map(|code| decode(grid, code as u8));
        codes.filter(|value| value.is_finite()).count()
    };
    let title = "Small floats: the values of their codes";
    Ok(Table::of(title, FloatGrid::ALL)
        .text("grid", |grid| grid.name)
        .number("bits", |grid| grid.bits().to_string())
        .number("bias", |grid| grid.bias.to_string())
        .number("largest", |grid| largest(grid).to_string())
        .number("smallest normal", |grid| decode(grid, 1 << grid.fraction_bits).to_string())
        .number("smallest", |grid| decode(grid, 1).to_string())
        .number("finite codes", |grid| values(grid).to_string())
        .text("other codes", |grid| match grid.specials {
            Specials::None => "none",
            Specials::OneNan => "NaN, one of each sign",
            Specials::Ieee => "infinity and NaN",
        })
        .done())
}

/// The exponents of five rules for six blocks.
pub fn exponents() -> Result<Table> {
    let blocks =
        [(E2M1, 1.49), (E2M1, 1.51), (E2M1, 1.75), (E4M3, 1.75), (E4M3, 1.76), (E4M3, 1.99)];
    let title = "The exponent of the scale for blocks with these largest magnitudes";
    let mut table = Table::of(title, ScaleRule::ALL).text("rule", |rule| rule.name());
    for (grid, absmax) in blocks {
        table = table.number(format!("{}, {absmax}", grid.name), move |&rule| {
            (i32::from(block_exponent(absmax, &grid, rule)) - 127).to_string()
        });
    }
    Ok(table.done())
}

/// What a rule does to blocks of normal values: the share of blocks whose largest magnitude is clipped, and
/// the squared error over the squared norm.
///
/// # Errors
/// If the lab refuses the blocks.
pub fn rule_on_normal(rule: ScaleRule, grid: &FloatGrid) -> Result<(f64, f64)> {
    let w = normal_matrix(88, 2000, MX_BLOCK);
    let blocks = quantize_mx(&w, grid, rule)?;
    let back = dequantize_mx(&blocks, grid);
    let is_clipped = |(row, scale): (usize, &u8)| {
        absmax(w.row(row)) > f64::from(largest(grid) * decode_e8m0(*scale))
    };
    let clipped = blocks.scales().iter().enumerate().filter(|of| is_clipped(*of)).count();
    Ok((clipped as f64 / w.nrows() as f64, relative_error(&w, &back).powi(2)))
}

/// The five rules on blocks of normal values.
pub fn rules_on_normal() -> Result<Table> {
    let rows = ScaleRule::ALL
        .map(|rule| Ok((rule, rule_on_normal(rule, &E2M1)?, rule_on_normal(rule, &E4M3)?)));
    let title = "2,000 blocks of 32 normal values: blocks clipped, squared error over squared norm";
    Ok(Table::of(title, rows.into_iter().collect::<Result<Vec<_>>>()?)
        .text("rule", |(rule, ..)| rule.name())
        .number("FP4 clipped", |(_, fp4, _)| percent(fp4.0))
        .number("FP4 error", |(_, fp4, _)| sig3(fp4.1))
        .number("FP8 clipped", |(.., fp8)| percent(fp8.0))
        .number("FP8 error", |(.., fp8)| sig3(fp8.1))
        .done())
}

/// Block scales of NVFP4 that become too small, in the lab and in compressed-tensors.
pub fn underflow() -> Result<Table> {
    let global = nvfp4_global(3.0);
    let title = "NVFP4 under the global scale 896: the scale of a block";
    let row = |absmax: f32| {
        let code = nvfp4_scale(absmax, global);
        let ideal = absmax / largest(&E2M1) * global;
        // compressed-tensors replaces a scale that rounds to 0 by the epsilon of E4M3.
        let is_zero = float8::encode(ideal) == 0;
        (absmax, ideal, decode(&E4M3, code), if is_zero { 0.125 } else { decode(&E4M3, code) })
    };
    Ok(Table::of(title, [3.0, 1e-3, 1e-5, 1e-6, 0.0].map(row))
        .number("largest magnitude", |(absmax, ..)| format!("{absmax:e}"))
        .number("its scale, unrounded", |(_, ideal, ..)| sig3(f64::from(*ideal)))
        .number("stored by the lab", |(.., ours, _)| ours.to_string())
        .number("by compressed-tensors", |(.., theirs)| theirs.to_string())
        .done())
}

/// A way to store weights.
struct Stored {
    name: &'static str,
    bits: f64,
    back: fn(&Array2<f32>) -> Result<Array2<f32>>,
}

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

fn nvfp4(w: &Array2<f32>) -> Result<Array2<f32>> {
    let absmax = w.rows().into_iter().map(absmax).fold(0.0, f64::max);
    let global = nvfp4_global(absmax as f32);
    Ok(dequantize_nvfp4(&quantize_nvfp4(w, global)?, global))
}

/// NF4 in blocks of 64, with scales in `f32` or in eight bits.
fn nf4(w: &Array2<f32>, is_double: bool) -> Result<Array2<f32>> {
    const BLOCK: usize = 64;
    let (table, values) = (normal_float(), w.iter().copied().collect::<Vec<f32>>());
    let mut blocks = quantize_table(&values, &table, BLOCK)?;
    if is_double {
        let dynamic = dynamic_table();
        blocks.absmax = double_dequantize(&double_quantize(&blocks.absmax, &dynamic)?, &dynamic);
    }
    let back = float_grids::dequantize_table(&blocks, &table);
    Ok(Array2::from_shape_vec(w.dim(), back)?)
}

fn e4m3(w: &Array2<f32>) -> Result<Array2<f32>> {
    let (codes, scales) = float8::quantize_per_channel(w)?;
    Ok(codes.mapv(float8::decode) * scales)
}

/// Every format of the comparison, four bits first.
fn all() -> Vec<Stored> {
    let int4 = |size: usize| bits_per_weight(4, &[(16, size)]);
    let mxfp4 = bits_per_weight(4, &[(8, MX_BLOCK)]);
    let channel = bits_per_weight(8, &[(32, 576)]);
    let nvfp4_bits = bits_per_weight(4, &[(8, NVFP4_BLOCK), (32, WEIGHTS)]);
    let double = bits_per_weight(4, &[(8, 64), (32, 64 * DOUBLE_BLOCK), (32, WEIGHTS)]);
    vec![
        Stored { name: "int4 g128, max / 7", bits: int4(128), back: |w| by_rule(&LAB_03, w, 128) },
        Stored { name: "int4 g64, max / 7", bits: int4(64), back: |w| by_rule(&LAB_03, w, 64) },
        Stored {
            name: "int4 g64, max / 7.5",
            bits: int4(64),
            back: |w| by_rule(&COMPRESSED_TENSORS_SYMMETRIC, w, 64),
        },
        Stored { name: "int4 g32, max / 7", bits: int4(32), back: |w| by_rule(&LAB_03, w, 32) },
        Stored { name: "Q4_0", bits: int4(32), back: |w| by_rule(&GGML_Q4_0, w, 32) },
        Stored {
            name: "Q4_1",
            bits: bits_per_weight(4, &[(16, 32), (16, 32)]),
            back: |w| by_rule(&GGML_Q4_1, w, 32),
        },
        Stored { name: "NF4", bits: bits_per_weight(4, &[(32, 64)]), back: |w| nf4(w, false) },
        Stored { name: "NF4, double quantization", bits: double, back: |w| nf4(w, true) },
        Stored { name: "MXFP4, OCP floor", bits: mxfp4, back: |w| mx(w, &E2M1, ScaleRule::Floor) },
        Stored {
            name: "MXFP4, compressed-tensors",
            bits: mxfp4,
            back: |w| mx(w, &E2M1, ScaleRule::CompressedTensors),
        },
        Stored {
            name: "MXFP4, no clipping",
            bits: mxfp4,
            back: |w| mx(w, &E2M1, ScaleRule::NoClip),
        },
        Stored { name: "MXFP4, CEIL", bits: mxfp4, back: |w| mx(w, &E2M1, ScaleRule::Ceil) },
        Stored { name: "NVFP4", bits: nvfp4_bits, back: nvfp4 },
        Stored {
            name: "int8 per channel",
            bits: channel,
            back: |w| by_rule(&LAB_01, w, w.ncols()),
        },
        Stored { name: "E4M3 per channel", bits: channel, back: e4m3 },
        Stored {
            name: "MXFP8, OCP floor",
            bits: bits_per_weight(8, &[(8, MX_BLOCK)]),
            back: |w| mx(w, &E4M3, ScaleRule::Floor),
        },
        Stored {
            name: "MXFP8, compressed-tensors",
            bits: bits_per_weight(8, &[(8, MX_BLOCK)]),
            back: |w| mx(w, &E4M3, ScaleRule::CompressedTensors),
        },
    ]
}

/// Normal values, values with the tails of Student's distribution of four degrees of freedom, and normal
/// values with one column of twenty times the size.
fn planted() -> [(&'static str, Array2<f32>); 3] {
    let (rows, columns) = PLANTED;
    let normal = normal_matrix(89, rows, columns);
    let mut stream = Normal::seeded(90);
    let heavy = Array2::from_shape_simple_fn(PLANTED, || {
        let squares: f64 = (0..4).map(|_| stream.sample().powi(2)).sum();
        (stream.sample() / (squares / 4.0).sqrt()) as f32
    });
    let outlier = with_outlier_channel(&normal, 700, 20.0);
    [("normal", normal), ("heavy tails", heavy), ("one loud column", outlier)]
}

/// The columns of `w` moved on by `by`, the last ones to the front, so that blocks are cut elsewhere.
fn moved_on(w: &Array2<f32>, by: usize) -> Array2<f32> {
    let columns = w.ncols();
    let from: Vec<usize> = (0..columns).map(|column| (column + columns - by) % columns).collect();
    w.select(Axis(1), &from)
}

/// The median error of a format over the real matrices.
fn on_real(stored: &Stored, slice: &Slice, moved: usize) -> Result<Vec<f64>> {
    let error = |w: &Array2<f32>| -> Result<f64> {
        let w = moved_on(w, moved);
        Ok(relative_error(&w, &(stored.back)(&w)?))
    };
    slice.all().map(|(_, w)| error(w)).collect()
}

/// Every format on the same weights.
pub fn comparison(slice: &Slice) -> Result<Table> {
    let planted = planted();
    let mut rows = Vec::new();
    for stored in all() {
        let (real, moved) = (on_real(&stored, slice, 0)?, on_real(&stored, slice, 16)?);
        let controls = planted.iter().map(|(_, w)| Ok(relative_error(w, &(stored.back)(w)?)));
        let controls = controls.collect::<Result<Vec<_>>>()?;
        rows.push((stored, real, moved, controls));
    }
    let title = "Error relative to the norm: the median of nine real matrices, and planted data";
    let mut table = Table::of(title, rows)
        .text("format", |(stored, ..)| stored.name)
        .number("bits a weight", |(stored, ..)| format!("{:.3}", stored.bits))
        .number("real", |(_, real, ..)| percent(median(real)))
        .number("real, blocks cut elsewhere", |(_, _, moved, _)| percent(median(moved)));
    for (index, (name, _)) in planted.iter().enumerate() {
        table = table.number(*name, move |(.., controls)| percent(controls[index]));
    }
    Ok(table.done())
}

/// Every format on each real matrix.
pub fn each_matrix(slice: &Slice) -> Result<Table> {
    let rows = all().into_iter().map(|stored| {
        let errors = on_real(&stored, slice, 0)?;
        Ok((stored.name, errors))
    });
    let title = "Error relative to the norm of each real matrix";
    let mut table = Table::of(title, rows.collect::<Result<Vec<_>>>()?).text("format", |row| row.0);
    for (index, (name, _)) in slice.all().enumerate() {
        let label = kit::real_slice::label(name);
        table = table.number(label, move |(_, errors)| percent(errors[index]));
    }
    Ok(table.done())
}

/// The largest magnitude of a block over its root mean square, by the size of the blocks.
pub fn block_shapes(slice: &Slice) -> Result<Table> {
    let ratio = |w: &Array2<f32>, size: usize| {
        let mut ratios = Vec::new();
        for row in w.rows() {
            for block in row.axis_chunks_iter(Axis(0), size) {
                let squares: f64 = block.iter().map(|&w| f64::from(w).powi(2)).sum();
                ratios.push(absmax(block) / (squares / block.len() as f64).sqrt());
            }
        }
        ratios.retain(|ratio| ratio.is_finite());
        median(&ratios)
    };
    let [(_, normal), (_, heavy), (_, outlier)] = planted();
    let real = slice.all().next().context("the slice has matrices")?.1;
    let title = "Largest magnitude of a block over its root mean square, median of the blocks";
    Ok(Table::of(title, [16, 32, 64, 128])
        .number("block", |size| size.to_string())
        .number("layer 1 q_proj", |&size| sig3(ratio(real, size)))
        .number("normal", |&size| sig3(ratio(&normal, size)))
        .number("heavy tails", |&size| sig3(ratio(&heavy, size)))
        .number("one loud column", |&size| sig3(ratio(&outlier, size)))
        .done())
}
