//! What the rotation in front of `down_proj` costs while the model runs.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result};
use model::{Cache, Format, Model};
use quantizer::rotate::Rotations;

use super::plan::ONLINE;
use super::rotation_meters::Speed;
use crate::capture::Spread;
use crate::engines::{Load, course::Labs};
use crate::gptq::load;

/// Tokens of a prompt.
const PROMPT: usize = 512;
/// Tokens that are generated for one reading.
const STEPS: usize = 32;
/// Readings of each model.
const READINGS: usize = 9;

/// Prefill and decode, with the rotation and without, in turns. The weights are those of the model as it is,
/// because a product takes the same time whatever its numbers are.
///
/// # Errors
/// If the model fails.
pub fn run() -> Result<Vec<Speed>> {
    let weights = model::Weights::open(crate::engines::checkpoints::fetched()?)?;
    let plain = Model::load(weights.path())?;
    let options = ONLINE.options().unwrap_or_default();
    let rotation = Rotations::of(&weights, options)?.online()?.context("r4 was asked")?;
    let rotation = Arc::new(rotation);
    let formats = [None, Some(Format::W8A8), Some(Format::W4A8 { group_size: 32 })];
    let mut all = Vec::new();
    for format in formats {
        let name = format.map_or("f32", |format| format.name());
        let model = match format {
            Some(format) => plain.quantized(format, &Labs)?,
            None => plain.clone(),
        };
        let mut rotated = model.clone();
        rotated.set_down_rotation(Arc::clone(&rotation))?;
        all.extend(of(name, &[(false, model), (true, rotated)])?);
    }
    Ok(all)
}

/// Prefill and decode of each model, the readings in turns.
fn of(format: &str, models: &[(bool, Model)]) -> Result<Vec<Speed>> {
    let load = load();
    let mut readings = vec![[Vec::new(), Vec::new()]; models.len()];
    // The first turn is not kept, because it wakes threads and fills caches.
    for turn in 0..=READINGS {
        for ((_, model), readings) in models.iter().zip(&mut readings) {
            let prompt = Load { requests: 1, prompt: PROMPT, generated: 1 };
            let prompt = prompt.prompt_of(turn, model.config().vocab_size);
            let mut cache = [Cache::new(model.config(), PROMPT + STEPS)?];
            let start = Instant::now();
            model.hidden(&prompt, &mut cache[0], &mut |_, _| ())?;
            let prefill = PROMPT as f64 / start.elapsed().as_secs_f64();
            let start = Instant::now();
            for step in 0..STEPS {
                model.step(&prompt[step..=step], &mut cache)?;
            }
            let decode = STEPS as f64 / start.elapsed().as_secs_f64();
            if turn > 0 {
                readings[0].push(prefill);
                readings[1].push(decode);
            }
        }
    }
    let mut speeds = Vec::new();
    for ((rotated, _), readings) in models.iter().zip(readings) {
        for (phase, readings) in ["prefill", "decode"].into_iter().zip(readings) {
            let (format, phase, rotated) = (format.into(), phase.into(), *rotated);
            let tokens_per_s = Spread::sound(&readings)?;
            println!("{format}, {phase}, rotated {rotated}: {:.1} tokens/s", tokens_per_s.median);
            speeds.push(Speed { format, phase, rotated, tokens_per_s, load });
        }
    }
    Ok(speeds)
}
