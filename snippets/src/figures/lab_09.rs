//! The figures of lab 09: real keys and values, token by channel, and where the attention goes.

use anyhow::{Context, Result};
use kit::real_cache::{RealCache, TOKENS};
use kit::table::{percent, times};
use ndarray::Array3;

use super::{Axis, Drawing, Figure, Ink, Key, Layout, Mark, Pen, Shape, draw, plain};
use crate::inputs::Caches;
use crate::rows::{largest, median};
use crate::tables::lab_09::{channel_means, small_values, token_means, token_weights};

/// The layer that is drawn.
const DRAWN: usize = 14;
/// How many of its tokens are drawn.
const SHOWN: usize = 24;
/// How high the mean magnitude of the tensor stands, in distances between two tokens.
const UNIT: f64 = 0.5;

fn of_layer(caches: &Caches, layer: usize) -> Result<&RealCache> {
    let found = caches.0.iter().find(|(there, _)| *there == layer);
    Ok(&found.context("the layer is not in the slice")?.1)
}

/// The keys of a layer.
pub fn keys(caches: &Caches) -> Result<Figure> {
    let keys = &of_layer(caches, DRAWN)?.keys;
    let means = channel_means(keys);
    let [channel, token] = [&means, &token_means(keys)].map(|of| largest(of) / median(of));
    let index = (0..means.len()).max_by(|a, b| means[*a].total_cmp(&means[*b])).unwrap_or(0);
    Ok(Figure {
        title: format!("Magnitudes of the keys of layer {DRAWN}, token by channel"),
        caption: format!(
            "The first {SHOWN} tokens, and the channels of three key-value heads side by side. A channel that \
             is large is large in nearly every token: the mean magnitude of channel {index} is {} that of the \
             median channel. Tokens are alike: the largest one has {} the magnitude of the median one. The \
             first token, in the other colour, lacks the large channels.",
            times(channel),
            times(token)
        ),
        alt: format!(
            "Ridge plot, one line for each of {SHOWN} tokens over 192 channels. Sharp peaks stand one above \
             the other in the same few channels, in all lines but the first."
        ),
        drawing: ridges(keys)?,
    })
}

/// The values of a layer.
pub fn values(caches: &Caches) -> Result<Figure> {
    let values = &of_layer(caches, DRAWN)?.values;
    let tokens = token_means(values);
    let channel = largest(&channel_means(values)) / median(&channel_means(values));
    Ok(Figure {
        title: format!("Magnitudes of the values of layer {DRAWN}, token by channel"),
        caption: format!(
            "The same tokens. No channel stands out as channels of the keys do: the largest mean magnitude is {} \
             the median one. The first token, in the other colour, has small values, {} of the median token's.",
            times(channel),
            percent(tokens[0] / median(&tokens))
        ),
        alt: format!(
            "Ridge plot, one line for each of {SHOWN} tokens over 192 channels. All lines are rough over their \
             whole length, and the first one is nearly flat."
        ),
        drawing: ridges(values)?,
    })
}

/// A line for each token, raised by its number.
fn ridges(of: &Array3<f32>) -> Result<Drawing> {
    let mean = token_means(of).iter().sum::<f64>() / TOKENS as f64;
    let lines: Vec<Vec<f64>> = of
        .outer_iter()
        .take(SHOWN)
        .enumerate()
        .map(|(token, row)| {
            let height = |x: &f32| token as f64 + f64::from(x.abs()) / mean * UNIT;
            row.iter().map(height).collect()
        })
        .collect();
    let channels = lines[0].len() as f64;
    let x = Axis::linear("channel of three heads", 0.0..channels)
        .ticks([0.0, 64.0, 128.0, 192.0], plain)
        .without_grid();
    let y = Axis::linear("token; height: magnitude", -0.5..SHOWN as f64 + 0.5)
        .holding(lines.iter().flatten())
        .ticks([0.0, 8.0, 16.0, 23.0], plain)
        .without_grid();
    draw(Layout::default(), x, y, |plot| {
        // From the back to the front, so that the nearer line is on top.
        for (token, line) in lines.iter().enumerate().rev() {
            let ink = if token == 0 { Ink::Two } else { Ink::One };
            let points = line.iter().enumerate().map(|(at, height)| (at as f64 + 0.5, *height));
            plot.guide(points, Pen::solid(ink))?;
        }
        Ok(())
    })
}

/// The layers whose tokens are drawn, with their marks.
const LAYERS: [(usize, Mark); 2] =
    [(4, Mark::new(Shape::Ring, Ink::One)), (14, Mark::new(Shape::Dot, Ink::Two))];

/// The weight of each token over the size of its values.
pub fn sinks(caches: &Caches) -> Result<Figure> {
    let mut told = Vec::new();
    for (layer, _) in LAYERS {
        let of = of_layer(caches, layer)?;
        let (small, weights) = (small_values(of), token_weights(of));
        let drawn: f64 = small.iter().map(|token| weights[*token]).sum();
        told.push(format!("{} of {TOKENS} in layer {layer}, with {}", small.len(), percent(drawn)));
    }
    Ok(Figure {
        title: "Each token's weight over the size of its values".into(),
        caption: format!(
            "A mark is a token: the mean weight that the last queries give the token, over the mean magnitude of its \
             values in units of the median token. Tokens with values below a quarter of the median draw most of \
             the attention or much of it: {} of all weight.",
            told.join(", and ")
        ),
        alt: "Scatter plot with a logarithmic vertical axis. Most tokens lie in a cloud around size 1 with \
              weights below a hundredth. A few marks lie far to the left of the cloud and far above it."
            .into(),
        drawing: scatter(caches)?,
    })
}

fn scatter(caches: &Caches) -> Result<Drawing> {
    let mut clouds = Vec::new();
    for (layer, mark) in LAYERS {
        let of = of_layer(caches, layer)?;
        let sizes = token_means(&of.values);
        let median = median(&sizes);
        let points = sizes.iter().map(|size| size / median).zip(token_weights(of));
        clouds.push((mark.sized(22), points.collect::<Vec<(f64, f64)>>()));
    }
    let all = || clouds.iter().flat_map(|(_, points)| points);
    let sizes: Vec<f64> = all().map(|(size, _)| *size).collect();
    let weights: Vec<f64> = all().map(|(_, weight)| *weight).collect();
    let x = Axis::linear("mean magnitude of the values / median token", 0.0..2.0)
        .holding(&sizes)
        .ticks([0.0, 0.5, 1.0, 1.5, 2.0], plain);
    let y = Axis::log("mean weight", 1e-5..1.0)
        .holding(&weights)
        .ticks([1e-4, 1e-3, 0.01, 0.1, 1.0], plain);
    draw(Layout { left: 760, ..Layout::with_legend(1) }, x, y, |plot| {
        for (mark, points) in &clouds {
            plot.marks(points.iter().copied(), *mark)?;
        }
        let keys = LAYERS
            .map(|(layer, mark)| Key::Mark(mark, if layer == 4 { "layer 4" } else { "layer 14" }));
        plot.legend(1, &keys)
    })
}
