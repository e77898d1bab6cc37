//! The reference. Written to be read: the chapter shows it piece by piece.

use formats::architecture::Architecture;
use formats::device::Device;
use formats::format::Group;
use formats::format::{Format, Grid};

use crate::{CostError, ModelFormat, Roofline, Served};

// ANCHOR: units
/// The bytes in `gigabytes` GB of a data sheet: a GB is 10⁹ bytes. Rounded to the nearest byte.
///
/// # Errors
/// [`CostError::NotASize`] if `gigabytes` is negative, NaN, or more than 64 bits of bytes.
pub fn bytes_from_gb(gigabytes: f64) -> Result<u64, CostError> {
    whole_bytes(gigabytes, 1e9)
}

/// The bytes in `gibibytes` GiB of an engine's flag or log: a GiB is 2³⁰ bytes. Rounded to the
/// nearest byte.
///
/// # Errors
/// [`CostError::NotASize`] if `gibibytes` is negative, NaN, or more than 64 bits of bytes.
pub fn bytes_from_gib(gibibytes: f64) -> Result<u64, CostError> {
    whole_bytes(gibibytes, f64::from(1 << 30))
}

fn whole_bytes(amount: f64, unit_bytes: f64) -> Result<u64, CostError> {
    let bytes = (amount * unit_bytes).round();
    // 2⁶⁴ is the first that does not fit, and the largest u64 is no f64.
    let fits = (0.0..2f64.powi(64)).contains(&bytes) && amount >= 0.0;
    if fits { Ok(bytes as u64) } else { Err(CostError::NotASize(amount)) }
}
// ANCHOR_END: units

// ANCHOR: matrix_bytes
/// The bytes of a matrix, `[out_features, in_features]`, in `format`: its codes and all that is
/// stored beside them (scales, zero points), each rounded up to whole bytes.
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
    not_zero("out_features", out_features)?;
    not_zero("in_features", in_features)?;
    let mut bytes = packed(out_features, in_features, format.weights.bits())?;
    for shared in format.shared.iter() {
        let [rows, columns] = sharers(out_features, in_features, shared.among)?;
        let more = packed(rows, columns, shared.bits)?;
        bytes = bytes.checked_add(more).ok_or(CostError::TooLarge("bytes of a matrix"))?;
    }
    Ok(bytes)
}

/// How many of something shared `[out_features, in_features]` has: rows and columns of them.
fn sharers(out_features: u64, in_features: u64, among: Group) -> Result<[u64; 2], CostError> {
    if let Group::Size(group_size) = among {
        not_zero("the group size", group_size)?;
        if !in_features.is_multiple_of(group_size) {
            return Err(CostError::Indivisible { in_features, group_size });
        }
    }
    if let Group::Block(rows, columns) = among {
        not_zero("the rows of a block", rows)?;
        not_zero("the columns of a block", columns)?;
    }
    among.grid(out_features, in_features).ok_or(CostError::UnreadGroup)
}

/// Bytes of `rows * columns` numbers of `bits` bits, without gaps.
fn packed(rows: u64, columns: u64, bits: u32) -> Result<u64, CostError> {
    let count = rows.checked_mul(columns);
    let bits = count.and_then(|count| count.checked_mul(bits.into()));
    Ok(bits.ok_or(CostError::TooLarge("bits of a matrix"))?.div_ceil(8))
}
// ANCHOR_END: matrix_bytes

// ANCHOR: bits_per_weight
/// The bits that each of `weights` weights takes when together they take `bytes` bytes.
///
/// # Errors
/// [`CostError::Zero`] without a weight.
pub fn bits_per_weight(bytes: u64, weights: u64) -> Result<f64, CostError> {
    not_zero("the number of weights", weights)?;
    Ok(8.0 * bytes as f64 / weights as f64)
}
// ANCHOR_END: bits_per_weight

