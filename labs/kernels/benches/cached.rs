//! How fast the queries of a group read a cache in codes: `cargo bench -p kernels --bench cached`. Rates are
//! numbers of the cache per second, beside the loops on `f32`. One thread, three queries. Arguments are tokens of a
//! head with 64 channels: 512 fit a core's caches in each format, the keys of all heads and layers of a model do not.

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use kernels::cached::{Codes, add_weighted, dots};
use kernels::plain;
use kit::data::normal_matrix;

const WIDTH: usize = 64;
/// Query heads that share a key-value head of SmolLM2-135M.
const QUERIES: usize = 3;
const TOKENS: [usize; 2] = [512, 65_536];

fn main() {
    divan::main();
}

fn numbers(count: usize) -> Vec<f32> {
    normal_matrix(1, 1, count).into_iter().collect()
}

fn bytes(codes: Codes, tokens: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    // Codes of all sizes, because a processor may take longer for the subnormal numbers of E4M3.
    let code = |at: usize| (at * 37 % (1 << (codes.bits() - 1))) as u8;
    codes.pack(&(0..tokens * WIDTH).map(code).collect::<Vec<_>>(), &mut bytes);
    bytes
}

#[divan::bench(args = TOKENS)]
fn keys_f32(bencher: Bencher, tokens: usize) {
    let (keys, queries) = (numbers(tokens * WIDTH), numbers(QUERIES * WIDTH));
    let mut scores = numbers(QUERIES * tokens);
    let bencher = bencher.counter(ItemsCount::new(tokens * WIDTH));
    bencher.bench_local(|| {
        let of_queries = queries.chunks_exact(WIDTH).zip(scores.chunks_exact_mut(tokens));
        of_queries.for_each(|(query, scores)| plain::rows(black_box(&keys), query, scores));
    });
}

#[divan::bench(args = TOKENS)]
fn values_f32(bencher: Bencher, tokens: usize) {
    let (values, weights) = (numbers(tokens * WIDTH), numbers(QUERIES * tokens));
    let mut out = numbers(QUERIES * WIDTH);
    let bencher = bencher.counter(ItemsCount::new(tokens * WIDTH));
    bencher.bench_local(|| {
        let of_queries = weights.chunks_exact(tokens).zip(out.chunks_exact_mut(WIDTH));
        of_queries.for_each(|(weights, out)| plain::weighted_sum(weights, black_box(&values), out));
    });
}

/// Keys and values in codes, a scale for each token.
macro_rules! coded {
    ($($keys:ident, $values:ident: $codes:ident;)*) => {$(
        #[divan::bench(args = TOKENS)]
        fn $keys(bencher: Bencher, tokens: usize) {
            let (keys, queries) = (bytes(Codes::$codes, tokens), numbers(QUERIES * WIDTH));
            let mut scores = numbers(QUERIES * tokens);
            let bencher = bencher.counter(ItemsCount::new(tokens * WIDTH));
            bencher.bench_local(|| dots(Codes::$codes, black_box(&keys), &queries, WIDTH, WIDTH, &mut scores));
        }

        #[divan::bench(args = TOKENS)]
        fn $values(bencher: Bencher, tokens: usize) {
            let (values, weights) = (bytes(Codes::$codes, tokens), numbers(QUERIES * tokens));
            let mut out = numbers(QUERIES * WIDTH);
            let bencher = bencher.counter(ItemsCount::new(tokens * WIDTH));
            bencher.bench_local(|| add_weighted(Codes::$codes, black_box(&values), &weights, WIDTH, WIDTH, &mut out));
        }
    )*};
}

coded! {
    keys_int8, values_int8: Int8;
    keys_uint4, values_uint4: UInt4;
    keys_uint2, values_uint2: UInt2;
    keys_e4m3, values_e4m3: E4M3;
}
