//! The checkpoints that an engine is asked about: those that were named, those that were found, or the
//! formats that the engine makes of the fetched model.

use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Result, bail, ensure};
use formats::bytes::Float;
use formats::checkpoint::config::parse_json;
use formats::registry::{self, Reader, StorageFormat};
use kit::workspace::{fetched_model, root, target};
use model::{Weights, passage};
use quantizer::smooth::Smoothing;
use quantizer::{Job, Plan, SHARD_BYTES, Transform, write};

use super::engine::Engine;
use super::engine_meters::Run;

/// A checkpoint and its name.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// What it is called.
    pub name: String,
    /// Its folder, or its GGUF file; `None` for one that is in the engine's memory alone.
    pub path: Option<PathBuf>,
}

impl FromStr for Checkpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((name, path)) if !name.is_empty() && !path.is_empty() => {
                Ok(Self { name: name.into(), path: Some(path.into()) })
            }
            _ => Err("write NAME=PATH, as in w8a8=target/checkpoints/w8a8".into()),
        }
    }
}

impl Checkpoint {
    /// What its files say of it.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn run(&self) -> Result<Run> {
        let mut run = Run { name: self.name.clone(), ..Run::default() };
        if let Some(path) = &self.path {
            run.file_bytes = Some(weight_bytes(path)?);
            run.scheme = scheme(&path.join("config.json"));
        }
        Ok(run)
    }

    /// Where its files are.
    ///
    /// # Errors
    /// If it has none.
    pub fn path(&self) -> Result<&Path> {
        self.path.as_deref().with_context(|| format!("`{}` is not in a file", self.name))
    }

    /// Its GGUF file.
    ///
    /// # Errors
    /// If it has none, or several.
    pub fn gguf(&self) -> Result<PathBuf> {
        let mut files = files(self.path()?)?;
        files.retain(|file| is(file, "gguf"));
        match files.as_slice() {
            [file] => Ok(file.clone()),
            _ => bail!("{} has {} .gguf files, not one", self.path()?.display(), files.len()),
        }
    }

    /// What this course's model loads of it: the folder, or the GGUF file in it.
    ///
    /// # Errors
    /// If it has neither a config nor one GGUF file.
    pub fn folder_or_gguf(&self) -> Result<PathBuf> {
        let path = self.path()?;
        if path.join("config.json").exists() { Ok(path.into()) } else { self.gguf() }
    }
}

/// The formats that `engine` makes of the fetched model, the original first. Which of them vLLM can
/// serve depends on the machine.
pub fn formats(engine: Engine) -> Vec<String> {
    let read_by = |reader: Reader| {
        let known = registry::ALL.into_iter().filter(move |known| known.read_by.contains(&reader));
        known.map(|known| known.name)
    };
    match engine {
        Engine::Course => {
            let quantized = model::Format::ALL.map(|format| format.name().to_string());
            ["f32".to_string()].into_iter().chain(quantized).collect()
        }
        // Smoothing changes no format: it is W8A8 of other tensors.
        Engine::Vllm => {
            read_by(Reader::Vllm).chain(["w8a8-smooth"]).map(ToString::to_string).collect()
        }
        Engine::LlamaCpp => {
            let blocks = read_by(Reader::LlamaCpp).filter_map(|name| name.strip_prefix("gguf-"));
            // `llama-quantize` writes MXFP4 for experts alone, of which the model has none.
            let blocks = blocks.filter(|name| *name != "mxfp4");
            ["f32"].into_iter().chain(blocks).map(ToString::to_string).collect()
        }
        Engine::Gpu => Vec::new(),
    }
}

/// Weights of a row that share a scale in vLLM's formats of 4 bits. (128 does not divide SmolLM2's 576.)
pub const GROUP_SIZE: u64 = 64;

/// The folder of vLLM's `format`, which the quantizer writes if it is not there.
///
/// # Errors
/// If the model was not fetched, or cannot be quantized.
pub fn written(format: &str) -> Result<PathBuf> {
    let out = target("checkpoints").join(format);
    if out.exists() {
        return Ok(out);
    }
    eprintln!("writing target/checkpoints/{format}");
    let (scheme, alpha) = match format {
        "w8a8-smooth" => ("w8a8", Some(0.5)),
        scheme => (scheme, None),
    };
    let weights = Weights::open(fetched()?)?;
    let smooth = |alpha| Smoothing::on_text(&weights, passage::CALIBRATION, alpha);
    let smoothing = alpha.map(smooth).transpose()?;
    let job = Job {
        weights: &weights,
        plan: Plan::new(StorageFormat::named(scheme, GROUP_SIZE)?, Float::F16),
        transform: smoothing.as_ref().map(|smoothing| smoothing as &dyn Transform),
        rounding: None,
        importance: None,
        activations: None,
        kv_scales: None,
        out: &out,
        shard_bytes: SHARD_BYTES,
        leave_out: false,
        requantize: true,
    };
    write(&job, &()).with_context(|| format!("the checkpoint {format} could not be written"))?;
    Ok(out)
}

