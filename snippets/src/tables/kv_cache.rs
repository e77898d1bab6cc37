//! What the format of the KV cache does to a whole model, from the capture of `kv-meters` and those of
//! engines.

use anyhow::{Context, Result};
use formats::architecture::SMOLLM2_135M;
use kit::Table;
use kit::table::{count, percent, sig3};
use measure::engines;
use measure::engines::meter_tables::predicted_blocks;
use measure::kv::{CHUNKS, Capture, Run, retrieval, speed};
use model::CacheFormat;
use quantize_and_eval::concurrency;

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
        .number("bytes a token", |(run, ..)| count(run.token_bytes.round() as usize))
        .number(format!("perplexity, {short}"), |(.., short, _)| format!("{:.2}", short.perplexity))
        .number(format!("perplexity, {long}"), |(.., long)| format!("{:.2}", long.perplexity))
        .number(format!("divergence (nats), {long}"), |(.., long)| sig3(long.kl_divergence))
        .number(format!("top-1 agreement, {long}"), |(.., long)| percent(long.top1_agreement))
        .text("what it is", |(_, about, ..)| *about)
        .done())
}

/// A table with a column for each length that was measured, and a row for each format that has one.
fn by_length<const N: usize>(
    of: &Capture,
    title: &'static str,
    lengths: [usize; N],
    cell: impl Fn(&str, usize) -> Option<String> + Copy,
) -> Table {
    let has = |run: &&Run| lengths.iter().any(|&length| cell(&run.format, length).is_some());
    let rows: Vec<String> = of.runs.iter().filter(has).map(|run| run.format.clone()).collect();
    let measured =
        lengths.into_iter().filter(|&length| rows.iter().any(|row| cell(row, length).is_some()));
    let measured: Vec<usize> = measured.collect();
    let mut table = Table::of(title, rows).text("format", |row| row.clone());
    for length in measured {
        let shown = move |row: &String| cell(row, length).unwrap_or_else(|| "-".into());
        table = table.number(count(length), shown);
    }
    table.done()
}

/// Tokens per second beside caches of several lengths.
///
/// # Errors
/// None; the type is that of the other tables.
pub fn decode(of: &Capture) -> Result<Table> {
    let title = "Tokens per second of one sequence, beside so many tokens in the cache";
    let cell =
        |format: &str, length| of.decode(format, length).map(|run| sig3(run.tokens_per_s.median));
    Ok(by_length(of, title, speed::CONTEXTS, cell))
}

/// Words that are found again.
///
/// # Errors
/// None; the type is that of the other tables.
pub fn found_again(of: &Capture) -> Result<Table> {
    let title = "Next tokens guessed right where a text of so many tokens begins again";
    let cell = |format: &str, length| {
        let found = of.retrieval(format, length)?;
        Some(format!("{} of {}", found.right, found.asked))
    };
    Ok(by_length(of, title, retrieval::CONTEXTS, cell))
}

/// An engine with its cache in several formats. The first run is the one that the others are compared with.
///
/// # Errors
/// If there is no run.
pub fn of_engine(title: &str, captures: &[engines::Capture]) -> Result<Table> {
    let rows = runs(captures);
    let first = rows.first().context("there is no run")?.1;
    let perplexity = |run: &engines::Run| run.quality.as_ref().map(|quality| quality.perplexity);
    let exact = perplexity(first);
    Ok(Table::of(title, rows)
        .text("checkpoint", |(_, run)| run.name.clone())
        .text("cache", |(capture, _)| cache_name(capture))
        .number("perplexity", move |(_, run)| {
            perplexity(run).map_or("-".into(), |perplexity| format!("{perplexity:.3}"))
        })
        .number("more than the first", move |(_, run)| {
            let more = perplexity(run).zip(exact).map(|(perplexity, exact)| perplexity - exact);
            more.map_or("-".into(), |more| format!("{more:.3}"))
        })
        .text("continues \"The capital of France is\"", |(_, run)| {
            run.answers
                .first()
                .map_or(String::new(), |answer| format!("\"{}\"", answer.replace('\n', "⏎")))
        })
        .done())
}

/// The runs of all captures, each with its own.
fn runs(captures: &[engines::Capture]) -> Vec<(&engines::Capture, &engines::Run)> {
    captures.iter().flat_map(|of| of.runs.iter().map(move |run| (of, run))).collect()
}

fn cache_name(of: &engines::Capture) -> String {
    of.plan.kv_cache.clone().unwrap_or_else(|| "as the config says".into())
}

/// The room for tokens and for requests that the cost model predicts, beside what vLLM says when it starts.
///
/// # Errors
/// If a log does not say, or the cost model refuses.
pub fn room(captures: &[engines::Capture]) -> Result<Table> {
    let mut rows = Vec::new();
    for (capture, run) in runs(captures) {
        let found = Room::of(run).with_context(|| format!("{}: no size", cache_name(capture)))?;
        let block = capture.plan.block_tokens;
        let predicted = predicted_blocks(capture, run, SMOLLM2_135M)
            .map(|blocks| anyhow::Ok((blocks * block, concurrency(blocks, block, found.request)?)))
            .transpose()?;
        rows.push((run, cache_name(capture), predicted, found));
    }
    let dash = || "-".to_string();
    Ok(Table::of("vLLM's cache beside the weights in one GiB: predicted, and by its log", rows)
        .text("checkpoint", |(run, ..)| run.name.clone())
        .text("cache", |(_, cache, ..)| cache.clone())
        .number("tokens predicted", move |(.., predicted, _)| {
            predicted.map_or_else(dash, |(tokens, _)| count(tokens as usize))
        })
        .number("tokens", |(.., found)| count(found.tokens as usize))
        .number("requests predicted", move |(.., predicted, _)| {
            predicted.map_or_else(dash, |(_, requests)| format!("{requests:.2}"))
        })
        .number("requests", |(.., found)| format!("{:.2}", found.requests))
        .done())
}

/// What fits vLLM's cache.
struct Room {
    tokens: u64,
    /// Requests at once, of so many tokens.
    requests: f64,
    request: u64,
}

impl Room {
    /// By the line of the log that says so: `… KV cache size: 62,336 tokens, Maximum concurrency for 640
    /// tokens per request: 97.40x`.
    fn of(run: &engines::Run) -> Option<Self> {
        let line = run.log.iter().find_map(|line| line.split_once("KV cache size: "))?.1;
        let (tokens, rest) = line.split_once(" tokens, Maximum concurrency for ")?;
        let (request, requests) = rest.split_once(" tokens per request: ")?;
        let whole = |number: &str| number.replace(',', "").parse().ok();
        Some(Self {
            tokens: whole(tokens)?,
            requests: requests.strip_suffix('x')?.parse().ok()?,
            request: whole(request)?,
        })
    }
}
