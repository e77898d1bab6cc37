//! The arguments of `cargo book imatrix`.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use kit::workspace::{fetched_model, target};

use crate::existing;

/// What to run on what.
#[derive(clap::Args)]
pub struct Args {
    /// A Hugging Face folder or a GGUF file; without it, the model that `cargo book fetch` got.
    #[arg(long, value_name = "DIR|GGUF")]
    pub input: Option<PathBuf>,
    /// The text; without it, Paradise Lost. The passage that is scored is refused.
    #[arg(long, value_name = "FILE", value_parser = existing)]
    pub calibration: Option<PathBuf>,
    /// Chunks of 512 tokens, from the start of the text.
    #[arg(long, default_value_t = 32)]
    pub chunks: usize,
    /// The file to make.
    #[arg(long, value_name = "FILE.gguf", default_value_os_t = target("checkpoints/imatrix.gguf"))]
    pub out: PathBuf,
}

impl Args {
    /// The model.
    pub fn input(&self) -> PathBuf {
        self.input.clone().unwrap_or_else(fetched_model)
    }

    /// Checks the input and the target.
    pub(crate) fn check(&self) -> Result<()> {
        let (input, out) = (self.input(), &self.out);
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
        ensure!(self.chunks > 0, "--chunks 0 would run nothing: take 1 or more");
        Ok(())
    }
}
