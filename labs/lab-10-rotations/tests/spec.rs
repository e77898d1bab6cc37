//! The spec of lab 10. The name of a test is a sentence, and a failure names the likely mistake.
//!
//! `LAB_IMPL=starter cargo test -p lab-10-rotations --test spec` grades `src/starter.rs`.

use kit::data::normal_matrix;
use kit::difference::assert_same;
use kit::real_slice::{self, Window};
use ndarray::linalg::kron;
use ndarray::{Array1, Array2, array, s};
use rotations::{
    Decoder, Layer, Rotation, RotationError, Shape, apply, butterflies, character, factors,
    flatness_bound, fuse_norm, fuse_norms, hadamard, invert, max_over_rms, paley_one, paley_two,
    rope, rotary, rotate_all_values, rotate_down, rotate_heads, rotate_inputs, rotate_outputs,
    rotate_residual, rotate_values, sylvester, transform,
};

/// The value of a function on good input.
fn must<T, E: std::fmt::Display>(result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| panic!("good input was refused: {error}"))
}

/// Normal numbers.
fn normal(seed: u64, rows: usize, columns: usize) -> Array2<f64> {
    normal_matrix(seed, rows, columns).mapv(f64::from)
}

/// Whole numbers from -8 to 8 without 0. Their sums are exact.
fn whole(seed: u64, count: usize) -> Vec<f64> {
    let size = |value: &f64| (3.0 * value.abs()).ceil().min(8.0);
    normal(seed, 1, count).iter().map(|value| value.signum() * size(value)).collect()
}

/// Sylvester's matrix, doubled step by step: the definition.
fn doubled(order: usize) -> Array2<f64> {
    let mut h = array![[1.0]];
    while h.nrows() < order {
        h = kron(&array![[1.0, 1.0], [1.0, -1.0]], &h);
    }
    h
}

/// The Hadamard matrix of a rotation, as a matrix.
fn dense_h(rotation: &Rotation) -> Array2<f64> {
    kron(&rotation.core, &doubled(rotation.order() / rotation.core.nrows()))
}

/// `Q` as a matrix, `diag(signs) H / sqrt(n)`.
fn dense(rotation: &Rotation) -> Array2<f64> {
    let signs = Array2::from_diag(&rotation.signs);
    signs.dot(&dense_h(rotation)) / (rotation.order() as f64).sqrt()
}

/// The norm of the difference over the norm of `expected`.
fn change(found: &Array2<f64>, expected: &Array2<f64>) -> f64 {
    assert_eq!(found.dim(), expected.dim(), "the shape of the result");
    let energy = |m: &Array2<f64>| m.mapv(|value| value * value).sum();
    (energy(&(found - expected)) / energy(expected)).sqrt()
}

/// What rounding may move a product of this lab by, relative to its norm: some thousand sums of at most 1536
/// terms lose less, and each mistake that the spec looks for is above one in a thousand.
const EXACT: f64 = 1e-13;

/// Asserts that two matrices agree up to rounding. `mistakes` are matrices of likely mistakes with their names.
#[track_caller]
fn agree(found: &Array2<f64>, expected: &Array2<f64>, mistakes: &[(Array2<f64>, &str)], why: &str) {
    let near = |m: &Array2<f64>| m.dim() == found.dim() && change(found, m) <= EXACT;
    let known = mistakes.iter().find(|(m, _)| near(m)).map_or("", |(_, name)| name);
    let moved = if found.dim() == expected.dim() { change(found, expected) } else { f64::NAN };
    assert!(
        near(expected),
        "{:?} numbers differ from {:?} by {moved:.3e} of their norm, and rounding by less than {EXACT:e}.\n\
         {why}\n{known}",
        found.dim(),
        expected.dim()
    );
}

/// The same matrix, kept column by column in memory.
fn by_columns(m: &Array2<f64>) -> Array2<f64> {
    m.t().as_standard_layout().into_owned().reversed_axes()
}

/// Orders with each core.
const ORDERS: [usize; 12] = [1, 2, 4, 8, 12, 16, 24, 36, 48, 64, 72, 144];

/// A model of small sizes, each of which is another number: R1 has core 12, R2 and R3 1, R4 36.
const SMALL: Shape = Shape {
    vocabulary: 40,
    hidden: 48,
    heads: 6,
    kv_heads: 2,
    head_dim: 8,
    intermediate: 72,
    layers: 2,
};

/// Some tokens of a sentence.
const TOKENS: [usize; 9] = [3, 39, 0, 17, 3, 8, 21, 39, 12];

/// Logits of a model on [`TOKENS`].
fn logits(model: &Decoder) -> Array2<f64> {
    must(model.logits(&TOKENS))
}

/// A rotation for each layer.
fn for_layers(order: usize) -> [Rotation; 2] {
    [Rotation::random(order, 31), Rotation::random(order, 32)].map(must)
}

// ---- task 1: Paley's constructions ---------------------------------------------------------------

#[test]
fn the_character_is_1_for_squares_minus_1_for_other_numbers_and_0_for_multiples() {
    for q in [3, 5, 7, 11, 13, 17] {
        let squares: Vec<usize> = (1..q).map(|root| root * root % q).collect();
        // Numbers above q too, because a difference of two indices is moved above 0 by q.
        for x in 0..3 * q {
            let expected = match x % q {
                0 => 0,
                rest if squares.contains(&rest) => 1,
                _ => -1,
            };
            let found = character(x, q);
            assert_eq!(
                found, expected,
                "character of {x} modulo {q}, whose squares are {squares:?}"
            );
        }
    }
}

