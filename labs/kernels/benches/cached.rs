//! How fast the queries of a group read a cache in codes: `cargo bench -p kernels --bench cached`. Rates are
//! numbers of the cache per second, beside the loops on `f32`. One thread, three queries. Arguments are tokens of a
//! head with 64 channels: 512 fit a core's caches in each format, the keys of all heads and layers of a model do not.

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use kernels::cached::{Affine, Codes, Shared, decode};
use kernels::plain;
use kit::data::normal_matrix;

const WIDTH: usize = 64;
/// Query heads that share a key-value head of SmolLM2-135M.
const QUERIES: usize = 3;
const TOKENS: [usize; 2] = [512, 65_536];
/// Tokens that are decoded together, as in the cache of the model.
const TILE: usize = 32;

fn main() {
    divan::main();
}

fn numbers(count: usize) -> Vec<f32> {
    normal_matrix(1, 1, count).into_iter().collect()
}

/// A head in codes, with a scale for each token, or in `f32`.
enum Head {
    Floats(Vec<f32>),
    Coded(Codes, Vec<u8>, Vec<f32>),
}

impl Head {
    fn of(codes: Option<Codes>, tokens: usize) -> Self {
        let Some(codes) = codes else { return Self::Floats(numbers(tokens * WIDTH)) };
        let mut bytes = Vec::new();
        // Codes of all sizes, because a processor may take longer for the subnormal numbers of E4M3.
        let code = |at: usize| (at * 37 % (1 << (codes.bits() - 1))) as u8;
        codes.pack(&(0..tokens * WIDTH).map(code).collect::<Vec<_>>(), &mut bytes);
        Self::Coded(codes, bytes, numbers(tokens))
    }

    /// Calls `read` with the first token of a tile and the numbers of the tile.
    fn each_tile(&self, mut read: impl FnMut(usize, &[f32])) {
        match self {
            Self::Floats(rows) => {
                rows.chunks(TILE * WIDTH).enumerate().for_each(|(at, rows)| read(at * TILE, rows));
            }
            Self::Coded(codes, bytes, scales) => {
                let mut numbers = vec![0.0; TILE * WIDTH];
                let tiles = bytes.chunks(codes.bytes(TILE * WIDTH)).zip(scales.chunks(TILE));
                for (at, (bytes, scales)) in tiles.enumerate() {
                    let affine = Affine { scales, zeros: &[], shared: Shared::Group(WIDTH) };
                    decode(*codes, bytes, affine, &mut numbers);
                    read(at * TILE, &numbers);
                }
            }
        }
    }
}

fn keys(bencher: Bencher, codes: Option<Codes>, tokens: usize) {
    let (head, queries) = (Head::of(codes, tokens), numbers(QUERIES * WIDTH));
    let mut scores = numbers(QUERIES * tokens);
    let bencher = bencher.counter(ItemsCount::new(tokens * WIDTH));
    bencher.bench_local(|| {
        black_box(&head).each_tile(|first, rows| {
            let of_queries = queries.chunks_exact(WIDTH).zip(scores.chunks_exact_mut(tokens));
            of_queries.for_each(|(query, scores)| {
                plain::rows(rows, query, &mut scores[first..first + TILE])
            });
        });
    });
}

fn values(bencher: Bencher, codes: Option<Codes>, tokens: usize) {
    let (head, weights) = (Head::of(codes, tokens), numbers(QUERIES * tokens));
    let mut out = numbers(QUERIES * WIDTH);
    let bencher = bencher.counter(ItemsCount::new(tokens * WIDTH));
    bencher.bench_local(|| {
        out.fill(0.0);
        black_box(&head).each_tile(|first, rows| {
            let of_queries = weights.chunks_exact(tokens).zip(out.chunks_exact_mut(WIDTH));
            of_queries.for_each(|(weights, out)| {
                plain::add_weighted(&weights[first..first + TILE], rows, out)
            });
        });
    });
}

/// Two benchmarks of a format: keys, and values.
macro_rules! formats {
    ($($keys:ident, $values:ident: $codes:expr;)*) => {$(
        #[divan::bench(args = TOKENS)]
        fn $keys(bencher: Bencher, tokens: usize) {
            keys(bencher, $codes, tokens);
        }

        #[divan::bench(args = TOKENS)]
        fn $values(bencher: Bencher, tokens: usize) {
            values(bencher, $codes, tokens);
        }
    )*};
}

formats! {
    keys_f32, values_f32: None;
    keys_int8, values_int8: Some(Codes::Int8);
    keys_uint4, values_uint4: Some(Codes::UInt4);
    keys_uint2, values_uint2: Some(Codes::UInt2);
    keys_e4m3, values_e4m3: Some(Codes::E4M3);
}

/// A tile of keys whose channels have scales and zeros, decoded without a query.
#[divan::bench(args = [Codes::UInt4, Codes::UInt2])]
fn decode_by_column(bencher: Bencher, codes: Codes) {
    alone(bencher, codes, Shared::Column);
}

/// A tile of values whose tokens have scales and zeros, in groups of 32 channels.
#[divan::bench(args = [Codes::Int8, Codes::UInt4, Codes::UInt2, Codes::E4M3])]
fn decode_by_group(bencher: Bencher, codes: Codes) {
    alone(bencher, codes, Shared::Group(32));
}

fn alone(bencher: Bencher, codes: Codes, shared: Shared) {
    let Head::Coded(codes, bytes, _) = Head::of(Some(codes), TILE) else { return };
    let (scales, zeros) = (numbers(TILE * WIDTH / 32), numbers(TILE * WIDTH / 32));
    let mut out = numbers(TILE * WIDTH);
    bencher.counter(ItemsCount::new(TILE * WIDTH)).bench_local(|| {
        let affine = Affine { scales: &scales, zeros: &zeros, shared };
        decode(codes, black_box(&bytes), affine, black_box(&mut out));
    });
}
