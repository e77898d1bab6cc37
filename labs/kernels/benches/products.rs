//! How fast the products are: `cargo bench -p kernels`. Rates are multiplications per second, or, for
//! one token, bytes of weights per second beside plain reading.
//!
//! One matrix of the size of SmolLM2's head, which no cache holds in `f32`, for one token; one of its
//! MLP for many. Arguments are tokens. Two threads.

use std::sync::LazyLock;

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use half::f16;
use kernels::{Int4, Int8, Threads, plain};
use kit::data::normal_matrix;
use ndarray::Array2;

static POOL: LazyLock<Threads> = LazyLock::new(|| Threads::new(2).expect("two threads"));
const FEATURES: usize = 576;
const TOKENS: [usize; 4] = [4, 16, 64, 512];

fn main() {
    divan::main();
}

fn int8(rows: usize) -> Int8 {
    let codes =
        Array2::from_shape_fn((rows, FEATURES), |(row, column)| (row * 31 + column * 7) as i8);
    Int8::new(&codes, &vec![0.01; rows]).expect("a scale a row")
}

fn int4(rows: usize) -> Int4 {
    let code = |(row, column)| ((row * 31_usize + column * 7) % 16) as i8 - 8;
    let codes = Array2::from_shape_fn((rows, FEATURES), code);
    let scales = Array2::from_elem((rows, FEATURES / 32), f16::from_f32(0.01));
    Int4::new(&codes, &scales).expect("groups of 32")
}

/// Bytes a second for one token. The matrices take turns, so that no cache holds them.
fn one_token<W: Sync>(
    bencher: Bencher,
    w: [W; 2],
    bytes: usize,
    run: fn(&W, &Array2<f32>) -> Array2<f32>,
) {
    let x = normal_matrix(1, 1, FEATURES);
    let mut turn = 0;
    bencher.counter(BytesCount::new(bytes)).bench_local(|| {
        turn = 1 - turn;
        POOL.run(|| run(black_box(&w[turn]), &x))
    });
}

/// Multiplications a second.
fn many<W: Sync>(bencher: Bencher, tokens: usize, w: &W, run: fn(&W, &Array2<f32>) -> Array2<f32>) {
    let x = normal_matrix(1, tokens, FEATURES);
    let count = ItemsCount::new(tokens * FEATURES * 1536);
    bencher.counter(count).bench_local(|| POOL.run(|| run(black_box(w), &x)));
}

const HEAD: usize = 49_152;

#[divan::bench]
fn one_read(bencher: Bencher) {
    let words = vec![1_u64; 1 << 24];
    let bytes = BytesCount::of_slice(&words);
    bencher.counter(bytes).bench_local(|| POOL.run(|| kernels::read(black_box(&words))));
}

#[divan::bench]
fn one_f32(bencher: Bencher) {
    let w = normal_matrix(2, HEAD, FEATURES);
    one_token(bencher, [w.clone(), w], 4 * HEAD * FEATURES, |w, x| plain::product(x, w));
}

#[divan::bench(args = TOKENS)]
fn many_f32(bencher: Bencher, tokens: usize) {
    many(bencher, tokens, &normal_matrix(2, 1536, FEATURES), |w, x| plain::product(x, w));
}

/// Two benchmarks of a product with quantized weights: one token, and many.
macro_rules! products {
    ($($one:ident, $many:ident: $make:ident($rows:expr).$product:ident;)*) => {$(
        #[divan::bench]
        fn $one(bencher: Bencher) {
            let w = [$make($rows), $make($rows)];
            let bytes = w[0].memory_bytes();
            one_token(bencher, w, bytes, |w, x| w.$product(x).expect("finite"));
        }

        #[divan::bench(args = TOKENS)]
        fn $many(bencher: Bencher, tokens: usize) {
            many(bencher, tokens, &$make(1536), |w, x| w.$product(x).expect("finite"));
        }
    )*};
}

products! {
    one_w8a8, many_w8a8: int8(HEAD).w8a8;
    one_w8a16, many_w8a16: int8(HEAD).w8a16;
    one_w4a16, many_w4a16: int4(2 * HEAD).w4a16;
    one_w4a8, many_w4a8: int4(2 * HEAD).w4a8;
}
