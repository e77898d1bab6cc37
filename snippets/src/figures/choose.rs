//! Which format for which binding constraint: a decision whose every branch cites measured rows.

use anyhow::{Context, Result};
use kit::table::{count, sig3, times};
use measure::engines::{Capture, Run};
use measure::gpu::Capture as GpuCapture;

use super::{Axis, Drawing, Figure, HPos, Ink, Layout, Pen, Plot, draw};
use crate::inputs::{Engines, Gpus};
use crate::meter::Meter;
use crate::tables::captured::{H200, LLAMA, rate};

/// How far under the top of its box a branch leaves the stem, in lines.
const JOINT: f64 = 0.7;

/// One branch: what binds, what to take, and the rows that say so.
struct Branch {
    /// What the service runs out of.
    binds: &'static str,
    /// The answer to the three questions.
    take: &'static str,
    /// The measured rows, one a line.
    rows: Vec<String>,
}

/// The decision.
pub fn decision((of, gpus): (&Engines, &Gpus)) -> Result<Figure> {
    let branches = branches(of, gpus.of(H200)?)?;
    let in_words =
        |branch: &Branch| format!("{} {} {}.", branch.binds, branch.take, branch.rows.join("; "));
    Ok(Figure {
        title: "Which format, by what runs out first".into(),
        caption:
            "Start from what your service runs out of. Each line under a branch is a row of this \
             chapter's captures: the best format of that engine, as a multiple of its own first \
             format. H200: the linear layers of Llama-3.1-8B, beside bf16; a step is so many tokens."
                .into(),
        alt: branches.iter().map(in_words).collect::<Vec<_>>().join(" "),
        drawing: tree(&branches)?,
    })
}

fn branches(of: &Engines, gpu: &GpuCapture) -> Result<Vec<Branch>> {
    let rows = |captures: &[&Capture], meter, what: &str, gpu: String| {
        let best = captures.iter().map(|capture| best(capture, meter, what));
        best.chain([Ok(gpu)]).collect::<Result<Vec<_>>>()
    };
    // One request in vLLM waits for the engine and not for bytes: the chapter of the three meters
    // says so, and its row would be of something else.
    let bound_by_bytes = [&of.ours, &of.llama_cpp];
    Ok(vec![
        Branch {
            binds: "Memory: too few KV blocks",
            take: "fewest bits a weight: W4A16",
            rows: rows(&of.all(), Meter::Blocks, "blocks", gpu_blocks(gpu)?)?,
        },
        Branch {
            binds: "Bytes: few requests, writing",
            take: "fewest bits a weight: W4A16",
            rows: rows(&bound_by_bytes, Meter::Decode(1), "tokens/s, 1 writes", gpu_step(gpu, 1)?)?,
        },
        Branch {
            binds: "Arithmetic: prompts, many requests",
            take: "activations in 8 bits: W8A8, FP8",
            rows: rows(&of.all(), Meter::Prefill, "tokens/s, reading", gpu_step(gpu, 2048)?)?,
        },
        Branch {
            binds: "Quality: nothing to spare",
            take: "8-bit weights alone, or FP8; measure",
            rows: of.all().into_iter().map(closest).collect::<Result<Vec<_>>>()?,
        },
    ])
}

/// The fastest format of a step of so many tokens on a GPU, as a multiple of bf16.
fn gpu_step(capture: &GpuCapture, tokens: usize) -> Result<String> {
    let of = |format: &str| rate(capture, LLAMA, format, tokens);
    let steps = capture.runs().filter(|run| run.model == LLAMA);
    let speeds = steps.filter_map(|run| Some((run.format, of(run.format)?)));
    let (format, speed) =
        speeds.max_by(|a, b| a.1.total_cmp(&b.1)).context("the step was timed")?;
    let gain = times(speed / of("bf16").context("bf16 was timed")?);
    let (speed, tokens) = (sig3(speed), count(tokens));
    Ok(format!("{H200}: {format} {speed} tokens/s, step {tokens} ({gain})"))
}