/// The model that `cargo book fetch` gets.
///
/// # Errors
/// If it is not there.
pub fn fetched() -> Result<PathBuf> {
    let path = fetched_model();
    ensure!(path.exists(), "{} is not there: `cargo book fetch` gets it", path.display());
    Ok(path)
}

/// Names of checkpoints that nothing was quantized in: one of them is the original.
const PLAIN: [&str; 5] = ["none", "original", "f32", "bf16", "f16"];

/// The checkpoints in target/checkpoints that `engine` reads, plain ones first, then by name.
///
/// # Errors
/// If there is none.
pub fn all(engine: Engine) -> Result<Vec<Checkpoint>> {
    let folder = root().join("target/checkpoints");
    let found = found(&folder, engine)?;
    ensure!(
        !found.is_empty(),
        "{} has no checkpoint: write one with `cargo book quantize`, or name one with --checkpoint",
        folder.display()
    );
    Ok(found)
}

/// Whether nothing was quantized in the checkpoint, by its name.
pub fn is_plain(checkpoint: &Checkpoint) -> bool {
    PLAIN.contains(&checkpoint.name.as_str())
}

fn found(folder: &Path, engine: Engine) -> Result<Vec<Checkpoint>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.with_context(|| format!("cannot read {}", folder.display()))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let has_config = path.join("config.json").exists();
        let checkpoint = Checkpoint { name, path: Some(path.clone()) };
        let fits = match engine {
            Engine::Course => has_config || path.is_dir() && checkpoint.gguf().is_ok(),
            Engine::Vllm => has_config,
            Engine::LlamaCpp => path.is_dir() && checkpoint.gguf().is_ok(),
            Engine::Gpu => false,
        };
        if fits {
            found.push(checkpoint);
        }
    }
    found.sort_by_key(|checkpoint| (!is_plain(checkpoint), checkpoint.name.clone()));
    Ok(found)
}

/// Bytes of the weight files of a checkpoint.
///
/// # Errors
/// If they cannot be read.
pub fn weight_bytes(path: &Path) -> Result<u64> {
    let mut files = files(path)?;
    files.retain(|file| is(file, "safetensors") || is(file, "gguf"));
    files.iter().map(|file| Ok(fs::metadata(file)?.len())).sum()
}

/// The files of a folder, or the file itself.
fn files(path: &Path) -> Result<Vec<PathBuf>> {
    if path.is_file() {
        return Ok(vec![path.into()]);
    }
    let entries = fs::read_dir(path).with_context(|| format!("cannot read {}", path.display()))?;
    entries.map(|entry| Ok(entry?.path())).collect()
}

fn is(file: &Path, extension: &str) -> bool {
    file.extension().is_some_and(|found| found == extension)
}

/// What a config says of its quantization.
fn scheme(config: &Path) -> Option<String> {
    let config = parse_json(&fs::read(config).ok()?).ok()?;
    let quantization = config.get("quantization_config")?;
    let words = ["quant_method", "format"].iter().filter_map(|key| quantization[*key].as_str());
    Some(words.collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_is_named_before_its_path() {
        let named: Checkpoint = "w8a8=some/dir=x".parse().expect("a name and a path");
        assert_eq!((named.name.as_str(), named.path), ("w8a8", Some("some/dir=x".into())));
        for text in ["w8a8", "=dir", "w8a8="] {
            assert!(
                text.parse::<Checkpoint>().is_err_and(|error| error.contains("NAME=PATH")),
                "{text}"
            );
        }
    }

    #[test]
    fn size_and_scheme_are_those_of_the_files() -> Result<()> {
        let folder = tempfile::tempdir()?;
        fs::write(folder.path().join("a.safetensors"), [0; 10])?;
        fs::write(folder.path().join("b.safetensors"), [0; 5])?;
        let config = r#"{"quantization_config": {"quant_method": "awq", "bits": 4}}"#;
        fs::write(folder.path().join("config.json"), config)?;
        let checkpoint = Checkpoint { name: "awq".into(), path: Some(folder.path().into()) };
        let run = checkpoint.run()?;
        assert_eq!((run.file_bytes, run.scheme.as_deref()), (Some(15), Some("awq")));
        assert!(checkpoint.gguf().is_err_and(|error| error.to_string().contains("0 .gguf files")));
        Ok(())
    }

    #[test]
    fn each_engine_finds_what_it_reads_and_the_plain_one_first() -> Result<()> {
        let folder = tempfile::tempdir()?;
        for (name, file) in [
            ("awq", "config.json"),
            ("none", "config.json"),
            ("gguf-q8_0", "model.gguf"),
            ("f32", "model.gguf"),
            ("notes", "notes.txt"),
        ] {
            fs::create_dir(folder.path().join(name))?;
            fs::write(folder.path().join(name).join(file), "{}")?;
        }
        let names = |engine| -> Result<Vec<String>> {
            Ok(found(folder.path(), engine)?.into_iter().map(|found| found.name).collect())
        };
        assert_eq!(names(Engine::Vllm)?, ["none", "awq"]);
        assert_eq!(names(Engine::LlamaCpp)?, ["f32", "gguf-q8_0"]);
        assert!(found(Path::new("no/such"), Engine::Vllm)?.is_empty());
        Ok(())
    }
}
