//! A quantized layer as a [`model::Linear`]: the lab's arithmetic, fast enough for a whole model.
//!
//! Codes are kept as int8 and multiplied as `f32`: integers, and the scales are applied outside. Such
//! a product is exact as long as no partial sum passes 2^24, so for up to 1,040 features (2^24 /
//! 127^2) always, and for the 1,536 of `down_proj` unless a third of all products are as large as
//! they can be and of one sign.

use std::sync::Arc;

use model::{Dense, Linear, LinearError};
use ndarray::{Array1, Array2, Axis, s};
use rayon::prelude::*;

use smoothquant::decomposition::loud_channels;
use smoothquant::{QMAX, Quantized};

/// What happens to the input of a layer before the product.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Input {
    /// Nothing: weights only.
    Float,
    /// int8, one scale for all tokens of the call, from these tokens.
    PerTensor,
    /// int8, one scale for each token.
    PerToken,
    /// int8, this scale; what is larger is clipped.
    Static(f32),
    /// As `PerTensor`, with the first token of the call in floating point and out of the scale.
    PerTensorButFirst,
    /// As `Static`, with the first token of the call in floating point.
    StaticButFirst(f32),
    /// As `PerToken`, with the channels that reach this threshold in floating point: LLM.int8().
    Mixed(f32),
}

impl Input {
    /// Whether something stays in floating point.
    fn keeps_float(self) -> bool {
        matches!(self, Self::PerTensorButFirst | Self::StaticButFirst(_) | Self::Mixed(_))
    }
}

/// The weights of a layer.
#[derive(Clone)]
enum Weights {
    /// Codes, and one scale per output channel.
    Int8(Arc<Quantized>),
    /// Any format, dequantized.
    Float(Arc<Dense>),
}

/// A layer whose weights are quantized, and its input too unless it is [`Input::Float`].
pub struct Layer {
    weights: Weights,
    input: Input,
    /// The layer in `f32`, for what is left in floating point.
    float: Option<Arc<dyn Linear>>,
}

impl Layer {
    /// A layer with int8 weights, [`quantize_weight`](smoothquant::quantize_weight) of those of `float`,
    /// which is kept only where `input` leaves something in floating point.
    pub fn int8(weights: Arc<Quantized>, float: &Arc<dyn Linear>, input: Input) -> Self {
        let float = input.keeps_float().then(|| float.clone());
        Self { weights: Weights::Int8(weights), input, float }
    }

    /// A layer with weights of another format, dequantized. Its input is none of those that leave
    /// something in floating point.
    pub fn dequantized(weights: Arc<Dense>, input: Input) -> Self {
        Self { weights: Weights::Float(weights), input, float: None }
    }

    fn float(&self) -> Result<&Arc<dyn Linear>, LinearError> {
        self.float.as_ref().ok_or_else(|| format!("{:?} needs the layer in f32", self.input).into())
    }

    /// `x`, numbers or codes, times the weights, each output channel with its scale.
    fn product(&self, x: &Array2<f32>) -> Result<Array2<f32>, LinearError> {
        match &self.weights {
            Weights::Float(weights) => weights.forward(x),
            Weights::Int8(weights) => {
                let codes = widen(weights.q());
                let sums = Dense::new(codes).forward(x)?;
                Ok(sums * weights.scales().t())
            }
        }
    }

    /// Quantizes `x` with a scale per token and multiplies.
    fn integers(&self, x: &Array2<f32>, scales: &Array1<f32>) -> Result<Array2<f32>, LinearError> {
        let sums = self.product(&codes(x, scales)?)?;
        Ok(sums * scales.view().insert_axis(Axis(1)))
    }

    /// The first token in floating point, the others by `rest`.
    fn but_first(
        &self,
        x: &Array2<f32>,
        rest: impl Fn(&Array2<f32>) -> Result<Array2<f32>, LinearError>,
    ) -> Result<Array2<f32>, LinearError> {
        let first = self.float()?.forward(&x.slice(s![..1, ..]).to_owned())?;
        let rest = rest(&x.slice(s![1.., ..]).to_owned())?;
        Ok(ndarray::concatenate(Axis(0), &[first.view(), rest.view()])?)
    }

