//! The integration tests in one binary, because a binary for each file would link the same crates.

mod bitsandbytes;
mod card_configs;
mod card_strings;
mod card_words;
mod checkpoint_configs;
mod checkpoint_golden;
mod checkpoint_header;
mod checkpoint_layouts;
mod checkpoint_shapes;
mod checkpoint_source;
mod dequantize;
mod float4;
mod float8;
mod gguf_damage;
mod gguf_golden;
mod hex;
mod k_quants;
mod layouts_field_notes;
mod layouts_golden;
mod layouts_properties;
mod made_up_checkpoint;
mod made_up_file;
mod microscaling;
mod model_sizes;
mod rules_golden;
mod text_table;
