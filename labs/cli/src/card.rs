//! `cargo book card`: a card's string, or a config, as arithmetic.
//!
//! `formats` parses the card. Lab 02's functions, the reader's own with `LAB_IMPL=starter`, compute KV
//! blocks and roofline bounds.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};
use formats::architecture::{self, Architecture};
use formats::card::{Card, read, weight_bytes};
use formats::device::{self, Device};
use formats::format::{Format, Grid};
use kit::table::{count, sig3};
use quantize_and_eval::{
    BLOCK_TOKENS, CostError, ModelFormat, Served, UTILIZATION, concurrency, crossover_batch,
    decode_tokens_per_s, kv_available_bytes, kv_blocks, kv_bytes_per_token, prefill_tokens_per_s,
};
use serde_json::Value;

/// Reads a card's string or a config as arithmetic: grid, granularity, bits, bytes, ceilings.
#[derive(clap::Args)]
pub struct Args {
    /// What the card says, in quotes: "W4A16 group_size=128 sym", a repository's name, a config's
    /// JSON, or the path of a config.json.
    #[arg(allow_hyphen_values = true)]
    card: String,
    /// A published model, such as llama-3.1-8b; if the card names one, it is found there.
    #[arg(long)]
    model: Option<String>,
    /// A config.json with the sizes of a Llama-like model.
    #[arg(long, conflicts_with = "model")]
    config: Option<PathBuf>,
    /// A device, such as h100: KV blocks, and ceilings of decode and prefill.
    #[arg(long)]
    device: Option<String>,
    /// Tokens of a sequence, for the KV cache and for the prompt.
    #[arg(long, default_value_t = 4096)]
    context: u64,
}

/// Prints the report.
///
/// # Errors
/// If the card, the model or the device cannot be read.
pub fn run(args: &Args) -> Result<()> {
    let text = text(args)?;
    // Not with `println!`, which panics when the reader is `head`.
    let _ = std::io::stdout().write_all(text.as_bytes());
    Ok(())
}

/// The whole report.
fn text(args: &Args) -> Result<String> {
    let (card_text, file) = card_text(&args.card)?;
    let card = read(&card_text)?;
    let mut lines = answers(&card);
    let model = model(args, &card_text, file.as_deref())?;
    match (&model, &args.device) {
        (None, Some(_)) => bail!("--device needs a model: --model llama-3.1-8b, or --config"),
        (None, None) => {}
        (Some((name, model)), device) => {
            lines.extend(weights(&card, name, model));
            if let Some(device) = device {
                let (name, device) = named("device", device, &device::PUBLISHED)?;
                lines.extend(serving(&card, model, name, device, args.context)?);
            }
        }
    }
    Ok(aligned(&lines))
}

/// A line of the report: its subject and its text. A line without text is the heading of a part.
type Line = (String, String);

fn aligned(lines: &[Line]) -> String {
    let width = lines.iter().filter(|(_, said)| !said.is_empty());
    let width = width.map(|(what, _)| what.chars().count()).max().unwrap_or(0);
    lines.iter().fold(String::new(), |text, (what, said)| {
        if said.is_empty() {
            return text + "\n" + what + "\n";
        }
        text + format!("{what:<width$}  {said}").trim_end() + "\n"
    })
}

fn line(what: &str, said: impl Into<String>) -> Line {
    (what.into(), said.into())
}

/// The text to parse as a card, and the JSON if `given` is the path of a config.
fn card_text(given: &str) -> Result<(String, Option<String>)> {
    let path = Path::new(given);
    let path = if path.is_dir() { path.join("config.json") } else { path.into() };
    if !path.is_file() {
        return Ok((given.into(), None));
    }
    // A quantized model's weights can lie under a name that is a card itself.
    if path.extension().is_none_or(|extension| extension != "json") {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        return Ok((name.into_owned(), None));
    }
    let text = json_text(&path)?;
    Ok((text.clone(), Some(text)))
}

/// The longest config that is read, in bytes, because a wrong path may name a file of weights.
const LONGEST: u64 = 16 << 20;

