//! The tables of "Outliers in a real model" and of "W4A16 or W8A8?", read from the capture that
//! `cargo book capture model` took, and what others published of theirs.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use kit::Table;
use kit::table::{count, percent, sig3, times};
use measure::outliers::{Capture, Input, Peak, Variant};

use crate::capture_files;
use crate::published::{self, COLLAPSE, EMERGENCE, RECOVERY, SMOOTHED_LLAMA};

/// The folder that the committed capture lies in.
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../labs/measure/src/outliers/captures");

/// The committed capture files.
pub fn files() -> Vec<PathBuf> {
    capture_files::json_in(FOLDER)
}

/// The committed capture.
///
/// # Errors
/// If there is not exactly one, or it cannot be read; the message says what to do.
pub fn committed() -> Result<Capture> {
    capture_files::the_one(FOLDER, "model")
}

/// Every table of a capture, as text for a terminal.
///
/// # Errors
/// If the capture lacks what a row needs.
pub fn all(capture: &Capture) -> Result<String> {
    let tables = [
        run(capture),
        largest_channels(capture)?,
        tokens(capture)?,
        layer_errors(capture)?,
        naive(capture)?,
        smoothed(capture)?,
        other_roads(capture)?,
        weights_or_both(capture)?,
    ];
    Ok(tables.map(|table| table.to_string()).join("\n"))
}

/// Where, when and on what the committed capture was made.
pub fn model_run() -> Result<Table> {
    Ok(run(&committed()?))
}

fn run(capture: &Capture) -> Table {
    let (of, setup) = (&capture.provenance, &capture.setup);
    let mut table =
        Table::new("The run that the tables of this chapter come from").text("").text("");
    let rows = [
        ("machine", format!("{}, {} processors, {}", of.processor, of.processors, of.system)),
        ("compiler", of.compiler.clone().unwrap_or_default()),
        ("commit", of.short_commit()),
        ("date", of.date.clone()),
        ("command", of.command.clone()),
        ("model", setup.model.clone()),
        (
            "scored",
            format!("{} in {} chunks of {} tokens", setup.passage, setup.chunks, setup.chunk),
        ),
        (
            "calibrated on",
            format!("{}, {} tokens", setup.calibration, count(setup.calibration_tokens)),
        ),
    ];
    for (what, text) in rows {
        table.row([what.to_string(), text]);
    }
    table
}

/// The inputs with the largest channels, each kind's worst layer.
pub fn model_loudest() -> Result<Table> {
    largest_channels(&committed()?)
}

/// The four inputs of a decoder layer, as a capture names them, and what they feed.
pub const INPUTS: [(&str, &str); 4] = [
    ("attention", "q, k, v (after a norm)"),
    ("o_proj", "o (after attention)"),
    ("mlp", "gate, up (after a norm)"),
    ("down_proj", "down (after the gate)"),
];

fn largest_channels(capture: &Capture) -> Result<Table> {
    let mut table = Table::new("Loudest channel over median channel at four inputs of 30 layers")
        .text("input of")
        .number("median layer")
        .number("worst layer")
        .text("its loudest value")
        .number("median layer, first tokens left out")
        .number("worst layer, first tokens left out");
    for (input, fed) in INPUTS {
        let layers = of_kind(capture, input)?;
        let ratios: Vec<f64> = layers.iter().map(|layer| layer.ratio()).collect();
        let rest: Vec<f64> = layers.iter().map(|layer| layer.ratio_without_first()).collect();
        let worst = layers.iter().max_by(|a, b| a.ratio().total_cmp(&b.ratio()));
        let worst = worst.context("a kind of input has layers")?;
        table.row([
            fed.into(),
            times(crate::rows::median(&ratios)),
            times(crate::rows::largest(&ratios)),
            format!(
                "{} (layer {}, position {})",
                sig3(worst.peak.magnitude),
                worst.layer,
                worst.peak.position
            ),
            times(crate::rows::median(&rest)),
            times(crate::rows::largest(&rest)),
        ]);
    }
    Ok(table)
}

/// The layers' inputs of one kind, in their order.
///
/// # Errors
/// If the capture has none.
pub fn of_kind<'a>(capture: &'a Capture, input: &str) -> Result<Vec<&'a Input>> {
    let layers: Vec<&Input> = capture.inputs.iter().filter(|found| found.input == input).collect();
    if layers.is_empty() { bail!("the capture has no input {input}") } else { Ok(layers) }
}

/// Which tokens are outliers in the residual stream.
pub fn model_tokens() -> Result<Table> {
    tokens(&committed()?)
}

