//! Figures of the chapter "One mental model": a grid, a scale, and how many rows share it.

use anyhow::Result;
use fake_quant_linear::{
    Quantized, dequantize, quantize_per_channel, quantize_per_tensor, quantize_value,
};
use kit::meters::max_abs_error;
use kit::real_slice::{self, TENSORS};
use kit::table::sig3;
use ndarray::{Array2, s};

use super::histogram::Histogram;
use super::{Axis, Drawing, Figure, HPos, Ink, Key, Layout, Mark, Pen, Plot, Shape, draw, plain};
use crate::grid::{qmax, snap};
use crate::inputs::Slice;
use crate::rows::{
    absmax, around_absmax, ascending, largest, median, median_index, row_absmaxes, smallest,
};

/// How many weights `grid_snap` shows.
const STRETCH: usize = 24;
/// A weight; smaller than the square, which shows behind it.
const WEIGHT: Mark = Mark { shape: Shape::Dot, ink: Ink::One, radius: 32 };
/// Where it goes.
const SNAPPED: Mark = Mark { shape: Shape::Square, ink: Ink::Two, radius: 48 };

/// A stretch of a real row around its largest weight.
struct Stretch {
    row: usize,
    absmax: f64,
    weights: Vec<f64>,
    int8_error: f64,
}

impl Stretch {
    /// Of the row of median absmax: neither the best case nor the worst.
    fn of(w: &Array2<f32>) -> Result<Self> {
        let row = median_index(&row_absmaxes(w));
        let weights = w.slice(s![row..=row, ..]).to_owned();
        let stretch = around_absmax(w.row(row), STRETCH);
        let shown = weights.slice(s![.., stretch.clone()]).to_owned();
        let int8 = dequantize(&quantize_per_channel(&weights)?).slice(s![.., stretch]).to_owned();
        Ok(Self {
            row,
            absmax: absmax(weights.row(0)),
            int8_error: max_abs_error(&shown, &int8),
            weights: shown.iter().copied().map(f64::from).collect(),
        })
    }

    fn scale(&self, bits: u32) -> f64 {
        self.absmax / qmax(bits)
    }

    fn snapped(&self, bits: u32) -> Vec<f64> {
        self.weights.iter().map(|&value| snap(value, self.scale(bits), qmax(bits))).collect()
    }
}

/// Real weights as stems and the grid points that they snap to.
pub fn grid_snap(slice: &Slice) -> Result<Figure> {
    let name = TENSORS[2];
    let stretch = Stretch::of(slice.tensor(name))?;
    let drawing = snap_plot(&stretch)?;
    let errors = stretch.weights.iter().zip(stretch.snapped(4)).map(|(w, snapped)| w - snapped);
    let four_bit_error = errors.fold(0.0, |worst: f64, error| worst.max(error.abs()));
    let (label, row) = (real_slice::label(name), stretch.row);
    let [largest, step, moved, int8_moved] =
        [stretch.absmax, stretch.scale(4), four_bit_error, stretch.int8_error].map(sig3);
    Ok(Figure {
        title: "Weights of a real row and the grid points they snap to".into(),
        caption: format!(
            "{STRETCH} weights of {label}, row {row}. The row's largest weight, {largest}, sets \
             the scale. A 4-bit grid (15 codes) moves these weights by up to {moved}, the int8 grid \
             with the same ends (255 codes) by up to {int8_moved}: too little to draw."
        ),
        alt: format!(
            "Stem plot of {STRETCH} weights between -{largest} and {largest}. Fifteen grid lines, \
             {step} apart, cross it; a short segment joins each weight to the nearest line. Beside \
             it two rulers: int8 with 255 marks, which blur into a bar, and 4-bit with 15."
        ),
        drawing,
    })
}

/// Stems, the lines of the 4-bit grid, and both grids as rulers.
fn snap_plot(stretch: &Stretch) -> Result<Drawing> {
    let limit = stretch.absmax * 1.12;
    let x = Axis::linear("weights next to each other in the row", -1.0..30.5);
    let y = Axis::linear("weight", -limit..limit).ticks([-0.6, -0.3, 0.0, 0.3, 0.6], plain);
    let layout = Layout { right: 330, bottom: 330, top: 700, ..Layout::default() };
    draw(layout, x, y.without_grid(), |plot| {
        ruler(plot, stretch, 8, 24.7..26.5, "int8")?;
        ruler(plot, stretch, 4, 27.9..29.7, "4-bit")?;
        for code in -7..=7 {
            let level = f64::from(code) * stretch.scale(4);
            plot.hairline([(-1.0, level), (24.0, level)], Pen::solid(Ink::Grid))?;
        }
        for code in [-7, 0, 7] {
            let point = (29.7, f64::from(code) * stretch.scale(4));
            plot.label(point, (60, 0), HPos::Left, Ink::Muted, &plain(f64::from(code)))?;
        }
        plot.guide([(-1.0, 0.0), (24.0, 0.0)], Pen::solid(Ink::Muted))?;
        stems(plot, stretch)?;
        let keys = [Key::Mark(WEIGHT, "weight"), Key::Mark(SNAPPED, "nearest code of 4 bits")];
        plot.legend(1, &keys)
    })
}

