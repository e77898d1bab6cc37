//! vLLM, asked through its server: started for each checkpoint, or one that runs already.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Error, Result, anyhow};
use model::{Config, Convention, Tokenizer, passage};

use super::served_score::{Predictions, perplexity};
use super::{Client, Options, Server};
use crate::engines::EngineError;
use crate::engines::asked::kv_bytes;
use crate::engines::backend::{Backend, Loaded};
use crate::engines::checkpoints::{Checkpoint, fetched, weight_bytes};
use crate::engines::engine_meters::{KvCache, OwnMemory, Quality, Run};
use crate::engines::plan::{Load, Plan};
use crate::engines::resident::Resident;

/// How long a server that somebody else started may take until it is ready.
const PATIENCE: Duration = Duration::from_secs(600);
/// What vLLM says where a method of quantization has no kernel for `float32`.
const NO_FLOAT32: &str = "is not supported for quantization method";
/// What is taken then.
const INSTEAD: &str = "bfloat16";

/// vLLM.
#[derive(Debug)]
pub struct Vllm {
    /// Where the server is.
    pub server: Where,
    /// The tokens of the passage, as many as are scored.
    pub tokens: Vec<u32>,
    /// How they are cut.
    pub convention: Convention,
    /// Tokens in the vocabulary.
    pub vocabulary: usize,
    /// What every checkpoint is asked.
    pub plan: Plan,
    /// What the original predicts of the passage.
    pub base: Option<Predictions>,
}

/// Where the server is.
#[derive(Clone, Debug)]
pub enum Where {
    /// Started for each checkpoint: the options but for the model and the cache, and the cache's memory.
    Start(Box<Options>, KvMemory),
    /// A server that runs already, at this address.
    Attach(String),
}

/// The memory of the KV cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KvMemory {
    /// The memory that the weights leave on the plan's device.
    Rest,
    /// So many GiB, whatever the weights take.
    Gib(u32),
    /// vLLM asks the device, as on a GPU.
    OfDevice,
}

impl Vllm {
    /// Cuts the passage with the tokenizer of `original`, without which the fetched model's is taken.
    ///
    /// # Errors
    /// If there is no tokenizer.
    pub fn new(server: Where, original: Option<&Path>, plan: &Plan) -> Result<Self> {
        let path = original.map_or_else(fetched, |path| Ok(path.into()))?;
        let tokenizer = Tokenizer::load(&path)?;
        let mut tokens = tokenizer.encode(passage::ALICE)?;
        let convention = plan.cut(&mut tokens, tokenizer.bos_in_front());
        let vocabulary = Config::load(&path)?.vocab_size;
        Ok(Self { server, tokens, convention, vocabulary, plan: plan.clone(), base: None })
    }

    /// How a server is started for a checkpoint with weights of `weight_bytes`: as long a context as
    /// the plan needs, and no prefix cache.
    ///
    /// # Errors
    /// If the plan's device has no room for the weights.
    pub fn options(
        &self,
        options: &Options,
        memory: KvMemory,
        model: &Path,
        weight_bytes: u64,
    ) -> Result<Options> {
        let plan = &self.plan;
        let mut options = Options { model: model.into(), ..options.clone() };
        options.max_model_len = plan.longest().next_multiple_of(128);
        options.more.push("--no-enable-prefix-caching".into());
        options.more.extend(plan.kv_cache.iter().map(|kv| format!("--kv-cache-dtype={kv}")));
        let (kv_gib, option) = match memory {
            KvMemory::Gib(gib) => (Some(gib), None),
            KvMemory::Rest => {
                let bytes = kv_bytes(plan, weight_bytes)?;
                (None, Some(format!("--kv-cache-memory-bytes={bytes}")))
            }
            KvMemory::OfDevice => {
                (None, Some(format!("--gpu-memory-utilization={}", plan.utilization)))
            }
        };
        options.kv_gib = kv_gib;
        options.more.extend(option);
        Ok(options)
    }

    /// Starts a server. Where a method has no kernel for `float32`, `bfloat16` is taken, and the line
    /// that says so is kept.
    fn start(&self, options: &mut Options, run: &mut Run) -> Result<Server, EngineError> {
        run.dtype = Some(options.dtype.clone());
        let server = Server::start(options);
        let Err(EngineError::Died { tail, .. }) = &server else { return server };
        let refusal = tail.lines().find(|line| line.contains(NO_FLOAT32));
        let Some(refusal) = refusal.filter(|_| options.dtype == "float32") else { return server };
        run.log.push(refusal.trim().chars().take(300).collect());
        options.dtype = INSTEAD.into();
        run.dtype = Some(INSTEAD.into());
        Server::start(options)
    }
}