/// `H Hᵀ`, exact: sums of ones are whole numbers that `f64` holds.
fn is_hadamard(h: &Array2<i32>, order: usize) -> bool {
    let h = h.mapv(f64::from);
    h.dim() == (order, order)
        && h.iter().all(|value| value.abs() == 1.0)
        && h.dot(&h.t()) == Array2::<f64>::eye(order) * order as f64
}

#[test]
fn paleys_first_construction_gives_a_matrix_that_is_skew_beside_its_diagonal() {
    let four = array![[1, 1, 1, 1], [-1, 1, -1, 1], [-1, 1, 1, -1], [-1, -1, 1, 1]];
    let found = must(paley_one(3));
    let why = if found == four.t() {
        "The transpose: the first row holds 1, and the entry is character(row - column)"
    } else {
        "The identity, plus 1 in the first row, -1 in the first column, character(row - column) inside"
    };
    assert_same(found.view(), four.view(), why);
    for q in [7, 11, 19, 23] {
        let h = must(paley_one(q));
        assert!(is_hadamard(&h, q + 1), "q = {q}: entries 1 and -1, and H Hᵀ = {} I", q + 1);
        let both = &h + &h.t();
        assert_same(both.view(), (Array2::eye(q + 1) * 2).view(), format!("q = {q}: H + Hᵀ = 2 I"));
    }
}

#[test]
fn paleys_second_construction_gives_a_symmetric_matrix() {
    for q in [5, 13, 17] {
        let h = must(paley_two(q));
        let order = 2 * (q + 1);
        assert!(
            is_hadamard(&h, order),
            "q = {q}: entries 1 and -1, and H Hᵀ = {order} I. The zeros of the diagonal become a block of \
             their own, because 0 is no entry of a Hadamard matrix"
        );
        assert_same(h.view(), h.t(), format!("q = {q}: H = Hᵀ"));
        let corner = h.slice(s![..2, ..4]);
        let expected = array![[1, -1, 1, 1], [-1, -1, 1, -1]];
        assert_same(corner, expected.view(), format!("q = {q}: the first two blocks"));
    }
}

#[test]
fn a_number_that_a_construction_cannot_take_is_refused() {
    for q in [0, 1, 2, 5, 9, 15, 17, 27] {
        let refused = Some(RotationError::NotPaley { construction: "I", remainder: 3, q });
        assert_eq!(
            paley_one(q).err(),
            refused,
            "construction I of {q}: a prime with remainder 3 modulo 4"
        );
    }
    for q in [0, 1, 2, 3, 9, 11, 21, 25] {
        let refused = Some(RotationError::NotPaley { construction: "II", remainder: 1, q });
        assert_eq!(
            paley_two(q).err(),
            refused,
            "construction II of {q}: a prime with remainder 1 modulo 4"
        );
    }
}

// ---- task 2: a Hadamard matrix of an order -------------------------------------------------------

#[test]
fn sylvesters_matrix_doubles_itself() {
    for order in [1, 2, 4, 32] {
        let found = must(sylvester(order)).mapv(f64::from);
        assert_same(
            found.view(),
            doubled(order).view(),
            format!("order {order}: [[H, H], [H, -H]]"),
        );
    }
    for order in [0, 3, 12, 576] {
        let refused = Some(RotationError::NotAPowerOfTwo(order));
        assert_eq!(sylvester(order).err(), refused, "order {order} is no power of two");
    }
}

#[test]
fn an_order_is_a_core_times_a_power_of_two() {
    let expected = [
        (1, (1, 1)),
        (64, (1, 64)),
        (12, (12, 1)),
        (24, (12, 2)),
        (36, (36, 1)),
        (144, (36, 4)),
        (576, (36, 16)),
        (1536, (12, 128)),
        (9216, (36, 256)),
    ];
    for (order, parts) in expected {
        assert_eq!(factors(order), Ok(parts), "{order} as core and power of two");
    }
}

#[test]
fn every_order_that_is_used_has_orthogonal_rows_of_ones() {
    for order in ORDERS.into_iter().chain([96, 192, 576, 1536]) {
        let h = must(hadamard(order));
        assert!(
            is_hadamard(&h, order),
            "order {order}: entries 1 and -1, and H Hᵀ = {order} I, exactly"
        );
    }
}

#[test]
fn the_matrix_of_an_order_is_the_core_times_sylvesters_matrix() {
    for (order, core) in [(24, must(paley_one(11))), (72, must(paley_two(17)))] {
        let two = array![[1, 1], [1, -1]];
        let why = if must(hadamard(order)) == kron(&two, &core) {
            "The factors of the Kronecker product are in the other order"
        } else {
            "Each entry of the core becomes a block, the entry times Sylvester's matrix"
        };
        assert_same(
            must(hadamard(order)).view(),
            kron(&core, &two).view(),
            format!("{order}. {why}"),
        );
    }
}

