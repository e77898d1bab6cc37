//! The way back from the parts that other tools write, held to codes that the tests chose.

use formats::FormatError;
use formats::checkpoint::{Dtype, GptqVersion, Scheme, Storage, Tensor};
use formats::dequantize::{Layout, dequantize};
use formats::float8;
use formats::format::Group;
use formats::layouts::{Grouped, awq, gptq};
use formats::registry::StoredPart;
use half::{bf16, f16};
use ndarray::{Array1, Array2};

use formats::bytes;

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn part(name: &str, dtype: Dtype, shape: &[usize], bytes: Vec<u8>) -> StoredPart {
    let shape: Vec<u64> = shape.iter().map(|&axis| axis as u64).collect();
    let storage = Storage::Elements(dtype);
    let tensor = Tensor { name: format!("m.{name}"), storage, shape, bytes: bytes.len() as u64 };
    StoredPart { tensor, bytes }
}

fn floats(name: &str, dtype: Dtype, values: &Array2<f32>) -> StoredPart {
    let bytes = match dtype {
        Dtype::F32 => bytes::of(values),
        Dtype::F16 => bytes::of(&values.mapv(f16::from_f32)),
        _ => values.iter().flat_map(|&value| bf16::from_f32(value).to_le_bytes()).collect(),
    };
    part(name, dtype, values.shape(), bytes)
}

fn words(name: &str, values: &Array2<i32>) -> StoredPart {
    part(name, Dtype::I32, values.shape(), bytes::of(values))
}

/// Codes, zero points and scales without a symmetry: the largest of each in the last row and column.
/// The scales are powers of two and three, which every float type holds.
fn grouped(out: usize, inputs: usize, groups: usize) -> Grouped {
    let codes = Array2::from_shape_fn((out, inputs), |(i, j)| ((3 * i + 5 * j) % 16) as u8);
    let zeros = Array2::from_shape_fn((out, groups), |(i, j)| (1 + (i + 7 * j) % 15) as u8);
    let scales = Array2::from_shape_fn((out, groups), |(i, j)| {
        f16::from_f32([0.25, 0.75, 0.0625][(i + 2 * j) % 3])
    });
    Grouped::new(codes, zeros, scales).expect("it fits")
}

fn gptq_parts(w: &Grouped, version: gptq::Version, scales: Dtype) -> Vec<StoredPart> {
    let tensors = gptq::pack(w, version).expect("GPTQ takes it");
    let g_idx = tensors.g_idx.insert_axis(ndarray::Axis(0));
    let mut parts = vec![
        floats("scales", scales, &tensors.scales.mapv(f16::to_f32)),
        words("qzeros", &tensors.qzeros),
        words("qweight", &tensors.qweight),
    ];
    parts.push(part("g_idx", Dtype::I32, &[g_idx.len()], bytes::of(&g_idx)));
    parts
}

fn gptq(version: GptqVersion, group: u64) -> Layout {
    Layout { scheme: Scheme::Gptq(version), bits: 4, group: Group::Size(group) }
}

#[test]
fn both_versions_of_gptq_are_read_with_scales_of_any_float_type_in_any_order() -> Outcome {
    let w = grouped(24, 64, 4);
    for (version, packed) in [
        (GptqVersion::V1, gptq::Version::V1),
        (GptqVersion::V2, gptq::Version::V2),
        (GptqVersion::Unsaid, gptq::Version::V1),
    ] {
        for dtype in [Dtype::F16, Dtype::BF16, Dtype::F32] {
            let mut parts = gptq_parts(&w, packed, dtype);
            assert_eq!(dequantize(gptq(version, 16), [24, 64], &parts)?, w.dequantize());
            parts.reverse();
            assert_eq!(dequantize(gptq(version, 16), [24, 64], &parts)?, w.dequantize());
        }
    }
    Ok(())
}

