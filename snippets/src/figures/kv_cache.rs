//! What the format of the KV cache costs a whole model.

use anyhow::{Context, Result};
use kit::table::{count, sig3};
use measure::kv::{CHUNKS, Capture};

use super::{Axis, Figure, Ink, Layout, Mark, Shape, draw, plain};
use crate::rows::{largest, smallest};

/// Bytes of a token against the divergence of each format.
///
/// # Errors
/// If the capture lacks a quality.
pub fn cost(of: &Capture) -> Result<Figure> {
    let chunk = CHUNKS[1];
    let mut points = Vec::new();
    // The first is the original, whose divergence is 0 and has no place on a logarithmic axis.
    for run in of.runs.iter().skip(1) {
        let quality = run.quality(chunk).with_context(|| run.format.clone())?;
        points.push((run.format.clone(), run.token_bytes, quality.kl_divergence));
    }
    let values: Vec<f64> = points.iter().map(|point| point.2).collect();
    let bytes: Vec<f64> = points.iter().map(|point| point.1).collect();
    let (low, high) = (10f64.powf(smallest(&values).log10().floor()), 1.5 * largest(&values));
    let powers =
        (-9..1).map(|power| 10f64.powi(power)).filter(|power| (low..=high).contains(power));
    let x = Axis::log("divergence (nats)", low..high).ticks(powers, plain);
    points.sort_by(|a, b| a.1.total_cmp(&b.1));
    let rows = points.len();
    let label = |at: f64| {
        let (name, bytes, _) = &points[(-at) as usize];
        format!("{}  {name}", count(bytes.round() as usize))
    };
    let y = Axis::linear("bytes a token, format", -(rows as f64) + 0.4..0.6)
        .ticks((0..rows).map(|row| -(row as f64)), label);
    let layout = Layout { left: 3200, height: 3600, ..Layout::with_legend(0) };
    let drawing = draw(layout, x, y, |plot| {
        let rows = points.iter().enumerate().map(|(row, point)| (point.2, -(row as f64)));
        plot.marks(rows, Mark::new(Shape::Dot, Ink::One))
    })?;
    let said = points.iter().map(|(name, bytes, divergence)| {
        format!("{name} {} bytes, {} nats", count(bytes.round() as usize), sig3(*divergence))
    });
    Ok(Figure {
        title: "What the format of the cache costs".into(),
        caption: format!(
            "KL divergence from the model with its cache in 32 bits, in chunks of {} tokens. Bytes are those of a \
             full cache of {} tokens, all layers, with scales, zeros and the tokens that stay in 32 bits.",
            count(chunk),
            count(of.setup.capacity)
        ),
        alt: format!(
            "A row for each format, from {} to {} bytes, with a dot at its divergence: {}.",
            count(smallest(&bytes).round() as usize),
            count(largest(&bytes).round() as usize),
            said.collect::<Vec<_>>().join("; ")
        ),
        drawing,
    })
}
