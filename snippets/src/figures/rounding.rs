//! Figures of the chapter "Rounding, clipping and zero scales".

use anyhow::{Context, Result};
use fake_quant_linear::{QMAX, quantize_per_channel, quantize_value, scale_for};
use kit::meters::relative_error;
use kit::real_slice::TENSORS;
use kit::table::{percent, sig3};
use ndarray::{Array2, ArrayView1};

use super::histogram::Histogram;
use super::{
    Axis, Drawing, Figure, HPos, Ink, Key, Layout, Mark, Pen, Plot, Shape, axis_percent, draw,
    plain, subject,
};
use crate::grid::{per_channel_round_trip, qmax, snap};
use crate::inputs::Slice;
use crate::rows::{absmax, ascending};

/// Three ways from a quotient to a code.
pub fn rounding_stairs() -> Result<Figure> {
    let drawing = stairs()?;
    Ok(Figure {
        title: "The code of a quotient under three roundings".into(),
        caption: "Half to even (torch, and quantize_value of the lab) and half away from zero \
                  (Rust's round) are the same staircase and differ only at ties such as 0.5 and \
                  2.5. Truncation is another staircase: it is off by up to a whole step."
            .into(),
        alt: "Staircases from -3 to 3. To nearest: steps at the halves, all one unit wide. \
              Truncation: steps at the whole numbers, and one tread of code 0 from -1 to 1. At \
              the ties ±0.5 and ±2.5 half to even goes to 0 and ±2, half away from zero to ±1 and \
              ±3; at ±1.5 both go to ±2."
            .into(),
        drawing,
    })
}

/// The treads, and at the ties a marker for each rule.
fn stairs() -> Result<Drawing> {
    let x = Axis::linear("w / s", -3.0..3.0).ticks([-3, -2, -1, 0, 1, 2, 3].map(f64::from), plain);
    let y = Axis::linear("code", -3.3..3.3).ticks([-3, -2, -1, 0, 1, 2, 3].map(f64::from), plain);
    let even = Mark::new(Shape::Dot, Ink::One);
    let away = Mark::new(Shape::Ring, Ink::Two).sized(78);
    draw(Layout { height: 4600, ..Layout::with_legend(3) }, x, y, |plot| {
        for tread in treads(|quotient| quotient.trunc()) {
            plot.band(tread, Ink::Three)?;
        }
        for tread in treads(|quotient| f64::from(quantize_value(quotient as f32, 1.0))) {
            plot.line(tread, Pen::solid(Ink::Text))?;
        }
        for tie in [-2.5f32, -1.5, -0.5, 0.5, 1.5, 2.5] {
            let (at, code) = (f64::from(tie), f64::from(quantize_value(tie, 1.0)));
            plot.guide(
                [(at, (tie - 0.5).into()), (at, (tie + 0.5).into())],
                Pen::dotted(Ink::Muted),
            )?;
            plot.marks([(at, f64::from(tie.round()))], away)?;
            plot.marks([(at, code)], even)?;
        }
        plot.legend(
            1,
            &[Key::Mark(even, "a tie, half to even"), Key::Mark(away, "half away from 0")],
        )?;
        plot.legend(2, &[Key::Line(Pen::solid(Ink::Text), "to nearest: both, between ties")])?;
        plot.legend(3, &[Key::Band(Ink::Three, "truncation: toward 0")])
    })
}

/// The level stretches of a staircase on -3 to 3, as lines. It is asked at odd multiples of 1/128,
/// where no rounding has a tie.
fn treads(code_of: impl Fn(f64) -> f64) -> Vec<[(f64, f64); 2]> {
    let samples: Vec<(f64, f64)> = (-192..192)
        .map(|sample| f64::from(2 * sample + 1) / 128.0)
        .map(|quotient| (quotient, code_of(quotient)))
        .collect();
    let runs = samples.chunk_by(|a, b| a.1 == b.1);
    runs.map(|run| {
        let (first, last) = (run[0], run[run.len() - 1]);
        [(first.0 - 1.0 / 128.0, first.1), (last.0 + 1.0 / 128.0, last.1)]
    })
    .collect()
}

/// Rounding errors of one way of rounding, in steps.
struct Errors {
    histogram: Histogram,
    count: usize,
    mean: f64,
    variance: f64,
}

