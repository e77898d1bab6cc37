//! Plausible wrong answers, kept as code, each with the tests of the spec that must catch it.
//!
//! A wrong answer replaces a step of [`RIGHT`]. `LAB_IMPL=wrong WRONG_ANSWER=quantizes_the_head
//! cargo test -p lab-05-quantize-a-real-model --test spec` runs the spec on one wrong answer, and
//! the test `every_wrong_answer_is_caught_and_named` runs the spec on all of them.

use kit::{answered, wrong_answers};
use ndarray::Array2;
use serde_json::{Value, json};

use crate::{
    Decision, Dtype, FormatError, Reason, Recipe, Scheme, Storage, Tensor, file, part, solution,
};

/// The bytes of each part.
type PartBytes = Result<Vec<Vec<u8>>, FormatError>;

/// The functions of the lab, each of them one step.
struct Steps {
    decide: fn(&Tensor, Scheme) -> Decision,
    parts: fn(&Tensor, Recipe) -> Vec<Tensor>,
    quantize: fn(&Array2<f32>, Scheme) -> PartBytes,
    left_alone: fn(&[Tensor], Scheme) -> Vec<String>,
    quantization_config: fn(Scheme, &[String]) -> Option<Value>,
    predicted_bytes: fn(&[Tensor], Recipe) -> u64,
    bits_per_weight: fn(&[Tensor], Recipe) -> Option<f64>,
}

const RIGHT: Steps = Steps {
    decide: solution::decide,
    parts: solution::parts,
    quantize: solution::quantize,
    left_alone: solution::left_alone,
    quantization_config: solution::quantization_config,
    predicted_bytes: solution::predicted_bytes,
    bits_per_weight: solution::bits_per_weight,
};

/// The right parts after `change`, which may rename, retype or drop a part.
fn parts_with(
    tensor: &Tensor,
    recipe: Recipe,
    change: impl Fn(&str, Tensor) -> Option<Tensor>,
) -> Vec<Tensor> {
    let parts = solution::parts(tensor, recipe).into_iter();
    let last = |part: &Tensor| part.name.rsplit('.').next().unwrap_or_default().to_string();
    parts.filter_map(|part| change(&last(&part), part)).collect()
}

/// The right config with another value at `path`, a JSON pointer.
fn config_with(config: Option<Value>, path: &str, value: Value) -> Option<Value> {
    let mut config = config?;
    if let Some(found) = config.pointer_mut(path) {
        *found = value;
    }
    Some(config)
}

/// All parts, and the bytes of their data.
fn data(tensors: &[Tensor], recipe: Recipe) -> (Vec<Tensor>, u64) {
    let parts: Vec<Tensor> =
        tensors.iter().flat_map(|tensor| solution::parts(tensor, recipe)).collect();
    let data = parts.iter().map(|part| part.bytes).sum();
    (parts, data)
}

