//! This course's own model beside the engines: the same prompts, the same passage, no server.

use std::time::Instant;

use crate::engines::capture::{Checkpoint, Questions};
use crate::engines::checkpoints::Named;
use crate::engines::ours::{Scorer, load, path_of};
use anyhow::Result;
use model::{Tokenizer, greedy};

/// The tokenizer, and what the original predicts of the passage.
pub struct Ours {
    scorer: Scorer,
    tokenizer: Tokenizer,
}

impl Ours {
    /// Loads the original, and runs it on the passage.
    ///
    /// # Errors
    /// If it is no model that the course runs.
    pub fn new(original: &Named, questions: &Questions) -> Result<Self> {
        let path = path_of(original)?;
        let tokenizer = Tokenizer::load(&path)?;
        let (chunk, chunks) = (questions.chunk, questions.chunks);
        let scorer = Scorer::new(&load(&path)?, &tokenizer, chunk, chunks)?;
        Ok(Self { scorer, tokenizer })
    }

    /// Asks and scores one checkpoint; what stops it is written into it.
    pub fn check(
        &self,
        named: &Named,
        questions: &Questions,
        is_original: bool,
        found: &mut Checkpoint,
    ) {
        if let Err(error) = self.ask(named, questions, is_original, found) {
            found.error = Some(format!("{error:#}"));
        }
    }

    fn ask(
        &self,
        named: &Named,
        questions: &Questions,
        is_original: bool,
        found: &mut Checkpoint,
    ) -> Result<()> {
        let start = Instant::now();
        let model = load(&path_of(named)?)?;
        found.load_s = Some(start.elapsed().as_secs_f64());
        found.dtype = Some("float32".into());
        for prompt in &questions.prompts {
            let prompt = self.tokenizer.encode(prompt)?;
            let tokens = greedy(&model, &prompt, questions.written_tokens)?;
            found.answers.push(self.tokenizer.decode(tokens.get(prompt.len()..).unwrap_or(&[]))?);
        }
        let mut say = |score: &model::Score| {
            eprintln!("  chunk {}: {:.4}", score.chunks, score.perplexity());
        };
        found.quality = Some(self.scorer.score(&model, is_original, &mut say)?);
        Ok(())
    }
}
