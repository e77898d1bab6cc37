//! Damaged, forged and cut files: an error that says what is wrong, never a panic.

use formats::gguf::Gguf;
use proptest::prelude::*;

use crate::made_up_file::MadeUpFile;

const SMALL: &[u8] = include_bytes!("../golden/small.gguf");

/// Opens `bytes` and decodes every tensor. The error's text, if there is one.
fn read_all(bytes: &[u8]) -> Result<(), String> {
    let mut file = Gguf::from_bytes(bytes).map_err(|error| error.to_string())?;
    for key in file.metadata().keys().cloned().collect::<Vec<_>>() {
        let _ = (file.texts(&key), file.integers(&key));
    }
    let names: Vec<String> = file.tensors().iter().map(|tensor| tensor.name.clone()).collect();
    let results = names.iter().map(|name| file.tensor(name).map(drop));
    // Every tensor is decoded, also after one that fails.
    let failed = results.filter_map(Result::err).last();
    failed.map_or(Ok(()), |error| Err(error.to_string()))
}

fn error_of(bytes: &[u8]) -> String {
    read_all(bytes).expect_err("damage was not noticed")
}

/// Writes a header piece by piece, to forge what no writer produces.
struct Forged(Vec<u8>);

impl Forged {
    fn header(tensors: u64, entries: u64) -> Self {
        Self(b"GGUF".to_vec()).u32(3).u64(tensors).u64(entries)
    }

    /// A file of one tensor, with 64 bytes of data after the header.
    fn tensor(axes: &[u64], kind: u32, offset: u64) -> Vec<u8> {
        Self::header(1, 0).entry("w", axes, kind, offset).with_data(64)
    }

    fn entry(self, name: &str, axes: &[u64], kind: u32, offset: u64) -> Self {
        let mut forged = self.text(name).u32(axes.len() as u32);
        for &length in axes {
            forged = forged.u64(length);
        }
        forged.u32(kind).u64(offset)
    }

    fn with_data(self, length: usize) -> Vec<u8> {
        let mut bytes = self.0;
        bytes.resize(bytes.len().next_multiple_of(32) + length, 0);
        bytes
    }

    fn u32(mut self, value: u32) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    fn u64(mut self, value: u64) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    fn text(self, text: &str) -> Self {
        self.u64(text.len() as u64).bytes(text.as_bytes())
    }

    fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }
}

#[test]
fn the_forgery_itself_is_a_valid_file() {
    assert_eq!(read_all(&Forged::tensor(&[4, 4], 0, 0)), Ok(()));
}

#[test]
fn another_kind_of_file_is_told_apart() {
    assert!(error_of(b"PK\x03\x04 a zip archive").starts_with("not a GGUF file"));
    assert!(error_of(b"").contains("cut short: the magic number needs 4 bytes at byte 0"));
}

