//! A file that is larger than memory, made up while it is read.

use std::io::{self, Read, Seek, SeekFrom};

/// A file that begins with `start`, goes on with zeros, and counts the bytes that are read.
pub struct MadeUpFile {
    start: Vec<u8>,
    length: u64,
    at: u64,
    pub read: u64,
}

impl MadeUpFile {
    pub fn new(start: Vec<u8>, length: u64) -> Self {
        Self { start, length, at: 0, read: 0 }
    }
}

impl Read for MadeUpFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = (buffer.len() as u64).min(self.length - self.at) as usize;
        for (byte, at) in buffer[..count].iter_mut().zip(self.at..) {
            *byte = self.start.get(at as usize).copied().unwrap_or(0);
        }
        self.at += count as u64;
        self.read += count as u64;
        Ok(count)
    }
}

impl Seek for MadeUpFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.at = match to {
            SeekFrom::Start(at) => at,
            SeekFrom::End(by) => self.length.saturating_add_signed(by),
            SeekFrom::Current(by) => self.at.saturating_add_signed(by),
        };
        Ok(self.at)
    }
}
