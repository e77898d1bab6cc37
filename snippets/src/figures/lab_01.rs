//! Figures of lab 01: one scale for the tensor against one scale per row.

use std::collections::BTreeSet;

use anyhow::Result;
use fake_quant_linear::{Quantized, dequantize, quantize_per_channel, quantize_per_tensor};
use kit::meters::relative_error;
use kit::real_slice::{self, TENSORS};
use kit::table::percent;
use ndarray::{Array2, ArrayView1};

use super::{
    Axis, Drawing, Figure, HPos, Ink, Key, Layout, MARKER, Mark, Pen, Plot, Shape, axis_percent,
    draw, plain, subject,
};
use crate::inputs::Slice;
use crate::rows::{ascending, largest, median, range, row_absmaxes, smallest};
use crate::tables::lab_01::{OUTLIER_ROW, mean_of_others, planted, row_errors};

/// One scale for the tensor. A ring: where both are the same, the square shows inside.
const PER_TENSOR: Mark = Mark { shape: Shape::Ring, ink: Ink::Two, radius: MARKER };
/// One scale per row.
const PER_CHANNEL: Mark = Mark { shape: Shape::Square, ink: Ink::One, radius: MARKER - 4 };

/// Radius of markers where there are hundreds.
const SMALL: i32 = MARKER - 12;

/// The legend of the figures that compare the two, in line `line`.
fn granularities(plot: &Plot<'_>, line: i32) -> Result<()> {
    let tensor = Key::Mark(PER_TENSOR, "one scale for the tensor");
    plot.legend(line, &[tensor, Key::Mark(PER_CHANNEL, "one per row")])
}

/// The relative error of each row under the lab's two granularities.
struct RowErrors {
    per_tensor: Vec<f64>,
    per_channel: Vec<f64>,
}

impl RowErrors {
    fn of(w: &Array2<f32>) -> Result<Self> {
        Ok(Self {
            per_tensor: row_errors(w, &quantize_per_tensor(w)?),
            per_channel: row_errors(w, &quantize_per_channel(w)?),
        })
    }

    fn all(&self) -> impl Iterator<Item = &f64> {
        self.per_tensor.iter().chain(&self.per_channel)
    }

    /// The rows from left to right in this order.
    fn draw(&self, plot: &Plot<'_>, order: &[usize]) -> Result<()> {
        let smaller = if order.len() > 100 { MARKER - SMALL } else { 0 };
        let points = |errors: &[f64]| {
            let places = order.iter().enumerate();
            places.map(|(place, &row)| (place as f64, errors[row])).collect::<Vec<_>>()
        };
        plot.marks(points(&self.per_channel), PER_CHANNEL.sized(PER_CHANNEL.radius - smaller))?;
        plot.marks(points(&self.per_tensor), PER_TENSOR.sized(PER_TENSOR.radius - smaller))
    }
}

/// The planted control: 64 rows, one of them an outlier of 100 times the absmax.
pub fn outlier_row() -> Result<Figure> {
    let w = planted();
    let errors = RowErrors::of(&w)?;
    let drawing = outlier_row_plot(&errors)?;
    let others = [&errors.per_tensor, &errors.per_channel].map(|errors| mean_of_others(errors));
    let [wrecked, healthy, outlier] =
        [others[0], others[1], errors.per_tensor[OUTLIER_ROW]].map(percent);
    Ok(Figure {
        title: "Relative error of each row of a matrix with one outlier row".into(),
        caption: format!(
            "64 rows of normal values, row {OUTLIER_ROW} made 100 times as large. With one scale for the \
             tensor the other rows lose {wrecked} of themselves on average, with one per row \
             {healthy}; the outlier row is the same either way."
        ),
        alt: format!(
            "Scatter plot of 64 rows, error on a logarithmic axis. With one scale for the tensor \
             63 rows lie in a band around {wrecked}; with one scale per row all lie in a band \
             around {healthy}. At row {OUTLIER_ROW} both markers are at {outlier}."
        ),
        drawing,
    })
}

