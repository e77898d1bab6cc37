//! The way back: from the bytes of the parts to numbers.
//!
//! It knows the formats and not the plan: what it says of a file that the plan wrote is a second
//! opinion.

use formats::layouts::{awq, compressed_tensors, gptq};
use half::f16;
use kit::int8::Quantized;
use ndarray::{Array1, Array2};

use quantize_model::{QuantizeError, Scheme, fp8, labs};

/// The matrix `[out_features, in_features]` that the `parts` of `scheme` stand for: their bytes, in the
/// order of the table at [`parts`](quantize_model::parts). For GGUF: one part, its blocks.
///
/// # Errors
/// If the bytes are not those of such a matrix.
pub fn dequantize(
    scheme: Scheme,
    [out, inputs]: [usize; 2],
    parts: &[Vec<u8>],
) -> Result<Array2<f32>, QuantizeError> {
    let groups = |size: u64| inputs / usize::try_from(size).unwrap_or(usize::MAX).max(1);
    match (scheme, parts) {
        (Scheme::W8A8, [codes, scales]) => {
            let codes = matrix(codes, [out, inputs], |[byte]| i8::from_le_bytes([byte]))?;
            let scales = matrix(scales, [out, 1], f32::from_le_bytes)?;
            Ok(labs::dequantize(&Quantized::new(codes, scales)?))
        }
        (Scheme::W8A16, [codes, scales, _]) => {
            let codes = matrix(codes, [out, inputs], |[byte]| (byte ^ 0x80).cast_signed())?;
            let scales = matrix(scales, [out, 1], f32::from_le_bytes)?;
            Ok(labs::dequantize(&Quantized::new(codes, scales)?))
        }
        (Scheme::Fp8, [codes, scales]) => {
            let codes = matrix(codes, [out, inputs], |[byte]| fp8::decode(byte))?;
            Ok(codes * matrix(scales, [out, 1], f32::from_le_bytes)?)
        }
        (Scheme::W4A16(size), [packed, scales, shape]) => {
            let shape = matrix(shape, [1, 2], i64::from_le_bytes)?;
            let tensors = compressed_tensors::CompressedTensors {
                weight_packed: matrix(packed, [out, inputs / 8], i32::from_le_bytes)?,
                weight_scale: matrix(scales, [out, groups(size)], f16::from_le_bytes)?,
                weight_shape: [shape[(0, 0)], shape[(0, 1)]],
                weight_zero_point: None,
            };
            Ok(compressed_tensors::unpack(&tensors)?.dequantize())
        }
        (Scheme::Awq(size), [qweight, qzeros, scales]) => {
            let tensors = awq::AwqTensors {
                qweight: matrix(qweight, [inputs, out / 8], i32::from_le_bytes)?,
                qzeros: matrix(qzeros, [groups(size), out / 8], i32::from_le_bytes)?,
                scales: matrix(scales, [groups(size), out], f16::from_le_bytes)?,
            };
            Ok(awq::unpack(&tensors)?.dequantize())
        }
        (Scheme::Gptq(size), [qweight, qzeros, scales, g_idx]) => {
            let g_idx = matrix(g_idx, [1, inputs], i32::from_le_bytes)?;
            let tensors = gptq::GptqTensors {
                qweight: matrix(qweight, [inputs / 8, out], i32::from_le_bytes)?,
                qzeros: matrix(qzeros, [groups(size), out / 8], i32::from_le_bytes)?,
                scales: matrix(scales, [groups(size), out], f16::from_le_bytes)?,
                g_idx: Array1::from_iter(g_idx),
            };
            Ok(gptq::unpack(&tensors, gptq::Version::V1)?.dequantize())
        }
        (Scheme::Gguf(kind), [blocks]) => {
            let values = formats::gguf::dequantize(kind, blocks)?;
            shaped(values, [out, inputs])
        }
        (scheme, parts) => {
            let problem = format!("a matrix under {scheme} does not have {} parts", parts.len());
            Err(QuantizeError::Plan(problem))
        }
    }
}

/// Numbers of `N` bytes as a matrix.
pub(crate) fn matrix<T, const N: usize>(
    bytes: &[u8],
    shape: [usize; 2],
    number: impl Fn([u8; N]) -> T,
) -> Result<Array2<T>, QuantizeError> {
    let (numbers, rest) = bytes.as_chunks::<N>();
    if !rest.is_empty() {
        let problem = format!("{} bytes are no whole numbers of {N}", bytes.len());
        return Err(QuantizeError::Plan(problem));
    }
    shaped(numbers.iter().copied().map(number).collect(), shape)
}

fn shaped<T>(numbers: Vec<T>, shape: [usize; 2]) -> Result<Array2<T>, QuantizeError> {
    let count = numbers.len();
    Array2::from_shape_vec(shape, numbers)
        .map_err(|_| QuantizeError::Plan(format!("{count} numbers are no matrix of {shape:?}")))
}
