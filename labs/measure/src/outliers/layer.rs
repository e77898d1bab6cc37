//! A quantized layer as a [`model::Linear`]: lab 04's arithmetic on the course's kernels, fast enough for
//! a whole model.

use std::sync::Arc;

use kernels::Int8;
use model::{Dense, Linear, LinearError};
use ndarray::{Array2, Axis, s};

use fake_quant_linear::solution::quantize_per_channel;
use smoothquant::decomposition::outlier_channels;
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
    Int8(Arc<Int8>),
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

/// The codes of [`quantize_per_channel`], laid out for the kernels.
///
/// # Errors
/// If there are too many features for a sum of 32 bits.
pub fn laid_out(weights: &Quantized) -> Result<Arc<Int8>, LinearError> {
    let scales: Vec<f32> = weights.scales().iter().copied().collect();
    Ok(Arc::new(Int8::new(weights.q(), &scales)?))
}

impl Layer {
    /// A layer with the int8 weights of `float`, which is kept only where `input` leaves something in
    /// floating point.
    pub fn int8(weights: Arc<Int8>, float: &Arc<dyn Linear>, input: Input) -> Self {
        let float = input.keeps_float().then(|| float.clone());
        Self { weights: Weights::Int8(weights), input, float }
    }

    /// A layer with weights of another format, dequantized. Its input is [`Input::Float`] or
    /// [`Input::PerToken`].
    pub fn dequantized(weights: Arc<Dense>, input: Input) -> Self {
        Self { weights: Weights::Float(weights), input, float: None }
    }

    fn float(&self) -> Result<&Arc<dyn Linear>, LinearError> {
        self.float.as_ref().ok_or_else(|| format!("{:?} needs the layer in f32", self.input).into())
    }

    /// The first token in floating point, the others in int8 with one scale.
    fn but_first(
        &self,
        weights: &Int8,
        x: &Array2<f32>,
        scale: impl Fn(&Array2<f32>) -> f32,
    ) -> Result<Array2<f32>, LinearError> {
        let first = self.float()?.forward(&x.slice(s![..1, ..]).to_owned())?;
        let rest = x.slice(s![1.., ..]).to_owned();
        let rest = one_scale(weights, &rest, scale(&rest))?;
        Ok(ndarray::concatenate(Axis(0), &[first.view(), rest.view()])?)
    }

    /// LLM.int8(): outlier channels in floating point, the others in int8, one scale per token.
    fn mixed(
        &self,
        weights: &Int8,
        x: &Array2<f32>,
        threshold: f32,
    ) -> Result<Array2<f32>, LinearError> {
        let outliers = outlier_channels(x, threshold);
        let mut rest = x.clone();
        for &channel in &outliers {
            rest.column_mut(channel).fill(0.0);
        }
        let w = self.float()?.weight().ok_or("the layer's f32 weights are not kept")?;
        let (x, w) = (x.select(Axis(1), &outliers), w.select(Axis(1), &outliers));
        Ok(weights.w8a8(&rest)? + Dense::new(w).forward(&x)?)
    }
}

impl Linear for Layer {
    fn forward(&self, x: &Array2<f32>) -> Result<Array2<f32>, LinearError> {
        let weights = match (&self.weights, self.input) {
            (Weights::Int8(weights), _) => weights,
            (Weights::Float(weights), Input::Float) => return weights.forward(x),
            (Weights::Float(weights), Input::PerToken) => {
                let x = quantize_per_channel(x)?;
                return weights.forward(&(x.q().mapv(f32::from) * x.scales()));
            }
            (Weights::Float(_), input) => {
                return Err(format!("{input:?} is not for dequantized weights").into());
            }
        };
        match self.input {
            Input::Float => Ok(weights.w8a16(x)?),
            Input::PerTensor => one_scale(weights, x, per_tensor(x)),
            Input::PerToken => Ok(weights.w8a8(x)?),
            Input::Static(scale) => one_scale(weights, x, scale),
            Input::PerTensorButFirst => self.but_first(weights, x, per_tensor),
            Input::StaticButFirst(scale) => self.but_first(weights, x, |_| scale),
            Input::Mixed(threshold) => self.mixed(weights, x, threshold),
        }
    }

    fn out_features(&self) -> usize {
        match &self.weights {
            Weights::Int8(weights) => weights.out_features(),
            Weights::Float(weights) => weights.out_features(),
        }
    }

    fn in_features(&self) -> usize {
        match &self.weights {
            Weights::Int8(weights) => weights.in_features(),
            Weights::Float(weights) => weights.in_features(),
        }
    }

    fn bytes(&self) -> usize {
        match &self.weights {
            Weights::Int8(weights) => weights.memory_bytes(),
            Weights::Float(weights) => weights.bytes(),
        }
    }
}

/// The scale that puts `max` on the last code; 1 where there is none but 0.
pub fn scale_of(max: f32) -> f32 {
    let scale = max / QMAX;
    if scale > 0.0 { scale } else { 1.0 }
}

/// The scale of all values.
fn per_tensor(x: &Array2<f32>) -> f32 {
    scale_of(x.fold(0.0, |max: f32, x| max.max(x.abs())))
}

/// The product with one scale for all tokens.
fn one_scale(weights: &Int8, x: &Array2<f32>, scale: f32) -> Result<Array2<f32>, LinearError> {
    Ok(weights.w8a8_scaled(x, &vec![scale; x.nrows()])?)
}

#[cfg(test)]
mod tests {
    use kit::data::{normal_matrix, with_outlier_channel};
    use kit::meters::max_abs_error;

    use super::*;
    use fake_quant_linear::QuantError;
    use fake_quant_linear::solution::{int8_linear, quantize_per_tensor};
    use smoothquant::SmoothError;
    use smoothquant::decomposition::mixed_linear;

    /// A ragged shape, and an outlier channel.
    fn case() -> (Array2<f32>, Array2<f32>) {
        let x = with_outlier_channel(&normal_matrix(1, 17, 77), 5, 60.0);
        (x, normal_matrix(2, 13, 77))
    }

    fn fast(input: Input) -> Array2<f32> {
        let (x, w) = case();
        layer(w, input).forward(&x).expect("finite inputs")
    }

    fn layer(w: Array2<f32>, input: Input) -> Layer {
        let codes = quantize_per_channel(&w).expect("finite weights");
        let codes = laid_out(&codes).expect("few features");
        let float: Arc<dyn Linear> = Arc::new(Dense::new(w));
        Layer::int8(codes, &float, input)
    }

    #[test]
    fn the_fast_path_is_the_labs_reference_to_the_last_rounding_of_its_scales()
    -> Result<(), QuantError> {
        let (x, w) = case();
        let w = quantize_per_channel(&w)?;
        for (input, x) in [
            (Input::PerTensor, quantize_per_tensor(&x)?),
            (Input::PerToken, quantize_per_channel(&x)?),
        ] {
            let expected = int8_linear(&x, &w)?;
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
        // The outlier channel is one product, in f32 here and in f64 there; then one sum.
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
        let identity = Int8::new(&Array2::from_diag_elem(9, 1), &[1.0; 9]).expect("they fit");
        assert_eq!(one_scale(&identity, &x, 1.0).expect("finite inputs"), expected);
        let error = one_scale(&identity, &(x * f32::NAN), 1.0).expect_err("NaN").to_string();
        assert!(error.contains("NaN"), "{error}");
    }
}
