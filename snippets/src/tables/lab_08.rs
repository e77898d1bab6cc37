//! The tables of lab 08: small floats, the scales of their blocks, and every four- and eight-bit grid on
//! the same weights.

use anyhow::{Context, Result};
use float_grids::{
    E2M1, E4M3, FloatGrid, MX_BLOCK, ScaleRule, Specials, block_exponent, decode, decode_e8m0,
    dequantize_mx, largest, normal_float, nvfp4_global, nvfp4_scale, quantize_mx,
};
use formats::float8;
use kit::Table;
use kit::data::{Normal, normal_matrix, with_outlier_channel};
use kit::meters::relative_error;
use kit::table::{percent, sig3};
use measure::grids::plan::FEEDBACK;
use measure::grids::stored::{ALL, Stored};
use measure::grids::{Capture, Run};
use ndarray::{Array2, Axis};

use crate::inputs::Slice;
use crate::rows::{absmax, median};

/// Rows and columns of the planted matrices.
const PLANTED: (usize, usize) = (64, 1536);

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
    [("normal", normal), ("heavy tails", heavy), ("one outlier column", outlier)]
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
        Ok(relative_error(&w, &stored.alone(&w)?))
    };
    slice.all().map(|(_, w)| error(w)).collect()
}

/// Every format on the same weights, and the perplexity of the whole model in it.
pub fn comparison(slice: &Slice, model: &Capture) -> Result<Table> {
    let planted = planted();
    let mut rows = Vec::new();
    for stored in ALL {
        let (real, moved) = (on_real(stored, slice, 0)?, on_real(stored, slice, 16)?);
        let controls = planted.iter().map(|(_, w)| Ok(relative_error(w, &stored.alone(w)?)));
        let controls = controls.collect::<Result<Vec<_>>>()?;
        let run = model.run(stored.name).with_context(|| stored.name)?;
        rows.push((stored, real, moved, controls, run));
    }
    let title =
        "Error relative to the norm: the median of nine real matrices, and planted data; the model";
    let mut table = Table::of(title, rows)
        .text("format", |(stored, ..)| stored.name)
        .number("bits a weight", |(stored, ..)| format!("{:.3}", stored.bits()))
        .number("real", |(_, real, ..)| percent(median(real)))
        .number("real, blocks cut elsewhere", |(_, _, moved, ..)| percent(median(moved)));
    for (index, (name, _)) in planted.iter().enumerate() {
        table = table.number(*name, move |(_, _, _, controls, _)| percent(controls[index]));
    }
    Ok(table.number("perplexity", |(.., run)| format!("{:.2}", run.quality.perplexity)).done())
}

/// What each format does to the predictions of the whole model, from the one that changes them least.
pub fn model(of: &Capture) -> Result<Table> {
    let mut runs: Vec<&Run> = of.runs.iter().collect();
    runs.sort_by(|a, b| a.quality.kl_divergence.total_cmp(&b.quality.kl_divergence));
    Ok(Table::of("The whole model in each format, beside the model as it was fetched", runs)
        .text("format", |run| run.format.clone())
        .number("weight error", |run| percent(run.weight_error))
        .number("perplexity", |run| format!("{:.2}", run.quality.perplexity))
        .number("divergence (nats)", |run| sig3(run.quality.kl_divergence))
        .number("top-1 agreement", |run| percent(run.quality.top1_agreement))
        .done())
}

/// The nearest codes of two formats beside GPTQ's.
pub fn feedback(of: &Capture) -> Result<Table> {
    let mut rows = Vec::new();
    for feedback in &FEEDBACK {
        let run = |name: &'static str| of.run(name).context(name);
        rows.push((feedback.nearest_codes, run(feedback.nearest_codes)?, run(feedback.name)?));
    }
    let perplexity = |run: &Run| format!("{:.2}", run.quality.perplexity);
    Ok(Table::of("GPTQ on NVFP4's grid and on int4's", rows)
        .text("format", |(name, ..)| *name)
        .number("weight error, nearest", |(_, nearest, _)| percent(nearest.weight_error))
        .number("weight error, GPTQ", |(.., chosen)| percent(chosen.weight_error))
        .number("perplexity, nearest", move |(_, nearest, _)| perplexity(nearest))
        .number("perplexity, GPTQ", move |(.., chosen)| perplexity(chosen))
        .done())
}

