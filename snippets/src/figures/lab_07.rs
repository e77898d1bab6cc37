//! The figures of lab 07: salient channels, and the valley of the error against the ratio.

use anyhow::Result;
use awq::{channel_means, ratios};
use kit::real_slice::TENSORS;
use kit::table::{percent, sig3};

use super::{
    Axis, Figure, Ink, Key, Layout, MARKER, Mark, Pen, Shape, axis_percent, draw, plain, subject,
};
use crate::inputs::Layers;
use crate::rows::{largest, smallest};
use crate::tables::lab_07::{searched, weight_magnitudes};

/// The layer of the first figure.
const LAYER: &str = TENSORS[4];
/// The layers of the second figure: one of each kind, early, in the middle and late.
const VALLEYS: [(&str, Pen, Shape); 3] = [
    (TENSORS[0], Pen::solid(Ink::One), Shape::Dot),
    (TENSORS[4], Pen::dashed(Ink::Two), Shape::Square),
    (TENSORS[8], Pen::dotted(Ink::Three), Shape::Ring),
];

/// The mean magnitude of each channel in the inputs and in the weights.
pub fn salience(layers: &Layers) -> Result<Figure> {
    let layer = layers.of(LAYER);
    let wide = |values: ndarray::Array1<f32>| values.mapv(f64::from).to_vec();
    let x = wide(channel_means(std::slice::from_ref(&layer.calibration))?);
    let w = wide(weight_magnitudes(&layer.weight));
    let median = |values: &[f64]| {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        sorted[sorted.len() / 2]
    };
    let spread = |values: &[f64]| largest(values) / median(values);
    let (of_inputs, of_weights) = (spread(&x), spread(&w));
    let [ax, ay] = [&x, &w].map(|values| (smallest(values) / 1.1)..(largest(values) * 1.1));
    let ticks = |from: &std::ops::Range<f64>, all: &[f64]| {
        all.iter().copied().filter(|tick| from.contains(tick)).collect::<Vec<_>>()
    };
    let decades = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0];
    let horizontal =
        Axis::log("mean magnitude of the input", ax.clone()).ticks(ticks(&ax, &decades), plain);
    let vertical =
        Axis::log("mean magnitude of the weights", ay.clone()).ticks(ticks(&ay, &decades), plain);
    let order = {
        let mut order: Vec<usize> = (0..x.len()).collect();
        order.sort_by(|&a, &b| x[b].total_cmp(&x[a]));
        order
    };
    let salient = x.len().div_ceil(100);
    let drawing = draw(Layout::with_legend(1), horizontal, vertical, |plot| {
        let small = Mark::new(Shape::Dot, Ink::One).sized(MARKER / 2);
        let large = Mark::new(Shape::Ring, Ink::Two);
        plot.marks(order.iter().skip(salient).map(|&c| (x[c], w[c])), small)?;
        plot.marks(order.iter().take(salient).map(|&c| (x[c], w[c])), large)?;
        plot.legend(
            1,
            &[
                Key::Mark(small, "a channel"),
                Key::Mark(large, "one of the 1 % with the largest inputs"),
            ],
        )
    })?;
    Ok(Figure {
        title: "Channels by the magnitudes of their inputs and of their weights".into(),
        caption: format!(
            "{}, {} channels. The largest mean magnitude of an input is {} times the median, that of a column of \
             weights {} times. Both axes are logarithmic.",
            subject(LAYER),
            x.len(),
            sig3(of_inputs),
            sig3(of_weights),
        ),
        alt: format!(
            "A cloud of {} dots, wide along the inputs and flat along the weights. Rings mark the {salient} channels \
             at the right end; they stand no higher than the others.",
            x.len()
        ),
        drawing,
    })
}

/// The error of three layers against the ratio.
pub fn valley(layers: &Layers) -> Result<Figure> {
    let ratios: Vec<f64> = ratios().map(f64::from).collect();
    let curves: Vec<Vec<f64>> = VALLEYS
        .iter()
        .map(|(name, ..)| {
            let errors = searched(layers.of(name))?.errors;
            Ok(errors.iter().map(|error| error / errors[0]).collect())
        })
        .collect::<Result<_>>()?;
    let x = Axis::linear("ratio", -0.02..0.97).ticks([0.0, 0.25, 0.5, 0.75, 0.95], plain);
    let y = Axis::linear("error over that of the nearest codes", 0.0..1.5)
        .ticks([0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5], axis_percent)
        .holding(curves.iter().flatten());
    let labels = VALLEYS.map(|(name, ..)| kit::real_slice::label(name));
    let drawing = draw(Layout::with_legend(2), x, y, |plot| {
        plot.guide([(-0.02, 1.0), (0.97, 1.0)], Pen::dashed(Ink::Muted))?;
        let mut keys = Vec::new();
        for ((curve, (_, pen, shape)), label) in curves.iter().zip(VALLEYS).zip(&labels) {
            let points: Vec<_> = ratios.iter().copied().zip(curve.iter().copied()).collect();
            let mark = Mark::new(shape, pen.ink);
            plot.curve(&points, pen, mark)?;
            keys.push(Key::Mark(mark, label.as_str()));
        }
        plot.legend(1, &keys[..2])?;
        plot.legend(2, &keys[2..])
    })?;
    let lowest = curves.iter().zip(&labels).map(|(curve, label)| {
        let least = smallest(curve);
        let at = curve.iter().position(|error| *error == least).unwrap_or(0);
        format!("{label}: {} at {}", percent(least), ratios[at])
    });
    let lowest: Vec<_> = lowest.collect();
    Ok(Figure {
        title: "The error of the output against the ratio".into(),
        caption: format!(
            "Three layers with their 46 tokens of calibration, int4 in groups of 64. Ratio 0 is the weight as it is. \
             The lowest points are {}.",
            lowest.join("; ")
        ),
        alt: format!(
            "Three curves over ratios from 0 to 0.95 that begin at 100 %, fall into a valley and rise again. {}.",
            lowest.join("; ")
        ),
        drawing,
    })
}
