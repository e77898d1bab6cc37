//! Plausible wrong answers, kept as code, each with the tests of the spec that must catch it.
//!
//! An [`Answer`] is the whole lab, composed the right way from small steps; a wrong answer replaces
//! one step. `LAB_IMPL=wrong WRONG_ANSWER=kv_without_the_two cargo test -p lab-02-quantize-and-eval
//! --test spec` runs the spec on one of them. The test `every_wrong_answer_is_caught` runs them all.

use formats::architecture::Architecture;
use formats::device::Device;
use formats::format::Group;
use formats::format::{Format, Grid, Shared};
use kit::{answered, wrong_answers};

use crate::{CostError, ModelFormat, Roofline, Served, solution};

type Cost<T> = Result<T, CostError>;

/// The lab in steps, each of them right unless replaced. What is refused is refused by the
/// solution, so that a wrong step is wrong in what it returns.
trait Answer {
    fn gb(&self) -> f64 {
        1e9
    }
    fn gib(&self) -> f64 {
        f64::from(1 << 30)
    }
    fn check_size(&self, amount: f64) -> Cost<()> {
        solution::bytes_from_gib(amount).map(|_| ())
    }
    fn nearest(&self, bytes: f64) -> u64 {
        bytes.round() as u64
    }
    fn bytes_from_gb(&self, gigabytes: f64) -> Cost<u64> {
        self.check_size(gigabytes)?;
        Ok(self.nearest(gigabytes * self.gb()))
    }
    fn bytes_from_gib(&self, gibibytes: f64) -> Cost<u64> {
        self.check_size(gibibytes)?;
        Ok(self.nearest(gibibytes * self.gib()))
    }
    fn check_matrix(&self, out: u64, inputs: u64, format: &Format) -> Cost<()> {
        solution::matrix_bytes(out, inputs, format).map(|_| ())
    }
    fn bytes_of_bits(&self, bits: u64) -> u64 {
        bits.div_ceil(8)
    }
    fn code_bits(&self, grid: Grid) -> u64 {
        grid.bits().into()
    }
    fn shared<'a>(&self, format: &'a Format) -> &'a [Shared] {
        &format.shared
    }
    fn shared_bits(&self, shared: &Shared) -> u64 {
        shared.bits.into()
    }
    fn sharers(&self, out: u64, inputs: u64, among: Group) -> u64 {
        among.grid(out, inputs).map_or(0, |[rows, columns]| rows * columns)
    }
    fn matrix_bytes(&self, out: u64, inputs: u64, format: &Format) -> Cost<u64> {
        self.check_matrix(out, inputs, format)?;
        let beside = |shared: &Shared| {
            self.bytes_of_bits(self.sharers(out, inputs, shared.among) * self.shared_bits(shared))
        };
        Ok(self.bytes_of_bits(out * inputs * self.code_bits(format.weights))
            + self.shared(format).iter().map(beside).sum::<u64>())
    }
    fn share(&self, bytes: u64, weights: u64) -> f64 {
        8.0 * bytes as f64 / weights as f64
    }
    fn bits_per_weight(&self, bytes: u64, weights: u64) -> Cost<f64> {
        solution::bits_per_weight(bytes, weights)?;
        Ok(self.share(bytes, weights))
    }
    fn check_model(&self, architecture: &Architecture) -> Cost<()> {
        Ok(architecture.check()?)
    }
    fn layers(&self, architecture: &Architecture) -> u64 {
        architecture.layers
    }
    fn matrices(&self, architecture: &Architecture) -> Vec<[u64; 2]> {
        architecture.layer_matrices().to_vec()
    }
    fn linear_bytes(&self, architecture: &Architecture, format: &Format) -> Cost<u64> {
        self.check_model(architecture)?;
        let mut layer = 0;
        for [out, inputs] in self.matrices(architecture) {
            layer += self.matrix_bytes(out, inputs, format)?;
        }
        Ok(self.layers(architecture) * layer)
    }
    fn table_format(&self, format: &ModelFormat) -> Format {
        format.embedding.clone()
    }
    fn table_bytes(&self, architecture: &Architecture, format: &ModelFormat) -> Cost<u64> {
        let format = self.table_format(format);
        self.matrix_bytes(architecture.vocabulary, architecture.hidden, &format)
    }
    fn vector_bytes(&self, architecture: &Architecture, format: &ModelFormat) -> u64 {
        self.bytes_of_bits(architecture.vector_weights() * u64::from(format.vectors.bits()))
    }
    fn stored_tables(&self, architecture: &Architecture) -> u64 {
        if architecture.tied { 1 } else { 2 }
    }
    fn read_tables(&self, _architecture: &Architecture) -> u64 {
        1
    }
    fn with_tables(&self, model: &Architecture, format: &ModelFormat, tables: u64) -> Cost<u64> {
        let rest = self.linear_bytes(model, &format.linear)? + self.vector_bytes(model, format);
        Ok(rest + tables * self.table_bytes(model, format)?)
    }
    fn model_bytes(&self, architecture: &Architecture, format: &ModelFormat) -> Cost<u64> {
        self.with_tables(architecture, format, self.stored_tables(architecture))
    }
    fn step_weight_bytes(&self, architecture: &Architecture, format: &ModelFormat) -> Cost<u64> {
        self.with_tables(architecture, format, self.read_tables(architecture))
    }
    fn keys_and_values(&self) -> u64 {
        2
    }
    fn kv_heads(&self, architecture: &Architecture) -> u64 {
        architecture.kv_heads
    }
    fn kv_layers(&self, architecture: &Architecture) -> u64 {
        architecture.layers
    }
    fn kv_bytes_of(&self, numbers: u64, kv: Grid) -> u64 {
        (numbers * u64::from(kv.bits())).div_ceil(8)
    }
    fn kv_bytes_per_token(&self, architecture: &Architecture, kv: Grid) -> Cost<u64> {
        self.check_model(architecture)?;
        let width = self.kv_heads(architecture) * architecture.head_dim;
        let numbers = self.keys_and_values() * self.kv_layers(architecture) * width;
        Ok(self.kv_bytes_of(numbers, kv))
    }
    fn check_available(&self, memory: u64, utilization: f64, taken: u64) -> Cost<()> {
        solution::kv_available_bytes(memory, utilization, taken).map(|_| ())
    }
    fn available(&self, memory: u64, utilization: f64, taken: u64) -> u64 {
        ((memory as f64 * utilization).ceil() as u64).saturating_sub(taken)
    }
    fn kv_available_bytes(&self, memory: u64, utilization: f64, taken: u64) -> Cost<u64> {
        self.check_available(memory, utilization, taken)?;
        Ok(self.available(memory, utilization, taken))
    }
    fn check_blocks(&self, available: u64, block_tokens: u64, per_token: u64) -> Cost<()> {
        solution::kv_blocks(available, block_tokens, per_token).map(|_| ())
    }
    fn fit(&self, available: u64, block_tokens: u64, per_token: u64) -> u64 {
        available / (block_tokens * per_token)
    }
    fn kv_blocks(&self, available: u64, block_tokens: u64, per_token: u64) -> Cost<u64> {
        self.check_blocks(available, block_tokens, per_token)?;
        Ok(self.fit(available, block_tokens, per_token))
    }
    fn tokens(&self, blocks: u64, block_tokens: u64) -> u64 {
        blocks * block_tokens
    }
    fn kv_tokens(&self, blocks: u64, block_tokens: u64) -> Cost<u64> {
        solution::kv_tokens(blocks, block_tokens)?;
        Ok(self.tokens(blocks, block_tokens))
    }
    fn at_once(&self, blocks: u64, block_tokens: u64, context: u64) -> f64 {
        blocks as f64 / context.div_ceil(block_tokens) as f64
    }
    fn concurrency(&self, blocks: u64, block_tokens: u64, context: u64) -> Cost<f64> {
        solution::concurrency(blocks, block_tokens, context)?;
        Ok(self.at_once(blocks, block_tokens, context))
    }
    /// The format by whose grids the unit is chosen.
    fn unit(&self, format: &Format) -> Format {
        format.clone()
    }
    fn operations_per_s(&self, device: &Device, format: &Format) -> Cost<f64> {
        solution::operations_per_s(device, &self.unit(format))
    }
    fn check_roofline(&self, roofline: Roofline) -> Cost<()> {
        solution::bound_s(roofline).map(|_| ())
    }
    fn shorter(&self, roofline: Roofline) -> f64 {
        roofline.memory_s.max(roofline.arithmetic_s)
    }
    fn bound_s(&self, roofline: Roofline) -> Cost<f64> {
        self.check_roofline(roofline)?;
        Ok(self.shorter(roofline))
    }
    fn check_decode(&self, served: &Served, device: &Device, batch: u64) -> Cost<()> {
        solution::decode_roofline(served, device, batch, 0).map(|_| ())
    }
    /// Bytes that a step reads: of the weights, of a token's cache, for the batch and the context.
    fn step_bytes(&self, weights: f64, kv: f64, batch: f64, context: f64) -> f64 {
        weights + batch * context * kv
    }
    fn per_weight(&self) -> f64 {
        2.0
    }
    fn head_format(&self, format: &ModelFormat) -> Format {
        format.embedding.clone()
    }
    fn multiplied_tables(&self, _architecture: &Architecture) -> u64 {
        1
    }
    fn times_batch(&self, seconds: f64, batch: f64) -> f64 {
        seconds * batch
    }
    fn decode_roofline(
        &self,
        served: &Served,
        device: &Device,
        batch: u64,
        context: u64,
    ) -> Cost<Roofline> {
        self.check_decode(served, device, batch)?;
        let Served { architecture, format, kv } = served;
        let weights = self.step_weight_bytes(architecture, format)? as f64;
        let kv = self.kv_bytes_per_token(architecture, *kv)? as f64;
        let bytes = self.step_bytes(weights, kv, batch as f64, context as f64);
        let table = (architecture.vocabulary * architecture.hidden) as f64;
        let head = table * self.multiplied_tables(architecture) as f64;
        let linear = architecture.linear_weights() as f64;
        let token_s = self.per_weight() * linear / self.operations_per_s(device, &format.linear)?
            + self.per_weight() * head
                / self.operations_per_s(device, &self.head_format(format))?;
        Ok(Roofline {
            memory_s: bytes / device.bytes_per_s,
            arithmetic_s: self.times_batch(token_s, batch as f64),
        })
    }
    fn step_tokens(&self, batch: u64) -> f64 {
        batch as f64
    }
    fn decode_tokens_per_s(
        &self,
        served: &Served,
        device: &Device,
        batch: u64,
        context: u64,
    ) -> Cost<f64> {
        let roofline = self.decode_roofline(served, device, batch, context)?;
        Ok(self.step_tokens(batch) / self.bound_s(roofline)?)
    }
    fn prompt_reads(&self, served: &Served, _tokens: f64) -> Cost<f64> {
        Ok(self.linear_bytes(&served.architecture, &served.format.linear)? as f64)
    }
    fn multiplying_heads(&self, architecture: &Architecture) -> u64 {
        architecture.heads
    }
    /// Pairs of tokens that attend.
    fn pairs(&self, tokens: f64) -> f64 {
        tokens * (tokens + 1.0) / 2.0
    }
    fn per_pair(&self) -> f64 {
        4.0
    }
    fn attention_format(&self, _served: &Served) -> Format {
        Format::BF16
    }
    fn prompt_multiplies(&self, weights: f64, tokens: f64) -> f64 {
        weights * tokens
    }
    fn prefill_roofline(&self, served: &Served, device: &Device, prompt: u64) -> Cost<Roofline> {
        solution::prefill_roofline(served, device, prompt)?;
        let model = &served.architecture;
        let tokens = prompt as f64;
        let weights = self.prompt_multiplies(model.linear_weights() as f64, tokens);
        let heads = model.layers * self.multiplying_heads(model) * model.head_dim;
        let attention = self.per_pair() * heads as f64 * self.pairs(tokens);
        let linear_rate = self.operations_per_s(device, &served.format.linear)?;
        let attention_rate = self.operations_per_s(device, &self.attention_format(served))?;
        Ok(Roofline {
            memory_s: self.prompt_reads(served, tokens)? / device.bytes_per_s,
            arithmetic_s: self.per_weight() * weights / linear_rate + attention / attention_rate,
        })
    }
    fn prompt_tokens(&self, tokens: u64) -> f64 {
        tokens as f64
    }
    fn prefill_tokens_per_s(&self, served: &Served, device: &Device, tokens: u64) -> Cost<f64> {
        let roofline = self.prefill_roofline(served, device, tokens)?;
        Ok(self.prompt_tokens(tokens) / self.bound_s(roofline)?)
    }
    /// Where `weights_s + batch * kv_s` meets `batch * token_s`.
    fn meet(&self, weights_s: f64, kv_s: f64, token_s: f64) -> Option<f64> {
        (token_s > kv_s).then(|| weights_s / (token_s - kv_s))
    }
    fn crossover_batch(&self, served: &Served, device: &Device, context: u64) -> Cost<Option<f64>> {
        let one = self.decode_roofline(served, device, 1, 0)?;
        let kv = self.kv_bytes_per_token(&served.architecture, served.kv)?;
        let kv_s = context as f64 * kv as f64 / device.bytes_per_s;
        Ok(self.meet(one.memory_s, kv_s, one.arithmetic_s))
    }
}

