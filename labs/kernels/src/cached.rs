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
            let (first, others) = unit.split_at(UNIT / parts);
            let start = bytes.len();
            bytes.extend_from_slice(first);
            for (part, codes) in others.chunks_exact(UNIT / parts).enumerate() {
                let shift = (part + 1) * self.bits();
                bytes[start..]
                    .iter_mut()
                    .zip(codes)
                    .for_each(|(byte, code)| *byte |= code << shift);
            }
        }
    }
}

/// Values that are decoded together: what a register of AVX2 holds.
const LANES: usize = 8;

/// How the codes of a unit become values.
trait Unpack {
    /// Bytes of a unit.
    const BYTES: usize;
    /// The values `LANES * AT..` of a unit. The compiler uses a register for eight values whose shift it knows, and
    /// none for arrays of a whole unit.
    fn lanes<const FMA: bool, const AT: usize>(unit: &[u8]) -> [f32; LANES];
}

struct Int8;
struct UInt4;
struct UInt2;
struct E4M3;

impl Unpack for Int8 {
    const BYTES: usize = UNIT;
    #[inline(always)]
    fn lanes<const FMA: bool, const AT: usize>(unit: &[u8]) -> [f32; LANES] {
        let codes = eight(unit, AT);
        #[cfg(target_arch = "x86_64")]
        if FMA {
            // SAFETY: on this architecture `FMA` is true only in the copies of `dispatched!` that are compiled
            // for AVX2, FMA and F16C, and they run where the processor has all three.
            return unsafe { signed_by_register(codes) };
        }
        codes.map(|byte| f32::from(byte.cast_signed()))
    }
}

impl Unpack for UInt4 {
    const BYTES: usize = UNIT / 2;
    #[inline(always)]
    fn lanes<const FMA: bool, const AT: usize>(unit: &[u8]) -> [f32; LANES] {
        unsigned::<FMA>(eight(unit, AT % 2), AT / 2 * 4, 0xF)
    }
}

impl Unpack for UInt2 {
    const BYTES: usize = UNIT / 4;
    #[inline(always)]
    fn lanes<const FMA: bool, const AT: usize>(unit: &[u8]) -> [f32; LANES] {
        unsigned::<FMA>(eight(unit, 0), AT * 2, 3)
    }
}

impl Unpack for E4M3 {
    const BYTES: usize = UNIT;
    #[inline(always)]
    fn lanes<const FMA: bool, const AT: usize>(unit: &[u8]) -> [f32; LANES] {
        let codes = eight(unit, AT);
        #[cfg(target_arch = "x86_64")]
        if FMA {
            // SAFETY: on this architecture `FMA` is true only in the copies of `dispatched!` that are compiled
            // for AVX2, FMA and F16C, and they run where the processor has all three.
            return unsafe { e4m3_by_f16(codes) };
        }
        e4m3(codes)
    }
}

/// The bytes `LANES * at..` of a unit.
#[inline(always)]
fn eight(unit: &[u8], at: usize) -> [u8; LANES] {
    unit.as_chunks().0.get(at).copied().unwrap_or_default()
}

/// Eight codes in two's complement. Left to itself the compiler shuffles more than one register at a time.
#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn signed_by_register(codes: [u8; LANES]) -> [f32; LANES] {
    use std::arch::x86_64::*;
    // SAFETY: the load takes eight bytes, which the array has, and any alignment.
    let codes = unsafe { _mm_loadl_epi64(codes.as_ptr().cast()) };
    stored(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(codes)))
}

/// The unsigned codes in these bits of each byte.
#[inline(always)]
fn unsigned<const FMA: bool>(codes: [u8; LANES], shift: usize, mask: u8) -> [f32; LANES] {
    #[cfg(target_arch = "x86_64")]
    if FMA {
        // SAFETY: on this architecture `FMA` is true only in the copies of `dispatched!` that are compiled
        // for AVX2, FMA and F16C, and they run where the processor has all three.
        return unsafe { unsigned_by_register(codes, shift, mask) };
    }
    codes.map(|byte| f32::from((byte >> shift) & mask))
}

