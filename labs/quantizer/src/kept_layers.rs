//! The codes of decoder layers that are done, kept in a folder so that a run that was killed goes on.
//!
//! The name of the folder has a hash of everything that decides the codes, so that a run with other
//! settings does not read them. A file is written under another name and renamed, so that a file is
//! complete or not there.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use formats::bytes;
use formats::checkpoint::{Dtype, Tensor};
use formats::registry::{StoredPart, part};
use gptq::Rounded;
use model::Weights;

use crate::WriteError;
use crate::safetensors_file::{Sink, tensors_in};

/// The folder.
pub(crate) struct KeptLayers(PathBuf);

impl KeptLayers {
    /// The folder whose name starts with `start`, for these `settings` and `tokens`. It is made, or is
    /// there from a run before.
    pub(crate) fn new(
        start: &Path,
        settings: &impl Debug,
        weights: &Weights,
        tokens: &[u32],
    ) -> Result<Self, WriteError> {
        let path = weights.path();
        let file = if path.is_dir() { path.join("config.json") } else { path.into() };
        let changed = file.metadata().and_then(|file| Ok((file.len(), file.modified()?)));
        let (length, changed) = changed.map_err(WriteError::io(&file))?;
        let changed = changed.duration_since(UNIX_EPOCH).unwrap_or_default();
        let all = format!("{settings:?} {path:?} {length} {changed:?} {tokens:?}");
        let mut name = start.as_os_str().to_os_string();
        name.push(format!("-{:016x}", fnv(all.as_bytes())));
        let folder = PathBuf::from(name);
        std::fs::create_dir_all(&folder).map_err(WriteError::io(&folder))?;
        Ok(Self(folder))
    }

    /// The codes of a layer, if it was done.
    pub(crate) fn read(
        &self,
        layer: usize,
    ) -> Result<Option<BTreeMap<String, Rounded>>, WriteError> {
        let path = self.file(layer);
        if !path.exists() {
            return Ok(None);
        }
        decoded(&path, |_| true).map(Some).map_err(damaged(&path))
    }

    /// The codes of one weight, if its layer was done.
    pub(crate) fn weight(&self, name: &str) -> Result<Option<Rounded>, WriteError> {
        let layer = name.strip_prefix("model.layers.").and_then(|rest| rest.split('.').next());
        let path = layer.and_then(|layer| layer.parse().ok()).map(|layer| self.file(layer));
        let Some(path) = path.filter(|path| path.exists()) else { return Ok(None) };
        let parts = [format!("{name}{CODES}"), format!("{name}{SCALES}")];
        let found = decoded(&path, |part| parts.iter().any(|wanted| wanted == part));
        Ok(found.map_err(damaged(&path))?.remove(name))
    }

    /// Keeps the codes of a layer.
    pub(crate) fn write(
        &self,
        layer: usize,
        rounded: &BTreeMap<String, Rounded>,
    ) -> Result<(), WriteError> {
        let path = self.file(layer);
        let partial = path.with_extension("partial");
        if partial.exists() {
            std::fs::remove_file(&partial).map_err(WriteError::io(&partial))?;
        }
        let tensors: Vec<Tensor> = rounded.iter().flat_map(|(name, r)| tensors(name, r)).collect();
        let sink = Sink::safetensors(&partial, &tensors)?;
        for (name, rounded) in rounded {
            sink.put(&format!("{name}{CODES}"), &bytes::of(rounded.q()))?;
            sink.put(&format!("{name}{SCALES}"), &bytes::of(rounded.scales()))?;
        }
        sink.finish()?;
        std::fs::rename(&partial, &path).map_err(WriteError::io(&path))
    }

    /// Removes the folder.
    pub(crate) fn remove(self) -> Result<(), WriteError> {
        std::fs::remove_dir_all(&self.0).map_err(WriteError::io(&self.0))
    }

    fn file(&self, layer: usize) -> PathBuf {
        self.0.join(format!("layer-{layer:05}.safetensors"))
    }
}

fn damaged(path: &Path) -> impl Fn(WriteError) -> WriteError {
    let path = path.display().to_string();
    move |error| WriteError::Unsupported(format!("{path} is damaged ({error}): remove it"))
}

/// The codes of the weights in a file whose parts have a name that is `asked`.
fn decoded(
    path: &Path,
    asked: impl Fn(&str) -> bool,
) -> Result<BTreeMap<String, Rounded>, WriteError> {
    let mut parts = BTreeMap::new();
    for found in tensors_in(path)?.into_iter().filter(|found| asked(&found.tensor.name)) {
        parts.insert(found.tensor.name.clone(), found.part()?);
    }
    let damaged = || WriteError::Plan("a part is missing".into());
    let mut layer = BTreeMap::new();
    for (name, codes) in &parts {
        let Some(name) = name.strip_suffix(CODES) else { continue };
        let scales = parts.get(&format!("{name}{SCALES}")).ok_or_else(damaged)?;
        let codes = codes.numbers(shape(codes).ok_or_else(damaged)?, i8::from_le_bytes)?;
        let scales = scales.floats(shape(scales).ok_or_else(damaged)?)?;
        layer.insert(name.to_string(), Rounded::new(codes, scales)?);
    }
    Ok(layer)
}

/// The ends of the names of the two parts of a weight.
const CODES: &str = ".codes";
const SCALES: &str = ".scales";

fn tensors(name: &str, rounded: &Rounded) -> [Tensor; 2] {
    let dim = |(rows, columns): (usize, usize)| [rows as u64, columns as u64];
    [
        part(name, &CODES[1..], Dtype::I8, &dim(rounded.q().dim())),
        part(name, &SCALES[1..], Dtype::F32, &dim(rounded.scales().dim())),
    ]
}

fn shape(part: &StoredPart) -> Option<[usize; 2]> {
    match *part.tensor.shape.as_slice() {
        [rows, columns] => Some([usize::try_from(rows).ok()?, usize::try_from(columns).ok()?]),
        _ => None,
    }
}

/// FNV-1a, which is the same on every machine and in every version of Rust.
fn fnv(bytes: &[u8]) -> u64 {
    let step = |hash: u64, &byte: &u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
    bytes.iter().fold(0xCBF2_9CE4_8422_2325, step)
}