#[test]
fn an_order_without_a_hadamard_matrix_is_named_and_nothing_is_padded() {
    for order in [0, 3, 6, 7, 9, 18, 30, 1534, 13] {
        let refused = RotationError::NoHadamard(order);
        let why = "1, 2 and multiples of 4 have a matrix; a larger one is another rotation, and a wider layer";
        assert_eq!(hadamard(order).err(), Some(refused.clone()), "hadamard({order}): {why}");
        assert_eq!(factors(order).err(), Some(refused), "factors({order}): {why}");
    }
    for order in [20, 28, 60, 100, 172, 11008] {
        let refused = RotationError::NoConstruction(order);
        let why =
            "a matrix may exist, and 1, 12 and 36 times a power of two do not give this order";
        assert_eq!(hadamard(order).err(), Some(refused.clone()), "hadamard({order}): {why}");
        assert_eq!(factors(order).err(), Some(refused), "factors({order}): {why}");
    }
}

// ---- task 3: the fast transform ------------------------------------------------------------------

#[test]
fn butterflies_multiply_by_sylvesters_matrix() {
    for order in [1, 2, 4, 8, 64] {
        let x = whole(order as u64, order);
        let mut found = x.clone();
        must(butterflies(&mut found));
        let expected = Array1::from(x).dot(&doubled(order));
        let why = "sums and differences at distance 1, 2, 4 and so on, without a root";
        assert_same(Array1::from(found).view(), expected.view(), format!("{order} numbers: {why}"));
    }
    for length in [0, 3, 12] {
        let found = butterflies(&mut vec![1.0; length]);
        let refused = Some(RotationError::NotAPowerOfTwo(length));
        assert_eq!(found.err(), refused, "{length} numbers: a pair would be left out");
    }
}

#[test]
fn the_fast_transform_is_the_product_with_the_dense_matrix() {
    for order in ORDERS.into_iter().chain([576, 1536]) {
        let rotation = must(Rotation::plain(order));
        let (x, h) = (whole(order as u64 + 7, order), dense_h(&rotation));
        let row = Array2::from_shape_vec((1, order), x.clone()).unwrap_or_default();
        let found = must(transform(&x, rotation.core.view()));
        let found = Array2::from_shape_vec((1, found.len()), found).unwrap_or_default();
        let root = (order as f64).sqrt();
        let part = order / rotation.core.nrows();
        let swapped = kron(&doubled(part), &rotation.core);
        let mistakes = [
            (row.dot(&h), "These are the sums themselves: divide by sqrt(n)"),
            (row.dot(&h) / order as f64, "Over n: the rows of H have the norm sqrt(n)"),
            (
                row.dot(&h) / (part as f64).sqrt(),
                "The root is that of the whole order, core included",
            ),
            (row.dot(&h.t()) / root, "The product with Hᵀ: out[c] sums core[a, c] over a"),
            (row.dot(&swapped) / root, "Neighbours go to Sylvester's matrix, parts to the core"),
        ];
        let why = format!("a row of {order}, x (core ⊗ Sylvester) / sqrt(n)");
        agree(&found, &(row.dot(&h) / root), &mistakes, &why);
    }
}

#[test]
fn a_row_that_no_core_and_power_of_two_make_is_refused() {
    let core = must(Rotation::plain(12)).core;
    for length in [0, 6, 13, 36] {
        let found = transform(&vec![1.0; length], core.view());
        assert!(found.is_err(), "{length} numbers with a core of 12 were taken: nothing is padded");
    }
}

// ---- task 4: a rotation --------------------------------------------------------------------------

#[test]
fn apply_multiplies_by_the_signs_and_then_by_the_matrix() {
    for order in [1, 2, 8, 12, 24, 36, 72] {
        let rotation = must(Rotation::random(order, 5));
        let (h, root) = (dense_h(&rotation), (order as f64).sqrt());
        let signs = Array2::from_diag(&rotation.signs);
        let x = normal(order as u64, 5, order);
        let mistakes = [
            (x.dot(&dense(&rotation).t()), "That is x Qᵀ: apply multiplies by Q"),
            (
                x.dot(&h).dot(&signs) / root,
                "The signs stand in front of H: each seed gives other sums",
            ),
            (x.dot(&h) / root, "The signs are missing"),
            (x.dot(&signs).dot(&h), "Without the root the norm grows by sqrt(n)"),
        ];
        for m in [x.clone(), by_columns(&x)] {
            let found = must(apply(&m, &rotation));
            agree(&found, &x.dot(&dense(&rotation)), &mistakes, &format!("x Q, order {order}"));
        }
    }
}

#[test]
fn invert_undoes_apply() {
    for order in [2, 12, 24, 36, 64] {
        let rotation = must(Rotation::random(order, 6));
        let x = normal(order as u64, 4, order);
        let (q, signs) = (dense(&rotation), Array2::from_diag(&rotation.signs));
        let h = dense_h(&rotation) / (order as f64).sqrt();
        let mistakes = [
            (x.dot(&q), "That is x Q: with signs, or with core 12, Q is not symmetric"),
            (x.dot(&signs).dot(&h.t()), "The signs come last: (diag(s) H)ᵀ = Hᵀ diag(s)"),
            (
                x.dot(&h).dot(&signs),
                "The core is transposed too: Paley's core of 12 is not symmetric",
            ),
        ];
        agree(
            &must(invert(&x, &rotation)),
            &x.dot(&q.t()),
            &mistakes,
            &format!("x Qᵀ, order {order}"),
        );
        let back = must(invert(&must(apply(&x, &rotation)), &rotation));
        agree(&back, &x, &[], "x Q Qᵀ = x");
    }
}

