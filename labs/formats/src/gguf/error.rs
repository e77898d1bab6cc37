//! What can be wrong with a GGUF file or with what is asked of it.

use super::TensorType;

/// What can be wrong with a GGUF file or with what is asked of it.
#[allow(missing_docs)] // The messages say what the variants and their fields are.
#[derive(Debug, thiserror::Error)]
pub enum GgufError {
    #[error("cannot read the GGUF file: {0}")]
    Io(#[from] std::io::Error),
    #[error("not a GGUF file: it starts with {0:02x?}, not with \"GGUF\"")]
    Magic([u8; 4]),
    #[error(
        "GGUF version {0} is not supported, versions 2 and 3 are: convert the model again with a \
         current llama.cpp"
    )]
    Older(u32),
    #[error(
        "GGUF version {0} is newer than this program, which reads versions 2 and 3: look for a newer \
         version of this program"
    )]
    Newer(u32),
    #[error(
        "a big-endian GGUF file (version {0}), and only little-endian ones are read: fetch the \
         little-endian file of the same model, or convert the model again"
    )]
    BigEndian(u32),
    #[error(
        "the GGUF file is cut short: {what} needs {needed} bytes at byte {at}, {left} are left; \
         fetch it again"
    )]
    Truncated { what: String, at: u64, needed: u64, left: u64 },
    #[error("the GGUF file is damaged: {0}")]
    Damaged(String),
    #[error("the GGUF file has no metadata key `{0}`")]
    NoKey(String),
    #[error("the GGUF metadata `{key}` is {found}, not {wanted}")]
    WrongType { key: String, found: &'static str, wanted: &'static str },
    #[error("the GGUF file has no tensor `{name}`; nearest: {nearest}")]
    NoTensor { name: String, nearest: String },
    #[error("tensor `{name}` has the shape {shape:?}, not that of a matrix or a vector")]
    NotAMatrix { name: String, shape: Vec<usize> },
    #[error("blocks of {0} are not decoded here; {known} are", known = TensorType::DECODED.map(|kind| kind.to_string()).join(", "))]
    Undecodable(TensorType),
    #[error("blocks of {kind}: {problem}")]
    Codes { kind: TensorType, problem: String },
    #[error("{bytes} bytes are not a whole number of {kind} blocks of {block} bytes")]
    PartOfABlock { kind: TensorType, bytes: usize, block: usize },
}
