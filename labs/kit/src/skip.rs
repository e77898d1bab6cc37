//! How a test says that it was left out: visibly, and so that the runner can count it.

use std::io::Write;

/// Writes `SKIPPED: <what>: <why>` on a line of its own, for a test that then returns.
///
/// Not with `println!`, which libtest swallows for a test that passes; so the reader sees the line,
/// and `cargo book test` counts it as a skip instead of a pass.
pub fn left_out(what: &str, why: &str) {
    // An error is ignored, because the output is closed and nothing can be reported.
    let _ = writeln!(std::io::stdout(), "SKIPPED: {what}: {why}");
}

/// Whether this machine is there to run everything, as `CI` says: what can be installed there is not
/// left out but fails.
pub fn in_ci() -> bool {
    std::env::var("CI").is_ok_and(|ci| !ci.is_empty() && ci != "false" && ci != "0")
}
