//! The residual stream: what layers add up, where massive activations live.

use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use model::{Cache, LayerId, Linear, LinearError, Model, Projection, Tokenizer};
use ndarray::{Array2, Axis, s};

use super::folding::weight;
use super::profile::{TokenAbsmax, largest_tokens, median};
use crate::outliers::Residual;

/// How many outlier tokens are kept.
const OUTLIER_TOKENS: usize = 5;

/// What was added so far, and the sum behind each layer.
#[derive(Default)]
struct Stream {
    sum: Option<Array2<f32>>,
    behind: Vec<Array2<f32>>,
}

/// A layer whose output is added to the residual stream, and to ours.
struct Recorded {
    layer: Arc<dyn Linear>,
    stream: Arc<Mutex<Stream>>,
    ends_layer: bool,
}

impl Linear for Recorded {
    fn forward(&self, x: &Array2<f32>) -> Result<Array2<f32>, LinearError> {
        let out = self.layer.forward(x)?;
        let mut stream = self.stream.lock().map_err(|_| "another thread failed")?;
        let sum = stream.sum.as_mut().ok_or("the stream has no embedding")?;
        *sum += &out;
        if self.ends_layer {
            let sum = sum.clone();
            stream.behind.push(sum);
        }
        Ok(out)
    }

    fn out_features(&self) -> usize {
        self.layer.out_features()
    }

    fn in_features(&self) -> usize {
        self.layer.in_features()
    }

    fn bytes(&self) -> usize {
        self.layer.bytes()
    }
}

/// Runs the model on `chunks` and looks behind each layer. Its head must be tied to the embedding.
///
/// # Errors
/// If the model fails.
pub fn measure(model: &Model, tokenizer: &Tokenizer, chunks: &[Vec<u32>]) -> Result<Vec<Residual>> {
    let stream = Arc::new(Mutex::new(Stream::default()));
    let mut recorded = model.clone();
    for layer in 0..model.config().layers {
        for (projection, ends_layer) in [(Projection::O, false), (Projection::Down, true)] {
            let id = LayerId::Layer(layer, projection);
            let (inner, stream) = (model.linear(id)?.clone(), stream.clone());
            recorded.replace(id, Arc::new(Recorded { layer: inner, stream, ends_layer }))?;
        }
    }
    let embedding = weight(model, LayerId::Head)?;
    let mut tokens = vec![Vec::new(); model.config().layers];
    let mut medians = vec![Vec::new(); model.config().layers];
    for (index, chunk) in chunks.iter().enumerate() {
        let rows: Vec<usize> = chunk.iter().map(|&id| id as usize).collect();
        let sum = Some(embedding.select(Axis(0), &rows));
        let locked = || stream.lock().ok().context("another thread failed");
        *locked()? = Stream { sum, behind: Vec::new() };
        let mut cache = Cache::new(model.config(), chunk.len())?;
        recorded.hidden(chunk, &mut cache, &mut |_, _| ())?;
        for (layer, x) in locked()?.behind.iter().enumerate() {
            tokens[layer].extend(TokenAbsmax::of_tokens(x, index));
            medians[layer].push(median(x.slice(s![1.., ..]).iter().map(|x| x.abs())));
        }
    }
    let of_layer = |(layer, (tokens, medians)): (usize, (Vec<TokenAbsmax>, Vec<f64>))| {
        let (first, others): (Vec<_>, Vec<_>) =
            tokens.into_iter().partition(|token| token.position == 0);
        let peaks = |tokens: Vec<TokenAbsmax>, count| -> Result<Vec<_>> {
            let tokens = largest_tokens(tokens.into_iter(), count);
            tokens.iter().map(|token| token.peak(chunks, tokenizer)).collect()
        };
        let top = peaks(others, OUTLIER_TOKENS)?;
        Ok(Residual {
            layer,
            peak_of_first: peaks(first, 1)?.pop().context("there is a first token")?,
            peak_of_others: top.first().cloned().context("there are other tokens")?,
            median: kit::meters::mean(&medians),
            outlier_tokens: top,
        })
    };
    tokens.into_iter().zip(medians).enumerate().map(of_layer).collect()
}