fn json_text(path: &Path) -> Result<String> {
    let length =
        fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?.len();
    ensure!(length <= LONGEST, "{} is longer than {LONGEST} bytes: no config is", path.display());
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// What the card says, line by line.
fn answers(card: &Card) -> Vec<Line> {
    let answers = &card.answers;
    let canonical = &answers.canonical;
    let nothing = "nothing that arithmetic can use";
    let mut lines = vec![
        line("reads as", if canonical.is_empty() { nothing } else { canonical }),
        line("weights", &answers.weights),
        line("granularity", &answers.granularity),
        line("activations", &answers.activations),
        line("KV cache", &answers.kv),
        line("bits a weight", &answers.bits),
    ];
    lines.extend(answers.open.iter().map(|sentence| line("open", sentence)));
    lines.extend(answers.notes.iter().map(|sentence| line("note", sentence)));
    lines
}

/// The model whose bytes are counted: the arguments name it, or else the file or the card.
fn model(args: &Args, card: &str, file: Option<&str>) -> Result<Option<(String, Architecture)>> {
    if let Some(name) = &args.model {
        let (name, model) = named("model", name, &architecture::PUBLISHED)?;
        return Ok(Some((name.into(), *model)));
    }
    if let Some(path) = &args.config {
        let json: Value = serde_json::from_str(&json_text(path)?)
            .with_context(|| format!("{} is not valid JSON", path.display()))?;
        let model = sizes(&json).with_context(|| format!("{}", path.display()))?;
        return Ok(Some((path.display().to_string(), model)));
    }
    if let Some(file) = file {
        let json: Value = serde_json::from_str(file)?;
        // A quantization config alone has no sizes, and that is no fault.
        return Ok(sizes(&json).ok().map(|model| ("the model of the config".into(), model)));
    }
    let card = card.to_ascii_lowercase();
    let known = architecture::PUBLISHED.iter();
    let named = known.rev().find(|(name, _)| card.contains(&name.to_ascii_lowercase()));
    Ok(named.map(|(name, model)| ((*name).into(), *model)))
}

/// The entry of a list by its name or the first word of its name, in any case.
fn named<'a, T>(
    kind: &str,
    name: &str,
    list: &'a [(&'static str, T)],
) -> Result<(&'static str, &'a T)> {
    let first = |known: &'static str| known.split(' ').next().unwrap_or(known);
    let found = list.iter().find(|(known, _)| {
        known.eq_ignore_ascii_case(name) || first(known).eq_ignore_ascii_case(name)
    });
    let names = || list.iter().map(|(known, _)| *known).collect::<Vec<_>>().join(", ");
    let (known, value) =
        found.ok_or_else(|| anyhow!("no {kind} is called `{name}` here: there are {}", names()))?;
    Ok((known, value))
}

/// The sizes in a config.json.
fn sizes(json: &Value) -> Result<Architecture> {
    let size = |key: &str| {
        json[key]
            .as_u64()
            .with_context(|| format!("no `{key}` in it: is it a Llama-like config.json?"))
    };
    ensure!(
        json.get("num_experts").or_else(|| json.get("num_local_experts")).is_none(),
        "a mixture of experts: only dense models are counted here"
    );
    let (hidden, heads) = (size("hidden_size")?, size("num_attention_heads")?);
    let is = |kind: &str| json["model_type"].as_str().is_some_and(|found| found.starts_with(kind));
    let model = Architecture {
        layers: size("num_hidden_layers")?,
        hidden,
        intermediate: size("intermediate_size")?,
        heads,
        kv_heads: size("num_key_value_heads").unwrap_or(heads),
        head_dim: size("head_dim").unwrap_or(hidden / heads.max(1)),
        vocabulary: size("vocab_size")?,
        tied: json["tie_word_embeddings"] == true,
        qkv_bias: is("qwen2"),
        qk_norm: is("qwen3"),
    };
    model.check()?;
    Ok(model)
}

/// Bytes of the weights.
fn weights(card: &Card, name: &str, model: &Architecture) -> Vec<Line> {
    let mut lines = vec![line(name, "")];
    let Some(bytes) = weight_bytes(card, model) else {
        lines.push(line("weights", "not known: the card leaves grid or granularity open"));
        return lines;
    };
    if bytes.rest > 0 {
        let rest = if card.embedding_too { "" } else { ", in 16 bits" };
        lines.push(line("linear layers", number(bytes.linear) + " bytes"));
        lines.push(line("everything else", number(bytes.rest) + " bytes" + rest));
    }
    let plain = 2 * model.parameters();
    let (about, total) = (if bytes.about { "about " } else { "" }, bytes.total());
    let share = sig3(plain as f64 / total as f64);
    lines.push(line(
        "weights",
        format!("{about}{} GB, {share} times smaller than in 16 bits", gb(total)),
    ));
    lines
}