#[test]
fn a_rotation_keeps_norms_and_products() {
    for order in [16, 24, 36, 576] {
        let rotation = must(Rotation::random(order, 8));
        let x = normal(order as u64, 6, order);
        let rotated = must(apply(&x, &rotation));
        agree(&rotated.dot(&rotated.t()), &x.dot(&x.t()), &[], &format!("Q Qᵀ = I, order {order}"));
    }
}

#[test]
fn a_one_hot_row_of_size_1_becomes_1_over_24_at_576_everywhere() {
    for hot in [0, 1, 300, 575] {
        let mut x = Array2::zeros((1, 576));
        x[(0, hot)] = 1.0;
        let found = must(apply(&x, &must(Rotation::random(576, hot as u64))));
        let far = found.iter().find(|value| (value.abs() - 1.0 / 24.0).abs() > 1e-16);
        assert_eq!(
            far, None,
            "channel {hot} alone: each of 576 channels gets 1 / sqrt(576) = 1 / 24"
        );
    }
}

#[test]
fn a_width_that_differs_and_a_number_that_is_not_finite_are_refused() {
    let rotation = must(Rotation::random(12, 1));
    for width in [1, 11, 13, 24] {
        let x = Array2::ones((2, width));
        for result in [apply(&x, &rotation), invert(&x, &rotation)] {
            let named = matches!(
                result,
                Err(RotationError::Width { found, expected: 12, .. }) if found == width
            );
            assert!(named, "{width} columns and order 12 gave {:?}", result.err());
        }
    }
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let mut x = Array2::ones((5, 12));
        x[(3, 7)] = value;
        x[(4, 1)] = f64::NAN;
        for result in [apply(&x, &rotation), invert(&x, &rotation)] {
            let named = matches!(result, Err(RotationError::NotFinite { row: 3, column: 7, .. }));
            assert!(named, "{value} at row 3, column 7: it would spread to the whole row");
        }
    }
}

// ---- task 5: how flat a row is -------------------------------------------------------------------

#[test]
fn max_over_rms_is_1_for_a_flat_row_and_sqrt_n_for_a_one_hot_row() {
    let cases = [
        (vec![3.0, -3.0, -3.0, 3.0], 1.0),
        (vec![0.0, 0.0, 0.0, -5.0], 2.0),
        (vec![-7.0, 0.0, 0.0, 0.0], 2.0),
        (vec![1.0, 1.0, 1.0, -5.0, 1.0, 1.0, 1.0], 5.0 / (31f64 / 7.0).sqrt()),
        (vec![2.0], 1.0),
        (vec![0.0, 0.0], 1.0),
    ];
    for (row, expected) in cases {
        let found = max_over_rms(&row);
        let why = "largest magnitude over the root of the mean square; 1 for zeros";
        assert!((found - expected).abs() <= 1e-15 * expected, "{row:?} gave {found}: {why}");
    }
}

#[test]
fn the_bound_is_where_the_tails_of_all_channels_together_have_the_chance() {
    for n in [1, 64, 1536] {
        for chance in [0.5, 1e-3, 1e-9] {
            let bound = flatness_bound(n, chance);
            // Hoeffding: a channel is beyond t with a probability of at most 2 exp(-t²/2), and there are n.
            let tails = 2.0 * n as f64 * (-bound * bound / 2.0).exp();
            assert!(
                (tails / chance - 1.0).abs() < 1e-9,
                "n = {n}, chance {chance:e}: {bound} has tails of {tails:e}: sqrt(2 ln(2 n / chance))"
            );
        }
    }
}

/// The first token's input of a down projection of the real slice.
fn massive(layer: usize) -> Array2<f64> {
    let name = format!("model.layers.{layer}.mlp.down_proj.weight");
    must(real_slice::activations(&name, Window::Calibration)).slice(s![..1, ..]).mapv(f64::from)
}

#[test]
fn random_signs_bring_every_vector_below_the_bound() {
    // A chance of 1e-9 for each of a hundred rotations, each of which is decided by its seed.
    let chance = 1e-9;
    let mut two_hot = Array2::zeros((1, 576));
    (two_hot[(0, 3)], two_hot[(0, 575)]) = (1.0, 1.0);
    let rows = [
        (two_hot, "two channels"),
        (Array2::ones((1, 576)), "all equal"),
        (normal(4, 1, 64), "normal"),
        (normal(2, 1, 1536).mapv(|value| value.powi(5)), "heavy tails"),
        (massive(1), "the real massive activation"),
    ];
    for (row, name) in rows {
        for seed in 0..20 {
            let n = row.ncols();
            let rotated = must(apply(&row, &must(Rotation::random(n, seed))));
            let (found, bound) =
                (max_over_rms(&rotated.row(0).to_vec()), flatness_bound(n, chance));
            assert!(
                found <= bound,
                "{name}, seed {seed}: maximum over rms {found:.2}, bound {bound:.2}"
            );
        }
    }
}

#[test]
fn a_real_massive_activation_falls_to_what_a_normal_vector_has() {
    let row = massive(1);
    let before = max_over_rms(&row.row(0).to_vec());
    let bound = flatness_bound(1536, 0.01);
    assert!(before > 4.0 * bound, "one channel carries the row: {before:.1}, and 39.2 is the most");
    let beyond = (0..50).filter(|seed| {
        let rotated = must(apply(&row, &must(Rotation::random(1536, *seed))));
        max_over_rms(&rotated.row(0).to_vec()) > bound
    });
    // Each of 50 rotations is beyond with a chance of 1 in 100 at most: five are, with less than 1 in 5000.
    let count = beyond.count();
    assert!(count < 5, "{count} of 50 rotations are beyond {bound:.2}, and 1 in 100 may be");
}

