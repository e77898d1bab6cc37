//! The reference, which the chapter shows piece by piece.

use ndarray::{Array1, Array2, ArrayView2, Axis, array, linalg::kron};

use crate::{
    Decoder, Layer, Online, Rotation, RotationError, check_finite, check_fused, check_heads,
    check_order, check_prime, check_width, rope,
};

// ANCHOR: paley
/// The quadratic character of `x` modulo the prime `q`: 0 for a multiple of `q`, 1 for a square, -1 for
/// another number.
pub fn character(x: usize, q: usize) -> i32 {
    match x % q {
        0 => 0,
        rest if (1..q).any(|root| root * root % q == rest) => 1,
        _ => -1,
    }
}

/// The matrix of order `q + 1` with 0 on the diagonal, whose other rows and columns hold `character(row -
/// column)`; the first row holds 1, and the first column `corner`.
fn bordered(q: usize, corner: i32) -> Array2<i32> {
    Array2::from_shape_fn((q + 1, q + 1), |(i, j)| match (i, j) {
        (0, 0) => 0,
        (0, _) => 1,
        (_, 0) => corner,
        _ => character(q + i - j, q),
    })
}

/// Paley's construction I: a Hadamard matrix of order `q + 1` for a prime `q` that leaves 3 when it is divided
/// by 4. The matrix is the identity plus the bordered characters, with 1 in the first row and -1 in the first
/// column.
///
/// # Errors
/// [`RotationError::NotPaley`].
pub fn paley_one(q: usize) -> Result<Array2<i32>, RotationError> {
    check_prime("I", q, 3)?;
    Ok(Array2::eye(q + 1) + bordered(q, -1))
}

/// Paley's construction II: a Hadamard matrix of order `2 (q + 1)` for a prime `q` that leaves 1 when it is
/// divided by 4. In the bordered characters, with 1 in the first row and the first column, 0 becomes the block
/// `[[1, -1], [-1, -1]]`, and 1 and -1 become plus and minus `[[1, 1], [1, -1]]`.
///
/// # Errors
/// [`RotationError::NotPaley`].
pub fn paley_two(q: usize) -> Result<Array2<i32>, RotationError> {
    check_prime("II", q, 1)?;
    let of_zeros = kron(&Array2::eye(q + 1), &array![[1, -1], [-1, -1]]);
    Ok(of_zeros + kron(&bordered(q, 1), &array![[1, 1], [1, -1]]))
}
// ANCHOR_END: paley

// ANCHOR: hadamard
/// Sylvester's Hadamard matrix of a power of two: entry `(i, j)` is 1 where `i` and `j` have an even number of
/// binary ones in common, and -1 elsewhere.
///
/// # Errors
/// [`RotationError::NotAPowerOfTwo`].
pub fn sylvester(order: usize) -> Result<Array2<i32>, RotationError> {
    if !order.is_power_of_two() {
        return Err(RotationError::NotAPowerOfTwo(order));
    }
    let sign = |(i, j): (usize, usize)| if (i & j).count_ones() % 2 == 0 { 1 } else { -1 };
    Ok(Array2::from_shape_fn((order, order), sign))
}

/// `order` as a core, 1, 12 or 36, times a power of two.
///
/// # Errors
/// [`RotationError::NoHadamard`], [`RotationError::NoConstruction`].
pub fn factors(order: usize) -> Result<(usize, usize), RotationError> {
    check_order(order)?;
    let pairs = [1, 12, 36].map(|core| (core, order / core));
    let fits = |(core, power): &(usize, usize)| core * power == order && power.is_power_of_two();
    pairs.into_iter().find(fits).ok_or(RotationError::NoConstruction(order))
}

