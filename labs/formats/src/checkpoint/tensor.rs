//! A tensor as a header lists it: no data.

use super::dtype::Storage;

/// A tensor as the header of a file lists it.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Its name, `model.layers.0.self_attn.q_proj.qweight` for example.
    pub name: String,
    /// How its elements are stored.
    pub storage: Storage,
    /// Its shape, outermost axis first.
    pub shape: Vec<u64>,
    /// Bytes of its data.
    pub bytes: u64,
}

impl Tensor {
    /// How many elements it has; `u64::MAX` where a forged shape holds more.
    pub fn elements(&self) -> u64 {
        elements(&self.shape).unwrap_or(u64::MAX)
    }
}

/// The product of a shape, `None` where it is beyond a `u64`.
pub(super) fn elements(shape: &[u64]) -> Option<u64> {
    shape.iter().try_fold(1u64, |product, &n| product.checked_mul(n))
}
