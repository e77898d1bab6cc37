//! Plausible wrong answers, kept as code, each with the tests of the spec that must catch it.
//!
//! A wrong answer replaces a step of [`RIGHT`]. `LAB_IMPL=wrong WRONG_ANSWER=kv_without_the_two
//! cargo test -p lab-02-quantize-and-eval --test spec` runs the spec on one wrong answer, and the
//! test `every_wrong_answer_is_caught_and_named` runs the spec on all of them.

use formats::architecture::Architecture;
use formats::device::Device;
use formats::format::{Format, Grid, Group, Overhead};
use kit::{answered, wrong_answers};

use self::chosen::{linear_bytes, model_bytes};
use crate::{CostError, ModelFormat, Roofline, Served, solution};

type Cost<T> = Result<T, CostError>;

/// The steps of the lab. The steps named `check_…` refuse what the solution refuses, so that
/// another wrong step is wrong in what it returns.
struct Steps {
    gb: f64,
    gib: f64,
    /// Of an amount and the bytes of its unit.
    check_size: fn(f64, f64) -> Cost<()>,
    nearest: fn(f64) -> u64,
    nearest_gib: fn(f64) -> u64,
    check_matrix: fn(u64, u64, &Format) -> Cost<()>,
    bytes_of_bits: fn(u64) -> u64,
    /// Bytes of the codes, of rows, columns and bits.
    code_bytes: fn(u64, u64, u64) -> u64,
    /// Whether codes and each overhead are rounded up to bytes by themselves.
    rounds_each: bool,
    code_bits: fn(Grid) -> u64,
    overhead: fn(&Format) -> &[Overhead],
    /// The granularity of each part of the overhead.
    overhead_groups: fn(&Format) -> Vec<Group>,
    overhead_bits: fn(&Overhead) -> u64,
    scale_count: fn(u64, u64, Group) -> u64,
    share: fn(u64, u64) -> f64,
    check_model: fn(&Architecture) -> Cost<()>,
    layers: fn(&Architecture) -> u64,
    matrices: fn(&Architecture) -> Vec<[u64; 2]>,
    table_format: fn(&ModelFormat) -> Format,
    /// The format of the head that a step reads.
    read_format: fn(&ModelFormat) -> Format,
    vector_bytes: fn(&Architecture, &ModelFormat) -> u64,
    stored_tables: fn(&Architecture) -> u64,
    read_tables: fn(&Architecture) -> u64,
    keys_and_values: u64,
    kv_heads: fn(&Architecture) -> u64,
    kv_layers: fn(&Architecture) -> u64,
    kv_bytes_of: fn(u64, Grid) -> u64,
    check_available: fn(u64, f64, u64) -> Cost<()>,
    available: fn(u64, f64, u64) -> u64,
    check_blocks: fn(u64, u64, u64) -> Cost<()>,
    fit: fn(u64, u64, u64) -> u64,
    tokens: fn(u64, u64) -> u64,
    at_once: fn(u64, u64, u64) -> f64,
    /// The format whose grids choose the unit.
    unit: fn(&Format) -> Format,
    operations_per_s: fn(&Device, &Format) -> Cost<f64>,
    check_roofline: fn(Roofline) -> Cost<()>,
    shorter: fn(Roofline) -> f64,
    check_decode: fn(&Served, &Device, u64) -> Cost<()>,
    /// Bytes that a step reads, of: bytes of weights, KV bytes of a token, batch, context.
    step_bytes: fn(f64, f64, f64, f64) -> f64,
    per_weight: f64,
    head_format: fn(&ModelFormat) -> Format,
    multiplied_tables: fn(&Architecture) -> u64,
    times_batch: fn(f64, f64) -> f64,
    step_tokens: fn(u64) -> f64,
    check_prefill: fn(&Served, &Device, u64) -> Cost<()>,
    prompt_reads: fn(&Served, f64) -> Cost<f64>,
    multiplying_heads: fn(&Architecture) -> u64,
    /// Pairs of tokens that attend.
    pairs: fn(f64) -> f64,
    per_pair: f64,
    attention_format: fn(&Served) -> Format,
    prompt_multiplies: fn(f64, f64) -> f64,
    prompt_tokens: fn(u64) -> f64,
    crossover_kv: fn(&Served) -> Grid,
    /// The batch at which `weights_s + batch * kv_s` is `batch * token_s`.
    meet: fn(f64, f64, f64) -> Option<f64>,
}

const RIGHT: Steps = Steps {
    gb: 1e9,
    gib: 1_073_741_824.0,
    check_size: |amount, unit| {
        let is_size = amount >= 0.0 && (amount * unit).round() < 2f64.powi(64);
        if is_size { Ok(()) } else { Err(CostError::NotASize(amount)) }
    },
    nearest: |bytes| bytes.round() as u64,
    nearest_gib: |bytes| (answer().nearest)(bytes),
    check_matrix: |out, inputs, format| solution::matrix_bytes(out, inputs, format).map(drop),
    bytes_of_bits: |bits| bits.div_ceil(8),
    code_bytes: |out, inputs, bits| (answer().bytes_of_bits)(out * inputs * bits),
    rounds_each: true,
    code_bits: |grid| grid.bits().into(),
    overhead: |format| &format.overhead,
    overhead_groups: |format| format.overhead.iter().map(|part| part.per).collect(),
    overhead_bits: |part| part.bits.into(),
    scale_count: |out, inputs, per| {
        per.grid(out, inputs).map_or(0, |[rows, columns]| rows * columns)
    },
    share: |bytes, weights| 8.0 * bytes as f64 / weights as f64,
    check_model: |architecture| Ok(architecture.check()?),
    layers: |architecture| architecture.layers,
    matrices: |architecture| architecture.layer_matrices().to_vec(),
    table_format: |format| format.embedding.clone(),
    read_format: |format| (answer().table_format)(format),
    vector_bytes: |architecture, format| {
        (answer().bytes_of_bits)(architecture.vector_weights() * u64::from(format.vectors.bits()))
    },
    stored_tables: |architecture| if architecture.tied { 1 } else { 2 },
    read_tables: |_| 1,
    keys_and_values: 2,
    kv_heads: |architecture| architecture.kv_heads,
    kv_layers: |architecture| architecture.layers,
    kv_bytes_of: |numbers, kv| (numbers * u64::from(kv.bits())).div_ceil(8),
    check_available: |memory, utilization, taken| {
        solution::kv_available_bytes(memory, utilization, taken).map(drop)
    },
    available: |memory, utilization, taken| {
        ((memory as f64 * utilization).ceil() as u64).saturating_sub(taken)
    },
    check_blocks: |available, block_tokens, per_token| {
        solution::kv_blocks(available, block_tokens, per_token).map(drop)
    },
    fit: |available, block_tokens, per_token| available / (block_tokens * per_token),
    tokens: |blocks, block_tokens| blocks * block_tokens,
    at_once: |blocks, block_tokens, context| blocks as f64 / context.div_ceil(block_tokens) as f64,
    unit: |format| format.clone(),
    operations_per_s: |device, format| solution::operations_per_s(device, &(answer().unit)(format)),
    check_roofline: |roofline| solution::bound_s(roofline).map(drop),
    shorter: |roofline| roofline.memory_s.max(roofline.arithmetic_s),
    check_decode: |served, device, batch| {
        solution::decode_roofline(served, device, batch, 0).map(drop)
    },
    step_bytes: |weights, kv, batch, context| weights + batch * context * kv,
    per_weight: 2.0,
    head_format: |format| format.embedding.clone(),
    multiplied_tables: |_| 1,
    times_batch: |seconds, batch| seconds * batch,
    step_tokens: |batch| batch as f64,
    check_prefill: |served, device, tokens| {
        solution::prefill_roofline(served, device, tokens).map(drop)
    },
    prompt_reads: |served, _| Ok(linear_bytes(&served.architecture, &served.format.linear)? as f64),
    multiplying_heads: |architecture| architecture.heads,
    pairs: |tokens| tokens * (tokens + 1.0) / 2.0,
    per_pair: 4.0,
    attention_format: |_| Format::BF16,
    prompt_multiplies: |weights, tokens| weights * tokens,
    prompt_tokens: |tokens| tokens as f64,
    crossover_kv: |served| served.kv,
    meet: |weights_s, kv_s, token_s| (token_s > kv_s).then(|| weights_s / (token_s - kv_s)),
};

