//! The real slice, inside the program, so that it can be carried to another machine alone.

use anyhow::{Context, Result, bail};
use half::{bf16, f16};
use safetensors::{Dtype, SafeTensors};

const BYTES: &[u8] = include_bytes!("../../../kit/real-slice/smollm2-135m-slice.safetensors");

/// A matrix of real weights, rounded to bf16.
#[derive(Clone, Debug, PartialEq)]
pub struct RealWeights {
    /// Output channels kept in the slice.
    pub rows: usize,
    /// Inputs.
    pub columns: usize,
    /// Row-major bits.
    pub bits: Vec<u16>,
}

impl RealWeights {
    /// Reads `layer 10 mlp.down_proj` of SmolLM2-135M-Instruct: 1,536 inputs, real outliers.
    ///
    /// # Errors
    /// If the slice that was built in is damaged.
    pub fn read() -> Result<Self> {
        let name = "model.layers.10.mlp.down_proj.weight";
        let tensors = SafeTensors::deserialize(BYTES).context("the real slice is damaged")?;
        let tensor = tensors.tensor(name).with_context(|| format!("the real slice: {name}"))?;
        let (Dtype::F16, &[rows, columns]) = (tensor.dtype(), tensor.shape()) else {
            bail!("{name} of the real slice is no f16 matrix");
        };
        let halves = tensor.data().as_chunks().0.iter().map(|two| f16::from_le_bytes(*two));
        let bits = halves.map(|half| bf16::from_f32(half.to_f32()).to_bits()).collect();
        Ok(Self { rows, columns, bits })
    }

    /// Row `row` of these weights tiled to `columns` inputs.
    pub fn tiled_row(&self, row: usize, columns: usize) -> Vec<f32> {
        let start = row % self.rows * self.columns;
        let value = |c: usize| bf16::from_bits(self.bits[start + c % self.columns]).to_f32();
        (0..columns).map(value).collect()
    }
}
