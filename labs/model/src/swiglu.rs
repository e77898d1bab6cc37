//! The gate of the MLP.

use kernels::elementwise;
use ndarray::Array2;
use rayon::prelude::*;

/// Elements of a task: few enough that the threads share a prompt, and more than one token has, because
/// one token is not worth a second thread.
const SHARE: usize = 8192;

/// `up * silu(gate)`, element by element, into `up`; both are `[tokens, intermediate_size]`
/// (Shazeer 2020, "GLU Variants Improve Transformer", equation 6, without biases).
pub(crate) fn gate_into(up: &mut Array2<f32>, gate: &Array2<f32>) {
    // A layer of another crate may return any memory order, which is multiplied element by element.
    match (up.as_slice_mut(), gate.as_slice()) {
        (Some(up), Some(gate)) => {
            let shares = up.par_chunks_mut(SHARE).zip(gate.par_chunks(SHARE));
            shares.for_each(|(up, gate)| elementwise::gate_into(up, gate));
        }
        _ => up.iter_mut().zip(gate).for_each(multiply),
    }
}

/// `silu(x) = x / (1 + exp(-x))`.
fn multiply((up, gate): (&mut f32, &f32)) {
    *up *= gate / (1.0 + (-gate).exp());
}
