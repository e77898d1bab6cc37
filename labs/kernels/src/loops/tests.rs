//! Each form of a loop that this machine has is compared with plain Rust.

use super::*;

/// Whole numbers from -`most` to `most`, in no order, because their sums are exact in every order, with
/// and without FMA.
fn whole(count: usize, most: i32) -> impl Iterator<Item = i32> {
    let mixed = |i: usize| i.wrapping_mul(2_654_435_761) >> 9;
    (0..count).map(move |i| mixed(i) as i32 % (most + 1) * if i % 3 == 0 { -1 } else { 1 })
}

fn arrays<Value: Copy, const N: usize>(values: impl Iterator<Item = Value>) -> Vec<[Value; N]> {
    let values: Vec<Value> = values.collect();
    values.as_chunks::<N>().0.to_vec()
}

/// Three tokens of five that are interleaved, from the second on.
fn tokens<Value>(values: &[Value]) -> Tokens<'_, Value> {
    Tokens { values, width: 5, first: 1 }
}

/// Compares a call of every form that the machine has with the portable one.
macro_rules! hold {
    ($name:ident$(::<$T:literal>)?($($arg:expr),*)) => {
        let expected = portable::$name$(::<$T>)?($($arg),*);
        #[cfg(target_arch = "x86_64")]
        {
            if Instructions::used() >= Instructions::Avx2 {
                // SAFETY: the machine has the instructions that the function needs, because they are used.
                assert_eq!(unsafe { avx2::$name$(::<$T>)?($($arg),*) }, expected, "AVX2");
            }
            if Instructions::used() >= Instructions::Avx512 {
                // SAFETY: as above.
                assert_eq!(unsafe { avx512::$name$(::<$T>)?($($arg),*) }, expected, "AVX-512");
            }
        }
    };
}

/// The same for a loop that writes `$count` arrays of numbers.
macro_rules! hold_numbers {
    ($count:expr, $name:ident($($arg:expr),*)) => {
        let (mut fast, mut slow) = (vec![[0.0; ROWS]; $count], vec![[1.0; ROWS]; $count]);
        portable::$name($($arg,)* &mut slow);
        #[cfg(target_arch = "x86_64")]
        {
            if Instructions::used() >= Instructions::Avx2 {
                // SAFETY: the machine has the instructions that the function needs, because they are used.
                unsafe { avx2::$name($($arg,)* &mut fast) };
                assert_eq!(fast, slow, "AVX2");
            }
            fast.fill([2.0; ROWS]);
            if Instructions::used() >= Instructions::Avx512 {
                // SAFETY: as above.
                unsafe { avx512::$name($($arg,)* &mut fast) };
                assert_eq!(fast, slow, "AVX-512");
            }
        }
        $name($($arg,)* &mut fast);
        assert_eq!(fast, slow);
    };
}

#[test]
fn every_form_gives_the_same_for_f32() {
    let w: Vec<[f32; ROWS]> = arrays(whole(ROWS * 10, 9).map(|w| w as f32));
    let x: Vec<f32> = whole(5 * 10, 7).map(|x| x as f32).collect();
    hold!(f32_tile::<3>(&w, tokens(&x)));
    let rows: Vec<f32> = whole(ROWS * 21, 999).map(|w| w as f32).collect();
    let rows: [&[f32]; ROWS] = std::array::from_fn(|row| &rows[row * 21..][..21]);
    hold_numbers!(21, interleave(rows));
    // Numbers whose sums are rounded, because every form adds in the same order.
    let thirds: Vec<[f32; ROWS]> = arrays(whole(ROWS * ROWS, 999).map(|w| w as f32 / 3.0));
    if let [arrays] = thirds.as_chunks::<ROWS>().0 {
        hold!(across(arrays));
    }
}

#[test]
fn every_form_gives_the_same_for_int8() {
    let w: Vec<Quad8> = arrays(whole(64 * 10, 255).map(|w| w.unsigned_abs() as u8));
    let codes: Vec<[i8; 4]> = arrays(whole(4 * 5 * 10, 127).map(|x| x as i8));
    let wide: Vec<[i32; 2]> =
        codes.iter().map(|&[a, b, c, d]| [halves_of_lane(a, c), halves_of_lane(b, d)]).collect();
    let sum = |token: usize| -> i32 {
        codes.chunks_exact(5).flat_map(|place| place[token]).map(i32::from).sum()
    };
    let offsets: [i32; 5] = std::array::from_fn(|token| OFFSET_8 * sum(token));
    let x = PerToken8 { quads: tokens(&codes), wide: tokens(&wide), offsets: tokens(&offsets) };
    hold!(w8a8::<3>(&w, x));
    let x: Vec<[f32; 4]> = codes.iter().map(|quad| quad.map(f32::from)).collect();
    hold!(w8a16(&w, &x[..10]));
    hold_numbers!(40, expand8(&w));
}

#[test]
fn every_form_gives_the_same_for_int4() {
    // Two groups of two blocks.
    let w: Vec<Quad4> = arrays(whole(32 * 32, 255).map(|w| w.unsigned_abs() as u8));
    let scales: Vec<[f16; ROWS]> = arrays(whole(32, 4).map(|s| f16::from_f32(s as f32)));
    let codes: Vec<[i8; 4]> = arrays(whole(4 * 5 * 32, 127).map(|x| x as i8));
    let of_block = |block: usize, token: usize| -> i32 {
        let quads = codes[block * 5 * 8..][..5 * 8].chunks_exact(5);
        quads.flat_map(|place| place[token]).map(i32::from).sum()
    };
    let offsets: Vec<i32> =
        (0..4 * 5).map(|at| i32::from(OFFSET_4) * of_block(at / 5, at % 5)).collect();
    let of_x = [2.0, 0.5, 1.0, 4.0, 8.0, 0.25, 1.0, 2.0, 0.5, 4.0];
    let x = PerGroup8 { quads: tokens(&codes), scales: tokens(&of_x), offsets: tokens(&offsets) };
    hold!(w4a8::<3>(&w, &scales, x));
    let x: Vec<[f32; 4]> = codes[..32].iter().map(|quad| quad.map(f32::from)).collect();
    hold!(w4a16(&w, &scales, &x));
    hold_numbers!(128, expand4(&w, &scales));
}
