//! Your file. The signatures and their promises are here; the bodies are yours.
//!
//! Grade it with `cargo book grade lab-02`, or
//! `LAB_IMPL=starter cargo test -p lab-02-quantize-and-eval --test spec`. On the untouched file
//! every test of the spec fails, because every body is a `todo!`.

use formats::architecture::Architecture;
use formats::device::Device;
use formats::format::{Format, Grid};

use crate::{CostError, ModelFormat, Roofline, Served};

/// Task 1. The bytes in `gigabytes` GB of a data sheet, rounded to the nearest byte. A GB is 10⁹
/// bytes.
///
/// # Errors
/// [`CostError::NotASize`] if `gigabytes` is negative, NaN, or more than 64 bits of bytes.
pub fn bytes_from_gb(gigabytes: f64) -> Result<u64, CostError> {
    todo!("task 1: {gigabytes} GB of 10⁹ bytes, rounded; refuse a number that is not a size")
}

/// Task 1. The bytes in `gibibytes` GiB of an engine's flag or log, rounded to the nearest byte. A
/// GiB is 2³⁰ bytes.
///
/// # Errors
/// [`CostError::NotASize`] if `gibibytes` is negative, NaN, or more than 64 bits of bytes.
pub fn bytes_from_gib(gibibytes: f64) -> Result<u64, CostError> {
    todo!("task 1: {gibibytes} GiB of 2³⁰ bytes, rounded; refuse a number that is not a size")
}

/// Task 1. The bytes of a matrix, `[out_features, in_features]`, in `format`: the codes, and the
/// overhead of scales and zero points. Each of these is rounded up to whole bytes.
///
/// # Errors
/// [`CostError::Zero`] if a size, a group or a block is 0, [`CostError::Indivisible`] if groups do
/// not tile a row (the edge may cut off a block, which has a scale all the same),
/// [`CostError::UnreadGroup`] if the granularity of a scale is not known, [`CostError::TooLarge`]
/// if the number of bits does not fit into 64 bits.
pub fn matrix_bytes(
    out_features: u64,
    in_features: u64,
    format: &Format,
) -> Result<u64, CostError> {
    todo!(
        "task 1: {out_features} x {in_features} codes of {} bits, and the overhead",
        format.weights.bits()
    )
}

/// Task 1. Bits per weight of `weights` weights that take `bytes` bytes together.
///
/// # Errors
/// [`CostError::Zero`] if there is no weight.
pub fn bits_per_weight(bytes: u64, weights: u64) -> Result<f64, CostError> {
    todo!("task 1: the bits of {bytes} bytes for each of {weights} weights")
}

/// Task 2. The bytes of all linear layers inside the blocks, in `format`.
///
/// # Errors
/// Those of [`matrix_bytes`], and [`CostError::Architecture`] if the sizes are not those of a
/// model.
pub fn linear_bytes(architecture: &Architecture, format: &Format) -> Result<u64, CostError> {
    todo!("task 2: check, then {} layers of seven matrices in {}", architecture.layers, format.name)
}

/// Task 2. The bytes of all weights of a model: linear layers, embedding and head, norms and
/// biases, each in its own format. A tied embedding and head are stored once.
///
/// # Errors
/// As [`linear_bytes`].
pub fn model_bytes(architecture: &Architecture, format: &ModelFormat) -> Result<u64, CostError> {
    todo!(
        "task 2: {} in the linear layers; is the embedding tied: {}",
        format.linear.name,
        architecture.tied
    )
}

/// Task 2. The bytes of weights that a step of decode reads, whatever the batch. The head is read,
/// because the step multiplies with the head. An embedding that is stored apart from the head is
/// not counted, because a step looks up only one row of the embedding for each token.
///
/// # Errors
/// As [`linear_bytes`].
pub fn step_weight_bytes(
    architecture: &Architecture,
    format: &ModelFormat,
) -> Result<u64, CostError> {
    todo!("task 2: what one step of {} layers in {} reads", architecture.layers, format.linear.name)
}

/// Task 3. The bytes of KV cache that one token of one sequence takes: a key and a value for each
/// key-value head of each layer, in `kv`. A last part of a byte counts as a whole one.
///
/// # Errors
/// [`CostError::Architecture`] if the sizes are not those of a model.
pub fn kv_bytes_per_token(architecture: &Architecture, kv: Grid) -> Result<u64, CostError> {
    todo!(
        "task 3: {} layers of {} key-value heads in {kv:?}",
        architecture.layers,
        architecture.kv_heads
    )
}

/// Task 3. The bytes that vLLM leaves to the KV cache on a device of `memory_bytes`:
/// `ceil(memory_bytes * utilization)` minus `taken_bytes`, which are weights and workspace.
///
/// # Errors
/// [`CostError::Zero`] if `memory_bytes` is 0, [`CostError::Utilization`] if the share is not above
/// 0 and at most 1, [`CostError::NoRoom`] if `taken_bytes` are more than the engine may use.
pub fn kv_available_bytes(
    memory_bytes: u64,
    utilization: f64,
    taken_bytes: u64,
) -> Result<u64, CostError> {
    todo!("task 3: ceil({memory_bytes} * {utilization}), minus {taken_bytes}")
}

/// Task 3. The whole blocks of `block_tokens` tokens that fit into `available_bytes`.
///
/// # Errors
/// [`CostError::Zero`] if a block has no tokens or a token no bytes, [`CostError::TooLarge`] if the
/// bytes of a block do not fit into 64 bits.
pub fn kv_blocks(
    available_bytes: u64,
    block_tokens: u64,
    kv_bytes_per_token: u64,
) -> Result<u64, CostError> {
    todo!(
        "task 3: whole blocks of {block_tokens} * {kv_bytes_per_token} bytes in {available_bytes}"
    )
}