/// All codes of a grid as the marks of a ruler.
fn ruler(
    plot: &Plot<'_>,
    stretch: &Stretch,
    bits: u32,
    at: std::ops::Range<f64>,
    name: &str,
) -> Result<()> {
    let last = qmax(bits) as i32;
    for code in -last..=last {
        let level = f64::from(code) * stretch.scale(bits);
        plot.hairline([(at.start, level), (at.end, level)], Pen::solid(Ink::Muted))?;
    }
    let top = ((at.start + at.end) / 2.0, stretch.absmax);
    plot.label(top, (0, -190), HPos::Center, Ink::Text, name)
}

fn stems(plot: &Plot<'_>, stretch: &Stretch) -> Result<()> {
    let snapped = stretch.snapped(4);
    let columns = || (0..STRETCH).map(|column| column as f64);
    for ((column, &weight), &code) in columns().zip(&stretch.weights).zip(&snapped) {
        plot.hairline([(column, 0.0), (column, weight)], Pen::solid(Ink::Muted))?;
        plot.line([(column, weight), (column, code)], Pen::solid(Ink::Two))?;
    }
    plot.marks(columns().zip(snapped), SNAPPED)?;
    plot.marks(columns().zip(stretch.weights.iter().copied()), WEIGHT)
}

/// How many codes of the tensor's grid one bar of `weights_and_grids` stands for: 51 bars of 5 are
/// all 255 codes.
const CODES_PER_BAR: usize = 5;

/// A reach of the tensor's grid, as a bracket above the histogram.
struct Reach {
    ink: Ink,
    height: f64,
    absmax: f64,
    codes: i32,
    whose: &'static str,
}

impl Reach {
    /// Of one row on the tensor's grid.
    fn of(
        w: &Array2<f32>,
        row: usize,
        scale: f32,
        (ink, height): (Ink, f64),
        whose: &'static str,
    ) -> Self {
        let absmax = absmax(w.row(row));
        let codes = 2 * i32::from(quantize_value(absmax as f32, scale)) + 1;
        Self { ink, height, absmax, codes, whose }
    }
}

/// A histogram of a real matrix under the grid that it shares.
pub fn weights_and_grids(slice: &Slice) -> Result<Figure> {
    let name = TENSORS[6];
    let w = slice.tensor(name);
    let quantized = quantize_per_tensor(w)?;
    let scale = quantized.scales()[(0, 0)];
    let order = ascending(&row_absmaxes(w));
    let middle = order[order.len() / 2];
    let reaches = [
        Reach::of(w, order[order.len() - 1], scale, (Ink::Two, 5e7), "the tensor's grid"),
        Reach::of(w, middle, scale, (Ink::One, 4e6), "median row"),
        Reach::of(w, order[0], scale, (Ink::Three, 3.2e5), "smallest row"),
    ];
    let drawing = grid_plot(&quantized, middle, &reaches)?;
    let end = sig3(reaches[0].absmax);
    let [tensor, median, smallest_row] = reaches.map(|reach| reach.codes);
    Ok(Figure {
        title: "A real matrix under one int8 grid".into(),
        caption: format!(
            "All {} weights of {} (inner line: its median row), \
             {CODES_PER_BAR} int8 codes to a bar. One outlier row stretches the grid to ±{end}; the \
             median row can use {median} of its {tensor} codes, the row of the smallest absmax {smallest_row}.",
            kit::table::count(w.len()),
            real_slice::label(name),
        ),
        alt: format!(
            "Histogram with a logarithmic count axis: a peak at 0 that falls off on both sides \
             and thins out to single weights towards ±{end}. Brackets above it show the reach of \
             the tensor's grid ({tensor} codes), of the median row ({median}) and of the smallest \
             row ({smallest_row})."
        ),
        drawing,
    })
}

