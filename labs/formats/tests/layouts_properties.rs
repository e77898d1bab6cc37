//! What holds for every matrix, and for whatever another program wrote into a file.

use std::error::Error;

use formats::gguf::{TensorType, dequantize};
use formats::layouts::compressed_tensors::CompressedTensors;
use formats::layouts::ggml::BlockByte;
use formats::layouts::gptq::{GptqTensors, Version};
use formats::layouts::{Grouped, LayoutError, awq, compressed_tensors, ggml, gptq};
use half::f16;
use int4_groups::solution::{dequantize_groups, quantize_groups};
use kit::real_slice::{self, TENSORS};
use ndarray::{Array1, Array2};
use proptest::prelude::*;

use crate::hex::bits;

/// Numbers without a pattern, from a seed: splitmix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }

    fn words(&mut self, shape: (usize, usize)) -> Array2<i32> {
        Array2::from_shape_simple_fn(shape, || self.next() as i32)
    }

    /// Any `f16`, NaN and infinity among them.
    fn halves(&mut self, shape: (usize, usize)) -> Array2<f16> {
        Array2::from_shape_simple_fn(shape, || f16::from_bits(self.next() as u16))
    }

    /// Any finite `f16` without a sign.
    fn scales(&mut self, shape: (usize, usize)) -> Array2<f16> {
        Array2::from_shape_simple_fn(shape, || f16::from_bits((self.next() % 0x7C00) as u16))
    }

    fn codes(&mut self, shape: (usize, usize)) -> Array2<u8> {
        Array2::from_shape_simple_fn(shape, || (self.next() % 16) as u8)
    }

    /// Zero points `low..=15`.
    fn zeros(&mut self, shape: (usize, usize), low: u64) -> Array2<u8> {
        Array2::from_shape_simple_fn(shape, || (self.next() % (16 - low) + low) as u8)
    }

    fn grouped(&mut self, rows: usize, groups: usize, size: usize, low: u64) -> Grouped {
        let (codes, shape) = ((rows, groups * size), (rows, groups));
        Grouped::new(self.codes(codes), self.zeros(shape, low), self.scales(shape))
            .expect("codes and zero points are in range, scales are finite")
    }

    fn g_idx(&mut self, inputs: usize, groups: usize) -> Array1<i32> {
        Array1::from_shape_simple_fn(inputs, || (self.next() % groups as u64) as i32)
    }
}

