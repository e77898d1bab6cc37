//! How a tensor's elements are stored.

use std::fmt::{self, Display};

use crate::gguf::TensorType;

/// The type of an element, by the name that safetensors gives it.
#[allow(missing_docs)] // The names say all there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dtype {
    Bool,
    F4,
    F6E2M3,
    F6E3M2,
    U8,
    I8,
    F8E4M3,
    F8E4M3Fnuz,
    F8E5M2,
    F8E5M2Fnuz,
    F8E8M0,
    I16,
    U16,
    F16,
    BF16,
    I32,
    U32,
    F32,
    I64,
    U64,
    F64,
    C64,
}

/// Every type with its name in a header and the bits of an element.
const ALL: &[(Dtype, &str, u64)] = &[
    (Dtype::Bool, "BOOL", 8),
    (Dtype::F4, "F4", 4),
    (Dtype::F6E2M3, "F6_E2M3", 6),
    (Dtype::F6E3M2, "F6_E3M2", 6),
    (Dtype::U8, "U8", 8),
    (Dtype::I8, "I8", 8),
    (Dtype::F8E4M3, "F8_E4M3", 8),
    (Dtype::F8E4M3Fnuz, "F8_E4M3FNUZ", 8),
    (Dtype::F8E5M2, "F8_E5M2", 8),
    (Dtype::F8E5M2Fnuz, "F8_E5M2FNUZ", 8),
    (Dtype::F8E8M0, "F8_E8M0", 8),
    (Dtype::I16, "I16", 16),
    (Dtype::U16, "U16", 16),
    (Dtype::F16, "F16", 16),
    (Dtype::BF16, "BF16", 16),
    (Dtype::I32, "I32", 32),
    (Dtype::U32, "U32", 32),
    (Dtype::F32, "F32", 32),
    (Dtype::I64, "I64", 64),
    (Dtype::U64, "U64", 64),
    (Dtype::F64, "F64", 64),
    (Dtype::C64, "C64", 64),
];

impl Dtype {
    /// The type with this name, `None` if safetensors has none.
    pub fn named(name: &str) -> Option<Self> {
        ALL.iter().find(|(_, known, _)| *known == name).map(|&(dtype, ..)| dtype)
    }

    /// Bits of one element.
    pub fn bits(self) -> u64 {
        ALL.iter().find(|(known, ..)| *known == self).map_or(0, |&(.., bits)| bits)
    }

    /// Whether it is one of the 8-bit floats that hold weights.
    pub fn is_fp8(self) -> bool {
        matches!(self, Self::F8E4M3 | Self::F8E4M3Fnuz | Self::F8E5M2 | Self::F8E5M2Fnuz)
    }
}

impl Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = ALL.iter().find(|(known, ..)| known == self).map_or("", |(_, name, _)| name);
        f.write_str(name)
    }
}

/// What a tensor's bytes are: elements one by one, or GGML's blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    /// Element after element, as safetensors stores everything.
    Elements(Dtype),
    /// GGML's blocks, and GGML's names for plain floats and integers.
    Blocks(TensorType),
}

impl Display for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Elements(dtype) => dtype.fmt(f),
            Self::Blocks(kind) => kind.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_leads_back_to_itself_and_to_its_bits() {
        for (dtype, name, bits) in ALL {
            assert_eq!(Dtype::named(name), Some(*dtype));
            assert_eq!((dtype.to_string().as_str(), dtype.bits()), (*name, *bits));
        }
        assert_eq!(Dtype::named("f16"), None);
    }
}
