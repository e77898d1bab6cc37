//! Finds the file of a quantization config, and its section in the file.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde_json::Value;

use super::json_fields::text;
use super::quant_config::QuantConfig;
use crate::checkpoint::error::CheckpointError;

/// The longest config that is read, in bytes; real ones have some kilobytes.
const MAX_CONFIG: u64 = 16 << 20;

/// The files that may hold the config. The first that speaks of quantization counts.
const FILES: [&str; 4] =
    ["config.json", "quantize_config.json", "quant_config.json", "hf_quant_config.json"];

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
        let method = method(file, quantization).map(str::to_owned);
        let mut config = Self { file: file.into(), method, ..Self::default() };
        config.read_method(quantization);
        Some(config)
    }
}

/// The JSON in the file at `path`; `None` if there is no such file.
pub(in crate::checkpoint) fn read_json(path: &Path) -> Result<Option<Value>, CheckpointError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(CheckpointError::io(path)(error)),
    };
    let mut bytes = Vec::new();
    // One byte more than the limit tells a file that is too long from a file that just fits.
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
        // `compression_config` is the old name of compressed-tensors, and multimodal models nest the config
        // of the language model.
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
    text(quantization, "quant_method").or(match file {
        "quantize_config.json" => Some("gptq"),
        "quant_config.json" => Some("awq"),
        "hf_quant_config.json" => Some("modelopt"),
        _ => None,
    })
}
