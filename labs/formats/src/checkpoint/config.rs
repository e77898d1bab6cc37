//! What a checkpoint's config says about its quantization.
//!
//! Every tool has its own words: `bits`, `w_bit` and `num_bits` are one thing. Here they become one
//! [`Expected`] for each module, which the shapes are then held to.

mod methods;
mod patterns;
mod said;

use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde_json::Value;

use super::{CheckpointError, GptqVersion, Scheme};
use crate::card::Fact;
use crate::format::Group;
use patterns::Pattern;

/// The longest config that is read, in bytes; real ones have some kilobytes.
const MAX_CONFIG: u64 = 16 << 20;

/// Where the config can lie, the first that speaks of quantization counts.
const FILES: [&str; 4] =
    ["config.json", "quantize_config.json", "quant_config.json", "hf_quant_config.json"];

/// What the config says about one module.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Expected {
    /// Bits of a code.
    pub bits: Option<u64>,
    /// Who shares a scale.
    pub group: Option<Group>,
    /// Whether the grid is symmetric.
    pub symmetric: Option<bool>,
    /// compressed-tensors' name for the layout.
    pub format: Option<String>,
    /// What no shape shows: kind of grid, activations, order. In the words of [`card`](crate::card).
    pub said: Vec<Fact>,
}

/// Whether the config wants a module quantized.
#[derive(Clone, Debug, PartialEq)]
pub enum Word<'a> {
    /// On the list of modules to leave alone, by this entry.
    LeftAlone(&'a str),
    /// Quantized, like this.
    Quantized(&'a Expected),
    /// The config does not say.
    Silent,
}

/// A quantization config, read once.
#[derive(Clone, Debug)]
pub struct QuantConfig {
    /// The file it was found in.
    pub file: String,
    /// `quant_method`, or what the file's name stands for.
    pub method: Option<String>,
    /// What could not be read or checked, in words.
    pub notes: Vec<String>,
    /// Fields that shapes cannot confirm, as they stand there.
    pub unverifiable: Vec<String>,
    /// GPTQ: how zero points are stored.
    pub gptq_version: GptqVersion,
    /// GPTQ: whether rows were reordered.
    pub desc_act: Option<bool>,
    /// How keys and values are kept, in the words of [`card`](crate::card).
    pub kv_cache: Option<String>,
    ignore: Vec<Pattern>,
    groups: Vec<(Vec<Pattern>, Expected)>,
    /// Whether a group names a class of modules, which no file shows.
    names_classes: bool,
}

impl QuantConfig {
    /// The config in `folder`; `None` if no file there speaks of quantization.
    ///
    /// # Errors
    /// If a file is there and cannot be read, is absurdly long or is not JSON.
    pub fn find(folder: &Path) -> Result<Option<Self>, CheckpointError> {
        for file in FILES {
            let path = folder.join(file);
            if let Some(json) = read_json(&path)?
                && let Some(config) = Self::parse(file, &json)
            {
                return Ok(Some(config));
            }
        }
        Ok(None)
    }

    /// The config in the JSON of a file with this name; `None` if it does not speak of quantization.
    pub fn parse(file: &str, json: &Value) -> Option<Self> {
        let quantization = section(file, json)?;
        let method = method(file, quantization);
        let mut config = Self {
            file: file.into(),
            method: method.map(str::to_owned),
            notes: Vec::new(),
            unverifiable: Vec::new(),
            gptq_version: GptqVersion::Unsaid,
            desc_act: None,
            kv_cache: None,
            ignore: Vec::new(),
            groups: Vec::new(),
            names_classes: false,
        };
        config.read_method(quantization);
        Some(config)
    }

    /// What the config says about `module`.
    pub fn word(&self, module: &str) -> Word<'_> {
        if let Some(pattern) = self.ignore.iter().find(|pattern| pattern.matches(module)) {
            return Word::LeftAlone(pattern.text());
        }
        let mut groups = self.groups.iter();
        let names_it = |patterns: &[Pattern]| patterns.iter().any(|p| p.matches(module));
        match groups.find(|(targets, _)| names_it(targets)) {
            Some((_, expected)) => Word::Quantized(expected),
            None => Word::Silent,
        }
    }

    /// What the config says about `module`, where it wants it quantized.
    pub fn expected(&self, module: &str) -> Option<&Expected> {
        match self.word(module) {
            Word::Quantized(expected) => Some(expected),
            _ => None,
        }
    }

    /// What the config says of each group of modules, in its order.
    pub fn groups(&self) -> impl Iterator<Item = &Expected> {
        self.groups.iter().map(|(_, expected)| expected)
    }

    /// The modules to leave alone, as the config names them.
    pub fn left_alone(&self) -> impl Iterator<Item = &str> {
        self.ignore.iter().map(Pattern::text)
    }

    /// Whether the config says anything about modules that could be checked.
    pub fn is_specific(&self) -> bool {
        !self.groups.is_empty()
    }

    /// Whether a module that no group names is one that the config does not want quantized.
    pub fn is_complete(&self) -> bool {
        self.is_specific() && !self.names_classes
    }

    /// Whether files of this method look like `scheme`; `None` for a method that is not known here.
    pub fn allows(&self, scheme: Scheme, expected: Option<&Expected>) -> Option<bool> {
        let format = expected.and_then(|expected| expected.format.as_deref());
        Some(match self.method.as_deref()? {
            "awq" => scheme == Scheme::AwqGemm,
            "gptq" => matches!(scheme, Scheme::Gptq(_)),
            "fp8" | "fbgemm_fp8" => matches!(scheme, Scheme::Fp8 | Scheme::Fp8ScaleInv),
            "mxfp4" => matches!(scheme, Scheme::Mxfp4 | Scheme::Mxfp4GptOss),
            "bitsandbytes" => matches!(scheme, Scheme::BnbTable { .. } | Scheme::BnbInt8),
            "modelopt" => {
                matches!(scheme, Scheme::Nvfp4ModelOpt | Scheme::Fp8 | Scheme::Mxfp8)
            }
            "compressed-tensors" => match format? {
                "pack-quantized" => scheme == Scheme::PackQuantized,
                "int-quantized" => scheme == Scheme::IntQuantized,
                "float-quantized" => scheme == Scheme::Fp8,
                "naive-quantized" => matches!(scheme, Scheme::IntQuantized | Scheme::Fp8),
                "nvfp4-pack-quantized" => scheme == Scheme::Nvfp4,
                "mxfp4-pack-quantized" => scheme == Scheme::Mxfp4,
                "mxfp8-quantized" => scheme == Scheme::Mxfp8,
                _ => return None,
            },
            _ => return None,
        })
    }
}

