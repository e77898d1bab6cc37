//! The spec of lab 03. The name of a test is a sentence, and a failure names the likely mistake.
//!
//! `LAB_IMPL=starter cargo test -p lab-03-int4-groups-and-packing --test spec` grades
//! `src/starter.rs`.

use half::f16;
use int4_groups::{
    AWQ_ORDER, Int4Error, Int4Groups, LINEAR_ORDER, NibbleOrder, QMAX, check_group_size,
    dequantize_groups, group_scale, int4_linear, memory_bytes, pack_gptq_zeros, pack_nibbles,
    pack_word, quantize_groups, quantize_groups_by_search, quantize_value, search_scale,
    shrunk_maxima, unpack_gptq_zeros, unpack_nibbles, unpack_word,
};
use kit::data::{normal_matrix, with_outlier_channel};
use kit::difference::assert_same;
use kit::meters::relative_error;
use kit::real_slice;
use kit::reference::linear_f64;
use ndarray::{Array2, ArrayView1, Axis, array, s};

/// The value of a function on good input.
fn must<T>(result: Result<T, Int4Error>) -> T {
    result.unwrap_or_else(|error| panic!("good input was refused: {error}"))
}

fn real(name: &str) -> Array2<f32> {
    real_slice::tensor(name).unwrap_or_else(|error| panic!("{error}"))
}

/// The same matrix, kept column by column in memory.
fn by_columns<T: Clone>(m: &Array2<T>) -> Array2<T> {
    m.t().as_standard_layout().into_owned().reversed_axes()
}

/// A word that a failed comparison shows by its nibbles.
#[derive(PartialEq)]
struct Hex(u32);

impl std::fmt::Debug for Hex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

/// Index and value of the code that was refused, whatever the range is called.
fn refused_code<T>(found: Result<T, Int4Error>) -> Option<(usize, i32)> {
    match found {
        Err(Int4Error::CodeOutOfRange { index, code, .. }) => Some((index, code)),
        _ => None,
    }
}

fn half(value: f32) -> f16 {
    f16::from_f32(value)
}

/// Rows of 1536: 128 divides them, and so do 64, 32 and 16.
const LONG_ROWS: &str = real_slice::TENSORS[5];
/// A square matrix, 576 x 576: 64 divides it, 128 does not.
const SQUARE: &str = real_slice::TENSORS[6];

// ---- task 1: one group ---------------------------------------------------------------------------

#[test]
fn the_scale_is_a_seventh_of_the_maximum_in_f16_or_exactly_1() {
    assert_eq!(group_scale(14.0), half(2.0), "`group_scale(14)`: 14 over 7 is 2; not over 8");
    assert_eq!(
        group_scale(1.0),
        half(1.0 / 7.0),
        "`group_scale(1)`: a seventh, rounded to the nearest f16"
    );
    assert_eq!(
        group_scale(47.565_22),
        half(47.565_22 / 7.0),
        "`group_scale(47.56522)`: divide in f32, then round to f16 once. Dividing an f16 by an f16 \
         rounds twice"
    );
    assert_eq!(
        group_scale(1e-6),
        half(1e-6 / 7.0),
        "`group_scale(1e-6)`: a guard against zero must leave every other maximum alone"
    );
    assert_eq!(group_scale(0.0), f16::ONE, "`group_scale(0)`: 0 / 0 is NaN, so exactly 1");
    for absmax in [1e-8, 1.2e-7, 1.5e-7, 2e-7] {
        assert_eq!(
            group_scale(absmax),
            f16::ONE,
            "`group_scale({absmax:e})`: a seventh of it is above 0 in f32 and 0 in f16. Guard the \
             scale as it is stored, not the maximum, whatever the epsilon"
        );
    }
    assert_eq!(
        group_scale(2.2e-7),
        f16::from_bits(1),
        "`group_scale(2.2e-7)`: a seventh of it is nearest to the smallest f16, which is a scale"
    );
}

#[test]
fn a_group_size_that_does_not_divide_is_refused() {
    for group_size in [576, 64, 32, 16] {
        assert_eq!(check_group_size(576, group_size), Ok(()), "{group_size} divides 576");
    }
    for (in_features, group_size) in [(9, 3), (5, 1), (7, 7)] {
        assert_eq!(
            check_group_size(in_features, group_size),
            Ok(()),
            "{group_size} divides {in_features}: a group may be odd, because codes are packed later \
             and across groups"
        );
    }
    for (in_features, group_size) in [(576, 128), (64, 128), (576, 0), (0, 32)] {
        assert_eq!(
            check_group_size(in_features, group_size),
            Err(Int4Error::GroupDoesNotDivide { in_features, group_size }),
            "rows of {in_features} in groups of {group_size}: refuse, and name both numbers, each in \
             its field. (vLLM refuses a short last group too. 0 is a multiple of every size, but \
             has no groups)"
        );
    }
}

// ---- task 2: a matrix in groups ------------------------------------------------------------------