wrong_answers! {
    "gb_is_gib",
    "a GB is 2^30 bytes",
    "a data sheet counts in powers of ten, so a GB is 10^9 bytes",
    ["a_gb_is_ten_to_the_nine_bytes_and_a_gib_is_two_to_the_thirty"],
    { gb: 1_073_741_824.0 }

    "gib_is_gb",
    "a GiB is 10^9 bytes",
    "an engine that says GiB counts in powers of two, so a GiB is 2^30 bytes",
    ["a_gb_is_ten_to_the_nine_bytes_and_a_gib_is_two_to_the_thirty",
     "the_blocks_are_those_that_vllm_printed"],
    { gib: 1e9 }

    "sizes_are_cut_off",
    "a cast to an integer rounds",
    "a cast cuts the fraction off, so the product is rounded to the nearest byte first",
    ["a_gb_is_ten_to_the_nine_bytes_and_a_gib_is_two_to_the_thirty"],
    { nearest: |bytes| bytes as u64 }

    "sizes_are_rounded_up",
    "part of a byte takes a byte",
    "a size of a data sheet is rounded to the nearest byte, because its decimals are rounded too",
    ["a_gb_is_ten_to_the_nine_bytes_and_a_gib_is_two_to_the_thirty"],
    { nearest: |bytes| bytes.ceil() as u64 }

    "u64_max_is_an_f64",
    "`u64::MAX as f64` is the largest number of bytes",
    "f64 does not have 2^64 - 1, so the cast gives 2^64, which no u64 holds",
    ["what_is_no_size_is_refused"], {
        check_size: |amount, unit| {
            let is_size = amount >= 0.0 && amount * unit <= u64::MAX as f64;
            if is_size { Ok(()) } else { Err(CostError::NotASize(amount)) }
        },
    }

    "any_number_is_a_size",
    "a cast would show a NaN or a negative size",
    "a cast to `u64` turns both into 0 unnoticed, so a check has to come first",
    ["what_is_no_size_is_refused"],
    { check_size: |_, _| Ok(()) }

    "bits_for_bytes",
    "bits times weights are bytes",
    "a byte has eight bits, so the product is divided by 8",
    ["codes_are_counted_in_bytes", "the_bytes_are_those_that_llama_cpp_printed"],
    { bytes_of_bits: |bits| bits }

    "the_last_half_byte_is_free",
    "60 bits fit into seven bytes",
    "seven bytes have 56 bits, so the division by 8 rounds up",
    ["codes_are_counted_in_bytes"],
    { bytes_of_bits: |bits| bits / 8 }

    "each_row_ends_with_a_byte",
    "a row of codes is rounded up to bytes",
    "the codes of a matrix are packed without gaps, and only the end is rounded up",
    ["codes_are_counted_in_bytes"],
    { code_bytes: |out, inputs, bits| out * (inputs * bits).div_ceil(8) }

    "all_bits_are_rounded_once",
    "codes and scales share the last byte",
    "codes, scales and zero points are tensors of their own, and each ends with a whole byte",
    ["codes_scales_and_zero_points_are_rounded_up_each_by_itself"],
    { rounds_each: false }

    "a_byte_for_each_code",
    "a byte is the smallest thing that can be stored",
    "formats pack the codes, and two codes of 4 bits share a byte",
    ["codes_are_counted_in_bytes", "bits_per_weight_count_all_that_is_stored"],
    { code_bits: |grid| u64::from(grid.bits()).max(8) }

    "scales_not_counted",
    "4-bit weights take 4 bits",
    "the scales are stored too, and a group of 128 with a scale of 16 bits adds an eighth of a bit",
    ["the_scales_are_counted_as_overhead", "a_scale_per_channel_is_one_for_each_row",
     "bits_per_weight_count_all_that_is_stored", "the_bytes_are_those_of_lab_05s_files",
     "the_bytes_are_those_that_llama_cpp_printed"],
    { overhead: |_| &[] }

    "zero_points_not_counted",
    "a format stores codes and scales",
    "an asymmetric format stores a zero point with each scale",
    ["the_zero_points_are_stored_too", "the_bytes_are_those_of_lab_05s_files"],
    { overhead: |format| &format.overhead[..format.overhead.len().min(1)] }

    "every_scale_is_an_f32",
    "a scale is an f32",
    "each format names the bits of its scales, and many store 16 or 8",
    ["the_scales_are_counted_as_overhead", "the_zero_points_are_stored_too"],
    { overhead_bits: |_| 32 }

    "every_scale_has_16_bits",
    "a scale is as wide as a weight of the original",
    "each format names the bits of its scales, and those of W8A8 are f32",
    ["a_scale_per_channel_is_one_for_each_row",
     "the_linear_layers_of_a_published_model_have_seven_matrices_each"],
    { overhead_bits: |part| part.bits.min(16).into() }

    "a_block_turned_around",
    "a block of 1 x 128 has 128 rows",
    "a block is rows by columns, as the matrix is `[out_features, in_features]`",
    ["a_block_that_the_edge_cuts_off_has_a_scale_all_the_same"], {
        scale_count: |out, inputs, per| match per {
            Group::Block(rows, columns) => out.div_ceil(columns) * inputs.div_ceil(rows),
            other => (RIGHT.scale_count)(out, inputs, other),
        },
    }

    "scales_cannot_overflow",
    "scales are fewer than codes, so only the codes are checked",
    "a scale may have more bits than a code, so both products are checked",
    ["a_matrix_of_nothing_and_one_of_too_much_are_refused"], {
        check_matrix: |out, inputs, format| match solution::matrix_bytes(out, inputs, format) {
            Err(CostError::TooLarge(_)) => {
                let codes = Format { overhead: (&[]).into(), ..format.clone() };
                solution::matrix_bytes(out, inputs, &codes).map(drop)
            }
            checked => checked.map(drop),
        },
    }

    "a_channel_is_a_column",
    "a channel of a weight is one of its inputs",
    "a scale per channel is one for each output, which is a row of `[out_features, in_features]`",
    ["a_scale_per_channel_is_one_for_each_row"], {
        scale_count: |out, inputs, per| match per {
            Group::Channel => inputs,
            other => (RIGHT.scale_count)(out, inputs, other),
        },
    }

    "groups_of_one_row",
    "`in_features / group_size` is the number of groups",
    "each of the `out_features` rows has that many groups",
    ["the_scales_are_counted_as_overhead", "bits_per_weight_count_all_that_is_stored"], {
        scale_count: |out, inputs, per| match per {
            Group::Size(size) => inputs / size,
            other => (RIGHT.scale_count)(out, inputs, other),
        },
    }

    "only_whole_blocks_have_scales",
    "a block that the edge cuts off is not a block",
    "the weights of a cut block need a scale too, so 4.5 blocks are stored as 5",
    ["a_block_that_the_edge_cuts_off_has_a_scale_all_the_same"], {
        scale_count: |out, inputs, per| match per {
            Group::Block(rows, columns) => (out / rows) * (inputs / columns),
            other => (RIGHT.scale_count)(out, inputs, other),
        },
    }

    "a_short_last_group_is_fine",
    "the last group of a row may be shorter",
    "no int4 format stores part of a group, so such a size must be refused",
    ["groups_that_do_not_tile_a_row_are_refused_with_both_numbers",
     "sizes_that_are_those_of_no_model_are_refused"], {
        check_matrix: |out, inputs, format| match solution::matrix_bytes(out, inputs, format) {
            Err(CostError::Indivisible { .. }) => Ok(()),
            checked => checked.map(drop),
        },
    }

    "a_matrix_of_nothing_is_fine",
    "0 weights take 0 bytes, and that is a result",
    "a matrix without rows or columns is a mistake in the config, so it must be refused",
    ["a_matrix_of_nothing_and_one_of_too_much_are_refused"], {
        check_matrix: |out, inputs, format| match solution::matrix_bytes(out, inputs, format) {
            Err(CostError::Zero(_)) => Ok(()),
            checked => checked.map(drop),
        },
    }

    "bytes_per_weight",
    "bytes over weights are bits per weight",
    "bytes over weights are bytes per weight, and a byte has eight bits",
    ["bits_per_weight_count_all_that_is_stored"],
    { share: |bytes, weights| bytes as f64 / weights as f64 }

    "one_layer",
    "the matrices of a layer are the model",
    "every layer has its own seven matrices, so the bytes are multiplied by the layers",
    ["the_linear_layers_of_a_published_model_have_seven_matrices_each"],
    { layers: |_| 1 }

    "an_mlp_of_two_matrices",
    "an MLP is one matrix up and one down",
    "the MLP of these models has a gate too, which is as large as the matrix up",
    ["the_linear_layers_of_a_published_model_have_seven_matrices_each",
     "a_tied_embedding_is_stored_once"], {
        matrices: |architecture| {
            let [q, k, v, o, _gate, up, down] = architecture.layer_matrices();
            vec![q, k, v, o, up, down]
        },
    }

    "matrices_are_in_by_out",
    "a matrix is `[in_features, out_features]`",
    "a weight is `[out_features, in_features]`, so a scale per channel is one for each output",
    ["the_linear_layers_of_a_published_model_have_seven_matrices_each"], {
        matrices: |architecture| {
            architecture.layer_matrices().map(|[out, inputs]| [inputs, out]).to_vec()
        },
    }

    "kv_projections_as_wide_as_q",
    "key and value projections are square",
    "several query heads share a key-value head, so these projections have `kv_heads * head_dim` \
     outputs",
    ["the_linear_layers_of_a_published_model_have_seven_matrices_each"], {
        matrices: |architecture| {
            let [q, _, _, o, gate, up, down] = architecture.layer_matrices();
            vec![q, q, q, o, gate, up, down]
        },
    }

    "embedding_quantized_too",
    "a W4A16 model is 4-bit all over",
    "the embedding and the head stay in 16 bits in such checkpoints",
    ["the_embedding_the_head_and_the_norms_stay_in_16_bits",
     "the_bytes_are_those_of_lab_05s_files"],
    { table_format: |format| format.linear.clone() }

    "tied_counted_twice",
    "a model has an embedding and a head",
    "a tied head is the embedding, so one matrix is stored",
    ["a_tied_embedding_is_stored_once", "the_bytes_are_those_that_llama_cpp_printed"],
    { stored_tables: |_| 2 }

    "untied_counted_once",
    "the head is always the embedding",
    "a model that is not tied stores the head as a second matrix",
    ["the_embedding_the_head_and_the_norms_stay_in_16_bits"],
    { stored_tables: |_| 1 }

    "norms_not_counted",
    "norms are too small to count",
    "norms and biases are in the file too, and the count of bytes is exact",
    ["the_embedding_the_head_and_the_norms_stay_in_16_bits", "a_tied_embedding_is_stored_once"],
    { vector_bytes: |_, _| 0 }

    "norms_quantized_too",
    "all weights have the format of the linear layers",
    "norms and biases stay in 16 bits, because only matrices are quantized",
    ["the_embedding_the_head_and_the_norms_stay_in_16_bits"], {
        vector_bytes: |architecture, format| {
            architecture.vector_weights() * u64::from(format.linear.weights.bits()) / 8
        },
    }

    "a_step_reads_the_whole_file",
    "decode reads every byte of the model",
    "of an embedding that is not tied, a step reads one row for each token",
    ["a_step_multiplies_with_the_head_and_only_looks_up_the_embedding",
     "weights_are_read_once_and_the_kv_cache_for_each_sequence"],
    { read_tables: |architecture| if architecture.tied { 1 } else { 2 } }

    "a_step_reads_a_quantized_head",
    "what a step reads is quantized",
    "the head has its own format, in memory as in the file",
    ["a_step_multiplies_with_the_head_and_only_looks_up_the_embedding"],
    { read_format: |format| format.linear.clone() }

    "the_head_is_looked_up",
    "embedding and head are tables, and tables are looked up",
    "the head is a matrix product like the others, and a step reads all of the head",
    ["a_step_multiplies_with_the_head_and_only_looks_up_the_embedding"],
    { read_tables: |_| 0 }

    "any_sizes_are_a_model",
    "a config.json is always right",
    "sizes of 0 or heads that do not divide are no model, and `Architecture::check` refuses them",
    ["sizes_that_are_those_of_no_model_are_refused"],
    { check_model: |_| Ok(()) }

    "kv_without_the_two",
    "a token keeps one vector in each layer",
    "a token keeps a key and a value in each layer",
    ["a_token_keeps_a_key_and_a_value_for_each_kv_head_of_each_layer",
     "the_blocks_are_those_that_vllm_printed", "llama_cpps_kv_buffer_has_these_bytes"],
    { keys_and_values: 1 }

    "heads_for_kv_heads",
    "every head keeps keys and values",
    "several query heads share a key-value head, which is cached once",
    ["a_token_keeps_a_key_and_a_value_for_each_kv_head_of_each_layer",
     "the_blocks_are_those_that_vllm_printed", "llama_cpps_kv_buffer_has_these_bytes"],
    { kv_heads: |architecture| architecture.heads }

    "a_head_is_hidden_over_heads",
    "the heads share the width of the stream",
    "`head_dim` is a number of its own, and in some models the heads are wider than the stream",
    ["a_token_keeps_a_key_and_a_value_for_each_kv_head_of_each_layer",
     "the_blocks_are_those_that_vllm_printed"],
    { kv_heads: |model| model.kv_heads * (model.hidden / model.heads) / model.head_dim }

    "one_layers_cache",
    "the layers share a cache",
    "each layer has its own keys and values",
    ["a_token_keeps_a_key_and_a_value_for_each_kv_head_of_each_layer"],
    { kv_layers: |_| 1 }

    "kv_in_bits",
    "numbers times bits are bytes",
    "a byte has eight bits, so the product is divided by 8",
    ["a_token_keeps_a_key_and_a_value_for_each_kv_head_of_each_layer"],
    { kv_bytes_of: |numbers, kv| numbers * u64::from(kv.bits()) }

    "the_cache_is_always_16_bits",
    "a number of the cache has two bytes",
    "the cache has a grid of its own, and a number in FP8 has one byte",
    ["a_token_keeps_a_key_and_a_value_for_each_kv_head_of_each_layer",
     "the_blocks_are_those_that_vllm_printed",
     "weights_are_read_once_and_the_kv_cache_for_each_sequence"],
    { kv_bytes_of: |numbers, _| 2 * numbers }

    "utilization_of_what_is_left",
    "the share is taken after the weights",
    "utilization is a share of the whole memory, from which the weights are then taken away",
    ["utilization_is_a_share_of_the_whole_memory"], {
        available: |memory, utilization, taken| {
            (memory.saturating_sub(taken) as f64 * utilization).ceil() as u64
        },
    }

    "the_whole_memory",
    "an engine may use all of the device",
    "an engine requests the utilization's share of the memory and leaves the rest alone",
    ["utilization_is_a_share_of_the_whole_memory"],
    { available: |memory, _, taken| memory.saturating_sub(taken) }

    "the_request_is_rounded_down",
    "part of a byte is none",
    "vLLM requests the ceiling of memory times utilization",
    ["utilization_is_a_share_of_the_whole_memory"], {
        available: |memory, utilization, taken| {
            ((memory as f64 * utilization) as u64).saturating_sub(taken)
        },
    }

    "the_request_is_rounded_to_nearest",
    "rounding is rounding to the nearest",
    "vLLM requests the ceiling of memory times utilization",
    ["utilization_is_a_share_of_the_whole_memory"], {
        available: |memory, utilization, taken| {
            ((memory as f64 * utilization).round() as u64).saturating_sub(taken)
        },
    }

    "the_request_in_f32",
    "a share needs no more than an f32",
    "f32 has 24 bits, and the bytes of a device have 37",
    ["utilization_is_a_share_of_the_whole_memory"], {
        available: |memory, utilization, taken| {
            ((memory as f32 * utilization as f32).ceil() as u64).saturating_sub(taken)
        },
    }

    "no_room_is_a_cache_of_nothing",
    "too little memory is a cache of 0 bytes",
    "an engine without room for the weights does not start, so the result must be an error",
    ["an_engine_that_would_not_start_is_an_error"], {
        check_available: |memory, utilization, taken| {
            match solution::kv_available_bytes(memory, utilization, taken) {
                Err(CostError::NoRoom { .. }) => Ok(()),
                checked => checked.map(drop),
            }
        },
    }

    "utilization_may_be_anything",
    "92 is as good as 0.92",
    "utilization is a share, above 0 and at most 1, and any other number must be refused",
    ["an_engine_that_would_not_start_is_an_error"], {
        check_available: |memory, utilization, taken| {
            match solution::kv_available_bytes(memory, utilization, taken) {
                Err(CostError::Utilization(_)) => Ok(()),
                checked => checked.map(drop),
            }
        },
    }

    "blocks_rounded_up",
    "the last block is cut to fit",
    "an engine allocates whole blocks, so part of a block is no block",
    ["the_blocks_are_those_that_vllm_printed", "room_for_nothing_is_refused"],
    { fit: |available, block_tokens, per_token| available.div_ceil(block_tokens * per_token) }

    "tokens_for_blocks",
    "a block is a token",
    "a block holds `block_tokens` tokens, 16 in vLLM",
    ["the_blocks_are_those_that_vllm_printed"],
    { fit: |available, _, per_token| available / per_token }

    "empty_blocks_are_fine",
    "blocks of no tokens are no blocks",
    "a block of 0 tokens or 0 bytes would divide by 0, so it must be refused",
    ["room_for_nothing_is_refused"], {
        check_blocks: |_, _, _| Ok(()),
        fit: |available, block_tokens, per_token| {
            available.checked_div(block_tokens.wrapping_mul(per_token)).unwrap_or(0)
        },
    }

    "a_product_wraps_to_no_bytes",
    "a product of two u64 is a u64",
    "2^40 times 2^40 wraps to 0 in 64 bits, so the product is checked",
    ["room_for_nothing_is_refused"], {
        check_blocks: |available, block_tokens, per_token| {
            match solution::kv_blocks(available, block_tokens, per_token) {
                Err(CostError::TooLarge(_)) => Ok(()),
                checked => checked.map(drop),
            }
        },
        fit: |available, block_tokens, per_token| {
            available.checked_div(block_tokens.wrapping_mul(per_token)).unwrap_or(0)
        },
    }

    "blocks_are_tokens",
    "the engine's blocks are its tokens",
    "each block holds `block_tokens` tokens, so the number of blocks is multiplied by them",
    ["the_blocks_are_those_that_vllm_printed"],
    { tokens: |blocks, _| blocks }

    "sequences_share_a_block",
    "the room that one sequence leaves in a block another takes",
    "a sequence takes whole blocks, and the rest of its last block stays empty",
    ["a_sequence_takes_whole_blocks"],
    { at_once: |blocks, block_tokens, context| (blocks * block_tokens) as f64 / context as f64 }

    "the_last_tokens_are_dropped",
    "17 tokens are one block of 16",
    "the 17th token needs a second block, so the number of blocks rounds up",
    ["a_sequence_takes_whole_blocks"], {
        at_once: |blocks, block_tokens, context| {
            blocks as f64 / (context / block_tokens).max(1) as f64
        },
    }

    "concurrency_in_f32",
    "a ratio needs no more than an f32",
    "f32 has 24 bits, and a number of blocks may have more",
    ["a_sequence_takes_whole_blocks"], {
        at_once: |blocks, block_tokens, context| {
            f64::from(blocks as f32 / context.div_ceil(block_tokens) as f32)
        },
    }

    "whole_sequences_only",
    "concurrency is a whole number",
    "vLLM prints a fraction such as 22.75x, which says how much room is left",
    ["a_sequence_takes_whole_blocks", "the_blocks_are_those_that_vllm_printed"], {
        at_once: |blocks, block_tokens, context| {
            (blocks as f64 / context.div_ceil(block_tokens) as f64).floor()
        },
    }

    "w4a16_on_the_integer_unit",
    "integer weights multiply as integers",
    "a unit multiplies two operands of one kind, and the activations of W4A16 are in 16 bits",
    ["weights_alone_in_4_bits_multiply_at_the_16_bit_rate",
     "arithmetic_is_two_operations_for_each_weight_and_sequence"], {
        unit: |format| {
            let activations = match format.weights {
                Grid::Table(_) => format.activations,
                weights => weights,
            };
            Format { activations, ..format.clone() }
        },
    }

    "f32_only_if_both_are",
    "one operand in f32 is rounded to 16 bits",
    "no operand loses bits on the way, so the other is widened to f32",
    ["weights_alone_in_4_bits_multiply_at_the_16_bit_rate"], {
        unit: |format| {
            let grids = [format.weights, format.activations];
            let narrow = |grid| match grid {
                Grid::F32 if grids != [Grid::F32; 2] => Grid::Sixteen,
                grid => grid,
            };
            let [weights, activations] = grids.map(narrow);
            Format { weights, activations, ..format.clone() }
        },
    }

    "integers_of_any_width",
    "the int8 unit is the unit for integers",
    "the int8 unit takes operands of up to 8 bits, so wider integers have no rate",
    ["a_device_without_the_unit_is_an_error_and_not_a_guess"], {
        unit: |format| {
            let narrow = |grid| if let Grid::Int(_) = grid { Grid::Int(8) } else { grid };
            Format { activations: narrow(format.activations), ..format.clone() }
        },
    }

    "everything_is_dequantized_first",
    "codes are turned into floats before they multiply",
    "a kernel with two quantized operands multiplies the codes themselves, at the rate of their \
     unit",
    ["two_quantized_operands_multiply_at_the_rate_of_the_activations",
     "a_device_without_the_unit_is_an_error_and_not_a_guess"], {
        unit: |format| {
            let activations = match format.activations {
                Grid::F32 => Grid::F32,
                _ => Grid::Sixteen,
            };
            Format { activations, ..format.clone() }
        },
    }

    "fp8_on_the_int8_unit",
    "8 bits are 8 bits",
    "FP8 and int8 multiply on different units, and an A100 has no unit for FP8",
    ["two_quantized_operands_multiply_at_the_rate_of_the_activations",
     "a_device_without_the_unit_is_an_error_and_not_a_guess"], {
        unit: |format| {
            let as_integer = |grid| if grid == Grid::E4M3 { Grid::Int(8) } else { grid };
            Format { activations: as_integer(format.activations), ..format.clone() }
        },
    }

    "the_activations_alone_choose",
    "int8 activations multiply on the int8 unit",
    "weights in 16 bits cannot enter the int8 unit, so both grids choose the unit",
    ["two_quantized_operands_multiply_at_the_rate_of_the_activations"],
    { unit: |format| Format { weights: format.activations, ..format.clone() } }

    "falls_back_in_silence",
    "where a unit is missing the 16-bit one does it",
    "the fallback is another format, so a device without the unit must be an error",
    ["a_device_without_the_unit_is_an_error_and_not_a_guess",
     "decode_of_nothing_or_on_nothing_is_refused"], {
        operations_per_s: |device, format| match solution::operations_per_s(device, format) {
            Err(CostError::NoRate(_)) => solution::operations_per_s(device, &Format::BF16),
            rate => rate,
        },
        check_decode: |served, device, batch| {
            match solution::decode_roofline(served, device, batch, 0) {
                Err(CostError::NoRate(_)) => Ok(()),
                checked => checked.map(drop),
            }
        },
    }

    "the_bounds_add_up",
    "first a step reads, then it multiplies",
    "memory and arithmetic work at the same time, so the longer of both bounds the time",
    ["a_step_takes_as_long_as_the_larger_bound", "tokens_per_second_are_those_of_all_sequences",
     "prefill_runs_at_the_length_of_the_prompt_over_the_larger_bound"],
    { shorter: |roofline| roofline.memory_s + roofline.arithmetic_s }

    "the_smaller_bound",
    "the shortest time is the smaller of two",
    "both bounds must hold, so no step is shorter than the larger",
    ["a_step_takes_as_long_as_the_larger_bound"],
    { shorter: |roofline| roofline.memory_s.min(roofline.arithmetic_s) }

    "f64_max_finds_the_nan",
    "the larger of NaN and 1 is NaN",
    "`f64::max` drops NaN, so a check has to look for NaN",
    ["a_step_takes_as_long_as_the_larger_bound"],
    { check_roofline: |_| Ok(()) }

    "the_cache_is_read_once",
    "a batch shares its context",
    "each sequence reads a KV cache of its own",
    ["weights_are_read_once_and_the_kv_cache_for_each_sequence"],
    { step_bytes: |weights, kv, _, context| weights + context * kv }

    "the_cache_in_64_bits",
    "bytes are whole numbers, so the product is a u64",
    "batch, context and bytes of a token may exceed 64 bits together, and the result is an f64",
    ["weights_are_read_once_and_the_kv_cache_for_each_sequence"], {
        step_bytes: |weights, kv, batch, context| {
            let cache = (batch as u64).wrapping_mul(context as u64).wrapping_mul(kv as u64);
            weights + cache as f64
        },
    }

    "weights_for_each_sequence",
    "every sequence reads the model",
    "a step reads the weights once for the whole batch, which is why batching pays",
    ["weights_are_read_once_and_the_kv_cache_for_each_sequence",
     "at_the_crossover_both_bounds_are_the_same"], {
        step_bytes: |weights, kv, batch, context| batch * (weights + context * kv),
        meet: |weights_s, kv_s, token_s| Some((weights_s + kv_s) / token_s),
    }

    "only_the_new_token",
    "a step touches one token of the cache",
    "attention reads the keys and values of the whole context in each step",
    ["weights_are_read_once_and_the_kv_cache_for_each_sequence"],
    { step_bytes: |weights, kv, batch, _| weights + batch * kv }

    "no_cache_is_read",
    "decode reads weights and nothing else",
    "attention reads the KV cache of every sequence in each step",
    ["weights_are_read_once_and_the_kv_cache_for_each_sequence",
     "a_long_context_keeps_decode_bound_by_memory_at_any_batch"], {
        step_bytes: |weights, _, _, _| weights,
        meet: |weights_s, _, token_s| Some(weights_s / token_s),
    }

    "a_multiply_add_is_one",
    "a multiply-add is one operation",
    "data sheets count the multiplication and the addition, so a weight costs two operations",
    ["arithmetic_is_two_operations_for_each_weight_and_sequence"],
    { per_weight: 1.0 }

    "the_head_at_the_linear_rate",
    "the head is a linear layer like the others",
    "the head is not quantized, so it multiplies at the rate of its own format",
    ["arithmetic_is_two_operations_for_each_weight_and_sequence"],
    { head_format: |format| format.linear.clone() }

    "the_head_is_always_16_bits",
    "the head is never quantized",
    "the head has the format of the embedding, and the rate follows the format",
    ["arithmetic_is_two_operations_for_each_weight_and_sequence"],
    { head_format: |_| Format::BF16 }

    "the_head_does_not_multiply",
    "the model is its layers",
    "the logits are the product with the head, for each sequence of each step",
    ["arithmetic_is_two_operations_for_each_weight_and_sequence"],
    { multiplied_tables: |_| 0 }

    "two_per_parameter",
    "every parameter costs two operations",
    "the embedding is looked up and multiplies nothing",
    ["arithmetic_is_two_operations_for_each_weight_and_sequence"],
    { multiplied_tables: |architecture| if architecture.tied { 1 } else { 2 } }

    "a_batch_multiplies_once",
    "what is read once is multiplied once",
    "each sequence multiplies with all weights, so the arithmetic grows with the batch",
    ["arithmetic_is_two_operations_for_each_weight_and_sequence"],
    { times_batch: |seconds, _| seconds }

    "tokens_of_one_sequence",
    "a step makes a token",
    "a step makes one token for each sequence of the batch",
    ["tokens_per_second_are_those_of_all_sequences"],
    { step_tokens: |_| 1.0 }

    "a_prompt_reads_for_each_token",
    "each token of a prompt reads the weights",
    "prefill reads the weights once for all tokens of the prompt",
    ["a_prompt_reads_the_weights_once_and_multiplies_them_for_each_token"], {
        prompt_reads: |served, tokens| {
            Ok(tokens * linear_bytes(&served.architecture, &served.format.linear)? as f64)
        },
    }

    "a_prompt_reads_the_file",
    "prefill reads every byte of the model",
    "the bound counts the linear layers alone, because the head runs for the last token and the \
     embedding is looked up",
    ["a_prompt_reads_the_weights_once_and_multiplies_them_for_each_token"],
    { prompt_reads: |served, _| Ok(model_bytes(&served.architecture, &served.format)? as f64) }

    "a_prompt_multiplies_once",
    "weights that are read once are multiplied once",
    "every token of the prompt multiplies with all weights",
    ["a_prompt_reads_the_weights_once_and_multiplies_them_for_each_token"],
    { prompt_multiplies: |weights, _| weights }

    "a_prompt_multiplies_for_each_pair",
    "prefill grows with the square of the prompt",
    "only attention does: a weight multiplies once for each token",
    ["a_prompt_reads_the_weights_once_and_multiplies_them_for_each_token",
     "attention_grows_with_the_square_of_the_prompt"],
    { prompt_multiplies: |weights, tokens| weights * tokens * tokens }

    "heads_as_wide_as_the_stream",
    "the heads share the width of the stream",
    "the width of all heads is `heads * head_dim`, and in some models it is not `hidden`",
    ["attention_multiplies_heads_that_need_not_be_as_wide_as_the_stream"],
    { multiplying_heads: |model| model.hidden / model.head_dim }

    "the_attention_of_one_layer",
    "the layers share their attention",
    "each layer multiplies its own queries with its own keys",
    ["attention_grows_with_the_square_of_the_prompt"],
    { multiplying_heads: |model| model.heads / model.layers }

    "a_token_does_not_see_itself",
    "half of the square is n * n / 2",
    "the diagonal is not halved: a token attends to itself, so there are n(n + 1) / 2 pairs",
    ["attention_grows_with_the_square_of_the_prompt"],
    { pairs: |tokens| tokens * tokens / 2.0 }

    "attention_is_free",
    "all arithmetic is in the weights",
    "each pair of tokens that attend costs two products, which grow with the square of the prompt",
    ["a_prompt_reads_the_weights_once_and_multiplies_them_for_each_token",
     "attention_grows_with_the_square_of_the_prompt"],
    { per_pair: 0.0 }

    "attention_is_one_product",
    "attention is queries times keys",
    "the scores are multiplied with the values too, so attention is two products",
    ["attention_grows_with_the_square_of_the_prompt"],
    { per_pair: 2.0 }

    "attention_looks_ahead",
    "every token attends to every token",
    "a token attends to itself and the tokens before it, which are n(n + 1) / 2 pairs",
    ["attention_grows_with_the_square_of_the_prompt"],
    { pairs: |tokens| tokens * tokens }

    "kv_heads_multiply",
    "shared keys are multiplied once",
    "a shared key is read once and multiplied with the query of each head",
    ["attention_grows_with_the_square_of_the_prompt"],
    { multiplying_heads: |architecture| architecture.kv_heads }

    "attention_quantized_too",
    "a W8A8 model is int8 all over",
    "W8A8 quantizes the linear layers, and attention multiplies in 16 bits",
    ["a_prompt_reads_the_weights_once_and_multiplies_them_for_each_token"],
    { attention_format: |served| served.format.linear.clone() }

    "attention_in_the_format_of_the_embedding",
    "what is not a linear layer has the format of the embedding",
    "attention multiplies activations, which are in 16 bits here",
    ["a_prompt_reads_the_weights_once_and_multiplies_them_for_each_token"],
    { attention_format: |served| served.format.embedding.clone() }

    "prompts_for_tokens",
    "a prompt is one thing to do",
    "the rate counts tokens, and a prompt has many",
    ["prefill_runs_at_the_length_of_the_prompt_over_the_larger_bound"],
    { prompt_tokens: |_| 1.0 }

    "a_negative_batch",
    "the formula has a value, so there is a crossover",
    "a negative batch means that the arithmetic never takes as long as the traffic of the cache",
    ["a_long_context_keeps_decode_bound_by_memory_at_any_batch"],
    { meet: |weights_s, kv_s, token_s| Some(weights_s / (token_s - kv_s)) }

    "the_crossover_forgets_the_cache",
    "the crossover is bytes over operations",
    "each sequence reads a cache too, so memory traffic grows with the batch as arithmetic does",
    ["at_the_crossover_both_bounds_are_the_same",
     "a_long_context_keeps_decode_bound_by_memory_at_any_batch"],
    { meet: |weights_s, _, token_s| Some(weights_s / token_s) }

    "the_crossover_of_a_16_bit_cache",
    "a number of the cache has two bytes",
    "the cache has a grid of its own, and the traffic that the batch adds follows the grid",
    ["at_the_crossover_both_bounds_are_the_same"],
    { crossover_kv: |_| Grid::Sixteen }

    "the_crossover_reads_one_cache",
    "one sequence's cache is added to the weights",
    "the bytes of the cache grow with the batch, as the arithmetic of the sequences does",
    ["at_the_crossover_both_bounds_are_the_same"],
    { meet: |weights_s, kv_s, token_s| (token_s > kv_s).then_some((weights_s + kv_s) / token_s) }

    "a_whole_batch",
    "a batch is a whole number",
    "the crossover is the point where both bounds are equal, and that point may lie between two \
     batches",
    ["at_the_crossover_both_bounds_are_the_same"], {
        meet: |weights_s, kv_s, token_s| {
            (token_s > kv_s).then(|| (weights_s / (token_s - kv_s)).ceil())
        },
    }

    "gib_is_cut_off",
    "a flag in GiB is a whole number of bytes",
    "0.7 GiB are 751,619,276.8 bytes, so GiB are rounded to the nearest byte as GB are",
    ["a_gb_is_ten_to_the_nine_bytes_and_a_gib_is_two_to_the_thirty"],
    { nearest_gib: |bytes| bytes as u64 }

    "names_the_bytes_as_the_size",
    "an error shows what was computed",
    "the reader has given GB, and looks for that number",
    ["what_is_no_size_is_refused"], {
        check_size: |amount, unit| {
            (RIGHT.check_size)(amount, unit).map_err(|_| CostError::NotASize(amount * unit))
        },
    }

    "one_granularity_for_all_overhead",
    "scales and zero points have one granularity",
    "each part names its own, and NVFP4 has a scale per block of 16 and one for the whole tensor",
    ["each_part_of_the_overhead_has_its_own_granularity"], {
        overhead_groups: |format| {
            let first = format.overhead.first().map_or(Group::Tensor, |part| part.per);
            format.overhead.iter().map(|_| first).collect()
        },
    }

    "a_step_reads_a_16_bit_head",
    "the head is never quantized",
    "the head has the format of the embedding, in memory as in the file",
    ["a_step_multiplies_with_the_head_and_only_looks_up_the_embedding"],
    { read_format: |_| Format::BF16 }

    "norms_of_queries_and_keys_not_counted",
    "a layer has two norms",
    "Qwen3 norms its queries and keys as well, with `head_dim` weights each",
    ["the_norms_of_queries_and_keys_are_weights_too"], {
        vector_bytes: |architecture, format| {
            let plain = Architecture { qk_norm: false, ..*architecture };
            (RIGHT.vector_bytes)(&plain, format)
        },
    }

    "names_a_percentage",
    "a share is a percentage",
    "the error shows the number that was given, which the reader looks for",
    ["an_engine_that_would_not_start_is_an_error"], {
        check_available: |memory, utilization, taken| {
            match solution::kv_available_bytes(memory, utilization, taken) {
                Err(CostError::Utilization(u)) => Err(CostError::Utilization(100.0 * u)),
                checked => checked.map(drop),
            }
        },
    }

    "blames_the_weights_for_a_missing_rate",
    "the weights choose the unit",
    "weights alone in 4 bits multiply in 16 bits, so the rate that is missing is that of 16 bits",
    ["a_device_without_the_unit_is_an_error_and_not_a_guess"], {
        operations_per_s: |device, format| match solution::operations_per_s(device, format) {
            Err(CostError::NoRate(_)) => Err(CostError::NoRate(format.weights)),
            rate => rate,
        },
    }

    "checks_the_16_bit_rate_alone",
    "a rate of a quantized unit comes from a data sheet and needs no check",
    "a rate is checked whatever the grid, because a time over NaN is no time",
    ["a_device_without_the_unit_is_an_error_and_not_a_guess"], {
        operations_per_s: |device, format| match solution::operations_per_s(device, format) {
            Err(CostError::NotPositive { value, .. })
                if format.activations != Grid::Sixteen => Ok(value),
            rate => rate,
        },
    }

    "prefill_divides_by_any_bandwidth",
    "decode has checked the device",
    "prefill may be asked alone, so it checks the bandwidth and the rate itself",
    ["prefill_of_nothing_or_on_nothing_is_refused"], {
        check_prefill: |served, device, tokens| {
            match solution::prefill_roofline(served, device, tokens) {
                Err(CostError::NotPositive { .. }) => Ok(()),
                checked => checked.map(drop),
            }
        },
    }

    "a_crossover_at_infinity",
    "the formula has a value where both grow alike",
    "a quotient by 0 is infinite, and no batch is infinite",
    ["a_long_context_keeps_decode_bound_by_memory_at_any_batch"],
    { meet: |weights_s, kv_s, token_s| (token_s >= kv_s).then(|| weights_s / (token_s - kv_s)) }

    "f32_falls_back_to_16_bits",
    "every device that multiplies in 16 bits multiplies in f32",
    "a device has a rate for f32 of its own or none, and 16 bits would lose digits",
    ["a_device_without_the_unit_is_an_error_and_not_a_guess"], {
        operations_per_s: |device, format| match solution::operations_per_s(device, format) {
            Err(CostError::NoRate(Grid::F32)) => solution::operations_per_s(device, &Format::BF16),
            rate => rate,
        },
    }

    "names_every_bad_rate_0",
    "a rate that is not above 0 is 0",
    "the error shows the value to somebody who looks for its cause, and NaN is not 0",
    ["a_device_without_the_unit_is_an_error_and_not_a_guess"], {
        operations_per_s: |device, format| match solution::operations_per_s(device, format) {
            Err(CostError::NotPositive { what, .. }) => {
                Err(CostError::NotPositive { what, value: 0.0 })
            }
            rate => rate,
        },
    }

    "a_table_has_16_bits",
    "a value of a table is a float of 16 bits",
    "the table is stored once, and a weight is the number of its entry, in 4 bits here",
    ["bits_per_weight_count_all_that_is_stored"],
    { code_bits: |grid| if let Grid::Table(_) = grid { 16 } else { grid.bits().into() } }

    "bits_per_weight_in_f32",
    "a ratio needs no more than an f32",
    "f32 has 24 bits, and a number of bytes may have more",
    ["bits_per_weight_count_all_that_is_stored"],
    { share: |bytes, weights| f64::from(8.0 * bytes as f32 / weights as f32) }
}

