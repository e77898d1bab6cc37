//! Plausible wrong answers, kept as code, each with the tests of the spec that must catch it.
//!
//! A wrong answer replaces a step of [`RIGHT`]. `LAB_IMPL=wrong WRONG_ANSWER=half_away_from_zero cargo
//! test -p lab-08-float-grids --test spec` runs the spec on one wrong answer, and the test
//! `every_wrong_answer_is_caught_and_named` runs the spec on all of them.

use kit::{answered, wrong_answers};
use ndarray::{Array2, s};

use self::chosen::{
    block_exponent, decode, decode_e8m0, dequantize_table, encode, floor_log2, largest, nearest,
    nvfp4_scale, quantize_table,
};
use crate::{
    Blocks, DOUBLE_BLOCK, DoubleScales, E2M1, E4M3, FloatError, FloatGrid, MX_BLOCK, NVFP4_BLOCK,
    NibbleOrder, ScaleRule, Specials, TableBlocks, check_finite, check_matrix, linspace,
    normal_quantile, power_of_two, solution,
};

type Lab<T> = Result<T, FloatError>;
type Matrix = Array2<f32>;

/// The steps of the lab. A function of the lab that no wrong answer divides is one step.
struct Steps {
    /// The bit of the sign.
    sign_bit: fn(&FloatGrid) -> u8,
    /// The value of a magnitude that is finite.
    finite: fn(&FloatGrid, u8) -> f32,
    /// The value of a magnitude that is not finite.
    special: fn(&FloatGrid, u8) -> Option<f32>,
    decode: fn(&FloatGrid, u8) -> f32,
    largest: fn(&FloatGrid) -> f32,
    floor_log2: fn(f32) -> i32,
    is_negative: fn(f32) -> bool,
    limit: fn(&FloatGrid, f32) -> f32,
    /// The code of a magnitude within the limit.
    magnitude: fn(&FloatGrid, f32) -> u8,
    round: fn(f32) -> f32,
    nan: fn(&FloatGrid) -> u8,
    encode: fn(&FloatGrid, f32) -> u8,
    decode_e8m0: fn(u8) -> f32,
    emax: fn(&FloatGrid) -> i32,
    /// `absmax` rounded to so many bits of fraction, half up.
    rounded: fn(f32, u32) -> f32,
    ceil_log2: fn(f32) -> i32,
    floor_exponent: fn(f32) -> i32,
    fraction_of_compressed_tensors: fn(&FloatGrid) -> u32,
    no_clip: fn(f32, &FloatGrid) -> i32,
    biased: fn(i32) -> u8,
    of_zeros: fn() -> u8,
    block_exponent: fn(f32, &FloatGrid, ScaleRule) -> u8,
    check: fn(&Matrix, usize) -> Lab<()>,
    /// The largest magnitude of a block of a row.
    absmax: fn(&Matrix, usize, usize, usize) -> f32,
    /// The block of a column, of so many blocks of a size.
    block_of: fn(usize, usize, usize) -> usize,
    mx_quotient: fn(f32, f32) -> f32,
    quantize_mx: fn(&Matrix, &FloatGrid, ScaleRule) -> Lab<Blocks>,
    dequantize_mx: fn(&Blocks, &FloatGrid) -> Matrix,
    nvfp4_global: fn(f32) -> f32,
    nvfp4_scale: fn(f32, f32) -> u8,
    check_global: fn(f32) -> Lab<()>,
    /// The scale by which a weight is divided: of the largest magnitude of its block, the code of the
    /// scale and the global scale.
    nvfp4_divisor: fn(f32, u8, f32) -> f32,
    /// The scale by which a code is multiplied: of the scale and the global scale.
    nvfp4_factor: fn(f32, f32) -> f32,
    quantize_nvfp4: fn(&Matrix, f32) -> Lab<Blocks>,
    dequantize_nvfp4: fn(&Blocks, f32) -> Matrix,
    /// Which codes a byte holds.
    places: fn(usize, NibbleOrder) -> Lab<Vec<[usize; 2]>>,
    unpacked_places: fn(usize, NibbleOrder) -> Lab<Vec<[usize; 2]>>,
    check_codes: fn(&[u8]) -> Lab<()>,
    pack_nibbles: fn(&[u8], NibbleOrder) -> Lab<Vec<u8>>,
    unpack_nibbles: fn(&[u8], NibbleOrder) -> Lab<Vec<u8>>,
    bits_per_weight: fn(u32, &[(u32, usize)]) -> f64,
    /// The first quantiles of so many.
    quantiles: fn(u8, usize) -> Vec<f32>,
    counts: fn() -> [u8; 2],
    normalized: fn([f32; 16]) -> [f32; 16],
    normal_float: fn() -> [f32; 16],
    nearest: fn(&[f32], f32) -> u8,
    divisor: fn(f32) -> f32,
    scale_of_block: fn(&[f32]) -> f32,
    check_values: fn(&[f32], usize) -> Lab<()>,
    quantize_table: fn(&[f32], &[f32], usize) -> Lab<TableBlocks>,
    dequantize_table: fn(&TableBlocks, &[f32]) -> Vec<f32>,
    mean: fn(&[f32]) -> f32,
    double_block: fn(usize) -> usize,
    double_quantize: fn(&[f32], &[f32]) -> Lab<DoubleScales>,
    double_dequantize: fn(&DoubleScales, &[f32]) -> Vec<f32>,
}

