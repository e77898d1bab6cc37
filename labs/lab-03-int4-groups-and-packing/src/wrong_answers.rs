//! Plausible wrong answers, kept as code, each with the tests of the spec that must catch it.
//!
//! A wrong answer replaces a step of [`RIGHT`]. `LAB_IMPL=wrong WRONG_ANSWER=swapped_nibbles
//! cargo test -p lab-03-int4-groups-and-packing --test spec` runs the spec on one wrong answer,
//! and the test `every_wrong_answer_is_caught_and_named` runs the spec on all of them.

use half::f16;
use kit::{answered, wrong_answers};
use ndarray::{Array2, ArrayView1, s};

use crate::{
    AWQ_ORDER, Int4Error, Int4Groups, LINEAR_ORDER, NibbleOrder, QMAX, check_finite,
    quantize_value, shrunk_maxima, solution,
};

/// The steps of the lab. A function of the lab that no wrong answer divides is one step.
struct Steps {
    check_group_size: fn(usize, usize) -> Result<(), Int4Error>,
    group_scale: fn(f32) -> f16,
    check_finite: fn(&Array2<f32>) -> Result<(), Int4Error>,
    absmax: fn(&Array2<f32>, usize, usize, usize) -> f32,
    check_scale: fn(f16, usize, usize, f32) -> Option<Int4Error>,
    /// The group that a column belongs to, of `groups` groups of `size`.
    group_of: fn(usize, usize, usize) -> usize,
    quantize_groups: fn(&Array2<f32>, usize) -> Result<Int4Groups, Int4Error>,
    dequantize_groups: fn(&Int4Groups) -> Array2<f32>,
    pack_nibbles: fn(&[i8]) -> Result<Vec<u8>, Int4Error>,
    unpack_nibbles: fn(&[u8]) -> Vec<i8>,
    pack_word: fn([u8; 8], &NibbleOrder) -> Result<u32, Int4Error>,
    unpack_word: fn(u32, &NibbleOrder) -> [u8; 8],
    pack_gptq_zeros: fn([u8; 8]) -> Result<u32, Int4Error>,
    unpack_gptq_zeros: fn(u32) -> [u8; 8],
    int4_linear: fn(&Array2<f32>, &Int4Groups) -> Result<Array2<f32>, Int4Error>,
    memory_bytes: fn(&Int4Groups) -> usize,
    /// The scales that a search tries for a largest magnitude.
    candidates: fn(f32) -> Vec<f16>,
    /// The error of a group under a scale.
    group_error: fn(ArrayView1<f32>, f16) -> f64,
    search_scale: fn(ArrayView1<f32>) -> f16,
    quantize_groups_by_search: fn(&Array2<f32>, usize) -> Result<Int4Groups, Int4Error>,
}

const RIGHT: Steps = Steps {
    check_group_size: solution::check_group_size,
    group_scale: solution::group_scale,
    check_finite: |w| check_finite(w),
    absmax: |w, row, group, size| {
        let columns = group * size..(group + 1) * size;
        columns.fold(0.0, |max: f32, column| max.max(w[(row, column)].abs()))
    },
    check_scale: |scale, row, group, absmax| {
        scale.is_infinite().then_some(Int4Error::ScaleOverflow { row, group, absmax })
    },
    group_of: |column, size, _| column / size,
    quantize_groups: |w, size| {
        (answer().check_group_size)(w.ncols(), size)?;
        (answer().check_finite)(w)?;
        let mut scales = Array2::from_elem((w.nrows(), w.ncols() / size), f16::ONE);
        for ((row, group), scale) in scales.indexed_iter_mut() {
            let absmax = (answer().absmax)(w, row, group, size);
            *scale = (answer().group_scale)(absmax);
            if let Some(error) = (answer().check_scale)(*scale, row, group, absmax) {
                return Err(error);
            }
        }
        let codes = Array2::from_shape_fn(w.dim(), |(row, column)| {
            quantize_value(w[(row, column)], scales[(row, column / size)])
        });
        Int4Groups::new(codes, scales)
    },
    dequantize_groups: |w| {
        let (size, groups) = (w.group_size(), w.scales().ncols());
        Array2::from_shape_fn(w.q().dim(), |(row, column)| {
            let scale = w.scales()[(row, (answer().group_of)(column, size, groups))];
            f32::from(w.q()[(row, column)]) * scale.to_f32()
        })
    },
    pack_nibbles: solution::pack_nibbles,
    unpack_nibbles: solution::unpack_nibbles,
    pack_word: solution::pack_word,
    unpack_word: solution::unpack_word,
    pack_gptq_zeros: solution::pack_gptq_zeros,
    unpack_gptq_zeros: solution::unpack_gptq_zeros,
    int4_linear: solution::int4_linear,
    memory_bytes: solution::memory_bytes,
    candidates: |absmax| shrunk_maxima(absmax).map(solution::group_scale).collect(),
    group_error: |group, scale| group.iter().map(|&w| error(w, scale).powi(2)).sum(),
    search_scale: |group| {
        let candidates = (answer().candidates)(largest(group)).into_iter();
        let errors = candidates.map(|scale| ((answer().group_error)(group, scale), scale));
        errors.min_by(|a, b| a.0.total_cmp(&b.0)).map_or(f16::ONE, |(_, scale)| scale)
    },
    quantize_groups_by_search: |w, size| {
        // The refusals, in the order of the nearest.
        solution::quantize_groups(w, size)?;
        searched(w, size, |group| (answer().search_scale)(group))
    },
};

