//! The arguments of `cargo book quantize`.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::builder::{PossibleValue, PossibleValuesParser};
use formats::bytes::Float;
use formats::registry::{self, Granularity, StorageFormat};
use kit::workspace::{fetched_model, target};

use crate::existing;

/// What to write.
#[derive(clap::Args)]
pub struct Args {
    /// The format.
    #[arg(long, value_parser = PossibleValuesParser::new(formats()))]
    pub scheme: String,
    /// Weights of a row that share a scale, where the format leaves that open.
    #[arg(long, default_value_t = 64, help = group_size_help())]
    pub group_size: u64,
    /// Fold SmoothQuant in, with this alpha: for w8a8.
    #[arg(long, value_name = "ALPHA")]
    pub smooth: Option<f32>,
    /// Calibrate on this text instead of the course's: a licence, which no meter scores.
    #[arg(long, value_name = "FILE", requires = "smooth", value_parser = existing)]
    pub calibration: Option<PathBuf>,
    /// How codes are chosen: to the nearest, or with lab 03's search for the scale of each group.
    #[arg(long, value_enum, default_value_t = Chosen::Nearest)]
    pub rounding: Chosen,
    /// A Hugging Face folder or a GGUF file; without it, the model that `cargo book fetch` got.
    #[arg(long, value_name = "DIR|GGUF")]
    pub input: Option<PathBuf>,
    /// The folder to make; without it, target/checkpoints/SCHEME (SCHEME-search).
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// What is not quantized is stored as this: f16, bf16 or f32.
    #[arg(long, default_value = "f16")]
    pub dtype: String,
    /// Bytes of data in a file of weights, at most [default: 5000000000].
    #[arg(long, value_name = "BYTES")]
    pub shard_bytes: Option<u64>,
    /// Leave linear layers that cannot be divided in floats, instead of refusing.
    #[arg(long)]
    pub leave_out: bool,
    /// Take an input that is quantized already. (The fetched model is, and is taken.)
    #[arg(long)]
    pub requantize: bool,
    /// Measure the perplexity of the result on the course's passage.
    #[arg(long)]
    pub perplexity: bool,
}

/// The roundings of the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Chosen {
    /// The nearest code.
    Nearest,
    /// Lab 03's search for the scale of each group.
    Search,
}

impl Chosen {
    /// What the default folder has behind the name of the format, so that two roundings can be compared.
    fn suffix(self) -> &'static str {
        match self {
            Self::Nearest => "",
            Self::Search => "-search",
        }
    }
}

impl Args {
    /// The format.
    ///
    /// # Errors
    /// If there is no such format or group size.
    pub fn format(&self) -> Result<StorageFormat> {
        Ok(StorageFormat::named(&self.scheme, self.group_size)?)
    }

    /// The type of what is not quantized.
    ///
    /// # Errors
    /// If there is no such type.
    pub fn float(&self) -> Result<Float> {
        float(&self.dtype)
    }

    /// The model that is quantized.
    pub fn input(&self) -> PathBuf {
        self.input.clone().unwrap_or_else(fetched_model)
    }

    /// The folder to make.
    pub fn out(&self) -> PathBuf {
        let name = || format!("{}{}", self.scheme, self.rounding.suffix());
        self.out.clone().unwrap_or_else(|| target("checkpoints").join(name()))
    }

    /// Checks names, the input and the target.
    pub(crate) fn check(&self) -> Result<()> {
        let format = self.format()?;
        self.float()?;
        ensure!(
            self.smooth.is_none() || format.takes_a_transform(),
            "--smooth is for w8a8, where activations are quantized, not {format}"
        );
        let (input, out) = (self.input(), self.out());
        ensure!(
            input.exists(),
            "{} is not there: run `cargo book fetch`, or name a model with --input",
            input.display()
        );
        ensure!(
            out.symlink_metadata().is_err(),
            "{} is there already: remove it, or write elsewhere with --out",
            out.display()
        );
        Ok(())
    }
}

/// The formats with their lines of help.
fn formats() -> [PossibleValue; registry::ALL.len()] {
    registry::ALL.map(|known| PossibleValue::new(known.name).help(known.about))
}

/// The help of `--group-size`, which names the formats whose group size is chosen.
fn group_size_help() -> String {
    let chosen = |known: &&registry::Description| known.granularity == Granularity::ChosenGroup;
    let names: Vec<_> = registry::ALL.into_iter().filter(chosen).map(|known| known.name).collect();
    format!(
        "Weights of a row that share a scale, for {}. (128 does not divide SmolLM2's 576.)",
        names.join(", ")
    )
}

fn float(name: &str) -> Result<Float> {
    Ok(match name {
        "f16" | "float16" => Float::F16,
        "bf16" | "bfloat16" => Float::Bf16,
        "f32" | "float32" => Float::F32,
        other => anyhow::bail!("there is no dtype `{other}`; there are: f16, bf16, f32"),
    })
}
