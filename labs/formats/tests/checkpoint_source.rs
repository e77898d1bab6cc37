//! Paths: files, folders, shards, and what people give by mistake.

use std::fs;
use std::path::Path;

use formats::checkpoint::{golden, inspect, inspection_report};

use crate::made_up_checkpoint::safetensors;

fn error_of(path: impl AsRef<Path>) -> String {
    inspect(path).map(drop).expect_err("no checkpoint was missed").to_string()
}

/// A file of one byte of data.
fn tiny(name: &str) -> Vec<u8> {
    safetensors(&format!("{name} U8 1"))
}

#[test]
fn a_path_that_is_not_there_is_named() {
    let error = error_of("no/such/model.safetensors");
    assert!(error.contains("no/such/model.safetensors"), "{error}");
}

#[test]
fn a_folder_without_a_checkpoint_or_with_several_says_so() -> std::io::Result<()> {
    let folder = tempfile::tempdir()?;
    assert!(error_of(folder.path()).contains("no .safetensors, no .gguf and no model.safetensors"));
    fs::write(folder.path().join("a.safetensors"), tiny("a"))?;
    assert!(inspect(folder.path()).is_ok());
    fs::write(folder.path().join("b.safetensors"), tiny("b"))?;
    let error = error_of(folder.path());
    assert!(error.contains("give one of") && error.contains("b.safetensors"), "{error}");
    Ok(())
}

#[test]
fn an_error_inside_a_file_names_the_file() -> std::io::Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("model.safetensors");
    fs::write(&path, &tiny("a")[..20])?;
    let error = error_of(folder.path());
    assert!(error.contains("model.safetensors: the file is cut short"), "{error}");
    fs::write(folder.path().join("config.json"), "{")?;
    fs::write(&path, tiny("a"))?;
    let error = error_of(folder.path());
    assert!(error.contains("config.json: not valid JSON"), "{error}");
    Ok(())
}

/// A part of a GGUF model: one tensor, and the number of the part from 0.
fn gguf_part(number: u32, count: u32) -> Vec<u8> {
    let metadata = [("split.no", number), ("split.count", count)];
    let metadata = metadata.map(|(key, value)| (key.to_owned(), value.into())).into();
    let name = format!("blk.{number}.attn_q.weight");
    let tensor = (name.as_str(), formats::gguf::TensorType::Q4_0, &[4, 64][..]);
    let layout = formats::gguf::layout(&metadata, &[tensor]).expect("Q4_0 has a block");
    let mut bytes = layout.header;
    bytes.resize(layout.bytes as usize, 0);
    bytes
}

#[test]
fn the_parts_of_a_gguf_model_are_found_and_missing_ones_named() -> std::io::Result<()> {
    let folder = tempfile::tempdir()?;
    let part = |number: u32| folder.path().join(format!("m-{:05}-of-00003.gguf", number + 1));
    for number in [0, 2] {
        fs::write(part(number), gguf_part(number, 3))?;
    }
    let read = |path: &Path| inspect(path).map_err(std::io::Error::other);
    let found = read(folder.path())?;
    assert_eq!((found.files.len(), found.inventory.quantized.len()), (2, 2));
    let verdict = inspection_report::verdict(&found).join("\n");
    assert!(verdict.contains("part 1, 3 of 3 of a GGUF model in several files"), "{verdict}");
    assert_eq!(found.problems, []);

    fs::write(part(1), gguf_part(1, 3))?;
    fs::write(folder.path().join("other-00001-of-00003.gguf"), gguf_part(0, 3))?;
    let found = read(&part(2))?;
    assert_eq!((found.files.len(), found.inventory.quantized.len()), (3, 3));
    assert!(!inspection_report::verdict(&found).join("\n").contains("several files"));
    // Under another name a part says what it is.
    fs::write(folder.path().join("renamed.gguf"), gguf_part(0, 3))?;
    let verdict = inspection_report::verdict(&read(&folder.path().join("renamed.gguf"))?);
    assert!(verdict.join("\n").contains("part 1 of 3"), "{verdict:?}");
    Ok(())
}

#[test]
fn shards_are_read_together_and_held_to_their_index() -> std::io::Result<()> {
    let folder = tempfile::tempdir()?;
    let index = folder.path().join("model.safetensors.index.json");
    for name in ["a", "b"] {
        fs::write(folder.path().join(format!("{name}.safetensors")), tiny(name))?;
    }
    fs::write(&index, r#"{"weight_map":{"a":"a.safetensors","b":"b.safetensors"}}"#)?;
    let found = inspect(folder.path()).map_err(std::io::Error::other)?;
    assert_eq!((found.files.len(), found.inventory.plain.len()), (2, 2));
    assert_eq!(found.problems, []);

    fs::write(&index, r#"{"weight_map":{"a":"a.safetensors","c":"b.safetensors"}}"#)?;
    let found = inspect(&index).map_err(std::io::Error::other)?;
    let problems: Vec<String> = found.problems.iter().map(ToString::to_string).collect();
    assert!(problems[0].starts_with("c: it is not in b.safetensors"), "{problems:?}");
    assert!(problems[1].starts_with("b: it is in b.safetensors"), "{problems:?}");
    Ok(())
}

#[test]
fn an_index_cannot_lead_out_of_its_folder() -> std::io::Result<()> {
    let folder = tempfile::tempdir()?;
    let index = folder.path().join("model.safetensors.index.json");
    for shard in ["../a.safetensors", "/etc/passwd", "..", "", "c:a"] {
        let json = serde_json::json!({ "weight_map": { "a": shard } });
        fs::write(&index, json.to_string())?;
        assert!(error_of(&index).contains("no name of a file here"), "{shard}");
    }
    fs::write(&index, "{}")?;
    assert!(error_of(&index).contains("without a weight_map"));
    Ok(())
}

#[test]
fn a_file_is_known_by_its_bytes_and_not_by_its_name() -> std::io::Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("model.safetensors");
    fs::copy(golden::path("tiny.gguf"), &path)?;
    let found = inspect(&path).map_err(std::io::Error::other)?;
    assert_eq!(found.inventory.quantized.len(), 4);
    Ok(())
}