/// The JSON in the file at `path`; `None` if there is no such file.
pub(super) fn read_json(path: &Path) -> Result<Option<Value>, CheckpointError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(CheckpointError::io(path)(error)),
    };
    let mut bytes = Vec::new();
    file.take(MAX_CONFIG + 1).read_to_end(&mut bytes).map_err(CheckpointError::io(path))?;
    let problem = |text: String| CheckpointError::NoCheckpoint { path: path.into(), problem: text };
    if bytes.len() as u64 > MAX_CONFIG {
        return Err(problem(format!("longer than {MAX_CONFIG} bytes: this is no config")));
    }
    let json = serde_json::from_slice(&bytes);
    json.map(Some).map_err(|error| problem(format!("not valid JSON: {error}")))
}

/// The part of the file that speaks of quantization.
fn section<'a>(file: &str, json: &'a Value) -> Option<&'a Value> {
    let found = match file {
        "config.json" => ["quantization_config", "compression_config"]
            .into_iter()
            .find_map(|key| json.get(key).or_else(|| json.get("text_config")?.get(key))),
        "hf_quant_config.json" => json.get("quantization"),
        _ => Some(json),
    };
    found.filter(|value| value.is_object())
}

/// `quant_method`, or the tool that writes files of this name.
fn method<'a>(file: &str, quantization: &'a Value) -> Option<&'a str> {
    let said = quantization.get("quant_method").and_then(Value::as_str);
    said.or(match file {
        "quantize_config.json" => Some("gptq"),
        "quant_config.json" => Some("awq"),
        "hf_quant_config.json" => Some("modelopt"),
        _ => None,
    })
}
