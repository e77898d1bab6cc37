//! Tables, computed by the labs. insta pins each under its name in `tests/snapshots`.

pub mod captured;
mod cards;
pub mod checkpoint;
pub mod cost_model;
pub mod dequantization;
mod engines;
pub mod gptq;
mod grids;
mod k_quants;
pub mod kv_cache;
pub mod lab_01;
pub mod lab_03;
pub mod lab_04;
mod lab_05;
pub mod lab_06;
pub mod lab_07;
pub mod lab_08;
pub mod lab_09;
pub mod lab_10;
mod layouts;
pub mod measured;
mod mental_model;
mod methods;
pub mod outliers;
mod own_memory;
pub mod real_activations;
pub mod rotations_model;
pub mod rounding;
pub mod rules;
pub mod two_moves;
pub mod vllm_map;
pub mod zoo;

use std::sync::LazyLock;

use anyhow::Result;
use kit::Table;

use crate::inputs::{
    AVX512, AWQ, AWQ_SERVED, CACHES, CPU, FLOATS_IN_GGUF, FLOATS_SERVED, GOLDEN, GPTQ, GPTQ_SERVED,
    GPTQ_SPEED, GPTQ_W8A8, GPU, GRIDS, HESSIANS, IN_TURN, K_QUANTS, K_QUANTS_SPEED, KV,
    KV_LLAMA_CPP, KV_OURS, KV_VLLM, LAYERS, METERS, MODEL, OWN_MEMORY, ROTATIONS, ROTATIONS_SERVED,
    ROUNDING, SERVED, SEVEN_BITS, SLICE, VLLM_MAP, ZOO,
};
use crate::{Embed, Entry, published};

