//! What rotations do to a whole model, from the capture of `rotation-meters` and those of engines.

use anyhow::{Context, Result, ensure};
use kit::Table;
use kit::table::{percent, sig3, times};
use measure::engines;
use measure::rotations::plan::{CACHES, DRAWS, INNER, NONE, OFFLINE, ONLINE, WITH_GPTQ, name};
use measure::rotations::{Capture, FORMATS, Massive, Noise, Rotated};
use measure::subject::Quality;

/// The rotations that the columns compare.
const COLUMNS: [(&str, Rotated); 4] =
    [("as it is", NONE), ("r2, r4", INNER), ("r1, r2", OFFLINE), ("r1, r2, r4", ONLINE)];

/// The tables of a capture, of those parts that it has.
///
/// # Errors
/// If a part lacks what its row needs.
pub fn all(of: &Capture) -> Result<Vec<Table>> {
    let mut tables = vec![perplexity(of)?, divergence(of)?];
    if !of.massive.is_empty() {
        tables.push(massive(of)?);
    }
    if of.runs.iter().any(|run| run.name.contains("seed")) {
        tables.push(seeds(of)?);
    }
    if !of.speed.is_empty() {
        tables.push(speed(of)?);
    }
    Ok(tables)
}

/// A row for each format and method, a column for each choice of rotations.
fn by_rotation(of: &Capture, title: &'static str, shown: fn(&Quality) -> String) -> Table {
    let nearest = FORMATS.iter().map(|format| (format.name, false));
    let rows: Vec<_> = nearest.chain(WITH_GPTQ.iter().map(|format| (format.name, true))).collect();
    let mut table = Table::of(title, rows)
        .text("format", |(format, _)| *format)
        .text("codes", |(_, with_gptq)| if *with_gptq { "GPTQ" } else { "nearest" });
    for (column, rotated) in COLUMNS {
        table = table.number(column, move |(format, with_gptq)| {
            let run = of.run(&name(format, rotated, *with_gptq));
            run.map_or("-".into(), |run| shown(&run.quality))
        });
    }
    table.done()
}

/// The perplexity of each format.
///
/// # Errors
/// None; the type is that of the other tables.
pub fn perplexity(of: &Capture) -> Result<Table> {
    let title = "Perplexity of the model, rotated and not";
    Ok(by_rotation(of, title, |quality| format!("{:.2}", quality.perplexity)))
}

/// The divergence of each format from the model as it was fetched.
///
/// # Errors
/// None; the type is that of the other tables.
pub fn divergence(of: &Capture) -> Result<Table> {
    let title = "Divergence from the model as it was fetched (nats a token)";
    Ok(by_rotation(of, title, |quality| sig3(quality.kl_divergence)))
}

/// Caches of four bits, with keys and values rotated or not.
///
/// # Errors
/// If a run is missing.
pub fn caches(of: &Capture) -> Result<Table> {
    let mut rows = Vec::new();
    for format in CACHES {
        for (values, rotated) in [("no", NONE), ("r2", OFFLINE)] {
            let run = of.run(&name(format.name, rotated, false));
            rows.extend(run.map(|run| (format, values, run.quality)));
        }
    }
    ensure!(!rows.is_empty(), "no cache was measured");
    Ok(Table::of("A cache of four bits, rotated and not", rows)
        .text("--kv-cache", |(format, ..)| format.cache.unwrap_or("f32"))
        .text("values rotated", |(_, values, _)| *values)
        .number("perplexity", |(.., quality)| format!("{:.2}", quality.perplexity))
        .number("divergence (nats)", |(.., quality)| sig3(quality.kl_divergence))
        .done())
}

/// The layers whose first token is massive in front of `down_proj`, before and after.
///
/// # Errors
/// If a place is missing.
pub fn massive(of: &Capture) -> Result<Table> {
    let is_massive =
        |found: &&Massive| found.rotations.is_empty() && found.first > 2.0 * found.others;
    let places = of.massive.iter().filter(|found| found.place == "down").filter(is_massive);
    let mut rows = Vec::new();
    for Massive { layer, place, .. } in places {
        for (column, rotated) in [("as it is", NONE), ("r1, r2", OFFLINE), ("r1, r2, r4", ONLINE)] {
            let found = of.massive(rotated.letters, *layer, place);
            rows.push((*layer, column, found.with_context(|| format!("layer {layer}"))?));
        }
    }
    let title = "The first token in front of down_proj, in the layers where it is massive";
    let magnitude = |value: f32| sig3(f64::from(value));
    Ok(Table::of(title, rows)
        .number("layer", |(layer, ..)| layer.to_string())
        .text("model", |(_, column, _)| *column)
        .number("first token", move |(.., found)| magnitude(found.first))
        .number("other tokens", move |(.., found)| magnitude(found.others))
        .number("rms of others", move |(.., found)| magnitude(found.rms_of_others))
        .number("int8 steps in that rms", move |(.., found)| {
            magnitude(found.rms_of_others / (found.first.max(found.others) / 127.0))
        })
        .done())
}

