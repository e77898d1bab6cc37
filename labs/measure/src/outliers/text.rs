//! What is scored, and what scales are chosen on.

use anyhow::{Result, ensure};
use model::{Convention, Tokenizer, passage};

/// How the text that scales are chosen on is named in a capture.
pub const CALIBRATION_NAME: &str = "the Apache License 2.0";
/// How the passage is named in a capture.
pub const PASSAGE_NAME: &str = "Alice's Adventures in Wonderland, chapters I to IV";
/// llama.cpp's convention; SmolLM2 puts no BOS in front.
pub const CONVENTION: Convention = Convention { chunk: 512, bos: None };
/// Chunks of a quick run.
pub const QUICK_CHUNKS: usize = 2;

/// Tokens in chunks of 512.
pub struct Text {
    /// What is scored.
    pub passage: Vec<Vec<u32>>,
    /// What scales are chosen on.
    pub calibration: Vec<Vec<u32>>,
}

impl Text {
    /// Cuts both texts; no more than `limit` chunks are scored.
    ///
    /// # Errors
    /// If the tokenizer fails, or a text has no whole chunk.
    pub fn new(tokenizer: &Tokenizer, limit: usize) -> Result<Self> {
        let chunks = |text: &str| -> Result<Vec<Vec<u32>>> {
            let tokens = tokenizer.encode(text)?;
            Ok(CONVENTION.chunks(&tokens)?.into_iter().map(<[u32]>::to_vec).collect())
        };
        let mut passage = chunks(passage::ALICE)?;
        passage.truncate(limit);
        let calibration = chunks(passage::CALIBRATION)?;
        ensure!(!passage.is_empty() && !calibration.is_empty(), "a text has no whole chunk");
        Ok(Self { passage, calibration })
    }
}
