//! How fast SmolLM2 runs: `cargo bench -p model`. Rates are tokens per second.
//!
//! It needs the fetched model (`cargo book fetch`) and says so where it is not there. A decoded token
//! reads every weight once, 538 MB in `f32`: the memory is the limit. Prefill multiplies.

use std::path::Path;
use std::sync::LazyLock;

use divan::Bencher;
use divan::counter::ItemsCount;
use model::{Cache, Model};

static MODEL: LazyLock<Model> = LazyLock::new(|| {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../target/model/SmolLM2-135M-Instruct.Q4_1.gguf");
    Model::load(path).expect("the fetched model: run `cargo book fetch` first")
});

fn main() {
    divan::main();
}

/// Any tokens do: the work does not depend on which.
fn tokens(count: u32) -> Vec<u32> {
    (0..count).map(|i| (i * 7919 + 13) % 49_152).collect()
}

/// 512 tokens at once, and the logits of the last one: what a prompt takes.
#[divan::bench(sample_count = 10)]
fn prefill_512(bencher: Bencher) {
    let (model, tokens) = (&*MODEL, tokens(512));
    bencher.counter(ItemsCount::new(512_u32)).bench_local(|| {
        let mut cache = Cache::new(model.config(), 512).expect("512 fit");
        let hidden = model.hidden(&tokens, &mut cache, &mut |_, _| ()).expect("valid tokens");
        let last = hidden.slice(ndarray::s![511.., ..]).to_owned();
        model.logits(&last, &mut |_, _| ()).expect("the head runs")
    });
}

/// 64 tokens one by one, from an empty cache: what text takes.
#[divan::bench(sample_count = 5)]
fn decode_64(bencher: Bencher) {
    let (model, tokens) = (&*MODEL, tokens(64));
    bencher.counter(ItemsCount::new(64_u32)).bench_local(|| {
        let mut cache = Cache::new(model.config(), 64).expect("64 fit");
        for token in &tokens {
            divan::black_box(model.forward(&[*token], &mut cache).expect("a valid token"));
        }
    });
}
