//! Any words, bytes and shapes as a layer of a checkpoint: an error or a matrix, never a panic, and
//! what was read packs to the same tensors.
//!
//! Most inputs have shapes that fit together, or else nothing but the checks of shapes would run.

#![no_main]

use std::ops::RangeInclusive;

use formats::layouts::awq::{self, AwqTensors};
use formats::layouts::compressed_tensors::{self, CompressedTensors};
use formats::layouts::gptq::{self, GptqTensors, Version};
use formats::layouts::{LayoutError, ggml};
use half::f16;
use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use ndarray::{Array1, Array2};

fuzz_target!(|data: &[u8]| {
    // An input that ends early is cut short: there is nothing to try then.
    let _ = try_one_layout(&mut Unstructured::new(data));
});

fn try_one_layout(input: &mut Unstructured) -> Result<()> {
    match input.int_in_range(0..=3)? {
        0 => try_awq(input),
        1 => try_gptq(input),
        2 => try_compressed_tensors(input),
        _ => try_ggml(input),
    }
}

fn try_awq(input: &mut Unstructured) -> Result<()> {
    let (groups, words) = (size(input, 0..=4)?, size(input, 0..=8)?);
    let in_features = groups * size(input, 1..=8)?;
    let file = AwqTensors {
        qweight: matrix(input, (in_features, words), i32_of)?,
        qzeros: matrix(input, (groups, words), i32_of)?,
        scales: matrix(input, (groups, 8 * words), f16_of)?,
    };
    let Ok(w) = awq::unpack(&file) else { return Ok(()) };
    match awq::pack(&w) {
        Ok(again) => assert_eq!(again, file),
        // AutoAWQ reads widths that its packer does not write.
        Err(error) => assert!(
            matches!(error, LayoutError::Indivisible { .. })
                && !w.out_features().is_multiple_of(32),
            "{error}"
        ),
    }
    Ok(())
}

fn try_gptq(input: &mut Unstructured) -> Result<()> {
    let (groups, words) = (size(input, 0..=4)?, size(input, 0..=4)?);
    let outputs = size(input, 0..=4)?;
    let qweight = matrix(input, (words, 8 * outputs), i32_of)?;
    let qzeros = matrix(input, (groups, outputs), i32_of)?;
    let scales = matrix(input, (groups, 8 * outputs), f16_of)?;
    let g_idx = (0..8 * words).map(|_| g_idx_of(input, groups));
    let g_idx = g_idx.collect::<Result<Array1<i32>>>()?;
    let mut file = GptqTensors { qweight, qzeros, scales, g_idx };
    for version in [Version::V1, Version::V2] {
        if let Ok(w) = gptq::unpack(&file, version) {
            assert_eq!(gptq::pack(&w, version).as_ref(), Ok(&file), "{version:?}");
        }
    }
    // Words that change version as words keep their zero points.
    let Ok(qzeros) = gptq::qzeros_v1_to_v2(&file.qzeros) else { return Ok(()) };
    assert_eq!(gptq::qzeros_v2_to_v1(&qzeros).as_ref(), Ok(&file.qzeros));
    // An error is not compared: it may hold the NaN it complains of.
    let v1 = gptq::unpack(&file, Version::V1).ok();
    file.qzeros = qzeros;
    assert_eq!(gptq::unpack(&file, Version::V2).ok(), v1);
    Ok(())
}

fn try_compressed_tensors(input: &mut Unstructured) -> Result<()> {
    let (out_features, groups) = (size(input, 0..=17)?, size(input, 0..=4)?);
    let in_features = groups * size(input, 1..=9)?;
    let zeros = (out_features.div_ceil(8), groups);
    let file = CompressedTensors {
        weight_packed: matrix(input, (out_features, in_features.div_ceil(8)), i32_of)?,
        weight_scale: matrix(input, (out_features, groups), f16_of)?,
        weight_shape: if input.ratio(1, 8)? {
            input.arbitrary()?
        } else {
            [out_features as i64, in_features as i64]
        },
        weight_zero_point: if input.arbitrary()? {
            Some(matrix(input, zeros, i32_of)?)
        } else {
            None
        },
    };
    let Ok(w) = compressed_tensors::unpack(&file) else { return Ok(()) };
    let again = compressed_tensors::pack(&w).expect("it was unpacked from this layout");
    assert_eq!(compressed_tensors::unpack(&again).as_ref(), Ok(&w));
    // Nibbles beyond the shape may hold anything, and zero points that are all 8 are left out.
    let full = w.in_features().is_multiple_of(8) && w.out_features().is_multiple_of(8);
    if full && file.weight_zero_point.is_some() != w.is_symmetric() {
        assert_eq!(again, file);
    }
    Ok(())
}

fn try_ggml(input: &mut Unstructured) -> Result<()> {
    let (fits, q4_1) = (!input.ratio(1, 8)?, input.arbitrary()?);
    let (mut rows, mut columns) = (size(input, 0..=4)?, 32 * size(input, 0..=4)?);
    let block = if q4_1 { 20 } else { 18 };
    let mut bytes = vec![0; rows * columns / 32 * block];
    let there = input.len().min(bytes.len());
    input.fill_buffer(&mut bytes[..there])?;
    if !fits {
        (rows, columns) = (input.arbitrary()?, input.arbitrary()?);
    }
    if !q4_1 {
        if let Ok(w) = ggml::unpack_q4_0(&bytes, rows, columns) {
            assert_eq!(ggml::pack_q4_0(&w), Ok(bytes));
        }
        return Ok(());
    }
    let Ok(w) = ggml::unpack_q4_1(&bytes, rows, columns) else { return Ok(()) };
    let again = ggml::pack_q4_1(&w).expect("a zero point that gives an f16 was found");
    // A minimum of minus zero becomes zero.
    for block in bytes.chunks_exact_mut(block) {
        if block[2..4] == [0, 0x80] {
            block[3] = 0;
        }
    }
    assert_eq!(again, bytes);
    Ok(())
}

/// A matrix of `shape`, or, one time in 16, of any small shape. It is made of zeros where the input
/// ends.
fn matrix<T: Clone>(
    input: &mut Unstructured,
    shape: (usize, usize),
    element: fn(&mut Unstructured) -> Result<T>,
) -> Result<Array2<T>> {
    let other = input.ratio(1, 16)?;
    let shape = if other { (size(input, 0..=33)?, size(input, 0..=33)?) } else { shape };
    let elements = (0..shape.0 * shape.1).map(|_| element(input)).collect::<Result<Vec<T>>>()?;
    Ok(Array2::from_shape_vec(shape, elements).expect("as many elements as the shape has"))
}

fn size(input: &mut Unstructured, range: RangeInclusive<usize>) -> Result<usize> {
    input.int_in_range(range)
}

fn i32_of(input: &mut Unstructured) -> Result<i32> {
    input.arbitrary()
}

/// Any `f16`, NaN and infinity among them.
fn f16_of(input: &mut Unstructured) -> Result<f16> {
    Ok(f16::from_bits(input.arbitrary()?))
}

/// Mostly a group that is there.
fn g_idx_of(input: &mut Unstructured, groups: usize) -> Result<i32> {
    let any: i32 = input.arbitrary()?;
    Ok(if any % 256 == 255 { any } else { any.rem_euclid(groups.max(1) as i32) })
}