fn tokens(capture: &Capture) -> Result<Table> {
    let mut table =
        Table::new("The residual stream behind some layers: first tokens and the others")
            .text("behind layer")
            .number("largest in first tokens")
            .number("in channel")
            .number("largest in the others")
            .number("in channel")
            .text("at token")
            .number("median magnitude");
    let last = capture.residuals.len().saturating_sub(1);
    for residual in &capture.residuals {
        if ![0, 1, 2, 5, 10, 20, last.saturating_sub(1), last].contains(&residual.layer) {
            continue;
        }
        let Peak { magnitude, channel, text, position, .. } = &residual.peak_of_others;
        table.row([
            residual.layer.to_string(),
            sig3(residual.peak_of_first.magnitude),
            residual.peak_of_first.channel.to_string(),
            sig3(*magnitude),
            channel.to_string(),
            format!("{} at {position}", shown(text)),
            sig3(residual.median),
        ]);
    }
    Ok(table)
}

/// A token's text with what cannot be seen made visible.
fn shown(text: &str) -> String {
    format!("\"{}\"", text.replace('\n', "\\n"))
}

/// What each method does to layers by themselves, over the layers of each projection.
pub fn model_layer_errors() -> Result<Table> {
    layer_errors(&committed()?)
}

/// The projections, in the order in which they run.
const PROJECTIONS: [&str; 7] =
    ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"];

/// The methods of the layer table, as the capture names them and as the table does.
const METHODS: [(&str, &str); 6] = [
    ("W8A16", "W8A16"),
    ("W8A8 per-tensor", "per tensor"),
    ("W8A8 per-tensor, without first token", "per tensor, no first token"),
    ("W8A8 per-token", "per token"),
    ("SmoothQuant 0.5, per-token", "migrated 0.5, per token"),
    ("LLM.int8() from 6", "mixed from 6 on"),
];

fn layer_errors(capture: &Capture) -> Result<Table> {
    let mut table = Table::new(
        "Output error of single layers, one chunk of 512 tokens: median of 30 layers (worst)",
    )
    .text("layer");
    for (_, name) in METHODS {
        table = table.number(name);
    }
    for projection in PROJECTIONS {
        let mut cells = vec![projection.to_string()];
        for (method, _) in METHODS {
            let errors = capture.errors(projection, method);
            let errors = errors.with_context(|| format!("{projection} has no {method}"))?;
            cells.push(format!("{} ({})", percent(errors.median), percent(errors.max)));
        }
        table.row(cells);
    }
    Ok(table)
}

/// The variant of that name.
///
/// # Errors
/// If the capture has none; the message lists those it has.
pub fn variant<'a>(capture: &'a Capture, name: &str) -> Result<&'a Variant> {
    capture.variant(name).with_context(|| {
        let names: Vec<&str> = capture.variants.iter().map(|known| known.name.as_str()).collect();
        format!("the capture has no variant {name}; it has: {}", names.join(", "))
    })
}

/// A table of whole models: name shown, name in the capture.
fn models(capture: &Capture, title: &str, rows: &[(&str, &str)]) -> Result<Table> {
    let original = variant(capture, "f32")?.perplexity();
    let mut table = Table::new(title)
        .text("model")
        .number("perplexity")
        .number("change")
        .number("divergence (nats)")
        .number("same next token");
    for (shown, name) in rows {
        let found = variant(capture, name)?;
        table.row([
            (*shown).to_string(),
            perplexity(found.perplexity()),
            change(found.perplexity() / original - 1.0),
            format!("{:.4}", found.mean_divergence().max(0.0)),
            percent(found.agreement()),
        ]);
    }
    Ok(table)
}

/// A perplexity with two decimals, or without where it is large.
pub fn perplexity(value: f64) -> String {
    if value < 1000.0 { format!("{value:.2}") } else { count(value.round() as usize) }
}

/// A relative change with its sign.
pub fn change(fraction: f64) -> String {
    if fraction > 10.0 { times(fraction + 1.0) } else { format!("{:+.2} %", 100.0 * fraction) }
}

/// W8A8 without help.
pub fn model_naive() -> Result<Table> {
    naive(&committed()?)
}

fn naive(capture: &Capture) -> Result<Table> {
    models(
        capture,
        "The whole model, int8 weights, and activations without help",
        &[
            ("f32", "f32"),
            ("W8A16: activations as they are", "W8A16"),
            ("W8A8, static scale", "W8A8 static"),
            ("W8A8, one scale per 512 tokens", "W8A8 per-tensor"),
            ("the same, first token in f32", "W8A8 per-tensor, first token f32"),
            ("static, first token in f32", "W8A8 static, first token f32"),
            ("W8A8, one scale per token", "W8A8 per-token"),
        ],
    )
}

/// Migration at several strengths.
pub fn model_smoothed() -> Result<Table> {
    smoothed(&committed()?)
}