/// The functions of the lab, made of the steps of the wrong answer that `WRONG_ANSWER` names.
///
/// With `WRONG_ANSWER=none` every step is right. The functions must then pass the spec, so that a
/// failure of a wrong answer is due to the step that it replaces.
pub mod chosen {
    use super::*;

    /// See [`solution::bytes_from_gb`].
    pub fn bytes_from_gb(gigabytes: f64) -> Cost<u64> {
        (answer().check_size)(gigabytes, answer().gb)?;
        Ok((answer().nearest)(gigabytes * answer().gb))
    }

    /// See [`solution::bytes_from_gib`].
    pub fn bytes_from_gib(gibibytes: f64) -> Cost<u64> {
        (answer().check_size)(gibibytes, answer().gib)?;
        Ok((answer().nearest_gib)(gibibytes * answer().gib))
    }

    /// See [`solution::matrix_bytes`].
    pub fn matrix_bytes(out: u64, inputs: u64, format: &Format) -> Cost<u64> {
        (answer().check_matrix)(out, inputs, format)?;
        let overhead = |(part, per): (&Overhead, Group)| {
            let count = (answer().scale_count)(out, inputs, per);
            // Wraps, because a wrong answer may not check this product.
            count.wrapping_mul((answer().overhead_bits)(part))
        };
        let groups = (answer().overhead_groups)(format);
        let overheads = (answer().overhead)(format).iter().zip(groups).map(overhead);
        let code_bits = (answer().code_bits)(format.weights);
        if !answer().rounds_each {
            return Ok((out * inputs * code_bits + overheads.sum::<u64>()).div_ceil(8));
        }
        let overhead_bytes = overheads.map(|bits| (answer().bytes_of_bits)(bits));
        Ok((answer().code_bytes)(out, inputs, code_bits) + overhead_bytes.sum::<u64>())
    }

