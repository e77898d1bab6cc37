//! The numbers that the codes of a KV cache stand for.
//!
//! A caller decodes a few rows at a time, so that all queries read the numbers from the first cache of the core.

use crate::dispatch::{dispatched, multiply_add};

/// Values that are unpacked together. The width of a head has to be a multiple.
pub const UNIT: usize = 32;

/// How a value is coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Codes {
    /// Two's complement, a byte each.
    Int8,
    /// 0 to 15. Of 32 values the first half is in the low, the second half in the high nibbles.
    UInt4,
    /// 0 to 3. Of 32 values each eighth byte's value is in the same two bits, the first eight lowest.
    UInt2,
    /// FP8 with four bits of exponent, without its NaN.
    E4M3,
}

impl Codes {
    /// Bits of a value.
    pub const fn bits(self) -> usize {
        match self {
            Self::Int8 | Self::E4M3 => 8,
            Self::UInt4 => 4,
            Self::UInt2 => 2,
        }
    }

    /// Bytes of so many values.
    pub const fn bytes(self, values: usize) -> usize {
        values * self.bits() / 8
    }

    /// Appends `codes`, whole units of [`UNIT`], to `bytes`.
    pub fn pack(self, codes: &[u8], bytes: &mut Vec<u8>) {
        // The bytes of a unit hold one value of each of so many equal parts of the unit.
        let parts = 8 / self.bits();
        for unit in codes.as_chunks::<UNIT>().0 {
            for at in 0..UNIT / parts {
                let part = |part| unit[part * UNIT / parts + at] << (part * self.bits());
                bytes.push((0..parts).map(part).fold(0, |byte, part| byte | part));
            }
        }
    }
}

/// The values of a unit of codes.
trait Unpack {
    const BYTES: usize;
    fn unit<const FMA: bool>(bytes: &[u8]) -> [f32; UNIT];
}

struct Int8;
struct UInt4;
struct UInt2;
struct E4M3;

impl Unpack for Int8 {
    const BYTES: usize = UNIT;
    #[inline(always)]
    fn unit<const FMA: bool>(bytes: &[u8]) -> [f32; UNIT] {
        let mut values = [0.0; UNIT];
        let Some(bytes) = bytes.first_chunk::<UNIT>() else { return values };
        for (value, byte) in values.iter_mut().zip(bytes) {
            *value = f32::from(byte.cast_signed());
        }
        values
    }
}

/// Unsigned codes in the equal parts of a unit.
#[inline(always)]
fn parts<const BYTES: usize>(bytes: &[u8]) -> [f32; UNIT] {
    let mut values = [0.0; UNIT];
    let Some(bytes) = bytes.first_chunk::<BYTES>() else { return values };
    let bits = 8 * BYTES / UNIT;
    for (part, values) in values.as_chunks_mut::<BYTES>().0.iter_mut().enumerate() {
        for (value, byte) in values.iter_mut().zip(bytes) {
            *value = f32::from((byte >> (part * bits)) & ((1 << bits) - 1));
        }
    }
    values
}

impl Unpack for UInt4 {
    const BYTES: usize = UNIT / 2;
    #[inline(always)]
    fn unit<const FMA: bool>(bytes: &[u8]) -> [f32; UNIT] {
        parts::<{ UNIT / 2 }>(bytes)
    }
}

impl Unpack for UInt2 {
    const BYTES: usize = UNIT / 4;
    #[inline(always)]
    fn unit<const FMA: bool>(bytes: &[u8]) -> [f32; UNIT] {
        parts::<{ UNIT / 4 }>(bytes)
    }
}

impl Unpack for E4M3 {
    const BYTES: usize = UNIT;
    #[inline(always)]
    fn unit<const FMA: bool>(bytes: &[u8]) -> [f32; UNIT] {
        let Some(bytes) = bytes.first_chunk::<UNIT>() else { return [0.0; UNIT] };
        #[cfg(target_arch = "x86_64")]
        if FMA {
            // SAFETY: on this architecture `FMA` is true only in the copies of `dispatched!` that are compiled
            // for AVX2, FMA and F16C, and they run where the processor has all three.
            return unsafe { e4m3_by_f16(bytes) };
        }
        e4m3(bytes)
    }
}

/// Exponent and fraction lie side by side in E4M3 and in `f32`, with the biases 7 and 127. So the bits are
/// moved, and the difference is added. (To multiply by 2^120 would be right for subnormal codes too,
/// and takes several times as long for the subnormal numbers of `f32` that they would become.)
#[inline(always)]
fn e4m3(bytes: &[u8; UNIT]) -> [f32; UNIT] {
    const BIASES: i32 = (127 - 7) << 23;
    bytes.map(|byte| {
        let code = i32::from(byte.cast_signed());
        let magnitude = code & 0x7F;
        let normal = f32::from_bits(((magnitude << 20) + BIASES).cast_unsigned());
        // A subnormal code is its fraction in steps of 2^-9.
        let size = if magnitude < 8 { magnitude as f32 / 512.0 } else { normal };
        let sign = code.cast_unsigned() & (1 << 31);
        f32::from_bits(size.to_bits() | sign)
    })
}

