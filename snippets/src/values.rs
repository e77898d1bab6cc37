//! Numbers inside sentences, computed by the labs. insta pins them all, each with its meaning.

use anyhow::{Context, Result};
use fake_quant_linear::{
    dequantize, memory_bytes, memory_bytes_f32, quantize_per_channel, quantize_per_tensor,
};
use formats::rules::COMPRESSED_TENSORS_SYMMETRIC;
use kit::meters::relative_error;
use kit::real_slice::{self, TENSORS};
use kit::table::{count, percent, sig3, times};
use measure::engines::vllm_map::Kind;

use crate::Entry;
use crate::rows::{largest, smallest};
use crate::tables::lab_03::{self, mistakes};
use crate::tables::{checkpoint, dequantization, lab_01, rounding, rules, vllm_map};

mod gpu;
mod measured;

/// A number in a sentence of a chapter.
pub struct Value {
    /// What the chapter shows: the number with its unit.
    pub text: String,
    /// What the number is, in words that end before it: "the mean error of the quiet rows is".
    pub meaning: &'static str,
}

/// Every value of the book.
pub const ALL: &[Entry<Value>] = &[
    Entry { name: "lab_01.quiet_per_tensor", make: quiet_per_tensor },
    Entry { name: "lab_01.quiet_per_channel", make: quiet_per_channel },
    Entry { name: "lab_01.global_per_tensor", make: global_per_tensor },
    Entry { name: "lab_01.real_per_tensor", make: real_per_tensor },
    Entry { name: "lab_01.real_per_channel", make: real_per_channel },
    Entry { name: "lab_01.worst_real_row", make: worst_real_row },
    Entry { name: "lab_01.scale_overhead", make: scale_overhead },
    Entry { name: "lab_01.memory_ratio", make: memory_ratio },
    Entry { name: "measured.w8a8_reads", make: measured::w8a8_reads },
    Entry { name: "measured.w4a16_reads", make: measured::w4a16_reads },
    Entry { name: "measured.w4a8_one", make: measured::w4a8_one },
    Entry { name: "measured.w8a8_many", make: measured::w8a8_many },
    Entry { name: "measured.w4a16_one", make: measured::w4a16_one },
    Entry { name: "measured.one_of_ceiling", make: measured::one_of_ceiling },
    Entry { name: "measured.f32_one_of_ceiling", make: measured::f32_one_of_ceiling },
    Entry { name: "measured.blocks", make: measured::blocks },
    Entry { name: "measured.w8a16_nats", make: measured::w8a16_nats },
    Entry { name: "measured.w8a8_nats", make: measured::w8a8_nats },
    Entry { name: "measured.vllm_w4a16_one", make: measured::vllm_w4a16_one },
    Entry { name: "measured.vllm_w4a16_reads", make: measured::vllm_w4a16_reads },
    Entry { name: "measured.vllm_w8a8_reads", make: measured::vllm_w8a8_reads },
    Entry { name: "measured.vllm_w8a8_many", make: measured::vllm_w8a8_many },
    Entry { name: "gpu.w4a16_one", make: gpu::w4a16_one },
    Entry { name: "gpu.w4a16_one_h100", make: gpu::w4a16_one_h100 },
    Entry { name: "gpu.w4a16_64", make: gpu::w4a16_64 },
    Entry { name: "gpu.fp8_64", make: gpu::fp8_64 },
    Entry { name: "gpu.fp8_prompt", make: gpu::fp8_prompt },
    Entry { name: "gpu.int8_prompt", make: gpu::int8_prompt },
    Entry { name: "gpu.w4a16_prompt", make: gpu::w4a16_prompt },
    Entry { name: "gpu.copy_cards", make: gpu::copy_cards },
    Entry { name: "gpu.bf16_cards", make: gpu::bf16_cards },
    Entry { name: "gpu.w4a16_cards", make: gpu::w4a16_cards },
    Entry { name: "gpu.bf16_of_floor", make: gpu::bf16_of_floor },
    Entry { name: "gpu.w4a16_of_floor", make: gpu::w4a16_of_floor },
    Entry { name: "gpu.small_int8_quantizing", make: gpu::small_int8_quantizing },
    Entry { name: "gpu.small_int8_one", make: gpu::small_int8_one },
    Entry { name: "lab_03.row_errors", make: int4_row_errors },
    Entry { name: "lab_03.sharers", make: sharers },
    Entry { name: "lab_03.bytes_per_weight", make: bytes_per_weight },
    Entry { name: "lab_03.smaller_than_f32", make: smaller_than_f32 },
    Entry { name: "lab_03.smaller_than_f16", make: smaller_than_f16 },
    Entry {
        name: "lab_03.swapped",
        make: || {
            misread(mistakes::SWAPPED, "layer 10 q_proj, read with its nibbles swapped, is off by")
        },
    },
    Entry {
        name: "lab_03.awq_as_linear",
        make: || {
            misread(
                mistakes::AWQ,
                "layer 10 q_proj, read from AWQ words as if they were linear, is off by",
            )
        },
    },
    Entry {
        name: "lab_03.zeros_off",
        make: || {
            misread(
                mistakes::ZEROS,
                "layer 10 q_proj, read with zero points one too large, is off by",
            )
        },
    },
    Entry {
        name: "lab_03.next_scale",
        make: || {
            misread(
                mistakes::NEXT,
                "layer 10 q_proj, read with the scale of the next group, is off by",
            )
        },
    },
    Entry { name: "real_slice.weights", make: slice_weights },
    Entry { name: "rounding.truncation_cost", make: truncation_cost },
    Entry { name: "rules.cast_cost", make: rules_cast_cost },
    Entry { name: "rules.signed_scale", make: rules_signed_scale },
    Entry { name: "rules.once", make: rules_once },
    Entry { name: "rules.twice", make: rules_twice },
    Entry { name: "rules.peaks_at_minus_eight", make: rules_peaks_at_minus_eight },
    Entry { name: "checkpoint.exercise_bits", make: exercise_bits },
    Entry { name: "dequantization.int4_predicted", make: int4_predicted },
    Entry { name: "dequantization.int4_measured", make: int4_measured },
    Entry { name: "dequantization.materialized", make: materialized },
    Entry { name: "dequantization.f32_gain", make: f32_gain },
    Entry { name: "dequantization.int4_gain", make: int4_gain },
    Entry { name: "vllm_map.files", make: vllm_files },
    Entry { name: "vllm_map.classes", make: vllm_classes },
    Entry { name: "vllm_map.schemes", make: vllm_schemes },
];

