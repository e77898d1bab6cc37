//! The inner loops: one panel of weights times a few tokens, in AVX-512, in AVX2 or in plain Rust.
//!
//! A **panel** is 16 rows of the weights, interleaved so that a register holds neighbouring rows and
//! a result needs no sum across a register:
//!
//! * `f32`: one array of 16 numbers for each feature;
//! * int8: 64 bytes for each four features (a **quad**): byte `4 r + j` has the code of row `r` and
//!   feature `j`, plus 128;
//! * int4: 32 bytes for each quad: byte `4 r + j` has the code of row `r` and feature `j` in its low
//!   nibble and the code of row `r + 8` in the high nibble, each plus 8. Both nibbles of a register then
//!   unpack to eight neighbouring rows, without a shuffle.
//!
//! Codes of weights are stored without a sign, because the instructions that multiply bytes take one
//! factor with a sign and one without. A sum is then too large by the offset times the sum of the
//! activations, which is subtracted.
//!
//! A **tile** is what a loop computes at once: 16 rows times `T` tokens. Its sums stay in registers,
//! and the weights are decoded once for all of its tokens.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;

use half::f16;

use crate::dispatch::Instructions;

/// Rows of a panel.
pub(crate) const ROWS: usize = 16;
/// Features whose products w4a8 adds up in 16 bits with AVX2: 32 * 15 * 127 / 2 in each of two sums,
/// which is 30,480, fits.
pub(crate) const BLOCK: usize = 32;
/// An int8 code is stored plus 128.
pub(crate) const OFFSET_8: i32 = 128;
/// An int4 code is stored plus 8.
pub(crate) const OFFSET_4: i8 = 8;
/// Four features of the 16 rows, a byte each.
pub(crate) type Quad8 = [u8; 4 * ROWS];
/// Four features of the 16 rows, a nibble each.
pub(crate) type Quad4 = [u8; 2 * ROWS];
/// The results of a tile.
pub(crate) type Tile<Number, const T: usize> = [[Number; ROWS]; T];

/// Values of `width` neighbouring tokens, interleaved, of which a tile takes those from `first` on.
#[derive(Clone, Copy)]
pub(crate) struct Tokens<'a, Value> {
    /// `[places, width]`: a place is a feature, a quad, a block or a group.
    pub(crate) values: &'a [Value],
    pub(crate) width: usize,
    pub(crate) first: usize,
}

impl<'a, Value> Tokens<'a, Value> {
    /// The values of `T` tokens, place by place.
    #[inline(always)]
    fn each<const T: usize>(self) -> impl Iterator<Item = &'a [Value; T]> {
        self.values.chunks_exact(self.width).map(move |place| {
            let from_first = &place[self.first..];
            from_first.first_chunk().unwrap_or_else(|| unreachable!("a tile lies in its tokens"))
        })
    }

    /// The places in equal parts.
    #[inline(always)]
    fn parts(self, places: usize) -> impl Iterator<Item = Self> {
        let parts = self.values.chunks_exact(places * self.width);
        parts.map(move |values| Self { values, ..self })
    }
}

/// Activations in 8 bits, with one scale a token, which is no part of the loop.
#[derive(Clone, Copy)]
pub(crate) struct PerToken8<'a> {
    /// The codes, -127 to 127, by quads.
    pub(crate) quads: Tokens<'a, [i8; 4]>,
    /// The same in 16 bits, two codes in one number: features 0 and 2 of a quad, and features 1 and 3. For
    /// AVX2 alone, which multiplies the even bytes of the weights and then the odd ones.
    pub(crate) wide: Tokens<'a, [i32; 2]>,
    /// [`OFFSET_8`] times the sum of the codes of each token.
    pub(crate) offsets: Tokens<'a, i32>,
}

/// Activations in 8 bits, with a scale for every group.
#[derive(Clone, Copy)]
pub(crate) struct PerGroup8<'a> {
    /// The codes, -127 to 127, by quads.
    pub(crate) quads: Tokens<'a, [i8; 4]>,
    /// The scales of each group.
    pub(crate) scales: Tokens<'a, f32>,
    /// [`OFFSET_4`] times the sum of the codes of each [`BLOCK`] of features.
    pub(crate) offsets: Tokens<'a, i32>,
}

