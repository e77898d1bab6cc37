//! One matrix with lab 06's functions, and with scales that the lab does not choose.

use formats::FormatError;
use formats::format::Grid as Answer;
use formats::layouts::Grouped;
use formats::registry::{Codes, StorageFormat};
use gptq::{Hessian, Rounded, Settings};
use half::f16;
use ndarray::{Array2, Axis};

use crate::gptq_options::{Options, Scales};
use crate::refine::{refine, searched_scales};
use crate::{WriteError, gptq_floats};

/// The codes of `w`, `[out_features, in_features]`, under the Hessian `h` of its inputs. `absmax` is the
/// largest magnitude of all matrices that share a number with `w`, if the format has such a number.
pub(crate) fn round(
    w: &Array2<f32>,
    h: &Hessian,
    options: &Options,
    format: StorageFormat,
    absmax: Option<f32>,
) -> Result<Codes, WriteError> {
    options.check(format)?;
    if let Some(elements) = format.description.elements() {
        return gptq_floats::round(w, h, options, (format, elements), absmax);
    }
    let rounded = integers(w, h, options, format)?;
    match format.description.weights {
        Answer::Int(8) => Ok(Codes::Int8(rounded.int8()?)),
        weights => Ok(Codes::Grouped(grouped(rounded.q(), rounded.scales(), weights.bits())?)),
    }
}

/// Codes `q`, `[out_features, in_features]`, of so many bits with their scales, one for each group.
pub(crate) fn grouped(
    q: &Array2<i8>,
    scales: &Array2<f32>,
    bits: u32,
) -> Result<Grouped, WriteError> {
    let grouped = Grouped::symmetric(q, scales.mapv(f16::from_f32), bits);
    Ok(grouped.map_err(FormatError::from)?)
}

/// As [`round`], on a grid of integers.
pub(crate) fn integers(
    w: &Array2<f32>,
    h: &Hessian,
    options: &Options,
    format: StorageFormat,
) -> Result<Rounded, WriteError> {
    let settings = options.settings(format, w.ncols());
    if options.scales != Scales::Searched && options.sweeps == 0 {
        return Ok(gptq::gptq(w, h, &settings)?);
    }
    settings.check(w.ncols())?;
    let Settings { grid, group_size, .. } = settings;
    let (prepared, damped) = gptq::prepare(w, h, settings.damping)?;
    let rounded = if options.scales == Scales::Searched {
        let scales = searched_scales(&prepared, damped.diag(), group_size, &grid);
        with_scales(&prepared, &damped, scales, options, &settings)?
    } else {
        gptq::gptq(w, h, &settings)?
    };
    let (codes, scales) = refine(&rounded, &prepared, &damped, &grid, options.sweeps);
    Ok(Rounded::new(codes, scales)?)
}

/// GPTQ with given scales.
fn with_scales(
    w: &Array2<f64>,
    h: &Array2<f64>,
    scales: Array2<f32>,
    options: &Options,
    &Settings { grid, group_size, block, .. }: &Settings,
) -> Result<Rounded, WriteError> {
    let order = options.order(h);
    let u = gptq::inverse_factor(&h.select(Axis(0), &order).select(Axis(1), &order))?;
    let each = Array2::from_shape_fn(w.dim(), |(row, at)| scales[(row, order[at] / group_size)]);
    let rounded = gptq::round_static(&w.select(Axis(1), &order), &u, &each, block, &grid);
    let mut codes = Array2::zeros(w.dim());
    for (at, &column) in order.iter().enumerate() {
        codes.column_mut(column).assign(&rounded.column(at));
    }
    Ok(Rounded::new(codes, scales)?)
}
