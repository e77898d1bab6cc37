//! A GGUF file of one matrix: what `llama-quantize` takes, and what our encoders write beside it.

use std::io::{self, Write};

/// The tensor's name in llama.cpp.
pub const TENSOR: &str = "blk.0.ffn_down.weight";

/// Data starts at a multiple of this.
const ALIGNMENT: usize = 32;

/// Kinds of metadata values.
const U32: u32 = 4;
const F32: u32 = 6;
const TEXT: u32 = 8;

/// The header of a Llama of one layer that has one matrix, `[out_features, in_features]`, stored as
/// type number `kind` of GGML. The tensor's bytes follow it.
pub fn header(out_features: usize, in_features: usize, kind: u32) -> io::Result<Vec<u8>> {
    let mut file = Vec::new();
    file.write_all(b"GGUF")?;
    file.write_all(&3u32.to_le_bytes())?;
    file.write_all(&1u64.to_le_bytes())?;
    let numbers: [(&str, usize); 6] = [
        ("llama.context_length", 512),
        ("llama.embedding_length", out_features),
        ("llama.block_count", 1),
        ("llama.feed_forward_length", in_features),
        ("llama.attention.head_count", 32),
        ("llama.vocab_size", 32),
    ];
    file.write_all(&(numbers.len() as u64 + 3).to_le_bytes())?;
    for (key, value) in [("general.architecture", "llama"), ("tokenizer.ggml.model", "none")] {
        text(&mut file, key)?;
        file.write_all(&TEXT.to_le_bytes())?;
        text(&mut file, value)?;
    }
    text(&mut file, "llama.attention.layer_norm_rms_epsilon")?;
    file.write_all(&F32.to_le_bytes())?;
    file.write_all(&1e-5f32.to_le_bytes())?;
    for (key, value) in numbers {
        text(&mut file, key)?;
        file.write_all(&U32.to_le_bytes())?;
        file.write_all(&(value as u32).to_le_bytes())?;
    }
    text(&mut file, TENSOR)?;
    file.write_all(&2u32.to_le_bytes())?;
    file.write_all(&(in_features as u64).to_le_bytes())?;
    file.write_all(&(out_features as u64).to_le_bytes())?;
    file.write_all(&kind.to_le_bytes())?;
    file.write_all(&0u64.to_le_bytes())?;
    file.resize(file.len().next_multiple_of(ALIGNMENT), 0);
    Ok(file)
}

fn text(file: &mut Vec<u8>, text: &str) -> io::Result<()> {
    file.write_all(&(text.len() as u64).to_le_bytes())?;
    file.write_all(text.as_bytes())
}
