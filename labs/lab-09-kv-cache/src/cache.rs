//! The cache of one request in one layer, and which of its tokens stay floats.

use ndarray::{Array2, ArrayView2, Axis, concatenate};

use crate::{Coded, KvError, Layout};

/// How the cache of a layer is stored.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Policy {
    /// The layout of the keys.
    pub keys: Layout,
    /// The layout of the values.
    pub values: Layout,
    /// First tokens that stay floats.
    pub sinks: usize,
    /// Most recent tokens that stay floats. With `usize::MAX` all do.
    pub window: usize,
}

/// The keys of a head, or its values.
#[derive(Clone, Debug, PartialEq)]
pub struct Side {
    /// How tokens are stored that are neither sinks nor recent.
    pub layout: Layout,
    /// The first tokens, `[at most policy.sinks, head_dim]`.
    pub sinks: Array2<f32>,
    /// The tokens after the sinks, [`Layout::unit`] tokens each.
    pub coded: Vec<Coded>,
    /// The tokens after the coded ones, `[tokens, head_dim]`.
    pub recent: Array2<f32>,
}

impl Side {
    /// A side without a token.
    pub fn new(layout: Layout, head_dim: usize) -> Self {
        let none = Array2::zeros((0, head_dim));
        Self { layout, sinks: none.clone(), coded: Vec::new(), recent: none }
    }

    /// How many tokens are in codes.
    pub fn coded_tokens(&self) -> usize {
        self.coded.iter().map(|coded| coded.codes.nrows()).sum()
    }

    /// How many tokens there are.
    pub fn tokens(&self) -> usize {
        self.sinks.nrows() + self.coded_tokens() + self.recent.nrows()
    }

    /// Takes the oldest `tokens` of the recent tokens out, all of them if there are fewer.
    pub fn take_oldest(&mut self, tokens: usize) -> Array2<f32> {
        let tokens = tokens.min(self.recent.nrows());
        let (oldest, rest) = self.recent.view().split_at(Axis(0), tokens);
        // `joined` copies. `to_owned` of a view without rows fails in a debug build of ndarray.
        let (oldest, rest) = (joined(&[oldest]), joined(&[rest]));
        self.recent = rest;
        oldest
    }

    /// Channels of the head.
    pub fn head_dim(&self) -> usize {
        self.recent.ncols()
    }
}

/// The rows of all parts in their order. The parts have the same number of columns.
pub fn joined(parts: &[ArrayView2<f32>]) -> Array2<f32> {
    // `concatenate` fails on parts of different widths only.
    concatenate(Axis(0), parts).unwrap_or_default()
}

/// One key-value head.
#[derive(Clone, Debug, PartialEq)]
pub struct Head {
    /// Its keys.
    pub keys: Side,
    /// Its values.
    pub values: Side,
}

/// The keys and values of one request in one layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Cache {
    /// How tokens are stored.
    pub policy: Policy,
    /// The key-value heads.
    pub heads: Vec<Head>,
}

impl Cache {
    /// A cache without a token.
    ///
    /// # Errors
    /// [`KvError::StaticScale`] and [`KvError::GroupDoesNotDivide`] if a layout of `policy` does not fit
    /// `head_dim`.
    pub fn new(policy: Policy, kv_heads: usize, head_dim: usize) -> Result<Self, KvError> {
        for layout in [policy.keys, policy.values] {
            layout.check([layout.unit(), head_dim])?;
        }
        let side = |layout| Side::new(layout, head_dim);
        let head = Head { keys: side(policy.keys), values: side(policy.values) };
        Ok(Self { policy, heads: vec![head; kv_heads] })
    }

    /// How many tokens there are.
    pub fn tokens(&self) -> usize {
        self.heads.first().map_or(0, |head| head.keys.tokens())
    }
}
