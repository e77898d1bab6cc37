//! The predictions of lab 02's cost model for a run of an engine.

use std::borrow::Cow;

use formats::architecture::Architecture;
use formats::device::{Device, Rates};
use formats::format::{Format, Grid};
use formats::registry::StorageFormat;
use model::LayerId;
use quantize_and_eval::{
    CostError, ModelFormat, Roofline, Served, bound_s, decode_roofline, kv_available_bytes,
    kv_blocks, kv_bytes_per_token, model_bytes, prefill_roofline, prefill_tokens_per_s,
};

use super::checkpoints::GROUP_SIZE;
use super::engine::Engine;
use super::engine_meters::Peaks;
use super::plan::{Load, Plan};

/// The predicted readings of the meters. Throughputs are roofline bounds: no engine can be faster on the
/// machine whose peaks they are made of.
#[derive(Clone, Debug, PartialEq)]
pub struct Predicted {
    /// Bytes of the weights.
    pub weight_bytes: u64,
    /// Bytes of a token's keys and values.
    pub token_bytes: u64,
    /// Blocks of the KV cache that fit into the memory that the weights leave.
    pub blocks: u64,
    /// Tokens per second of prefill of the plan's prompt.
    pub prefill: f64,
    /// Tokens generated per second, one for each of the plan's numbers of requests.
    pub decode: Vec<f64>,
}

/// How `engine` stores `architecture` in the format it calls `format`, with activations of `dtype` and a
/// cache in the format that the engine calls `kv_cache`; `None` for a format that the cost model does not
/// know.
pub fn served(
    engine: Engine,
    format: &str,
    dtype: Option<&str>,
    kv_cache: Option<&str>,
    architecture: Architecture,
) -> Option<Served> {
    let float = match dtype {
        Some("float32") => Grid::F32,
        _ => Grid::Sixteen,
    };
    let (format, unless_told) = match engine {
        Engine::Course => (ours(format)?, Grid::F32),
        Engine::Vllm => (vllm(format, float)?, float),
        Engine::LlamaCpp => (llama_cpp(format)?, Grid::Sixteen),
        Engine::Gpu => return None,
    };
    let kv = match kv_cache {
        None | Some("auto") => unless_told,
        Some(name) => CACHES.iter().find(|(known, _)| *known == name)?.1,
    };
    Some(Served { architecture, format, kv })
}

/// Formats of a cache that are codes of one grid and nothing beside them. The cost model knows no scales of
/// a cache.
const CACHES: [(&str, Grid); 6] = [
    ("f32", Grid::F32),
    ("f16", Grid::Sixteen),
    ("bf16", Grid::Sixteen),
    ("fp8", Grid::E4M3),
    ("fp8_e4m3", Grid::E4M3),
    ("fp8_e5m2", Grid::E4M3),
];

/// Floats of this grid, without overhead.
fn floats(grid: Grid) -> Format {
    let (name, overhead) = (Cow::Borrowed("floats"), Cow::Borrowed(&[][..]));
    Format { name, weights: grid, activations: grid, overhead }
}

/// This course's model: the head, which is the embedding, is int8 in every quantized format, because
/// in four bits it costs more than any layer. Its activations are those of the other layers.
fn ours(name: &str) -> Option<ModelFormat> {
    let (linear, embedding) = match name {
        "f32" => (floats(Grid::F32), floats(Grid::F32)),
        _ => {
            let format = model::Format::named(name)?;
            (format.answers(), format.at(LayerId::Head).answers())
        }
    };
    Some(ModelFormat { linear, embedding, vectors: Grid::F32 })
}

/// A checkpoint that the quantizer writes, as the registry describes its format. Embedding, head and
/// norms stay in 16 bits in the file, and become what the server was told.
fn vllm(name: &str, float: Grid) -> Option<ModelFormat> {
    let name = name.strip_suffix("-smooth").unwrap_or(name);
    let mut linear = StorageFormat::named(name, GROUP_SIZE).ok()?.answers(float);
    if linear.activations == Grid::E4M3 {
        // Without a unit for FP8, a processor multiplies FP8 as floats.
        linear.activations = float;
    }
    Some(ModelFormat { linear, embedding: floats(float), vectors: float })
}

/// GGUF: activations are rounded to blocks of int8 wherever weights are blocks. `llama-quantize` writes
/// the embedding in 8 bits where layers have 4.
fn llama_cpp(name: &str) -> Option<ModelFormat> {
    let blocks = |name: &str| {
        Some(StorageFormat::named(&format!("gguf-{name}"), GROUP_SIZE).ok()?.answers(Grid::F32))
    };
    let (linear, embedding) = match name {
        "f32" => (floats(Grid::F32), floats(Grid::F32)),
        _ => (blocks(name)?, blocks("q8_0")?),
    };
    Some(ModelFormat { linear, embedding, vectors: Grid::F32 })
}

/// This machine as the cost model sees it. Its floats are computed in `f32`, whatever their type.
fn device(peaks: &Peaks, plan: &Plan) -> Device {
    let floats = Some(peaks.f32_operations_per_s.median);
    Device {
        memory_bytes: plan.device_bytes,
        bytes_per_s: peaks.bytes_per_s.median,
        operations_per_s: Rates {
            f32: floats,
            sixteen: floats,
            int8: Some(peaks.int8_operations_per_s.median),
            ..Rates::default()
        },
    }
}