impl Errors {
    /// Bins of a twentieth of a step from -1 to 1.
    fn of(errors: &[f64]) -> Self {
        let mut histogram = Histogram::new(-1.0, 0.05, 40);
        // A tie, an error of half a step to the last bit of f32, counts in the inner bin.
        errors.iter().for_each(|&error| histogram.add(error * (1.0 - 2e-5)));
        let count = errors.len();
        let mean = errors.iter().sum::<f64>() / count as f64;
        let squares = errors.iter().map(|error| (error - mean).powi(2)).sum::<f64>();
        Self { histogram, count, mean, variance: squares / count as f64 }
    }

    fn outline(&self) -> Vec<(f64, f64)> {
        self.histogram.outline(|count| count as f64 / self.count as f64)
    }
}

/// The errors of the lab's rounding and of truncation, `(w − q·s) / s`, on the lab's grid.
fn errors_in_steps(w: &Array2<f32>) -> Result<(Vec<f64>, Vec<f64>)> {
    let quantized = quantize_per_channel(w)?;
    let quotients = || {
        w.indexed_iter()
            .map(|((row, _), &value)| f64::from(value) / f64::from(quantized.scales()[(row, 0)]))
    };
    let nearest =
        quotients().zip(quantized.q()).map(|(quotient, &code)| quotient - f64::from(code));
    let truncated = quotients().map(|quotient| quotient - quotient.trunc());
    Ok((nearest.collect(), truncated.collect()))
}

/// How the rounding errors of a real matrix are spread.
pub fn rounding_error_distribution(slice: &Slice) -> Result<Figure> {
    let name = TENSORS[6];
    let w = slice.tensor(name);
    let (nearest, truncated) = errors_in_steps(w)?;
    let toward_zero = truncated.iter().map(|error| error.abs()).sum::<f64>() / w.len() as f64;
    let (nearest, truncated) = (Errors::of(&nearest), Errors::of(&truncated));
    let drawing = error_histograms(&nearest, &truncated)?;
    let [near, far] = [&nearest, &truncated].map(|errors| sig3(errors.variance));
    let [near_mean, far_mean] = [&nearest, &truncated].map(|errors| three_places(errors.mean));
    let [twelfth, lost] = [1.0 / 12.0, toward_zero].map(sig3);
    Ok(Figure {
        title: "The rounding errors of a real matrix".into(),
        caption: format!(
            "{}, one scale per row. Rounding spreads the error evenly over half a step to each \
             side: mean {near_mean}, variance {near} (theory: 1/12 = {twelfth}). Truncation spreads \
             it over a whole step: mean {far_mean}, variance {far}, and always toward zero, by \
             {lost} steps on average.",
            subject(name),
        ),
        alt: format!(
            "Two histograms of the error in steps. Half to even: a level plateau from -0.5 to \
             0.5, variance {near}. Truncation: half as high, from -1 to 1, variance {far}."
        ),
        drawing,
    })
}

/// The shares of the weights over their errors.
fn error_histograms(nearest: &Errors, truncated: &Errors) -> Result<Drawing> {
    let x = Axis::linear("error (w − q·s) / s, in steps", -1.05..1.05)
        .ticks([-1.0, -0.5, 0.0, 0.5, 1.0], plain);
    let y = Axis::linear("share of the weights, per bin of 0.05 steps", 0.0..0.061)
        .ticks([0.0, 0.01, 0.02, 0.03, 0.04, 0.05], axis_percent)
        .holding(nearest.outline().iter().map(|(_, share)| share));
    let keys = [
        Key::Line(Pen::solid(Ink::One), "round half to even"),
        Key::Line(Pen::dashed(Ink::Two), "truncate toward 0"),
    ];
    draw(Layout::with_legend(1), x.without_grid(), y, |plot| {
        plot.area(nearest.outline(), Ink::One)?;
        plot.line(nearest.outline(), Pen::solid(Ink::One))?;
        plot.line(truncated.outline(), Pen::dashed(Ink::Two))?;
        let text = format!("variance {}", sig3(nearest.variance));
        plot.label((0.0, 0.057), (0, 0), HPos::Center, Ink::One, &text)?;
        let text = format!("variance {}", sig3(truncated.variance));
        plot.label((1.05, 0.025), (110, -200), HPos::Right, Ink::Two, &text)?;
        plot.legend(1, &keys)
    })
}

/// A number of about 0 with three decimals, and no sign before 0.
fn three_places(value: f64) -> String {
    let text = format!("{value:.3}");
    if text == "-0.000" { "0.000".into() } else { text }
}

/// A row of weights and what clipping it costs.
struct Clipping {
    weights: Vec<f64>,
    absmax: f64,
}

