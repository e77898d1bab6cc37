//! The line by which a test says that it was skipped, which a reader sees and the runner counts.

use std::io::Write;

/// Writes `SKIPPED: <what>: <why>` on a line of its own, for a test that then returns.
///
/// Not with `println!`, because libtest hides the output of a test that passes. `cargo book test` counts
/// the line as a skip instead of a pass.
pub fn left_out(what: &str, why: &str) {
    // An error is ignored, because the output is closed and nothing can be reported.
    let _ = writeln!(std::io::stdout(), "SKIPPED: {what}: {why}");
}

/// Whether `CI` says that this machine runs every test. A missing program is then a failure and no
/// skip.
pub fn in_ci() -> bool {
    std::env::var("CI").is_ok_and(|ci| !ci.is_empty() && ci != "false" && ci != "0")
}
