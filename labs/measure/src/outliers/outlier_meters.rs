//! What `outlier-meters` measures: what the methods of lab 04 do to a whole model.
//!
//! Only what was measured or counted is in the file. Perplexities, ratios and shares are computed
//! from it, here, so that a table cannot contradict its capture.

use std::collections::BTreeMap;

use crate::capture::{self, Body, CaptureError, Spread};
use serde::{Deserialize, Serialize};

/// How many standard deviations two runs may be apart.
pub const DEVIATIONS: f64 = 3.0;
/// Nats of a token that two runs may differ by in any case, because sums of `f32` in another order
/// differ where nothing is rounded to codes.
pub const LEAST_NATS: f64 = 1e-4;

/// The model and the texts of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Setup {
    /// The model's file.
    pub model: String,
    /// Its SHA-256.
    pub model_sha256: String,
    /// What was scored.
    pub passage: String,
    /// Tokens in a chunk; the second half is scored.
    pub chunk: usize,
    /// Chunks that were scored.
    pub chunks: usize,
    /// What scales were chosen on.
    pub calibration: String,
    /// Tokens of it.
    pub calibration_tokens: usize,
    /// The chunk of the passage that layer errors were measured on.
    pub errors_chunk: usize,
}

/// One value of an activation, and where it was.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Peak {
    /// Its magnitude.
    pub magnitude: f64,
    /// Its channel.
    pub channel: usize,
    /// The chunk of the passage.
    pub chunk: usize,
    /// The token's position in the chunk: 0 is a first token.
    pub position: usize,
    /// The token's text.
    pub text: String,
}

/// What one input of one decoder layer held over the passage. `attention` is the input of Q, K and V,
/// `mlp` that of gate and up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Input {
    /// The decoder layer, counted from 0.
    pub layer: usize,
    /// `attention`, `o_proj`, `mlp` or `down_proj`.
    pub input: String,
    /// Channels.
    pub channels: usize,
    /// Tokens.
    pub tokens: usize,
    /// The largest value of all.
    pub peak: Peak,
    /// The largest value, each chunk's first token left out.
    pub peak_without_first: Peak,
    /// The median over channels of the channel's largest magnitude.
    pub median_channel: f64,
    /// As `median_channel`, each chunk's first token left out.
    pub median_channel_without_first: f64,
    /// Channels that reach 6 in some token.
    pub channels_from_6: usize,
    /// Channels that reach 6 in at least 6 % of the tokens.
    pub channels_from_6_often: usize,
    /// Channels that reach 20 times the median channel in some token, first tokens left out.
    pub channels_from_20_medians: usize,
    /// Of the channel of `peak_without_first`: the share of tokens whose absmax it holds.
    #[serde(rename = "loudest_in")]
    pub outlier_share: f64,
    /// Of that channel: its mean magnitude, first tokens left out.
    #[serde(rename = "loudest_mean")]
    pub outlier_mean: f64,
    /// Tokens, first tokens left out, that reach half of `peak_without_first`.
    pub tokens_from_half: usize,
    /// The median over all tokens of the token's largest magnitude.
    pub median_token: f64,
    /// The tokens of largest absmax that are not first in a chunk, the largest first.
    #[serde(rename = "loudest_tokens")]
    pub outlier_tokens: Vec<Peak>,
    /// The largest magnitude on the calibration text: what a static scale is made of.
    pub calibrated: f64,
}

impl Input {
    /// The absmax of the largest channel over that of the median one.
    pub fn ratio(&self) -> f64 {
        self.peak.magnitude / self.median_channel
    }

    /// The same, each chunk's first token left out.
    pub fn ratio_without_first(&self) -> f64 {
        self.peak_without_first.magnitude / self.median_channel_without_first
    }

    /// The mean of the outlier channel over its absmax: near 1 for a channel that is an outlier in
    /// every token, near 0 for a spike in one.
    pub fn persistence(&self) -> f64 {
        self.outlier_mean / self.peak_without_first.magnitude
    }
}

/// The residual stream behind one decoder layer, over a few chunks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Residual {
    /// The decoder layer, counted from 0.
    pub layer: usize,
    /// The largest value in the first tokens of chunks.
    pub peak_of_first: Peak,
    /// The largest value in the others.
    pub peak_of_others: Peak,
    /// The median magnitude, first tokens left out.
    pub median: f64,
    /// The tokens of largest absmax, first ones left out.
    #[serde(rename = "loudest_tokens")]
    pub outlier_tokens: Vec<Peak>,
}

