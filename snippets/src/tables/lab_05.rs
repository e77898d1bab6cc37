//! The tables of lab 05: the plan for SmolLM2-135M, computed from names and shapes alone.

use std::collections::BTreeSet;

use anyhow::Result;
use kit::Table;
use kit::table::{count, percent, times};
use quantize_model::{
    Decision, Dtype, Float, Reason, Recipe, Scheme, Tensor, TensorType, bits_per_weight, decide,
    part, parts, predicted_bytes,
};

// Hidden size, intermediate size, width of keys and values, layers, vocabulary: from the config.
const HIDDEN: u64 = 576;
const INTERMEDIATE: u64 = 1536;
const KV: u64 = 192;
const LAYERS: u64 = 30;
const VOCABULARY: u64 = 49_152;

/// Every tensor of SmolLM2-135M in 16 bits: the head is tied, so there is none of it.
pub fn smollm2() -> Vec<Tensor> {
    let tensor = |module: &str, shape: &[u64]| part(module, "weight", Dtype::F16, shape);
    let mut tensors =
        vec![tensor("model.embed_tokens", &[VOCABULARY, HIDDEN]), tensor("model.norm", &[HIDDEN])];
    for layer in 0..LAYERS {
        for (module, shape) in [
            ("input_layernorm", &[HIDDEN][..]),
            ("post_attention_layernorm", &[HIDDEN]),
            ("self_attn.q_proj", &[HIDDEN, HIDDEN]),
            ("self_attn.k_proj", &[KV, HIDDEN]),
            ("self_attn.v_proj", &[KV, HIDDEN]),
            ("self_attn.o_proj", &[HIDDEN, HIDDEN]),
            ("mlp.gate_proj", &[INTERMEDIATE, HIDDEN]),
            ("mlp.up_proj", &[INTERMEDIATE, HIDDEN]),
            ("mlp.down_proj", &[HIDDEN, INTERMEDIATE]),
        ] {
            tensors.push(tensor(&format!("model.layers.{layer}.{module}"), shape));
        }
    }
    tensors
}

