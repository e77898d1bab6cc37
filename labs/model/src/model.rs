//! The model, and how it runs.

use std::sync::Arc;

use kernels::{Hadamard, KernelError};
use ndarray::{Array1, Array2, Axis, s};

use crate::absent::Absent;
use crate::attention::{attend, attend_one_each};
use crate::norm::{Norm, rms_norm};
use crate::rotary::Rotary;
use crate::swiglu::gate_into;
use crate::{Cache, CacheStorage, Config, LayerId, Linear, ModelError, Projection};

/// A callback that is shown the input, `[tokens, in_features]`, of each linear layer before it runs.
pub type Hook<'a> = &'a mut (dyn FnMut(LayerId, &Array2<f32>) + Send);

/// A Llama. A clone shares the weights, so a variant costs only the memory of its replaced layers.
#[derive(Clone)]
pub struct Model {
    pub(crate) config: Config,
    pub(crate) embedding: Arc<dyn Linear>,
    pub(crate) layers: Vec<Layer>,
    pub(crate) last_norm: Arc<[f32]>,
    pub(crate) head: Arc<dyn Linear>,
    /// What the input of each down projection is multiplied by; `None` leaves the input as it is.
    pub(crate) down_rotation: Option<Arc<Hadamard>>,
}

/// One decoder layer.
#[derive(Clone)]
pub(crate) struct Layer {
    pub(crate) attention_norm: Arc<[f32]>,
    pub(crate) mlp_norm: Arc<[f32]>,
    /// In the order of [`Projection::ALL`].
    pub(crate) linears: Vec<Arc<dyn Linear>>,
}

