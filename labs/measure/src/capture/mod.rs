//! What the captures of all labs have in common.
//!
//! A capture is the JSON file of one run on one machine. A lab says which records are in it; how such
//! a file is read, checked and written is [`CaptureFile`], readings are a [`Spread`], and what a
//! program can say of itself is in [`machine`].

mod error;
pub mod machine;
mod spread;

use std::io::Write;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

pub use error::CaptureError;
pub use spread::Spread;

/// A capture, as it lies in a file: with the fields `schema` and `version`.
pub trait CaptureFile: Serialize + DeserializeOwned {
    /// The program that writes it: what the field `schema` says.
    const SCHEMA: &'static str;
    /// The version that is written and the newest that is read.
    const VERSION: u64;

    /// Whether the values agree with each other.
    ///
    /// # Errors
    /// [`CaptureError::Inconsistent`] if they do not.
    fn check(&self) -> Result<(), CaptureError>;

    /// Reads and checks a capture file.
    ///
    /// # Errors
    /// If the file cannot be read, is no capture, is newer than this program, or is damaged.
    fn load(path: &Path) -> Result<Self, CaptureError> {
        let unreadable = |error| CaptureError::Unreadable(path.into(), error);
        Self::parse(&std::fs::read_to_string(path).map_err(unreadable)?)
    }

    /// Reads and checks the text of a capture.
    ///
    /// # Errors
    /// As [`CaptureFile::load`].
    fn parse(text: &str) -> Result<Self, CaptureError> {
        let value: Value = serde_json::from_str(text)?;
        if value["schema"] != Self::SCHEMA {
            let found = value["schema"].to_string();
            return Err(CaptureError::NotACapture { of: Self::SCHEMA, found });
        }
        // Asked first: the fields of a newer version may be others.
        if let Some(found) = value["version"].as_u64().filter(|&found| found > Self::VERSION) {
            return Err(CaptureError::TooNew { found, newest: Self::VERSION });
        }
        let capture: Self = serde_json::from_value(value)?;
        capture.check()?;
        Ok(capture)
    }

    /// Writes the file under a temporary name beside `path` and renames it: a reader never sees
    /// half a capture.
    ///
    /// # Errors
    /// If the folder cannot be written.
    fn save(&self, path: &Path) -> Result<(), CaptureError> {
        let text = serde_json::to_string_pretty(self)? + "\n";
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        let write = || -> std::io::Result<()> {
            std::fs::create_dir_all(folder)?;
            let mut file = tempfile::NamedTempFile::new_in(folder)?;
            file.write_all(text.as_bytes())?;
            file.as_file().sync_all()?;
            file.persist(path)?;
            Ok(())
        };
        write().map_err(|error| CaptureError::Unwritable(path.into(), error))
    }
}
