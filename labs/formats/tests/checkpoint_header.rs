//! Safetensors headers, whole and damaged: what is wrong is said, and nothing grows with a lie.

use std::io::{self, Cursor};

use formats::checkpoint::{Header, read_header};
use proptest::prelude::*;

use crate::made_up_checkpoint::safetensors_of as file;
use crate::made_up_file::MadeUpFile;

fn read(bytes: &[u8]) -> Result<Header, String> {
    read_header(&mut Cursor::new(bytes)).map_err(|error| error.to_string())
}

fn error_of(bytes: &[u8]) -> String {
    read(bytes).expect_err("damage was not noticed")
}

/// Two tensors of 16 bytes each.
const TWO: &str = r#"{"__metadata__":{"format":"pt"},"w":{"dtype":"F16","shape":[2,4],"data_offsets":[0,16]},"v":{"dtype":"F32","shape":[4],"data_offsets":[16,32]}}"#;

#[test]
fn a_header_by_hand_is_read() -> Result<(), String> {
    let header = read(&file(TWO, 32))?;
    assert_eq!(header.metadata["format"], "pt");
    assert_eq!(header.header_bytes, 8 + TWO.len() as u64);
    let shapes: Vec<_> = header.tensors.iter().map(|t| (t.name.as_str(), &*t.shape)).collect();
    assert_eq!(shapes, [("w", &[2, 4][..]), ("v", &[4])]);
    // Writers pad the JSON with spaces, so that the data start at a multiple of 8.
    assert_eq!(read(&file(&format!("{TWO}   "), 32))?.tensors.len(), 2);
    // Scalars have no axes and one element; a shape with a 0 has no bytes.
    let odd = r#"{"s":{"dtype":"F32","shape":[],"data_offsets":[0,4]},"e":{"dtype":"I8","shape":[0,9],"data_offsets":[4,4]}}"#;
    assert_eq!(read(&file(odd, 4))?.tensors[0].elements(), 1);
    Ok(())
}

#[test]
fn every_truncation_is_an_error() {
    let whole = file(TWO, 32);
    for length in 0..whole.len() {
        let error = error_of(&whole[..length]);
        assert!(
            error.contains("cut short") && error.contains("fetch it again"),
            "{length}: {error}"
        );
    }
}

#[test]
fn a_cut_in_the_data_names_the_tensor() {
    let error = error_of(&file(TWO, 20));
    assert!(error.contains("tensor `v` ends at byte 32 of the data, the file has 20"), "{error}");
}

#[test]
fn a_length_beyond_the_file_or_beyond_any_header_is_refused() {
    let mut bytes = file(TWO, 32);
    bytes[..8].copy_from_slice(&5_000u64.to_le_bytes());
    let error = error_of(&bytes);
    assert!(error.contains("the header takes 5000 bytes"), "{error}");
    for length in [100_000_001, u64::MAX] {
        bytes[..8].copy_from_slice(&length.to_le_bytes());
        let error = error_of(&bytes);
        assert!(error.contains(&format!("claims {length} bytes")), "{error}");
    }
}

#[test]
fn other_kinds_of_file_are_told_apart() {
    for (start, words) in [
        (&b"PK\x03\x04\x14\0\x08\x08\x08\x08"[..], "torch.save"),
        (b"version https://git-lfs.github.com/spec/v1", "git lfs pull"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b"[package]\nname = \"kit\"\n", "it is text"),
        (b"GGUF\x03\0\0\0........", "GGUF"),
        (b"{\"weight_map\": {}}", "JSON"),
        (b"\x04\0\0\0\0\0\0\0[  ]", "starts with {"),
        (b"\0\0\0\0\0\0\0\0", "starts with {"),
    ] {
        let error = error_of(start);
        assert!(error.starts_with("not a safetensors file") && error.contains(words), "{error}");
    }
}

