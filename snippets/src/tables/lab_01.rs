//! The tables of lab 01: one scale or one per row, on real weights and on a planted outlier.

use anyhow::Result;
use fake_quant_linear::{
    Quantized, dequantize, int8_linear, memory_bytes, memory_bytes_f32, quantize_per_channel,
    quantize_per_tensor,
};
use kit::Table;
use kit::data::{normal_matrix, with_outlier_row};
use kit::meters::{max_abs_error, mean, relative_error, row_relative_errors, sqnr_db};
use kit::real_slice::{self, TENSORS, label};
use kit::reference::linear_f64;
use kit::table::{count, percent, sig3, times};
use ndarray::Array2;

use crate::rows::{largest, loudness, median};

/// The row that is planted as the outlier of [`outlier_row`].
pub const LOUD_ROW: usize = 7;

/// The planted control: 64 rows of 128 normal values, row 7 a hundred times as loud.
pub fn planted() -> Array2<f32> {
    with_outlier_row(&normal_matrix(42, 64, 128), LOUD_ROW, 100.0)
}

/// The relative error of each row of `w` after a round trip.
pub fn row_errors(w: &Array2<f32>, quantized: &Quantized) -> Vec<f64> {
    row_relative_errors(w, &dequantize(quantized)).to_vec()
}

/// The mean of the errors of all rows but the loud one.
pub fn quiet(errors: &[f64]) -> f64 {
    mean(errors.iter().enumerate().filter(|(row, _)| *row != LOUD_ROW).map(|(_, error)| error))
}

/// What travels in the real slice, and how unequal its rows are.
pub fn real_slice_contents() -> Result<Table> {
    let mut table = Table::new("The real slice: nine matrices of SmolLM2-135M")
        .text("tensor")
        .number("rows")
        .number("in_features")
        .number("largest magnitude")
        .number("row maximum, median")
        .number("loudest row over median row");
    for name in TENSORS {
        let w = real_slice::tensor(name)?;
        let maxima = loudness(&w);
        let (median, largest) = (median(&maxima), largest(&maxima));
        table.row([
            label(name),
            count(w.nrows()),
            count(w.ncols()),
            sig3(largest),
            sig3(median),
            times(largest / median),
        ]);
    }
    Ok(table)
}

/// Round-trip errors of the nine real matrices, one scale against one per row.
pub fn real_errors() -> Result<Table> {
    let mut table = Table::new("int8 round trip of real weights, error relative to the norm")
        .text("tensor")
        .number("per tensor")
        .number("per channel")
        .number("ratio")
        .number("per tensor, worst row")
        .number("per channel, worst row")
        .number("per channel, SQNR (dB)");
    for name in TENSORS {
        let w = real_slice::tensor(name)?;
        let (tensor, channel) = (quantize_per_tensor(&w)?, quantize_per_channel(&w)?);
        let (wt, wc) = (dequantize(&tensor), dequantize(&channel));
        let (et, ec) = (relative_error(&w, &wt), relative_error(&w, &wc));
        table.row([
            label(name),
            percent(et),
            percent(ec),
            times(et / ec),
            percent(largest(&row_errors(&w, &tensor))),
            percent(largest(&row_errors(&w, &channel))),
            sig3(sqnr_db(&w, &wc)),
        ]);
    }
    Ok(table)
}

/// The planted outlier: what the quiet rows, the loud row and the whole matrix lose.
pub fn outlier_row() -> Result<Table> {
    let w = planted();
    let (tensor, channel) = (quantize_per_tensor(&w)?, quantize_per_channel(&w)?);
    let (by_tensor, by_channel) = (row_errors(&w, &tensor), row_errors(&w, &channel));
    let global = |q: &Quantized| relative_error(&w, &dequantize(q));
    let mut table = Table::new("One row of 64 is a hundred times as loud: relative error")
        .text("measured on")
        .number("per tensor")
        .number("per channel");
    let mut row =
        |what: &str, t: f64, c: f64| table.row([what.to_string(), percent(t), percent(c)]);
    row("the 63 quiet rows, mean", quiet(&by_tensor), quiet(&by_channel));
    row("the loud row", by_tensor[LOUD_ROW], by_channel[LOUD_ROW]);
    row("the whole matrix", global(&tensor), global(&channel));
    Ok(table)
}

/// Bytes of one real matrix in four forms.
pub fn memory() -> Result<Table> {
    let w = real_slice::tensor(TENSORS[0])?;
    let floats = memory_bytes_f32(&w);
    let mut table = Table::new(format!("Bytes of {}, scales counted", label(TENSORS[0])))
        .text("stored as")
        .number("bytes")
        .number("bytes a weight")
        .number("smaller than f32")
        .number("smaller than f16");
    let mut row = |what: &str, bytes: usize| {
        table.row([
            what.to_string(),
            count(bytes),
            format!("{:.4}", bytes as f64 / w.len() as f64),
            times(floats as f64 / bytes as f64),
            times(floats as f64 / 2.0 / bytes as f64),
        ]);
    };
    row("f32", floats);
    row("f16", floats / 2);
    row("int8, per channel", memory_bytes(&quantize_per_channel(&w)?));
    row("int8, per tensor", memory_bytes(&quantize_per_tensor(&w)?));
    Ok(table)
}

/// The layer's output: weights quantized, activations too, and the integer product.
pub fn layer_output() -> Result<Table> {
    let mut table = Table::new("Output of a layer on 16 random tokens, error relative to the norm")
        .text("tensor")
        .number("W8A16, per channel")
        .number("W8A8, per token and channel")
        .number("int8 product against fake-quantized, largest difference");
    for name in [TENSORS[0], TENSORS[4], TENSORS[8]] {
        let w = real_slice::tensor(name)?;
        let x = normal_matrix(11, 16, w.ncols());
        let (wq, xq) = (quantize_per_channel(&w)?, quantize_per_channel(&x)?);
        let exact = linear_f64(&x, &w);
        let weights_only = linear_f64(&x, &dequantize(&wq));
        let both = linear_f64(&dequantize(&xq), &dequantize(&wq));
        let largest = both.iter().fold(0.0, |max: f64, &value| max.max(f64::from(value.abs())));
        let roads = max_abs_error(&both, &int8_linear(&xq, &wq)?) / largest;
        table.row([
            label(name),
            percent(relative_error(&exact, &weights_only)),
            percent(relative_error(&exact, &both)),
            below_rounding(roads),
        ]);
    }
    Ok(table)
}

/// The integer product is exact, the other road rounds in `f32`: how they differ depends on the
/// order of the sums, so the table says only that it is rounding.
fn below_rounding(difference: f64) -> String {
    let bound = f64::powi(2.0, -22);
    if difference < bound { "below 1 in 4,000,000".into() } else { percent(difference) }
}
