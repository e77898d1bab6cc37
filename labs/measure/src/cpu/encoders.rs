//! The encoders: from memory to memory, and from file to file in turn with `llama-quantize`.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::process::Command;

use crate::cpu::kernels::quantize::{self, BLOCK, Q4_0_BYTES, Q8_0_BYTES};
use crate::cpu::kernels::{KernelError, Threads};
use crate::cpu::{Capture, Quantizing};
use anyhow::{Context, Result, bail, ensure};
use formats::gguf::{Gguf, TensorType};
use half::f16;
use ndarray::Array2;

use super::gguf;
use super::{IN_FEATURES, OUT_FEATURES};
use crate::capture::{Spread, time_ms};

/// A block format that both sides write.
struct Format {
    name: &'static str,
    /// Its number in GGML.
    kind: TensorType,
    /// Bytes of a block.
    bytes: usize,
    encode: fn(&[f32], &mut [u8]) -> Result<(), KernelError>,
}

const FORMATS: [Format; 2] = [
    Format { name: "Q8_0", kind: TensorType::Q8_0, bytes: Q8_0_BYTES, encode: quantize::q8_0 },
    Format { name: "Q4_0", kind: TensorType::Q4_0, bytes: Q4_0_BYTES, encode: quantize::q4_0 },
];

/// Group size of the third encoder.
const GROUP: usize = 128;
/// Weights that our encoder holds at a time: 1 MiB, so that they are still in the cache when they are encoded.
const PIECE: usize = 1 << 18;

/// Measures every encoder `rounds` times, in turn with `tool` where there is one.
pub fn measure(
    capture: &mut Capture,
    w: &Array2<f32>,
    threads: &[usize],
    rounds: usize,
    tool: Option<&Path>,
) -> Result<()> {
    let w = w.as_slice().context("the matrix is stored row by row")?;
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    write_f32(&folder.path().join("in.gguf"), w)?;
    for &count in threads {
        let pool = Threads::new(count)?;
        int4_in_memory(capture, w, (count, &pool), rounds)?;
        for format in &FORMATS {
            one_format(capture, w, (count, &pool), rounds, format, (folder.path(), tool))?;
        }
    }
    Ok(())
}

/// Ours in memory, ours from file to file, theirs from file to file, again and again.
fn one_format(
    capture: &mut Capture,
    w: &[f32],
    (threads, pool): (usize, &Threads),
    rounds: usize,
    format: &Format,
    (folder, tool): (&Path, Option<&Path>),
) -> Result<()> {
    let (from, ours, theirs) =
        (folder.join("in.gguf"), folder.join("ours.gguf"), folder.join("theirs.gguf"));
    let mut out = vec![0; w.len() / BLOCK * format.bytes];
    let [mut memory, mut files, mut printed, mut process] = [const { Vec::new() }; 4];
    // The first round fills pages and the file cache; it is not kept.
    for round in 0..=rounds {
        let (ms, done) = time_ms(|| pool.run(|| (format.encode)(w, &mut out)));
        done?;
        let (file_ms, done) = time_ms(|| pool.run(|| file_to_file(format, &from, &ours)));
        done?;
        let theirs =
            tool.map(|tool| run_tool(tool, format, threads, &from, &theirs)).transpose()?;
        if round == 0 {
            if let (Some(theirs), None) = (&theirs, &capture.setup.llama_quantize) {
                capture.setup.llama_quantize = Some(theirs.version.clone());
            }
            continue;
        }
        memory.push(ms);
        files.push(file_ms);
        if let Some(theirs) = theirs {
            printed.push(theirs.printed_ms);
            process.push(theirs.process_ms);
        }
    }
    let row =
        |who, between, samples: &[f64]| reading(format.name, who, between, threads, w, samples);
    ensure!(tensor(&ours)? == out, "{}: our file does not hold our bytes", format.name);
    capture.quantizing.push(row("this lab", "memory", &memory)?);
    capture.quantizing.push(row("this lab", "files", &files)?);
    if tool.is_some() {
        let differ = blocks_that_differ(&out, &tensor(&theirs)?, format.bytes)?;
        capture.quantizing.push(Quantizing {
            process_ms: Some(Spread::sound(&process)?),
            blocks_that_differ: Some(differ),
            ..row("llama-quantize", "files", &printed)?
        });
    }
    Ok(())
}

