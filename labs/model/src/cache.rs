//! The KV cache.

use std::ops::Range;

use ndarray::{Array3, ArrayView2, Axis, s};

use crate::{Config, ModelError};

/// The keys and values of the tokens so far, of every layer.
#[derive(Clone, Debug)]
pub struct Cache {
    layers: Vec<CacheLayer>,
    length: usize,
    capacity: usize,
}

/// The rotated keys and the values of one layer, each `[kv_heads, capacity, head_dim]`. The head comes
/// first, because attention then reads the positions of a head as one slice.
#[derive(Clone, Debug)]
pub(crate) struct CacheLayer {
    keys: Array3<f32>,
    values: Array3<f32>,
}

impl Cache {
    /// An empty cache with room for `capacity` tokens.
    ///
    /// # Errors
    /// [`ModelError::NoRoom`] if the model was not made for that many positions.
    pub fn new(config: &Config, capacity: usize) -> Result<Self, ModelError> {
        Self::of(0..config.layers, config, capacity)
    }

    /// As [`Cache::new`], with room in the layer `index` alone.
    pub(crate) fn of_layer(
        config: &Config,
        index: usize,
        capacity: usize,
    ) -> Result<Self, ModelError> {
        Self::of(index..index + 1, config, capacity)
    }

    fn of(layers: Range<usize>, config: &Config, capacity: usize) -> Result<Self, ModelError> {
        let limit = config.max_positions;
        if capacity > limit {
            let what = "the model's config says so";
            return Err(ModelError::NoRoom { wanted: capacity, limit, what });
        }
        // The whole capacity at once, because a cache that grows has to be copied.
        let layer = |index| {
            let room = if layers.contains(&index) { capacity } else { 0 };
            let zeros = || Array3::zeros((config.kv_heads, room, config.head_dim));
            CacheLayer { keys: zeros(), values: zeros() }
        };
        Ok(Self { layers: (0..config.layers).map(layer).collect(), length: 0, capacity })
    }

    /// Tokens in the cache: the position of the next one.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether no token has been run yet.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The most tokens that fit.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Bytes of keys and values at full capacity.
    pub fn bytes(&self) -> usize {
        let numbers = |layer: &CacheLayer| layer.keys.len() + layer.values.len();
        size_of::<f32>() * self.layers.iter().map(numbers).sum::<usize>()
    }

    /// Forgets every token from position `length` on.
    pub fn truncate(&mut self, length: usize) {
        // Old keys and values stay, because later tokens overwrite them before they are read.
        self.length = self.length.min(length);
    }

    /// Checks that the cache was made for this model and has room for `tokens` more.
    pub(crate) fn check(&self, config: &Config, tokens: usize) -> Result<(), ModelError> {
        let shape = [config.kv_heads, self.capacity, config.head_dim];
        let fits = self.layers.iter().all(|layer| layer.keys.shape() == shape);
        if self.layers.len() != config.layers || !fits || self.capacity > config.max_positions {
            return Err(ModelError::OtherCache);
        }
        let wanted = self.length.saturating_add(tokens);
        if wanted > self.capacity {
            let what = "make the cache with a larger capacity";
            return Err(ModelError::NoRoom { wanted, limit: self.capacity, what });
        }
        Ok(())
    }

    /// The layer `index`, to write the new tokens into.
    pub(crate) fn layer(&mut self, index: usize) -> &mut CacheLayer {
        &mut self.layers[index]
    }

    /// Counts tokens whose keys and values are written in every layer.
    pub(crate) fn advance(&mut self, tokens: usize) {
        self.length += tokens;
    }
}

impl CacheLayer {
    /// Writes keys and values, `[tokens, kv_heads * head_dim]`, to the positions from `first` on.
    pub(crate) fn write(&mut self, first: usize, keys: &ArrayView2<f32>, values: &ArrayView2<f32>) {
        for (cached, new) in [(&mut self.keys, keys), (&mut self.values, values)] {
            let head_dim = cached.dim().2;
            let heads = new.axis_chunks_iter(Axis(1), head_dim);
            for (mut cached, new) in cached.outer_iter_mut().zip(heads) {
                cached.slice_mut(s![first..first + new.nrows(), ..]).assign(&new);
            }
        }
    }

    /// Keys and values of one key-value head at the first `length` positions: `[length, head_dim]`.
    pub(crate) fn head(
        &self,
        head: usize,
        length: usize,
    ) -> (ArrayView2<'_, f32>, ArrayView2<'_, f32>) {
        (self.keys.slice(s![head, ..length, ..]), self.values.slice(s![head, ..length, ..]))
    }
}
