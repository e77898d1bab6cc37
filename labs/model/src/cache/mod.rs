//! The KV cache.

mod coded;
mod rows;

use std::ops::Range;

use ndarray::{ArrayView2, Axis};

use crate::cache_format::{CacheFormat, CacheStorage};
use crate::{Config, ModelError};
pub(crate) use rows::Rows;

/// Tokens that are run at once where a format has a window.
const PASS: usize = 32;

/// The keys and values of the tokens so far, of every layer.
#[derive(Clone, Debug)]
pub struct Cache {
    layers: Vec<CacheLayer>,
    length: usize,
    capacity: usize,
    format: &'static CacheFormat,
}

/// The rotated keys and the values of one layer, by key-value head, because attention then reads the
/// positions of a head one after the other.
#[derive(Clone, Debug)]
pub(crate) struct CacheLayer {
    keys: Vec<Rows>,
    values: Vec<Rows>,
}

impl Cache {
    /// An empty cache with room for `capacity` tokens, stored as the config says.
    ///
    /// # Errors
    /// [`ModelError::NoRoom`] if the model was not made for that many positions,
    /// [`ModelError::CacheFormat`] if the format cannot code heads of this width.
    pub fn new(config: &Config, capacity: usize) -> Result<Self, ModelError> {
        Self::of(0..config.layers, config, capacity, &config.kv_cache)
    }

    /// As [`Cache::new`], with room in the layer `index` alone, in `f32`.
    pub(crate) fn of_layer(
        config: &Config,
        index: usize,
        capacity: usize,
    ) -> Result<Self, ModelError> {
        Self::of(index..index + 1, config, capacity, &CacheStorage::default())
    }

    fn of(
        layers: Range<usize>,
        config: &Config,
        capacity: usize,
        storage: &CacheStorage,
    ) -> Result<Self, ModelError> {
        let limit = config.max_positions;
        if capacity > limit {
            let what = "the model's config says so";
            return Err(ModelError::NoRoom { wanted: capacity, limit, what });
        }
        let format = storage.format;
        format.check(config.head_dim)?;
        let layer = |index| {
            let room = if layers.contains(&index) { capacity } else { 0 };
            let [key, value] = storage.scales.get(index).copied().unwrap_or([1.0; 2]);
            let heads = |coding, scale| {
                let head = |_| Rows::new(format, coding, [room, config.head_dim], scale);
                (0..config.kv_heads).map(head).collect()
            };
            CacheLayer { keys: heads(format.keys, key), values: heads(format.values, value) }
        };
        let layers = (0..config.layers).map(layer).collect();
        Ok(Self { layers, length: 0, capacity, format })
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
        let rows = self.layers.iter().flat_map(|layer| layer.keys.iter().chain(&layer.values));
        rows.map(Rows::bytes).sum()
    }

    /// Of each layer the largest magnitude of the keys and of the values of all tokens.
    pub fn absmax(&self) -> Vec<[f32; 2]> {
        let of = |rows: &[Rows]| {
            let numbers = rows.iter().map(|rows| rows.numbers(self.length));
            numbers.flatten().fold(0.0, |max: f32, x| max.max(x.abs()))
        };
        self.layers.iter().map(|layer| [of(&layer.keys), of(&layer.values)]).collect()
    }

    /// Tokens that may be run at once where each shall see what it would see if it came alone: a window
    /// is counted from the first of them.
    pub(crate) fn tokens_at_once(&self) -> usize {
        if self.format.window == 0 { usize::MAX } else { PASS }
    }

    /// Forgets every token from position `length` on.
    pub fn truncate(&mut self, length: usize) {
        // Old keys and values stay until later tokens are written, which is before they are read.
        self.length = self.length.min(length);
    }

    /// Checks that the cache was made for this model and has room for `tokens` more.
    pub(crate) fn check(&self, config: &Config, tokens: usize) -> Result<(), ModelError> {
        let shape = [config.kv_heads, config.head_dim];
        let fits = self.layers.iter().all(|layer| layer.shape() == Some(shape));
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
    /// Key-value heads and the width of one.
    fn shape(&self) -> Option<[usize; 2]> {
        Some([self.keys.len(), self.keys.first()?.width()])
    }

    /// Writes keys and values, `[tokens, kv_heads * head_dim]`, to the positions from `first` on. In a
    /// format without a window the codes are written at once, so that every query reads codes.
    pub(crate) fn write(&mut self, first: usize, keys: &ArrayView2<f32>, values: &ArrayView2<f32>) {
        for (cached, new) in [(&mut self.keys, keys), (&mut self.values, values)] {
            let width = new.ncols() / cached.len();
            let heads = new.axis_chunks_iter(Axis(1), width);
            cached.iter_mut().zip(heads).for_each(|(cached, new)| cached.write(first, &new));
        }
    }

    /// Codes what has left the window. Called when the queries that came with it have been answered,
    /// because the window of the first of them still held it.
    pub(crate) fn settle(&mut self) {
        self.keys.iter_mut().chain(&mut self.values).for_each(Rows::settle);
    }

    /// Keys and values of all key-value heads in turn.
    pub(crate) fn heads(&self) -> impl Iterator<Item = (&Rows, &Rows)> {
        self.keys.iter().zip(&self.values)
    }
}
