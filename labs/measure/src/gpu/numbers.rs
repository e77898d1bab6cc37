//! The grids on a CPU: e4m3 codes, and the hash whose numbers fill the device.

use half::bf16;

/// The value of an e4m3 code: bias 7, no infinities, NaN only at 0x7f and 0xff.
pub fn e4m3_value(code: u8) -> f32 {
    let (exponent, mantissa) = (i32::from(code >> 3 & 15), f32::from(code & 7));
    let magnitude = match (exponent, code & 7) {
        (15, 7) => f32::NAN,
        (0, _) => mantissa * 2f32.powi(-9),
        _ => (1.0 + mantissa / 8.0) * 2f32.powi(exponent - 7),
    };
    if code & 0x80 == 0 { magnitude } else { -magnitude }
}

/// The e4m3 code nearest to `value`, half to even, saturating at 448: the software path of the
/// kernel `rows.cu`, bit for bit.
pub fn e4m3_code(value: f32) -> u8 {
    let sign = ((value.to_bits() >> 24) & 0x80) as u8;
    let magnitude = value.abs();
    if magnitude >= 448.0 {
        return sign | 0x7e;
    }
    if magnitude < 2f32.powi(-6) {
        return sign | (magnitude * 512.0).round_ties_even() as u8;
    }
    let bits = magnitude.to_bits();
    sign | (((bits + 0x7_ffff + ((bits >> 20) & 1)) >> 20) - (120 << 3)) as u8
}

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

    #[test]
    fn every_e4m3_code_comes_back_to_itself() {
        for code in 0..=255u8 {
            let value = e4m3_value(code);
            if !value.is_nan() {
                assert_eq!(e4m3_code(value), code, "code {code:#x} is {value}");
            }
        }
        assert_eq!(e4m3_value(0x7e), 448.0);
        assert_eq!(e4m3_value(0x01), 2f32.powi(-9));
    }

    #[test]
    fn e4m3_picks_the_nearest_value_and_the_even_one_of_two() {
        for step in 0..200_000 {
            let value = step as f32 * 0.0023;
            let chosen = (e4m3_value(e4m3_code(value)) - value).abs();
            let nearest =
                (0..127u8).map(|c| (e4m3_value(c) - value).abs()).fold(f32::MAX, f32::min);
            assert_eq!(chosen, nearest, "{value}");
        }
        assert_eq!(e4m3_value(e4m3_code(17.0)), 16.0, "17 is half way between 16 and 18");
        assert_eq!(e4m3_value(e4m3_code(19.0)), 20.0, "19 is half way between 18 and 20");
        assert_eq!(e4m3_value(e4m3_code(-1e9)), -448.0);
    }

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
