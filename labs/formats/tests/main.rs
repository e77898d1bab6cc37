//! The integration tests in one binary: one a file would link the same crates in each.

mod card_configs;
mod card_strings;
mod checkpoint_golden;
mod checkpoint_header;
mod checkpoint_shapes;
mod checkpoint_source;
mod float8;
mod gguf_damage;
mod gguf_golden;
mod layouts_field_notes;
mod layouts_golden;
mod layouts_properties;
mod rules_golden;