/// The same in 32 bits, because vector registers shift no bytes. Left to itself the compiler shifts byte by byte.
#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn unsigned_by_register(codes: [u8; LANES], shift: usize, mask: u8) -> [f32; LANES] {
    use std::arch::x86_64::*;
    // SAFETY: the load takes eight bytes, which the array has, and any alignment.
    let codes = _mm256_cvtepu8_epi32(unsafe { _mm_loadl_epi64(codes.as_ptr().cast()) });
    let shifted = _mm256_srl_epi32(codes, _mm_cvtsi32_si128(shift as i32));
    let masked = _mm256_and_si256(shifted, _mm256_set1_epi32(mask.into()));
    stored(_mm256_cvtepi32_ps(masked))
}

/// Exponent and fraction lie side by side in E4M3 and in `f32`, with the biases 7 and 127. So the bits are
/// moved, and the difference is added. (To multiply by 2^120 would be right for subnormal codes too,
/// and takes several times as long for the subnormal numbers of `f32` that they would become.)
#[inline(always)]
fn e4m3(codes: [u8; LANES]) -> [f32; LANES] {
    const BIASES: i32 = (127 - 7) << 23;
    codes.map(|byte| {
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
fn e4m3_by_f16(codes: [u8; LANES]) -> [f32; LANES] {
    use std::arch::x86_64::*;
    // SAFETY: the load takes eight bytes, which the array has, and any alignment.
    let codes = _mm_cvtepi8_epi16(unsafe { _mm_loadl_epi64(codes.as_ptr().cast()) });
    // The copies of the sign go where `f16` has its sign and the highest bit of its exponent, which is 0.
    let halves = _mm_and_si128(_mm_slli_epi16(codes, 7), _mm_set1_epi16(!(1 << 14)));
    stored(_mm256_mul_ps(_mm256_cvtph_ps(halves), _mm256_set1_ps(256.0)))
}

/// The numbers of a register.
#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn stored(register: std::arch::x86_64::__m256) -> [f32; LANES] {
    let mut values = [0.0; LANES];
    // SAFETY: the store takes 32 bytes, which the array has, and any alignment.
    unsafe { std::arch::x86_64::_mm256_storeu_ps(values.as_mut_ptr(), register) };
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
                let units = numbers.as_chunks_mut().0.iter_mut();
                for (numbers, bytes) in units.zip(bytes.chunks_exact(C::BYTES)) {
                    unit::<FMA, C>(bytes, numbers, |_, values| {
                        values.map(|value| multiply_add::<FMA>(value, scale, zero))
                    });
                }
            }
        }
        Shared::Column => {
            let columns = scales.as_chunks::<UNIT>().0;
            let stride = columns.len() * C::BYTES;
            // All rows of some columns, so that their scales stay in registers.
            for (at, scales) in columns.iter().enumerate() {
                let zeros = zeros.as_chunks().0.get(at).unwrap_or(&[NO_ZERO; UNIT]);
                let (scales, zeros) = (scales.as_chunks::<LANES>().0, zeros.as_chunks::<LANES>().0);
                let rows = numbers.as_chunks_mut().0.iter_mut().skip(at).step_by(columns.len());
                for (numbers, bytes) in rows.zip(bytes.chunks_exact(stride)) {
                    unit::<FMA, C>(&bytes[at * C::BYTES..], numbers, |at, values| {
                        std::array::from_fn(|lane| {
                            multiply_add::<FMA>(values[lane], scales[at][lane], zeros[at][lane])
                        })
                    });
                }
            }
        }
    }
}

/// Writes what `number` makes of the values of a unit, eight at a time. Its first argument counts them.
#[inline(always)]
fn unit<const FMA: bool, C: Unpack>(
    bytes: &[u8],
    numbers: &mut [f32; UNIT],
    number: impl Fn(usize, [f32; LANES]) -> [f32; LANES],
) {
    let [first, second, third, last] = numbers.as_chunks_mut().0 else { return };
    *first = number(0, C::lanes::<FMA, 0>(bytes));
    *second = number(1, C::lanes::<FMA, 1>(bytes));
    *third = number(2, C::lanes::<FMA, 2>(bytes));
    *last = number(3, C::lanes::<FMA, 3>(bytes));
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
        for &codes in all.as_chunks::<LANES>().0 {
            // SAFETY: the function needs AVX2, FMA and F16C, which the machine has, because they are used.
            let fast = unsafe { e4m3_by_f16(codes) };
            assert_eq!(fast.map(f32::to_bits), e4m3(codes).map(f32::to_bits), "{codes:?}");
        }
    }
}