#[test]
fn a_vector_that_is_flat_already_gains_nothing() {
    for seed in 0..20 {
        let flat = normal(seed, 1, 576).mapv(f64::signum);
        let rotated = must(apply(&flat, &must(Rotation::random(576, seed + 100))));
        let after = max_over_rms(&rotated.row(0).to_vec());
        assert_eq!(max_over_rms(&flat.row(0).to_vec()), 1.0, "a row of 1 and -1");
        // All of 576 normal numbers are below 2 with a chance of 0.954^576 < 1e-11.
        assert!(
            after > 2.0,
            "seed {seed}: 1 became {after:.2}; a sum of random signs has normal tails"
        );
    }
}

// ---- task 6: the weights -------------------------------------------------------------------------

#[test]
fn a_fused_norm_multiplies_the_columns_of_the_weight() {
    let (x, w, norm) = (normal(1, 4, 6), normal(2, 9, 6), normal(3, 1, 6).row(0).to_owned());
    let fused = must(fuse_norm(&w, &norm));
    agree(&x.dot(&fused.t()), &(&x * &norm).dot(&w.t()), &[], "(x * norm) Wᵀ = x (W diag(norm))ᵀ");
    // A square weight, whose rows would take the norm as well.
    let w = normal(4, 6, 6);
    let by_rows = Array2::from_diag(&norm).dot(&w);
    let why = "column j times norm[j]";
    let mistakes = [
        (by_rows, "The norm is on the input side: columns, not rows"),
        (&w / &norm, "Multiplied, not divided: the norm's weight becomes 1"),
        (&(&w * &norm) * &norm, "Fused twice"),
    ];
    agree(&must(fuse_norm(&w, &norm)), &w.dot(&Array2::from_diag(&norm)), &mistakes, why);
    for length in [1, 5, 9] {
        let found = fuse_norm(&normal(5, 9, 6), &Array1::ones(length));
        assert!(
            matches!(found, Err(RotationError::Width { .. })),
            "{length} weights of a norm and 6 columns: ndarray would stretch a length of 1, and panic else"
        );
    }
}

#[test]
fn a_layer_with_rotated_inputs_computes_the_same() {
    let rotation = must(Rotation::random(24, 3));
    let (x, w) = (normal(1, 4, 24), normal(2, 7, 24));
    let q = dense(&rotation);
    let rotated = must(rotate_inputs(&w, &rotation));
    let mistakes = [(w.dot(&q.t()), "W Qᵀ: x Q needs W Q, because Q Qᵀ = I")];
    agree(&rotated, &w.dot(&q), &mistakes, "W Q");
    agree(&x.dot(&q).dot(&rotated.t()), &x.dot(&w.t()), &[], "(x Q) (W Q)ᵀ = x Wᵀ");
}

#[test]
fn a_layer_with_rotated_outputs_writes_rotated_rows() {
    let rotation = must(Rotation::random(24, 4));
    let (x, w) = (normal(1, 4, 7), normal(2, 24, 7));
    let q = dense(&rotation);
    let rotated = must(rotate_outputs(&w, &rotation));
    let mistakes = [(q.dot(&w), "Q W: y Q needs Qᵀ W, because (Qᵀ W)ᵀ = Wᵀ Q")];
    agree(&rotated, &q.t().dot(&w), &mistakes, "Qᵀ W");
    agree(&x.dot(&rotated.t()), &x.dot(&w.t()).dot(&q), &[], "x (Qᵀ W)ᵀ = (x Wᵀ) Q");
    // A square weight takes a rotation on either side.
    let w = normal(3, 24, 24);
    let mistakes = [(w.dot(&q), "That rotates the inputs")];
    agree(&must(rotate_outputs(&w, &rotation)), &q.t().dot(&w), &mistakes, "Qᵀ W, square");
}

#[test]
fn each_head_is_rotated_by_itself() {
    let rotation = must(Rotation::random(8, 5));
    for heads in [1, 3] {
        let x = normal(6, 5, 8 * heads);
        let blocks = kron(&Array2::eye(heads), &dense(&rotation));
        let turned = kron(&dense(&rotation), &Array2::eye(heads));
        let mistakes = [
            (x.dot(&blocks.t()), "x Qᵀ of each head: heads take Q"),
            (x.dot(&turned), "A head is neighbouring channels"),
        ];
        agree(
            &must(rotate_heads(&x, &rotation)),
            &x.dot(&blocks),
            &mistakes,
            &format!("{heads} heads"),
        );
    }
    for width in [4, 12, 20] {
        let found = rotate_heads(&Array2::ones((2, width)), &rotation);
        let refused = Some(RotationError::Heads { found: width, head_dim: 8 });
        assert_eq!(found.err(), refused, "{width} channels are no heads of 8");
    }
}

