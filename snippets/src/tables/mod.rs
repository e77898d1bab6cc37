//! Tables, computed by the labs.

use kit::Table;

use crate::Entry;

/// Every table of the book.
pub const ALL: &[Entry<Table>] = &[];
