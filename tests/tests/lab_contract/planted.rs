//! That `cargo book grade` recognizes a known wrong answer in a learner's own code, and accuses nobody
//! else: solutions with a planted mistake stand in for starters.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use xtask::labs::{self, Lab};
use xtask::recognition::{Failures, recognize};
use xtask::workspace;

use crate::compile;

/// Texts of a solution, each with what a learner wrote in its place.
type Edits = &'static [(&'static str, &'static str)];

/// A starter and the wrong answers it must be recognized as.
struct Planted {
    edits: Edits,
    recognized: &'static [&'static str],
}

const LAB_01: &[Planted] = &[
    Planted { edits: &[(".round_ties_even()", ".trunc()")], recognized: &["truncates"] },
    Planted {
        edits: &[
            ("w.map_axis(Axis(1),", "w.map_axis(Axis(0),"),
            ("insert_axis(Axis(1))", "insert_axis(Axis(0))"),
        ],
        recognized: &["scales_per_column"],
    },
    // Task 1 has a mistake, and task 2, which all others need, is not written.
    Planted {
        edits: &[("if scale > 0.0", "if absmax > 0.0"), NOT_WRITTEN],
        recognized: &["guards_the_maximum_only"],
    },
    Planted { edits: &[NOT_WRITTEN], recognized: &[] },
];

/// `check_finite` of lab 01.
const NOT_WRITTEN: (&str, &str) =
    ("match w.indexed_iter()", "todo!();\n    match w.indexed_iter()");

/// Four mistakes in tasks that do not meet.
const LAB_02: &[Planted] = &[Planted {
    edits: &[
        ("whole_bytes(gigabytes, 1e9)", "whole_bytes(gigabytes, 1024f64.powi(3))"),
        ("2 * architecture.layers", "architecture.layers"),
        (
            "let left = requested_bytes.checked_sub(taken_bytes);",
            "let rest = memory_bytes.saturating_sub(taken_bytes) as f64;\n    \
             let left = requested_bytes.checked_sub(taken_bytes);\n    \
             let left = left.map(|_| (rest * utilization).ceil() as u64);",
        ),
        ("4.0 * heads * tokens * (tokens + 1.0) / 2.0", "tokens * heads * (tokens + 1.0)"),
    ],
    recognized: &[
        "attention_is_one_product",
        "gb_is_gib",
        "kv_without_the_two",
        "utilization_of_what_is_left",
    ],
}];

/// Two known mistakes, and one that no known wrong answer makes.
const LAB_03: &[Planted] = &[Planted {
    edits: &[
        ("nibble(low) | nibble(high) << 4", "nibble(low) << 4 | nibble(high)"),
        ("[low(byte), high(byte)]", "[high(byte), low(byte)]"),
        (".map(|stored| stored + 1)", ""),
        ("w.q().len().div_ceil(2)", "w.q().len().div_ceil(4)"),
    ],
    recognized: &["forgets_the_plus_one", "swapped_nibbles"],
}];

#[test]
#[ignore = "compiles labs with planted mistakes: cargo book test"]
fn a_planted_wrong_answer_is_recognized_and_an_unfinished_starter_is_not_accused() -> Result<()> {
    for (number, planted) in [("01", LAB_01), ("02", LAB_02), ("03", LAB_03)] {
        let lab = labs::named(number)?;
        let copy = copied(&lab)?;
        let failures: Result<Vec<_>> =
            planted.iter().map(|one| failures(&copy, one.edits)).collect();
        // Later labs take functions of this one, and are planted on a right lab.
        fs::copy(lab.solution(), copy.starter())?;
        let wrong = compile(&lab, "wrong")?;
        for (planted, failures) in planted.iter().zip(failures?) {
            let mut names: Vec<_> =
                recognize(&wrong, &failures)?.into_iter().map(|found| found.wrong.name).collect();
            names.sort();
            ensure!(
                names == planted.recognized,
                "{number}: {:?} was taken for {names:?}",
                planted.edits
            );
        }
    }
    Ok(())
}

/// What fails on a starter that is the solution with `edits`.
fn failures(lab: &Lab, edits: Edits) -> Result<Failures> {
    let mut source = fs::read_to_string(lab.solution())?;
    for (right, wrong) in edits {
        ensure!(source.contains(right), "the solution of {} has no {right:?}", lab.package);
        source = source.replacen(right, wrong, 1);
    }
    fs::write(lab.starter(), source)?;
    let outcomes = compile(lab, "starter")?.run_all("", &[])?;
    Ok(outcomes.into_iter().filter(|(_, outcome)| !outcome.passed).collect())
}

/// A copy of a lab whose starter may be overwritten, in a workspace under `target` that has the
/// crates of this one.
fn copied(lab: &Lab) -> Result<Lab> {
    let root = workspace::root();
    let planted = root.join("target/planted");
    let folder = lab.dir.file_name().context("a lab has a folder")?;
    let dir = planted.join("labs").join(folder);
    if dir.exists() {
        fs::remove_dir_all(&dir)?;
    }
    for file in ["Cargo.toml", "src", "tests"] {
        copy(&lab.dir.join(file), &dir.join(file))?;
    }
    // A spec reads what lies in other crates by its path from there.
    let spec = dir.join("tests/spec.rs");
    let source = fs::read_to_string(&spec)?;
    fs::write(&spec, source.replace("\"../../", &format!("\"{}/labs/", slashed(&root))))?;
    let build = Path::new("labs/kit/choose_implementation.rs");
    copy(&root.join(build), &planted.join(build))?;
    copy(&root.join("Cargo.lock"), &planted.join("Cargo.lock"))?;
    let manifest = fs::read_to_string(root.join("Cargo.toml"))?;
    let copies = copies(&planted.join("labs"))?;
    let own = manifest.lines().map(|line| match line.starts_with("members = ") {
        true => r#"members = ["labs/lab-*"]"#.into(),
        // A lab that was copied before is taken from its copy, with all that is written in it.
        false if copies.iter().any(|copy| line.starts_with(copy.as_str())) => line.into(),
        false => line.replace("path = \"", &format!("path = \"{}/", slashed(&root))),
    });
    fs::write(planted.join("Cargo.toml"), own.collect::<Vec<_>>().join("\n"))?;
    Ok(Lab { dir, ..lab.clone() })
}

/// The names of the packages that lie in `labs`.
fn copies(labs: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(labs)? {
        let entry = entry?;
        if entry.path().join("Cargo.toml").is_file() {
            names.push(entry.file_name().display().to_string());
        }
    }
    Ok(names)
}

/// Copies a file or a folder.
fn copy(from: &Path, to: &Path) -> Result<()> {
    if from.is_dir() {
        fs::create_dir_all(to)?;
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            copy(&entry.path(), &to.join(entry.file_name()))?;
        }
        return Ok(());
    }
    fs::create_dir_all(to.parent().context("a file has a folder")?)?;
    fs::copy(from, to).with_context(|| from.display().to_string())?;
    Ok(())
}

/// A path as a manifest writes it on every system.
fn slashed(path: &Path) -> String {
    path.display().to_string().replace('\\', "/")
}