    fn mixed(&self, x: &Array2<f32>, threshold: f32) -> Result<Array2<f32>, LinearError> {
        let loud = loud_channels(x, threshold);
        let mut quiet = x.clone();
        for &channel in &loud {
            quiet.column_mut(channel).fill(0.0);
        }
        let in_int8 = self.integers(&quiet, &per_token(&quiet))?;
        let w = self.float()?.weight().ok_or("the layer's f32 weights are not kept")?;
        let (x, w) = (x.select(Axis(1), &loud), w.select(Axis(1), &loud));
        Ok(in_int8 + Dense::new(w).forward(&x)?)
    }
}

impl Linear for Layer {
    fn forward(&self, x: &Array2<f32>) -> Result<Array2<f32>, LinearError> {
        match self.input {
            Input::Float => self.product(x),
            Input::PerTensor => self.integers(x, &per_tensor(x)),
            Input::PerToken => self.integers(x, &per_token(x)),
            Input::Static(scale) => self.integers(x, &all(x, scale)),
            Input::PerTensorButFirst => {
                self.but_first(x, |rest| self.integers(rest, &per_tensor(rest)))
            }
            Input::StaticButFirst(scale) => {
                self.but_first(x, |rest| self.integers(rest, &all(rest, scale)))
            }
            Input::Mixed(threshold) => self.mixed(x, threshold),
        }
    }

    fn out_features(&self) -> usize {
        match &self.weights {
            Weights::Int8(weights) => weights.q().nrows(),
            Weights::Float(weights) => weights.out_features(),
        }
    }

    fn in_features(&self) -> usize {
        match &self.weights {
            Weights::Int8(weights) => weights.q().ncols(),
            Weights::Float(weights) => weights.in_features(),
        }
    }

    fn bytes(&self) -> usize {
        match &self.weights {
            Weights::Int8(weights) => weights.q().len() + size_of::<f32>() * weights.scales().len(),
            Weights::Float(weights) => weights.bytes(),
        }
    }
}

/// The scale that puts `max` on the last code; 1 where there is none but 0.
pub fn scale_of(max: f32) -> f32 {
    let scale = max / QMAX;
    if scale > 0.0 { scale } else { 1.0 }
}

/// The same scale for every token.
fn all(x: &Array2<f32>, scale: f32) -> Array1<f32> {
    Array1::from_elem(x.nrows(), scale)
}

/// The scale of all values, for every token.
fn per_tensor(x: &Array2<f32>) -> Array1<f32> {
    let largest = absmax_of_tokens(x).fold(0.0, |max: f32, &token| max.max(token));
    all(x, scale_of(largest))
}

/// The scale of each token.
fn per_token(x: &Array2<f32>) -> Array1<f32> {
    absmax_of_tokens(x).mapv(scale_of)
}

fn absmax_of_tokens(x: &Array2<f32>) -> Array1<f32> {
    x.map_axis(Axis(1), |token| token.iter().fold(0.0, |max: f32, x| max.max(x.abs())))
}

/// The codes of `x`, as numbers: `x` divided by the scale of its token, rounded half to even, clipped.
fn codes(x: &Array2<f32>, scales: &Array1<f32>) -> Result<Array2<f32>, LinearError> {
    // An f32 of this size has no digits behind the point: what is added to it is rounded to an
    // integer, half to even, by the processor's own rule.
    const SHIFT: f32 = 1.5 * (1 << 23) as f32;
    let code = |x: f32, scale: f32| ((x / scale).clamp(-QMAX, QMAX) + SHIFT) - SHIFT;
    let mut codes = x.as_standard_layout().into_owned();
    let width = codes.ncols().max(1);
    if let (Some(codes), Some(scales)) = (codes.as_slice_mut(), scales.as_slice()) {
        codes.par_chunks_mut(width).zip(scales).for_each(|(row, &scale)| {
            row.iter_mut().for_each(|x| *x = code(*x, scale));
        });
    }
    if codes.iter().any(|code| code.is_nan()) {
        return Err("the input holds NaN".into());
    }
    Ok(codes)
}

/// int8 codes as `f32`, on all cores: it is done again for every product.
fn widen(codes: &Array2<i8>) -> Array2<f32> {
    const SHARE: usize = 1 << 14;
    let mut wide = Array2::zeros(codes.dim());
    match (wide.as_slice_mut(), codes.as_slice()) {
        (Some(to), Some(from)) => {
            let shares = to.par_chunks_mut(SHARE).zip(from.par_chunks(SHARE));
            shares.for_each(|(to, from): (&mut [f32], &[i8])| {
                to.iter_mut().zip(from).for_each(|(to, &code)| *to = code.into());
            });
        }
        _ => wide.assign(&codes.mapv(f32::from)),
    }
    wide
}

