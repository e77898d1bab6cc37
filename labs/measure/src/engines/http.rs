//! Plain HTTP, with a limit on time and length.

use std::time::Duration;

use serde_json::Value;
use ureq::Agent;

use crate::engines::EngineError;

/// The longest answer that is read: the scores of a whole context are a few MB.
const LONGEST: u64 = 256 << 20;

/// An address whose pages are asked for.
#[derive(Clone, Debug)]
pub struct Http {
    agent: Agent,
    base: String,
}

impl Http {
    /// Asks below `base`, `http://127.0.0.1:8000`; an answer may take `limit`.
    pub fn new(base: &str, limit: Duration) -> Self {
        let config = Agent::config_builder().timeout_global(Some(limit));
        // An error's body says what was wrong: read it ourselves. And a local engine needs no proxy.
        let config = config.http_status_as_error(false).proxy(None).build();
        Self { agent: config.into(), base: base.trim_end_matches('/').into() }
    }

    /// The text of a page.
    ///
    /// # Errors
    /// If there is no answer, or one with a status of 400 or more.
    pub fn get(&self, path: &str) -> Result<String, EngineError> {
        let url = format!("{}{path}", self.base);
        read(&url, self.agent.get(&url).call())
    }

    /// What the engine answers to a JSON question.
    ///
    /// # Errors
    /// If there is no answer, one with a status of 400 or more, or one that is no JSON.
    pub fn post(&self, path: &str, question: &Value) -> Result<Value, EngineError> {
        let url = format!("{}{path}", self.base);
        let request = self.agent.post(&url).header("Content-Type", "application/json");
        let text = read(&url, request.send(question.to_string()))?;
        serde_json::from_str(&text).map_err(|error| EngineError::unreadable(url, error))
    }
}

fn read(
    url: &str,
    answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
) -> Result<String, EngineError> {
    let no_answer =
        |error: ureq::Error| EngineError::NoAnswer { url: url.into(), why: error.to_string() };
    let mut answer = answer.map_err(no_answer)?;
    let text = answer.body_mut().with_config().limit(LONGEST).read_to_string();
    let text = text.map_err(no_answer)?;
    let status = answer.status().as_u16();
    if status >= 400 {
        return Err(EngineError::Refused { url: url.into(), status, message: message(&text) });
    }
    Ok(text)
}

/// What an error says: OpenAI's servers put it into `error.message`.
fn message(text: &str) -> String {
    let json: Option<Value> = serde_json::from_str(text).ok();
    let message = json.as_ref().and_then(|json| json["error"]["message"].as_str());
    message.unwrap_or(text).trim().chars().take(2000).collect()
}
