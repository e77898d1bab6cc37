//! Symmetric grids of any size, for figures and tables that leave the lab's int8.

use ndarray::{Array2, ArrayView1, Axis};

use crate::rows::absmax;

/// The last code of a symmetric grid of `bits` bits: 127 for 8, 7 for 4.
pub fn qmax(bits: u32) -> f64 {
    f64::from((1u32 << (bits - 1)) - 1)
}

/// `value` on a grid of codes `-qmax..=qmax`, back as a number: rounded half to even, clipped.
pub fn snap(value: f64, scale: f64, qmax: f64) -> f64 {
    (value / scale).round_ties_even().clamp(-qmax, qmax) * scale
}

/// `w`, `[rows, columns]`, on a grid of `bits` bits and back, with one scale per row.
pub fn per_channel_round_trip(w: &Array2<f32>, bits: u32) -> Array2<f32> {
    let mut approximation = w.clone();
    for (mut out, row) in approximation.axis_iter_mut(Axis(0)).zip(w.rows()) {
        let scale = scale_of(row, bits);
        out.mapv_inplace(|value| snap(f64::from(value), scale, qmax(bits)) as f32);
    }
    approximation
}

/// The scale that puts the row's largest weight on the last code; 1 for a row of zeros.
fn scale_of(row: ArrayView1<f32>, bits: u32) -> f64 {
    match absmax(row) / qmax(bits) {
        scale if scale > 0.0 => scale,
        _ => 1.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fake_quant_linear::{dequantize, quantize_per_channel};
    use kit::data::normal_matrix;
    use kit::meters::max_abs_error;

    #[test]
    fn at_8_bits_it_is_the_lab() -> Result<(), fake_quant_linear::QuantError> {
        let w = normal_matrix(11, 16, 96);
        let lab = dequantize(&quantize_per_channel(&w)?);
        // The lab divides in f32 and this in f64: they differ by roundings, not by steps.
        let step = 3.0 / 127.0;
        assert!(max_abs_error(&lab, &per_channel_round_trip(&w, 8)) < step / 1000.0);
        Ok(())
    }

    #[test]
    fn a_row_of_zeros_stays_a_row_of_zeros() {
        let zeros = Array2::zeros((2, 3));
        assert_eq!(per_channel_round_trip(&zeros, 4), zeros);
    }

    #[test]
    fn values_beyond_the_grid_are_clipped() {
        assert_eq!(snap(9.0, 1.0, 7.0), 7.0);
        assert_eq!(snap(-2.5, 1.0, 7.0), -2.0);
    }
}
