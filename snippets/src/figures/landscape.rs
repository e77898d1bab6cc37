//! The landscape of one real activation, token by channel, before and after migration.

use anyhow::Result;
use kit::real_slice::TENSORS;
use kit::table::{sig3, times};
use ndarray::{Array2, ArrayView1};
use smoothquant::{channel_absmax, migrate};

use super::{Axis, Drawing, Figure, HPos, Ink, Layout, Pen, draw, plain};
use crate::inputs::Layers;
use crate::tables::lab_04::{ALPHA, spread};
use crate::tables::real_activations::{position_of_absmax, without_first};

/// The layer that is drawn, which has a massive first token and an outlier channel.
const DRAWN: &str = TENSORS[7];
/// How many of its tokens are drawn.
pub const SHOWN: usize = 24;
/// Channels to a point of a line, of which the absmax is drawn.
const BIN: usize = 6;
/// Points of a line at most, which decide the channels to a point of a wider input.
const POINTS: usize = 128;
/// How high the median channel's largest magnitude stands, in distances between two tokens.
const UNIT: f64 = 0.2;

/// The activation as the layer gets it.
pub fn before(layers: &Layers) -> Result<Figure> {
    let layer = layers.of(DRAWN);
    let x = &layer.held_out;
    let (token, channel) = position_of_absmax(x);
    let rest = without_first(x);
    let second = position_of_absmax(&rest).1;
    Ok(Figure {
        title: format!("Magnitudes at the input of {}, token by channel", layer.label),
        caption: format!(
            "The first {SHOWN} tokens of a window, {BIN} channels to a point (the largest counts); \
             five times the median channel is as high as two tokens are apart. Two kinds of outliers: token {token} reaches {} in channel {channel}, once; channel \
             {second} is large in nearly every token. The largest absmax of a channel is {} the median one, {} \
             without the first token.",
            sig3(x[(token, channel)].abs().into()),
            ratio(x)?,
            ratio(&rest)?,
        ),
        alt: format!(
            "Ridge plot, one line for each of {SHOWN} tokens over {} channels. The first line has one \
             peak many times as high as anything else, at channel {channel}. The others have a row of \
             small peaks one above the other at channel {second}.",
            x.ncols()
        ),
        drawing: ridges(x, of_the_median(x)?, &[(token, channel), (12, second)])?,
    })
}

/// The same activation, divided by the smoothing scales.
pub fn after(layers: &Layers) -> Result<Figure> {
    let layer = layers.of(DRAWN);
    let migrated = migrate(std::slice::from_ref(&layer.calibration), &layer.weight, ALPHA)?;
    let x = &layer.held_out / &migrated.smoothing;
    let (token, channel) = position_of_absmax(&x);
    let rest = without_first(&x);
    Ok(Figure {
        title: format!("The input of {} after migration at alpha {ALPHA}", layer.label),
        caption: format!(
            "The same tokens, drawn to the same measure, after migration at alpha {ALPHA}, calibrated \
             on another window. The largest absmax of a channel is {} the median one, {} without the first token: \
             what stood out stands out less, so the usual channel gets more of the codes.",
            ratio(&x)?,
            ratio(&rest)?,
        ),
        alt: format!(
            "The same ridge plot after migration. The peak of the first line, at channel {channel}, and \
             the row of peaks are a fraction of their former height, and all lines are rough over their \
             whole length.",
        ),
        drawing: ridges(&x, of_the_median(&x)?, &[(token, channel)])?,
    })
}

/// The largest channel as a multiple of the median one.
pub fn ratio(x: &Array2<f32>) -> Result<String> {
    Ok(times(spread(&channel_absmax(x)?.to_vec())))
}

/// The value that stands as high as two tokens are apart, in lab 04's measure: heights are multiples of the
/// median channel's largest magnitude, so a grid that holds the highest has that many codes for the usual one.
pub fn of_the_median(x: &Array2<f32>) -> Result<f64> {
    let channel_peaks: Vec<f64> = channel_absmax(x)?.iter().map(|&peak| peak.into()).collect();
    Ok(crate::rows::median(&channel_peaks) / UNIT)
}

/// A line for each token, raised by its number. The value `unit` is as high as two tokens are apart. `named` are
/// the tokens and channels that get a label.
pub fn ridges(x: &Array2<f32>, unit: f64, named: &[(usize, usize)]) -> Result<Drawing> {
    let channels = x.ncols() as f64;
    let step = if x.ncols() > 1000 { 300 } else { 100 };
    let ticks: Vec<f64> = (0..x.ncols()).step_by(step).map(|tick| tick as f64).collect();
    let horizontal = Axis::linear("channel", 0.0..channels).ticks(ticks, plain).without_grid();
    let height = |(token, value): (usize, f64)| token as f64 + value / unit;
    let tops =
        x.rows().into_iter().take(SHOWN).enumerate().map(|(token, row)| {
            height((token, bins(row).map(|(_, value)| value).fold(0.0, f64::max)))
        });
    let tops: Vec<f64> = tops.collect();
    let vertical = Axis::linear("token; height: magnitude", -0.5..SHOWN as f64 + 0.5)
        .holding(&tops)
        .ticks([0.0, 8.0, 16.0, 23.0], plain)
        .without_grid();
    draw(Layout::default(), horizontal, vertical, |plot| {
        // From the back to the front, so that the nearer line is on top.
        for (token, row) in x.rows().into_iter().enumerate().take(SHOWN).rev() {
            let ink = if token == 0 { Ink::Two } else { Ink::One };
            let points = bins(row).map(|(at, value)| (at, height((token, value))));
            plot.guide(points, Pen::solid(ink))?;
        }
        for &(token, channel) in named {
            let value = f64::from(x[(token, channel)].abs());
            let at = (channel as f64, height((token, value)));
            let text = format!("channel {channel}: {}", sig3(value));
            let left = 2 * channel < x.ncols();
            let (away, side) = if left { (90, HPos::Left) } else { (-90, HPos::Right) };
            plot.label(at, (away, -60), side, Ink::Text, &text)?;
        }
        Ok(())
    })
}

/// The middle of each bin of channels and its largest magnitude.
fn bins(row: ArrayView1<f32>) -> impl Iterator<Item = (f64, f64)> {
    let values = row.to_vec();
    let width = BIN.max(values.len() / POINTS);
    (0..values.len().div_ceil(width)).map(move |bin| {
        let chunk = &values[bin * width..values.len().min((bin + 1) * width)];
        let largest = chunk.iter().fold(0.0, |max: f32, value| max.max(value.abs()));
        ((bin * width) as f64 + chunk.len() as f64 / 2.0, largest.into())
    })
}
