//! The reference, which the chapter shows piece by piece.

use formats::architecture::Architecture;
use formats::device::Device;
use formats::format::{Format, Grid, Group};

use crate::{CostError, ModelFormat, Roofline, Served};

// ANCHOR: units
/// The bytes in `gigabytes` GB of a data sheet, rounded to the nearest byte. A GB is 10⁹ bytes.
///
/// # Errors
/// [`CostError::NotASize`] if `gigabytes` is negative, NaN, or more than 64 bits of bytes.
pub fn bytes_from_gb(gigabytes: f64) -> Result<u64, CostError> {
    whole_bytes(gigabytes, 1e9)
}

/// The bytes in `gibibytes` GiB of an engine's flag or log, rounded to the nearest byte. A GiB is
/// 2³⁰ bytes.
///
/// # Errors
/// [`CostError::NotASize`] if `gibibytes` is negative, NaN, or more than 64 bits of bytes.
pub fn bytes_from_gib(gibibytes: f64) -> Result<u64, CostError> {
    whole_bytes(gibibytes, f64::from(1 << 30))
}

fn whole_bytes(amount: f64, unit_bytes: f64) -> Result<u64, CostError> {
    let bytes = (amount * unit_bytes).round();
    // The limit is 2⁶⁴, because `u64::MAX` has no f64. The amount is compared too, because a small
    // negative amount rounds to -0, which the range contains.
    let fits = (0.0..2f64.powi(64)).contains(&bytes) && amount >= 0.0;
    if fits { Ok(bytes as u64) } else { Err(CostError::NotASize(amount)) }
}
// ANCHOR_END: units

// ANCHOR: matrix_bytes
/// The bytes of a matrix, `[out_features, in_features]`, in `format`: the codes, and the overhead
/// of scales and zero points. Each of these is rounded up to whole bytes.
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
    not_zero("out_features", out_features)?;
    not_zero("in_features", in_features)?;
    let mut bytes = packed(out_features, in_features, format.weights.bits())?;
    for part in format.overhead.iter() {
        let [rows, columns] = scale_grid(out_features, in_features, part.per)?;
        let overhead = packed(rows, columns, part.bits)?;
        bytes = bytes.checked_add(overhead).ok_or(CostError::TooLarge("bytes of a matrix"))?;
    }
    Ok(bytes)
}

/// Rows and columns of the scales, or of the zero points, of a matrix
/// `[out_features, in_features]`.
fn scale_grid(
    out_features: u64,
    in_features: u64,
    granularity: Group,
) -> Result<[u64; 2], CostError> {
    // `Group::grid` rounds up, so groups that do not tile a row are refused before the call.
    if let Group::Size(group_size) = granularity {
        not_zero("the group size", group_size)?;
        if !in_features.is_multiple_of(group_size) {
            return Err(CostError::Indivisible { in_features, group_size });
        }
    }
    if let Group::Block(rows, columns) = granularity {
        not_zero("the rows of a block", rows)?;
        not_zero("the columns of a block", columns)?;
    }
    granularity.grid(out_features, in_features).ok_or(CostError::UnreadGroup)
}

/// Bytes of `rows * columns` numbers of `bits` bits, without gaps.
fn packed(rows: u64, columns: u64, bits: u32) -> Result<u64, CostError> {
    let count = rows.checked_mul(columns);
    let bits = count.and_then(|count| count.checked_mul(bits.into()));
    Ok(bits.ok_or(CostError::TooLarge("bits of a matrix"))?.div_ceil(8))
}
// ANCHOR_END: matrix_bytes

// ANCHOR: bits_per_weight
/// Bits per weight of `weights` weights that take `bytes` bytes together.
///
/// # Errors
/// [`CostError::Zero`] if there is no weight.
pub fn bits_per_weight(bytes: u64, weights: u64) -> Result<f64, CostError> {
    not_zero("the number of weights", weights)?;
    Ok(8.0 * bytes as f64 / weights as f64)
}
// ANCHOR_END: bits_per_weight

// ANCHOR: model_bytes
/// The bytes of all linear layers inside the blocks, in `format`.
///
/// # Errors
/// Those of [`matrix_bytes`], and [`CostError::Architecture`] if the sizes are not those of a
/// model.
pub fn linear_bytes(architecture: &Architecture, format: &Format) -> Result<u64, CostError> {
    architecture.check()?;
    let mut layer_bytes: u64 = 0;
    for [out_features, in_features] in architecture.layer_matrices() {
        let more = matrix_bytes(out_features, in_features, format)?;
        layer_bytes = add(layer_bytes, more)?;
    }
    multiply(architecture.layers, layer_bytes)
}

/// The bytes of all weights of a model: linear layers, embedding and head, norms and biases, each
/// in its own format. A tied embedding and head are stored once.
///
/// # Errors
/// As [`linear_bytes`].
pub fn model_bytes(architecture: &Architecture, format: &ModelFormat) -> Result<u64, CostError> {
    let rest = outside_tables_bytes(architecture, format)?;
    let tables = if architecture.tied { 1 } else { 2 };
    add(rest, multiply(tables, table_bytes(architecture, format)?)?)
}

