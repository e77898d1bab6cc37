//! The three meters of vLLM, through its server.

use std::time::Duration;

use super::take::{kv_bytes, rates};
use super::{Engine, KvCache, Load, Loaded, MeterError, Plan, Told, WRITTEN};
use crate::engines::EngineError;
use crate::engines::capture::Quality;
use crate::engines::score::{Cut, Scored, perplexity};
use crate::engines::vllm::{Client, Options, Server};

/// How long a server that somebody else started may take until it is ready.
const PATIENCE: Duration = Duration::from_secs(600);

/// vLLM, with a checkpoint for each format.
#[derive(Debug)]
pub struct Vllm {
    /// The formats and what serves them; predictions are compared with those of the first.
    pub sources: Vec<(String, Source)>,
    /// The tokens of the passage that is scored.
    pub tokens: Vec<u32>,
    /// The token that stands in place of the first of each chunk, if any.
    pub bos: Option<u32>,
    /// Tokens in the vocabulary.
    pub vocabulary: usize,
    /// What every format does.
    pub plan: Plan,
    /// What the first format predicts of the passage.
    pub base: Option<Scored>,
}

/// What serves a format.
#[derive(Clone, Debug)]
pub enum Source {
    /// A server that is started for it, and its weights, bytes.
    Start(Box<Options>, u64),
    /// A server that runs already, at this address.
    Attach(String),
}

impl Vllm {
    /// How a server is started for a checkpoint with weights of `weight_bytes`: as long a context as
    /// the plan needs, no prefix cache, and for the KV cache what the plan's device leaves. With
    /// `own_memory` vLLM asks the device instead.
    ///
    /// # Errors
    /// If the plan's device is none.
    pub fn options(
        mut options: Options,
        plan: &Plan,
        weight_bytes: u64,
        own_memory: bool,
    ) -> Result<Source, MeterError> {
        options.kv_gib = None;
        options.max_model_len = plan.longest().next_multiple_of(128);
        options.more.push("--no-enable-prefix-caching".into());
        if own_memory {
            options.more.push(format!("--gpu-memory-utilization={}", plan.utilization));
        } else {
            options.more.push(format!("--kv-cache-memory-bytes={}", kv_bytes(plan, weight_bytes)?));
        }
        Ok(Source::Start(Box::new(options), weight_bytes))
    }
}

impl Engine for Vllm {
    fn open(&mut self, format: &str) -> Result<Box<dyn Loaded + '_>, MeterError> {
        let found = self.sources.iter().find(|(name, _)| name == format);
        let source =
            found.ok_or_else(|| format!("there is no checkpoint for `{format}`"))?.1.clone();
        let is_first = self.sources.first().is_some_and(|(name, _)| name == format);
        let (server, weight_bytes, dtype) = match source {
            Source::Start(options, bytes) => {
                (Server::start(&options)?, Some(bytes), Some(options.dtype.clone()))
            }
            Source::Attach(url) => (Server::attach(&url, PATIENCE)?, None, None),
        };
        Ok(Box::new(Served { engine: self, server, weight_bytes, dtype, is_first }))
    }
}

/// A server that answers; it is stopped when this value goes, if it was started here.
struct Served<'e> {
    engine: &'e mut Vllm,
    server: Server,
    weight_bytes: Option<u64>,
    dtype: Option<String>,
    is_first: bool,
}

impl Served<'_> {
    /// What went wrong, and what the log says of it.
    fn explained(&self, error: EngineError) -> MeterError {
        format!("{error}\n{}", self.server.complaint()).trim_end().to_string().into()
    }
}

impl Loaded for Served<'_> {
    fn told(&mut self) -> Told {
        Told { dtype: self.dtype.clone(), facts: self.server.facts().unwrap_or_default() }
    }

    fn weight_bytes(&mut self) -> Result<Option<u64>, MeterError> {
        Ok(self.weight_bytes)
    }

    fn kv_cache(&mut self) -> Result<KvCache, MeterError> {
        let config = self.server.client().cache_config()?;
        Ok(KvCache { token_bytes: None, blocks: Some((config.block_size, config.num_blocks)) })
    }

    fn read(&mut self, tokens: usize) -> Result<Vec<f64>, MeterError> {
        let load = Load { requests: 1, prompt: tokens, written: 1 };
        let (client, vocabulary) = (self.server.client(), self.engine.vocabulary);
        let mut turn = 0;
        let read = rates(&self.engine.plan, || {
            turn += 1;
            client.write(&load.prompt_of(turn, vocabulary), 1)?;
            Ok(tokens)
        });
        read.map_err(|error| format!("{error}\n{}", self.server.complaint()).into())
    }

    fn serve(&mut self, load: Load) -> Result<Vec<f64>, MeterError> {
        let (client, vocabulary) = (self.server.client(), self.engine.vocabulary);
        let served = rates(&self.engine.plan, || at_once(client, load, vocabulary));
        let explained = |error| format!("{error}\n{}", self.server.complaint()).into();
        served.map_err(explained)
    }

    fn sanity(&mut self, prompt: &str) -> Result<(String, Quality), MeterError> {
        let client = self.server.client();
        let answer = client.complete(prompt, WRITTEN).map_err(|error| self.explained(error))?;
        let Plan { chunk, chunks, .. } = self.engine.plan;
        let cut = Cut { chunk, bos: self.engine.bos, chunks };
        let scored = perplexity(client, &self.engine.tokens, cut, &mut |_, _| ());
        let scored = scored.map_err(|error| self.explained(error))?;
        let quality = Quality {
            perplexity: scored.perplexity(),
            standard_error: scored.standard_error(),
            chunks: scored.chunks,
            same_top: self.engine.base.as_ref().and_then(|base| scored.agreement(base)),
            mean_kl: None,
        };
        if self.is_first {
            self.engine.base = Some(scored);
        }
        Ok((answer.text, quality))
    }
}

/// Sends all requests of a load at once and waits for all; the tokens that were written.
fn at_once(client: &Client, load: Load, vocabulary: usize) -> Result<usize, MeterError> {
    let request = |index| {
        let prompt = load.prompt_of(index, vocabulary);
        client.write(&prompt, load.written).map(|answer| answer.completion_tokens)
    };
    let request = &request;
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..load.requests).map(|index| scope.spawn(move || request(index))).collect();
        threads.into_iter().try_fold(0, |sum, thread| {
            let written = thread.join().map_err(|_| "a request ended without an answer")?;
            Ok(sum + written?)
        })
    })
}
