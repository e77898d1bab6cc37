//! Chromium without a window, driven over its DevTools protocol.
//!
//! [`find`] looks for an installed browser, [`Browser::start`] starts it with an empty profile, and
//! a [`Tab`] opens pages and reports what they asked for and complained about. What the eye would
//! see is asked of the page itself, by [`audit`]; what a reader who listens would miss, by [`axe`].

pub mod audit;
pub mod axe;
mod connection;
mod launch;
mod tab;

use std::path::Path;

pub use launch::{Browser, find, start_or_skip};
pub use tab::{Tab, file_url};

/// Widths that pages are checked at, in CSS pixels.
pub const PHONE: u32 = 380;
/// Between a phone and a desk.
pub const TABLET: u32 = 768;
/// A window on a desk.
pub const DESK: u32 = 1440;

/// The scripts of interactive figures of these names, in this order.
///
/// # Panics
/// If one is missing.
pub fn theme_scripts<const N: usize>(names: [&str; N]) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join("theme/interactive");
    let read = |name: &str| {
        let file = folder.join(name);
        std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
    };
    names.map(read).join("\n")
}