/// Every format on each real matrix.
pub fn each_matrix(slice: &Slice) -> Result<Table> {
    let rows = ALL.iter().map(|stored| {
        let errors = on_real(stored, slice, 0)?;
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

/// The grids whose density is compared, in rising order, in units of the largest value.
fn unit_grids() -> [(&'static str, Vec<f32>); 3] {
    let int4 = (-7..=7i8).map(|code| f32::from(code) / 7.0).collect();
    let fp4 = (0..16).map(|code| decode(&E2M1, code) / largest(&E2M1)).collect();
    [("int4", int4), ("FP4", fp4), ("NF4", normal_float().to_vec())]
}

/// The distance to the nearest value.
fn off(grid: &[f32], value: f32) -> f64 {
    f64::from(grid.iter().fold(f32::INFINITY, |least, of| least.min((of - value).abs())))
}

/// The third of a block's largest magnitude, counted from 0, that a share of this magnitude lies in.
fn third(share: f32) -> usize {
    (share.abs() * 3.0).min(2.0) as usize
}

/// The rounding error in each third of the largest magnitude of a block, on three grids.
pub fn thirds() -> Result<Table> {
    const SAMPLES: usize = 3000;
    let mut sums = [[0.0; 3]; 3];
    for sample in 0..SAMPLES {
        let value = (sample as f32 + 0.5) / SAMPLES as f32;
        for (at, (_, grid)) in unit_grids().iter().enumerate() {
            let squares = off(grid, value).powi(2) + off(grid, -value).powi(2);
            sums[third(value)][at] += squares * 3.0 / (2 * SAMPLES) as f64;
        }
    }
    let title =
        "The root mean square error of rounding, relative to the largest magnitude of the block";
    let rows = ["up to a third of the largest", "up to two thirds", "above"].into_iter().zip(sums);
    let mut table = Table::of(title, rows).text("magnitude", |(name, _)| *name);
    for (at, (name, _)) in unit_grids().iter().enumerate() {
        table = table.number(*name, move |(_, sums)| percent(sums[at].sqrt()));
    }
    Ok(table.done())
}

/// A block: its largest magnitude over its root mean square, and its error on each grid relative to its norm.
pub struct Block {
    /// The ratio.
    pub ratio: f64,
    /// Of int4, FP4 and NF4, with the largest magnitude on the last value.
    pub errors: [f64; 3],
}

/// The names of the grids of [`Block::errors`].
pub fn unit_grid_names() -> [&'static str; 3] {
    unit_grids().map(|(name, _)| name)
}

/// Blocks of 32 of the planted matrices with normal and with heavy tails.
pub fn blocks() -> Vec<Block> {
    let ([(_, normal), (_, heavy), _], grids) = (planted(), unit_grids());
    let mut blocks = Vec::new();
    for row in normal.rows().into_iter().chain(heavy.rows()) {
        for block in row.axis_chunks_iter(Axis(0), MX_BLOCK) {
            let max = absmax(block);
            let squares: f64 = block.iter().map(|&w| f64::from(w).powi(2)).sum();
            let error = |grid: &[f32]| {
                let off = block.iter().map(|&w| (off(grid, w / max as f32) * max).powi(2));
                (off.sum::<f64>() / squares).sqrt()
            };
            let errors = [0, 1, 2].map(|at| error(&grids[at].1));
            blocks.push(Block { ratio: max / (squares / block.len() as f64).sqrt(), errors });
        }
    }
    blocks
}

/// The blocks of a matrix.
#[derive(Debug, Default)]
struct Shape {
    /// The largest magnitude of each over its root mean square.
    ratios: Vec<f64>,
    /// The weights in each third of the largest magnitude.
    in_third: [f64; 3],
    /// The squared error on each grid if the largest magnitude is the last value, and the squares of the weights.
    errors: [f64; 3],
    squares: f64,
}

impl Shape {
    fn of(w: &Array2<f32>, size: usize) -> Self {
        let (mut shape, grids) = (Self::default(), unit_grids());
        for row in w.rows() {
            for block in row.axis_chunks_iter(Axis(0), size) {
                let max = absmax(block);
                let squares: f64 = block.iter().map(|&w| f64::from(w).powi(2)).sum();
                if max == 0.0 {
                    continue;
                }
                shape.ratios.push(max / (squares / block.len() as f64).sqrt());
                shape.squares += squares;
                for &w in block {
                    let share = w / max as f32;
                    shape.in_third[third(share)] += 1.0;
                    for (error, (_, grid)) in shape.errors.iter_mut().zip(&grids) {
                        *error += (off(grid, share) * max).powi(2);
                    }
                }
            }
        }
        shape
    }

    fn share(&self, third: usize) -> String {
        percent(self.in_third[third] / self.in_third.iter().sum::<f64>())
    }
}

/// Where the weights of blocks lie, and what three grids with exact scales make of them.
pub fn block_shapes(slice: &Slice) -> Result<Table> {
    let [(_, normal), (_, heavy), _] = planted();
    let real = slice.all().next().context("the slice has matrices")?.1;
    let of = [("layer 1 q_proj", real), ("normal", &normal), ("heavy tails", &heavy)];
    let sizes = [16, 32, 64, 128];
    let rows =
        of.into_iter().flat_map(|(name, w)| sizes.map(|size| (name, size, Shape::of(w, size))));
    let title = "Blocks: where the weights lie, and the error on three grids with exact scales";
    let mut table = Table::of(title, rows)
        .text("weights", |(name, ..)| *name)
        .number("block", |(_, size, _)| size.to_string())
        .number("max / rms", |(.., shape)| sig3(median(&shape.ratios)));
    for (at, name) in ["lower third", "middle third", "upper third"].into_iter().enumerate() {
        table = table.number(name, move |(.., shape)| shape.share(at));
    }
    for (at, (name, _)) in unit_grids().iter().enumerate() {
        table = table
            .number(*name, move |(.., shape)| percent((shape.errors[at] / shape.squares).sqrt()));
    }
    Ok(table.done())
}