impl Backend for Vllm {
    fn load(
        &mut self,
        checkpoint: &Checkpoint,
        is_original: bool,
        run: &mut Run,
    ) -> Result<Box<dyn Loaded + '_>> {
        let (server, weight_bytes) = match &self.server {
            Where::Attach(url) => (Server::attach(url, PATIENCE)?, None),
            Where::Start(options, memory) => {
                let path: PathBuf = checkpoint.path()?.into();
                let bytes = weight_bytes(&path)?;
                let mut options = self.options(options, *memory, &path, bytes)?;
                options.log.set_file_name(format!("vllm-{}.log", checkpoint.name));
                (self.start(&mut options, run)?, Some(bytes))
            }
        };
        run.load_s = server.load_time().map(|time| time.as_secs_f64());
        Ok(Box::new(Served { engine: self, server, weight_bytes, is_original }))
    }
}

/// A server that answers; it is stopped when this value goes, if it was started here.
struct Served<'e> {
    engine: &'e mut Vllm,
    server: Server,
    weight_bytes: Option<u64>,
    is_original: bool,
}

impl Served<'_> {
    /// What went wrong, and what the log says of it.
    fn explained(&self, error: impl Into<Error>) -> Error {
        anyhow!("{}", format!("{:#}\n{}", error.into(), self.server.complaint()).trim_end())
    }
}

impl Loaded for Served<'_> {
    fn complete(&mut self, prompt: &str, tokens: usize) -> Result<String> {
        let answer = self.server.client().complete(prompt, tokens);
        Ok(answer.map_err(|error| self.explained(error))?.text)
    }

    fn quality(&mut self, say: &mut dyn FnMut(&str)) -> Result<Quality> {
        let mut progress = |score: &model::Score, chunks: usize| {
            say(&format!("chunk {} of {chunks}: {:.4}", score.chunks, score.perplexity()));
        };
        let Vllm { tokens, convention, .. } = &*self.engine;
        let scored = perplexity(self.server.client(), tokens, *convention, &mut progress);
        let scored = scored.map_err(|error| self.explained(error))?;
        let quality = Quality {
            perplexity: scored.score.perplexity(),
            standard_error: scored.score.standard_error(),
            chunks: scored.score.chunks,
            top1_agreement: self.engine.base.as_ref().and_then(|base| scored.top1_agreement(base)),
            kl_divergence: None,
        };
        if self.is_original {
            self.engine.base = Some(scored);
        }
        Ok(quality)
    }

    fn weight_bytes(&mut self) -> Result<Option<u64>> {
        Ok(self.weight_bytes)
    }

    fn kv_cache(&mut self) -> Result<KvCache> {
        self.server.client().kv_cache().map_err(|error| self.explained(error))
    }

    fn prefill(&mut self, load: Load) -> Result<Vec<f64>> {
        let (client, vocabulary) = (self.server.client(), self.engine.vocabulary);
        let mut turn = 0;
        let read = self.engine.plan.rates(|| {
            // Another prompt each time, which is in no cache.
            turn += 1;
            client.generate(&load.prompt_of(turn, vocabulary), load.generated)?;
            Ok(load.prompt)
        });
        read.map_err(|error| self.explained(error))
    }

    fn decode(&mut self, load: Load) -> Result<Vec<f64>> {
        let (client, vocabulary) = (self.server.client(), self.engine.vocabulary);
        let served = self.engine.plan.rates(|| at_once(client, load, vocabulary));
        served.map_err(|error| self.explained(error))
    }

    fn own_memory(&mut self) -> Option<OwnMemory> {
        let Resident { bytes, processes } = self.server.resident()?;
        let resident_bytes = Some(bytes);
        Some(OwnMemory { resident_bytes, processes: Some(processes), ..OwnMemory::default() })
    }

    fn tell(&mut self, run: &mut Run) {
        run.log.extend(self.server.facts().unwrap_or_default());
    }
}

/// Sends all requests of a load at once and waits for all; the tokens that were generated.
fn at_once(client: &Client, load: Load, vocabulary: usize) -> Result<usize> {
    let request = |index| {
        let prompt = load.prompt_of(index, vocabulary);
        client.generate(&prompt, load.generated).map(|answer| answer.completion_tokens)
    };
    let request = &request;
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..load.requests).map(|index| scope.spawn(move || request(index))).collect();
        threads.into_iter().try_fold(0, |sum, thread| {
            let generated = thread.join().map_err(|_| anyhow!("a request gave no answer"))?;
            Ok(sum + generated?)
        })
    })
}
