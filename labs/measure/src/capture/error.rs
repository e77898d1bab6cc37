//! Why a capture cannot be read or written.

use std::path::PathBuf;

/// Why a capture cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// The file cannot be opened or read.
    #[error("cannot read the capture {0}: {1}")]
    Unreadable(PathBuf, std::io::Error),
    /// The file cannot be written.
    #[error("cannot write the capture {0}: {1}; choose another --out")]
    Unwritable(PathBuf, std::io::Error),
    /// The text is not JSON, or a field is missing or of the wrong kind.
    #[error("the capture is damaged: {0}; restore the file or make the run again")]
    Damaged(#[from] serde_json::Error),
    /// The file is something else.
    #[error("this is no capture of `{of}`: its field `schema` is {found}")]
    NotACapture {
        /// The program whose capture was wanted.
        of: &'static str,
        /// What the field holds.
        found: String,
    },
    /// The file is newer than this program.
    #[error(
        "the capture has version {found}; this program reads up to version {newest}: update it"
    )]
    TooNew {
        /// The file's version.
        found: u64,
        /// The newest that is read.
        newest: u64,
    },
    /// The values contradict each other.
    #[error("the capture contradicts itself: {0}; restore the file or make the run again")]
    Inconsistent(String),
}
