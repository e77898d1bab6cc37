//! The spec of lab 03.
