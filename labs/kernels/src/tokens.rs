//! The activations as the products read them: padded, or in codes of 8 bits.

use std::borrow::Cow;

use ndarray::Array2;
use rayon::prelude::*;

use crate::KernelError;
use crate::dispatch::dispatched;
use crate::loops::{BLOCK, OFFSET, Token8};
use crate::rounding::{INFINITE, absmax_bits, nearest};

/// The fewest values that one task quantizes.
const MIN_TASK: usize = 1 << 14;
/// The largest code.
const QMAX: f32 = 127.0;

/// Checks the width of `x`.
pub(crate) fn check_features(x: &Array2<f32>, in_features: usize) -> Result<(), KernelError> {
    if x.ncols() == in_features {
        return Ok(());
    }
    Err(KernelError::FeaturesDiffer { x: x.ncols(), w: in_features })
}

/// The rows of `x` one after the other, cut into groups of `size`. Zeros pad each group to `padded`.
pub(crate) fn padded(x: &Array2<f32>, size: usize, padded: usize) -> Cow<'_, [f32]> {
    match x.as_slice() {
        Some(values) if size == padded => Cow::Borrowed(values),
        _ => {
            let mut values = vec![0.0; x.len() / size.max(1) * padded];
            let rows = x.as_standard_layout();
            let groups = rows.as_slice().unwrap_or_default().chunks_exact(size.max(1));
            for (to, from) in values.chunks_exact_mut(padded.max(1)).zip(groups) {
                to[..size].copy_from_slice(from);
            }
            Cow::Owned(values)
        }
    }
}

/// Tokens in 8 bits, one scale each.
pub(crate) struct PerToken {
    /// `[tokens, pairs]`.
    codes: Vec<[i16; 2]>,
    pub(crate) scales: Vec<f32>,
    pairs: usize,
}

impl PerToken {
    /// Rounds half to even, with one `given` scale a token, or with `absmax / 127` of each token. A
    /// token of zeros has the scale 1, as a row of weights has. Values beyond a given scale are clipped.
    pub(crate) fn quantize(x: &Array2<f32>, given: Option<&[f32]>) -> Result<Self, KernelError> {
        let pairs = x.ncols().div_ceil(2);
        let values = padded(x, x.ncols(), 2 * pairs);
        let mut codes = vec![[0; 2]; x.nrows() * pairs];
        let mut scales = vec![1.0; x.nrows()];
        let features = (2 * pairs).max(1);
        let tokens =
            values.par_chunks_exact(features).zip(codes.par_chunks_exact_mut(pairs.max(1)));
        let tokens = tokens.zip(&mut scales).with_min_len(MIN_TASK.div_ceil(features));
        tokens.enumerate().for_each(|(token, ((values, codes), scale))| {
            let given = given.and_then(|given| given.get(token).copied());
            *scale = codes_of_16_bits(values, given, codes.as_flattened_mut());
        });
        check_finite(x, &scales)?;
        Ok(Self { codes, scales, pairs })
    }

    /// The codes of a token.
    pub(crate) fn token(&self, token: usize) -> &[[i16; 2]] {
        &self.codes[token * self.pairs..][..self.pairs]
    }
}

/// Tokens in 8 bits, with a scale for each group.
pub(crate) struct PerGroup {
    /// `[tokens, features / 4]`.
    codes: Vec<[i8; 4]>,
    /// `[tokens, groups]`.
    scales: Vec<f32>,
    /// `[tokens, features / 32]`.
    offsets: Vec<i32>,
    features: usize,
    groups: usize,
}

