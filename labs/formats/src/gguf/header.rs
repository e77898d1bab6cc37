//! The header: metadata, then the position of each tensor. Everything is checked here, once.

use std::collections::{BTreeMap, HashSet};
use std::io::{Read, Seek};

use super::cursor::Cursor;
use super::{GgufError, TensorType, Value};
use crate::printable::printable;

/// The versions that are read: 3 has the layout of 2, and allows big-endian files besides.
const VERSIONS: std::ops::RangeInclusive<u32> = 2..=3;
/// Every tensor starts at a multiple of this, where the metadata name no other alignment.
const DEFAULT_ALIGNMENT: u64 = 32;
/// The fewest bytes of a metadata entry: an empty key, a type, one byte.
const LEAST_ENTRY: u64 = 8 + 4 + 1;
/// The fewest bytes of a tensor's entry: an empty name, no axis, a type, an offset.
const LEAST_TENSOR: u64 = 8 + 4 + 4 + 8;

/// A tensor as the header lists it.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorInfo {
    /// The tensor's name, `blk.1.attn_q.weight` for example.
    pub name: String,
    /// Its shape, outermost axis first as in ndarray and torch: `[out_features, in_features]`.
    pub shape: Vec<usize>,
    /// How its weights are stored.
    pub kind: TensorType,
    /// Where its bytes start, counted from the start of the file.
    pub offset: u64,
    /// How many bytes it takes; `None` for a type that is not listed here.
    pub bytes: Option<usize>,
    /// Bytes from its start to that of the next tensor, or to the end of the file.
    pub room: u64,
}

/// Where values begin, their type included, and their bytes, by key.
type Spans = BTreeMap<String, (u64, u64)>;

/// A header that has been read whole and checked against the length of the file.
pub(super) struct Header {
    pub(super) metadata: BTreeMap<String, Value>,
    /// Where each metadata value lies.
    pub(super) spans: Spans,
    pub(super) tensors: Vec<TensorInfo>,
    /// Where the last tensor's entry ends.
    pub(super) bytes: u64,
    /// Bytes of the whole file.
    pub(super) file_bytes: u64,
}

impl Header {
    /// Reads the header from the start of `reader`.
    pub(super) fn read<R: Read + Seek>(reader: &mut R) -> Result<Self, GgufError> {
        let mut cursor = Cursor::new(reader)?;
        check_start(&mut cursor)?;
        // Each count is compared with the rest of the file. The entries of the tensors come after
        // the metadata, so the bound is loose and still safe.
        let tensors = cursor.count(LEAST_TENSOR, "the list of tensors")?;
        let entries = cursor.count(LEAST_ENTRY, "the list of metadata")?;
        let (metadata, spans) = read_metadata(&mut cursor, entries)?;
        let mut tensors = read_tensors(&mut cursor, tensors)?;
        let (bytes, file_bytes) = (cursor.position(), cursor.end());
        locate(&mut tensors, bytes, file_bytes, alignment(&metadata)?)?;
        Ok(Self { metadata, spans, tensors, bytes, file_bytes })
    }
}

fn check_start<R: Read + Seek>(cursor: &mut Cursor<R>) -> Result<(), GgufError> {
    let magic = cursor.array("the magic number")?;
    if &magic != b"GGUF" {
        return Err(GgufError::Magic(magic));
    }
    match cursor.u32("the version")? {
        version if VERSIONS.contains(&version) => Ok(()),
        // The version of a big-endian file has its one byte at the other end.
        version if version.swap_bytes() <= 0xFF => Err(GgufError::BigEndian(version.swap_bytes())),
        version if version > *VERSIONS.end() => Err(GgufError::Newer(version)),
        version => Err(GgufError::Older(version)),
    }
}

fn read_metadata<R: Read + Seek>(
    cursor: &mut Cursor<R>,
    entries: usize,
) -> Result<(BTreeMap<String, Value>, Spans), GgufError> {
    let (mut metadata, mut spans) = (BTreeMap::new(), Spans::new());
    for _ in 0..entries {
        let key = cursor.text("a metadata key")?;
        let begin = cursor.position();
        let value = cursor.value(&format!("the value of metadata `{}`", printable(&key)))?;
        spans.insert(key.clone(), (begin, cursor.position() - begin));
        // A second entry is refused, because readers may disagree about which of two entries counts.
        if metadata.insert(key.clone(), value).is_some() {
            let key = printable(&key);
            return Err(GgufError::Damaged(format!("the metadata key `{key}` is there twice")));
        }
    }
    Ok((metadata, spans))
}

fn alignment(metadata: &BTreeMap<String, Value>) -> Result<u64, GgufError> {
    match metadata.get("general.alignment") {
        None => Ok(DEFAULT_ALIGNMENT),
        Some(&Value::U32(alignment)) if alignment.is_power_of_two() => Ok(alignment.into()),
        Some(other) => {
            let found = match other {
                Value::U32(number) => number.to_string(),
                other => other.type_name().to_owned(),
            };
            let problem = format!("general.alignment is {found}, not a power of two in a u32");
            Err(GgufError::Damaged(problem))
        }
    }
}

