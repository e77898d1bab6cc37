//! The tokens of a sequence on their way through a decoder layer, for a quantizer that rounds the layer
//! in parts.

use ndarray::Array2;

use crate::rotary::Rotary;
use crate::{Cache, LayerId, Model, ModelError, Projection};

/// The projections that read one input, in the order in which they run.
pub const READERS: [&[Projection]; 4] = [
    &[Projection::Q, Projection::K, Projection::V],
    &[Projection::O],
    &[Projection::Gate, Projection::Up],
    &[Projection::Down],
];

/// A sequence before one of the [`READERS`] of a decoder layer.
#[derive(Clone, Debug)]
pub struct InLayer {
    layer: usize,
    next: usize,
    /// The residual stream.
    x: Array2<f32>,
    input: Array2<f32>,
}

impl InLayer {
    /// The input of the projections that run next, `[tokens, in_features]`.
    pub fn input(&self) -> &Array2<f32> {
        &self.input
    }

    /// The projections that run next.
    pub fn readers(&self) -> &'static [Projection] {
        READERS[self.next]
    }
}

impl Model {
    /// Puts a sequence before the first projections of the decoder layer `layer`. `x` is
    /// `[tokens, hidden_size]`, all tokens from the first one on: an embedding, or what [`Model::leave`]
    /// returned.
    ///
    /// # Errors
    /// [`ModelError::NoLayer`] if the model has fewer layers.
    pub fn enter(&self, layer: usize, x: Array2<f32>) -> Result<InLayer, ModelError> {
        self.linear(LayerId::Layer(layer, Projection::Q))?;
        let input = self.attention_input(layer, &x);
        Ok(InLayer { layer, next: 0, x, input })
    }

    /// Runs the next projections, up to the input of those behind them.
    ///
    /// # Errors
    /// As [`Model::forward`].
    pub fn go_on(&self, mut at: InLayer) -> Result<InLayer, ModelError> {
        let none = &mut |_: LayerId, _: &Array2<f32>| ();
        at.input = match at.readers() {
            [Projection::Q, ..] => {
                let mut cache = Cache::of_layer(&self.config, at.layer, at.x.nrows())?;
                let positions: Vec<usize> = (0..at.x.nrows()).collect();
                let rotary = Rotary::new(&positions, self.config.head_dim, self.config.rope_theta);
                let sequences = (&[at.x.nrows()][..], &mut [&mut cache][..]);
                self.mixed(at.layer, &at.input, &rotary, sequences, none)?
            }
            [Projection::O] => {
                at.x += &self.apply(LayerId::Layer(at.layer, Projection::O), &at.input, none)?;
                self.mlp_input(at.layer, &at.x)
            }
            [Projection::Gate, ..] => self.gated(at.layer, &at.input, none)?,
            _ => return self.enter(at.layer, self.leave(at)?),
        };
        at.next += 1;
        Ok(at)
    }

    /// Runs all projections that are left, and returns the input of the next decoder layer.
    ///
    /// # Errors
    /// As [`Model::forward`].
    pub fn leave(&self, mut at: InLayer) -> Result<Array2<f32>, ModelError> {
        while at.readers() != [Projection::Down] {
            at = self.go_on(at)?;
        }
        let down = LayerId::Layer(at.layer, Projection::Down);
        Ok(at.x + self.apply(down, &at.input, &mut |_, _| ())?)
    }
}