proptest! {
    #[test]
    fn every_matrix_comes_back_from_every_layout(
        seed: u64, rows in 1usize..3, groups in 1usize..4, size in 1usize..4,
    ) {
        let w = Random(seed).grouped(32 * rows, groups, 8 * size, 0);
        prop_assert_eq!(&awq::unpack(&awq::pack(&w)?)?, &w);
        prop_assert_eq!(&gptq::unpack(&gptq::pack(&w, Version::V2)?, Version::V2)?, &w);
        prop_assert_eq!(&compressed_tensors::unpack(&compressed_tensors::pack(&w)?)?, &w);
        let w = Random(seed).grouped(32 * rows, groups, 8 * size, 1);
        prop_assert_eq!(&gptq::unpack(&gptq::pack(&w, Version::V1)?, Version::V1)?, &w);
    }

    #[test]
    fn compressed_tensors_takes_any_shape(
        seed: u64, rows in 1usize..20, groups in 1usize..4, size in 1usize..20,
    ) {
        let w = Random(seed).grouped(rows, groups, size, 0);
        prop_assert_eq!(compressed_tensors::unpack(&compressed_tensors::pack(&w)?)?, w);
    }

    #[test]
    fn every_awq_file_comes_back_word_for_word(
        seed: u64, inputs in 1usize..9, groups in 1usize..4, rows in 1usize..3,
    ) {
        let mut random = Random(seed);
        let file = awq::AwqTensors {
            qweight: random.words((inputs * groups, 4 * rows)),
            qzeros: random.words((groups, 4 * rows)),
            scales: random.scales((groups, 32 * rows)),
        };
        prop_assert_eq!(awq::pack(&awq::unpack(&file)?)?, file);
    }

    #[test]
    fn every_gptq_file_comes_back_word_for_word_whatever_its_g_idx(
        seed: u64, inputs in 1usize..5, groups in 1usize..4, outputs in 1usize..5, v1: bool,
    ) {
        let version = if v1 { Version::V1 } else { Version::V2 };
        let mut random = Random(seed);
        let file = GptqTensors {
            qweight: random.words((inputs, 8 * outputs)),
            qzeros: random.words((groups, outputs)),
            scales: random.scales((groups, 8 * outputs)),
            g_idx: random.g_idx(8 * inputs, groups),
        };
        prop_assert_eq!(gptq::pack(&gptq::unpack(&file, version)?, version)?, file);
    }

    #[test]
    fn every_compressed_tensors_file_comes_back_word_for_word(
        seed: u64, outputs in 1usize..5, words in 1usize..4, divisor in 0u32..4,
    ) {
        let (mut random, groups) = (Random(seed), 1 << divisor);
        let file = CompressedTensors {
            weight_packed: random.words((8 * outputs, words)),
            weight_scale: random.scales((8 * outputs, groups)),
            weight_shape: [8 * outputs as i64, 8 * words as i64],
            weight_zero_point: Some(random.words((outputs, groups))),
        };
        prop_assert_eq!(compressed_tensors::pack(&compressed_tensors::unpack(&file)?)?, file);
    }

    #[test]
    fn tensors_of_any_shape_and_content_are_read_or_refused_and_nothing_panics(
        seed: u64, shapes in prop::collection::vec((0usize..4, 0usize..17), 4),
        inputs in 0usize..33, weight_shape: [i64; 2], v1: bool,
    ) {
        let mut random = Random(seed);
        let (qweight, qzeros) = (random.words(shapes[0]), random.words(shapes[1]));
        let scales = random.halves(shapes[2]);
        let sound = |read: Result<Grouped, LayoutError>, out_features: usize| match read {
            Ok(w) => w.out_features() == out_features && w.scales().iter().all(|s| s.is_finite()),
            Err(error) => error.to_string().len() > 20,
        };
        let file = awq::AwqTensors {
            qweight: qweight.clone(), qzeros: qzeros.clone(), scales: scales.clone(),
        };
        prop_assert!(sound(awq::unpack(&file), scales.ncols()));
        let g_idx = random.words((1, inputs)).row(0).to_owned();
        let file = GptqTensors {
            qweight: qweight.clone(), qzeros: qzeros.clone(), scales: scales.clone(), g_idx,
        };
        let version = if v1 { Version::V1 } else { Version::V2 };
        prop_assert!(sound(gptq::unpack(&file, version), scales.ncols()));
        for weight_shape in [weight_shape, [shapes[0].0 as i64, inputs as i64]] {
            let file = CompressedTensors {
                weight_packed: qweight.clone(), weight_scale: scales.clone(), weight_shape,
                weight_zero_point: v1.then(|| qzeros.clone()),
            };
            prop_assert!(sound(compressed_tensors::unpack(&file), scales.nrows()));
        }
    }

    #[test]
    fn a_file_is_read_exactly_if_each_of_its_scales_is_a_number(seed: u64, groups in 1usize..3) {
        let mut random = Random(seed);
        let scales = random.halves((groups, 32));
        let numbers = scales.iter().all(|scale| scale.is_finite());
        let qzeros = random.words((groups, 4));
        let file = awq::AwqTensors {
            qweight: random.words((4 * groups, 4)), qzeros: qzeros.clone(), scales: scales.clone(),
        };
        prop_assert_eq!(awq::unpack(&file).is_ok(), numbers);
        let (qweight, g_idx) = (random.words((1, 32)), random.g_idx(8, groups));
        let file = GptqTensors { qweight, qzeros, scales: scales.clone(), g_idx };
        prop_assert_eq!(gptq::unpack(&file, Version::V2).is_ok(), numbers);
        let file = CompressedTensors {
            weight_packed: random.words((32, groups)),
            weight_scale: scales.reversed_axes(),
            weight_shape: [32, 8 * groups as i64],
            weight_zero_point: None,
        };
        prop_assert_eq!(compressed_tensors::unpack(&file).is_ok(), numbers);
    }

    #[test]
    fn bytes_of_any_length_and_content_are_read_as_blocks_or_refused(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        out_features in prop_oneof![0usize..4, any::<usize>()],
        in_features in prop_oneof![(0usize..4).prop_map(|n| 32 * n), any::<usize>()],
    ) {
        if let Ok(w) = ggml::unpack_q4_0(&bytes, out_features, in_features) {
            prop_assert_eq!(ggml::pack_q4_0(&w)?, bytes.clone());
        }
        if let Ok(w) = ggml::unpack_q4_1(&bytes, out_features, in_features) {
            prop_assert_eq!(w.codes().dim(), (out_features, in_features));
        }
    }

    #[test]
    fn a_grouped_matrix_in_blocks_decodes_to_its_own_values_to_the_bit(
        seed: u64, rows in 1usize..4, groups in 1usize..4,
    ) {
        let shape = (rows, groups);
        let mut random = Random(seed);
        let (codes, scales) = (random.codes((rows, 32 * groups)), random.scales(shape));
        let w = Grouped::new(codes, Array2::from_elem(shape, 8), scales)?;
        let blocks = ggml::pack_q4_0(&w)?;
        prop_assert_eq!(bits(&dequantize(TensorType::Q4_0, &blocks)?), bits(&w.dequantize()));
        prop_assert_eq!(&ggml::unpack_q4_0(&blocks, rows, 32 * groups)?, &w);

        // Q4_1, with scales that leave room: 7 bits times the 4 of a zero point fit the 11 of f16.
        let scales = w.scales().mapv(|s| f16::from_bits(s.to_bits() & 0x3FF0 | 0x1000));
        let zeros = random.zeros(shape, 0);
        let w = Grouped::new(w.codes().clone(), zeros, scales)?;
        let blocks = ggml::pack_q4_1(&w)?;
        prop_assert_eq!(bits(&dequantize(TensorType::Q4_1, &blocks)?), bits(&w.dequantize()));
        prop_assert_eq!(&ggml::unpack_q4_1(&blocks, rows, 32 * groups)?, &w);
    }

    #[test]
    fn floats_of_any_bits_are_encoded_or_refused(
        bits in prop::collection::vec(any::<u32>(), 0..70), finite: bool,
    ) {
        let mask = if finite { 0xC7FF_FFFF } else { u32::MAX };
        let values: Vec<f32> = bits.into_iter().map(|bits| f32::from_bits(bits & mask)).collect();
        for kind in [TensorType::Q4_0, TensorType::Q4_1, TensorType::Q8_0] {
            if let Ok(blocks) = ggml::encode(kind, &values) {
                let back = dequantize(kind, &blocks)?;
                prop_assert_eq!(back.len(), values.len());
                prop_assert!(back.iter().all(|value| value.is_finite()));
            }
        }
    }
}