/// A file of one tensor with this entry.
fn one(entry: &str, data: usize) -> Vec<u8> {
    file(&format!(r#"{{"m.weight":{entry}}}"#), data)
}

#[test]
fn a_tensor_that_breaks_a_rule_is_named_with_the_rule() {
    for (entry, words) in [
        (r#"{"dtype":"F12","shape":[4],"data_offsets":[0,8]}"#, "the dtype `F12` is not known"),
        (
            r#"{"dtype":"F32","shape":[4],"data_offsets":[0,8]}"#,
            "take 16 bytes, the offsets give it 8",
        ),
        (r#"{"dtype":"F4","shape":[3],"data_offsets":[0,8]}"#, "take 12 bits, not whole bytes"),
        (r#"{"dtype":"F16","shape":[4],"data_offsets":[8,0]}"#, "end at 0, before they begin at 8"),
        (
            r#"{"dtype":"U8","shape":[4294967296,4294967296,2],"data_offsets":[0,0]}"#,
            "are more than a file can hold",
        ),
        (
            r#"{"dtype":"F64","shape":[2305843009213693952],"data_offsets":[0,0]}"#,
            "are more than a file can hold",
        ),
    ] {
        let error = error_of(&one(entry, 8));
        assert!(error.starts_with("tensor `m.weight`") && error.contains(words), "{error}");
    }
}

#[test]
fn overlaps_holes_and_a_rest_are_refused() {
    let entries = |second: &str| {
        let first = r#""a":{"dtype":"U8","shape":[8],"data_offsets":[0,8]}"#;
        format!(r#"{{{first},"b":{{"dtype":"U8","shape":[8],"data_offsets":{second}}}}}"#)
    };
    for (second, data, words) in [
        ("[4,12]", 12, "tensor `b`: its data begin at byte 4, those of a end at 8: they overlap"),
        ("[0,8]", 8, "they overlap"),
        ("[9,17]", 17, "they leave a hole"),
        ("[8,16]", 20, "4 bytes follow the last tensor"),
    ] {
        let error = error_of(&file(&entries(second), data));
        assert!(error.contains(words), "{error}");
    }
    assert!(read(&file(&entries("[8,16]"), 16)).is_ok());
}

#[test]
fn a_name_that_is_there_twice_is_refused() {
    let entry = r#""w":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}"#;
    let error = error_of(&file(&format!("{{{entry},{entry}}}"), 0));
    assert!(error.contains("the name `w` is there twice"), "{error}");
}

#[test]
fn json_that_is_not_a_header_is_damage() {
    let deep = format!(r#"{{"w":{}"#, "[".repeat(100_000));
    for json in ["{", "{]", r#"{"w":3}"#, r#"{"w":{"dtype":"U8"}}"#, &deep, "{} {}"] {
        let error = error_of(&file(json, 0));
        assert!(error.starts_with("the header is damaged"), "{error}");
    }
    let mut bytes = file(r#"{"w?":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}"#, 0);
    bytes[11] = 0xff;
    assert!(error_of(&bytes).contains("damaged"), "a name that is not UTF-8");
}

#[test]
fn unknown_fields_of_a_tensor_are_read_over() -> Result<(), String> {
    let deep = format!("{}{}", "[".repeat(100), "]".repeat(100));
    let entry = format!(r#"{{"dtype":"U8","shape":[0],"data_offsets":[0,0],"new":{deep}}}"#);
    read(&one(&entry, 0)).map(drop)
}

#[test]
fn of_eight_gigabytes_only_the_header_is_read() -> Result<(), String> {
    let data = 8u64 << 30;
    let json = format!(r#"{{"w":{{"dtype":"U8","shape":[{data}],"data_offsets":[0,{data}]}}}}"#);
    let start = file(&json, 0);
    let header = start.len() as u64;
    let mut reader = MadeUpFile::new(start, header + data);
    let found = read_header(&mut reader).map_err(|error| error.to_string())?;
    assert_eq!((reader.read, found.header_bytes), (header, header), "bytes read, bytes of header");
    assert_eq!(found.tensors[0].bytes, data);
    Ok(())
}

#[test]
fn a_sparse_file_of_eight_gigabytes_is_read_as_fast_as_a_small_one() -> io::Result<()> {
    let data = 8u64 << 30;
    let json = format!(r#"{{"w":{{"dtype":"U8","shape":[{data}],"data_offsets":[0,{data}]}}}}"#);
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("model.safetensors");
    let start = file(&json, 0);
    std::fs::write(&path, &start)?;
    std::fs::OpenOptions::new().write(true).open(&path)?.set_len(start.len() as u64 + data)?;
    let found = formats::checkpoint::inspect(&path).map_err(io::Error::other)?;
    assert_eq!(found.files[0].bytes, start.len() as u64 + data);
    assert_eq!(found.files[0].header_bytes, start.len() as u64);
    Ok(())
}

/// What reading may allocate for `bytes` of JSON that is there: names, shapes and the set of names are
/// each a few times as large as their JSON, vectors double while they grow, and the buffer of the
/// reader is 8 KiB. Nothing in it depends on a number that the file claims.
fn bound(bytes: usize) -> u64 {
    32 * bytes as u64 + 64 * 1024
}

#[test]
fn a_lying_length_allocates_nothing_of_what_it_claims() {
    for claimed in [50_000_000u64, 99_999_999, 100_000_001, u64::MAX] {
        // The file is as long as the header claims, and holds only the beginning of one.
        let start = [&claimed.to_le_bytes()[..], br#"{"w":"#].concat();
        let length = claimed.saturating_add(8).max(1 << 32);
        let mut reader = MadeUpFile::new(start, length);
        let info = allocation_counter::measure(|| {
            assert!(read_header(&mut reader).is_err(), "zeros are no JSON");
        });
        assert!(
            info.bytes_max <= bound(13),
            "a claim of {claimed} bytes allocated {}, the bound is {}",
            info.bytes_max,
            bound(13)
        );
        assert!(reader.read < 20_000, "{} bytes were read of a header of zeros", reader.read);
    }
}

#[test]
fn a_huge_shape_allocates_nothing_of_what_it_claims() {
    let json = r#"{"w":{"dtype":"U8","shape":[1099511627776],"data_offsets":[0,1099511627776]}}"#;
    let bytes = file(json, 0);
    let info = allocation_counter::measure(|| assert!(read(&bytes).is_err()));
    assert!(info.bytes_max <= bound(bytes.len()), "{} bytes", info.bytes_max);
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic_and_never_allocate_beyond_the_bound(
        bytes in proptest::collection::vec(any::<u8>(), 0..2048),
    ) {
        let info = allocation_counter::measure(|| drop(read(&bytes)));
        prop_assert!(info.bytes_max <= bound(bytes.len()), "{} bytes", info.bytes_max);
    }

    #[test]
    fn a_mutated_header_never_panics_and_what_is_read_keeps_the_rules(
        changes in proptest::collection::vec((0..TWO.len(), any::<u8>()), 0..4),
        length in any::<u8>(),
        data in 0usize..64,
    ) {
        let mut bytes = file(TWO, data);
        for (at, byte) in changes {
            bytes[8 + at] = byte;
        }
        if length < 128 {
            bytes[0] = length;
        }
        let info = allocation_counter::measure(|| drop(read(&bytes)));
        prop_assert!(info.bytes_max <= bound(bytes.len()), "{} bytes", info.bytes_max);
        if let Ok(header) = read(&bytes) {
            let data: u64 = header.tensors.iter().map(|tensor| tensor.bytes).sum();
            prop_assert_eq!(header.header_bytes + data, bytes.len() as u64);
        }
    }
}
