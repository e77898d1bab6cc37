//! Any bytes as a safetensors file: an error or a header that keeps the rules, never a panic.

#![no_main]

use std::io::Cursor;

use formats::checkpoint::{Checkpoint, Inspection, inspection_report, read_header};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut reader = Cursor::new(data);
    let Ok(header) = read_header(&mut reader) else { return };
    assert_eq!(reader.position(), header.header_bytes, "the header was read, and nothing else");
    let data_bytes: u64 = header.tensors.iter().map(|tensor| tensor.bytes).sum();
    assert_eq!(
        header.header_bytes + data_bytes,
        data.len() as u64,
        "every byte belongs to one tensor"
    );
    let (files, problems, tensors) = (Vec::new(), Vec::new(), header.tensors);
    let inspection = Inspection::of(Checkpoint { files, tensors, config: None, problems });
    let (_, _, total) = inspection_report::sums(&inspection);
    assert_eq!(total.bytes, data_bytes, "every tensor is counted once");
});
