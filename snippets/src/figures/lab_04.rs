//! Figures of lab 04 on its planted set-up: alpha against error.

use anyhow::Result;
use kit::table::percent;
use smoothquant::Granularity;

use super::{
    Axis, Drawing, Figure, HPos, Ink, Key, Layout, Mark, Pen, Shape, axis_percent, draw, plain,
};
use crate::tables::lab_04::{healthy, migrated_error, naive_error, planted};

/// A curve: errors at the strengths of [`alphas`].
struct Sweep {
    name: &'static str,
    mark: Mark,
    pen: Pen,
    errors: Vec<(f64, f64)>,
}

/// From 0 to 1 in steps of a twentieth.
fn alphas() -> impl Iterator<Item = f32> {
    (0..=20).map(|step| step as f32 / 20.0)
}

fn sweeps() -> Result<[Sweep; 3]> {
    let sweep = |name, mark, pen, seed, granularity, with_outliers: bool| -> Result<Sweep> {
        let make = if with_outliers { planted } else { healthy };
        let (x, calibration) = (make(seed), make(1));
        let errors = alphas().map(|alpha| {
            Ok((f64::from(alpha), migrated_error(&x, &calibration, alpha, granularity)?))
        });
        Ok(Sweep { name, mark, pen, errors: errors.collect::<Result<_>>()? })
    };
    let (tensor, token) = (Granularity::PerTensor, Granularity::PerToken);
    let mark = |shape, ink| Mark::new(shape, ink);
    Ok([
        sweep("per tensor", mark(Shape::Dot, Ink::Two), Pen::solid(Ink::Two), 3, tensor, true)?,
        sweep("per token", mark(Shape::Ring, Ink::One), Pen::dashed(Ink::One), 3, token, true)?,
        sweep(
            "no outliers, per tensor",
            mark(Shape::Square, Ink::Three),
            Pen::dotted(Ink::Three),
            3,
            tensor,
            false,
        )?,
    ])
}

/// The lowest point of a curve.
fn lowest(sweep: &Sweep) -> (f64, f64) {
    let best = sweep.errors.iter().copied().min_by(|a, b| a.1.total_cmp(&b.1));
    best.unwrap_or_default()
}

/// Error against alpha: the U, and the control that is none.
pub fn alpha_sweep() -> Result<Figure> {
    let sweeps = sweeps()?;
    let naive = naive_error(&planted(3), Granularity::PerTensor)?;
    let [tensor, token, control] = sweeps.each_ref().map(lowest);
    let ends = [sweeps[0].errors[0].1, sweeps[0].errors[sweeps[0].errors.len() - 1].1];
    let highest = sweeps[2].errors.iter().map(|point| point.1).fold(0.0, f64::max);
    let [without, per_tensor, per_token, flat_low, flat_high, first, last] =
        [naive, tensor.1, token.1, control.1, highest, ends[0], ends[1]].map(percent);
    Ok(Figure {
        title: "Error of a W8A8 layer against the migration strength alpha".into(),
        caption: format!(
            "The planted set-up on tokens that calibration did not see. Without migration the layer \
             loses {without} per tensor. The lowest error per tensor is {per_tensor} at alpha \
             {:.2}, per token {per_token} at {:.2}. Without outliers there is no valley to speak of: \
             the squares lie between {flat_low} and {flat_high}.",
            tensor.0, token.0,
        ),
        alt: format!(
            "Line plot of relative error, logarithmic, against alpha from 0 to 1. The curve per \
             tensor falls from {first} to {per_tensor} at alpha {:.2} and rises to {last} at 1. The \
             curve per token has the same shape, lower on the left and equal on the right. The \
             curve without outliers is nearly flat in the middle.",
            tensor.0,
        ),
        drawing: sweep_plot(&sweeps, naive)?,
    })
}

fn sweep_plot(sweeps: &[Sweep; 3], naive: f64) -> Result<Drawing> {
    let errors: Vec<f64> = sweeps.iter().flat_map(|s| s.errors.iter().map(|e| e.1)).collect();
    let x = Axis::linear("alpha: the share that moves to the weights", -0.03..1.03)
        .ticks([0.0, 0.25, 0.5, 0.75, 1.0], plain);
    let y = Axis::log("relative error of the output", 0.006..0.12)
        .ticks([0.01, 0.02, 0.05, 0.1], axis_percent)
        .holding(&errors)
        .holding(&[naive]);
    draw(Layout::with_legend(2), x, y, |plot| {
        plot.guide([(0.0, naive), (1.0, naive)], Pen::dashed(Ink::Muted))?;
        plot.label((0.5, naive), (0, -90), HPos::Center, Ink::Text, "naive W8A8, per tensor")?;
        for sweep in sweeps {
            plot.curve(&sweep.errors, sweep.pen, sweep.mark)?;
        }
        let [tensor, token, control] = sweeps;
        let key = |sweep: &Sweep| Key::Mark(sweep.mark, sweep.name);
        plot.legend(1, &[key(tensor), key(token)])?;
        plot.legend(2, &[key(control)])
    })
}