/// Two codes as the halves of a number.
pub(crate) fn halves_of_lane(low: i8, high: i8) -> i32 {
    let [low, high] = [low, high].map(|code| u32::from(i16::from(code).cast_unsigned()));
    (low | high << 16).cast_signed()
}

/// The most tokens of a tile of each loop, so that its sums, the weights and an activation fit the
/// registers: 32 with AVX-512, where a token has one sum, and 16 with AVX2, where a token has two.
pub(crate) struct MostTokens {
    pub(crate) f32: usize,
    /// AVX2 holds even and odd features of the weights apart.
    pub(crate) w8a8: usize,
    /// The integer sums of a block stand beside the `f32` sums.
    pub(crate) w4a8: usize,
}

impl MostTokens {
    pub(crate) fn here() -> Self {
        match Instructions::used() {
            Instructions::Avx512 => Self { f32: 16, w8a8: 16, w4a8: 8 },
            Instructions::Avx2 | Instructions::Portable => Self { f32: 6, w8a8: 4, w4a8: 4 },
        }
    }
}

/// Defines each loop as the choice between its forms.
macro_rules! loops {
    ($($(#[$doc:meta])* fn $name:ident$(<const $T:ident>)?($($arg:ident: $type:ty),* $(,)?)
        $(-> $result:ty)?;)*) => {$(
        $(#[$doc])*
        pub(crate) fn $name$(<const $T: usize>)?($($arg: $type),*) $(-> $result)? {
            #[cfg(target_arch = "x86_64")]
            match Instructions::used() {
                // SAFETY: the machine has the instructions that the function needs, because they are used.
                Instructions::Avx512 => return unsafe { avx512::$name$(::<$T>)?($($arg),*) },
                // SAFETY: as above.
                Instructions::Avx2 => return unsafe { avx2::$name$(::<$T>)?($($arg),*) },
                Instructions::Portable => (),
            }
            portable::$name$(::<$T>)?($($arg),*)
        }
    )*};
}

loops! {
    /// The sums of `w * x`, for `x` of one number a feature.
    fn f32_tile<const T>(w: &[[f32; ROWS]], x: Tokens<'_, f32>) -> Tile<f32, T>;

    /// The exact sums of `code * code`.
    fn w8a8<const T>(w: &[Quad8], x: PerToken8<'_>) -> Tile<i32, T>;

    /// The sums of `code * x` for one token.
    fn w8a16(w: &[Quad8], x: &[[f32; 4]]) -> [f32; ROWS];

    /// The codes as numbers, for [`f32_tile`]; `numbers` has four arrays a quad.
    fn expand8(w: &[Quad8], numbers: &mut [[f32; ROWS]]);

    /// The sums over the groups of `(sum of code * x) * scale` for one token. `scales` has one array
    /// a group.
    fn w4a16(w: &[Quad4], scales: &[[f16; ROWS]], x: &[[f32; 4]]) -> [f32; ROWS];

    /// `code * scale` as numbers, for [`f32_tile`]; `numbers` has four arrays a quad.
    fn expand4(w: &[Quad4], scales: &[[f16; ROWS]], numbers: &mut [[f32; ROWS]]);

    /// The sums over blocks of 32 features of `(sum of code * code) * (scale of w * scale of x)`, the
    /// inner sums exact. A group has whole blocks.
    fn w4a8<const T>(w: &[Quad4], scales: &[[f16; ROWS]], x: PerGroup8<'_>) -> Tile<f32, T>;

    /// Interleaves 16 rows: array `i` of `numbers` is number `i` of each row.
    fn interleave(rows: [&[f32]; ROWS], numbers: &mut [[f32; ROWS]]);

    /// The sum of each array. For one alone a processor needs as many instructions as for the products
    /// of a short row, and 16 together share theirs. Every form adds in the same order.
    fn across(arrays: &[[f32; ROWS]; ROWS]) -> [f32; ROWS];
}

#[cfg(test)]
mod tests;
