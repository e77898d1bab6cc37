//! The registry of formats against lab 05, and the stages against each other.

use formats::bytes::{self, Float};
use formats::checkpoint::{Dtype, Storage, Tensor};
use formats::registry::{self, Codes, Decision, Reason, StorageFormat, StoredPart, part};
use kit::data::normal_matrix;
use ndarray::Array2;
use quantize_model::{Recipe, Scheme, solution};
use quantizer::{Rounding, WriteError};

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// Every format, in groups of `size` where the size is chosen.
fn all(size: u64) -> Vec<StorageFormat> {
    let named = |known: &registry::Description| StorageFormat::named(known.name, size);
    registry::ALL.into_iter().map(|known| named(known).expect("a multiple of 8")).collect()
}

/// The formats that lab 05 names, with their schemes. Other formats follow their descriptions alone.
fn named_by_lab_05() -> Vec<(StorageFormat, Scheme)> {
    let named = all(32).into_iter().filter_map(|format| Some((format, Scheme::of(format)?)));
    let named: Vec<_> = named.collect();
    assert_eq!(named.len(), 10, "lab 05 has ten schemes, and the registry a format for each");
    named
}

fn tensor(name: &str, shape: &[u64]) -> Tensor {
    Tensor { name: name.into(), ..part("", "", Dtype::BF16, shape) }
}

/// The tensors of a model, with shapes that groups divide and shapes that they do not.
fn tensors() -> Vec<Tensor> {
    let mut tensors = vec![
        tensor("model.embed_tokens.weight", &[320, 64]),
        tensor("lm_head.weight", &[320, 64]),
        tensor("model.norm.weight", &[64]),
        tensor("model.layers.0.self_attn.q_proj.bias", &[64]),
    ];
    for [out, inputs] in [[64, 128], [80, 64], [84, 70], [9, 68], [33, 96]] {
        tensors.push(tensor(&format!("model.layers.0.mlp.p{out}x{inputs}.weight"), &[out, inputs]));
    }
    tensors
}

fn stored(format: StorageFormat, w: &Array2<f32>, data: Vec<Vec<u8>>) -> Vec<StoredPart> {
    let matrix = tensor("m.weight", &[w.nrows() as u64, w.ncols() as u64]);
    let parts = registry::parts(&matrix, format, Float::F16).into_iter().zip(data);
    parts.map(|(tensor, bytes)| StoredPart { tensor, bytes }).collect()
}

#[test]
fn a_description_and_lab_05_say_the_same_of_every_tensor_and_config() {
    let tensors = tensors();
    for (format, scheme) in named_by_lab_05() {
        for tensor in &tensors {
            let name = &tensor.name;
            let decision = registry::decide(tensor, format);
            assert_eq!(decision, solution::decide(tensor, scheme), "{format}: {name}");
            for float in [Float::F16, Float::Bf16, Float::F32] {
                let parts = solution::parts(tensor, Recipe { scheme, float });
                assert_eq!(registry::parts(tensor, format, float), parts, "{format}: {name}");
            }
        }
        let left_alone = registry::left_alone(&tensors, format);
        assert_eq!(left_alone, solution::left_alone(&tensors, scheme), "{format}");
        let config = solution::quantization_config(scheme, &left_alone);
        assert_eq!(format.config(&left_alone), config, "{format}");
        let recipe = Recipe { scheme, float: Float::F16 };
        let bits = solution::bits_per_weight(&tensors, recipe);
        assert_eq!(registry::bits_per_weight(&tensors, format), bits, "{format}");
    }
}

#[test]
fn the_nearest_codes_of_a_description_are_those_of_the_labs_to_the_bit() -> Outcome {
    let mut w = normal_matrix(3, 96, 64);
    // The largest value of all in the last row and column, and a row of zeros.
    w[(95, 63)] = -9.0;
    w.row_mut(5).fill(0.0);
    for (format, scheme) in named_by_lab_05().into_iter().skip(1) {
        let ours = format.store(&format.round(&w)?)?;
        assert_eq!(ours, solution::quantize(&w, scheme)?, "{format}");
    }
    Ok(())
}

/// The answers of a format count the bytes of its parts, because the cost model computes with answers.
#[test]
fn the_bits_that_the_answers_count_are_the_bits_of_the_parts() {
    // A row of one super-block, because the answers of a mix are those of its main type.
    let matrix = tensor("m.weight", &[96, 256]);
    for format in all(32).into_iter().skip(1) {
        let parts = registry::parts(&matrix, format, Float::F16);
        // GPTQ's g_idx, the shape of compressed-tensors, and the table and the state of bitsandbytes do not
        // grow with the weights.
        let fixed = ["g_idx", "weight_shape", "quant_map", "bitsandbytes__nf4"];
        let counted =
            parts.iter().filter(|part| fixed.iter().all(|name| !part.name.ends_with(name)));
        let bytes: u64 = counted.map(|part| part.bytes).sum();
        let answers = format.answers(formats::format::Grid::Sixteen);
        let cost = quantize_and_eval::solution::matrix_bytes(96, 256, &answers);
        assert_eq!(cost.ok(), Some(bytes), "{format}");
    }
}