impl PerGroup {
    /// Rounds half to even, with the scale `absmax / 127` of each group; a group of zeros has the scale
    /// 1. The size is a multiple of 32 and divides the features.
    pub(crate) fn quantize(x: &Array2<f32>, group_size: usize) -> Result<Self, KernelError> {
        let (tokens, features) = x.dim();
        let groups = features / group_size;
        let values = padded(x, features, features);
        let mut codes = vec![[0; 4]; tokens * features / 4];
        let mut scales = vec![1.0; tokens * groups];
        let mut offsets = vec![0; tokens * features / BLOCK];
        let work = values.par_chunks_exact(group_size);
        let work = work.zip(codes.par_chunks_exact_mut(group_size / 4));
        let work = work.zip(offsets.par_chunks_exact_mut(group_size / BLOCK)).zip(&mut scales);
        let work = work.with_min_len(MIN_TASK.div_ceil(group_size));
        work.for_each(|(((values, codes), offsets), scale)| {
            *scale = codes_of_8_bits(values, codes.as_flattened_mut(), offsets);
        });
        check_finite(x, &scales)?;
        Ok(Self { codes, scales, offsets, features, groups })
    }

    /// The codes, scales and offsets of a token.
    pub(crate) fn token(&self, token: usize) -> Token8<'_> {
        let (quads, blocks) = (self.features / 4, self.features / BLOCK);
        Token8 {
            quads: &self.codes[token * quads..][..quads],
            scales: &self.scales[token * self.groups..][..self.groups],
            offsets: &self.offsets[token * blocks..][..blocks],
        }
    }
}

/// Finds the value that made a scale NaN. The scales are checked first, because they are few.
fn check_finite(x: &Array2<f32>, scales: &[f32]) -> Result<(), KernelError> {
    if scales.iter().all(|scale| scale.is_finite()) {
        return Ok(());
    }
    match x.indexed_iter().find(|(_, value)| !value.is_finite()) {
        Some(((token, feature), &value)) => Err(KernelError::NotFinite { token, feature, value }),
        None => Ok(()),
    }
}

/// The scale of `values`, NaN if one of them is not finite.
#[inline(always)]
fn scale_of(values: &[f32]) -> f32 {
    let bits = absmax_bits(values);
    let scale = f32::from_bits(bits) / QMAX;
    if bits >= INFINITE {
        f32::NAN
    } else if scale > 0.0 {
        scale
    } else {
        1.0
    }
}

dispatched! {
    /// Writes the codes of `values` and gives their scale, NaN if a value is not finite.
    fn codes_of_16_bits(values: &[f32], given: Option<f32>, codes: &mut [i16]) -> f32
        = codes_of_16_bits_body
}

#[inline(always)]
fn codes_of_16_bits_body<const FMA: bool>(
    values: &[f32],
    given: Option<f32>,
    codes: &mut [i16],
) -> f32 {
    let own = scale_of(values);
    // A given scale is ignored then, because it would hide a value that is not finite.
    let scale = given.filter(|_| own.is_finite()).unwrap_or(own);
    for (code, value) in codes.iter_mut().zip(values) {
        // Clipped before rounding, because `nearest` takes small numbers only. 127 is whole, so the
        // codes are the same.
        *code = nearest((value / scale).clamp(-QMAX, QMAX));
    }
    scale
}

dispatched! {
    /// As `codes_of_16_bits`, and writes 8 times the sum of the codes of each 32.
    fn codes_of_8_bits(values: &[f32], codes: &mut [i8], offsets: &mut [i32]) -> f32
        = codes_of_8_bits_body
}

#[inline(always)]
fn codes_of_8_bits_body<const FMA: bool>(
    values: &[f32],
    codes: &mut [i8],
    offsets: &mut [i32],
) -> f32 {
    let scale = scale_of(values);
    let blocks = values.as_chunks::<BLOCK>().0.iter().zip(codes.as_chunks_mut::<BLOCK>().0);
    for ((values, codes), offset) in blocks.zip(offsets) {
        let mut sum = 0;
        for (code, value) in codes.iter_mut().zip(values) {
            let nearest = nearest((value / scale).clamp(-QMAX, QMAX));
            sum += i32::from(nearest);
            *code = nearest as i8;
        }
        *offset = i32::from(OFFSET) * sum;
    }
    scale
}