/// The histograms of the tensor and of its row `middle`, under the brackets.
fn grid_plot(quantized: &Quantized, middle: usize, reaches: &[Reach]) -> Result<Drawing> {
    let scale = quantized.scales()[(0, 0)];
    let limit = 128.0 * f64::from(scale);
    let x = Axis::linear("weight", -limit..limit).ticks([-2.0, -1.0, 0.0, 1.0, 2.0], plain);
    let y = Axis::log("weights per bar", 0.6..2e8)
        .ticks([1.0, 10.0, 100.0, 1e3, 1e4, 1e5], |value| kit::table::count(value as usize));
    let layout = Layout { left: 820, top: 360, ..Layout::default() };
    draw(layout, x.without_grid(), y, |plot| {
        bars(plot, quantized.q().iter().copied(), scale, Ink::Two)?;
        bars(plot, quantized.q().row(middle).iter().copied(), scale, Ink::One)?;
        reaches.iter().try_for_each(|reach| bracket(plot, reach))
    })
}

fn bars(plot: &Plot<'_>, codes: impl Iterator<Item = i8>, scale: f32, ink: Ink) -> Result<()> {
    let step = f64::from(scale);
    let mut bars = Histogram::new(-127.5 * step, CODES_PER_BAR as f64 * step, 255 / CODES_PER_BAR);
    codes.for_each(|code| bars.count((i32::from(code) + 127).max(0) as usize / CODES_PER_BAR));
    // An empty bar has no logarithm, so it lies at the lower end of the axis.
    let outline = bars.outline(|count| if count == 0 { 0.6 } else { count as f64 });
    if ink == Ink::Two {
        plot.area(outline.iter().copied(), ink)?;
    }
    plot.line(outline, Pen::solid(ink))
}

fn bracket(plot: &Plot<'_>, reach: &Reach) -> Result<()> {
    let (end, height) = (reach.absmax, reach.height);
    plot.line([(-end, height), (end, height)], Pen::solid(reach.ink))?;
    for side in [-end, end] {
        plot.line([(side, height / 1.35), (side, height * 1.35)], Pen::solid(reach.ink))?;
    }
    let text = format!("{}: {} codes", reach.whose, reach.codes);
    plot.label((0.0, height), (0, -140), HPos::Center, Ink::Text, &text)
}

/// The largest weight of every row of three real matrices.
pub fn row_ranges(slice: &Slice) -> Result<Figure> {
    let names = [2, 4, 6].map(|index| TENSORS[index]);
    let rows = names.map(|name| row_absmaxes(slice.tensor(name)));
    let labels = names.map(real_slice::label);
    let drawing = range_lines(&rows, &labels)?;
    let [first, second, third] = rows.each_ref().map(|rows| sig3(largest(rows) / median(rows)));
    let medians = rows.each_ref().map(|rows| sig3(median(rows)));
    let (last, extremes) = (&labels[2], sig3(largest(&rows[2]) / smallest(&rows[2])));
    Ok(Figure {
        title: "The largest weight of each row of three real matrices".into(),
        caption: format!(
            "The largest absmax of a row is {first}, {second} and {third} times the median one; in \
             {last} it is {extremes} times the smallest. One scale for the tensor must \
             serve them all."
        ),
        alt: format!(
            "Three rising lines on a logarithmic axis, one a matrix. All are nearly flat in the \
             middle, with medians of {}, and shoot up at the large end; that of {last} also falls \
             off deeply at the small end.",
            medians.join(", "),
        ),
        drawing,
    })
}

/// A line for each matrix.
fn range_lines(rows: &[Vec<f64>], labels: &[String]) -> Result<Drawing> {
    let pens = [Pen::solid(Ink::One), Pen::dashed(Ink::Two), Pen::dotted(Ink::Three)];
    let x = Axis::linear("rows by growing absmax", 0.0..100.0)
        .ticks([0.0, 25.0, 50.0, 75.0, 100.0], |value| format!("{value} %"));
    let y =
        Axis::log("largest |w| of the row", 0.07..5.6).ticks([0.1, 0.2, 0.5, 1.0, 2.0, 5.0], plain);
    let layout = Layout { right: 560, ..Layout::with_legend(2) };
    draw(layout, x.without_grid(), y, |plot| {
        // Numbers of lines that end close to each other move apart.
        for ((rows, pen), shift) in rows.iter().zip(pens).zip([0, -60, 90]) {
            let last = (rows.len() - 1) as f64;
            let order = ascending(rows).into_iter().enumerate();
            plot.line(order.map(|(place, row)| (100.0 * place as f64 / last, rows[row])), pen)?;
            let end = (100.0, largest(rows));
            plot.label(end, (70, shift), HPos::Left, pen.ink, &sig3(end.1))?;
        }
        let key = |index: usize| Key::Line(pens[index], &labels[index]);
        plot.legend(1, &[key(0), key(1)])?;
        plot.legend(2, &[key(2)])
    })
}
