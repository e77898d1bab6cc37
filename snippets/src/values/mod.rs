//! Numbers inside sentences, computed by the labs. insta pins them all, each with its meaning.
//!
//! A value is a row: its name, what it is made of, how it is written, the number, its meaning.

mod cache;
mod gpu;
mod measured;
mod zoo;

use std::sync::LazyLock;

use anyhow::{Context, Result};
use fake_quant_linear::{
    QuantError, Quantized, dequantize, int8_linear, memory_bytes, memory_bytes_f32,
    quantize_per_channel, quantize_per_tensor,
};
use formats::device;
use formats::format::Format;
use formats::rules::COMPRESSED_TENSORS_SYMMETRIC;
use kit::meters::relative_error;
use kit::real_slice::TENSORS;
use kit::table::{count, percent, sig3, times};
use measure::cpu::{CpuMeters, Product};
use measure::engines::vllm_map::Kind;
use ndarray::Array2;

use crate::inputs::{CPU, LAYERS, SLICE, Slice, VLLM_MAP};
use crate::rows::{largest, range};
use crate::tables::lab_03::{self, mistakes};
use crate::tables::{
    checkpoint, cost_model, dequantization, lab_01, lab_06, rounding, rules, vllm_map,
};
use crate::{Embed, Entry, Inputs};

/// A number in a sentence of a chapter.
pub struct Value {
    /// What the chapter shows: the number with its unit.
    pub text: String,
    /// What the number is, in words that end before it: "the mean error of the other rows is".
    pub meaning: String,
}

impl Embed for Value {
    /// A number does not part from its unit at the end of a line.
    fn embed(&self, _: &str) -> Result<String> {
        Ok(self.text.replace(' ', "\u{a0}"))
    }
}

/// How a number is written.
type Shown = fn(f64) -> String;

/// A number, which [`Entry::means`] makes a value.
fn number<I: Inputs>(
    name: &'static str,
    inputs: I,
    shown: Shown,
    number: impl Fn(I::Data) -> Result<f64> + Send + Sync + 'static,
) -> Entry<String> {
    Entry::of(name, inputs, move |data| Ok(shown(number(data)?)))
}

impl Entry<String> {
    /// The text as a value with its meaning.
    fn means(self, meaning: impl Into<String>) -> Entry<Value> {
        let meaning = meaning.into();
        self.map(move |text| Value { text, meaning: meaning.clone() })
    }
}

/// Every value of the book.
pub static ALL: LazyLock<Vec<Entry<Value>>> = LazyLock::new(|| {
    let mut all = of_the_labs();
    all.extend(measured::all());
    all.extend(gpu::all());
    all.extend(cache::all());
    all.extend(zoo::all());
    all
});

