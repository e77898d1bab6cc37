//! `cargo book generate` and `cargo book chat`: text of a checkpoint.

use std::io::{BufRead, IsTerminal, Write};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use arguments::text::{Chat, Generate, Sampling};
use kit::data::Normal;
use model::{Cache, Model, Tokenizer, drawn};
use quantizer::loaded::load_quantized;

use crate::perplexity::store_cache;

/// Prints the prompt and what follows it, as it comes.
///
/// # Errors
/// If the model or the tokenizer is not supported, or prompt and tokens exceed the model's positions.
pub fn generate(args: &Generate) -> Result<()> {
    let mut speaker = Speaker::load(&args.checkpoint, &args.sampling)?;
    continuation(&mut speaker, &args.prompt, &mut std::io::stdout())
}

/// Answers each line of the standard input.
///
/// # Errors
/// If the model or the tokenizer is not supported, or was not trained on these messages.
pub fn chat(args: &Chat) -> Result<()> {
    let mut speaker = Speaker::load(&args.checkpoint, &args.sampling)?;
    let input = std::io::stdin().lock();
    if input.is_terminal() {
        eprintln!("One line is one message; Ctrl-D ends the talk.");
    }
    talk(&mut speaker, input, &mut std::io::stdout())
}

/// A model that writes text.
struct Speaker {
    model: Model,
    tokenizer: Tokenizer,
    tokens: usize,
    temperature: f64,
    draws: Normal,
}

impl Speaker {
    fn load(checkpoint: &Path, sampling: &Sampling) -> Result<Self> {
        let named = || checkpoint.display().to_string();
        let mut model = load_quantized(checkpoint).with_context(named)?;
        store_cache(&mut model, sampling.kv_cache.as_deref())?;
        Ok(Self {
            tokenizer: Tokenizer::load(checkpoint).with_context(named)?,
            model,
            tokens: sampling.tokens,
            temperature: sampling.temperature,
            draws: Normal::seeded(sampling.seed),
        })
    }

    /// Writes what follows `cache` and `new` to `out`, token by token, and returns the tokens. An
    /// end-of-text token is the last, and is not written.
    fn speak(&mut self, cache: &mut Cache, new: &[u32], out: &mut dyn Write) -> Result<Vec<u32>> {
        let Self { model, tokenizer, temperature, draws, .. } = self;
        let mut heard = Vec::new();
        let mut written = 0;
        let mut choose =
            |logits: ndarray::ArrayView1<f32>| drawn(logits, *temperature, draws.uniform());
        model::generate(model, cache, new, self.tokens, &mut choose, &mut |token| {
            heard.push(token);
            let is_end = model.config().eos.contains(&token);
            // All tokens again, because a character may be cut between two tokens.
            let text = tokenizer.decode(&heard).unwrap_or_default();
            let whole = text.trim_end_matches(char::REPLACEMENT_CHARACTER);
            if let Some(more) = whole.get(written..).filter(|_| !is_end) {
                // An error is ignored, because the output is closed and nothing can be reported.
                let _ = out.write_all(more.as_bytes()).and_then(|()| out.flush());
                written = whole.len();
            }
        })?;
        Ok(heard)
    }
}

/// Writes the prompt and what follows it.
fn continuation(speaker: &mut Speaker, prompt: &str, out: &mut dyn Write) -> Result<()> {
    let bos = speaker.tokenizer.bos_in_front();
    let tokens: Vec<u32> = bos.into_iter().chain(speaker.tokenizer.encode(prompt)?).collect();
    let room = tokens.len().saturating_add(speaker.tokens);
    let mut cache = Cache::new(speaker.model.config(), room)?;
    write!(out, "{prompt}")?;
    speaker.speak(&mut cache, &tokens, out)?;
    Ok(writeln!(out)?)
}

/// The start of a message in SmolLM2's chat template.
const START: &str = "<|im_start|>";
/// The end of a message, at which the model ends its answer.
const END: &str = "<|im_end|>";
/// What the template puts in front of a talk that has no system message.
const SYSTEM: &str = "You are a helpful AI assistant named SmolLM, trained by Hugging Face";
/// The most tokens of a talk, because the cache of all positions of SmolLM2 takes 377 MB.
const CONTEXT: usize = 2048;

