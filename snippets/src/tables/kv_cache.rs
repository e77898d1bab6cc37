//! What the format of the KV cache does to a whole model, from the capture of `kv-meters` and those of
//! engines.

use anyhow::{Context, Result};
use kit::Table;
use kit::table::{count, percent, sig3};
use measure::engines;
use measure::kv::{CHUNKS, Capture, KvMeters, Run, retrieval, speed};
use model::CacheFormat;

/// The tables of a capture.
///
/// # Errors
/// If a run lacks what its row needs.
pub fn all(of: &Capture) -> Result<Vec<Table>> {
    Ok(vec![quality(of)?, decode(of)?, found_again(of)?])
}

/// What the format of a run is.
fn about(run: &Run) -> Result<&'static str> {
    Ok(CacheFormat::named(&run.format)?.about)
}

/// Bytes, perplexity and divergence of each format.
///
/// # Errors
/// If a run lacks what its row needs.
pub fn quality(of: &Capture) -> Result<Table> {
    let mut rows = Vec::new();
    for run in &of.runs {
        let quality =
            |chunk| run.quality(chunk).with_context(|| format!("{} at {chunk}", run.format));
        rows.push((run, about(run)?, quality(CHUNKS[0])?, quality(CHUNKS[1])?));
    }
    let [short, long] = CHUNKS.map(count);
    let title = format!(
        "The cache in each format: bytes of a token, and quality in chunks of {short} and {long} tokens"
    );
    Ok(Table::of(title, rows)
        .text("format", |(run, ..)| run.format.clone())
        .text("what it is", |(_, about, ..)| *about)
        .number("bytes a token", |(run, ..)| count(run.token_bytes.round() as usize))
        .number(format!("perplexity, {short}"), |(.., short, _)| format!("{:.2}", short.perplexity))
        .number(format!("perplexity, {long}"), |(.., long)| format!("{:.2}", long.perplexity))
        .number(format!("divergence (nats), {long}"), |(.., long)| sig3(long.kl_divergence))
        .number(format!("same next token, {long}"), |(.., long)| percent(long.top1_agreement))
        .done())
}

/// The lengths of which every format has a run.
fn lengths<const N: usize>(
    of: &KvMeters,
    all: [usize; N],
    has: impl Fn(&str, usize) -> bool,
) -> Vec<usize> {
    all.into_iter().filter(|&length| of.runs.iter().all(|run| has(&run.format, length))).collect()
}

/// Tokens per second beside caches of several lengths.
///
/// # Errors
/// If a format lacks a length that others have.
pub fn decode(of: &Capture) -> Result<Table> {
    let lengths =
        lengths(of, speed::CONTEXTS, |format, context| of.decode(format, context).is_some());
    let mut table = Table::of(
        "Tokens per second of one sequence, beside so many tokens in the cache",
        &of.runs,
    )
    .text("format", |run| run.format.clone());
    for length in lengths {
        table = table.number(count(length), move |run| {
            of.decode(&run.format, length).map_or("-".into(), |run| sig3(run.tokens_per_s.median))
        });
    }
    Ok(table.done())
}

/// Words that are found again.
///
/// # Errors
/// If a format lacks a length that others have.
pub fn found_again(of: &Capture) -> Result<Table> {
    let lengths =
        lengths(of, retrieval::CONTEXTS, |format, context| of.retrieval(format, context).is_some());
    let mut table = Table::of(
        "Next tokens guessed right where a text of so many tokens begins again",
        &of.runs,
    )
    .text("format", |run| run.format.clone());
    for length in lengths {
        table = table.number(count(length), move |run| {
            let found = of.retrieval(&run.format, length);
            found.map_or("-".into(), |found| format!("{} of {}", found.right, found.asked))
        });
    }
    Ok(table.done())
}

/// An engine with its cache in several formats. The first run is the one that the others are compared with.
///
/// # Errors
/// If there is no run.
pub fn of_engine(title: &str, captures: &[engines::Capture]) -> Result<Table> {
    let cache = |capture: &engines::Capture| capture.plan.kv_cache.clone();
    let runs = captures.iter().flat_map(|of| of.runs.iter().map(move |run| (cache(of), run)));
    let rows: Vec<(Option<String>, &engines::Run)> = runs.collect();
    let first = rows.first().context("there is no run")?.1;
    let perplexity = |run: &engines::Run| run.quality.as_ref().map(|quality| quality.perplexity);
    let exact = perplexity(first);
    Ok(Table::of(title, rows)
        .text("checkpoint", |(_, run)| run.name.clone())
        .text("cache", |(cache, _)| cache.clone().unwrap_or_else(|| "as the config says".into()))
        .number("perplexity", move |(_, run)| {
            perplexity(run).map_or("-".into(), |perplexity| format!("{perplexity:.3}"))
        })
        .number("more than the first", move |(_, run)| {
            let more = perplexity(run).zip(exact).map(|(perplexity, exact)| perplexity - exact);
            more.map_or("-".into(), |more| format!("{more:.3}"))
        })
        .text("continues \"The capital of France is\"", |(_, run)| {
            run.answers.first().map_or(String::new(), |answer| format!("{:?}", answer.trim()))
        })
        .done())
}
