//! Where things lie in the repository.

use std::path::{Path, PathBuf};

/// The root of the repository that this program was built in.
pub fn root() -> &'static Path {
    let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    crate_folder.ancestors().nth(2).unwrap_or(crate_folder)
}

/// A place under the root's `target`, where everything goes that is made and not kept.
pub fn target(place: &str) -> PathBuf {
    root().join("target").join(place)
}

/// Where `cargo book fetch` puts SmolLM2-135M-Instruct.
pub fn fetched_model() -> PathBuf {
    target("model/SmolLM2-135M-Instruct.Q4_1.gguf")
}