    /// See [`solution::bits_per_weight`].
    pub fn bits_per_weight(bytes: u64, weights: u64) -> Cost<f64> {
        solution::bits_per_weight(bytes, weights)?;
        Ok((answer().share)(bytes, weights))
    }

    /// See [`solution::linear_bytes`].
    pub fn linear_bytes(architecture: &Architecture, format: &Format) -> Cost<u64> {
        (answer().check_model)(architecture)?;
        let mut layer = 0;
        for [out, inputs] in (answer().matrices)(architecture) {
            layer += matrix_bytes(out, inputs, format)?;
        }
        Ok((answer().layers)(architecture) * layer)
    }

    fn with_tables(
        model: &Architecture,
        format: &ModelFormat,
        tables: u64,
        of: &Format,
    ) -> Cost<u64> {
        let rest = linear_bytes(model, &format.linear)? + (answer().vector_bytes)(model, format);
        Ok(rest + tables * matrix_bytes(model.vocabulary, model.hidden, of)?)
    }

    /// See [`solution::model_bytes`].
    pub fn model_bytes(architecture: &Architecture, format: &ModelFormat) -> Cost<u64> {
        let tables = (answer().stored_tables)(architecture);
        with_tables(architecture, format, tables, &(answer().table_format)(format))
    }