/// A Hadamard matrix: entries 1 and -1, `H Hᵀ = order I`. The matrix is the Kronecker product of a core and
/// [`sylvester`]. The core is `[[1]]`, [`paley_one`] of 11 or [`paley_two`] of 17.
///
/// # Errors
/// [`RotationError::NoHadamard`], [`RotationError::NoConstruction`].
pub fn hadamard(order: usize) -> Result<Array2<i32>, RotationError> {
    let (core, power) = factors(order)?;
    let core = match core {
        12 => paley_one(11)?,
        36 => paley_two(17)?,
        _ => array![[1]],
    };
    Ok(kron(&core, &sylvester(power)?))
}
// ANCHOR_END: hadamard

// ANCHOR: fast
/// `x` times Sylvester's matrix, in place and in `n log2 n` sums: pairs at distance 1, 2, 4 and so on become
/// their sum and their difference.
///
/// # Errors
/// [`RotationError::NotAPowerOfTwo`].
pub fn butterflies(x: &mut [f64]) -> Result<(), RotationError> {
    if !x.len().is_power_of_two() {
        return Err(RotationError::NotAPowerOfTwo(x.len()));
    }
    let mut distance = 1;
    while distance < x.len() {
        for pair in x.chunks_exact_mut(2 * distance) {
            let (left, right) = pair.split_at_mut(distance);
            for (a, b) in left.iter_mut().zip(right) {
                (*a, *b) = (*a + *b, *a - *b);
            }
        }
        distance *= 2;
    }
    Ok(())
}

/// `x` times the Kronecker product of `core`, `[K, K]`, and Sylvester's matrix, over `sqrt(n)`. The `K` parts
/// of `x` go through [`butterflies`], and `core` mixes the parts.
///
/// # Errors
/// [`RotationError::Width`] if `x` is no `K` parts, [`RotationError::NotAPowerOfTwo`] of a part.
pub fn transform(x: &[f64], core: ArrayView2<f64>) -> Result<Vec<f64>, RotationError> {
    let part = (x.len() / core.nrows()).max(1);
    check_width("the row to transform", x.len(), core.nrows() * part)?;
    let mut parts = x.to_vec();
    for part in parts.chunks_mut(part) {
        butterflies(part)?;
    }
    let root = (x.len() as f64).sqrt();
    let mut mixed = vec![0.0; x.len()];
    for (same, row) in parts.chunks(part).zip(core.rows()) {
        for (mixed, sign) in mixed.chunks_mut(part).zip(row) {
            mixed.iter_mut().zip(same).for_each(|(mixed, x)| *mixed += sign * x);
        }
    }
    mixed.iter_mut().for_each(|mixed| *mixed /= root);
    Ok(mixed)
}
// ANCHOR_END: fast

// ANCHOR: rotation
/// `x Q`, for rows `x` of `[tokens, order]`.
///
/// # Errors
/// [`RotationError::Width`], [`RotationError::NotFinite`].
pub fn apply(x: &Array2<f64>, rotation: &Rotation) -> Result<Array2<f64>, RotationError> {
    check_width("the matrix to rotate", x.ncols(), rotation.order())?;
    check_finite(x)?;
    let mut rotated = Array2::zeros(x.dim());
    for (row, mut out) in x.rows().into_iter().zip(rotated.rows_mut()) {
        let signed = (&row * &rotation.signs).to_vec();
        out.assign(&Array1::from(transform(&signed, rotation.core.view())?));
    }
    Ok(rotated)
}

/// `x Qᵀ`, for rows `x` of `[tokens, order]`: the inverse of [`apply`].
///
/// # Errors
/// [`RotationError::Width`], [`RotationError::NotFinite`].
pub fn invert(x: &Array2<f64>, rotation: &Rotation) -> Result<Array2<f64>, RotationError> {
    check_width("the matrix to rotate back", x.ncols(), rotation.order())?;
    check_finite(x)?;
    let mut back = Array2::zeros(x.dim());
    for (row, mut out) in x.rows().into_iter().zip(back.rows_mut()) {
        let mixed = transform(&row.to_vec(), rotation.core.t())?;
        out.assign(&(Array1::from(mixed) * &rotation.signs));
    }
    Ok(back)
}
// ANCHOR_END: rotation