impl Clipping {
    fn of(row: ArrayView1<f32>) -> Self {
        Self { weights: row.iter().copied().map(f64::from).collect(), absmax: absmax(row) }
    }

    /// Relative error of the row under a quantizer that gets the clipping limit.
    fn error(&self, share: f64, quantizer: impl Fn(f64, f64) -> f64) -> f64 {
        let limit = share * self.absmax;
        let squared = |value: f64| value * value;
        let lost = self.weights.iter().map(|&w| squared(w - quantizer(w, limit))).sum::<f64>();
        (lost / self.weights.iter().map(|&w| squared(w)).sum::<f64>()).sqrt()
    }

    /// The curve from 30 % to 100 % of the row's largest weight.
    fn curve(&self, quantizer: impl Fn(f64, f64) -> f64) -> Vec<(f64, f64)> {
        let shares = (30..=100).map(|percent| f64::from(percent) / 100.0);
        shares.map(|share| (share, self.error(share, &quantizer))).collect()
    }
}

/// The lab's int8 with a smaller scale: what is too large gets the last code.
fn int8_clipped(value: f64, limit: f64) -> f64 {
    let scale = scale_for(limit as f32);
    f64::from(quantize_value(value as f32, scale)) * f64::from(scale)
}

fn four_bits_clipped(value: f64, limit: f64) -> f64 {
    snap(value, limit / qmax(4), qmax(4))
}

/// Where the error axis of `clip_tradeoff` begins.
const CLIP_FLOOR: f64 = 0.012;

/// What a smaller scale wins in rounding and loses in clipping.
pub fn clip_tradeoff(slice: &Slice) -> Result<Figure> {
    let name = TENSORS[6];
    let w = slice.tensor(name);
    let row = heaviest_tail(w);
    let clipping = Clipping::of(w.row(row));
    let int8 = clipping.curve(int8_clipped);
    let four_bits = clipping.curve(four_bits_clipped);
    let best = [least(&int8)?, least(&four_bits)?];
    let drawing = clipping_curves(&clipping, &int8, &four_bits, best)?;
    let [int8_limit, four_limit] = best.map(|point| axis_percent(point.0));
    let [int8_least, four_least] = best.map(|point| percent(point.1));
    let [int8_whole, four_whole] =
        [&int8, &four_bits].map(|curve| percent(curve.last().map_or(f64::NAN, |point| point.1)));
    Ok(Figure {
        title: "The error of a real row as its scale shrinks".into(),
        caption: format!(
            "{}, row {row}, which has the heaviest tail. A smaller limit means a smaller step and \
             more clipping. At 4 bits the best limit is {four_limit} of the largest weight (error \
             {four_least}, unclipped {four_whole}). At int8 it is {int8_limit} (error {int8_least}, \
             unclipped {int8_whole}): there is nothing to win.",
            subject(name),
        ),
        alt: format!(
            "Error on a logarithmic axis against the clipping limit. The 4-bit curve is a shallow \
             bowl with its least error at {four_limit}. The int8 curve falls all the way to \
             {int8_limit}, along the dotted curve of clipping alone until rounding stops it."
        ),
        drawing,
    })
}

/// The error under both quantizers and that of clipping alone.
fn clipping_curves(
    clipping: &Clipping,
    int8: &[(f64, f64)],
    four_bits: &[(f64, f64)],
    best: [(f64, f64); 2],
) -> Result<Drawing> {
    let alone = clipping.curve(|value, limit| value.clamp(-limit, limit));
    let x = Axis::linear("clipping limit, of the row's largest |w|", 0.29..1.02)
        .ticks([0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0], axis_percent);
    let y = Axis::log("relative error of the row", CLIP_FLOOR..0.6)
        .ticks([0.02, 0.05, 0.1, 0.2, 0.5], axis_percent)
        .holding(int8.iter().chain(four_bits).map(|(_, error)| error));
    let pens = [Pen::solid(Ink::One), Pen::dashed(Ink::Two), Pen::dotted(Ink::Muted)];
    draw(Layout::with_legend(2), x.without_grid(), y, |plot| {
        plot.line(alone.iter().copied().filter(|point| point.1 >= CLIP_FLOOR), pens[2])?;
        plot.line(four_bits.iter().copied(), pens[1])?;
        plot.line(int8.iter().copied(), pens[0])?;
        minimum(plot, best[0], Shape::Dot, Ink::One, (-330, 190), HPos::Right)?;
        minimum(plot, best[1], Shape::Square, Ink::Two, (0, -180), HPos::Center)?;
        plot.legend(1, &[Key::Line(pens[1], "4 bits"), Key::Line(pens[0], "int8")])?;
        plot.legend(2, &[Key::Line(pens[2], "clipping alone, no rounding")])
    })
}

