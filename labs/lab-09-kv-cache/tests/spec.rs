//! The spec of lab 09. The name of a test is a sentence, and a failure names the likely mistake.
//!
//! `LAB_IMPL=starter cargo test -p lab-09-kv-cache --test spec` grades `src/starter.rs`.

use formats::float8;
use kit::data::normal_matrix;
use kit::difference::assert_same;
use kit::meters::relative_error;
use kit::real_cache::{self, HEAD_DIM, LAYERS, QUERIES, ROPE_THETA, RealCache, TOKENS};
use kv_cache::{
    Bits, Cache, Coded, EXACT, Granularity, Grid, Head, KvError, Layout, Policy, Shape, Side,
    append, attend, bits_per_number, bytes_per_token, cache_bytes, decode, decode_steps,
    dequantize, encode, extend, group_shape, logit_shift, logits, output_bound, quantize, read,
    rotate, scale_and_zero, sixteen_bits, softmax, unrotate,
};
use ndarray::{Array1, Array2, Array3, ArrayView1, Axis, array, s};

/// The value of a function on good input.
fn must<T, E: std::fmt::Display>(result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| panic!("good input was refused: {error}"))
}

/// Normal numbers that `f16` holds.
fn halves(seed: u64, rows: usize, columns: usize) -> Array2<f32> {
    normal_matrix(seed, rows, columns).mapv(sixteen_bits)
}

/// Keys or values of a layer, `[tokens, heads, head_dim]`, that `f16` holds. Later tokens are larger, and each
/// head has a size of its own.
fn layer(seed: u64, [tokens, heads, head_dim]: [usize; 3]) -> Array3<f32> {
    let m = normal_matrix(seed, tokens, heads * head_dim);
    Array3::from_shape_fn((tokens, heads, head_dim), |(token, head, channel)| {
        let size = (1 + head) as f32 * (1.0 + token as f32 / 8.0);
        sixteen_bits(size * m[(token, head * head_dim + channel)])
    })
}

/// The same matrix, kept column by column in memory.
fn by_columns(m: &Array2<f32>) -> Array2<f32> {
    m.t().as_standard_layout().into_owned().reversed_axes()
}

/// The integer grids.
fn integers() -> [Grid; 6] {
    let [two, four, eight] = Bits::ALL;
    [
        Grid::Asymmetric(two),
        Grid::Asymmetric(four),
        Grid::Asymmetric(eight),
        Grid::Symmetric(two),
        Grid::Symmetric(four),
        Grid::Symmetric(eight),
    ]
}

/// What comes back of `values` as one group.
fn back(values: &[f32], grid: Grid) -> Vec<f32> {
    let (scale, zero) = scale_and_zero(values, grid);
    values
        .iter()
        .map(|&value| decode(encode(value, scale, zero, grid), scale, zero, grid))
        .collect()
}

/// The squared error over the squared norm of what comes back of `m`.
fn energy_lost(m: &Array2<f32>, layout: Layout) -> f64 {
    relative_error(m, &dequantize(&must(quantize(m, layout)))).powi(2)
}

const TWO: Grid = Grid::Asymmetric(Bits::Two);
const FOUR: Grid = Grid::Asymmetric(Bits::Four);

// ---- task 1: the codes of a group ----------------------------------------------------------------

#[test]
fn the_smallest_and_the_largest_number_of_a_group_lie_on_the_first_and_the_last_code() {
    for bits in Bits::ALL {
        let last = 2f32.powi(bits.count() as i32) - 1.0;
        // All positive, all negative, and around 0. A quarter is a scale that 16 bits hold.
        for smallest in [5.0, -100.0, -0.5] {
            let values = [smallest + 0.25, smallest + last * 0.25, smallest];
            let grid = Grid::Asymmetric(bits);
            let found = scale_and_zero(&values, grid);
            assert_eq!(
                found,
                (0.25, smallest),
                "scale and zero of {values:?} on {grid:?}: (largest - smallest) / {last}, and the \
                 smallest number, which is a float"
            );
            let codes = values.map(|value| encode(value, 0.25, smallest, grid));
            assert_eq!(codes, [1, last as u8, 0], "codes of {values:?} on {grid:?}");
            assert_eq!(back(&values, grid), values, "{values:?} on {grid:?}: scale * code + zero");
        }
    }
}

#[test]
fn a_grid_around_0_has_the_largest_magnitude_on_its_last_code() {
    for bits in Bits::ALL {
        let last = 2f32.powi(bits.count() as i32 - 1) - 1.0;
        let grid = Grid::Symmetric(bits);
        for sign in [1.0, -1.0] {
            let values = [0.0, -0.5 * sign, 0.5 * last * sign];
            let found = scale_and_zero(&values, grid);
            assert_eq!(found, (0.5, 0.0), "{values:?} on {grid:?}: absmax / {last}, and no zero");
            let codes = values.map(|value| encode(value, 0.5, 0.0, grid) as i8);
            let expected = [0.0, -sign, last * sign].map(|code| code as i8);
            assert_eq!(codes, expected, "codes of {values:?} on {grid:?}, two's complement");
            assert_eq!(back(&values, grid), values, "{values:?} on {grid:?} come back");
        }
    }
}

#[test]
fn fp8_has_the_largest_magnitude_on_448_and_a_static_scale_is_taken_as_it_is() {
    let values = [1.0, -896.0, 3.3];
    assert_eq!(scale_and_zero(&values, Grid::Fp8), (2.0, 0.0), "absmax 896 over 448");
    for value in values {
        let code = encode(value, 2.0, 0.0, Grid::Fp8);
        assert_eq!(code, float8::encode(value / 2.0), "{value} over the scale 2, as E4M3");
        assert_eq!(decode(code, 2.0, 0.0, Grid::Fp8), float8::decode(code) * 2.0, "code {code:#x}");
    }
    let fixed = Grid::Fp8Static(0.3);
    assert_eq!(
        scale_and_zero(&values, fixed),
        (0.3, 0.0),
        "a static scale is a number of the model in f32: neither the group nor 16 bits change it"
    );
    let end = decode(encode(1e4, 0.3, 0.0, fixed), 0.3, 0.0, fixed);
    assert_eq!(end, 448.0 * 0.3, "10000 under the static scale 0.3 saturates");
}

