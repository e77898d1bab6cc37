//! Plausible wrong answers, kept as code, each with the tests of the spec that must catch it.
//!
//! A wrong answer replaces a step of [`RIGHT`]. `LAB_IMPL=wrong WRONG_ANSWER=no_root cargo test -p
//! lab-10-rotations --test spec` runs the spec on one wrong answer, and the test
//! `every_wrong_answer_is_caught_and_named` runs the spec on all of them.

use kit::{answered, wrong_answers};
use ndarray::linalg::kron;
use ndarray::{Array1, Array2, ArrayView2, Axis, array};

use self::chosen::{
    apply, butterflies, character, factors, fuse_norm, paley_one, paley_two, rotate_heads,
    rotate_inputs, rotate_outputs, rotate_values, sylvester, transform,
};
use crate::{
    Decoder, Layer, Online, Rotation, RotationError, check_finite, check_fused, check_heads,
    check_order, check_prime, check_width, rope, solution,
};

type Lab<T> = Result<T, RotationError>;
type Whole = Array2<i32>;
type Matrix = Array2<f64>;
type Vector = Array1<f64>;
type Model = Decoder;
type Pair = Lab<(Matrix, Matrix)>;

/// The steps of the lab. A function of the lab that no wrong answer divides is one step.
struct Steps {
    /// Of a number modulo a prime.
    character: fn(usize, usize) -> i32,
    /// The number whose character is the entry of a row and a column, for a prime.
    entry: fn(usize, usize, usize) -> usize,
    /// The first column of construction I.
    corner: i32,
    /// The diagonal of construction I.
    diagonal: i32,
    /// What 0 becomes in construction II.
    block: [[i32; 2]; 2],
    check_prime: fn(&'static str, usize, usize) -> Lab<()>,
    paley_one: fn(usize) -> Lab<Whole>,
    paley_two: fn(usize) -> Lab<Whole>,
    sylvester: fn(usize) -> Lab<Whole>,
    factors: fn(usize) -> Lab<(usize, usize)>,
    /// A core and Sylvester's matrix together.
    product: fn(&Whole, &Whole) -> Whole,
    hadamard: fn(usize) -> Lab<Whole>,
    /// A pair of numbers after a butterfly.
    pair: fn(f64, f64) -> (f64, f64),
    check_power: fn(usize) -> Lab<()>,
    butterflies: fn(&mut [f64]) -> Lab<()>,
    /// What a row is divided by: of its length and the core.
    divisor: fn(usize, usize) -> f64,
    /// The entry of the core for the part that is read and the part that is written.
    core_at: fn(&ArrayView2<f64>, usize, usize) -> f64,
    /// The part and the place within the part of a number: of its index, the part's length and the core.
    place: fn(usize, usize, usize) -> (usize, usize),
    check_row: fn(usize, usize) -> Lab<()>,
    transform: fn(&[f64], ArrayView2<f64>) -> Lab<Vec<f64>>,
    check_rows: fn(&Matrix, &Rotation) -> Lab<()>,
    /// A row times a rotation.
    turn: fn(&Vector, &Rotation) -> Lab<Vector>,
    apply: fn(&Matrix, &Rotation) -> Lab<Matrix>,
    /// A row times the transpose of a rotation.
    turn_back: fn(&Vector, &Rotation) -> Lab<Vector>,
    invert: fn(&Matrix, &Rotation) -> Lab<Matrix>,
    largest: fn(&[f64]) -> f64,
    /// The size of a row, by which the largest magnitude is divided.
    size: fn(&[f64]) -> f64,
    of_zeros: f64,
    max_over_rms: fn(&[f64]) -> f64,
    flatness_bound: fn(usize, f64) -> f64,
    check_norm: fn(&Matrix, &Vector) -> Lab<()>,
    times_norm: fn(&Matrix, &Vector) -> Matrix,
    fuse_norm: fn(&Matrix, &Vector) -> Lab<Matrix>,
    rotate_inputs: fn(&Matrix, &Rotation) -> Lab<Matrix>,
    /// The check of a weight before its transpose or its heads are checked.
    check_place: fn(&Matrix) -> Lab<()>,
    rotate_outputs: fn(&Matrix, &Rotation) -> Lab<Matrix>,
    check_heads: fn(usize, usize) -> Lab<()>,
    rotate_heads: fn(&Matrix, &Rotation) -> Lab<Matrix>,
    rotate_values: fn(&Matrix, &Matrix, &Rotation) -> Pair,
    check_head: fn(&Rotation, usize) -> Lab<()>,
    /// RoPE in heads of a size and R3, in their order.
    both: fn(&Matrix, usize, &Rotation) -> Lab<Matrix>,
    rotary: fn(&Matrix, usize, Option<&Rotation>) -> Lab<Matrix>,
    /// The embedding of a model whose norms are fused.
    embedding: fn(&Model) -> Lab<Matrix>,
    /// Its head.
    head: fn(&Model) -> Lab<Matrix>,
    /// A norm of the model after that.
    fused_norm: fn(&Vector) -> Vector,
    fuse_layer: fn(&Layer) -> Lab<Layer>,
    fuse_norms: fn(&Model) -> Lab<Model>,
    check_fused: fn(&Model) -> Lab<()>,
    rotate_layer: fn(&Layer, &Rotation) -> Lab<Layer>,
    rotated_embedding: fn(&Model, &Rotation) -> Lab<Matrix>,
    /// The head of the model with a rotated stream.
    rotated_head: fn(&Matrix, &Rotation) -> Lab<Matrix>,
    rotate_residual: fn(&Model, &Rotation) -> Lab<Model>,
    check_layers: fn(usize, usize) -> Lab<()>,
    /// The rotation of a layer among all.
    of_layer: fn(usize, usize) -> usize,
    rotate_all_values: fn(&Model, &[Rotation]) -> Lab<Model>,
    check_once: fn(&Model) -> Lab<()>,
    /// What runs with the model.
    online: fn(&Model, &Rotation) -> Online,
    rotated_down: fn(&Matrix, &Rotation) -> Lab<Matrix>,
    rotate_down: fn(&Model, &Rotation) -> Lab<Model>,
}

const RIGHT: Steps = Steps {
    character: solution::character,
    entry: |row, column, q| q + row - column,
    corner: -1,
    diagonal: 1,
    block: [[1, -1], [-1, -1]],
    check_prime,
    paley_one: |q| {
        (answer().check_prime)("I", q, 3)?;
        Ok(Array2::eye(q + 1) * answer().diagonal + bordered(q, answer().corner))
    },
    paley_two: |q| {
        (answer().check_prime)("II", q, 1)?;
        let of_zeros = kron(&Array2::eye(q + 1), &ndarray::arr2(&answer().block));
        Ok(of_zeros + kron(&bordered(q, 1), &array![[1, 1], [1, -1]]))
    },
    sylvester: solution::sylvester,
    factors: |order| {
        check_order(order)?;
        solution::factors(order)
    },
    product: |core, power| kron(core, power),
    hadamard: |order| {
        let (core, power) = factors(order)?;
        let core = match core {
            12 => paley_one(11)?,
            36 => paley_two(17)?,
            _ => array![[1]],
        };
        Ok((answer().product)(&core, &sylvester(power)?))
    },
    pair: |a, b| (a + b, a - b),
    check_power: |length| {
        if length.is_power_of_two() { Ok(()) } else { Err(RotationError::NotAPowerOfTwo(length)) }
    },
    butterflies: |x| {
        (answer().check_power)(x.len())?;
        let mut distance = 1;
        while distance < x.len() {
            for pair in x.chunks_exact_mut(2 * distance) {
                let (left, right) = pair.split_at_mut(distance);
                for (a, b) in left.iter_mut().zip(right) {
                    (*a, *b) = (answer().pair)(*a, *b);
                }
            }
            distance *= 2;
        }
        Ok(())
    },
    divisor: |length, _| (length as f64).sqrt(),
    core_at: |core, read, written| core[(read, written)],
    place: |at, part, _| (at / part, at % part),
    check_row: |length, core| check_width("the row to transform", length, length / core * core),
    transform: |x, core| {
        (answer().check_row)(x.len(), core.nrows())?;
        let part = x.len() / core.nrows();
        if part == 0 {
            return Err(RotationError::NotAPowerOfTwo(0));
        }
        let mut parts = vec![vec![0.0; part]; core.nrows()];
        for (at, value) in x.iter().enumerate().take(part * core.nrows()) {
            let (which, inside) = (answer().place)(at, part, core.nrows());
            parts[which][inside] = *value;
        }
        for part in &mut parts {
            butterflies(part)?;
        }
        let divisor = (answer().divisor)(x.len(), core.nrows());
        let mut out = vec![0.0; x.len()];
        for (at, out) in out.iter_mut().enumerate().take(part * core.nrows()) {
            let (written, inside) = (answer().place)(at, part, core.nrows());
            let of = |(read, part): (usize, &Vec<f64>)| {
                (answer().core_at)(&core, read, written) * part[inside]
            };
            *out = parts.iter().enumerate().map(of).sum::<f64>() / divisor;
        }
        Ok(out)
    },
    check_rows: |x, rotation| {
        check_width("the matrix to rotate", x.ncols(), rotation.order())?;
        check_finite(x)
    },
    turn: |row, rotation| {
        let signed = (row * &rotation.signs).to_vec();
        Ok(transform(&signed, rotation.core.view())?.into())
    },
    apply: |x, rotation| {
        (answer().check_rows)(x, rotation)?;
        by_row(x, |row| (answer().turn)(row, rotation))
    },
    turn_back: |row, rotation| {
        Ok(Array1::from(transform(&row.to_vec(), rotation.core.t())?) * &rotation.signs)
    },
    invert: |x, rotation| {
        (answer().check_rows)(x, rotation)?;
        by_row(x, |row| (answer().turn_back)(row, rotation))
    },
    largest: |x| x.iter().fold(0.0, |max: f64, value| max.max(value.abs())),
    size: |x| (x.iter().map(|value| value * value).sum::<f64>() / x.len() as f64).sqrt(),
    of_zeros: 1.0,
    max_over_rms: |x| {
        let size = (answer().size)(x);
        if size == 0.0 { answer().of_zeros } else { (answer().largest)(x) / size }
    },
    flatness_bound: solution::flatness_bound,
    check_norm: |w, norm| check_width("the norm", norm.len(), w.ncols()),
    times_norm: |w, norm| w * norm,
    fuse_norm: |w, norm| {
        (answer().check_norm)(w, norm)?;
        Ok((answer().times_norm)(w, norm))
    },
    rotate_inputs: |w, rotation| apply(w, rotation),
    check_place: check_finite,
    rotate_outputs: |w, rotation| {
        (answer().check_place)(w)?;
        Ok(apply(&w.t().to_owned(), rotation)?.reversed_axes())
    },
    check_heads,
    rotate_heads: |x, rotation| {
        (answer().check_heads)(x.ncols(), rotation.order())?;
        (answer().check_place)(x)?;
        let mut rotated = x.clone();
        for mut head in rotated.axis_chunks_iter_mut(Axis(1), rotation.order()) {
            let turned = apply(&head.to_owned(), rotation)?;
            head.assign(&turned);
        }
        Ok(rotated)
    },
    rotate_values: |v, o, rotation| {
        (answer().check_place)(v)?;
        let values = rotate_heads(&v.t().to_owned(), rotation)?.reversed_axes();
        Ok((values, rotate_heads(o, rotation)?))
    },
    check_head: |r3, head_dim| check_width("the rotation of a head", r3.order(), head_dim),
    both: |x, head_dim, r3| rotate_heads(&rope(x, head_dim)?, r3),
    rotary: |x, head_dim, r3| {
        let turned = rope(x, head_dim)?;
        let Some(r3) = r3 else { return Ok(turned) };
        (answer().check_head)(r3, head_dim)?;
        (answer().both)(x, head_dim, r3)
    },
    embedding: |model| Ok(model.embedding.clone()),
    head: |model| fuse_norm(model.head.as_ref().unwrap_or(&model.embedding), &model.final_norm),
    fused_norm: |norm| Array1::ones(norm.len()),
    fuse_layer: |layer| {
        Ok(Layer {
            q: fuse_norm(&layer.q, &layer.input_norm)?,
            k: fuse_norm(&layer.k, &layer.input_norm)?,
            v: fuse_norm(&layer.v, &layer.input_norm)?,
            gate: fuse_norm(&layer.gate, &layer.post_norm)?,
            up: fuse_norm(&layer.up, &layer.post_norm)?,
            ..layer.clone()
        })
    },
    fuse_norms: |model| {
        let fused = |layer: &Layer| -> Lab<Layer> {
            Ok(Layer {
                input_norm: (answer().fused_norm)(&layer.input_norm),
                post_norm: (answer().fused_norm)(&layer.post_norm),
                ..(answer().fuse_layer)(layer)?
            })
        };
        Ok(Decoder {
            embedding: (answer().embedding)(model)?,
            layers: model.layers.iter().map(fused).collect::<Lab<_>>()?,
            head: Some((answer().head)(model)?),
            final_norm: (answer().fused_norm)(&model.final_norm),
            ..model.clone()
        })
    },
    check_fused,
    rotate_layer: |layer, r1| {
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
    },
    rotated_embedding: |model, r1| rotate_inputs(&model.embedding, r1),
    rotated_head: |head, r1| rotate_inputs(head, r1),
    rotate_residual: |model, r1| {
        (answer().check_fused)(model)?;
        let head = model.head.as_ref().unwrap_or(&model.embedding);
        let layers = model.layers.iter().map(|layer| (answer().rotate_layer)(layer, r1));
        Ok(Decoder {
            embedding: (answer().rotated_embedding)(model, r1)?,
            layers: layers.collect::<Lab<_>>()?,
            head: Some((answer().rotated_head)(head, r1)?),
            ..model.clone()
        })
    },
    check_layers: |found, layers| {
        if found == layers { Ok(()) } else { Err(RotationError::Layers { found, layers }) }
    },
    of_layer: |layer, _| layer,
    rotate_all_values: |model, r2| {
        (answer().check_layers)(r2.len(), model.layers.len())?;
        let rotated = |(index, layer): (usize, &Layer)| -> Lab<Layer> {
            // An answer that counts nothing leaves layers without a rotation alone.
            let Some(rotation) = r2.get((answer().of_layer)(index, r2.len())) else {
                return Ok(layer.clone());
            };
            let (v, o) = rotate_values(&layer.v, &layer.o, rotation)?;
            Ok(Layer { v, o, ..layer.clone() })
        };
        let layers = model.layers.iter().enumerate().map(rotated).collect::<Lab<_>>()?;
        Ok(Decoder { layers, ..model.clone() })
    },
    check_once: |model| match model.online.down {
        Some(_) => Err(RotationError::Twice("the inputs of down")),
        None => Ok(()),
    },
    online: |model, r4| Online { down: Some(r4.clone()), ..model.online.clone() },
    rotated_down: |down, r4| rotate_inputs(down, r4),
    rotate_down: |model, r4| {
        (answer().check_once)(model)?;
        let rotated = |layer: &Layer| -> Lab<Layer> {
            Ok(Layer { down: (answer().rotated_down)(&layer.down, r4)?, ..layer.clone() })
        };
        Ok(Decoder {
            layers: model.layers.iter().map(rotated).collect::<Lab<_>>()?,
            online: (answer().online)(model, r4),
            ..model.clone()
        })
    },
};

/// The bordered characters of a prime, with `corner` in the first column.
fn bordered(q: usize, corner: i32) -> Whole {
    Array2::from_shape_fn((q + 1, q + 1), |(i, j)| match (i, j) {
        (0, 0) => 0,
        (0, _) => 1,
        (_, 0) => corner,
        _ => character((answer().entry)(i, j, q), q),
    })
}

/// Each row of a matrix by itself.
fn by_row(x: &Matrix, turn: impl Fn(&Vector) -> Lab<Vector>) -> Lab<Matrix> {
    let mut turned = Array2::zeros(x.dim());
    for (row, mut out) in x.rows().into_iter().zip(turned.rows_mut()) {
        out.assign(&turn(&row.to_owned())?);
    }
    Ok(turned)
}

/// `Q` of a rotation from the other side: each row times its transpose.
fn transposed(x: &Matrix, rotation: &Rotation) -> Lab<Matrix> {
    chosen::invert(x, rotation)
}

wrong_answers! {
    "halves_for_squares",
    "the character of x is 1 up to half of q and -1 above",
    "the squares modulo q are half of the numbers, and they lie anywhere between",
    ["the_character_is_1_for_squares_minus_1_for_other_numbers_and_0_for_multiples",
     "every_order_that_is_used_has_orthogonal_rows_of_ones"],
    { character: |x, q| if x % q == 0 { 0 } else if x % q <= q / 2 { 1 } else { -1 } }

    "zero_is_a_square",
    "0 is the square of 0, so its character is 1",
    "with 1 on the diagonal of the characters the rows are not orthogonal, and 0 is what makes room for the \
     identity",
    ["the_character_is_1_for_squares_minus_1_for_other_numbers_and_0_for_multiples",
     "paleys_second_construction_gives_a_symmetric_matrix"],
    { character: |x, q| if x % q == 0 { 1 } else { solution::character(x, q) } }

    "column_minus_row",
    "the order of the difference does not matter",
    "-1 is no square modulo 11, so the other order is the transpose: another rotation, and another file",
    ["paleys_first_construction_gives_a_matrix_that_is_skew_beside_its_diagonal"],
    { entry: |row, column, q| q + column - row }

    "symmetric_border",
    "both borders of construction I are 1",
    "the characters of 11 are skew, so the border has to be skew as well: 1 in the row and -1 in the column",
    ["paleys_first_construction_gives_a_matrix_that_is_skew_beside_its_diagonal",
     "every_order_that_is_used_has_orthogonal_rows_of_ones"],
    { corner: 1 }

    "zeros_on_the_diagonal",
    "the bordered characters are the matrix",
    "they have 0 on the diagonal and are a conference matrix: construction I adds the identity",
    ["paleys_first_construction_gives_a_matrix_that_is_skew_beside_its_diagonal"],
    { diagonal: 0 }

    "one_block_for_all",
    "0 takes the block that 1 takes",
    "then the two rows of a pair are not orthogonal to the others",
    ["paleys_second_construction_gives_a_symmetric_matrix",
     "every_order_that_is_used_has_orthogonal_rows_of_ones"],
    { block: [[1, 1], [1, -1]] }

    "any_number_for_a_prime",
    "only the remainder of q matters",
    "modulo 9 or 15 a difference may have no inverse, and the rows are not orthogonal",
    ["a_number_that_a_construction_cannot_take_is_refused"], {
        check_prime: |construction, q, remainder| {
            if q % 4 == remainder && q > 1 { Ok(()) } else { check_prime(construction, q, remainder) }
        },
    }

    "padded_to_a_power_of_two",
    "an order without a construction is rounded up, as the fast kernels do",
    "the layer would have to be wider, and zeros that are rotated are no zeros: name the order",
    ["an_order_without_a_hadamard_matrix_is_named_and_nothing_is_padded"],
    { factors: |order| solution::factors(order).or(Ok((1, order.next_power_of_two()))) }

    "nine_times_sixty_four",
    "576 is 9 times 64, so the core is 9",
    "no matrix of ones of order 9 has orthogonal rows: the core is 36, which is a multiple of 4",
    ["an_order_is_a_core_times_a_power_of_two"], {
        factors: |order| {
            let (core, power) = solution::factors(order)?;
            Ok(if core == 36 { (9, 4 * power) } else { (core, power) })
        },
    }

    "core_inside",
    "the order of a Kronecker product does not matter",
    "the product is permuted: the fast transform and the matrix belong to two rotations",
    ["the_matrix_of_an_order_is_the_core_times_sylvesters_matrix"],
    { product: |core, power| kron(power, core) }

    "difference_from_the_left",
    "a butterfly is the sum and the difference, in either order",
    "right minus left changes the sign of half of the columns, at each distance again",
    ["butterflies_multiply_by_sylvesters_matrix",
     "the_fast_transform_is_the_product_with_the_dense_matrix"],
    { pair: |a, b| (a + b, b - a) }

    "any_length",
    "butterflies take what is there",
    "a number without a partner is left as it is, and the product is no rotation",
    ["butterflies_multiply_by_sylvesters_matrix",
     "a_row_that_no_core_and_power_of_two_make_is_refused"],
    { check_power: |_| Ok(()) }

    "no_root",
    "a matrix of ones with orthogonal rows is orthogonal",
    "its rows have the norm sqrt(n), so a row grows by sqrt(n) each way",
    ["the_fast_transform_is_the_product_with_the_dense_matrix",
     "a_rotation_keeps_norms_and_products",
     "a_one_hot_row_of_size_1_becomes_1_over_24_at_576_everywhere"],
    { divisor: |_, _| 1.0 }

    "over_n",
    "the average is taken, so the sums are divided by n",
    "that is the inverse of H. The matrix that is its own inverse up to a transpose is H / sqrt(n)",
    ["the_fast_transform_is_the_product_with_the_dense_matrix",
     "a_rotation_keeps_norms_and_products"],
    { divisor: |length, _| length as f64 }

    "root_of_the_power_of_two",
    "the butterflies are divided by the root of their length",
    "the core sums 12 or 36 parts, so the root of the whole order is needed",
    ["the_fast_transform_is_the_product_with_the_dense_matrix",
     "a_one_hot_row_of_size_1_becomes_1_over_24_at_576_everywhere"],
    { divisor: |length, core| ((length / core) as f64).sqrt() }

    "core_from_the_other_side",
    "a matrix of ones is symmetric, so rows and columns are alike",
    "Sylvester's matrix and the core of 36 are, and Paley's core of 12 is not",
    ["the_fast_transform_is_the_product_with_the_dense_matrix",
     "apply_multiplies_by_the_signs_and_then_by_the_matrix"],
    { core_at: |core, read, written| core[(written, read)] }

    "core_on_neighbours",
    "neighbours are mixed by the core, and the rest by butterflies",
    "the Kronecker product has the core outside, so a part is a run of neighbours",
    ["the_fast_transform_is_the_product_with_the_dense_matrix"],
    { place: |at, _, core| (at % core, at / core) }

    "a_rest_is_left_alone",
    "numbers behind the last whole part stay as they are",
    "a row with a rest is no row of this rotation, and half of a rotation goes unnoticed",
    ["a_row_that_no_core_and_power_of_two_make_is_refused"],
    { check_row: |_, _| Ok(()) }

    "signs_behind",
    "it does not matter on which side of H the signs stand",
    "behind H they only change the signs of the result: each seed spreads a row alike, and two equal \
     channels stay together",
    ["apply_multiplies_by_the_signs_and_then_by_the_matrix", "invert_undoes_apply"], {
        turn: |row, rotation| {
            Ok(Array1::from(transform(&row.to_vec(), rotation.core.view())?) * &rotation.signs)
        },
    }

    "no_signs",
    "a Hadamard matrix is random enough",
    "it has a row of ones: a vector whose channels are equal becomes one outlier of size sqrt(n)",
    ["apply_multiplies_by_the_signs_and_then_by_the_matrix",
     "random_signs_bring_every_vector_below_the_bound"],
    { turn: |row, rotation| Ok(transform(&row.to_vec(), rotation.core.view())?.into()) }

    "its_own_inverse",
    "a Hadamard rotation undoes itself",
    "Sylvester's matrix does. With signs, or with a core of 12, Q is not symmetric",
    ["invert_undoes_apply"],
    { turn_back: |row, rotation| (answer().turn)(row, rotation) }

    "core_not_transposed",
    "the inverse has the signs on the other side, and that is all",
    "Hᵀ has the transposed core as well",
    ["invert_undoes_apply"], {
        turn_back: |row, rotation| {
            Ok(Array1::from(transform(&row.to_vec(), rotation.core.view())?) * &rotation.signs)
        },
    }

    "nan_is_spread",
    "a rotation takes any number",
    "one NaN becomes a row of NaN, and its place is lost",
    ["a_width_that_differs_and_a_number_that_is_not_finite_are_refused"], {
        check_rows: |x, rotation| {
            check_width("the matrix to rotate", x.ncols(), rotation.order())
        },
    }

    "largest_with_its_sign",
    "the largest number is the outlier",
    "an outlier may be negative, so the magnitude counts",
    ["max_over_rms_is_1_for_a_flat_row_and_sqrt_n_for_a_one_hot_row"],
    { largest: |x| x.iter().fold(f64::NEG_INFINITY, |max, value| max.max(*value)) }

    "mean_for_rms",
    "the typical size is the mean magnitude",
    "a rotation keeps the root mean square and not the mean magnitude, so the meter would have two moving \
     parts",
    ["max_over_rms_is_1_for_a_flat_row_and_sqrt_n_for_a_one_hot_row"],
    { size: |x| x.iter().map(|value| value.abs()).sum::<f64>() / x.len() as f64 }

    "norm_for_rms",
    "the largest magnitude is compared with the norm",
    "the norm grows with the length, and a flat row of 1536 numbers would look flatter than one of 64",
    ["max_over_rms_is_1_for_a_flat_row_and_sqrt_n_for_a_one_hot_row"],
    { size: |x| x.iter().map(|value| value * value).sum::<f64>().sqrt() }

    "zeros_are_nan",
    "a row of zeros does not occur",
    "padding tokens are zeros, and 0 / 0 is NaN",
    ["max_over_rms_is_1_for_a_flat_row_and_sqrt_n_for_a_one_hot_row"],
    { of_zeros: f64::NAN }

    "one_tail",
    "a channel is an outlier where the sum is large",
    "it is one where the sum is far below 0 as well: there are two tails",
    ["the_bound_is_where_the_tails_of_all_channels_together_have_the_chance"],
    { flatness_bound: |n, chance| (2.0 * (n as f64 / chance).ln()).sqrt() }

    "one_channel",
    "the tail of a channel decides",
    "the maximum is over n channels, each of which has the tail",
    ["the_bound_is_where_the_tails_of_all_channels_together_have_the_chance"],
    { flatness_bound: |_, chance| (2.0 * (2.0 / chance).ln()).sqrt() }

    "norm_on_the_rows",
    "the norm scales the layer, so its rows are multiplied",
    "the norm stands in front of the layer: it multiplies inputs, which are columns",
    ["a_fused_norm_multiplies_the_columns_of_the_weight"], {
        times_norm: |w, norm| if w.is_square() { (&w.t() * norm).reversed_axes() } else { w * norm },
    }

    "norm_divided",
    "what is taken out of the norm is divided out of the layer",
    "the norm becomes 1, so the layer has to do what the norm did",
    ["a_fused_norm_multiplies_the_columns_of_the_weight", "fusing_the_norms_changes_no_logit"],
    { times_norm: |w, norm| w / norm }

    "norm_of_any_length",
    "ndarray checks the shapes",
    "it stretches a norm of length 1 and panics for others",
    ["a_fused_norm_multiplies_the_columns_of_the_weight"], {
        check_norm: |w, norm| {
            let stretched = norm.len() == 1;
            if stretched { Ok(()) } else { check_width("the norm", norm.len(), w.ncols()) }
        },
    }

    "inputs_with_the_transpose",
    "x Q is undone by Qᵀ in the weight",
    "the weight is transposed in the product: (x Q) (W Q)ᵀ = x Q Qᵀ Wᵀ",
    ["a_layer_with_rotated_inputs_computes_the_same",
     "a_rotated_residual_stream_changes_no_logit"],
    { rotate_inputs: transposed }

    "outputs_with_q",
    "a layer that writes the rotated stream is multiplied by Q",
    "y Q = x Wᵀ Q = x (Qᵀ W)ᵀ, so the rows of W take Qᵀ",
    ["a_layer_with_rotated_outputs_writes_rotated_rows",
     "a_rotated_residual_stream_changes_no_logit"],
    { rotate_outputs: |w, r| Ok(transposed(&w.t().to_owned(), r)?.reversed_axes()) }

    "outputs_on_the_columns",
    "each weight of the model becomes W Q",
    "o and down write the stream and do not read it: their rows are the channels of the stream",
    ["a_layer_with_rotated_outputs_writes_rotated_rows",
     "a_rotated_residual_stream_changes_no_logit"], {
        rotate_outputs: |w, r| {
            if w.is_square() { apply(w, r) } else { solution::rotate_outputs(w, r) }
        },
    }

    "heads_with_the_transpose",
    "heads are rotated back on their way in",
    "queries, keys and the columns of o take Q, as rows do",
    ["each_head_is_rotated_by_itself"], {
        rotate_heads: |x, rotation| {
            check_heads(x.ncols(), rotation.order())?;
            let mut rotated = x.clone();
            for mut head in rotated.axis_chunks_iter_mut(Axis(1), rotation.order()) {
                let turned = transposed(&head.to_owned(), rotation)?;
                head.assign(&turned);
            }
            Ok(rotated)
        },
    }

    "heads_in_turn",
    "channel c belongs to head c % heads",
    "a head is neighbouring channels, as the projections write them",
    ["each_head_is_rotated_by_itself",
     "the_values_are_rotated_by_head_and_the_output_projection_takes_them_so"], {
        rotate_heads: |x, rotation| {
            check_heads(x.ncols(), rotation.order())?;
            let heads = x.ncols() / rotation.order();
            let mut rotated = x.clone();
            for head in 0..heads {
                let turned: Vec<usize> = (head..x.ncols()).step_by(heads).collect();
                let part = apply(&x.select(Axis(1), &turned), rotation)?;
                for (column, channel) in turned.into_iter().enumerate() {
                    rotated.column_mut(channel).assign(&part.column(column));
                }
            }
            Ok(rotated)
        },
    }

    "only_whole_heads",
    "what is behind the last whole head stays as it is",
    "a width that is no heads belongs to another model, and half of a rotation goes unnoticed",
    ["each_head_is_rotated_by_itself",
     "values_and_an_output_projection_that_are_no_heads_are_refused"], {
        rotate_heads: |x, rotation| {
            let mut rotated = x.clone();
            for mut head in rotated.axis_chunks_iter_mut(Axis(1), rotation.order()) {
                if head.ncols() == rotation.order() {
                    let turned = apply(&head.to_owned(), rotation)?;
                    head.assign(&turned);
                }
            }
            Ok(rotated)
        },
    }

    "r2_on_the_wrong_side",
    "v takes Q on its rows, so that o takes Qᵀ",
    "the rows of v are multiplied from the left: Qᵀ v makes the values v Q, and o takes Q on its columns",
    ["the_values_are_rotated_by_head_and_the_output_projection_takes_them_so"], {
        rotate_values: |v, o, rotation| {
            check_heads(v.nrows(), rotation.order())?;
            let mut values = v.t().to_owned();
            for mut head in values.axis_chunks_iter_mut(Axis(1), rotation.order()) {
                let turned = transposed(&head.to_owned(), rotation)?;
                head.assign(&turned);
            }
            Ok((values.reversed_axes(), rotate_heads(o, rotation)?))
        },
    }

    "place_of_the_transpose",
    "the rotation names a number that is not finite",
    "it sees the transpose, or one head, and names a place that is not the one in the weight",
    ["a_number_that_is_not_finite_is_named_by_its_place_in_the_weight"],
    { check_place: |_| Ok(()) }

    "values_alone",
    "o reads what attention mixed, and needs no change",
    "attention mixes tokens, so the values are still rotated when o reads them",
    ["the_values_are_rotated_by_head_and_the_output_projection_takes_them_so",
     "rotated_values_change_no_logit"], {
        rotate_values: |v, o, rotation| {
            check_heads(o.ncols(), rotation.order())?;
            Ok((rotate_heads(&v.t().to_owned(), rotation)?.reversed_axes(), o.clone()))
        },
    }

    "r3_before_rope",
    "R3 and RoPE are rotations, so their order does not matter",
    "rotations commute only in a plane: RoPE turns pairs of channels by the position, and R3 mixes all of them",
    ["keys_are_rotated_after_rope",
     "the_products_of_queries_and_keys_are_the_same_at_all_positions",
     "rotated_keys_change_no_logit"],
    { both: |x, head_dim, r3| rope(&rotate_heads(x, r3)?, head_dim) }

    "no_rope_with_r3",
    "R3 replaces the rotation of the keys",
    "RoPE has the position in it, and R3 is the same for every token",
    ["keys_are_rotated_after_rope", "rotated_keys_change_no_logit"],
    { both: |x, _, r3| rotate_heads(x, r3) }

    "r3_of_any_size",
    "heads are what the rotation's order says",
    "an order of two heads mixes two heads, whose products are then wrong",
    ["a_rotation_that_is_no_head_is_refused"],
    { check_head: |_, _| Ok(()) }

    "centred_embedding",
    "the rows of the embedding may lose their mean, as in QuaRot's code",
    "LayerNorm takes the mean away in any case. RMSNorm keeps the mean, so the model is another one",
    ["fusing_the_norms_changes_no_logit"], {
        embedding: |model| {
            let mut centred = model.embedding.clone();
            for mut row in centred.rows_mut() {
                let mean = row.mean().unwrap_or(0.0);
                row -= mean;
            }
            Ok(centred)
        },
    }

    "final_norm_in_the_embedding",
    "the embedding and the head are one matrix, so both take the final norm",
    "the norm stands in front of the head alone: tied embeddings have to be untied",
    ["fusing_the_norms_changes_no_logit"],
    { embedding: |model| fuse_norm(&model.embedding, &model.final_norm) }

    "head_without_the_norm",
    "norms are in the layers",
    "the final norm stands in front of the head",
    ["fusing_the_norms_changes_no_logit"],
    { head: |model| Ok(model.head.as_ref().unwrap_or(&model.embedding).clone()) }

    "head_is_always_the_embedding",
    "the head is the embedding",
    "a model may have a head of its own",
    ["fusing_the_norms_changes_no_logit"],
    { head: |model| fuse_norm(&model.embedding, &model.final_norm) }

    "norm_fused_twice",
    "a norm whose weights are in the layers may stay as it is",
    "then the model applies the weights twice: a fused norm is 1",
    ["fusing_the_norms_changes_no_logit"],
    { fused_norm: |norm| norm.clone() }

    "up_without_its_norm",
    "the norm in front of the MLP goes into the gate",
    "gate and up both read the norm",
    ["fusing_the_norms_changes_no_logit", "each_norm_is_fused_into_the_layers_behind_it"],
    { fuse_layer: |layer| Ok(Layer { up: layer.up.clone(), ..(RIGHT.fuse_layer)(layer)? }) }

    "norms_swapped",
    "a layer has one norm",
    "it has two: the input norm stands in front of q, k and v, the other one in front of gate and up",
    ["fusing_the_norms_changes_no_logit", "each_norm_is_fused_into_the_layers_behind_it"], {
        fuse_layer: |layer| {
            let norms = (layer.post_norm.clone(), layer.input_norm.clone());
            let swapped = Layer { input_norm: norms.0, post_norm: norms.1, ..layer.clone() };
            (RIGHT.fuse_layer)(&swapped)
        },
    }

    "norm_not_fused",
    "a rotation keeps the root mean square, so it passes any RMSNorm",
    "it passes the division. The weights multiply channels, and after the rotation they are other channels",
    ["norms_have_to_be_fused_first"],
    { check_fused: |_| Ok(()) }

    "writers_are_readers",
    "every weight of a layer reads the stream",
    "o and down write the stream: their rows take Qᵀ",
    ["a_rotated_residual_stream_changes_no_logit"], {
        rotate_layer: |layer, r1| {
            Ok(Layer { o: rotate_inputs(&layer.o, r1)?, ..(RIGHT.rotate_layer)(layer, r1)? })
        },
    }

    "down_is_forgotten",
    "the MLP is inside, so only its inputs are rotated",
    "down writes the stream",
    ["a_rotated_residual_stream_changes_no_logit"], {
        rotate_layer: |layer, r1| {
            Ok(Layer { down: layer.down.clone(), ..(RIGHT.rotate_layer)(layer, r1)? })
        },
    }

    "embedding_is_forgotten",
    "rotations are about the layers",
    "the first layer reads what the embedding writes",
    ["a_rotated_residual_stream_changes_no_logit"],
    { rotated_embedding: |model, _| Ok(model.embedding.clone()) }

    "tied_head_rotated_twice",
    "the embedding is rotated, and the head after it",
    "the head was the embedding, and took the rotation with it: Q Q is no rotation back",
    ["a_rotated_residual_stream_changes_no_logit"],
    { rotated_head: |head, r1| rotate_inputs(&rotate_inputs(head, r1)?, r1) }

    "head_is_forgotten",
    "the head writes logits, which are not rotated",
    "the head reads the stream",
    ["a_rotated_residual_stream_changes_no_logit"],
    { rotated_head: |head, _| Ok(head.clone()) }

    "one_r2_for_all",
    "all layers share a rotation",
    "they may, and here each layer is given its own",
    ["rotated_values_change_no_logit"],
    { of_layer: |_, _| 0 }

    "layers_not_counted",
    "zip takes as many as there are",
    "layers without a rotation are forgotten, and a rotation too many is one of another model",
    ["rotated_values_change_no_logit"],
    { check_layers: |_, _| Ok(()) }

    "r4_offline_only",
    "the weight is rotated, and that is all",
    "SwiGLU multiplies channel by channel, so no weight in front can take the other half: it runs online",
    ["rotated_inputs_of_down_change_no_logit"],
    { online: |model, _| model.online.clone() }

    "r4_forgets_r3",
    "a model has one online rotation",
    "R3 and R4 may both run",
    ["all_rotations_together_change_no_logit"],
    { online: |_, r4| Online { down: Some(r4.clone()), keys: None } }

    "r4_with_the_transpose",
    "what runs online is undone by Qᵀ in the weight",
    "the weight is transposed in the product: (x Q) (W Q)ᵀ = x Wᵀ",
    ["rotated_inputs_of_down_change_no_logit"],
    { rotated_down: |down, r4| transposed(down, r4) }

    "r4_twice",
    "a second rotation of the inputs of down is one more",
    "the model has one place for the online half, and the first one is lost",
    ["rotated_inputs_of_down_change_no_logit"],
    { check_once: |_| Ok(()) }
}

/// The functions of the lab, made of the steps of the wrong answer that `WRONG_ANSWER` names.
///
/// With `WRONG_ANSWER=none` every step is right. The functions must then pass the spec, so that a
/// failure of a wrong answer is due to the step that it replaces.
pub mod chosen {
    use super::*;

