//! `cargo book card`: a card's string, or a config, as arithmetic.
//!
//! `formats` parses the card. Lab 02's functions, the reader's own with `LAB_IMPL=starter`, compute KV
//! blocks and roofline bounds.

use std::fs;
use std::io::Write;
use std::path::Path;

use super::report::{Line, aligned, gb, line, number};
use super::serving;
use anyhow::{Context, Result, anyhow, bail, ensure};
use arguments::reading::Card as Args;
use formats::architecture;
use formats::card::{Card, read, weight_bytes};
use formats::checkpoint::config::{FILES, parse_json};
use formats::device;
use formats::model_sizes::{ModelSizes, SizesError};
use kit::table::sig3;

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
        (Some((name, Err(error))), _) => {
            lines.extend([line(name, ""), line("weights", format!("not counted: {error}"))]);
        }
        (Some((name, Ok(model))), device) => {
            lines.extend(weights(&card, name, model));
            if let Some(device) = device {
                let (name, device) = named("device", device, &device::PUBLISHED)?;
                lines.extend(serving::serving(&card, model, name, device, args.context)?);
            }
        }
    }
    Ok(aligned(&lines))
}

/// The text to parse as a card, and the JSON if `given` is the path of a config.
fn card_text(given: &str) -> Result<(String, Option<String>)> {
    let path = Path::new(given);
    let path = if path.is_dir() {
        let configs = FILES.iter().map(|name| path.join(name));
        let found = configs.into_iter().find(|config| config.is_file());
        found.with_context(|| format!("the folder `{given}` has no config.json"))?
    } else {
        path.into()
    };
    if !path.is_file() {
        ensure!(!is_path(given), "there is no file or folder `{given}`");
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

/// Whether a text can only be a path. `owner/name` is a repository, and `name.gguf` a name.
fn is_path(text: &str) -> bool {
    ["/", "./", "../", "~/"].iter().any(|start| text.starts_with(start))
        || [".json", "/"].iter().any(|end| text.ends_with(end)) && !text.starts_with('{')
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

/// A name and sizes, or why the sizes are not known.
type Model = (String, Result<ModelSizes, SizesError>);

/// The model whose bytes are counted: the arguments name it, or else the file or the card.
fn model(args: &Args, card: &str, file: Option<&str>) -> Result<Option<Model>> {
    if let Some(name) = &args.model {
        let (name, model) = named("model", name, &architecture::PUBLISHED)?;
        return Ok(Some((name.into(), Ok(model.into()))));
    }
    if let Some(path) = &args.config {
        let json = parse_json(json_text(path)?.as_bytes())
            .with_context(|| format!("{} is not valid JSON", path.display()))?;
        return Ok(Some((path.display().to_string(), ModelSizes::from_config(&json))));
    }
    if file.is_some() || card.trim_start().starts_with('{') {
        let json = parse_json(card.as_bytes())?;
        // A quantization config alone has no sizes, and that is no fault.
        let keys = ["model_type", "text_config", "hidden_size"];
        let has_sizes = keys.iter().any(|key| json.get(key).is_some());
        let model = || ("the model of the config".into(), ModelSizes::from_config(&json));
        return Ok(has_sizes.then(model));
    }
    let card = card.to_ascii_lowercase();
    let known = architecture::PUBLISHED.iter();
    let named = known.rev().find(|(name, _)| card.contains(&name.to_ascii_lowercase()));
    Ok(named.map(|(name, model)| ((*name).into(), Ok(model.into()))))
}

/// The entry of a list by its name or the first word of its name, in any case.
fn named<'a, T>(
    kind: &str,
    name: &str,
    list: &'a [(&'static str, T)],
) -> Result<(&'static str, &'a T)> {
    // A name is known with any hyphens and spaces, or by its first word if that is the first of no other.
    let letters = |text: &str| text.to_lowercase().replace([' ', '-'], "");
    let first = |known: &str| known.split(' ').next().is_some_and(|w| w.eq_ignore_ascii_case(name));
    let mut begun = list.iter().filter(|(known, _)| first(known));
    let found = list.iter().find(|(known, _)| letters(known) == letters(name));
    let found = found.or_else(|| begun.next().filter(|_| begun.next().is_none()));
    let names = || list.iter().map(|(known, _)| *known).collect::<Vec<_>>().join(", ");
    let (known, value) =
        found.ok_or_else(|| anyhow!("no {kind} is called `{name}` here: there are {}", names()))?;
    Ok((known, value))
}

