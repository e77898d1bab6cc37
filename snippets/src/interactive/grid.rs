//! The one figure whose script computes: real weights that the reader drags over a grid.
//!
//! [`round_trip`] is what the script's own `course.roundTrip` is held to, on random matrices.

use anyhow::Result;
use fake_quant_linear::{dequantize, quantize_per_channel, quantize_per_tensor};
use formats::float8;
use int4_groups::{dequantize_groups, quantize_groups};
use kit::meters::row_relative_errors;
use kit::real_slice::{TENSORS, label};
use kit::table::percent;
use ndarray::{Array2, s};
use serde_json::{Value, json};

use super::{Interactive, Picture};
use crate::figures::{
    Axis, Drawing, Figure, HPos, Ink, Key, Layout, Mark, Pen, Plot, Shape, TEXT, draw, plain,
};
use crate::inputs::Slice;
use crate::rows::{absmax, around_absmax, ascending, row_absmaxes};

/// A grid that the reader can choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grid {
    /// Lab 01's: -127 to 127, scales in `f32`.
    Int8,
    /// Lab 03's: -7 to 7, scales in `f16`.
    Int4,
    /// Lab 05's: e4m3fn, scales in `f32`.
    Fp8,
}

impl Grid {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Int8, Self::Int4, Self::Fp8];

    /// The name that the script has for it.
    pub fn key(self) -> &'static str {
        match self {
            Self::Int8 => "int8",
            Self::Int4 => "int4",
            Self::Fp8 => "fp8",
        }
    }
}

/// A matrix after a round trip.
pub struct RoundTrip {
    /// The scale of each row, repeated where the rows share one.
    pub scales: Vec<f32>,
    /// The codes as numbers: what is multiplied by the scale.
    pub codes: Array2<f32>,
    /// What they stand for.
    pub back: Array2<f32>,
}

/// `w`, `[rows, columns]`, on a grid and back, with one scale per row or one for all.
///
/// # Errors
/// If a lab refuses `w`.
pub fn round_trip(grid: Grid, per_row: bool, w: &Array2<f32>) -> Result<RoundTrip> {
    let flat = w.to_shape((1, w.len()))?.to_owned();
    let given = if per_row { w } else { &flat };
    let (codes, scales, back) = match grid {
        Grid::Int8 => {
            let q = if per_row { quantize_per_channel(w)? } else { quantize_per_tensor(&flat)? };
            (q.q().mapv(f32::from), q.scales().iter().copied().collect(), dequantize(&q))
        }
        Grid::Int4 => {
            let q = quantize_groups(given, given.ncols())?;
            let scales = q.scales().iter().map(|scale| scale.to_f32()).collect::<Vec<_>>();
            (q.q().mapv(f32::from), scales, dequantize_groups(&q))
        }
        Grid::Fp8 => {
            let (codes, scales) = float8::quantize_per_channel(given)?;
            let codes = codes.mapv(float8::decode);
            let back = &codes * &scales;
            (codes, scales.iter().copied().collect(), back)
        }
    };
    let scales = if per_row { scales } else { vec![scales[0]; w.nrows()] };
    let shaped = |m: Array2<f32>| -> Result<Array2<f32>> { Ok(m.to_shape(w.dim())?.to_owned()) };
    Ok(RoundTrip { scales, codes: shaped(codes)?, back: shaped(back)? })
}

/// Weights of a row that are shown.
const SHOWN: usize = 6;
/// Lines of the plot from one row to the next: its weights, its title, a gap.
const LANE: usize = SHOWN + 3;
/// As far as a weight can be dragged.
const LIMIT: f64 = 2.75;

const WEIGHT: Mark = Mark { shape: Shape::Dot, ink: Ink::One, radius: 40 };
const SNAPPED: Mark = Mark { shape: Shape::Square, ink: Ink::Two, radius: 58 };

/// Neighbours around the largest weight of three rows.
struct Cut {
    label: String,
    names: [String; 3],
    weights: Array2<f32>,
}

