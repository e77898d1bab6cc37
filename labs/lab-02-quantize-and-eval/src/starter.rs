//! Your file. The signatures and their promises are here; the bodies are yours.
//!
//! Grade it with `cargo book grade lab-02`, or `LAB_IMPL=starter cargo test -p
//! lab-02-quantize-and-eval --test spec`. On the untouched file every test of the spec fails: that is
//! the starting line, not a broken set-up.

use formats::architecture::Architecture;
use formats::device::Device;
use formats::format::{Format, Grid};

use crate::{CostError, ModelFormat, Roofline, Served};

/// Task 1. The bytes in `gigabytes` GB of a data sheet: a GB is 10⁹ bytes. Rounded to the nearest
/// byte.
///
/// # Errors
/// [`CostError::NotASize`] if `gigabytes` is negative, NaN, or more than 64 bits of bytes.
pub fn bytes_from_gb(gigabytes: f64) -> Result<u64, CostError> {
    todo!("task 1: {gigabytes} GB of 10⁹ bytes, rounded; refuse what is no size")
}

/// Task 1. The bytes in `gibibytes` GiB of an engine's flag or log: a GiB is 2³⁰ bytes. Rounded to
/// the nearest byte.
///
/// # Errors
/// [`CostError::NotASize`] if `gibibytes` is negative, NaN, or more than 64 bits of bytes.
pub fn bytes_from_gib(gibibytes: f64) -> Result<u64, CostError> {
    todo!("task 1: {gibibytes} GiB of 2³⁰ bytes, rounded; refuse what is no size")
}

/// Task 1. The bytes of a matrix, `[out_features, in_features]`, in `format`: its codes and all
/// that is stored beside them (scales, zero points), each rounded up to whole bytes.
///
/// # Errors
/// [`CostError::Zero`] if a size, a group or a block is 0, [`CostError::Indivisible`] if groups do
/// not tile a row (a block may be cut off at the edge: its scale is stored all the same),
/// [`CostError::UnreadGroup`] if the format does not say who shares, [`CostError::TooLarge`] if the
/// bits are more than 64 bits can count.
pub fn matrix_bytes(
    out_features: u64,
    in_features: u64,
    format: &Format,
) -> Result<u64, CostError> {
    todo!(
        "task 1: {out_features} x {in_features} codes of {} bits, and what is stored beside them",
        format.weights.bits()
    )
}

/// Task 1. The bits that each of `weights` weights takes when together they take `bytes` bytes.
///
/// # Errors
/// [`CostError::Zero`] without a weight.
pub fn bits_per_weight(bytes: u64, weights: u64) -> Result<f64, CostError> {
    todo!("task 1: the bits of {bytes} bytes for each of {weights} weights")
}

/// Task 2. The bytes of all linear layers inside the blocks, in `format`.
///
/// # Errors
/// Those of [`matrix_bytes`], and [`CostError::Architecture`] if the sizes are those of no model.
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

/// Task 2. The bytes of weights that a step of decode reads, for however many sequences: all but an
/// embedding that is stored apart from the head. Of that it looks up a row for each token, which is
/// not counted; the head is multiplied with, so it is read.
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
/// key-value head of each layer, in `kv`.
///
/// # Errors
/// [`CostError::Architecture`] if the sizes are those of no model.
pub fn kv_bytes_per_token(architecture: &Architecture, kv: Grid) -> Result<u64, CostError> {
    todo!(
        "task 3: {} layers of {} key-value heads in {kv:?}",
        architecture.layers,
        architecture.kv_heads
    )
}

/// Task 3. The bytes that vLLM leaves to the KV cache on a device of `memory_bytes`:
/// `ceil(memory_bytes * utilization)` less what is taken, which is weights and workspace.
///
/// # Errors
/// [`CostError::Zero`] without memory, [`CostError::Utilization`] if the share is not above 0 and
/// at most 1, [`CostError::NoRoom`] if more is taken than may be used.
pub fn kv_available_bytes(
    memory_bytes: u64,
    utilization: f64,
    taken_bytes: u64,
) -> Result<u64, CostError> {
    todo!("task 3: ceil({memory_bytes} * {utilization}), less {taken_bytes}")
}