fn quiet_per_tensor() -> Result<Value> {
    let w = lab_01::planted();
    let errors = lab_01::row_errors(&w, &quantize_per_tensor(&w)?);
    Ok(Value {
        text: percent(lab_01::quiet(&errors)),
        meaning: "With one scale for the tensor and one row at 100x, the quiet rows lose on average",
    })
}

fn quiet_per_channel() -> Result<Value> {
    let w = lab_01::planted();
    let errors = lab_01::row_errors(&w, &quantize_per_channel(&w)?);
    Ok(Value {
        text: percent(lab_01::quiet(&errors)),
        meaning: "With one scale per row and one row at 100x, the quiet rows lose on average",
    })
}

fn global_per_tensor() -> Result<Value> {
    let w = lab_01::planted();
    Ok(Value {
        text: percent(relative_error(&w, &dequantize(&quantize_per_tensor(&w)?))),
        meaning: "With one scale for the tensor and one row at 100x, the error of the whole is",
    })
}

fn real_per_tensor() -> Result<Value> {
    Ok(Value {
        text: percent(pooled(|w| Ok(dequantize(&quantize_per_tensor(w)?)))?),
        meaning: "With one scale per tensor, the nine real matrices together lose",
    })
}

fn real_per_channel() -> Result<Value> {
    Ok(Value {
        text: percent(pooled(|w| Ok(dequantize(&quantize_per_channel(w)?)))?),
        meaning: "With one scale per row, the nine real matrices together lose",
    })
}