#[test]
fn inputs_in_act_order_have_the_scale_of_their_group() -> Outcome {
    let plain = grouped(16, 32, 4);
    let g_idx = (0..32).map(|input| (input * 5 + 3) % 4).collect();
    let (codes, zeros) = (plain.codes().clone(), plain.zeros().clone());
    let w = Grouped::with_g_idx(codes, zeros, plain.scales().clone(), g_idx)?;
    let mut parts = gptq_parts(&w, gptq::Version::V2, Dtype::F16);
    assert_eq!(dequantize(gptq(GptqVersion::V2, 8), [16, 32], &parts)?, w.dequantize());
    assert_ne!(w.dequantize(), plain.dequantize());
    let mut wrong: Array1<i32> = w.g_idx().iter().map(|&group| group as i32).collect();
    wrong[31] = 4;
    parts[3].bytes = bytes::of(&wrong);
    let error = dequantize(gptq(GptqVersion::V2, 8), [16, 32], &parts).expect_err("no group 4");
    assert!(error.to_string().contains("m.g_idx") && error.to_string().contains("input 31"));
    Ok(())
}

#[test]
fn gptq_without_zero_points_or_groups_is_symmetric_and_in_order() -> Outcome {
    let plain = grouped(8, 32, 2);
    let middle = Array2::from_elem(plain.zeros().dim(), 8);
    let w = Grouped::new(plain.codes().clone(), middle, plain.scales().clone())?;
    let mut parts = gptq_parts(&w, gptq::Version::V1, Dtype::F16);
    parts.retain(|part| !part.is("g_idx") && !part.is("qzeros"));
    assert_eq!(dequantize(gptq(GptqVersion::V1, 16), [8, 32], &parts)?, w.dequantize());
    Ok(())
}

#[test]
fn autoawq_is_read() -> Outcome {
    let w = grouped(32, 24, 3);
    let tensors = awq::pack(&w)?;
    let parts = [
        words("qweight", &tensors.qweight),
        words("qzeros", &tensors.qzeros),
        floats("scales", Dtype::BF16, &tensors.scales.mapv(f16::to_f32)),
    ];
    let layout = Layout { scheme: Scheme::AwqGemm, bits: 4, group: Group::Size(8) };
    assert_eq!(dequantize(layout, [32, 24], &parts)?, w.dequantize());
    Ok(())
}

/// A stream of codes from the lowest bit of the first word up.
fn stream(codes: &[u32], bits: usize) -> Vec<i32> {
    let mut words = vec![0u32; (codes.len() * bits).div_ceil(32)];
    for (index, code) in codes.iter().enumerate() {
        for bit in 0..bits {
            let at = index * bits + bit;
            words[at / 32] |= (code >> bit & 1) << (at % 32);
        }
    }
    words.into_iter().map(u32::cast_signed).collect()
}

/// Whole codes in each word, the rest of the word empty.
fn whole(codes: &[u32], bits: usize) -> Vec<i32> {
    let word = |codes: &[u32]| codes.iter().rev().fold(0, |word, code| word << bits | code);
    codes.chunks(32 / bits).map(|codes| word(codes).cast_signed()).collect()
}

#[test]
fn pack_quantized_is_read_at_every_width_in_both_ages_with_and_without_zero_points() -> Outcome {
    let (out, inputs) = (6, 96);
    for bits in 2..=8usize {
        let top = (1 << bits) - 1;
        let code = |i: usize, j: usize| ((7 * i + 3 * j) as u32) & top;
        for pack in [stream, whole] {
            let rows = (0..out)
                .flat_map(|i| pack(&(0..inputs).map(|j| code(i, j)).collect::<Vec<_>>(), bits));
            let rows: Vec<i32> = rows.collect();
            let packed = Array2::from_shape_vec((out, rows.len() / out), rows)?;
            let scales = Array2::from_shape_fn((out, 3), |(i, j)| 0.5 + (i + 4 * j) as f32);
            let zero = |i: usize, group: usize| ((5 * i + group) as u32) & top;
            let zeros: Vec<Vec<i32>> = (0..3)
                .map(|group| pack(&(0..out).map(|i| zero(i, group)).collect::<Vec<_>>(), bits))
                .collect();
            let zeros =
                Array2::from_shape_fn((zeros[0].len(), 3), |(word, group)| zeros[group][word]);
            let mut parts = vec![
                words("weight_packed", &packed),
                floats("weight_scale", Dtype::F32, &scales),
                part("weight_shape", Dtype::I64, &[2], bytes::of(&[out as i64, inputs as i64])),
                words("weight_zero_point", &zeros),
            ];
            let group = Group::Size(32);
            let layout = Layout { scheme: Scheme::PackQuantized, bits: bits as u64, group };
            let expected = |zero: &dyn Fn(usize, usize) -> f32| {
                Array2::from_shape_fn((out, inputs), |(i, j)| {
                    (code(i, j) as f32 - zero(i, j / 32)) * scales[(i, j / 32)]
                })
            };
            let asymmetric = expected(&|i, group| zero(i, group) as f32);
            assert_eq!(dequantize(layout, [out, inputs], &parts)?, asymmetric, "{bits} bits");
            parts.pop();
            let symmetric = expected(&|_, _| (1 << (bits - 1)) as f32);
            assert_eq!(dequantize(layout, [out, inputs], &parts)?, symmetric, "{bits} bits");
        }
    }
    Ok(())
}