#[test]
fn each_group_has_the_scale_of_its_own_maximum() {
    let w = array![
        [0.5, -3.5, 1.0, 0.0, 0.25, 0.5, -0.125, 1.75],
        [7.0, 3.0, -1.0, 2.5, 14.0, -6.0, 5.0, 0.0]
    ];
    let quantized = must(quantize_groups(&w, 4));
    assert_eq!(
        quantized.scales(),
        array![[half(0.5), half(0.25)], [half(1.0), half(2.0)]],
        "W is [2, 8] and group_size 4: scales of shape [2, 2], each the largest magnitude of its own \
         four neighbours over 7. Rows [3.5, 1.75] and [7, 14]"
    );
    assert_eq!(
        quantized.q(),
        array![[1, -7, 2, 0, 1, 2, 0, 7], [7, 3, -1, 2, 7, -3, 2, 0]],
        "codes, row by row. (0.125 / 0.25 is half a step: to even. So are 2.5 / 1 and 5 / 2)"
    );
    // 1 / 7 is not an f16. A code has to be nearest under the scale that is stored.
    let stored = half(1.0 / 7.0);
    let tie = 5.5 * stored.to_f32();
    let edge = f32::from_bits(if stored.to_f32() < 1.0 / 7.0 {
        tie.to_bits() + 8
    } else {
        tie.to_bits() - 8
    });
    let code = must(quantize_groups(&array![[1.0, edge]], 2)).q()[(0, 1)];
    let right = if edge > tie { 6 } else { 5 };
    assert_eq!(
        code, right,
        "{edge} lies just beside {tie}, which is 5.5 steps of the f16 scale {stored}: its code is \
         {right}. Divide by the scale as it is stored, not by the f32 it was rounded from"
    );
}

#[test]
fn a_group_of_zeros_gets_scale_1_and_comes_back_as_zeros() {
    let w = array![[0.0, 0.0, 7.0, -3.0], [1.0, -7.0, 0.0, 0.0]];
    let quantized = must(quantize_groups(&w, 2));
    assert_eq!(
        [quantized.scales()[(0, 0)], quantized.scales()[(1, 1)]],
        [f16::ONE; 2],
        "a group of zeros has no range to divide; a scale of 0 makes NaN of 0 / 0 in every engine \
         that keeps codes as floats. It gets 1, and its neighbours keep theirs"
    );
    assert_eq!(dequantize_groups(&quantized), w, "these weights are all on their grids");
}

#[test]
fn what_cannot_be_quantized_is_refused_with_its_address() {
    for poison in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut w = normal_matrix(1, 3, 8);
        w[(2, 5)] = poison;
        let error = quantize_groups(&w, 4).err();
        let named = match &error {
            Some(Int4Error::NotFinite { row: 2, column: 5, value }) => value.to_string(),
            _ => String::new(),
        };
        assert!(
            named == poison.to_string(),
            "row 2 holds {poison} at column 5, and `quantize_groups` said {error:?}: ask \
             `check_finite`, which is given"
        );
    }
    for group_size in [128, 0] {
        let ragged =
            std::panic::catch_unwind(|| quantize_groups(&Array2::zeros((2, 576)), group_size));
        assert_eq!(
            ragged.ok(),
            Some(Err(Int4Error::GroupDoesNotDivide { in_features: 576, group_size })),
            "`quantize_groups` has to ask `check_group_size` before it cuts rows into groups of \
             {group_size} (None is a panic)"
        );
    }
    let mut w = normal_matrix(1, 3, 8);
    w[(2, 6)] = 4e5;
    assert!(
        quantize_groups(&w, 4).is_ok(),
        "a seventh of 400,000 is 57,143, an f16: only the scale must fit, not the weight"
    );
    w[(2, 6)] = 65_510.0 * 7.0;
    assert!(
        quantize_groups(&w, 4).is_ok(),
        "a seventh is 65,510, which f16 rounds to 65,504, its largest number: ask the scale as it is \
         stored whether it is infinite"
    );
    w[(2, 6)] = -1e6;
    assert_eq!(
        quantize_groups(&w, 4),
        Err(Int4Error::ScaleOverflow { row: 2, group: 1, absmax: 1e6 }),
        "a seventh of a million is beyond f16, whose largest number is 65504: the scale would be \
         infinite, and every weight of the group 0 or NaN"
    );
}