    /// See [`solution::step_weight_bytes`].
    pub fn step_weight_bytes(architecture: &Architecture, format: &ModelFormat) -> Cost<u64> {
        let tables = (answer().read_tables)(architecture);
        with_tables(architecture, format, tables, &(answer().read_format)(format))
    }

    /// See [`solution::kv_bytes_per_token`].
    pub fn kv_bytes_per_token(architecture: &Architecture, kv: Grid) -> Cost<u64> {
        (answer().check_model)(architecture)?;
        let width = (answer().kv_heads)(architecture) * architecture.head_dim;
        let numbers = answer().keys_and_values * (answer().kv_layers)(architecture) * width;
        Ok((answer().kv_bytes_of)(numbers, kv))
    }

    /// See [`solution::kv_available_bytes`].
    pub fn kv_available_bytes(memory: u64, utilization: f64, taken: u64) -> Cost<u64> {
        (answer().check_available)(memory, utilization, taken)?;
        Ok((answer().available)(memory, utilization, taken))
    }

    /// See [`solution::kv_blocks`].
    pub fn kv_blocks(available: u64, block_tokens: u64, per_token: u64) -> Cost<u64> {
        (answer().check_blocks)(available, block_tokens, per_token)?;
        Ok((answer().fit)(available, block_tokens, per_token))
    }