#[test]
fn a_real_matrix_has_the_same_values_in_five_layouts_to_the_bit() -> Result<(), Box<dyn Error>> {
    let weights = real_slice::tensor(TENSORS[3])?;
    let int4 = quantize_groups(&weights, 32)?;
    let expected = bits(&dequantize_groups(&int4));
    let w = Grouped::try_from(&int4)?;
    assert_eq!(bits(&w.dequantize()), expected, "Grouped");

    let from_awq = awq::unpack(&awq::pack(&w)?)?;
    assert_eq!(bits(&from_awq.dequantize()), expected, "AutoAWQ");
    for version in [Version::V1, Version::V2] {
        let from_gptq = gptq::unpack(&gptq::pack(&w, version)?, version)?;
        assert_eq!(bits(&from_gptq.dequantize()), expected, "GPTQ {version:?}");
    }
    let packed = compressed_tensors::unpack(&compressed_tensors::pack(&w)?)?;
    assert_eq!(bits(&packed.dequantize()), expected, "compressed-tensors");
    let blocks = ggml::pack_q4_0(&w)?;
    assert_eq!(bits(&dequantize(TensorType::Q4_0, &blocks)?), expected, "Q4_0");
    Ok(())
}

#[test]
fn the_drawing_tables_name_every_element_once_and_fields_first() -> Result<(), LayoutError> {
    for words in [awq::WORDS, gptq::WORDS, compressed_tensors::WORDS] {
        let mut order = words.order;
        order.sort();
        assert_eq!(order, [0, 1, 2, 3, 4, 5, 6, 7], "{}", words.name);
    }
    for kind in [TensorType::Q4_0, TensorType::Q4_1, TensorType::Q8_0] {
        let map = ggml::block_bytes(kind)?;
        assert_eq!(Some((32, map.len())), kind.block(), "{kind}");
        let fields = if kind == TensorType::Q4_1 { 4 } else { 2 };
        let elements = |byte: &BlockByte| match *byte {
            BlockByte::Scale(_) | BlockByte::Minimum(_) => vec![],
            BlockByte::Nibbles { low, high } => vec![low, high],
            BlockByte::Code(element) => vec![element],
        };
        assert!(map[..fields].iter().all(|byte| elements(byte).is_empty()), "{kind}");
        let mut named: Vec<usize> = map[fields..].iter().flat_map(elements).collect();
        named.sort();
        assert_eq!(named, (0..32).collect::<Vec<_>>(), "{kind}");
    }
    assert_eq!(ggml::block_bytes(TensorType::F16), Err(LayoutError::NotEncoded(TensorType::F16)));
    Ok(())
}

