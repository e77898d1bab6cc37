//! Plausible wrong answers, kept as code, each with the tests of the spec that must catch it.
//!
//! A wrong answer replaces a step of [`RIGHT`]. `LAB_IMPL=wrong WRONG_ANSWER=keys_per_token cargo test -p
//! lab-09-kv-cache --test spec` runs the spec on one wrong answer, and the test
//! `every_wrong_answer_is_caught_and_named` runs the spec on all of them.

use formats::float8;
use kit::{answered, wrong_answers};
use ndarray::{Array1, Array2, Array3, Axis, s};

use self::chosen::{
    decode, dequantize, encode, extend, group_shape, logits, quantize, read, scale_and_zero,
    softmax,
};
use crate::{
    Cache, Coded, FLOAT_BITS, Granularity, Grid, KvError, Layout, Policy, Shape, Side, check_batch,
    check_positions, check_query, check_tokens, check_values, joined, sixteen_bits, solution,
};

type Lab<T> = Result<T, KvError>;
type Matrix = Array2<f32>;
type Tensor = Array3<f32>;

/// The steps of the lab. A function of the lab that no wrong answer divides is one step.
struct Steps {
    /// The last code of a grid above a zero, of its bits.
    last_above: fn(u32) -> f32,
    /// The last code of a grid around 0, of its bits.
    last_around: fn(u32) -> f32,
    /// The end of E4M3.
    fp8_end: f32,
    /// The zero of a grid above a zero: of the smallest number, the scale and the last code.
    zero: fn(f32, f32, f32) -> f32,
    /// A scale or a zero as the cache stores it.
    stored: fn(f32) -> f32,
    guard: fn(f32) -> f32,
    scale_and_zero: fn(&[f32], Grid) -> (f32, f32),
    round: fn(f32) -> f32,
    clamp: fn(f32, f32, f32) -> f32,
    encode: fn(f32, f32, f32, Grid) -> u8,
    add_zero: fn(f32, f32) -> f32,
    decode: fn(u8, f32, f32, Grid) -> f32,
    group_shape: fn(Layout) -> [usize; 2],
    check_layout: fn(&Matrix, Layout) -> Lab<()>,
    check_matrix: fn(&Matrix) -> Lab<()>,
    /// The group of a token or a channel: of its index, the size and the number of groups.
    group_of: fn(usize, usize, usize) -> usize,
    quantize: fn(&Matrix, Layout) -> Lab<Coded>,
    dequantize: fn(&Coded) -> Matrix,
    /// The two channels of the pair of a channel, and the number of the pair, of `head_dim` channels.
    pair: fn(usize, usize) -> [usize; 3],
    frequency: fn(usize, usize, f64) -> f32,
    /// The position of a row.
    position: fn(usize, &[usize]) -> usize,
    /// A channel after the turn: whether it is the first of its pair, the pair, cosine and sine.
    turn: fn(bool, [f64; 2], f64, f64) -> f64,
    /// The direction of `unrotate`.
    back: f64,
    rotate: fn(&Matrix, &[usize], f64) -> Lab<Matrix>,
    unrotate: fn(&Matrix, &[usize], f64) -> Lab<Matrix>,
    /// A float as it enters the cache.
    entering: fn(f32) -> f32,
    /// How many of the new tokens are sinks.
    new_sinks: fn(&Side, &Policy, usize) -> usize,
    unit: fn(Layout) -> usize,
    /// The number of recent tokens from which on the oldest ones are coded: of the window and the unit.
    full: fn(usize, usize) -> usize,
    /// The first so many of the recent tokens in codes.
    code_oldest: fn(&Matrix, usize, Layout) -> Lab<Coded>,
    extend: fn(&mut Side, &Matrix, &Policy) -> Lab<()>,
    check_batch: fn(&[Cache], &[usize], &Tensor, &Tensor) -> Lab<()>,
    /// The tensor of a step before its tokens are handed out.
    of_step: fn(&Tensor, &[usize], Layout) -> Tensor,
    append: fn(&mut [Cache], &[usize], &Tensor, &Tensor) -> Lab<()>,
    /// The parts of a side in the order in which they are read.
    order: fn([Matrix; 3]) -> [Matrix; 3],
    read: fn(&Side) -> Matrix,
    /// The number that products are divided by, of `head_dim`.
    divisor: fn(f64) -> f64,
    logits: fn(&[f32], &Matrix) -> Vec<f64>,
    /// The number that is taken away from each logit.
    reference: fn(&[f64]) -> f64,
    softmax: fn(&[f64]) -> Vec<f64>,
    check_query: fn(&Cache, &Matrix) -> Lab<()>,
    /// The key-value head of a query head, of both numbers of heads.
    head_of: fn(usize, usize, usize) -> usize,
    attend: fn(&Cache, &Matrix) -> Lab<Matrix>,
    /// Bits of what a group stores besides its codes.
    overhead: fn(Layout) -> usize,
    bits_per_number: fn(Layout) -> f64,
    bytes_per_token: fn(&Policy, &Shape) -> f64,
    /// How many of so many tokens are in codes.
    coded: fn(usize, &Policy, Layout) -> usize,
    float_bits: usize,
    cache_bytes: fn(&Policy, &Shape, usize) -> f64,
    logit_shift: fn(&[f64], &[f64]) -> f64,
    /// The share of the range by which the output can move.
    share: fn(f64) -> f64,
    /// What the share is multiplied by: of the smallest and the largest value of a channel.
    range: fn(f64, f64) -> f64,
    output_bound: fn(f64, &Matrix) -> Array1<f64>,
}

