//! Paths in the repository, and the cargo that built this program.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{Command, ExitCode, ExitStatus};

/// The root of the repository.
pub fn root() -> PathBuf {
    let mut root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    root.pop();
    root
}

/// Where the reader's starters are compiled.
pub fn graded() -> PathBuf {
    root().join("target").join("graded")
}

/// Where mdBook writes the book: `build-dir` of `book.toml`.
pub fn built_book() -> PathBuf {
    root().join("target").join("book")
}

/// Cargo, started in the root of the repository.
///
/// `CARGO` is set by the cargo that runs us, so the toolchain stays the one the reader chose.
pub fn cargo() -> Command {
    command(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Any other program, started in the root of the repository.
///
/// Cargo names the package of the program that it runs in variables. They are removed for the new
/// program, because build scripts that watch these variables, as that of `ring` does, would otherwise
/// run again each time.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(root());
    for (name, _) in std::env::vars_os() {
        if is_of_the_running_package(&name.to_string_lossy()) {
            command.env_remove(name);
        }
    }
    command
}

/// The exit code of a program that this program ran, as its own.
pub fn exit_code(status: ExitStatus) -> ExitCode {
    // 1 if a signal ended the program, which then has no code.
    ExitCode::from(status.code().and_then(|code| code.try_into().ok()).unwrap_or(1))
}

fn is_of_the_running_package(variable: &str) -> bool {
    variable.starts_with("CARGO_PKG_") || variable.starts_with("CARGO_MANIFEST_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cargo_started_by_us_does_not_hear_which_package_we_are() {
        assert!(std::env::var_os("CARGO_PKG_NAME").is_some(), "cargo tells its tests");
        let command = cargo();
        let removed = command.get_envs().filter(|(_, value)| value.is_none());
        let removed: Vec<_> = removed.map(|(name, _)| name.to_string_lossy()).collect();
        for name in ["CARGO_PKG_NAME", "CARGO_MANIFEST_DIR"] {
            assert!(removed.contains(&name.into()), "{name} would be passed on");
        }
    }
}