#[test]
fn ties_go_to_the_even_code_and_numbers_beyond_the_ends_to_the_last_one() {
    let numbers = [0.5, 1.5, 2.5, 12.5, 90.0, -3.0];
    let codes = numbers.map(|value| encode(value, 1.0, 0.0, FOUR));
    assert_eq!(codes, [0, 2, 2, 12, 15, 0], "codes of {numbers:?} on 0..=15, scale 1, zero 0");
    let numbers = [-0.5, -1.5, 2.5, 6.5, 90.0, -90.0];
    let four = Grid::Symmetric(Bits::Four);
    let codes = numbers.map(|value| encode(value, 1.0, 0.0, four) as i8);
    assert_eq!(codes, [0, -2, 2, 6, 7, -7], "codes of {numbers:?} on -7..=7, scale 1");
}

#[test]
fn a_group_of_equal_numbers_is_exact() {
    for value in [0.0, 0.3, -7.7, 2000.0].map(sixteen_bits) {
        for bits in Bits::ALL {
            let found = back(&[value; 5], Grid::Asymmetric(bits));
            assert_eq!(
                found, [value; 5],
                "five times {value} with {bits:?} bits: the range is 0, and 0 / 0 is no code. The zero \
                 is the whole number, so any positive scale does"
            );
        }
    }
    for grid in integers().into_iter().chain([Grid::Fp8]) {
        assert_eq!(back(&[0.0; 3], grid), [0.0; 3], "zeros on {grid:?}");
        let tiny = [1e-9f32; 3];
        let found = back(&tiny, grid);
        assert!(
            found.iter().all(|value| value.abs() <= 1e-7),
            "{tiny:?} on {grid:?} came back as {found:?}: 16 bits hold no such scale, so it is 1"
        );
    }
}

#[test]
fn a_scale_and_a_zero_are_numbers_of_16_bits_and_the_code_is_that_of_the_rounded_ones() {
    for seed in 0..40 {
        // Sizes from 2^-10 to 2^9, and a mean that is not 0.
        let size = 2f32.powi(seed as i32 % 20 - 10);
        let values: Vec<f32> =
            halves(900 + seed, 1, 33).iter().map(|v| sixteen_bits((v + 1.5) * size)).collect();
        for grid in integers() {
            let (scale, zero) = scale_and_zero(&values, grid);
            assert_eq!(
                (scale, zero),
                (sixteen_bits(scale), sixteen_bits(zero)),
                "{grid:?}, group {seed}: the cache stores the scale and the zero in 16 bits"
            );
            for (value, found) in values.iter().zip(back(&values, grid)) {
                let (error, bound) = ((found - value).abs(), 0.5 * scale);
                // The sum and the product round in f32.
                let slack = 4.0 * f32::EPSILON * value.abs();
                assert!(
                    error <= bound + slack,
                    "{grid:?}, group {seed}: {value} came back as {found}, off by {error:e}, and half a \
                     step is {bound:e}"
                );
            }
        }
    }
}

// ---- task 2: a matrix ----------------------------------------------------------------------------

/// Layouts whose groups divide a matrix of 6 tokens and 8 channels.
fn small_layouts() -> Vec<Layout> {
    let grids = integers().into_iter().chain([Grid::Fp8, Grid::Fp8Static(0.02)]);
    let both = |grid| {
        let per_token = [1, 2, 4, 8].map(|group| Layout::per_token(grid, group));
        let per_channel = [1, 2, 3, 6].map(|group| Layout::per_channel(grid, group));
        per_token.into_iter().chain(per_channel)
    };
    grids.flat_map(both).collect()
}

/// The group of an element, found without the code under test: its place among the groups, and its numbers.
fn group_of(m: &Array2<f32>, layout: Layout, at: (usize, usize)) -> ((usize, usize), Vec<f32>) {
    let place = |(token, channel): (usize, usize)| match layout.granularity {
        Granularity::PerToken => (token, channel / layout.group),
        Granularity::PerChannel => (token / layout.group, channel),
    };
    let same = m.indexed_iter().filter(|(other, _)| place(*other) == place(at));
    (place(at), same.map(|(_, value)| *value).collect())
}

#[test]
fn a_group_is_some_channels_of_a_token_or_some_tokens_of_a_channel() {
    let shapes = [Layout::per_token(TWO, 32), Layout::per_channel(TWO, 16)].map(group_shape);
    assert_eq!(
        shapes,
        [[1, 32], [16, 1]],
        "tokens and channels of a group, per token and per channel"
    );
}

#[test]
fn each_group_has_a_scale_and_a_zero_of_its_own() {
    let mut m = halves(21, 6, 8);
    // The largest numbers are in the last token, the last channel and the first of both.
    (m[(5, 2)], m[(1, 7)], m[(0, 0)], m[(5, 7)]) = (-30.0, 20.0, 11.0, 60.0);
    for layout in small_layouts() {
        let coded = must(quantize(&m, layout));
        let shape = match layout.granularity {
            Granularity::PerToken => (6, 8 / layout.group),
            Granularity::PerChannel => (6 / layout.group, 8),
        };
        let found = (coded.scales.dim(), coded.zeros.dim(), coded.layout);
        assert_eq!(found, (shape, shape, layout), "shapes of scales and zeros of {layout:?}");
        for (at, &value) in m.indexed_iter() {
            let (place, values) = group_of(&m, layout, at);
            let (scale, zero) = scale_and_zero(&values, layout.grid);
            let found = (coded.scales[place], coded.zeros[place], coded.codes[at]);
            let expected = (scale, zero, encode(value, scale, zero, layout.grid));
            assert_eq!(found, expected, "{layout:?}: scale, zero and code of {value} at {at:?}");
        }
        let from_columns = must(quantize(&by_columns(&m), layout));
        assert_eq!(from_columns, coded, "{layout:?}, the same matrix kept column by column");
    }
}

#[test]
fn each_code_comes_back_with_the_scale_of_its_group() {
    for (rows, columns) in [(6, 8), (12, 24), (6, 48)] {
        let m = halves(22, rows, columns);
        for layout in small_layouts() {
            let coded = must(quantize(&m, layout));
            let found = dequantize(&coded);
            assert_eq!(found.dim(), (rows, columns), "{layout:?}");
            for (at, &found) in found.indexed_iter() {
                let (place, _) = group_of(&m, layout, at);
                let (scale, zero) = (coded.scales[place], coded.zeros[place]);
                let expected = decode(coded.codes[at], scale, zero, layout.grid);
                assert_eq!(found, expected, "{layout:?}: {rows} x {columns}, at {at:?}");
            }
        }
    }
}

#[test]
fn a_per_channel_group_of_one_token_is_exact() {
    let m = halves(23, 7, 5);
    for bits in Bits::ALL {
        let grid = Grid::Asymmetric(bits);
        for layout in [Layout::per_channel(grid, 1), Layout::per_token(grid, 1)] {
            let found = dequantize(&must(quantize(&m, layout)));
            assert_same(
                found.view(),
                m.view(),
                format!("{layout:?}: a float zero for each number is the number, and no saving"),
            );
        }
    }
}

