//! The header of a safetensors file: eight bytes of length, then JSON. Nothing else is read.
//!
//! The file is not mapped into memory, because a map needs `unsafe`, and a mapped file that shrinks
//! kills the process. A header is small, so reading costs little.

use std::collections::BTreeMap;
use std::io::{BufReader, Read, Seek, SeekFrom};

use super::dtype::{Dtype, Storage};
use super::error::{CheckpointError, MAX_HEADER};
use super::raw_header::{Entry, RawHeader};
use super::tensor::{Tensor, elements};
use crate::printable::printable;

/// Bytes of the length in front of the JSON.
const LENGTH: u64 = 8;

/// The header of a safetensors file, checked against the rules of the format and the file's length.
#[derive(Clone, Debug, PartialEq)]
pub struct Header {
    /// Every tensor, in the order of the header.
    pub tensors: Vec<Tensor>,
    /// Where the data of each begins, counted from the start of the file.
    pub begins: Vec<u64>,
    /// The text under `__metadata__`, by key.
    pub metadata: BTreeMap<String, String>,
    /// Bytes of the header, the eight of its length included.
    pub header_bytes: u64,
    /// Bytes of the file.
    pub file_bytes: u64,
}

/// Reads the header from `reader`, which starts where the file does, and not one byte more.
///
/// # Errors
/// If the file is not safetensors, is cut short, or breaks a rule of the format: a name that is there
/// twice, an unknown dtype, a shape that does not fill its bytes, tensors that overlap, leave a hole
/// or lie outside the file.
pub fn read_header<R: Read + Seek>(reader: &mut R) -> Result<Header, CheckpointError> {
    let file_bytes = reader.seek(SeekFrom::End(0))?;
    reader.seek(SeekFrom::Start(0))?;
    let length = read_length(reader, file_bytes)?;
    let raw = read_json(reader, length)?;
    let header_bytes = LENGTH + length;
    let spans = raw.tensors.iter().map(|(name, entry)| span(name, entry));
    let spans = spans.collect::<Result<Vec<_>, _>>()?;
    check_coverage(&spans, file_bytes - header_bytes)?;
    Ok(Header {
        begins: spans.iter().map(|span| header_bytes + span.begin).collect(),
        tensors: spans.into_iter().map(|span| span.tensor).collect(),
        metadata: raw.metadata,
        header_bytes,
        file_bytes,
    })
}

/// The length of the JSON, compared with the length of the file before anything is allocated.
fn read_length<R: Read>(reader: &mut R, file_bytes: u64) -> Result<u64, CheckpointError> {
    if file_bytes < LENGTH {
        return Err(CheckpointError::CutShort(format!(
            "{file_bytes} bytes do not even hold the 8 bytes of the header's length"
        )));
    }
    let mut length = [0; LENGTH as usize];
    reader.read_exact(&mut length)?;
    let start = length;
    let length = u64::from_le_bytes(length);
    if length > MAX_HEADER {
        return Err(other_file(&start).unwrap_or(CheckpointError::HeaderTooLong(length)));
    }
    if length > file_bytes - LENGTH {
        return Err(CheckpointError::CutShort(format!(
            "the header takes {length} bytes after the first 8, the file has {}",
            file_bytes - LENGTH
        )));
    }
    Ok(length)
}

/// Other kinds of files by their first bytes, which make an absurd length.
fn other_file(start: &[u8; 8]) -> Option<CheckpointError> {
    let what = match start {
        [b'P', b'K', 3, 4, ..] => {
            "it is a zip archive, as torch.save writes; a pickle can run code when it is loaded, so it \
             is not read here: convert it to safetensors"
        }
        b"version " => {
            "it is a Git LFS pointer, a text of a few lines that stands for the file: `git lfs pull` \
             gets the file itself"
        }
        [b'G', b'G', b'U', b'F', ..] => "it is a GGUF file",
        [b'{', ..] => "it is JSON; give model.safetensors.index.json by that name, or the folder",
        [b'<', ..] => "it is a web page: the download answered with an error; fetch it again",
        text if text.iter().all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace()) => {
            "it is text; give the .safetensors or .gguf file, or the folder"
        }
        _ => return None,
    };
    Some(CheckpointError::NotSafetensors(what.into()))
}

