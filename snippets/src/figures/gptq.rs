//! GPTQ on a whole model: perplexity against tokens of calibration, and the loss layer by layer.

use anyhow::{Context, Result, ensure};
use kit::table::{count, percent};
use measure::gptq::{Capture, Run};

use super::{Axis, Figure, Ink, Key, Layout, Mark, Pen, Shape, axis_percent, draw, plain};
use crate::rows::{largest, smallest};
use crate::tables::gptq::{by_layer, runs_of};

/// Perplexity of the rounded model against the tokens of calibration.
///
/// # Errors
/// If the capture has fewer than two such runs.
pub fn perplexity(of: &Capture) -> Result<Figure> {
    let runs = runs_of(of, "tokens");
    ensure!(runs.len() > 1, "a curve needs two runs whose names begin with `tokens`");
    let point = |run: &&Run| (run.tokens as f64, run.quality.perplexity);
    let points: Vec<(f64, f64)> = runs.iter().map(point).collect();
    let (tokens, values): (Vec<f64>, Vec<f64>) = points.iter().copied().unzip();
    let (low, high) = (smallest(&values), largest(&values));
    let x = Axis::log("tokens of calibration", smallest(&tokens) * 0.85..largest(&tokens) * 1.18)
        .ticks(tokens.iter().copied(), |value| format!("{}k", value / 1024.0));
    let whole = (low.floor() as i32..=high.ceil() as i32).map(f64::from);
    let y = Axis::linear("perplexity", low.floor()..high.ceil()).ticks(whole, plain);
    let drawing = draw(Layout::default(), x, y, |plot| {
        plot.curve(&points, Pen::solid(Ink::One), Mark::new(Shape::Dot, Ink::One))
    })?;
    let (first, last) = (runs[0], runs[runs.len() - 1]);
    let said = |run: &Run| (count(run.tokens), format!("{:.2}", run.quality.perplexity));
    let ((few, before), (many, after)) = (said(first), said(last));
    Ok(Figure {
        title: "Perplexity against tokens of calibration".into(),
        caption: format!(
            "{} in groups of {}, calibrated on the first tokens of {}. From {few} to {many} tokens the perplexity goes \
             from {before} to {after}.",
            of.setup.model, first.group_size, first.text,
        ),
        alt: format!(
            "A curve of perplexity over {} points from {few} to {many} tokens, which goes from {before} to {after}.",
            runs.len(),
        ),
        drawing,
    })
}

/// The loss of each decoder layer with the nearest codes and with GPTQ's, of the last run that kept losses.
///
/// # Errors
/// If no run has kept them.
pub fn layers(of: &Capture) -> Result<Figure> {
    let run = of.runs.iter().rev().find(|run| !run.losses.is_empty());
    let run = run.context("no run of the capture has losses")?;
    let (nearest, chosen): (Vec<f64>, Vec<f64>) = by_layer(&run.losses).into_iter().unzip();
    let last = nearest.len().saturating_sub(1);
    let x = Axis::linear("decoder layer", -0.8..last as f64 + 0.8)
        .ticks((0..=last).step_by((last / 6).max(1)).map(|layer| layer as f64), plain);
    let y = Axis::log("squared error over squared output", 0.0005..0.05)
        .ticks([0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05], axis_percent)
        .holding(nearest.iter().chain(&chosen));
    let marks = [
        (Mark::new(Shape::Square, Ink::Two), Pen::dashed(Ink::Two), "nearest codes"),
        (Mark::new(Shape::Dot, Ink::One), Pen::solid(Ink::One), "GPTQ"),
    ];
    let layout = Layout { left: 800, ..Layout::with_legend(1) };
    let drawing = draw(layout, x.without_grid(), y, |plot| {
        for (losses, (mark, pen, _)) in [&nearest, &chosen].into_iter().zip(marks) {
            let points: Vec<_> =
                losses.iter().enumerate().map(|(l, &loss)| (l as f64, loss)).collect();
            plot.curve(&points, pen, mark)?;
        }
        plot.legend(1, &marks.map(|(mark, _, name)| Key::Mark(mark, name)))
    })?;
    let mean = |of: &[f64]| percent(of.iter().sum::<f64>() / of.len() as f64);
    let (before, after) = (mean(&nearest), mean(&chosen));
    Ok(Figure {
        title: "The loss of each decoder layer".into(),
        caption: format!(
            "The mean over the matrices of a layer, on the {} tokens of calibration. Over all layers the nearest codes \
             lose {before} and GPTQ {after}.",
            count(run.tokens),
        ),
        alt: format!(
            "Two curves over {} layers. That of the nearest codes has a mean of {before}, that of GPTQ one of {after}.",
            nearest.len(),
        ),
        drawing,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::gptq::tests::capture;

    #[test]
    fn a_capture_is_drawn_and_one_without_runs_is_refused() -> Result<()> {
        let capture = capture();
        assert!(perplexity(&capture)?.caption.contains("from 28.50 to 27.25"));
        assert!(
            layers(&capture)?.caption.contains("lose 2.00 % and GPTQ 0.800 %"),
            "{}",
            layers(&capture)?.caption
        );
        let mut empty = capture;
        empty.body.runs.clear();
        let says = |figure: Result<Figure>| {
            figure.err().map(|error| error.to_string()).unwrap_or_default()
        };
        assert!(says(perplexity(&empty)).contains("needs two runs"));
        assert!(says(layers(&empty)).contains("no run"));
        Ok(())
    }
}