/// The encoder of int4 groups, which no file format of GGML has.
fn int4_in_memory(
    capture: &mut Capture,
    w: &[f32],
    (threads, pool): (usize, &Threads),
    rounds: usize,
) -> Result<()> {
    let (mut bytes, mut scales) = (vec![0; w.len() / 2], vec![f16::ZERO; w.len() / GROUP]);
    let mut samples = Vec::new();
    for round in 0..=rounds {
        let to = (&mut bytes[..], &mut scales[..]);
        let encode = || quantize::int4_groups(w, IN_FEATURES, GROUP, to.0, to.1);
        let (ms, done) = time_ms(|| pool.run(encode));
        done?;
        if round > 0 {
            samples.push(ms);
        }
    }
    let format = format!("int4 g{GROUP}");
    capture.quantizing.push(reading(&format, "this lab", "memory", threads, w, &samples)?);
    Ok(())
}

/// The times of one encoder of `w`, without those that only another program has.
fn reading(
    format: &str,
    who: &str,
    between: &str,
    threads: usize,
    w: &[f32],
    samples: &[f64],
) -> Result<Quantizing> {
    let (format, who, between) = (format.into(), who.into(), between.into());
    let (bytes, time_ms) = (size_of_val(w) as u64, Spread::sound(samples)?);
    let (process_ms, blocks_that_differ) = (None, None);
    Ok(Quantizing { format, who, between, threads, bytes, time_ms, process_ms, blocks_that_differ })
}

/// Writes the matrix as the file that is quantized.
fn write_f32(path: &Path, w: &[f32]) -> Result<()> {
    let mut file = File::create(path).with_context(|| path.display().to_string())?;
    file.write_all(&gguf::header(OUT_FEATURES, IN_FEATURES, TensorType::F32)?)?;
    for piece in w.chunks(PIECE) {
        let bytes: Vec<u8> = piece.iter().flat_map(|value| value.to_le_bytes()).collect();
        file.write_all(&bytes)?;
    }
    Ok(())
}

/// Our `llama-quantize`: reads a piece, encodes it while it is in the cache, writes it.
fn file_to_file(format: &Format, from: &Path, to: &Path) -> Result<()> {
    let (mut from, mut to) = (File::open(from)?, File::create(to)?);
    let mut header = gguf::header(OUT_FEATURES, IN_FEATURES, TensorType::F32)?;
    from.read_exact(&mut header)?;
    to.write_all(&gguf::header(OUT_FEATURES, IN_FEATURES, format.kind)?)?;
    let mut bytes = vec![0; PIECE * size_of::<f32>()];
    let mut weights = vec![0.0; PIECE];
    let mut out = vec![0; PIECE / BLOCK * format.bytes];
    let mut left = OUT_FEATURES * IN_FEATURES;
    while left > 0 {
        let count = left.min(PIECE);
        let bytes = &mut bytes[..count * size_of::<f32>()];
        from.read_exact(bytes)?;
        for (weight, bytes) in weights.iter_mut().zip(bytes.as_chunks().0) {
            *weight = f32::from_le_bytes(*bytes);
        }
        let out = &mut out[..count / BLOCK * format.bytes];
        (format.encode)(&weights[..count], out)?;
        to.write_all(out)?;
        left -= count;
    }
    Ok(())
}

/// One run of `llama-quantize`.
struct ToolRun {
    version: String,
    printed_ms: f64,
    process_ms: f64,
}

fn run_tool(
    tool: &Path,
    format: &Format,
    threads: usize,
    from: &Path,
    to: &Path,
) -> Result<ToolRun> {
    let mut command = Command::new(tool);
    // `--pure`: every tensor in the format that was asked for, and no better one for some of them.
    command.arg("--pure").args([from, to]).args([format.name, &threads.to_string()]);
    let (process_ms, output) = time_ms(|| command.output());
    let output = output.with_context(|| format!("cannot run {}", tool.display()))?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    if !output.status.success() {
        bail!("llama-quantize failed on {}:\n{text}", format.name);
    }
    let after = |start: &str| text.split(start).nth(1)?.lines().next().map(str::trim);
    let printed = after("quantize time =").and_then(|rest| rest.strip_suffix("ms"));
    let printed_ms = printed.and_then(|ms| ms.trim().parse().ok());
    Ok(ToolRun {
        version: after("version: ").unwrap_or("it did not tell").to_string(),
        printed_ms: printed_ms.context("llama-quantize printed no quantize time")?,
        process_ms,
    })
}

/// The bytes of the one tensor of a file.
fn tensor(path: &Path) -> Result<Vec<u8>> {
    Ok(Gguf::open(path)?.bytes(gguf::TENSOR)?)
}

fn blocks_that_differ(ours: &[u8], theirs: &[u8], block: usize) -> Result<u64> {
    ensure!(
        ours.len() == theirs.len(),
        "llama-quantize wrote {} bytes where we wrote {}",
        theirs.len(),
        ours.len()
    );
    let pairs = ours.chunks(block).zip(theirs.chunks(block));
    Ok(pairs.filter(|(ours, theirs)| ours != theirs).count() as u64)
}