/// The largest magnitude of a group.
fn largest(group: ArrayView1<f32>) -> f32 {
    group.iter().fold(0.0, |max: f32, value| max.max(value.abs()))
}

/// A weight as it comes back under `scale`, less the weight as it was.
fn error(w: f32, scale: f16) -> f64 {
    f64::from(quantize_value(w, scale)) * scale.to_f64() - f64::from(w)
}

/// `w` in groups whose scales are `scale_of` their weights.
fn searched(
    w: &Array2<f32>,
    size: usize,
    scale_of: impl Fn(ArrayView1<f32>) -> f16,
) -> Result<Int4Groups, Int4Error> {
    let mut scales = Array2::from_elem((w.nrows(), w.ncols() / size), f16::ONE);
    for ((row, group), scale) in scales.indexed_iter_mut() {
        *scale = scale_of(w.slice(s![row, group * size..(group + 1) * size]));
    }
    let codes = Array2::from_shape_fn(w.dim(), |(row, column)| {
        quantize_value(w[(row, column)], scales[(row, column / size)])
    });
    Int4Groups::new(codes, scales)
}

/// The order that undoes `order`: which nibble a neighbour sits in.
fn inverse(order: &NibbleOrder) -> NibbleOrder {
    let mut inverse = [0; 8];
    order.iter().enumerate().for_each(|(nibble, &neighbour)| inverse[neighbour] = nibble);
    inverse
}

/// `x @ w.T` in f32, or the right refusal.
fn dense(x: &Array2<f32>, w: &Int4Groups, full: &Array2<f32>) -> Result<Array2<f32>, Int4Error> {
    match (x.ncols(), w.q().ncols()) {
        (x, w) if x != w => Err(Int4Error::FeaturesDiffer { x, w }),
        _ => Ok(x.dot(&full.t())),
    }
}