// ANCHOR: model_bytes
/// The bytes of all linear layers inside the blocks, in `format`.
///
/// # Errors
/// Those of [`matrix_bytes`], and [`CostError::Architecture`] if the sizes are those of no model.
pub fn linear_bytes(architecture: &Architecture, format: &Format) -> Result<u64, CostError> {
    architecture.check()?;
    let mut layer_bytes: u64 = 0;
    for [out_features, in_features] in architecture.layer_matrices() {
        let more = matrix_bytes(out_features, in_features, format)?;
        layer_bytes = add(layer_bytes, more)?;
    }
    multiply(architecture.layers, layer_bytes)
}

/// The bytes of all weights of a model: linear layers, embedding and head, norms and biases, each in
/// its own format. A tied embedding and head are stored once.
///
/// # Errors
/// As [`linear_bytes`].
pub fn model_bytes(architecture: &Architecture, format: &ModelFormat) -> Result<u64, CostError> {
    let rest = outside_tables_bytes(architecture, format)?;
    let tables = if architecture.tied { 1 } else { 2 };
    add(rest, multiply(tables, table_bytes(architecture, format)?)?)
}

/// The bytes of weights that a step of decode reads, for however many sequences: all but an
/// embedding that is stored apart from the head. Of that it looks up a row for each token, which is
/// not counted; the head is multiplied with, so it is read.
///
/// # Errors
/// As [`linear_bytes`].
pub fn step_weight_bytes(
    architecture: &Architecture,
    format: &ModelFormat,
) -> Result<u64, CostError> {
    add(outside_tables_bytes(architecture, format)?, table_bytes(architecture, format)?)
}

/// Linear layers, norms and biases.
fn outside_tables_bytes(
    architecture: &Architecture,
    format: &ModelFormat,
) -> Result<u64, CostError> {
    let linear = linear_bytes(architecture, &format.linear)?;
    add(linear, packed(architecture.vector_weights(), 1, format.vectors.bits())?)
}

/// The embedding, or the head: `[vocabulary, hidden]`.
fn table_bytes(architecture: &Architecture, format: &ModelFormat) -> Result<u64, CostError> {
    matrix_bytes(architecture.vocabulary, architecture.hidden, &format.embedding)
}
// ANCHOR_END: model_bytes

// ANCHOR: kv_bytes_per_token
/// The bytes of KV cache that one token of one sequence takes: a key and a value for each key-value
/// head of each layer, in `kv`.
///
/// # Errors
/// [`CostError::Architecture`] if the sizes are those of no model.
pub fn kv_bytes_per_token(architecture: &Architecture, kv: Grid) -> Result<u64, CostError> {
    architecture.check()?;
    let numbers = 2 * architecture.layers * architecture.kv_heads * architecture.head_dim;
    packed(numbers, 1, kv.bits())
}
// ANCHOR_END: kv_bytes_per_token

// ANCHOR: kv_blocks
/// The bytes that vLLM leaves to the KV cache on a device of `memory_bytes`: `ceil(memory_bytes *
/// utilization)` less what is taken, which is weights and workspace.
///
/// # Errors
/// [`CostError::Zero`] without memory, [`CostError::Utilization`] if the share is not above 0 and at
/// most 1, [`CostError::NoRoom`] if more is taken than may be used.
pub fn kv_available_bytes(
    memory_bytes: u64,
    utilization: f64,
    taken_bytes: u64,
) -> Result<u64, CostError> {
    not_zero("the device's memory", memory_bytes)?;
    if !(utilization > 0.0 && utilization <= 1.0) {
        return Err(CostError::Utilization(utilization));
    }
    let requested_bytes = (memory_bytes as f64 * utilization).ceil() as u64;
    let left = requested_bytes.checked_sub(taken_bytes);
    left.ok_or(CostError::NoRoom { requested_bytes, taken_bytes })
}

