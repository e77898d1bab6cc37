//! The roofline bound of a product: what it must move and do, over the peak rates of a device.

use super::work::Shape;
use quantize_and_eval::{Roofline, bound_s};

/// What a product must move and do.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Demand {
    /// Bytes read and written once each.
    pub bytes: f64,
    /// Operations; a multiply-add is two.
    pub operations: f64,
}

impl Demand {
    /// `tokens` times a layer whose weight and scales take `weight_bytes`; activations in and out
    /// are bf16.
    pub fn of_product(shape: Shape, tokens: usize, weight_bytes: usize) -> Self {
        let activations = 2 * tokens * (shape.in_features + shape.out_features);
        Self {
            bytes: (weight_bytes + activations) as f64,
            operations: 2.0 * tokens as f64 * shape.weights() as f64,
        }
    }

    /// Both demands together.
    pub fn plus(self, other: Self) -> Self {
        Self { bytes: self.bytes + other.bytes, operations: self.operations + other.operations }
    }

    /// The two bounds in seconds on a device that moves `bytes_per_s` and does `operations_per_s`.
    pub fn bounds(self, bytes_per_s: f64, operations_per_s: f64) -> Roofline {
        Roofline {
            memory_s: self.bytes / bytes_per_s,
            arithmetic_s: self.operations / operations_per_s,
        }
    }

    /// The shortest time in milliseconds on such a device; 0 where neither rate is known.
    pub fn bound_ms(self, bytes_per_s: f64, operations_per_s: f64) -> f64 {
        1e3 * bound_s(self.bounds(bytes_per_s, operations_per_s)).unwrap_or(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SQUARE: Shape = Shape { name: "o_proj", out_features: 1000, in_features: 1000 };

    #[test]
    fn one_token_is_bound_by_bytes() {
        // 2,000,000 bytes of weights and 4,000 of activations at 1 GB/s; 2e6 operations at 1e12/s.
        let demand = Demand::of_product(SQUARE, 1, 2_000_000);
        assert_eq!(demand, Demand { bytes: 2_004_000.0, operations: 2e6 });
        assert!((demand.bound_ms(1e9, 1e12) - 2.004).abs() < 1e-12);
    }

    #[test]
    fn many_tokens_are_bound_by_operations() {
        // 2,000 tokens: 4e9 operations at 1e9/s are 4 s; 10,000,000 bytes at 1 GB/s are 10 ms.
        let demand = Demand::of_product(SQUARE, 2000, 2_000_000);
        assert_eq!(demand.bytes, 10_000_000.0);
        assert_eq!(demand.bound_ms(1e9, 1e9), 4000.0);
    }

    #[test]
    fn demands_add_up() {
        let one = Demand { bytes: 1.0, operations: 2.0 };
        assert_eq!(one.plus(one), Demand { bytes: 2.0, operations: 4.0 });
    }
}