wrong_answers! {
    "divides_in_f16",
    "the scale is an f16, so it is computed in f16",
    "an absmax that is rounded before the division gives another scale, so the one rounding comes \
     last",
    ["the_scale_is_a_seventh_of_the_maximum_in_f16_or_exactly_1"], {
        group_scale: |absmax| {
            let scale = f16::from_f32(f16::from_f32(absmax).to_f32() / QMAX);
            if scale > f16::ZERO { scale } else { f16::ONE }
        },
    }

    "divides_by_8",
    "half of sixteen codes is eight, so the largest magnitude belongs on 8",
    "the last code of the grid is 7, so a weight on 8 is clipped",
    ["the_scale_is_a_seventh_of_the_maximum_in_f16_or_exactly_1",
     "each_group_has_the_scale_of_its_own_maximum",
     "every_weight_lies_within_half_a_step_of_its_code"], {
        group_scale: |absmax| {
            let scale = f16::from_f32(absmax / 8.0);
            if scale > f16::ZERO { scale } else { f16::ONE }
        },
    }

    "divides_by_8_and_reaches_minus_8",
    "int4 is -8..=7, so 8 is the largest magnitude",
    "a positive maximum is clipped to 7 and a negative maximum is not, so negated weights get \
     other codes",
    ["the_scale_is_a_seventh_of_the_maximum_in_f16_or_exactly_1",
     "negating_the_weights_negates_every_code"], {
        quantize_groups: |w, size| {
            (answer().check_group_size)(w.ncols(), size)?;
            (answer().check_finite)(w)?;
            let scales = Array2::from_shape_fn((w.nrows(), w.ncols() / size), |(row, group)| {
                (answer().group_scale)((answer().absmax)(w, row, group, size))
            });
            let codes = Array2::from_shape_fn(w.dim(), |(row, column)| {
                let steps = w[(row, column)] / scales[(row, column / size)].to_f32();
                steps.round_ties_even().clamp(-8.0, QMAX) as i8
            });
            Int4Groups::new(codes, scales)
        },
        group_scale: |absmax| {
            let scale = f16::from_f32(absmax / 8.0);
            if scale > f16::ZERO { scale } else { f16::ONE }
        },
    }

    "no_zero_scale_guard",
    "no group is ever all zeros",
    "a group of zeros gets the scale 0, and 0 / 0 is NaN",
    ["the_scale_is_a_seventh_of_the_maximum_in_f16_or_exactly_1",
     "a_group_of_zeros_gets_scale_1_and_comes_back_as_zeros"],
    { group_scale: |absmax| f16::from_f32(absmax / QMAX) }

    "guards_the_maximum_only",
    "a maximum above 0 gives a scale above 0",
    "a small maximum over 7 underflows to 0 in f16, so the scale needs the guard",
    ["the_scale_is_a_seventh_of_the_maximum_in_f16_or_exactly_1"],
    { group_scale: |absmax| if absmax > 0.0 { f16::from_f32(absmax / QMAX) } else { f16::ONE } }

    "guards_below_an_epsilon",
    "a maximum below `f32::EPSILON` is 0, and any other has a scale",
    "a seventh of 2e-7 is still 0 in f16, so the stored scale is compared and not the maximum",
    ["the_scale_is_a_seventh_of_the_maximum_in_f16_or_exactly_1"], {
        group_scale: |absmax| {
            if absmax < f32::EPSILON { f16::ONE } else { f16::from_f32(absmax / QMAX) }
        },
    }

    "guards_below_the_smallest_normal_f16",
    "an f16 below 2^-14 is 0",
    "f16 has subnormal numbers down to 2^-24, and a small group needs them",
    ["the_scale_is_a_seventh_of_the_maximum_in_f16_or_exactly_1"], {
        group_scale: |absmax| {
            let scale = f16::from_f32(absmax / QMAX);
            if scale < f16::MIN_POSITIVE { f16::ONE } else { scale }
        },
    }

    "guards_with_a_floor",
    "any lower limit under the maximum is as good as another",
    "a limit changes the scales of small maxima, and the scale of zeros must be exactly 1",
    ["the_scale_is_a_seventh_of_the_maximum_in_f16_or_exactly_1",
     "a_group_of_zeros_gets_scale_1_and_comes_back_as_zeros"],
    { group_scale: |absmax| f16::from_f32(absmax.max(1e-5) / QMAX) }

    "divides_by_the_unrounded_scale",
    "the file's f16 scale is close enough to the scale that made the codes",
    "dequantizing multiplies by the f16 scale, so the codes must be divided by the f16 scale",
    ["each_group_has_the_scale_of_its_own_maximum",
     "every_weight_lies_within_half_a_step_of_its_code"], {
        quantize_groups: |w, size| {
            let right = solution::quantize_groups(w, size)?;
            let codes = Array2::from_shape_fn(w.dim(), |(row, column)| {
                let scale = (answer().absmax)(w, row, column / size, size) / QMAX;
                let scale = if scale > 0.0 { scale } else { 1.0 };
                (w[(row, column)] / scale).round_ties_even().clamp(-QMAX, QMAX) as i8
            });
            Int4Groups::new(codes, right.scales().clone())
        },
    }

    "refuses_odd_groups",
    "two codes share a byte, so a group is even",
    "codes are packed across groups, and only the number of all codes has to be even",
    ["a_group_size_that_does_not_divide_is_refused"], {
        check_group_size: |in_features, group_size| {
            solution::check_group_size(in_features, group_size)?;
            if group_size % 2 == 0 { return Ok(()) }
            Err(Int4Error::GroupDoesNotDivide { in_features, group_size })
        },
    }

    "does_not_ask_for_the_group_size",
    "a row is cut into as many groups as fit",
    "the columns after the last whole group have no scale, so such a size must be refused",
    ["what_cannot_be_quantized_is_refused_with_its_address"], {
        quantize_groups: |w, size| {
            if (answer().check_group_size)(w.ncols(), size).is_ok() {
                return (RIGHT.quantize_groups)(w, size);
            }
            let scales = Array2::from_elem((w.nrows(), w.ncols() / size), f16::ONE);
            let codes = Array2::from_shape_fn(w.dim(), |(row, column)| {
                quantize_value(w[(row, column)], scales[(row, column / size)])
            });
            Int4Groups::new(codes, scales)
        },
    }

    "lets_the_last_group_be_short",
    "a short last group is fine because every loader copes",
    "scales have the shape `[out_features, in_features / group_size]`, which has no room for a \
     short group",
    ["a_group_size_that_does_not_divide_is_refused"], {
        check_group_size: |_, group_size| {
            if group_size > 0 { return Ok(()) }
            Err(Int4Error::GroupDoesNotDivide { in_features: 0, group_size })
        },
    }

    "blames_the_wrong_number",
    "which of the two numbers is which does not matter",
    "an error that swaps the group size and the row length sends the reader to the wrong one",
    ["a_group_size_that_does_not_divide_is_refused"], {
        check_group_size: |in_features, group_size| {
            solution::check_group_size(in_features, group_size).map_err(|_| {
                Int4Error::GroupDoesNotDivide { in_features: group_size, group_size: in_features }
            })
        },
    }

    "accepts_nan",
    "a maximum ignores NaN, so NaN does no harm",
    "the cast of NaN is code 0, so a broken weight would turn into a plausible one unnoticed",
    ["what_cannot_be_quantized_is_refused_with_its_address"],
    { check_finite: |_| Ok(()) }

    "lets_a_scale_overflow",
    "f16 holds every number that f32 holds, only coarser",
    "f16 ends at 65,504, and a larger scale becomes infinite",
    ["what_cannot_be_quantized_is_refused_with_its_address"],
    { check_scale: |_, _, _, _| None }

    "overflows_at_65504",
    "a quotient above 65,504 is infinite in f16",
    "f16 rounds to nearest, so a quotient below 65,520 becomes 65,504",
    ["what_cannot_be_quantized_is_refused_with_its_address"], {
        check_scale: |_, row, group, absmax| {
            let beyond = absmax / QMAX > f16::MAX.to_f32();
            beyond.then_some(Int4Error::ScaleOverflow { row, group, absmax })
        },
    }

    "refuses_a_weight_beyond_f16",
    "a weight that f16 cannot hold has no scale in f16",
    "the scale is a seventh of the maximum, so a maximum up to 7 * 65,504 has a scale",
    ["what_cannot_be_quantized_is_refused_with_its_address"], {
        check_scale: |_, row, group, absmax| {
            let beyond = absmax > f16::MAX.to_f32();
            beyond.then_some(Int4Error::ScaleOverflow { row, group, absmax })
        },
    }

    "groups_along_out_features",
    "groups run down a column",
    "a group is `group_size` neighbours inside a row, along `in_features`",
    ["groups_run_along_in_features_in_a_square_matrix_too"], {
        absmax: |w, row, group, size| {
            if !w.is_square() {
                let columns = group * size..(group + 1) * size;
                return columns.fold(0.0, |max: f32, column| max.max(w[(row, column)].abs()));
            }
            let rows = group * size..(group + 1) * size;
            rows.fold(0.0, |max: f32, other| max.max(w[(other, row)].abs()))
        },
    }

    "one_scale_a_row_repeated",
    "scales of the right shape are group scales",
    "each group needs the scale of its own maximum, and a repeated scale has the error of one \
     scale a row",
    ["each_group_has_the_scale_of_its_own_maximum",
     "groups_confine_an_outlier_to_its_own_group",
     "smaller_groups_mean_less_error_and_more_bytes_on_real_weights"],
    { absmax: |w, row, _, _| w.row(row).iter().fold(0.0, |max: f32, value| max.max(value.abs())) }

    "maximum_without_magnitude",
    "the largest value is the largest magnitude",
    "a negative weight may have the largest magnitude, and a scale without that weight clips the \
     weight",
    ["each_group_has_the_scale_of_its_own_maximum",
     "every_weight_lies_within_half_a_step_of_its_code"], {
        absmax: |w, row, group, size| {
            let columns = group * size..(group + 1) * size;
            columns.fold(0.0, |max: f32, column| max.max(w[(row, column)]))
        },
    }

    "scale_of_the_wrong_group",
    "neighbours take turns, so column j is in group j mod groups",
    "a group is a run of neighbours, so column j is in group `j / group_size`",
    ["dequantize_takes_the_scale_of_the_columns_own_group"],
    { group_of: |column, _, groups| column % groups }

    "scale_of_the_next_group",
    "counting of groups starts at one",
    "the first `group_size` columns are group 0",
    ["dequantize_takes_the_scale_of_the_columns_own_group"],
    { group_of: |column, size, groups| (column / size + 1) % groups }

    "dequantizes_in_f16",
    "a code times an f16 is an f16",
    "the product can have 14 significant bits and f16 keeps 11, so the product is computed in f32",
    ["dequantize_takes_the_scale_of_the_columns_own_group"], {
        dequantize_groups: |w| {
            solution::dequantize_groups(w).mapv(|value| f16::from_f32(value).to_f32())
        },
    }

    "swapped_nibbles",
    "the first code comes first, so it is the high nibble",
    "the layout keeps the first code of a pair in the low nibble, bits 0 to 3",
    ["two_codes_share_a_byte_and_the_first_is_the_low_nibble"], {
        pack_nibbles: |codes| {
            Ok(solution::pack_nibbles(codes)?.iter().map(|byte| byte.rotate_left(4)).collect())
        },
        unpack_nibbles: |bytes| {
            let swapped: Vec<u8> = bytes.iter().map(|byte| byte.rotate_left(4)).collect();
            solution::unpack_nibbles(&swapped)
        },
    }

    "unpacks_swapped_nibbles",
    "a swapped read gives the same histogram, so the read is right",
    "a histogram does not see positions, and here each pair of neighbours has changed places",
    ["unpacking_undoes_packing_for_every_byte_there_is",
     "a_wrong_order_of_nibbles_keeps_the_histogram_and_ruins_the_weights"], {
        unpack_nibbles: |bytes| {
            let swapped: Vec<u8> = bytes.iter().map(|byte| byte.rotate_left(4)).collect();
            solution::unpack_nibbles(&swapped)
        },
    }

    "unsigned_nibbles",
    "masking with 15 gives the code back",
    "a nibble is in two's complement, so 15 is -1 and the sign must be extended",
    ["unpacking_undoes_packing_for_every_byte_there_is"], {
        unpack_nibbles: |bytes| {
            let codes = |&byte: &u8| [byte & 0x0F, byte >> 4].map(u8::cast_signed);
            bytes.iter().flat_map(codes).collect()
        },
    }

    "offset_nibbles",
    "a nibble has no sign, so 8 is added first",
    "this layout stores the lowest four bits of the code in two's complement, without an offset",
    ["two_codes_share_a_byte_and_the_first_is_the_low_nibble"], {
        pack_nibbles: |codes| {
            Ok(solution::pack_nibbles(codes)?.iter().map(|byte| byte ^ 0x88).collect())
        },
        unpack_nibbles: |bytes| {
            solution::unpack_nibbles(&bytes.iter().map(|byte| byte ^ 0x88).collect::<Vec<u8>>())
        },
    }

    "joins_codes_without_a_mask",
    "a cast to `u8` leaves four bits",
    "a negative code has ones above its nibble, which cover the nibble of its neighbour",
    ["two_codes_share_a_byte_and_the_first_is_the_low_nibble",
     "a_wrong_order_of_nibbles_keeps_the_histogram_and_ruins_the_weights"], {
        pack_nibbles: |codes| {
            solution::pack_nibbles(codes)?;
            let join = |&[low, high]: &[i8; 2]| low.cast_unsigned() | high.cast_unsigned() << 4;
            Ok(codes.as_chunks().0.iter().map(join).collect())
        },
    }

    "nothing_cannot_be_packed",
    "an empty list of codes is a mistake",
    "no codes fill no bytes, and a matrix without rows is packed like any other",
    ["unpacking_undoes_packing_for_every_byte_there_is"], {
        pack_nibbles: |codes| {
            if codes.is_empty() { return Err(Int4Error::HalfAByte(0)) }
            solution::pack_nibbles(codes)
        },
    }

    "drops_the_last_odd_code",
    "`chunks_exact(2)` covers every code",
    "the last code of an odd number is dropped unnoticed, and half a byte must be an error",
    ["half_a_byte_and_a_code_of_five_bits_are_refused"],
    { pack_nibbles: |codes| solution::pack_nibbles(&codes[..codes.len() / 2 * 2]) }

    "masks_an_oversized_code",
    "a mask makes any code fit",
    "a mask turns a code outside -8..=7 into another code, so the code must be refused",
    ["half_a_byte_and_a_code_of_five_bits_are_refused"], {
        pack_nibbles: |codes| {
            let fits = |&code: &i8| ((code << 4).cast_unsigned().cast_signed()) >> 4;
            solution::pack_nibbles(&codes.iter().map(fits).collect::<Vec<i8>>())
        },
    }

    "awq_order_read_as_linear",
    "nibble i of every word is code i",
    "AWQ packs the codes of a word in the order 0, 2, 4, 6, 1, 3, 5, 7",
    ["eight_codes_fill_a_word_in_the_order_that_is_asked_for",
     "an_awq_word_read_as_linear_looks_plausible_and_is_wrong"],
    { unpack_word: |word, _| solution::unpack_word(word, &LINEAR_ORDER) }

    "packs_everything_linear",
    "a reader of the file will know the order",
    "the file does not name the order, so the word must have the order that is asked for",
    ["eight_codes_fill_a_word_in_the_order_that_is_asked_for"], {
        pack_word: |codes, _| solution::pack_word(codes, &LINEAR_ORDER),
        unpack_word: |word, _| solution::unpack_word(word, &LINEAR_ORDER),
    }

    "uses_the_order_backwards",
    "`order[i]` is the nibble that code i goes to",
    "`order[i]` is the code that lies in nibble i",
    ["eight_codes_fill_a_word_in_the_order_that_is_asked_for"], {
        pack_word: |codes, order| solution::pack_word(codes, &inverse(order)),
        unpack_word: |word, order| solution::unpack_word(word, &inverse(order)),
    }

    "fills_the_word_from_the_top",
    "the first code is the first digit of the word",
    "nibble 0 is bits 0 to 3, which are the last hexadecimal digit",
    ["eight_codes_fill_a_word_in_the_order_that_is_asked_for"], {
        pack_word: |mut codes, order| {
            if order != &AWQ_ORDER { codes.reverse(); }
            solution::pack_word(codes, order)
        },
    }

    "lets_a_code_spill_over",
    "a code above 15 cannot happen",
    "a code above 15 sets bits of its neighbour, so the code must be refused",
    ["eight_codes_fill_a_word_in_the_order_that_is_asked_for"], {
        pack_word: |codes, order| {
            let nibbles = order.iter().enumerate();
            Ok(nibbles.fold(0, |word, (i, &from)| word | u32::from(codes[from]) << (4 * i)))
        },
    }

    "looks_at_bit_4_alone",
    "a code that does not fit has bit 4 set",
    "32 has bit 4 clear and needs six bits, so the code is compared with 15",
    ["eight_codes_fill_a_word_in_the_order_that_is_asked_for"], {
        pack_word: |codes, order| {
            if codes.iter().any(|code| code & 16 != 0) {
                return solution::pack_word(codes, order);
            }
            solution::pack_word(codes.map(|code| code & 15), order)
        },
    }

    "stores_the_zero_point_as_it_is",
    "a zero point is stored like any number",
    "GPTQ v1 stores each zero point minus one",
    ["gptq_v1_stores_each_zero_point_minus_one"],
    { pack_gptq_zeros: |zeros| solution::pack_word(zeros, &LINEAR_ORDER) }

    "forgets_the_plus_one",
    "the stored number is the zero point",
    "GPTQ v1 stores the zero point minus one, so reading adds one",
    ["gptq_v1_stores_each_zero_point_minus_one"],
    { unpack_gptq_zeros: |word| solution::unpack_word(word, &LINEAR_ORDER) }

    "wraps_a_zero_point_of_0",
    "0 - 1 may wrap to 15, because four bits are enough",
    "15 is read back as 16, so a zero point of 0 must be refused",
    ["gptq_v1_stores_each_zero_point_minus_one"], {
        pack_gptq_zeros: |zeros| {
            solution::pack_word(zeros.map(|zero| zero.wrapping_sub(1) & 15), &LINEAR_ORDER)
        },
    }

    "names_the_last_zero_point_of_0",
    "any zero point of 0 may be named",
    "the promise is the first, so that two programs name the same one",
    ["gptq_v1_stores_each_zero_point_minus_one"], {
        pack_gptq_zeros: |zeros| match zeros.iter().rposition(|&zero| zero == 0) {
            Some(index) => Err(Int4Error::ZeroMinusOne { index }),
            None => solution::pack_gptq_zeros(zeros),
        },
    }

    "masks_a_zero_point_of_17",
    "a mask makes any zero point fit",
    "17 - 1 needs five bits and masked becomes 0, which is read back as 1",
    ["gptq_v1_stores_each_zero_point_minus_one"], {
        pack_gptq_zeros: |zeros| match zeros.iter().position(|&zero| zero == 0) {
            Some(index) => Err(Int4Error::ZeroMinusOne { index }),
            None => solution::pack_word(zeros.map(|zero| (zero - 1) & 15), &LINEAR_ORDER),
        },
    }

    "copies_the_codes_as_f16",
    "half of a full copy is not a copy",
    "the promise is to build no matrix of floats, and a copy in f16 is one",
    ["int4_linear_never_holds_the_matrix_in_f32"], {
        int4_linear: |x, w| {
            let copy = w.q().mapv(|code| f16::from_f32(code.into()));
            let back = copy.mapv(|code| code.to_f32() as i8);
            solution::int4_linear(x, &Int4Groups::new(back, w.scales().clone())?)
        },
    }

    "dequantizes_the_whole_matrix",
    "the product needs the matrix in f32 first",
    "a group has one scale, so the sum over the group is multiplied by the scale once and no \
     matrix is built",
    ["int4_linear_applies_each_scale_to_the_sum_of_its_group",
     "int4_linear_never_holds_the_matrix_in_f32"],
    { int4_linear: |x, w| dense(x, w, &solution::dequantize_groups(w)) }

    "takes_tokens_out_of_the_memory",
    "a matrix is always kept row by row",
    "an x that was transposed is kept column by column, and `as_slice` has nothing to give",
    ["int4_linear_is_the_product_with_the_dequantized_matrix"], {
        int4_linear: |x, w| {
            let memory = x.as_slice().expect("row by row").to_vec();
            let x = Array2::from_shape_vec(x.dim(), memory).expect("the shape of x");
            solution::int4_linear(&x, w)
        },
    }

    "forgets_the_scales",
    "codes are the weights",
    "a code counts steps of its scale, so the sum of a group is multiplied by the scale of the group",
    ["int4_linear_is_the_product_with_the_dequantized_matrix"], {
        int4_linear: |x, w| {
            let ones = Int4Groups::new(w.q().clone(), w.scales().mapv(|_| f16::ONE))?;
            solution::int4_linear(x, &ones)
        },
    }

    "uses_one_scale_for_the_row",
    "a scale can wait until the end of the row",
    "each group of a row has another scale, so the scale waits until the end of its group",
    ["int4_linear_is_the_product_with_the_dequantized_matrix"], {
        int4_linear: |x, w| {
            let y = dense(x, w, &w.q().mapv(f32::from))?;
            let first = w.scales().column(0).mapv(f16::to_f32);
            Ok(y * first)
        },
    }

    "does_not_transpose",
    "`x @ w` and `x @ w.T` are the same for a square weight",
    "only the shapes agree, because an output is the product of `x` with a row of `w`",
    ["int4_linear_is_the_product_with_the_dequantized_matrix"], {
        int4_linear: |x, w| {
            if w.q().is_square() && x.ncols() == w.q().nrows() {
                return Ok(x.dot(&solution::dequantize_groups(w)));
            }
            solution::int4_linear(x, w)
        },
    }

    "does_not_count_the_scales",
    "scales are too few to matter",
    "a group of 128 weights adds a scale of 16 bits, an eighth of a bit a weight",
    ["memory_is_half_a_byte_a_weight_and_two_bytes_a_group"],
    { memory_bytes: |w| w.q().len() / 2 }

    "counts_scales_as_f32",
    "a scale is a float, and a float has four bytes",
    "the scales of this lab are f16, with two bytes each",
    ["memory_is_half_a_byte_a_weight_and_two_bytes_a_group"],
    { memory_bytes: |w| w.q().len() / 2 + 4 * w.scales().len() }

    "counts_a_byte_a_code",
    "an `i8` takes a byte, so a code does",
    "a packed code takes four bits, and two codes share a byte",
    ["memory_is_half_a_byte_a_weight_and_two_bytes_a_group"],
    { memory_bytes: |w| w.q().len() + 2 * w.scales().len() }

    "exchanges_row_and_group",
    "which of the two numbers is which does not matter",
    "an error that swaps row and group sends the reader to another group",
    ["what_cannot_be_quantized_is_refused_with_its_address"], {
        check_scale: |scale, row, group, absmax| {
            (RIGHT.check_scale)(scale, group, row, absmax)
        },
    }

    "names_the_last_zero_point_beyond_16",
    "any zero point that does not fit may be named",
    "the promise is the first, so that two programs name the same one",
    ["gptq_v1_stores_each_zero_point_minus_one"], {
        pack_gptq_zeros: |zeros| match zeros.iter().rposition(|&zero| zero > 16) {
            Some(index) if !zeros.contains(&0) => {
                let code = zeros[index].into();
                Err(Int4Error::CodeOutOfRange { index, code, range: "1..=16" })
            }
            _ => solution::pack_gptq_zeros(zeros),
        },
    }

    "divides_by_a_group_size_of_0",
    "a remainder shows every size that does not divide",
    "a remainder by 0 is a panic, so 0 is asked for first",
    ["what_cannot_be_quantized_is_refused_with_its_address"], {
        quantize_groups: |w, size| {
            if w.ncols() % size == 0 { return (RIGHT.quantize_groups)(w, size) }
            Err(Int4Error::GroupDoesNotDivide { in_features: w.ncols(), group_size: size })
        },
    }

    "takes_codes_out_of_the_memory",
    "codes are always kept row by row",
    "codes that were transposed are kept column by column, so a run of the memory is no row",
    ["int4_linear_is_the_product_with_the_dequantized_matrix"], {
        int4_linear: |x, w| {
            let codes = w.q().as_slice_memory_order().unwrap_or_default();
            let (inputs, size) = (w.q().ncols(), w.group_size());
            if x.ncols() != inputs {
                return solution::int4_linear(x, w);
            }
            Ok(Array2::from_shape_fn((x.nrows(), w.q().nrows()), |(token, channel)| {
                let sum = |group: usize| -> f32 {
                    let columns = group * size..(group + 1) * size;
                    let code = |column: usize| f32::from(codes[channel * inputs + column]);
                    columns.map(|column| x[(token, column)] * code(column)).sum()
                };
                let scales = w.scales().row(channel).into_iter().enumerate();
                scales.map(|(group, scale)| sum(group) * scale.to_f32()).sum()
            }))
        },
    }

    "dequantizes_out_of_the_memory",
    "codes are always kept row by row",
    "codes that were transposed are kept column by column, so a run of the memory is no row",
    ["dequantize_takes_the_scale_of_the_columns_own_group"], {
        dequantize_groups: |w| {
            let memory = w.q().as_slice_memory_order().unwrap_or_default().to_vec();
            let codes = Array2::from_shape_vec(w.q().dim(), memory).expect("the shape of w");
            let taken = Int4Groups::new(codes, w.scales().clone()).expect("the codes of w");
            solution::dequantize_groups(&taken)
        },
    }

    "exchanges_the_two_widths",
    "which of the two numbers is which does not matter",
    "an error that swaps the widths sends the reader to the wrong matrix",
    ["int4_linear_is_the_product_with_the_dequantized_matrix"], {
        int4_linear: |x, w| solution::int4_linear(x, w).map_err(|error| match error {
            Int4Error::FeaturesDiffer { x, w } => Int4Error::FeaturesDiffer { x: w, w: x },
            other => other,
        }),
    }

    "searches_nothing",
    "the scale of the maximum clips nothing, so no scale is better",
    "a smaller scale makes every step of the group finer, which may win more than clipping loses",
    ["the_searched_scale_has_the_least_squared_error_among_the_candidates",
     "searched_groups_lower_the_error_of_the_output_at_the_same_bytes"],
    { search_scale: |group| solution::group_scale(largest(group)) }

    "takes_the_finest_step",
    "the finest step has the smallest error",
    "the largest weight is clipped, and its error counts too",
    ["the_searched_scale_has_the_least_squared_error_among_the_candidates",
     "the_first_of_equal_candidates_is_taken_and_zeros_get_scale_1"],
    { search_scale: |group| (answer().candidates)(largest(group)).pop().unwrap_or(f16::ONE) }

    "forgives_what_is_clipped",
    "a weight that is clipped on purpose has no error",
    "the layer multiplies by the clipped weight, so the error is against the weight as it was",
    ["the_searched_scale_has_the_least_squared_error_among_the_candidates",
     "the_first_of_equal_candidates_is_taken_and_zeros_get_scale_1"], {
        group_error: |group, scale| {
            let limit = QMAX * scale.to_f32();
            group.iter().map(|&w| error(w.clamp(-limit, limit), scale).powi(2)).sum()
        },
    }

    "sums_magnitudes",
    "the least error is the least sum of magnitudes",
    "the error of the output grows with the squares, so one large error costs more than many small \
     ones",
    ["the_searched_scale_has_the_least_squared_error_among_the_candidates"],
    { group_error: |group, scale| group.iter().map(|&w| error(w, scale).abs()).sum() }

    "sums_signed_errors",
    "errors that cancel do no harm",
    "each weight meets another input, so errors of two signs do not cancel in the output",
    ["the_searched_scale_has_the_least_squared_error_among_the_candidates"],
    { group_error: |group, scale| group.iter().map(|&w| error(w, scale)).sum::<f64>().abs() }

    "looks_at_the_worst_weight",
    "the error of a group is that of its worst weight",
    "the output sums over all weights of the group, so all of them count",
    ["the_searched_scale_has_the_least_squared_error_among_the_candidates"], {
        group_error: |group, scale| group.iter().map(|&w| error(w, scale).abs()).fold(0.0, f64::max),
    }

    "takes_the_last_of_equals",
    "which of two equal candidates is taken does not matter",
    "two programs write the same file only where a tie has one winner, here the first candidate",
    ["the_first_of_equal_candidates_is_taken_and_zeros_get_scale_1"], {
        search_scale: |group| {
            let candidates = (answer().candidates)(largest(group)).into_iter().rev();
            let errors = candidates.map(|scale| ((answer().group_error)(group, scale), scale));
            errors.min_by(|a, b| a.0.total_cmp(&b.0)).map_or(f16::ONE, |(_, scale)| scale)
        },
    }

    "searches_with_the_scale_in_f32",
    "the stored scale is near enough to the candidate",
    "an f16 scale is up to 2^-11 off, so another candidate may be the best as it is stored",
    ["the_searched_scale_has_the_least_squared_error_among_the_candidates"], {
        search_scale: |group| {
            let error = |scale: f32| -> f64 {
                let code = |w: f32| (w / scale).round_ties_even().clamp(-QMAX, QMAX);
                group.iter().map(|&w| f64::from(code(w) * scale - w).powi(2)).sum()
            };
            let scales = shrunk_maxima(largest(group)).map(|max| max / QMAX);
            let best = scales.min_by(|a, b| error(*a).total_cmp(&error(*b)));
            let best = f16::from_f32(best.unwrap_or(0.0));
            if best > f16::ZERO { best } else { f16::ONE }
        },
    }

    "searches_without_the_guard",
    "a searched scale needs no guard",
    "every candidate of a group of zeros is 0, and `group_scale` makes it 1",
    ["the_first_of_equal_candidates_is_taken_and_zeros_get_scale_1"], {
        candidates: |absmax| shrunk_maxima(absmax).map(|max| f16::from_f32(max / QMAX)).collect(),
    }

    "searches_once_for_the_matrix",
    "one shrink factor serves all groups",
    "groups differ in how far their largest weight stands out, so each has its own best factor",
    ["searched_groups_lower_the_error_of_the_output_at_the_same_bytes"], {
        quantize_groups_by_search: |w, size| {
            solution::quantize_groups(w, size)?;
            let with = |i: usize| searched(w, size, |group| (answer().candidates)(largest(group))[i]);
            let error = |w_hat: &Int4Groups| -> f64 {
                let back = solution::dequantize_groups(w_hat);
                back.iter().zip(w).map(|(b, w)| f64::from(b - w).powi(2)).sum()
            };
            let all: Vec<Int4Groups> = (0..20).map(with).collect::<Result<_, _>>()?;
            let best = all.into_iter().min_by(|a, b| error(a).total_cmp(&error(b)));
            Ok(best.expect("twenty factors"))
        },
    }

    "keeps_the_codes_of_the_maximum",
    "the search changes the scale and leaves the codes",
    "a code is the nearest under the scale that is stored, so another scale has other codes",
    ["searched_groups_lower_the_error_of_the_output_at_the_same_bytes"], {
        quantize_groups_by_search: |w, size| {
            let (nearest, right) =
                (solution::quantize_groups(w, size)?, solution::quantize_groups_by_search(w, size)?);
            Int4Groups::new(nearest.q().clone(), right.scales().clone())
        },
    }

    "searches_out_of_the_memory",
    "a row of a matrix is a slice of its memory",
    "a group may be a row of a matrix that was transposed, so its weights are not neighbours in memory",
    ["the_first_of_equal_candidates_is_taken_and_zeros_get_scale_1",
     "searched_groups_lower_the_error_of_the_output_at_the_same_bytes"],
    { search_scale: |group| solution::search_scale(group.as_slice().expect("a slice").into()) }

    "refuses_nothing",
    "what the search is given is healthy",
    "NaN has no nearest code, and a scale beyond f16 is infinite",
    ["the_search_refuses_what_the_nearest_refuses"], {
        quantize_groups_by_search: |w, size| {
            if size == 0 || !w.ncols().is_multiple_of(size) {
                return solution::quantize_groups(w, size);
            }
            searched(w, size, |group| (answer().search_scale)(group))
        },
    }

    "overflows_only_if_the_found_scale_does",
    "a smaller candidate that fits saves the group",
    "the doc comment refuses the same matrices under both roundings, so a file exists for both or none",
    ["the_search_refuses_what_the_nearest_refuses"], {
        quantize_groups_by_search: |w, size| {
            match solution::quantize_groups(w, size) {
                Ok(_) | Err(Int4Error::ScaleOverflow { .. }) => {}
                Err(error) => return Err(error),
            }
            let finite = |group: ArrayView1<f32>| {
                let fits = shrunk_maxima(largest(group)).find(|max| max / QMAX < 65_520.0);
                fits.map_or(f16::INFINITY, |max| solution::search_scale(group.mapv(|w| w.clamp(-max, max)).view()))
            };
            let found = searched(w, size, finite)?;
            match found.scales().iter().all(|scale| scale.is_finite()) {
                true => Ok(found),
                false => solution::quantize_groups(w, size),
            }
        },
    }
}