const RIGHT: Steps = Steps {
    sign_bit: FloatGrid::sign_bit,
    finite: |grid, magnitude| {
        let exponent = i32::from(magnitude >> grid.fraction_bits);
        let leading = if exponent == 0 { 0 } else { 1 << grid.fraction_bits };
        let exponent = exponent.max(1) - grid.bias - grid.fraction_bits as i32;
        f32::from(leading + fraction(grid, magnitude)) * power_of_two(exponent)
    },
    special: |grid, magnitude| match grid.specials {
        Specials::OneNan => (magnitude == grid.magnitude_bits()).then_some(f32::NAN),
        Specials::Ieee => ieee(grid, magnitude),
        Specials::None => None,
    },
    decode: |grid, code| {
        let magnitude = code & grid.magnitude_bits();
        let sign = if code & (answer().sign_bit)(grid) == 0 { 1.0 } else { -1.0 };
        let special = (answer().special)(grid, magnitude);
        sign * special.unwrap_or_else(|| (answer().finite)(grid, magnitude))
    },
    largest: |grid| {
        let magnitudes = (0..=grid.magnitude_bits()).rev();
        let mut values = magnitudes.map(|magnitude| decode(grid, magnitude));
        values.find(|value| value.is_finite()).unwrap_or_default()
    },
    floor_log2: solution::floor_log2,
    is_negative: f32::is_sign_negative,
    limit: |grid, magnitude| magnitude.min(largest(grid)),
    magnitude: |grid, magnitude| {
        let exponent = floor_log2(magnitude).max(1 - grid.bias);
        let steps = magnitude / power_of_two(exponent - grid.fraction_bits as i32);
        let first = (exponent + grid.bias - 1) << grid.fraction_bits;
        (first + (answer().round)(steps) as i32) as u8
    },
    round: f32::round_ties_even,
    nan: FloatGrid::magnitude_bits,
    encode: |grid, value| {
        let sign = if (answer().is_negative)(value) { grid.sign_bit() } else { 0 };
        if value.is_nan() {
            return sign | (answer().nan)(grid);
        }
        sign | (answer().magnitude)(grid, (answer().limit)(grid, value.abs()))
    },
    decode_e8m0: solution::decode_e8m0,
    emax: |grid| floor_log2(largest(grid)),
    rounded: |value, fraction_bits| f32::from_bits(value.to_bits() + (1 << (22 - fraction_bits))),
    ceil_log2: |value| {
        let floor = floor_log2(value);
        if value == power_of_two(floor) { floor } else { floor + 1 }
    },
    floor_exponent: |absmax| floor_log2(absmax),
    fraction_of_compressed_tensors: |_| E2M1.fraction_bits,
    no_clip: |absmax, grid| (answer().ceil_log2)(absmax / largest(grid)),
    biased: |exponent| (exponent + 127).clamp(0, 254) as u8,
    of_zeros: || 0,
    block_exponent: |absmax, grid, rule| {
        if absmax == 0.0 {
            return (answer().of_zeros)();
        }
        let emax = (answer().emax)(grid);
        let rounded = |bits| floor_log2((answer().rounded)(absmax, bits));
        (answer().biased)(match rule {
            ScaleRule::Floor => (answer().floor_exponent)(absmax) - emax,
            ScaleRule::CompressedTensors => {
                rounded((answer().fraction_of_compressed_tensors)(grid)) - emax
            }
            ScaleRule::Even => rounded(grid.fraction_bits) - emax,
            ScaleRule::Ceil => (answer().ceil_log2)(absmax) - emax,
            ScaleRule::NoClip => (answer().no_clip)(absmax, grid),
        })
    },
    check: check_matrix,
    absmax: |w, row, block, size| {
        let weights = w.slice(s![row, block * size..(block + 1) * size]);
        weights.fold(0.0, |max: f32, weight| max.max(weight.abs()))
    },
    block_of: |column, size, _| column / size,
    mx_quotient: |weight, scale| weight / scale,
    quantize_mx: |w, grid, rule| {
        (answer().check)(w, MX_BLOCK)?;
        let scales = scales(w, MX_BLOCK, |absmax| block_exponent(absmax, grid, rule));
        let code = |(row, column): (usize, usize)| {
            let scale = decode_e8m0(scales[(row, column / MX_BLOCK)]);
            encode(grid, (answer().mx_quotient)(w[(row, column)], scale))
        };
        Blocks::new(Array2::from_shape_fn(w.dim(), code), scales)
    },
    dequantize_mx: |blocks, grid| {
        let (size, count) = (blocks.block(), blocks.scales().ncols());
        Array2::from_shape_fn(blocks.codes().dim(), |(row, column)| {
            let scale = blocks.scales()[(row, (answer().block_of)(column, size, count))];
            decode(grid, blocks.codes()[(row, column)]) * decode_e8m0(scale)
        })
    },
    nvfp4_global: solution::nvfp4_global,
    nvfp4_scale: |absmax, global| {
        let code = encode(&E4M3, absmax / largest(&E2M1) * global);
        code.max(1)
    },
    check_global: |global| match global > 0.0 && global.is_finite() {
        true => Ok(()),
        false => Err(FloatError::GlobalScale(global)),
    },
    nvfp4_divisor: |_, code, global| decode(&E4M3, code) / global,
    nvfp4_factor: |scale, global| scale / global,
    quantize_nvfp4: |w, global| {
        (answer().check_global)(global)?;
        (answer().check)(w, NVFP4_BLOCK)?;
        let scales = scales(w, NVFP4_BLOCK, |absmax| nvfp4_scale(absmax, global));
        let code = |(row, column): (usize, usize)| {
            let block = column / NVFP4_BLOCK;
            let absmax = (answer().absmax)(w, row, block, NVFP4_BLOCK);
            let scale = (answer().nvfp4_divisor)(absmax, scales[(row, block)], global);
            encode(&E2M1, w[(row, column)] / scale)
        };
        Blocks::new(Array2::from_shape_fn(w.dim(), code), scales)
    },
    dequantize_nvfp4: |blocks, global| {
        let (size, count) = (blocks.block(), blocks.scales().ncols());
        Array2::from_shape_fn(blocks.codes().dim(), |(row, column)| {
            let scale = blocks.scales()[(row, (answer().block_of)(column, size, count))];
            let factor = (answer().nvfp4_factor)(decode(&E4M3, scale), global);
            decode(&E2M1, blocks.codes()[(row, column)]) * factor
        })
    },
    places,
    unpacked_places: |count, order| (answer().places)(count, order),
    check_codes: |codes| match codes.iter().position(|&code| code > 15) {
        Some(index) => Err(FloatError::CodeOutOfRange { index, code: codes[index] }),
        None => Ok(()),
    },
    pack_nibbles: |codes, order| {
        let places = (answer().places)(codes.len(), order)?;
        (answer().check_codes)(codes)?;
        Ok(places.into_iter().map(|[low, high]| codes[low] | codes[high] << 4).collect())
    },
    unpack_nibbles: |bytes, order| {
        let places = (answer().unpacked_places)(2 * bytes.len(), order)?;
        let mut codes = vec![0; 2 * bytes.len()];
        for (byte, [low, high]) in bytes.iter().zip(places) {
            (codes[low], codes[high]) = (byte & 0x0F, byte >> 4);
        }
        Ok(codes)
    },
    bits_per_weight: solution::bits_per_weight,
    quantiles: |count, taken| {
        let points = linspace(crate::NF4_OFFSET, 0.5, count).into_iter().take(taken);
        points.map(|p| normal_quantile(p.into()) as f32).collect()
    },
    counts: || [8, 9],
    normalized: |table| table.map(|value| value / table[15]),
    normal_float: || {
        let mut table = [0.0; 16];
        let [negative, positive] = (answer().counts)();
        let negative = (answer().quantiles)(negative, usize::from(negative) - 1);
        let positive = (answer().quantiles)(positive, usize::from(positive) - 1);
        let values = negative.into_iter().map(|quantile| -quantile).chain(positive);
        table.iter_mut().zip(values).for_each(|(place, value)| *place = value);
        table.sort_by(f32::total_cmp);
        (answer().normalized)(table)
    },
    nearest: solution::nearest,
    divisor: |scale| if scale > 0.0 { scale } else { 1.0 },
    scale_of_block: |block| block.iter().fold(0.0, |max: f32, value| max.max(value.abs())),
    check_values: |values, block| {
        if block == 0 { Err(FloatError::EmptyBlock) } else { check_finite(values) }
    },
    quantize_table: |values, table, block| {
        (answer().check_values)(values, block)?;
        let absmax: Vec<f32> = values.chunks(block).map(answer().scale_of_block).collect();
        let code = |(index, value): (usize, &f32)| {
            nearest(table, value / (answer().divisor)(absmax[index / block]))
        };
        Ok(TableBlocks { codes: values.iter().enumerate().map(code).collect(), absmax, block })
    },
    dequantize_table: solution::dequantize_table,
    mean: |absmax| {
        let sum: f64 = absmax.iter().map(|&scale| f64::from(scale)).sum();
        (sum / absmax.len().max(1) as f64) as f32
    },
    double_block: |_| DOUBLE_BLOCK,
    double_quantize: |absmax, table| {
        (answer().check_values)(absmax, DOUBLE_BLOCK)?;
        let mean = (answer().mean)(absmax);
        let rest: Vec<f32> = absmax.iter().map(|scale| scale - mean).collect();
        let block = (answer().double_block)(absmax.len());
        Ok(DoubleScales { mean, rest: quantize_table(&rest, table, block)? })
    },
    double_dequantize: |scales, table| {
        let rest = dequantize_table(&scales.rest, table);
        rest.into_iter().map(|rest| rest + scales.mean).collect()
    },
};

