//! `cargo book inspect`: the formats of a checkpoint, from its headers alone.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use arguments::reading::Inspect as Args;
use formats::checkpoint::inspection_report;
use formats::checkpoint::{Inspection, open};
use indicatif::ProgressBar;
use kit::Table;
use kit::table::count;

/// Prints what the checkpoint is; fails if it contradicts itself.
///
/// # Errors
/// If there is no checkpoint, or a file is damaged or cannot be read.
pub fn run(args: &Args) -> Result<ExitCode> {
    let (text, agrees) = examine(args)?;
    // Not with `println!`, which panics when the reader is `head`.
    let _ = std::io::stdout().write_all(format!("{text}\n").as_bytes());
    Ok(if agrees { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The report, and whether the checkpoint agrees with itself.
fn examine(args: &Args) -> Result<(String, bool)> {
    // A model of experts has 300,000 tensors, which take seconds. Only a terminal shows the line.
    let waiting = ProgressBar::new_spinner().with_message("reading the headers");
    waiting.enable_steady_tick(Duration::from_millis(100));
    let checkpoint = open(&args.file)?;
    waiting.set_message(format!("classifying {} tensors", count(checkpoint.tensors.len())));
    let inspection = Inspection::of(checkpoint);
    waiting.finish_and_clear();
    let text = if args.json {
        serde_json::to_string_pretty(&inspection_report::to_json(&inspection))
            .context("no valid JSON")?
    } else {
        text(&inspection, args.all)
    };
    Ok((text, inspection.problems.is_empty()))
}

/// The whole report.
fn text(inspection: &Inspection, all: bool) -> String {
    let mut parts: Vec<String> = inspection
        .files
        .iter()
        .map(|file| {
            let (bytes, header) = (number(file.bytes), number(file.header_bytes));
            format!("{}: {bytes} bytes, {header} of them header, read", file.path.display())
        })
        .collect();
    parts.push(String::new());
    let mut add = |table: Table| parts.push(table.to_string());
    add(inspection_report::summary(inspection));
    if !inspection.inventory.quantized.is_empty() {
        add(inspection_report::quantized(inspection, all));
    }
    if all && !inspection.inventory.quantized.is_empty() {
        add(inspection_report::parts(inspection));
    }
    if !inspection.inventory.unknown.is_empty() {
        add(inspection_report::unknown(inspection, all));
    }
    if !inspection.inventory.plain.is_empty() {
        add(inspection_report::plain(inspection, all));
    }
    parts.extend(inspection_report::verdict(inspection));
    parts.join("\n")
}

fn number(bytes: u64) -> String {
    usize::try_from(bytes).map_or_else(|_| bytes.to_string(), count)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use formats::checkpoint::golden;

    use super::*;

    fn examined(file: PathBuf, all: bool, json: bool) -> Result<(String, bool)> {
        examine(&Args { file, all, json })
    }

    #[test]
    fn a_file_that_agrees_is_described_in_full() -> Result<()> {
        let (text, agrees) = examined(golden::path("autogptq"), true, false)?;
        assert!(agrees);
        for words in [
            "18,824 bytes, 1,736 of them header, read",
            "| GPTQ v1            |       4 |  20,480 | 12,864 |         5.025 |",
            "model.layers.{0..1}.mlp.up_proj ",
            "model.layers.0.mlp.up_proj.g_idx ",
            "lm_head.weight",
            "config: agrees (config.json, quant_method gptq)",
        ] {
            assert!(text.contains(words), "no `{words}` in\n{text}");
        }
        Ok(())
    }

    #[test]
    fn the_json_has_an_entry_for_each_matrix() -> Result<()> {
        let (text, agrees) = examined(golden::path("ct-w4-asymmetric"), false, true)?;
        assert!(agrees);
        let json: serde_json::Value = serde_json::from_str(&text)?;
        assert_eq!(json["quantized"].as_array().map(Vec::len), Some(4));
        assert_eq!(json["quantized"][0]["scheme"], "pack-quantized");
        assert_eq!(json["quantized"][0]["symmetric"], false);
        assert_eq!(json["total"]["weights"], 22_592);
        Ok(())
    }

    #[test]
    fn a_config_that_lies_is_a_failure_and_its_layers_share_a_line() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let fixture = golden::path("autoawq");
        fs::copy(fixture.join("model.safetensors"), folder.path().join("model.safetensors"))?;
        let config = fs::read_to_string(fixture.join("config.json"))?;
        let lie = config.replace("\"group_size\": 32", "\"group_size\": 64");
        fs::write(folder.path().join("config.json"), lie)?;
        let (text, agrees) = examined(folder.path().into(), false, false)?;
        assert!(!agrees, "the exit code has to be 1");
        let line = "contradiction: model.layers.{0..1}.self_attn.q_proj: [64, 64] has scales of \
                    [64, 2]: group 32; config.json says group 64, which takes [64, 1]";
        assert!(text.contains(line), "{text}");
        Ok(())
    }

    #[test]
    fn a_damaged_file_and_a_path_without_one_are_errors() {
        for (path, words) in [
            ("Cargo.toml", "not a safetensors file"),
            ("src", "no .safetensors, no .gguf"),
            ("no/such", "cannot read no/such"),
        ] {
            let error = examined(path.into(), false, false).expect_err("no checkpoint");
            assert!(format!("{error:#}").contains(words), "{error:#}");
        }
    }
}
