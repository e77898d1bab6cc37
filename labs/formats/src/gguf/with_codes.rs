//! Blocks with other codes: the scales and the minima stay, so that a method which chooses codes for a grid
//! that is there before, as GPTQ does, can choose those of GGML's blocks too.

use super::k_quants::layout::{Field, Layout};
use super::{GgufError, TensorType};

/// Bytes of the scale in front of a block of Q8_0.
const SCALE_OF_Q8_0: usize = 2;
/// What is added to a code of Q8_0, so that the first, -127, is 0.
const ZERO_OF_Q8_0: i16 = 127;

/// The last code of a type whose codes, counted from 0, stand for even steps of a sub-block; `None` for a type
/// whose codes do not, or that is not written here.
pub fn last_code(kind: TensorType) -> Option<u8> {
    match kind {
        TensorType::Q8_0 => Some(2 * ZERO_OF_Q8_0 as u8),
        TensorType::IQ4_NL => None,
        kind => {
            let bits = Layout::of(kind)?.fields.iter().map(|field| match field {
                Field::Low(plane) | Field::High(plane) => plane.bits,
                _ => 0,
            });
            Some((1 << bits.sum::<usize>()) - 1)
        }
    }
}

/// Whether blocks of `kind` can have the grid of blocks of `stored` again, so that a weight which was stored so
/// comes back nearly as it was: both have minima, as many neighbours share a scale, and `kind` has no fewer steps.
pub fn finds_again(kind: TensorType, stored: TensorType) -> bool {
    let of = |kind: TensorType| {
        let layout = Layout::of(kind).filter(|layout| layout.fields.contains(&Field::Minimum))?;
        Some((layout.sub, last_code(kind)?))
    };
    of(kind).zip(of(stored)).is_some_and(|(kind, stored)| kind.0 == stored.0 && kind.1 >= stored.1)
}

/// `blocks` of `kind` with these codes, counted from 0, one for each weight.
///
/// # Errors
/// [`GgufError::Codes`] if there is not a code for each weight of whole blocks, if a code is beyond the last,
/// or if the codes of the type are no even steps.
pub fn with_codes(kind: TensorType, blocks: &[u8], codes: &[u8]) -> Result<Vec<u8>, GgufError> {
    let says = |problem: String| GgufError::Codes { kind, problem };
    let even = last_code(kind).zip(kind.block());
    let (last, (weights, size)) = even.ok_or_else(|| says("codes are no even steps".into()))?;
    let count = blocks.len() / size * weights;
    if count != codes.len() || !blocks.len().is_multiple_of(size) {
        let problem = format!("{} codes for {} bytes of blocks", codes.len(), blocks.len());
        return Err(says(problem));
    }
    if let Some(code) = codes.iter().find(|code| **code > last) {
        return Err(says(format!("code {code} is beyond {last}")));
    }
    let mut bytes = Vec::with_capacity(blocks.len());
    for (block, codes) in blocks.chunks_exact(size).zip(codes.chunks_exact(weights)) {
        match Layout::of(kind) {
            Some(layout) => {
                let mut block = layout.read(block);
                block.codes[..weights].copy_from_slice(codes);
                layout.write(&block, &mut bytes);
            }
            None => {
                bytes.extend(&block[..SCALE_OF_Q8_0]);
                let signed = codes.iter().map(|&code| i16::from(code) - ZERO_OF_Q8_0);
                bytes.extend(signed.map(|code| code as u8));
            }
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gguf::dequantize;
    use crate::layouts::ggml::encode;

    /// Two blocks of numbers of both signs, which are not symmetric.
    fn blocks(kind: TensorType) -> (Vec<u8>, usize) {
        let (weights, _) = kind.block().expect("it is listed");
        let values: Vec<f32> =
            (0..2 * weights).map(|at| ((at * 37 % 101) as f32 - 31.0) / 64.0).collect();
        (encode(kind, &values).expect("the numbers are finite"), values.len())
    }

    fn even() -> impl Iterator<Item = (TensorType, u8)> {
        TensorType::DECODED.into_iter().filter_map(|kind| Some((kind, last_code(kind)?)))
    }

    #[test]
    fn nine_types_have_even_steps() {
        let found: Vec<String> = even().map(|(kind, last)| format!("{kind} {last}")).collect();
        let wanted = "Q4_0 15, Q4_1 15, Q5_0 31, Q5_1 31, Q8_0 254, Q2_K 3, Q3_K 7, Q4_K 15, Q5_K 31, Q6_K 63";
        assert_eq!(found.join(", "), wanted);
    }

    #[test]
    fn each_code_is_one_step_from_the_code_before() {
        for (kind, last) in even() {
            let (blocks, count) = blocks(kind);
            let of = |code: u8| {
                let with = with_codes(kind, &blocks, &vec![code; count]).expect("codes fit");
                dequantize(kind, &with).expect("blocks are whole")
            };
            let (first, second) = (of(0), of(1));
            for code in [2, last / 2, last].map(|code| code.min(last)) {
                for ((first, second), found) in first.iter().zip(&second).zip(of(code)) {
                    let step = second - first;
                    let wanted = f64::from(*first) + f64::from(code) * f64::from(step);
                    // The step is a difference of two numbers that were rounded.
                    let bound =
                        f64::from(code) * f64::from(first.abs() + second.abs()) * 2f64.powi(-22);
                    assert!(
                        (wanted - f64::from(found)).abs() <= bound,
                        "{kind} {code}: {found} {wanted}"
                    );
                }
            }
        }
    }

    #[test]
    fn four_types_find_the_grid_of_q4_1_again() {
        let found =
            TensorType::DECODED.into_iter().filter(|&kind| finds_again(kind, TensorType::Q4_1));
        let names: Vec<String> = found.map(|kind| kind.to_string()).collect();
        assert_eq!(names.join(", "), "Q4_1, Q5_1, Q4_K, Q5_K");
        assert!(!finds_again(TensorType::Q4_1, TensorType::Q5_1), "it has fewer steps");
        assert!(!finds_again(TensorType::Q4_0, TensorType::Q4_0), "it has no minimum");
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let (blocks, count) = blocks(TensorType::Q3_K);
        let says =
            |codes: &[u8]| with_codes(TensorType::Q3_K, &blocks, codes).unwrap_err().to_string();
        assert!(says(&vec![8; count]).contains("beyond 7"));
        assert!(says(&vec![0; count - 1]).contains("511 codes"));
        let error = with_codes(TensorType::IQ4_NL, &[0; 18], &[0; 32]).unwrap_err().to_string();
        assert!(error.contains("even steps"), "{error}");
    }
}