// ANCHOR: flatness
/// The largest magnitude over the root mean square. 1 is the least, and `sqrt(n)` the most. 1 for zeros.
pub fn max_over_rms(x: &[f64]) -> f64 {
    let largest = x.iter().fold(0.0, |max: f64, value| max.max(value.abs()));
    let rms = (x.iter().map(|value| value * value).sum::<f64>() / x.len() as f64).sqrt();
    if rms == 0.0 { 1.0 } else { largest / rms }
}

/// What [`max_over_rms`] of any vector of `n` numbers exceeds with a probability of at most `chance` after a
/// rotation with random signs: `sqrt(2 ln(2 n / chance))`.
pub fn flatness_bound(n: usize, chance: f64) -> f64 {
    (2.0 * libm::log(2.0 * n as f64 / chance)).sqrt()
}
// ANCHOR_END: flatness

// ANCHOR: weights
/// A weight whose input comes from a norm without weights: column `j` times `norm[j]`.
///
/// # Errors
/// [`RotationError::Width`].
pub fn fuse_norm(w: &Array2<f64>, norm: &Array1<f64>) -> Result<Array2<f64>, RotationError> {
    check_width("the norm", norm.len(), w.ncols())?;
    Ok(w * norm)
}

/// The weight of a layer whose inputs are rotated, `W Q`. The rows of an embedding rotate alike.
///
/// # Errors
/// Those of [`apply`].
pub fn rotate_inputs(w: &Array2<f64>, rotation: &Rotation) -> Result<Array2<f64>, RotationError> {
    apply(w, rotation)
}

/// The weight of a layer that writes rotated outputs, `Qᵀ W`.
///
/// # Errors
/// [`RotationError::NotFinite`] with the place in `w`, [`RotationError::Width`].
pub fn rotate_outputs(w: &Array2<f64>, rotation: &Rotation) -> Result<Array2<f64>, RotationError> {
    // Checked here, because the place in the transpose is another one.
    check_finite(w)?;
    Ok(apply(&w.t().to_owned(), rotation)?.reversed_axes())
}

/// Each head of `x`, `[tokens, heads * order]`, times `Q`.
///
/// # Errors
/// [`RotationError::Heads`], [`RotationError::NotFinite`] with the place in `x`.
pub fn rotate_heads(x: &Array2<f64>, rotation: &Rotation) -> Result<Array2<f64>, RotationError> {
    check_heads(x.ncols(), rotation.order())?;
    check_finite(x)?;
    let mut rotated = x.clone();
    for mut head in rotated.axis_chunks_iter_mut(Axis(1), rotation.order()) {
        let turned = apply(&head.to_owned(), rotation)?;
        head.assign(&turned);
    }
    Ok(rotated)
}

/// The value projection and the output projection of a layer with R2: each head of the values becomes `v Q`,
/// and each head of the inputs of `o` is rotated alike.
///
/// # Errors
/// [`RotationError::NotFinite`] with the place in `v` or `o`, [`RotationError::Heads`].
pub fn rotate_values(
    v: &Array2<f64>,
    o: &Array2<f64>,
    rotation: &Rotation,
) -> Result<(Array2<f64>, Array2<f64>), RotationError> {
    check_finite(v)?;
    let values = rotate_heads(&v.t().to_owned(), rotation)?.reversed_axes();
    Ok((values, rotate_heads(o, rotation)?))
}
// ANCHOR_END: weights

// ANCHOR: online
/// Queries or keys as attention reads them: RoPE turns each head of `x`, `[tokens, heads * head_dim]`, and R3,
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
    let turned = rope(x, head_dim)?;
    let Some(r3) = r3 else { return Ok(turned) };
    check_width("the rotation of a head", r3.order(), head_dim)?;
    rotate_heads(&turned, r3)
}
// ANCHOR_END: online