/// The rows in their order.
fn outlier_row_plot(errors: &RowErrors) -> Result<Drawing> {
    let x = Axis::linear("row", -1.0..64.0).ticks([0.0, 16.0, 32.0, 48.0, 63.0], plain);
    let y = Axis::log("relative error of the row", 0.003..1.0)
        .ticks([0.003, 0.01, 0.03, 0.1, 0.3, 1.0], axis_percent)
        .holding(errors.all());
    draw(Layout::with_legend(1), x.without_grid(), y, |plot| {
        errors.draw(plot, &(0..64).collect::<Vec<_>>())?;
        let outlier = (OUTLIER_ROW as f64, errors.per_tensor[OUTLIER_ROW]);
        plot.guide([outlier, (outlier.0, 0.06)], Pen::dotted(Ink::Muted))?;
        let text = format!("row {OUTLIER_ROW}, 100 times as large");
        plot.label((outlier.0, 0.06), (-60, -110), HPos::Left, Ink::Text, &text)?;
        granularities(plot, 1)
    })
}

/// The same on real weights: rows sorted by their absmax.
pub fn real_row_errors(slice: &Slice) -> Result<Figure> {
    let name = TENSORS[2];
    let w = slice.tensor(name);
    let errors = RowErrors::of(w)?;
    let order = ascending(&row_absmaxes(w));
    let last = order[order.len() - 1];
    let drawing = sorted_rows_plot(&errors, &order)?;
    let medians = [&errors.per_tensor, &errors.per_channel].map(|errors| median(errors));
    let [wrecked, healthy, both] = [medians[0], medians[1], errors.per_channel[last]].map(percent);
    Ok(Figure {
        title: "Relative error of each row of a real matrix".into(),
        caption: format!(
            "{}, {} rows. With one scale for the tensor the median row loses {wrecked}, with one \
             per row {healthy}. The row of the largest absmax sets the tensor's scale: for it both are the same, \
             {both}.",
            subject(name),
            w.nrows(),
        ),
        alt: format!(
            "Scatter plot, error on a logarithmic axis, rows sorted by their largest weight. One \
             scale for the tensor: a band around {wrecked}, falling towards the large rows. One \
             scale per row: a band around {healthy}. They meet at the row of the largest absmax, at {both}."
        ),
        drawing,
    })
}

/// The rows from the smallest absmax to the largest.
fn sorted_rows_plot(errors: &RowErrors, order: &[usize]) -> Result<Drawing> {
    let largest = order[order.len() - 1];
    let x = Axis::linear("rows by growing absmax", -3.0..194.0)
        .ticks([0.0, 50.0, 100.0, 150.0, 191.0], plain);
    let y = Axis::log("relative error of the row", 0.005..0.12)
        .ticks([0.005, 0.01, 0.02, 0.05, 0.1], axis_percent)
        .holding(errors.all());
    draw(Layout::with_legend(1), x.without_grid(), y, |plot| {
        errors.draw(plot, order)?;
        let end = ((order.len() - 1) as f64, errors.per_channel[largest]);
        let text = format!("row {largest}, the largest");
        plot.label(end, (-130, 0), HPos::Right, Ink::Text, &text)?;
        granularities(plot, 1)
    })
}

/// Both granularities on all nine tensors of the slice.
pub fn real_tensor_errors(slice: &Slice) -> Result<Figure> {
    let mut pairs = Vec::new();
    for (_, w) in slice.all() {
        let error = |q| relative_error(w, &dequantize(&q));
        pairs.push((error(quantize_per_tensor(w)?), error(quantize_per_channel(w)?)));
    }
    let drawing = dumbbells(&pairs)?;
    let (tensor, channel): (Vec<f64>, Vec<f64>) = pairs.into_iter().unzip();
    let [tensor, channel] = [tensor, channel].map(|errors| range(&errors));
    Ok(Figure {
        title: "Relative error of nine real matrices, per tensor and per row".into(),
        caption: format!(
            "Nine matrices of SmolLM2-135M on the int8 grid. One scale for the tensor costs \
             {tensor}, depending on its largest absmax; one scale per row costs {channel} everywhere."
        ),
        alt: format!(
            "Dumbbell plot of nine matrices. The squares, one scale per row, stand in a column at \
             {channel}; the rings, one scale for the tensor, are scattered from {tensor}, farthest \
             out for the three down_proj."
        ),
        drawing,
    })
}

