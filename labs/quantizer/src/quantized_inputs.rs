//! Linear layers whose inputs are quantized while the model runs.

use std::sync::Arc;

use formats::checkpoint::{
    ActGranularity, Activations, Dtype, Numbers, ScaleTime, Scheme, Storage,
};
use formats::dequantize::Layout;
use formats::float8;
use formats::format::{Grid, Group};
use formats::registry::StoredPart;
use model::{Dense, Linear, LinearError};
use ndarray::{Array1, Array2, ArrayView1, Axis, Zip, s};
use quantize_model::labs;

use crate::WriteError;

/// How the inputs of a layer are quantized.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct InputScales {
    /// [`Grid::Int`] of 8 or 4 bits, or [`Grid::E4M3`].
    grid: Grid,
    scale: Scale,
}

/// The inputs that share a scale, and when the scale is found.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Scale {
    /// Each token has one, found while the model runs.
    Token,
    /// All tokens of a call have one, found while the model runs.
    Call,
    /// So many neighbours of a token have one, found while the model runs.
    Neighbours(usize),
    /// The file has one, in `input_scale`.
    Stored,
}

impl InputScales {
    /// What the config says of the inputs; `None` if they stay floats.
    ///
    /// # Errors
    /// What is said and not computed here, in words.
    pub(crate) fn of(said: &Activations) -> Result<Option<Self>, String> {
        let grid = match (said.bits, &said.numbers) {
            (16, _) => return Ok(None),
            (8, Some(Numbers::Int)) => Grid::Int(8),
            (4, Some(Numbers::Int)) => Grid::Int(4),
            (8, Some(Numbers::Float)) => Grid::E4M3,
            (bits, _) => return Err(format!("activations of {bits} bits are not computed here")),
        };
        let scale = match (said.scale, said.granularity) {
            (Some(ScaleTime::Dynamic), Some(ActGranularity::Token)) => Scale::Token,
            (Some(ScaleTime::Dynamic), Some(ActGranularity::Group(Group::Tensor))) => Scale::Call,
            (Some(ScaleTime::Dynamic), Some(ActGranularity::Group(Group::Size(size)))) => {
                Scale::Neighbours(size as usize)
            }
            (Some(ScaleTime::Static), Some(ActGranularity::Group(Group::Tensor))) => Scale::Stored,
            _ => {
                let problem = "the config does not say which activations share a scale, or says it \
                               in a way that is not computed here";
                return Err(problem.into());
            }
        };
        Ok(Some(Self { grid, scale }))
    }
}

/// The layer `decoded`, whose weights `parts` stand for in `layout`, with its inputs quantized.
///
/// # Errors
/// If a part is missing or damaged.
pub(crate) fn layer(
    inputs: InputScales,
    layout: Layout,
    parts: &[StoredPart],
    decoded: &Arc<dyn Linear>,
) -> Result<Arc<dyn Linear>, WriteError> {
    let one_byte = matches!(layout.scheme, Scheme::IntQuantized | Scheme::Fp8);
    if let ([first, second], Scale::Token, Group::Channel, true) =
        (parts, inputs.scale, layout.group, one_byte)
    {
        let (codes, scales) = if first.is("weight") { (first, second) } else { (second, first) };
        let shape = [decoded.out_features(), decoded.in_features()];
        return Ok(Arc::new(Codes::new(inputs.grid, shape, codes, scales)?));
    }
    let stored = match inputs.scale {
        Scale::Stored => {
            let scale = parts.iter().find(|part| part.is("input_scale"));
            let missing = || {
                let problem = "activations with a static scale need an `input_scale`";
                WriteError::Unsupported(problem.into())
            };
            Some(scale.ok_or_else(missing)?.floats([1, 1])?[(0, 0)])
        }
        _ => None,
    };
    Ok(Arc::new(Rounded { inputs, stored, weights: Arc::clone(decoded) }))
}

/// `x`, `[tokens, in_features]`, as numbers on `grid`, and the scale of each token, `[tokens, 1]`.
fn quantize_tokens(grid: Grid, x: &Array2<f32>) -> Result<(Array2<f32>, Array2<f32>), LinearError> {
    match grid {
        Grid::E4M3 => {
            let (codes, scales) = float8::quantize_per_channel(x)?;
            Ok((codes.mapv(float8::decode), scales))
        }
        Grid::Int(4) => int4_tokens(x),
        _ => {
            let x = labs::quantize_activations_per_token(x)?;
            Ok((x.q().mapv(f32::from), x.scales().clone()))
        }
    }
}

