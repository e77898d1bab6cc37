//! `cargo book zoo`: one model in every format and by every method that the course writes, beside what other
//! programs make of the same weights.
//!
//! * [`plan`]: the files of the course, each a command that a reader can type.
//! * [`others`]: the files of other programs, which the scripts beside this file make.
//! * [`size`]: bits of a weight and types of blocks, from the headers.
//! * [`zoo_meters`]: what is kept of a file.
//!
//! Files that the capture has already are left alone, so a program that was stopped goes on.

pub mod others;
pub mod plan;
pub mod size;
mod zoo_meters;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use formats::gguf;
use formats::registry::Reader;
use kit::workspace::target;
use quantizer::loaded::load_quantized;

use crate::gptq::load;
use crate::subject::Subject;

use others::Other;
pub use plan::{Asked, PLAN};
pub use zoo_meters::{COURSE, Capture, Run, Setup, ZooMeters};

/// Write the fetched model in every format and by every method, and score each file.
#[derive(clap::Args)]
pub struct Args {
    /// Only files whose names contain one of these.
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Files of other programs, each a folder NAME with NAME.json beside it, as the scripts in
    /// labs/measure/src/zoo/others write them. They are scored after the course's own.
    #[arg(long, value_name = "DIR", default_value_os_t = target("zoo/theirs"))]
    others: PathBuf,
    /// The capture: made, or completed.
    #[arg(long, value_name = "FILE.json", default_value_os_t = target("captures/zoo.json"))]
    pub out: PathBuf,
    /// List the files, and those that the capture has.
    #[arg(long)]
    list: bool,
}

/// Makes and scores the files that the capture does not have.
///
/// # Errors
/// If the model was not fetched, a file cannot be made or read, or the capture cannot be read or written.
pub fn run(args: &Args) -> Result<()> {
    let mut capture = Capture::begun(&args.out)?;
    let wanted =
        |name: &str| args.only.is_empty() || args.only.iter().any(|only| name.contains(only));
    let ours: Vec<&'static Asked> = PLAN.iter().filter(|asked| wanted(asked.name)).collect();
    let theirs = others::found(&args.others)?;
    let theirs: Vec<_> = theirs.into_iter().filter(|other| wanted(&other.name)).collect();
    let names = ours.iter().map(|asked| asked.name).chain(theirs.iter().map(|of| &of.name[..]));
    let names: Vec<&str> = names.collect();
    ensure!(!names.is_empty(), "no file has such a name: --list shows them");
    if args.list {
        for name in names {
            println!("{name}{}", if capture.run(name).is_some() { ", done" } else { "" });
        }
        return Ok(());
    }
    let subject = Subject::load()?;
    let all = names.len();
    let ours = ours.into_iter().map(File::Ours);
    for (at, file) in ours.chain(theirs.iter().map(File::Theirs)).enumerate() {
        if capture.run(file.name()).is_some() {
            continue;
        }
        println!("{} of {all}: {}", at + 1, file.name());
        let run = file.measured(&subject)?;
        run.print();
        capture.add(run);
        capture.save(&args.out)?;
    }
    Ok(())
}

/// A file, and the program that makes it.
enum File<'a> {
    Ours(&'static Asked),
    Theirs(&'a Other),
}

impl File<'_> {
    fn name(&self) -> &str {
        match self {
            Self::Ours(asked) => asked.name,
            Self::Theirs(other) => &other.name,
        }
    }

    fn measured(&self, subject: &Subject) -> Result<Run> {
        match self {
            Self::Ours(asked) => asked.measured(subject),
            Self::Theirs(other) => other.measured(subject),
        }
    }
}

impl Asked {
    /// Makes the file with the command of the course, in a process of its own, and scores what is read back.
    fn measured(&self, subject: &Subject) -> Result<Run> {
        let folder = target("zoo").join(format!(".{}", self.name.replace([' ', ','], "-")));
        remove(&folder)?;
        let words = self.words()?;
        let (load, started) = (load(), Instant::now());
        course(words.iter().map(String::as_str).chain(["--out", &folder.to_string_lossy()]))?;
        let seconds = started.elapsed().as_secs_f64();
        let run = Run {
            name: self.name.into(),
            program: COURSE.into(),
            version: None,
            command: format!("cargo book quantize {}", self.arguments),
            seconds,
            load,
            readers: self.readers(),
            ..scored(subject, &folder)?
        };
        remove(&folder)?;
        Ok(run)
    }

    /// The words of the command, with the importance matrix made where it is asked for.
    fn words(&self) -> Result<Vec<String>> {
        let imatrix = target("zoo/imatrix.gguf");
        if self.arguments.contains(plan::IMATRIX) && !imatrix.exists() {
            std::fs::create_dir_all(target("zoo"))?;
            let chunks = (plan::TOKENS / quantizer::CHUNK).to_string();
            let out = imatrix.to_string_lossy();
            course(["imatrix", "--chunks", &chunks, "--out", &out].into_iter())?;
        }
        let imatrix = imatrix.to_string_lossy();
        let words = self.arguments.split(' ').map(|word| word.replace(plan::IMATRIX, &imatrix));
        Ok([String::from("quantize")].into_iter().chain(words).collect())
    }
}

/// What is measured of a file, whichever program made the file.
fn scored(subject: &Subject, path: &Path) -> Result<Run> {
    let file = path.join("model.gguf");
    let path = if file.exists() { &file } else { path };
    let (bits, kinds) = size::of(path)?;
    let model = load_quantized(path).with_context(|| path.display().to_string())?;
    // A layer that rounds its inputs has codes, and any other has the numbers that the codes stand for.
    let layers = model.layer_ids().filter(|id| id.layer().is_some());
    let layers = layers.map(|id| Ok(model.linear(id)?.weight().is_none()));
    let activations = layers.collect::<Result<Vec<bool>>>()?.contains(&true);
    let engine = if file.exists() { Reader::LlamaCpp } else { Reader::Vllm };
    let readers = [Reader::Course, engine].map(|reader| reader.name().to_string()).into();
    let inputs = size::kinds(subject.weights.tensors());
    let finds_again =
        kinds.iter().any(|&kind| inputs.iter().any(|&stored| gguf::finds_again(kind, stored)));
    let quality = subject.score(&model)?;
    Ok(Run { bits, quality, finds_again, activations, readers, ..Run::default() })
}

/// Runs a command of this program.
fn course<'w>(words: impl Iterator<Item = &'w str>) -> Result<()> {
    let done = Command::new(std::env::current_exe()?).args(words).output()?;
    let says = String::from_utf8_lossy(&done.stderr);
    ensure!(done.status.success(), "{}", says.trim());
    Ok(())
}

fn remove(folder: &Path) -> Result<()> {
    if folder.exists() {
        std::fs::remove_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    Ok(())
}
