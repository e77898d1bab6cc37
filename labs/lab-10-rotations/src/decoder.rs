//! A small Llama in `f64`: RMSNorm, RoPE, grouped-query attention, SwiGLU.

use kit::data::Normal;
use ndarray::{Array1, Array2, ArrayView1, Axis, s};

use crate::{Rotation, RotationError, apply, rotary};

/// The sizes of a [`Decoder`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shape {
    /// Rows of the embedding.
    pub vocabulary: usize,
    /// Channels of the residual stream.
    pub hidden: usize,
    /// Query heads.
    pub heads: usize,
    /// Key-value heads, which divide the query heads.
    pub kv_heads: usize,
    /// Channels of a head, an even number.
    pub head_dim: usize,
    /// Channels in front of `down_proj`.
    pub intermediate: usize,
    /// Layers.
    pub layers: usize,
}

impl Shape {
    /// The sizes of SmolLM2-135M with a small vocabulary and one layer.
    pub const SMOLLM2: Self = Self {
        vocabulary: 96,
        hidden: 576,
        heads: 9,
        kv_heads: 3,
        head_dim: 64,
        intermediate: 1536,
        layers: 1,
    };
}

/// A decoder layer. Weights are `[out_features, in_features]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// Weights of the RMSNorm in front of `q`, `k` and `v`, `[hidden]`.
    pub input_norm: Array1<f64>,
    /// The query projection, `[heads * head_dim, hidden]`.
    pub q: Array2<f64>,
    /// The key projection, `[kv_heads * head_dim, hidden]`.
    pub k: Array2<f64>,
    /// The value projection, `[kv_heads * head_dim, hidden]`.
    pub v: Array2<f64>,
    /// The output projection, `[hidden, heads * head_dim]`.
    pub o: Array2<f64>,
    /// Weights of the RMSNorm in front of `gate` and `up`, `[hidden]`.
    pub post_norm: Array1<f64>,
    /// The gate projection, `[intermediate, hidden]`.
    pub gate: Array2<f64>,
    /// The up projection, `[intermediate, hidden]`.
    pub up: Array2<f64>,
    /// The down projection, `[hidden, intermediate]`.
    pub down: Array2<f64>,
}

/// The rotations that run with the model, because no weight can take them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Online {
    /// R3: of each head's queries and keys, behind RoPE.
    pub keys: Option<Rotation>,
    /// R4: of the inputs of `down`.
    pub down: Option<Rotation>,
}

/// A decoder with its embedding and its head.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoder {
    /// The sizes.
    pub shape: Shape,
    /// `[vocabulary, hidden]`.
    pub embedding: Array2<f64>,
    /// The layers, first to last.
    pub layers: Vec<Layer>,
    /// Weights of the last RMSNorm, `[hidden]`.
    pub final_norm: Array1<f64>,
    /// `[vocabulary, hidden]`, or `None` where the head is the embedding (tied embeddings).
    pub head: Option<Array2<f64>>,
    /// The rotations that run with the model.
    pub online: Online,
}

impl Decoder {
    /// A model with tied embeddings and seeded weights. The rows of the embedding have means other than 0,
    /// and the norms weights other than 1, as those of real models do.
    pub fn seeded(seed: u64, shape: Shape) -> Self {
        let mut stream = Normal::seeded(seed);
        let Shape { vocabulary, hidden, heads, kv_heads, head_dim, intermediate, layers } = shape;
        let mut matrix = |rows: usize, columns: usize| {
            let size = (columns as f64).sqrt().recip();
            Array2::from_shape_simple_fn((rows, columns), || stream.sample() * size)
        };
        let embedding = matrix(vocabulary, hidden);
        let shift = (hidden as f64).sqrt().recip();
        let embedding = embedding.mapv(|value| value + 0.2 * shift);
        let norm = |row: Array2<f64>| row.row(0).mapv(|value| 1.0 + 0.5 * (value * 8.0).sin());
        let mut layer = |_| Layer {
            input_norm: norm(matrix(1, hidden)),
            q: matrix(heads * head_dim, hidden),
            k: matrix(kv_heads * head_dim, hidden),
            v: matrix(kv_heads * head_dim, hidden),
            o: matrix(hidden, heads * head_dim),
            post_norm: norm(matrix(1, hidden)),
            gate: matrix(intermediate, hidden),
            up: matrix(intermediate, hidden),
            down: matrix(hidden, intermediate),
        };
        let layers = (0..layers).map(&mut layer).collect();
        let final_norm = norm(matrix(1, hidden));
        Self { shape, embedding, layers, final_norm, head: None, online: Online::default() }
    }

