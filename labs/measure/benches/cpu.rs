//! How fast the kernels are: `cargo bench -p lab-03-int4-groups-and-packing`.
//!
//! One matrix of Llama-2-7B's down projection, 4096 x 11008: 180 MB in f32, more than any cache.
//! Rates are of the bytes that a kernel has to read: f32 weights for the encoders, the stored form
//! for the products. Arguments are numbers of threads.

use std::sync::LazyLock;

use divan::Bencher;
use divan::counter::BytesCount;
use half::f16;
use kit::data::normal_matrix;
use measure::cpu::kernels::{
    Int4Matrix, Int8Matrix, Threads, matvec_f32, matvec_int4, matvec_int4_materialized,
    matvec_int8, quantize,
};
use ndarray::Array2;

const OUT_FEATURES: usize = 4096;
const IN_FEATURES: usize = 11_008;
const WEIGHTS: usize = OUT_FEATURES * IN_FEATURES;
const THREADS: [usize; 2] = [1, 2];

static MATRIX: LazyLock<Array2<f32>> = LazyLock::new(|| {
    let few = normal_matrix(1, 64, IN_FEATURES);
    Array2::from_shape_fn((OUT_FEATURES, IN_FEATURES), |(row, column)| few[(row % 64, column)])
});
static X: LazyLock<Vec<f32>> =
    LazyLock::new(|| normal_matrix(2, 1, IN_FEATURES).into_iter().collect());

fn main() {
    divan::main();
}

fn weights() -> &'static [f32] {
    MATRIX.as_slice().expect("a new matrix is stored row by row")
}

/// Times `work` on a pool of `threads`, at `bytes` a call.
fn on(bencher: Bencher, threads: usize, bytes: usize, mut work: impl FnMut() + Send) {
    let pool = Threads::new(threads).expect("two threads can be started");
    bencher.counter(BytesCount::new(bytes)).bench_local(|| pool.run(&mut work));
}

#[divan::bench(args = THREADS, sample_count = 20)]
fn quantize_q8_0(bencher: Bencher, threads: usize) {
    let mut out = vec![0; WEIGHTS / quantize::BLOCK * quantize::Q8_0_BYTES];
    on(bencher, threads, 4 * WEIGHTS, || quantize::q8_0(weights(), &mut out).expect("finite"));
}

#[divan::bench(args = THREADS, sample_count = 20)]
fn quantize_q4_0(bencher: Bencher, threads: usize) {
    let mut out = vec![0; WEIGHTS / quantize::BLOCK * quantize::Q4_0_BYTES];
    on(bencher, threads, 4 * WEIGHTS, || quantize::q4_0(weights(), &mut out).expect("finite"));
}

#[divan::bench(args = THREADS, sample_count = 20)]
fn quantize_int4_g128(bencher: Bencher, threads: usize) {
    let (mut bytes, mut scales) = (vec![0; WEIGHTS / 2], vec![f16::ZERO; WEIGHTS / 128]);
    on(bencher, threads, 4 * WEIGHTS, || {
        quantize::int4_groups(weights(), IN_FEATURES, 128, &mut bytes, &mut scales)
            .expect("finite");
    });
}

#[divan::bench(args = THREADS, sample_count = 20)]
fn product_f32(bencher: Bencher, threads: usize) {
    on(bencher, threads, 4 * WEIGHTS, || {
        divan::black_box(matvec_f32(&MATRIX, &X).expect("the shapes fit"));
    });
}

#[divan::bench(args = THREADS, sample_count = 20)]
fn product_int8(bencher: Bencher, threads: usize) {
    let w = Int8Matrix::quantize(&MATRIX).expect("finite");
    on(bencher, threads, w.memory_bytes(), || {
        divan::black_box(matvec_int8(&w, &X).expect("the shapes fit"));
    });
}

#[divan::bench(args = THREADS, consts = [32, 64, 128], sample_count = 20)]
fn product_int4<const GROUP: usize>(bencher: Bencher, threads: usize) {
    let w = Int4Matrix::quantize(weights(), IN_FEATURES, GROUP).expect("finite");
    on(bencher, threads, w.memory_bytes(), || {
        divan::black_box(matvec_int4(&w, &X).expect("the shapes fit"));
    });
}

#[divan::bench(args = THREADS, sample_count = 20)]
fn product_int4_materialized(bencher: Bencher, threads: usize) {
    let w = Int4Matrix::quantize(weights(), IN_FEATURES, 128).expect("finite");
    let mut buffer = Vec::new();
    on(bencher, threads, w.memory_bytes() + 8 * WEIGHTS, || {
        let y = matvec_int4_materialized(&w, &X, &mut buffer).expect("the shapes fit");
        divan::black_box(y);
    });
}