const RIGHT: Steps = Steps {
    last_above: |bits| ((1 << bits) - 1) as f32,
    last_around: |bits| ((1 << (bits - 1)) - 1) as f32,
    fp8_end: float8::MAX,
    zero: |smallest, _, _| smallest,
    stored: sixteen_bits,
    guard: |scale| if scale > 0.0 { scale } else { 1.0 },
    scale_and_zero: |values, grid| {
        let smallest = values.iter().copied().fold(f32::INFINITY, f32::min);
        let largest = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let absmax = largest.max(-smallest);
        let (scale, zero) = match grid {
            Grid::Asymmetric(bits) => {
                let last = (answer().last_above)(bits.count());
                let scale = (largest - smallest) / last;
                (scale, (answer().zero)(smallest, scale, last))
            }
            Grid::Symmetric(bits) => (absmax / (answer().last_around)(bits.count()), 0.0),
            Grid::Fp8 => (absmax / answer().fp8_end, 0.0),
            Grid::Fp8Static(scale) => return (scale, 0.0),
        };
        ((answer().guard)((answer().stored)(scale)), (answer().stored)(zero))
    },
    round: f32::round_ties_even,
    clamp: f32::clamp,
    encode: |value, scale, zero, grid| {
        let steps = (value - zero) / scale;
        let rounded = (answer().round)(steps);
        match grid {
            Grid::Asymmetric(bits) => {
                (answer().clamp)(rounded, 0.0, (RIGHT.last_above)(bits.count())) as u8
            }
            Grid::Symmetric(bits) => {
                let last = (RIGHT.last_around)(bits.count());
                ((answer().clamp)(rounded, -last, last) as i8).cast_unsigned()
            }
            Grid::Fp8 | Grid::Fp8Static(_) => float8::encode(steps),
        }
    },
    add_zero: |value, zero| value + zero,
    decode: |code, scale, zero, grid| {
        let steps = match grid {
            Grid::Asymmetric(_) => f32::from(code),
            Grid::Symmetric(_) => f32::from(code.cast_signed()),
            Grid::Fp8 | Grid::Fp8Static(_) => float8::decode(code),
        };
        (answer().add_zero)(steps * scale, zero)
    },
    group_shape: solution::group_shape,
    check_layout: |m, layout| layout.check(m.dim().into()),
    check_matrix: |m| check_values("the matrix", m.view()),
    group_of: |index, size, _| index / size,
    quantize: |m, layout| {
        (answer().check_layout)(m, layout)?;
        (answer().check_matrix)(m)?;
        let [high, wide] = group_shape(layout);
        let groups = (m.nrows() / high, m.ncols() / wide);
        let place = |at| place(at, [high, wide], groups);
        let mut values = Array2::from_elem(groups, Vec::new());
        m.indexed_iter().for_each(|(at, value)| values[place(at)].push(*value));
        let found = values.mapv(|values| scale_and_zero(&values, layout.grid));
        let (scales, zeros) = (found.mapv(|(scale, _)| scale), found.mapv(|(_, zero)| zero));
        let codes = Array2::from_shape_fn(m.dim(), |at| {
            encode(m[at], scales[place(at)], zeros[place(at)], layout.grid)
        });
        Ok(Coded { layout, codes, scales, zeros })
    },
    dequantize: |coded| {
        let shape = group_shape(coded.layout);
        Array2::from_shape_fn(coded.codes.dim(), |at| {
            let group = place(at, shape, coded.scales.dim());
            decode(coded.codes[at], coded.scales[group], coded.zeros[group], coded.layout.grid)
        })
    },
    pair: |channel, head_dim| {
        let j = channel % (head_dim / 2);
        [j, j + head_dim / 2, j]
    },
    frequency: |j, head_dim, theta| libm::pow(theta, -2.0 * j as f64 / head_dim as f64) as f32,
    position: |row, positions| positions[row],
    turn: |is_first, [first, second], cos, sin| {
        if is_first { first * cos - second * sin } else { second * cos + first * sin }
    },
    back: -1.0,
    rotate: |m, positions, theta| turned(m, positions, theta, 1.0),
    unrotate: |m, positions, theta| turned(m, positions, theta, answer().back),
    entering: sixteen_bits,
    new_sinks: |side, policy, tokens| policy.sinks.saturating_sub(side.sinks.nrows()).min(tokens),
    unit: Layout::unit,
    full: usize::saturating_add,
    code_oldest: |recent, unit, layout| quantize(&recent.slice(s![..unit, ..]).to_owned(), layout),
    extend: |side, tokens, policy| {
        check_tokens(side, tokens)?;
        let tokens = tokens.mapv(answer().entering);
        let room = (answer().new_sinks)(side, policy, tokens.nrows());
        let (sinks, recent) = tokens.view().split_at(Axis(0), room);
        side.sinks = joined(&[side.sinks.view(), sinks]);
        side.recent = joined(&[side.recent.view(), recent]);
        let unit = (answer().unit)(side.layout);
        while side.recent.nrows() >= (answer().full)(policy.window, unit).max(unit) {
            side.coded.push((answer().code_oldest)(&side.recent, unit, side.layout)?);
            side.take_oldest(unit);
        }
        Ok(())
    },
    check_batch,
    of_step: |all, _, _| all.clone(),
    append: |caches, lengths, keys, values| {
        (answer().check_batch)(caches, lengths, keys, values)?;
        let mut first = 0;
        for (cache, length) in caches.iter_mut().zip(lengths) {
            let policy = cache.policy;
            let keys = (answer().of_step)(keys, lengths, policy.keys);
            let values = (answer().of_step)(values, lengths, policy.values);
            let rows = first..first + length;
            for (index, head) in cache.heads.iter_mut().enumerate() {
                let of = |all: &Tensor| all.slice(s![rows.clone(), index, ..]).to_owned();
                extend(&mut head.keys, &of(&keys), &policy)?;
                extend(&mut head.values, &of(&values), &policy)?;
            }
            first += length;
        }
        Ok(())
    },
    order: |parts| parts,
    read: |side| {
        let coded: Vec<Matrix> = side.coded.iter().map(dequantize).collect();
        let none = Array2::zeros((0, side.head_dim()));
        let mut views = vec![none.view()];
        views.extend(coded.iter().map(|part| part.view()));
        let parts = [side.sinks.clone(), joined(&views), side.recent.clone()];
        joined(&(answer().order)(parts).each_ref().map(|part| part.view()))
    },
    divisor: f64::sqrt,
    logits: |query, keys| {
        let logit = |key: ndarray::ArrayView1<f32>| {
            let products = key.into_iter().zip(query).map(|(k, q)| f64::from(*k) * f64::from(*q));
            products.sum::<f64>() / (answer().divisor)(query.len() as f64)
        };
        keys.rows().into_iter().map(logit).collect()
    },
    reference: |logits| logits.iter().copied().fold(f64::NEG_INFINITY, f64::max),
    softmax: |logits| {
        let reference = (answer().reference)(logits);
        let powers: Vec<f64> = logits.iter().map(|logit| libm::exp(logit - reference)).collect();
        let sum: f64 = powers.iter().sum();
        powers.iter().map(|power| power / sum).collect()
    },
    check_query,
    head_of: |row, heads, kv_heads| row / (heads / kv_heads),
    attend: |cache, query| {
        (answer().check_query)(cache, query)?;
        let heads = cache.heads.iter();
        let stored: Vec<(Matrix, Array2<f64>)> =
            heads.map(|head| (read(&head.keys), read(&head.values).mapv(f64::from))).collect();
        let mut out = Array2::zeros(query.dim());
        for (row, mut out) in out.rows_mut().into_iter().enumerate() {
            let (keys, values) = &stored[(answer().head_of)(row, query.nrows(), stored.len())];
            let weights = softmax(&logits(&query.row(row).to_vec(), keys));
            out.assign(&Array1::from(weights).dot(values).mapv(|value| value as f32));
        }
        Ok(out)
    },
    overhead: |layout| match layout.grid {
        Grid::Asymmetric(_) => 2 * FLOAT_BITS,
        Grid::Symmetric(_) | Grid::Fp8 => FLOAT_BITS,
        Grid::Fp8Static(_) => 0,
    },
    bits_per_number: |layout| {
        let bits = match layout.grid {
            Grid::Asymmetric(bits) | Grid::Symmetric(bits) => bits.count(),
            Grid::Fp8 | Grid::Fp8Static(_) => 8,
        };
        f64::from(bits) + (answer().overhead)(layout) as f64 / layout.group as f64
    },
    bytes_per_token: |policy, shape| {
        let bits = [policy.keys, policy.values].map(chosen::bits_per_number);
        (bits[0] + bits[1]) * numbers(shape) / 8.0
    },
    coded: |tokens, policy, layout| {
        let behind = tokens.saturating_sub(policy.sinks.saturating_add(policy.window));
        behind / layout.unit() * layout.unit()
    },
    float_bits: FLOAT_BITS,
    cache_bytes: |policy, shape, tokens| {
        let bits = [policy.keys, policy.values].map(|layout| {
            let coded = (answer().coded)(tokens, policy, layout);
            let floats = (tokens - coded) * answer().float_bits;
            coded as f64 * chosen::bits_per_number(layout) + floats as f64
        });
        (bits[0] + bits[1]) * numbers(shape) / 8.0
    },
    logit_shift: solution::logit_shift,
    share: |shift| libm::tanh(shift / 2.0),
    range: |smallest, largest| largest - smallest,
    output_bound: |shift, values| {
        let bound = |column: ndarray::ArrayView1<f32>| {
            let of = |value: &f32| f64::from(*value);
            let largest = column.iter().map(of).fold(f64::NEG_INFINITY, f64::max);
            let smallest = column.iter().map(of).fold(f64::INFINITY, f64::min);
            (answer().share)(shift) * (answer().range)(smallest, largest)
        };
        values.columns().into_iter().map(bound).collect()
    },
};

