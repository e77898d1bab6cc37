//! The inner loops: one panel of weights times a few tokens, in AVX2 or in plain Rust.
//!
//! A **panel** is 16 rows of the weights, interleaved so that a register holds neighbouring rows and
//! a result needs no sum across a register:
//!
//! * `f32`: one array of 16 numbers for each feature;
//! * int8: 32 codes for each two features, the two codes of row 0, the two of row 1, and so on;
//! * int4: 32 bytes for each four features: byte `4 r + j` has the code of row `r` and feature `j` in
//!   its low nibble and the code of row `r + 8` in the high nibble, each plus 8. Both nibbles of a
//!   register then unpack to eight neighbouring rows, without a shuffle.
//!
//! A **tile** is what a loop computes at once: 16 rows times `T` tokens. Its sums stay in registers,
//! and the weights are decoded once for all of its tokens.

#[cfg(target_arch = "x86_64")]
mod avx2;
mod portable;

use half::f16;

/// Rows of a panel.
pub(crate) const ROWS: usize = 16;
/// Features whose products w4a8 adds up in 16 bits: 32 * 15 * 127 / 2 in each of two sums, which is
/// 30,480, fits.
pub(crate) const BLOCK: usize = 32;
/// An int4 code is stored plus 8, because a nibble without a sign is unpacked by a mask alone.
pub(crate) const OFFSET: i8 = 8;
/// Two features of the 16 rows.
pub(crate) type Pair8 = [i8; 2 * ROWS];
/// Four features of the 16 rows.
pub(crate) type Quad4 = [u8; 2 * ROWS];
/// The results of a tile.
pub(crate) type Tile<Number, const T: usize> = [[Number; ROWS]; T];

/// The activations of one token in 8 bits, with a scale for every group.
#[derive(Clone, Copy)]
pub(crate) struct Token8<'a> {
    /// The codes, -127 to 127, four features together.
    pub(crate) quads: &'a [[i8; 4]],
    /// The scale of each group.
    pub(crate) scales: &'a [f32],
    /// 8 times the sum of the codes of each 32 features, which [`OFFSET`] adds to their products.
    pub(crate) offsets: &'a [i32],
}

