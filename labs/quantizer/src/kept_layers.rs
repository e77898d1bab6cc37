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
use formats::checkpoint::{Dtype, Storage, Tensor};
use formats::gguf::TensorType;
use formats::layouts::Grouped;
use formats::registry::{Codes, StoredPart, part};
use formats::{FormatError, bytes::Stored};
use half::f16;
use kit::int8::Quantized;
use model::Weights;
use ndarray::{Array2, arr2};

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
        let all = format!("{settings:?} {} {tokens:?}", changed_file(weights.path())?);
        let mut name = start.as_os_str().to_os_string();
        name.push(format!("-{:016x}", fnv(all.as_bytes())));
        let folder = PathBuf::from(name);
        std::fs::create_dir_all(&folder).map_err(WriteError::io(&folder))?;
        Ok(Self(folder))
    }

    /// The codes of a layer, if it was done.
    pub(crate) fn read(&self, layer: usize) -> Result<Option<BTreeMap<String, Codes>>, WriteError> {
        let path = self.file(layer);
        if !path.exists() {
            return Ok(None);
        }
        decoded(&path, |_| true).map(Some).map_err(damaged(&path))
    }

    /// The codes of one weight, if its layer was done.
    pub(crate) fn weight(&self, name: &str) -> Result<Option<Codes>, WriteError> {
        let layer = name.strip_prefix("model.layers.").and_then(|rest| rest.split('.').next());
        let path = layer.and_then(|layer| layer.parse().ok()).map(|layer| self.file(layer));
        let Some(path) = path.filter(|path| path.exists()) else { return Ok(None) };
        let of = |array: &str| array.rsplit_once('.').is_some_and(|(of, _)| of == name);
        let found = decoded(&path, of);
        Ok(found.map_err(damaged(&path))?.remove(name))
    }

    /// Keeps the codes of a layer.
    pub(crate) fn write(
        &self,
        layer: usize,
        codes: &BTreeMap<String, Codes>,
    ) -> Result<(), WriteError> {
        let path = self.file(layer);
        let partial = path.with_extension("partial");
        if partial.exists() {
            std::fs::remove_file(&partial).map_err(WriteError::io(&partial))?;
        }
        let arrays = codes.iter().map(|(name, codes)| arrays(name, codes));
        let arrays: Vec<StoredPart> = arrays.collect::<Result<Vec<_>, _>>()?.concat();
        let tensors: Vec<Tensor> = arrays.iter().map(|array| array.tensor.clone()).collect();
        let sink = Sink::safetensors(&partial, &tensors)?;
        for array in arrays {
            sink.put(&array.tensor.name, &array.bytes)?;
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

/// A checkpoint's path, with the length of its first file and when the file was changed.
pub(crate) fn changed_file(path: &Path) -> Result<String, WriteError> {
    let file = if path.is_dir() { path.join("config.json") } else { path.into() };
    let changed = file.metadata().and_then(|file| Ok((file.len(), file.modified()?)));
    let (length, changed) = changed.map_err(WriteError::io(&file))?;
    let changed = changed.duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(format!("{path:?} {length} {changed:?}"))
}

fn damaged(path: &Path) -> impl Fn(WriteError) -> WriteError {
    let path = path.display().to_string();
    move |error| WriteError::Unsupported(format!("{path} is damaged ({error}): remove it"))
}

/// The codes of the weights in a file whose arrays have a name that is `asked`.
fn decoded(
    path: &Path,
    asked: impl Fn(&str) -> bool,
) -> Result<BTreeMap<String, Codes>, WriteError> {
    let mut arrays = BTreeMap::new();
    for found in tensors_in(path)?.into_iter().filter(|found| asked(&found.tensor.name)) {
        arrays.insert(found.tensor.name.clone(), found.part()?);
    }
    let names = arrays.keys().filter_map(|array| array.strip_suffix(".codes"));
    names.map(|name| Ok((name.to_string(), codes(name, &arrays)?))).collect()
}

/// The arrays that codes are, each with the name of the weight before its own.
fn arrays(name: &str, codes: &Codes) -> Result<Vec<StoredPart>, WriteError> {
    fn array<T: Stored>(name: &str, own: &str, dtype: Dtype, values: &Array2<T>) -> StoredPart {
        let shape = [values.nrows() as u64, values.ncols() as u64];
        StoredPart { tensor: part(name, own, dtype, &shape), bytes: bytes::of(values) }
    }
    Ok(match codes {
        Codes::Int8(w) => vec![
            array(name, "codes", Dtype::I8, w.q()),
            array(name, "scales", Dtype::F32, w.scales()),
        ],
        Codes::Grouped(w) => vec![
            array(name, "codes", Dtype::U8, w.codes()),
            array(name, "zeros", Dtype::U8, w.zeros()),
            array(name, "scales", Dtype::F16, w.scales()),
        ],
        Codes::Table { .. } => return Err(FormatError::WrongCodes("even steps").into()),
        Codes::Float8 { codes, scales } => {
            vec![array(name, "codes", Dtype::U8, codes), array(name, "scales", Dtype::F32, scales)]
        }
        Codes::Blocked { codes, scales, global } => {
            let global = global.map(|global| array(name, "global", Dtype::F32, &arr2(&[[global]])));
            let codes = array(name, "codes", Dtype::U8, codes);
            [codes, array(name, "scales", Dtype::U8, scales)].into_iter().chain(global).collect()
        }
        Codes::Blocks { kind, bytes } => {
            let shape = [1, bytes.len() as u64];
            vec![
                StoredPart { tensor: part(name, "codes", Dtype::U8, &shape), bytes: bytes.clone() },
                array(name, "kind", Dtype::U32, &arr2(&[[kind.id()]])),
            ]
        }
    })
}

/// The codes of the weight `name`, of a kind that the types of its arrays say.
fn codes(name: &str, arrays: &BTreeMap<String, StoredPart>) -> Result<Codes, WriteError> {
    let array = |own: &str| arrays.get(&format!("{name}.{own}"));
    let missing = || WriteError::Plan(format!("an array of `{name}` is missing"));
    let of =
        |own: &str| array(own).and_then(|array| Some((array, shape(array)?))).ok_or_else(missing);
    if let Some(kind) = array("kind") {
        let kind = TensorType::from_id(kind.numbers([1, 1], u32::from_le_bytes)?[(0, 0)]);
        return Ok(Codes::Blocks { kind, bytes: of("codes")?.0.bytes.clone() });
    }
    let ((codes, dim), (scales, scale_dim)) = (of("codes")?, of("scales")?);
    let byte = |[byte]: [u8; 1]| byte;
    Ok(match (codes.tensor.storage, scales.tensor.storage) {
        (Storage::Elements(Dtype::I8), _) => Codes::Int8(
            Quantized::new(codes.numbers(dim, i8::from_le_bytes)?, scales.floats(scale_dim)?)
                .map_err(FormatError::from)?,
        ),
        (_, Storage::Elements(Dtype::F16)) => Codes::Grouped(
            Grouped::new(
                codes.numbers(dim, byte)?,
                of("zeros")?.0.numbers(scale_dim, byte)?,
                scales.numbers(scale_dim, f16::from_le_bytes)?,
            )
            .map_err(FormatError::from)?,
        ),
        (_, Storage::Elements(Dtype::F32)) => {
            Codes::Float8 { codes: codes.numbers(dim, byte)?, scales: scales.floats(scale_dim)? }
        }
        _ => {
            let global = array("global").map(|global| global.floats([1, 1])).transpose()?;
            let (codes, scales) = (codes.numbers(dim, byte)?, scales.numbers(scale_dim, byte)?);
            Codes::Blocked { codes, scales, global: global.map(|global| global[(0, 0)]) }
        }
    })
}

fn shape(array: &StoredPart) -> Option<[usize; 2]> {
    match *array.tensor.shape.as_slice() {
        [rows, columns] => Some([usize::try_from(rows).ok()?, usize::try_from(columns).ok()?]),
        _ => None,
    }
}

/// FNV-1a, which is the same on every machine and in every version of Rust.
pub(crate) fn fnv(bytes: &[u8]) -> u64 {
    let step = |hash: u64, &byte: &u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
    bytes.iter().fold(0xCBF2_9CE4_8422_2325, step)
}