fn smoothed(capture: &Capture) -> Result<Table> {
    let original = variant(capture, "f32")?.perplexity();
    let mut table = Table::new("The whole model, migrated, folded into norms: perplexity by alpha")
        .text("alpha")
        .number("per tensor")
        .number("change")
        .number("per token")
        .number("change")
        .number("divergence per token (nats)");
    let mut row = |shown: String, tensor: &Variant, token: &Variant| {
        table.row([
            shown,
            perplexity(tensor.perplexity()),
            change(tensor.perplexity() / original - 1.0),
            perplexity(token.perplexity()),
            change(token.perplexity() / original - 1.0),
            format!("{:.4}", token.mean_divergence()),
        ]);
    };
    let (tensor, token) =
        (variant(capture, "W8A8 per-tensor")?, variant(capture, "W8A8 per-token")?);
    row("none".into(), tensor, token);
    for alpha in alphas(capture, "norms") {
        let name = |granularity| format!("SmoothQuant {alpha:.1}, {granularity}");
        let (tensor, token) =
            (variant(capture, &name("per-tensor"))?, variant(capture, &name("per-token"))?);
        row(format!("{alpha:.1}"), tensor, token);
    }
    for alpha in alphas(capture, "norms, v, up") {
        let name = |granularity| format!("SmoothQuant {alpha:.1} with o and down, {granularity}");
        let (tensor, token) =
            (variant(capture, &name("per-tensor"))?, variant(capture, &name("per-token"))?);
        row(format!("{alpha:.1}, o and down too"), tensor, token);
    }
    Ok(table)
}

/// The strengths of migration with that folding, ascending.
pub fn alphas(capture: &Capture, folded: &str) -> Vec<f64> {
    let of = |variant: &&Variant| variant.folded.as_deref() == Some(folded);
    let mut alphas: Vec<f64> =
        capture.variants.iter().filter(of).filter_map(|variant| variant.alpha).collect();
    alphas.sort_by(f64::total_cmp);
    alphas.dedup();
    alphas
}

/// What else helps.
pub fn model_other_roads() -> Result<Table> {
    other_roads(&committed()?)
}

fn other_roads(capture: &Capture) -> Result<Table> {
    models(
        capture,
        "The whole model, W8A8 by other roads",
        &[
            ("W8A8 per tensor", "W8A8 per-tensor"),
            ("its down_proj in W8A16", "W8A8 per-tensor, down_proj W8A16"),
            ("W8A8 per token", "W8A8 per-token"),
            ("its down_proj in W8A16", "W8A8 per-token, down_proj W8A16"),
            ("LLM.int8(), channels from 6 in floating point", "LLM.int8() from 6"),
        ],
    )
}

/// Weights only, or both: what each costs.
pub fn model_weights_or_both() -> Result<Table> {
    weights_or_both(&committed()?)
}

fn weights_or_both(capture: &Capture) -> Result<Table> {
    models(
        capture,
        "The whole model: weights only, or activations too",
        &[
            ("f32", "f32"),
            ("W8A16", "W8A16"),
            ("W8A8, per token", "W8A8 per-token"),
            ("W8A8, per token, migrated at 0.5", "SmoothQuant 0.5, per-token"),
            ("W4A16, groups of 32", "W4A16 g32"),
            ("W4A16, groups of 64", "W4A16 g64"),
            ("W4A8, groups of 64, per token", "W4A8 g64, per-token"),
        ],
    )
}

/// Published: W8A8 on models of 175 billion parameters.
pub fn published_collapse() -> Result<Table> {
    let columns = ["FP16", "naive W8A8", "LLM.int8()", "SmoothQuant O1", "SmoothQuant O3"];
    Ok(published::table("a model of 175 billion parameters in W8A8", &columns, &COLLAPSE))
}

/// Published: outlier features as models grow.
pub fn published_emergence() -> Result<Table> {
    let columns = ["6B", "6.7B"];
    Ok(published::table("outlier features appear everywhere at once", &columns, &EMERGENCE))
}

/// Published: Llama models in W8A8.
pub fn published_smoothed_llama() -> Result<Table> {
    let columns = ["FP16", "SmoothQuant W8A8"];
    Ok(published::table("perplexity of Llama models", &columns, &SMOOTHED_LLAMA))
}

/// Published: what is left of benchmark scores.
pub fn published_recovery() -> Result<Table> {
    let columns = ["BF16", "FP8 W8A8", "INT8 W8A8", "W4A16"];
    Ok(published::table("average scores of a benchmark suite", &columns, &RECOVERY))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_have_a_sign_until_they_are_factors() {
        assert_eq!(change(0.0123), "+1.23 %");
        assert_eq!(change(-0.001), "-0.10 %");
        assert_eq!(change(99.0), "100x");
        assert_eq!((perplexity(22.608), perplexity(93_080.4)), ("22.61".into(), "93,080".into()));
    }

    #[test]
    fn the_committed_capture_fills_every_table() -> Result<()> {
        assert!(!all(&committed()?)?.is_empty());
        Ok(())
    }
}