impl Cut {
    fn of(slice: &Slice, name: &str) -> Self {
        let w = slice.tensor(name);
        let order = ascending(&row_absmaxes(w));
        let rows = [order[order.len() - 1], order[order.len() / 2], order[0]];
        let mut weights = Array2::zeros((rows.len(), SHOWN));
        for (&row, mut cut) in rows.iter().zip(weights.rows_mut()) {
            let row = w.row(row);
            cut.assign(&row.slice(s![around_absmax(row, SHOWN)]));
        }
        let [largest, median, smallest] = rows;
        let names = [
            format!("row {largest}, the largest"),
            format!("row {median}, the median"),
            format!("row {smallest}, the smallest"),
        ];
        Self { label: label(name), names, weights }
    }

    fn errors(&self, per_row: bool) -> Result<String> {
        let trip = round_trip(Grid::Int4, per_row, &self.weights)?;
        let errors = row_relative_errors(&self.weights, &trip.back);
        let errors: Vec<String> = errors.iter().map(|&error| percent(error)).collect();
        Ok(format!("{}, {} and {}", errors[0], errors[1], errors[2]))
    }

    /// The largest weight of the row with the largest absmax: the one that the keyboard moves first.
    fn held(&self) -> usize {
        let row = self.weights.row(0);
        row.iter().position(|value| f64::from(value.abs()) == absmax(row)).unwrap_or(0)
    }
}

/// The height of a weight on the plot's axis.
fn height(row: usize, weight: usize) -> f64 {
    -((row * LANE + weight) as f64)
}

/// Real weights to drag over a grid.
pub fn grid_and_scale(slice: &Slice) -> Result<Interactive> {
    let cut = Cut::of(slice, TENSORS[3]);
    let (drawing, places) = plot(&cut, true)?;
    let (empty, _) = plot(&cut, false)?;
    let (shared, own) = (cut.errors(false)?, cut.errors(true)?);
    Ok(Interactive {
        figure: Figure {
            title: "Weights of three real rows on an int4 grid that they share".into(),
            caption: format!(
                "Dots: {SHOWN} neighbouring weights of each of three rows of {}. Squares: the \
                 codes they go to. As they are, on int4 with one scale for all {}, the rows lose \
                 {shared} of their norm; with one scale for each row {own}.",
                cut.label,
                cut.weights.len(),
            ),
            alt: format!(
                "Three bands, one a row, each crossed by the same fifteen grid lines. In each \
                 {SHOWN} weights, joined to the nearest line. In the row of the largest absmax one of them \
                 reaches the last line, in the smallest all are near 0. The rows lose {shared}.",
            ),
            drawing,
        },
        predict: "The grid is int4 and the three rows share a scale. You pull the largest weight \
            of the row of the largest absmax in to half its size. Which other weights move, and does their \
            error grow or shrink? And when each row has a scale of its own?"
            .into(),
        then: "Then drag it, or move it with the arrow keys. Try the other grids.".into(),
        others: vec![Picture {
            title: "Weights of three real rows on the grid that you chose".into(),
            alt: "Three bands, one a row, each crossed by the lines of the grid, with its \
                weights and the codes that they go to. The sentence under the drawing says what \
                it shows."
                .into(),
            drawing: empty,
        }],
        widget: "grid",
        data: data(&cut, &places),
    })
}

/// Where things are on the canvas.
struct Places {
    /// Of 0 and of 1, along the x axis.
    zero: i32,
    one: i32,
    /// The lines of the weights, row by row.
    lines: Vec<Vec<i32>>,
    /// Where the titles of the rows stand.
    titles: Vec<(i32, i32)>,
}

fn data(cut: &Cut, places: &Places) -> Value {
    let rows = cut.names.iter().zip(cut.weights.rows()).enumerate().map(|(index, (name, row))| {
        json!({
            "name": name,
            "weights": row.to_vec(),
            "lines": places.lines[index],
            "title": [places.titles[index].0, places.titles[index].1],
        })
    });
    json!({
        "rows": rows.collect::<Vec<_>>(),
        "limit": LIMIT,
        "zero": places.zero,
        "one": places.one,
        "held": cut.held(),
        "fontSize": TEXT,
    })
}

