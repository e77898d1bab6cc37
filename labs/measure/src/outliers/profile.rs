//! Where outliers are: in which inputs, which channels, which tokens.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::{Context, Result};
use model::{Cache, LayerId, Model, Projection, Tokenizer};
use ndarray::{Array1, Array2};

use super::Progress;
use super::calibration::Calibration;
use crate::outliers::{Input, Peak};

/// The inputs of a layer: one of those that read each.
const INPUTS: [(Projection, &str); 4] = [
    (Projection::Q, "attention"),
    (Projection::O, "o_proj"),
    (Projection::Gate, "mlp"),
    (Projection::Down, "down_proj"),
];
/// The magnitude from which LLM.int8() calls a channel an outlier.
const OUTLIER: f32 = 6.0;
/// The share of tokens in which it has to be one (section 4.1 of the paper).
const OFTEN: f64 = 0.06;
/// How many outlier tokens are kept.
const OUTLIER_TOKENS: usize = 8;

/// The value of largest magnitude of a token.
#[derive(Clone, Copy, Debug)]
pub struct TokenAbsmax {
    /// Its magnitude.
    pub magnitude: f32,
    /// Its channel.
    pub channel: usize,
    /// The chunk.
    pub chunk: usize,
    /// The position in the chunk.
    pub position: usize,
}

impl TokenAbsmax {
    /// The value of largest magnitude of each token of `x`, `[tokens, channels]`.
    pub fn of_tokens(x: &Array2<f32>, chunk: usize) -> Vec<Self> {
        let of = |(position, token): (usize, ndarray::ArrayView1<f32>)| {
            let larger = |best: (usize, f32), (channel, x): (usize, &f32)| {
                if x.abs() > best.1 { (channel, x.abs()) } else { best }
            };
            let (channel, magnitude) = token.iter().enumerate().fold((0, 0.0), larger);
            Self { magnitude, channel, chunk, position }
        };
        x.rows().into_iter().enumerate().map(of).collect()
    }

    /// With the token's text.
    ///
    /// # Errors
    /// If the token is not in the text.
    pub fn peak(&self, chunks: &[Vec<u32>], tokenizer: &Tokenizer) -> Result<Peak> {
        let token = chunks.get(self.chunk).and_then(|chunk| chunk.get(self.position));
        let token = token.context("a peak lies outside of the text")?;
        Ok(Peak {
            magnitude: self.magnitude.into(),
            channel: self.channel,
            chunk: self.chunk,
            position: self.position,
            text: tokenizer.decode(&[*token])?,
        })
    }
}

/// The tokens of largest absmax, the largest first.
pub fn largest_tokens(tokens: impl Iterator<Item = TokenAbsmax>, count: usize) -> Vec<TokenAbsmax> {
    let mut tokens: Vec<TokenAbsmax> = tokens.collect();
    tokens.sort_by(|a, b| b.magnitude.total_cmp(&a.magnitude));
    tokens.truncate(count);
    tokens
}

/// What is counted of one input while the model runs.
#[derive(Default)]
struct Counts {
    tokens: Vec<TokenAbsmax>,
    max: Array1<f32>,
    max_without_first: Array1<f32>,
    sum_without_first: Array1<f64>,
    reached: Array1<usize>,
}

impl Counts {
    fn new(channels: usize) -> Self {
        Self {
            tokens: Vec::new(),
            max: Array1::zeros(channels),
            max_without_first: Array1::zeros(channels),
            sum_without_first: Array1::zeros(channels),
            reached: Array1::zeros(channels),
        }
    }

    fn add(&mut self, x: &Array2<f32>, chunk: usize) {
        self.tokens.extend(TokenAbsmax::of_tokens(x, chunk));
        for (position, token) in x.rows().into_iter().enumerate() {
            for (channel, x) in token.iter().map(|x| x.abs()).enumerate() {
                self.max[channel] = self.max[channel].max(x);
                self.reached[channel] += usize::from(x >= OUTLIER);
                if position > 0 {
                    self.max_without_first[channel] = self.max_without_first[channel].max(x);
                    self.sum_without_first[channel] += f64::from(x);
                }
            }
        }
    }

    fn others(&self) -> impl Iterator<Item = TokenAbsmax> {
        self.tokens.iter().copied().filter(|token| token.position > 0)
    }

