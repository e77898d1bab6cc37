//! Failures from public trackers, small enough to run: the failure, and what this lab does instead.

use formats::layouts::gptq::{self, Version, word_v1_to_v2, word_v2_to_v1};
use formats::layouts::{Grouped, LayoutError};
use half::f16;
use int4_groups::solution::{
    check_group_size, dequantize_groups, pack_gptq_zeros, quantize_groups, unpack_gptq_zeros,
};
use kit::int4::Int4Error;
use ndarray::Array2;

/// "The input size is not aligned with the quantized weight shape": the down projection of a 72B
/// model has 29568 input channels, 231 groups of 128. An odd number of groups has no half.
#[test]
fn a_tensor_parallel_shard_that_cuts_a_group_is_refused_and_fewer_ranks_or_smaller_groups_work()
-> Result<(), Int4Error> {
    const IN_FEATURES: usize = 29568;
    check_group_size(IN_FEATURES, 128)?;
    for ranks in [2, 4, 8] {
        let error = check_group_size(IN_FEATURES / ranks, 128).unwrap_err().to_string();
        assert!(error.contains("group_size 128"), "{ranks} ranks: {error}");
    }
    // Fewer ranks: only divisors of 231 = 3 * 7 * 11 leave groups whole.
    check_group_size(IN_FEATURES / 3, 128)?;
    // Smaller groups: 924 of them are four times 231.
    check_group_size(IN_FEATURES / 4, 32)?;
    let error = check_group_size(IN_FEATURES / 8, 32).unwrap_err().to_string();
    assert!(error.contains("16") && error.contains("48"), "the sizes that work: {error}");
    Ok(())
}

/// Zero points stored minus one: 0 becomes -1, and -1 is all ones.
#[test]
fn a_zero_point_of_0_in_v1_destroys_its_neighbours_in_both_known_packers_and_is_refused_here() {
    let zeros = [8u8, 8, 8, 0, 8, 8, 8, 8];
    let ored = zeros.iter().enumerate().fold(0i32, |word, (i, &zero)| {
        let stored = i32::from(zero) - 1; // no mask
        word | stored << (4 * i)
    });
    assert_eq!(ored.cast_unsigned(), 0xffff_f777, "every nibble from the 0 up is gone");
    assert_eq!(unpack_gptq_zeros(ored.cast_unsigned()), [8, 8, 8, 16, 16, 16, 16, 16]);

    let subtracted = word_v2_to_v1(0x8888_0888);
    assert_eq!(subtracted, 0x7776_f777, "the subtraction borrows from the next");
    assert_eq!(unpack_gptq_zeros(subtracted), [8, 8, 8, 16, 7, 8, 8, 8]);
    assert_eq!(word_v1_to_v2(subtracted), 0x8888_0888, "only the same addition takes it back");

    assert_eq!(pack_gptq_zeros(zeros), Err(Int4Error::ZeroMinusOne { index: 3 }));
}

#[test]
fn the_gptq_packer_names_the_row_and_the_group_of_a_zero_point_of_0() -> Result<(), LayoutError> {
    let mut zeros = Array2::from_elem((8, 2), 8);
    zeros[(3, 1)] = 0;
    let w = Grouped::new(Array2::zeros((8, 16)), zeros, Array2::from_elem((8, 2), f16::ONE))?;
    let error = gptq::pack(&w, Version::V1).unwrap_err();
    assert_eq!(error, LayoutError::ZeroMinusOne { row: 3, group: 1 }, "{error}");
    assert_eq!(gptq::unpack(&gptq::pack(&w, Version::V2)?, Version::V2)?, w);
    Ok(())
}

/// An all-zero group has the scale 0, and 0 / 0 is NaN. A group of tiny weights has a scale that
/// underflows in f16, and dividing by that is infinite.
#[test]
fn a_group_of_zeros_or_of_tiny_weights_is_nan_without_a_guard_and_zero_with_one()
-> Result<(), Int4Error> {
    let unguarded = |value: f32, absmax: f32| {
        let scale = f16::from_f32(absmax / 7.0).to_f32();
        (value / scale).round_ties_even() * scale
    };
    assert!(unguarded(0.0, 0.0).is_nan());
    assert!(unguarded(1e-8, 1e-8).is_nan(), "infinity times 0");

    for absmax in [0.0, 1e-8] {
        let w = quantize_groups(&Array2::from_elem((1, 8), absmax), 8)?;
        assert_eq!(w.scales()[(0, 0)], f16::ONE);
        assert!(dequantize_groups(&w).iter().all(|&value| value == 0.0));
    }
    Ok(())
}
