//! GPTQ on a grid of floats.

use formats::microscaling::Element;
use formats::registry::{Codes, StorageFormat};
use gptq::Hessian;
use ndarray::Array2;

use crate::WriteError;
use crate::feedback::feedback;
use crate::gptq_options::Options;

/// The codes of `w`, `[out_features, in_features]`, under the Hessian `h` of its inputs. Scales are those of
/// the nearest codes, where `absmax` is the largest magnitude of all matrices that share a number.
pub(crate) fn round(
    w: &Array2<f32>,
    h: &Hessian,
    options: &Options,
    (format, elements): (StorageFormat, Element),
    absmax: Option<f32>,
) -> Result<Codes, WriteError> {
    let nearest = format.round_among(w, absmax)?;
    let with = |codes| {
        let none = || WriteError::Plan(format!("the codes of {format} are not floats"));
        nearest.with_floats(codes).ok_or_else(none)
    };
    // The code of 1 stands for the scale as a reader of the file decodes it, whatever the layout.
    let ones = Array2::from_elem(w.dim(), elements.encode()(1.0));
    let scales = format.values([w.nrows(), w.ncols()], &with(ones)?)?;
    let (encode, decode) = (elements.encode(), elements.decode());
    let nearest = |at, weight: f64| {
        let code = encode(weight as f32 / scales[at]);
        (code, f64::from(decode(code) * scales[at]))
    };
    with(feedback(w, h, options, nearest)?)
}
