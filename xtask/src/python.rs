//! A Python for the scripts of the repository that need only its standard library.

use std::process::{Command, Stdio};

/// The names that are tried.
pub const NAMES: [&str; 3] = ["python3", "python", "py"];

/// The first of [`NAMES`] that runs and is Python 3.
pub fn find() -> Option<&'static str> {
    // On Windows without Python, `python` is a stub that only opens a store: it runs, and fails.
    NAMES.into_iter().find(|name| {
        let mut command = Command::new(name);
        command.args(["-c", "import sys; sys.exit(sys.version_info < (3, 9))"]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    })
}