/// As [`quantize_tokens`], with the codes -7 to 7 of lab 03's grid.
fn int4_tokens(x: &Array2<f32>) -> Result<(Array2<f32>, Array2<f32>), LinearError> {
    const STEPS: f32 = 7.0;
    if let Some(((token, feature), value)) = x.indexed_iter().find(|(_, x)| !x.is_finite()) {
        return Err(format!("token {token} has {value} at feature {feature}: no code").into());
    }
    let absmax = |row: ArrayView1<f32>| row.fold(0.0, |max: f32, x| max.max(x.abs()));
    let scales = x.map_axis(Axis(1), |row| match absmax(row) {
        0.0 => 1.0,
        absmax => absmax / STEPS,
    });
    let scales = scales.insert_axis(Axis(1));
    let codes = (x / &scales).mapv(|code| code.round_ties_even().clamp(-STEPS, STEPS));
    Ok((codes, scales))
}

/// A layer of 8-bit weights, a scale for each row, and 8-bit activations, a scale for each token.
///
/// The sums run in `f32`, which is much faster here than `i32`: a sum of products of int8 codes is
/// exact up to 2^24 and rounded beyond.
struct Codes {
    activations: Grid,
    codes: Dense,
    /// One for each output channel.
    scales: Array1<f32>,
}

impl Codes {
    fn new(
        activations: Grid,
        shape: [usize; 2],
        codes: &StoredPart,
        scales: &StoredPart,
    ) -> Result<Self, WriteError> {
        let scales = scales.floats([shape[0], 1])?;
        // The type of the file and not the grid of the activations, because FP8 weights are of two types.
        let codes = match codes.tensor.storage {
            Storage::Elements(Dtype::I8) => {
                codes.numbers(shape, |[byte]| f32::from(i8::from_le_bytes([byte])))?
            }
            _ => codes.float8(shape)?,
        };
        Ok(Self { activations, codes: Dense::new(codes), scales: scales.remove_axis(Axis(1)) })
    }
}

impl Linear for Codes {
    fn forward(&self, x: &Array2<f32>) -> Result<Array2<f32>, LinearError> {
        let (codes, scales) = quantize_tokens(self.activations, x)?;
        Ok(self.codes.forward(&codes)? * scales * &self.scales)
    }

    fn out_features(&self) -> usize {
        self.codes.out_features()
    }

    fn in_features(&self) -> usize {
        self.codes.in_features()
    }

    fn bytes(&self) -> usize {
        self.codes.out_features() * self.codes.in_features() + 4 * self.scales.len()
    }
}

/// A layer of any weights whose inputs are rounded to a grid, and multiplied as floats.
struct Rounded {
    inputs: InputScales,
    /// The scale in the file.
    stored: Option<f32>,
    weights: Arc<dyn Linear>,
}

impl Rounded {
    fn rounded(&self, x: &Array2<f32>) -> Result<Array2<f32>, LinearError> {
        if let Some(scale) = self.stored {
            return Ok(x.mapv(|value| to_grid(self.inputs.grid, value / scale) * scale));
        }
        // Each row of the view shares a scale, whichever inputs share one in the layer.
        let (tokens, features) = x.dim();
        let (width, padded) = match self.inputs.scale {
            Scale::Neighbours(0) => return Err("a group of 0 activations has no scale".into()),
            // The last group of a token may be short. Zeros fill the group, because a group that ran on
            // into the next token would scale one token by another.
            Scale::Neighbours(size) => (size, features.next_multiple_of(size)),
            Scale::Call => (tokens * features, features),
            Scale::Token | Scale::Stored => (features, features),
        };
        if x.is_empty() {
            return Ok(x.clone());
        }
        let mut shared = Array2::zeros((tokens, padded));
        shared.slice_mut(s![.., ..features]).assign(x);
        let shared = shared.into_shape_with_order((tokens * padded / width, width))?;
        let (mut codes, scales) = quantize_tokens(self.inputs.grid, &shared)?;
        Zip::from(codes.rows_mut()).and(&scales.column(0)).for_each(|mut row, &scale| row *= scale);
        let codes = codes.into_shape_with_order((tokens, padded))?;
        Ok(codes.slice_move(s![.., ..features]))
    }
}

