//! Figures of "Outliers in a real model", drawn from the capture: ratios by layer, the residual
//! stream, and what alpha does to the whole model.

use anyhow::{Context, Result};
use half::f16;
use kit::table::{count, sig3, times};
use measure::outliers::{Capture, Input, Residual};

use super::{Axis, Drawing, Figure, HPos, Ink, Key, Layout, Mark, Pen, Plot, Shape, draw, plain};
use crate::rows::{largest, median, smallest};
use crate::tables::outliers::{alphas, change, of_kind, perplexity, variant};

/// Ticks of an axis over decoder layers.
const LAYERS: [f64; 7] = [0.0, 5.0, 10.0, 15.0, 20.0, 25.0, 29.0];

/// Inputs that a norm feeds and that none feeds: one panel each.
const NORM_FED: [(&str, &str); 2] = [("attention", "q, k, v"), ("mlp", "gate, up")];
const NOT_NORM_FED: [(&str, &str); 2] = [("down_proj", "down"), ("o_proj", "o")];

/// The numbers of an axis of powers of ten, short: `10k` is ten thousand.
fn thousands(value: f64) -> String {
    if value < 1000.0 { plain(value) } else { format!("{}k", value / 1000.0) }
}

/// Largest over median channel of each layer, at the inputs that norms feed.
pub fn model_ratios_norm(capture: &Capture) -> Result<Figure> {
    let [attention, mlp] = NORM_FED.map(|(input, _)| of_kind(capture, input));
    let (attention, mlp) = (attention?, mlp?);
    let worst = worst_of(&mlp)?;
    let (attention, mlp) = (ratios(&attention), ratios(&mlp));
    let [usual, with, without] =
        [median(&attention), worst.ratio(), worst.ratio_without_first()].map(times);
    let (attention, mlp) = (span(&attention), span(&mlp));
    Ok(Figure {
        title: "Largest channel absmax over the median in each layer, inputs that a norm feeds"
            .into(),
        caption: format!(
            "A bar is a layer: the largest absmax of its channels over the median one, over the whole passage; the \
             ring is the same with each chunk's first token left out. Attention's inputs are at \
             {usual} in the median layer, and the first token has no part in it. Layer {} of the MLP \
             falls from {with} to {without} without it.",
            worst.layer,
        ),
        alt: format!(
            "Bar chart over 30 layers on a logarithmic axis. Attention inputs: {attention}; MLP \
             inputs lower, {mlp}, the last layer the highest."
        ),
        drawing: bars(capture, NORM_FED, 1.0..100.0, &[1.0, 10.0, 100.0])?,
    })
}

/// The same at the inputs that no norm feeds.
pub fn model_ratios_other(capture: &Capture) -> Result<Figure> {
    let [down, o] = NOT_NORM_FED.map(|(input, _)| of_kind(capture, input));
    let (down, o) = (down?, o?);
    let worst = worst_of(&down)?;
    let rest: Vec<f64> = down.iter().map(|layer| layer.ratio_without_first()).collect();
    let (down, o) = (ratios(&down), ratios(&o));
    let [usual, with, without, most] =
        [median(&o), worst.ratio(), worst.ratio_without_first(), largest(&rest)].map(times);
    let (down, o) = (span(&down), span(&o));
    Ok(Figure {
        title: "Largest channel absmax over the median in each layer, inputs that no norm feeds"
            .into(),
        caption: format!(
            "The same for the two inputs that no norm feeds, on an axis ten times as long. Layer {} \
             reaches {with} at down_proj, {without} without first tokens. What o_proj is given is \
             the most even input of the model: {usual} in the median layer.",
            worst.layer,
        ),
        alt: format!(
            "Bar chart over 30 layers on a logarithmic axis. down_proj: {down}, with a few layers \
             far above the rest; without first tokens none is above {most}. o_proj: {o}."
        ),
        drawing: bars(capture, NOT_NORM_FED, 1.0..2000.0, &[1.0, 10.0, 100.0, 1000.0])?,
    })
}

fn ratios(layers: &[&Input]) -> Vec<f64> {
    layers.iter().map(|layer| layer.ratio()).collect()
}

