//! The functions of the earlier labs that write the checkpoint: the reader's own, with
//! `LAB_IMPL=starter`.
//!
//! A wrong answer to this lab is tried with the solutions of the other labs, so that a failure is
//! due to the step that the wrong answer replaces.

#[cfg(not(lab_impl = "wrong"))]
pub use fake_quant_linear::quantize_per_channel;
#[cfg(lab_impl = "wrong")]
pub use fake_quant_linear::solution::quantize_per_channel;
#[cfg(lab_impl = "wrong")]
pub use int4_groups::solution::{quantize_groups, quantize_groups_by_search};
#[cfg(not(lab_impl = "wrong"))]
pub use int4_groups::{quantize_groups, quantize_groups_by_search};
#[cfg(lab_impl = "wrong")]
pub use smoothquant::solution::{channel_absmax, fold_into_norm, smoothing_scales};
#[cfg(not(lab_impl = "wrong"))]
pub use smoothquant::{channel_absmax, fold_into_norm, smoothing_scales};
// Lab 04 takes the function from lab 01 by the same rule.
pub use smoothquant::quantize_activations_per_token;