/// The whole blocks of `block_tokens` tokens that fit into `available_bytes`.
///
/// # Errors
/// [`CostError::Zero`] if a block or a token takes nothing, [`CostError::TooLarge`] if a block is
/// more than 64 bits of bytes.
pub fn kv_blocks(
    available_bytes: u64,
    block_tokens: u64,
    kv_bytes_per_token: u64,
) -> Result<u64, CostError> {
    not_zero("the tokens of a block", block_tokens)?;
    not_zero("the KV bytes of a token", kv_bytes_per_token)?;
    Ok(available_bytes / multiply(block_tokens, kv_bytes_per_token)?)
}

/// The tokens that fit into `blocks` blocks of `block_tokens` tokens.
///
/// # Errors
/// [`CostError::Zero`] if a block has no tokens, [`CostError::TooLarge`] if they are more than 64
/// bits can count.
pub fn kv_tokens(blocks: u64, block_tokens: u64) -> Result<u64, CostError> {
    not_zero("the tokens of a block", block_tokens)?;
    multiply(blocks, block_tokens)
}

/// How many sequences of `context_tokens` tokens fit into `blocks` blocks at once. A sequence takes
/// whole blocks: its last one may be partly empty and is nobody else's.
///
/// # Errors
/// [`CostError::Zero`] if a block or the context has no tokens.
pub fn concurrency(blocks: u64, block_tokens: u64, context_tokens: u64) -> Result<f64, CostError> {
    not_zero("the tokens of a block", block_tokens)?;
    not_zero("the context", context_tokens)?;
    Ok(blocks as f64 / context_tokens.div_ceil(block_tokens) as f64)
}
// ANCHOR_END: kv_blocks

// ANCHOR: operations_per_s
/// The operations per second of `device` in a product of weights and activations in `format`.
///
/// Two quantized operands multiply at the rate of the activations' grid (weights that are narrower
/// are widened to it). Where one is not quantized, the other is widened to 16 bits or `f32`, and
/// that rate counts. Integers of up to 8 bits go through the int8 unit.
///
/// # Errors
/// [`CostError::NoRate`] if the device has no rate for that grid, [`CostError::NotPositive`] if it
/// is no rate.
pub fn operations_per_s(device: &Device, format: &Format) -> Result<f64, CostError> {
    let rates = device.operations_per_s;
    let grids = [format.weights, format.activations];
    let (grid, rate) = if grids.contains(&Grid::F32) {
        (Grid::F32, rates.f32)
    } else if grids.contains(&Grid::Sixteen) {
        (Grid::Sixteen, rates.sixteen)
    } else {
        let rate = match format.activations {
            Grid::E4M3 => rates.fp8,
            Grid::E2M1 => rates.fp4,
            Grid::Int(..=8) => rates.int8,
            _ => None,
        };
        (format.activations, rate)
    };
    positive("operations per second", rate.ok_or(CostError::NoRate(grid))?)
}
// ANCHOR_END: operations_per_s

// ANCHOR: bound_s
/// The roofline bound of a step in seconds. Memory traffic and arithmetic overlap, so the bound
/// is the larger of the two times.
///
/// # Errors
/// [`CostError::NotPositive`] if a time is negative, NaN or infinite, or both are 0.
pub fn bound_s(roofline: Roofline) -> Result<f64, CostError> {
    for (what, value) in [
        ("seconds of reading", roofline.memory_s),
        ("seconds of arithmetic", roofline.arithmetic_s),
    ] {
        if value != 0.0 {
            positive(what, value)?;
        }
    }
    positive("seconds of a step", roofline.memory_s.max(roofline.arithmetic_s))
}
// ANCHOR_END: bound_s