/// Schemes whose plan differs, with their names in the tables.
fn schemes() -> [(&'static str, Scheme); 8] {
    [
        ("none", Scheme::Plain),
        ("w8a8", Scheme::W8A8),
        ("w8a16", Scheme::W8A16),
        ("fp8", Scheme::Fp8),
        ("w4a16, groups of 64", Scheme::W4A16(64)),
        ("w4a16, groups of 32", Scheme::W4A16(32)),
        ("awq, groups of 64", Scheme::Awq(64)),
        ("gptq, groups of 64", Scheme::Gptq(64)),
    ]
}

/// How many tensors each scheme quantizes, and why the others stay.
pub fn plan() -> Result<Table> {
    let tensors = smollm2();
    let quantizing = schemes().into_iter().filter(|(_, scheme)| *scheme != Scheme::Plain);
    let rows = quantizing.chain([("w4a16, groups of 128", Scheme::W4A16(128))]).map(|row| {
        let decisions = tensors.iter().map(|tensor| decide(tensor, row.1));
        (row.0, decisions.collect::<Vec<Decision>>())
    });
    let how_many = |decisions: &[Decision], wanted: Decision| {
        decisions.iter().filter(|found| **found == wanted).count().to_string()
    };
    Ok(Table::of("The 272 tensors of SmolLM2-135M: which are quantized", rows)
        .text("scheme", |(name, _)| *name)
        .number("quantized", |(_, of)| how_many(of, Decision::Quantize))
        .number("norms", |(_, of)| how_many(of, Decision::Keep(Reason::NotAMatrix)))
        .number("embedding", |(_, of)| how_many(of, Decision::Keep(Reason::Embedding)))
        .text("matrices that do not divide", |(_, of)| indivisible(&tensors, of))
        .done())
}

/// How many tensors no group divides, and how wide they are.
fn indivisible(tensors: &[Tensor], decisions: &[Decision]) -> String {
    let kept = |found: &Decision| matches!(found, Decision::Keep(Reason::Indivisible { .. }));
    let pairs = tensors.iter().zip(decisions);
    let kept: Vec<&Tensor> = pairs.filter(|(_, found)| kept(found)).map(|pair| pair.0).collect();
    let widths: BTreeSet<String> =
        kept.iter().filter_map(|tensor| tensor.shape.get(1)).map(u64::to_string).collect();
    let widths: Vec<String> = widths.into_iter().collect();
    match kept.len() {
        0 => "none".into(),
        number => format!("{number}, of {} in_features", widths.join(" and ")),
    }
}

/// What one query projection becomes.
pub fn one_matrix() -> Result<Table> {
    let matrix = part("q_proj", "weight", Dtype::F16, &[HIDDEN, HIDDEN]);
    let gguf = [("gguf-q8_0", TensorType::Q8_0), ("gguf-q4_0", TensorType::Q4_0)];
    let gguf = gguf.map(|(name, kind)| (name, Scheme::Gguf(kind)));
    let rows = schemes().into_iter().chain(gguf).map(|(name, scheme)| {
        let parts = parts(&matrix, recipe(scheme));
        let bytes: u64 = parts.iter().map(|part| part.bytes).sum();
        (name, parts, bytes)
    });
    let described = |part: &Tensor| {
        let name = part.name.trim_start_matches("q_proj.");
        format!("`{name}` {} {:?}", part.storage, part.shape)
    };
    Ok(Table::of("What a query projection, [576, 576], becomes in each scheme", rows)
        .text("scheme", |(name, ..)| *name)
        .text("its tensors", |(_, parts, _)| {
            parts.iter().map(described).collect::<Vec<_>>().join(", ")
        })
        .number("bytes", |(.., bytes)| count(*bytes as usize))
        .number("bits a weight", |(.., bytes)| {
            format!("{:.3}", 8.0 * *bytes as f64 / matrix.elements() as f64)
        })
        .done())
}

fn recipe(scheme: Scheme) -> Recipe {
    Recipe { scheme, float: Float::F16 }
}

/// The size of the file, before it is written.
pub fn bytes() -> Result<Table> {
    let tensors = smollm2();
    let whole = predicted_bytes(&tensors, recipe(Scheme::Plain));
    let embedding = 2 * VOCABULARY * HIDDEN;
    let rows = schemes().map(|(name, scheme)| {
        (name, predicted_bytes(&tensors, recipe(scheme)), bits_per_weight(&tensors, recipe(scheme)))
    });
    let title = "model.safetensors of SmolLM2-135M, predicted; 16 bits for the rest";
    Ok(Table::of(title, rows)
        .text("scheme", |(name, ..)| *name)
        .number("bytes of the file", |(_, bytes, _)| count(*bytes as usize))
        .number("bits a quantized weight", |(.., bits)| {
            bits.map_or("-".into(), |bits| format!("{bits:.4}"))
        })
        .number("smaller than 16 bits", |(_, bytes, _)| times(whole as f64 / *bytes as f64))
        .number("of it the embedding", |(_, bytes, _)| percent(embedding as f64 / *bytes as f64))
        .done())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `cargo book quantize` wrote on 24 November 2026, counted by the file system.
    #[test]
    fn predictions_are_the_sizes_of_the_files_that_were_written() {
        let tensors = smollm2();
        for (scheme, bytes) in [
            (Scheme::Plain, 269_060_280),
            (Scheme::W8A8, 163_536_552),
            (Scheme::W8A16, 163_563_416),
            (Scheme::Fp8, 163_537_600),
            (Scheme::W4A16(64), 113_175_144),
            (Scheme::Awq(64), 113_999_904),
            (Scheme::Gptq(64), 114_620_744),
        ] {
            assert_eq!(predicted_bytes(&tensors, recipe(scheme)), bytes, "{scheme}");
        }
    }
}
