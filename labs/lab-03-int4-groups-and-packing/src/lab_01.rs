//! What this lab takes from lab 01: the reader's own functions, with `LAB_IMPL=starter`.
//!
//! A wrong answer to this lab is tried with the solution of lab 01, so that a failure is due to the
//! step that the wrong answer replaces.

#[cfg(not(lab_impl = "wrong"))]
use fake_quant_linear as lab_01;
#[cfg(lab_impl = "wrong")]
use fake_quant_linear::solution as lab_01;

use half::f16;
use kit::int4::{Int4Error, QMAX};
use kit::int8::QuantError;
use ndarray::Array2;

/// Refuses a matrix that holds NaN or infinity, through `check_finite` of lab 01.
///
/// # Errors
/// [`Int4Error::NotFinite`] names the first such value, its row and its column.
pub fn check_finite(w: &Array2<f32>) -> Result<(), Int4Error> {
    match lab_01::check_finite(w) {
        Err(QuantError::NotFinite { row, column, value }) => {
            Err(Int4Error::NotFinite { row, column, value })
        }
        _ => Ok(()),
    }
}

/// The code of one value under the scale as it is stored: the code of lab 01's `quantize_value`,
/// clipped to -7..=7.
pub fn quantize_value(value: f32, scale: f16) -> i8 {
    // The two grids have the same codes up to 7, and what is clipped at 127 is clipped at 7 too.
    lab_01::quantize_value(value, scale.to_f32()).clamp(-QMAX as i8, QMAX as i8)
}
