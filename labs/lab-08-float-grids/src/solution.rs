//! The reference, which the chapter shows piece by piece.

use ndarray::{Array2, ArrayView1, s};

use crate::{
    Blocks, DOUBLE_BLOCK, DoubleScales, E2M1, E4M3, FloatError, FloatGrid, MX_BLOCK, NF4_OFFSET,
    NVFP4_BLOCK, NibbleOrder, ScaleRule, Specials, TableBlocks, check_finite, check_matrix,
    linspace, normal_quantile, power_of_two,
};

// ANCHOR: decode
/// The value of a code. Bits of `code` above those of the grid are ignored.
pub fn decode(grid: &FloatGrid, code: u8) -> f32 {
    let magnitude = code & grid.magnitude_bits();
    let sign = if code & grid.sign_bit() == 0 { 1.0 } else { -1.0 };
    if magnitude > largest_code(grid) {
        let is_infinite = grid.specials == Specials::Ieee && magnitude == largest_code(grid) + 1;
        return if is_infinite { sign * f32::INFINITY } else { f32::NAN };
    }
    let exponent = i32::from(magnitude >> grid.fraction_bits);
    let fraction = magnitude & ((1 << grid.fraction_bits) - 1);
    // A subnormal value has the exponent of the smallest normal ones, and no leading 1.
    let leading = if exponent == 0 { 0 } else { 1 << grid.fraction_bits };
    let step = power_of_two(exponent.max(1) - grid.bias - grid.fraction_bits as i32);
    sign * f32::from(leading + fraction) * step
}

/// The code of the largest finite value.
fn largest_code(grid: &FloatGrid) -> u8 {
    match grid.specials {
        Specials::None => grid.magnitude_bits(),
        Specials::OneNan => grid.magnitude_bits() - 1,
        // The codes of the last exponent are infinity and NaN.
        Specials::Ieee => grid.magnitude_bits() - (1 << grid.fraction_bits),
    }
}

/// The largest finite value of a grid.
pub fn largest(grid: &FloatGrid) -> f32 {
    decode(grid, largest_code(grid))
}
// ANCHOR_END: decode

// ANCHOR: encode
/// `floor(log2(value))` of a positive, finite value, exact. Subnormal values of `f32` included.
pub fn floor_log2(value: f32) -> i32 {
    let bits = value.to_bits();
    match (bits >> 23) as i32 {
        // The highest bit of a subnormal is its exponent, above 2^-149.
        0 => 31 - bits.leading_zeros() as i32 - 149,
        field => field - 127,
    }
}

/// The code nearest to `value`. A tie goes to the even code, and a magnitude beyond the largest value,
/// infinity too, to the largest value. The sign is kept, also that of a zero.
///
/// NaN is the code whose exponent and fraction are all ones. On a grid without NaN that is the largest
/// value, so a caller that can meet NaN has to look for it first.
pub fn encode(grid: &FloatGrid, value: f32) -> u8 {
    let sign = if value.is_sign_negative() { grid.sign_bit() } else { 0 };
    if value.is_nan() {
        return sign | grid.magnitude_bits();
    }
    let magnitude = value.abs().min(largest(grid));
    // Below the smallest normal value the steps stay as they are there.
    let exponent = floor_log2(magnitude).max(1 - grid.bias);
    let steps = magnitude / power_of_two(exponent - grid.fraction_bits as i32);
    // Codes count the magnitudes in order. A normal value has 2^fraction_bits steps more than its
    // fraction says, which are one in the exponent field, so the field counts from 0. Steps that round
    // up to the next power of two run into the exponent field.
    let first = (exponent + grid.bias - 1) << grid.fraction_bits;
    sign | (first + steps.round_ties_even() as i32) as u8
}
// ANCHOR_END: encode

// ANCHOR: e8m0
/// The value of a code of E8M0: `2^(code - 127)`, and NaN for 255. There is no zero and no sign.
pub fn decode_e8m0(code: u8) -> f32 {
    if code == 255 { f32::NAN } else { power_of_two(i32::from(code) - 127) }
}

