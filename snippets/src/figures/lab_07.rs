//! The figures of lab 07: salient channels, and the valley of the error against the ratio.

use anyhow::{Context, Result};
use awq::{channel_means, ratios};
use kit::real_slice::TENSORS;
use kit::table::{percent, sig3};
use measure::awq::Capture;

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

/// The kinds of inputs in a decoder layer, by the first layer that reads the input.
const KINDS: [(&str, &str, Pen, Shape); 4] = [
    ("q_proj", "query, key, value", Pen::solid(Ink::One), Shape::Dot),
    ("o_proj", "output", Pen::dashed(Ink::Two), Shape::Square),
    ("gate_proj", "gate, up", Pen::dotted(Ink::Three), Shape::Ring),
    ("down_proj", "down", Pen::solid(Ink::Four), Shape::Square),
];

/// The ratios that the search has chosen over the model.
pub fn chosen(capture: &Capture) -> Result<Figure> {
    let name = "AWQ without clipping";
    let run = capture.run(name).with_context(|| format!("the capture has no run `{name}`"))?;
    let tried: Vec<f32> = ratios().collect();
    let counts = KINDS.map(|(kind, ..)| {
        let of_kind = run.choices.iter().filter(|choice| choice.layer.ends_with(kind));
        let mut counts = vec![0.0; tried.len()];
        for choice in of_kind {
            let nearest = |ratio: &f32| (ratio - choice.ratio).abs() < 1e-3;
            counts[tried.iter().position(nearest).unwrap_or(0)] += 1.0;
        }
        counts
    });
    let most = largest(&counts.concat());
    let x = Axis::linear("chosen ratio", -0.03..0.98).ticks([0.0, 0.25, 0.5, 0.75, 0.95], plain);
    let steps = [0.0, 2.0, 4.0, 6.0, 8.0, 10.0, 15.0, 20.0, 25.0, 30.0];
    let y = Axis::linear("decoder layers", 0.0..most + 1.0)
        .ticks(steps.into_iter().filter(|step| *step <= most + 1.0), plain);
    let drawing = draw(Layout::with_legend(2), x, y, |plot| {
        let mut keys = Vec::new();
        for (counts, (_, label, pen, shape)) in counts.iter().zip(KINDS) {
            let points: Vec<_> = tried
                .iter()
                .zip(counts)
                .map(|(&ratio, &count)| (f64::from(ratio), count))
                .collect();
            plot.curve(&points, pen, Mark::new(shape, pen.ink))?;
            keys.push(Key::Mark(Mark::new(shape, pen.ink), label));
        }
        plot.legend(1, &keys[..2])?;
        plot.legend(2, &keys[2..])
    })?;
    let still = run.choices.iter().filter(|choice| choice.ratio == 0.0).count();
    let mean = run.choices.iter().map(|choice| choice.left).sum::<f64>() / run.choices.len() as f64;
    Ok(Figure {
        title: "The ratios that the search has chosen".into(),
        caption: format!(
            "SmolLM2-135M, four inputs in each of its decoder layers, {} searches. {still} of them chose ratio 0. The \
             squared error that is left is {} of that of the nearest codes on average.",
            run.choices.len(),
            percent(mean),
        ),
        alt: "Four lines over ratios from 0 to 0.95, one for each kind of input. Each says how many decoder layers \
              chose the ratio."
            .into(),
        drawing,
    })
}