/// The bytes of weights that a step of decode reads, whatever the batch. The head is read, because
/// the step multiplies with the head. An embedding that is stored apart from the head is not
/// counted, because a step looks up only one row of the embedding for each token.
///
/// # Errors
/// As [`linear_bytes`].
pub fn step_weight_bytes(
    architecture: &Architecture,
    format: &ModelFormat,
) -> Result<u64, CostError> {
    add(outside_tables_bytes(architecture, format)?, table_bytes(architecture, format)?)
}

/// The bytes of linear layers, norms and biases.
fn outside_tables_bytes(
    architecture: &Architecture,
    format: &ModelFormat,
) -> Result<u64, CostError> {
    let linear = linear_bytes(architecture, &format.linear)?;
    add(linear, packed(architecture.vector_weights(), 1, format.vectors.bits())?)
}

/// The bytes of the embedding, or of the head, `[vocabulary, hidden]`.
fn table_bytes(architecture: &Architecture, format: &ModelFormat) -> Result<u64, CostError> {
    matrix_bytes(architecture.vocabulary, architecture.hidden, &format.embedding)
}
// ANCHOR_END: model_bytes

// ANCHOR: kv_bytes_per_token
/// The bytes of KV cache that one token of one sequence takes: a key and a value for each key-value
/// head of each layer, in `kv`. A last part of a byte counts as a whole one.
///
/// # Errors
/// [`CostError::Architecture`] if the sizes are not those of a model.
pub fn kv_bytes_per_token(architecture: &Architecture, kv: Grid) -> Result<u64, CostError> {
    architecture.check()?;
    let numbers = 2 * architecture.layers * architecture.kv_heads * architecture.head_dim;
    packed(numbers, 1, kv.bits())
}
// ANCHOR_END: kv_bytes_per_token

// ANCHOR: kv_blocks
/// The bytes that vLLM leaves to the KV cache on a device of `memory_bytes`:
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
    not_zero("the device's memory", memory_bytes)?;
    if !(utilization > 0.0 && utilization <= 1.0) {
        return Err(CostError::Utilization(utilization));
    }
    let requested_bytes = (memory_bytes as f64 * utilization).ceil() as u64;
    // An error and not 0 bytes, because an engine without room for its weights does not start.
    let left = requested_bytes.checked_sub(taken_bytes);
    left.ok_or(CostError::NoRoom { requested_bytes, taken_bytes })
}

/// The whole blocks of `block_tokens` tokens that fit into `available_bytes`.
///
/// # Errors
/// [`CostError::Zero`] if a block has no tokens or a token no bytes, [`CostError::TooLarge`] if the
/// bytes of a block do not fit into 64 bits.
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
/// [`CostError::Zero`] if a block has no tokens, [`CostError::TooLarge`] if the number of tokens
/// does not fit into 64 bits.
pub fn kv_tokens(blocks: u64, block_tokens: u64) -> Result<u64, CostError> {
    not_zero("the tokens of a block", block_tokens)?;
    multiply(blocks, block_tokens)
}

/// How many sequences of `context_tokens` tokens fit into `blocks` blocks at once. A sequence takes
/// whole blocks, because no other sequence may use the rest of its last block.
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
/// Two quantized operands multiply at the rate of the activations' grid, because narrower weights
/// are widened to that grid. If one operand is not quantized, the other is widened to 16 bits or
/// `f32`, and the rate is that of 16 bits or `f32`. An operand in `f32` also widens one in 16 bits.
/// Integers of up to 8 bits use the int8 unit.
///
/// # Errors
/// [`CostError::NoRate`] if the device has no rate for that grid, [`CostError::NotPositive`] if the
/// rate is not above 0 and finite.
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
/// The roofline bound of a step in seconds. Memory traffic and arithmetic overlap, so the bound is
/// the larger of the two times.
///
/// # Errors
/// [`CostError::NotPositive`] if a time is negative, NaN or infinite, or both are 0.
pub fn bound_s(roofline: Roofline) -> Result<f64, CostError> {
    for (what, value) in [
        ("seconds of memory traffic", roofline.memory_s),
        ("seconds of arithmetic", roofline.arithmetic_s),
    ] {
        // Each time is checked before the comparison, because `f64::max` drops a NaN.
        if value != 0.0 {
            positive(what, value)?;
        }
    }
    positive("seconds of a step", roofline.memory_s.max(roofline.arithmetic_s))
}
// ANCHOR_END: bound_s

// ANCHOR: decode
/// The two bounds of one step of decode: each of `batch` sequences, of `context_tokens` tokens
/// each, gets one more token.
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

/// The roofline bound of decode in tokens per second, of all `batch` sequences together.
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
/// The two bounds of the prefill of a prompt of `prompt_tokens` tokens in one step.
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

/// The roofline bound of the prefill of a prompt of `prompt_tokens` tokens, in tokens per second.
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
/// The batch at which both bounds of a step of decode are equal. Memory bounds a smaller batch, and
/// arithmetic a larger one. The number need not be whole.
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
    // Both times are linear in the batch: `weights_s + batch * kv_s` and `batch * arithmetic_s`.
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
