//! The capture: the JSON file of one run on one machine, the same frame for every program.
//!
//! [`Capture`] says what is common: the [`Provenance`], the setup and how a file is read, checked and
//! written. A program says what it measured in its [`Body`]. Readings are a [`Spread`].

mod provenance;
mod spread;

use std::io::Write;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use provenance::{Provenance, ask};
pub use spread::{Spread, rates, time_ms};

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

/// The version that is written, and the newest that is read. Version 1 had the setup's fields among
/// those of the provenance.
pub const VERSION: u64 = 2;

/// What one program measures.
pub trait Body: Serialize + DeserializeOwned {
    /// What the program adds to the provenance, because it decides the numbers: the engine's version,
    /// facts of the GPU, the model's file.
    type Setup: Serialize + DeserializeOwned;

    /// The program that writes the capture: the field `schema` of the file.
    const SCHEMA: &'static str;

    /// Schemas of programs that this one replaced: their files are of version 1 and are read.
    const REPLACED: &'static [&'static str] = &[];

    /// Turns the JSON of version 1, setup and provenance already apart, into that of this version.
    fn upgrade(_value: &mut Value) {}

    /// Whether the values agree with each other.
    ///
    /// # Errors
    /// [`CaptureError::Inconsistent`] if they do not.
    fn check(&self, setup: &Self::Setup) -> Result<(), CaptureError>;
}

/// One run of one program: where, when and with what, and what was measured.
///
/// A capture dereferences to its body, so that `capture.products` is what was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(bound = "")]
pub struct Capture<B: Body> {
    /// Where and when.
    pub provenance: Provenance,
    /// With what.
    pub setup: B::Setup,
    /// What was measured.
    #[serde(flatten)]
    pub body: B,
}

/// The file: which program's it is, and which version.
#[derive(Serialize)]
#[serde(bound = "")]
struct File<'c, B: Body> {
    schema: &'static str,
    version: u64,
    #[serde(flatten)]
    capture: &'c Capture<B>,
}

impl<B: Body> Deref for Capture<B> {
    type Target = B;

    fn deref(&self) -> &B {
        &self.body
    }
}

impl<B: Body> DerefMut for Capture<B> {
    fn deref_mut(&mut self) -> &mut B {
        &mut self.body
    }
}

impl<B: Body> Capture<B> {
    /// Whether the values agree with each other.
    ///
    /// # Errors
    /// [`CaptureError::Inconsistent`] if they do not.
    pub fn check(&self) -> Result<(), CaptureError> {
        self.body.check(&self.setup)
    }

    /// Reads and checks a capture file.
    ///
    /// # Errors
    /// If the file cannot be read, is no capture of this program, is newer than this program, or is
    /// damaged.
    pub fn load(path: &Path) -> Result<Self, CaptureError> {
        let unreadable = |error| CaptureError::Unreadable(path.into(), error);
        Self::parse(&std::fs::read_to_string(path).map_err(unreadable)?)
    }

    /// The capture in the file, which a program completes; without the file an empty one of this run.
    ///
    /// # Errors
    /// As [`Capture::load`].
    pub fn begun(path: &Path) -> Result<Self, CaptureError>
    where
        B: Default,
        B::Setup: Default,
    {
        if path.exists() {
            return Self::load(path);
        }
        let provenance = Provenance::of_this_run(false);
        Ok(Self { provenance, setup: Default::default(), body: B::default() })
    }

    /// Reads and checks the text of a capture.
    ///
    /// # Errors
    /// As [`Capture::load`].
    pub fn parse(text: &str) -> Result<Self, CaptureError> {
        let mut value: Value = serde_json::from_str(text)?;
        let schema = value["schema"].as_str().unwrap_or_default();
        if schema != B::SCHEMA && !B::REPLACED.contains(&schema) {
            let found = value["schema"].to_string();
            return Err(CaptureError::NotACapture { of: B::SCHEMA, found });
        }
        // The version decides before any field is looked at: the fields of a newer one may be others.
        match value["version"].as_u64() {
            Some(1) => {
                separate_setup(&mut value);
                B::upgrade(&mut value);
            }
            Some(VERSION) => {}
            Some(found) if found > VERSION => {
                return Err(CaptureError::TooNew { found, newest: VERSION });
            }
            _ => {
                let text = format!("version {} was never written", value["version"]);
                return Err(CaptureError::Inconsistent(text));
            }
        }
        let capture: Self = serde_json::from_value(value)?;
        capture.check()?;
        Ok(capture)
    }