#[test]
fn a_channel_with_an_offset_wants_a_scale_of_its_own_and_a_large_token_too() {
    for bits in [Bits::Two, Bits::Four] {
        let grid = Grid::Asymmetric(bits);
        let mut keys = halves(24, 32, 32);
        keys.column_mut(9).mapv_inplace(|key| sixteen_bits(key + 50.0));
        let values = keys.t().as_standard_layout().to_owned();
        let (channel, token) = (Layout::per_channel(grid, 32), Layout::per_token(grid, 32));
        // The energy of the other numbers, because the offset is most of the norm.
        let lost = |m: &Array2<f32>, layout| {
            let moved = dequantize(&must(quantize(m, layout))) - m;
            moved.iter().map(|error| f64::from(*error).powi(2)).sum::<f64>()
        };
        for (what, m, good, bad) in
            [("channel", &keys, channel, token), ("token", &values, token, channel)]
        {
            let (good, bad) = (lost(m, good), lost(m, bad));
            assert!(
                good < 0.1 * bad,
                "one {what} is 50 larger, {bits:?} bits: groups along it lose {good:.3} and groups \
                 across it {bad:.3}. Of the latter each holds one number of 50, which sets its scale"
            );
        }
    }
}

#[test]
fn a_matrix_that_does_not_divide_or_that_16_bits_do_not_hold_is_refused_by_name() {
    let m = halves(25, 6, 10);
    for (layout, what, found) in [
        (Layout::per_token(TWO, 4), "channels", 10),
        (Layout::per_channel(TWO, 4), "tokens", 6),
        (Layout::per_token(TWO, 0), "channels", 10),
        (Layout::per_channel(TWO, 0), "tokens", 6),
        (Layout::per_token(TWO, 20), "channels", 10),
    ] {
        let expected = KvError::GroupDoesNotDivide { what, found, group: layout.group };
        assert_eq!(quantize(&m, layout).err(), Some(expected), "{layout:?} of 6 x 10");
    }
    for value in [f32::NAN, f32::INFINITY, 1e5, -1e5] {
        let mut bad = m.clone();
        (bad[(3, 5)], bad[(4, 1)]) = (value, f32::NAN);
        for layout in [Layout::per_token(Grid::Fp8, 5), Layout::per_channel(TWO, 3)] {
            let error = quantize(&bad, layout).err();
            let Some(KvError::Value { what, token, channel, value: named }) = error else {
                panic!("{value} at token 3, channel 5 gives {error:?}, {layout:?}");
            };
            assert_eq!((what, token, channel), ("the matrix", 3, 5), "the first such number");
            assert_eq!(named.to_bits(), value.to_bits(), "the number itself");
        }
    }
    for scale in [0.0, -1.0, f32::NAN, f32::INFINITY] {
        let layout = Layout::per_token(Grid::Fp8Static(scale), 10);
        let found = quantize(&m, layout).err();
        assert!(matches!(found, Some(KvError::StaticScale(_))), "{scale} as a scale: {found:?}");
    }
}

// ---- task 3: the rotation ------------------------------------------------------------------------

#[test]
fn channels_j_and_j_plus_half_turn_by_the_position_times_a_power_of_theta() {
    // Two pairs, (0, 2) and (1, 3). With theta 100 they turn by p and by p / 10.
    let m = array![[1.0, 0.0, 0.0, 2.0], [1.0, 0.0, 0.0, 2.0], [0.0, 1.0, 3.0, 0.0]];
    let positions = [0, 1, 7];
    let found = must(rotate(&m, &positions, 100.0));
    let (cos, sin) = (f64::cos, f64::sin);
    let expected = array![
        [1.0, 0.0, 0.0, 2.0],
        [cos(1.0), -2.0 * sin(0.1), sin(1.0), 2.0 * cos(0.1)],
        [-3.0 * sin(7.0), cos(0.7), 3.0 * cos(7.0), sin(0.7)],
    ];
    for ((at, found), expected) in found.indexed_iter().zip(expected) {
        assert!(
            (f64::from(*found) - expected).abs() < 1e-6,
            "{m:?} at {positions:?}: {found} at {at:?}, and {expected} is right. (a, b) becomes \
             (a cos - b sin, b cos + a sin)"
        );
    }
}

#[test]
fn unrotate_undoes_rotate_at_any_positions() {
    let m = halves(31, 5, 64);
    let positions = [0, 1, 2, 311, 8000];
    let turned = must(rotate(&m, &positions, ROPE_THETA));
    let moved = relative_error(&m, &turned);
    assert!(moved > 0.5, "rotate moved normal keys by {moved} of their norm only");
    let error = relative_error(&m, &must(unrotate(&turned, &positions, ROPE_THETA)));
    assert!(
        error < 1e-6,
        "rotate and then unrotate is off by {error:e} of the norm: turn back by the same angles"
    );
}

#[test]
fn a_product_of_two_rotated_rows_depends_on_the_distance_of_their_positions() {
    let (q, k) = (halves(32, 1, 16), halves(33, 1, 16));
    let product = |at: usize| {
        let q = must(rotate(&q, &[at + 7], 1e4));
        let k = must(rotate(&k, &[at], 1e4));
        q.iter().zip(&k).map(|(q, k)| f64::from(*q) * f64::from(*k)).sum::<f64>()
    };
    for at in [1, 40, 500] {
        let (near, far) = (product(0), product(at));
        assert!(
            (near - far).abs() < 1e-3,
            "q at {} times k at {at} is {far}, and {near} at 7 and 0",
            at + 7
        );
    }
}

#[test]
fn one_key_at_32_positions_is_exact_per_channel_before_rope_and_not_after() {
    let key = halves(34, 1, 64);
    let keys = Array2::from_shape_fn((32, 64), |(_, channel)| key[(0, channel)]);
    let positions: Vec<usize> = (0..32).collect();
    let rotated = must(rotate(&keys, &positions, ROPE_THETA)).mapv(sixteen_bits);
    let layout = Layout::per_channel(TWO, 32);
    let (before, after) = (energy_lost(&keys, layout), energy_lost(&rotated, layout));
    assert_eq!(before, 0.0, "32 equal keys: each channel is constant");
    assert!(after > 1e-3, "after RoPE each fast pair runs through a circle, and loses {after}");
}

/// The cache of a layer of the real slice.
fn real(layer: usize) -> RealCache {
    must(real_cache::of_layer(layer))
}