/// The format that leaves the most blocks on a GPU, as a multiple of bf16.
fn gpu_blocks(capture: &GpuCapture) -> Result<String> {
    let rooms = || capture.capacity().filter(|room| room.model == LLAMA);
    let most = rooms().max_by_key(|room| room.kv_blocks).context("room was measured")?;
    let base = rooms().find(|room| room.format == "bf16").context("bf16 was measured")?;
    let gain = times(most.kv_blocks as f64 / base.kv_blocks as f64);
    let blocks = count(most.kv_blocks as usize);
    Ok(format!("{H200}: {} {blocks} blocks ({gain})", most.format))
}

/// The format of a capture that a meter finds best, as a multiple of the first.
fn best(capture: &Capture, meter: Meter, what: &str) -> Result<String> {
    let engine = capture.setup.engine;
    let mut measured = capture
        .runs
        .iter()
        .filter(|run| run.served)
        .map(|run| meter.of(run).map(|value| (run, value)));
    let none = || format!("{engine}: no {what}");
    let base = measured.next().flatten().with_context(none)?;
    let others = measured.flatten().chain([base]);
    let (run, value) = others.max_by(|a, b| a.1.total_cmp(&b.1)).with_context(none)?;
    let gain = times(value / base.1);
    let shown = if matches!(meter, Meter::Blocks) { count(value as usize) } else { sig3(value) };
    Ok(format!("{engine}: {} {shown} {what} ({gain})", run.name))
}

/// The quantized format of a capture whose perplexity is nearest to the first's.
fn closest(capture: &Capture) -> Result<String> {
    let perplexity = |run: &Run| run.quality.as_ref().map(|quality| quality.perplexity);
    let mut whole = capture.runs.iter().filter(|run| run.served);
    let base = whole.next().and_then(perplexity).context("the first format was scored")?;
    let scored = whole.filter_map(|run| Some((run, perplexity(run)?)));
    let distance = |value: f64| (value - base).abs();
    let (run, value) = scored
        .min_by(|a, b| distance(a.1).total_cmp(&distance(b.1)))
        .context("a quantized format was scored")?;
    let engine = capture.setup.engine;
    Ok(format!("{engine}: {} perplexity {value:.2} (first {base:.2})", run.name))
}

fn tree(branches: &[Branch]) -> Result<Drawing> {
    let lines = branches.iter().map(|branch| branch.rows.len() + 4).sum::<usize>() as f64;
    let layout =
        Layout { height: 165 * lines as u32 + 500, top: 380, left: 160, right: 160, bottom: 120 };
    let x = Axis::linear("", 0.0..10.0).without_grid();
    let y = Axis::linear("What runs out first?", 0.0..lines).without_grid();
    draw(layout, x, y, |plot| {
        let (mut top, mut last) = (lines, lines);
        for branch in branches {
            let height = branch.rows.len() as f64 + 3.2;
            draw_branch(plot, branch, top, height)?;
            (top, last) = (top - height - 0.8, top - JOINT);
        }
        // The stem that all branches leave from.
        plot.line([(0.2, lines), (0.2, last)], Pen::solid(Ink::Muted))
    })
}

/// A box under the height `top`, with its answer and its rows.
fn draw_branch(plot: &Plot<'_>, branch: &Branch, top: f64, height: f64) -> Result<()> {
    let (left, right, bottom) = (0.7, 10.0, top - height + 0.3);
    plot.line([(0.2, top - JOINT), (left, top - JOINT)], Pen::solid(Ink::Muted))?;
    let corners = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)];
    plot.guide(corners, Pen::solid(Ink::One))?;
    let at = |line: f64| (left + 0.2, top - line);
    plot.label(at(0.7), (0, 0), HPos::Left, Ink::Text, branch.binds)?;
    plot.label(at(1.7), (0, 0), HPos::Left, Ink::One, branch.take)?;
    for (index, row) in branch.rows.iter().enumerate() {
        plot.label(at(2.7 + index as f64), (0, 0), HPos::Left, Ink::Muted, row)?;
    }
    Ok(())
}
