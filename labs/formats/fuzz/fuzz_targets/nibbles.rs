//! Any bytes as packed codes: what is unpacked packs to the same bytes.

#![no_main]

use int4_groups::{AWQ_ORDER, LINEAR_ORDER, pack_nibbles, pack_word, unpack_nibbles, unpack_word};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let codes = unpack_nibbles(data);
    assert!(codes.iter().all(|code| (-8..=7).contains(code)));
    assert_eq!(pack_nibbles(&codes).as_deref(), Ok(data));
    for word in data.as_chunks().0.iter().map(|bytes| u32::from_le_bytes(*bytes)) {
        for order in [&LINEAR_ORDER, &AWQ_ORDER] {
            assert_eq!(pack_word(unpack_word(word, order), order), Ok(word));
        }
    }
});
