//! The figures of the chapter "The cost model": computed, nothing measured.

use anyhow::{Context, Result};
use formats::architecture::LLAMA31_8B;
use formats::device::H100;
use formats::format::Group;
use formats::format::{Format, Grid, Overhead};
use kit::table::sig3;
use quantize_and_eval::{CostError, Served, crossover_batch, decode_tokens_per_s};

use super::{Axis, Drawing, Figure, Ink, Key, Layout, Mark, Pen, Plot, Shape, draw, plain};

/// The largest batch that is drawn.
const LARGEST: u64 = 4096;

/// A format and how its line looks. On this device int8 and FP8 have the same bytes and the same
/// rate, so they are one line.
fn lines() -> [(&'static str, Format, Pen); 4] {
    let w8a16 = Format {
        name: "W8A16".into(),
        weights: Grid::Int(8),
        activations: Grid::Sixteen,
        overhead: vec![Overhead { bits: 32, per: Group::Channel }].into(),
    };
    [
        ("bf16", Format::BF16, Pen::dashed(Ink::Muted)),
        ("W8A16", w8a16, Pen::dashed(Ink::Three)),
        ("W8A8 or FP8", Format::W8A8, Pen::solid(Ink::One)),
        ("W4A16 g128", Format::w4a16(128), Pen::solid(Ink::Two)),
    ]
}

/// Tokens per second against the tokens of a step, no cache: two slopes for each format.
pub fn crossover() -> Result<Figure> {
    let mut meet = Vec::new();
    for (name, format, _) in lines() {
        let batch = crossover_batch(&Served::of(LLAMA31_8B, format), &H100, 0)?;
        meet.push(format!("{name} {:.0}", batch.context("without a cache all of them cross")?));
    }
    Ok(Figure {
        title: "Roofline bounds of four formats as the batch grows".into(),
        caption: format!(
            "Llama-3.1-8B on the published bandwidth and rates of one H100, computed, no KV cache. Left of its \
             ring a format is bound by bytes, right of it by arithmetic; the rings are at {} \
             sequences. W8A16 rises with W8A8, whose bytes it has, and levels with bf16, whose \
             arithmetic it has.",
            meet.join(", ")
        ),
        alt: "Both axes logarithmic. Four lines that rise with the batch and then turn level, each \
              with a ring at its corner. W4A16 is highest at batch 1 and levels first, at the height \
              of bf16 and W8A16; W8A8 or FP8 goes on to nearly twice that height."
            .into(),
        drawing: drawing(0)?,
    })
}

/// The same with a context of 2,048 tokens for each sequence: no corner is left.
pub fn context() -> Result<Figure> {
    let at =
        |format, batch| decode_tokens_per_s(&Served::of(LLAMA31_8B, format), &H100, batch, 2048);
    let gain =
        |batch| Ok::<_, CostError>(at(Format::w4a16(128), batch)? / at(Format::BF16, batch)?);
    Ok(Figure {
        title: "The same bounds with 2,048 tokens of KV cache for each sequence".into(),
        caption: format!(
            "As above, with the cache of 2,048 tokens for each sequence in 16 bits. Every sequence \
             brings bytes of its own, so no line reaches its arithmetic: W4A16 g128 is ahead of bf16 \
             by {} at batch 1 and by {} at batch 256.",
            kit::table::times(gain(1)?),
            kit::table::times(gain(256)?),
        ),
        alt: format!(
            "Both axes logarithmic. Four lines that start apart and come together: with large \
             batches all of them approach {} tokens per second, where the cache alone is read.",
            sig3(at(Format::w4a16(128), LARGEST)?)
        ),
        drawing: drawing(2048)?,
    })
}

fn drawing(context: u64) -> Result<Drawing> {
    let x = Axis::log("sequences in a step (logarithmic)", 1.0..LARGEST as f64)
        .ticks([1.0, 4.0, 16.0, 64.0, 256.0, 1024.0, 4096.0], plain);
    let y = Axis::log("bound of decode, tokens/s (logarithmic)", 100.0..200_000.0)
        .ticks([100.0, 1000.0, 10_000.0, 100_000.0], |value| kit::table::count(value as usize));
    let lines = lines();
    draw(Layout { left: 800, right: 260, ..Layout::with_legend(2) }, x, y, |plot| {
        // W8A16 last: its dashes show on the two lines that it runs along.
        for (_, format, pen) in [0, 2, 3, 1].map(|at| &lines[at]) {
            line(plot, &Served::of(LLAMA31_8B, format.clone()), context, *pen)?;
        }
        let key = |at: usize| Key::Line(lines[at].2, lines[at].0);
        plot.legend(1, &[key(0), key(1)])?;
        plot.legend(2, &[key(2), key(3)])
    })
}

/// The roofline of one format, and a ring where the bound by bytes meets the bound by arithmetic.
fn line(plot: &Plot<'_>, served: &Served, context: u64, pen: Pen) -> Result<()> {
    let meets = crossover_batch(served, &H100, context)?;
    // Powers of the fourth root of two, and the corner, so that it is one.
    let steps = (0..=48).map(|step| libm::exp2(f64::from(step) / 4.0).round() as u64);
    let mut batches: Vec<u64> = steps.chain(meets.map(|batch| batch.round() as u64)).collect();
    batches.sort_unstable();
    batches.dedup();
    let point = |batch: u64| -> Result<(f64, f64)> {
        Ok((batch as f64, decode_tokens_per_s(served, &H100, batch, context)?))
    };
    let points: Vec<_> = batches.into_iter().map(point).collect::<Result<_>>()?;
    plot.line(points, pen)?;
    if let Some(batch) = meets {
        let ring = Mark::new(Shape::Ring, Ink::Text).sized(60);
        plot.marks([point(batch.round() as u64)?], ring)?;
    }
    Ok(())
}
