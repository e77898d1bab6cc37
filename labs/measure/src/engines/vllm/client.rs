//! Questions to a server, and what its answers say.

use std::collections::HashMap;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use super::Metrics;
use crate::engines::EngineError;
use crate::engines::engine_meters::KvCache;
use crate::engines::http::Http;

/// How long an answer may take. A scored chunk of 512 tokens takes seconds on two cores.
const LIMIT: Duration = Duration::from_secs(300);

const COMPLETIONS: &str = "/v1/completions";

/// Who asks a server.
#[derive(Clone, Debug)]
pub struct Client {
    http: Http,
    model: String,
}

/// A text and what it took.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// What the model generated.
    pub text: String,
    /// Why it stopped: `length`, or `stop` at the end-of-text token.
    pub finish_reason: String,
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Tokens that it generated.
    pub completion_tokens: usize,
}

/// How likely a model finds one token of a text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TokenScore {
    /// The token.
    pub token: u32,
    /// The natural logarithm of its probability.
    pub logprob: f64,
    /// The token that the model finds likeliest there.
    pub top: u32,
}

impl Client {
    /// Asks the server at `url` for `model`.
    pub fn new(url: &str, model: &str) -> Self {
        Self { http: Http::new(url, LIMIT), model: model.into() }
    }

    /// Asks the server at `url` for the first model that it serves.
    ///
    /// # Errors
    /// If it does not answer, or names none.
    pub fn attach(url: &str) -> Result<Self, EngineError> {
        let http = Http::new(url, LIMIT);
        let models: Value = parse("/v1/models", serde_json::from_str(&http.get("/v1/models")?))?;
        let first = models["data"][0]["id"].as_str();
        let first = first.ok_or_else(|| EngineError::unreadable(url, "it serves no model"))?;
        Ok(Self { http, model: first.into() })
    }

    /// The server's version.
    ///
    /// # Errors
    /// If it does not answer, or answers something else.
    pub fn version(&self) -> Result<String, EngineError> {
        let told: Value = parse("/version", serde_json::from_str(&self.http.get("/version")?))?;
        let version = told["version"].as_str().map(String::from);
        version.ok_or_else(|| EngineError::unreadable("/version", told))
    }

    /// Continues `prompt` with the likeliest token each time, `tokens` at most.
    ///
    /// # Errors
    /// If the server does not answer, refuses, or answers something else.
    pub fn complete(&self, prompt: &str, tokens: usize) -> Result<Answer, EngineError> {
        self.answer(&json!({
            "model": self.model, "prompt": prompt, "max_tokens": tokens, "temperature": 0,
            "stream": false,
        }))
    }

    /// Continues the tokens of a prompt by exactly `tokens` tokens: an end of text does not end it, so
    /// that requests take the same work whatever the model has to say.
    ///
    /// # Errors
    /// As [`Client::complete`], or if the server generated another number of tokens.
    pub fn generate(&self, prompt: &[u32], tokens: usize) -> Result<Answer, EngineError> {
        let question = json!({
            "model": self.model, "prompt": prompt, "max_tokens": tokens, "min_tokens": tokens,
            "ignore_eos": true, "temperature": 0, "stream": false,
        });
        let answer = self.answer(&question)?;
        if answer.completion_tokens != tokens {
            let why = format!("{} tokens generated, not {tokens}", answer.completion_tokens);
            return Err(EngineError::unreadable(COMPLETIONS, why));
        }
        Ok(answer)
    }

    fn answer(&self, question: &Value) -> Result<Answer, EngineError> {
        let answered = self.ask(question)?;
        let Usage { prompt_tokens, completion_tokens } = answered.usage;
        let choice = first(answered.choices)?;
        let no_text = || EngineError::unreadable(COMPLETIONS, "a choice without a text");
        let text = choice.text.ok_or_else(no_text)?;
        let finish_reason = choice.finish_reason.unwrap_or_default();
        Ok(Answer { text, finish_reason, prompt_tokens, completion_tokens })
    }

