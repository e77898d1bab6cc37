//! The fetched model on the passage: what a changed model is compared with.

use anyhow::{Context, Result, ensure};
use kit::workspace::fetched_model;
use model::{Convention, Model, Reference, Score, Tokenizer, Weights, passage};
use ndarray::Array2;
use serde::{Deserialize, Serialize};

/// Of SmolLM2, which puts no BOS in front.
const CONVENTION: Convention = Convention { chunk: quantizer::CHUNK, bos: None };

/// What was run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Setup {
    /// The model.
    pub model: String,
    /// What was scored.
    pub passage: String,
    /// Tokens of a chunk, of the passage and of a calibration text.
    pub chunk: usize,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            model: "SmolLM2-135M-Instruct.Q4_1.gguf".into(),
            passage: "labs/model/passage/alice.txt".into(),
            chunk: CONVENTION.chunk,
        }
    }
}

/// The quality of a model beside that of the model as it was fetched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Quality {
    /// On the passage.
    pub perplexity: f64,
    /// Its standard error.
    pub standard_error: f64,
    /// From the predictions of the model as it was fetched, in nats a token.
    pub kl_divergence: f64,
    /// The share of tokens with the same most likely next token.
    pub top1_agreement: f64,
}

impl Quality {
    /// What is wrong with values that no model has.
    pub fn problem(&self) -> Option<&'static str> {
        let Self { perplexity, kl_divergence, top1_agreement, .. } = *self;
        if perplexity.is_nan() || perplexity < 1.0 || kl_divergence.is_nan() {
            return Some("has a quality that is none");
        }
        let is_share = (0.0..=1.0).contains(&top1_agreement);
        (!is_share).then_some("agrees on a share outside 0 to 1")
    }
}

/// The model, the passage, and what the model predicts on the passage.
pub struct Subject {
    convention: Convention,
    /// The file.
    pub weights: Weights,
    /// The tokenizer of the file.
    pub tokenizer: Tokenizer,
    passage: Vec<u32>,
    reference: Vec<Reference>,
}

impl Subject {
    /// Reads the fetched model and runs the passage.
    ///
    /// # Errors
    /// If the model was not fetched, or cannot be run.
    pub fn load() -> Result<Self> {
        Self::load_in_chunks(CONVENTION.chunk)
    }

    /// As [`Subject::load`], with the passage in chunks of so many tokens.
    ///
    /// # Errors
    /// As [`Subject::load`].
    pub fn load_in_chunks(chunk: usize) -> Result<Self> {
        let convention = Convention { chunk, ..CONVENTION };
        let path = fetched_model();
        ensure!(path.exists(), "there is no {}: run `cargo book fetch`", path.display());
        let (weights, tokenizer) = (Weights::open(&path)?, Tokenizer::load(&path)?);
        let passage = tokenizer.encode(passage::ALICE)?;
        let model = Model::load(&path)?;
        println!("scoring the model as it was fetched");
        let new = |logits, _: &[u32]| Ok(Reference::new(logits));
        let reference = logits(&model, convention, &passage, new)?;
        Ok(Self { convention, weights, tokenizer, passage, reference })
    }

    /// How a text is cut and scored.
    pub fn convention(&self) -> Convention {
        self.convention
    }

    /// The passage in tokens.
    pub fn passage(&self) -> &[u32] {
        &self.passage
    }

    /// The first chunks alone, where a number shall come quickly.
    #[must_use]
    pub fn first(mut self, chunks: usize) -> Self {
        self.passage.truncate(chunks * self.convention.chunk);
        self.reference.truncate(chunks);
        self
    }

    /// Runs the passage through a changed model.
    ///
    /// # Errors
    /// If the model cannot be run.
    pub fn score(&self, model: &Model) -> Result<Quality> {
        let (mut score, mut close) = (Score::default(), model::Closeness::default());
        let mut references = self.reference.iter();
        logits(model, self.convention, &self.passage, |logits, chunk| {
            score.add_chunk(&logits, chunk)?;
            let reference = references.next().context("the reference has fewer chunks")?;
            Ok(close.add(reference, &logits)?)
        })?;
        Ok(Quality {
            perplexity: score.perplexity(),
            standard_error: score.standard_error(),
            kl_divergence: close.mean_kl_divergence(),
            top1_agreement: close.top1_agreement(),
        })
    }
}

/// What `of` makes of the logits of each chunk of the passage.
fn logits<T>(
    model: &Model,
    convention: Convention,
    passage: &[u32],
    mut of: impl FnMut(Array2<f32>, &[u32]) -> Result<T>,
) -> Result<Vec<T>> {
    let mut cache = model::Cache::new(model.config(), convention.chunk)?;
    let chunks = convention.chunks(passage)?.into_iter();
    chunks.map(|chunk| of(convention.logits(model, chunk, &mut cache)?, chunk)).collect()
}