/// Bytes of the weights.
fn weights(card: &Card, name: &str, model: &ModelSizes) -> Vec<Line> {
    let mut lines = vec![line(name, "")];
    lines.extend(model.notes.iter().map(|note| line("note", note)));
    let Some(bytes) = weight_bytes(card, model) else {
        let why = "not known: the card leaves grid or granularity open, or names several";
        lines.push(line("weights", why));
        return lines;
    };
    if bytes.rest > 0 {
        let rest = if card.embedding_too { "" } else { ", in 16 bits" };
        lines.push(line("linear layers", number(bytes.linear) + " bytes"));
        lines.push(line("everything else", number(bytes.rest) + " bytes" + rest));
    }
    let plain = 2 * model.parameters();
    let about = match (bytes.about, card.leaves_some && card.rest_bits.is_none()) {
        (true, _) => "about ",
        (false, true) => "at least ",
        (false, false) => "",
    };
    let total = bytes.total();
    let share = sig3(plain as f64 / total as f64);
    lines.push(line(
        "weights",
        format!("{about}{} GB, {share} times smaller than in 16 bits", gb(total)),
    ));
    if model.is_mixture() {
        let [stored, active] = model.linear_weights();
        let all = model.parameters();
        let of_token = [all - (stored - active), all].map(|weights| sig3(weights as f64 / 1e9));
        let [active, all] = of_token;
        lines.push(line("experts", format!("a token passes {active} of {all} billion weights")));
    }
    lines
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn report(words: &[&str]) -> Result<String> {
        let words = ["course", "card"].iter().chain(words);
        match crate::Cli::try_parse_from(words)?.command {
            crate::Command::Checked(arguments::Command::Card(args)) => text(&args),
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
                let counted = weight_bytes(&card, &(&model).into()).context("bytes")?.linear;
                let labs = quantize_and_eval::linear_bytes(&model, &format)?;
                assert_eq!(counted, labs, "{words} on {name}");
            }
        }
        Ok(())
    }

    #[test]
    fn a_device_gives_blocks_and_bounds_in_the_order_that_formats_have() -> Result<()> {
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
        let sizes = r#""model_type": "llama", "hidden_size": 576, "num_hidden_layers": 30, "num_attention_heads": 9,
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
    fn sizes_that_are_not_known_leave_the_format_answered() -> Result<()> {
        let scheme =
            r#""quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]}"#;
        for (sizes, words) in [
            (
                r#""model_type": "frob_h", "hidden_size": 64"#,
                "sizes of `frob_h` are not known here",
            ),
            (r#""model_type": "llama", "hidden_size": 64.0"#, "`hidden_size` is 64.0"),
        ] {
            let text = report(&[&format!("{{{sizes}, {scheme}}}"), "--device", "h100"])?;
            assert!(text.contains("8 + 32/(128 x 128) = 8.0020"), "{text}");
            assert!(text.contains(&format!("not counted: {words}")), "{text}");
        }
        Ok(())
    }

    #[test]
    fn modules_that_are_left_alone_make_a_size_a_bound() -> Result<()> {
        let text = |alone: &str| {
            let scheme =
                r#""quant_method": "awq", "bits": 4, "group_size": 128, "zero_point": true"#;
            let config = format!(r#"{{{scheme}, "modules_to_not_convert": ["{alone}"]}}"#);
            report(&[&config, "--model", "qwen3-8b"])
        };
        assert!(text("lm_head")?.contains("weights          6.10 GB"), "{}", text("lm_head")?);
        assert!(text("self_attn")?.contains("at least 6.10 GB"), "{}", text("self_attn")?);
        Ok(())
    }

    #[test]
    fn a_mixture_with_latents_is_counted_by_its_experts() -> Result<()> {
        let config = r#"{"model_type": "deepseek_v3", "hidden_size": 1024, "intermediate_size": 2048,
            "moe_intermediate_size": 512, "num_hidden_layers": 10, "first_k_dense_replace": 2,
            "num_attention_heads": 16, "vocab_size": 32000, "n_routed_experts": 32,
            "n_shared_experts": 1, "num_experts_per_tok": 4, "kv_lora_rank": 256, "time_limit": [0.0, Infinity],
            "qk_nope_head_dim": 64, "qk_rope_head_dim": 32, "v_head_dim": 64,
            "quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]}}"#;
        let text = report(&[config, "--device", "h100"])?;
        for words in
            ["KV cache          5,760 bytes a token\n", "a token passes 0.176 of 0.528 billion"]
        {
            assert!(text.contains(words), "no `{words}` in\n{text}");
        }
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
            (&["no/such.json"], "there is no file or folder `no/such.json`"),
            (&["./AWQ"], "there is no file or folder `./AWQ`"),
            (&["."], "the folder `.` has no config.json"),
            (
                &["NVFP4-FP8", "--model", "qwen3-8b", "--device", "h100"],
                "there are no roofline bounds",
            ),
            (&["W4A16", "--model", "qwen3-8b", "--device", "h100", "--context", "0"], "is 0"),
        ] {
            let error = report(words).expect_err(words[0]);
            assert!(format!("{error:#}").contains(part), "{words:?}: no `{part}` in «{error:#}»");
        }
    }
}