/// The error of all nine matrices together, relative to the norm of all nine.
fn pooled(
    round_trip: impl Fn(&ndarray::Array2<f32>) -> Result<ndarray::Array2<f32>>,
) -> Result<f64> {
    let (mut error, mut norm) = (0.0, 0.0);
    for name in TENSORS {
        let w = real_slice::tensor(name)?;
        let energy = w.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>();
        error += relative_error(&w, &round_trip(&w)?).powi(2) * energy;
        norm += energy;
    }
    Ok((error / norm).sqrt())
}

fn worst_real_row() -> Result<Value> {
    let mut worst: f64 = 0.0;
    for name in TENSORS {
        let w = real_slice::tensor(name)?;
        worst = worst.max(largest(&lab_01::row_errors(&w, &quantize_per_tensor(&w)?)));
    }
    Ok(Value {
        text: percent(worst),
        meaning: "With one scale per tensor, the worst row of the nine real matrices loses",
    })
}

fn scale_overhead() -> Result<Value> {
    let w = real_slice::tensor(TENSORS[0])?;
    let scales = memory_bytes(&quantize_per_channel(&w)?) - w.len();
    Ok(Value {
        text: percent(scales as f64 / w.len() as f64),
        meaning: "One f32 scale per row of 576 weights adds to the codes",
    })
}

fn memory_ratio() -> Result<Value> {
    let w = real_slice::tensor(TENSORS[0])?;
    let ratio = memory_bytes_f32(&w) as f64 / memory_bytes(&quantize_per_channel(&w)?) as f64;
    Ok(Value {
        text: times(ratio),
        meaning: "int8 with one f32 scale per row of 576 weights is smaller than f32 by",
    })
}

fn int4_row_errors() -> Result<Value> {
    let errors = lab_03::row_errors()?;
    Ok(Value {
        text: range(&errors),
        meaning: "int4 with one scale a row costs the nine real matrices",
    })
}

fn sharers() -> Result<Value> {
    let sizes = [512, 128, 64, 32, 16];
    let errors = sizes.into_iter().map(lab_03::sharers).collect::<Result<Vec<_>>>()?;
    Ok(Value {
        text: range(&errors),
        meaning: "In the group of a weight at 20x, whatever its size, the others lose",
    })
}

/// The smallest and the largest of `errors`.
fn range(errors: &[f64]) -> String {
    format!("{} to {}", percent(smallest(errors)), percent(largest(errors)))
}

/// Bytes a weight of the traded matrix in groups of 128.
fn g128() -> Result<f64> {
    let w = real_slice::tensor(lab_03::TRADED)?;
    let quantized = int4_groups::quantize_groups(&w, 128)?;
    Ok(int4_groups::memory_bytes(&quantized) as f64 / w.len() as f64)
}

fn bytes_per_weight() -> Result<Value> {
    Ok(Value {
        text: sig3(g128()?),
        meaning: "int4 in groups of 128 takes, scales counted, in bytes a weight,",
    })
}

fn smaller_than_f32() -> Result<Value> {
    Ok(Value {
        text: times(4.0 / g128()?),
        meaning: "int4 in groups of 128 is smaller than f32 by",
    })
}

fn smaller_than_f16() -> Result<Value> {
    Ok(Value {
        text: times(2.0 / g128()?),
        meaning: "int4 in groups of 128 is smaller than f16 by",
    })
}

fn misread(mistake: &str, meaning: &'static str) -> Result<Value> {
    Ok(Value { text: percent(lab_03::misread_error(mistake)?), meaning })
}

fn slice_weights() -> Result<Value> {
    let mut weights = 0;
    for name in TENSORS {
        weights += real_slice::tensor(name)?.len();
    }
    Ok(Value { text: count(weights), meaning: "The number of weights in the real slice is" })
}

fn truncation_cost() -> Result<Value> {
    Ok(Value {
        text: sig3(rounding::truncation_cost()?),
        meaning: "The error of truncating, over the error of rounding half to even, is",
    })
}