// ANCHOR: decode
/// The two bounds of one step of decode: each of `batch` sequences, of `context_tokens` tokens each,
/// gets one more token.
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
    not_zero("the batch", batch)?;
    let weights = step_weight_bytes(&served.architecture, &served.format)?;
    let kv = kv_bytes_per_token(&served.architecture, served.kv)?;
    let bytes = weights as f64 + batch as f64 * context_tokens as f64 * kv as f64;
    Ok(Roofline {
        memory_s: bytes / positive("bytes per second", device.bytes_per_s)?,
        arithmetic_s: batch as f64 * token_arithmetic_s(served, device)?,
    })
}

/// Seconds of arithmetic that one token of decode takes, head included.
fn token_arithmetic_s(served: &Served, device: &Device) -> Result<f64, CostError> {
    let Served { architecture, format, .. } = served;
    let head = (architecture.vocabulary * architecture.hidden) as f64;
    let linear = architecture.linear_weights() as f64;
    Ok(2.0 * linear / operations_per_s(device, &format.linear)?
        + 2.0 * head / operations_per_s(device, &format.embedding)?)
}

/// The most tokens per second of decode, all `batch` sequences together.
///
/// # Errors
/// As [`decode_roofline`].
pub fn decode_tokens_per_s(
    served: &Served,
    device: &Device,
    batch: u64,
    context_tokens: u64,
) -> Result<f64, CostError> {
    Ok(batch as f64 / bound_s(decode_roofline(served, device, batch, context_tokens)?)?)
}
// ANCHOR_END: decode

// ANCHOR: prefill
/// The two bounds of prefill of a prompt of `prompt_tokens` tokens in one step.
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
    not_zero("the prompt", prompt_tokens)?;
    let Served { architecture, format, .. } = served;
    let bytes = linear_bytes(architecture, &format.linear)? as f64;
    let tokens = prompt_tokens as f64;
    let linear = 2.0 * architecture.linear_weights() as f64 * tokens;
    let heads = (architecture.layers * architecture.heads * architecture.head_dim) as f64;
    let attention = 4.0 * heads * tokens * (tokens + 1.0) / 2.0;
    Ok(Roofline {
        memory_s: bytes / positive("bytes per second", device.bytes_per_s)?,
        arithmetic_s: linear / operations_per_s(device, &format.linear)?
            + attention / operations_per_s(device, &Format::BF16)?,
    })
}

/// The most tokens per second of reading a prompt of `prompt_tokens` tokens.
///
/// # Errors
/// As [`prefill_roofline`].
pub fn prefill_tokens_per_s(
    served: &Served,
    device: &Device,
    prompt_tokens: u64,
) -> Result<f64, CostError> {
    Ok(prompt_tokens as f64 / bound_s(prefill_roofline(served, device, prompt_tokens)?)?)
}
// ANCHOR_END: prefill

// ANCHOR: crossover_batch
/// The batch at which a step of decode takes as long to compute as to read: below it memory binds,
/// above it arithmetic. It need not be whole.
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
    let one = decode_roofline(served, device, 1, 0)?;
    let kv = kv_bytes_per_token(&served.architecture, served.kv)?;
    let kv_s = context_tokens as f64 * kv as f64 / device.bytes_per_s;
    let gain_s = one.arithmetic_s - kv_s;
    Ok((gain_s > 0.0).then(|| one.memory_s / gain_s))
}
// ANCHOR_END: crossover_batch

fn not_zero(what: &'static str, value: u64) -> Result<(), CostError> {
    if value == 0 { Err(CostError::Zero(what)) } else { Ok(()) }
}

fn positive(what: &'static str, value: f64) -> Result<f64, CostError> {
    let is_positive = value > 0.0 && value.is_finite();
    if is_positive { Ok(value) } else { Err(CostError::NotPositive { what, value }) }
}

fn add(a: u64, b: u64) -> Result<u64, CostError> {
    a.checked_add(b).ok_or(CostError::TooLarge("bytes of the weights"))
}

fn multiply(a: u64, b: u64) -> Result<u64, CostError> {
    a.checked_mul(b).ok_or(CostError::TooLarge("bytes or tokens"))
}
