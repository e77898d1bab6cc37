//! How fast SmolLM2 runs, in each format: `cargo bench -p model`. Rates are tokens per second.
//!
//! It needs the fetched model (`cargo book fetch`). Memory bounds the decode of one sequence, because a
//! token reads every weight once, 538 MB in `f32`. Arithmetic bounds many tokens, of one prompt or of
//! many sequences, because they share the weights that are read.

use std::fmt;
use std::sync::{LazyLock, Mutex};

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use fake_quant_linear::solution as lab_01;
use half::f16;
use int4_groups::solution as lab_03;
use model::{Cache, Format, LinearError, Model, Quantizer};
use ndarray::{Array2, s};

static ORIGINAL: LazyLock<Model> = LazyLock::new(|| {
    Model::load(kit::workspace::fetched_model())
        .expect("the fetched model: run `cargo book fetch` first")
});

/// The variant that ran last. Only one is kept, because a laptop may not have memory for all.
static LAST: Mutex<Option<(Variant, Model)>> = Mutex::new(None);

/// `f32`, or a format.
#[derive(Clone, Copy, PartialEq)]
struct Variant(Option<Format>);

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(format) => format.fmt(f),
            None => f.write_str("f32"),
        }
    }
}

fn variants() -> impl Iterator<Item = Variant> {
    [None].into_iter().chain(Format::ALL.map(Some)).map(Variant)
}

/// The rules of labs 01 and 03.
struct Labs;

impl Quantizer for Labs {
    fn int8(&self, w: &Array2<f32>) -> Result<(Array2<i8>, Vec<f32>), LinearError> {
        let quantized = lab_01::quantize_per_channel(w)?;
        Ok((quantized.q().clone(), quantized.scales().iter().copied().collect()))
    }

    fn int4(&self, w: &Array2<f32>, size: usize) -> Result<(Array2<i8>, Array2<f16>), LinearError> {
        let quantized = lab_03::quantize_groups(w, size)?;
        Ok((quantized.q().clone(), quantized.scales().clone()))
    }
}

impl Variant {
    fn model(self) -> Model {
        let mut last = LAST.lock().expect("no bench panicked");
        match &*last {
            Some((variant, model)) if *variant == self => model.clone(),
            _ => {
                let new = |format| ORIGINAL.quantized(format, &Labs).expect("finite weights");
                let model = self.0.map_or_else(|| ORIGINAL.clone(), new);
                *last = Some((self, model.clone()));
                model
            }
        }
    }
}

fn main() {
    divan::main();
}

/// Any tokens, because the work does not depend on them.
fn tokens(count: u32) -> Vec<u32> {
    (0..count).map(|i| (i * 7919 + 13) % 49_152).collect()
}

/// Plain reading of 512 MiB, bytes per second: the roofline bound of decode.
#[divan::bench(sample_count = 10)]
fn read(bencher: Bencher) {
    let words = vec![1_u64; 1 << 26];
    bencher.counter(BytesCount::of_slice(&words)).bench_local(|| kernels::read(black_box(&words)));
}

/// The prefill of a prompt: 512 tokens at once, and the logits of the last.
#[divan::bench(sample_count = 10, args = variants())]
fn prefill_512(bencher: Bencher, variant: Variant) {
    let (model, tokens) = (variant.model(), tokens(512));
    bencher.counter(ItemsCount::new(512_u32)).bench_local(|| {
        let mut cache = Cache::new(model.config(), 512).expect("512 fit");
        let hidden = model.hidden(&tokens, &mut cache, &mut |_, _| ()).expect("valid tokens");
        let last = hidden.slice(s![511.., ..]).to_owned();
        model.logits(&last, &mut |_, _| ()).expect("the head runs")
    });
}

/// The decode of a text: 64 tokens one by one, from an empty cache.
#[divan::bench(sample_count = 5, args = variants())]
fn decode_64(bencher: Bencher, variant: Variant) {
    let (model, tokens) = (variant.model(), tokens(64));
    bencher.counter(ItemsCount::new(64_u32)).bench_local(|| {
        let mut cache = Cache::new(model.config(), 64).expect("64 fit");
        for token in &tokens {
            black_box(model.forward(&[*token], &mut cache).expect("a valid token"));
        }
    });
}

/// A token of each of 16 sequences, 16 times.
#[divan::bench(sample_count = 5, args = variants())]
fn decode_16_of_16(bencher: Bencher, variant: Variant) {
    steps(bencher, variant, 16, 16);
}

/// A token of each of 64 sequences, 8 times.
#[divan::bench(sample_count = 5, args = variants())]
fn decode_8_of_64(bencher: Bencher, variant: Variant) {
    steps(bencher, variant, 64, 8);
}

fn steps(bencher: Bencher, variant: Variant, sequences: u32, steps: u32) {
    let (model, tokens) = (variant.model(), tokens(sequences));
    let new = |_| Cache::new(model.config(), steps as usize).expect("they fit");
    bencher.counter(ItemsCount::new(sequences * steps)).bench_local(|| {
        let mut caches: Vec<Cache> = (0..sequences).map(new).collect();
        for _ in 0..steps {
            black_box(model.step(&tokens, &mut caches).expect("valid tokens"));
        }
    });
}