/// A line for each tensor: one scale for the tensor at one end, one per row at the other.
fn dumbbells(pairs: &[(f64, f64)]) -> Result<Drawing> {
    let last = pairs.len() - 1;
    let labels = TENSORS.map(real_slice::label);
    let x = Axis::linear("relative error of the matrix", 0.0..0.075)
        .ticks([0.0, 0.02, 0.04, 0.06], axis_percent)
        .holding(pairs.iter().flat_map(|(tensor, channel)| [tensor, channel]));
    let y = Axis::linear("", -0.6..last as f64 + 0.6)
        .ticks((0..=last).map(|row| row as f64), |row| labels[last - row as usize].clone());
    let layout = Layout { height: 4300, left: 1800, top: 280, ..Layout::default() };
    draw(layout, x, y.without_grid(), |plot| {
        for (index, &(tensor, channel)) in pairs.iter().enumerate() {
            let row = (last - index) as f64;
            plot.guide([(channel, row), (tensor, row)], Pen::solid(Ink::Muted))?;
            plot.marks([(channel, row)], PER_CHANNEL.sized(50))?;
            plot.marks([(tensor, row)], PER_TENSOR.sized(50))?;
            plot.label((tensor, row), (120, 0), HPos::Left, Ink::Muted, &percent(tensor))?;
        }
        granularities(plot, 0)
    })
}

/// How many different int8 codes each row of a real matrix uses.
pub fn granularity_codes(slice: &Slice) -> Result<Figure> {
    let name = TENSORS[6];
    let w = slice.tensor(name);
    let (tensor, channel) = (quantize_per_tensor(w)?, quantize_per_channel(w)?);
    let (maxima, used) = (row_absmaxes(w), [codes_used(&tensor), codes_used(&channel)]);
    let drawing = codes_plot(&maxima, &used)?;
    let [poor, poorest, richest] = [median(&used[0]), smallest(&used[0]), largest(&used[0])];
    let [usual, least] = [median(&used[1]), smallest(&used[1])];
    Ok(Figure {
        title: "Different int8 codes used by each row of a real matrix".into(),
        caption: format!(
            "{}, {} rows of {} weights (every second row is drawn). On the tensor's grid the \
             median row uses {poor} different codes and the poorest {poorest}; with a scale of its \
             own the median row uses {usual}, the poorest {least}.",
            subject(name),
            w.nrows(),
            w.ncols(),
        ),
        alt: format!(
            "Scatter plot of codes against absmax. One scale for the tensor: the number of \
             codes grows with the row's largest weight, from {poorest} to {richest}. One scale per \
             row: a level cloud around {usual}, which sinks for the few rows that owe their \
             absmax to one weight."
        ),
        drawing,
    })
}

/// Codes used against the absmax of the row.
fn codes_plot(maxima: &[f64], used: &[Vec<f64>; 2]) -> Result<Drawing> {
    let x = Axis::log("largest |w| of the row", 0.07..2.3).ticks([0.1, 0.2, 0.5, 1.0, 2.0], plain);
    let y = Axis::linear("different codes in the row, of 255", 0.0..200.0)
        .ticks([0.0, 50.0, 100.0, 150.0, 200.0], plain)
        .holding(used.iter().flatten());
    draw(Layout::with_legend(1), x, y, |plot| {
        // Every second row keeps the points apart and the file small.
        let points = |codes: &[f64]| {
            let pairs = maxima.iter().copied().zip(codes.iter().copied());
            pairs.step_by(2).collect::<Vec<_>>()
        };
        plot.marks(points(&used[1]), PER_CHANNEL.sized(SMALL))?;
        plot.marks(points(&used[0]), PER_TENSOR.sized(SMALL + 4))?;
        granularities(plot, 1)
    })
}

/// The number of different codes in each row.
fn codes_used(quantized: &Quantized) -> Vec<f64> {
    let distinct = |row: ArrayView1<i8>| row.iter().collect::<BTreeSet<_>>().len() as f64;
    quantized.q().rows().into_iter().map(distinct).collect()
}