/// The fraction field of a magnitude.
fn fraction(grid: &FloatGrid, magnitude: u8) -> u8 {
    magnitude & ((1 << grid.fraction_bits) - 1)
}

/// The value of a magnitude whose exponent is all ones, by the rule of IEEE 754.
fn ieee(grid: &FloatGrid, magnitude: u8) -> Option<f32> {
    let is_last = magnitude >> grid.fraction_bits == (1 << grid.exponent_bits) - 1;
    let value = if fraction(grid, magnitude) == 0 { f32::INFINITY } else { f32::NAN };
    is_last.then_some(value)
}

/// The scale of each block.
fn scales(w: &Matrix, size: usize, scale: impl Fn(f32) -> u8) -> Array2<u8> {
    Array2::from_shape_fn((w.nrows(), w.ncols() / size), |(row, block)| {
        scale((answer().absmax)(w, row, block, size))
    })
}

/// Which codes the low and the high nibble of each byte hold.
fn places(count: usize, order: NibbleOrder) -> Lab<Vec<[usize; 2]>> {
    let block = if let NibbleOrder::Halves(block) = order { block } else { 2 };
    if block == 0 || block % 2 == 1 || !count.is_multiple_of(block) {
        return Err(FloatError::NotWhole { codes: count, multiple: block });
    }
    let half = block / 2;
    let firsts = (0..count).filter(|code| code % block < half);
    let place = |first: usize| match order {
        NibbleOrder::HighFirst => [first + half, first],
        _ => [first, first + half],
    };
    Ok(firsts.map(place).collect())
}

