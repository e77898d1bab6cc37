//! The real slice, read once: weights, and the layers that they belong to.

use std::path::PathBuf;

use anyhow::Result;
use kit::real_cache::{self, RealCache};
use kit::real_slice::{self, TENSORS, Window, label};
use ndarray::Array2;

/// The nine real matrices.
pub struct Slice(Vec<Array2<f32>>);

impl Slice {
    pub(super) fn read(_: &[PathBuf]) -> Result<Self> {
        let tensors = TENSORS.iter().map(|name| real_slice::tensor(name));
        Ok(Self(tensors.collect::<Result<_, _>>()?))
    }

    /// The matrix of a name, `[rows kept, in_features]`.
    ///
    /// # Panics
    /// If `name` is not one of [`TENSORS`].
    pub fn tensor(&self, name: &str) -> &Array2<f32> {
        let found = self.all().find(|(known, _)| *known == name);
        found.unwrap_or_else(|| panic!("{name} is not one of {TENSORS:?}")).1
    }

    /// All of them with their names, in the order of [`TENSORS`].
    pub fn all(&self) -> impl ExactSizeIterator<Item = (&'static str, &Array2<f32>)> {
        TENSORS.into_iter().zip(&self.0)
    }
}

/// A layer with the Hessian of many tokens.
pub struct WithHessian {
    /// Its name in the book.
    pub label: String,
    /// `[rows kept, in_features]`.
    pub weight: Array2<f32>,
    /// The sum of `x^T x`, `[in_features, in_features]`.
    pub hessian: Array2<f64>,
}

/// The layers with Hessians.
pub struct Hessians(pub Vec<WithHessian>);

impl Hessians {
    pub(super) fn read(_: &[PathBuf]) -> Result<Self> {
        let read = |name: &&str| -> Result<WithHessian> {
            let (weight, hessian) = (real_slice::tensor(name)?, real_slice::hessian(name)?);
            Ok(WithHessian { label: label(name), weight, hessian })
        };
        Ok(Self(real_slice::HESSIANS.iter().map(read).collect::<Result<_>>()?))
    }
}

/// One of the nine layers: its weight, what calibration saw and what it is tried on.
pub struct Layer {
    /// Its name in the book.
    pub label: String,
    /// `[rows kept, in_features]`.
    pub weight: Array2<f32>,
    /// `[46, in_features]`.
    pub calibration: Array2<f32>,
    /// `[46, in_features]`.
    pub held_out: Array2<f32>,
}

/// The nine layers, in the order of [`TENSORS`].
pub struct Layers(pub Vec<Layer>);

impl Layers {
    pub(super) fn read(_: &[PathBuf]) -> Result<Self> {
        let read = |name: &&str| -> Result<Layer> {
            Ok(Layer {
                label: label(name),
                weight: real_slice::tensor(name)?,
                calibration: real_slice::activations(name, Window::Calibration)?,
                held_out: real_slice::activations(name, Window::HeldOut)?,
            })
        };
        Ok(Self(TENSORS.iter().map(read).collect::<Result<_>>()?))
    }

    /// The layer with the weight `name`.
    ///
    /// # Panics
    /// If `name` is not one of [`TENSORS`].
    pub fn of(&self, name: &str) -> &Layer {
        let found = TENSORS.iter().zip(&self.0).find(|(known, _)| **known == name);
        found.unwrap_or_else(|| panic!("{name} is not one of {TENSORS:?}")).1
    }
}

/// The KV caches of three layers, each with the number of the layer.
pub struct Caches(pub Vec<(usize, RealCache)>);

impl Caches {
    pub(super) fn read(_: &[PathBuf]) -> Result<Self> {
        let read = |layer| Ok((layer, real_cache::of_layer(layer)?));
        Ok(Self(real_cache::LAYERS.into_iter().map(read).collect::<Result<_>>()?))
    }
}