/// The error of a layer's output, against `f32` on the same input.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Error {
    /// Relative Frobenius error of all tokens.
    pub whole: f64,
    /// The median over tokens of the token's relative error.
    pub median_token: f64,
}

/// What each method does to one layer by itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LayerErrors {
    /// The decoder layer, counted from 0.
    pub layer: usize,
    /// `q_proj`, …, `down_proj`.
    pub projection: String,
    /// The errors by method.
    pub errors: BTreeMap<String, Error>,
}

/// What one method does to the whole model, chunk by chunk.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Variant {
    /// Its name: no two variants have the same.
    pub name: String,
    /// `f32`, `int8`, `int4 g64`, `int4 g32`.
    pub weights: String,
    /// `float`, `per-tensor`, `per-token`, `static`.
    pub activations: String,
    /// The strength of migration, where there is one.
    pub alpha: Option<f64>,
    /// Where smoothing is folded: `norms`, or `norms, v, up`.
    pub folded: Option<String>,
    /// What stays in floating point: `down_proj`, `first token`, `channels from 6`.
    pub kept: Option<String>,
    /// Tokens scored in a chunk.
    pub tokens_per_chunk: usize,
    /// The sum of negative log-likelihoods of each chunk, in nats.
    pub nll: Vec<f64>,
    /// The sum of the KL divergences from the `f32` model over the tokens of each chunk, in nats.
    #[serde(rename = "divergence")]
    pub kl_divergence: Vec<f64>,
    /// Tokens of each chunk whose likeliest next token is that of the `f32` model.
    #[serde(rename = "agreed")]
    pub top1_agreed: Vec<usize>,
}

impl Variant {
    /// Tokens scored.
    pub fn tokens(&self) -> usize {
        self.tokens_per_chunk * self.nll.len()
    }

    /// `exp` of the mean negative log-likelihood.
    pub fn perplexity(&self) -> f64 {
        self.first_chunks(self.nll.len()).0.exp()
    }

    /// The mean KL divergence of a token's prediction from that of the `f32` model, in nats.
    pub fn mean_kl_divergence(&self) -> f64 {
        self.first_chunks(self.nll.len()).1
    }

    /// Top-1 agreement with the `f32` model: the share of tokens with the same likeliest next token.
    pub fn top1_agreement(&self) -> f64 {
        self.top1_agreed.iter().sum::<usize>() as f64 / self.tokens() as f64
    }

    /// Mean negative log-likelihood and mean KL divergence over the first chunks, in nats.
    fn first_chunks(&self, chunks: usize) -> (f64, f64) {
        let tokens = (self.tokens_per_chunk * chunks) as f64;
        let mean = |sums: &[f64]| sums.iter().take(chunks).sum::<f64>() / tokens;
        (mean(&self.nll), mean(&self.kl_divergence))
    }
}

/// How far two runs of one variant on different processors may be apart.
///
/// A processor that sums in another order puts some values on the other side of the middle between two
/// codes, and the model carries that on: the two runs make two errors of one size, not one error.
/// `kl_divergence` says how large each error is. The KL divergence of two models close to each other is half the
/// variance of the difference of their log-probabilities, and two independent errors lie up to twice as
/// far from each other as one from `f32`. So a token's negative log-likelihood differs with a variance
/// of up to four times the KL divergence, and the mean of `tokens` tokens with that over `tokens`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerance {
    /// Of the mean negative log-likelihood, in nats: about the share that a perplexity may differ by.
    pub nll: f64,
    /// Of the mean KL divergence, in nats. The KL divergence of a token has a standard deviation of about
    /// its mean. How much of that two runs share is not known, so the whole of it is allowed.
    pub kl_divergence: f64,
}

impl Tolerance {
    /// For a variant at a mean KL divergence of `kl_divergence` nats from `f32`, over so many tokens.
    pub fn of(kl_divergence: f64, tokens: usize) -> Self {
        let (kl_divergence, tokens) = (kl_divergence.max(0.0), tokens.max(1) as f64);
        Self {
            nll: LEAST_NATS + DEVIATIONS * (4.0 * kl_divergence / tokens).sqrt(),
            kl_divergence: LEAST_NATS + DEVIATIONS * kl_divergence / tokens.sqrt(),
        }
    }
}

/// The capture of a run.
pub type Capture = capture::Capture<OutlierMeters>;

