//! The tables of "Captured: three engines, one model", read from the captures of quality that
//! `cargo book measure` and the command before it took.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use kit::Table;
use kit::table::{count, percent};
use measure::engines::{Capture, Engine, Run};

use crate::capture_files::of_engine;

/// The folder that the committed captures lie in.
const FOLDER: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../labs/measure/src/engines/captures/serve");

/// The committed capture files.
pub fn files() -> Vec<PathBuf> {
    crate::capture_files::json_in(FOLDER)
}

/// The file of the control's capture.
pub fn control_file() -> PathBuf {
    PathBuf::from(FOLDER).join("control/vllm-seven-bits.json")
}

/// The file of vLLM's capture on a processor with AVX-512 and VNNI.
pub fn avx512_file() -> PathBuf {
    PathBuf::from(FOLDER).join("avx512/vllm-epyc-avx512-2.json")
}

/// The committed capture of an engine.
///
/// # Errors
/// If there is not exactly one, or one cannot be read.
pub fn committed(engine: Engine) -> Result<Capture> {
    of_engine(FOLDER, engine)
}

fn load(file: &Path) -> Result<Capture> {
    Capture::load(file).context(file.display().to_string())
}

const OURS: Engine = Engine::Course;
const VLLM: Engine = Engine::Vllm;
const LLAMA_CPP: Engine = Engine::LlamaCpp;

/// A perplexity with the digits that engines are compared by.
fn perplexity(checkpoint: Option<&Run>) -> String {
    let quality = checkpoint.and_then(|checkpoint| checkpoint.quality.as_ref());
    quality.map_or("-".into(), |quality| format!("{:.4}", quality.perplexity))
}

fn megabytes(checkpoint: &Run) -> String {
    checkpoint.file_bytes.map_or("-".into(), |bytes| format!("{:.1}", bytes as f64 / 1e6))
}

/// Folders: ours beside vLLM.
pub fn folders() -> Result<Table> {
    let (ours, vllm) = (committed(OURS)?, committed(VLLM)?);
    let mut table = Table::new("The same files, read by this course's model and by vLLM")
        .text("checkpoint")
        .number("MB")
        .number("perplexity, ours")
        .number("perplexity, vLLM")
        .number("same next token, ours")
        .number("same next token, vLLM")
        .number("divergence, ours (nats)");
    for checkpoint in &vllm.runs {
        let own = ours.named(&checkpoint.name);
        let own = own.with_context(|| format!("ours has no {}", checkpoint.name))?;
        let same = |of: &Run| {
            of.quality.as_ref().and_then(|q| q.top1_agreement).map_or("-".into(), percent)
        };
        let divergence = own.quality.as_ref().and_then(|quality| quality.kl_divergence);
        table.row([
            format!("`{}`", checkpoint.name),
            megabytes(checkpoint),
            perplexity(Some(own)),
            perplexity(Some(checkpoint)),
            same(own),
            same(checkpoint),
            divergence.map_or("-".into(), |nats| format!("{nats:.4}")),
        ]);
    }
    Ok(table)
}

/// GGUF files: ours beside llama.cpp.
pub fn gguf() -> Result<Table> {
    let (ours, llama) = (committed(OURS)?, committed(LLAMA_CPP)?);
    let mut table = Table::new("The same GGUF files, read by this course's model and by llama.cpp")
        .text("file")
        .number("MB")
        .number("perplexity, ours")
        .number("perplexity, llama.cpp")
        .number("divergence, ours (nats)")
        .number("divergence, llama.cpp (nats)")
        .number("same next token, llama.cpp");
    for checkpoint in &llama.runs {
        let own = ours.named(&checkpoint.name);
        let quality = checkpoint.quality.as_ref();
        let nats = |value: Option<f64>| value.map_or("-".into(), |nats| format!("{nats:.4}"));
        table.row([
            format!("`{}`", checkpoint.name),
            megabytes(checkpoint),
            perplexity(own),
            perplexity(Some(checkpoint)),
            nats(own.and_then(|own| own.quality.as_ref()?.kl_divergence)),
            nats(quality.and_then(|quality| quality.kl_divergence)),
            quality.and_then(|quality| quality.top1_agreement).map_or("-".into(), percent),
        ]);
    }
    Ok(table)
}

