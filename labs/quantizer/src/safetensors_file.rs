//! Files whose sizes are known before their data. The header is written first, then each tensor at its
//! offset, in any order and from any thread.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use formats::checkpoint::{Tensor, read_header};
use formats::registry::StoredPart;

use crate::WriteError;
use quantize_model::file::{LENGTH, header, in_order};

/// The first byte of a tensor in a file, and its number of bytes.
pub(crate) type Span = (u64, u64);

/// Cuts tensors into files of at most `limit` bytes of data, in their order, keeping `groups` (the
/// parts of one matrix) together. A group that is larger has a file of its own.
///
/// # Errors
/// [`WriteError::NoRoom`] for a limit of 0.
pub(crate) fn shards(groups: Vec<Vec<Tensor>>, limit: u64) -> Result<Vec<Vec<Tensor>>, WriteError> {
    if limit == 0 {
        return Err(WriteError::NoRoom);
    }
    let mut shards: Vec<Vec<Tensor>> = Vec::new();
    let mut room = 0;
    for group in groups {
        let bytes: u64 = group.iter().map(|tensor| tensor.bytes).sum();
        match shards.last_mut().filter(|_| bytes <= room) {
            Some(shard) => shard.extend(group),
            None => {
                shards.push(group);
                room = limit;
            }
        }
        room = room.saturating_sub(bytes);
    }
    Ok(shards)
}

/// A file whose tensors are being written.
pub(crate) struct Sink {
    path: PathBuf,
    spans: BTreeMap<String, Span>,
    state: Mutex<(File, BTreeSet<String>)>,
}

impl Sink {
    /// A safetensors file with these tensors.
    pub(crate) fn safetensors(path: &Path, tensors: &[Tensor]) -> Result<Self, WriteError> {
        let json = header(tensors);
        let mut begin = LENGTH + json.len() as u64;
        let mut spans = BTreeMap::new();
        for tensor in in_order(tensors) {
            spans.insert(tensor.name.clone(), (begin, tensor.bytes));
            begin += tensor.bytes;
        }
        let length = (json.len() as u64).to_le_bytes();
        Self::create(path, &[&length, json.as_bytes()].concat(), spans, begin)
    }

    /// A file that starts with `start` and has `total` bytes.
    pub(crate) fn create(
        path: &Path,
        start: &[u8],
        spans: BTreeMap<String, Span>,
        total: u64,
    ) -> Result<Self, WriteError> {
        let mut file = File::create_new(path).map_err(WriteError::io(path))?;
        file.write_all(start).map_err(WriteError::io(path))?;
        // The whole length now, because tensors arrive in any order.
        file.set_len(total).map_err(WriteError::io(path))?;
        Ok(Self { path: path.into(), spans, state: Mutex::new((file, BTreeSet::new())) })
    }

    /// Writes a tensor at its offset.
    pub(crate) fn put(&self, name: &str, bytes: &[u8]) -> Result<(), WriteError> {
        let plan = |problem: String| WriteError::Plan(format!("`{name}` {problem}"));
        let &(begin, length) =
            self.spans.get(name).ok_or_else(|| plan("has no place in the file".into()))?;
        if length != bytes.len() as u64 {
            return Err(plan(format!("has {} bytes, planned were {length}", bytes.len())));
        }
        // One lock, because a file has one position, which the seek moves.
        let mut state = self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (file, written) = &mut *state;
        if !written.insert(name.into()) {
            return Err(plan("comes twice".into()));
        }
        file.seek(SeekFrom::Start(begin)).map_err(WriteError::io(&self.path))?;
        file.write_all(bytes).map_err(WriteError::io(&self.path))
    }

    /// Checks that every tensor was written, and returns the bytes of the file.
    pub(crate) fn finish(self) -> Result<u64, WriteError> {
        let state = self.state.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (file, written) = state;
        if let Some(missing) = self.spans.keys().find(|name| !written.contains(*name)) {
            return Err(WriteError::Plan(format!("`{missing}` was not written")));
        }
        // On disk before the folder gets its final name, so that a finished checkpoint survives a crash.
        file.sync_all().map_err(WriteError::io(&self.path))?;
        Ok(file.metadata().map_err(WriteError::io(&self.path))?.len())
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
    /// The tensor with its bytes.
    pub(crate) fn part(&self) -> Result<StoredPart, WriteError> {
        let mut file = File::open(&self.file).map_err(WriteError::io(&self.file))?;
        file.seek(SeekFrom::Start(self.begin)).map_err(WriteError::io(&self.file))?;
        // The header was checked against the file's length, so the allocation is not larger than the file.
        let mut bytes = vec![0; self.tensor.bytes as usize];
        file.read_exact(&mut bytes).map_err(WriteError::io(&self.file))?;
        Ok(StoredPart { tensor: self.tensor.clone(), bytes })
    }
}

/// The tensors of a safetensors file, every rule of the format checked.
pub(crate) fn tensors_in(path: &Path) -> Result<Vec<Found>, WriteError> {
    let mut file = File::open(path).map_err(WriteError::io(path))?;
    let header = read_header(&mut file)?;
    let found = header.tensors.into_iter().zip(header.begins);
    Ok(found.map(|(tensor, begin)| Found { tensor, file: path.into(), begin }).collect())
}

#[cfg(test)]
mod tests {
    use formats::checkpoint::Dtype;
    use formats::registry::part;

    use super::*;

    #[test]
    fn parts_of_a_matrix_share_a_shard_and_a_large_one_has_its_own() -> Result<(), WriteError> {
        let of = |name: &str, bytes: u64| part(name, "weight", Dtype::U8, &[bytes]);
        let groups =
            vec![vec![of("a", 6)], vec![of("b", 3), of("c", 1)], vec![of("d", 50)], vec![]];
        let cut = shards(groups, 10)?;
        let sizes: Vec<u64> = cut.iter().map(|shard| shard.iter().map(|t| t.bytes).sum()).collect();
        assert_eq!(sizes, [10, 50]);
        assert!(shards(Vec::new(), 0).is_err());
        Ok(())
    }
}
