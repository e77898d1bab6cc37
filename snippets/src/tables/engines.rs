//! The tables of "Captured: three engines, one model", read from the captures of quality that
//! `cargo book measure` and the command before it took.

use anyhow::{Context, Result, bail};
use kit::Table;
use kit::table::{count, percent};
use measure::engines::{Capture, Run};

use super::measured::runs_of;
use crate::inputs::Engines;

/// A perplexity with the digits that engines are compared by.
fn perplexity(checkpoint: Option<&Run>) -> String {
    let quality = checkpoint.and_then(|checkpoint| checkpoint.quality.as_ref());
    quality.map_or("-".into(), |quality| format!("{:.4}", quality.perplexity))
}

fn kl_divergence(checkpoint: Option<&Run>) -> String {
    let nats = checkpoint.and_then(|checkpoint| checkpoint.quality.as_ref()?.kl_divergence);
    nats.map_or("-".into(), |nats| format!("{nats:.4}"))
}

fn top1_agreement(checkpoint: &Run) -> String {
    let same = checkpoint.quality.as_ref().and_then(|quality| quality.top1_agreement);
    same.map_or("-".into(), percent)
}

fn name(checkpoint: &Run) -> String {
    format!("`{}`", checkpoint.name)
}

fn megabytes(checkpoint: &Run) -> String {
    checkpoint.file_bytes.map_or("-".into(), |bytes| format!("{:.1}", bytes as f64 / 1e6))
}

/// Folders, read by this course's model and by vLLM.
pub fn folders(of: &Engines) -> Result<Table> {
    by_both(&of.ours, &of.vllm, "The same files, read by this course's model and by vLLM")
}

/// Files of a method's codes, read by this course's model and by vLLM.
pub fn folders_of(method: &str, of: &[Capture]) -> Result<Table> {
    let [ours, vllm] = of else { bail!("{} captures, and there are two engines", of.len()) };
    let title = format!("Files of {method}'s codes, read by this course's model and by vLLM");
    by_both(ours, vllm, &title)
}

fn by_both(ours: &Capture, vllm: &Capture, title: &str) -> Result<Table> {
    let rows = vllm.runs.iter().map(|checkpoint| {
        let own = ours.named(&checkpoint.name);
        Ok((own.with_context(|| format!("ours has no {}", checkpoint.name))?, checkpoint))
    });
    Ok(Table::of(title, rows.collect::<Result<Vec<_>>>()?)
        .text("checkpoint", |(_, vllm)| name(vllm))
        .number("MB", |(_, vllm)| megabytes(vllm))
        .number("perplexity, ours", |(own, _)| perplexity(Some(own)))
        .number("perplexity, vLLM", |(_, vllm)| perplexity(Some(vllm)))
        .number("top-1 agreement, ours", |(own, _)| top1_agreement(own))
        .number("top-1 agreement, vLLM", |(_, vllm)| top1_agreement(vllm))
        .number("divergence, ours (nats)", |(own, _)| kl_divergence(Some(own)))
        .done())
}

/// GGUF files, read by this course's model and by llama.cpp.
pub fn gguf(of: &Engines) -> Result<Table> {
    gguf_files(&of.ours, &of.llama_cpp)
}

/// The GGUF file of lab 08's format beside that of the original, read by both.
pub fn float_gguf(of: &[Capture]) -> Result<Table> {
    let [ours, llama_cpp] = of else { bail!("{} captures, and there are two engines", of.len()) };
    gguf_files(ours, llama_cpp)
}

fn gguf_files(ours: &Capture, llama_cpp: &Capture) -> Result<Table> {
    let own = |checkpoint: &Run| ours.named(&checkpoint.name);
    let title = "The same GGUF files, read by this course's model and by llama.cpp";
    Ok(Table::of(title, &llama_cpp.runs)
        .text("file", |llama| name(llama))
        .number("MB", |llama| megabytes(llama))
        .number("perplexity, ours", |llama| perplexity(own(llama)))
        .number("perplexity, llama.cpp", |llama| perplexity(Some(llama)))
        .number("divergence, ours (nats)", |llama| kl_divergence(own(llama)))
        .number("divergence, llama.cpp (nats)", |llama| kl_divergence(Some(llama)))
        .number("top-1 agreement, llama.cpp", |llama| top1_agreement(llama))
        .done())
}

