//! Paths in the repository.

use std::path::{Path, PathBuf};

/// The root of the repository that this program was built in.
pub fn root() -> &'static Path {
    let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    crate_folder.ancestors().nth(2).unwrap_or(crate_folder)
}

/// A path under the root's `target`, which holds all files that are generated and not committed.
pub fn target(place: &str) -> PathBuf {
    root().join("target").join(place)
}

/// Where `cargo book fetch` puts SmolLM2-135M-Instruct.
pub fn fetched_model() -> PathBuf {
    target("model/SmolLM2-135M-Instruct.Q4_1.gguf")
}
