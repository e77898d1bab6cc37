//! Tiny checkpoints that other people's tools wrote; `golden/make_checkpoints.py` has the commands.

use std::path::{Path, PathBuf};

/// The folder they lie in.
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/golden/checkpoints");

/// Each with the tool that wrote it: a folder with a config, or a GGUF file.
pub const ALL: [(&str, &str); 9] = [
    ("autoawq", "AutoAWQ 0.2.9"),
    ("autogptq", "auto-gptq 0.7.1"),
    ("ct-w4-symmetric", "compressed-tensors 0.20.0"),
    ("ct-w4-asymmetric", "compressed-tensors 0.20.0"),
    ("ct-w8a8", "compressed-tensors 0.20.0"),
    ("ct-fp8-channel", "compressed-tensors 0.20.0"),
    ("ct-fp8-block", "compressed-tensors 0.20.0"),
    ("ct-nvfp4", "compressed-tensors 0.20.0"),
    ("tiny.gguf", "gguf 0.19.0"),
];

/// Where the one with this name lies.
pub fn path(name: &str) -> PathBuf {
    Path::new(FOLDER).join(name)
}

/// Every file of all of them.
pub fn files() -> Vec<PathBuf> {
    let files = |(name, _): (&str, &str)| match name.ends_with(".gguf") {
        true => vec![path(name)],
        false => vec![path(name).join("model.safetensors"), path(name).join("config.json")],
    };
    ALL.into_iter().flat_map(files).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_there_and_small() -> std::io::Result<()> {
        let mut total = 0;
        for file in files() {
            let bytes = file.metadata()?.len();
            assert!(bytes < 40_000, "{}: {bytes} bytes", file.display());
            total += bytes;
        }
        assert!(total < 300_000, "{total} bytes together");
        Ok(())
    }
}