fn of_the_labs() -> Vec<Entry<Value>> {
    let mut all = vec![
        number("lab_01.others_per_tensor", (), percent, |()| others_error(quantize_per_tensor))
            .means(
                "With one scale for the tensor and one row at 100x, the other rows lose on average",
            ),
        number("lab_01.others_per_channel", (), percent, |()| others_error(quantize_per_channel))
            .means("With one scale per row and one row at 100x, the other rows lose on average"),
        number("lab_01.global_per_tensor", (), percent, |()| {
            let w = lab_01::planted();
            Ok(relative_error(&w, &dequantize(&quantize_per_tensor(&w)?)))
        })
        .means("With one scale for the tensor and one row at 100x, the error of the whole is"),
        number("lab_01.real_per_tensor", &SLICE, percent, |of| pooled(of, quantize_per_tensor))
            .means("With one scale per tensor, the nine real matrices together lose"),
        number("lab_01.real_per_channel", &SLICE, percent, |of| pooled(of, quantize_per_channel))
            .means("With one scale per row, the nine real matrices together lose"),
        number("lab_01.worst_real_row", &SLICE, percent, worst_real_row)
            .means("With one scale per tensor, the worst row of the nine real matrices loses"),
        number("lab_01.scale_overhead", &SLICE, percent, |slice| {
            let w = slice.tensor(TENSORS[0]);
            let scales = memory_bytes(&quantize_per_channel(w)?) - w.len();
            Ok(scales as f64 / w.len() as f64)
        })
        .means("One f32 scale per row of 576 weights adds to the codes"),
        number("lab_01.memory_ratio", &SLICE, times, |slice| {
            let w = slice.tensor(TENSORS[0]);
            Ok(memory_bytes_f32(w) as f64 / memory_bytes(&quantize_per_channel(w)?) as f64)
        })
        .means("int8 with one f32 scale per row of 576 weights is smaller than f32 by"),
        Entry::computed("lab_01.sum_bits", || {
            // The largest sum of a row of the query projection, through the lab's own product.
            let codes = || Quantized::new(Array2::from_elem((1, 576), 127), Array2::ones((1, 1)));
            let sum = int8_linear(&codes()?, &codes()?)?[(0, 0)];
            Ok((f64::from(sum).log2().floor() + 1.0).to_string())
        })
        .means("The largest sum of 576 products of int8 codes has, in bits without its sign,"),
        Entry::of("lab_03.row_errors", &SLICE, |slice| Ok(range(&lab_03::row_errors(slice)?)))
            .means("int4 with one scale a row costs the nine real matrices"),
        Entry::computed("lab_03.sharers", || {
            let errors = [512, 128, 64, 32, 16].into_iter().map(lab_03::group_of_outlier);
            Ok(range(&errors.collect::<Result<Vec<_>>>()?))
        })
        .means("In the group of a weight at 20x, whatever its size, the others lose"),
        Entry::computed("lab_03.outlier", || Ok(sig3(lab_03::survivors()?.0.into())))
            .means("The outlier of the drawn row, after the factor of 20, is"),
        Entry::computed("lab_03.outlier_half_step", || Ok(sig3(lab_03::survivors()?.1.into())))
            .means("Half a step of one scale for the drawn row is"),
        Entry::computed("lab_03.survivors", || Ok(lab_03::survivors()?.2.to_string())).means(
            "With one scale for the drawn row, of 511 other weights so many do not become 0:",
        ),
        Entry::computed("lab_03.best_candidate", || {
            let group = [700.0, 62.0, -62.0, 62.0, -62.0, 62.0, -62.0, 62.0];
            Ok(int4_groups::search_scale((&group).into()).to_f32().to_string())
        })
        .means("Of the scales 100, 99, ..., 81 the best for 700 and seven times ±62 is"),
        number("lab_03.bytes_per_weight", &SLICE, sig3, g128)
            .means("int4 in groups of 128 takes, scales counted, in bytes a weight,"),
        number("lab_03.smaller_than_f32", &SLICE, times, |slice| Ok(4.0 / g128(slice)?))
            .means("int4 in groups of 128 is smaller than f32 by"),
        number("lab_03.smaller_than_f16", &SLICE, times, |slice| Ok(2.0 / g128(slice)?))
            .means("int4 in groups of 128 is smaller than f16 by"),
    ];
    all.extend(MISREAD.map(|(name, mistake, how)| {
        number(name, &SLICE, percent, move |slice| lab_03::misread_error(slice, mistake))
            .means(format!("layer 10 q_proj, read {how}, is off by"))
    }));
    all.extend([
        number("cost_model.bf16_crossover", (), sig3, |()| {
            cost_model::crossover(Format::BF16, &device::H100)
        })
        .means("On an H100 without a cache, Llama-3.1-8B in bf16 stops waiting for memory at batch"),
        number("cost_model.w4a16_crossover", (), whole, |()| {
            cost_model::crossover(Format::w4a16(128), &device::H100)
        })
        .means("On an H100 without a cache, Llama-3.1-8B in W4A16 stops waiting for memory at batch"),
        number("cost_model.bf16_h200", (), whole, |()| {
            cost_model::crossover(Format::BF16, &device::H200)
        })
        .means("On an H200 without a cache, Llama-3.1-8B in bf16 stops waiting for memory at batch"),
        number("cost_model.w4a16_layers_h200", (), whole, |()| {
            cost_model::layers_crossover(&Format::w4a16(128), &device::H200)
        })
        .means("On an H200, arithmetic takes over in linear layers in W4A16 at batch"),
        number("cost_model.w4a16_h200", (), whole, |()| {
            cost_model::crossover(Format::w4a16(128), &device::H200)
        })
        .means("On an H200, with its head in 16 bits, Llama-3.1-8B in W4A16 stops waiting for memory at batch"),
        number("real_slice.weights", &SLICE, whole, |slice| {
            Ok(slice.all().map(|(_, w)| w.len()).sum::<usize>() as f64)
        })
        .means("The number of weights in the real slice is"),
        number("calibration.without_first_tokens", &LAYERS, percent, |of| {
            lab_06::without_first_tokens(of.of(TENSORS[7]))
        })
        .means("Without the first token of both windows, GPTQ leaves layer 29 gate_proj on the others"),
        number("rounding.truncation_cost", &SLICE, sig3, |of| Ok(rounding::truncation_cost(of)))
            .means("The error of truncating, over the error of rounding half to even, is"),
        number("rules.cast_cost", &SLICE, times, rules::cast_cost)
            .means("The error of vLLM's cast to int8 on the nine real matrices, over that of its rounding, is"),
        number("rules.signed_scale", &SLICE, times, rules::signed_scale)
            .means("The error of Q4_0 on the nine real matrices, over that of max / 7, is"),
        number("rules.once", &SLICE, percent, |slice| Ok(once_and_twice(slice)?[0]))
            .means("compressed-tensors' symmetric int4 costs layer 29 q_proj"),
        number("rules.twice", &SLICE, percent, |slice| Ok(once_and_twice(slice)?[1]))
            .means("compressed-tensors' symmetric int4 applied to its own output costs that matrix"),
        number("rules.peaks_at_minus_eight", &SLICE, percent, rules::peaks_at_minus_eight)
            .means("Of the groups of layer 29 q_proj with a negative peak, max / 7.5 puts on -8"),
        number("checkpoint.exercise_bits", (), |bits| bits.to_string(), |()| checkpoint::exercise_bits())
            .means("With AWQ's gemm layout and groups of 64, a weight of [576, 1536] costs, in bits,"),
        speed_up("dequantization.int4_predicted", "int4 g128", CpuMeters::predicted_speed_up)
            .means("By bytes alone, a product with int4 g128 is faster than with f32 by"),
        speed_up("dequantization.int4_measured", "int4 g128", CpuMeters::speed_up)
            .means("In the capture, a product with int4 g128 is faster than with f32 by"),
        speed_up("dequantization.materialized", "int4 g128, materialized", |capture, product| {
            Some(1.0 / capture.speed_up(product)?)
        })
        .means(
            "With the whole matrix dequantized to memory first, a product takes, in units of the \
             time with f32,",
        ),
        number("dequantization.f32_gain", &CPU, times, |of| dequantization::gain_of_threads(of, "f32"))
            .means("On all threads against one, f32 is faster by"),
        number("dequantization.int4_gain", &CPU, times, |of| {
            dequantization::gain_of_threads(of, "int4 g128")
        })
        .means("On all threads against one, int4 g128 is faster by"),
        number("vllm_map.files", &VLLM_MAP, whole, |map| Ok(map.files.len() as f64))
            .means("The Python files in vLLM's quantization folder are"),
        number("vllm_map.classes", &VLLM_MAP, whole, |map| {
            Ok(vllm_map::number_of_classes(map, None) as f64)
        })
        .means("The classes in vLLM's quantization folder are"),
        number("vllm_map.schemes", &VLLM_MAP, whole, |map| {
            Ok(vllm_map::number_of_classes(map, Some(Kind::Scheme)) as f64)
        })
        .means("Those of them that quantize something are"),
    ]);
    all
}