fn read_tensors<R: Read + Seek>(
    cursor: &mut Cursor<R>,
    count: usize,
) -> Result<Vec<TensorInfo>, GgufError> {
    let mut tensors = Vec::new();
    let mut names = HashSet::new();
    for _ in 0..count {
        let tensor = read_tensor(cursor)?;
        // Tensors are looked up by name, so a second one could never be read.
        if !names.insert(tensor.name.clone()) {
            let name = printable(&tensor.name);
            return Err(GgufError::Damaged(format!("tensor `{name}` is there twice")));
        }
        tensors.push(tensor);
    }
    Ok(tensors)
}

/// One entry. Its offset still counts from the start of the data.
fn read_tensor<R: Read + Seek>(cursor: &mut Cursor<R>) -> Result<TensorInfo, GgufError> {
    let name = cursor.text("the name of a tensor")?;
    let shown = printable(&name);
    let what = format!("the entry of tensor `{shown}`");
    let axes = cursor.u32(&what)?;
    // Checked before the shape is read: 4 is GGML_MAX_DIMS. A tensor without an axis is one number.
    if axes > 4 {
        return Err(GgufError::Damaged(format!("tensor `{shown}` has {axes} axes, not 0 to 4")));
    }
    let length = |_| usize::try_from(cursor.u64(&what)?).map_err(|_| too_large(&shown));
    let mut shape = (0..axes).map(length).collect::<Result<Vec<_>, _>>()?;
    // The file lists the innermost axis first.
    shape.reverse();
    let kind = TensorType::from_id(cursor.u32(&what)?);
    let offset = cursor.u64(&what)?;
    let bytes = byte_length(&shown, &shape, kind)?;
    Ok(TensorInfo { name, shape, kind, offset, bytes, room: 0 })
}

fn byte_length(name: &str, shape: &[usize], kind: TensorType) -> Result<Option<usize>, GgufError> {
    let weights = shape.iter().try_fold(1usize, |product, &n| product.checked_mul(n));
    let weights = weights.ok_or_else(|| too_large(name))?;
    let Some((per_block, size)) = kind.block() else { return Ok(None) };
    // Blocks do not cross rows, so the innermost axis is whole blocks.
    let row = shape.last().copied().unwrap_or(1);
    if !row.is_multiple_of(per_block) {
        let problem = format!(
            "tensor `{name}` has rows of {row} weights, not a multiple of the {per_block} weights \
             of a {kind} block"
        );
        return Err(GgufError::Damaged(problem));
    }
    (weights / per_block).checked_mul(size).map(Some).ok_or_else(|| too_large(name))
}

fn too_large(name: &str) -> GgufError {
    GgufError::Damaged(format!("tensor `{name}` has more weights than a computer can count"))
}

/// Makes the offsets count from the start of the file, and checks that each tensor is inside it and
/// starts where the one before it ends.
fn locate(
    tensors: &mut [TensorInfo],
    header: u64,
    end: u64,
    alignment: u64,
) -> Result<(), GgufError> {
    let data = header.checked_next_multiple_of(alignment).unwrap_or(u64::MAX);
    for tensor in tensors.iter_mut() {
        let name = printable(&tensor.name);
        if !tensor.offset.is_multiple_of(alignment) {
            let offset = tensor.offset;
            let problem =
                format!("tensor `{name}` starts at {offset}, not a multiple of {alignment}");
            return Err(GgufError::Damaged(problem));
        }
        // A forged offset that overflows stays beyond the end, and is refused below.
        tensor.offset = tensor.offset.saturating_add(data);
        let (at, needed) = (tensor.offset, tensor.bytes.unwrap_or(0) as u64);
        let left = end.saturating_sub(at);
        // The start is checked too, because a tensor of unknown size needs 0 bytes.
        if needed > left || at > end {
            let what = format!("tensor `{name}`");
            return Err(GgufError::Truncated { what, at, needed, left });
        }
    }
    check_no_gaps(tensors, data, alignment)?;
    let mut next = end;
    for tensor in tensors.iter_mut().rev() {
        // After a type of unknown size a forged offset may go back.
        tensor.room = next.saturating_sub(tensor.offset);
        next = tensor.offset;
    }
    Ok(())
}

/// Writers lay the tensors one after the other, each padded to the alignment; llama.cpp refuses
/// anything else. After a type of unknown size there is nothing to compare with.
fn check_no_gaps(tensors: &[TensorInfo], data: u64, alignment: u64) -> Result<(), GgufError> {
    let mut expected = Some(data);
    for TensorInfo { name, offset, bytes, .. } in tensors {
        if let Some(expected) = expected
            && *offset != expected
        {
            let name = printable(name);
            let problem = format!(
                "tensor `{name}` starts at byte {offset} and the one before it ends at {expected}: \
                 tensors lie one after the other"
            );
            return Err(GgufError::Damaged(problem));
        }
        let end = bytes.map(|bytes| offset.saturating_add(bytes as u64));
        expected = end.and_then(|end| end.checked_next_multiple_of(alignment));
    }
    Ok(())
}