#[test]
fn version_2_is_read_and_another_version_or_byte_order_is_named() {
    let with_version = |version: [u8; 4]| {
        let mut bytes = SMALL.to_vec();
        bytes[4..8].copy_from_slice(&version);
        bytes
    };
    assert_eq!(read_all(&with_version([2, 0, 0, 0])), Ok(()));
    for (version, words) in [
        ([1, 0, 0, 0], "GGUF version 1 is not supported, versions 2 and 3 are: convert"),
        ([4, 0, 0, 0], "GGUF version 4 is newer than this program"),
        ([0xFF, 0xFF, 0, 0], "GGUF version 65535 is newer"),
        ([0, 0, 0, 3], "a big-endian GGUF file (version 3)"),
        ([0, 0, 0, 2], "a big-endian GGUF file (version 2)"),
    ] {
        let error = error_of(&with_version(version));
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn a_scalar_bytes_that_are_no_utf_8_and_any_truth_value_are_read() {
    let forged = Forged::header(1, 2).text("t").u32(9).u32(8).u64(2).u64(2).bytes(b"\xe2\x96");
    let forged = forged.text("ok").text("b").u32(7).bytes(&[2]);
    let bytes = forged.entry("scale", &[], 0, 0).with_data(32);
    let mut file = Gguf::from_bytes(&bytes).expect("llama.cpp reads it");
    assert_eq!(file.texts("t").expect("texts"), ["\u{fffd}", "ok"]);
    assert_eq!(file.value("b").expect("there").as_bool(), Some(true));
    assert_eq!(file.tensor("scale").expect("a number").dim(), (1, 1));
    assert!(
        file.integers("t").unwrap_err().to_string().contains("is an array, not an array of whole")
    );
}

#[test]
fn metadata_are_copied_to_the_byte() {
    let mut file = Gguf::from_bytes(SMALL).expect("the golden file");
    let raw = file.raw_metadata().expect("in memory");
    let header = formats::gguf::layout(&raw, &[]).expect("no tensor").header;
    let mut copy = Gguf::from_bytes(&header).expect("what was written");
    assert_eq!(copy.texts("golden.tokens").ok(), file.texts("golden.tokens").ok());
    let mut metadata = file.metadata().clone();
    metadata.remove("general.alignment");
    assert_eq!(copy.metadata(), &metadata);
}

#[test]
fn an_array_is_passed_over_without_its_elements() {
    // A vocabulary of bytes that fills 64 MiB of a file, of which the header alone is read.
    let count = 64 << 20;
    let start = Forged::header(0, 1).text("k").u32(9).u32(0).u64(count).0;
    let length = start.len() as u64 + count;
    let mut file = MadeUpFile::new(start, length);
    let gguf = Gguf::read(&mut file).expect("an array");
    assert_eq!(gguf.value("k").expect("there"), &formats::gguf::Value::Array(count as usize));
    assert!(file.read < 100, "{} bytes were read", file.read);
}

#[test]
fn names_are_escaped_and_cut_in_every_error() {
    let evil = format!("\u{1b}[2J\u{7}{}", "k".repeat(100_000));
    for bytes in [
        Forged::header(0, 1).text(&evil).u32(13).u64(0).0,
        Forged::header(0, 2).text(&evil).u32(0).bytes(&[0]).text(&evil).u32(0).bytes(&[0]).0,
        Forged::header(0, 1).text("general.alignment").u32(8).text(&evil).0,
        Forged::header(1, 0).entry(&evil, &[3, 3], 2, 0).with_data(64),
        Forged::header(1, 0).entry(&evil, &[1 << 40, 1 << 40], 0, 0).with_data(64),
        Forged::header(1, 0).entry(&evil, &[1; 5], 0, 0).with_data(64),
        Forged::header(1, 0).entry(&evil, &[4], 0, 8).with_data(64),
        Forged::header(1, 0).entry(&evil, &[4], 0, 1 << 30).with_data(64),
        Forged::header(1, 0).entry(&evil, &[2, 2, 2], 0, 0).with_data(64),
        Forged::header(2, 0).entry(&evil, &[4], 0, 0).entry(&evil, &[4], 0, 0).with_data(64),
        Forged::header(1, 0).text(&evil).u32(1).u64(1).0,
    ] {
        let error = error_of(&bytes);
        assert!(!error.contains(char::is_control) && error.len() < 1000, "{error:?}");
    }
    let bytes = Forged::header(1, 0).entry(&evil, &[4], 0, 0).with_data(64);
    let error =
        Gguf::from_bytes(&bytes).expect("valid").tensor(&evil[1..]).unwrap_err().to_string();
    assert!(!error.contains(char::is_control) && error.len() < 1000, "{error:?}");
}

#[test]
fn absurd_counts_are_refused_before_anything_is_allocated() {
    for (tensors, entries) in [(u64::MAX, 0), (0, u64::MAX), (1 << 40, 0), (0, 1 << 40)] {
        let error = error_of(&Forged::header(tensors, entries).0);
        assert!(error.contains("cut short: the list of"), "{error}");
    }
    let text = Forged::header(0, 1).u64(u64::MAX).u32(0).u64(0).0;
    assert!(error_of(&text).contains("a metadata key needs 18446744073709551615 bytes"));
    let array = Forged::header(0, 1).text("k").u32(9).u32(8).u64(1 << 60).0;
    assert!(error_of(&array).contains("the value of metadata `k` needs"));
}

#[test]
fn arrays_nested_without_end_are_refused() {
    let mut forged = Forged::header(0, 1).text("k").u32(9);
    for _ in 0..10_000 {
        forged = forged.u32(9).u64(1);
    }
    let error = error_of(&forged.0);
    assert!(error.contains("`k`") && error.contains("nested too deep"), "{error}");
}

#[test]
fn a_tensor_that_breaks_a_rule_is_named_with_the_rule() {
    for (axes, kind, offset, words) in [
        (&[4, 4][..], 0, 96, "cut short: tensor `w`"),
        (&[4, 4], 0, 1 << 40, "cut short: tensor `w`"),
        (&[4, 4], 0, u64::MAX - 31, "cut short: tensor `w`"),
        (&[48, 2], 3, 0, "`w` has rows of 48 weights, not a multiple of the 32"),
        (&[1 << 40, 1 << 40], 0, 0, "`w` has more weights"),
        (&[1; 5], 0, 0, "`w` has 5 axes"),
        (&[4, 2, 2], 0, 0, "`w` has the shape [2, 2, 4]"),
        (&[4, 2], 0, 8, "`w` starts at 8, not a multiple of 32"),
    ] {
        let error = error_of(&Forged::tensor(axes, kind, offset));
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn a_type_that_is_not_decoded_is_named_and_has_a_size_all_the_same() {
    let bytes = Forged::header(1, 0).entry("w", &[256, 1], 23, 0).with_data(160);
    assert!(error_of(&bytes).contains("IQ4_XS"));
    let error = error_of(&Forged::tensor(&[256, 1], 23, 0));
    assert!(error.contains("tensor `w` needs 136 bytes"), "{error}");
    assert!(error.contains("64 are left"), "{error}");
}

#[test]
fn tensors_that_overlap_or_leave_a_hole_are_named() {
    for (second, problem) in [(0, "overlap"), (64, "hole")] {
        let header = Forged::header(2, 0).entry("v", &[8], 0, 0).entry("w", &[8], 0, second);
        let error = error_of(&header.with_data(128));
        assert!(error.contains("tensor `w` starts at byte"), "{problem}: {error}");
        assert!(error.contains("one after the other"), "{problem}: {error}");
    }
}

#[test]
fn a_huge_file_of_zeros_is_not_read_into_memory() {
    // A text of 1 GiB in a file of 8 GiB, which is made up while it is read.
    let start = Forged::header(0, 1).u64(1 << 30).0;
    let error = Gguf::read(MadeUpFile::new(start, 8 << 30)).err().expect("no such header");
    assert!(error.to_string().contains("no header is longer than"), "{error}");
}

#[test]
fn a_name_that_is_not_there_gets_its_neighbours() -> Result<(), formats::gguf::GgufError> {
    let mut file = Gguf::from_bytes(SMALL)?;
    let error = file.tensor("q4_1.wieght").unwrap_err().to_string();
    assert!(error.contains("no tensor `q4_1.wieght`; nearest: q4_1.weight"), "{error}");
    Ok(())
}

#[test]
fn a_path_that_is_not_there_is_named() {
    let error = Gguf::open("no/such/model.gguf").err().map(|error| error.to_string());
    assert!(error.as_deref().is_some_and(|text| text.contains("model.gguf")), "{error:?}");
}

#[test]
fn every_truncation_is_an_error() {
    // The tensors end where the padding of the last one starts.
    let end = Gguf::from_bytes(SMALL).ok().and_then(|file| {
        file.tensors().iter().map(|t| t.offset as usize + t.bytes.unwrap_or(0)).max()
    });
    let end = end.expect("small.gguf has tensors");
    for length in 0..end {
        assert!(read_all(&SMALL[..length]).is_err(), "{length} bytes of {end} passed");
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2048)) {
        let _ = read_all(&bytes);
    }

    #[test]
    fn an_arbitrary_header_never_panics(
        tensors in 0u64..8,
        entries in 0u64..8,
        rest in proptest::collection::vec(prop_oneof![Just(0u8), 0u8..16, any::<u8>()], 0..2048),
    ) {
        let mut forged = Forged::header(tensors, entries);
        forged.0.extend(rest);
        let _ = read_all(&forged.0);
    }

    #[test]
    fn flipped_bits_and_a_cut_never_panic(
        flips in proptest::collection::vec((0..SMALL.len(), 0u8..8), 1..8),
        length in 0..=SMALL.len(),
    ) {
        let mut bytes = SMALL.to_vec();
        for (at, bit) in flips {
            bytes[at] ^= 1 << bit;
        }
        let _ = read_all(&bytes);
        let _ = read_all(&bytes[..length]);
    }
}