/// The E8M0 code of the scale of a block with the largest magnitude `absmax`, on `grid`, by `rule`.
///
/// Exponents beyond the ends become code 0 or 254. A block of zeros has code 0. `absmax` is finite and
/// not negative.
pub fn block_exponent(absmax: f32, grid: &FloatGrid, rule: ScaleRule) -> u8 {
    if absmax == 0.0 {
        return 0;
    }
    let emax = floor_log2(largest(grid));
    let exponent = match rule {
        ScaleRule::Floor => floor_log2(absmax) - emax,
        ScaleRule::CompressedTensors => floor_log2(rounded(absmax, E2M1.fraction_bits)) - emax,
        ScaleRule::Even => floor_log2(rounded(absmax, grid.fraction_bits)) - emax,
        ScaleRule::Ceil => ceil_log2(absmax) - emax,
        ScaleRule::NoClip => ceil_log2(absmax / largest(grid)),
    };
    (exponent + 127).clamp(0, 254) as u8
}

/// The next power of two if `value`, rounded half up to so many bits of fraction, reaches it; else a
/// number with the exponent of `value`.
fn rounded(value: f32, fraction_bits: u32) -> f32 {
    // The fraction of an f32 has 23 bits. Half of the last bit that is kept is added, and a carry runs
    // into the exponent.
    f32::from_bits(value.to_bits() + (1 << (23 - fraction_bits - 1)))
}

/// `ceil(log2(value))`, exact.
fn ceil_log2(value: f32) -> i32 {
    let floor = floor_log2(value);
    if value == power_of_two(floor) { floor } else { floor + 1 }
}
// ANCHOR_END: e8m0

// ANCHOR: mx
/// Quantizes `w`, `[out_features, in_features]`, to codes of `grid` in blocks of [`MX_BLOCK`], each with
/// an E8M0 scale by `rule`.
///
/// # Errors
/// [`FloatError::BlockDoesNotDivide`] if the rows are no whole blocks, [`FloatError::NotFinite`].
pub fn quantize_mx(
    w: &Array2<f32>,
    grid: &FloatGrid,
    rule: ScaleRule,
) -> Result<Blocks, FloatError> {
    check_matrix(w, MX_BLOCK)?;
    let scales = block_scales(w, MX_BLOCK, |absmax| block_exponent(absmax, grid, rule));
    let code = |(row, column): (usize, usize)| {
        encode(grid, w[(row, column)] / decode_e8m0(scales[(row, column / MX_BLOCK)]))
    };
    Blocks::new(Array2::from_shape_fn(w.dim(), code), scales)
}

/// A scale for each block of `w`, `[out_features, in_features / block]`, from its largest magnitude.
fn block_scales(w: &Array2<f32>, block: usize, scale: impl Fn(f32) -> u8) -> Array2<u8> {
    Array2::from_shape_fn((w.nrows(), w.ncols() / block), |(row, at)| {
        scale(absmax(w.slice(s![row, at * block..(at + 1) * block])))
    })
}

/// The largest magnitude of `values`, or 0 if there are none.
fn absmax(values: ArrayView1<f32>) -> f32 {
    values.iter().fold(0.0, |max: f32, value| max.max(value.abs()))
}

/// The numbers that MX codes of `grid` stand for: `[out_features, in_features]`.
pub fn dequantize_mx(blocks: &Blocks, grid: &FloatGrid) -> Array2<f32> {
    let size = blocks.block();
    Array2::from_shape_fn(blocks.codes().dim(), |(row, column)| {
        let scale = decode_e8m0(blocks.scales()[(row, column / size)]);
        decode(grid, blocks.codes()[(row, column)]) * scale
    })
}
// ANCHOR_END: mx

// ANCHOR: nvfp4
/// The global scale of a tensor with the largest magnitude `absmax`: `448 * 6 / absmax`, by which stored
/// scales are **divided**. 1 where that is not finite, as for a tensor of zeros.
///
/// torch computes a number over a tensor as the number times `1 / absmax`, in `f32`, and so does this.
pub fn nvfp4_global(absmax: f32) -> f32 {
    let scale = largest(&E4M3) * largest(&E2M1) * (1.0 / absmax);
    if scale.is_finite() { scale } else { 1.0 }
}