fn span(ratios: &[f64]) -> String {
    format!("from {} to {}", times(smallest(ratios)), times(largest(ratios)))
}

fn worst_of<'a>(layers: &[&'a Input]) -> Result<&'a Input> {
    let worst = layers.iter().max_by(|a, b| a.ratio().total_cmp(&b.ratio()));
    worst.copied().context("a kind of input has layers")
}

/// Two bars for each layer, and a ring where the bar would end without first tokens.
fn bars(
    capture: &Capture,
    kinds: [(&str, &str); 2],
    range: std::ops::Range<f64>,
    ticks: &[f64],
) -> Result<Drawing> {
    let least = range.start;
    let inks = [Ink::One, Ink::Two];
    let kinds_of = kinds.map(|(input, _)| of_kind(capture, input));
    let [first, second] = kinds_of;
    let layers = [first?, second?];
    let all: Vec<f64> = layers.iter().flat_map(|layers| ratios(layers)).collect();
    let x = Axis::linear("decoder layer", -0.8..29.8).ticks(LAYERS, plain).without_grid();
    let y = Axis::log("largest channel absmax over the median", range)
        .ticks(ticks.iter().copied(), thousands)
        .holding(&all);
    draw(Layout::with_legend(2), x, y, |plot| {
        for ((layers, ink), shift) in layers.iter().zip(inks).zip([-0.17, 0.17]) {
            for layer in layers {
                let at = layer.layer as f64 + shift;
                plot.line([(at, least), (at, layer.ratio())], Pen::solid(ink))?;
            }
            let rings = layers
                .iter()
                .map(|layer| (layer.layer as f64 + shift, layer.ratio_without_first().max(least)));
            plot.marks(rings, Mark::new(Shape::Ring, ink).sized(32))?;
        }
        let bars = [0, 1].map(|i| Key::Line(Pen::solid(inks[i]), kinds[i].1));
        plot.legend(1, &bars)?;
        let ring = Mark::new(Shape::Ring, Ink::Muted).sized(32);
        plot.legend(2, &[Key::Mark(ring, "without first tokens")])
    })
}

/// The largest values of the residual stream behind each layer.
pub fn residual_peaks(capture: &Capture) -> Result<Figure> {
    let peak = capture
        .residuals
        .iter()
        .max_by(|a, b| a.peak_of_first.magnitude.total_cmp(&b.peak_of_first.magnitude));
    let peak = peak.context("the capture has residuals")?;
    let end = f64::from(f16::MAX.to_f32());
    let most = peak.peak_of_first.magnitude;
    let others: Vec<f64> = capture.residuals.iter().map(|r| r.peak_of_others.magnitude).collect();
    let medians: Vec<f64> = capture.residuals.iter().map(|r| r.median).collect();
    let [usual, of_others, first, last] =
        [peak.median, largest(&others), medians[0], medians[medians.len() - 1]].map(sig3);
    let [over_usual, to_end] = [most / peak.median, end / most].map(times);
    let most = count(most.round() as usize);
    Ok(Figure {
        title: "Largest magnitudes of the residual stream behind each layer".into(),
        caption: format!(
            "Behind layer {} a first token reaches {most} in channel {}, where the usual magnitude \
             is {usual}: {over_usual}. The largest f16 is 65,504, {to_end} that.",
            peak.layer, peak.peak_of_first.channel,
        ),
        alt: format!(
            "Line plot over 30 layers on a logarithmic axis. The line of first tokens climbs to \
             {most}, stays there over the middle layers and falls at the end. The line of the other \
             tokens stays below {of_others}. The median magnitude grows from {first} to {last}. A \
             dashed line at 65,504 marks the end of f16."
        ),
        drawing: residual_plot(capture, end)?,
    })
}

