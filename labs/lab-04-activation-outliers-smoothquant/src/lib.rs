//! Lab 04: the third question, weights only or activations too?
//!
//! A layer whose weights *and* inputs are int8 multiplies integers, for which a GPU has fast units.
//! The scales have to leave the sum, so an input may have one scale per tensor or per token, but
//! not per channel. The outliers of activations are in channels. SmoothQuant (Xiao and others,
//! 2022) moves a part of each channel's absmax into the weights before anything is quantized.
//!
//! Activations are `[tokens, in_features]`, weights `[out_features, in_features]`: a channel is a
//! column of both, a token a row of an activation. [`decomposition`] has another method, that of
//! LLM.int8().
//!
//! The functions are re-exported from [`solution`], and with `LAB_IMPL=starter` from [`starter`],
//! which is the file to edit. Codes and their products are made by the functions of lab 01.

pub mod decomposition;
mod error;
mod lab_01;
mod migrated;
pub mod solution;
pub mod starter;
pub mod wrong_answers;

pub use error::SmoothError;
pub use kit::int8::{QMAX, QuantError, Quantized};
pub use lab_01::{
    check_finite, dequantize, quantize_activations_per_tensor, quantize_activations_per_token,
    quantize_weight, w8a8_linear,
};
pub use migrated::{Granularity, MIN_SCALE, Migrated, SideErrors, quantize_activations};

kit::implementation!();
