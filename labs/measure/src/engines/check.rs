//! What `serve-check` asks an engine of one checkpoint.
//!
//! A checkpoint that an engine refuses is a result, not a mistake: it is recorded in the engine's
//! own words, with all that was read before.

use std::path::Path;

use crate::capture::Spread;

use crate::engines::EngineError;
use crate::engines::capture::{Checkpoint, Quality, Questions, Rate};
use crate::engines::llama_cpp::{Logits, Tools};
use crate::engines::score::{Cut, Scored, perplexity};
use crate::engines::vllm::{Options, Server};

/// What vLLM says where a method of quantization has no kernel for `float32`.
const NO_FLOAT32: &str = "is not supported for quantization method";
/// What is taken then.
const INSTEAD: &str = "bfloat16";

/// Serves a checkpoint with vLLM and fills in `checkpoint`, also with an error. Agreement is with
/// `original`; the scores are returned for those that follow.
pub fn vllm(
    options: &Options,
    questions: &Questions,
    (tokens, bos): (&[u32], Option<u32>),
    original: Option<&Scored>,
    checkpoint: &mut Checkpoint,
    say: &mut dyn FnMut(&str),
) -> Option<Scored> {
    let mut options = options.clone();
    checkpoint.dtype = Some(options.dtype.clone());
    let mut server = Server::start(&options);
    if let Err(EngineError::Died { tail, .. }) = &server
        && tail.contains(NO_FLOAT32)
        && options.dtype == "float32"
    {
        say("vLLM refuses float32 here: once more in bfloat16");
        checkpoint.facts.extend(tail.lines().find(|line| line.contains(NO_FLOAT32)).map(short));
        options.dtype = INSTEAD.into();
        checkpoint.dtype = Some(options.dtype.clone());
        server = Server::start(&options);
    }
    let server = match server {
        Ok(server) => server,
        Err(error) => {
            checkpoint.error = Some(error.to_string());
            return None;
        }
    };
    let cut = Cut { chunk: questions.chunk, bos, chunks: questions.chunks };
    let asked = ask(&server, questions, (tokens, cut), original, checkpoint, say);
    // Read after the questions: some kernels are chosen by the first.
    checkpoint.facts.extend(server.facts().unwrap_or_default());
    asked
        .map_err(|error| {
            checkpoint.error = Some(format!("{error}\n{}", server.complaint()));
        })
        .ok()
}

/// Asks a server that is ready.
fn ask(
    server: &Server,
    questions: &Questions,
    (tokens, cut): (&[u32], Cut),
    original: Option<&Scored>,
    checkpoint: &mut Checkpoint,
    say: &mut dyn FnMut(&str),
) -> Result<Scored, EngineError> {
    let client = server.client();
    checkpoint.load_s = server.load_time().map(|time| time.as_secs_f64());
    checkpoint.kv_cache = Some(client.cache_config()?);
    for prompt in &questions.prompts {
        let answer = client.complete(prompt, questions.written_tokens)?;
        say(&format!("{prompt:?} -> {:?}", answer.text));
        checkpoint.answers.push(answer.text);
    }
    let mut progress = |scored: &Scored, chunks: usize| {
        say(&format!("chunk {} of {chunks}: perplexity {:.4}", scored.chunks, scored.perplexity()));
    };
    let scored = perplexity(client, tokens, cut, &mut progress)?;
    checkpoint.quality = Some(Quality {
        perplexity: scored.perplexity(),
        standard_error: scored.standard_error(),
        chunks: scored.chunks,
        same_top: original.and_then(|original| scored.agreement(original)),
        mean_kl: None,
    });
    Ok(scored)
}

/// Runs a GGUF file with llama.cpp's tools and fills in `checkpoint`, also with an error. The first
/// call writes the original's logits to the file `base`, those that follow are compared with it.
pub fn llama_cpp(
    tools: &Tools,
    model: &Path,
    questions: &Questions,
    (passage, base): (&Path, &Path),
    repetitions: usize,
    checkpoint: &mut Checkpoint,
    say: &mut dyn FnMut(&str),
) {
    let logits = if base.exists() { Logits::Compare(base) } else { Logits::Save(base) };
    let done = (|| -> Result<(), EngineError> {
        for prompt in &questions.prompts {
            let answer = tools.complete(model, prompt, questions.written_tokens)?;
            say(&format!("{prompt:?} -> {answer:?}"));
            checkpoint.answers.push(answer);
        }
        let read = tools.perplexity(model, passage, questions.chunk, questions.chunks, logits)?;
        say(&format!("perplexity {:.4} of {} chunks", read.perplexity, read.chunks));
        checkpoint.quality = Some(Quality {
            perplexity: read.perplexity,
            standard_error: read.standard_error,
            chunks: read.chunks,
            same_top: read.divergence.map(|divergence| divergence.same_top),
            mean_kl: read.divergence.map(|divergence| divergence.mean_kl),
        });
        checkpoint.facts = read.facts;
        for speed in tools.bench(model, 512, 128, repetitions)? {
            checkpoint.scheme = Some(speed.model_type);
            let reading = speed.n_prompt > 0;
            let tokens_per_s = Spread::of(&speed.samples_ts);
            checkpoint.speeds.extend(tokens_per_s.map(|tokens_per_s| Rate {
                what: if reading { "reading" } else { "writing" }.into(),
                tokens: if reading { speed.n_prompt } else { speed.n_gen },
                threads: speed.n_threads,
                tokens_per_s,
            }));
        }
        Ok(())
    })();
    checkpoint.error = done.err().map(|error| error.to_string());
    if checkpoint.error.is_some() && matches!(logits, Logits::Save(_)) {
        // Half a base would be compared with as if it were whole.
        let _ = std::fs::remove_file(base);
    }
}

/// A line of a log that is no longer than a reader reads.
fn short(line: &str) -> String {
    line.trim().chars().take(300).collect()
}
