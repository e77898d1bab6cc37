//! GGUF models in several files, as `llama-gguf-split` writes them: `NAME-00001-of-00003.gguf`.

use std::path::{Path, PathBuf};

use crate::gguf::Gguf;

/// Which part of how many a file is, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SplitPart {
    /// This part.
    pub number: u64,
    /// How many parts there are.
    pub count: u64,
}

impl SplitPart {
    /// What the header says; `None` for a model in one file.
    pub(super) fn of<R: std::io::Read + std::io::Seek>(gguf: &Gguf<R>) -> Option<Self> {
        let number = gguf.u64("split.no").ok()?.checked_add(1)?;
        let count = gguf.u64("split.count").ok().filter(|&count| count > 1)?;
        Some(Self { number, count })
    }
}

/// Name of the model, number of the part and number of parts in the name of a file.
fn parse(path: &Path) -> Option<(&str, &str, &str)> {
    let (rest, count) = path.file_name()?.to_str()?.strip_suffix(".gguf")?.rsplit_once("-of-")?;
    let (name, number) = rest.rsplit_once('-')?;
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    (is_number(number) && is_number(count)).then_some((name, number, count))
}

/// Whether two names are of parts of one model.
fn belong_together(a: &Path, b: &Path) -> bool {
    let model = |path| parse(path).map(|(name, _, count)| (name, count));
    model(a).is_some() && model(a) == model(b)
}

/// The first of `files`, if all are parts of one model.
pub(super) fn first_of_one_model(files: &[PathBuf]) -> Option<&PathBuf> {
    let first = files.first()?;
    files.iter().all(|file| belong_together(first, file)).then_some(first)
}

/// Every part that lies beside `file`, in order; `file` alone if its name or header is not that of a part.
pub(super) fn parts(file: &Path, beside: Vec<PathBuf>) -> Vec<PathBuf> {
    let is_part = Gguf::open(file).ok().and_then(|gguf| SplitPart::of(&gguf)).is_some();
    let mut parts = beside;
    parts.retain(|other| is_part && belong_together(file, other));
    if parts.is_empty() { vec![file.into()] } else { parts }
}