/// Task 3. The tokens that fit into `blocks` blocks of `block_tokens` tokens.
///
/// # Errors
/// [`CostError::Zero`] if a block has no tokens, [`CostError::TooLarge`] if the number of tokens
/// does not fit into 64 bits.
pub fn kv_tokens(blocks: u64, block_tokens: u64) -> Result<u64, CostError> {
    todo!("task 3: the tokens of {blocks} blocks of {block_tokens}")
}

/// Task 3. How many sequences of `context_tokens` tokens fit into `blocks` blocks at once. A
/// sequence takes whole blocks, because no other sequence may use the rest of its last block.
///
/// # Errors
/// [`CostError::Zero`] if a block or the context has no tokens.
pub fn concurrency(blocks: u64, block_tokens: u64, context_tokens: u64) -> Result<f64, CostError> {
    todo!("task 3: {blocks} blocks, whole blocks of {block_tokens} for {context_tokens} tokens")
}

/// Task 4. The operations per second of `device` in a product of weights and activations in
/// `format`.
///
/// Two quantized operands multiply at the rate of the activations' grid, because narrower weights
/// are widened to that grid. If one operand is not quantized, the other is widened to 16 bits or
/// `f32`, and the rate is that of 16 bits or `f32`. An operand in `f32` also widens one in 16 bits.
/// Integers of up to 8 bits use the int8 unit.
///
/// # Errors
/// [`CostError::NoRate`] if the device has no rate for that grid, [`CostError::NotPositive`] if the
/// rate is not above 0 and finite.
pub fn operations_per_s(device: &Device, format: &Format) -> Result<f64, CostError> {
    todo!(
        "task 4: the rate in {:?} of {:?} times {:?}",
        device.operations_per_s,
        format.weights,
        format.activations
    )
}

/// Task 4. The roofline bound of a step in seconds. Memory traffic and arithmetic overlap, so the
/// bound is the larger of the two times.
///
/// # Errors
/// [`CostError::NotPositive`] if a time is negative, NaN or infinite, or both are 0.
pub fn bound_s(roofline: Roofline) -> Result<f64, CostError> {
    todo!("task 4: the larger of {roofline:?}, after a check of both")
}

/// Task 4. The two bounds of one step of decode: each of `batch` sequences, of `context_tokens`
/// tokens each, gets one more token.
///
/// A step reads the weights ([`step_weight_bytes`]) once, and the KV cache of each sequence. Its
/// arithmetic is two operations for each weight and sequence, where linear layers run at the rate
/// of their format and the head at the rate of its own format. The arithmetic of attention is left
/// out, so no engine can be faster.
///
/// # Errors
/// Those of [`step_weight_bytes`] and [`operations_per_s`], [`CostError::Zero`] if there is no
/// sequence, [`CostError::NotPositive`] if the bandwidth is not above 0 and finite.
pub fn decode_roofline(
    served: &Served,
    device: &Device,
    batch: u64,
    context_tokens: u64,
) -> Result<Roofline, CostError> {
    todo!(
        "task 4: {} for {batch} sequences of {context_tokens} tokens at {} bytes per second",
        served.format.linear.name,
        device.bytes_per_s
    )
}

/// Task 4. The roofline bound of decode in tokens per second, of all `batch` sequences together.
///
/// # Errors
/// As [`decode_roofline`].
pub fn decode_tokens_per_s(
    served: &Served,
    device: &Device,
    batch: u64,
    context_tokens: u64,
) -> Result<f64, CostError> {
    todo!(
        "task 4: {batch} tokens over the bound of a step: {} at {context_tokens} tokens, {device:?}",
        served.format.linear.name
    )
}

/// Task 5. The two bounds of the prefill of a prompt of `prompt_tokens` tokens in one step.
///
/// Prefill reads the linear layers once. Its arithmetic is two operations for each weight and
/// token, at the rate of the weights' format, and attention at the rate of 16 bits. A token at
/// position `p` (from 1) multiplies its query with `p` keys and weighs `p` values, in each query head
/// of each layer. The head is left out, because the head runs for the last token alone.
///
/// # Errors
/// Those of [`linear_bytes`] and [`operations_per_s`], [`CostError::Zero`] if there is no token,
/// [`CostError::NotPositive`] if the bandwidth is not above 0 and finite.
pub fn prefill_roofline(
    served: &Served,
    device: &Device,
    prompt_tokens: u64,
) -> Result<Roofline, CostError> {
    todo!(
        "task 5: {} for a prompt of {prompt_tokens} tokens on {device:?}",
        served.format.linear.name
    )
}

/// Task 5. The roofline bound of the prefill of a prompt of `prompt_tokens` tokens, in tokens per
/// second.
///
/// # Errors
/// As [`prefill_roofline`].
pub fn prefill_tokens_per_s(
    served: &Served,
    device: &Device,
    prompt_tokens: u64,
) -> Result<f64, CostError> {
    todo!(
        "task 5: {prompt_tokens} tokens over the bound of prefill: {} on {device:?}",
        served.format.linear.name
    )
}

/// Task 5. The batch at which both bounds of a step of decode are equal. Memory bounds a smaller
/// batch, and arithmetic a larger one. The number need not be whole.
///
/// `None` if there is no such batch, because a further sequence adds at least as much time for the
/// traffic of its KV cache as for its arithmetic.
///
/// # Errors
/// As [`decode_roofline`].
pub fn crossover_batch(
    served: &Served,
    device: &Device,
    context_tokens: u64,
) -> Result<Option<f64>, CostError> {
    todo!(
        "task 5: where the bounds of decode meet: {} at {context_tokens} tokens on {device:?}",
        served.format.linear.name
    )
}
