//! The results of transformers for the same files, made by `golden/make_golden.py`.

use std::path::{Path, PathBuf};

use model::{Cache, Model, most_likely};
use ndarray::Array2;
use serde::Deserialize;

/// The relative error that the course allows between two engines' float32 logits.
pub const ALLOWED: f64 = 1e-3;

#[derive(Deserialize)]
pub struct Run {
    pub ids: Vec<u32>,
    pub argmax: Vec<u32>,
    positions: Vec<usize>,
    columns: Vec<usize>,
    logits: Vec<Vec<f32>>,
    absmax: f32,
}

#[derive(Deserialize)]
pub struct Perplexity {
    pub chunk: usize,
    pub bos: Option<u32>,
    pub scored: usize,
    pub perplexity: f64,
}

#[derive(Deserialize)]
pub struct Case {
    pub text: String,
    pub ids: Vec<u32>,
    pub decoded: String,
}

#[derive(Deserialize)]
pub struct Tiny {
    pub tied: Run,
    pub untied: Run,
    pub greedy: Vec<u32>,
    pub passage_ids: Vec<u32>,
    pub perplexity: Vec<Perplexity>,
    pub tokenizer: Vec<Case>,
}

#[derive(Deserialize)]
pub struct SmolLm2 {
    pub runs: Vec<Run>,
    pub greedy: Vec<u32>,
    pub greedy_text: String,
    pub passage_ids: Vec<u32>,
    pub perplexity: Vec<Perplexity>,
    pub alice_tokens: usize,
    pub alice_start: Vec<Perplexity>,
    pub tokenizer: Vec<Case>,
}

pub fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(name)
}

fn read<T: serde::de::DeserializeOwned>(name: &str) -> T {
    let text = std::fs::read_to_string(path(name)).expect("the golden file is committed");
    serde_json::from_str(&text).expect("the golden file is as make_golden.py writes it")
}

pub fn tiny() -> Tiny {
    read("tiny.json")
}

pub fn smollm2() -> SmolLm2 {
    read("smollm2.json")
}

pub fn load(name: &str) -> Model {
    Model::load(path(name)).expect("the tiny models load")
}

pub fn logits(model: &Model, ids: &[u32]) -> Array2<f32> {
    let mut cache = Cache::new(model.config(), ids.len()).expect("they fit the model");
    model.forward(ids, &mut cache).expect("they are in the vocabulary")
}

/// The largest difference, relative to the largest value.
pub fn relative(found: &Array2<f32>, expected: &Array2<f32>) -> f64 {
    assert_eq!(found.dim(), expected.dim());
    let difference = (found - expected).fold(0.0, |max: f32, x| max.max(x.abs()));
    let largest = expected.fold(0.0, |max: f32, x| max.max(x.abs()));
    assert!(difference.is_finite() && largest > 0.0);
    f64::from(difference) / f64::from(largest)
}

impl Run {
    /// The largest error of the golden logits, relative to the largest logit.
    pub fn error(&self, logits: &Array2<f32>) -> f64 {
        let mut worst = 0.0_f32;
        for (&position, row) in self.positions.iter().zip(&self.logits) {
            for (&column, golden) in self.columns.iter().zip(row) {
                let error = (logits[(position, column)] - golden).abs();
                assert!(error.is_finite(), "logit {column} at position {position}");
                worst = worst.max(error);
            }
        }
        f64::from(worst) / f64::from(self.absmax)
    }

    /// Fails unless the logits are the golden ones.
    pub fn check(&self, what: &str, logits: &Array2<f32>) {
        let error = self.error(logits);
        println!("{what}: relative error of the logits {error:.2e}, allowed {ALLOWED:.0e}");
        assert!(error <= ALLOWED, "{what}: the logits are {error:.2e} off, allowed {ALLOWED:.0e}");
        assert_eq!(argmax(logits), self.argmax, "{what}: another token is the likeliest somewhere");
    }
}

pub fn argmax(logits: &Array2<f32>) -> Vec<u32> {
    logits.rows().into_iter().map(most_likely).collect()
}
