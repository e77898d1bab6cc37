//! The tables of "Outliers in a real model" and of "W4A16 or W8A8?", read from the capture that
//! `cargo book capture model` took.

use anyhow::{Context, Result, bail};
use kit::Table;
use kit::table::{count, percent, sig3, times};
use measure::outliers::{Capture, Input, Peak, Variant};

use crate::rows::{largest, median};

/// Every table of a capture.
///
/// # Errors
/// If the capture lacks what a row needs.
pub fn all(capture: &Capture) -> Result<Vec<Table>> {
    let tables = [
        run,
        largest_channels,
        tokens,
        layer_errors,
        naive,
        smoothed,
        other_roads,
        weights_or_both,
    ];
    tables.into_iter().map(|table| table(capture)).collect()
}

/// Where, when and on what the capture was made.
pub fn run(capture: &Capture) -> Result<Table> {
    let (of, setup) = (&capture.provenance, &capture.setup);
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
    let columns = Table::of("The run that the tables of this chapter come from", rows);
    Ok(columns.text("", |(what, _)| *what).text("", |(_, text)| text.clone()).done())
}

/// The four inputs of a decoder layer, as a capture names them, and what they feed.
pub const INPUTS: [(&str, &str); 4] = [
    ("attention", "q, k, v (after a norm)"),
    ("o_proj", "o (after attention)"),
    ("mlp", "gate, up (after a norm)"),
    ("down_proj", "down (after the gate)"),
];

/// The largest channel over the median one at each kind of input, and the worst layer.
pub fn largest_channels(capture: &Capture) -> Result<Table> {
    let rows = INPUTS.map(|(input, fed)| -> Result<_> {
        let layers = of_kind(capture, input)?;
        let ratios: Vec<f64> = layers.iter().map(|layer| layer.ratio()).collect();
        let rest: Vec<f64> = layers.iter().map(|layer| layer.ratio_without_first()).collect();
        let worst = layers.into_iter().max_by(|a, b| a.ratio().total_cmp(&b.ratio()));
        Ok((fed, ratios, rest, worst.context("a kind of input has layers")?))
    });
    let title = "Largest channel absmax over the median at four inputs of 30 layers";
    Ok(Table::of(title, rows.into_iter().collect::<Result<Vec<_>>>()?)
        .text("input of", |(fed, ..)| *fed)
        .number("median layer", |(_, ratios, ..)| times(median(ratios)))
        .number("worst layer", |(_, ratios, ..)| times(largest(ratios)))
        .text("its largest value", |(.., worst)| {
            let Peak { magnitude, position, .. } = &worst.peak;
            format!("{} (layer {}, position {position})", sig3(*magnitude), worst.layer)
        })
        .number("median layer, first tokens left out", |(_, _, rest, _)| times(median(rest)))
        .number("worst layer, first tokens left out", |(_, _, rest, _)| times(largest(rest)))
        .done())
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
pub fn tokens(capture: &Capture) -> Result<Table> {
    let last = capture.residuals.len().saturating_sub(1);
    let chosen = [0, 1, 2, 5, 10, 20, last.saturating_sub(1), last];
    let rows = capture.residuals.iter().filter(|residual| chosen.contains(&residual.layer));
    let title = "The residual stream behind some layers: first tokens and the others";
    Ok(Table::of(title, rows)
        .text("behind layer", |residual| residual.layer.to_string())
        .number("largest in first tokens", |residual| sig3(residual.peak_of_first.magnitude))
        .number("in channel", |residual| residual.peak_of_first.channel.to_string())
        .number("largest in the others", |residual| sig3(residual.peak_of_others.magnitude))
        .number("in channel", |residual| residual.peak_of_others.channel.to_string())
        .text("at token", |residual| {
            let Peak { text, position, .. } = &residual.peak_of_others;
            format!("{} at {position}", shown(text))
        })
        .number("median magnitude", |residual| sig3(residual.median))
        .done())
}

/// A token's text with what cannot be seen made visible.
fn shown(text: &str) -> String {
    format!("\"{}\"", text.replace('\n', "\\n"))
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

/// What each method does to layers by themselves, over the layers of each projection.
pub fn layer_errors(capture: &Capture) -> Result<Table> {
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
    let rows = rows.iter().map(|(shown, name)| Ok((*shown, variant(capture, name)?)));
    Ok(Table::of(title, rows.collect::<Result<Vec<_>>>()?)
        .text("model", |(shown, _)| *shown)
        .number("perplexity", |(_, found)| perplexity(found.perplexity()))
        .number("change", |(_, found)| change(found.perplexity() / original - 1.0))
        .number("divergence (nats)", |(_, found)| {
            format!("{:.4}", found.mean_kl_divergence().max(0.0))
        })
        .number("top-1 agreement", |(_, found)| percent(found.top1_agreement()))
        .done())
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
pub fn naive(capture: &Capture) -> Result<Table> {
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
pub fn smoothed(capture: &Capture) -> Result<Table> {
    let original = variant(capture, "f32")?.perplexity();
    let mut names = vec![("none".to_string(), "W8A8".to_string(), " ")];
    for alpha in alphas(capture, "norms") {
        names.push((format!("{alpha:.1}"), format!("SmoothQuant {alpha:.1}"), ", "));
    }
    for alpha in alphas(capture, "norms, v, up") {
        let shown = format!("{alpha:.1}, o and down too");
        names.push((shown, format!("SmoothQuant {alpha:.1} with o and down"), ", "));
    }
    let rows = names.into_iter().map(|(shown, name, before)| {
        let of = |granularity| variant(capture, &format!("{name}{before}{granularity}"));
        Ok((shown, of("per-tensor")?, of("per-token")?))
    });
    let changed = |variant: &Variant| change(variant.perplexity() / original - 1.0);
    let title = "The whole model, migrated, folded into norms: perplexity by alpha";
    Ok(Table::of(title, rows.collect::<Result<Vec<_>>>()?)
        .text("alpha", |(shown, ..)| shown.clone())
        .number("per tensor", |(_, tensor, _)| perplexity(tensor.perplexity()))
        .number("change", |(_, tensor, _)| changed(tensor))
        .number("per token", |(.., token)| perplexity(token.perplexity()))
        .number("change", |(.., token)| changed(token))
        .number("divergence per token (nats)", |(.., token)| {
            format!("{:.4}", token.mean_kl_divergence())
        })
        .done())
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
pub fn other_roads(capture: &Capture) -> Result<Table> {
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
pub fn weights_or_both(capture: &Capture) -> Result<Table> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inputs::MODEL;

    #[test]
    fn changes_have_a_sign_until_they_are_factors() {
        assert_eq!(change(0.0123), "+1.23 %");
        assert_eq!(change(-0.001), "-0.10 %");
        assert_eq!(change(99.0), "100x");
        assert_eq!((perplexity(22.608), perplexity(93_080.4)), ("22.61".into(), "93,080".into()));
    }

    #[test]
    fn the_committed_capture_fills_every_table() -> Result<()> {
        assert_eq!(all(MODEL.data())?.len(), 8);
        Ok(())
    }
}