/// What was measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct OutlierMeters {
    /// The profile: four inputs of each decoder layer, in the order in which they run.
    pub inputs: Vec<Input>,
    /// The residual stream.
    pub residuals: Vec<Residual>,
    /// Layers by themselves.
    pub layers: Vec<LayerErrors>,
    /// Whole models.
    pub variants: Vec<Variant>,
}

impl OutlierMeters {
    /// The variant of that name.
    pub fn variant(&self, name: &str) -> Option<&Variant> {
        self.variants.iter().find(|variant| variant.name == name)
    }

    /// An input of a layer.
    pub fn input(&self, layer: usize, input: &str) -> Option<&Input> {
        self.inputs.iter().find(|found| found.layer == layer && found.input == input)
    }

    /// The whole-output errors of a method over all layers of a projection.
    pub fn errors(&self, projection: &str, method: &str) -> Option<Spread> {
        let of = self.layers.iter().filter(|layer| layer.projection == projection);
        let errors: Vec<f64> =
            of.filter_map(|layer| Some(layer.errors.get(method)?.whole)).collect();
        Spread::of(&errors)
    }

    /// What differs from `committed` by more than the [`Tolerance`], in words: one line each. A quick run
    /// is held to the same chunks.
    pub fn differences(&self, committed: &Self) -> Vec<String> {
        let mut lines = Vec::new();
        for theirs in &committed.variants {
            let Some(ours) = self.variant(&theirs.name) else {
                lines.push(format!("{} was not run", theirs.name));
                continue;
            };
            let chunks = ours.nll.len().min(theirs.nll.len());
            let ((nll, kl), (their_nll, their_kl)) =
                (ours.first_chunks(chunks), theirs.first_chunks(chunks));
            let allowed = Tolerance::of(their_kl, theirs.tokens_per_chunk * chunks);
            if (nll - their_nll).abs() > allowed.nll {
                let (ours, theirs_is) = (nll.exp(), their_nll.exp());
                lines.push(format!("{}: perplexity {ours:.4}, not {theirs_is:.4}", theirs.name));
            }
            if (kl - their_kl).abs() > allowed.kl_divergence {
                lines.push(format!("{}: divergence {kl:.5}, not {their_kl:.5}", theirs.name));
            }
        }
        lines
    }
}

impl Body for OutlierMeters {
    type Setup = Setup;
    const SCHEMA: &'static str = "outlier-meters";

