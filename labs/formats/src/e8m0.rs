//! E8M0, the scale of an MX block: a power of two in a byte, without a sign, a fraction or a zero.

/// The value of a code; `None` for 255, which is NaN.
pub fn decode(code: u8) -> Option<f32> {
    match code {
        255 => None,
        // 2^-127 is a subnormal f32.
        0 => Some(f32::from_bits(1 << 22)),
        code => Some(f32::from_bits(u32::from(code) << 23)),
    }
}