/// KV blocks and roofline bounds on a device.
fn serving(
    card: &Card,
    model: &Architecture,
    name: &str,
    device: &Device,
    context: u64,
) -> Result<Vec<Line>> {
    let format = card.format.clone().context(
        "the card leaves grid or granularity open, so there are no ceilings: add words, such as \
         group_size=128, or give the config",
    )?;
    let mut lines = vec![line(&format!("{name}, sequences of {} tokens", number(context)), "")];
    let (served, in_16) = served(card, model, device, format, context)?;
    let per_token = kv_bytes_per_token(model, served.kv)?;
    let taken = weight_bytes(card, model).map_or(0, |bytes| bytes.total());
    let blocks = kv_available_bytes(device.memory_bytes, UTILIZATION, taken)
        .and_then(|bytes| kv_blocks(bytes, BLOCK_TOKENS, per_token));
    lines.push(line("KV cache", format!("{} bytes a token", number(per_token))));
    match blocks {
        Err(error @ CostError::NoRoom { .. }) => lines.push(line("room", error.to_string())),
        Err(error) => return Err(error.into()),
        Ok(blocks) => {
            let at_once = concurrency(blocks, BLOCK_TOKENS, context)?;
            let text = format!(
                "{} of {BLOCK_TOKENS} tokens, if nothing else takes memory",
                number(blocks)
            );
            lines.push(line("KV blocks", text));
            let fits = if at_once < 1.0 { ": not one fits" } else { "" };
            lines.push(line("at once", format!("{} sequences{fits}", sig3(at_once))));
        }
    }
    for batch in [1, 8, 64] {
        let ceiling = decode_tokens_per_s(&served, device, batch, context)?;
        lines.push(line(&format!("decode, batch {batch}"), per_second(ceiling)));
    }
    lines.push(line("prefill", per_second(prefill_tokens_per_s(&served, device, context)?)));
    lines.push(line(
        "binding",
        match crossover_batch(&served, device, context)? {
            Some(batch) => format!("memory up to batch {}, then arithmetic", sig3(batch)),
            None => "memory at every batch: the KV cache grows with it".into(),
        },
    ));
    if in_16 {
        let text = format!("{name} has no unit for these activations: multiplied in 16 bits");
        lines.push(line("note", text));
    }
    if card.mean_bits.is_some() {
        lines.push(line("note", "ceilings count the base type alone: a mix reads more bytes"));
    }
    Ok(lines)
}

/// The served model, and whether its activations are multiplied in 16 bits, because the device has no
/// unit for their grid.
fn served(
    card: &Card,
    model: &Architecture,
    device: &Device,
    mut linear: Format,
    context: u64,
) -> Result<(Served, bool)> {
    let of = |linear: Format| {
        let mut format = ModelFormat::of(linear.clone());
        if card.embedding_too {
            format.embedding = linear;
        }
        Served { architecture: *model, format, kv: kv_grid(card.kv_bits) }
    };
    let served = of(linear.clone());
    match prefill_tokens_per_s(&served, device, context) {
        Err(CostError::NoRate(_)) => {
            linear.activations = Grid::Sixteen;
            Ok((of(linear), true))
        }
        Err(error) => Err(error.into()),
        Ok(_) => Ok((served, false)),
    }
}

/// The grid of a KV cache with numbers of so many bits.
fn kv_grid(bits: Option<f64>) -> Grid {
    match bits.map(f64::ceil) {
        None | Some(16.0) => Grid::Sixteen,
        Some(bits) => Grid::Int(bits as u32),
    }
}

fn per_second(tokens: f64) -> String {
    format!("at most {} tokens a second", number(tokens as u64))
}

fn gb(bytes: u64) -> String {
    sig3(bytes as f64 / 1e9)
}

