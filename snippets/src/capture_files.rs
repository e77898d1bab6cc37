//! Where the committed captures lie.

use std::path::PathBuf;

/// The `.json` files in `folder`, by name; none if there is no such folder.
pub fn json_in(folder: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let json = |path: &PathBuf| path.extension().is_some_and(|end| end == "json");
    let mut files: Vec<_> = entries.map(|entry| entry.path()).filter(json).collect();
    files.sort();
    files
}
