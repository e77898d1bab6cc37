//! The activations as the products read them: padded, or in codes of 8 bits.

use std::borrow::Cow;

use ndarray::Array2;
use rayon::prelude::*;

use crate::KernelError;
use crate::dispatch::Instructions;
use crate::dispatch::dispatched;
use crate::loops::{BLOCK, OFFSET_4, OFFSET_8, PerGroup8, PerToken8, halves_of_lane};
use crate::panels::Interleaved;
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

/// The codes of `x` in 8 bits, row by row, and their sums.
struct Rounded {
    /// `[tokens, features]`.
    codes: Vec<i8>,
    /// `[tokens, features / size]`.
    scales: Vec<f32>,
    /// The sums of each `block` codes, times the offset of the weights' codes.
    offsets: Vec<i32>,
}

impl Rounded {
    /// Rounds half to even, each `size` neighbours with one scale: the `given` one, or `absmax / 127`. Zeros
    /// have the scale 1, as zeros of the weights have. Values beyond a given scale are clipped. `values` are
    /// rows, `size` is a multiple of `block`.
    fn new(values: &[f32], size: usize, given: Option<&[f32]>, block: usize, offset: i32) -> Self {
        let count = values.len() / size.max(1);
        let mut scales = given.map_or_else(|| vec![f32::NAN; count], <[f32]>::to_vec);
        let mut codes = vec![0; values.len()];
        let mut offsets = vec![0; values.len() / block.max(1)];
        let work =
            values.par_chunks_exact(size.max(1)).zip(codes.par_chunks_exact_mut(size.max(1)));
        let work = work.zip(offsets.par_chunks_exact_mut((size / block.max(1)).max(1)));
        let work = work.zip(&mut scales).with_min_len(MIN_TASK.div_ceil(size.max(1)));
        work.for_each(|(((values, codes), offsets), scale)| {
            let given = given.is_some().then_some(*scale);
            *scale = round(values, given, codes);
            offsets_of(codes, offset, offsets);
        });
        Self { codes, scales, offsets }
    }

    fn quads(&self) -> &[[i8; 4]] {
        self.codes.as_chunks().0
    }
}

/// Tokens in 8 bits, one scale each.
pub(crate) struct PerToken {
    quads: Interleaved<[i8; 4]>,
    /// Nothing where no loop reads it.
    wide: Interleaved<[i32; 2]>,
    offsets: Interleaved<i32>,
    pub(crate) scales: Vec<f32>,
}

impl PerToken {
    /// With one `given` scale a token, or with `absmax / 127` of each token.
    ///
    /// # Errors
    /// [`KernelError::NotFinite`].
    pub(crate) fn quantize(x: &Array2<f32>, given: Option<&[f32]>) -> Result<Self, KernelError> {
        let quads = x.ncols().div_ceil(4);
        let values = padded(x, x.ncols(), 4 * quads);
        let rounded = Rounded::new(&values, 4 * quads, given, 4 * quads, OFFSET_8);
        check_finite(x, &rounded.scales)?;
        let in_16_bits = |[a, b, c, d]: [i8; 4]| [halves_of_lane(a, c), halves_of_lane(b, d)];
        let wide = if Instructions::used() == Instructions::Avx2 {
            Interleaved::of(rounded.quads(), quads, in_16_bits)
        } else {
            Interleaved::none(x.nrows())
        };
        Ok(Self {
            quads: Interleaved::of(rounded.quads(), quads, |quad| quad),
            wide,
            offsets: Interleaved::of(&rounded.offsets, 1, |offset| offset),
            scales: rounded.scales,
        })
    }

    /// The codes of a tile whose first token is `token`.
    pub(crate) fn at(&self, token: usize) -> PerToken8<'_> {
        PerToken8 {
            quads: self.quads.at(token),
            wide: self.wide.at(token),
            offsets: self.offsets.at(token),
        }
    }
}

/// Tokens in 8 bits, with a scale for each group.
pub(crate) struct PerGroup {
    quads: Interleaved<[i8; 4]>,
    scales: Interleaved<f32>,
    offsets: Interleaved<i32>,
}

impl PerGroup {
    /// With `absmax / 127` of each group. The size is a multiple of 32 and divides the features.
    ///
    /// # Errors
    /// [`KernelError::NotFinite`].
    pub(crate) fn quantize(x: &Array2<f32>, group_size: usize) -> Result<Self, KernelError> {
        let features = x.ncols();
        let values = padded(x, features, features);
        let rounded = Rounded::new(&values, group_size, None, BLOCK, OFFSET_4.into());
        check_finite(x, &rounded.scales)?;
        Ok(Self {
            quads: Interleaved::of(rounded.quads(), features / 4, |quad| quad),
            scales: Interleaved::of_rows(&rounded.scales, features / group_size),
            offsets: Interleaved::of(&rounded.offsets, features / BLOCK, |offset| offset),
        })
    }

    /// The codes, scales and offsets of a tile whose first token is `token`.
    pub(crate) fn at(&self, token: usize) -> PerGroup8<'_> {
        PerGroup8 {
            quads: self.quads.at(token),
            scales: self.scales.at(token),
            offsets: self.offsets.at(token),
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
    fn round(values: &[f32], given: Option<f32>, codes: &mut [i8]) -> f32 = round_body
}

#[inline(always)]
fn round_body<const FMA: bool>(values: &[f32], given: Option<f32>, codes: &mut [i8]) -> f32 {
    let own = scale_of(values);
    // A given scale is ignored then, because it would hide a value that is not finite.
    let scale = given.filter(|_| own.is_finite()).unwrap_or(own);
    for (code, value) in codes.iter_mut().zip(values) {
        // Clipped before rounding, because `nearest` takes small numbers only. 127 is whole, so the
        // codes are the same.
        *code = nearest((value / scale).clamp(-QMAX, QMAX)) as i8;
    }
    scale
}

dispatched! {
    /// Writes the sum of each equal part of `codes`, times `offset`.
    fn offsets_of(codes: &[i8], offset: i32, offsets: &mut [i32]) = offsets_body
}

#[inline(always)]
fn offsets_body<const FMA: bool>(codes: &[i8], offset: i32, offsets: &mut [i32]) {
    let size = (codes.len() / offsets.len().max(1)).max(1);
    for (codes, to) in codes.chunks_exact(size).zip(offsets) {
        *to = offset * codes.iter().map(|code| i32::from(*code)).sum::<i32>();
    }
}
