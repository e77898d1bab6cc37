//! The arguments of the commands that let a checkpoint write text.

use std::path::PathBuf;

use crate::existing;

/// Arguments of `cargo book generate`.
#[derive(clap::Args)]
pub struct Generate {
    /// The checkpoint: a folder of safetensors, quantized or not, or GGUF.
    #[arg(value_name = "DIR|GGUF", value_parser = existing)]
    pub checkpoint: PathBuf,
    /// The text that is continued.
    #[arg(allow_hyphen_values = true)]
    pub prompt: String,
    /// How it is continued.
    #[command(flatten)]
    pub sampling: Sampling,
}

/// Arguments of `cargo book chat`.
#[derive(clap::Args)]
pub struct Chat {
    /// The checkpoint: a folder of safetensors, quantized or not, or GGUF.
    #[arg(value_name = "DIR|GGUF", value_parser = existing)]
    pub checkpoint: PathBuf,
    /// How answers are written.
    #[command(flatten)]
    pub sampling: Sampling,
}

/// How tokens are chosen.
#[derive(clap::Args)]
pub struct Sampling {
    /// New tokens, at most; of an answer in a chat.
    #[arg(long, default_value_t = 100)]
    pub tokens: usize,
    /// 0 takes the most likely token each time; 1 draws from what the model predicts.
    #[arg(long, default_value_t = 0.0, value_parser = temperature, allow_hyphen_values = true)]
    pub temperature: f64,
    /// The seed of the draws.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// How keys and values are stored: f32, int8, int4, fp8, kivi4, kivi2 or another that the error of a
    /// wrong name lists [default: f32].
    #[arg(long, value_name = "FORMAT")]
    pub kv_cache: Option<String>,
}

fn temperature(given: &str) -> Result<f64, String> {
    let number = given.parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0);
    number.ok_or_else(|| "a temperature is a number, 0 or more".into())
}
