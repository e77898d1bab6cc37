//! Your file. The signatures and their promises are here; the bodies are yours.
//!
//! Grade it with `cargo book grade lab-10`, or `LAB_IMPL=starter cargo test -p lab-10-rotations --test
//! spec`. On the untouched file every test of the spec fails, because every body is a `todo!`.

#[allow(unused_imports)] // Yours to use.
use ndarray::{Array1, Array2, ArrayView2, Axis, array, linalg::kron};

#[allow(unused_imports)] // Yours to use.
use crate::{
    Decoder, Layer, Online, Rotation, RotationError, check_finite, check_fused, check_heads,
    check_order, check_prime, check_width, rope,
};

/// Task 1. The quadratic character of `x` modulo the prime `q`: 0 for a multiple of `q`, 1 for a square, -1 for
/// another number.
pub fn character(x: usize, q: usize) -> i32 {
    todo!("task 1: whether {x} is a square modulo {q}")
}

/// Task 1. Paley's construction I: a Hadamard matrix of order `q + 1` for a prime `q` that leaves 3 when it is divided
/// by 4. The matrix is the identity plus the bordered characters, with 1 in the first row and -1 in the first
/// column.
///
/// # Errors
/// [`RotationError::NotPaley`].
pub fn paley_one(q: usize) -> Result<Array2<i32>, RotationError> {
    todo!("task 1: the identity plus the bordered characters of {q}, -1 in the first column")
}

/// Task 1. Paley's construction II: a Hadamard matrix of order `2 (q + 1)` for a prime `q` that leaves 1 when it is
/// divided by 4. In the bordered characters, with 1 in the first row and the first column, 0 becomes the block
/// `[[1, -1], [-1, -1]]`, and 1 and -1 become plus and minus `[[1, 1], [1, -1]]`.
///
/// # Errors
/// [`RotationError::NotPaley`].
pub fn paley_two(q: usize) -> Result<Array2<i32>, RotationError> {
    todo!("task 1: the bordered characters of {q} in blocks of 2, with a block for 0")
}

/// Task 2. Sylvester's Hadamard matrix of a power of two: entry `(i, j)` is 1 where `i` and `j` have an even number of
/// binary ones in common, and -1 elsewhere.
///
/// # Errors
/// [`RotationError::NotAPowerOfTwo`].
pub fn sylvester(order: usize) -> Result<Array2<i32>, RotationError> {
    todo!("task 2: the signs of common binary ones, {order} times {order}")
}

/// Task 2. `order` as a core, 1, 12 or 36, times a power of two.
///
/// # Errors
/// [`RotationError::NoHadamard`], [`RotationError::NoConstruction`].
pub fn factors(order: usize) -> Result<(usize, usize), RotationError> {
    todo!("task 2: {order} as 1, 12 or 36 times a power of two")
}

/// Task 2. A Hadamard matrix: entries 1 and -1, `H Hᵀ = order I`. The matrix is the Kronecker product of a core and
/// [`sylvester`]. The core is `[[1]]`, [`paley_one`] of 11 or [`paley_two`] of 17.
///
/// # Errors
/// [`RotationError::NoHadamard`], [`RotationError::NoConstruction`].
pub fn hadamard(order: usize) -> Result<Array2<i32>, RotationError> {
    todo!("task 2: the Kronecker product of a core and Sylvester's matrix, order {order}")
}

/// Task 3. `x` times Sylvester's matrix, in place and in `n log2 n` sums: pairs at distance 1, 2, 4 and so on become
/// their sum and their difference.
///
/// # Errors
/// [`RotationError::NotAPowerOfTwo`].
pub fn butterflies(x: &mut [f64]) -> Result<(), RotationError> {
    todo!("task 3: sums and differences of {} numbers, in place", x.len())
}

/// Task 3. `x` times the Kronecker product of `core`, `[K, K]`, and Sylvester's matrix, over `sqrt(n)`. The `K` parts
/// of `x` go through [`butterflies`], and `core` mixes the parts.
///
/// # Errors
/// [`RotationError::Width`] if `x` is no `K` parts, [`RotationError::NotAPowerOfTwo`] of a part.
pub fn transform(x: &[f64], core: ArrayView2<f64>) -> Result<Vec<f64>, RotationError> {
    todo!("task 3: butterflies of {} parts of {} numbers, mixed by the core", core.nrows(), x.len())
}

/// Task 4. `x Q`, for rows `x` of `[tokens, order]`.
///
/// # Errors
/// [`RotationError::Width`], [`RotationError::NotFinite`].
pub fn apply(x: &Array2<f64>, rotation: &Rotation) -> Result<Array2<f64>, RotationError> {
    todo!(
        "task 4: signs, then the transform of each row: {:?}, order {}",
        x.dim(),
        rotation.order()
    )
}

/// Task 4. `x Qᵀ`, for rows `x` of `[tokens, order]`: the inverse of [`apply`].
///
/// # Errors
/// [`RotationError::Width`], [`RotationError::NotFinite`].
pub fn invert(x: &Array2<f64>, rotation: &Rotation) -> Result<Array2<f64>, RotationError> {
    todo!(
        "task 4: the transform with the core transposed, then signs: {:?}, order {}",
        x.dim(),
        rotation.order()
    )
}

