//! The figure of lab 03: half a step under three granularities, along a row with one outlier.

use anyhow::Result;
use int4_groups::{dequantize_groups, quantize_groups};
use kit::table::sig3;
use ndarray::{Axis as NdAxis, s};

use super::{
    Axis, Drawing, Figure, HPos, Ink, Key, Layout, MARKER, Mark, Pen, Plot, Shape, draw, plain,
};
use crate::tables::lab_03::{OUTLIER_COLUMN, OUTLIER_FACTOR, TYPICAL_ROW as ROW, planted};

/// How many weights of the row are drawn.
const SHOWN: usize = 256;

/// The granularities of the window, with their pens.
const WINDOWS: [(usize, Pen, &str); 3] = [
    (512, Pen::solid(Ink::Two), "the row"),
    (128, Pen::dashed(Ink::One), "groups of 128"),
    (32, Pen::dotted(Ink::Three), "groups of 32"),
];

/// Half a step along the row, and how many of the other weights are below half a step.
struct Window {
    half_steps: Vec<f64>,
    zeros: usize,
}

impl Window {
    fn of(size: usize) -> Result<Self> {
        let row = planted().slice(s![ROW..ROW + 1, ..]).to_owned();
        let quantized = quantize_groups(&row, size)?;
        let half_steps = (0..row.ncols()).map(|c| quantized.scales()[(0, c / size)].to_f64() / 2.0);
        let back = dequantize_groups(&quantized);
        let zeros =
            back.iter().enumerate().filter(|(c, value)| *c != OUTLIER_COLUMN && **value == 0.0);
        Ok(Self { zeros: zeros.count(), half_steps: half_steps.collect() })
    }

    /// The half steps as stairs over the columns that are shown.
    fn stairs(&self) -> Vec<(f64, f64)> {
        let mut corners: Vec<(f64, f64)> = Vec::new();
        for (column, &height) in self.half_steps.iter().take(SHOWN).enumerate() {
            if corners.last().is_none_or(|last| last.1 != height) {
                corners.push((column as f64, height));
            } else if let Some(previous) = corners.len().checked_sub(2)
                && corners[previous].1 == height
            {
                corners.pop();
            }
            corners.push((column as f64 + 1.0, height));
        }
        corners
    }
}

/// One row with an outlier, and half a step under three granularities.
pub fn group_window() -> Result<Figure> {
    let windows = WINDOWS.iter().map(|(size, ..)| Window::of(*size)).collect::<Result<Vec<_>>>()?;
    let [row, wide, narrow] = [0, 1, 2].map(|i| windows[i].zeros);
    Ok(Figure {
        title: "Half a step along one row with one outlier".into(),
        caption: format!(
            "The first {SHOWN} of 512 weights of a row. Weight {OUTLIER_COLUMN} was multiplied by \
             {OUTLIER_FACTOR}, to a magnitude of {}. A weight under the line rounds to 0. Of the 511 \
             others {row} do with one scale for the row, {wide} with groups of 128, and {narrow} with \
             groups of 32, where the line is high only inside the group of the outlier.",
            sig3(f64::from(planted()[(ROW, OUTLIER_COLUMN)].abs())),
        ),
        alt: format!(
            "Scatter plot of the magnitudes of {SHOWN} weights on a logarithmic axis, with three \
             lines. The line of one scale for the row lies above most weights all along. That of \
             groups of 128 falls after weight 127 to less than a sixth of its height, that of groups of 32 \
             after weight 31. {row}, {wide} and {narrow} of 511 weights lie under them."
        ),
        drawing: window_plot(&windows)?,
    })
}

fn window_plot(windows: &[Window]) -> Result<Drawing> {
    let w = planted();
    let row = w.index_axis(NdAxis(0), ROW);
    let magnitudes: Vec<f64> = row.iter().take(SHOWN).map(|v| f64::from(v.abs())).collect();
    let x = Axis::linear("weight of the row", -4.0..260.0)
        .ticks([0.0, 32.0, 64.0, 96.0, 128.0, 192.0, 256.0], plain);
    let y = Axis::log("magnitude of the weight; half a step", 0.01..30.0)
        .ticks([0.01, 0.1, 1.0, 10.0], plain)
        .holding(windows.iter().flat_map(|window| &window.half_steps))
        .holding(&magnitudes);
    draw(Layout::with_legend(2), x.without_grid(), y, |plot| {
        // A weight smaller than the axis shows is far under every line.
        let visible = magnitudes.iter().enumerate().filter(|(_, value)| **value >= 0.01);
        let places = visible.map(|(column, &value)| (column as f64 + 0.5, value));
        plot.marks(places, Mark::new(Shape::Dot, Ink::Muted).sized(MARKER - 18))?;
        for (window, (_, pen, _)) in windows.iter().zip(WINDOWS) {
            plot.line(window.stairs(), pen)?;
        }
        let outlier = (OUTLIER_COLUMN as f64 + 0.5, magnitudes[OUTLIER_COLUMN]);
        let text = format!("weight {OUTLIER_COLUMN}, times {OUTLIER_FACTOR}");
        plot.label(outlier, (130, 0), HPos::Left, Ink::Text, &text)?;
        window_legend(plot)
    })
}

fn window_legend(plot: &Plot<'_>) -> Result<()> {
    let keys = WINDOWS.map(|(_, pen, name)| Key::Line(pen, name));
    let weight = Mark::new(Shape::Dot, Ink::Muted).sized(MARKER - 18);
    plot.legend(1, &[Key::Mark(weight, "a weight; half a step of:")])?;
    plot.legend(2, &keys)
}
