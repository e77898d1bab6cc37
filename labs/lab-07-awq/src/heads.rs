//! How the rows of a linear layer reach the channels of the next one.

use crate::AwqError;

/// The heads of attention. The output projection reads `query * dim` channels, and the value projection
/// has `kv * dim` rows, because `query / kv` neighbouring query heads share the values of one kv head
/// (grouped-query attention, GQA).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heads {
    /// Query heads.
    pub query: usize,
    /// Key and value heads.
    pub kv: usize,
    /// Channels of a head.
    pub dim: usize,
}

impl Heads {
    /// A layer each of whose `rows` is one channel of the next layer, as up is for down.
    pub fn one_to_one(rows: usize) -> Self {
        Self { query: 1, kv: 1, dim: rows }
    }

    /// Channels of the layer that reads, `query * dim`.
    pub fn channels(&self) -> usize {
        self.query * self.dim
    }

    /// Rows of the layer that writes, `kv * dim`.
    pub fn rows(&self) -> usize {
        self.kv * self.dim
    }

    /// Refuses query heads that do not share the kv heads evenly.
    ///
    /// # Errors
    /// [`AwqError::UnevenHeads`].
    pub fn check(&self) -> Result<(), AwqError> {
        let even = self.kv > 0 && self.query.is_multiple_of(self.kv);
        if even { Ok(()) } else { Err(AwqError::UnevenHeads { query: self.query, kv: self.kv }) }
    }
}