/// Task 5. The largest magnitude over the root mean square. 1 is the least, and `sqrt(n)` the most. 1 for zeros.
pub fn max_over_rms(x: &[f64]) -> f64 {
    todo!("task 5: the largest magnitude of {} numbers over their root mean square", x.len())
}

/// Task 5. What [`max_over_rms`] of any vector of `n` numbers exceeds with a probability of at most `chance` after a
/// rotation with random signs: `sqrt(2 ln(2 n / chance))`.
pub fn flatness_bound(n: usize, chance: f64) -> f64 {
    todo!("task 5: where the tails of {n} channels have the chance {chance}")
}

/// Task 6. A weight whose input comes from a norm without weights: column `j` times `norm[j]`.
///
/// # Errors
/// [`RotationError::Width`].
pub fn fuse_norm(w: &Array2<f64>, norm: &Array1<f64>) -> Result<Array2<f64>, RotationError> {
    todo!("task 6: columns of {:?} times {} weights of a norm", w.dim(), norm.len())
}

/// Task 6. The weight of a layer whose inputs are rotated, `W Q`. The rows of an embedding rotate alike.
///
/// # Errors
/// Those of [`apply`].
pub fn rotate_inputs(w: &Array2<f64>, rotation: &Rotation) -> Result<Array2<f64>, RotationError> {
    todo!("task 6: W Q of {:?}, order {}", w.dim(), rotation.order())
}

/// Task 6. The weight of a layer that writes rotated outputs, `Qᵀ W`.
///
/// # Errors
/// [`RotationError::NotFinite`] with the place in `w`, [`RotationError::Width`].
pub fn rotate_outputs(w: &Array2<f64>, rotation: &Rotation) -> Result<Array2<f64>, RotationError> {
    todo!("task 6: Qᵀ W of {:?}, order {}", w.dim(), rotation.order())
}

/// Task 6. Each head of `x`, `[tokens, heads * order]`, times `Q`.
///
/// # Errors
/// [`RotationError::Heads`], [`RotationError::NotFinite`] with the place in `x`.
pub fn rotate_heads(x: &Array2<f64>, rotation: &Rotation) -> Result<Array2<f64>, RotationError> {
    todo!("task 6: each head of {:?}, {} channels each", x.dim(), rotation.order())
}

/// Task 6. The value projection and the output projection of a layer with R2: each head of the values becomes `v Q`,
/// and each head of the inputs of `o` is rotated alike.
///
/// # Errors
/// [`RotationError::NotFinite`] with the place in `v` or `o`, [`RotationError::Heads`].
pub fn rotate_values(
    v: &Array2<f64>,
    o: &Array2<f64>,
    rotation: &Rotation,
) -> Result<(Array2<f64>, Array2<f64>), RotationError> {
    todo!(
        "task 6: rows of {:?} and columns of {:?}, head by head, {} each",
        v.dim(),
        o.dim(),
        rotation.order()
    )
}

/// Task 7. Queries or keys as attention reads them: RoPE turns each head of `x`, `[tokens, heads * head_dim]`, and R3,
/// if there is one, rotates each head after that.
///
/// # Errors
/// [`RotationError::Heads`], [`RotationError::Width`] if R3 has not the size of a head, and those of
/// [`apply`].
pub fn rotary(
    x: &Array2<f64>,
    head_dim: usize,
    r3: Option<&Rotation>,
) -> Result<Array2<f64>, RotationError> {
    todo!("task 7: RoPE of {:?} in heads of {head_dim}, then {r3:?}", x.dim())
}

/// Task 8. The model with the weights of all norms fused into the layers behind them. The norms are 1 after that, and
/// the head has a matrix of its own, because the embedding has no norm in front.
///
/// # Errors
/// [`RotationError::Width`].
pub fn fuse_norms(model: &Decoder) -> Result<Decoder, RotationError> {
    todo!("task 8: each norm of {:?} into the layers behind it", model.shape)
}

/// Task 8. R1: the model whose residual stream is `x Q`.
///
/// # Errors
/// Those of [`check_fused`] and [`apply`].
pub fn rotate_residual(model: &Decoder, r1: &Rotation) -> Result<Decoder, RotationError> {
    todo!("task 8: who reads the stream of {:?}, and who writes, order {}", model.shape, r1.order())
}

/// Task 8. R2: the model whose values are rotated in each head, with a rotation for each layer.
///
/// # Errors
/// [`RotationError::Layers`], and those of [`rotate_values`].
pub fn rotate_all_values(model: &Decoder, r2: &[Rotation]) -> Result<Decoder, RotationError> {
    todo!("task 8: v and o of {:?}, with {} rotations", model.shape, r2.len())
}

/// Task 8. R4: the model whose inputs of `down` are rotated online, and whose `down` takes rotated inputs.
///
/// # Errors
/// [`RotationError::Twice`] for `the inputs of down`, and those of [`rotate_inputs`].
pub fn rotate_down(model: &Decoder, r4: &Rotation) -> Result<Decoder, RotationError> {
    todo!("task 8: down of {:?} with rotated inputs, order {}", model.shape, r4.order())
}