/// Defines each loop as the choice between its two forms.
macro_rules! loops {
    ($($(#[$doc:meta])* fn $name:ident$(<const $T:ident>)?($($arg:ident: $type:ty),* $(,)?)
        $(-> $result:ty)?;)*) => {$(
        $(#[$doc])*
        pub(crate) fn $name$(<const $T: usize>)?($($arg: $type),*) $(-> $result)? {
            #[cfg(target_arch = "x86_64")]
            if crate::dispatch::has_avx2() {
                // SAFETY: the function needs AVX2, FMA and F16C, and `has_avx2` found all three.
                return unsafe { avx2::$name$(::<$T>)?($($arg),*) };
            }
            portable::$name$(::<$T>)?($($arg),*)
        }
    )*};
}

loops! {
    /// The sums of `w * x`, for `x` of one number a feature.
    fn f32_tile<const T>(w: &[[f32; ROWS]], x: [&[f32]; T]) -> Tile<f32, T>;

    /// The exact sums of `code * code`.
    fn w8a8<const T>(w: &[Pair8], x: [&[[i16; 2]]; T]) -> Tile<i32, T>;

    /// The sums of `code * x` for one token.
    fn w8a16(w: &[Pair8], x: &[[f32; 2]]) -> [f32; ROWS];

    /// The codes as numbers, for [`f32_tile`]; `numbers` has two arrays a pair.
    fn expand8(w: &[Pair8], numbers: &mut [[f32; ROWS]]);

    /// The sums over the groups of `(sum of code * x) * scale` for one token. `scales` has one array
    /// a group.
    fn w4a16(w: &[Quad4], scales: &[[f16; ROWS]], x: &[[f32; 4]]) -> [f32; ROWS];

    /// `code * scale` as numbers, for [`f32_tile`]; `numbers` has four arrays a quad.
    fn expand4(w: &[Quad4], scales: &[[f16; ROWS]], numbers: &mut [[f32; ROWS]]);

    /// The sums over blocks of 32 features of `(sum of code * code) * (scale of w * scale of x)`, the
    /// inner sums exact. A group has whole blocks.
    fn w4a8<const T>(w: &[Quad4], scales: &[[f16; ROWS]], x: [Token8<'_>; T]) -> Tile<f32, T>;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whole numbers from -`most` to `most`, in no order.
    fn whole(count: usize, most: i32) -> impl Iterator<Item = i32> {
        let mixed = |i: usize| i.wrapping_mul(2_654_435_761) >> 9;
        (0..count).map(move |i| mixed(i) as i32 % (most + 1) * if i % 3 == 0 { -1 } else { 1 })
    }

    fn arrays<Value: Copy, const N: usize>(values: impl Iterator<Item = Value>) -> Vec<[Value; N]> {
        let values: Vec<Value> = values.collect();
        values.as_chunks::<N>().0.to_vec()
    }

    // Whole numbers, because their sums are exact in every order, with and without FMA.

    #[test]
    fn both_forms_give_the_same_for_f32_and_int8() {
        let numbers: Vec<[f32; ROWS]> = arrays(whole(ROWS * 10, 9).map(|w| w as f32));
        let x: Vec<f32> = whole(30, 7).map(|x| x as f32).collect();
        let x = [&x[..10], &x[10..20], &x[20..]];
        assert_eq!(f32_tile(&numbers, x), portable::f32_tile(&numbers, x));

        let pairs: Vec<Pair8> = arrays(whole(32 * 10, 127).map(|w| w as i8));
        let codes: Vec<[i16; 2]> = arrays(whole(60, 127).map(|x| x as i16));
        let x = [&codes[..10], &codes[10..20], &codes[20..]];
        assert_eq!(w8a8(&pairs, x), portable::w8a8(&pairs, x));
        let x: Vec<[f32; 2]> = codes.iter().map(|pair| pair.map(f32::from)).collect();
        assert_eq!(w8a16(&pairs, &x[..10]), portable::w8a16(&pairs, &x[..10]));
        let (mut fast, mut slow) = (vec![[0.0; ROWS]; 20], vec![[1.0; ROWS]; 20]);
        expand8(&pairs, &mut fast);
        portable::expand8(&pairs, &mut slow);
        assert_eq!(fast, slow);
    }

    #[test]
    fn both_forms_give_the_same_for_int4() {
        // Two groups of two blocks.
        let quads: Vec<Quad4> = arrays(whole(32 * 32, 255).map(|w| w.unsigned_abs() as u8));
        let scales: Vec<[f16; ROWS]> = arrays(whole(32, 4).map(|s| f16::from_f32(s as f32)));
        let codes: Vec<[i8; 4]> = arrays(whole(256, 127).map(|x| x as i8));
        let sums = codes.as_chunks::<{ BLOCK / 4 }>().0.iter();
        let sums =
            sums.map(|block| block.as_flattened().iter().map(|x| i32::from(*x)).sum::<i32>());
        let offsets: Vec<i32> = sums.map(|sum| i32::from(OFFSET) * sum).collect();
        let token = |t: usize| Token8 {
            quads: &codes[t * 32..][..32],
            scales: &[2.0, 0.5],
            offsets: &offsets[t * 4..][..4],
        };
        let x = [token(0), token(1)];
        assert_eq!(w4a8(&quads, &scales, x), portable::w4a8(&quads, &scales, x));
        let x: Vec<[f32; 4]> = codes[..32].iter().map(|quad| quad.map(f32::from)).collect();
        assert_eq!(w4a16(&quads, &scales, &x), portable::w4a16(&quads, &scales, &x));
        let (mut fast, mut slow) = (vec![[0.0; ROWS]; 128], vec![[1.0; ROWS]; 128]);
        expand4(&quads, &scales, &mut fast);
        portable::expand4(&quads, &scales, &mut slow);
        assert_eq!(fast, slow);
    }
}
