//! The products, each with a plain reading in the same round.

use std::collections::BTreeMap;
use std::hint::black_box;

use crate::cpu::kernels::{
    Int4Matrix, Int8Matrix, Threads, matvec_f32, matvec_int4, matvec_int4_materialized,
    matvec_int8, read,
};
use crate::cpu::{Bandwidth, Capture, Product};
use anyhow::Result;
use half::f16;
use int4_groups::{int4_linear, quantize_groups};
use kit::data::normal_matrix;
use ndarray::Array2;

use super::{IN_FEATURES, OUT_FEATURES};
use crate::capture::{Spread, time_ms};

/// Group sizes of the int4 products.
const GROUP_SIZES: [usize; 3] = [32, 64, 128];

/// The group size of the product that writes the matrix to memory first.
const MATERIALIZED: usize = 128;

/// The group size of the product that the lab itself computes.
const OF_THE_LAB: usize = 128;

/// How many caches the matrices of a format must fill together, so that none is found there when
/// its turn comes again.
const CACHES: u64 = 4;

/// The product that it is read with.
type Run<'w> = Box<dyn FnMut(&[f32]) -> Result<Vec<f32>> + Send + 'w>;

/// A format: its matrices, in turn, and what one product moves.
struct Contestant<'w> {
    format: String,
    bytes: u64,
    runs: Vec<Run<'w>>,
}

impl<'w> Contestant<'w> {
    /// Enough copies of a matrix of `bytes` to fill the cache several times.
    fn new(format: String, bytes: usize, cache: u64, run: impl Fn() -> Run<'w>) -> Self {
        let bytes = bytes as u64;
        let copies = (CACHES * cache).div_ceil(bytes.max(1)).clamp(1, 64);
        Self { format, bytes, runs: (0..copies).map(|_| run()).collect() }
    }

    /// Milliseconds of one product, over all matrices in turn.
    fn once(&mut self, threads: &Threads, x: &[f32]) -> Result<f64> {
        let runs = &mut self.runs;
        let all = || -> Result<()> {
            runs.iter_mut().try_for_each(|run| run(x).map(|y| drop(black_box(y))))
        };
        let (ms, done) = time_ms(|| threads.run(all));
        done?;
        Ok(ms / self.runs.len() as f64)
    }
}

/// Measures every format `rounds` times, in turn, on each number of threads.
pub fn measure(
    capture: &mut Capture,
    w: &Array2<f32>,
    threads: &[usize],
    rounds: usize,
) -> Result<()> {
    let cache = capture.setup.cache_bytes;
    let x: Vec<f32> = normal_matrix(2, 1, IN_FEATURES).into_iter().collect();
    let buffer: Vec<u64> = (0..4 * CACHES * cache / 8).collect();
    let mut contestants = contestants(w, cache)?;
    let mut times: BTreeMap<(usize, usize), Vec<f64>> = BTreeMap::new();
    let mut readings: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
    let pools = threads.iter().map(|&count| Ok((count, Threads::new(count)?)));
    let pools = pools.collect::<Result<Vec<_>>>()?;
    // The first round wakes the threads and fills the pages; it is not kept.
    for round in 0..=rounds {
        for (count, pool) in &pools {
            let (ms, sum) = time_ms(|| pool.run(|| read(black_box(&buffer))));
            black_box(sum);
            if round > 0 {
                readings.entry(*count).or_default().push(ms);
            }
            for (place, contestant) in contestants.iter_mut().enumerate() {
                let ms = contestant.once(pool, &x)?;
                if round > 0 {
                    times.entry((*count, place)).or_default().push(ms);
                }
            }
        }
    }
    for (&threads, samples) in &readings {
        let bytes = size_of_val(&buffer[..]) as u64;
        capture.bandwidths.push(Bandwidth { threads, bytes, time_ms: Spread::sound(samples)? });
    }
    for (&(threads, place), samples) in &times {
        let contestant = &contestants[place];
        capture.products.push(Product {
            format: contestant.format.clone(),
            threads,
            out_features: OUT_FEATURES,
            in_features: IN_FEATURES,
            matrices: contestant.runs.len(),
            bytes: contestant.bytes,
            time_ms: Spread::sound(samples)?,
        });
    }
    Ok(())
}

/// The formats, from the most bytes to the fewest, and the counterexample.
fn contestants(w: &Array2<f32>, cache: u64) -> Result<Vec<Contestant<'_>>> {
    let int8 = Int8Matrix::quantize(w)?;
    let mut all = vec![
        Contestant::new("f32".into(), size_of::<f32>() * w.len(), cache, || {
            Box::new(|x| Ok(matvec_f32(w, x)?))
        }),
        Contestant::new("int8".into(), int8.memory_bytes(), cache, || {
            let w = int8.clone();
            Box::new(move |x| Ok(matvec_int8(&w, x)?))
        }),
    ];
    let weights: Vec<f32> = w.iter().copied().collect();
    for size in GROUP_SIZES {
        let packed = Int4Matrix::quantize(&weights, IN_FEATURES, size)?;
        let bytes = packed.memory_bytes();
        all.push(Contestant::new(format!("int4 g{size}"), bytes, cache, || {
            let w = packed.clone();
            Box::new(move |x| Ok(matvec_int4(&w, x)?))
        }));
        if size == MATERIALIZED {
            // Codes and scales are read, numbers are written, numbers are read.
            let moved = bytes + 2 * size_of::<f32>() * w.len();
            let name = format!("int4 g{size}, materialized");
            all.push(Contestant::new(name, moved, cache, || {
                let (w, mut numbers) = (packed.clone(), Vec::new());
                Box::new(move |x| Ok(matvec_int4_materialized(&w, x, &mut numbers)?))
            }));
        }
    }
    all.push(of_the_lab(w, cache)?);
    Ok(all)
}

/// `int4_linear` of lab 03, the reader's where `LAB_IMPL` says so: one thread, a byte for each code.
fn of_the_lab(w: &Array2<f32>, cache: u64) -> Result<Contestant<'_>> {
    let groups = quantize_groups(w, OF_THE_LAB)?;
    let bytes = groups.q().len() + size_of::<f16>() * groups.scales().len();
    Ok(Contestant::new(format!("int4 g{OF_THE_LAB}, lab 03"), bytes, cache, || {
        let w = groups.clone();
        Box::new(move |x| {
            let x = Array2::from_shape_vec((1, x.len()), x.to_vec())?;
            Ok(int4_linear(&x, &w)?.into_iter().collect())
        })
    }))
}