/// The same folders and the same engine, on a processor that has the kernels.
pub fn avx512() -> Result<Table> {
    let (ours, without) = (committed(OURS)?, committed(VLLM)?);
    let with = load(&avx512_file())?;
    let mut table = Table::new("The same files in vLLM, without AVX-512 and with AVX-512 and VNNI")
        .text("checkpoint")
        .number("perplexity, ours")
        .number("vLLM without")
        .number("vLLM with")
        .number("with, apart from ours by")
        .number("rounding may")
        .text("type of what is not quantized, with");
    for checkpoint in &with.runs {
        let name = &checkpoint.name;
        let own = ours.named(name).and_then(|own| own.quality.as_ref());
        let own = own.with_context(|| format!("ours has not scored {name}"))?;
        let apart = checkpoint.quality.as_ref().map(|quality| quality.perplexity / own.perplexity);
        let may = own.kl_divergence.map(|_| allowed(&ours, name)).transpose()?;
        table.row([
            format!("`{name}`"),
            format!("{:.4}", own.perplexity),
            perplexity(without.named(name)),
            perplexity(Some(checkpoint)),
            apart.map_or("-".into(), |ratio| format!("{:+.2} %", 100.0 * (ratio - 1.0))),
            may.map_or("-".into(), |part| format!("±{:.2} %", 100.0 * part)),
            checkpoint.dtype.clone().unwrap_or("-".into()),
        ]);
    }
    Ok(table)
}

/// The capture of the control: the same model in seven bits, served by vLLM.
fn control() -> Result<Capture> {
    load(&control_file())
}

/// Eight bits and seven, by an engine whose pairs of products saturate and by one whose do not.
pub fn seven_bits() -> Result<Table> {
    let (ours, vllm, control) = (committed(OURS)?, committed(VLLM)?, control()?);
    let mut table = Table::new("W8A8 with weight codes up to 127, and up to 63 as the control")
        .text("checkpoint")
        .number("perplexity, ours")
        .number("perplexity, vLLM without VNNI")
        .number("apart by")
        .number("rounding may");
    for (name, capture) in [("w8a8", &vllm), ("w8a8-smooth", &vllm), ("w8a8-seven-bits", &control)]
    {
        let of = |capture: &Capture| -> Result<f64> {
            let found = capture.named(name).and_then(|checkpoint| checkpoint.quality.as_ref());
            Ok(found.with_context(|| format!("no capture has scored {name}"))?.perplexity)
        };
        let (own, theirs) = (of(&ours)?, of(capture)?);
        table.row([
            format!("`{name}`"),
            format!("{own:.4}"),
            format!("{theirs:.4}"),
            format!("{:+.2} %", 100.0 * (theirs / own - 1.0)),
            format!("±{:.2} %", 100.0 * allowed(&ours, name)?),
        ]);
    }
    Ok(table)
}

/// Three standard deviations of the perplexity between two runs that differ by rounding: the mean
/// negative log-likelihood of `n` tokens moves by `sqrt(4 d / n)`, `d` the divergence from the
/// original in nats. `captures/PROVENANCE.md` of lab 04 derives and tries it.
fn allowed(ours: &Capture, name: &str) -> Result<f64> {
    let quality = ours.named(name).and_then(|checkpoint| checkpoint.quality.as_ref());
    let quality = quality.with_context(|| format!("ours has not scored {name}"))?;
    let divergence = quality.kl_divergence.context("the original has no noise of its own")?;
    let scored = quality.chunks * (ours.plan.chunk / 2 - 1);
    Ok((3.0 * (4.0 * divergence / scored as f64).sqrt()).exp_m1())
}

