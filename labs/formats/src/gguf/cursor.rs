//! Reads a header number by number. Every length is compared with the rest of the file first.

use std::io::{Read, Seek, SeekFrom};

use super::{GgufError, Value};

/// The most levels of arrays in arrays. Real files have one level, and a forged file could exhaust the
/// stack.
const MAX_NESTING: usize = 4;

/// The longest header that is read, in bytes. Real headers stay below 32 MiB, most of which is the
/// vocabulary. A forged header in a huge sparse file could otherwise fill the memory with zeros.
const MAX_HEADER: u64 = 128 << 20;

/// The number of the type of texts.
const TEXT: u32 = 8;
/// The number of the type of arrays.
const ARRAY: u32 = 9;

/// A reader that knows where it is and how many bytes are left.
pub(super) struct Cursor<'a, R> {
    reader: &'a mut R,
    at: u64,
    end: u64,
}

impl<'a, R: Read + Seek> Cursor<'a, R> {
    /// Starts at byte 0 of `reader`.
    pub(super) fn new(reader: &'a mut R) -> Result<Self, GgufError> {
        // Seeking tells the length of a file and of bytes in memory alike.
        let end = reader.seek(SeekFrom::End(0))?;
        reader.seek(SeekFrom::Start(0))?;
        Ok(Self { reader, at: 0, end })
    }

    /// Starts at byte `at`.
    pub(super) fn starting_at(reader: &'a mut R, at: u64) -> Result<Self, GgufError> {
        let mut cursor = Self::new(reader)?;
        cursor.at = cursor.reader.seek(SeekFrom::Start(at))?;
        Ok(cursor)
    }

    /// Bytes read so far.
    pub(super) fn position(&self) -> u64 {
        self.at
    }

    /// Bytes of the whole file.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// A little-endian `u32`.
    pub(super) fn u32(&mut self, what: &str) -> Result<u32, GgufError> {
        Ok(u32::from_le_bytes(self.array(what)?))
    }

    /// A little-endian `u64`.
    pub(super) fn u64(&mut self, what: &str) -> Result<u64, GgufError> {
        Ok(u64::from_le_bytes(self.array(what)?))
    }

    /// A count of items that take at least `size` bytes each. A count that does not fit the rest of
    /// the file is an error here, before anything is allocated.
    pub(super) fn count(&mut self, size: u64, what: &str) -> Result<usize, GgufError> {
        let count = self.u64(what)?;
        // A forged count may overflow, and the largest u64 is more than any file has left.
        self.require(count.saturating_mul(size), what)?;
        usize::try_from(count).map_err(|_| GgufError::Damaged(format!("{what}: {count} of them")))
    }

    /// A length and that many bytes of text. GGUF does not say that they are UTF-8, and tokens often
    /// are a part of a character, so other bytes become U+FFFD.
    pub(super) fn text(&mut self, what: &str) -> Result<String, GgufError> {
        let mut bytes = vec![0; self.count(1, what)?];
        self.fill(&mut bytes, what)?;
        Ok(String::from_utf8(bytes)
            .unwrap_or_else(|other| String::from_utf8_lossy(other.as_bytes()).into_owned()))
    }