/// The same folders and the same engine, on a processor that has the kernels.
pub fn avx512((of, with): (&Engines, &Capture)) -> Result<Table> {
    let rows = with.runs.iter().map(|checkpoint| {
        let name = &checkpoint.name;
        let own = of.ours.named(name).and_then(|own| own.quality.as_ref());
        let own = own.with_context(|| format!("ours has not scored {name}"))?;
        let may = own.kl_divergence.map(|_| allowed(&of.ours, name)).transpose()?;
        Ok((own.perplexity, may, checkpoint))
    });
    let title = "The same files in vLLM, without AVX-512 and with AVX-512 and VNNI";
    Ok(Table::of(title, rows.collect::<Result<Vec<_>>>()?)
        .text("checkpoint", |(.., with)| name(with))
        .number("perplexity, ours", |(own, ..)| format!("{own:.4}"))
        .number("vLLM without", |(.., with)| perplexity(of.vllm.named(&with.name)))
        .number("vLLM with", |(.., with)| perplexity(Some(with)))
        .number("with, apart from ours by", |(own, _, with)| {
            with.quality.as_ref().map_or("-".into(), |theirs| apart(theirs.perplexity / own))
        })
        .number("rounding may", |(_, may, _)| may.map_or("-".into(), plus_or_minus))
        .text("type of what is not quantized, with", |(.., with)| {
            with.dtype.clone().unwrap_or("-".into())
        })
        .done())
}

/// A ratio as a difference with its sign.
fn apart(ratio: f64) -> String {
    format!("{:+.2} %", 100.0 * (ratio - 1.0))
}

fn plus_or_minus(part: f64) -> String {
    format!("±{:.2} %", 100.0 * part)
}

/// Eight bits and seven, by an engine whose pairs of products saturate and by one whose do not.
/// `control` is the same model in seven bits, served by vLLM.
pub fn seven_bits((of, control): (&Engines, &Capture)) -> Result<Table> {
    let scored = |capture: &Capture, name: &str| -> Result<f64> {
        let found = capture.named(name).and_then(|checkpoint| checkpoint.quality.as_ref());
        Ok(found.with_context(|| format!("no capture has scored {name}"))?.perplexity)
    };
    let rows = [("w8a8", &of.vllm), ("w8a8-smooth", &of.vllm), ("w8a8-seven-bits", control)];
    let rows = rows.map(|(name, capture)| -> Result<_> {
        Ok((name, scored(&of.ours, name)?, scored(capture, name)?, allowed(&of.ours, name)?))
    });
    let title = "W8A8 with weight codes up to 127, and up to 63 as the control";
    Ok(Table::of(title, rows.into_iter().collect::<Result<Vec<_>>>()?)
        .text("checkpoint", |(name, ..)| format!("`{name}`"))
        .number("perplexity, ours", |(_, own, ..)| format!("{own:.4}"))
        .number("perplexity, vLLM without VNNI", |(_, _, theirs, _)| format!("{theirs:.4}"))
        .number("apart by", |(_, own, theirs, _)| apart(theirs / own))
        .number("rounding may", |(.., allowed)| plus_or_minus(*allowed))
        .done())
}

/// Three standard deviations of the perplexity between two runs that differ by rounding: the mean
/// negative log-likelihood of `n` tokens moves by `sqrt(4 d / n)`, `d` the KL divergence from
/// the original in nats. `captures/PROVENANCE.md` of lab 04 derives and tries it.
fn allowed(ours: &Capture, name: &str) -> Result<f64> {
    let quality = ours.named(name).and_then(|checkpoint| checkpoint.quality.as_ref());
    let quality = quality.with_context(|| format!("ours has not scored {name}"))?;
    let kl_divergence = quality.kl_divergence.context("the original has no noise of its own")?;
    let scored = quality.chunks * (ours.plan.chunk / 2 - 1);
    Ok((3.0 * (4.0 * kl_divergence / scored as f64).sqrt()).exp_m1())
}

/// One format, `what`, with two roundings: the bytes are equal.
pub fn roundings(of: &Capture, what: &str) -> Result<Table> {
    Ok(Table::of(format!("{what}, with two roundings"), &of.runs)
        .text("checkpoint", |run| name(run))
        .number("MB", |run| megabytes(run))
        .number("perplexity", |run| perplexity(Some(run)))
        .number("KL divergence (nats)", |run| kl_divergence(Some(run)))
        .number("top-1 agreement", |run| top1_agreement(run))
        .done())
}