#[test]
fn every_weight_lies_within_half_a_step_of_its_code() {
    // Rounding moves a value by at most half a step. The quotient w / s is itself rounded to f32,
    // by at most 2^-24 of its size, which is at most 7 (1 + 2^-11): that is all the slack there is.
    let bound = 0.5 + 7.01 * f64::powi(2.0, -24);
    for (name, sizes) in [(LONG_ROWS, [1536, 128, 16]), (SQUARE, [576, 64, 32])] {
        let w = real(name);
        for size in sizes {
            let quantized = must(quantize_groups(&w, size));
            for (((row, column), &value), &code) in w.indexed_iter().zip(quantized.q()) {
                let scale = quantized.scales()[(row, column / size)].to_f64();
                let steps = (f64::from(value) / scale - f64::from(code)).abs();
                assert!(
                    steps <= bound,
                    "{name}[{row}, {column}] = {value} has the code {code} at scale {scale}, group \
                     size {size}: {steps:.4} steps away, and rounding to the nearest code allows \
                     0.5. Much more means clipping or another rounding; a little more means that the \
                     code was found with a scale that had not been rounded to f16"
                );
            }
        }
    }
}

#[test]
fn negating_the_weights_negates_every_code() {
    let w = real(SQUARE);
    let codes = must(quantize_groups(&w, 64));
    let negated = must(quantize_groups(&-&w, 64));
    assert!(
        codes.q().iter().all(|code| (-7..=7).contains(code)),
        "a code of -8: the grid of this lab is -7..=7"
    );
    let broken = codes.q().iter().zip(negated.q()).filter(|(code, mirror)| **code != -**mirror);
    let broken = broken.count();
    assert_eq!(
        broken, 0,
        "{broken} codes of -W are not minus the codes of W. On a grid with -8 and no +8 the largest \
         weight of a group gets -8 or 7, depending on its sign"
    );
}

#[test]
fn groups_run_along_in_features_in_a_square_matrix_too() {
    // Square, so that no shape gives the mistake away. The outlier column is in the first group of
    // every row.
    let w = with_outlier_channel(&normal_matrix(3, 8, 8), 1, 100.0);
    let quantized = must(quantize_groups(&w, 4));
    assert!(
        must(quantize_groups(&by_columns(&w), 4)) == quantized,
        "the same matrix, kept column by column in memory: index by row and column, \
         not by place in memory"
    );
    for row in 0..8 {
        for group in 0..2 {
            let weights = w.slice(s![row, group * 4..group * 4 + 4]);
            let absmax = weights.iter().fold(0.0, |max: f32, value| max.max(value.abs()));
            assert_eq!(
                quantized.scales()[(row, group)],
                half(absmax / QMAX),
                "the scale of row {row}, group {group}: its weights are {weights}. A group is four \
                 neighbours inside a row of [out_features, in_features], not down a column"
            );
        }
    }
}

#[test]
fn groups_confine_an_outlier_to_its_own_group() {
    let healthy = normal_matrix(42, 64, 512);
    let planted = with_outlier_channel(&healthy, 7, 20.0);
    let others = |matrix: &Array2<f32>| {
        let columns: Vec<usize> = (0..512).filter(|&column| column != 7).collect();
        matrix.select(Axis(1), &columns)
    };
    let error = |size| {
        let back = dequantize_groups(&must(quantize_groups(&planted, size)));
        relative_error(&others(&planted), &others(&back))
    };
    let (channel, g128, g32) = (error(512), error(128), error(32));
    assert!(
        (0.57..0.70).contains(&channel),
        "per channel, one weight of 512 at 20 times its size should cost the other 511 about 0.65 of \
         their norm, and it costs {channel:.3}"
    );
    assert!(
        (0.31..0.35).contains(&g128) && (0.17..0.20).contains(&g32),
        "with groups of 128 only a quarter of the others shares the outlier's scale, with groups \
         of 32 a sixteenth: about 0.33 and 0.18, and you have {g128:.3} and {g32:.3}"
    );
    let (with, without) =
        (must(quantize_groups(&planted, 128)), must(quantize_groups(&healthy, 128)));
    assert_same(
        with.q().slice(s![.., 128..]),
        without.q().slice(s![.., 128..]),
        "No code may change outside the group of the outlier",
    );
}

#[test]
fn smaller_groups_mean_less_error_and_more_bytes_on_real_weights() {
    for (name, sizes) in [(LONG_ROWS, vec![1536, 128, 64, 32, 16]), (SQUARE, vec![576, 64, 32, 16])]
    {
        let w = real(name);
        let energy = w.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>();
        let mut before: Option<(f64, usize)> = None;
        for size in sizes {
            let quantized = must(quantize_groups(&w, size));
            let error = relative_error(&w, &dequantize_groups(&quantized));
            // The rounding error is spread evenly over a step s, so its mean square is s^2 / 12;
            // except for the absmax of a group, which lies on the last code.
            let steps = quantized.scales().iter().map(|s| s.to_f64().powi(2)).sum::<f64>();
            let predicted = (steps * (size as f64 - 1.0) / 12.0 / energy).sqrt();
            assert!(
                (error / predicted - 1.0).abs() < 0.05,
                "{name} at group size {size} comes back with an error of {:.2} % of its norm, and \
                 rounding to your scales should cost {:.2} %",
                100.0 * error,
                100.0 * predicted
            );
            let bytes = quantized.q().len() / 2 + 2 * quantized.scales().len();
            if let Some((larger_error, fewer_bytes)) = before {
                assert!(
                    error < larger_error && bytes > fewer_bytes,
                    "{name}: from the next larger group to {size} the error went from \
                     {larger_error:.4} to {error:.4} and the bytes from {fewer_bytes} to {bytes}: \
                     does every group have a scale of its own maximum?"
                );
            }
            before = Some((error, bytes));
        }
    }
}

