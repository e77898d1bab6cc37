//! Tables, computed by the labs. insta pins each under its name in `tests/snapshots`.

pub mod captured;
pub mod cards;
pub mod checkpoint;
pub mod cost_model;
pub mod dequantization;
pub mod engines;
pub mod grids;
pub mod lab_01;
pub mod lab_02;
pub mod lab_03;
pub mod lab_04;
pub mod lab_05;
pub mod layouts;
pub mod measured;
pub mod mental_model;
pub mod outliers;
pub mod real_activations;
pub mod rounding;
pub mod rules;
pub mod vllm_map;

use kit::Table;

use crate::Entry;

/// Every table that needs nothing but the labs.
pub const ALL: &[Entry<Table>] = &[
    Entry { name: "model_bytes", make: mental_model::model_bytes },
    Entry { name: "three_questions", make: mental_model::three_questions },
    Entry { name: "bits_ladder", make: mental_model::bits_ladder },
    Entry { name: "real_slice_contents", make: lab_01::real_slice_contents },
    Entry { name: "lab_01_outlier_row", make: lab_01::outlier_row },
    Entry { name: "lab_01_real_errors", make: lab_01::real_errors },
    Entry { name: "lab_01_layer_output", make: lab_01::layer_output },
    Entry { name: "lab_01_memory", make: lab_01::memory },
    Entry { name: "rounding_rules", make: rounding::rounding_rules },
    Entry { name: "rounding_ties", make: rounding::ties },
    Entry { name: "clip_rules", make: rounding::clip_rules },
    Entry { name: "zero_guards", make: rounding::zero_guards },
    Entry { name: "cost_weights", make: cost_model::weights },
    Entry { name: "cost_kv", make: cost_model::kv },
    Entry { name: "cost_capacity", make: cost_model::capacity },
    Entry { name: "cost_ceilings", make: cost_model::ceilings },
    Entry { name: "cost_contexts", make: cost_model::contexts },
    Entry { name: "published_ceilings", make: lab_02::published_ceilings },
    Entry { name: "published_batch_crossover", make: lab_02::published_batch_crossover },
    Entry { name: "published_asynchronous", make: lab_02::published_asynchronous },
    Entry { name: "lab_03_loud_column", make: lab_03::loud_column },
    Entry { name: "lab_03_real_errors", make: lab_03::real_errors },
    Entry { name: "group_size_trade", make: lab_03::group_size_trade },
    Entry { name: "lab_03_minus_eight", make: lab_03::minus_eight },
    Entry { name: "lab_03_misread", make: lab_03::misread },
    Entry { name: "layouts_conversion", make: layouts::conversion },
    Entry { name: "layouts_first_words", make: layouts::first_words },
    Entry { name: "rules_int4", make: rules::int4 },
    Entry { name: "rules_int4_measured", make: rules::int4_measured },
    Entry { name: "rules_control", make: rules::control },
    Entry { name: "rules_on_one_row", make: rules::on_one_row },
    Entry { name: "rules_quirks", make: rules::quirks },
    Entry { name: "rules_requantized", make: rules::requantized },
    Entry { name: "rules_int8", make: rules::int8 },
    Entry { name: "checkpoint_shapes", make: checkpoint::shapes },
    Entry { name: "checkpoint_inspected", make: checkpoint::inspected },
    Entry { name: "checkpoint_gptq_summary", make: checkpoint::gptq_summary },
    Entry { name: "checkpoint_gptq_modules", make: checkpoint::gptq_modules },
    Entry { name: "checkpoint_gptq_parts", make: checkpoint::gptq_parts },
    Entry { name: "checkpoint_gptq_verdict", make: checkpoint::gptq_verdict },
    Entry { name: "matvec_captured", make: dequantization::matvec_captured },
    Entry { name: "quantize_captured", make: dequantization::quantize_captured },
    Entry { name: "cpu_run", make: dequantization::cpu_run },
    Entry { name: "lab_04_cliff", make: lab_04::cliff },
    Entry { name: "lab_04_loud_token", make: lab_04::loud_token },
    Entry { name: "lab_04_migration", make: lab_04::migration },
    Entry { name: "lab_04_two_sides", make: lab_04::two_sides },
    Entry { name: "lab_04_other_road", make: lab_04::other_road },
    Entry { name: "real_outliers", make: real_activations::outliers },
    Entry { name: "real_w8a8_errors", make: real_activations::errors },
    Entry { name: "real_loud_channels", make: real_activations::kept_channels },
    Entry { name: "model_run", make: outliers::model_run },
    Entry { name: "model_loudest", make: outliers::model_loudest },
    Entry { name: "model_tokens", make: outliers::model_tokens },
    Entry { name: "model_layer_errors", make: outliers::model_layer_errors },
    Entry { name: "model_naive", make: outliers::model_naive },
    Entry { name: "model_smoothed", make: outliers::model_smoothed },
    Entry { name: "model_other_roads", make: outliers::model_other_roads },
    Entry { name: "model_weights_or_both", make: outliers::model_weights_or_both },
    Entry { name: "lab_05_plan", make: lab_05::plan },
    Entry { name: "lab_05_parts", make: lab_05::one_matrix },
    Entry { name: "lab_05_bytes", make: lab_05::bytes },
    Entry { name: "engines_folders", make: engines::folders },
    Entry { name: "engines_gguf", make: engines::gguf },
    Entry { name: "engines_seven_bits", make: engines::seven_bits },
    Entry { name: "engines_answers", make: engines::answers },
    Entry { name: "engines_vllm_read", make: engines::vllm_read },
    Entry { name: "engines_vllm_cache", make: engines::vllm_cache },
    Entry { name: "engines_avx512", make: engines::avx512 },
    Entry { name: "engines_runs", make: engines::runs },
    Entry { name: "measured_capacity_ours", make: measured::capacity_ours },
    Entry { name: "measured_capacity_vllm", make: measured::capacity_vllm },
    Entry { name: "measured_capacity_llama_cpp", make: measured::capacity_llama_cpp },
    Entry { name: "measured_throughput_ours", make: measured::throughput_ours },
    Entry { name: "measured_throughput_vllm", make: measured::throughput_vllm },
    Entry { name: "measured_throughput_llama_cpp", make: measured::throughput_llama_cpp },
    Entry { name: "measured_sanity_ours", make: measured::sanity_ours },
    Entry { name: "measured_sanity_vllm", make: measured::sanity_vllm },
    Entry { name: "measured_sanity_llama_cpp", make: measured::sanity_llama_cpp },
    Entry { name: "measured_ceilings", make: measured::ceilings },
    Entry { name: "choose_crossing", make: measured::crossing },
    Entry { name: "measured_runs", make: measured::runs },
    Entry { name: "published_collapse", make: outliers::published_collapse },
    Entry { name: "published_emergence", make: outliers::published_emergence },
    Entry { name: "published_smoothed_llama", make: outliers::published_smoothed_llama },
    Entry { name: "card_strings", make: cards::strings },
    Entry { name: "card_open", make: cards::open },
    Entry { name: "card_contradictions", make: cards::contradictions },
    Entry { name: "published_recovery", make: outliers::published_recovery },
    Entry { name: "vllm_methods", make: vllm_map::methods },
    Entry { name: "vllm_process", make: vllm_map::process },
    Entry { name: "vllm_apply", make: vllm_map::apply },
    Entry { name: "vllm_integer_weights", make: vllm_map::integer_weights },
    Entry { name: "vllm_integer_both", make: vllm_map::integer_both },
    Entry { name: "vllm_fp8", make: vllm_map::fp8 },
    Entry { name: "vllm_fp4", make: vllm_map::fp4 },
    Entry { name: "vllm_configured", make: vllm_map::configured },
    Entry { name: "vllm_parts", make: vllm_map::parts },
    Entry { name: "vllm_experts", make: vllm_map::experts },
    Entry { name: "vllm_kv_cache", make: vllm_map::kv_cache },
    Entry { name: "vllm_files_top", make: vllm_map::files_top },
    Entry { name: "vllm_files_compressed_tensors", make: vllm_map::files_compressed_tensors },
    Entry { name: "vllm_files_inc", make: vllm_map::files_inc },
    Entry { name: "vllm_files_quark", make: vllm_map::files_quark },
    Entry { name: "vllm_files_online", make: vllm_map::files_online },
    Entry { name: "vllm_files_utils", make: vllm_map::files_utils },
    Entry { name: "vllm_elsewhere", make: vllm_map::elsewhere },
];

/// The tables there are now: those above, and those of captures if there are captures.
pub fn available() -> impl Iterator<Item = &'static Entry<Table>> {
    ALL.iter().chain(captured::available())
}
