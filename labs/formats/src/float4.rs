//! FP4 E2M1: a sign, two bits of exponent, one of fraction. Sixteen codes, and none for NaN or infinity.

/// The largest value.
pub const MAX: f32 = 6.0;

/// The values of codes 0 to 7. Codes 8 to 15 are their negatives.
pub const VALUES: [f32; 8] = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, MAX];

/// The code nearest to `value`: ties to the even code, beyond 6 the code of 6. NaN becomes 6, so a caller
/// looks for NaN before.
pub fn encode(value: f32) -> u8 {
    // A tie goes to the code with an even number, which is the upper one at every second limit.
    let above = |limit: f32, is_even_above: bool| {
        if is_even_above { value.abs() >= limit } else { value.abs() > limit }
    };
    let limits = VALUES.windows(2).zip([false, true].into_iter().cycle());
    let code = limits.filter(|(ends, even)| above((ends[0] + ends[1]) / 2.0, *even)).count() as u8;
    signed(value, if value.is_nan() { 7 } else { code })
}

/// As [`encode`], with ties toward 0 and one zero, as llama.cpp searches its table.
pub(crate) fn encode_first(value: f32) -> u8 {
    let limits = VALUES.windows(2).filter(|ends| value.abs() > (ends[0] + ends[1]) / 2.0);
    match limits.count() as u8 {
        0 => 0,
        code => signed(value, code),
    }
}

fn signed(value: f32, code: u8) -> u8 {
    if value.is_sign_negative() { code | 8 } else { code }
}

/// The value of a code, of which the low four bits count.
pub fn decode(code: u8) -> f32 {
    let value = VALUES[usize::from(code & 7)];
    if code & 8 == 0 { value } else { -value }
}

/// Two codes a byte, the first in the low nibble. A last code without a partner has a 0 beside it.
pub fn pack<'a>(codes: impl IntoIterator<Item = &'a u8>) -> Vec<u8> {
    let codes: Vec<u8> = codes.into_iter().copied().collect();
    codes.chunks(2).map(|pair| pair[0] | pair.get(1).copied().unwrap_or(0) << 4).collect()
}