/// A matrix of `rows` and `columns` in `groups`, with one zero point for all.
fn plain(rows: usize, columns: usize, groups: usize, zero: u8) -> Result<Grouped, LayoutError> {
    let shape = (rows, groups);
    let scales = Array2::from_elem(shape, f16::ONE);
    Grouped::new(Array2::zeros((rows, columns)), Array2::from_elem(shape, zero), scales)
}

#[test]
fn what_a_layout_cannot_hold_is_refused_with_the_place_and_a_way_out() -> Result<(), LayoutError> {
    fn says<T>(result: Result<T, LayoutError>, words: &[&str]) {
        let error = result.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(words.iter().all(|word| error.contains(word)), "{words:?} not in «{error}»");
    }
    says(plain(32, 30, 4, 8), &["[32, 4]", "[32, 30]"]);
    says(plain(32, 32, 1, 17), &["row 0, group 0", "17", "0..=16"]);
    says(awq::pack(&plain(24, 32, 1, 8)?), &["out_features", "24", "32", "16 bits"]);
    says(awq::pack(&plain(32, 32, 1, 16)?), &["AutoAWQ", "16", "0..=15"]);
    says(gptq::pack(&plain(32, 20, 1, 8)?, Version::V2), &["in_features", "20", "multiple of 8"]);
    says(gptq::pack(&plain(12, 32, 1, 8)?, Version::V2), &["out_features", "12", "multiple of 8"]);
    says(gptq::pack(&plain(32, 32, 1, 16)?, Version::V2), &["GPTQ v2", "16"]);
    says(gptq::pack(&plain(32, 32, 1, 0)?, Version::V1), &["minus one", "gptq_v2"]);
    says(gptq::qzeros_v1_to_v2(&Array2::from_elem((1, 1), -1)), &["ffffffff", "carries"]);
    says(ggml::pack_q4_0(&plain(1, 64, 1, 8)?), &["groups of 32", "groups of 64"]);
    says(ggml::pack_q4_0(&plain(1, 32, 1, 7)?), &["Q4_0", "7", "8 alone"]);
    says(ggml::unpack_q4_0(&[0; 17], 1, 32), &["18", "17", "cut short"]);
    says(ggml::unpack_q4_0(&[0; 18], 1, 18), &["in_features", "18", "32"]);
    says(ggml::encode(TensorType::Q4_0, &[0.0; 31]), &["31", "32"]);
    says(ggml::encode(TensorType::Q4_0, &[f32::NAN; 32]), &["value 0", "NaN"]);
    says(ggml::encode(TensorType::Q4_0, &[1e6; 32]), &["block 0", "-125000", "65504"]);

    let (codes, ones) = (Array2::zeros((1, 32)), Array2::from_elem((1, 1), 1));
    let third = Array2::from_elem((1, 1), f16::from_f32(1.0 / 3.0));
    let zero_3 = Grouped::new(codes.clone(), ones.mapv(|one: u8| 3 * one), third)?;
    says(ggml::pack_q4_1(&zero_3), &["minimum", "not an f16"]);
    let nan = Array2::from_elem((1, 1), f16::NAN);
    says(Grouped::new(codes.clone(), ones.clone(), nan), &["row 0, group 0", "NaN"]);

    let scales = Array2::from_elem((1, 2), f16::ONE);
    let shuffled = (0..32).map(|input| input % 2).collect();
    let ordered = Grouped::with_g_idx(codes, Array2::from_elem((1, 2), 8), scales, shuffled)?;
    says(compressed_tensors::pack(&ordered), &["act-order", "desc_act"]);
    Ok(())
}