fn number(number: u64) -> String {
    usize::try_from(number).map_or_else(|_| number.to_string(), count)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn report(words: &[&str]) -> Result<String> {
        let words = ["course", "card"].iter().chain(words);
        match crate::Cli::try_parse_from(words)?.command {
            crate::Command::Card(args) => text(&args),
            _ => bail!("another command was read"),
        }
    }

    #[test]
    fn a_card_is_answered_line_by_line() -> Result<()> {
        let text = report(&["RedHatAI/Meta-Llama-3.1-8B-Instruct-quantized.w4a16"])?;
        for words in [
            "reads as         W4A16 int group_size=128 sym\n",
            "bits a weight    4 + 16/128 = 4.1250 (usual)\n",
            "open             the group size: 128 is usual; the config decides\n",
            // The name names a model that is known.
            "\nLlama-3.1-8B\nlinear layers    3,598,712,832 bytes\n",
            "weights          5.70 GB, 2.82 times smaller than in 16 bits\n",
        ] {
            assert!(text.contains(words), "no `{words}` in\n{text}");
        }
        Ok(())
    }

    #[test]
    fn the_bytes_are_those_of_the_labs_own_function() -> Result<()> {
        for words in ["W4A16 group_size=32 asym", "FP8-dynamic", "NVFP4", "AQLM 1x16", "BF16"] {
            let card = read(words)?;
            let format = card.format.clone().context("a format")?;
            for (name, model) in architecture::PUBLISHED {
                let counted = weight_bytes(&card, &model).context("bytes")?.linear;
                let labs = quantize_and_eval::linear_bytes(&model, &format)?;
                assert_eq!(counted, labs, "{words} on {name}");
            }
        }
        Ok(())
    }

    #[test]
    fn a_device_gives_blocks_and_ceilings_in_the_order_that_formats_have() -> Result<()> {
        let text = report(&["FP8-dynamic", "--model", "llama-3.1-70b", "--device", "a100"])?;
        assert!(text.contains("A100 SXM has no unit for these activations"), "{text}");
        assert!(text.contains("sequences: not one fits"), "{text}");
        let text =
            report(&["W4A16", "--model", "qwen3-8b", "--device", "h100", "--context", "999"])?;
        assert!(text.contains("H100 SXM, sequences of 999 tokens"), "{text}");
        assert!(text.contains("decode, batch 1 ") && text.contains("prefill "), "{text}");
        let text = report(&["BF16", "--model", "llama-3.1-70b", "--device", "l40s"])?;
        assert!(text.contains("room"), "weights that do not fit are said, not an error: {text}");
        Ok(())
    }

    #[test]
    fn a_file_is_read_for_its_scheme_and_its_sizes() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let config = folder.path().join("config.json");
        let sizes = r#""hidden_size": 576, "num_hidden_layers": 30, "num_attention_heads": 9,
            "num_key_value_heads": 3, "intermediate_size": 1536, "vocab_size": 49152,
            "tie_word_embeddings": true"#;
        let scheme = r#""quantization_config": {"quant_method": "awq", "bits": 4,
            "group_size": 64, "zero_point": true}"#;
        fs::write(&config, format!("{{{sizes}, {scheme}}}"))?;
        for path in [folder.path(), &config] {
            let text = report(&[&path.to_string_lossy()])?;
            assert!(text.contains("4 + 16/64 + 4/64 = 4.3125"), "{text}");
            assert!(text.contains("the model of the config"), "{text}");
        }
        fs::write(&config, format!("{{{sizes}}}"))?;
        let path = config.to_string_lossy();
        let text = report(&["W8A8", "--config", &path])?;
        assert!(text.contains("everything else  56,693,376 bytes"), "{text}");
        Ok(())
    }

    #[test]
    fn what_cannot_be_answered_is_an_error_that_names_it() {
        for (words, part) in [
            (&["W4A16 FP8"][..], "`W4A16` and `FP8` contradict each other"),
            (
                &["W4A16", "--model", "llama-9"],
                "no model is called `llama-9` here: there are SmolLM2",
            ),
            (&["W4A16", "--model", "qwen3-8b", "--device", "h900"], "no device is called `h900`"),
            (&["W4A16", "--device", "h100"], "--device needs a model"),
            (&["AWQ", "--config", "no/such.json"], "cannot read no/such.json"),
            (&["NVFP4-FP8", "--model", "qwen3-8b", "--device", "h100"], "there are no ceilings"),
            (&["W4A16", "--model", "qwen3-8b", "--device", "h100", "--context", "0"], "is 0"),
        ] {
            let error = report(words).expect_err(words[0]);
            assert!(format!("{error:#}").contains(part), "{words:?}: no `{part}` in «{error:#}»");
        }
    }
}
