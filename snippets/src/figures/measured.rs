//! The meters of each format as multiples of the first format's, predicted and measured.

use anyhow::{Context, Result, ensure};
use kit::table::times;
use measure::engines::{Capture, Run};

use super::{Axis, Drawing, Figure, HPos, Ink, Key, Layout, Mark, Pen, Shape, draw, plain};
use crate::meter::Meter;

/// The inks of the formats, in their order.
const INKS: [Ink; 5] = [Ink::One, Ink::Two, Ink::Three, Ink::Four, Ink::Five];
/// How far a format's mark is from its neighbour's, in meters.
const STEP: f64 = 0.15;

/// A meter of a format as a multiple of the base's: predicted and measured.
struct Gain {
    meter: usize,
    format: usize,
    predicted: Option<f64>,
    measured: f64,
}

/// The figure of any capture: also a reader's own.
///
/// # Errors
/// If the capture has no two formats with all meters.
pub fn of(capture: &Capture) -> Result<Figure> {
    let whole: Vec<&Run> = capture.runs.iter().filter(|run| run.served).collect();
    let (base, others) = whole.split_first().context("no format was measured")?;
    ensure!(!others.is_empty(), "one format has nothing to be compared with");
    let (others, left_out) = others.split_at(others.len().min(INKS.len()));
    let meters: Vec<String> = Meter::all(capture).into_iter().map(Meter::name).collect();
    let gains: Vec<Gain> = others
        .iter()
        .enumerate()
        .flat_map(|(format, run)| gains(capture, base, run, format))
        .collect();
    let best = gains.iter().max_by(|a, b| a.measured.total_cmp(&b.measured));
    let best = best.context("a format has meters")?;
    let engine = capture.setup.engine;
    let name = |gain: &Gain| (others[gain.format].name.as_str(), meters[gain.meter].as_str());
    let (format, meter) = name(best);
    Ok(Figure {
        title: format!("What each format buys in {engine}, as a multiple of {}", base.name),
        caption: format!(
            "Rings: predicted by the cost model from this run's bandwidth and rates. Dots: measured. {}, over {} \
             processors. The largest gain is that of {format} in \"{meter}\": {}.{}",
            capture.provenance.processor,
            capture.provenance.processors,
            times(best.measured),
            if left_out.is_empty() { String::new() } else { not_drawn(left_out) },
        ),
        alt: gains
            .iter()
            .map(|gain| {
                let (format, meter) = name(gain);
                let predicted = gain.predicted.map_or("not predicted".into(), times);
                format!(
                    "{meter}, {format}: predicted {predicted}, measured {}.",
                    times(gain.measured)
                )
            })
            .collect::<Vec<_>>()
            .join(" "),
        drawing: marks(&meters, others, &gains)?,
    })
}

/// A figure has room for so many formats; the tables have all of them.
fn not_drawn(left_out: &[&Run]) -> String {
    let names: Vec<&str> = left_out.iter().map(|run| run.name.as_str()).collect();
    format!(" Not drawn: {}.", names.join(", "))
}

/// Every meter of a run over that of the base.
fn gains(capture: &Capture, base: &Run, run: &Run, format: usize) -> Vec<Gain> {
    let ratio = |of: &dyn Fn(&Run) -> Option<f64>| {
        Some(of(run)? / of(base)?).filter(|ratio| ratio.is_finite() && *ratio > 0.0)
    };
    let meters = Meter::all(capture).into_iter().enumerate();
    let gain = |(meter, of): (usize, Meter)| {
        let measured = ratio(&|run| of.of(run))?;
        let predicted = ratio(&|run| of.predicted(capture, run));
        Some(Gain { meter, format, predicted, measured })
    };
    meters.filter_map(gain).collect()
}

fn marks(meters: &[String], others: &[&Run], gains: &[Gain]) -> Result<Drawing> {
    let all: Vec<f64> =
        gains.iter().flat_map(|gain| gain.predicted.into_iter().chain([gain.measured])).collect();
    let x = Axis::linear("", -0.6..meters.len() as f64 - 0.4)
        .ticks((0..meters.len()).map(|meter| meter as f64), |at| meters[at as usize].clone())
        .without_grid();
    let y = Axis::log("times the first format's", 0.5..4.0)
        .ticks([0.5, 1.0, 2.0, 4.0, 8.0], plain)
        .holding(&all);
    let y = y.holding(&[8.0]);
    draw(Layout::with_legend(2), x, y, |plot| {
        let ends = [(-0.6, 1.0), (meters.len() as f64 - 0.4, 1.0)];
        plot.guide(ends, Pen::dashed(Ink::Muted))?;
        let middle = (others.len() as f64 - 1.0) / 2.0;
        for gain in gains {
            let at = gain.meter as f64 + (gain.format as f64 - middle) * STEP;
            let ink = INKS[gain.format % INKS.len()];
            if let Some(predicted) = gain.predicted {
                plot.hairline([(at, predicted), (at, gain.measured)], Pen::solid(ink))?;
                plot.marks([(at, predicted)], Mark::new(Shape::Ring, ink).sized(52))?;
            }
            plot.marks([(at, gain.measured)], Mark::new(Shape::Dot, ink))?;
        }
        plot.label(ends[1], (-40, 120), HPos::Right, Ink::Muted, "no gain")?;
        let keys: Vec<Key> = others
            .iter()
            .zip(INKS)
            .map(|(run, ink)| Key::Mark(Mark::new(Shape::Dot, ink), run.name.as_str()))
            .collect();
        plot.legend(1, &keys)?;
        plot.legend(
            2,
            &[
                Key::Mark(Mark::new(Shape::Ring, Ink::Muted).sized(52), "predicted"),
                Key::Mark(Mark::new(Shape::Dot, Ink::Muted), "measured"),
            ],
        )
    })
}
