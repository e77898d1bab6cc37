//! `mdbook-snippets`: the preprocessor of this book. `mdbook-snippets captures FILE…` prints the
//! tables of capture files, those of the repository beside them.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use quantize_and_eval::capture::Capture;
use snippets::tables::captured;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_none_or(|command| command != "captures") {
        return book_preprocessor::main(&snippets::Book, Path::new(env!("CARGO_MANIFEST_PATH")));
    }
    match print_captures(arguments.map(PathBuf::from)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
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
