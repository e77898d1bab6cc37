//! The course's own model: what a reader's code quantizes, on the course's kernels. Nothing to
//! install.

use crate::engines::capture::Quality;
use crate::engines::meters::{
    Engine, KvCache, Load, Loaded, MeterError, Plan, Told, WRITTEN, rates,
};
use crate::engines::ours::Scorer;
use anyhow::{Context, Result};
use half::f16;
use kit::workspace::fetched_model;
use model::{Cache, Format, LinearError, Model, Quantizer, Tokenizer, greedy, most_likely};
use ndarray::Array2;

/// The formats it is asked for, the original first.
pub const FORMATS: [&str; 5] = ["f32", "w8a16", "w8a8", "w4a16", "w4a8"];

/// The model as it was fetched, and what it predicts of the passage.
pub struct Ours {
    model: Model,
    tokenizer: Tokenizer,
    scorer: Scorer,
    plan: Plan,
}

/// Loads the fetched model and runs it on the passage.
///
/// # Errors
/// If it was not fetched.
pub fn open(plan: &Plan) -> Result<Ours> {
    let path = fetched_model();
    let missing = || format!("{}: `cargo book fetch` gets it", path.display());
    let model = Model::load(&path).with_context(missing)?;
    let tokenizer = Tokenizer::load(&path)?;
    eprintln!("the original predicts the passage");
    let scorer = Scorer::new(&model, &tokenizer, plan.chunk, plan.chunks)?;
    Ok(Ours { model, tokenizer, scorer, plan: plan.clone() })
}

/// Codes of the labs: with `LAB_IMPL=starter`, the reader's.
struct Labs;

impl Quantizer for Labs {
    fn int8(&self, w: &Array2<f32>) -> Result<(Array2<i8>, Vec<f32>), LinearError> {
        let quantized = fake_quant_linear::quantize_per_channel(w)?;
        Ok((quantized.q().clone(), quantized.scales().iter().copied().collect()))
    }

    fn int4(
        &self,
        w: &Array2<f32>,
        group_size: usize,
    ) -> Result<(Array2<i8>, Array2<f16>), LinearError> {
        let quantized = int4_groups::quantize_groups(w, group_size)?;
        Ok((quantized.q().clone(), quantized.scales().clone()))
    }
}

impl Engine for Ours {
    fn open(&mut self, format: &str) -> Result<Box<dyn Loaded + '_>, MeterError> {
        let is_original = format == FORMATS[0];
        let model = match format {
            "w8a16" => self.model.quantized(Format::W8A16, &Labs)?,
            "w8a8" => self.model.quantized(Format::W8A8, &Labs)?,
            "w4a16" => self.model.quantized(Format::W4A16 { group_size: 32 }, &Labs)?,
            "w4a8" => self.model.quantized(Format::W4A8 { group_size: 32 }, &Labs)?,
            _ if is_original => self.model.clone(),
            other => return Err(format!("there is no format `{other}`").into()),
        };
        Ok(Box::new(Variant { ours: self, model, is_original }))
    }
}

/// The model in one format.
struct Variant<'o> {
    ours: &'o Ours,
    model: Model,
    is_original: bool,
}

impl Variant<'_> {
    /// Reads a prompt; the likeliest token behind it.
    fn prefill(&self, prompt: &[u32], cache: &mut Cache) -> Result<u32, MeterError> {
        let hidden = self.model.hidden(prompt, cache, &mut |_, _| ())?;
        Ok(most_likely(self.model.logits_of_last(&hidden)?.row(0)))
    }

    /// Runs all requests of a load together: the prompts one after the other, then a token of each
    /// with every step.
    fn run(&self, load: Load) -> Result<usize, MeterError> {
        let config = self.model.config();
        let room = load.prompt + load.written;
        let (mut caches, mut tokens) = (Vec::new(), Vec::new());
        for index in 0..load.requests {
            let mut cache = Cache::new(config, room)?;
            tokens.push(self.prefill(&load.prompt_of(index, config.vocab_size), &mut cache)?);
            caches.push(cache);
        }
        for _ in 1..load.written {
            tokens = likeliest(&self.model.step(&tokens, &mut caches)?);
        }
        Ok(load.all_written())
    }
}

/// The likeliest token of each row of logits.
fn likeliest(logits: &Array2<f32>) -> Vec<u32> {
    logits.rows().into_iter().map(most_likely).collect()
}

impl Loaded for Variant<'_> {
    fn told(&mut self) -> Told {
        let facts = vec![format!("kernels: {}", kernels::instructions())];
        Told { dtype: Some("float32".into()), facts }
    }

    fn weight_bytes(&mut self) -> Result<Option<u64>, MeterError> {
        Ok(Some(self.model.bytes() as u64))
    }

    fn kv_cache(&mut self) -> Result<KvCache, MeterError> {
        let cache = Cache::new(self.model.config(), self.ours.plan.chunk)?;
        let token_bytes = cache.bytes() as f64 / cache.capacity() as f64;
        Ok(KvCache { token_bytes: Some(token_bytes), blocks: None })
    }

    fn read(&mut self, tokens: usize) -> Result<Vec<f64>, MeterError> {
        let load = Load { requests: 1, prompt: tokens, written: 1 };
        rates(&self.ours.plan, || self.run(load).map(|_| tokens))
    }

    fn serve(&mut self, load: Load) -> Result<Vec<f64>, MeterError> {
        rates(&self.ours.plan, || self.run(load))
    }

    fn sanity(&mut self, prompt: &str) -> Result<(String, Quality), MeterError> {
        let tokenizer = &self.ours.tokenizer;
        let prompt = tokenizer.encode(prompt)?;
        let tokens = greedy(&self.model, &prompt, WRITTEN)?;
        let answer = tokenizer.decode(tokens.get(prompt.len()..).unwrap_or(&[]))?;
        let quality = self.ours.scorer.score(&self.model, self.is_original, &mut |_| ())?;
        Ok((answer, quality))
    }
}