#[test]
fn gptq_is_read_at_every_width_in_both_versions_and_in_any_order_of_groups() -> Outcome {
    let (out, inputs, groups) = (32, 64, 4);
    for (scheme, bits) in [(GptqVersion::V1, 5), (GptqVersion::Planar, 3)] {
        let layout = Layout { bits, ..gptq(scheme, 16) };
        let refused = dequantize(layout, [out, inputs], &[]).expect_err("planes of bits");
        assert!(refused.to_string().contains("not decoded"), "{refused}");
    }
    for bits in [2, 3, 4, 8] {
        let top = (1 << bits) - 1;
        let code = |i: usize, j: usize| ((7 * i + 3 * j) as u32) & top;
        // From 1 up, because version 1 stores each minus one.
        let zero = |i: usize, group: usize| 1 + ((5 * i + group) as u32) % top;
        let packed = |rows: usize, columns: usize, value: &dyn Fn(usize, usize) -> u32| {
            let row =
                |row| stream(&(0..columns).map(|at| value(row, at)).collect::<Vec<_>>(), bits);
            Array2::from_shape_vec((rows, columns * bits / 32), (0..rows).flat_map(row).collect())
        };
        let qweight = packed(out, inputs, &code)?;
        let qweight = words("qweight", &qweight.t().as_standard_layout().into_owned());
        let scales = Array2::from_shape_fn((groups, out), |(j, i)| 0.5 + (i + 4 * j) as f32);
        let scale = floats("scales", Dtype::F32, &scales);
        let (mixed, in_order) = (|j: usize| (j * 5 + 3) % groups, |j: usize| j / 16);
        let orders: [&dyn Fn(usize) -> usize; 2] = [&mixed, &in_order];
        for (version, minus) in [(GptqVersion::V1, 1), (GptqVersion::V2, 0)] {
            let qzeros = packed(groups, out, &|group, i| zero(i, group) - minus)?;
            for order in orders {
                let g_idx: Vec<i32> = (0..inputs).map(|input| order(input) as i32).collect();
                let g_idx = part("g_idx", Dtype::I32, &[inputs], bytes::of(&g_idx));
                let parts = [qweight.clone(), words("qzeros", &qzeros), scale.clone(), g_idx];
                let expected = Array2::from_shape_fn((out, inputs), |(i, j)| {
                    let group = order(j);
                    (code(i, j) as f32 - zero(i, group) as f32) * scales[(group, i)]
                });
                let layout = Layout { bits: bits as u64, ..gptq(version, 16) };
                let read = dequantize(layout, [out, inputs], &parts)?;
                assert_eq!(read, expected, "{bits} bits, {version:?}");
            }
        }
    }
    Ok(())
}

#[test]
fn fp8_is_read_with_one_scale_a_scale_for_each_row_and_for_each_block() -> Outcome {
    let (out, inputs) = (5, 7);
    let codes = Array2::from_shape_fn((out, inputs), |(i, j)| (16 * i + 3 * j) as u8);
    let weight = part("weight", Dtype::F8E4M3, &[out, inputs], bytes::of(&codes));
    for (group, name, scheme) in [
        (Group::Tensor, "weight_scale", Scheme::Fp8),
        (Group::Channel, "weight_scale", Scheme::Fp8),
        (Group::Block(2, 3), "weight_scale_inv", Scheme::Fp8ScaleInv),
    ] {
        let grid = group.grid(out as u64, inputs as u64).expect("known");
        let [rows, columns] = grid.map(|axis| axis as usize);
        let scales = Array2::from_shape_fn((rows, columns), |(i, j)| 0.5 + (i + 2 * j) as f32);
        let parts = [floats(name, Dtype::F32, &scales), weight.clone()];
        let scale = |i: usize, j: usize| match group {
            Group::Tensor => scales[(0, 0)],
            Group::Channel => scales[(i, 0)],
            _ => scales[(i / 2, j / 3)],
        };
        let expected = Array2::from_shape_fn((out, inputs), |(i, j)| {
            float8::decode(codes[(i, j)]) * scale(i, j)
        });
        let layout = Layout { scheme, bits: 8, group };
        assert_eq!(dequantize(layout, [out, inputs], &parts)?, expected, "{group}");
    }
    Ok(())
}