/// The group of an element: of its place, the shape of a group and the numbers of groups.
fn place(
    (token, channel): (usize, usize),
    [high, wide]: [usize; 2],
    groups: (usize, usize),
) -> (usize, usize) {
    let of = answer().group_of;
    (of(token, high, groups.0), of(channel, wide, groups.1))
}

/// Numbers of the keys of a token in all layers, and of its values.
fn numbers(shape: &Shape) -> f64 {
    (shape.layers * shape.kv_heads * shape.head_dim) as f64
}

fn turned(m: &Matrix, positions: &[usize], theta: f64, direction: f64) -> Lab<Matrix> {
    check_positions(m, positions)?;
    Ok(Array2::from_shape_fn(m.dim(), |(token, channel)| {
        let [first, second, j] = (answer().pair)(channel, m.ncols());
        let frequency = (answer().frequency)(j, m.ncols(), theta);
        let angle = (answer().position)(token, positions) as f32 * frequency;
        let (sin, cos) = libm::sincos(direction * f64::from(angle));
        let pair = [first, second].map(|of| f64::from(m[(token, of)]));
        (answer().turn)(channel == first, pair, cos, sin) as f32
    }))
}

wrong_answers! {
    "zero_point_lost",
    "a code times its scale is the number",
    "the codes of a grid above a zero count from the smallest number of the group, which is added again",
    ["the_smallest_and_the_largest_number_of_a_group_lie_on_the_first_and_the_last_code",
     "a_group_of_equal_numbers_is_exact"],
    { add_zero: |value, _| value }

    "integer_zero_point",
    "the zero point is one of the codes, as for weights",
    "then 0 lies on the grid, and a group of large positive numbers gets few codes or none: a float zero is \
     the smallest number itself",
    ["the_smallest_and_the_largest_number_of_a_group_lie_on_the_first_and_the_last_code",
     "a_group_of_equal_numbers_is_exact"],
    { zero: |smallest, scale, last| -scale * (-smallest / scale).round().clamp(0.0, last) }

    "divides_by_zero",
    "the numbers of a group differ",
    "a constant channel has the range 0, and 0 / 0 is no code",
    ["a_group_of_equal_numbers_is_exact"],
    { guard: |scale| scale }

    "one_step_too_many",
    "2^bits codes make 2^bits steps",
    "between 2^bits codes lie 2^bits - 1 steps, so the last code would be beyond the largest number",
    ["the_smallest_and_the_largest_number_of_a_group_lie_on_the_first_and_the_last_code"],
    { last_above: |bits| (1 << bits) as f32 }

    "twos_complement_ends",
    "the largest magnitude lies on -128, the end of int8",
    "then +128 is needed for a positive one and does not exist, so the last code is 127",
    ["a_grid_around_0_has_the_largest_magnitude_on_its_last_code"],
    { last_around: |bits| (1 << (bits - 1)) as f32 }

    "fp8_ends_at_240",
    "E4M3 ends at 240, as IEEE 754 would have it",
    "E4M3 has no infinity, and its largest value is 448",
    ["fp8_has_the_largest_magnitude_on_448_and_a_static_scale_is_taken_as_it_is"],
    { fp8_end: 240.0 }

    "scale_in_f32",
    "a scale is an f32",
    "the cache stores 16 bits of it, and a code of the unrounded scale is decoded with the rounded one",
    ["a_scale_and_a_zero_are_numbers_of_16_bits_and_the_code_is_that_of_the_rounded_ones"],
    { stored: |value| value }

    "half_away_from_zero",
    "0.5 rounds up",
    "the libraries round half to even, and two programs should give the same codes",
    ["ties_go_to_the_even_code_and_numbers_beyond_the_ends_to_the_last_one"],
    { round: f32::round }

    "truncates",
    "a conversion to an integer rounds",
    "the conversion cuts the fraction off, so the error is up to a whole step",
    ["ties_go_to_the_even_code_and_numbers_beyond_the_ends_to_the_last_one",
     "a_scale_and_a_zero_are_numbers_of_16_bits_and_the_code_is_that_of_the_rounded_ones"],
    { round: f32::trunc }

    "beyond_the_last_code",
    "no number of a group is beyond its largest",
    "the scale is rounded to 16 bits, so the largest number may lie beyond the last code, and a code of \
     four bits has no 16",
    ["ties_go_to_the_even_code_and_numbers_beyond_the_ends_to_the_last_one"],
    { clamp: |value, _, _| value }

    "keys_per_token",
    "a token's key is one vector, so it has one scale",
    "a channel that is large in all tokens then sets the scale of every token, and the others get few \
     codes",
    ["a_group_is_some_channels_of_a_token_or_some_tokens_of_a_channel",
     "a_channel_with_an_offset_wants_a_scale_of_its_own_and_a_large_token_too",
     "real_keys_want_a_scale_per_channel"],
    { group_shape: |layout| [1, layout.group] }

    "values_per_channel",
    "what is good for keys is good for values",
    "a token with large values then sets the scale of its neighbours in every channel",
    ["a_group_is_some_channels_of_a_token_or_some_tokens_of_a_channel",
     "a_channel_with_an_offset_wants_a_scale_of_its_own_and_a_large_token_too"],
    { group_shape: |layout| [layout.group, 1] }

    "axes_swapped",
    "per channel means that the numbers of a group are channels",
    "per channel means that each channel has its own scale, so the numbers of a group are tokens",
    ["a_group_is_some_channels_of_a_token_or_some_tokens_of_a_channel",
     "a_channel_with_an_offset_wants_a_scale_of_its_own_and_a_large_token_too"], {
        group_shape: |layout| match layout.granularity {
            Granularity::PerToken => [layout.group, 1],
            Granularity::PerChannel => [1, layout.group],
        },
    }

    "strided_groups",
    "a group is every n-th number",
    "neighbours share a scale, because a cache grows by neighbours",
    ["each_group_has_a_scale_and_a_zero_of_its_own"],
    { group_of: |index, _, groups| index % groups }

    "a_rest_without_a_group",
    "the rest of a row joins the last group",
    "the rest would have no scale of its own, so such a head is refused",
    ["a_matrix_that_does_not_divide_or_that_16_bits_do_not_hold_is_refused_by_name"],
    { check_layout: |_, _| Ok(()) }

    "takes_what_is_not_finite",
    "keys are healthy numbers",
    "NaN or infinity spoils the scale of its group, and 16 bits hold nothing beyond 65504",
    ["a_matrix_that_does_not_divide_or_that_16_bits_do_not_hold_is_refused_by_name"],
    { check_matrix: |_| Ok(()) }

    "neighbours_are_pairs",
    "RoPE turns channels 2j and 2j + 1, as in the paper",
    "Hugging Face's Llama has its weights in another order, and turns channels j and j + head_dim / 2",
    ["channels_j_and_j_plus_half_turn_by_the_position_times_a_power_of_theta"],
    { pair: |channel, _| [channel / 2 * 2, channel / 2 * 2 + 1, channel / 2] }

    "half_of_the_exponent",
    "pair j turns by theta^(-j / head_dim)",
    "there are head_dim / 2 pairs, so the exponent is -2 j / head_dim",
    ["channels_j_and_j_plus_half_turn_by_the_position_times_a_power_of_theta"],
    { frequency: |j, head_dim, theta| libm::pow(theta, -(j as f64) / head_dim as f64) as f32 }

    "position_is_the_row",
    "the first row has position 0",
    "the positions are given, because a piece of a cache begins anywhere",
    ["channels_j_and_j_plus_half_turn_by_the_position_times_a_power_of_theta"],
    { position: |row, _| row }

    "turns_both_alike",
    "both channels of a pair are turned by the same formula",
    "a rotation has the sine once with a minus and once with a plus, so that it keeps the length",
    ["channels_j_and_j_plus_half_turn_by_the_position_times_a_power_of_theta",
     "unrotate_undoes_rotate_at_any_positions"], {
        turn: |is_first, [first, second], cos, sin| {
            if is_first { first * cos - second * sin } else { second * cos - first * sin }
        },
    }

    "rope_applied_twice",
    "to rotate once more undoes the rotation",
    "a second rotation doubles the angle: back is the other direction",
    ["unrotate_undoes_rotate_at_any_positions"],
    { back: 1.0 }

    "scale_from_the_future",
    "the scale is taken over all tokens of the prompt, which are there",
    "tokens behind the group would decide its codes, and a cache that grows a token at a time has no such \
     tokens",
    ["tokens_one_at_a_time_and_all_at_once_give_the_same_cache",
     "a_code_depends_on_no_token_that_comes_later"], {
        code_oldest: |recent, unit, layout| {
            let oldest = recent.slice(s![..unit, ..]).to_owned();
            let mut coded = quantize(&oldest, layout)?;
            if layout.granularity == Granularity::PerChannel {
                for channel in 0..recent.ncols() {
                    let all = recent.column(channel).to_vec();
                    let (scale, zero) = scale_and_zero(&all, layout.grid);
                    coded.scales.column_mut(channel).fill(scale);
                    coded.zeros.column_mut(channel).fill(zero);
                    for (code, value) in coded.codes.column_mut(channel).iter_mut().zip(all) {
                        *code = encode(value, scale, zero, layout.grid);
                    }
                }
            }
            Ok(coded)
        },
    }

    "group_across_two_requests",
    "the tokens of a step lie one behind another, so they are quantized as one tensor",
    "a group then has tokens of two requests, and what one user writes changes the answer to another",
    ["the_tokens_of_two_requests_share_no_group"], {
        of_step: |all, lengths, layout| {
            let (whole, unit) = (all.dim().0 / layout.unit() * layout.unit(), layout.unit());
            let mut mixed = all.clone();
            for first in (0..if lengths.len() > 1 { whole } else { 0 }).step_by(unit) {
                for mut group in mixed.slice_mut(s![first..first + unit, .., ..]).axis_iter_mut(Axis(1)) {
                    if let Ok(coded) = quantize(&group.to_owned(), layout) {
                        group.assign(&dequantize(&coded));
                    }
                }
            }
            mixed
        },
    }

    "sinks_quantized",
    "the first tokens are old, so they are quantized first",
    "most heads look at the first token for want of anything else, and its key is unlike the others",
    ["sinks_and_the_window_stay_floats_and_a_group_of_keys_is_coded_when_it_is_whole",
     "leaving_the_first_key_alone_lowers_the_error_of_keys"],
    { new_sinks: |_, _, _| 0 }

    "sinks_of_each_step",
    "the first tokens of a step are sinks",
    "the sinks are the first tokens of the request, so each later step would add some",
    ["tokens_one_at_a_time_and_all_at_once_give_the_same_cache"],
    { new_sinks: |_, policy, tokens| policy.sinks.min(tokens) }

    "window_one_shorter",
    "the newest token is not in the window",
    "the window counts the most recent tokens with the newest",
    ["sinks_and_the_window_stay_floats_and_a_group_of_keys_is_coded_when_it_is_whole",
     "a_prompt_of_exactly_the_windows_length_has_no_codes"],
    { full: |window, unit| window.saturating_add(unit) - 1 }

    "window_one_longer",
    "a token is coded when it has left the window for a step",
    "the window would hold one token more than it is said to",
    ["sinks_and_the_window_stay_floats_and_a_group_of_keys_is_coded_when_it_is_whole"],
    { full: |window, unit| window.saturating_add(unit + 1) }

    "full_window_is_flushed",
    "when the window is full, its tokens are quantized",
    "then the newest tokens are codes at once, and a prompt of the window's length has no float keys",
    ["sinks_and_the_window_stay_floats_and_a_group_of_keys_is_coded_when_it_is_whole",
     "a_prompt_of_exactly_the_windows_length_has_no_codes"],
    { full: |window, _| window }

    "group_of_the_newest_token",
    "a token that leaves the window is quantized, whatever the layout",
    "a channel of one token is its own float zero: no error, and 34 bits a number instead of 16",
    ["sinks_and_the_window_stay_floats_and_a_group_of_keys_is_coded_when_it_is_whole",
     "each_token_comes_back_in_its_place_as_a_16_bit_float_or_from_its_group"], {
        unit: |_| 1,
        code_oldest: |recent, unit, layout| {
            let group = if layout.granularity == Granularity::PerChannel { 1 } else { layout.group };
            quantize(&recent.slice(s![..unit, ..]).to_owned(), Layout { group, ..layout })
        },
    }

    "values_wait_for_a_group",
    "values wait for as many tokens as a group has numbers",
    "a group of values lies within a token, so a value needs no other token",
    ["sinks_and_the_window_stay_floats_and_a_group_of_keys_is_coded_when_it_is_whole"],
    { unit: |layout| layout.group }

    "floats_of_f32",
    "tokens that are not quantized stay as they are",
    "they stay floats of 16 bits, which is what the bytes are counted for",
    ["each_token_comes_back_in_its_place_as_a_16_bit_float_or_from_its_group"],
    { entering: |value| value }

    "half_a_step",
    "a bad number is found when its row is appended",
    "the rows before it are then in the cache, and keys and values no longer belong together",
    ["a_step_that_is_refused_leaves_every_cache_as_it_was"],
    { check_batch: |_, _, _, _| Ok(()) }

    "recent_tokens_first",
    "the order of the tokens does not matter to softmax",
    "keys and values are in codes for different numbers of tokens, so a weight would meet another token's \
     value",
    ["each_token_comes_back_in_its_place_as_a_16_bit_float_or_from_its_group"],
    { order: |[sinks, coded, recent]| [sinks, recent, coded] }

    "heads_in_turn",
    "query head h reads key-value head h % kv_heads",
    "neighbouring query heads share one: h / (heads / kv_heads)",
    ["attention_on_a_cache_of_floats_is_attention",
     "attention_reads_the_sinks_the_codes_and_the_recent_tokens"],
    { head_of: |row, _, kv_heads| row % kv_heads }

    "no_maximum",
    "softmax is exponentials over their sum",
    "an exponential of 1000 is infinite, so the largest logit is taken away first",
    ["the_weights_of_large_logits_are_finite_and_sum_to_1"],
    { reference: |_| 0.0 }

    "over_head_dim",
    "products are divided by head_dim",
    "the product of two rows of head_dim independent numbers grows as the root of head_dim",
    ["a_logit_is_the_product_over_the_root_of_head_dim",
     "attention_on_a_cache_of_floats_is_attention"],
    { divisor: |head_dim| head_dim }

    "attends_to_nothing",
    "an empty cache gives an empty answer",
    "the sum of no exponentials is 0, and 0 / 0 is NaN: the token of the query is appended first",
    ["queries_that_do_not_fit_the_cache_are_refused"],
    { check_query: |_, _| Ok(()) }

    "bytes_without_scales",
    "4 bits are half a byte",
    "each group stores a scale and may store a zero, which is a quarter more at 2 bits in groups of 64 and \
     half as much again in groups of 32",
    ["scales_and_zeros_count_in_the_bits_of_a_number",
     "the_bytes_of_a_cache_are_those_of_its_codes_scales_zeros_and_floats"],
    { overhead: |_| 0 }

    "bytes_without_zeros",
    "a group stores its scale",
    "a grid above a zero stores the zero as well, another 16 bits",
    ["scales_and_zeros_count_in_the_bits_of_a_number",
     "the_bytes_of_a_cache_are_those_of_its_codes_scales_zeros_and_floats"],
    { overhead: |layout| (RIGHT.overhead)(layout).min(FLOAT_BITS) }

    "a_static_scale_is_stored",
    "every group has a scale in the cache",
    "a static scale belongs to the model and is there before the first token",
    ["scales_and_zeros_count_in_the_bits_of_a_number",
     "the_tokens_that_an_engine_reports_follow_from_the_bytes_of_a_block"],
    { overhead: |layout| (RIGHT.overhead)(layout).max(FLOAT_BITS) }

    "keys_only",
    "the bytes of a token are those of its key",
    "a token has a key and a value, and the two may have different layouts",
    ["a_token_has_keys_and_values_in_every_layer_and_key_value_head"],
    { bytes_per_token: |policy, shape| chosen::bits_per_number(policy.keys) * numbers(shape) / 8.0 }

    "keys_twice",
    "values cost what keys cost",
    "the two may have different layouts",
    ["a_token_has_keys_and_values_in_every_layer_and_key_value_head"], {
        bytes_per_token: |policy, shape| {
            2.0 * chosen::bits_per_number(policy.keys) * numbers(shape) / 8.0
        },
    }

    "the_window_is_free",
    "every token costs what a token in codes costs",
    "sinks, the window and an unfinished group are floats, which is most of a short request",
    ["the_bytes_of_a_cache_are_those_of_its_codes_scales_zeros_and_floats",
     "the_tokens_that_an_engine_reports_follow_from_the_bytes_of_a_block"],
    { coded: |tokens, _, _| tokens }

    "no_unfinished_group",
    "all tokens behind the window are in codes",
    "up to a group less one of keys wait for their group as floats",
    ["the_bytes_of_a_cache_are_those_of_its_codes_scales_zeros_and_floats"], {
        coded: |tokens, policy, _| {
            tokens.saturating_sub(policy.sinks.saturating_add(policy.window))
        },
    }

    "floats_of_32_bits",
    "a float has 32 bits",
    "a cache keeps floats of 16 bits",
    ["the_bytes_of_a_cache_are_those_of_its_codes_scales_zeros_and_floats",
     "the_tokens_that_an_engine_reports_follow_from_the_bytes_of_a_block"],
    { float_bits: 32 }

    "largest_difference",
    "logits move by the largest difference",
    "what all logits share changes no weight, so half of the range of the differences counts",
    ["a_number_that_is_added_to_all_logits_moves_nothing"], {
        logit_shift: |before, after| {
            let moved = before.iter().zip(after).map(|(before, after)| (after - before).abs());
            moved.fold(0.0, f64::max)
        },
    }

    "whole_range",
    "logits move by the range of their differences",
    "the middle of the range changes nothing, so each logit moves by half of the range at most",
    ["a_number_that_is_added_to_all_logits_moves_nothing"],
    { logit_shift: |before, after| 2.0 * solution::logit_shift(before, after) }

    "tanh_of_the_whole",
    "the share is tanh(shift)",
    "weights that are moved by exp(shift) up and down differ by tanh(shift / 2) in total at most",
    ["the_bound_on_the_output_is_attained_by_two_tokens"],
    { share: libm::tanh }

    "linear_share",
    "the output moves in proportion to the logits",
    "weights sum to 1, so the output cannot leave the range of the values however far the logits move",
    ["the_bound_on_the_output_is_attained_by_two_tokens"],
    { share: |shift| shift / 2.0 }

    "magnitude_for_range",
    "the output moves by a share of the largest value",
    "what all values share stays in the output, because the weights sum to 1 before and after",
    ["the_bound_on_the_output_is_attained_by_two_tokens"],
    { range: |smallest, largest| largest.max(-smallest) }
}