    answered! {
        fn character(x: usize, q: usize) -> i32;
        fn paley_one(q: usize) -> Lab<Whole>;
        fn paley_two(q: usize) -> Lab<Whole>;
        fn sylvester(order: usize) -> Lab<Whole>;
        fn factors(order: usize) -> Lab<(usize, usize)>;
        fn hadamard(order: usize) -> Lab<Whole>;
        fn butterflies(x: &mut [f64]) -> Lab<()>;
        fn transform(x: &[f64], core: ArrayView2<f64>) -> Lab<Vec<f64>>;
        fn apply(x: &Matrix, rotation: &Rotation) -> Lab<Matrix>;
        fn invert(x: &Matrix, rotation: &Rotation) -> Lab<Matrix>;
        fn max_over_rms(x: &[f64]) -> f64;
        fn flatness_bound(n: usize, chance: f64) -> f64;
        fn fuse_norm(w: &Matrix, norm: &Vector) -> Lab<Matrix>;
        fn rotate_inputs(w: &Matrix, rotation: &Rotation) -> Lab<Matrix>;
        fn rotate_outputs(w: &Matrix, rotation: &Rotation) -> Lab<Matrix>;
        fn rotate_heads(x: &Matrix, rotation: &Rotation) -> Lab<Matrix>;
        fn rotate_values(v: &Matrix, o: &Matrix, rotation: &Rotation) -> Pair;
        fn rotary(x: &Matrix, head_dim: usize, r3: Option<&Rotation>) -> Lab<Matrix>;
        fn fuse_norms(model: &Model) -> Lab<Model>;
        fn rotate_residual(model: &Model, r1: &Rotation) -> Lab<Model>;
        fn rotate_all_values(model: &Model, r2: &[Rotation]) -> Lab<Model>;
        fn rotate_down(model: &Model, r4: &Rotation) -> Lab<Model>;
    }
}