#[test]
fn e5m2_is_read_and_other_types_of_fp8_are_refused_by_name() -> Outcome {
    // 1.25, -3, the largest value, the smallest one: a sign, five bits of exponent, two of mantissa.
    let codes = vec![0x3d, 0xc2, 0x7b, 0x01];
    let values = Array2::from_shape_vec((1, 4), vec![1.25, -3.0, 57344.0, 2f32.powi(-16)])?;
    let layout = Layout { scheme: Scheme::Fp8, bits: 8, group: Group::Tensor };
    let scale = floats("weight_scale", Dtype::F32, &Array2::from_elem((1, 1), 0.5));
    let read = |dtype| {
        let weight = part("weight", dtype, &[1, 4], codes.clone());
        (weight.floats([1, 4]), dequantize(layout, [1, 4], &[weight, scale.clone()]))
    };
    let (plain, scaled) = read(Dtype::F8E5M2);
    assert_eq!((plain?, scaled?), (values.clone(), values * 0.5));
    let (plain, scaled) = read(Dtype::F8E5M2Fnuz);
    for error in [plain.err(), scaled.err()].map(|error| error.map(|error| error.to_string())) {
        assert!(error.as_ref().is_some_and(|e| e.contains("is F8_E5M2FNUZ")), "{error:?}");
    }
    Ok(())
}

#[test]
fn int8_is_read_with_zero_points_and_one_scale() -> Outcome {
    let codes = Array2::from_shape_fn((3, 4), |(i, j)| (50 * i + 9 * j) as i8);
    let parts = [
        part("weight", Dtype::I8, &[3, 4], codes.iter().map(|code| code.cast_unsigned()).collect()),
        floats("weight_scale", Dtype::BF16, &Array2::from_elem((1, 1), 0.75)),
        part("weight_zero_point", Dtype::I8, &[1, 1], vec![(-3i8).cast_unsigned()]),
    ];
    let layout = Layout { scheme: Scheme::IntQuantized, bits: 8, group: Group::Tensor };
    let expected = codes.mapv(|code| (f32::from(code) + 3.0) * 0.75);
    assert_eq!(dequantize(layout, [3, 4], &parts)?, expected);
    Ok(())
}

#[test]
fn what_does_not_fit_is_named() {
    let w = grouped(16, 32, 2);
    let parts = gptq_parts(&w, gptq::Version::V1, Dtype::F16);
    let layout = gptq(GptqVersion::V1, 16);
    let refused = |change: fn(&mut Vec<StoredPart>), layout: Layout| {
        let mut parts = parts.clone();
        change(&mut parts);
        dequantize(layout, [16, 32], &parts).expect_err("it does not fit").to_string()
    };
    for (change, words) in [
        ((|parts| parts.truncate(2)) as fn(&mut Vec<StoredPart>), "m.qzeros"),
        (|parts| parts[2].bytes.truncate(8), "m.qweight"),
        (|parts| parts[0].bytes[1] = 0x7E, "m.scales"),
        (|parts| parts[0].tensor.storage = Storage::Elements(Dtype::I32), "no float"),
    ] {
        let error = refused(change, layout);
        assert!(error.contains(words), "{error}");
    }
    let error = refused(|_| {}, Layout { bits: 3, ..layout });
    assert!(error.contains("m.qweight"), "{error}");
    let scheme = Scheme::BnbInt8;
    let error = dequantize(Layout { scheme, ..layout }, [16, 32], &parts).expect_err("no codec");
    assert!(matches!(error, FormatError::NotDecoded(_)), "{error}");
}
