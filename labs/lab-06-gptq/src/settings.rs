//! How to round.

use kit::int4::Int4Error;

use crate::{GptqError, Grid};

/// Where the scale of a group comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupScales {
    /// From the weights before anything is rounded, as llm-compressor.
    Static,
    /// From the weights as they are when the first column of the group is rounded.
    Fresh,
}

/// How to round a matrix.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// The codes, and the rule of the scales.
    pub grid: Grid,
    /// Weights of a row that share a scale.
    pub group_size: usize,
    /// Where scales come from.
    pub scales: GroupScales,
    /// Whether columns with large inputs are rounded first. Needs static scales.
    pub act_order: bool,
    /// The share of the mean of the diagonal that is added to the diagonal.
    pub damping: f64,
    /// Columns between two updates of the rest of the matrix. Changes the time and no code.
    pub block: usize,
}

impl Settings {
    /// The usual settings: static scales, columns in their order, damping 0.01, blocks of 128.
    pub fn new(grid: Grid, group_size: usize) -> Self {
        let scales = GroupScales::Static;
        Self { grid, group_size, scales, act_order: false, damping: 0.01, block: 128 }
    }

    /// Refuses settings that contradict each other, or that do not fit rows of `in_features`.
    ///
    /// # Errors
    /// [`Int4Error::GroupDoesNotDivide`], [`GptqError::EmptyBlock`],
    /// [`GptqError::ActOrderNeedsStaticScales`].
    pub fn check(&self, in_features: usize) -> Result<(), GptqError> {
        let group_size = self.group_size;
        if in_features == 0 || group_size == 0 || !in_features.is_multiple_of(group_size) {
            return Err(Int4Error::GroupDoesNotDivide { in_features, group_size }.into());
        }
        if self.block == 0 {
            return Err(GptqError::EmptyBlock);
        }
        if self.act_order && self.scales == GroupScales::Fresh {
            return Err(GptqError::ActOrderNeedsStaticScales);
        }
        Ok(())
    }
}
