//! Weights in the form that the kernels read.

use half::f16;
use ndarray::Array2;

use super::KernelError;
use fake_quant_linear::solution::quantize_per_channel;
use int4_groups::Int4Groups;
use int4_groups::solution::pack_nibbles;

/// int4 codes two a byte, as [`pack_nibbles`] gives them, row after row, and a scale per group.
#[derive(Clone, Debug, PartialEq)]
pub struct Int4Matrix {
    pub(super) bytes: Vec<u8>,
    pub(super) scales: Vec<f16>,
    pub(super) out_features: usize,
    pub(super) in_features: usize,
    pub(super) group_size: usize,
}

impl Int4Matrix {
    /// Packs the codes of `w`.
    ///
    /// # Errors
    /// [`KernelError::OddGroup`] if a byte would belong to two groups.
    pub fn pack(w: &Int4Groups) -> Result<Self, KernelError> {
        let codes: Vec<i8> = w.q().iter().copied().collect();
        let (out_features, in_features) = w.q().dim();
        if w.group_size() % 2 == 1 {
            return Err(KernelError::OddGroup(w.group_size()));
        }
        Ok(Self {
            bytes: pack_nibbles(&codes)?,
            scales: w.scales().iter().copied().collect(),
            out_features,
            in_features,
            group_size: w.group_size(),
        })
    }

    /// Quantizes `weights`, `[weights.len() / in_features, in_features]`, with the fast encoder.
    ///
    /// # Errors
    /// Those of [`int4_groups`](super::quantize::int4_groups).
    pub fn quantize(
        weights: &[f32],
        in_features: usize,
        group_size: usize,
    ) -> Result<Self, KernelError> {
        int4_groups::solution::check_group_size(in_features, group_size)?;
        let mut bytes = vec![0; weights.len().div_ceil(2)];
        let mut scales = vec![f16::ZERO; weights.len() / group_size];
        let to = (&mut bytes[..], &mut scales[..]);
        super::quantize::int4_groups(weights, in_features, group_size, to.0, to.1)?;
        let out_features = weights.len() / in_features;
        Ok(Self { bytes, scales, out_features, in_features, group_size })
    }

    /// Rows.
    pub fn out_features(&self) -> usize {
        self.out_features
    }

    /// Weights in a row.
    pub fn in_features(&self) -> usize {
        self.in_features
    }

    /// Bytes that a product has to read: the codes and the scales.
    pub fn memory_bytes(&self) -> usize {
        size_of_val(&self.bytes[..]) + size_of_val(&self.scales[..])
    }
}

/// int8 codes row after row, and an f32 scale per row: lab 01's matrix, flat.
#[derive(Clone, Debug, PartialEq)]
pub struct Int8Matrix {
    pub(super) codes: Vec<i8>,
    pub(super) scales: Vec<f32>,
    pub(super) in_features: usize,
}

impl Int8Matrix {
    /// Quantizes `w`, `[out_features, in_features]`: `absmax / 127` per row, half to even.
    ///
    /// # Errors
    /// [`smoothquant::QuantError::NotFinite`] if `w` holds NaN or infinity.
    pub fn quantize(w: &Array2<f32>) -> Result<Self, KernelError> {
        let quantized = quantize_per_channel(w)?;
        let codes = quantized.q().iter().copied().collect();
        let scales = quantized.scales().iter().copied().collect();
        Ok(Self { codes, scales, in_features: w.ncols() })
    }

    /// Back to numbers, `[out_features, in_features]`.
    pub fn dequantize(&self) -> Array2<f32> {
        Array2::from_shape_fn((self.scales.len(), self.in_features), |(row, column)| {
            f32::from(self.codes[row * self.in_features + column]) * self.scales[row]
        })
    }

    /// Bytes that a product has to read: the codes and the scales.
    pub fn memory_bytes(&self) -> usize {
        size_of_val(&self.codes[..]) + size_of_val(&self.scales[..])
    }
}