/// The number on the grid nearest to `value`; a value beyond the grid becomes its end.
fn to_grid(grid: Grid, value: f32) -> f32 {
    match grid {
        Grid::E4M3 => float8::decode(float8::encode(value)),
        Grid::Int(4) => value.round_ties_even().clamp(-8.0, 7.0),
        _ => value.round_ties_even().clamp(-128.0, 127.0),
    }
}

impl Linear for Rounded {
    fn forward(&self, x: &Array2<f32>) -> Result<Array2<f32>, LinearError> {
        self.weights.forward(&self.rounded(x)?)
    }

    fn out_features(&self) -> usize {
        self.weights.out_features()
    }

    fn in_features(&self) -> usize {
        self.weights.in_features()
    }

    fn bytes(&self) -> usize {
        self.weights.bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    /// A layer that hands its inputs on, with its inputs rounded.
    fn rounded(grid: Grid, scale: Scale, stored: Option<f32>) -> Result<Array2<f32>, LinearError> {
        let weights: Arc<dyn Linear> = Arc::new(Dense::new(Array2::eye(4)));
        let inputs = InputScales { grid, scale };
        // The largest magnitude of all in the last token and column, and of a pair in each place.
        let x = array![[1.0, -2.0, 0.3, 0.5], [0.1, 4.0, -0.7, -8.0]];
        Rounded { inputs, stored, weights }.forward(&x)
    }

    /// Each value on a grid of `qmax` steps up to the largest magnitude of those that share a scale.
    fn expected(absmax: [[f32; 4]; 2]) -> Array2<f32> {
        let x = array![[1.0f32, -2.0, 0.3, 0.5], [0.1, 4.0, -0.7, -8.0]];
        Array2::from_shape_fn((2, 4), |(i, j)| {
            let scale = absmax[i][j] / 127.0;
            (x[(i, j)] / scale).round_ties_even() * scale
        })
    }

    #[test]
    fn inputs_share_the_scale_that_the_config_says() -> Result<(), LinearError> {
        let int8 = Grid::Int(8);
        for (scale, absmax) in [
            (Scale::Token, [[2.0; 4], [8.0; 4]]),
            (Scale::Call, [[8.0; 4]; 2]),
            (Scale::Neighbours(2), [[2.0, 2.0, 0.5, 0.5], [4.0, 4.0, 8.0, 8.0]]),
            // The last group of a token is short, and takes nothing from the next token.
            (Scale::Neighbours(3), [[2.0, 2.0, 2.0, 0.5], [4.0, 4.0, 4.0, 8.0]]),
            (Scale::Neighbours(8), [[2.0; 4], [8.0; 4]]),
        ] {
            assert_eq!(rounded(int8, scale, None)?, expected(absmax), "{scale:?}");
        }
        Ok(())
    }

    #[test]
    fn a_stored_scale_clips_what_lies_beyond_its_grid() -> Result<(), LinearError> {
        let int8 = rounded(Grid::Int(8), Scale::Stored, Some(0.03125))?;
        assert_eq!(int8[(1, 3)], -128.0 * 0.03125, "int8 ends at -128");
        assert_eq!(int8[(1, 1)], 127.0 * 0.03125, "int8 ends at 127");
        assert_eq!(int8[(0, 1)], -2.0);
        let fp8 = rounded(Grid::E4M3, Scale::Stored, Some(0.0078125))?;
        assert_eq!(fp8[(1, 3)], -448.0 * 0.0078125, "E4M3 ends at 448");
        Ok(())
    }

    #[test]
    fn a_group_of_no_inputs_is_refused() {
        let error = rounded(Grid::E4M3, Scale::Neighbours(0), None).expect_err("no group");
        assert!(error.to_string().contains("group of 0"), "{error}");
    }

    #[test]
    fn what_the_config_leaves_open_is_refused_and_sixteen_bits_stay_floats() {
        let said = |bits, scale, granularity| Activations {
            bits,
            numbers: Some(Numbers::Int),
            scale,
            granularity,
        };
        assert_eq!(InputScales::of(&said(16, None, None)), Ok(None));
        let token = Some(ActGranularity::Token);
        for bits in [8, 4] {
            assert!(InputScales::of(&said(bits, Some(ScaleTime::Dynamic), token)).is_ok());
        }
        for open in [said(8, None, token), said(8, Some(ScaleTime::Dynamic), None)] {
            assert!(InputScales::of(&open).is_err_and(|why| why.contains("which activations")));
        }
        assert!(InputScales::of(&said(6, None, token)).is_err_and(|why| why.contains("6 bits")));
    }
}