/// Task 3. The whole blocks of `block_tokens` tokens that fit into `available_bytes`.
///
/// # Errors
/// [`CostError::Zero`] if a block or a token takes nothing, [`CostError::TooLarge`] if a block is
/// more than 64 bits of bytes.
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
/// [`CostError::Zero`] if a block has no tokens, [`CostError::TooLarge`] if they are more than 64
/// bits can count.
pub fn kv_tokens(blocks: u64, block_tokens: u64) -> Result<u64, CostError> {
    todo!("task 3: the tokens of {blocks} blocks of {block_tokens}")
}

/// Task 3. How many sequences of `context_tokens` tokens fit into `blocks` blocks at once. A
/// sequence takes whole blocks: its last one may be partly empty and is nobody else's.
///
/// # Errors
/// [`CostError::Zero`] if a block or the context has no tokens.
pub fn concurrency(blocks: u64, block_tokens: u64, context_tokens: u64) -> Result<f64, CostError> {
    todo!("task 3: {blocks} blocks, whole blocks of {block_tokens} for {context_tokens} tokens")
}

/// Task 4. The operations per second of `device` in a product of weights and activations in
/// `format`.
///
/// Two quantized operands multiply at the rate of the activations' grid (weights that are narrower
/// are widened to it). Where one is not quantized, the other is widened to 16 bits or `f32`, and
/// that rate counts. Integers of up to 8 bits go through the int8 unit.
///
/// # Errors
/// [`CostError::NoRate`] if the device has no rate for that grid, [`CostError::NotPositive`] if it
/// is no rate.
pub fn operations_per_s(device: &Device, format: &Format) -> Result<f64, CostError> {
    todo!(
        "task 4: the rate in {:?} of {:?} times {:?}",
        device.operations_per_s,
        format.weights,
        format.activations
    )
}

/// Task 4. The roofline bound of a step in seconds. Memory traffic and arithmetic overlap, so the bound
/// is the larger of the two times.
///
/// # Errors
/// [`CostError::NotPositive`] if a time is negative, NaN or infinite, or both are 0.
pub fn bound_s(roofline: Roofline) -> Result<f64, CostError> {
    todo!("task 4: the time that neither of {roofline:?} undercuts")
}

/// Task 4. The two bounds of one step of decode: each of `batch` sequences, of `context_tokens` tokens
/// each, gets one more token.
///
/// Read are the weights ([`step_weight_bytes`]) once, and the KV cache of each sequence. Arithmetic
/// is two operations for each weight and sequence: linear layers at the rate of their format, the
/// head at the rate of its own. Attention's arithmetic is left out, so this is a ceiling still.
///
/// # Errors
/// Those of [`step_weight_bytes`] and [`operations_per_s`], [`CostError::Zero`] without a sequence,
/// [`CostError::NotPositive`] if the bandwidth is none.
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

/// Task 4. The most tokens per second of decode, all `batch` sequences together.
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
        "task 4: {batch} tokens over the shortest step: {} at {context_tokens} tokens, {device:?}",
        served.format.linear.name
    )
}

/// Task 5. The two bounds of prefill of a prompt of `prompt_tokens` tokens in one step.
///
/// Read are the linear layers, once. Arithmetic is two operations for each of their weights and
/// token, at the rate of their format, and attention's in 16 bits: a token at position `p` (from 1)
/// multiplies its query with `p` keys and weighs `p` values, which is `4 * p * head_dim` operations
/// for each query head of each layer. The head runs for the last token alone and is left out.
///
/// # Errors
/// Those of [`linear_bytes`] and [`operations_per_s`], [`CostError::Zero`] without a token,
/// [`CostError::NotPositive`] if the bandwidth is none.
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

/// Task 5. The most tokens per second of reading a prompt of `prompt_tokens` tokens.
///
/// # Errors
/// As [`prefill_roofline`].
pub fn prefill_tokens_per_s(
    served: &Served,
    device: &Device,
    prompt_tokens: u64,
) -> Result<f64, CostError> {
    todo!(
        "task 5: {prompt_tokens} tokens over the shortest time: {} on {device:?}",
        served.format.linear.name
    )
}

/// Task 5. The batch at which a step of decode takes as long to compute as to read: below it memory
/// binds, above it arithmetic. It need not be whole.
///
/// `None` if there is none: where reading a sequence's KV cache takes as long as its arithmetic or
/// longer, a larger batch brings arithmetic no nearer.
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