/// The functions of the lab, made of the steps of the wrong answer that `WRONG_ANSWER` names.
///
/// With `WRONG_ANSWER=none` every step is right. The functions must then pass the spec, so that a
/// failure of a wrong answer is due to the step that it replaces.
pub mod chosen {
    use super::*;

    answered! {
        fn check_group_size(in_features: usize, group_size: usize) -> Result<(), Int4Error>;
        fn group_scale(absmax: f32) -> f16;
        fn quantize_groups(w: &Array2<f32>, size: usize) -> Result<Int4Groups, Int4Error>;
        fn dequantize_groups(w: &Int4Groups) -> Array2<f32>;
        fn pack_nibbles(codes: &[i8]) -> Result<Vec<u8>, Int4Error>;
        fn unpack_nibbles(bytes: &[u8]) -> Vec<i8>;
        fn pack_word(codes: [u8; 8], order: &NibbleOrder) -> Result<u32, Int4Error>;
        fn unpack_word(word: u32, order: &NibbleOrder) -> [u8; 8];
        fn pack_gptq_zeros(zeros: [u8; 8]) -> Result<u32, Int4Error>;
        fn unpack_gptq_zeros(word: u32) -> [u8; 8];
        fn int4_linear(x: &Array2<f32>, w: &Int4Groups) -> Result<Array2<f32>, Int4Error>;
        fn memory_bytes(w: &Int4Groups) -> usize;
        fn search_scale(group: ArrayView1<'_, f32>) -> f16;
        fn quantize_groups_by_search(w: &Array2<f32>, size: usize) -> Result<Int4Groups, Int4Error>;
    }
}