/// What each wrote after the first prompt.
pub fn answers(of: &Engines) -> Result<Table> {
    let prompt = of.ours.plan.prompts.first().cloned().unwrap_or_default();
    let mut names: Vec<&str> = Vec::new();
    for checkpoint in of.all().into_iter().flat_map(|capture| &capture.runs) {
        if !names.contains(&checkpoint.name.as_str()) {
            names.push(&checkpoint.name);
        }
    }
    let rows = names.into_iter().flat_map(|name| {
        of.all().into_iter().filter_map(move |capture| {
            let answer = capture.named(name)?.answers.first()?;
            Some((name, capture.setup.engine, answer))
        })
    });
    let title = format!("\"{prompt}\": what each wrote, the likeliest token each time");
    Ok(Table::of(title, rows)
        .text("checkpoint", |(name, ..)| format!("`{name}`"))
        .text("engine", |(_, engine, _)| engine.to_string())
        // A backslash would look like a formula that was left as it was typed.
        .text("what it wrote", |(.., answer)| format!("\"{}\"", answer.replace('\n', "⏎")))
        .done())
}

/// How vLLM read each folder, and what stopped it.
pub fn vllm_read(of: &Engines) -> Result<Table> {
    let title = "How vLLM read each folder, on a processor without AVX-512";
    Ok(Table::of(title, &of.vllm.runs)
        .text("checkpoint", |checkpoint| name(checkpoint))
        .text("its config says", |checkpoint| checkpoint.scheme.clone().unwrap_or("nothing".into()))
        .text("served", |checkpoint| if checkpoint.served { "yes" } else { "no" })
        .text("what the engine said", |checkpoint| {
            shortened(checkpoint.reason.as_deref().or(checkpoint.kernel.as_deref()).unwrap_or("-"))
        })
        .done())
}

/// Files of lab 08's formats, read by this course's model, and what vLLM says of them.
pub fn float_folders(of: &[Capture]) -> Result<Table> {
    let [ours, vllm] = of else { bail!("{} captures, and there are two engines", of.len()) };
    let rows = vllm.runs.iter().map(|checkpoint| {
        let own = ours.named(&checkpoint.name);
        Ok((own.with_context(|| format!("ours has no {}", checkpoint.name))?, checkpoint))
    });
    let title = "Checkpoints of small floats in vLLM for processors";
    Ok(Table::of(title, rows.collect::<Result<Vec<_>>>()?)
        .text("checkpoint", |(_, vllm)| name(vllm))
        .number("perplexity, ours", |(own, _)| perplexity(Some(own)))
        .number("perplexity, vLLM", |(_, vllm)| perplexity(Some(vllm)))
        .text("what the engine said", |(_, vllm)| {
            shortened(vllm.reason.as_deref().or(vllm.kernel.as_deref()).unwrap_or("-"))
        })
        .done())
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
pub fn vllm_cache(of: &Engines) -> Result<Table> {
    let served = of.vllm.runs.iter();
    let rows = served.filter_map(|checkpoint| Some((checkpoint, checkpoint.kv_cache.as_ref()?)));
    Ok(Table::of("The KV cache that vLLM made of the same memory", rows)
        .text("checkpoint", |(checkpoint, _)| name(checkpoint))
        .number("blocks", |(_, cache)| count(cache.blocks as usize))
        .number("tokens a block", |(_, cache)| cache.block_tokens.to_string())
        .number("tokens", |(_, cache)| count((cache.blocks * cache.block_tokens) as usize))
        .text("type of its numbers", |(of, _)| of.dtype.clone().unwrap_or("-".into()))
        .done())
}

/// Where and when the captures were made.
pub fn runs((of, avx512): (&Engines, &Capture)) -> Result<Table> {
    Ok(runs_of(&[&of.ours, &of.vllm, avx512, &of.llama_cpp]).done())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inputs::SERVED;

    #[test]
    fn a_long_line_is_cut_and_says_so() {
        assert_eq!(shortened("short `code`"), "short 'code'");
        assert!(shortened(&"x".repeat(500)).ends_with('…'));
    }

    #[test]
    fn the_chapter_quantizes_in_every_scheme_of_the_registry() {
        let schemes = formats::registry::ALL.map(|description| description.name).join(" ");
        let chapter = include_str!("../../../src/real-model/engines.md");
        assert!(chapter.contains(&format!("for scheme in {schemes};")), "it is now: {schemes}");
    }

    #[test]
    fn the_engines_agree_on_files_that_are_not_quantized_in_activations() -> Result<()> {
        // An engine that reads weights as we do differs by the rounding of f32 sums only.
        let of = SERVED.data();
        let (own, theirs) = (of.ours.named("none"), of.vllm.named("none"));
        let scored =
            |found: Option<&Run>| found.and_then(|c| c.quality.as_ref().map(|q| q.perplexity));
        let (own, theirs) = (scored(own).context("ours")?, scored(theirs).context("theirs")?);
        assert!((own / theirs - 1.0).abs() < 1e-4, "{own} and {theirs}");
        Ok(())
    }
}
