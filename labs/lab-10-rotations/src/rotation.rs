//! A rotation in the form in which it is fast to apply.

use kit::data::Normal;
use ndarray::{Array1, Array2};

use crate::{RotationError, factors, hadamard};

/// The orthogonal matrix `Q = diag(signs) H / sqrt(n)`, where `H` is the Hadamard matrix that
/// [`hadamard`](crate::hadamard) gives for order `n`.
///
/// The signs stand in front of `H`. Behind `H` they would only change signs of the result, and all seeds would
/// spread an outlier alike. With signs `Q` is not symmetric, so `Q` and `Qᵀ` are two matrices.
#[derive(Clone, Debug, PartialEq)]
pub struct Rotation {
    /// The part of `H` that is no power of two, `[1, 1]`, `[12, 12]` or `[36, 36]`.
    pub core: Array2<f64>,
    /// 1 and -1, one for each channel.
    pub signs: Array1<f64>,
}

impl Rotation {
    /// The rotation with the Hadamard matrix alone: all signs are 1.
    ///
    /// # Errors
    /// [`RotationError::NoHadamard`] and [`RotationError::NoConstruction`].
    pub fn plain(order: usize) -> Result<Self, RotationError> {
        let core = hadamard(factors(order)?.0)?;
        Ok(Self { core: core.mapv(f64::from), signs: Array1::ones(order) })
    }

    /// The rotation with the signs of a seed.
    ///
    /// # Errors
    /// [`RotationError::NoHadamard`] and [`RotationError::NoConstruction`].
    pub fn random(order: usize, seed: u64) -> Result<Self, RotationError> {
        Ok(Self { signs: signs(order, seed), ..Self::plain(order)? })
    }

    /// Rows and columns of `Q`.
    pub fn order(&self) -> usize {
        self.signs.len()
    }
}

/// `order` signs, 1 or -1, each with probability 1/2, decided by the seed alone.
pub fn signs(order: usize, seed: u64) -> Array1<f64> {
    let mut stream = Normal::seeded(seed);
    Array1::from_shape_simple_fn(order, || if stream.uniform() <= 0.5 { -1.0 } else { 1.0 })
}