/// The drawing, with its rows or without them, and where they are.
fn plot(cut: &Cut, with_rows: bool) -> Result<(Drawing, Places)> {
    let trip = round_trip(Grid::Int4, false, &cut.weights)?;
    let scale = f64::from(trip.scales[0]);
    let x = Axis::linear("weight", -LIMIT * 1.02..LIMIT * 1.02)
        .ticks([-2.0, -1.0, 0.0, 1.0, 2.0], plain)
        .holding(&[-7.0 * scale, 7.0 * scale]);
    let y = Axis::linear("", height(2, SHOWN)..2.6);
    let layout = Layout { height: 5200, top: 330, left: 110, right: 110, ..Layout::default() };
    let mut places = Places { zero: 0, one: 0, lines: vec![], titles: vec![] };
    let drawing = draw(layout, x.without_grid(), y, |plot| {
        for row in 0..cut.weights.nrows() {
            if with_rows {
                lane(plot, cut, &trip, row)?;
            }
            let lines = (0..SHOWN).map(|weight| Ok(plot.at(0.0, height(row, weight))?.1));
            places.lines.push(lines.collect::<Result<_>>()?);
            places.titles.push(plot.at(-LIMIT, height(row, 0) + 1.3)?);
        }
        (places.zero, places.one) = (plot.at(0.0, 0.0)?.0, plot.at(1.0, 0.0)?.0);
        plot.legend(0, &[Key::Mark(WEIGHT, "weight"), Key::Mark(SNAPPED, "the code it goes to")])
    })?;
    Ok((drawing, places))
}

/// A row: its title, the lines of the grid, its weights.
fn lane(plot: &Plot<'_>, cut: &Cut, trip: &RoundTrip, row: usize) -> Result<()> {
    let (top, bottom) = (height(row, 0) + 0.6, height(row, SHOWN - 1) - 0.6);
    for code in -7..=7 {
        let value = f64::from(code) * f64::from(trip.scales[row]);
        let ink = if code == 0 { Ink::Muted } else { Ink::Grid };
        plot.guide([(value, top), (value, bottom)], Pen::solid(ink))?;
    }
    let title = (-LIMIT, height(row, 0) + 1.3);
    plot.label(title, (0, 0), HPos::Left, Ink::Text, &cut.names[row])?;
    for weight in 0..SHOWN {
        let (value, snapped) = (cut.weights[(row, weight)], trip.back[(row, weight)]);
        let line = height(row, weight);
        let (value, snapped) = ((f64::from(value), line), (f64::from(snapped), line));
        plot.line([value, snapped], Pen::solid(Ink::Two))?;
        plot.marks([snapped], SNAPPED)?;
        plot.marks([value], WEIGHT)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use kit::data::normal_matrix;
    use kit::meters::max_abs_error;

    #[test]
    fn no_grid_moves_a_weight_by_more_than_its_step() -> Result<()> {
        let w = normal_matrix(5, 4, 32);
        for grid in Grid::ALL {
            for per_row in [false, true] {
                let trip = round_trip(grid, per_row, &w)?;
                let scale = trip.scales.iter().copied().fold(0.0, f32::max);
                // Half a step: e4m3's widest is 32 of its units. On top of that what rounds: a few
                // operations in f32 on at most `last` steps, and for int4 the scale, to f16.
                let (half_step, last, rounding) = match grid {
                    Grid::Int8 => (0.5, 127.0, f64::powi(2.0, -22)),
                    Grid::Int4 => (0.5, 7.0, f64::powi(2.0, -11)),
                    Grid::Fp8 => (16.0, 448.0, f64::powi(2.0, -22)),
                };
                let bound = f64::from(scale) * (half_step + last * rounding);
                let error = max_abs_error(&w, &trip.back);
                assert!(error <= bound, "{grid:?}, per row {per_row}: {error} above {bound}");
            }
        }
        Ok(())
    }

    #[test]
    fn one_scale_for_all_is_one_scale() -> Result<()> {
        let w = normal_matrix(6, 3, 8);
        for grid in Grid::ALL {
            let (shared, own) = (round_trip(grid, false, &w)?, round_trip(grid, true, &w)?);
            assert!(shared.scales.iter().all(|&scale| scale == shared.scales[0]), "{grid:?}");
            assert!(own.scales.iter().any(|&scale| scale != own.scales[0]), "{grid:?}");
        }
        Ok(())
    }
}
