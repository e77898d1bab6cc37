//! Which numbers of a cache share a scale, which codes there are, and a matrix in such codes.

use ndarray::Array2;

use crate::KvError;

/// Bits of an integer code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bits {
    /// Two bits.
    Two,
    /// Four bits.
    Four,
    /// Eight bits.
    Eight,
}

impl Bits {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Two, Self::Four, Self::Eight];

    /// How many.
    pub fn count(self) -> u32 {
        match self {
            Self::Two => 2,
            Self::Four => 4,
            Self::Eight => 8,
        }
    }
}

/// The codes of one group.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Grid {
    /// Codes from 0 to `2^bits - 1`. The zero is a float, the smallest number of the group, and the largest
    /// number belongs on the last code. KIVI's grid.
    Asymmetric(Bits),
    /// Codes from `-(2^(bits - 1) - 1)` to `2^(bits - 1) - 1` around 0, with the largest magnitude of the
    /// group on the last code. A `u8` holds a code as two's complement.
    Symmetric(Bits),
    /// FP8, E4M3, with the largest magnitude of the group on 448.
    Fp8,
    /// FP8, E4M3, with a scale that is known before the first token, because it was calibrated (`k_scale` and
    /// `v_scale` of a checkpoint) or is 1. Magnitudes beyond 448 times the scale become 448 times the
    /// scale. The scale is an `f32` of the model, so the cache stores none.
    Fp8Static(f32),
}

/// Which numbers share a scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Granularity {
    /// Neighbouring channels of one token.
    PerToken,
    /// Consecutive tokens of one channel.
    PerChannel,
}

/// How keys or values are stored.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Layout {
    /// The codes.
    pub grid: Grid,
    /// Which numbers share a scale.
    pub granularity: Granularity,
    /// How many numbers share a scale. `head_dim` with [`Granularity::PerToken`] is "per token and head".
    pub group: usize,
}

impl Layout {
    /// A layout per token.
    pub fn per_token(grid: Grid, group: usize) -> Self {
        Self { grid, granularity: Granularity::PerToken, group }
    }

    /// A layout per channel.
    pub fn per_channel(grid: Grid, group: usize) -> Self {
        Self { grid, granularity: Granularity::PerChannel, group }
    }

    /// Tokens that are quantized together: 1 or the group size.
    pub fn unit(self) -> usize {
        match self.granularity {
            Granularity::PerToken => 1,
            Granularity::PerChannel => self.group,
        }
    }

    /// Refuses a matrix of so many tokens and channels if the layout does not fit.
    ///
    /// # Errors
    /// [`KvError::StaticScale`] unless a static scale is positive and finite, then
    /// [`KvError::GroupDoesNotDivide`].
    pub fn check(self, [tokens, channels]: [usize; 2]) -> Result<(), KvError> {
        if let Grid::Fp8Static(scale) = self.grid
            && !(scale > 0.0 && scale.is_finite())
        {
            return Err(KvError::StaticScale(scale));
        }
        let (what, found) = match self.granularity {
            Granularity::PerToken => ("channels", channels),
            Granularity::PerChannel => ("tokens", tokens),
        };
        let group = self.group;
        if group == 0 || !found.is_multiple_of(group) {
            return Err(KvError::GroupDoesNotDivide { what, found, group });
        }
        Ok(())
    }
}

/// A matrix in codes.
#[derive(Clone, Debug, PartialEq)]
pub struct Coded {
    /// How the matrix is stored.
    pub layout: Layout,
    /// `[tokens, head_dim]`, a code in each byte.
    pub codes: Array2<u8>,
    /// A scale for each group: `[tokens, head_dim / group]` per token, `[tokens / group, head_dim]` per
    /// channel.
    pub scales: Array2<f32>,
    /// A zero for each group, in the same shape.
    pub zeros: Array2<f32>,
}
