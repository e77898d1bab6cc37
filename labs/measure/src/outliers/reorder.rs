//! The same function with other roundings: how far two processors may be apart, seen on one.

use std::sync::Arc;

use anyhow::Result;
use model::{Dense, LayerId, Model, Projection};
use ndarray::{Array2, Axis};

use super::folding::weight;

/// The model with the inner channels of every MLP in the reverse order: the rows of gate and up, the
/// columns of down. Each sum of `down_proj` then has its terms in another order. Rows, columns and
/// groups stay together, so every quantizer gives the same codes for the same numbers.
///
/// # Errors
/// If a layer does not keep its `f32` weight.
pub fn reverse_inner(model: &Model) -> Result<Model> {
    let mut reversed = model.clone();
    for layer in 0..model.config().layers {
        for (projection, axis) in
            [(Projection::Gate, 0), (Projection::Up, 0), (Projection::Down, 1)]
        {
            let id = LayerId::Layer(layer, projection);
            let mut new: Array2<f32> = weight(model, id)?.clone();
            new.invert_axis(Axis(axis));
            // Dense keeps rows as they lie; this writes them in the new order.
            let new = new.as_standard_layout().into_owned();
            reversed.replace(id, Arc::new(Dense::new(new)))?;
        }
    }
    Ok(reversed)
}