/// One head of a tensor, `[tokens, head_dim]`.
fn head(of: &Array3<f32>, index: usize) -> Array2<f32> {
    of.index_axis(Axis(1), index).to_owned()
}

#[test]
fn rope_gives_the_two_channels_of_a_fast_pair_one_size() {
    let positions: Vec<usize> = (0..TOKENS).collect();
    // The larger root mean square of a pair over the smaller one.
    let ratio = |m: &Array2<f32>, j: usize| {
        let square = |channel: usize| m.column(channel).iter().map(|key| key * key).sum::<f32>();
        let [first, second] = [square(j), square(j + HEAD_DIM / 2)];
        (first.max(second) / first.min(second)).sqrt()
    };
    for layer in LAYERS {
        for index in 0..real_cache::KV_HEADS {
            let after = head(&real(layer).keys, index);
            let before = must(unrotate(&after, &positions, ROPE_THETA));
            // Pairs 0 to 6 turn around once in 6 to 55 tokens, and so more than five times in 320.
            let fast = |m: &Array2<f32>| (0..7).map(|j| ratio(m, j)).fold(1.0, f32::max);
            let (before, after) = (fast(&before), fast(&after));
            assert!(
                after < 1.2 && before > 1.5 && before > 1.3 * after,
                "layer {layer}, key head {index}: the most uneven of seven fast pairs has the ratio {before:.2} \
                 before RoPE and {after:.2} after. Turning shares the size of a pair among both channels"
            );
        }
    }
}

#[test]
fn what_cannot_be_rotated_is_refused() {
    for (columns, error) in [(5, KvError::OddHeadDim(5)), (0, KvError::OddHeadDim(0))] {
        let m = Array2::zeros((2, columns));
        assert_eq!(rotate(&m, &[0, 1], 1e4).err(), Some(error.clone()), "{columns} channels");
        assert_eq!(unrotate(&m, &[0, 1], 1e4).err(), Some(error), "{columns} channels, back");
    }
    let m = Array2::zeros((2, 4));
    let error = KvError::Positions { tokens: 2, positions: 3 };
    assert_eq!(rotate(&m, &[0, 1, 2], 1e4).err(), Some(error.clone()), "three positions");
    assert_eq!(unrotate(&m, &[0, 1, 2], 1e4).err(), Some(error), "three positions, back");
}

// ---- task 4: a cache that grows ------------------------------------------------------------------

/// Keys per channel in groups of 4, values per token in groups of 2, two sinks and a window of 8.
const SMALL: Policy = Policy {
    keys: Layout { grid: TWO, granularity: Granularity::PerChannel, group: 4 },
    values: Layout { grid: FOUR, granularity: Granularity::PerToken, group: 2 },
    sinks: 2,
    window: 8,
};

/// A cache under `policy` after so many tokens at once.
fn filled(policy: Policy, keys: &Array3<f32>, values: &Array3<f32>) -> Cache {
    let (tokens, heads, head_dim) = keys.dim();
    let mut cache = must(Cache::new(policy, heads, head_dim));
    must(append(std::slice::from_mut(&mut cache), &[tokens], keys, values));
    cache
}

/// How many tokens of a side are sinks, in codes, and recent.
fn parts(side: &Side) -> [usize; 3] {
    [side.sinks.nrows(), side.coded_tokens(), side.recent.nrows()]
}

#[test]
fn sinks_and_the_window_stay_floats_and_a_group_of_keys_is_coded_when_it_is_whole() {
    for (tokens, keys, values) in [
        (0, [0, 0, 0], [0, 0, 0]),
        (1, [1, 0, 0], [1, 0, 0]),
        (2, [2, 0, 0], [2, 0, 0]),
        (3, [2, 0, 1], [2, 0, 1]),
        (10, [2, 0, 8], [2, 0, 8]),
        (11, [2, 0, 9], [2, 1, 8]),
        (13, [2, 0, 11], [2, 3, 8]),
        (14, [2, 4, 8], [2, 4, 8]),
        (17, [2, 4, 11], [2, 7, 8]),
        (18, [2, 8, 8], [2, 8, 8]),
    ] {
        let all = layer(41, [tokens, 1, 6]);
        let cache = filled(SMALL, &all, &all);
        let found = (parts(&cache.heads[0].keys), parts(&cache.heads[0].values));
        assert_eq!(
            found,
            (keys, values),
            "{tokens} tokens, 2 sinks, a window of 8, keys in groups of 4: [sinks, coded, recent] of keys \
             and of values. A value leaves the window alone, and a group of keys when its last one does"
        );
    }
}

#[test]
fn a_prompt_of_exactly_the_windows_length_has_no_codes() {
    for (sinks, window, group) in [(0, 8, 8), (0, 8, 4), (3, 8, 8), (0, 1, 1), (5, 0, 4)] {
        let keys = Layout::per_channel(TWO, group);
        let policy = Policy { keys, sinks, window, ..SMALL };
        let all = layer(42, [sinks + window, 2, 6]);
        for head in filled(policy, &all, &all).heads {
            let found = [head.keys, head.values].map(|side| side.coded_tokens());
            assert_eq!(
                found,
                [0, 0],
                "{sinks} sinks, a window of {window} and as many tokens: keys and values in codes. (KIVI's \
                 code quantizes such a prompt's keys whole)"
            );
        }
    }
}

#[test]
fn tokens_one_at_a_time_and_all_at_once_give_the_same_cache() {
    let (keys, values) = (layer(43, [31, 2, 6]), layer(44, [31, 2, 6]));
    let whole = filled(SMALL, &keys, &values);
    for step in [1, 3, 10] {
        let mut grown = must(Cache::new(SMALL, 2, 6));
        for first in (0..31).step_by(step) {
            let rows = first..31.min(first + step);
            let of = |all: &Array3<f32>| all.slice(s![rows.clone(), .., ..]).to_owned();
            let caches = std::slice::from_mut(&mut grown);
            must(append(caches, &[rows.len()], &of(&keys), &of(&values)));
        }
        for (index, (grown, whole)) in grown.heads.iter().zip(&whole.heads).enumerate() {
            for (what, a, b) in
                [("keys", &grown.keys, &whole.keys), ("values", &grown.values, &whole.values)]
            {
                assert_same(
                    read(a).view(),
                    read(b).view(),
                    format!("{what} of head {index}, {step} tokens at a time and 31 at once"),
                );
                assert_eq!(parts(a), parts(b), "parts of the {what}, {step} at a time and at once");
            }
        }
    }
}