#[test]
fn scales_of_any_float_type_are_read() -> Outcome {
    let w = normal_matrix(4, 32, 64);
    for format in all(16).into_iter().filter(|format| !format.is_gguf()).skip(1) {
        let parts = stored(format, &w, format.store(&format.round(&w)?)?);
        let expected = format.decode([32, 64], &parts)?;
        // llm-compressor writes the scales in the type of the model, F32 if the model was.
        let widened = parts.into_iter().map(|part| match part.tensor.storage {
            Storage::Elements(Dtype::F16) => {
                let shape = [part.tensor.shape[0] as usize, part.tensor.shape[1] as usize];
                let values = part.floats(shape)?;
                let storage = Storage::Elements(Dtype::F32);
                let bytes = 2 * part.tensor.bytes;
                let tensor = Tensor { storage, bytes, ..part.tensor };
                Ok(StoredPart { tensor, bytes: bytes::of(&values) })
            }
            _ => Ok(part),
        });
        let widened: Vec<_> = widened.collect::<Result<_, formats::FormatError>>()?;
        assert_eq!(format.decode([32, 64], &widened)?, expected, "{format}");
    }
    Ok(())
}

/// A rounding that no lab has: all codes are 0.
struct Zeros;

impl Rounding for Zeros {
    fn lab(&self, _: StorageFormat) -> Option<&'static str> {
        None
    }

    fn round(
        &self,
        _: &str,
        w: &Array2<f32>,
        format: StorageFormat,
    ) -> Result<Option<Codes>, WriteError> {
        Ok(Some(format.round(&Array2::zeros(w.dim()))?))
    }
}

#[test]
fn any_rounding_goes_with_any_storage() -> Outcome {
    let w = normal_matrix(5, 32, 64);
    for format in all(32).into_iter().skip(1) {
        let tensor = tensor("m.weight", &[32, 64]);
        assert_eq!(registry::decide(&tensor, format), Decision::Quantize, "{format}");
        let parts = stored(
            format,
            &w,
            format.store(&Zeros.round("m.weight", &w, format)?.expect("it has one"))?,
        );
        let decoded = format.decode([32, 64], &parts)?;
        assert!(decoded.iter().all(|&value| value == 0.0), "{format}");
    }
    Ok(())
}

#[test]
fn groups_of_three_bits_may_end_inside_a_word_and_rows_may_not() -> Outcome {
    let format = StorageFormat::named("gptq-3bit", 24)?;
    let w = normal_matrix(7, 64, 96);
    let parts = stored(format, &w, format.store(&format.round(&w)?)?);
    let decoded = format.decode([64, 96], &parts)?;
    for (group, values) in w.exact_chunks((1, 24)).into_iter().zip(decoded.exact_chunks((1, 24))) {
        // absmax over 3: half a step is a sixth of the absmax, and f16 moves the scale by 2^-11 of itself.
        let absmax = group.iter().fold(0f32, |max, value| max.max(value.abs()));
        let bound = absmax * (1.0 / 6.0 + 1.0 / 2048.0);
        let moved = group.iter().zip(values).map(|(w, value)| (w - value).abs());
        let moved = moved.fold(0.0, f32::max);
        assert!(moved <= bound, "a weight moved by {moved} > {bound}");
    }
    for ([out, inputs], axis, size, by) in [
        ([64, 48], "in_features", 48, 32),
        ([48, 96], "out_features", 48, 32),
        ([64, 64], "in_features", 64, 24),
    ] {
        let reason = Reason::Indivisible { axis, size, by };
        let decision = registry::decide(&tensor("m.weight", &[out, inputs]), format);
        assert_eq!(decision, Decision::Keep(reason), "[{out}, {inputs}]");
    }
    Ok(())
}

#[test]
fn parts_that_are_not_those_of_the_format_are_named() -> Outcome {
    let format = StorageFormat::named("awq", 32)?;
    let w = normal_matrix(6, 32, 64);
    let mut parts = stored(format, &w, format.store(&format.round(&w)?)?);
    parts.pop();
    let error = format.decode([32, 64], &parts).expect_err("scales are missing").to_string();
    assert!(error.contains("AWQ") && error.contains("`scales`"), "{error}");
    let unknown = StorageFormat::named("int3", 32).expect_err("no such format").to_string();
    assert!(unknown.contains("`int3`") && unknown.contains("gguf-q4_1"), "{unknown}");
    Ok(())
}
