//! Chromium without a window, driven over its DevTools protocol.
//!
//! [`find`] looks for an installed browser, [`Browser::start`] starts it with an empty profile, and
//! a [`Tab`] opens pages and reports what they asked for and complained about. What the eye would
//! see is asked of the page itself, by [`audit`].

pub mod audit;
mod connection;
mod launch;
mod tab;

pub use launch::{Browser, find};
pub use tab::{Tab, file_url};

/// What to do about a browser that is not there.
pub enum Absence {
    /// Say so and go on: the reader's machine.
    Skip,
    /// Fail: a machine that is there to run all tests sets `CI`.
    Fail,
}

/// What this machine does without a browser.
pub fn absence() -> Absence {
    let ci = std::env::var("CI").is_ok_and(|ci| !ci.is_empty() && ci != "false" && ci != "0");
    if ci { Absence::Fail } else { Absence::Skip }
}