/// The row whose largest weight is the largest multiple of the row's root mean square.
fn heaviest_tail(w: &Array2<f32>) -> usize {
    let tails: Vec<f64> = w
        .rows()
        .into_iter()
        .map(|row| {
            let squares = row.iter().map(|&value| f64::from(value) * f64::from(value)).sum::<f64>();
            absmax(row) / (squares / row.len() as f64).sqrt()
        })
        .collect();
    ascending(&tails)[tails.len() - 1]
}

/// The point of least error.
fn least(curve: &[(f64, f64)]) -> Result<(f64, f64)> {
    curve.iter().copied().min_by(|a, b| a.1.total_cmp(&b.1)).context("an empty curve")
}

fn minimum(
    plot: &Plot<'_>,
    point: (f64, f64),
    shape: Shape,
    ink: Ink,
    offset: (i32, i32),
    anchor: HPos,
) -> Result<()> {
    plot.marks([point], Mark::new(shape, ink).sized(60))?;
    let text = format!("least: {} at {}", percent(point.1), axis_percent(point.0));
    plot.label(point, offset, anchor, ink, &text)
}

/// What a halved step wins: 20 log10(2).
fn db_per_bit() -> f64 {
    20.0 * libm::log10(2.0)
}

/// Signal to noise against the number of bits.
pub fn bits_sqnr(slice: &Slice) -> Result<Figure> {
    let name = TENSORS[6];
    let w = slice.tensor(name);
    let sqnr = |bits| -20.0 * libm::log10(relative_error(w, &per_channel_round_trip(w, bits)));
    let measured: Vec<(f64, f64)> = (2..=8).map(|bits| (f64::from(bits), sqnr(bits))).collect();
    let per_bit = db_per_bit();
    let top = measured[measured.len() - 1];
    let expected = |bits: f64| (bits, top.1 - per_bit * (top.0 - bits));
    let drawing = sqnr_plot(&measured, expected)?;
    let two_bits = per_channel_round_trip(w, 2);
    let zeros = two_bits.iter().filter(|&&value| value == 0.0).count() as f64 / w.len() as f64;
    let gap = expected(2.0).1 - measured[0].1;
    Ok(Figure {
        title: "Signal to quantization noise ratio of a real matrix at 2 to 8 bits".into(),
        caption: format!(
            "{}, one scale per row, {} codes at 8 bits and {} at 2. From 8 bits down each bit \
             costs about {per_bit:.2} dB; at 2 bits the matrix is {} dB below that line, because \
             −1, 0 and 1 are only three of four codes and {} of the weights fall to 0.",
            subject(name),
            2.0 * f64::from(QMAX) + 1.0,
            2.0 * qmax(2) + 1.0,
            sig3(gap),
            percent(zeros),
        ),
        alt: format!(
            "Points rising from {:.1} dB at 2 bits to {:.1} dB at 8 bits. They follow a straight \
             line of {per_bit:.2} dB per bit down to about 5 bits and fall below it at 4, 3 and 2.",
            measured[0].1, top.1,
        ),
        drawing,
    })
}

/// Measured points and the line of one bit after the other.
fn sqnr_plot(measured: &[(f64, f64)], expected: impl Fn(f64) -> (f64, f64)) -> Result<Drawing> {
    let x =
        Axis::linear("bits per weight", 1.7..8.6).ticks([2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0], plain);
    let y = Axis::linear("SQNR, dB", -4.0..44.0).ticks([0.0, 10.0, 20.0, 30.0, 40.0], plain);
    let line = Pen::dashed(Ink::Muted);
    let mark = Mark::new(Shape::Dot, Ink::One).sized(54);
    draw(Layout::with_legend(1), x.without_grid(), y, |plot| {
        plot.line([expected(2.0), expected(8.0)], line)?;
        plot.marks(measured.iter().copied(), mark)?;
        for &point in measured {
            let text = format!("{:.1}", point.1);
            plot.label(point, (110, 60), HPos::Left, Ink::Text, &text)?;
        }
        let slope = format!("{:.2} dB per bit", db_per_bit());
        plot.legend(1, &[Key::Mark(mark, "measured"), Key::Line(line, &slope)])
    })
}
