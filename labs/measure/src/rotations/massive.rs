//! What a rotation does to the massive activations of the first token.

use anyhow::Result;
use model::{Model, Projection};
use ndarray::Array2;
use quantizer::rotate::Rotations;
use quantizer::{CHUNK, DecoderLayers, Transform};

use super::plan::{NONE, OFFLINE, ONLINE};
use super::rotation_meters::Massive;
use crate::subject::Subject;

/// Chunks of the passage that are looked at.
const CHUNKS: usize = 4;

/// The magnitudes in each decoder layer, for each choice of rotations.
///
/// # Errors
/// If the model fails.
pub fn run(subject: &Subject) -> Result<Vec<Massive>> {
    let mut all = Vec::new();
    for rotated in [NONE, OFFLINE, ONLINE] {
        let options = rotated.options();
        let rotations = options.map(|options| Rotations::of(&subject.weights, options));
        let rotations = rotations.transpose()?;
        let transform = rotations.as_ref().map(|rotations| rotations as &dyn Transform);
        let model = DecoderLayers { weights: &subject.weights, transform }.model()?;
        let chunks = subject.passage().chunks_exact(CHUNK).take(CHUNKS);
        let mut hidden = chunks.map(|chunk| model.embed(chunk)).collect::<Result<Vec<_>, _>>()?;
        for layer in 0..model.config().layers {
            let (behind, down) = through(&model, layer, hidden)?;
            hidden = behind;
            for (place, seen) in [("down", &down), ("residual", &hidden)] {
                let (rotations, place) = (rotated.letters.into(), place.into());
                all.push(Massive { rotations, layer, place, ..magnitudes(seen) });
            }
        }
    }
    Ok(all)
}

/// `[tokens, features]` of each chunk.
type Chunks = Vec<Array2<f32>>;

/// The residual stream behind a layer, and the inputs of its down projection.
fn through(model: &Model, layer: usize, hidden: Chunks) -> Result<(Chunks, Chunks)> {
    let (mut behind, mut down) = (Vec::new(), Vec::new());
    for x in hidden {
        let mut at = model.enter(layer, x)?;
        while at.readers() != [Projection::Down] {
            at = model.go_on(at)?;
        }
        down.push(at.input().clone());
        behind.push(model.leave(at)?);
    }
    Ok((behind, down))
}

/// The magnitudes of the first tokens and of the others.
fn magnitudes(chunks: &[Array2<f32>]) -> Massive {
    let (mut first, mut others, mut squares, mut count) = (0.0_f32, 0.0_f32, 0.0_f64, 0_usize);
    for (token, row) in chunks.iter().flat_map(|chunk| chunk.rows().into_iter().enumerate()) {
        let largest = row.fold(0.0, |max: f32, x| max.max(x.abs()));
        if token == 0 {
            first = first.max(largest);
        } else {
            others = others.max(largest);
            squares += row.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>();
            count += row.len();
        }
    }
    let rms_of_others = (squares / count.max(1) as f64).sqrt() as f32;
    let (rotations, place) = (String::new(), String::new());
    Massive { rotations, layer: 0, place, first, others, rms_of_others }
}
