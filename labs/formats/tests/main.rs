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

/// Cargo finds tests by itself only where each file is a binary.
#[test]
fn no_file_of_tests_is_left_out() -> std::io::Result<()> {
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests"))? {
        let name = entry?.file_name().to_string_lossy().replace(".rs", "");
        let is_named = name == "main" || include_str!("main.rs").contains(&format!("mod {name};"));
        assert!(is_named, "add `mod {name};` to tests/main.rs");
    }
    Ok(())
}
