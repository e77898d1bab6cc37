//! to come
pub mod chosen {}