/// The spread of the perplexity over random signs, of the runs with three draws or more.
///
/// # Errors
/// If no run has so many.
pub fn seeds(of: &Capture) -> Result<Table> {
    let mut rows = Vec::new();
    for draws in DRAWS {
        let runs = draws.cases().filter_map(|case| of.run(&case.name()));
        let mut all: Vec<f64> = runs.map(|run| run.quality.perplexity).collect();
        all.sort_by(f64::total_cmp);
        let method = if draws.with_gptq { "GPTQ" } else { "nearest" };
        if let [best, .., _, worst] = all[..] {
            let name = format!("{}, {method}, {}", draws.format.name, draws.letters);
            rows.push((name, all.len(), [best, all[all.len() / 2], worst]));
        }
    }
    ensure!(!rows.is_empty(), "no run has draws of signs");
    let mut table = Table::of("Perplexity over draws of the signs", rows)
        .text("run", |(name, ..)| name.clone())
        .number("draws", |(_, draws, _)| draws.to_string());
    for (column, name) in ["best", "middle", "worst"].into_iter().enumerate() {
        table = table.number(name, move |(.., draws)| format!("{:.2}", draws[column]));
    }
    Ok(table.done())
}

/// Each draw of signs that was scored on a second text, with what it is compared with in the first row.
///
/// # Errors
/// If the run without a rotation is missing.
pub fn draws(of: &Capture) -> Result<Table> {
    let without = name("W4A16", NONE, true);
    let without = of.run(&without).context(without.clone())?;
    let mut rows = vec![("W4A16".to_string(), without)];
    let mut title = "With GPTQ: W4A16 as it is, and draws of the signs of".to_string();
    for draws in DRAWS.into_iter().filter(|draws| draws.with_gptq) {
        title += &format!(" {}, {}", draws.format.name, draws.letters);
        for case in draws.cases() {
            let run = of.run(&case.name()).filter(|run| run.held_out.is_some());
            rows.extend(run.map(|run| (format!("seed {}", case.rotated.seed), run)));
        }
    }
    Ok(Table::of(title, rows)
        .text("run", |(name, _)| name.clone())
        .number("perplexity", |(_, run)| format!("{:.2}", run.quality.perplexity))
        .number("divergence (nats)", |(_, run)| sig3(run.quality.kl_divergence))
        .number("other text", |(_, run)| {
            run.held_out.map_or("-".into(), |perplexity| format!("{perplexity:.2}"))
        })
        .done())
}

/// What the online rotation costs.
///
/// # Errors
/// If a pair is incomplete.
pub fn speed(of: &Capture) -> Result<Table> {
    let mut rows = Vec::new();
    for without in of.speed.iter().filter(|speed| !speed.rotated) {
        let with = of.speed(&without.format, &without.phase, true);
        rows.push((without, with.with_context(|| without.format.clone())?));
    }
    Ok(Table::of("Tokens per second without and with r4", rows)
        .text("format", |(without, _)| without.format.clone())
        .text("phase", |(without, _)| without.phase.clone())
        .number("without", |(without, _)| sig3(without.tokens_per_s.median))
        .number("with r4", |(_, with)| sig3(with.tokens_per_s.median))
        .number("cost", |(without, with)| {
            percent(1.0 - with.tokens_per_s.median / without.tokens_per_s.median)
        })
        .done())
}

/// Rotated checkpoints in several engines, each beside the same format without.
///
/// # Errors
/// If there is no run.
pub fn served(captures: &[engines::Capture]) -> Result<Table> {
    let runs = captures.iter().flat_map(|of| of.runs.iter().map(move |run| (of, run)));
    let rows: Vec<_> = runs.collect();
    ensure!(!rows.is_empty(), "no checkpoint was served");
    Ok(Table::of("Rotated checkpoints, served: four chunks of the passage", rows)
        .text("engine", |(capture, _)| capture.setup.engine.to_string())
        .text("checkpoint", |(_, run)| run.name.clone())
        .number("perplexity", |(_, run)| {
            let perplexity = run.quality.as_ref().map(|quality| quality.perplexity);
            perplexity.map_or("not loaded".into(), |perplexity| format!("{perplexity:.2}"))
        })
        .number("divergence (nats)", |(_, run)| {
            run.quality.as_ref().and_then(|quality| quality.kl_divergence).map_or("-".into(), sig3)
        })
        .done())
}

/// What R1 does to the error of rounded weights, in some layers.
///
/// # Errors
/// If the capture has no such ratios.
pub fn noise(of: &Capture) -> Result<Table> {
    let shown = of.noise.iter().filter(|noise| noise.layer % 7 == 1);
    let rows: Vec<&Noise> = shown.collect();
    ensure!(!rows.is_empty(), "the capture has no ratios of errors");
    Ok(Table::of("Squared error of the outputs behind a norm, with R1 over without", rows)
        .number("layer", |noise| noise.layer.to_string())
        .text("weight", |noise| noise.reader.clone())
        .number("first token", |noise| times(noise.first))
        .number("other tokens", |noise| times(noise.others))
        .done())
}