#[test]
fn the_values_are_rotated_by_head_and_the_output_projection_takes_them_so() {
    // Six query heads share two key-value heads, and the hidden size is that of the values' rows.
    let rotation = must(Rotation::random(8, 6));
    let (v, o) = (normal(1, 16, 24), normal(2, 24, 48));
    let (rotated_v, rotated_o) = must(rotate_values(&v, &o, &rotation));
    let q = dense(&rotation);
    let (kv, all) = (kron(&Array2::eye(2), &q), kron(&Array2::eye(6), &q));
    let mistakes = [
        (kv.dot(&v), "Q for Qᵀ: the rows of v become Qᵀ v, so that the values become v Q"),
        (v.clone(), "v is as before"),
    ];
    agree(&rotated_v, &kv.t().dot(&v), &mistakes, "Qᵀ of each head's rows of v");
    let mistakes = [
        (
            o.dot(&all.t()),
            "o takes Q as well: Q on the values and Qᵀ on their reader do not cancel",
        ),
        (o.clone(), "o is as before"),
    ];
    agree(&rotated_o, &o.dot(&all), &mistakes, "each head's columns of o times Q");
    // What attention does to values: mixes of tokens, which commute with a rotation of channels.
    let (x, mix) = (normal(3, 5, 24), normal(4, 5, 5));
    let through = |v: &Array2<f64>, o: &Array2<f64>| {
        let values = x.dot(&v.t());
        let mut mixed = Array2::zeros((5, 48));
        for head in 0..6 {
            let kv = head / 3;
            let part = mix.dot(&values.slice(s![.., kv * 8..(kv + 1) * 8])) * (1.0 + head as f64);
            mixed.slice_mut(s![.., head * 8..(head + 1) * 8]).assign(&part);
        }
        mixed.dot(&o.t())
    };
    agree(
        &through(&rotated_v, &rotated_o),
        &through(&v, &o),
        &[],
        "six query heads, two of values",
    );
}

#[test]
fn values_and_an_output_projection_that_are_no_heads_are_refused() {
    let rotation = must(Rotation::plain(8));
    for (rows, columns, found) in [(12, 16, 12), (16, 20, 20)] {
        let result =
            rotate_values(&Array2::ones((rows, 5)), &Array2::ones((5, columns)), &rotation);
        let refused = Some(RotationError::Heads { found, head_dim: 8 });
        assert_eq!(result.err(), refused, "v has {rows} rows, o {columns} columns, and a head 8");
    }
}

#[test]
fn a_number_that_is_not_finite_is_named_by_its_place_in_the_weight() {
    let rotation = must(Rotation::plain(8));
    let place = |error: Option<RotationError>| match error {
        Some(RotationError::NotFinite { row, column, .. }) => Some((row, column)),
        _ => None,
    };
    let with = |rows: usize, columns: usize, at: (usize, usize)| {
        let mut w = Array2::ones((rows, columns));
        w[at] = f64::NAN;
        w
    };
    let good = Array2::ones((3, 24));
    let cases = [
        (rotate_inputs(&with(5, 8, (4, 6)), &rotation).err(), (4, 6), "rotate_inputs"),
        (rotate_outputs(&with(8, 5, (6, 3)), &rotation).err(), (6, 3), "rotate_outputs"),
        (rotate_heads(&with(5, 24, (2, 19)), &rotation).err(), (2, 19), "rotate_heads"),
        (
            rotate_values(&with(16, 5, (13, 4)), &good, &rotation).err(),
            (13, 4),
            "v of rotate_values",
        ),
        (
            rotate_values(&Array2::ones((16, 5)), &with(3, 24, (1, 20)), &rotation).err(),
            (1, 20),
            "o",
        ),
    ];
    for (error, at, name) in cases {
        let why = "the place in the transpose or in the head is not the place in the weight";
        assert_eq!(place(error), Some(at), "{name}: row and column of NaN; {why}");
    }
}

// ---- task 7: queries and keys --------------------------------------------------------------------

#[test]
fn keys_are_rotated_after_rope() {
    let x = normal(1, 7, 24);
    agree(&must(rotary(&x, 8, None)), &must(rope(&x, 8)), &[], "without R3, RoPE alone");
    let r3 = must(Rotation::random(8, 2));
    let blocks = kron(&Array2::eye(3), &dense(&r3));
    let mistakes = [
        (
            must(rope(&x.dot(&blocks), 8)),
            "R3 before RoPE: the two do not commute beyond position 0",
        ),
        (must(rope(&x, 8)), "R3 is missing"),
        (x.dot(&blocks), "RoPE is missing"),
    ];
    agree(
        &must(rotary(&x, 8, Some(&r3))),
        &must(rope(&x, 8)).dot(&blocks),
        &mistakes,
        "RoPE, then R3",
    );
}

#[test]
fn the_products_of_queries_and_keys_are_the_same_at_all_positions() {
    let r3 = must(Rotation::random(8, 3));
    let (queries, keys) = (normal(1, 7, 8), normal(2, 7, 8));
    let products =
        |r3: Option<&Rotation>| must(rotary(&queries, 8, r3)).dot(&must(rotary(&keys, 8, r3)).t());
    agree(
        &products(Some(&r3)),
        &products(None),
        &[],
        "a product at position 0 alone proves nothing",
    );
}

#[test]
fn a_rotation_that_is_no_head_is_refused() {
    let x = Array2::ones((3, 16));
    let found = rotary(&x, 8, Some(&must(Rotation::plain(16))));
    let named = matches!(found, Err(RotationError::Width { found: 16, expected: 8, .. }));
    assert!(named, "order 16 on heads of 8 would mix two heads: {:?}", found.err());
    let found = rotary(&x, 6, Some(&must(Rotation::plain(8))));
    assert_eq!(
        found.err(),
        Some(RotationError::Heads { found: 16, head_dim: 6 }),
        "16 channels, heads of 6"
    );
}

