//! The tables of lab 01: one scale or one per row, on real weights and on a planted outlier.

use anyhow::Result;
use fake_quant_linear::{
    Quantized, dequantize, int8_linear, memory_bytes, memory_bytes_f32, quantize_per_channel,
    quantize_per_tensor,
};
use kit::Table;
use kit::data::{normal_matrix, with_outlier_row};
use kit::meters::{max_abs_error, mean, relative_error, row_relative_errors, sqnr_db};
use kit::real_slice::{TENSORS, label};
use kit::reference::linear_f64;
use kit::table::{count, percent, sig3, times};
use ndarray::Array2;

use crate::inputs::Slice;
use crate::rows::{largest, median, row_absmaxes};

/// The row that is planted as the outlier of [`outlier_row`].
pub const OUTLIER_ROW: usize = 7;

/// The planted control: 64 rows of 128 normal values, with the absmax of row 7 a hundred times as large.
pub fn planted() -> Array2<f32> {
    with_outlier_row(&normal_matrix(42, 64, 128), OUTLIER_ROW, 100.0)
}

/// The relative error of each row of `w` after a round trip.
pub fn row_errors(w: &Array2<f32>, quantized: &Quantized) -> Vec<f64> {
    row_relative_errors(w, &dequantize(quantized)).to_vec()
}

/// The mean of the errors of all rows but the outlier.
pub fn mean_of_others(errors: &[f64]) -> f64 {
    mean(errors.iter().enumerate().filter(|(row, _)| *row != OUTLIER_ROW).map(|(_, error)| error))
}

/// What travels in the real slice, and how unequal its rows are.
pub fn real_slice_contents(slice: &Slice) -> Result<Table> {
    let rows = slice.all().map(|(name, w)| (name, w, row_absmaxes(w)));
    Ok(Table::of("The real slice: nine matrices of SmolLM2-135M", rows)
        .text("tensor", |(name, ..)| label(name))
        .number("rows", |(_, w, _)| count(w.nrows()))
        .number("in_features", |(_, w, _)| count(w.ncols()))
        .number("largest magnitude", |(.., maxima)| sig3(largest(maxima)))
        .number("row maximum, median", |(.., maxima)| sig3(median(maxima)))
        .number("largest row absmax over the median", |(.., maxima)| {
            times(largest(maxima) / median(maxima))
        })
        .done())
}

/// Round-trip errors of the nine real matrices, one scale against one per row.
pub fn real_errors(slice: &Slice) -> Result<Table> {
    let rows = slice.all().map(|(name, w)| {
        let (tensor, channel) = (quantize_per_tensor(w)?, quantize_per_channel(w)?);
        let back = dequantize(&channel);
        let errors = [relative_error(w, &dequantize(&tensor)), relative_error(w, &back)];
        let worst = [tensor, channel].map(|quantized| largest(&row_errors(w, &quantized)));
        Ok((name, errors, worst, sqnr_db(w, &back)))
    });
    let title = "int8 round trip of real weights, error relative to the norm";
    Ok(Table::of(title, rows.collect::<Result<Vec<_>>>()?)
        .text("tensor", |(name, ..)| label(name))
        .number("per tensor", |(_, errors, ..)| percent(errors[0]))
        .number("per channel", |(_, errors, ..)| percent(errors[1]))
        .number("ratio", |(_, errors, ..)| times(errors[0] / errors[1]))
        .number("per tensor, worst row", |(_, _, worst, _)| percent(worst[0]))
        .number("per channel, worst row", |(_, _, worst, _)| percent(worst[1]))
        .number("per channel, SQNR (dB)", |(.., sqnr)| sig3(*sqnr))
        .done())
}

/// The planted outlier: the errors of the other rows, of the outlier row and of the whole matrix.
pub fn outlier_row() -> Result<Table> {
    let w = planted();
    let quantized = [quantize_per_tensor(&w)?, quantize_per_channel(&w)?];
    let errors = quantized.each_ref().map(|quantized| row_errors(&w, quantized));
    let whole = quantized.map(|quantized| relative_error(&w, &dequantize(&quantized)));
    let rows = [
        ("the 63 other rows, mean", errors.each_ref().map(|errors| mean_of_others(errors))),
        ("the outlier row", errors.map(|errors| errors[OUTLIER_ROW])),
        ("the whole matrix", whole),
    ];
    Ok(Table::of("One row of 64 is a hundred times as large: relative error", rows)
        .text("measured on", |(what, _)| *what)
        .number("per tensor", |(_, errors)| percent(errors[0]))
        .number("per channel", |(_, errors)| percent(errors[1]))
        .done())
}

/// Bytes of one real matrix in four forms.
pub fn memory(slice: &Slice) -> Result<Table> {
    let w = slice.tensor(TENSORS[0]);
    let floats = memory_bytes_f32(w);
    let rows = [
        ("f32", floats),
        ("f16", floats / 2),
        ("int8, per channel", memory_bytes(&quantize_per_channel(w)?)),
        ("int8, per tensor", memory_bytes(&quantize_per_tensor(w)?)),
    ];
    let per_weight = |bytes: usize| format!("{:.4}", bytes as f64 / w.len() as f64);
    Ok(Table::of(format!("Bytes of {}, scales counted", label(TENSORS[0])), rows)
        .text("stored as", |(what, _)| *what)
        .number("bytes", |(_, bytes)| count(*bytes))
        .number("bytes a weight", |(_, bytes)| per_weight(*bytes))
        .number("smaller than f32", |(_, bytes)| times(floats as f64 / *bytes as f64))
        .number("smaller than f16", |(_, bytes)| times(floats as f64 / 2.0 / *bytes as f64))
        .done())
}

/// The layer's output: weights quantized, activations too, and the integer product.
pub fn layer_output(slice: &Slice) -> Result<Table> {
    let rows = [TENSORS[0], TENSORS[4], TENSORS[8]].map(|name| -> Result<_> {
        let w = slice.tensor(name);
        let x = normal_matrix(11, 16, w.ncols());
        let (wq, xq) = (quantize_per_channel(w)?, quantize_per_channel(&x)?);
        let exact = linear_f64(&x, w);
        let weights_only = linear_f64(&x, &dequantize(&wq));
        let both = linear_f64(&dequantize(&xq), &dequantize(&wq));
        let largest = both.iter().fold(0.0, |max: f64, &value| max.max(f64::from(value.abs())));
        let roads = max_abs_error(&both, &int8_linear(&xq, &wq)?) / largest;
        Ok((name, [&weights_only, &both].map(|y| relative_error(&exact, y)), roads))
    });
    let title = "Output of a layer on 16 random tokens, error relative to the norm";
    Ok(Table::of(title, rows.into_iter().collect::<Result<Vec<_>>>()?)
        .text("tensor", |(name, ..)| label(name))
        .number("W8A16, per channel", |(_, errors, _)| percent(errors[0]))
        .number("W8A8, per token and channel", |(_, errors, _)| percent(errors[1]))
        .number("int8 product against fake-quantized, largest difference", |(.., roads)| {
            below_rounding(*roads)
        })
        .done())
}

/// The integer product is exact, the other road rounds in `f32`: how they differ depends on the
/// order of the sums, so the table says only that it is rounding.
fn below_rounding(difference: f64) -> String {
    let bound = f64::powi(2.0, -22);
    if difference < bound { "below 1 in 4,000,000".into() } else { percent(difference) }
}