    /// The next `N` bytes.
    pub(super) fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N], GgufError> {
        let mut bytes = [0; N];
        self.fill(&mut bytes, what)?;
        Ok(bytes)
    }

    /// A metadata value: the number of its type, then the value.
    pub(super) fn value(&mut self, what: &str) -> Result<Value, GgufError> {
        let kind = self.u32(what)?;
        self.value_of(kind, what, MAX_NESTING)
    }

    fn value_of(&mut self, kind: u32, what: &str, nesting: usize) -> Result<Value, GgufError> {
        Ok(match kind {
            0 => Value::U8(u8::from_le_bytes(self.array(what)?)),
            1 => Value::I8(i8::from_le_bytes(self.array(what)?)),
            2 => Value::U16(u16::from_le_bytes(self.array(what)?)),
            3 => Value::I16(i16::from_le_bytes(self.array(what)?)),
            4 => Value::U32(self.u32(what)?),
            5 => Value::I32(i32::from_le_bytes(self.array(what)?)),
            6 => Value::F32(f32::from_le_bytes(self.array(what)?)),
            // llama.cpp takes every byte but 0 as true.
            7 => Value::Bool(self.array(what)? != [0]),
            TEXT => Value::Text(self.text(what)?),
            ARRAY => self.skip_array(what, nesting)?,
            10 => Value::U64(self.u64(what)?),
            11 => Value::I64(i64::from_le_bytes(self.array(what)?)),
            12 => Value::F64(f64::from_le_bytes(self.array(what)?)),
            _ => return Err(unknown_kind(kind, what)),
        })
    }

    /// Passes over an array: its elements can take many times the memory of their bytes, and most
    /// questions need none of them.
    fn skip_array(&mut self, what: &str, nesting: usize) -> Result<Value, GgufError> {
        let Some(nesting) = nesting.checked_sub(1) else {
            return Err(GgufError::Damaged(format!("{what}: arrays nested too deep")));
        };
        let (kind, size, count) = self.array_start(what)?;
        match kind {
            TEXT => {
                for _ in 0..count {
                    let length = self.count(1, what)?;
                    self.skip(length as u64, what)?;
                }
            }
            ARRAY => {
                for _ in 0..count {
                    self.skip_array(what, nesting)?;
                }
            }
            _ => self.skip(size.saturating_mul(count as u64), what)?,
        }
        Ok(Value::Array(count))
    }

    /// The type of an array's elements, the fewest bytes of one, and how many there are.
    fn array_start(&mut self, what: &str) -> Result<(u32, u64, usize), GgufError> {
        let kind = self.u32(what)?;
        let size = least_size(kind).ok_or_else(|| unknown_kind(kind, what))?;
        Ok((kind, size, self.count(size, what)?))
    }

    /// The elements of the array whose type and count come next, each as `convert` gives it; `None`
    /// at the first that `convert` refuses.
    pub(super) fn elements<T>(
        &mut self,
        what: &str,
        convert: impl Fn(Value) -> Option<T>,
    ) -> Result<Option<Vec<T>>, GgufError> {
        let (kind, _, count) = self.array_start(what)?;
        let values = (0..count).map(|_| self.value_of(kind, what, 1).map(&convert));
        values.collect()
    }

    fn skip(&mut self, bytes: u64, what: &str) -> Result<(), GgufError> {
        self.require(bytes, what)?;
        // Within the buffer this moves no file. `require` bounds the number, so it fits.
        self.reader.seek_relative(bytes as i64)?;
        self.at += bytes;
        Ok(())
    }

    fn fill(&mut self, bytes: &mut [u8], what: &str) -> Result<(), GgufError> {
        // Checked before reading, because the error of `read_exact` does not name the field.
        self.require(bytes.len() as u64, what)?;
        self.reader.read_exact(bytes)?;
        self.at += bytes.len() as u64;
        Ok(())
    }

    fn require(&self, needed: u64, what: &str) -> Result<(), GgufError> {
        let (at, left) = (self.at, self.end.saturating_sub(self.at));
        if needed > left {
            return Err(GgufError::Truncated { what: what.into(), at, needed, left });
        }
        if at.saturating_add(needed) > MAX_HEADER {
            let problem = format!(
                "{what} needs {needed} bytes at byte {at}, and no header is longer than {MAX_HEADER}"
            );
            return Err(GgufError::Damaged(problem));
        }
        Ok(())
    }
}

/// The fewest bytes that a value of the type takes in the file: a text has its length at least, an
/// array the type and the count of its elements.
fn least_size(kind: u32) -> Option<u64> {
    match kind {
        0 | 1 | 7 => Some(1),
        2 | 3 => Some(2),
        4..=6 => Some(4),
        TEXT | 10..=12 => Some(8),
        ARRAY => Some(12),
        _ => None,
    }
}

fn unknown_kind(kind: u32, what: &str) -> GgufError {
    GgufError::Damaged(format!("{what}: there is no value type {kind}, they end at 12"))
}