wrong_answers! {
    "quantizes_every_matrix",
    "every matrix is quantized",
    "the embedding is looked up and the head makes the logits, and engines expect both in floats",
    ["the_embedding_and_the_head_stay_floats_and_say_why"], {
        decide: |tensor, scheme| match solution::decide(tensor, scheme) {
            Decision::Keep(Reason::Embedding | Reason::Head) => Decision::Quantize,
            decision => decision,
        },
    }

    "quantizes_the_head",
    "the head is a linear layer like any other",
    "the head makes the logits, and engines expect the head in floats",
    ["the_embedding_and_the_head_stay_floats_and_say_why"], {
        decide: |tensor, scheme| match solution::decide(tensor, scheme) {
            Decision::Keep(Reason::Head) => Decision::Quantize,
            decision => decision,
        },
    }

    "compares_full_names",
    "the embedding is always `model.embed_tokens`",
    "a model inside another has a longer path, so the last word of the module's name decides",
    ["the_embedding_and_the_head_stay_floats_and_say_why"], {
        decide: |tensor, scheme| match solution::decide(tensor, scheme) {
            Decision::Keep(Reason::Embedding)
                if tensor.name != "model.embed_tokens.weight" => Decision::Quantize,
            decision => decision,
        },
    }

    "compares_the_heads_full_name",
    "the head is always `lm_head`",
    "a model inside another has a longer path, so the last word of the module's name decides",
    ["the_embedding_and_the_head_stay_floats_and_say_why"], {
        decide: |tensor, scheme| match solution::decide(tensor, scheme) {
            Decision::Keep(Reason::Head) if tensor.name != "lm_head.weight" => Decision::Quantize,
            decision => decision,
        },
    }

    "looks_for_the_words_anywhere",
    "a name with `embed_tokens` or `lm_head` in it is the embedding or the head",
    "other modules may have such a word in their path, so the whole last word is compared",
    ["the_embedding_and_the_head_stay_floats_and_say_why"], {
        decide: |tensor, scheme| match solution::decide(tensor, scheme) {
            Decision::Quantize if tensor.name.contains("embed_tokens") => {
                Decision::Keep(Reason::Embedding)
            }
            Decision::Quantize if tensor.name.contains("lm_head") => Decision::Keep(Reason::Head),
            decision => decision,
        },
    }

    "looks_at_the_shape_first",
    "the order of the checks does not matter",
    "an embedding that does not divide is kept because it is the embedding, and an engine is told \
     only of linear layers",
    ["the_embedding_and_the_head_stay_floats_and_say_why"], {
        decide: |tensor, scheme| {
            let name = tensor.name.replace("embed_tokens", "q").replace("lm_head", "q");
            match solution::decide(&Tensor { name, ..tensor.clone() }, scheme) {
                Decision::Keep(reason @ Reason::Indivisible { .. }) => Decision::Keep(reason),
                _ => solution::decide(tensor, scheme),
            }
        },
    }

    "asks_for_multiples_of_16",
    "a kernel reads 16 codes at once, so a row has whole runs of 16",
    "the format stores any row of bytes, and an engine pads for its kernel",
    ["rows_are_whole_groups_and_layouts_whole_words"], {
        decide: |tensor, scheme| match (scheme, tensor.shape.as_slice()) {
            (Scheme::Fp8 | Scheme::W8A8, &[_, size])
                if solution::decide(tensor, scheme) == Decision::Quantize && size % 16 != 0 =>
            {
                Decision::Keep(Reason::Indivisible { axis: "in_features", size, by: 16 })
            }
            _ => solution::decide(tensor, scheme),
        },
    }

    "quantizes_all_that_is_called_weight",
    "a name in `.weight` is a weight matrix",
    "the weight of a norm is a vector, so the number of axes decides",
    ["a_norm_and_a_bias_are_no_matrices"], {
        decide: |tensor, scheme| match solution::decide(tensor, scheme) {
            Decision::Keep(Reason::NotAMatrix) if tensor.name.ends_with(".weight") => {
                Decision::Quantize
            }
            decision => decision,
        },
    }

    "takes_a_last_short_group",
    "the last group may be shorter",
    "the scales have no room for a part of a group, so the matrix is kept in floats",
    ["rows_are_whole_groups_and_layouts_whole_words", "an_indivisible_matrix_is_kept_whole"], {
        decide: |tensor, scheme| match solution::decide(tensor, scheme) {
            Decision::Keep(Reason::Indivisible { axis: "in_features", .. }) => {
                Decision::Quantize
            }
            decision => decision,
        },
        parts: |tensor, recipe| {
            let mut tensor = tensor.clone();
            if let (Some(size), Some(inputs)) =
                (recipe.scheme.group_size(), tensor.shape.get_mut(1))
            {
                *inputs = inputs.next_multiple_of(size);
            }
            solution::parts(&tensor, recipe)
        },
    }

    "cuts_outputs_into_groups",
    "a group is of outputs",
    "a group is `group_size` neighbours along `in_features`",
    ["rows_are_whole_groups_and_layouts_whole_words"], {
        decide: |tensor, scheme| {
            let mut turned = tensor.clone();
            turned.shape.reverse();
            solution::decide(&turned, scheme)
        },
    }

    "divides_awqs_outputs_by_8",
    "eight codes share a word, so outputs in multiples of 8 are enough",
    "AWQ's kernels take outputs in multiples of 32",
    ["rows_are_whole_groups_and_layouts_whole_words",
     "what_cannot_be_divided_is_named_by_its_module"], {
        decide: |tensor, scheme| match (scheme, solution::decide(tensor, scheme)) {
            (Scheme::Awq(_), Decision::Keep(Reason::Indivisible { size, by: 32, .. }))
                if size % 8 == 0 => Decision::Quantize,
            (_, decision) => decision,
        },
        left_alone: |tensors, scheme| {
            let left = solution::left_alone(tensors, scheme).into_iter();
            left.filter(|name| name == "lm_head" || !matches!(scheme, Scheme::Awq(_))).collect()
        },
    }

    "writes_a_vector_of_scales",
    "one scale a row is a vector",
    "compressed-tensors stores the scales as a matrix, `[out_features, 1]`",
    ["each_scheme_has_the_parts_of_its_format", "config_and_shapes_agree_says_the_inspector"], {
        parts: |tensor, recipe| {
            parts_with(tensor, recipe, |name, mut part| {
                if name == "weight_scale" && part.shape.last() == Some(&1) {
                    part.shape.pop();
                }
                Some(part)
            })
        },
    }

    "packs_awq_along_the_inputs",
    "AWQ and GPTQ have the same tensors",
    "AWQ packs eight outputs into a word, and GPTQ packs eight inputs",
    ["each_scheme_has_the_parts_of_its_format", "config_and_shapes_agree_says_the_inspector"], {
        parts: |tensor, recipe| {
            parts_with(tensor, recipe, |name, mut part| {
                if name == "qweight"
                    && matches!(recipe.scheme, Scheme::Awq(_))
                    && let [inputs, out] = part.shape.as_mut_slice()
                {
                    (*inputs, *out) = (*inputs / 8, *out * 8);
                }
                Some(part)
            })
        },
    }

    "leaves_g_idx_out",
    "without act-order the groups need no index",
    "GPTQ loaders read `g_idx`, so the file holds the group of each input",
    ["each_scheme_has_the_parts_of_its_format", "the_bytes_fill_the_parts_exactly",
     "bits_per_weight_count_every_part_and_quantized_matrices_only"], {
        parts: |tensor, recipe| {
            parts_with(tensor, recipe, |name, part| (name != "g_idx").then_some(part))
        },
        bits_per_weight: |tensors, recipe| {
            let bits = solution::bits_per_weight(tensors, recipe)?;
            let inputs = matches!(recipe.scheme, Scheme::Gptq(_));
            Some(if inputs { bits - 0.5 } else { bits })
        },
    }

    "stores_gguf_norms_in_f16",
    "a GGUF file keeps every float in F16",
    "llama.cpp multiplies by a norm in f32 and expects the norm in F32",
    ["what_is_kept_keeps_its_name_and_shape_in_the_type_asked_for"], {
        parts: |tensor, recipe| {
            parts_with(tensor, recipe, |_, mut part| {
                if part.storage == Storage::Blocks(formats::gguf::TensorType::F32) {
                    part.storage = Storage::Blocks(formats::gguf::TensorType::F16);
                    part.bytes /= 2;
                }
                Some(part)
            })
        },
    }

    "keeps_the_type_of_the_input",
    "a tensor that is kept is copied",
    "the recipe names one float type for the file, and a kept tensor is converted to that type",
    ["what_is_kept_keeps_its_name_and_shape_in_the_type_asked_for"], {
        parts: |tensor, recipe| match solution::decide(tensor, recipe.scheme) {
            Decision::Quantize => solution::parts(tensor, recipe),
            Decision::Keep(_) if matches!(recipe.scheme, Scheme::Gguf(_)) => {
                solution::parts(tensor, recipe)
            }
            Decision::Keep(_) => vec![tensor.clone()],
        },
    }

    "quantizes_per_tensor",
    "one scale is enough",
    "the format has a scale for each output channel, `[out_features, 1]`",
    ["w8a8_stores_the_codes_and_scales_of_lab_01", "the_bytes_fill_the_parts_exactly"], {
        quantize: |w, scheme| {
            if scheme != Scheme::W8A8 {
                return solution::quantize(w, scheme);
            }
            let w = fake_quant_linear::solution::quantize_per_tensor(w)?;
            Ok(vec![crate::bytes::of(w.q()), crate::bytes::of(w.scales())])
        },
    }

    "quantizes_w8a16_per_tensor",
    "a scale repeated for each row is a scale per channel",
    "each row has the scale of its own maximum",
    ["w8a16_words_hold_each_code_plus_128_the_first_in_the_lowest_byte",
     "what_is_written_reads_back_as_what_the_labs_made"], {
        quantize: |w, scheme| {
            let right = solution::quantize(w, scheme)?;
            if scheme != Scheme::W8A16 {
                return Ok(right);
            }
            let rows = w.nrows();
            let w = fake_quant_linear::solution::quantize_per_tensor(w)?;
            let codes = w.q().mapv(|code| code.cast_unsigned() ^ 0x80);
            let scales = Array2::from_elem((rows, 1), w.scales()[(0, 0)]);
            Ok(vec![crate::bytes::of(&codes), crate::bytes::of(&scales), right[2].clone()])
        },
    }

    "ends_fp8_at_240",
    "FP8 ends at 240",
    "240 ends e4m3fnuz, and the grid of this scheme is e4m3fn, which ends at 448",
    ["fp8_puts_the_largest_magnitude_of_a_row_on_448",
     "what_is_written_reads_back_as_what_the_labs_made"], {
        quantize: |w, scheme| {
            if scheme != Scheme::Fp8 {
                return solution::quantize(w, scheme);
            }
            let (_, scales) = crate::fp8::quantize_per_channel(w)?;
            let scales = scales * (448.0 / 240.0);
            let codes = (w / &scales).mapv(crate::fp8::encode);
            Ok(vec![crate::bytes::of(&codes), crate::bytes::of(&scales)])
        },
    }

    "walks_through_the_memory",
    "the memory of a matrix is its rows",
    "a matrix may be kept column by column, so the iterator of the matrix has to be used",
    ["a_matrix_kept_column_by_column_gives_the_same_bytes"], {
        quantize: |w, scheme| {
            let memory = w.as_slice_memory_order().unwrap_or_default().to_vec();
            let taken = Array2::from_shape_vec(w.dim(), memory).unwrap_or_else(|_| w.clone());
            solution::quantize(&taken, scheme)
        },
    }

    "cuts_blocks_out_of_columns",
    "a block is 32 outputs of an input",
    "a block of GGML is 32 neighbours inside a row",
    ["gguf_blocks_hold_what_llama_cpps_rule_gives"], {
        quantize: |w, scheme| {
            let columns = w.t().iter().copied().collect();
            match (scheme, Array2::from_shape_vec(w.dim(), columns)) {
                (Scheme::Gguf(_), Ok(turned)) => solution::quantize(&turned, scheme),
                _ => solution::quantize(w, scheme),
            }
        },
    }

    "packs_w8a16_in_twos_complement",
    "a code is stored as its byte",
    "compressed-tensors adds 128 to each code before packing",
    ["w8a16_words_hold_each_code_plus_128_the_first_in_the_lowest_byte",
     "what_is_written_reads_back_as_what_the_labs_made"], {
        quantize: |w, scheme| {
            let mut data = solution::quantize(w, scheme)?;
            if let (Scheme::W8A16, Some(codes)) = (scheme, data.first_mut()) {
                codes.iter_mut().for_each(|code| *code ^= 0x80);
            }
            Ok(data)
        },
    }

    "packs_the_first_code_high",
    "a word is written from left to right",
    "the first code lies in the lowest byte of the word",
    ["w8a16_words_hold_each_code_plus_128_the_first_in_the_lowest_byte"], {
        quantize: |w, scheme| {
            let mut data = solution::quantize(w, scheme)?;
            if let (Scheme::W8A16, Some(codes)) = (scheme, data.first_mut()) {
                codes.as_chunks_mut::<4>().0.iter_mut().for_each(|word| word.reverse());
            }
            Ok(data)
        },
    }

    "writes_the_shape_transposed",
    "a shape is `[in_features, out_features]`",
    "`weight_shape` is `[out_features, in_features]`, as the original tensor has its axes",
    ["w8a16_words_hold_each_code_plus_128_the_first_in_the_lowest_byte",
     "three_layouts_of_four_bits_hold_the_same_numbers"], {
        quantize: |w, scheme| {
            let mut data = solution::quantize(w, scheme)?;
            if let (Scheme::W8A16 | Scheme::W4A16(_), Some(shape)) = (scheme, data.last_mut()) {
                shape.rotate_left(8);
            }
            Ok(data)
        },
    }

    "names_the_head_only_where_it_has_a_tensor",
    "a module without a tensor needs no name",
    "a tied head is a linear layer without a tensor, and an engine that is not told looks for its \
     codes",
    ["the_head_is_named_even_where_no_tensor_has_its_name"], {
        left_alone: |tensors, scheme| {
            let mut left = solution::left_alone(tensors, scheme);
            if !tensors.iter().any(|tensor| tensor.name == "lm_head.weight") {
                left.retain(|name| name != "lm_head");
            }
            left
        },
    }

    "names_all_that_is_kept",
    "an engine wants to know of every float",
    "an engine asks only about linear modules, and the embedding and the norms are none",
    ["what_cannot_be_divided_is_named_by_its_module",
     "the_head_is_named_even_where_no_tensor_has_its_name"], {
        left_alone: |tensors, scheme| {
            let kept = tensors.iter().filter(|tensor| {
                tensor.name != "lm_head.weight"
                    && solution::decide(tensor, scheme) != Decision::Quantize
            });
            let names = kept.filter_map(|tensor| tensor.name.strip_suffix(".weight"));
            ["lm_head"].into_iter().chain(names).map(Into::into).collect()
        },
    }

    "names_every_shape_that_does_not_divide",
    "what does not divide by its shape is left alone",
    "the embedding is no linear layer and the head is named already, whatever their shapes",
    ["the_head_is_named_even_where_no_tensor_has_its_name"], {
        left_alone: |tensors, scheme| {
            let names = tensors.iter().filter_map(|tensor| {
                let plain = Tensor { name: "q_proj.weight".into(), ..tensor.clone() };
                let decision = solution::decide(&plain, scheme);
                let divides = !matches!(decision, Decision::Keep(Reason::Indivisible { .. }));
                if divides { None } else { tensor.name.strip_suffix(".weight") }
            });
            ["lm_head"].into_iter().chain(names).map(Into::into).collect()
        },
    }

    "sorts_the_names",
    "a list of names is sorted",
    "the promise is the order of `tensors` after the head, so that the file is the same each time",
    ["what_cannot_be_divided_is_named_by_its_module"], {
        left_alone: |tensors, scheme| {
            let mut left = solution::left_alone(tensors, scheme);
            left.sort();
            left
        },
    }

    "names_tensors_not_modules",
    "a module is named by its weight",
    "a module's name is the tensor's name without `.weight`",
    ["what_cannot_be_divided_is_named_by_its_module"], {
        left_alone: |tensors, scheme| {
            let left = solution::left_alone(tensors, scheme).into_iter();
            left.map(|name| if name == "lm_head" { name } else { name + ".weight" }).collect()
        },
    }

    "calls_weights_dynamic",
    "a scale that is computed is dynamic",
    "a dynamic scale is computed when the model runs, and those of weights are in the file",
    ["weights_are_static_and_of_the_type_that_is_stored"], {
        quantization_config: |scheme, left_alone| {
            let right = solution::quantization_config(scheme, left_alone);
            config_with(right, "/config_groups/group_0/weights/dynamic", json!(true))
        },
    }

    "calls_4_bit_weights_floats",
    "weights are floats, so their type is `float`",
    "the type is that of the codes, and codes of 4 bits are integers here",
    ["weights_are_static_and_of_the_type_that_is_stored"], {
        quantization_config: |scheme, left_alone| {
            let right = solution::quantization_config(scheme, left_alone);
            if !matches!(scheme, Scheme::W4A16(_)) {
                return right;
            }
            config_with(right, "/config_groups/group_0/weights/type", json!("float"))
        },
    }

    "calls_w8a16_4_bits",
    "packed weights have 4 bits",
    "four codes of 8 bits are packed into a word as well, and `num_bits` says which",
    ["weights_are_static_and_of_the_type_that_is_stored"], {
        quantization_config: |scheme, left_alone| {
            let right = solution::quantization_config(scheme, left_alone);
            if scheme != Scheme::W8A16 {
                return right;
            }
            config_with(right, "/config_groups/group_0/weights/num_bits", json!(4))
        },
    }

    "writes_the_group_beside_the_format",
    "a config of one group needs no `config_groups`",
    "an engine looks for `weights` in a group of `config_groups`, and finds none beside `format`",
    ["config_and_shapes_agree_says_the_inspector",
     "weights_are_static_and_of_the_type_that_is_stored",
     "activations_are_quantized_per_token_where_the_scheme_says_so_and_nowhere_else"], {
        quantization_config: |scheme, left_alone| {
            let mut config = solution::quantization_config(scheme, left_alone)?;
            let group = config.pointer("/config_groups/group_0").cloned();
            if let (Some(config), Some(Value::Object(group))) = (config.as_object_mut(), group) {
                config.remove("config_groups");
                config.extend(group);
            }
            Some(config)
        },
    }

    "leaves_the_status_out",
    "a file with codes says by itself that it is compressed",
    "`quantization_status` tells a loader that the file holds codes, not floats to be quantized",
    ["weights_are_static_and_of_the_type_that_is_stored"], {
        quantization_config: |scheme, left_alone| {
            let right = solution::quantization_config(scheme, left_alone);
            config_with(right, "/quantization_status", Value::Null)
        },
    }

    "quantizes_the_outputs_too",
    "activations are inputs and outputs",
    "the output of an int8 product is rescaled to floats, and the next layer quantizes its input",
    ["activations_are_quantized_per_token_where_the_scheme_says_so_and_nowhere_else"], {
        quantization_config: |scheme, left_alone| {
            let right = solution::quantization_config(scheme, left_alone)?;
            let inputs = right.pointer("/config_groups/group_0/input_activations").cloned();
            let path = "/config_groups/group_0/output_activations";
            config_with(Some(right), path, inputs.unwrap_or_default())
        },
    }

    "leaves_activations_out",
    "the config is about weights",
    "an engine that reads nothing of dynamic activations looks for an input scale in the file",
    ["activations_are_quantized_per_token_where_the_scheme_says_so_and_nowhere_else"], {
        quantization_config: |scheme, left_alone| {
            let right = solution::quantization_config(scheme, left_alone);
            config_with(right, "/config_groups/group_0/input_activations", Value::Null)
        },
    }

    "calls_every_format_int_quantized",
    "codes are integers, so the format is `int-quantized`",
    "`format` names how the codes are stored, and packed words and FP8 have names of their own",
    ["activations_are_quantized_per_token_where_the_scheme_says_so_and_nowhere_else",
     "config_and_shapes_agree_says_the_inspector"], {
        quantization_config: |scheme, left_alone| {
            let right = solution::quantization_config(scheme, left_alone);
            config_with(right, "/format", json!("int-quantized"))
        },
    }

    "ignores_the_head_alone",
    "only the head is ever left alone",
    "a matrix that cannot be divided stays in floats too, and an engine that is not told looks \
     for its codes",
    ["compressed_tensors_ignores_what_was_left_alone",
     "awq_and_gptq_say_what_their_loaders_ask_for"],
    { quantization_config: |scheme, _| solution::quantization_config(scheme, &["lm_head".into()]) }

    "says_awq_has_no_zero_points",
    "all zero points are 8, so there are none",
    "`qzeros` are in the file, so `zero_point` is true",
    ["awq_and_gptq_say_what_their_loaders_ask_for"], {
        quantization_config: |scheme, left_alone| {
            let right = solution::quantization_config(scheme, left_alone);
            config_with(right, "/zero_point", json!(false))
        },
    }

    "calls_the_file_gptq_v2",
    "2 is the current version",
    "the zero points are stored minus one, which is version 1, `gptq`",
    ["awq_and_gptq_say_what_their_loaders_ask_for"], {
        quantization_config: |scheme, left_alone| {
            let right = solution::quantization_config(scheme, left_alone);
            config_with(right, "/checkpoint_format", json!("gptq_v2"))
        },
    }

    "predicts_the_data_alone",
    "a header is too small to matter",
    "the size is predicted to the byte, and the file has a length and a header before the data",
    ["the_prediction_is_the_size_of_the_file_to_the_byte"],
    { predicted_bytes: |tensors, recipe| data(tensors, recipe).1 }

    "forgets_the_length_of_the_header",
    "the header is the JSON",
    "the length of the JSON stands before the JSON and takes 8 bytes",
    ["the_prediction_is_the_size_of_the_file_to_the_byte"], {
        predicted_bytes: |tensors, recipe| {
            let (parts, data) = data(tensors, recipe);
            data + file::header(&parts).len() as u64
        },
    }

    "takes_the_header_of_the_input",
    "the header lists the model's tensors",
    "the header lists the parts that are written, and a quantized matrix has several",
    ["the_prediction_is_the_size_of_the_file_to_the_byte"], {
        predicted_bytes: |tensors, recipe| {
            data(tensors, recipe).1 + file::LENGTH + file::header(tensors).len() as u64
        },
    }

    "counts_bits_of_codes_alone",
    "four bits are four bits",
    "scales, zero points and indices belong to the matrix, and their bits are counted with the \
     codes",
    ["bits_per_weight_count_every_part_and_quantized_matrices_only"], {
        bits_per_weight: |tensors, recipe| {
            solution::bits_per_weight(tensors, recipe).map(f64::floor)
        },
    }

    "averages_the_matrices",
    "the mean of the matrices is the mean of the weights",
    "a wide matrix has more weights and fewer bits for each, so all bits are divided by all weights",
    ["bits_per_weight_count_every_part_and_quantized_matrices_only"], {
        bits_per_weight: |tensors, recipe| {
            let one = |tensor: &Tensor| solution::bits_per_weight(std::slice::from_ref(tensor), recipe);
            let bits: Vec<f64> = tensors.iter().filter_map(one).collect();
            (!bits.is_empty()).then(|| bits.iter().sum::<f64>() / bits.len() as f64)
        },
    }

    "takes_the_first_matrix",
    "every matrix has the same bits per weight",
    "a scale per row costs a wide matrix less than a narrow one",
    ["bits_per_weight_count_every_part_and_quantized_matrices_only"], {
        bits_per_weight: |tensors, recipe| {
            let one = |tensor: &Tensor| solution::bits_per_weight(std::slice::from_ref(tensor), recipe);
            tensors.iter().find_map(one)
        },
    }

    "counts_bits_of_the_whole_model",
    "the whole file is quantized",
    "bits per weight are those of the quantized matrices, and the embedding and the norms are not \
     among them",
    ["bits_per_weight_count_every_part_and_quantized_matrices_only"], {
        bits_per_weight: |tensors, recipe| {
            let weights = tensors.iter().map(Tensor::elements).sum();
            formats::checkpoint::bits_per_weight(data(tensors, recipe).1, weights)
        },
    }

    "stores_w4a16_scales_in_f32",
    "a scale is an f32",
    "W4A16 of this lab stores its scales as lab 03 makes them, in F16",
    ["each_scheme_has_the_parts_of_its_format", "the_bytes_fill_the_parts_exactly"], {
        parts: |tensor, recipe| {
            parts_with(tensor, recipe, |name, found| {
                let grouped = matches!(recipe.scheme, Scheme::W4A16(_));
                let module = found.name.trim_end_matches(".weight_scale");
                let wide = part(module, name, Dtype::F32, &found.shape);
                Some(if grouped && name == "weight_scale" { wide } else { found })
            })
        },
    }

    "quantizes_every_shape_of_two_axes",
    "two axes are a weight matrix",
    "a table of two axes is no weight, so the name in `.weight` decides as well",
    ["a_norm_and_a_bias_are_no_matrices"], {
        decide: |tensor, scheme| match solution::decide(tensor, scheme) {
            Decision::Keep(Reason::NotAMatrix) if tensor.shape.len() == 2 => {
                Decision::Quantize
            }
            decision => decision,
        },
    }

    "takes_every_name_that_ends_in_weight",
    "a name that ends in `weight` is a weight",
    "the codes of a quantized model are called `qweight`, so the whole last word is compared",
    ["a_norm_and_a_bias_are_no_matrices"], {
        decide: |tensor, scheme| {
            let name = tensor.name.replace(".qweight", ".weight");
            solution::decide(&Tensor { name, ..tensor.clone() }, scheme)
        },
    }

    "keeps_gguf_floats_in_the_type_asked_for",
    "the recipe names the type of every float",
    "a GGUF file has F16 and F32 by a rule of its own, whatever the recipe names",
    ["what_is_kept_keeps_its_name_and_shape_in_the_type_asked_for"], {
        parts: |tensor, recipe| match (recipe.scheme, solution::decide(tensor, recipe.scheme)) {
            (Scheme::Gguf(_), Decision::Keep(_)) if recipe.float == crate::Float::F32 => {
                vec![crate::blocks(&tensor.name, crate::TensorType::F32, &tensor.shape)]
            }
            _ => solution::parts(tensor, recipe),
        },
    }

    "takes_one_axis_for_every_vector",
    "a tensor of a GGUF file is a vector or a matrix",
    "a number without an axis has fewer than two axes, so F32 is its type",
    ["what_is_kept_keeps_its_name_and_shape_in_the_type_asked_for"], {
        parts: |tensor, recipe| match (recipe.scheme, tensor.shape.len()) {
            (Scheme::Gguf(_), 0) => {
                vec![crate::blocks(&tensor.name, crate::TensorType::F16, &tensor.shape)]
            }
            _ => solution::parts(tensor, recipe),
        },
    }

    "takes_two_axes_for_every_matrix",
    "a tensor of a GGUF file is a vector or a matrix",
    "the weight of a convolution has three axes, and only fewer than two are F32",
    ["what_is_kept_keeps_its_name_and_shape_in_the_type_asked_for"], {
        parts: |tensor, recipe| match (recipe.scheme, tensor.shape.len()) {
            (Scheme::Gguf(_), 3..) => {
                vec![crate::blocks(&tensor.name, crate::TensorType::F32, &tensor.shape)]
            }
            _ => solution::parts(tensor, recipe),
        },
    }

    "names_every_part_after_a_module",
    "every tensor has a module",
    "a tensor without a dot in its name keeps that name, without a dot in front",
    ["what_is_kept_keeps_its_name_and_shape_in_the_type_asked_for"], {
        parts: |tensor, recipe| {
            let mut parts = solution::parts(tensor, recipe);
            if !tensor.name.contains('.') {
                parts.iter_mut().for_each(|part| part.name.insert(0, '.'));
            }
            parts
        },
    }

    "counts_matrices_that_are_kept",
    "every linear layer is quantized",
    "a matrix that does not divide stays in floats, so its bits are not counted",
    ["bits_per_weight_count_every_part_and_quantized_matrices_only"], {
        bits_per_weight: |tensors, recipe| {
            solution::bits_per_weight(tensors, recipe)?;
            let linear = |tensor: &&Tensor| {
                solution::decide(tensor, Scheme::W8A8) == Decision::Quantize
            };
            let linear: Vec<Tensor> = tensors.iter().filter(linear).cloned().collect();
            let weights = linear.iter().map(Tensor::elements).sum();
            formats::checkpoint::bits_per_weight(data(&linear, recipe).1, weights)
        },
    }

    "infinity_becomes_a_number",
    "an infinite weight is a very large weight",
    "an infinite maximum gives an infinite scale, so infinity is refused as NaN is",
    ["nan_is_refused_by_every_scheme_and_a_plain_export_quantizes_nothing"], {
        quantize: |w, scheme| {
            solution::quantize(&w.mapv(|v| if v.is_infinite() { 1.0 } else { v }), scheme)
        },
    }

    "cuts_the_last_group_off",
    "`decide` has sorted out the rows that do not divide",
    "`quantize` may be called by itself, and weights without a scale would be lost",
    ["nan_is_refused_by_every_scheme_and_a_plain_export_quantizes_nothing"], {
        quantize: |w, scheme| {
            let size = scheme.group_size().unwrap_or(1) as usize;
            let whole = w.ncols() / size * size;
            solution::quantize(&w.slice(ndarray::s![.., ..whole]).to_owned(), scheme)
        },
    }

    "names_awqs_inputs_first",
    "either of two axes that do not divide may be named",
    "the promise is `out_features` first, so that two programs name the same axis",
    ["rows_are_whole_groups_and_layouts_whole_words"], {
        decide: |tensor, scheme| match (scheme, tensor.shape.as_slice()) {
            (Scheme::Awq(by), &[_, size])
                if size % by != 0
                    && matches!(
                        solution::decide(tensor, scheme),
                        Decision::Keep(Reason::Indivisible { .. })
                    ) =>
            {
                Decision::Keep(Reason::Indivisible { axis: "in_features", size, by })
            }
            _ => solution::decide(tensor, scheme),
        },
    }

    "gives_channels_a_group_size",
    "every config has a `group_size`",
    "a loader refuses a group size beside the strategy `channel`, which has no groups",
    ["weights_are_static_and_of_the_type_that_is_stored"], {
        quantization_config: |scheme, left| {
            let mut config = solution::quantization_config(scheme, left)?;
            if let Some(weights) = config.pointer_mut("/config_groups/group_0/weights")
                && weights["strategy"] == "channel"
            {
                weights["group_size"] = json!(128);
            }
            Some(config)
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
        fn decide(tensor: &Tensor, scheme: Scheme) -> Decision;
        fn parts(tensor: &Tensor, recipe: Recipe) -> Vec<Tensor>;
        fn quantize(w: &Array2<f32>, scheme: Scheme) -> PartBytes;
        fn left_alone(tensors: &[Tensor], scheme: Scheme) -> Vec<String>;
        fn quantization_config(scheme: Scheme, left_alone: &[String]) -> Option<Value>;
        fn predicted_bytes(tensors: &[Tensor], recipe: Recipe) -> u64;
        fn bits_per_weight(tensors: &[Tensor], recipe: Recipe) -> Option<f64>;
    }
}