#[test]
fn a_code_depends_on_no_token_that_comes_later() {
    let (mut keys, mut values) = (layer(45, [40, 2, 6]), layer(46, [40, 2, 6]));
    let calm = filled(SMALL, &keys, &values);
    // After 40 tokens 28 keys are coded, which are tokens 2 to 29.
    for all in [&mut keys, &mut values] {
        all.slice_mut(s![30.., .., ..]).mapv_inplace(|value| sixteen_bits(100.0 * value));
    }
    let larger = filled(SMALL, &keys, &values);
    for (index, (calm, larger)) in calm.heads.iter().zip(&larger.heads).enumerate() {
        for (what, a, b) in
            [("keys", &calm.keys, &larger.keys), ("values", &calm.values, &larger.values)]
        {
            assert_same(
                read(b).slice(s![..30, ..]),
                read(a).slice(s![..30, ..]),
                format!(
                    "{what} of head {index}, tokens 0 to 29: tokens 30 to 39 are 100 times as large, and \
                     come later. A server has no scale of a token that is not there"
                ),
            );
        }
    }
}

#[test]
fn each_token_comes_back_in_its_place_as_a_16_bit_float_or_from_its_group() {
    // Numbers that f16 does not hold.
    let keys = normal_matrix(47, 23, 6);
    let mut side = Side::new(SMALL.keys, 6);
    must(extend(&mut side, &keys, &SMALL));
    let rounded = keys.mapv(sixteen_bits);
    let found = read(&side);
    assert_eq!(found.dim(), (23, 6), "as many tokens as were appended");
    assert_eq!(parts(&side), [2, 12, 9], "23 keys");
    for (what, rows) in [("sinks", 0..2), ("recent tokens", 14..23)] {
        assert_same(
            found.slice(s![rows.clone(), ..]),
            rounded.slice(s![rows.clone(), ..]),
            format!("{what}, tokens {rows:?}: rounded to 16 bits"),
        );
    }
    for first in [2, 6, 10] {
        let group = rounded.slice(s![first..first + 4, ..]).to_owned();
        assert_same(
            found.slice(s![first..first + 4, ..]),
            dequantize(&must(quantize(&group, SMALL.keys))).view(),
            format!("tokens {first} to {}, which are a group behind the two sinks", first + 3),
        );
    }
}

#[test]
fn the_tokens_of_two_requests_share_no_group() {
    let lengths = [13, 0, 18, 6];
    let (keys, values) = (layer(48, [37, 2, 6]), layer(49, [37, 2, 6]));
    // A window of 0 and no sinks, so that each token is coded at once.
    for policy in [SMALL, Policy { sinks: 0, window: 0, ..SMALL }] {
        let mut caches = vec![must(Cache::new(policy, 2, 6)); lengths.len()];
        must(append(&mut caches, &lengths, &keys, &values));
        let mut first = 0;
        for (request, (cache, length)) in caches.iter().zip(lengths).enumerate() {
            let of = |all: &Array3<f32>| all.slice(s![first..first + length, .., ..]).to_owned();
            let alone = filled(policy, &of(&keys), &of(&values));
            first += length;
            for (found, expected) in cache.heads.iter().zip(&alone.heads) {
                assert_eq!(parts(&found.keys), parts(&expected.keys), "keys of request {request}");
                for (a, b) in [(&found.keys, &expected.keys), (&found.values, &expected.values)] {
                    assert_same(
                        read(a).view(),
                        read(b).view(),
                        format!("request {request} of {length} tokens, beside others and alone"),
                    );
                }
            }
        }
    }
}

#[test]
fn a_step_that_is_refused_leaves_every_cache_as_it_was() {
    let (keys, mut values) = (layer(50, [9, 2, 6]), layer(51, [9, 2, 6]));
    values[(8, 1, 4)] = f32::NAN;
    let before = vec![filled(SMALL, &keys, &keys); 2];
    let mut caches = before.clone();
    let error = append(&mut caches, &[4, 5], &keys, &values).err();
    assert!(
        matches!(
            error,
            Some(KvError::Value { what: "the values", token: 8, channel: 10, value }) if value.is_nan()
        ),
        "NaN in the values at token 8, head 1, channel 4 of 6, which is channel 10 of the layer: {error:?}"
    );
    assert!(caches == before, "a cache changed although the step was refused");
    let shape = |what, found: [usize; 3], expected: [usize; 3]| {
        Some(KvError::Shape { what, found: found.into(), expected: expected.into() })
    };
    let lengths = append(&mut caches, &[9], &keys, &keys).err();
    assert_eq!(
        lengths,
        Some(KvError::Requests { caches: 2, lengths: 1 }),
        "one length, two caches"
    );
    let tokens = append(&mut caches, &[4, 4], &keys, &keys).err();
    assert_eq!(tokens, shape("the keys", [9, 2, 6], [8, 2, 6]), "nine tokens for 4 and 4");
    let narrow = layer(52, [9, 2, 4]);
    let width = append(&mut caches, &[4, 5], &keys, &narrow).err();
    assert_eq!(width, shape("the values", [9, 2, 4], [9, 2, 6]), "values of another width");
    assert!(caches == before, "a cache changed although the step was refused");

    let mut side = Side::new(SMALL.keys, 6);
    let bad = array![[0.0; 6], [0.0, 0.0, 7e4, 0.0, 0.0, 0.0]];
    let expected = KvError::Value { what: "the tokens", token: 1, channel: 2, value: 7e4 };
    assert_eq!(extend(&mut side, &bad, &SMALL).err(), Some(expected), "70000 is beyond f16");
    let expected = KvError::Shape { what: "the tokens", found: vec![3, 4], expected: vec![3, 6] };
    assert_eq!(extend(&mut side, &Array2::zeros((3, 4)), &SMALL).err(), Some(expected));
    assert!(side == Side::new(SMALL.keys, 6), "the side changed although the tokens were refused");
    for (head_dim, group) in [(6, 4), (64, 48)] {
        let policy = Policy { values: Layout::per_token(FOUR, group), ..SMALL };
        let expected = KvError::GroupDoesNotDivide { what: "channels", found: head_dim, group };
        let error = Cache::new(policy, 2, head_dim).err();
        assert_eq!(error, Some(expected), "head_dim {head_dim} in groups of {group}");
    }
}

// ---- task 5: attention ---------------------------------------------------------------------------

