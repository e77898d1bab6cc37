//! `llama-bench`: tokens per second.

use std::ffi::OsStr;
use std::path::Path;

use serde::Deserialize;

use super::Tools;
use crate::EngineError;

const TOOL: &str = "llama-bench";

/// One speed: of a prompt, or of writing.
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
    /// Tokens of the prompt; 0 for a speed of writing.
    pub n_prompt: usize,
    /// Tokens written; 0 for a speed of reading the prompt.
    pub n_gen: usize,
    /// Tokens per second, one for each repetition.
    pub samples_ts: Vec<f64>,
}

impl Tools {
    /// How fast a prompt of `prompt` tokens is read and, by itself, `written` tokens are written, one
    /// request at a time; each `repetitions` times.
    ///
    /// # Errors
    /// If the tool is not there or fails, or what it prints is not its JSON.
    pub fn bench(
        &self,
        model: &Path,
        prompt: usize,
        written: usize,
        repetitions: usize,
    ) -> Result<Vec<Speed>, EngineError> {
        let numbers = [prompt, written, repetitions].map(|number| number.to_string());
        let [prompt, written, repetitions] = &numbers;
        let words = ["-p", prompt, "-n", written, "-r", repetitions, "-o", "json"];
        let arguments: Vec<&OsStr> = words.iter().map(AsRef::as_ref).collect();
        parse(&self.run(TOOL, model, &arguments)?.out)
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What build 11434 printed for `-p 64 -n 8 -r 2 -o json`.
    const RECORDED: &str = include_str!("../../tests/recorded/llama-bench.json");

    #[test]
    fn reading_and_writing_are_two_speeds() {
        let speeds = parse(RECORDED).expect("a whole output");
        let [reading, writing] = speeds.as_slice() else { panic!("not two: {speeds:?}") };
        assert_eq!((reading.n_prompt, reading.n_gen), (64, 0));
        assert_eq!(reading.samples_ts, [294.194, 295.67]);
        assert_eq!((writing.n_prompt, writing.n_gen), (0, 8));
        assert_eq!(
            (writing.model_type.as_str(), writing.model_size),
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