/// Answers each line of `input`.
fn talk(speaker: &mut Speaker, input: impl BufRead, out: &mut dyn Write) -> Result<()> {
    let [start, end] = [START, END].map(|mark| speaker.tokenizer.encode(mark));
    ensure!(
        start?.len() == 1 && end?.len() == 1,
        "its tokenizer has no token {START}: it was not trained to chat by SmolLM2's template; \
         `cargo book generate` continues a text"
    );
    let room = CONTEXT.min(speaker.model.config().max_positions);
    let mut cache = Cache::new(speaker.model.config(), room)?;
    // The end of the last answer, which is not in the cache yet.
    let mut unread = Vec::new();
    for line in input.lines() {
        let line = line.context("cannot read a line")?;
        if line.trim().is_empty() {
            continue;
        }
        let turn = format!("{START}user\n{line}{END}\n{START}assistant\n");
        let mut new = speaker.tokenizer.encode(&format!("\n{turn}"))?;
        new.splice(0..0, unread.drain(..));
        if cache.is_empty() || cache.len() + new.len() + speaker.tokens > room {
            if !cache.is_empty() {
                eprintln!("(the talk fills {room} tokens: what was said is forgotten)");
            }
            cache.truncate(0);
            new = speaker.tokenizer.encode(&format!("{START}system\n{SYSTEM}{END}\n{turn}"))?;
        }
        let answer = speaker.speak(&mut cache, &new, out)?;
        writeln!(out)?;
        unread.extend(answer.last());
        if !answer.last().is_some_and(|last| speaker.model.config().eos.contains(last)) {
            unread.extend(speaker.tokenizer.encode(END)?);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tiny(tokens: usize, temperature: f64) -> Result<Speaker> {
        let checkpoint = kit::workspace::root().join("labs/model/golden/tiny");
        Speaker::load(&checkpoint, &Sampling { tokens, temperature, seed: 1, kv_cache: None })
    }

    fn continued(tokens: usize, temperature: f64) -> Result<String> {
        let mut out = Vec::new();
        continuation(&mut tiny(tokens, temperature)?, "Alice was", &mut out)?;
        Ok(String::from_utf8(out)?)
    }

    #[test]
    fn what_is_streamed_is_the_greedy_text() -> Result<()> {
        let Speaker { model, tokenizer, .. } = tiny(0, 0.0)?;
        let prompt = tokenizer.encode("Alice was")?;
        let whole = tokenizer.decode(&model::greedy(&model, &prompt, 12)?)?;
        let streamed = continued(12, 0.0)?;
        let whole = whole.trim_end_matches(char::REPLACEMENT_CHARACTER);
        assert_eq!(streamed.strip_suffix('\n'), Some(whole));
        assert_eq!(continued(0, 0.0)?, "Alice was\n");
        Ok(())
    }

    #[test]
    fn a_temperature_draws_and_a_seed_repeats_the_draws() -> Result<()> {
        assert_ne!(continued(12, 5.0)?, continued(12, 0.0)?);
        assert_eq!(continued(12, 5.0)?, continued(12, 5.0)?);
        Ok(())
    }

    #[test]
    fn every_line_is_answered_and_a_long_talk_starts_afresh() -> Result<()> {
        let mut out = Vec::new();
        // The tiny model has 256 positions, of which a first turn takes more than half.
        talk(&mut tiny(8, 0.0)?, "Hello\n\nand again\nand more\n".as_bytes(), &mut out)?;
        assert!(out.iter().filter(|byte| **byte == b'\n').count() >= 3);
        Ok(())
    }

    #[test]
    fn more_tokens_than_positions_are_refused() {
        let error = continued(10_000, 0.0).expect_err("there are fewer positions").to_string();
        assert!(error.contains("positions") || error.contains("room"), "{error}");
    }
}
