//! The codes that were chosen, with their scales.

use half::f16;
use kit::int4::Int4Groups;
use kit::int8::Quantized;
use ndarray::Array2;

use crate::{GptqError, Int4Error};

/// Codes in groups along `in_features`, and the scale of each group.
#[derive(Clone, Debug, PartialEq)]
pub struct Rounded {
    q: Array2<i8>,
    scales: Array2<f32>,
}

impl Rounded {
    /// Puts codes `q`, `[out_features, in_features]`, and their `scales`,
    /// `[out_features, in_features / group_size]`, together.
    ///
    /// # Errors
    /// [`Int4Error::ScalesDoNotFit`] if the scales do not cut every row into equal groups.
    pub fn new(q: Array2<i8>, scales: Array2<f32>) -> Result<Self, GptqError> {
        let (groups, features) = (scales.ncols(), q.ncols());
        let divides = groups > 0 && features > 0 && features.is_multiple_of(groups);
        if !divides || scales.nrows() != q.nrows() {
            let (scales, codes) = ([scales.nrows(), groups], [q.nrows(), features]);
            return Err(Int4Error::ScalesDoNotFit { scales, codes }.into());
        }
        Ok(Self { q, scales })
    }

    /// The codes, `[out_features, in_features]`.
    pub fn q(&self) -> &Array2<i8> {
        &self.q
    }

    /// The scales, `[out_features, in_features / group_size]`, already rounded to their type.
    pub fn scales(&self) -> &Array2<f32> {
        &self.scales
    }

    /// The numbers that the codes stand for, `[out_features, in_features]`.
    pub fn values(&self) -> Array2<f32> {
        let size = self.q.ncols() / self.scales.ncols();
        Array2::from_shape_fn(self.q.dim(), |(row, column)| {
            f32::from(self.q[(row, column)]) * self.scales[(row, column / size)]
        })
    }

    /// As lab 03's type, which the formats of four bits store. Scales are rounded to `f16`, which
    /// changes nothing if the grid stores them so.
    ///
    /// # Errors
    /// [`Int4Error::CodeOutOfRange`] if a code does not fit four bits.
    pub fn int4(&self) -> Result<Int4Groups, GptqError> {
        Ok(Int4Groups::new(self.q.clone(), self.scales.mapv(f16::from_f32))?)
    }

    /// As lab 01's type.
    ///
    /// # Errors
    /// If a row has more than one scale.
    pub fn int8(&self) -> Result<Quantized, GptqError> {
        Ok(Quantized::new(self.q.clone(), self.scales.clone())?)
    }
}