#[test]
fn tensors_of_another_layer_are_refused_with_both_shapes() -> Result<(), LayoutError> {
    let mut file = gptq::pack(&plain(32, 64, 2, 8)?, Version::V2)?;
    file.qzeros = Array2::zeros((1, 4));
    let error = gptq::unpack(&file, Version::V2).unwrap_err().to_string();
    assert!(error.contains("`qzeros`") && error.contains("[1, 4]") && error.contains("[2, 4]"));
    let mut file = gptq::pack(&plain(32, 64, 2, 8)?, Version::V2)?;
    for (wrong, group) in [(2, "group 2"), (-1, "group -1")] {
        file.g_idx[5] = wrong;
        let error = gptq::unpack(&file, Version::V2).unwrap_err().to_string();
        assert!(error.contains("channel 5") && error.contains(group), "{error}");
    }
    let mut file = compressed_tensors::pack(&plain(32, 64, 2, 8)?)?;
    file.weight_shape = [32, -64];
    let error = compressed_tensors::unpack(&file).unwrap_err().to_string();
    assert!(error.contains("[32, -64]"), "{error}");
    Ok(())
}

#[test]
fn act_order_looks_each_input_channel_up_in_its_own_group() -> Result<(), LayoutError> {
    let scales = Array2::from_shape_fn((8, 2), |(_, group)| f16::from_f32([1.0, 10.0][group]));
    let codes = Array2::from_elem((8, 8), 9);
    let g_idx = vec![1, 0, 0, 1, 1, 0, 1, 0];
    let w = Grouped::with_g_idx(codes, Array2::from_elem((8, 2), 8), scales, g_idx)?;
    let back = gptq::unpack(&gptq::pack(&w, Version::V1)?, Version::V1)?.dequantize();
    assert_eq!(back.row(0).to_vec(), [10.0, 1.0, 1.0, 10.0, 10.0, 1.0, 10.0, 1.0]);
    Ok(())
}

#[test]
fn gptq_of_fewer_bits_refuses_what_its_words_cannot_hold() -> Result<(), LayoutError> {
    let of = |code: u8, zero: u8, [rows, columns]: [usize; 2]| {
        let (mut codes, mut zeros) =
            (Array2::zeros((rows, columns)), Array2::from_elem((rows, 2), 4));
        codes[(rows - 1, columns - 1)] = code;
        zeros[(rows - 1, 1)] = zero;
        Grouped::new(codes, zeros, Array2::from_elem((rows, 2), f16::ONE))
    };
    let says = |w: Grouped, version, words: &[&str]| {
        let error = gptq::pack_bits(&w, 3, version).unwrap_err().to_string();
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
    };
    says(of(8, 4, [32, 64])?, Version::V1, &["row 31, column 63 is 8", "3 bits hold 0..=7"]);
    says(of(7, 9, [32, 64])?, Version::V1, &["row 31, group 1 is 9", "GPTQ v1 holds 0..=8"]);
    says(of(7, 8, [32, 64])?, Version::V2, &["row 31, group 1 is 8", "GPTQ v2 holds 0..=7"]);
    says(of(7, 0, [32, 64])?, Version::V1, &["row 31, group 1 is 0", "minus one"]);
    says(of(7, 4, [48, 64])?, Version::V1, &["out_features", "48", "multiple of 32"]);
    says(of(7, 4, [32, 48])?, Version::V1, &["in_features", "48", "multiple of 32"]);
    // What fits is stored: the last code and zero point are the last bits of their words.
    let packed = gptq::pack_bits(&of(7, 8, [32, 64])?, 3, Version::V1)?;
    assert_eq!(packed.qweight.dim(), (6, 32));
    assert_eq!(packed.qweight[(5, 31)].cast_unsigned(), 7 << 29);
    assert_eq!(packed.qzeros[(1, 2)].cast_unsigned() >> 29, 7);
    let signed = Array2::from_shape_fn((1, 8), |(_, column)| column as i8 - 4);
    let w = Grouped::symmetric(&signed, Array2::from_elem((1, 1), f16::ONE), 3)?;
    assert_eq!(w.codes().row(0).to_vec(), [0, 1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(w.dequantize(), signed.mapv(f32::from));
    for code in [-5, 4] {
        let outside = Array2::from_elem((1, 8), code);
        let error = Grouped::symmetric(&outside, Array2::from_elem((1, 1), f16::ONE), 3);
        let error = error.unwrap_err().to_string();
        assert!(error.contains("3 bits hold 0..=7"), "{error}");
    }
    Ok(())
}