/// Every table of the book.
pub static ALL: LazyLock<Vec<Entry<Table>>> = LazyLock::new(|| {
    let mut all = vec![
        Entry::computed("model_bytes", mental_model::model_bytes),
        Entry::computed("three_questions", mental_model::three_questions),
        Entry::of("bits_ladder", &SLICE, mental_model::bits_ladder),
        Entry::of("real_slice_contents", &SLICE, lab_01::real_slice_contents),
        Entry::computed("lab_01_outlier_row", lab_01::outlier_row),
        Entry::of("lab_01_real_errors", &SLICE, lab_01::real_errors),
        Entry::of("lab_01_layer_output", &SLICE, lab_01::layer_output),
        Entry::of("lab_01_memory", &SLICE, lab_01::memory),
        Entry::of("rounding_rules", &SLICE, rounding::rounding_rules),
        Entry::computed("rounding_ties", rounding::ties),
        Entry::of("clip_rules", &SLICE, rounding::clip_rules),
        Entry::of("zero_guards", &SLICE, rounding::zero_guards),
        Entry::computed("cost_matrices", cost_model::matrices),
        Entry::computed("cost_weights", cost_model::weights),
        Entry::computed("cost_kv", cost_model::kv),
        Entry::of("own_memory", &OWN_MEMORY, |of| own_memory::own_memory(of)),
        Entry::computed("cost_capacity", cost_model::capacity),
        Entry::computed("cost_bounds", cost_model::bounds),
        Entry::computed("cost_crossovers", cost_model::crossovers),
        Entry::computed("cost_contexts", cost_model::contexts),
        Entry::computed("published_rates", published::peaks),
        Entry::computed("lab_03_outlier_column", lab_03::outlier_column),
        Entry::of("lab_03_real_errors", &SLICE, lab_03::real_errors),
        Entry::of("group_size_trade", &SLICE, lab_03::group_size_trade),
        Entry::of("lab_03_minus_eight", &SLICE, lab_03::minus_eight),
        Entry::of("lab_03_search", &SLICE, lab_03::search),
        Entry::of("lab_03_misread", &SLICE, lab_03::misread),
        Entry::of("layouts_conversion", &SLICE, layouts::conversion),
        Entry::of("layouts_first_words", &SLICE, layouts::first_words),
        Entry::computed("rules_int4", rules::int4),
        Entry::of("rules_int4_measured", &SLICE, rules::int4_measured),
        Entry::of("rules_control", &SLICE, rules::control),
        Entry::computed("rules_on_one_row", rules::on_one_row),
        Entry::computed("rules_quirks", rules::quirks),
        Entry::of("rules_requantized", &SLICE, rules::requantized),
        Entry::of("rules_int8", &SLICE, rules::int8),
        Entry::computed("checkpoint_shapes", checkpoint::shapes),
        Entry::of("checkpoint_inspected", &GOLDEN, checkpoint::inspected),
        Entry::of("checkpoint_gptq_summary", &GOLDEN, checkpoint::gptq_summary),
        Entry::of("checkpoint_gptq_modules", &GOLDEN, checkpoint::gptq_modules),
        Entry::of("checkpoint_gptq_parts", &GOLDEN, checkpoint::gptq_parts),
        Entry::of("checkpoint_gptq_verdict", &GOLDEN, checkpoint::gptq_verdict),
        Entry::of("matvec_captured", &CPU, dequantization::products),
        Entry::of("quantize_captured", &CPU, dequantization::quantizing),
        Entry::of("cpu_run", &CPU, dequantization::run),
        Entry::computed("lab_04_cliff", lab_04::cliff),
        Entry::computed("lab_04_outlier_token", lab_04::outlier_token),
        Entry::computed("lab_04_migration", lab_04::migration),
        Entry::computed("lab_04_two_sides", lab_04::two_sides),
        Entry::computed("lab_04_other_road", lab_04::other_road),
        Entry::of("real_w8a8_errors", &LAYERS, real_activations::errors),
        Entry::of("real_kept_channels", &LAYERS, real_activations::kept_channels),
        Entry::of("model_run", &MODEL, outliers::run),
        Entry::of("model_largest_channels", &MODEL, outliers::largest_channels),
        Entry::of("model_tokens", &MODEL, outliers::tokens),
        Entry::of("model_layer_errors", &MODEL, outliers::layer_errors),
        Entry::of("model_naive", &MODEL, outliers::naive),
        Entry::of("model_smoothed", &MODEL, outliers::smoothed),
        Entry::of("model_other_roads", &MODEL, outliers::other_roads),
        Entry::of("model_weights_or_both", &MODEL, outliers::weights_or_both),
        Entry::computed("lab_05_plan", lab_05::plan),
        Entry::computed("lab_05_parts", lab_05::one_matrix),
        Entry::computed("lab_05_bytes", lab_05::bytes),
        Entry::computed("two_moves_correlations", two_moves::correlations),
        Entry::computed("lab_06_choices", lab_06::choices),
        Entry::of("lab_06_predicted", &LAYERS, lab_06::predicted),
        Entry::of("calibration_seen", &LAYERS, lab_06::seen),
        Entry::of("lab_07_one_percent", &LAYERS, lab_07::one_percent),
        Entry::of("lab_07_search", &LAYERS, lab_07::search),
        Entry::of("lab_07_with_feedback", &HESSIANS, lab_07::with_feedback),
        Entry::of("awq_one_percent", &AWQ, methods::one_percent),
        Entry::of("methods", &AWQ, methods::methods),
        Entry::of("methods_layouts", &AWQ, methods::layouts),
        Entry::of("lab_05_roundings", &ROUNDING, |of| {
            engines::roundings(of, "W4A16 in groups of 64")
        }),
        Entry::of("lab_06_w8a8", &GPTQ_W8A8, |of| engines::roundings(of, "W8A8")),
        Entry::of("lab_06_served", &GPTQ_SERVED, |of| engines::folders_of("GPTQ", of)),
        Entry::of("lab_07_served", &AWQ_SERVED, |of| engines::folders_of("AWQ", of)),
        Entry::of("lab_08_served", &FLOATS_SERVED, |of| engines::float_folders(of)),
        Entry::of("lab_08_gguf", &FLOATS_IN_GGUF, |of| engines::float_gguf(of)),
        Entry::of("engines_folders", &SERVED, engines::folders),
        Entry::of("engines_gguf", &SERVED, engines::gguf),
        Entry::of("engines_seven_bits", (&SERVED, &SEVEN_BITS), engines::seven_bits),
        Entry::of("engines_answers", &SERVED, engines::answers),
        Entry::of("engines_vllm_read", &SERVED, engines::vllm_read),
        Entry::of("engines_vllm_cache", &SERVED, engines::vllm_cache),
        Entry::of("engines_avx512", (&SERVED, &AVX512), engines::avx512),
        Entry::of("engines_runs", (&SERVED, &AVX512), engines::runs),
        Entry::of("measured_capacity_ours", &METERS, |of| measured::capacity(&of.ours)),
        Entry::of("measured_capacity_vllm", &METERS, |of| measured::capacity(&of.vllm)),
        Entry::of("measured_capacity_llama_cpp", &METERS, |of| measured::capacity(&of.llama_cpp)),
        Entry::of("measured_throughput_ours", &METERS, |of| measured::throughput(&of.ours)),
        Entry::of("measured_throughput_vllm", &METERS, |of| measured::throughput(&of.vllm)),
        Entry::of("measured_throughput_llama_cpp", &METERS, |of| {
            measured::throughput(&of.llama_cpp)
        }),
        Entry::of("measured_sanity_ours", &METERS, |of| measured::quality(&of.ours)),
        Entry::of("measured_sanity_vllm", &METERS, |of| measured::quality(&of.vllm)),
        Entry::of("measured_sanity_llama_cpp", &METERS, |of| measured::quality(&of.llama_cpp)),
        Entry::of("measured_rates", &METERS, measured::peaks),
        Entry::of("measured_in_turn", &IN_TURN, measured::in_turn),
        Entry::of("measured_in_turn_rates", &IN_TURN, measured::peaks),
        Entry::of("measured_in_turn_runs", &IN_TURN, measured::runs),
        Entry::of("choose_crossing", (&METERS, &GPU), measured::crossing),
        Entry::of("measured_runs", &METERS, measured::runs),
        Entry::of("gpu_runs", &GPU, captured::runs),
        Entry::of("gpu_rates", &GPU, captured::peaks),
        Entry::of("gpu_gains", &GPU, captured::gains),
        Entry::of("gpu_throughput", &GPU, captured::throughput),
        Entry::of("gpu_capacity", &GPU, captured::capacity),
        Entry::of("gpu_sanity", &GPU, captured::output_checks),
        Entry::of("gpu_readings", &GPU, captured::readings),
        Entry::computed("lab_08_grids", lab_08::grids),
        Entry::computed("lab_08_exponents", lab_08::exponents),
        Entry::computed("lab_08_rules_on_normal", lab_08::rules_on_normal),
        Entry::computed("lab_08_underflow", lab_08::underflow),
        Entry::of("lab_08_comparison", (&SLICE, &GRIDS), |(slice, model)| {
            lab_08::comparison(slice, model)
        }),
        Entry::of("lab_08_each_matrix", &SLICE, lab_08::each_matrix),
        Entry::of("lab_08_model", &GRIDS, lab_08::model),
        Entry::of("lab_08_feedback", &GRIDS, lab_08::feedback),
        Entry::computed("lab_08_thirds", lab_08::thirds),
        Entry::of("lab_08_block_shapes", &SLICE, lab_08::block_shapes),
        Entry::of("lab_09_spread", &CACHES, lab_09::spread),
        Entry::of("lab_09_granularity", &CACHES, lab_09::granularity),
        Entry::of("lab_09_rope", &CACHES, lab_09::rope),
        Entry::of("lab_09_formats", &CACHES, lab_09::formats),
        Entry::computed("lab_09_bytes", lab_09::bytes),
        Entry::computed("lab_09_window", lab_09::window),
        Entry::computed("lab_10_orders", lab_10::orders),
        Entry::computed("lab_10_exactness", lab_10::exactness),
        Entry::of("lab_10_flat", &LAYERS, lab_10::flat),
        Entry::of("lab_10_eight_bits", &LAYERS, lab_10::eight_bits),
        Entry::of("lab_10_four_bits", &LAYERS, lab_10::four_bits),
        Entry::of("lab_10_seeds", &LAYERS, lab_10::seeds),
        Entry::of("lab_10_keys", &CACHES, lab_10::keys),
        Entry::of("rotations_perplexity", &ROTATIONS, rotations_model::perplexity),
        Entry::of("rotations_divergence", &ROTATIONS, rotations_model::divergence),
        Entry::of("rotations_massive", &ROTATIONS, rotations_model::massive),
        Entry::of("rotations_noise", &ROTATIONS, rotations_model::noise),
        Entry::of("rotations_seeds", &ROTATIONS, rotations_model::seeds),
        Entry::of("rotations_draws", &ROTATIONS, rotations_model::draws),
        Entry::of("rotations_speed", &ROTATIONS, rotations_model::speed),
        Entry::of("rotations_caches", &ROTATIONS, rotations_model::caches),
        Entry::of("rotations_served", &ROTATIONS_SERVED, |of| rotations_model::served(of)),
        Entry::of("zoo_best", &ZOO, zoo::best),
        Entry::of("zoo_methods", &ZOO, zoo::methods),
        Entry::of("zoo_two_moves", &ZOO, zoo::two_moves),
        Entry::of("zoo_against", &ZOO, zoo::against),
        Entry::of("zoo_activations", &ZOO, zoo::activations),
        Entry::of("zoo_files", &ZOO, zoo::files),
        Entry::of("kv_quality", &KV, kv_cache::quality),
        Entry::of("kv_decode", &KV, kv_cache::decode),
        Entry::of("kv_found_again", &KV, kv_cache::found_again),
        Entry::of("kv_scales", &KV_OURS, |of| {
            kv_cache::of_engine(
                "This course's model with an FP8 cache: the scales are 1, or calibrated",
                of,
            )
        }),
        Entry::of("kv_llama_cpp", &KV_LLAMA_CPP, |of| {
            kv_cache::of_engine("llama.cpp, by the name given to -ctk and -ctv", of)
        }),
        Entry::of("kv_vllm", &KV_VLLM, |of| {
            kv_cache::of_engine("vLLM on the processor, by the name given to --kv-cache-dtype", of)
        }),
        Entry::computed("k_quants_types", k_quants::types),
        Entry::computed("k_quants_search", k_quants::search),
        Entry::of("k_quants_importance", &LAYERS, k_quants::importance),
        Entry::computed("k_quants_file", k_quants::file),
        Entry::computed("k_quants_models", k_quants::models),
        Entry::of("k_quants_speed", &K_QUANTS_SPEED, |of| Ok(k_quants::speed(of))),
        Entry::of("k_quants_quality", &K_QUANTS, k_quants::quality),
        Entry::of("kv_room", &KV_VLLM, |of| kv_cache::room(of)),
        Entry::computed("card_strings", cards::strings),
        Entry::computed("card_open", cards::open),
        Entry::computed("card_contradictions", cards::contradictions),
    ];
    all.push(Entry::of("gptq_others", &GPTQ_SPEED, |of| Ok(gptq::others(of))));
    all.extend(gptq::QUESTIONS.map(|(name, question, title)| {
        Entry::of(name, &GPTQ, move |of| Ok(gptq::question(of, question, title)))
    }));
    all.extend(transcribed().map(Entry::transcribed));
    all
});