/// The functions of the lab, made of the steps of the wrong answer that `WRONG_ANSWER` names.
///
/// With `WRONG_ANSWER=none` every step is right. The functions must then pass the spec, so that a
/// failure of a wrong answer is due to the step that it replaces.
pub mod chosen {
    use super::*;

    answered! {
        fn scale_and_zero(values: &[f32], grid: Grid) -> (f32, f32);
        fn encode(value: f32, scale: f32, zero: f32, grid: Grid) -> u8;
        fn decode(code: u8, scale: f32, zero: f32, grid: Grid) -> f32;
        fn group_shape(layout: Layout) -> [usize; 2];
        fn quantize(m: &Matrix, layout: Layout) -> Lab<Coded>;
        fn dequantize(coded: &Coded) -> Matrix;
        fn rotate(m: &Matrix, positions: &[usize], theta: f64) -> Lab<Matrix>;
        fn unrotate(m: &Matrix, positions: &[usize], theta: f64) -> Lab<Matrix>;
        fn extend(side: &mut Side, tokens: &Matrix, policy: &Policy) -> Lab<()>;
        fn append(caches: &mut [Cache], lengths: &[usize], keys: &Tensor, values: &Tensor) -> Lab<()>;
        fn read(side: &Side) -> Matrix;
        fn logits(query: &[f32], keys: &Matrix) -> Vec<f64>;
        fn softmax(logits: &[f64]) -> Vec<f64>;
        fn attend(cache: &Cache, query: &Matrix) -> Lab<Matrix>;
        fn bits_per_number(layout: Layout) -> f64;
        fn bytes_per_token(policy: &Policy, shape: &Shape) -> f64;
        fn cache_bytes(policy: &Policy, shape: &Shape, tokens: usize) -> f64;
        fn logit_shift(before: &[f64], after: &[f64]) -> f64;
        fn output_bound(shift: f64, values: &Matrix) -> Array1<f64>;
    }
}
