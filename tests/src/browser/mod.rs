//! Chromium without a window, driven over its DevTools protocol.
//!
//! [`find`] looks for an installed browser, [`Browser::start`] starts it with an empty profile, and
//! a [`Tab`] opens pages and reports what they asked for and complained about. What the eye would
//! see is asked of the page itself, by [`audit`].

pub mod audit;
mod connection;
mod launch;
mod tab;

pub use launch::{Browser, find, start_or_skip};
pub use tab::{Tab, file_url};