#[test]
fn dequantize_takes_the_scale_of_the_columns_own_group() {
    let q = array![[1, -2, 3, 7, -7, 0], [4, 5, -6, 1, 1, 1]];
    let scales = array![[0.5, 1.0, 2.0], [0.25, 4.0, 8.0]].mapv(half);
    let w = must(Int4Groups::new(q, scales));
    assert_eq!(
        dequantize_groups(&w),
        array![[0.5, -1.0, 3.0, 7.0, -14.0, 0.0], [1.0, 1.25, -24.0, 4.0, 8.0, 8.0]],
        "three groups of two: columns 0 and 1 have the first scale, 2 and 3 the second, 4 and 5 the \
         third. Column j belongs to group j / group_size, rounded down"
    );
    let kept = must(Int4Groups::new(by_columns(w.q()), w.scales().clone()));
    assert_eq!(
        dequantize_groups(&kept),
        dequantize_groups(&w),
        "the same codes, kept column by column: index by row and column, not by place in memory"
    );
    let square = array![[1.0, 2.0], [4.0, 8.0]].mapv(half);
    let square = must(Int4Groups::new(Array2::ones((2, 4)), square));
    assert_eq!(
        dequantize_groups(&square),
        array![[1.0, 1.0, 2.0, 2.0], [4.0, 4.0, 8.0, 8.0]],
        "as many rows as groups, so a scale that is taken at [group, row] has the right shape"
    );
    let seventh = half(1.0 / 7.0);
    let one = must(Int4Groups::new(array![[5]], Array2::from_elem((1, 1), seventh)));
    assert_eq!(
        dequantize_groups(&one)[(0, 0)],
        5.0 * seventh.to_f32(),
        "multiply in f32: in f16 the product is rounded once more"
    );
}

// ---- task 3: two codes to a byte -----------------------------------------------------------------

#[test]
fn two_codes_share_a_byte_and_the_first_is_the_low_nibble() {
    let cases: [(&[i8], &[u8]); 4] = [
        (&[1, 2], &[0x21]),
        (&[-1, 7], &[0x7F]),
        (&[-8, 0], &[0x08]),
        (&[3, -3, -7, 6], &[0xD3, 0x69]),
    ];
    for (codes, bytes) in cases {
        let packed = must(pack_nibbles(codes));
        let swapped: Vec<u8> = bytes.iter().map(|byte| byte.rotate_left(4)).collect();
        let offset: Vec<u8> = bytes.iter().map(|byte| byte ^ 0x88).collect();
        let diagnosis = match &packed {
            other if *other == swapped => "the nibbles are swapped: the first code is the low one",
            other if *other == offset => "8 was added: a nibble keeps the sign in two's complement",
            _ => "a nibble is the code's lowest four bits",
        };
        assert_eq!(packed, bytes, "{codes:?} packed, in {packed:02x?}: {diagnosis}");
        let unpacked = unpack_nibbles(bytes);
        let swapped: Vec<i8> =
            codes.as_chunks::<2>().0.iter().flat_map(|&[low, high]| [high, low]).collect();
        let diagnosis = match &unpacked {
            other if *other == swapped => "the nibbles are swapped: the low one comes first",
            _ => "each nibble is a code of four bits in two's complement",
        };
        assert_eq!(unpacked, codes, "{bytes:02x?} unpacked: {diagnosis}");
    }
}

#[test]
fn unpacking_undoes_packing_for_every_byte_there_is() {
    for byte in 0..=255 {
        let codes = unpack_nibbles(&[byte]);
        let inside = codes.len() == 2 && codes.iter().all(|code| (-8..=7).contains(code));
        assert!(
            inside,
            "byte {byte:02x} unpacked to {codes:?}: two codes in -8..=7. A code above 7 is a \
             negative one whose sign was not carried"
        );
        assert_eq!(must(pack_nibbles(&codes)), [byte], "{byte:02x} unpacked to {codes:?}");
    }
    let nothing = (pack_nibbles(&[]), unpack_nibbles(&[]));
    assert_eq!(nothing, (Ok(vec![]), vec![]), "no codes fill no bytes, which is no error");
    for low in -8..=7 {
        for high in -8..=7 {
            let packed = must(pack_nibbles(&[low, high]));
            assert_eq!(
                unpack_nibbles(&packed),
                [low, high],
                "[{low}, {high}] became {packed:02x?}"
            );
        }
    }
}

