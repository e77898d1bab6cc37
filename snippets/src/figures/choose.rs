//! Which format for which binding constraint: a decision whose every branch cites measured rows.

use anyhow::{Context, Result};
use kit::table::{count, sig3, times};
use measure::engines::{Capture, Engine, Run};
use plotters::style::text_anchor::HPos;

use super::Figure;
use super::plot::{Axis, Layout, Plot, draw};
use super::style::{Ink, Pen};
use super::svg::Drawing;
use crate::tables::captured::{self, H200, LLAMA};
use crate::tables::measured::committed;

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
pub fn decision() -> Result<Figure> {
    let captures = Engine::SERVING.into_iter().map(committed).collect::<Result<Vec<_>>>()?;
    let branches = branches(&captures)?;
    let alt = branches
        .iter()
        .map(|branch| format!("{} {} {}.", branch.binds, branch.take, branch.rows.join("; ")))
        .collect::<Vec<_>>()
        .join(" ");
    Ok(Figure {
        title: "Which format, by what runs out first".into(),
        caption:
            "Start from what your service runs out of. Each line under a branch is a row of this \
                  chapter's captures: the best format of that engine, as a multiple of its own \
                  first format. H200: the linear layers of Llama-3.1-8B, beside bf16; a step is so \
                  many tokens."
                .into(),
        alt,
        drawing: tree(&branches)?,
    })
}

fn branches(captures: &[Capture]) -> Result<Vec<Branch>> {
    let blocks = |run: &Run| run.kv_cache.as_ref().map(|kv| kv.blocks as f64);
    let prefill = |run: &Run| run.prefill.as_ref().map(|prefill| prefill.tokens_per_s.median);
    let one = |run: &Run| run.decode_of(1).map(|decode| decode.tokens_per_s.median);
    let rows = |captures: &[&Capture],
                meter: &dyn Fn(&Run) -> Option<f64>,
                what: &str,
                show: &dyn Fn(f64) -> String,
                gpu: String| {
        let best = captures.iter().map(|capture| best(capture, meter, what, show));
        best.chain([Ok(gpu)]).collect::<Result<Vec<_>>>()
    };
    let blocks_shown = |blocks: f64| count(blocks as usize);
    let all: Vec<&Capture> = captures.iter().collect();
    // One request in vLLM waits for the engine and not for bytes: the chapter of the three meters
    // says so, and its row would be of something else.
    let by_bytes = |capture: &&Capture| capture.setup.engine != Engine::Vllm;
    let bound_by_bytes: Vec<&Capture> = captures.iter().filter(by_bytes).collect();
    Ok(vec![
        Branch {
            binds: "Memory: too few KV blocks",
            take: "fewest bits a weight: W4A16",
            rows: rows(&all, &blocks, "blocks", &blocks_shown, gpu_blocks()?)?,
        },
        Branch {
            binds: "Bytes: few requests, writing",
            take: "fewest bits a weight: W4A16",
            rows: rows(&bound_by_bytes, &one, "tokens/s, 1 writes", &sig3, gpu_step(1)?)?,
        },
        Branch {
            binds: "Arithmetic: prompts, many requests",
            take: "activations in 8 bits: W8A8, FP8",
            rows: rows(&all, &prefill, "tokens/s, reading", &sig3, gpu_step(2048)?)?,
        },
        Branch {
            binds: "Quality: nothing to spare",
            take: "8-bit weights alone, or FP8; measure",
            rows: captures.iter().map(closest).collect::<Result<Vec<_>>>()?,
        },
    ])
}

/// The fastest format of a step of so many tokens on a GPU, beside bf16.
fn gpu_step(tokens: usize) -> Result<String> {
    let capture = captured::of_gpu(H200)?;
    let of = |format: &str| captured::rate(&capture, LLAMA, format, tokens);
    let steps = capture.runs().filter(|run| run.model == LLAMA);
    let speeds = steps.filter_map(|run| Some((run.format, of(run.format)?)));
    let (format, speed) =
        speeds.max_by(|a, b| a.1.total_cmp(&b.1)).context("the step was timed")?;
    let gain = times(speed / of("bf16").context("bf16 was timed")?);
    let (speed, tokens) = (sig3(speed), count(tokens));
    Ok(format!("{H200}: {format} {speed} tokens/s, step {tokens} ({gain})"))
}

/// The format that leaves the most blocks on a GPU, beside bf16.
fn gpu_blocks() -> Result<String> {
    let capture = captured::of_gpu(H200)?;
    let rooms = || capture.capacity().filter(|room| room.model == LLAMA);
    let most = rooms().max_by_key(|room| room.kv_blocks).context("room was measured")?;
    let base = rooms().find(|room| room.format == "bf16").context("bf16 was measured")?;
    let gain = times(most.kv_blocks as f64 / base.kv_blocks as f64);
    let blocks = count(most.kv_blocks as usize);
    Ok(format!("{H200}: {} {blocks} blocks ({gain})", most.format))
}

/// The format of a capture that a meter finds best, beside the first.
fn best(
    capture: &Capture,
    meter: &dyn Fn(&Run) -> Option<f64>,
    what: &str,
    show: &dyn Fn(f64) -> String,
) -> Result<String> {
    let engine = capture.setup.engine;
    let whole = || capture.runs.iter().filter(|run| run.served);
    let base = whole().next().and_then(meter).with_context(|| format!("{engine}: no {what}"))?;
    let measured = whole().filter_map(|run| Some((run, meter(run)?)));
    let (run, value) =
        measured.max_by(|a, b| a.1.total_cmp(&b.1)).with_context(|| format!("no {what}"))?;
    let (value, gain) = (show(value), times(value / base));
    Ok(format!("{engine}: {} {value} {what} ({gain})", run.name))
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
