//! Any bytes as a GGUF file: an error or tensors inside the file, never a panic.

#![no_main]

use formats::checkpoint::{examine, gguf_tensors};
use formats::gguf::Gguf;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(mut gguf) = Gguf::from_bytes(data) else { return };
    let tensors = gguf_tensors(&gguf);
    let _ = examine(&tensors, None);
    let keys: Vec<String> = gguf.metadata().keys().cloned().collect();
    for key in keys {
        let _ = (gguf.texts(&key), gguf.integers(&key));
    }
    let _ = gguf.raw_metadata();
    let names: Vec<String> = gguf.tensors().iter().map(|tensor| tensor.name.clone()).collect();
    for name in names {
        let info = gguf.info(&name).expect("a name from the list").clone();
        let end = info.offset + info.bytes.map_or(info.room, |bytes| bytes as u64);
        assert!(end <= data.len() as u64, "`{name}` lies outside the file");
        if gguf.tensor(&name).is_err() {
            let _ = gguf.bytes(&name);
        }
    }
});