#[test]
fn a_wrong_order_of_nibbles_keeps_the_histogram_and_ruins_the_weights() {
    let w = real(SQUARE);
    let quantized = must(quantize_groups(&w, 64));
    let codes: Vec<i8> = quantized.q().iter().copied().collect();
    let packed = must(pack_nibbles(&codes));
    let unpacked = unpack_nibbles(&packed);
    let swapped: Vec<i8> = codes.as_chunks().0.iter().flat_map(|&[a, b]| [b, a]).collect();
    assert_same(
        ArrayView1::from(&unpacked),
        ArrayView1::from(&codes),
        if unpacked == swapped {
            "Each pair of codes has changed places: the first is the low nibble, in both directions"
        } else if unpacked.iter().any(|code| !(-8..=7).contains(code)) {
            "A code is outside -8..=7: carry the sign of the nibble"
        } else {
            "Real codes must survive packing: cut each code to four bits before two are joined, \
             because the upper bits of a negative one are ones"
        },
    );
    // The same bytes, read with the other convention.
    let mirrored: Vec<u8> = packed.iter().map(|byte| byte.rotate_left(4)).collect();
    let misread = unpack_nibbles(&mirrored);
    assert_eq!(histogram(&misread), histogram(&codes), "swapping two codes changes no count");
    let misread = Array2::from_shape_vec(w.dim(), misread).expect("as many codes");
    let misread = must(Int4Groups::new(misread, quantized.scales().clone()));
    let error = relative_error(&w, &dequantize_groups(&misread));
    // Two independent weights of one size: the difference has sqrt(2) times their norm.
    assert!(
        error > 1.0,
        "every weight changed places with its neighbour, so little of W can be left, and the error \
         is only {error:.2}: which nibble do you read first?"
    );
}

fn histogram(codes: &[i8]) -> [usize; 16] {
    let mut counts = [0; 16];
    codes.iter().for_each(|&code| counts[usize::from((code + 8).cast_unsigned())] += 1);
    counts
}

#[test]
fn half_a_byte_and_a_code_of_five_bits_are_refused() {
    assert_eq!(
        pack_nibbles(&[1, 2, 3]),
        Err(Int4Error::HalfAByte(3)),
        "three codes fill a byte and a half: refuse, instead of losing the third or inventing a \
         fourth"
    );
    for (codes, index, code) in
        [([0, 8, 0, 0], 1, 8), ([0, 0, -9, 0], 2, -9), ([0, 8, -9, 0], 1, 8)]
    {
        assert_eq!(
            refused_code(pack_nibbles(&codes)),
            Some((index, code)),
            "{codes:?}: {code} at {index} is the first that does not fit four bits: masked, it would \
             come back as {}",
            if code == 8 { -8 } else { 7 }
        );
    }
}

// ---- task 4: eight codes to a word ---------------------------------------------------------------

#[test]
fn eight_codes_fill_a_word_in_the_order_that_is_asked_for() {
    let codes = [0, 1, 2, 3, 4, 5, 6, 7];
    let backwards: NibbleOrder = [7, 6, 5, 4, 3, 2, 1, 0];
    let cases = [(LINEAR_ORDER, 0x7654_3210), (AWQ_ORDER, 0x7531_6420), (backwards, 0x0123_4567)];
    for (order, expected) in cases {
        let word = must(pack_word(codes, &order));
        let diagnosis = match word {
            _ if order == AWQ_ORDER && word == 0x7362_5140 => {
                "the order is used backwards: nibble i holds code order[i], not the other way round"
            }
            0x7654_3210 => "the order is ignored",
            0x0123_4567 => "filled from the top: nibble 0 is the lowest four bits",
            _ => "nibble i, the bits 4i to 4i + 3, holds codes[order[i]]",
        };
        assert_eq!(
            Hex(word),
            Hex(expected),
            "codes 0 to 7 in the order {order:?} make the word {expected:08x}, not {word:08x}: \
             {diagnosis}"
        );
        let unpacked = unpack_word(expected, &order);
        let diagnosis = match unpacked {
            [0, 2, 4, 6, 1, 3, 5, 7] => "the order is ignored",
            [0, 4, 1, 5, 2, 6, 3, 7] => "the order is used backwards",
            _ => "nibble i is code order[i]",
        };
        assert_eq!(unpacked, codes, "{expected:08x} in the order {order:?}: {diagnosis}");
    }
    for order in [LINEAR_ORDER, AWQ_ORDER] {
        for code in [16, 32] {
            assert_eq!(
                refused_code(pack_word([0, 0, code, 0, 0, 0, 0, 0], &order)),
                Some((2, code.into())),
                "{code} does not fit four bits: it would spill into its neighbour's nibble. `index` \
                 is its place among the codes, whatever the order"
            );
        }
    }
}