    /// See [`solution::kv_tokens`].
    pub fn kv_tokens(blocks: u64, block_tokens: u64) -> Cost<u64> {
        solution::kv_tokens(blocks, block_tokens)?;
        Ok((answer().tokens)(blocks, block_tokens))
    }

    /// See [`solution::concurrency`].
    pub fn concurrency(blocks: u64, block_tokens: u64, context: u64) -> Cost<f64> {
        solution::concurrency(blocks, block_tokens, context)?;
        Ok((answer().at_once)(blocks, block_tokens, context))
    }

    /// See [`solution::bound_s`].
    pub fn bound_s(roofline: Roofline) -> Cost<f64> {
        (answer().check_roofline)(roofline)?;
        Ok((answer().shorter)(roofline))
    }

    /// See [`solution::decode_roofline`].
    pub fn decode_roofline(
        served: &Served,
        device: &Device,
        batch: u64,
        context: u64,
    ) -> Cost<Roofline> {
        (answer().check_decode)(served, device, batch)?;
        let Served { architecture, format, kv } = served;
        let weights = step_weight_bytes(architecture, format)? as f64;
        let kv = kv_bytes_per_token(architecture, *kv)? as f64;
        let bytes = (answer().step_bytes)(weights, kv, batch as f64, context as f64);
        let table = (architecture.vocabulary * architecture.hidden) as f64;
        let head = table * (answer().multiplied_tables)(architecture) as f64;
        let linear = architecture.linear_weights() as f64;
        let token_s = answer().per_weight * linear
            / (answer().operations_per_s)(device, &format.linear)?
            + answer().per_weight * head
                / (answer().operations_per_s)(device, &(answer().head_format)(format))?;
        Ok(Roofline {
            memory_s: bytes / device.bytes_per_s,
            arithmetic_s: (answer().times_batch)(token_s, batch as f64),
        })
    }