fn residual_plot(capture: &Capture, end: f64) -> Result<Drawing> {
    let x = Axis::linear("decoder layer", -0.8..29.8).ticks(LAYERS, plain);
    let y = Axis::log("magnitude in the residual stream", 0.3..150_000.0)
        .ticks([1.0, 10.0, 100.0, 1000.0, 10_000.0, 100_000.0], thousands);
    let points = |of: fn(&Residual) -> f64| {
        let points = capture.residuals.iter().map(|residual| (residual.layer as f64, of(residual)));
        points.collect::<Vec<_>>()
    };
    let (first, others) = (Mark::new(Shape::Dot, Ink::Two), Mark::new(Shape::Ring, Ink::One));
    draw(Layout::with_legend(2), x, y, |plot: &Plot<'_>| {
        plot.guide([(-0.5, end), (29.5, end)], Pen::dashed(Ink::Muted))?;
        plot.label((14.5, end), (0, -90), HPos::Center, Ink::Text, "the largest f16")?;
        plot.curve(&points(|r| r.peak_of_first.magnitude), Pen::solid(Ink::Two), first)?;
        plot.curve(&points(|r| r.peak_of_others.magnitude), Pen::dashed(Ink::One), others)?;
        plot.line(points(|r| r.median), Pen::dotted(Ink::Three))?;
        plot.legend(1, &[Key::Mark(first, "first tokens"), Key::Mark(others, "all others")])?;
        plot.legend(2, &[Key::Line(Pen::dotted(Ink::Three), "median of all values")])
    })
}

/// Divergence of the whole model against alpha.
pub fn model_alpha(capture: &Capture) -> Result<Figure> {
    let alphas = alphas(capture, "norms");
    let curve = |granularity: &str| -> Result<Vec<(f64, f64)>> {
        let point = |&alpha: &f64| {
            let name = format!("SmoothQuant {alpha:.1}, {granularity}");
            Ok((alpha, variant(capture, &name)?.mean_kl_divergence()))
        };
        alphas.iter().map(point).collect()
    };
    let (tensor, token) = (curve("per-tensor")?, curve("per-token")?);
    let without = [
        variant(capture, "W8A8 per-tensor")?.mean_kl_divergence(),
        variant(capture, "W8A8 per-token")?.mean_kl_divergence(),
    ];
    let best = token.iter().copied().min_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or_default();
    let of_best = variant(capture, &format!("SmoothQuant {:.1}, per-token", best.0))?;
    let original = variant(capture, "f32")?.perplexity();
    Ok(Figure {
        title: "Divergence of the whole model from f32 against alpha".into(),
        caption: format!(
            "The whole model in W8A8, migration folded into its norms; dashed: without migration. Per \
             token the lowest point is at alpha {:.1}: {:.4} nats, a perplexity of {} ({}). Per tensor \
             no alpha comes near it.",
            best.0,
            best.1,
            perplexity(of_best.perplexity()),
            change(of_best.perplexity() / original - 1.0),
        ),
        alt: format!(
            "Line plot of divergence, logarithmic, against alpha from 0.3 to 0.9. The curve per token \
             has a flat valley around {:.1} at {:.4} nats, below its dashed line at {:.4}. The curve \
             per tensor lies more than ten times as high, just below its dashed line at {:.3}.",
            best.0, best.1, without[1], without[0],
        ),
        drawing: alpha_plot(&tensor, &token, without)?,
    })
}

fn alpha_plot(tensor: &[(f64, f64)], token: &[(f64, f64)], without: [f64; 2]) -> Result<Drawing> {
    let x = Axis::linear("alpha", 0.25..0.95).ticks([0.3, 0.5, 0.7, 0.9], plain);
    let values: Vec<f64> = tensor.iter().chain(token).map(|point| point.1).collect();
    let y = Axis::log("mean divergence from f32 (nats)", 0.005..2.0)
        .ticks([0.01, 0.1, 1.0], plain)
        .holding(&values)
        .holding(&without);
    draw(Layout::with_legend(1), x, y, |plot| {
        let curves = [
            (tensor, without[0], Mark::new(Shape::Dot, Ink::Two), Ink::Two),
            (token, without[1], Mark::new(Shape::Ring, Ink::One), Ink::One),
        ];
        for (curve, without, mark, ink) in curves {
            plot.guide([(0.27, without), (0.93, without)], Pen::dashed(ink))?;
            plot.curve(curve, Pen::solid(ink), mark)?;
        }
        let [tensor, token] = [curves[0].2, curves[1].2];
        plot.legend(1, &[Key::Mark(tensor, "per tensor"), Key::Mark(token, "per token")])
    })
}