    /// The logits of all `tokens` of one sequence, `[tokens, vocabulary]`.
    ///
    /// # Errors
    /// [`RotationError::Token`], and [`RotationError::Width`] or [`RotationError::Heads`] where an online
    /// rotation does not fit.
    pub fn logits(&self, tokens: &[usize]) -> Result<Array2<f64>, RotationError> {
        let vocabulary = self.embedding.nrows();
        if let Some(&token) = tokens.iter().find(|token| **token >= vocabulary) {
            return Err(RotationError::Token { token, vocabulary });
        }
        let mut residual = self.embedding.select(Axis(0), tokens);
        for layer in &self.layers {
            let x = rms_norm(&residual, &layer.input_norm);
            residual += &self.attention(layer, &x)?;
            let x = rms_norm(&residual, &layer.post_norm);
            residual += &self.mlp(layer, &x)?;
        }
        let head = self.head.as_ref().unwrap_or(&self.embedding);
        Ok(rms_norm(&residual, &self.final_norm).dot(&head.t()))
    }

    fn attention(&self, layer: &Layer, x: &Array2<f64>) -> Result<Array2<f64>, RotationError> {
        let Shape { heads, kv_heads, head_dim, .. } = self.shape;
        let r3 = self.online.keys.as_ref();
        let queries = rotary(&x.dot(&layer.q.t()), head_dim, r3)?;
        let keys = rotary(&x.dot(&layer.k.t()), head_dim, r3)?;
        let values = x.dot(&layer.v.t());
        let mut mixed = Array2::zeros((x.nrows(), heads * head_dim));
        for head in 0..heads {
            // Neighbouring query heads share a key-value head.
            let kv = head / (heads / kv_heads);
            let query = s![.., head * head_dim..(head + 1) * head_dim];
            let key = s![.., kv * head_dim..(kv + 1) * head_dim];
            let logits = queries.slice(query).dot(&keys.slice(key).t());
            let weights = causal_softmax(&(logits / (head_dim as f64).sqrt()));
            mixed.slice_mut(query).assign(&weights.dot(&values.slice(key)));
        }
        Ok(mixed.dot(&layer.o.t()))
    }

    fn mlp(&self, layer: &Layer, x: &Array2<f64>) -> Result<Array2<f64>, RotationError> {
        let gate = x.dot(&layer.gate.t()).mapv(|value| value / (1.0 + libm::exp(-value)));
        let inner = gate * x.dot(&layer.up.t());
        let inner = match &self.online.down {
            Some(r4) => apply(&inner, r4)?,
            None => inner,
        };
        Ok(inner.dot(&layer.down.t()))
    }
}

/// Each row over its root mean square, times the weights.
fn rms_norm(x: &Array2<f64>, weights: &Array1<f64>) -> Array2<f64> {
    let mut normed = x * weights;
    for (mut row, x) in normed.rows_mut().into_iter().zip(x.rows()) {
        let mean_square = x.dot(&x) / x.len() as f64;
        row /= (mean_square + 1e-5).sqrt();
    }
    normed
}

/// Softmax of each row over the tokens up to its own.
fn causal_softmax(logits: &Array2<f64>) -> Array2<f64> {
    let mut weights = Array2::zeros(logits.dim());
    for (token, row) in logits.rows().into_iter().enumerate() {
        let seen: ArrayView1<f64> = row.slice(s![..=token]);
        let largest = seen.fold(f64::NEG_INFINITY, |max, value| max.max(*value));
        let powers = seen.mapv(|value| libm::exp(value - largest));
        weights.slice_mut(s![token, ..=token]).assign(&(&powers / powers.sum()));
    }
    weights
}