    fn check(&self, setup: &Setup) -> Result<(), CaptureError> {
        let wrong = |text: String| Err(CaptureError::Inconsistent(text));
        if self.variant("f32").is_none() {
            return wrong("there is no variant f32, which the others are compared with".into());
        }
        for (index, variant) in self.variants.iter().enumerate() {
            let name = &variant.name;
            let chunks = setup.chunks;
            let lengths =
                [variant.nll.len(), variant.kl_divergence.len(), variant.top1_agreed.len()];
            if variant.tokens_per_chunk == 0 || chunks == 0 || lengths != [chunks; 3] {
                return wrong(format!("{name} has {lengths:?} chunks, the run had {chunks}"));
            }
            // A KL divergence is not negative, but probabilities in f32 may make the sum a little less than 0.
            let finite =
                variant.nll.iter().chain(&variant.kl_divergence).all(|sum| sum.is_finite());
            if !finite || variant.kl_divergence.iter().any(|&sum| sum < -1e-2) {
                return wrong(format!("{name} has a sum that cannot be"));
            }
            if variant.top1_agreed.iter().any(|&top1_agreed| top1_agreed > variant.tokens_per_chunk)
            {
                return wrong(format!("{name} agrees on more tokens than were scored"));
            }
            if self.variants[..index].iter().any(|other| other.name == *name) {
                return wrong(format!("{name} is there twice"));
            }
        }
        for input in &self.inputs {
            let Input { layer, input: name, peak, peak_without_first, .. } = input;
            if peak.magnitude < peak_without_first.magnitude || peak.channel >= input.channels {
                return wrong(format!("layer {layer} {name}: its peak {peak:?} is none"));
            }
        }
        let errors = self.layers.iter().flat_map(|layer| layer.errors.values());
        match errors.copied().find(|error| !(error.whole >= 0.0 && error.median_token >= 0.0)) {
            Some(error) => wrong(format!("a layer has the error {error:?}")),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made-up readings, for these tests alone.
    fn example() -> OutlierMeters {
        let none = || "none".to_string();
        let mut meters = OutlierMeters::default();
        for (name, nll, kl_divergence) in [("f32", 6.0, 0.0), ("int8", 7.0, 0.75)] {
            meters.variants.push(Variant {
                name: name.into(),
                weights: none(),
                activations: none(),
                tokens_per_chunk: 3,
                nll: vec![nll, nll + 2.0],
                kl_divergence: vec![kl_divergence; 2],
                top1_agreed: vec![3, 2],
                ..Variant::default()
            });
        }
        meters
    }

    #[test]
    fn perplexity_kl_divergence_and_top1_agreement_follow_from_the_sums() {
        let meters = example();
        let variant = &meters.variants[1];
        assert_eq!(variant.perplexity(), (16.0_f64 / 6.0).exp());
        assert_eq!(variant.mean_kl_divergence(), 0.25);
        assert_eq!(variant.top1_agreement(), 5.0 / 6.0);
    }

    #[test]
    fn a_run_is_held_to_the_committed_one_chunk_by_chunk() {
        let (committed, mut run) = (example(), example());
        assert!(run.differences(&committed).is_empty());
        run.variants[0].nll.truncate(1);
        run.variants[0].kl_divergence.truncate(1);
        assert!(run.differences(&committed).is_empty(), "a quick run has fewer chunks");
        // f32 is 0 nats from itself, so that the least tolerance alone is allowed.
        run.variants[0].nll[0] += 3.0 * 1.1 * LEAST_NATS;
        run.variants[0].kl_divergence[0] += 3.0 * 1.1 * LEAST_NATS;
        let lines = run.differences(&committed).join("\n");
        assert!(lines.contains("f32: perplexity") && lines.contains("f32: divergence"), "{lines}");
        run.variants.remove(0);
        assert_eq!(run.differences(&committed), ["f32 was not run"]);
    }

    #[test]
    fn a_variant_that_is_far_off_may_move_more_and_a_longer_text_less() {
        let of = |kl_divergence, tokens| Tolerance::of(kl_divergence, tokens).nll - LEAST_NATS;
        assert!((of(0.04, 100) / of(0.01, 100) - 2.0).abs() < 1e-12);
        assert!((of(0.01, 100) / of(0.01, 400) - 2.0).abs() < 1e-12);
        assert!((of(0.01, 400) - 3.0 * 0.01).abs() < 1e-12, "three times sqrt(4 * 0.01 / 400)");
    }

    #[test]
    fn the_committed_capture_is_sound_and_agrees_with_itself() -> Result<(), CaptureError> {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/outliers/captures");
        let capture = Capture::load(&folder.join("model-epyc-milan-2.json"))?;
        assert!(capture.differences(&capture).is_empty());
        assert_eq!((capture.setup.chunks, capture.provenance.processors), (22, 2));
        let f32 = capture.variant("f32").map(Variant::mean_kl_divergence);
        assert!(f32.is_some_and(|kl_divergence| kl_divergence.abs() < LEAST_NATS), "{f32:?}");
        for layer in 0..30 {
            assert!(capture.input(layer, "down_proj").is_some(), "layer {layer}");
        }
        assert_eq!(capture.errors("down_proj", "W8A16").map(|spread| spread.samples), Some(30));
        Ok(())
    }

    fn error_of(change: impl Fn(&mut OutlierMeters)) -> String {
        let setup = Setup { chunk: 8, chunks: 2, calibration_tokens: 8, ..Setup::default() };
        let mut meters = example();
        change(&mut meters);
        meters.check(&setup).expect_err("it contradicts itself").to_string()
    }

    #[test]
    fn captures_that_contradict_themselves_are_refused_with_the_reason() {
        assert!(error_of(|c| c.variants[0].name = "f33".into()).contains("no variant f32"));
        assert!(error_of(|c| c.variants[1].name = "f32".into()).contains("f32 is there twice"));
        let chunks = error_of(|c| c.variants[1].nll.truncate(1));
        assert!(chunks.contains("int8 has [1, 2, 2] chunks, the run had 2"), "{chunks}");
        assert!(error_of(|c| c.variants[1].top1_agreed[0] = 4).contains("agrees on more tokens"));
        assert!(error_of(|c| c.variants[1].kl_divergence[0] = -1.0).contains("cannot be"));
        let error = Error { whole: -1.0, median_token: 0.0 };
        let layer = || LayerErrors {
            layer: 0,
            projection: "q_proj".into(),
            errors: BTreeMap::from([("W8A16".to_string(), error)]),
        };
        assert!(error_of(|c| c.layers.push(layer())).contains("has the error"));
    }
}