/// Tables of typed constants and of hand-written JSON, with a source for each row.
fn transcribed() -> impl Iterator<Item = Entry<Table>> {
    let published = published::ALL.into_iter();
    let published = published.map(|table| Entry::computed(table.name, move || Ok(table.table())));
    let families = vllm_map::FAMILIES.into_iter().map(|family| {
        Entry::of(family.table, &VLLM_MAP, move |map| vllm_map::family(map, &family))
    });
    let folders = vllm_map::FOLDERS
        .into_iter()
        .map(|folder| Entry::of(folder.table, &VLLM_MAP, move |map| vllm_map::files(map, &folder)));
    let lists = [
        Entry::of("vllm_methods", &VLLM_MAP, vllm_map::methods),
        Entry::of("vllm_process", &VLLM_MAP, vllm_map::process),
        Entry::of("vllm_apply", &VLLM_MAP, vllm_map::apply),
        Entry::of("vllm_parts", &VLLM_MAP, vllm_map::parts),
        Entry::of("vllm_elsewhere", &VLLM_MAP, vllm_map::elsewhere),
    ];
    published.chain(lists).chain(families).chain(folders)
}

impl Embed for Table {
    fn embed(&self, name: &str) -> Result<String> {
        Ok(format!(
            "\n<p class=\"table-title\" id=\"table-{name}\" \
             data-snippet=\"table {name}\">{}</p>\n\n{}",
            self.title(),
            literal(&self.to_markdown())
        ))
    }
}

/// A Markdown table whose cells keep their quotes and hyphens. A cell is data: mdBook's smart punctuation
/// would make a dash of `--budget`, and an opening quote of the one that ends a generated text.
fn literal(table: &str) -> String {
    let lines = table.lines().map(|line| match line.starts_with("|-") {
        true => line.to_owned(),
        false => {
            let parts = line.split('`').enumerate().map(|(part, text)| match part % 2 {
                0 => text.replace('"', "\\\"").replace("--", "\\-\\-"),
                _ => text.to_owned(),
            });
            parts.collect::<Vec<_>>().join("`")
        }
    });
    lines.fold(String::new(), |text, line| text + &line + "\n")
}

#[cfg(test)]
mod tests {
    use super::literal;

    #[test]
    fn quotes_and_hyphens_of_cells_are_kept_and_code_and_the_line_of_alignments_are_not_touched() {
        let table = "| a --b | \" c\" | `--d \"e\"` |\n|-------|------|-------:|\n";
        let kept = r#"| a \-\-b | \" c\" | `--d "e"` |"#;
        assert_eq!(literal(table), format!("{kept}\n|-------|------|-------:|\n"));
    }
}