/// The same by way of `f16`, whose exponent has one bit more and the bias 15, and whose subnormal numbers
/// the processor converts as fast as others. The difference of the biases is a factor of 2^8.
#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn e4m3_by_f16(bytes: &[u8; UNIT]) -> [f32; UNIT] {
    use std::arch::x86_64::*;
    let mut values = [0.0; UNIT];
    for (bytes, values) in bytes.as_chunks::<16>().0.iter().zip(values.as_chunks_mut::<16>().0) {
        // SAFETY: the reference is to 16 bytes, and this load takes any alignment.
        let codes = _mm256_cvtepi8_epi16(unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) });
        // The copies of the sign go where `f16` has its sign and the highest bit of its exponent, which is 0.
        let halves = _mm256_and_si256(_mm256_slli_epi16(codes, 7), _mm256_set1_epi16(!(1 << 14)));
        let halves = [_mm256_castsi256_si128(halves), _mm256_extracti128_si256(halves, 1)];
        for (half, values) in halves.into_iter().zip(values.as_chunks_mut::<8>().0) {
            let eight = _mm256_mul_ps(_mm256_cvtph_ps(half), _mm256_set1_ps(256.0));
            // SAFETY: the reference is to 32 bytes, and this store takes any alignment.
            unsafe { _mm256_storeu_ps(values.as_mut_ptr(), eight) };
        }
    }
    values
}

/// How numbers follow from codes: `code * scale + zero`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Affine<'a> {
    /// Of each group or of each column.
    pub scales: &'a [f32],
    /// As many as scales, or none, and then they are 0.
    pub zeros: &'a [f32],
    /// Which numbers share them.
    pub shared: Shared,
}

/// Which numbers share a scale and a zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shared {
    /// So many neighbours, a multiple of [`UNIT`].
    Group(usize),
    /// The numbers of a column. A row has as many numbers as there are scales, a multiple of [`UNIT`].
    Column,
}

/// A number plus -0 is the number, also where the number is -0.
const NO_ZERO: f32 = -0.0;

dispatched! {
    /// Writes the numbers of the first codes, whole units, as many as there is room for.
    ///
    /// # Panics
    /// If a group or a row has no unit, or there are fewer scales than groups of `numbers`.
    pub fn decode(codes: Codes, bytes: &[u8], affine: Affine<'_>, numbers: &mut [f32]) = decode_body
}

#[inline(always)]
fn decode_body<const FMA: bool>(
    codes: Codes,
    bytes: &[u8],
    affine: Affine<'_>,
    numbers: &mut [f32],
) {
    match codes {
        Codes::Int8 => decode_of::<FMA, Int8>(bytes, affine, numbers),
        Codes::UInt4 => decode_of::<FMA, UInt4>(bytes, affine, numbers),
        Codes::UInt2 => decode_of::<FMA, UInt2>(bytes, affine, numbers),
        Codes::E4M3 => decode_of::<FMA, E4M3>(bytes, affine, numbers),
    }
}

#[inline(always)]
fn decode_of<const FMA: bool, C: Unpack>(
    bytes: &[u8],
    Affine { scales, zeros, shared }: Affine<'_>,
    numbers: &mut [f32],
) {
    match shared {
        Shared::Group(group) => {
            let groups = numbers.chunks_mut(group).zip(bytes.chunks(group / UNIT * C::BYTES));
            for (at, (numbers, bytes)) in groups.enumerate() {
                let (scale, zero) = (scales[at], zeros.get(at).copied().unwrap_or(NO_ZERO));
                for (values, numbers) in units::<FMA, C>(bytes, numbers) {
                    for lane in 0..UNIT {
                        numbers[lane] = multiply_add::<FMA>(values[lane], scale, zero);
                    }
                }
            }
        }
        Shared::Column => {
            let (columns, zeros) = (scales.as_chunks::<UNIT>().0, zeros.as_chunks::<UNIT>().0);
            let rows = bytes.chunks_exact(columns.len() * C::BYTES);
            for (numbers, bytes) in numbers.chunks_exact_mut(scales.len()).zip(rows) {
                for (at, (values, numbers)) in units::<FMA, C>(bytes, numbers).enumerate() {
                    let (scales, zeros) = (&columns[at], zeros.get(at).unwrap_or(&[NO_ZERO; UNIT]));
                    for lane in 0..UNIT {
                        numbers[lane] =
                            multiply_add::<FMA>(values[lane], scales[lane], zeros[lane]);
                    }
                }
            }
        }
    }
}

/// The values of each unit, and the place of its numbers.
#[inline(always)]
fn units<'n, const FMA: bool, C: Unpack>(
    bytes: &[u8],
    numbers: &'n mut [f32],
) -> impl Iterator<Item = ([f32; UNIT], &'n mut [f32; UNIT])> {
    let places = numbers.as_chunks_mut::<UNIT>().0.iter_mut();
    bytes.chunks_exact(C::BYTES).map(C::unit::<FMA>).zip(places)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Off x86-64, and on a processor without AVX2, there is one form, which a test of the crate holds to the format.
    #[test]
    #[cfg(target_arch = "x86_64")]
    fn the_two_forms_of_e4m3_are_equal_to_the_bit_for_every_code() {
        if crate::Instructions::used() < crate::Instructions::Avx2 {
            return;
        }
        let all: Vec<u8> = (0..=255).collect();
        for codes in all.as_chunks::<UNIT>().0 {
            // SAFETY: the function needs AVX2, FMA and F16C, which the machine has, because they are used.
            let fast = unsafe { e4m3_by_f16(codes) };
            assert_eq!(fast.map(f32::to_bits), e4m3(codes).map(f32::to_bits), "{codes:?}");
        }
    }
}