    /// See [`solution::decode_tokens_per_s`].
    pub fn decode_tokens_per_s(
        served: &Served,
        device: &Device,
        batch: u64,
        context: u64,
    ) -> Cost<f64> {
        let roofline = decode_roofline(served, device, batch, context)?;
        Ok((answer().step_tokens)(batch) / bound_s(roofline)?)
    }

    /// See [`solution::prefill_roofline`].
    pub fn prefill_roofline(served: &Served, device: &Device, prompt: u64) -> Cost<Roofline> {
        (answer().check_prefill)(served, device, prompt)?;
        let model = &served.architecture;
        let tokens = prompt as f64;
        let weights = (answer().prompt_multiplies)(model.linear_weights() as f64, tokens);
        let heads = model.layers * (answer().multiplying_heads)(model) * model.head_dim;
        let attention = answer().per_pair * heads as f64 * (answer().pairs)(tokens);
        let linear_rate = (answer().operations_per_s)(device, &served.format.linear)?;
        let attention_rate =
            (answer().operations_per_s)(device, &(answer().attention_format)(served))?;
        Ok(Roofline {
            memory_s: (answer().prompt_reads)(served, tokens)? / device.bytes_per_s,
            arithmetic_s: answer().per_weight * weights / linear_rate + attention / attention_rate,
        })
    }

    /// See [`solution::prefill_tokens_per_s`].
    pub fn prefill_tokens_per_s(served: &Served, device: &Device, tokens: u64) -> Cost<f64> {
        let roofline = prefill_roofline(served, device, tokens)?;
        Ok((answer().prompt_tokens)(tokens) / bound_s(roofline)?)
    }

    /// See [`solution::crossover_batch`].
    pub fn crossover_batch(served: &Served, device: &Device, context: u64) -> Cost<Option<f64>> {
        let one = decode_roofline(served, device, 1, 0)?;
        let kv = kv_bytes_per_token(&served.architecture, (answer().crossover_kv)(served))?;
        let kv_s = context as f64 * kv as f64 / device.bytes_per_s;
        Ok((answer().meet)(one.memory_s, kv_s, one.arithmetic_s))
    }

    answered! {
        fn operations_per_s(device: &Device, format: &Format) -> Cost<f64>;
    }
}
