//! Figures of lab 01: one scale for the tensor against one scale per row.

use anyhow::Result;
use fake_quant_linear::{dequantize, quantize_per_channel, quantize_per_tensor};
use kit::data::{normal_matrix, with_outlier_row};
use kit::meters::{mean, row_relative_errors};
use kit::real_slice;
use kit::table::{percent, times};
use ndarray::Array2;
use plotters::style::text_anchor::HPos;

use super::Figure;
use super::plot::{Axis, Key, Layout, draw};
use super::rows::{ascending, largest, loudness, median, median_index, smallest};
use super::style::{Ink, Mark, Pen, Shape};

const PER_TENSOR: Mark = Mark { shape: Shape::Dot, ink: Ink::Two, radius: super::style::MARKER };
const PER_CHANNEL: Mark =
    Mark { shape: Shape::Square, ink: Ink::One, radius: super::style::MARKER };

/// The legend of the figures that compare the two.
const GRANULARITIES: [Key; 2] =
    [Key::Mark(PER_TENSOR, "one scale for the tensor"), Key::Mark(PER_CHANNEL, "one per row")];

/// The relative error of each row under the lab's two granularities.
struct RowErrors {
    per_tensor: Vec<f64>,
    per_channel: Vec<f64>,
}

impl RowErrors {
    fn of(w: &Array2<f32>) -> Result<Self> {
        let per_tensor = row_relative_errors(w, &dequantize(&quantize_per_tensor(w)?));
        let per_channel = row_relative_errors(w, &dequantize(&quantize_per_channel(w)?));
        Ok(Self { per_tensor: per_tensor.to_vec(), per_channel: per_channel.to_vec() })
    }
}

/// Points at 0, 1, 2, ...
fn numbered(values: &[f64]) -> impl Iterator<Item = (f64, f64)> + '_ {
    values.iter().enumerate().map(|(index, &value)| (index as f64, value))
}

/// The planted control: 64 rows, one of them 100 times as loud.
pub fn outlier_row() -> Result<Figure> {
    const LOUD: usize = 7;
    let w = with_outlier_row(&normal_matrix(42, 64, 512), LOUD, 100.0);
    let errors = RowErrors::of(&w)?;
    let x = Axis::linear("row", -1.0..64.0).ticks([0.0, 16.0, 32.0, 48.0, 63.0], whole);
    let y = Axis::log("relative error of the row", 0.003..1.0)
        .ticks([0.003, 0.01, 0.03, 0.1, 0.3, 1.0], axis_percent);
    let drawing = draw(Layout::with_legend(1), x.without_grid(), y, |plot| {
        plot.marks(numbered(&errors.per_tensor), PER_TENSOR)?;
        plot.marks(numbered(&errors.per_channel), PER_CHANNEL)?;
        let loud = (LOUD as f64, errors.per_tensor[LOUD]);
        plot.guide([loud, (loud.0, 0.06)], Pen::dotted(Ink::Muted))?;
        plot.label((loud.0, 0.06), (-60, -110), HPos::Left, Ink::Text, "row 7, 100 times as loud")?;
        plot.legend(1, &GRANULARITIES)
    })?;
    let quiet = |errors: &[f64]| {
        mean(errors.iter().enumerate().filter(|(row, _)| *row != LOUD).map(|(_, error)| error))
    };
    let (wrecked, healthy) = (quiet(&errors.per_tensor), quiet(&errors.per_channel));
    Ok(Figure {
        title: "Relative error of each row of a matrix with one loud row".into(),
        caption: format!(
            "64 rows of normal values, row 7 made 100 times as loud. With one scale for the \
             tensor the quiet rows lose {} of themselves on average, with one per row {}; the \
             loud row is the same either way.",
            percent(wrecked),
            percent(healthy)
        ),
        alt: format!(
            "Scatter plot of 64 rows, error on a logarithmic axis. With one scale for the tensor \
             63 rows lie in a band around {}; with one scale per row all lie in a band around {}. \
             At row 7 both markers are at {}.",
            percent(wrecked),
            percent(healthy),
            percent(errors.per_tensor[LOUD])
        ),
        drawing,
    })
}

fn whole(value: f64) -> String {
    format!("{value}")
}

/// A number of an axis: 0.003 gives `0.3 %`.
fn axis_percent(fraction: f64) -> String {
    let text = format!("{:.4}", fraction * 100.0);
    format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
}