fn read_json<R: Read>(reader: &mut R, length: u64) -> Result<RawHeader, CheckpointError> {
    // The first byte alone tells another kind of file from a damaged header.
    let mut first = [0];
    if length > 0 {
        reader.read_exact(&mut first)?;
    }
    if first != *b"{" {
        return Err(CheckpointError::NotSafetensors(format!(
            "byte 8 is {:#04x}, and a header starts with {{",
            first[0]
        )));
    }
    // Parsed as it is read: no buffer grows with the length that the file claims.
    let json = first.as_slice().chain(reader.take(length - 1));
    serde_json::from_reader(BufReader::new(json)).map_err(|error| match error.io_error_kind() {
        Some(kind) if kind != std::io::ErrorKind::UnexpectedEof => {
            CheckpointError::Read(kind.into())
        }
        // The error quotes the file.
        _ => CheckpointError::Damaged(format!(
            "{}; fetch the file again",
            printable(&error.to_string())
        )),
    })
}

/// A tensor and where its data lie, counted from the end of the header.
struct Span {
    tensor: Tensor,
    begin: u64,
    end: u64,
}

/// Checks one entry by itself.
fn span(name: &str, entry: &Entry) -> Result<Span, CheckpointError> {
    let wrong = |problem: String| CheckpointError::Tensor { name: printable(name), problem };
    let [begin, end] = entry.data_offsets;
    let Some(dtype) = Dtype::named(&entry.dtype) else {
        return Err(wrong(format!(
            "the dtype `{}` is not known; a newer version of this program may know it",
            printable(&entry.dtype)
        )));
    };
    let Some(bytes) = end.checked_sub(begin) else {
        return Err(wrong(format!("its data end at {end}, before they begin at {begin}")));
    };
    // Bits are compared, because an element of 4 or 6 bits is no whole byte.
    let bits = elements(&entry.shape).and_then(|count| count.checked_mul(dtype.bits()));
    if bits.is_none() || bits != bytes.checked_mul(8) {
        let takes = match bits {
            Some(bits) if bits % 8 == 0 => format!("take {} bytes", bits / 8),
            Some(bits) => format!("take {bits} bits, not whole bytes"),
            None => "are more than a file can hold".into(),
        };
        return Err(wrong(format!(
            "the shape {:?} and {dtype} {takes}, the offsets give it {bytes}; the program that wrote the file \
             has to write it again",
            entry.shape
        )));
    }
    let storage = Storage::Elements(dtype);
    let tensor = Tensor { name: name.into(), storage, shape: entry.shape.clone(), bytes };
    Ok(Span { tensor, begin, end })
}

/// The format demands that the data fill the rest of the file, without overlap, hole or rest, because a
/// hole could hide a second file, and one file could mean different things to two readers.
fn check_coverage(spans: &[Span], data_bytes: u64) -> Result<(), CheckpointError> {
    if let Some(last) = spans.iter().find(|span| span.end > data_bytes) {
        return Err(CheckpointError::CutShort(format!(
            "tensor `{}` ends at byte {} of the data, the file has {data_bytes}",
            printable(&last.tensor.name),
            last.end
        )));
    }
    let mut sorted: Vec<&Span> = spans.iter().collect();
    // The end breaks ties, because a tensor without bytes comes before the tensor that begins there.
    sorted.sort_by_key(|span| (span.begin, span.end));
    let (mut covered, mut before) = (0, "the header");
    for Span { tensor, begin, end } in sorted {
        if *begin != covered {
            let what = if *begin < covered { "overlap" } else { "leave a hole" };
            return Err(CheckpointError::Tensor {
                name: printable(&tensor.name),
                problem: format!(
                    "its data begin at byte {begin}, those of {} end at {covered}: they {what}; \
                     the program that wrote the file has to write it again",
                    printable(before)
                ),
            });
        }
        (covered, before) = (*end, &tensor.name);
    }
    if covered != data_bytes {
        return Err(CheckpointError::Damaged(format!(
            "{} bytes follow the last tensor, and nothing may; fetch the file again",
            data_bytes - covered
        )));
    }
    Ok(())
}
