//! GPTQ on GGML's blocks. Scales and minima are those of the nearest codes, and they are there before a code is
//! chosen, so that the feedback needs nothing but the two ends of a step.

use formats::FormatError;
use formats::gguf::{TensorType, dequantize, last_code, with_codes};
use formats::registry::{Codes, encode_blocks};
use gptq::Hessian;
use ndarray::Array2;

use crate::WriteError;
use crate::feedback::feedback;
use crate::gptq_options::{Options, Scales};

/// The blocks of `w`, `[out_features, in_features]`, under the Hessian `h` of its inputs. Searched scales are
/// those of llama.cpp's search with an importance matrix, which is the diagonal of `h` up to a factor.
pub(crate) fn round(
    w: &Array2<f32>,
    h: &Hessian,
    options: &Options,
    kind: TensorType,
) -> Result<Codes, WriteError> {
    let Some(last) = last_code(kind) else {
        // A mix has floats where rows are no whole blocks.
        return Ok(Codes::Blocks { kind, bytes: encode_blocks(kind, w.view(), None)? });
    };
    // Damped, because a block without any importance has no best scale.
    let (_, damped) = gptq::prepare(w, h, options.damping)?;
    let importance: Vec<f32> = damped.diag().iter().map(|&of| of as f32).collect();
    let importance = (options.scales == Scales::Searched).then_some(&importance[..]);
    let blocks = encode_blocks(kind, w.view(), importance)?;
    let with = |codes: &[u8]| with_codes(kind, &blocks, codes).map_err(FormatError::from);
    let all = |code: u8| -> Result<Array2<f64>, WriteError> {
        let values = dequantize(kind, &with(&vec![code; w.len()])?).map_err(FormatError::from)?;
        let values = Array2::from_shape_vec(w.dim(), values.into_iter().map(f64::from).collect());
        values.map_err(|_| WriteError::Plan("its rows are no whole blocks".into()))
    };
    let (first, second) = (all(0)?, all(1)?);
    // ANCHOR: nearest
    let nearest = |at, weight: f64| {
        let step = second[at] - first[at];
        // A step of 0 has one value for all codes: NaN becomes code 0.
        let code = ((weight - first[at]) / step).round().clamp(0.0, last.into()) as u8;
        (code, first[at] + f64::from(code) * step)
    };
    let codes = feedback(w, h, options, nearest)?;
    // ANCHOR_END: nearest
    let bytes = with(codes.as_standard_layout().as_slice().unwrap_or_default())?;
    Ok(Codes::Blocks { kind, bytes })
}