/// The values of misread layouts: name, mistake, and how the matrix was read.
const MISREAD: [(&str, &str, &str); 4] = [
    ("lab_03.swapped", mistakes::SWAPPED, "with its nibbles swapped"),
    ("lab_03.awq_as_linear", mistakes::AWQ, "from AWQ words as if they were linear"),
    ("lab_03.zeros_off", mistakes::ZEROS, "with zero points one too large"),
    ("lab_03.next_scale", mistakes::NEXT, "with the scale of the next group"),
];

/// The nearest whole number, with its thousands set apart.
fn whole(number: f64) -> String {
    count(number.round() as usize)
}

/// What a quantizer of lab 01 makes of a matrix.
type Quantize = fn(&Array2<f32>) -> Result<Quantized, QuantError>;

/// The mean error of the rows of the planted control that are no outlier.
fn others_error(quantize: Quantize) -> Result<f64> {
    let w = lab_01::planted();
    Ok(lab_01::mean_of_others(&lab_01::row_errors(&w, &quantize(&w)?)))
}

/// The error of all nine matrices together, relative to the norm of all nine.
fn pooled(slice: &Slice, quantize: Quantize) -> Result<f64> {
    let (mut error, mut norm) = (0.0, 0.0);
    for (_, w) in slice.all() {
        let energy = w.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>();
        error += relative_error(w, &dequantize(&quantize(w)?)).powi(2) * energy;
        norm += energy;
    }
    Ok((error / norm).sqrt())
}

fn worst_real_row(slice: &Slice) -> Result<f64> {
    let worst = slice
        .all()
        .map(|(_, w)| Ok(largest(&lab_01::row_errors(w, &quantize_per_tensor(w)?))))
        .collect::<Result<Vec<_>>>()?;
    Ok(largest(&worst))
}

/// Bytes a weight of the traded matrix in groups of 128.
fn g128(slice: &Slice) -> Result<f64> {
    let w = slice.tensor(lab_03::TRADED);
    let quantized = int4_groups::quantize_groups(w, 128)?;
    Ok(int4_groups::memory_bytes(&quantized) as f64 / w.len() as f64)
}

fn once_and_twice(slice: &Slice) -> Result<[f64; 2]> {
    rules::once_and_twice(slice, &COMPRESSED_TENSORS_SYMMETRIC)
}

/// What a capture says of a format on all threads, as a multiple of f32.
fn speed_up(
    name: &'static str,
    format: &'static str,
    ratio: fn(&CpuMeters, &Product) -> Option<f64>,
) -> Entry<String> {
    number(name, &CPU, times, move |capture| {
        let product = dequantization::product_of(capture, format)?;
        ratio(capture, product).context("the capture has no f32 product")
    })
}
