//! The line by which a test says that it was skipped, which a reader sees and the runner counts.

use std::any::Any;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// Writes `SKIPPED: <what>: <why>` on a line of its own, for a test that then returns.
///
/// Not with `println!`, because libtest hides the output of a test that passes. `cargo book test` counts
/// the line as a skip instead of a pass.
pub fn left_out(what: &str, why: &str) {
    // An error is ignored, because the output is closed and nothing can be reported.
    let _ = writeln!(std::io::stdout(), "SKIPPED: {what}: {why}");
}

/// Runs `test`, which calls the labs, and leaves `what` out, visibly, if it meets the `todo!` of a
/// starter: a reader who has done one lab sees no red test of another.
pub fn if_written<T>(what: &str, test: impl FnOnce() -> T) -> Option<T> {
    match catch_unwind(AssertUnwindSafe(test)) {
        Ok(value) => Some(value),
        Err(panic) if is_unwritten(&*panic) => {
            left_out(what, "a function of a starter that it needs is not written yet");
            None
        }
        Err(panic) => resume_unwind(panic),
    }
}

/// Whether a panic is that of a `todo!`, in a run that asked for the starters.
pub fn is_unwritten(panic: &(dyn Any + Send)) -> bool {
    let starter = std::env::var("LAB_IMPL").is_ok_and(|chosen| chosen == "starter");
    starter && words(panic).starts_with("not yet implemented")
}

/// The message of a panic.
pub fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or(panic.downcast_ref::<&str>().copied()).unwrap_or_default()
}

/// Whether `CI` says that this machine runs every test. A missing program is then a failure and no
/// skip.
pub fn in_ci() -> bool {
    std::env::var("CI").is_ok_and(|ci| !ci.is_empty() && ci != "false" && ci != "0")
}