wrong_answers! {
    GbIsGib, "gb_is_gib",
    "a GB is 2^30 bytes",
    "a data sheet counts in powers of ten, so a GB is 10^9 bytes",
    ["a_gb_is_ten_to_the_nine_bytes_and_a_gib_is_two_to_the_thirty"], {
        fn gb(&self) -> f64 {
            f64::from(1 << 30)
        }
    }

    GibIsGb, "gib_is_gb",
    "a GiB is 10^9 bytes",
    "an engine that says GiB counts in powers of two, so a GiB is 2^30 bytes",
    ["a_gb_is_ten_to_the_nine_bytes_and_a_gib_is_two_to_the_thirty",
     "the_blocks_are_those_that_vllm_printed"], {
        fn gib(&self) -> f64 {
            1e9
        }
    }

    CutOff, "sizes_are_cut_off",
    "a cast to an integer rounds",
    "a cast cuts the fraction off, so the product is rounded to the nearest byte first",
    ["a_gb_is_ten_to_the_nine_bytes_and_a_gib_is_two_to_the_thirty"], {
        fn nearest(&self, bytes: f64) -> u64 {
            bytes as u64
        }
    }

    AnySize, "any_number_is_a_size",
    "a cast would show a NaN or a negative size",
    "a cast to `u64` turns both into 0 unnoticed, so a check has to come first",
    ["what_is_no_size_is_refused"], {
        fn check_size(&self, _amount: f64) -> Cost<()> {
            Ok(())
        }
    }

    Bits, "bits_for_bytes",
    "bits times weights are bytes",
    "a byte has eight bits, so the product is divided by 8",
    ["codes_are_counted_in_bytes", "the_bytes_are_those_that_llama_cpp_printed"], {
        fn bytes_of_bits(&self, bits: u64) -> u64 {
            bits
        }
    }

    HalfByte, "the_last_half_byte_is_free",
    "60 bits fit into seven bytes",
    "seven bytes have 56 bits, so the division by 8 rounds up",
    ["codes_are_counted_in_bytes"], {
        fn bytes_of_bits(&self, bits: u64) -> u64 {
            bits / 8
        }
    }

    ByteEach, "a_byte_for_each_code",
    "a byte is the smallest thing that can be stored",
    "formats pack the codes, and two codes of 4 bits share a byte",
    ["codes_are_counted_in_bytes", "bits_per_weight_count_all_that_is_stored"], {
        fn code_bits(&self, grid: Grid) -> u64 {
            u64::from(grid.bits()).max(8)
        }
    }

    NoScales, "scales_not_counted",
    "4-bit weights take 4 bits",
    "the scales are stored too, and a group of 128 with a scale of 16 bits adds an eighth of a bit",
    ["the_scales_are_stored_beside_the_codes", "a_scale_per_channel_is_one_for_each_row",
     "bits_per_weight_count_all_that_is_stored", "the_bytes_are_those_of_lab_05s_files",
     "the_bytes_are_those_that_llama_cpp_printed"], {
        fn shared<'a>(&self, _format: &'a Format) -> &'a [Shared] {
            &[]
        }
    }

    NoZeros, "zero_points_not_counted",
    "a format stores codes and scales",
    "an asymmetric format stores a zero point beside each scale",
    ["the_zero_points_are_stored_too", "the_bytes_are_those_of_lab_05s_files"], {
        fn shared<'a>(&self, format: &'a Format) -> &'a [Shared] {
            &format.shared[..format.shared.len().min(1)]
        }
    }

    WideScales, "every_scale_is_an_f32",
    "a scale is an f32",
    "each format names the bits of its scales, and many store 16 or 8",
    ["the_scales_are_stored_beside_the_codes", "the_zero_points_are_stored_too"], {
        fn shared_bits(&self, _shared: &Shared) -> u64 {
            32
        }
    }

    Columns, "a_channel_is_a_column",
    "a channel of a weight is one of its inputs",
    "a scale per channel is one for each output, which is a row of `[out_features, in_features]`",
    ["a_scale_per_channel_is_one_for_each_row"], {
        fn sharers(&self, out: u64, inputs: u64, among: Group) -> u64 {
            match among {
                Group::Channel => inputs,
                other => other.grid(out, inputs).map_or(0, |[rows, columns]| rows * columns),
            }
        }
    }

    OneRow, "groups_of_one_row",
    "`in_features / group_size` is the number of groups",
    "each of the `out_features` rows has that many groups",
    ["the_scales_are_stored_beside_the_codes", "bits_per_weight_count_all_that_is_stored"], {
        fn sharers(&self, out: u64, inputs: u64, among: Group) -> u64 {
            match among {
                Group::Size(size) => inputs / size,
                other => other.grid(out, inputs).map_or(0, |[rows, columns]| rows * columns),
            }
        }
    }

    WholeBlocks, "only_whole_blocks_have_scales",
    "a block at the edge is not one",
    "the weights of a cut block need a scale too, so 4.5 blocks are stored as 5",
    ["a_block_that_the_edge_cuts_off_has_a_scale_all_the_same"], {
        fn sharers(&self, out: u64, inputs: u64, among: Group) -> u64 {
            match among {
                Group::Block(rows, columns) => (out / rows) * (inputs / columns),
                other => other.grid(out, inputs).map_or(0, |[rows, columns]| rows * columns),
            }
        }
    }

    Ragged, "a_short_last_group_is_fine",
    "the last group of a row may be shorter",
    "no int4 format stores part of a group, so such a size must be refused",
    ["groups_that_do_not_tile_a_row_are_refused_with_both_numbers",
     "sizes_that_are_those_of_no_model_are_refused"], {
        fn check_matrix(&self, out: u64, inputs: u64, format: &Format) -> Cost<()> {
            match solution::matrix_bytes(out, inputs, format) {
                Err(CostError::Indivisible { .. }) => Ok(()),
                checked => checked.map(|_| ()),
            }
        }
    }

    NothingIsFine, "a_matrix_of_nothing_is_fine",
    "0 weights take 0 bytes, and that is a result",
    "a matrix without rows or columns is a mistake in the config, so it must be refused",
    ["a_matrix_of_nothing_and_one_of_too_much_are_refused"], {
        fn check_matrix(&self, out: u64, inputs: u64, format: &Format) -> Cost<()> {
            match solution::matrix_bytes(out, inputs, format) {
                Err(CostError::Zero(_)) => Ok(()),
                checked => checked.map(|_| ()),
            }
        }
    }

    BytesPerWeight, "bytes_per_weight",
    "bytes over weights are bits per weight",
    "bytes over weights are bytes per weight, and a byte has eight bits",
    ["bits_per_weight_count_all_that_is_stored"], {
        fn share(&self, bytes: u64, weights: u64) -> f64 {
            bytes as f64 / weights as f64
        }
    }

    OneLayer, "one_layer",
    "the matrices of a layer are the model",
    "every layer has its own seven matrices, so the bytes are multiplied by the layers",
    ["the_linear_layers_of_a_published_model_have_seven_matrices_each"], {
        fn layers(&self, _architecture: &Architecture) -> u64 {
            1
        }
    }

    NoGate, "an_mlp_of_two_matrices",
    "an MLP is one matrix up and one down",
    "the MLP of these models has a gate too, which is as large as the matrix up",
    ["the_linear_layers_of_a_published_model_have_seven_matrices_each",
     "a_tied_embedding_is_stored_once"], {
        fn matrices(&self, architecture: &Architecture) -> Vec<[u64; 2]> {
            let [q, k, v, o, _gate, up, down] = architecture.layer_matrices();
            vec![q, k, v, o, up, down]
        }
    }

    AllHeads, "kv_projections_as_wide_as_q",
    "key and value projections are square",
    "several query heads share a key-value head, so these projections have `kv_heads * head_dim` \
     outputs",
    ["the_linear_layers_of_a_published_model_have_seven_matrices_each"], {
        fn matrices(&self, architecture: &Architecture) -> Vec<[u64; 2]> {
            let [q, _, _, o, gate, up, down] = architecture.layer_matrices();
            vec![q, q, q, o, gate, up, down]
        }
    }

    QuantizedTable, "embedding_quantized_too",
    "a W4A16 model is 4-bit all over",
    "the embedding and the head stay in 16 bits in such checkpoints",
    ["the_embedding_the_head_and_the_norms_stay_in_16_bits",
     "the_bytes_are_those_of_lab_05s_files"], {
        fn table_format(&self, format: &ModelFormat) -> Format {
            format.linear.clone()
        }
    }

    TiedTwice, "tied_counted_twice",
    "a model has an embedding and a head",
    "a tied head is the embedding, so one matrix is stored",
    ["a_tied_embedding_is_stored_once", "the_bytes_are_those_that_llama_cpp_printed"], {
        fn stored_tables(&self, _architecture: &Architecture) -> u64 {
            2
        }
    }

    HeadForgotten, "untied_counted_once",
    "the head is always the embedding",
    "a model that is not tied stores the head as a second matrix",
    ["the_embedding_the_head_and_the_norms_stay_in_16_bits"], {
        fn stored_tables(&self, _architecture: &Architecture) -> u64 {
            1
        }
    }

    NoNorms, "norms_not_counted",
    "norms are too small to count",
    "norms and biases are in the file too, and the count of bytes is exact",
    ["the_embedding_the_head_and_the_norms_stay_in_16_bits", "a_tied_embedding_is_stored_once"], {
        fn vector_bytes(&self, _architecture: &Architecture, _format: &ModelFormat) -> u64 {
            0
        }
    }

    QuantizedNorms, "norms_quantized_too",
    "all weights have the format of the linear layers",
    "norms and biases stay in 16 bits, because only matrices are quantized",
    ["the_embedding_the_head_and_the_norms_stay_in_16_bits"], {
        fn vector_bytes(&self, architecture: &Architecture, format: &ModelFormat) -> u64 {
            architecture.vector_weights() * u64::from(format.linear.weights.bits()) / 8
        }
    }

    ReadsAll, "a_step_reads_the_whole_file",
    "decode reads every byte of the model",
    "of an embedding that is not tied, a step reads one row for each token",
    ["a_step_multiplies_with_the_head_and_only_looks_up_the_embedding",
     "weights_are_read_once_and_the_kv_cache_for_each_sequence"], {
        fn read_tables(&self, architecture: &Architecture) -> u64 {
            if architecture.tied { 1 } else { 2 }
        }
    }

    HeadLookedUp, "the_head_is_looked_up",
    "embedding and head are tables, and tables are looked up",
    "the head is a matrix product like the others, and a step reads all of the head",
    ["a_step_multiplies_with_the_head_and_only_looks_up_the_embedding"], {
        fn read_tables(&self, _architecture: &Architecture) -> u64 {
            0
        }
    }

    AnyModel, "any_sizes_are_a_model",
    "a config.json is always right",
    "sizes of 0 or heads that do not divide are no model, and `Architecture::check` refuses them",
    ["sizes_that_are_those_of_no_model_are_refused"], {
        fn check_model(&self, _architecture: &Architecture) -> Cost<()> {
            Ok(())
        }
    }

    OneOfTwo, "kv_without_the_two",
    "a token keeps one vector in each layer",
    "a token keeps a key and a value in each layer",
    ["a_token_keeps_a_key_and_a_value_for_each_kv_head_of_each_layer",
     "the_blocks_are_those_that_vllm_printed", "llama_cpps_kv_buffer_has_these_bytes"], {
        fn keys_and_values(&self) -> u64 {
            1
        }
    }

    QueryHeads, "heads_for_kv_heads",
    "every head keeps keys and values",
    "several query heads share a key-value head, which is cached once",
    ["a_token_keeps_a_key_and_a_value_for_each_kv_head_of_each_layer",
     "the_blocks_are_those_that_vllm_printed", "llama_cpps_kv_buffer_has_these_bytes"], {
        fn kv_heads(&self, architecture: &Architecture) -> u64 {
            architecture.heads
        }
    }

    OneLayersCache, "one_layers_cache",
    "the layers share a cache",
    "each layer has its own keys and values",
    ["a_token_keeps_a_key_and_a_value_for_each_kv_head_of_each_layer"], {
        fn kv_layers(&self, _architecture: &Architecture) -> u64 {
            1
        }
    }

    KvBits, "kv_in_bits",
    "numbers times bits are bytes",
    "a byte has eight bits, so the product is divided by 8",
    ["a_token_keeps_a_key_and_a_value_for_each_kv_head_of_each_layer"], {
        fn kv_bytes_of(&self, numbers: u64, kv: Grid) -> u64 {
            numbers * u64::from(kv.bits())
        }
    }

    KvSixteen, "the_cache_is_always_16_bits",
    "a number of the cache has two bytes",
    "the cache has a grid of its own, and a number in FP8 has one byte",
    ["a_token_keeps_a_key_and_a_value_for_each_kv_head_of_each_layer",
     "the_blocks_are_those_that_vllm_printed",
     "weights_are_read_once_and_the_kv_cache_for_each_sequence"], {
        fn kv_bytes_of(&self, numbers: u64, _kv: Grid) -> u64 {
            2 * numbers
        }
    }

    OfWhatIsLeft, "utilization_of_what_is_left",
    "the share is taken after the weights",
    "utilization is a share of the whole memory, from which the weights are then taken away",
    ["utilization_is_a_share_of_the_whole_memory"], {
        fn available(&self, memory: u64, utilization: f64, taken: u64) -> u64 {
            (memory.saturating_sub(taken) as f64 * utilization).ceil() as u64
        }
    }

    NoUtilization, "the_whole_memory",
    "an engine may use all of the device",
    "an engine requests the utilization's share of the memory and leaves the rest alone",
    ["utilization_is_a_share_of_the_whole_memory"], {
        fn available(&self, memory: u64, _utilization: f64, taken: u64) -> u64 {
            memory.saturating_sub(taken)
        }
    }

    Floor, "the_request_is_rounded_down",
    "part of a byte is none",
    "vLLM requests the ceiling of memory times utilization",
    ["utilization_is_a_share_of_the_whole_memory"], {
        fn available(&self, memory: u64, utilization: f64, taken: u64) -> u64 {
            ((memory as f64 * utilization) as u64).saturating_sub(taken)
        }
    }

    NoRoomIsZero, "no_room_is_a_cache_of_nothing",
    "too little memory is a cache of 0 bytes",
    "an engine without room for the weights does not start, so the result must be an error",
    ["an_engine_that_would_not_start_is_an_error"], {
        fn check_available(&self, memory: u64, utilization: f64, taken: u64) -> Cost<()> {
            match solution::kv_available_bytes(memory, utilization, taken) {
                Err(CostError::NoRoom { .. }) => Ok(()),
                checked => checked.map(|_| ()),
            }
        }
    }

    Percent, "utilization_may_be_anything",
    "92 is as good as 0.92",
    "utilization is a share, above 0 and at most 1, and any other number must be refused",
    ["an_engine_that_would_not_start_is_an_error"], {
        fn check_available(&self, memory: u64, utilization: f64, taken: u64) -> Cost<()> {
            match solution::kv_available_bytes(memory, utilization, taken) {
                Err(CostError::Utilization(_)) => Ok(()),
                checked => checked.map(|_| ()),
            }
        }
    }

    BlocksUp, "blocks_rounded_up",
    "the last block is cut to fit",
    "an engine allocates whole blocks, so part of a block is no block",
    ["the_blocks_are_those_that_vllm_printed", "room_for_nothing_is_refused"], {
        fn fit(&self, available: u64, block_tokens: u64, per_token: u64) -> u64 {
            available.div_ceil(block_tokens * per_token)
        }
    }

    TokensForBlocks, "tokens_for_blocks",
    "a block is a token",
    "a block holds `block_tokens` tokens, 16 in vLLM",
    ["the_blocks_are_those_that_vllm_printed"], {
        fn fit(&self, available: u64, _block_tokens: u64, per_token: u64) -> u64 {
            available / per_token
        }
    }

    EmptyBlocks, "empty_blocks_are_fine",
    "blocks of no tokens are no blocks",
    "a block of 0 tokens or 0 bytes would divide by 0, so it must be refused",
    ["room_for_nothing_is_refused"], {
        fn check_blocks(&self, _available: u64, _block_tokens: u64, _per_token: u64) -> Cost<()> {
            Ok(())
        }
        fn fit(&self, available: u64, block_tokens: u64, per_token: u64) -> u64 {
            available.checked_div(block_tokens.wrapping_mul(per_token)).unwrap_or(0)
        }
    }

    BlocksAreTokens, "blocks_are_tokens",
    "the engine's blocks are its tokens",
    "each block holds `block_tokens` tokens, so the number of blocks is multiplied by them",
    ["the_blocks_are_those_that_vllm_printed"], {
        fn tokens(&self, blocks: u64, _block_tokens: u64) -> u64 {
            blocks
        }
    }

    SharedBlocks, "sequences_share_a_block",
    "the room that one sequence leaves in a block another takes",
    "a sequence takes whole blocks, and the rest of its last block stays empty",
    ["a_sequence_takes_whole_blocks"], {
        fn at_once(&self, blocks: u64, block_tokens: u64, context: u64) -> f64 {
            (blocks * block_tokens) as f64 / context as f64
        }
    }

    CutSequence, "the_last_tokens_are_dropped",
    "17 tokens are one block of 16",
    "the 17th token needs a second block, so the number of blocks rounds up",
    ["a_sequence_takes_whole_blocks"], {
        fn at_once(&self, blocks: u64, block_tokens: u64, context: u64) -> f64 {
            blocks as f64 / (context / block_tokens).max(1) as f64
        }
    }

    WholeSequences, "whole_sequences_only",
    "concurrency is a whole number",
    "vLLM prints a fraction such as 22.75x, which says how much room is left",
    ["a_sequence_takes_whole_blocks", "the_blocks_are_those_that_vllm_printed"], {
        fn at_once(&self, blocks: u64, block_tokens: u64, context: u64) -> f64 {
            (blocks as f64 / context.div_ceil(block_tokens) as f64).floor()
        }
    }

    WeightsUnit, "w4a16_on_the_integer_unit",
    "integer weights multiply as integers",
    "a unit multiplies two operands of one kind, and the activations of W4A16 are in 16 bits",
    ["weights_alone_in_4_bits_multiply_at_the_16_bit_rate",
     "arithmetic_is_two_operations_for_each_weight_and_sequence"], {
        fn unit(&self, format: &Format) -> Format {
            let activations = match format.weights {
                Grid::Table(_) => format.activations,
                weights => weights,
            };
            Format { activations, ..format.clone() }
        }
    }

    Dequantized, "everything_is_dequantized_first",
    "codes are turned into floats before they multiply",
    "a kernel with two quantized operands multiplies the codes themselves, at the rate of their \
     unit",
    ["two_quantized_operands_multiply_at_the_rate_of_the_activations",
     "a_device_without_the_unit_is_an_error_and_not_a_guess"], {
        fn unit(&self, format: &Format) -> Format {
            let activations = match format.activations {
                Grid::F32 => Grid::F32,
                _ => Grid::Sixteen,
            };
            Format { activations, ..format.clone() }
        }
    }

    OneEightBit, "fp8_on_the_int8_unit",
    "8 bits are 8 bits",
    "FP8 and int8 multiply on different units, and an A100 has no unit for FP8",
    ["two_quantized_operands_multiply_at_the_rate_of_the_activations",
     "a_device_without_the_unit_is_an_error_and_not_a_guess"], {
        fn unit(&self, format: &Format) -> Format {
            let as_integer = |grid| if grid == Grid::E4M3 { Grid::Int(8) } else { grid };
            Format { activations: as_integer(format.activations), ..format.clone() }
        }
    }

    ActivationsOnly, "the_activations_alone_choose",
    "int8 activations multiply on the int8 unit",
    "weights in 16 bits cannot enter the int8 unit, so both grids choose the unit",
    ["two_quantized_operands_multiply_at_the_rate_of_the_activations"], {
        fn unit(&self, format: &Format) -> Format {
            Format { weights: format.activations, ..format.clone() }
        }
    }

    Guess, "falls_back_in_silence",
    "where a unit is missing the 16-bit one does it",
    "the fallback is another format, so a device without the unit must be an error",
    ["a_device_without_the_unit_is_an_error_and_not_a_guess",
     "decode_of_nothing_or_on_nothing_is_refused"], {
        fn operations_per_s(&self, device: &Device, format: &Format) -> Cost<f64> {
            match solution::operations_per_s(device, format) {
                Err(CostError::NoRate(_)) => solution::operations_per_s(device, &Format::BF16),
                rate => rate,
            }
        }
        fn check_decode(&self, served: &Served, device: &Device, batch: u64) -> Cost<()> {
            match solution::decode_roofline(served, device, batch, 0) {
                Err(CostError::NoRate(_)) => Ok(()),
                checked => checked.map(|_| ()),
            }
        }
    }

    Sum, "the_bounds_add_up",
    "first a step reads, then it multiplies",
    "memory and arithmetic work at the same time, so the longer of both bounds the time",
    ["a_step_takes_as_long_as_the_larger_bound", "tokens_per_second_are_those_of_all_sequences",
     "prefill_runs_at_the_length_of_the_prompt_over_the_larger_bound"], {
        fn shorter(&self, roofline: Roofline) -> f64 {
            roofline.memory_s + roofline.arithmetic_s
        }
    }

    Least, "the_smaller_bound",
    "the shortest time is the smaller of two",
    "both bounds must hold, so no step is shorter than the larger",
    ["a_step_takes_as_long_as_the_larger_bound"], {
        fn shorter(&self, roofline: Roofline) -> f64 {
            roofline.memory_s.min(roofline.arithmetic_s)
        }
    }

    NanTime, "f64_max_finds_the_nan",
    "the larger of NaN and 1 is NaN",
    "`f64::max` drops NaN, so a check has to look for NaN",
    ["a_step_takes_as_long_as_the_larger_bound"], {
        fn check_roofline(&self, _: Roofline) -> Cost<()> {
            Ok(())
        }
    }

    OneCache, "the_cache_is_read_once",
    "a batch shares its context",
    "each sequence reads a KV cache of its own",
    ["weights_are_read_once_and_the_kv_cache_for_each_sequence"], {
        fn step_bytes(&self, weights: f64, kv: f64, _batch: f64, context: f64) -> f64 {
            weights + context * kv
        }
    }

    WeightsEach, "weights_for_each_sequence",
    "every sequence reads the model",
    "a step reads the weights once for the whole batch, which is why batching pays",
    ["weights_are_read_once_and_the_kv_cache_for_each_sequence",
     "at_the_crossover_both_bounds_are_the_same"], {
        fn step_bytes(&self, weights: f64, kv: f64, batch: f64, context: f64) -> f64 {
            batch * (weights + context * kv)
        }
        fn meet(&self, weights_s: f64, kv_s: f64, token_s: f64) -> Option<f64> {
            Some((weights_s + kv_s) / token_s)
        }
    }

    NewToken, "only_the_new_token",
    "a step touches one token of the cache",
    "attention reads the keys and values of the whole context in each step",
    ["weights_are_read_once_and_the_kv_cache_for_each_sequence"], {
        fn step_bytes(&self, weights: f64, kv: f64, batch: f64, _context: f64) -> f64 {
            weights + batch * kv
        }
    }

    NoCache, "no_cache_is_read",
    "decode reads weights and nothing else",
    "attention reads the KV cache of every sequence in each step",
    ["weights_are_read_once_and_the_kv_cache_for_each_sequence",
     "a_long_context_keeps_decode_bound_by_memory_at_any_batch"], {
        fn step_bytes(&self, weights: f64, _kv: f64, _batch: f64, _context: f64) -> f64 {
            weights
        }
        fn meet(&self, weights_s: f64, _kv_s: f64, token_s: f64) -> Option<f64> {
            Some(weights_s / token_s)
        }
    }

    OneOperation, "a_multiply_add_is_one",
    "a multiply-add is one operation",
    "data sheets count the multiplication and the addition, so a weight costs two operations",
    ["arithmetic_is_two_operations_for_each_weight_and_sequence"], {
        fn per_weight(&self) -> f64 {
            1.0
        }
    }

    HeadUnit, "the_head_at_the_linear_rate",
    "the head is a linear layer like the others",
    "the head is not quantized, so it multiplies at the rate of its own format",
    ["arithmetic_is_two_operations_for_each_weight_and_sequence"], {
        fn head_format(&self, format: &ModelFormat) -> Format {
            format.linear.clone()
        }
    }

    NoHead, "the_head_does_not_multiply",
    "the model is its layers",
    "the logits are the product with the head, for each sequence of each step",
    ["arithmetic_is_two_operations_for_each_weight_and_sequence"], {
        fn multiplied_tables(&self, _architecture: &Architecture) -> u64 {
            0
        }
    }

    AllParameters, "two_per_parameter",
    "every parameter costs two operations",
    "the embedding is looked up and multiplies nothing",
    ["arithmetic_is_two_operations_for_each_weight_and_sequence"], {
        fn multiplied_tables(&self, architecture: &Architecture) -> u64 {
            if architecture.tied { 1 } else { 2 }
        }
    }

    BatchFree, "a_batch_multiplies_once",
    "what is read once is multiplied once",
    "each sequence multiplies with all weights, so the arithmetic grows with the batch",
    ["arithmetic_is_two_operations_for_each_weight_and_sequence"], {
        fn times_batch(&self, seconds: f64, _batch: f64) -> f64 {
            seconds
        }
    }

    OneSequence, "tokens_of_one_sequence",
    "a step makes a token",
    "a step makes one token for each sequence of the batch",
    ["tokens_per_second_are_those_of_all_sequences"], {
        fn step_tokens(&self, _batch: u64) -> f64 {
            1.0
        }
    }

    PromptReadsEach, "a_prompt_reads_for_each_token",
    "each token of a prompt reads the weights",
    "prefill reads the weights once for all tokens of the prompt",
    ["a_prompt_reads_the_weights_once_and_multiplies_them_for_each_token"], {
        fn prompt_reads(&self, served: &Served, tokens: f64) -> Cost<f64> {
            Ok(tokens * self.linear_bytes(&served.architecture, &served.format.linear)? as f64)
        }
    }

    PromptReadsAll, "a_prompt_reads_the_file",
    "prefill reads every byte of the model",
    "the bound counts the linear layers alone, because the head runs for the last token and the \
     embedding is looked up",
    ["a_prompt_reads_the_weights_once_and_multiplies_them_for_each_token"], {
        fn prompt_reads(&self, served: &Served, _tokens: f64) -> Cost<f64> {
            Ok(self.model_bytes(&served.architecture, &served.format)? as f64)
        }
    }

    PromptOnce, "a_prompt_multiplies_once",
    "weights that are read once are multiplied once",
    "every token of the prompt multiplies with all weights",
    ["a_prompt_reads_the_weights_once_and_multiplies_them_for_each_token"], {
        fn prompt_multiplies(&self, weights: f64, _tokens: f64) -> f64 {
            weights
        }
    }

    NoAttention, "attention_is_free",
    "all arithmetic is in the weights",
    "each pair of tokens that attend costs two products, which grow with the square of the prompt",
    ["a_prompt_reads_the_weights_once_and_multiplies_them_for_each_token",
     "attention_grows_with_the_square_of_the_prompt"], {
        fn per_pair(&self) -> f64 {
            0.0
        }
    }

    OneProduct, "attention_is_one_product",
    "attention is queries times keys",
    "the scores are multiplied with the values too, so attention is two products",
    ["attention_grows_with_the_square_of_the_prompt"], {
        fn per_pair(&self) -> f64 {
            2.0
        }
    }

    BothWays, "attention_looks_ahead",
    "every token attends to every token",
    "a token attends to itself and the tokens before it, which are n(n + 1) / 2 pairs",
    ["attention_grows_with_the_square_of_the_prompt"], {
        fn pairs(&self, tokens: f64) -> f64 {
            tokens * tokens
        }
    }

    KvHeadsMultiply, "kv_heads_multiply",
    "shared keys are multiplied once",
    "a shared key is read once and multiplied with the query of each head",
    ["attention_grows_with_the_square_of_the_prompt"], {
        fn multiplying_heads(&self, architecture: &Architecture) -> u64 {
            architecture.kv_heads
        }
    }

    QuantizedAttention, "attention_quantized_too",
    "a W8A8 model is int8 all over",
    "W8A8 quantizes the linear layers, and attention multiplies in 16 bits",
    ["a_prompt_reads_the_weights_once_and_multiplies_them_for_each_token"], {
        fn attention_format(&self, served: &Served) -> Format {
            served.format.linear.clone()
        }
    }

    Prompts, "prompts_for_tokens",
    "a prompt is one thing to do",
    "the rate counts tokens, and a prompt has many",
    ["prefill_runs_at_the_length_of_the_prompt_over_the_larger_bound"], {
        fn prompt_tokens(&self, _tokens: u64) -> f64 {
            1.0
        }
    }

    Negative, "a_negative_batch",
    "the formula has a value, so there is a crossover",
    "a negative batch means that the arithmetic never catches up with the reading of the cache",
    ["a_long_context_keeps_decode_bound_by_memory_at_any_batch"], {
        fn meet(&self, weights_s: f64, kv_s: f64, token_s: f64) -> Option<f64> {
            Some(weights_s / (token_s - kv_s))
        }
    }

    CacheOnce, "the_crossover_forgets_the_cache",
    "the crossover is bytes over operations",
    "each sequence reads a cache too, so reading grows with the batch as the arithmetic does",
    ["at_the_crossover_both_bounds_are_the_same",
     "a_long_context_keeps_decode_bound_by_memory_at_any_batch"], {
        fn meet(&self, weights_s: f64, _kv_s: f64, token_s: f64) -> Option<f64> {
            Some(weights_s / token_s)
        }
    }

    CacheCountedOnce, "the_crossover_reads_one_cache",
    "one sequence's cache is added to the weights",
    "the bytes of the cache grow with the batch, so they belong beside the arithmetic of a \
     sequence",
    ["at_the_crossover_both_bounds_are_the_same"], {
        fn meet(&self, weights_s: f64, kv_s: f64, token_s: f64) -> Option<f64> {
            (token_s > kv_s).then_some((weights_s + kv_s) / token_s)
        }
    }

    WholeBatch, "a_whole_batch",
    "a batch is a whole number",
    "the crossover is the point where both bounds are equal, and that point may lie between two \
     batches",
    ["at_the_crossover_both_bounds_are_the_same"], {
        fn meet(&self, weights_s: f64, kv_s: f64, token_s: f64) -> Option<f64> {
            (token_s > kv_s).then(|| (weights_s / (token_s - kv_s)).ceil())
        }
    }
}