/// The E4M3 code of the scale of a block with the largest magnitude `absmax`: that of `absmax / 6 *
/// global`. Where it would be 0, it is code 1, the smallest scale.
pub fn nvfp4_scale(absmax: f32, global: f32) -> u8 {
    encode(&E4M3, absmax / largest(&E2M1) * global).max(1)
}

/// Quantizes `w`, `[out_features, in_features]`, to E2M1 in blocks of [`NVFP4_BLOCK`] with E4M3 scales
/// under the scale `global` of the tensor.
///
/// # Errors
/// [`FloatError::GlobalScale`] unless `global` is positive and finite, then
/// [`FloatError::BlockDoesNotDivide`] and [`FloatError::NotFinite`].
pub fn quantize_nvfp4(w: &Array2<f32>, global: f32) -> Result<Blocks, FloatError> {
    if !(global > 0.0 && global.is_finite()) {
        return Err(FloatError::GlobalScale(global));
    }
    check_matrix(w, NVFP4_BLOCK)?;
    let scales = block_scales(w, NVFP4_BLOCK, |absmax| nvfp4_scale(absmax, global));
    let code = |(row, column): (usize, usize)| {
        // The scale as it is stored, because a reader of the file multiplies by the stored one.
        let scale = decode(&E4M3, scales[(row, column / NVFP4_BLOCK)]) / global;
        encode(&E2M1, w[(row, column)] / scale)
    };
    Blocks::new(Array2::from_shape_fn(w.dim(), code), scales)
}

/// The numbers that NVFP4 codes stand for: each code times (the scale of its block divided by `global`).
/// `[out_features, in_features]`.
pub fn dequantize_nvfp4(blocks: &Blocks, global: f32) -> Array2<f32> {
    let size = blocks.block();
    Array2::from_shape_fn(blocks.codes().dim(), |(row, column)| {
        let scale = decode(&E4M3, blocks.scales()[(row, column / size)]) / global;
        decode(&E2M1, blocks.codes()[(row, column)]) * scale
    })
}
// ANCHOR_END: nvfp4

// ANCHOR: nibbles
/// Packs codes of four bits, two to a byte, in an order.
///
/// # Errors
/// [`FloatError::NotWhole`] if the codes are no whole bytes, or with [`NibbleOrder::Halves`] no whole
/// blocks of a positive, even size; [`FloatError::CodeOutOfRange`] with the first code above 15.
pub fn pack_nibbles(codes: &[u8], order: NibbleOrder) -> Result<Vec<u8>, FloatError> {
    let places = places(codes.len(), order)?;
    if let Some(index) = codes.iter().position(|&code| code > 15) {
        return Err(FloatError::CodeOutOfRange { index, code: codes[index] });
    }
    Ok(places.into_iter().map(|[low, high]| codes[low] | codes[high] << 4).collect())
}

/// The codes in `bytes`, each 0..=15, back in the order of the weights.
///
/// # Errors
/// [`FloatError::NotWhole`] as for [`pack_nibbles`], of two codes a byte.
pub fn unpack_nibbles(bytes: &[u8], order: NibbleOrder) -> Result<Vec<u8>, FloatError> {
    let mut codes = vec![0; 2 * bytes.len()];
    for (byte, [low, high]) in bytes.iter().zip(places(2 * bytes.len(), order)?) {
        (codes[low], codes[high]) = (byte & 0x0F, byte >> 4);
    }
    Ok(codes)
}

/// For each byte, which of `count` codes is in its low nibble and which in its high one.
fn places(count: usize, order: NibbleOrder) -> Result<Vec<[usize; 2]>, FloatError> {
    let block = if let NibbleOrder::Halves(block) = order { block } else { 2 };
    let is_whole = block > 0 && block.is_multiple_of(2) && count.is_multiple_of(block);
    if !is_whole {
        return Err(FloatError::NotWhole { codes: count, multiple: block });
    }
    let half = block / 2;
    let place = |byte: usize| {
        let first = byte / half * block + byte % half;
        if order == NibbleOrder::HighFirst { [first + half, first] } else { [first, first + half] }
    };
    Ok((0..count / 2).map(place).collect())
}

