//! What can be wrong with a GGUF file or with what is asked of it.

use super::TensorType;

/// What can be wrong with a GGUF file or with what is asked of it.
#[derive(Debug, thiserror::Error)]
pub enum GgufError {
    /// The file cannot be opened or read.
    #[error("cannot read the GGUF file: {0}")]
    Io(#[from] std::io::Error),
    /// The first four bytes are not `GGUF`.
    #[error("not a GGUF file: it starts with {0:02x?}, not with \"GGUF\"")]
    Magic([u8; 4]),
    /// The first version, whose lengths have 32 bits.
    #[error(
        "GGUF version {0} is not supported, versions 2 and 3 are: convert the model again with a \
         current llama.cpp"
    )]
    Older(u32),
    /// A version after the last that is known here.
    #[error(
        "GGUF version {0} is newer than this program, which reads versions 2 and 3: look for a newer \
         version of this program"
    )]
    Newer(u32),
    /// A file for big-endian machines.
    #[error(
        "a big-endian GGUF file (version {0}), and only little-endian ones are read: fetch the \
         little-endian file of the same model, or convert the model again"
    )]
    BigEndian(u32),
    /// The file ends too early.
    #[error(
        "the GGUF file is cut short: {what} needs {needed} bytes at byte {at}, {left} are left; \
         fetch it again"
    )]
    Truncated {
        /// What was being read.
        what: String,
        /// Where in the file, in bytes.
        at: u64,
        /// Bytes it takes at the very least.
        needed: u64,
        /// Bytes between there and the end of the file.
        left: u64,
    },
    /// Something in the header that no writer produces.
    #[error("the GGUF file is damaged: {0}")]
    Damaged(String),
    /// A metadata key that the file does not have.
    #[error("the GGUF file has no metadata key `{0}`")]
    NoKey(String),
    /// A metadata value of another type than asked for.
    #[error("the GGUF metadata `{key}` is {found}, not {wanted}")]
    WrongType {
        /// The key.
        key: String,
        /// What it holds.
        found: &'static str,
        /// What was asked for.
        wanted: &'static str,
    },
    /// There is no such tensor.
    #[error("the GGUF file has no tensor `{name}`; nearest: {nearest}")]
    NoTensor {
        /// The name that was asked for.
        name: String,
        /// Names that the file has and that start alike.
        nearest: String,
    },
    /// A tensor with more than two axes.
    #[error("tensor `{name}` has the shape {shape:?}, not that of a matrix or a vector")]
    NotAMatrix {
        /// The tensor's name.
        name: String,
        /// Its shape, outermost axis first.
        shape: Vec<usize>,
    },
    /// A type that is not decoded here.
    #[error("blocks of {0} are not decoded here; F32, F16, Q4_0, Q4_1 and Q8_0 are")]
    Undecodable(TensorType),
    /// Bytes that end inside a block.
    #[error("{bytes} bytes are not a whole number of {kind} blocks of {block} bytes")]
    PartOfABlock {
        /// The type of the blocks.
        kind: TensorType,
        /// The bytes that were given.
        bytes: usize,
        /// Bytes of one block.
        block: usize,
    },
}
