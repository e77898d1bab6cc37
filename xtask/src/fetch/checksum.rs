//! Files whose content is known beforehand.

use std::fs;
use std::io;
use std::path::Path;

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

/// A file of which the length and the checksum are known.
pub struct Pinned {
    /// Its name, without a folder.
    pub name: &'static str,
    /// Its length in bytes.
    pub bytes: u64,
    /// Its SHA-256, in hexadecimal.
    pub sha256: &'static str,
}

impl Pinned {
    /// Whether `path` is there, as long as it should be, and has the right checksum.
    pub fn is_whole(&self, path: &Path) -> Result<bool> {
        // The length first, because it costs no reading.
        Ok(length_of(path)? == Some(self.bytes) && sha256_of(path)? == self.sha256)
    }

    /// Fails, and says how, if `path` is not this file.
    pub fn require(&self, path: &Path) -> Result<()> {
        let (shown, expected) = (path.display(), self.bytes);
        let length = length_of(path)?.with_context(|| format!("there is no file {shown}"))?;
        if length != expected {
            bail!("{shown} has {length} bytes instead of {expected}: it is not {}", self.name);
        }
        let (found, wanted) = (sha256_of(path)?, self.sha256);
        if found != wanted {
            let name = self.name;
            bail!("{shown} has the SHA-256 {found} instead of {wanted}: it is not {name}");
        }
        Ok(())
    }
}

/// The length of the file in bytes, `None` if there is no such file.
fn length_of(path: &Path) -> Result<Option<u64>> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(Some(metadata.len())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot look at {}", path.display())),
    }
}

/// The file's SHA-256, in hexadecimal.
pub fn sha256_of(path: &Path) -> Result<String> {
    // Read at once, because the largest file that is fetched has 270 MB.
    let content = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect())
}
