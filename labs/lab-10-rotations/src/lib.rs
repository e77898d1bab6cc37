//! Lab 10: rotations. An outlier is a property of a basis.
//!
//! A few channels of a model's activations are far larger than the others, and one scale has to reach them.
//! An orthogonal matrix `Q` mixes the channels so that no channel is far larger, and `x Wᵀ = (x Q) (W Q)ᵀ`
//! says that the layer computes the same. QuaRot (Ashkboos and others, 2024) takes Hadamard matrices, whose
//! entries are 1 and -1, with random signs in front.
//!
//! Rows are multiplied from the left: activations are `[tokens, features]` and become `x Q`. Weights are
//! `[out_features, in_features]` and compute `x Wᵀ`. All numbers are `f64`. The convention of this lab is
//! `Q = diag(signs) H / sqrt(n)`, see [`Rotation`]. [`Decoder`] is a small Llama whose function a rotation
//! must not change.
//!
//! The functions are re-exported from [`solution`], and with `LAB_IMPL=starter` from [`starter`],
//! which is the file to edit.

mod checks;
mod decoder;
mod error;
mod rope;
mod rotation;
pub mod solution;
pub mod starter;
pub mod wrong_answers;

pub use checks::{check_finite, check_fused, check_heads, check_order, check_prime, check_width};
pub use decoder::{Decoder, Layer, Online, Shape};
pub use error::RotationError;
pub use rope::rope;
pub use rotation::{Rotation, signs};

kit::implementation!();