answered! {
    fn bytes_from_gb(gigabytes: f64) -> Result<u64, CostError>;
    fn bytes_from_gib(gibibytes: f64) -> Result<u64, CostError>;
    fn matrix_bytes(out_features: u64, in_features: u64, format: &Format) -> Result<u64, CostError>;
    fn bits_per_weight(bytes: u64, weights: u64) -> Result<f64, CostError>;
    fn linear_bytes(architecture: &Architecture, format: &Format) -> Result<u64, CostError>;
    fn model_bytes(architecture: &Architecture, format: &ModelFormat) -> Result<u64, CostError>;
    fn step_weight_bytes(
        architecture: &Architecture,
        format: &ModelFormat,
    ) -> Result<u64, CostError>;
    fn kv_bytes_per_token(architecture: &Architecture, kv: Grid) -> Result<u64, CostError>;
    fn kv_available_bytes(
        memory_bytes: u64,
        utilization: f64,
        taken_bytes: u64,
    ) -> Result<u64, CostError>;
    fn kv_blocks(
        available_bytes: u64,
        block_tokens: u64,
        kv_bytes_per_token: u64,
    ) -> Result<u64, CostError>;
    fn kv_tokens(blocks: u64, block_tokens: u64) -> Result<u64, CostError>;
    fn concurrency(blocks: u64, block_tokens: u64, context_tokens: u64) -> Result<f64, CostError>;
    fn operations_per_s(device: &Device, format: &Format) -> Result<f64, CostError>;
    fn bound_s(roofline: Roofline) -> Result<f64, CostError>;
    fn decode_roofline(
        served: &Served,
        device: &Device,
        batch: u64,
        context_tokens: u64,
    ) -> Result<Roofline, CostError>;
    fn decode_tokens_per_s(
        served: &Served,
        device: &Device,
        batch: u64,
        context_tokens: u64,
    ) -> Result<f64, CostError>;
    fn prefill_roofline(
        served: &Served,
        device: &Device,
        prompt_tokens: u64,
    ) -> Result<Roofline, CostError>;
    fn prefill_tokens_per_s(
        served: &Served,
        device: &Device,
        prompt_tokens: u64,
    ) -> Result<f64, CostError>;
    fn crossover_batch(
        served: &Served,
        device: &Device,
        context_tokens: u64,
    ) -> Result<Option<f64>, CostError>;
}
