//! What this machine can do at all: plain reading, and large products on the course's kernels.

use std::hint::black_box;
use std::time::Duration;

use anyhow::Result;
use kernels::{Int8, plain, read};
use kit::data::normal_matrix;
use ndarray::Array2;

use super::engine_meters::Peaks;
use crate::capture::{Spread, rates};

/// Bytes that are read: larger than the cache of any processor here.
const BYTES: usize = 512 << 20;
/// Tokens, inputs and outputs of the product: large enough that its operands are read many times.
const PRODUCT: [usize; 3] = [512, 1536, 4096];
/// Readings of each, after one that wakes the threads.
const READINGS: usize = 7;

/// Measures them, on as many threads as the models run on.
///
/// # Errors
/// If a reading takes no time.
pub fn measure() -> Result<Peaks> {
    let words: Vec<u64> = (0..(BYTES / 8) as u64).collect();
    let bytes_per_s = rate(BYTES as f64, || {
        black_box(read(black_box(&words)));
    })?;
    drop(words);
    let [tokens, inputs, outputs] = PRODUCT;
    let (x, w) = (normal_matrix(1, tokens, inputs), normal_matrix(2, outputs, inputs));
    let operations = 2.0 * (tokens * inputs * outputs) as f64;
    let f32_operations_per_s = rate(operations, || {
        black_box(plain::product(black_box(&x), &w));
    })?;
    let int8 = Int8::new(&codes(&w), &vec![1.0; outputs])?;
    let int8_operations_per_s = rate(operations, || {
        let _ = black_box(int8.w8a8(black_box(&x)));
    })?;
    let threads = rayon::current_num_threads();
    Ok(Peaks { threads, bytes_per_s, f32_operations_per_s, int8_operations_per_s })
}

/// Numbers as int8 codes, whatever their scale would be: the work does not depend on them.
fn codes(w: &Array2<f32>) -> Array2<i8> {
    w.mapv(|value| (value * 32.0).round_ties_even().clamp(-127.0, 127.0) as i8)
}

/// `amount` over the time of `work`.
fn rate(amount: f64, mut work: impl FnMut()) -> Result<Spread> {
    let samples = rates(Duration::MAX, READINGS, || -> Result<f64> {
        work();
        Ok(amount)
    })?;
    Ok(Spread::sound(&samples)?)
}