#[test]
fn an_awq_word_read_as_linear_looks_plausible_and_is_wrong() {
    let w = real(SQUARE);
    let quantized = must(quantize_groups(&w, 64));
    let codes: Vec<u8> = quantized.q().iter().map(|code| (code + 8).cast_unsigned()).collect();
    let (words, _) = codes.as_chunks::<8>();
    let awq: Vec<u32> = words.iter().map(|codes| must(pack_word(*codes, &AWQ_ORDER))).collect();
    let read =
        |order| -> Vec<u8> { awq.iter().flat_map(|&word| unpack_word(word, order)).collect() };
    assert_same(
        ArrayView1::from(&read(&AWQ_ORDER)),
        ArrayView1::from(&codes),
        "AWQ words, read in AWQ's order, are the codes again",
    );
    let misread = read(&LINEAR_ORDER);
    let moved = misread.iter().zip(&codes).filter(|(a, b)| a != b).count();
    assert!(
        moved > codes.len() / 2,
        "only the first and the last of eight codes keep their place when AWQ's order is read as \
         linear, but all but {moved} of {} codes came back: is the order used at all?",
        codes.len()
    );
    let signed = |codes: &[u8]| codes.iter().map(|c| c.cast_signed() - 8).collect::<Vec<i8>>();
    assert_eq!(
        histogram(&signed(&misread)),
        histogram(&signed(&codes)),
        "whatever the order, the same codes are there: a histogram cannot tell"
    );
}

#[test]
fn gptq_v1_stores_each_zero_point_minus_one() {
    assert_eq!(
        Hex(must(pack_gptq_zeros([8; 8]))),
        Hex(0x7777_7777),
        "the zero point of a symmetric checkpoint is 8; GPTQ v1 stores 7, in every nibble"
    );
    let counted = must(pack_gptq_zeros([1, 2, 3, 4, 5, 6, 7, 8]));
    assert_eq!(Hex(counted), Hex(0x7654_3210), "minus one each");
    assert_eq!(Hex(must(pack_gptq_zeros([16; 8]))), Hex(0xFFFF_FFFF), "16 is stored as 15");
    assert_eq!(
        unpack_gptq_zeros(0x7777_7777),
        [8; 8],
        "the reader adds one. Off by one here moves every weight of the group by one step"
    );
    assert_eq!(unpack_gptq_zeros(0xFEDC_BA98), [9, 10, 11, 12, 13, 14, 15, 16], "plus one each");
    assert_eq!(
        pack_gptq_zeros([8, 8, 0, 8, 0, 8, 8, 8]),
        Err(Int4Error::ZeroMinusOne { index: 2 }),
        "0 minus one is -1, whose bits are all ones: it wraps to 15, or wipes the whole word if \
         nobody masks it. Refuse it, and name the first"
    );
    assert_eq!(
        refused_code(pack_gptq_zeros([8, 17, 8, 20, 8, 8, 8, 8])),
        Some((1, 17)),
        "17 minus one is 16, which needs five bits. It is the first that does not fit"
    );
}

// ---- task 5: the layer, and the bytes ------------------------------------------------------------

#[test]
fn int4_linear_is_the_product_with_the_dequantized_matrix() {
    // Small whole numbers and scales that are powers of two: every step is exact in f32.
    let codes = |seed, rows: usize| {
        normal_matrix(seed, rows, 64).mapv(|v| (v * 3.0).round_ties_even().clamp(-QMAX, QMAX))
    };
    let scales = Array2::from_shape_fn((3, 4), |(row, group)| {
        half([0.25, 2.0, 0.5, 4.0][(row + group) % 4])
    });
    let w = must(Int4Groups::new(codes(2, 3).mapv(|code| code as i8), scales));
    let x = codes(1, 5);
    let y = must(int4_linear(&x, &w));
    assert_eq!(y.dim(), (5, 3), "x @ W.T is [tokens, out_features]");
    let codes_alone = linear_f64(&x, &w.q().mapv(f32::from));
    let why = if y == codes_alone {
        "that is the product with the codes: multiply by the scales"
    } else if y == &codes_alone * &w.scales().column(0).mapv(f16::to_f32) {
        "each row has the scale of its first group: each group has its own"
    } else {
        "each group's sum has to be multiplied by its own scale before the sums are added"
    };
    assert_same(
        y.view(),
        linear_f64(&x, &dequantize_groups(&w)).view(),
        format_args!("Every step is exact here, so the two must agree to the bit, and {why}"),
    );
    let kept = must(Int4Groups::new(by_columns(w.q()), w.scales().clone()));
    for (what, x, w) in [("x", by_columns(&x), &w), ("codes", x, &kept)] {
        let columns = std::panic::catch_unwind(|| int4_linear(&x, w));
        assert_eq!(
            columns.ok(),
            Some(Ok(y.clone())),
            "the same {what}, kept column by column (None is a panic): index by row and column, and do \
             not ask for a slice of the memory"
        );
    }
    let real_w = must(quantize_groups(&real(SQUARE), 64));
    let real_x = normal_matrix(9, 4, 576);
    let error = relative_error(
        &linear_f64(&real_x, &dequantize_groups(&real_w)),
        &must(int4_linear(&real_x, &real_w)),
    );
    // f32 rounds each of 576 products and additions by at most 2^-24 of a partial sum.
    let bound = 576.0 * f64::powi(2.0, -24);
    assert!(
        error < bound,
        "on a real, square W the two differ by {error:e}, f32 allows {bound:e}: x @ W has the right \
         shape and the wrong values, and sums in f16 lose digits"
    );
    let short = normal_matrix(5, 2, 60);
    assert_eq!(
        int4_linear(&short, &w),
        Err(Int4Error::FeaturesDiffer { x: 60, w: 64 }),
        "an x with the wrong number of features: refuse before ndarray panics, and name both \
         numbers, each in its field"
    );
}