/// What each wrote after the first prompt.
pub fn answers() -> Result<Table> {
    let captures = [committed(OURS)?, committed(VLLM)?, committed(LLAMA_CPP)?];
    let prompt = captures[0].plan.prompts.first().cloned().unwrap_or_default();
    let mut table =
        Table::new(format!("\"{prompt}\": what each wrote, the likeliest token each time"))
            .text("checkpoint")
            .text("engine")
            .text("what it wrote");
    let mut names: Vec<&str> = Vec::new();
    for checkpoint in captures.iter().flat_map(|capture| &capture.runs) {
        if !names.contains(&checkpoint.name.as_str()) {
            names.push(&checkpoint.name);
        }
    }
    for name in names {
        for capture in &captures {
            let found = capture.named(name);
            if let Some(answer) = found.and_then(|checkpoint| checkpoint.answers.first()) {
                table.row([
                    format!("`{name}`"),
                    capture.setup.engine.to_string(),
                    // A backslash would look like a formula that was left as it was typed.
                    format!("\"{}\"", answer.replace('\n', "⏎")),
                ]);
            }
        }
    }
    Ok(table)
}

/// How vLLM read each folder, and what stopped it.
pub fn vllm_read() -> Result<Table> {
    let vllm = committed(VLLM)?;
    let mut table = Table::new("How vLLM read each folder, on a processor without AVX-512")
        .text("checkpoint")
        .text("its config says")
        .text("served")
        .text("what the engine said");
    for checkpoint in &vllm.runs {
        let said = checkpoint.reason.as_deref().or(checkpoint.kernel.as_deref());
        table.row([
            format!("`{}`", checkpoint.name),
            checkpoint.scheme.clone().unwrap_or("nothing".into()),
            if checkpoint.served { "yes".into() } else { "no".to_string() },
            shortened(said.unwrap_or("-")),
        ]);
    }
    Ok(table)
}

/// A line of a log, cut where a table would burst.
fn shortened(line: &str) -> String {
    const MOST: usize = 160;
    let line = line.replace('`', "'");
    match line.char_indices().nth(MOST) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line,
    }
}

/// The KV cache that vLLM made of one GiB.
pub fn vllm_cache() -> Result<Table> {
    let vllm = committed(VLLM)?;
    let mut table = Table::new("The KV cache that vLLM made of the same memory")
        .text("checkpoint")
        .number("blocks")
        .number("tokens a block")
        .number("tokens")
        .text("type of its numbers");
    for checkpoint in &vllm.runs {
        let Some(cache) = &checkpoint.kv_cache else { continue };
        table.row([
            format!("`{}`", checkpoint.name),
            count(usize::try_from(cache.blocks)?),
            cache.block_tokens.to_string(),
            count(usize::try_from(cache.blocks * cache.block_tokens)?),
            checkpoint.dtype.clone().unwrap_or("-".into()),
        ]);
    }
    Ok(table)
}

/// Where and when the captures were made.
pub fn runs() -> Result<Table> {
    let mut table = Table::new("The runs of this chapter")
        .text("engine")
        .text("version")
        .text("machine")
        .text("date")
        .text("commit");
    let captures =
        [committed(OURS)?, committed(VLLM)?, load(&avx512_file())?, committed(LLAMA_CPP)?];
    for capture in captures {
        let Capture { provenance: of, setup, .. } = capture;
        table.row([
            setup.engine.to_string(),
            setup.engine_version,
            format!("{}, {} processors, {}", of.processor, of.processors, setup.instructions),
            of.date.clone(),
            of.short_commit(),
        ]);
    }
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_line_is_cut_and_says_so() {
        assert_eq!(shortened("short `code`"), "short 'code'");
        assert!(shortened(&"x".repeat(500)).ends_with('…'));
    }

    #[test]
    fn the_engines_agree_on_files_that_are_not_quantized_in_activations() -> Result<()> {
        // An engine that reads weights as we do differs by the rounding of f32 sums only.
        let (ours, llama) = (committed(OURS)?, committed(VLLM)?);
        let (own, theirs) = (ours.named("none"), llama.named("none"));
        let of = |found: Option<&Run>| found.and_then(|c| c.quality.as_ref().map(|q| q.perplexity));
        let (own, theirs) = (of(own).context("ours")?, of(theirs).context("theirs")?);
        assert!((own / theirs - 1.0).abs() < 1e-4, "{own} and {theirs}");
        Ok(())
    }
}