/// Attention in `f64` on plain tensors, without the code under test.
fn reference(query: &Array2<f32>, keys: &Array3<f32>, values: &Array3<f32>) -> Array2<f32> {
    let sharing = query.nrows() / keys.dim().1;
    let root = (query.ncols() as f64).sqrt();
    Array2::from_shape_fn(query.dim(), |(row, channel)| {
        let head = row / sharing;
        let product = |key: ArrayView1<f32>| {
            let products = key.into_iter().zip(query.row(row));
            products.map(|(k, q)| f64::from(*k) * f64::from(*q)).sum::<f64>() / root
        };
        let logits: Vec<f64> =
            keys.slice(s![.., head, ..]).rows().into_iter().map(product).collect();
        let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let powers: Vec<f64> = logits.iter().map(|logit| (logit - largest).exp()).collect();
        let mixed = powers.iter().zip(values.slice(s![.., head, channel]));
        let mixed: f64 = mixed.map(|(power, value)| power * f64::from(*value)).sum();
        (mixed / powers.iter().sum::<f64>()) as f32
    })
}

#[test]
fn the_weights_of_large_logits_are_finite_and_sum_to_1() {
    for logits in
        [vec![1000.0, 1001.0, -1000.0], vec![-5000.0, -5001.0], vec![3.0], vec![-800.0; 4]]
    {
        let weights = softmax(&logits);
        let sum: f64 = weights.iter().sum();
        assert!(
            (sum - 1.0).abs() < 1e-12,
            "softmax of {logits:?} is {weights:?}: take the largest logit away before you exponentiate"
        );
    }
    let found = softmax(&[0.0, 3f64.ln()]);
    let near = |a: f64, b: f64| (a - b).abs() < 1e-12;
    assert!(near(found[0], 0.25) && near(found[1], 0.75), "softmax of (0, ln 3): {found:?}");
}

#[test]
fn a_logit_is_the_product_over_the_root_of_head_dim() {
    let keys = array![[1.0, 2.0, 0.0, -1.0], [0.5, 0.0, 0.0, 0.0], [0.0, 0.0, 3e4, 0.0]];
    let found = logits(&[2.0, 1.0, 3e4, -4.0], &keys);
    assert_eq!(found, [4.0, 0.5, 4.5e8], "products 8, 1 and 9e8 over sqrt(4)");
}

#[test]
fn attention_on_a_cache_of_floats_is_attention() {
    for (heads, kv_heads, head_dim, tokens) in [(6, 2, 8, 13), (4, 4, 6, 1), (3, 1, 10, 40)] {
        let (keys, values) =
            (layer(53, [tokens, kv_heads, head_dim]), layer(54, [tokens, kv_heads, head_dim]));
        let query = halves(55, heads, head_dim) * 3.0;
        let policy = Policy { window: usize::MAX, ..SMALL };
        let found = must(attend(&filled(policy, &keys, &values), &query));
        let error = relative_error(&reference(&query, &keys, &values), &found);
        assert!(
            error < 1e-6,
            "{heads} query heads, {kv_heads} key-value heads of {head_dim}, {tokens} tokens: off by \
             {error:e} of the norm. Query head h reads key-value head h / (heads / kv_heads)"
        );
    }
}

#[test]
fn attention_reads_the_sinks_the_codes_and_the_recent_tokens() {
    let (keys, values) = (layer(56, [29, 2, 6]), layer(57, [29, 2, 6]));
    let query = halves(58, 4, 6);
    let cache = filled(SMALL, &keys, &values);
    let stored = |side: fn(&Head) -> &Side| {
        let heads: Vec<Array2<f32>> = cache.heads.iter().map(|head| read(side(head))).collect();
        Array3::from_shape_fn((29, 2, 6), |(token, head, channel)| heads[head][(token, channel)])
    };
    let expected = reference(&query, &stored(|head| &head.keys), &stored(|head| &head.values));
    let found = must(attend(&cache, &query));
    let error = relative_error(&expected, &found);
    assert!(error < 1e-6, "29 tokens, 2 sinks, a window of 8: off by {error:e} of the norm");
    let exact = relative_error(&reference(&query, &keys, &values), &found);
    assert!(exact > 1e-3, "off by only {exact:e} from floats: are the codes read?");
}

#[test]
fn queries_that_do_not_fit_the_cache_are_refused() {
    let empty = must(Cache::new(SMALL, 2, 6));
    assert_eq!(attend(&empty, &Array2::zeros((4, 6))).err(), Some(KvError::Empty), "no token");
    let all = layer(59, [3, 2, 6]);
    let cache = filled(SMALL, &all, &all);
    for heads in [0, 3] {
        let expected = KvError::UnevenHeads { query: heads, kv: 2 };
        let found = attend(&cache, &Array2::zeros((heads, 6))).err();
        assert_eq!(found, Some(expected), "{heads} query heads on 2 key-value heads");
    }
    let expected = KvError::Shape { what: "the queries", found: vec![4, 8], expected: vec![4, 6] };
    let found = attend(&cache, &Array2::zeros((4, 8))).err();
    assert_eq!(found, Some(expected), "queries of 8 channels on keys of 6");
}

// ---- task 6: bytes -------------------------------------------------------------------------------

/// SmolLM2-135M.
const SMOLLM2: Shape = Shape { layers: 30, kv_heads: 3, head_dim: 64 };

/// KIVI with so many bits: groups of 32, a window of 128 and no sinks.
fn kivi(bits: Bits) -> Policy {
    let grid = Grid::Asymmetric(bits);
    let (keys, values) = (Layout::per_channel(grid, 32), Layout::per_token(grid, 32));
    Policy { keys, values, sinks: 0, window: 128 }
}

/// Keys and values in one layout, nothing left alone.
fn both(layout: Layout) -> Policy {
    Policy { keys: layout, values: layout, sinks: 0, window: 0 }
}

#[test]
fn scales_and_zeros_count_in_the_bits_of_a_number() {
    let eight = Bits::Eight;
    for (name, layout, expected) in [
        ("int8 per token and head", Layout::per_token(Grid::Symmetric(eight), 64), 8.25),
        ("int4 per token and head", Layout::per_token(Grid::Symmetric(Bits::Four), 64), 4.25),
        ("KIVI, 2 bits", kivi(Bits::Two).keys, 3.0),
        ("KIVI, 4 bits", kivi(Bits::Four).values, 5.0),
        ("FP8 per token and head of 128", Layout::per_token(Grid::Fp8, 128), 8.125),
        ("FP8 with a static scale", Layout::per_token(Grid::Fp8Static(1.0), 64), 8.0),
        ("2 bits, a channel of one token", Layout::per_channel(TWO, 1), 34.0),
    ] {
        assert_eq!(
            bits_per_number(layout),
            expected,
            "{name}: a group stores a scale of 16 bits, with a float zero 16 more, and with a static \
             scale nothing"
        );
    }
}

