//! `llama-bench`: tokens per second.

use std::path::Path;

use serde::Deserialize;

use super::{Tools, run};
use crate::engines::EngineError;

const TOOL: &str = "llama-bench";
const BATCHED: &str = "llama-batched-bench";

/// One speed: of prefill, or of decode.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Speed {
    /// What the file is, `llama 256M Q8_0`.
    pub model_type: String,
    /// Bytes of its tensors.
    pub model_size: u64,
    /// Its weights.
    pub model_n_params: u64,
    /// Threads.
    pub n_threads: usize,
    /// Tokens of the prompt; 0 for a speed of decode.
    pub n_prompt: usize,
    /// Tokens generated; 0 for a speed of prefill.
    pub n_gen: usize,
    /// Tokens per second, one for each repetition.
    pub samples_ts: Vec<f64>,
}

/// What `llama-batched-bench` says of requests that run at once.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Batched {
    /// Tokens of the prompt of each.
    pub pp: usize,
    /// Tokens that each generated.
    pub tg: usize,
    /// Requests at once.
    pub pl: usize,
    /// Seconds of prefill and decode together.
    pub t: f64,
}

impl Tools {
    /// Runs `requests` at once, each with a prompt of `prompt` tokens and generating `generated`.
    ///
    /// # Errors
    /// If the tool is not there or fails, or what it prints is not its JSON.
    pub fn batched(
        &self,
        model: &Path,
        prompt: usize,
        generated: usize,
        requests: usize,
    ) -> Result<Batched, EngineError> {
        let room = requests * (prompt + generated);
        let [prompt, generated, requests, room] =
            [prompt, generated, requests, room].map(|number| number.to_string());
        let mut command = self.command(BATCHED, model);
        command.args(["-npp", &prompt, "-ntg", &generated, "-npl", &requests, "-c", &room]);
        parse_batched(&run(command.args(["--output-format", "jsonl"]))?.out)
    }

    /// The speeds of prefill of `prompt` tokens and, by itself, of decode of `generated` tokens, one
    /// request at a time; each `repetitions` times.
    ///
    /// # Errors
    /// If the tool is not there or fails, or what it prints is not its JSON.
    pub fn bench(
        &self,
        model: &Path,
        prompt: usize,
        generated: usize,
        repetitions: usize,
    ) -> Result<Vec<Speed>, EngineError> {
        let [prompt, generated, repetitions] =
            [prompt, generated, repetitions].map(|number| number.to_string());
        let mut command = self.command(TOOL, model);
        command.args(["-p", &prompt, "-n", &generated, "-r", &repetitions, "-o", "json"]);
        parse(&run(&mut command)?.out)
    }
}

fn parse(out: &str) -> Result<Vec<Speed>, EngineError> {
    let speeds: Vec<Speed> =
        serde_json::from_str(out).map_err(|error| EngineError::unreadable(TOOL, error))?;
    let sound = |speed: &Speed| {
        !speed.samples_ts.is_empty() && speed.samples_ts.iter().all(|rate| *rate > 0.0)
    };
    match speeds.iter().find(|speed| !sound(speed)) {
        Some(speed) => Err(EngineError::unreadable(TOOL, format!("no speed in {speed:?}"))),
        None => Ok(speeds),
    }
}

/// The one line of JSON in what the tool prints.
fn parse_batched(out: &str) -> Result<Batched, EngineError> {
    let line = out.lines().find(|line| line.trim_start().starts_with('{'));
    let line = line.ok_or_else(|| EngineError::unreadable(BATCHED, "no line of JSON"))?;
    let read: Batched =
        serde_json::from_str(line).map_err(|error| EngineError::unreadable(BATCHED, error))?;
    if read.t.is_finite() && read.t > 0.0 {
        Ok(read)
    } else {
        Err(EngineError::unreadable(BATCHED, format!("no time in {line}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What build 11434 printed for `-npp 32 -ntg 64 -npl 16 --output-format jsonl`.
    const BATCHED_LINE: &str = include_str!("../../../tests/recorded/llama-batched-bench.jsonl");

    #[test]
    fn requests_at_once_are_one_line_of_json() {
        let read = parse_batched(BATCHED_LINE).expect("a whole line");
        assert_eq!(read, Batched { pp: 32, tg: 64, pl: 16, t: 5.032842 });
        for (out, words) in [("", "no line of JSON"), ("{\"pp\": 32}", "missing field")] {
            let error = parse_batched(out).expect_err(words).to_string();
            assert!(error.contains(words) && error.contains("llama-batched-bench"), "{error}");
        }
        let zero = BATCHED_LINE.replace("5.032842", "0.0");
        assert!(parse_batched(&zero).is_err_and(|error| error.to_string().contains("no time")));
    }

    /// What build 11434 printed for `-p 64 -n 8 -r 2 -o json`.
    const RECORDED: &str = include_str!("../../../tests/recorded/llama-bench.json");

    #[test]
    fn prefill_and_decode_are_two_speeds() {
        let speeds = parse(RECORDED).expect("a whole output");
        let [prefill, decode] = speeds.as_slice() else { panic!("not two: {speeds:?}") };
        assert_eq!((prefill.n_prompt, prefill.n_gen), (64, 0));
        assert_eq!(prefill.samples_ts, [294.194, 295.67]);
        assert_eq!((decode.n_prompt, decode.n_gen), (0, 8));
        assert_eq!(
            (decode.model_type.as_str(), decode.model_size),
            ("llama 256M Q8_0", 143_025_408)
        );
    }

    #[test]
    fn an_output_that_is_cut_off_or_empty_of_speeds_is_an_error() {
        let error = parse(&RECORDED[..RECORDED.len() / 2]).expect_err("half").to_string();
        assert!(error.contains("llama-bench is not as expected"), "{error}");
        let error = parse(&RECORDED.replace("294.194, 295.67", "")).expect_err("none").to_string();
        assert!(error.contains("no speed"), "{error}");
    }
}