// ANCHOR: model
/// The model with the weights of all norms fused into the layers behind them. The norms are 1 after that, and
/// the head has a matrix of its own, because the embedding has no norm in front.
///
/// # Errors
/// [`RotationError::Width`].
pub fn fuse_norms(model: &Decoder) -> Result<Decoder, RotationError> {
    let ones = Array1::ones(model.shape.hidden);
    let fused = |layer: &Layer| -> Result<Layer, RotationError> {
        Ok(Layer {
            q: fuse_norm(&layer.q, &layer.input_norm)?,
            k: fuse_norm(&layer.k, &layer.input_norm)?,
            v: fuse_norm(&layer.v, &layer.input_norm)?,
            gate: fuse_norm(&layer.gate, &layer.post_norm)?,
            up: fuse_norm(&layer.up, &layer.post_norm)?,
            input_norm: ones.clone(),
            post_norm: ones.clone(),
            ..layer.clone()
        })
    };
    let head = model.head.as_ref().unwrap_or(&model.embedding);
    Ok(Decoder {
        layers: model.layers.iter().map(fused).collect::<Result<_, _>>()?,
        head: Some(fuse_norm(head, &model.final_norm)?),
        final_norm: ones.clone(),
        ..model.clone()
    })
}

/// R1: the model whose residual stream is `x Q`.
///
/// # Errors
/// Those of [`check_fused`] and [`apply`].
pub fn rotate_residual(model: &Decoder, r1: &Rotation) -> Result<Decoder, RotationError> {
    check_fused(model)?;
    let rotated = |layer: &Layer| -> Result<Layer, RotationError> {
        Ok(Layer {
            q: rotate_inputs(&layer.q, r1)?,
            k: rotate_inputs(&layer.k, r1)?,
            v: rotate_inputs(&layer.v, r1)?,
            o: rotate_outputs(&layer.o, r1)?,
            gate: rotate_inputs(&layer.gate, r1)?,
            up: rotate_inputs(&layer.up, r1)?,
            down: rotate_outputs(&layer.down, r1)?,
            ..layer.clone()
        })
    };
    let head = model.head.as_ref().ok_or(RotationError::Tied)?;
    Ok(Decoder {
        embedding: rotate_inputs(&model.embedding, r1)?,
        layers: model.layers.iter().map(rotated).collect::<Result<_, _>>()?,
        head: Some(rotate_inputs(head, r1)?),
        ..model.clone()
    })
}

/// R2: the model whose values are rotated in each head, with a rotation for each layer.
///
/// # Errors
/// [`RotationError::Layers`], and those of [`rotate_values`].
pub fn rotate_all_values(model: &Decoder, r2: &[Rotation]) -> Result<Decoder, RotationError> {
    let (found, layers) = (r2.len(), model.layers.len());
    if found != layers {
        return Err(RotationError::Layers { found, layers });
    }
    let rotated = model.layers.iter().zip(r2).map(|(layer, rotation)| {
        let (v, o) = rotate_values(&layer.v, &layer.o, rotation)?;
        Ok(Layer { v, o, ..layer.clone() })
    });
    Ok(Decoder { layers: rotated.collect::<Result<_, _>>()?, ..model.clone() })
}

/// R4: the model whose inputs of `down` are rotated online, and whose `down` takes rotated inputs.
///
/// # Errors
/// [`RotationError::Twice`] for `the inputs of down`, and those of [`rotate_inputs`].
pub fn rotate_down(model: &Decoder, r4: &Rotation) -> Result<Decoder, RotationError> {
    if model.online.down.is_some() {
        return Err(RotationError::Twice("the inputs of down"));
    }
    let rotated = |layer: &Layer| -> Result<Layer, RotationError> {
        Ok(Layer { down: rotate_inputs(&layer.down, r4)?, ..layer.clone() })
    };
    Ok(Decoder {
        layers: model.layers.iter().map(rotated).collect::<Result<_, _>>()?,
        online: Online { down: Some(r4.clone()), ..model.online.clone() },
        ..model.clone()
    })
}
// ANCHOR_END: model