// ---- task 8: a model -----------------------------------------------------------------------------

/// Asserts that two models compute the same.
#[track_caller]
fn same_function(found: &Decoder, expected: &Decoder, why: &str) {
    let moved = change(&logits(found), &logits(expected));
    assert!(
        moved <= EXACT,
        "the logits moved by {moved:.3e} of their norm, rounding by less than {EXACT:e}. {why}"
    );
}

/// The small model with its norms fused, without the code under test.
fn fused(model: &Decoder) -> Decoder {
    let ones = Array1::ones(model.shape.hidden);
    let layer = |layer: &Layer| Layer {
        q: &layer.q * &layer.input_norm,
        k: &layer.k * &layer.input_norm,
        v: &layer.v * &layer.input_norm,
        gate: &layer.gate * &layer.post_norm,
        up: &layer.up * &layer.post_norm,
        input_norm: ones.clone(),
        post_norm: ones.clone(),
        ..layer.clone()
    };
    let head = model.head.as_ref().unwrap_or(&model.embedding) * &model.final_norm;
    let layers = model.layers.iter().map(layer).collect();
    Decoder { layers, head: Some(head), final_norm: ones.clone(), ..model.clone() }
}

#[test]
fn fusing_the_norms_changes_no_logit() {
    for head in [None, Some(normal(11, SMALL.vocabulary, SMALL.hidden))] {
        let model = Decoder { head: head.clone(), ..Decoder::seeded(1, SMALL) };
        let found = must(fuse_norms(&model));
        let of = if head.is_none() { "tied" } else { "with a head of its own" };
        let all = found.layers.iter().flat_map(|layer| [&layer.input_norm, &layer.post_norm]);
        for norm in all.chain([&found.final_norm]) {
            assert!(
                norm.iter().all(|weight| *weight == 1.0),
                "a model {of}: a fused norm is 1, {norm:.2}"
            );
        }
        assert_same(
            found.embedding.view(),
            model.embedding.view(),
            "No norm stands in front of the embedding, so its rows stay: with a tied head, the head gets a \
             matrix of its own. RMSNorm takes no mean away, so no mean may be taken away here",
        );
        same_function(
            &found,
            &model,
            &format!("A model {of}: each norm into the layers behind it, once"),
        );
    }
}

#[test]
fn each_norm_is_fused_into_the_layers_behind_it() {
    let model = Decoder::seeded(2, SMALL);
    let (found, expected) = (must(fuse_norms(&model)), fused(&model));
    for (index, (found, expected)) in found.layers.iter().zip(&expected.layers).enumerate() {
        let weights = |of: &Layer| {
            [&of.q, &of.k, &of.v, &of.o, &of.gate, &of.up, &of.down].map(Array2::clone)
        };
        let names = ["q", "k", "v", "o", "gate", "up", "down"];
        for ((found, expected), name) in weights(found).iter().zip(&weights(expected)).zip(names) {
            agree(
                found,
                expected,
                &[],
                &format!("layer {index}, {name}: o and down follow no norm"),
            );
        }
    }
}

#[test]
fn a_rotated_residual_stream_changes_no_logit() {
    let model = fused(&Decoder::seeded(3, SMALL));
    let r1 = must(Rotation::random(SMALL.hidden, 4));
    let found = must(rotate_residual(&model, &r1));
    let why = "W Q where a layer reads the stream, Qᵀ W where it writes, E Q for the embedding, and the head \
               reads";
    same_function(&found, &model, why);
    let q = dense(&r1);
    let (embedding, head) = (&model.embedding, model.head.clone().unwrap_or_default());
    let mistakes =
        [(embedding.clone(), "The embedding is as before"), (embedding.dot(&q.t()), "Q for Qᵀ")];
    agree(&found.embedding, &embedding.dot(&q), &mistakes, "the stream is E Q");
    let mistakes = [
        (
            head.dot(&q).dot(&q),
            "The head is rotated twice: with tied embeddings it was the embedding",
        ),
        (head.clone(), "The head is as before"),
    ];
    agree(&found.head.unwrap_or_default(), &head.dot(&q), &mistakes, "the head reads the stream");
}

#[test]
fn norms_have_to_be_fused_first() {
    let tied = Decoder::seeded(5, SMALL);
    let r1 = must(Rotation::random(SMALL.hidden, 6));
    let with = |change: &dyn Fn(&mut Decoder)| {
        let mut model = fused(&tied);
        change(&mut model);
        rotate_residual(&model, &r1)
    };
    let refused = |norm: &str| Some(RotationError::NotFused { norm: norm.to_owned() });
    let why = "the norm multiplies channels, and after the rotation they are other channels";
    let found = with(&|model| model.layers[1].input_norm[47] = 0.5);
    assert_eq!(found.err(), refused("the input norm of layer 1"), "{why}");
    let found = with(&|model| model.layers[0].post_norm[3] = 2.0);
    assert_eq!(found.err(), refused("the post-attention norm of layer 0"), "{why}");
    let found = with(&|model| model.final_norm[0] = 1.5);
    assert_eq!(found.err(), refused("the final norm"), "{why}");
    assert_eq!(
        with(&|model| model.head = None).err(),
        Some(RotationError::Tied),
        "E Q is not the head"
    );
    // What the refusal prevents: the same rotation around norms with weights.
    let bare = Decoder {
        layers: tied.layers.iter().map(without_norms).collect(),
        final_norm: Array1::ones(SMALL.hidden),
        head: Some(tied.embedding.clone()),
        ..tied.clone()
    };
    let mut around = must(rotate_residual(&bare, &r1));
    for (layer, original) in around.layers.iter_mut().zip(&tied.layers) {
        layer.input_norm.assign(&original.input_norm);
        layer.post_norm.assign(&original.post_norm);
    }
    around.final_norm.assign(&tied.final_norm);
    let moved = change(&logits(&around), &logits(&tied));
    assert!(
        moved > 0.1,
        "norms with weights do not commute with a rotation: the logits moved by {moved}"
    );
}

