//! `mdbook-snippets`: the preprocessor of this book. `mdbook-snippets captures FILE…` prints the
//! tables of capture files, those of the repository beside them; `mdbook-snippets cpu-capture FILE`
//! those of a capture of `cpu-meters`, `mdbook-snippets model-capture FILE` those of `outlier-meters`.
//! `mdbook-snippets measured FILE FIGURE` draws the figure of a capture of `cargo book measure`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use measure::gpu::Capture;
use snippets::tables::{captured, dequantization, outliers};

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let command = arguments.next().unwrap_or_default();
    let mut files = arguments.map(PathBuf::from);
    let printed = match command.to_str() {
        Some("captures") => print_captures(files),
        Some("cpu-capture") => files.try_for_each(|file| print_cpu_capture(&file)),
        Some("model-capture") => files.try_for_each(|file| print_model_capture(&file)),
        Some("measured") => print_measured(files),
        _ => {
            return book_preprocessor::main(
                &snippets::Book,
                Path::new(env!("CARGO_MANIFEST_PATH")),
            );
        }
    };
    match printed {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The tables of one capture of `cpu-meters`.
fn print_cpu_capture(file: &Path) -> Result<()> {
    let capture = measure::cpu::Capture::load(file).context(file.display().to_string())?;
    print!("{}", dequantization::all(&capture)?);
    Ok(())
}

/// The tables of one capture of `outlier-meters`.
fn print_model_capture(file: &Path) -> Result<()> {
    let capture = measure::outliers::Capture::load(file).context(file.display().to_string())?;
    print!("{}", outliers::all(&capture)?);
    Ok(())
}

/// The figure of one capture of `cargo book measure`, into the file behind it.
fn print_measured(mut files: impl Iterator<Item = PathBuf>) -> Result<()> {
    let (file, figure) =
        files.next().zip(files.next()).context("name the capture and the figure to be drawn")?;
    let capture = measure::engines::Capture::load(&file).context(file.display().to_string())?;
    let svg = snippets::figures::measured::of(&capture)?.to_file();
    std::fs::write(&figure, svg).context(figure.display().to_string())
}

/// The captures in `files`, then the committed ones, in the same tables.
fn print_captures(files: impl Iterator<Item = PathBuf>) -> Result<()> {
    let mut captures = files
        .map(|path| Capture::load(&path).context(path.display().to_string()))
        .collect::<Result<Vec<_>>>()?;
    let ours = captured::committed()?;
    if ours.is_empty() {
        println!("(The repository holds no capture to stand beside yours.)\n");
    }
    captures.extend(ours);
    print!("{}", captured::all(&captures));
    Ok(())
}
