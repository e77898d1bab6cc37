//! The choices of GPTQ, and the formats that they are for.

use formats::format::{Ends, Grid as Answer};
use formats::registry::StorageFormat;
use gptq::{Grid, GroupScales, Settings, Stored};
use ndarray::Array2;

use crate::WriteError;

/// Where the scales of groups come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scales {
    /// From the largest magnitude of the group, by the rule of the grid, before anything is rounded.
    Static,
    /// From the largest magnitude when the first column of the group is rounded.
    Fresh,
    /// From a search before anything is rounded: the scale with the least squared error of the group, each
    /// weight's error times its diagonal element of the Hessian.
    Searched,
}

/// How the codes are chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// Where the grid of integers in groups ends. int8 per channel has lab 01's grid.
    pub ends: Ends,
    /// Where the scales of groups come from.
    pub scales: Scales,
    /// Whether columns with large inputs are rounded first.
    pub act_order: bool,
    /// The share of the mean of the diagonal that is added to it.
    pub damping: f64,
    /// Whether the Hessian of an input sees the rounded projections before it in the same decoder layer.
    /// Else one run of the layer gives all its Hessians.
    pub sequential: bool,
    /// How often scales and codes are fitted again after GPTQ, each to the other.
    pub sweeps: usize,
}

impl Options {
    /// The choices of llm-compressor 0.14: its grid, static scales, act-order, damping 0.01, one run for
    /// each layer.
    pub const LLM_COMPRESSOR: Self = Self {
        ends: Ends::AllCodes,
        scales: Scales::Static,
        act_order: true,
        damping: 0.01,
        sequential: false,
        sweeps: 0,
    };

    /// Refuses a format that these choices are not for, before a tensor is read.
    pub(crate) fn check(&self, format: StorageFormat) -> Result<(), WriteError> {
        if let Some(reason) = format.description.refuses_feedback() {
            return Err(WriteError::Unsupported(format!(
                "GPTQ is not for {format}, because {reason}: take another format, or the nearest codes"
            )));
        }
        let own_scales = self.scales == Scales::Static && self.sweeps == 0;
        if format.description.elements().is_some() && !own_scales {
            return Err(WriteError::Unsupported(format!(
                "the scales of {format} are those of its nearest codes: take static scales, without sweeps"
            )));
        }
        if format.is_gguf() && (self.scales == Scales::Fresh || self.sweeps > 0) {
            return Err(WriteError::Unsupported(format!(
                "the scales of the blocks of {format} are there before a code is chosen: take static or \
                 searched scales, without sweeps"
            )));
        }
        Ok(())
    }

    /// The order in which columns are rounded under the damped Hessian `h`.
    pub(crate) fn order(&self, h: &Array2<f64>) -> Vec<usize> {
        if self.act_order { gptq::activation_order(h) } else { (0..h.ncols()).collect() }
    }

    /// The settings of a matrix of integers with rows of `in_features`.
    pub(crate) fn settings(&self, format: StorageFormat, in_features: usize) -> Settings {
        let &Self { ends, act_order, damping, .. } = self;
        let plain = match format.description.weights {
            Answer::Int(8) => Settings::new(Grid::LAB_01, in_features),
            weights => Settings::new(
                grid(ends, weights.bits()),
                usize::try_from(format.group_size).unwrap_or(usize::MAX),
            ),
        };
        let fresh = self.scales == Scales::Fresh;
        let scales = if fresh { GroupScales::Fresh } else { GroupScales::Static };
        Settings { scales, act_order, damping, ..plain }
    }
}

/// The grid of so many bits with scales in `f16`, as formats of groups store them.
pub fn grid(ends: Ends, bits: u32) -> Grid {
    let codes = ends.codes(bits);
    let (min, max) = (*codes.start(), *codes.end());
    Grid { min, max, divisor: ends.divisor(bits), stored: Stored::F16 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grids_of_four_bits_are_those_of_lab_06_and_three_bits_have_half_of_the_codes() {
        let [equal, all] = Ends::ALL;
        assert_eq!([grid(equal, 4), grid(all, 4)], [Grid::LAB_03, Grid::LLM_COMPRESSOR]);
        let three = Grid { min: -3, max: 3, divisor: 3.0, stored: Stored::F16 };
        assert_eq!(grid(equal, 3), three);
        assert_eq!(grid(all, 3), Grid { min: -4, divisor: 3.5, ..three });
    }
}
