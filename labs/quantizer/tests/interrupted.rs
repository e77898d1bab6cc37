//! Writes that do not come to their end: killed, out of room, or to a place that takes no files.
//!
//! The test program starts itself again, with only the test [`a_child_writes`], because a program that
//! is killed cannot say what it left behind.

#![cfg(unix)]

use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};

use model::Weights;
use quantizer::loaded::Checkpoint;
use quantizer::{Job, Progress, write};

use crate::tiny::{golden, job};

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// The target of a child.
const OUT: &str = "WRITE_INTO";
/// The number of tensors after which a child dies.
const TENSORS: &str = "DIE_AFTER";

/// Kills the program after so many tensors.
struct Deadline {
    tensors: usize,
    done: AtomicUsize,
}

impl Progress for Deadline {
    fn done(&self, _: &str, _: u64) {
        if self.done.fetch_add(1, Ordering::SeqCst) + 1 == self.tensors {
            std::process::abort();
        }
    }
}

fn write_tiny(out: &Path, progress: &dyn Progress) -> Outcome {
    let weights = Weights::open(golden("tiny"))?;
    let job = Job { shard_bytes: 20_000, ..job(&weights, ("w4a16", 16), out) };
    Ok(write(&job, progress).map(drop)?)
}

#[test]
fn a_child_writes() -> Outcome {
    let Some(out) = std::env::var_os(OUT) else { return Ok(()) };
    let tensors = std::env::var(TENSORS).map_or(Ok(usize::MAX), |tensors| tensors.parse())?;
    write_tiny(Path::new(&out), &Deadline { tensors, done: AtomicUsize::new(0) })
}

/// Runs [`a_child_writes`].
fn child(first: &str, out: &Path, tensors: usize) -> std::io::Result<Output> {
    again("interrupted::a_child_writes", first, |command| {
        command.env(OUT, out).env(TENSORS, tensors.to_string())
    })
}

/// Starts this program again with one `test`, through a shell that says `first`.
pub fn again(
    test: &str,
    first: &str,
    with: impl FnOnce(&mut Command) -> &mut Command,
) -> std::io::Result<Output> {
    let run = format!("{first}; exec \"$0\" --exact {test} --nocapture");
    let mut command = Command::new("sh");
    command.arg("-c").arg(run).arg(std::env::current_exe()?).env("RUST_BACKTRACE", "0");
    with(&mut command).output()
}

pub fn names(folder: &Path) -> std::io::Result<Vec<String>> {
    let entries = folder.read_dir()?;
    entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}

#[test]
fn a_write_that_is_killed_at_any_tensor_leaves_nothing_that_looks_finished() -> Outcome {
    let count = Weights::open(golden("tiny"))?.tensors().len();
    assert!(count >= 20, "{count} tensors are fewer points than the test promises");
    for tensors in 1..=count {
        let folder = tempfile::tempdir()?;
        let out = folder.path().join("out");
        // No core file, which would stand beside the target.
        let output = child("ulimit -c 0", &out, tensors)?;
        assert!(!output.status.success(), "the child outlived tensor {tensors}");
        let left = names(folder.path())?;
        let [partial] = left.as_slice() else { panic!("after tensor {tensors}: {left:?}") };
        assert!(partial.starts_with(".out.partial-"), "after tensor {tensors}: {partial}");
        let inside = names(&folder.path().join(partial))?;
        assert!(!inside.iter().any(|name| name == "config.json"), "{tensors}: {inside:?}");
        // A folder of a killed run is in nobody's way.
        write_tiny(&out, &())?;
        Checkpoint::open(&out)?;
    }
    Ok(())
}

#[test]
fn a_full_disk_is_an_error_that_names_the_file_and_leaves_nothing() -> Outcome {
    let folder = tempfile::tempdir()?;
    let out = folder.path().join("out");
    // A limit of 8 blocks of 512 bytes for a file, and the error instead of the signal.
    let output = child("trap '' XFSZ; ulimit -f 8", &out, usize::MAX)?;
    assert!(!output.status.success(), "20,000 bytes fit into 4,096");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(said.contains(".safetensors") && said.contains("too large"), "{said}");
    assert_eq!(names(folder.path())?, [""; 0]);
    Ok(())
}

#[test]
fn a_place_that_takes_no_folder_is_an_error_that_names_the_place() -> Outcome {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("file");
    std::fs::write(&file, "precious")?;
    let error = write_tiny(&file.join("out"), &()).expect_err("a file is no folder").to_string();
    assert!(error.contains("file"), "{error}");
    assert_eq!(std::fs::read_to_string(&file)?, "precious");
    assert_eq!(names(folder.path())?, ["file"]);
    Ok(())
}