fn rules_cast_cost() -> Result<Value> {
    Ok(Value {
        text: times(rules::cast_cost()?),
        meaning: "The error of vLLM's cast to int8 on the nine real matrices, over that of its rounding, is",
    })
}

fn rules_signed_scale() -> Result<Value> {
    Ok(Value {
        text: times(rules::signed_scale()?),
        meaning: "The error of Q4_0 on the nine real matrices, over that of max / 7, is",
    })
}

fn rules_once() -> Result<Value> {
    let [once, _] = rules::once_and_twice(&COMPRESSED_TENSORS_SYMMETRIC)?;
    Ok(Value {
        text: percent(once),
        meaning: "compressed-tensors' symmetric int4 costs layer 29 q_proj",
    })
}

fn rules_twice() -> Result<Value> {
    let [_, twice] = rules::once_and_twice(&COMPRESSED_TENSORS_SYMMETRIC)?;
    Ok(Value {
        text: percent(twice),
        meaning: "compressed-tensors' symmetric int4 applied to its own output costs that matrix",
    })
}

fn rules_peaks_at_minus_eight() -> Result<Value> {
    Ok(Value {
        text: percent(rules::peaks_at_minus_eight()?),
        meaning: "Of the groups of layer 29 q_proj with a negative peak, max / 7.5 puts on -8",
    })
}

fn exercise_bits() -> Result<Value> {
    Ok(Value {
        text: checkpoint::exercise_bits()?.to_string(),
        meaning: "With AWQ's gemm layout and groups of 64, a weight of [576, 1536] costs, in bits,",
    })
}

fn int4_predicted() -> Result<Value> {
    let capture = dequantization::committed()?;
    let int4 = dequantization::product_of(&capture, "int4 g128")?;
    let ratio = capture.predicted_speed_up(int4).context("the capture has no f32 product")?;
    Ok(Value {
        text: times(ratio),
        meaning: "By bytes alone, a product with int4 g128 is faster than with f32 by",
    })
}

fn int4_measured() -> Result<Value> {
    let capture = dequantization::committed()?;
    let int4 = dequantization::product_of(&capture, "int4 g128")?;
    let ratio = capture.speed_up(int4).context("the capture has no f32 product")?;
    Ok(Value {
        text: times(ratio),
        meaning: "In the capture, a product with int4 g128 is faster than with f32 by",
    })
}

fn f32_gain() -> Result<Value> {
    let gain = dequantization::gain_of_threads(&dequantization::committed()?, "f32")?;
    Ok(Value { text: times(gain), meaning: "On all threads against one, f32 is faster by" })
}

fn int4_gain() -> Result<Value> {
    let gain = dequantization::gain_of_threads(&dequantization::committed()?, "int4 g128")?;
    Ok(Value { text: times(gain), meaning: "On all threads against one, int4 g128 is faster by" })
}

fn materialized() -> Result<Value> {
    let capture = dequantization::committed()?;
    let slow = dequantization::product_of(&capture, "int4 g128, materialized")?;
    let ratio = capture.speed_up(slow).context("the capture has no f32 product")?;
    Ok(Value {
        text: times(1.0 / ratio),
        meaning: "With the whole matrix dequantized to memory first, a product takes, in units of \
                  the time with f32,",
    })
}

fn vllm_files() -> Result<Value> {
    let files = count(vllm_map::number_of_files()?);
    Ok(Value { text: files, meaning: "The Python files in vLLM's quantization folder are" })
}

fn vllm_classes() -> Result<Value> {
    let classes = count(vllm_map::number_of_classes(None)?);
    Ok(Value { text: classes, meaning: "The classes in vLLM's quantization folder are" })
}

fn vllm_schemes() -> Result<Value> {
    let schemes = count(vllm_map::number_of_classes(Some(Kind::Scheme))?);
    Ok(Value { text: schemes, meaning: "Those of them that quantize something are" })
}
