//! The random numbers that fill the device, on a CPU.

use half::bf16;

/// The bf16 numbers that fill the device: a counter-based hash, so that a CPU knows each of them
/// without asking.
#[derive(Clone, Copy, Debug)]
pub struct Hash {
    /// Decides the stream.
    pub seed: u32,
    /// Standard deviation.
    pub sigma: f32,
}

impl Hash {
    /// Stream `id` of a run's `seed`.
    pub fn stream(seed: u32, id: u32, sigma: f32) -> Self {
        Self { seed: Self::bits(Self::bits(seed).wrapping_add(id)), sigma }
    }

    /// Value `index`, as `fill_random` in `fill.cu` computes it: the sum of four uniform bytes.
    pub fn value(self, index: u64) -> f32 {
        let bits =
            Self::bits(Self::bits(index as u32 ^ self.seed).wrapping_add((index >> 32) as u32));
        let sum: i32 = bits.to_le_bytes().iter().map(|&byte| i32::from(byte)).sum();
        let normal = (sum - 510) as f32 * (1.0 / 147.8);
        bf16::from_f32(self.sigma * normal).to_f32()
    }

    /// Random bits with the place `index` in the stream.
    pub(super) fn bits_at(self, index: u32) -> u32 {
        Self::bits(index ^ self.seed)
    }

    /// lowbias32 of Chris Wellons.
    fn bits(mut value: u32) -> u32 {
        value ^= value >> 16;
        value = value.wrapping_mul(0x7feb_352d);
        value ^= value >> 15;
        value = value.wrapping_mul(0x846c_a68b);
        value ^ value >> 16
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bits that `fill_random` of `fill.cu` gave when its source was run on a CPU.
    #[test]
    fn the_hash_is_that_of_the_kernel() {
        let hash = Hash { seed: 12_345, sigma: 0.5 };
        let bits: Vec<u16> = (0..6).map(|i| bf16::from_f32(hash.value(i)).to_bits()).collect();
        assert_eq!(bits, [48_865, 16_028, 48_839, 48_350, 16_090, 48_799]);
    }

    #[test]
    fn the_hash_is_near_normal_and_never_all_zero() {
        let hash = Hash { seed: 7, sigma: 1.0 };
        let values: Vec<f64> = (0..100_000).map(|i| f64::from(hash.value(i))).collect();
        let mean = values.iter().sum::<f64>() / 1e5;
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / 1e5;
        assert!(mean.abs() < 0.02, "{mean}");
        assert!((variance - 1.0).abs() < 0.02, "{variance}");
        assert_ne!(hash.value(1), Hash { seed: 8, sigma: 1.0 }.value(1));
    }
}