#[test]
fn a_token_has_keys_and_values_in_every_layer_and_key_value_head() {
    let fp8 = both(Layout::per_token(Grid::Fp8Static(1.0), 64));
    assert_eq!(
        bytes_per_token(&fp8, &SMOLLM2),
        11_520.0,
        "FP8 with a static scale: 2 times 30 layers times 3 heads times 64 channels, a byte each"
    );
    let mixed = Policy { keys: kivi(Bits::Four).keys, ..kivi(Bits::Two) };
    assert_eq!(
        bytes_per_token(&mixed, &SMOLLM2),
        8.0 * 720.0,
        "keys at 5 bits and values at 3 bits, 5760 numbers each"
    );
    let llama = Shape { layers: 32, kv_heads: 8, head_dim: 128 };
    let int8 = both(Layout::per_token(Grid::Symmetric(Bits::Eight), 128));
    assert_eq!(bytes_per_token(&int8, &llama), 66_560.0, "int8 per token and head, Llama-3.1-8B");
}

#[test]
fn the_bytes_of_a_cache_are_those_of_its_codes_scales_zeros_and_floats() {
    let shape = Shape { layers: 5, kv_heads: 2, head_dim: 6 };
    let bits_of = |coded: &Coded| {
        let (bits, stored) = match coded.layout.grid {
            Grid::Asymmetric(bits) => (bits.count() as usize, 2),
            _ => (8, 1),
        };
        coded.codes.len() * bits + coded.scales.len() * 16 * stored
    };
    let fp8 = Policy { values: Layout::per_token(Grid::Fp8, 3), ..SMALL };
    for policy in [SMALL, fp8, Policy { sinks: 0, window: 3, ..SMALL }] {
        for tokens in [0, 1, 2, 7, 10, 11, 14, 33, 50] {
            let all = layer(61, [tokens, 2, 6]);
            let cache = filled(policy, &all, &all);
            let sides = cache.heads.iter().flat_map(|head| [&head.keys, &head.values]);
            let bits = sides.map(|side| {
                let floats = (side.sinks.len() + side.recent.len()) * 16;
                floats + side.coded.iter().map(bits_of).sum::<usize>()
            });
            let expected = (bits.sum::<usize>() * shape.layers) as f64 / 8.0;
            let found = cache_bytes(&policy, &shape, tokens);
            assert!(
                (found - expected).abs() < 1e-6,
                "{tokens} tokens, {} sinks, a window of {}: {found} bytes, and the cache holds {expected}",
                policy.sinks,
                policy.window
            );
        }
    }
}

#[test]
fn the_tokens_that_an_engine_reports_follow_from_the_bytes_of_a_block() {
    let floats = Policy { window: usize::MAX, ..kivi(Bits::Two) };
    let tokens = |policy: &Policy| {
        const BLOCK: usize = 128;
        let blocks = (2f64.powi(30) / cache_bytes(policy, &SMOLLM2, BLOCK)) as usize;
        blocks * BLOCK
    };
    assert_eq!(
        tokens(&floats),
        46_592,
        "vLLM reports a cache of 46,592 tokens for SmolLM2-135M, one GiB and blocks of 128 tokens in bf16"
    );
    let fp8 = both(Layout::per_token(Grid::Fp8Static(1.0), 64));
    assert_eq!(tokens(&fp8), 93_184, "twice the blocks in FP8 with a static scale");
}

// ---- task 7: how far the output moves ------------------------------------------------------------

#[test]
fn a_number_that_is_added_to_all_logits_moves_nothing() {
    let before = [3.0, -1.0, 0.5, 8.0];
    let moved = before.map(|logit| logit + 40.0);
    assert_eq!(logit_shift(&before, &moved), 0.0, "40 on each logit: softmax does not change");
    let moved = [3.5, -1.0, 0.25, 9.5];
    assert_eq!(
        logit_shift(&before, &moved),
        0.875,
        "the differences are between -0.25 and 1.5: half of that range"
    );
    let fallen = before.map(|logit| logit - if logit > 0.0 { 2.0 } else { 0.5 });
    assert_eq!(logit_shift(&before, &fallen), 0.75, "the differences are between -2 and -0.5");
}

#[test]
fn the_bound_on_the_output_is_attained_by_two_tokens() {
    for shift in [0.01, 0.5, 2.0, 20.0] {
        let values = array![[-3.0, 5.0, 7.0], [1.0, 5.0, -1.0]];
        // The token that gains has the weight 1 / (1 + exp(shift)) before, and the rest after.
        let weights = softmax(&[0.0, shift]);
        let after = softmax(&[shift, 0.0]);
        let bound = output_bound(shift, &values);
        assert_eq!(bound.len(), 3, "a bound for each channel");
        for (channel, bound) in bound.indexed_iter() {
            let moved =
                (0..2).map(|at| (after[at] - weights[at]) * f64::from(values[(at, channel)]));
            let moved = moved.sum::<f64>().abs();
            assert!(
                (moved - bound).abs() <= 1e-9,
                "two logits move by {shift} in opposite directions, channel {channel}: the output moves by \
                 {moved}, and the bound is {bound}. It is the largest for any weights, so both are equal"
            );
        }
    }
}

#[test]
fn the_output_moves_by_no_more_than_the_bound() {
    for seed in 0..60 {
        let tokens = 2 + seed as usize % 30;
        let before =
            normal_matrix(70 + seed, 1, tokens).mapv(|x| 3.0 * f64::from(x)).row(0).to_vec();
        let size = 2f64.powi(seed as i32 % 8 - 5);
        let error = normal_matrix(170 + seed, 1, tokens).mapv(|x| size * f64::from(x) - 1.0);
        let after: Vec<f64> =
            before.iter().zip(&error).map(|(logit, error)| logit + error).collect();
        let values = normal_matrix(270 + seed, tokens, 4) + 2.0;
        let out = |logits: &[f64]| Array1::from(softmax(logits)).dot(&values.mapv(f64::from));
        let moved = (out(&after) - out(&before)).mapv(f64::abs);
        let bound = output_bound(logit_shift(&before, &after), &values);
        for (channel, (moved, bound)) in moved.iter().zip(&bound).enumerate() {
            assert!(
                *moved <= bound + 1e-12,
                "set {seed}, channel {channel}: the output moved by {moved:e}, above the bound {bound:e}"
            );
        }
    }
}

// ---- all of it on real keys and values -----------------------------------------------------------

/// A real layer, its last four queries, and the outputs of attention on floats.
struct Steps {
    of: RealCache,
    queries: Array3<f32>,
    exact: Array2<f32>,
}

