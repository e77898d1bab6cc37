//! GPTQ on a grid of floats. The method needs the scale of each weight and the nearest value of a grid, and no
//! integer code, so lab 06's Hessian and its factor serve here as they are.

use formats::microscaling::Element;
use formats::registry::{Codes, StorageFormat};
use gptq::Hessian;
use ndarray::{Array1, Array2, Axis, s};
use rayon::prelude::*;

use crate::WriteError;
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
    with(feedback(w, h, options, elements, &scales)?)
}

/// The codes in the order of `w`, under the scale of each weight.
fn feedback(
    w: &Array2<f32>,
    h: &Hessian,
    options: &Options,
    elements: Element,
    scales: &Array2<f32>,
) -> Result<Array2<u8>, WriteError> {
    let (prepared, damped) = gptq::prepare(w, h, options.damping)?;
    let order = options.order(&damped);
    let u = gptq::inverse_factor(&damped.select(Axis(0), &order).select(Axis(1), &order))?;
    let (encode, decode) = (elements.encode(), elements.decode());
    let row = |row: usize| {
        let mut w = prepared.row(row).select(Axis(0), &order);
        let mut codes = vec![0; w.len()];
        for (at, &column) in order.iter().enumerate() {
            let scale = scales[(row, column)];
            let code = encode(w[at] as f32 / scale);
            let error = (w[at] - f64::from(decode(code) * scale)) / u[(at, at)];
            w.slice_mut(s![at + 1..]).scaled_add(-error, &u.slice(s![at, at + 1..]));
            codes[column] = code;
        }
        codes
    };
    let mut codes = Array2::zeros(w.dim());
    let rows: Vec<_> = codes.rows_mut().into_iter().enumerate().collect();
    rows.into_par_iter().for_each(|(at, mut codes)| codes.assign(&Array1::from(row(at))));
    Ok(codes)
}
