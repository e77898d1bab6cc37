//! Where things are in the repository, and the cargo that built this program.

use std::path::PathBuf;
use std::process::Command;

/// The root of the repository.
pub fn root() -> PathBuf {
    let mut root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    root.pop();
    root
}

/// Where mdBook writes the book: `build-dir` of `book.toml`.
pub fn built_book() -> PathBuf {
    root().join("target").join("book")
}

/// Cargo, started in the root of the repository.
///
/// `CARGO` is set by the cargo that runs us, so the toolchain stays the one the reader chose.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}