    /// Writes the file under a temporary name in the folder of `path` and renames it, because a reader
    /// should never see half a capture.
    ///
    /// # Errors
    /// If the values contradict each other, or the folder cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), CaptureError> {
        self.check()?;
        let file = File { schema: B::SCHEMA, version: VERSION, capture: self };
        let text = serde_json::to_string_pretty(&file)? + "\n";
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        let write = || -> std::io::Result<()> {
            std::fs::create_dir_all(folder)?;
            let mut file = tempfile::NamedTempFile::new_in(folder)?;
            file.write_all(text.as_bytes())?;
            // Before the rename, because a power cut could otherwise leave the name with an empty file.
            file.as_file().sync_all()?;
            file.persist(path)?;
            Ok(())
        };
        write().map_err(|error| CaptureError::Unwritable(path.into(), error))
    }
}

/// Moves what is not common to all programs out of the provenance of a file of version 1.
fn separate_setup(value: &mut Value) {
    if let Value::Object(old) = value["provenance"].take() {
        let common = |name: &str| provenance::FIELDS.contains(&name);
        let (common, setup): (serde_json::Map<_, _>, _) =
            old.into_iter().partition(|(name, _)| common(name));
        value["provenance"] = Value::Object(common);
        value["setup"] = Value::Object(setup);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A program that measures a number.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Number {
        #[serde(rename = "value")]
        number: f64,
    }

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Setup {
        tool: String,
    }

    impl Body for Number {
        type Setup = Setup;
        const SCHEMA: &'static str = "number";
        const REPLACED: &'static [&'static str] = &["digit"];

        fn check(&self, setup: &Setup) -> Result<(), CaptureError> {
            let wrong = || CaptureError::Inconsistent(format!("{} of {}", self.number, setup.tool));
            if self.number < 0.0 { Err(wrong()) } else { Ok(()) }
        }
    }

    fn example() -> Capture<Number> {
        let setup = Setup { tool: "a clock".into() };
        Capture { provenance: Provenance::made_up(), setup, body: Number { number: 0.1 + 0.2 } }
    }

    #[test]
    fn a_capture_comes_back_as_it_was_written() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("new").join("capture.json");
        example().save(&path)?;
        assert_eq!(Capture::load(&path)?, example());
        let left: Vec<_> = std::fs::read_dir(folder.path().join("new"))?.collect();
        assert_eq!(left.len(), 1, "the temporary file is gone");
        let text = std::fs::read_to_string(&path)?;
        assert!(text.contains("\"schema\": \"number\",\n  \"version\": 2"), "{text}");
        Ok(())
    }

    /// A file of version 1, changed.
    fn old(change: impl Fn(&mut Value)) -> Result<Capture<Number>, CaptureError> {
        let provenance = json!({
            "processor": "a test", "processors": 2, "system": "none", "compiler": "rustc",
            "commit": "none", "date": "2000-01-01T00:00:00Z", "command": "made up", "quick": true,
            "tool": "a clock",
        });
        let mut value = json!({
            "schema": "digit", "version": 1, "provenance": provenance, "value": 0.1 + 0.2,
        });
        change(&mut value);
        Capture::parse(&value.to_string())
    }

    #[test]
    fn a_file_of_version_1_is_read_and_what_it_does_not_tell_is_left_open() {
        assert_eq!(old(|_| ()).expect("it was written once"), example());
        let provenance = |value: &mut Value| {
            let fields = value["provenance"].as_object_mut().expect("an object");
            fields.retain(|name, _| !["compiler", "processors"].contains(&name.as_str()));
        };
        let short = old(provenance).expect("programs before did not tell").provenance;
        assert_eq!((short.compiler, short.processors), (None, 0));
    }

    #[test]
    fn other_newer_and_damaged_files_are_refused_with_the_reason() {
        type Change = fn(&mut Value);
        let changes: [(&str, Change); 7] = [
            ("no capture of `number`: its field `schema` is \"x\"", |v| v["schema"] = "x".into()),
            ("version 3; this program reads up to version 2: update", |v| v["version"] = 3.into()),
            ("version 9", |v| *v = json!({ "schema": "number", "version": 9, "value": "new" })),
            ("version 0 was never written", |v| v["version"] = 0.into()),
            ("is damaged", |v| v["value"] = Value::Null),
            ("is damaged", |v| v["provenance"]["tool"] = Value::Null),
            ("-1 of a clock", |v| v["value"] = (-1.0).into()),
        ];
        for (words, change) in changes {
            let error = old(change).expect_err(words).to_string();
            assert!(error.contains(words), "{error}");
        }
        let cut = Capture::<Number>::parse("{\"schema\": \"num").expect_err("cut off").to_string();
        assert!(cut.contains("damaged"), "{cut}");
    }
}