    fn record(
        &self,
        id: LayerId,
        input: &str,
        calibrated: f32,
        peak: impl Fn(&TokenAbsmax) -> Result<Peak>,
    ) -> Result<Input> {
        let no_token = "a text of more than one token";
        let first = *largest_tokens(self.tokens.iter().copied(), 1).first().context(no_token)?;
        let top = largest_tokens(self.others(), OUTLIER_TOKENS);
        let other = *top.first().context(no_token)?;
        let median_other = median(self.max_without_first.iter().copied());
        let others = self.others().count();
        let in_channel = self.others().filter(|token| token.channel == other.channel).count();
        let often = |&count: &usize| count as f64 >= OFTEN * self.tokens.len() as f64;
        Ok(Input {
            layer: id.layer().context("a layer's input")?,
            input: input.into(),
            channels: self.max.len(),
            tokens: self.tokens.len(),
            peak: peak(&first)?,
            peak_without_first: peak(&other)?,
            median_channel: median(self.max.iter().copied()),
            median_channel_without_first: median_other,
            channels_from_6: self.reached.iter().filter(|&&count| count > 0).count(),
            channels_from_6_often: self.reached.iter().filter(|count| often(count)).count(),
            channels_from_20_medians: (self.max_without_first.iter())
                .filter(|&&max| f64::from(max) >= 20.0 * median_other)
                .count(),
            outlier_share: in_channel as f64 / others as f64,
            outlier_mean: self.sum_without_first[other.channel] / others as f64,
            tokens_from_half: self
                .others()
                .filter(|token| token.magnitude >= other.magnitude / 2.0)
                .count(),
            median_token: median(self.tokens.iter().map(|token| token.magnitude)),
            outlier_tokens: top.iter().map(peak).collect::<Result<_>>()?,
            calibrated: calibrated.into(),
        })
    }
}

/// Runs the `f32` model on the passage and counts.
///
/// # Errors
/// If the model fails.
pub fn measure(
    (model, tokenizer): (&Model, &Tokenizer),
    chunks: &[Vec<u32>],
    calibration: &Calibration,
    progress: &Progress,
) -> Result<Vec<Input>> {
    let since = Instant::now();
    let mut counts: BTreeMap<LayerId, Counts> = BTreeMap::new();
    for (index, chunk) in chunks.iter().enumerate() {
        let mut cache = Cache::new(model.config(), chunk.len())?;
        model.hidden(chunk, &mut cache, &mut |id, x| {
            let reads = |projection| INPUTS.iter().any(|(one, _)| *one == projection);
            if id.projection().is_some_and(reads) {
                counts.entry(id).or_insert_with(|| Counts::new(x.ncols())).add(x, index);
            }
        })?;
        progress.part("profile", since, index + 1, chunks.len());
    }
    let mut records = Vec::new();
    for layer in 0..model.config().layers {
        for (projection, input) in INPUTS {
            let id = LayerId::Layer(layer, projection);
            let counts = counts.get(&id).with_context(|| format!("{id} was not run"))?;
            let calibrated = calibration.at(id)?.max();
            let peak = |token: &TokenAbsmax| token.peak(chunks, tokenizer);
            records.push(counts.record(id, input, calibrated, peak)?);
        }
    }
    Ok(records)
}

/// The middle of some magnitudes, the upper of two; 0 of none.
pub fn median(magnitudes: impl Iterator<Item = f32>) -> f64 {
    let mut sorted: Vec<f32> = magnitudes.collect();
    sorted.sort_by(f32::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(0.0).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outlier_channel_and_an_outlier_token_are_told_apart() -> Result<()> {
        // Channel 2 is an outlier in every token; channel 0 in token 3 alone, and in the first token.
        let mut x = Array2::from_elem((10, 4), 0.5);
        x.column_mut(2).fill(7.0);
        (x[(3, 0)], x[(0, 0)]) = (9.0, 50.0);
        let mut counts = Counts::new(4);
        counts.add(&x, 0);
        let peak = |token: &TokenAbsmax| {
            let TokenAbsmax { magnitude, channel, chunk, position } = *token;
            let text = String::new();
            Ok(Peak { magnitude: magnitude.into(), channel, chunk, position, text })
        };
        let record = counts.record(LayerId::Layer(0, Projection::Q), "attention", 1.0, peak)?;
        assert_eq!((record.peak.magnitude, record.peak.position), (50.0, 0));
        assert_eq!((record.peak_without_first.channel, record.peak_without_first.position), (0, 3));
        assert_eq!((record.channels_from_6, record.channels_from_6_often), (2, 2));
        assert!(record.persistence() < 0.2, "channel 0 is a spike: {}", record.persistence());
        assert_eq!(record.tokens_from_half, 9);
        assert_eq!(record.outlier_tokens[1].channel, 2);
        Ok(())
    }
}