    /// How likely the model finds each of `tokens` but the first, given those before it: one score
    /// for each of `tokens[1..]`.
    ///
    /// The tokens are sent as numbers: no tokenizer and no BOS comes between. `prompt_logprobs = 1`
    /// brings the token's own log-probability and the likeliest token's.
    ///
    /// # Errors
    /// If there are fewer than 2 tokens, the server does not answer or refuses (a prompt has to be
    /// shorter than `--max-model-len`), or its scores are not those of `tokens`.
    pub fn score(&self, tokens: &[u32]) -> Result<Vec<TokenScore>, EngineError> {
        if tokens.len() < 2 {
            return Err(EngineError::Asked("2 tokens or more can be scored".into()));
        }
        let question = json!({
            "model": self.model, "prompt": tokens, "max_tokens": 1, "temperature": 0,
            "prompt_logprobs": 1,
        });
        let answered = self.ask(&question)?;
        let choice = first(answered.choices)?;
        let all = choice.prompt_logprobs.unwrap_or_default();
        if all.len() != tokens.len() {
            let why = format!("{} prompt_logprobs for {} tokens", all.len(), tokens.len());
            return Err(EngineError::unreadable(COMPLETIONS, why));
        }
        // The first token has no score, because nothing stands before it.
        let scored = tokens.iter().zip(all).enumerate().skip(1);
        let score = |(index, (&token, candidates)): (usize, (_, Option<_>))| {
            score_of(token, &candidates.unwrap_or_default()).ok_or_else(|| {
                let why = format!("no finite log-probability of token {token} at {index}");
                EngineError::unreadable(COMPLETIONS, why)
            })
        };
        scored.map(score).collect()
    }

    /// The page `/metrics`.
    ///
    /// # Errors
    /// If the server does not answer, or a line cannot be read.
    pub fn metrics(&self) -> Result<Metrics, EngineError> {
        Metrics::parse(&self.http.get("/metrics")?)
    }

    /// The KV cache it has set up, of `/metrics`.
    ///
    /// # Errors
    /// As [`Client::metrics`], or if the page does not tell.
    pub fn kv_cache(&self) -> Result<KvCache, EngineError> {
        self.metrics()?.kv_cache()
    }

    fn ask(&self, question: &Value) -> Result<Completion, EngineError> {
        parse(COMPLETIONS, serde_json::from_value(self.http.post(COMPLETIONS, question)?))
    }
}

fn parse<T>(what: &str, parsed: serde_json::Result<T>) -> Result<T, EngineError> {
    parsed.map_err(|error| EngineError::unreadable(what, error))
}

fn first(choices: Vec<Choice>) -> Result<Choice, EngineError> {
    let first = choices.into_iter().next();
    first.ok_or_else(|| EngineError::unreadable(COMPLETIONS, "an answer without a choice"))
}

/// The score of `token`, one of the candidates of its position.
fn score_of(token: u32, candidates: &HashMap<u32, Candidate>) -> Option<TokenScore> {
    let own = candidates.get(&token).filter(|own| own.logprob.is_finite())?;
    let top = candidates.iter().find(|(_, candidate)| candidate.rank == Some(1));
    Some(TokenScore { token, logprob: own.logprob, top: *top?.0 })
}

#[derive(Deserialize)]
struct Completion {
    choices: Vec<Choice>,
    usage: Usage,
}

#[derive(Deserialize)]
struct Usage {
    prompt_tokens: usize,
    #[serde(default)]
    completion_tokens: usize,
}

#[derive(Deserialize)]
struct Choice {
    text: Option<String>,
    finish_reason: Option<String>,
    prompt_logprobs: Option<Vec<Option<HashMap<u32, Candidate>>>>,
}

#[derive(Deserialize)]
struct Candidate {
    logprob: f64,
    rank: Option<u32>,
}
