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

pub use launch::{Browser, find, start_or_skip};
pub use tab::{Tab, file_url};