#[cfg(test)]
mod tests {
    use kit::data::{normal_matrix, with_outlier_channel};
    use kit::meters::max_abs_error;

    use super::*;
    use smoothquant::decomposition::mixed_linear;
    use smoothquant::solution::*;
    use smoothquant::{SmoothError, quantize_weight};

    /// A ragged shape, and a loud channel.
    fn case() -> (Array2<f32>, Array2<f32>) {
        let x = with_outlier_channel(&normal_matrix(1, 17, 77), 5, 60.0);
        (x, normal_matrix(2, 13, 77))
    }

    fn fast(input: Input) -> Array2<f32> {
        let (x, w) = case();
        layer(w, input).forward(&x).expect("finite inputs")
    }

    fn layer(w: Array2<f32>, input: Input) -> Layer {
        let codes = Arc::new(quantize_weight(&w).expect("finite weights"));
        let float: Arc<dyn Linear> = Arc::new(Dense::new(w));
        Layer::int8(codes, &float, input)
    }

    #[test]
    fn the_fast_path_is_the_labs_reference_to_the_last_rounding_of_its_scales()
    -> Result<(), SmoothError> {
        let (x, w) = case();
        let w = quantize_weight(&w)?;
        for (input, x) in [
            (Input::PerTensor, quantize_activations_per_tensor(&x)?),
            (Input::PerToken, quantize_activations_per_token(&x)?),
        ] {
            let expected = w8a8_linear(&x, &w)?;
            // The sums of codes are equal integers. Two scales in another order: one rounding each.
            let largest = expected.fold(0.0, |max: f32, y| max.max(y.abs()));
            let bound = 2.0 * f64::from(f32::EPSILON) * f64::from(largest);
            let error = max_abs_error(&expected, &fast(input));
            assert!(error <= bound, "{input:?}: {error:.2e}, bound {bound:.2e}");
        }
        Ok(())
    }

    #[test]
    fn a_static_scale_from_the_same_tokens_is_the_dynamic_one() {
        let (x, _) = case();
        let max = x.fold(0.0, |max: f32, x| max.max(x.abs()));
        assert_eq!(fast(Input::Static(scale_of(max))), fast(Input::PerTensor));
        assert_ne!(fast(Input::Static(scale_of(max / 4.0))), fast(Input::PerTensor), "it clips");
    }

    #[test]
    fn the_fast_mixed_layer_is_the_labs() -> Result<(), SmoothError> {
        let (x, w) = case();
        let expected = mixed_linear(&x, &w, 6.0)?;
        // The loud channel is one product, in f32 here and in f64 there; then one sum.
        let largest = expected.fold(0.0, |max: f32, y| max.max(y.abs()));
        let bound = 4.0 * f64::from(f32::EPSILON) * f64::from(largest);
        let error = max_abs_error(&expected, &fast(Input::Mixed(6.0)));
        assert!(error <= bound, "{error:.2e}, bound {bound:.2e}");
        Ok(())
    }

    #[test]
    fn the_first_token_in_float_changes_no_other_than_by_the_scale() {
        let (x, w) = case();
        let got = fast(Input::PerTensorButFirst);
        let first = Dense::new(w.clone()).forward(&x.slice(s![..1, ..]).to_owned());
        assert_eq!(got.slice(s![..1, ..]), first.expect("finite inputs"));
        let alone = layer(w, Input::PerTensor);
        let rest = alone.forward(&x.slice(s![1.., ..]).to_owned()).expect("finite inputs");
        assert_eq!(got.slice(s![1.., ..]), rest);
    }

    #[test]
    fn halves_are_rounded_to_even_codes() {
        let x = ndarray::array![[0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 126.5, 127.6, -300.0]];
        let expected = x.mapv(|x: f32| x.round_ties_even().clamp(-QMAX, QMAX));
        assert_eq!(codes(&x, &ndarray::array![1.0]).expect("no NaN"), expected);
        assert!(codes(&ndarray::array![[f32::NAN]], &ndarray::array![1.0]).is_err());
    }
}