#[test]
fn int4_linear_applies_each_scale_to_the_sum_of_its_group() {
    // x is chosen so that x . code is exactly 0 in whole numbers, in every group. A scale that is
    // no power of two rounds each product that it enters, and then they do not cancel.
    let mut x = Array2::zeros((1, 96));
    let mut q = Array2::zeros((1, 96));
    for (at, value) in (0..32).flat_map(|k| {
        let (a, b) = (10_007 + 131 * k, 20_011 + 977 * k);
        [(3 * k, a), (3 * k + 1, b), (3 * k + 2, a + b)]
    }) {
        x[(0, at)] = value as f32;
        q[(0, at)] = if at % 3 == 2 { -1 } else { 1 };
    }
    let w = must(Int4Groups::new(q, Array2::from_elem((1, 2), half(1.0 / 7.0))));
    let y = must(int4_linear(&x, &w))[(0, 0)];
    assert_eq!(
        y, 0.0,
        "the sum of x * code is 0 in every group, so whatever the scale, y is 0, and you have {y:e}: \
         the scale was multiplied into each weight, one rounding for each. Inside a group it is a \
         common factor: sum first, multiply once"
    );
}

#[test]
fn int4_linear_never_holds_the_matrix_in_f32() {
    let w = must(quantize_groups(&normal_matrix(6, 256, 512), 128));
    let x = normal_matrix(7, 1, 512);
    let used = allocation_counter::measure(|| {
        let _ = must(int4_linear(&x, &w));
    });
    let (peak, weights) = (used.bytes_max, w.q().len() as u64);
    assert!(
        peak < weights,
        "int4_linear held {peak} bytes at once, for {weights} weights: that is a copy of the matrix. \
         The point of four bits is to move a few bytes. Turn each code into a number where it is \
         used, and forget it"
    );
}

#[test]
fn memory_is_half_a_byte_a_weight_and_two_bytes_a_group() {
    let w = real(LONG_ROWS);
    let quantized = must(quantize_groups(&w, 128));
    let bytes = memory_bytes(&quantized);
    assert_eq!(
        bytes,
        w.len() / 2 + 2 * (w.len() / 128),
        "{} codes at two a byte and {} scales of two bytes",
        w.len(),
        w.len() / 128
    );
    let per_weight = bytes as f64 / w.len() as f64;
    assert_eq!(per_weight, 0.515625, "0.5 + 2/128 bytes a weight");
    let (f32s, f16s) = (4.0 / per_weight, 2.0 / per_weight);
    assert!(
        (7.7..7.8).contains(&f32s) && (3.85..3.9).contains(&f16s),
        "{f32s:.2} times smaller than f32, {f16s:.2} times smaller than f16"
    );
    let odd = must(Int4Groups::new(Array2::zeros((3, 3)), Array2::from_elem((3, 1), f16::ONE)));
    assert_eq!(
        memory_bytes(&odd),
        5 + 6,
        "nine codes need five bytes: the last half byte counts as one, once for the whole matrix"
    );
}

// ---- task 6: a better scale ----------------------------------------------------------------------

/// The squared error of a group under the scale `scale`, as a reader of the file sees it.
fn squared_error(group: ArrayView1<f32>, scale: f16) -> f64 {
    let scale = scale.to_f32();
    let code = |w: f32| (w / scale).round_ties_even().clamp(-QMAX, QMAX);
    let error = |w: f32| f64::from(code(w)) * f64::from(scale) - f64::from(w);
    group.iter().map(|&w| error(w).powi(2)).sum()
}

/// The candidates of a group.
fn candidates(group: ArrayView1<f32>) -> Vec<f16> {
    let absmax = group.iter().fold(0.0, |max: f32, value| max.max(value.abs()));
    shrunk_maxima(absmax).map(|max| half(max / QMAX)).collect()
}

