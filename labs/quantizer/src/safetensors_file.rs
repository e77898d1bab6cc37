//! Files whose sizes are known before their data: the header is written first, then every tensor at
//! its place, in any order and from any thread.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use formats::checkpoint::{Tensor, read_header};
use serde_json::Value;

use quantize_model::QuantizeError;
use quantize_model::file::{LENGTH, header, in_order};

/// Where a tensor lies in a file: first byte and bytes.
pub(crate) type Place = (u64, u64);

/// A file that is being filled.
pub(crate) struct Sink {
    path: PathBuf,
    places: BTreeMap<String, Place>,
    state: Mutex<(File, BTreeSet<String>)>,
}

impl Sink {
    /// A safetensors file with these tensors.
    pub(crate) fn safetensors(path: &Path, tensors: &[Tensor]) -> Result<Self, QuantizeError> {
        let json = header(tensors);
        let mut begin = LENGTH + json.len() as u64;
        let mut places = BTreeMap::new();
        for tensor in in_order(tensors) {
            places.insert(tensor.name.clone(), (begin, tensor.bytes));
            begin += tensor.bytes;
        }
        let length = (json.len() as u64).to_le_bytes();
        Self::create(path, &[&length, json.as_bytes()].concat(), places, begin)
    }

    /// A file that starts with `start` and ends after `total` bytes.
    pub(crate) fn create(
        path: &Path,
        start: &[u8],
        places: BTreeMap<String, Place>,
        total: u64,
    ) -> Result<Self, QuantizeError> {
        let mut file = File::create_new(path).map_err(QuantizeError::io(path))?;
        file.write_all(start).map_err(QuantizeError::io(path))?;
        file.set_len(total).map_err(QuantizeError::io(path))?;
        Ok(Self { path: path.into(), places, state: Mutex::new((file, BTreeSet::new())) })
    }

    /// Writes a tensor at its place.
    pub(crate) fn put(&self, name: &str, bytes: &[u8]) -> Result<(), QuantizeError> {
        let plan = |problem: String| QuantizeError::Plan(format!("`{name}` {problem}"));
        let &(begin, length) =
            self.places.get(name).ok_or_else(|| plan("has no place in the file".into()))?;
        if length != bytes.len() as u64 {
            return Err(plan(format!("has {} bytes, planned were {length}", bytes.len())));
        }
        let mut state = self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (file, written) = &mut *state;
        if !written.insert(name.into()) {
            return Err(plan("comes twice".into()));
        }
        file.seek(SeekFrom::Start(begin)).map_err(QuantizeError::io(&self.path))?;
        file.write_all(bytes).map_err(QuantizeError::io(&self.path))
    }

    /// Ends the file, every tensor of which has to be there: its bytes.
    pub(crate) fn finish(self) -> Result<u64, QuantizeError> {
        let state = self.state.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (file, written) = state;
        if let Some(missing) = self.places.keys().find(|name| !written.contains(*name)) {
            return Err(QuantizeError::Plan(format!("`{missing}` was not written")));
        }
        file.sync_all().map_err(QuantizeError::io(&self.path))?;
        Ok(file.metadata().map_err(QuantizeError::io(&self.path))?.len())
    }
}

/// A tensor in a file that was read back.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) tensor: Tensor,
    pub(crate) file: PathBuf,
    begin: u64,
}

impl Found {
    /// Its bytes.
    pub(crate) fn bytes(&self) -> Result<Vec<u8>, QuantizeError> {
        let mut file = File::open(&self.file).map_err(QuantizeError::io(&self.file))?;
        file.seek(SeekFrom::Start(self.begin)).map_err(QuantizeError::io(&self.file))?;
        // The header was held to the length of the file, so this many bytes are there.
        let mut bytes = vec![0; self.tensor.bytes as usize];
        file.read_exact(&mut bytes).map_err(QuantizeError::io(&self.file))?;
        Ok(bytes)
    }
}

/// The tensors of a safetensors file, every rule of the format checked.
pub(crate) fn tensors_in(path: &Path) -> Result<Vec<Found>, QuantizeError> {
    let mut file = File::open(path).map_err(QuantizeError::io(path))?;
    let header = read_header(&mut file)?;
    file.seek(SeekFrom::Start(LENGTH)).map_err(QuantizeError::io(path))?;
    let json = std::io::BufReader::new(file.take(header.header_bytes - LENGTH));
    let json: Value = serde_json::from_reader(json)
        .map_err(|error| QuantizeError::Unsupported(format!("{}: {error}", path.display())))?;
    let begin = |tensor: &Tensor| json[tensor.name.as_str()]["data_offsets"][0].as_u64();
    let found = header.tensors.into_iter().map(|tensor| {
        let begin = header.header_bytes + begin(&tensor).unwrap_or(0);
        Found { tensor, file: path.into(), begin }
    });
    Ok(found.collect())
}