wrong_answers! {
    "bias_off_by_one",
    "an exponent of four bits counts from -8, so the bias is 8",
    "the bias of a float is one less than half of the codes of its exponent, and the description has it",
    ["every_code_of_every_grid_is_worth_what_torch_and_ml_dtypes_say",
     "the_largest_value_is_that_of_the_last_finite_code"],
    { finite: |grid, magnitude| (RIGHT.finite)(&FloatGrid { bias: grid.bias + 1, ..*grid }, magnitude) }

    "bias_from_the_bits",
    "the bias follows from the bits of the exponent",
    "AMD's FP8 has 8 where others have 7, so the bias is a part of the description",
    ["a_grid_that_no_library_has_follows_from_its_description"], {
        finite: |grid, magnitude| {
            let bias = (1 << (grid.exponent_bits - 1)) - 1;
            (RIGHT.finite)(&FloatGrid { bias, ..*grid }, magnitude)
        },
    }

    "subnormals_flushed",
    "an exponent field of 0 is the number 0",
    "FP4 has one subnormal value, 0.5, and without it a quarter of all weights would become 0",
    ["every_code_of_every_grid_is_worth_what_torch_and_ml_dtypes_say",
     "encoding_the_value_of_a_code_gives_the_code_back"], {
        finite: |grid, magnitude| {
            let is_normal = magnitude >> grid.fraction_bits > 0;
            if is_normal { (RIGHT.finite)(grid, magnitude) } else { 0.0 }
        },
    }

    "subnormals_with_a_leading_one",
    "every fraction has a leading 1",
    "with a leading 1 no code would be 0, so an exponent field of 0 has none",
    ["every_code_of_every_grid_is_worth_what_torch_and_ml_dtypes_say"], {
        finite: |grid, magnitude| {
            let exponent = i32::from(magnitude >> grid.fraction_bits);
            let steps = (1 << grid.fraction_bits) + fraction(grid, magnitude);
            f32::from(steps) * power_of_two(exponent - grid.bias - grid.fraction_bits as i32)
        },
    }

    "subnormals_of_half_the_size",
    "an exponent field of 0 means the exponent 0 - bias",
    "subnormal values have the exponent of the field 1, so that the steps below and above the smallest \
     normal value are equal",
    ["every_code_of_every_grid_is_worth_what_torch_and_ml_dtypes_say"], {
        finite: |grid, magnitude| {
            let is_normal = magnitude >> grid.fraction_bits > 0;
            (RIGHT.finite)(grid, magnitude) * if is_normal { 1.0 } else { 0.5 }
        },
    }

    "infinity_for_e4m3",
    "an exponent of all ones is infinity or NaN, as in every float",
    "E4M3 gives up infinity for seven more values, 256 to 448, and has NaN in one code",
    ["every_code_of_every_grid_is_worth_what_torch_and_ml_dtypes_say",
     "the_largest_value_is_that_of_the_last_finite_code"], {
        special: |grid, magnitude| match grid.specials {
            Specials::None => None,
            _ => ieee(grid, magnitude),
        },
    }

    "infinity_on_every_grid",
    "an exponent of all ones is no number on any grid",
    "FP4 has three bits for its magnitudes and none to spare, so 4 and 6 are finite",
    ["every_code_of_every_grid_is_worth_what_torch_and_ml_dtypes_say"],
    { special: ieee }

    "no_nan",
    "the last code of E4M3 is 480",
    "0x7f is NaN, so the largest value is 448",
    ["every_code_of_every_grid_is_worth_what_torch_and_ml_dtypes_say"], {
        special: |grid, magnitude| match grid.specials {
            Specials::Ieee => ieee(grid, magnitude),
            _ => None,
        },
    }

    "the_sign_is_bit_7",
    "the sign is the highest bit of the byte",
    "a code of four bits has its sign in bit 3, and the bits above belong to its neighbour",
    ["every_code_of_every_grid_is_worth_what_torch_and_ml_dtypes_say",
     "bits_above_those_of_the_grid_are_ignored"],
    { sign_bit: |_| 0x80 }

    "the_largest_is_all_ones",
    "the largest value is that of the last code",
    "the last code of E4M3 and of E5M2 is NaN",
    ["the_largest_value_is_that_of_the_last_finite_code"],
    { largest: |grid| decode(grid, grid.magnitude_bits()) }

    "logarithm_in_f32",
    "the exponent is `log2().floor()`",
    "the logarithm of a value just below a power of two rounds to the whole number before the floor",
    ["the_exponent_is_exact_beside_every_power_of_two",
     "powers_of_two_and_their_neighbours_have_the_right_exponents"],
    { floor_log2: |value| if value > 0.0 { value.log2().floor() as i32 } else { -150 } }

    "every_f32_is_normal",
    "the exponent field less 127 is the exponent",
    "an f32 below 2^-126 has the field 0, and its highest bit is its exponent",
    ["the_exponent_is_exact_beside_every_power_of_two"],
    { floor_log2: |value| (value.to_bits() >> 23) as i32 - 127 }

    "half_away_from_zero",
    "`round` rounds as torch does",
    "Rust's `round` takes a half away from zero, and torch and the specification take the even code",
    ["ties_go_to_the_even_code", "values_between_two_codes_get_the_code_that_the_libraries_give"],
    { round: f32::round }

    "truncates",
    "bits that do not fit are cut off",
    "a cut fraction is up to a whole step too small, where the nearest is off by half a step",
    ["ties_go_to_the_even_code", "the_error_is_half_a_step_at_most"],
    { round: f32::trunc }

    "small_values_become_zero",
    "a magnitude below the smallest normal value is 0",
    "the subnormal values lie there in steps of their own",
    ["encoding_the_value_of_a_code_gives_the_code_back", "the_error_is_half_a_step_at_most"], {
        magnitude: |grid, magnitude| {
            let is_normal = magnitude >= power_of_two(1 - grid.bias);
            if is_normal { (RIGHT.magnitude)(grid, magnitude) } else { 0 }
        },
    }

    "one_step_everywhere",
    "a value is divided by the smallest step and rounded, as on an integer grid",
    "the steps double at each power of two",
    ["values_between_two_codes_get_the_code_that_the_libraries_give"], {
        magnitude: |grid, magnitude| {
            let step = power_of_two(1 - grid.bias - grid.fraction_bits as i32);
            let steps = (magnitude / step).round_ties_even() as u32;
            // The code whose value has these steps, or the one below.
            let codes = (0..grid.magnitude_bits()).take_while(|code| {
                decode(grid, code + 1) / step <= steps as f32
            });
            codes.count() as u8
        },
    }

    "overflow_is_infinity",
    "a magnitude beyond the largest value is infinity, or NaN where there is no infinity",
    "a weight beyond the grid is clipped, because one infinity would spoil the whole output",
    ["magnitudes_beyond_the_largest_value_saturate_and_nan_stays_nan"], {
        encode: |grid, value| {
            let special = grid.magnitude_bits()
                - if grid.specials == Specials::Ieee { (1 << grid.fraction_bits) - 1 } else { 0 };
            let is_beyond = grid.specials != Specials::None && value.abs() > 1.1 * largest(grid);
            let sign = if value.is_sign_negative() { grid.sign_bit() } else { 0 };
            if is_beyond { sign | special } else { (RIGHT.encode)(grid, value) }
        },
    }

    "infinity_is_nan",
    "only finite magnitudes saturate",
    "infinity is a magnitude beyond the largest value like any other",
    ["magnitudes_beyond_the_largest_value_saturate_and_nan_stays_nan"], {
        encode: |grid, value| {
            let value = if value.is_infinite() { f32::NAN.copysign(value) } else { value };
            (RIGHT.encode)(grid, value)
        },
    }

    "nan_saturates",
    "`min` keeps NaN",
    "Rust's `min` returns the other number, so NaN becomes 448 and nobody sees it",
    ["magnitudes_beyond_the_largest_value_saturate_and_nan_stays_nan"],
    { nan: |grid| (answer().magnitude)(grid, largest(grid)) }

    "drops_the_sign_of_zero",
    "a negative number is below 0",
    "-0 is not below 0 and has a code of its own",
    ["encoding_the_value_of_a_code_gives_the_code_back"],
    { is_negative: |value| value < 0.0 }

    "e8m0_has_a_zero",
    "code 0 is the number 0",
    "E8M0 has no zero, because a scale of 0 would make NaN of a quotient",
    ["a_code_of_e8m0_is_a_power_of_two"],
    { decode_e8m0: |code| if code == 0 { 0.0 } else { solution::decode_e8m0(code) } }

    "e8m0_has_no_nan",
    "every code of E8M0 is a power of two",
    "255 is NaN",
    ["a_code_of_e8m0_is_a_power_of_two"],
    { decode_e8m0: |code| power_of_two(i32::from(code) - 127) }

    "no_emax",
    "the scale is the power of two of the largest magnitude",
    "the largest magnitude belongs on the last exponent of the grid, so emax is taken away",
    ["each_rule_gives_the_exponents_of_its_library", "the_five_rules_are_told_apart_by_a_few_blocks",
     "mx_codes_and_scales_are_those_of_compressed_tensors"],
    { emax: |_| 0 }

    "emax_is_the_bias",
    "the last exponent of a grid is its bias",
    "E4M3 and FP4 use the exponent of all ones for values, so emax is one more",
    ["each_rule_gives_the_exponents_of_its_library"],
    { emax: |grid| grid.bias }

    "exponent_from_the_unrounded_log",
    "the exponent of the scale is the nearest whole number to the logarithm",
    "the specification takes the floor, and the nearest is one more from 1.41 on",
    ["each_rule_gives_the_exponents_of_its_library", "the_five_rules_are_told_apart_by_a_few_blocks"],
    { floor_exponent: |absmax| absmax.log2().round() as i32 }

    "one_rule_of_half_a_step",
    "compressed-tensors rounds to the bits of the grid, as its name for the function says",
    "the function has FP4's bits as its default, and FP8 is called with the default",
    ["each_rule_gives_the_exponents_of_its_library", "the_five_rules_are_told_apart_by_a_few_blocks"],
    { fraction_of_compressed_tensors: |grid| grid.fraction_bits }

    "half_a_step_of_the_wrong_bit",
    "half up adds the last bit that is kept",
    "half of that bit is added, so the limit is 1.75 for FP4 and not 1.5",
    ["each_rule_gives_the_exponents_of_its_library"],
    { rounded: |value, bits| f32::from_bits(value.to_bits() + (1 << (23 - bits))) }

    "ceil_is_floor_plus_one",
    "the ceiling is one more than the floor",
    "a power of two is its own ceiling",
    ["powers_of_two_and_their_neighbours_have_the_right_exponents"],
    { ceil_log2: |value| floor_log2(value) + 1 }

    "no_clip_to_the_power_of_two",
    "the largest value of the grid is 2^emax",
    "the largest value is 6 and 448, above 4 and 256, so blocks up to 1.5 and 1.75 need no larger scale",
    ["each_rule_gives_the_exponents_of_its_library", "the_five_rules_are_told_apart_by_a_few_blocks"],
    { no_clip: |absmax, grid| (RIGHT.ceil_log2)(absmax / power_of_two((RIGHT.emax)(grid))) }

    "zeros_have_scale_1",
    "a block of zeros gets the scale 1, as in lab 03",
    "the libraries write code 0 for such a block, which divides 0 as well as 1 does",
    ["exponents_stop_at_both_ends_and_zeros_have_code_0", "a_block_of_zeros_comes_back_as_zeros"],
    { of_zeros: || 127 }

    "exponents_wrap",
    "an exponent always fits a byte",
    "tiny blocks have exponents below -127, and as a byte these become the largest scales",
    ["exponents_stop_at_both_ends_and_zeros_have_code_0"],
    { biased: |exponent| (exponent + 127) as u8 }

    "the_first_block_scales_the_row",
    "the scale of a row fits its blocks",
    "each block of 32 has the scale of its own largest magnitude",
    ["mx_codes_and_scales_are_those_of_compressed_tensors"],
    { absmax: |w, row, _, size| (RIGHT.absmax)(w, row, 0, size) }

    "the_maximum_has_a_sign",
    "the largest magnitude is the largest value",
    "a block whose largest magnitude is negative is clipped",
    ["mx_codes_and_scales_are_those_of_compressed_tensors",
     "the_floor_rule_clips_as_llama_cpp_does_and_no_clip_does_not"], {
        absmax: |w, row, block, size| {
            let weights = w.slice(s![row, block * size..(block + 1) * size]);
            weights.fold(0.0, |max: f32, &weight| max.max(weight))
        },
    }

    "multiplies_by_the_scale",
    "a weight is multiplied by its scale",
    "a code is multiplied by the scale, so a weight is divided by the scale",
    ["mx_codes_and_scales_are_those_of_compressed_tensors"],
    { mx_quotient: |weight, scale| weight * scale }

    "blocks_are_strided",
    "column j belongs to block j mod the number of blocks",
    "a block is 32 neighbours, so column j belongs to block j / 32",
    ["mx_codes_and_scales_are_those_of_compressed_tensors"],
    { block_of: |column, _, count| column % count }

    "lets_the_last_block_be_short",
    "rows need not be whole blocks",
    "the columns after the last whole block have no scale",
    ["what_has_no_blocks_or_no_place_on_a_grid_is_refused"], {
        check: |w, block| match check_matrix(w, block) {
            // What is left of the matrix after the short block.
            Err(FloatError::BlockDoesNotDivide { .. }) => {
                Err(FloatError::ScalesDoNotFit { scales: [w.nrows(), 0], codes: [0, block] })
            }
            checked => checked,
        },
    }

    "takes_infinity",
    "infinity saturates, so nothing has to be refused",
    "the scale of its block becomes infinite or the largest, and the other weights of the block become 0",
    ["what_has_no_blocks_or_no_place_on_a_grid_is_refused"], {
        check: |w, block| match check_matrix(w, block) {
            Err(FloatError::NotFinite { .. }) => Ok(()),
            checked => checked,
        },
    }

    "multiplier_for_divisor",
    "the global scale is absmax / 2688",
    "compressed-tensors stores the reciprocal, by which the scales are divided; modelopt stores this one",
    ["the_global_scale_is_a_divisor_that_puts_the_largest_block_on_448"],
    { nvfp4_global: |absmax| if absmax > 0.0 { absmax / 2688.0 } else { 1.0 } }

    "global_scale_of_448",
    "the largest magnitude of the tensor belongs on 448",
    "the largest block scale belongs on 448, and a block scale is a sixth of a magnitude",
    ["the_global_scale_is_a_divisor_that_puts_the_largest_block_on_448"],
    { nvfp4_global: |absmax| if absmax > 1e-30 { 448.0 * (1.0 / absmax) } else { 1.0 } }

    "infinite_global_scale",
    "no tensor is all zeros",
    "the expert that no token reached is, and 0 / (scale / infinity) is NaN",
    ["the_global_scale_is_a_divisor_that_puts_the_largest_block_on_448"],
    { nvfp4_global: |absmax| 2688.0 * (1.0 / absmax) }

    "any_global_scale",
    "a global scale is what the caller says",
    "a scale of 0 or of infinity leaves no code but NaN's",
    ["what_has_no_blocks_or_no_place_on_a_grid_is_refused"],
    { check_global: |_| Ok(()) }

    "vanishing_block_scale",
    "a small block gets the scale 0",
    "0 / 0 is NaN, so the smallest scale is 2^-9",
    ["a_block_scale_is_rounded_to_e4m3_and_is_never_0"],
    { nvfp4_scale: |absmax, global| encode(&E4M3, absmax / largest(&E2M1) * global) }

    "epsilon_as_block_scale",
    "a scale of 0 is replaced by the epsilon of its type",
    "the epsilon of E4M3 is 0.125, which is 64 times the scale of a block that is a little larger",
    ["a_block_scale_is_rounded_to_e4m3_and_is_never_0"], {
        nvfp4_scale: |absmax, global| match encode(&E4M3, absmax / largest(&E2M1) * global) {
            0 => encode(&E4M3, 0.125),
            code => code,
        },
    }

    "block_scale_of_absmax",
    "the block scale is the largest magnitude of the block",
    "the largest magnitude belongs on 6, so the scale is a sixth of it",
    ["a_block_scale_is_rounded_to_e4m3_and_is_never_0"],
    { nvfp4_scale: |absmax, global| encode(&E4M3, absmax * global).max(1) }

    "unrounded_scale_when_coding",
    "absmax / 6 is the scale of the block",
    "the file has that number rounded to E4M3, up to a sixteenth away, and a reader multiplies by the \
     rounded one",
    ["weights_on_the_grid_of_the_rounded_scale_survive",
     "nvfp4_codes_and_scales_are_those_of_compressed_tensors"],
    { nvfp4_divisor: |absmax, _, _| if absmax > 0.0 { absmax / 6.0 } else { 1.0 } }

    "multiplies_by_the_global_scale",
    "a scale of scales multiplies",
    "`weight_global_scale` is a divisor",
    ["the_global_scale_is_a_divisor_that_puts_the_largest_block_on_448",
     "nvfp4_codes_and_scales_are_those_of_compressed_tensors"],
    { nvfp4_factor: |scale, global| scale * global }

    "nibbles_swapped",
    "the first element is in the high nibble, because it is written first",
    "compressed-tensors has it in the low one and bitsandbytes in the high one, so (0.5, -6) is f1 here",
    ["two_codes_share_a_byte_in_the_order_of_the_library",
     "packed_codes_are_those_of_three_libraries_and_come_back"], {
        places: |count, order| places(count, match order {
            NibbleOrder::LowFirst => NibbleOrder::HighFirst,
            NibbleOrder::HighFirst => NibbleOrder::LowFirst,
            halves => halves,
        }),
    }

    "first_element_in_the_high_nibble",
    "every library puts the first element into the high nibble",
    "that is bitsandbytes' order, and compressed-tensors has the other one",
    ["two_codes_share_a_byte_in_the_order_of_the_library",
     "packed_codes_are_those_of_three_libraries_and_come_back"], {
        places: |count, order| places(count, match order {
            NibbleOrder::LowFirst => NibbleOrder::HighFirst,
            other => other,
        }),
    }

    "low_nibble_first_everywhere",
    "every library puts the first element into the low nibble",
    "bitsandbytes has the first element in the high nibble",
    ["two_codes_share_a_byte_in_the_order_of_the_library",
     "packed_codes_are_those_of_three_libraries_and_come_back"], {
        places: |count, order| places(count, match order {
            NibbleOrder::HighFirst => NibbleOrder::LowFirst,
            other => other,
        }),
    }

    "halves_of_the_whole",
    "the first half of all codes lies in the low nibbles",
    "llama.cpp halves each block, so element j shares a byte with element j + 16",
    ["two_codes_share_a_byte_in_the_order_of_the_library"], {
        places: |count, order| match order {
            NibbleOrder::Halves(_) => {
                places(count, order)?;
                places(count, NibbleOrder::Halves(count))
            }
            other => places(count, other),
        },
    }

    "neighbours_everywhere",
    "two codes of a byte are neighbours in every layout",
    "llama.cpp puts element j beside element j + 16",
    ["two_codes_share_a_byte_in_the_order_of_the_library"], {
        places: |count, order| {
            places(count, order)?;
            places(count, if order == NibbleOrder::HighFirst { order } else { NibbleOrder::LowFirst })
        },
    }

    "unpacks_in_the_other_order",
    "an order and its inverse are the same",
    "codes have to come back in the order in which they were packed",
    ["packed_codes_are_those_of_three_libraries_and_come_back"], {
        unpacked_places: |count, order| {
            let places = places(count, order)?;
            Ok(places.into_iter().map(|[low, high]| [high, low]).collect())
        },
    }

    "drops_the_last_code",
    "the caller has an even number of codes",
    "a code without a partner vanishes, so an odd number is refused",
    ["codes_that_fill_no_bytes_are_refused"], {
        places: |count, order| places(count, order).or_else(|error| match order {
            NibbleOrder::Halves(_) => Err(error),
            _ => places(count - count % 2, order),
        }),
    }

    "spills_into_the_neighbour",
    "a code has four bits by itself",
    "a code above 15 changes the code beside it, so the first such code is refused",
    ["codes_that_fill_no_bytes_are_refused"],
    { check_codes: |_| Ok(()) }

    "forgets_the_second_scale",
    "the block scale is the overhead",
    "every number that is stored counts, also one for the tensor or for 256 scales",
    ["every_scale_counts_in_the_bits_of_a_weight"], {
        bits_per_weight: |bits, overhead| {
            solution::bits_per_weight(bits, &overhead[..overhead.len().min(1)])
        },
    }

    "whole_bits",
    "a share of a scale is a whole number of bits",
    "a byte for 32 weights is a quarter of a bit",
    ["every_scale_counts_in_the_bits_of_a_weight"], {
        bits_per_weight: |bits, overhead| {
            let shares = overhead.iter().map(|&(bits, weights)| bits as usize / weights);
            f64::from(bits) + shares.sum::<usize>() as f64
        },
    }

    "quantiles_in_f64",
    "the points are computed in f64 and rounded at the end",
    "bitsandbytes' table comes from points in f32, and differs in the seventh digit",
    ["nf4_has_the_sixteen_values_of_bitsandbytes"], {
        quantiles: |count, taken| {
            let (start, steps) = (f64::from(crate::NF4_OFFSET), f64::from(count) - 1.0);
            let point = |i: usize| start + (0.5 - start) * i as f64 / steps;
            (0..taken).map(|i| normal_quantile(point(i)) as f32).collect()
        },
    }

    "the_extra_value_is_negative",
    "the sixteenth value goes to the negative side, as -8 does on an integer grid",
    "NF4 has eight positive values and seven negative ones beside 0",
    ["nf4_has_the_sixteen_values_of_bitsandbytes"],
    { counts: || [9, 8] }

    "not_normalized",
    "quantiles are the table",
    "the largest magnitude of a block belongs on the last value, so the table ends at 1",
    ["nf4_has_the_sixteen_values_of_bitsandbytes"],
    { normalized: |table| table }

    "last_of_equals",
    "which of two equal distances is taken does not matter",
    "a tie needs a rule for two programs to write the same file, and the first is taken",
    ["the_nearest_value_of_a_table_is_found_and_the_first_of_equals_taken"], {
        nearest: |table, value| {
            let distance = |entry: f32| (f64::from(entry) - f64::from(value)).abs();
            let places = (0u8..=255).zip(table).rev();
            let nearest = places.min_by(|a, b| distance(*a.1).total_cmp(&distance(*b.1)));
            nearest.map_or(0, |(place, _)| place)
        },
    }

    "the_next_value_above",
    "a table is searched for the first value that is not below",
    "the value before may be nearer",
    ["the_nearest_value_of_a_table_is_found_and_the_first_of_equals_taken",
     "nf4_codes_are_those_of_bitsandbytes"], {
        nearest: |table, value| {
            let below = table.iter().filter(|entry| **entry < value).count();
            below.min(table.len() - 1) as u8
        },
    }

    "a_table_is_even",
    "the values of a table have equal distances",
    "NF4's values lie dense around 0, so the place is found by distance",
    ["the_nearest_value_of_a_table_is_found_and_the_first_of_equals_taken"], {
        nearest: |table, value| {
            let last = (table.len() - 1) as f32;
            ((value + 1.0) / 2.0 * last).round_ties_even().clamp(0.0, last) as u8
        },
    }

    "zero_over_zero",
    "a block has a largest magnitude above 0",
    "a block of zeros gives 0 / 0, and NaN is near no value",
    ["table_blocks_may_end_short_and_zeros_come_back_as_zeros"],
    { divisor: |scale| scale }

    "largest_value_for_magnitude",
    "the scale of a block is its largest value",
    "a block whose largest magnitude is negative leaves the table",
    ["nf4_codes_are_those_of_bitsandbytes",
     "table_blocks_may_end_short_and_zeros_come_back_as_zeros"],
    { scale_of_block: |block| block.iter().fold(0.0, |max: f32, &value| max.max(value)) }

    "takes_what_is_not_finite",
    "values are healthy",
    "infinity makes its block infinite, and NaN is near no value",
    ["table_blocks_may_end_short_and_zeros_come_back_as_zeros"], {
        check_values: |_, block| if block == 0 { Err(FloatError::EmptyBlock) } else { Ok(()) },
    }

    "scales_around_zero",
    "scales are quantized as weights are",
    "every scale is positive, so half of the table would be unused: the mean is taken away first",
    ["double_quantization_stores_the_scales_as_bitsandbytes_does"],
    { mean: |_| 0.0 }

    "the_middle_for_the_mean",
    "the middle of the scales is as good as their mean",
    "the file has the mean, and what is left is counted from the mean",
    ["double_quantization_stores_the_scales_as_bitsandbytes_does"], {
        mean: |absmax| {
            let largest = absmax.iter().fold(0.0, |max: f32, &scale| max.max(scale));
            largest / 2.0
        },
    }

    "one_second_scale",
    "one second scale is enough",
    "256 scales share one, so that a large block hurts 256 and not all",
    ["double_quantization_stores_the_scales_as_bitsandbytes_does"],
    { double_block: |count| count.max(1) }
}