#[test]
fn the_searched_scale_has_the_least_squared_error_among_the_candidates() {
    // Candidate i is 100 - i. It leaves 7 i of 700, and 38 - i of each of the seven others.
    let group = array![700.0, 62.0, 62.0, 62.0, -62.0, -62.0, 62.0, 62.0];
    let scale = search_scale(group.view()).to_f32();
    let diagnosis = match scale {
        100.0 => "is that of the maximum: has the search looked further, and does it square?",
        81.0 => "is the smallest candidate: does the error count what the largest weight loses?",
        _ => {
            "leaves more: sum the squares of all errors, 7 * 5 and seven times 33 under the scale 95"
        }
    };
    assert_eq!(scale, 95.0, "the scale of {group}: {scale} {diagnosis}");
    for (name, size) in [(LONG_ROWS, 128), (SQUARE, 64), (SQUARE, 32)] {
        let w = real(name);
        for ((row, weights), start) in
            w.rows().into_iter().enumerate().step_by(7).zip((0..w.ncols() / size).cycle())
        {
            let group = weights.slice(s![start * size..(start + 1) * size]);
            let (candidates, scale) = (candidates(group), search_scale(group));
            let errors = candidates.iter().map(|&scale| squared_error(group, scale));
            let least = errors.fold(f64::INFINITY, f64::min);
            let error = squared_error(group, scale);
            // A sum in f32 rounds 128 squares by 2^-24 each, at most.
            assert!(
                candidates.contains(&scale) && error <= least * (1.0 + 128.0 * f64::powi(2.0, -24)),
                "{name}, row {row}, group {start} of {size}: your scale {scale} leaves a squared \
                 error of {error:.6e}, and a candidate leaves {least:.6e}. The error is that of the \
                 weights as they come back: code times the scale as it is stored, less the weight as \
                 it was, squared and summed"
            );
        }
    }
}

#[test]
fn the_first_of_equal_candidates_is_taken_and_zeros_get_scale_1() {
    // Under 100 the errors are 0 and 25, under 99 they are 7 and 24: both sum to 625.
    let tie = array![700.0, 75.0];
    assert_eq!(
        search_scale(tie.view()),
        half(100.0),
        "[700, 75]: 25^2 under the scale 100 and 7^2 + 24^2 under 99 are equal, and the first is 100"
    );
    assert_eq!(
        search_scale(Array2::zeros((1, 8)).row(0)),
        f16::ONE,
        "a group of zeros: every candidate is 0, and `group_scale` turns it into 1"
    );
    let columns = array![[700.0, 1.0], [75.0, 1.0]];
    assert_eq!(
        std::panic::catch_unwind(|| search_scale(columns.column(0))).ok(),
        Some(half(100.0)),
        "the same group, a column of a matrix (None is a panic): its weights are no slice of the memory"
    );
}

#[test]
fn searched_groups_lower_the_error_of_the_output_at_the_same_bytes() {
    for (name, size) in [(LONG_ROWS, 128), (SQUARE, 64), (SQUARE, 32)] {
        let w = real(name);
        let nearest = must(quantize_groups(&w, size));
        let searched = must(quantize_groups_by_search(&w, size));
        assert_eq!(
            (memory_bytes(&searched), searched.scales().dim()),
            (memory_bytes(&nearest), nearest.scales().dim()),
            "{name}: the search chooses other scales, not more of them"
        );
        let x = normal_matrix(11, 16, w.ncols());
        let y = linear_f64(&x, &w);
        let error = |w: &Int4Groups| relative_error(&y, &must(int4_linear(&x, w)));
        let (of_nearest, of_searched) = (error(&nearest), error(&searched));
        assert!(
            of_searched < 0.95 * of_nearest,
            "{name} in groups of {size}: the output is off by {:.2} %, and with the scales of the \
             maxima by {:.2} %. About a tenth less is there to be had",
            100.0 * of_searched,
            100.0 * of_nearest
        );
        for ((row, group), &scale) in searched.scales().indexed_iter() {
            let weights = w.slice(s![row, group * size..(group + 1) * size]);
            assert_eq!(
                scale,
                search_scale(weights),
                "{name}: the scale of row {row}, group {group} of {size} is not what `search_scale` \
                 finds for its weights"
            );
        }
        for ((row, column), &code) in searched.q().indexed_iter() {
            let scale = searched.scales()[(row, column / size)];
            assert_eq!(
                code,
                quantize_value(w[(row, column)], scale),
                "{name}[{row}, {column}]: the nearest code under the scale {scale} of its group"
            );
        }
        assert!(
            must(quantize_groups_by_search(&by_columns(&w), size)) == searched,
            "{name}, kept column by column in memory: index by row and column"
        );
    }
}

#[test]
fn the_search_refuses_what_the_nearest_refuses() {
    let healthy = normal_matrix(1, 3, 8);
    let with = |value| {
        let mut w = healthy.clone();
        w[(2, 6)] = value;
        w
    };
    for (w, size) in
        [(with(f32::NAN), 4), (with(1e6), 4), (with(500_000.0), 4), (healthy.clone(), 3)]
    {
        let (nearest, searched) = (quantize_groups(&w, size), quantize_groups_by_search(&w, size));
        assert_eq!(
            format!("{:?}", searched.err()),
            format!("{:?}", nearest.err()),
            "`quantize_groups_by_search` of a matrix with {} at [2, 6], in groups of {size}",
            w[(2, 6)]
        );
    }
}
