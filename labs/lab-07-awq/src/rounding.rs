//! The rounding in groups, which lab 03 has built, on three grids.

use half::f16;
use kit::int4::Int4Error;
use ndarray::{Array2, s};

use crate::AwqError;

/// Which codes there are, and the rule of scales and zero points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grid {
    /// Lab 03's: `absmax / 7`, codes -7..=7.
    Lab03,
    /// llm-compressor's symmetric grid: `absmax / 7.5`, codes -8..=7.
    LlmCompressor,
    /// `(max - min) / 15` with a zero point, codes 0..=15. The range always holds 0, as
    /// compressed-tensors has it. AutoAWQ's is the same for a group with both signs, and cannot
    /// reach the weights of a group that lies far from 0.
    Asymmetric,
}

/// The type in which scales are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// 16 bits, as every format of four bits stores them.
    F16,
    /// 32 bits, as the libraries search with a model in `f32`.
    F32,
}

/// The nearest codes in groups along a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rounding {
    /// The codes, and the rule of scales.
    pub grid: Grid,
    /// Weights of a row that share a scale.
    pub group_size: usize,
    /// The type of the scales.
    pub stored: Stored,
}

/// Codes 0..=15 in groups, a symmetric grid with zero points of 8.
#[derive(Clone, Debug, PartialEq)]
pub struct Rounded {
    /// `[out_features, in_features]`.
    pub codes: Array2<u8>,
    /// `[out_features, in_features / group_size]`.
    pub zeros: Array2<u8>,
    /// `[out_features, in_features / group_size]`, already rounded to their type.
    pub scales: Array2<f32>,
}

impl Rounded {
    /// The numbers that the codes stand for, `[out_features, in_features]`.
    pub fn values(&self) -> Array2<f32> {
        let size = self.codes.ncols() / self.scales.ncols();
        Array2::from_shape_fn(self.codes.dim(), |(row, column)| {
            let at = (row, column / size);
            // Codes and zero points have no sign, and their difference has one.
            let steps = i16::from(self.codes[(row, column)]) - i16::from(self.zeros[at]);
            f32::from(steps) * self.scales[at]
        })
    }
}

impl Rounding {
    /// The usual rounding: scales in `f16`.
    pub fn new(grid: Grid, group_size: usize) -> Self {
        Self { grid, group_size, stored: Stored::F16 }
    }

    /// The nearest codes of `w`, `[out_features, in_features]`.
    ///
    /// # Errors
    /// [`Int4Error::GroupDoesNotDivide`]; [`AwqError::NotFinite`] and [`AwqError::ScaleOverflow`] with
    /// the first such value.
    pub fn round(&self, w: &Array2<f32>) -> Result<Rounded, AwqError> {
        let (rows, in_features) = w.dim();
        let size = self.group_size;
        if in_features == 0 || !in_features.is_multiple_of(size) {
            return Err(Int4Error::GroupDoesNotDivide { in_features, group_size: size }.into());
        }
        if let Some(((row, column), &value)) = w.indexed_iter().find(|(_, v)| !v.is_finite()) {
            return Err(AwqError::NotFinite { what: "the weight", row, column, value });
        }
        let mut codes = Array2::zeros(w.dim());
        let mut zeros = Array2::from_elem((rows, in_features / size), 8);
        let mut scales = Array2::ones(zeros.dim());
        for ((row, group), stored) in scales.indexed_iter_mut() {
            let weights = w.slice(s![row, group * size..(group + 1) * size]);
            let (min, max) =
                weights.iter().fold((0.0f32, 0.0f32), |(a, b), &w| (a.min(w), b.max(w)));
            let (scale, zero) = self.scale_and_zero(min, max);
            if scale.is_infinite() {
                return Err(AwqError::ScaleOverflow { row, group, absmax: max.max(-min) });
            }
            (*stored, zeros[(row, group)]) = (scale, zero);
            let least = if self.grid == Grid::Lab03 { 1.0 } else { 0.0 };
            for (at, weight) in weights.iter().enumerate() {
                let code = (weight / scale).round_ties_even() + f32::from(zero);
                codes[(row, group * size + at)] = code.clamp(least, 15.0) as u8;
            }
        }
        Ok(Rounded { codes, zeros, scales })
    }

    /// The numbers that the nearest codes of `w` stand for, `[out_features, in_features]`.
    ///
    /// # Errors
    /// As [`Rounding::round`].
    pub fn values(&self, w: &Array2<f32>) -> Result<Array2<f32>, AwqError> {
        Ok(self.round(w)?.values())
    }

    /// The scale, 1 where it is 0, and the zero point of a group between `min` and `max`.
    fn scale_and_zero(&self, min: f32, max: f32) -> (f32, u8) {
        let exact = match self.grid {
            Grid::Lab03 => max.max(-min) / 7.0,
            Grid::LlmCompressor => max.max(-min) / 7.5,
            Grid::Asymmetric => (max - min) / 15.0,
        };
        let stored = match self.stored {
            Stored::F16 => f16::from_f32(exact).to_f32(),
            Stored::F32 => exact,
        };
        let scale = if stored > 0.0 { stored } else { 1.0 };
        let zero = match self.grid {
            Grid::Asymmetric => (-(min / scale).round_ties_even()).clamp(0.0, 15.0) as u8,
            _ => 8,
        };
        (scale, zero)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    fn values(grid: Grid, w: &Array2<f32>) -> Result<Array2<f32>, AwqError> {
        Rounding { stored: Stored::F32, ..Rounding::new(grid, 4) }.values(w)
    }

    #[test]
    fn each_grid_has_its_codes_and_its_scale() -> Result<(), AwqError> {
        let w = array![[-7.5, 7.0, 0.4, 0.6]];
        assert_eq!(values(Grid::LlmCompressor, &w)?, array![[-8.0, 7.0, 0.0, 1.0]]);
        assert_eq!(
            values(Grid::Lab03, &array![[-7.0, 6.4, 0.5, 0.6]])?,
            array![[-7.0, 6.0, 0.0, 1.0]]
        );
        assert_eq!(
            values(Grid::Asymmetric, &array![[-3.0, 12.0, 0.4, 0.6]])?,
            array![[-3.0, 12.0, 0.0, 1.0]]
        );
        Ok(())
    }

    #[test]
    fn a_group_far_from_0_is_reached_and_a_group_of_zeros_is_0() -> Result<(), AwqError> {
        let far = array![[30.0, 28.0, 26.0, 15.0], [0.0, 0.0, 0.0, 0.0]];
        let expected = array![[30.0, 28.0, 26.0, 16.0], [0.0, 0.0, 0.0, 0.0]];
        assert_eq!(values(Grid::Asymmetric, &far)?, expected);
        Ok(())
    }

    #[test]
    fn groups_that_do_not_divide_nan_and_overflow_are_refused() {
        let rounding = Rounding::new(Grid::Lab03, 3);
        let uneven = Int4Error::GroupDoesNotDivide { in_features: 4, group_size: 3 };
        assert_eq!(rounding.round(&Array2::zeros((1, 4))), Err(uneven.into()));
        let overflow = rounding.round(&array![[0.0, 0.0, 0.0, 0.0, 600_000.0, 0.0]]);
        let expected = AwqError::ScaleOverflow { row: 0, group: 1, absmax: 600_000.0 };
        assert_eq!(overflow, Err(expected));
        let nan = rounding.round(&array![[0.0, 0.0, f32::NAN]]);
        assert!(matches!(nan, Err(AwqError::NotFinite { row: 0, column: 2, .. })));
    }
}