/// The functions of the lab, made of the steps of the wrong answer that `WRONG_ANSWER` names.
///
/// With `WRONG_ANSWER=none` every step is right. The functions must then pass the spec, so that a
/// failure of a wrong answer is due to the step that it replaces.
pub mod chosen {
    use super::*;

    answered! {
        fn decode(grid: &FloatGrid, code: u8) -> f32;
        fn largest(grid: &FloatGrid) -> f32;
        fn floor_log2(value: f32) -> i32;
        fn encode(grid: &FloatGrid, value: f32) -> u8;
        fn decode_e8m0(code: u8) -> f32;
        fn block_exponent(absmax: f32, grid: &FloatGrid, rule: ScaleRule) -> u8;
        fn quantize_mx(w: &Matrix, grid: &FloatGrid, rule: ScaleRule) -> Lab<Blocks>;
        fn dequantize_mx(blocks: &Blocks, grid: &FloatGrid) -> Matrix;
        fn nvfp4_global(absmax: f32) -> f32;
        fn nvfp4_scale(absmax: f32, global: f32) -> u8;
        fn quantize_nvfp4(w: &Matrix, global: f32) -> Lab<Blocks>;
        fn dequantize_nvfp4(blocks: &Blocks, global: f32) -> Matrix;
        fn pack_nibbles(codes: &[u8], order: NibbleOrder) -> Lab<Vec<u8>>;
        fn unpack_nibbles(bytes: &[u8], order: NibbleOrder) -> Lab<Vec<u8>>;
        fn bits_per_weight(code_bits: u32, overhead: &[(u32, usize)]) -> f64;
        fn nearest(table: &[f32], value: f32) -> u8;
        fn quantize_table(values: &[f32], table: &[f32], block: usize) -> Lab<TableBlocks>;
        fn dequantize_table(blocks: &TableBlocks, table: &[f32]) -> Vec<f32>;
        fn double_quantize(absmax: &[f32], table: &[f32]) -> Lab<DoubleScales>;
        fn double_dequantize(scales: &DoubleScales, table: &[f32]) -> Vec<f32>;
    }

    /// See [`solution::normal_float`].
    pub fn normal_float() -> [f32; 16] {
        (answer().normal_float)()
    }
}