/// Sequences that run together: how many new tokens each has, and the caches of those before.
type Sequences<'a, 'c> = (&'a [usize], &'a mut [&'c mut Cache]);

impl Model {
    /// The sizes of the model.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Stores the keys and values of every cache that is made for this model from here on in this way.
    ///
    /// # Errors
    /// [`ModelError::CacheFormat`] if the format cannot code heads of the model's width.
    pub fn set_kv_cache(&mut self, storage: CacheStorage) -> Result<(), ModelError> {
        storage.format.check(self.config.head_dim)?;
        self.config.kv_cache = storage;
        Ok(())
    }

    /// Multiplies the input of every down projection by `rotation` from here on (R4 of QuaRot, Ashkboos et
    /// al. 2024). Hooks see the rotated input. The caller puts the inverse into the weights.
    ///
    /// # Errors
    /// [`ModelError::Rotation`] if the blocks do not divide the width.
    pub fn set_down_rotation(&mut self, rotation: Arc<Hadamard>) -> Result<(), ModelError> {
        let (features, block) = (self.config.intermediate_size, rotation.block());
        if !features.is_multiple_of(block) {
            let error = KernelError::Block { features, block };
            return Err(ModelError::Rotation { what: "the input of down_proj".into(), error });
        }
        self.down_rotation = Some(rotation);
        Ok(())
    }

    /// What the input of each down projection is multiplied by.
    pub fn down_rotation(&self) -> Option<&Hadamard> {
        self.down_rotation.as_deref()
    }

    /// Bytes of all weights; a tied head is counted once.
    pub fn bytes(&self) -> usize {
        let numbers = |layer: &Layer| layer.attention_norm.len() + layer.mlp_norm.len();
        let norms = self.last_norm.len() + self.layers.iter().map(numbers).sum::<usize>();
        let layers: usize =
            self.layers.iter().flat_map(|layer| &layer.linears).map(|w| w.bytes()).sum();
        let head = if self.is_tied() { 0 } else { self.head.bytes() };
        self.embedding.bytes() + size_of::<f32>() * norms + layers + head
    }

    /// Whether the head is the embedding, the same memory.
    pub fn is_tied(&self) -> bool {
        let embedding: *const dyn Linear = Arc::as_ptr(&self.embedding);
        std::ptr::addr_eq(embedding, Arc::as_ptr(&self.head))
    }

    /// Every linear layer, in the order in which they run.
    pub fn layer_ids(&self) -> impl Iterator<Item = LayerId> + use<> {
        let layer = |index| Projection::ALL.map(|projection| LayerId::Layer(index, projection));
        (0..self.layers.len()).flat_map(layer).chain([LayerId::Head])
    }

    /// The linear layer `id`.
    ///
    /// # Errors
    /// [`ModelError::NoLayer`] if the model has fewer layers.
    pub fn linear(&self, id: LayerId) -> Result<&Arc<dyn Linear>, ModelError> {
        let layers = self.layers.len();
        match id {
            LayerId::Head => Ok(&self.head),
            LayerId::Layer(index, projection) => {
                let layer = self.layers.get(index).ok_or(ModelError::NoLayer { id, layers })?;
                Ok(&layer.linears[projection as usize])
            }
        }
    }

    /// Puts `new` in the place of a linear layer and returns the old layer. A replaced head is not tied
    /// any more: the embedding stays as it is.
    ///
    /// # Errors
    /// If there is no such layer, or `new` maps between other widths.
    pub fn replace(
        &mut self,
        id: LayerId,
        new: Arc<dyn Linear>,
    ) -> Result<Arc<dyn Linear>, ModelError> {
        let shape = |linear: &Arc<dyn Linear>| [linear.out_features(), linear.in_features()];
        let (expected, found) = (shape(self.linear(id)?), shape(&new));
        if found != expected {
            return Err(ModelError::Replacement { id, expected, found });
        }
        let old = match id {
            LayerId::Head => &mut self.head,
            LayerId::Layer(index, projection) => {
                &mut self.layers[index].linears[projection as usize]
            }
        };
        Ok(std::mem::replace(old, new))
    }

    /// Puts `new` in the place of the embedding, `[vocab_size, hidden_size]`, and returns the old one. A tied
    /// head stays as it is, and is not tied any more.
    ///
    /// # Errors
    /// [`ModelError::Embedding`] if `new` has another shape.
    pub fn replace_embedding(
        &mut self,
        new: Arc<dyn Linear>,
    ) -> Result<Arc<dyn Linear>, ModelError> {
        let expected = [self.config.vocab_size, self.config.hidden_size];
        let found = [new.out_features(), new.in_features()];
        if found != expected {
            return Err(ModelError::Embedding { expected, found });
        }
        Ok(std::mem::replace(&mut self.embedding, new))
    }

    /// The embedding.
    pub fn embedding(&self) -> &Arc<dyn Linear> {
        &self.embedding
    }

    /// Takes the matrices of a decoder layer out of the model. The layer does not run until each is
    /// replaced.
    ///
    /// # Errors
    /// [`ModelError::NoLayer`] if the model has fewer layers.
    pub fn clear_layer(&mut self, index: usize) -> Result<(), ModelError> {
        for id in Projection::ALL.map(|projection| LayerId::Layer(index, projection)) {
            let linear = self.linear(id)?;
            let shape = [linear.out_features(), linear.in_features()];
            self.replace(id, Arc::new(Absent(shape)))?;
        }
        Ok(())
    }

    /// The weight of a norm, `[hidden_size]`.
    ///
    /// # Errors
    /// [`ModelError::NoNorm`] if the model has fewer layers.
    pub fn norm(&self, norm: Norm) -> Result<&[f32], ModelError> {
        let layers = self.layers.len();
        let layer =
            |index: usize| self.layers.get(index).ok_or(ModelError::NoNorm { norm, layers });
        match norm {
            Norm::Attention(index) => Ok(&layer(index)?.attention_norm),
            Norm::Mlp(index) => Ok(&layer(index)?.mlp_norm),
            Norm::Last => Ok(&self.last_norm),
        }
    }

    /// Gives a norm another weight, `[hidden_size]`. The caller divides a factor that is folded into the
    /// norm out of the layers behind the norm, because the model does not.
    ///
    /// # Errors
    /// [`ModelError::NoNorm`] if the model has fewer layers, [`ModelError::NormLength`] if the new
    /// weight has another length.
    pub fn replace_norm(&mut self, norm: Norm, new: &[f32]) -> Result<(), ModelError> {
        let (expected, found) = (self.norm(norm)?.len(), new.len());
        if found != expected {
            return Err(ModelError::NormLength { norm, expected, found });
        }
        match norm {
            Norm::Attention(index) => self.layers[index].attention_norm = new.into(),
            Norm::Mlp(index) => self.layers[index].mlp_norm = new.into(),
            Norm::Last => self.last_norm = new.into(),
        }
        Ok(())
    }

    /// Runs `tokens` after those in the cache and returns the logits of each, `[tokens, vocab_size]`.
    ///
    /// # Errors
    /// If there is no token, a token is not in the vocabulary, the cache is full or belongs to another
    /// model, or a linear layer fails. The cache is then as before.
    pub fn forward(&self, tokens: &[u32], cache: &mut Cache) -> Result<Array2<f32>, ModelError> {
        self.forward_with_hook(tokens, cache, &mut |_, _| ())
    }

    /// As [`Model::forward`], and calls `hook` with the input of every linear layer.
    ///
    /// # Errors
    /// As [`Model::forward`].
    pub fn forward_with_hook(
        &self,
        tokens: &[u32],
        cache: &mut Cache,
        hook: Hook<'_>,
    ) -> Result<Array2<f32>, ModelError> {
        // The thread pool is entered once for all layers and the head, because entering it takes longer
        // than a small product.
        rayon::scope(|_| {
            let hidden = self.hidden(tokens, cache, hook)?;
            self.logits(&hidden, hook)
        })
    }

    /// Decodes one token of each of several sequences: `tokens[i]` comes after the tokens in `caches[i]`,
    /// and the caches may have different lengths. The result is the logits of each,
    /// `[sequences, vocab_size]`, which are those of [`Model::forward`] on each alone up to the order of
    /// sums. The weights are read once for all sequences.
    ///
    /// # Errors
    /// [`ModelError::Batch`] if there is not one token for each cache; else as [`Model::forward`].
    /// The caches are then as before.
    pub fn step(&self, tokens: &[u32], caches: &mut [Cache]) -> Result<Array2<f32>, ModelError> {
        let tokens: Vec<&[u32]> = tokens.chunks(1).collect();
        // The thread pool is entered once, as for one sequence.
        rayon::scope(|_| {
            let hidden = self.hidden_of_each(&tokens, caches)?;
            self.logits(&hidden, &mut |_, _| ())
        })
    }

    /// As [`Model::hidden`] for several sequences: `tokens[i]`, one or more, come after the tokens in
    /// `caches[i]`. The rows of the result are those of the first sequence, then those of the second, and so
    /// on. The weights are read once for all tokens.
    ///
    /// # Errors
    /// [`ModelError::Batch`] if there are not tokens for each cache, [`ModelError::NoTokens`] if a sequence
    /// has none; else as [`Model::forward`]. The caches are then as before.
    pub fn hidden_of_each(
        &self,
        tokens: &[&[u32]],
        caches: &mut [Cache],
    ) -> Result<Array2<f32>, ModelError> {
        if tokens.len() != caches.len() {
            return Err(ModelError::Batch { tokens: tokens.len(), caches: caches.len() });
        }
        if tokens.iter().any(|tokens| tokens.is_empty()) {
            return Err(ModelError::NoTokens);
        }
        // All are checked before one is changed, so that an error leaves every cache as before.
        let counts: Vec<usize> = tokens.iter().map(|tokens| tokens.len()).collect();
        caches.iter().zip(&counts).try_for_each(|(cache, &new)| cache.check(&self.config, new))?;
        let x = self.embed(&tokens.concat())?;
        let mut caches: Vec<&mut Cache> = caches.iter_mut().collect();
        rayon::scope(|_| self.run_layers(x, &counts, &mut caches, &mut |_, _| ()))
    }

    /// As [`Model::forward_with_hook`], up to the input of the head: `[tokens, hidden_size]`. The head
    /// is a large part of the work, and a caller that needs few logits passes few rows to it.
    ///
    /// # Errors
    /// As [`Model::forward`].
    pub fn hidden(
        &self,
        tokens: &[u32],
        cache: &mut Cache,
        hook: Hook<'_>,
    ) -> Result<Array2<f32>, ModelError> {
        cache.check(&self.config, tokens.len())?;
        let x = self.embed(tokens)?;
        rayon::scope(|_| self.run_layers(x, &[tokens.len()], &mut [cache], hook))
    }

    /// From the embeddings `x` of tokens to the input of the head, both `[tokens, hidden_size]`. The
    /// rows of `x` are the next `counts[i]` tokens of each cache.
    fn run_layers(
        &self,
        mut x: Array2<f32>,
        counts: &[usize],
        caches: &mut [&mut Cache],
        hook: Hook<'_>,
    ) -> Result<Array2<f32>, ModelError> {
        let Config { head_dim, rope_theta, .. } = self.config;
        let positions = caches.iter().zip(counts);
        let positions = positions.flat_map(|(cache, new)| cache.len()..cache.len() + new);
        let positions: Vec<usize> = positions.collect();
        let rotary = Rotary::new(&positions, head_dim, rope_theta);
        for index in 0..self.layers.len() {
            x += &self.attention(index, &x, &rotary, (counts, caches), hook)?;
            x += &self.mlp(index, &x, hook)?;
        }
        // The lengths grow after the last layer, because each layer writes at the same positions, and
        // because the keys and values of a layer that failed then do not count.
        caches.iter_mut().zip(counts).for_each(|(cache, &new)| cache.advance(new));
        Ok(rms_norm(&x, &self.last_norm, self.config.rms_norm_eps))
    }

    /// The head: from rows of [`Model::hidden`] to logits, `[rows, vocab_size]`.
    ///
    /// # Errors
    /// If the head fails.
    pub fn logits(&self, hidden: &Array2<f32>, hook: Hook<'_>) -> Result<Array2<f32>, ModelError> {
        self.apply(LayerId::Head, hidden, hook)
    }

    /// The logits of the last row of [`Model::hidden`], `[1, vocab_size]`.
    ///
    /// # Errors
    /// If the head fails.
    pub fn logits_of_last(&self, hidden: &Array2<f32>) -> Result<Array2<f32>, ModelError> {
        let last = hidden.slice(s![hidden.nrows().saturating_sub(1).., ..]).to_owned();
        self.logits(&last, &mut |_, _| ())
    }

    /// The embeddings of `tokens`, `[tokens, hidden_size]`: the input of decoder layer 0.
    ///
    /// # Errors
    /// If there is no token, or a token is not in the vocabulary.
    pub fn embed(&self, tokens: &[u32]) -> Result<Array2<f32>, ModelError> {
        if tokens.is_empty() {
            return Err(ModelError::NoTokens);
        }
        let (vocab_size, hidden_size) = (self.embedding.out_features(), self.config.hidden_size);
        let mut x = Array2::zeros((tokens.len(), hidden_size));
        for (mut x, &id) in x.rows_mut().into_iter().zip(tokens) {
            let row = self.embedding.row(id as usize).filter(|row| row.len() == hidden_size);
            let row = row.ok_or(ModelError::Token { id, vocab_size })?;
            x.assign(&Array1::from(row));
        }
        Ok(x)
    }

    /// What attention adds to the residual stream `x`.
    fn attention(
        &self,
        index: usize,
        x: &Array2<f32>,
        rotary: &Rotary,
        sequences: Sequences<'_, '_>,
        hook: Hook<'_>,
    ) -> Result<Array2<f32>, ModelError> {
        let x = self.attention_input(index, x);
        let mixed = self.mixed(index, &x, rotary, sequences, hook)?;
        self.apply(LayerId::Layer(index, Projection::O), &mixed, hook)
    }

    /// The input of q, k and v.
    pub(crate) fn attention_input(&self, index: usize, x: &Array2<f32>) -> Array2<f32> {
        rms_norm(x, &self.layers[index].attention_norm, self.config.rms_norm_eps)
    }

    /// From the input of q, k and v to that of o.
    pub(crate) fn mixed(
        &self,
        index: usize,
        x: &Array2<f32>,
        rotary: &Rotary,
        sequences: Sequences<'_, '_>,
        hook: Hook<'_>,
    ) -> Result<Array2<f32>, ModelError> {
        let mut q = self.apply(LayerId::Layer(index, Projection::Q), x, hook)?;
        let mut k = self.apply(LayerId::Layer(index, Projection::K), x, hook)?;
        let v = self.apply(LayerId::Layer(index, Projection::V), x, hook)?;
        // Keys are rotated before they are cached, so that a step rotates new keys only.
        rotary.rotate(&mut q);
        rotary.rotate(&mut k);
        if self.config.kv_cache.format.rotated {
            // The scores stay the same, because q and k are multiplied by one orthogonal matrix.
            let rotation = Hadamard::of_power(self.config.head_dim);
            let rotate = |x: &mut Array2<f32>| rotation.clone()?.rotate(x);
            let what = || format!("a head of layer {index}");
            let named = |error| ModelError::Rotation { what: what(), error };
            rotate(&mut q).and_then(|()| rotate(&mut k)).map_err(named)?;
        }
        Ok(self.mix(index, &q, &k, &v, sequences))
    }

    /// Puts keys and values into the caches, and mixes the values for each query.
    fn mix(
        &self,
        index: usize,
        q: &Array2<f32>,
        k: &Array2<f32>,
        v: &Array2<f32>,
        (counts, caches): Sequences<'_, '_>,
    ) -> Array2<f32> {
        let mut first = 0;
        let mut written = Vec::with_capacity(caches.len());
        for (cache, &new) in caches.iter_mut().zip(counts) {
            let (rows, length) = (first..first + new, cache.len());
            let layer = cache.layer(index);
            layer.write(length, &k.slice(s![rows.clone(), ..]), &v.slice(s![rows.clone(), ..]));
            first = rows.end;
            written.push((&*layer, length + new));
        }
        // Prefill has many queries for a cache, and a matrix product is fast. Decode has one query for
        // each cache, and the caches have different lengths, so each is a product of its own.
        let mixed = if counts.iter().all(|&new| new == 1) {
            attend_one_each(q, &written, &self.config)
        } else {
            let mut mixed = Array2::zeros(q.dim());
            let (mut q, mut rest) = (q.view(), mixed.view_mut());
            for ((cache, length), &new) in written.iter().zip(counts) {
                let (of_cache, q_rest) = q.split_at(Axis(0), new);
                let (out, out_rest) = rest.split_at(Axis(0), new);
                attend(of_cache, cache, length - new, &self.config, out);
                (q, rest) = (q_rest, out_rest);
            }
            mixed
        };
        caches.iter_mut().for_each(|cache| cache.layer(index).settle());
        mixed
    }

    /// What the MLP adds to the residual stream `x`: `down(silu(gate(x)) * up(x))`.
    fn mlp(
        &self,
        index: usize,
        x: &Array2<f32>,
        hook: Hook<'_>,
    ) -> Result<Array2<f32>, ModelError> {
        let inner = self.gated(index, &self.mlp_input(index, x), hook)?;
        self.apply(LayerId::Layer(index, Projection::Down), &inner, hook)
    }

    /// The input of gate and up.
    pub(crate) fn mlp_input(&self, index: usize, x: &Array2<f32>) -> Array2<f32> {
        rms_norm(x, &self.layers[index].mlp_norm, self.config.rms_norm_eps)
    }

    /// From the input of gate and up to that of down.
    pub(crate) fn gated(
        &self,
        index: usize,
        x: &Array2<f32>,
        hook: Hook<'_>,
    ) -> Result<Array2<f32>, ModelError> {
        let gate = self.apply(LayerId::Layer(index, Projection::Gate), x, hook)?;
        let mut inner = self.apply(LayerId::Layer(index, Projection::Up), x, hook)?;
        gate_into(&mut inner, &gate);
        if let Some(rotation) = &self.down_rotation {
            let named = |error| {
                let what = format!("the input of down_proj in layer {index}");
                ModelError::Rotation { what, error }
            };
            rotation.rotate(&mut inner).map_err(named)?;
        }
        Ok(inner)
    }

    /// Calls `hook` with the input, runs the linear layer, and checks the shape of the output, because
    /// any crate can implement a layer.
    pub(crate) fn apply(
        &self,
        id: LayerId,
        x: &Array2<f32>,
        hook: Hook<'_>,
    ) -> Result<Array2<f32>, ModelError> {
        let linear = self.linear(id)?;
        hook(id, x);
        let out = linear.forward(x).map_err(|error| ModelError::Linear { id, error })?;
        let expected = [x.nrows(), linear.out_features()];
        let found = [out.nrows(), out.ncols()];
        if found != expected {
            return Err(ModelError::Output { id, found, expected });
        }
        Ok(out)
    }
}