impl Steps {
    fn of_layer(layer: usize) -> Self {
        let of = real(layer);
        let queries = of.queries.slice(s![QUERIES - 4.., .., ..]).to_owned();
        let exact = must(decode_steps(Policy::FLOATS, &of.keys, &of.values, &queries));
        Self { of, queries, exact }
    }

    /// The error of attention's outputs relative to their norm.
    fn error(&self, keys: Layout, values: Layout, sinks: usize) -> f64 {
        let policy = Policy { keys, values, sinks, window: 0 };
        let found = must(decode_steps(policy, &self.of.keys, &self.of.values, &self.queries));
        relative_error(&self.exact, &found)
    }

    /// The error with keys in `layout` and values left alone.
    fn of_keys(&self, layout: Layout, sinks: usize) -> f64 {
        self.error(layout, EXACT, sinks)
    }

    /// The error with values in `layout` and keys left alone.
    fn of_values(&self, layout: Layout, sinks: usize) -> f64 {
        self.error(EXACT, layout, sinks)
    }
}

/// Groups of 32 numbers, per channel and per token.
fn both_ways(bits: Bits) -> [Layout; 2] {
    let grid = Grid::Asymmetric(bits);
    [Layout::per_channel(grid, 32), Layout::per_token(grid, 32)]
}

const CODES: [Bits; 2] = [Bits::Two, Bits::Four];

#[test]
fn real_keys_want_a_scale_per_channel() {
    for layer in LAYERS {
        let steps = Steps::of_layer(layer);
        for bits in CODES {
            for sinks in [0, 4] {
                let [channel, token] = both_ways(bits).map(|layout| steps.of_keys(layout, sinks));
                assert!(
                    1.5 * channel < token,
                    "layer {layer}, {bits:?} bits, {sinks} sinks: attention is off by {channel:.3} with keys \
                     per channel and by {token:.3} per token. Channels of keys have sizes and offsets of \
                     their own"
                );
            }
        }
    }
}

#[test]
fn real_values_want_a_scale_per_token_where_a_token_of_large_weight_has_small_values() {
    // In layer 4 seven tokens in the middle of the text, each of them " the", have small values and draw most of
    // the weight, so four sinks change nothing there.
    for (layer, sinks) in [(4, 0), (4, 4), (14, 0)] {
        let steps = Steps::of_layer(layer);
        for bits in CODES {
            let [channel, token] = both_ways(bits).map(|layout| steps.of_values(layout, sinks));
            assert!(
                1.5 * token < channel,
                "layer {layer}, {bits:?} bits, {sinks} sinks: attention is off by {token:.3} with values per \
                 token and by {channel:.3} per channel. Per channel a token with small values has the step of \
                 its neighbours"
            );
        }
    }
}

#[test]
fn with_one_sink_left_alone_the_order_of_the_layouts_of_values_is_the_other_one() {
    for layer in [14, 29] {
        let steps = Steps::of_layer(layer);
        for bits in CODES {
            let layouts = both_ways(bits);
            let without = steps.of_values(layouts[0], 0);
            let [channel, token] = layouts.map(|layout| steps.of_values(layout, 1));
            assert!(
                2.5 * channel < token && 3.0 * channel < without,
                "layer {layer}, {bits:?} bits, the first token a float: attention is off by {channel:.3} with \
                 values per channel and by {token:.3} per token. With all tokens in codes values per channel \
                 are off by {without:.3}: the first token has small values and a large weight"
            );
        }
    }
}

#[test]
fn leaving_the_first_key_alone_lowers_the_error_of_keys() {
    // Layer 4 has sinks in the middle of the text, and the first token is one of many.
    for layer in [14, 29] {
        let steps = Steps::of_layer(layer);
        let [channel, _] = both_ways(Bits::Four);
        let (without, with) = (steps.of_keys(channel, 0), steps.of_keys(channel, 1));
        assert!(
            1.5 * with < without,
            "layer {layer}, 4 bits: attention is off by {without:.3} with all keys per channel and by \
             {with:.3} with the first one a float. The first key is unlike the others of its group"
        );
    }
}

#[test]
fn real_keys_lose_less_per_channel_before_rope_than_after() {
    let positions: Vec<usize> = (0..TOKENS).collect();
    let [channel, _] = both_ways(Bits::Two);
    for layer in LAYERS {
        let of = real(layer);
        let lost = |turn: bool| -> f64 {
            let of_head = |index| {
                let after = head(&of.keys, index);
                let m = if turn { must(unrotate(&after, &positions, ROPE_THETA)) } else { after };
                // Without the first group, in which the first token is.
                energy_lost(&m.slice(s![32.., ..]).to_owned(), channel)
            };
            (0..real_cache::KV_HEADS).map(of_head).sum()
        };
        let (before, after) = (lost(true), lost(false));
        assert!(
            before < 0.95 * after,
            "layer {layer}: three heads lose {before:.4} of their energy before RoPE and {after:.4} after"
        );
    }
}

#[test]
fn on_real_keys_and_values_the_output_moves_by_no_more_than_the_bound() {
    for layer in LAYERS {
        let of = real(layer);
        for bits in [Bits::Two, Bits::Four, Bits::Eight] {
            let [channel, token] = both_ways(bits);
            let policy = Policy { keys: channel, values: token, sinks: 4, window: 32 };
            let cache = filled(policy, &of.keys, &of.values);
            for (row, query) in of.queries.index_axis(Axis(0), QUERIES - 1).outer_iter().enumerate()
            {
                let index = row / (real_cache::HEADS / real_cache::KV_HEADS);
                let (keys, values) = (head(&of.keys, index), head(&of.values, index));
                let stored = &cache.heads[index];
                let query = query.to_vec();
                let (before, after) = (logits(&query, &keys), logits(&query, &read(&stored.keys)));
                let out = |logits: &[f64], values: &Array2<f32>| {
                    Array1::from(softmax(logits)).dot(&values.mapv(f64::from))
                };
                let coded = read(&stored.values);
                let moved = (out(&after, &coded) - out(&before, &values)).mapv(f64::abs);
                let bound = output_bound(logit_shift(&before, &after), &values);
                for (channel, (moved, bound)) in moved.iter().zip(&bound).enumerate() {
                    let errors = coded.column(channel).to_owned() - values.column(channel);
                    let worst = errors.iter().fold(0.0, |max: f32, error| max.max(error.abs()));
                    let bound = bound + f64::from(worst);
                    assert!(
                        *moved <= bound,
                        "layer {layer}, {bits:?} bits, query head {row}, channel {channel}: the output moved \
                         by {moved:e}, above {bound:e}, the bound of the logits plus the largest error of a \
                         value"
                    );
                }
            }
        }
    }
}