/// Bits that one weight costs: those of its code, and of each `(bits, weights)` in `overhead` its share,
/// where `weights` share a number of so many `bits`.
pub fn bits_per_weight(code_bits: u32, overhead: &[(u32, usize)]) -> f64 {
    let shares = overhead.iter().map(|&(bits, weights)| f64::from(bits) / weights as f64);
    f64::from(code_bits) + shares.sum::<f64>()
}
// ANCHOR_END: nibbles

// ANCHOR: table
/// The sixteen values of NF4 in rising order.
///
/// Eight are positive: the normal quantiles of the first eight of nine values from [`NF4_OFFSET`] to ½.
/// Seven are negative: those of the first seven of eight such values, negated. The last is 0. Each
/// quantile is rounded to `f32`, and then divided by the largest.
pub fn normal_float() -> [f32; 16] {
    let mut table = [0.0; 16];
    let quantiles = |count: u8| {
        linspace(NF4_OFFSET, 0.5, count).into_iter().map(|p| normal_quantile(p.into()) as f32)
    };
    let (negative, positive) = (quantiles(8).take(7), quantiles(9).take(8));
    let values = negative.map(|quantile| -quantile).chain(positive);
    // The last place keeps its 0.
    table.iter_mut().zip(values).for_each(|(place, value)| *place = value);
    table.sort_by(f32::total_cmp);
    table.map(|value| value / table[15])
}

/// The place of the value of `table` that is nearest to `value`, the first of equals. `table` is in
/// rising order, and has 1 to 256 values.
pub fn nearest(table: &[f32], value: f32) -> u8 {
    let distance = |entry: f32| (f64::from(entry) - f64::from(value)).abs();
    let places = (0u8..=255).zip(table);
    // `min_by` returns the first of equal elements.
    let closest = places.min_by(|a, b| distance(*a.1).total_cmp(&distance(*b.1)));
    closest.map_or(0, |(place, _)| place)
}

/// Quantizes `values` in blocks to codes of `table`: each value is divided by the largest magnitude of
/// its block, and the nearest value of the table is taken. A block of zeros is divided by 1. The last
/// block may be short.
///
/// # Errors
/// [`FloatError::EmptyBlock`] for a block of 0, [`FloatError::NotFinite`].
pub fn quantize_table(
    values: &[f32],
    table: &[f32],
    block: usize,
) -> Result<TableBlocks, FloatError> {
    if block == 0 {
        return Err(FloatError::EmptyBlock);
    }
    check_finite(values)?;
    let absmax: Vec<f32> = values.chunks(block).map(|block| absmax(block.into())).collect();
    let code = |(index, value): (usize, &f32)| {
        let scale = absmax[index / block];
        nearest(table, value / if scale > 0.0 { scale } else { 1.0 })
    };
    let codes = values.iter().enumerate().map(code).collect();
    Ok(TableBlocks { codes, absmax, block })
}

/// The numbers that codes of `table` stand for: the value of the table times the largest magnitude of
/// the block.
pub fn dequantize_table(blocks: &TableBlocks, table: &[f32]) -> Vec<f32> {
    let codes = blocks.codes.iter().enumerate();
    codes
        .map(|(index, &code)| table[usize::from(code)] * blocks.absmax[index / blocks.block])
        .collect()
}

/// Stores the scales of a table grid in eight bits (double quantization): their mean, and what is left of
/// each in blocks of [`DOUBLE_BLOCK`] on `table`. The mean is summed in `f64`.
///
/// # Errors
/// [`FloatError::NotFinite`].
pub fn double_quantize(absmax: &[f32], table: &[f32]) -> Result<DoubleScales, FloatError> {
    let sum: f64 = absmax.iter().map(|&scale| f64::from(scale)).sum();
    let mean = (sum / absmax.len().max(1) as f64) as f32;
    check_finite(absmax)?;
    let rest: Vec<f32> = absmax.iter().map(|scale| scale - mean).collect();
    Ok(DoubleScales { mean, rest: quantize_table(&rest, table, DOUBLE_BLOCK)? })
}

/// The scales that come back from [`double_quantize`] with the same `table`.
pub fn double_dequantize(scales: &DoubleScales, table: &[f32]) -> Vec<f32> {
    let rest = dequantize_table(&scales.rest, table);
    rest.into_iter().map(|rest| rest + scales.mean).collect()
}
// ANCHOR_END: table