/// The predicted readings of `served`.
///
/// # Errors
/// Those of the cost model.
pub fn predict(served: &Served, peaks: &Peaks, plan: &Plan) -> Result<Predicted, CostError> {
    let device = device(peaks, plan);
    let decode =
        plan.batches.iter().map(|&requests| decode(served, &device, plan.decode(requests)));
    Ok(Predicted {
        weight_bytes: model_bytes(&served.architecture, &served.format)?,
        token_bytes: kv_bytes_per_token(&served.architecture, served.kv)?,
        blocks: blocks(served, plan)?,
        prefill: prefill_tokens_per_s(served, &device, plan.prefill_tokens as u64)?,
        decode: decode.collect::<Result<_, _>>()?,
    })
}

/// Blocks of the KV cache that fit into the memory that the weights leave.
///
/// # Errors
/// Those of the cost model.
pub fn blocks(served: &Served, plan: &Plan) -> Result<u64, CostError> {
    let weight_bytes = model_bytes(&served.architecture, &served.format)?;
    let available = kv_available_bytes(plan.device_bytes, plan.utilization, weight_bytes)?;
    let token_bytes = kv_bytes_per_token(&served.architecture, served.kv)?;
    kv_blocks(available, plan.block_tokens, token_bytes)
}

/// Tokens generated per second of a load: prefill of its prompts, then a token of each request with
/// every step. The first token comes with the prompt.
fn decode(served: &Served, device: &Device, load: Load) -> Result<f64, CostError> {
    let requests = load.requests as u64;
    let prompt = prefill_roofline(served, device, load.prompt as u64)?;
    // The weights are read once for all prompts; their arithmetic is done for each.
    let arithmetic_s = prompt.arithmetic_s * load.requests as f64;
    let prefill = bound_s(Roofline { arithmetic_s, ..prompt })?;
    // Halfway through, a request's cache is this long.
    let context = (load.prompt + load.generated / 2) as u64;
    let step = bound_s(decode_roofline(served, device, requests, context)?)?;
    let steps = load.generated.saturating_sub(1) as f64;
    Ok(load.all_generated() as f64 / (prefill + steps * step))
}

#[cfg(test)]
mod tests {
    use crate::capture::Spread;
    use formats::architecture::SMOLLM2_135M;

    use super::*;

    fn spread(value: f64) -> Spread {
        Spread { median: value, min: value, max: value, samples: 1 }
    }

    /// Numbers that divide well: 20 GB/s, 100 and 400 billion operations per second.
    fn peaks() -> Peaks {
        Peaks {
            threads: 2,
            bytes_per_s: spread(20e9),
            f32_operations_per_s: spread(100e9),
            int8_operations_per_s: spread(400e9),
        }
    }

    fn of(engine: Engine, format: &str, dtype: Option<&str>) -> Predicted {
        let served =
            served(engine, format, dtype, None, SMOLLM2_135M).expect("a format that is known");
        predict(&served, &peaks(), &Plan::default()).expect("sound numbers")
    }

    #[test]
    fn bytes_are_those_of_the_files_that_the_engines_read() {
        // GGUF F32, Q8_0, Q4_0: 513, 136 and 85.77 MiB, as llama.cpp prints the size of the tensors.
        let mib =
            |format| of(Engine::LlamaCpp, format, None).weight_bytes as f64 / f64::from(1 << 20);
        assert_eq!(format!("{:.2}", mib("q4_0")), "85.77");
        assert_eq!(format!("{:.0} {:.0}", mib("f32"), mib("q8_0")), "513 136");
        assert_eq!(of(Engine::LlamaCpp, "f32", None).token_bytes, 23_040);
        assert_eq!(of(Engine::Vllm, "none", Some("float32")).token_bytes, 46_080);
        assert_eq!(of(Engine::Vllm, "none", Some("bfloat16")).weight_bytes, 2 * 134_515_008);
    }

    #[test]
    fn a_cache_is_predicted_in_its_own_format_and_an_unknown_one_not_at_all() {
        let with = |kv| {
            let served = served(Engine::Vllm, "none", Some("bfloat16"), Some(kv), SMOLLM2_135M)?;
            Some(128 * blocks(&served, &Plan::default()).expect("sound numbers"))
        };
        // vLLM 0.32.0 with one GiB: "CPU KV cache size: 31,104 tokens" and "62,336 tokens".
        assert_eq!(with("auto"), Some(31_104));
        assert_eq!(with("fp8"), Some(62_336));
        assert_eq!(with("int8_per_token_head"), None);
    }

    #[test]
    fn one_request_is_bound_by_bytes_and_many_by_arithmetic() {
        let [one, many] = of(Engine::Course, "f32", None).decode[..] else { panic!("two") };
        // 538 MB at 20 GB/s: 37 tokens per second, a little less for the KV cache.
        let bytes = 20e9 / (4.0 * 134_515_008.0);
        assert!(one < bytes * 64.0 / 63.0 && one > 0.95 * bytes, "{one} against {bytes}");
        // 2 operations for each of 134.5 million weights: 372 tokens per second and no more.
        let arithmetic = 100e9 / (2.0 * 134.5e6);
        assert!(many < arithmetic && many > 0.5 * arithmetic, "{many} against {arithmetic}");
        let int8 = of(Engine::Course, "w8a8", None);
        assert!(int8.prefill > 3.0 * of(Engine::Course, "w8a16", None).prefill, "{int8:?}");
    }

    #[test]
    fn smaller_weights_leave_more_blocks() {
        let blocks = ["f32", "w8a8", "w4a8"].map(|format| of(Engine::Course, format, None).blocks);
        assert!(blocks[0] < blocks[1] && blocks[1] < blocks[2], "{blocks:?}");
        assert!(served(Engine::Course, "q4_0", None, None, SMOLLM2_135M).is_none());
        assert!(served(Engine::Gpu, "bf16", None, None, SMOLLM2_135M).is_none());
    }
}