/// A layer whose norms are 1 and whose weights are as they were.
fn without_norms(layer: &Layer) -> Layer {
    let ones = Array1::ones(layer.input_norm.len());
    Layer { input_norm: ones.clone(), post_norm: ones, ..layer.clone() }
}

#[test]
fn embedding_rows_without_their_mean_are_another_model() {
    let model = must(fuse_norms(&Decoder::seeded(7, SMALL)));
    let mut centred = model.clone();
    for mut row in centred.embedding.rows_mut() {
        let mean = row.mean().unwrap_or(0.0);
        row -= mean;
    }
    let moved = change(&logits(&centred), &logits(&model));
    assert!(moved > 0.05, "LayerNorm takes the mean away, and RMSNorm does not: {moved}");
    // The control: a rotation of that other model changes nothing, so the change is due to the mean.
    let r1 = must(Rotation::random(SMALL.hidden, 3));
    same_function(&must(rotate_residual(&centred, &r1)), &centred, "R1 of a model without means");
}

#[test]
fn rotated_values_change_no_logit() {
    let model = Decoder::seeded(8, SMALL);
    let r2 = for_layers(SMALL.head_dim);
    let found = must(rotate_all_values(&model, &r2));
    same_function(
        &found,
        &model,
        "v's rows and o's columns of a layer have one rotation, each head alike",
    );
    for (index, (found, layer)) in found.layers.iter().zip(&model.layers).enumerate() {
        let blocks = kron(&Array2::eye(SMALL.heads), &dense(&r2[index]));
        let why = format!("o of layer {index} is rotated by the rotation of its layer");
        agree(&found.o, &layer.o.dot(&blocks), &[], &why);
    }
    for count in [0, 1, 3] {
        let some: Vec<Rotation> = r2.iter().chain(&r2).take(count).cloned().collect();
        let refused = Some(RotationError::Layers { found: count, layers: 2 });
        assert_eq!(
            rotate_all_values(&model, &some).err(),
            refused,
            "{count} rotations for 2 layers"
        );
    }
}

#[test]
fn rotated_keys_change_no_logit() {
    let model = Decoder::seeded(9, SMALL);
    let mut found = model.clone();
    found.online.keys = Some(must(Rotation::random(SMALL.head_dim, 4)));
    same_function(&found, &model, "R3 of queries and keys behind RoPE cancels in their product");
}

#[test]
fn rotated_inputs_of_down_change_no_logit() {
    let model = Decoder::seeded(10, SMALL);
    let r4 = must(Rotation::random(SMALL.intermediate, 5));
    let found = must(rotate_down(&model, &r4));
    same_function(&found, &model, "down takes W Q and its inputs x Q, online");
    let q = dense(&r4);
    for (index, (found, layer)) in found.layers.iter().zip(&model.layers).enumerate() {
        let mistakes = [(layer.down.dot(&q.t()), "Q for Qᵀ"), (layer.down.clone(), "as before")];
        agree(&found.down, &layer.down.dot(&q), &mistakes, &format!("down of layer {index}"));
    }
    assert_eq!(found.online.down.as_ref(), Some(&r4), "the rotation runs with the model");
    let again = rotate_down(&found, &r4);
    let refused = Some(RotationError::Twice("the inputs of down"));
    assert_eq!(again.err(), refused, "the model has one place for this rotation");
    // Without the online half the offline half is another weight.
    let mut half = found.clone();
    half.online.down = None;
    let moved = change(&logits(&half), &logits(&model));
    assert!(moved > 0.1, "half of R4 is no identity: the logits moved by {moved}");
}

#[test]
fn all_rotations_together_change_no_logit() {
    let model = Decoder::seeded(12, SMALL);
    let r1 = must(Rotation::random(SMALL.hidden, 1));
    let r4 = must(Rotation::random(SMALL.intermediate, 2));
    let r2 = for_layers(SMALL.head_dim);
    let mut found = must(rotate_residual(&must(fuse_norms(&model)), &r1));
    found.online.keys = Some(must(Rotation::random(SMALL.head_dim, 3)));
    let found = must(rotate_down(&must(rotate_all_values(&found, &r2)), &r4));
    assert!(found.online.keys.is_some(), "R4 forgot the rotation of the keys");
    same_function(
        &found,
        &model,
        "each step by itself keeps the function, so a step undid another one",
    );
    // In another order.
    let other = must(rotate_all_values(&must(rotate_down(&model, &r4)), &r2));
    let mut other = must(rotate_residual(&must(fuse_norms(&other)), &r1));
    assert_eq!(other.online.down, Some(r4), "R1 forgot the online rotation of the model");
    other.online.keys = found.online.keys.clone();
    same_function(&other, &model, "R4 and R2 first, then the norms and R1");
}
