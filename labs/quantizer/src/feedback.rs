//! The column loop of GPTQ under scales that are there before. The method needs the nearest code of each weight
//! and the number that the code stands for, and no integer grid, so lab 06's Hessian and its factor serve here as
//! they are.

use gptq::Hessian;
use ndarray::{Array1, Array2, Axis, s};
use rayon::prelude::*;

use crate::WriteError;
use crate::gptq_options::Options;

/// The codes of `w`, `[out_features, in_features]`, in its order. `nearest` takes the place of a weight, and what
/// the errors before have made of the weight, and returns the nearest code with its value.
pub(crate) fn feedback(
    w: &Array2<f32>,
    h: &Hessian,
    options: &Options,
    nearest: impl Fn((usize, usize), f64) -> (u8, f64) + Sync,
) -> Result<Array2<u8>, WriteError> {
    let (prepared, damped) = gptq::prepare(w, h, options.damping)?;
    let order = options.order(&damped);
    let u = gptq::inverse_factor(&damped.select(Axis(0), &order).select(Axis(1), &order))?;
    let row = |row: usize| {
        let mut w = prepared.row(row).select(Axis(0), &order);
        let mut codes = vec![0; w.len()];
        for (at, &column) in order.iter().enumerate() {
            let (code, value) = nearest((row, column), w[at]);
            let error = (w[at] - value) / u[(at, at)];
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
