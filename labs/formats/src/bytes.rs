//! Numbers as the bytes of a file: little-endian, in the order of the array.

use half::{bf16, f16};

use crate::FormatError;
pub use crate::float::Float;

/// A number that a checkpoint stores.
pub trait Stored: Copy {
    /// Appends its bytes.
    fn put(self, bytes: &mut Vec<u8>);
}

macro_rules! stored {
    ($($number:ty),+) => {
        $(impl Stored for $number {
            fn put(self, bytes: &mut Vec<u8>) {
                bytes.extend(self.to_le_bytes());
            }
        })+
    };
}
stored!(u8, i8, u32, i32, i64, f16, bf16, f32);

/// The bytes of `values`, one after another.
pub fn of<'a, T: Stored + 'a>(values: impl IntoIterator<Item = &'a T>) -> Vec<u8> {
    let values = values.into_iter();
    let mut bytes = Vec::with_capacity(values.size_hint().0.saturating_mul(size_of::<T>()));
    values.for_each(|value| value.put(&mut bytes));
    bytes
}

/// The bytes of `values` rounded to `float`, half to even. A value beyond the type is an error,
/// because a model with an infinite weight gives NaN.
///
/// # Errors
/// [`FormatError::NotFinite`], or [`FormatError::FloatOverflow`] for a value that `float` does not
/// reach.
pub fn of_floats<'a>(
    values: impl IntoIterator<Item = &'a f32>,
    float: Float,
) -> Result<Vec<u8>, FormatError> {
    let mut bytes = Vec::new();
    for (index, &value) in values.into_iter().enumerate() {
        if !value.is_finite() {
            return Err(FormatError::NotFinite { index, value });
        }
        let reached = match float {
            Float::F32 => {
                value.put(&mut bytes);
                true
            }
            Float::F16 => {
                f16::from_f32(value).put(&mut bytes);
                f16::from_f32(value).is_finite()
            }
            Float::Bf16 => {
                bf16::from_f32(value).put(&mut bytes);
                bf16::from_f32(value).is_finite()
            }
        };
        if !reached {
            return Err(FormatError::FloatOverflow { index, value, float });
        }
    }
    Ok(bytes)
}
