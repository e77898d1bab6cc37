//! `cargo book measure`: three meters of each format, predicted beside measured.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use xtask::workspace;

use crate::book::succeed;
use crate::program::{self, Args};

/// Builds and runs the program of the package `engines`, and draws the figure of its capture. On a GPU
/// the meters are those of `gpu-meters`: [`crate::capture`] runs it.
///
/// # Errors
/// If cargo cannot be started, or the figure cannot be drawn.
pub fn run(args: &Args) -> Result<ExitCode> {
    if let Some(rest) = without_gpu(&args.options) {
        return crate::capture::gpu_with(&rest);
    }
    let mut command = program::command(program::MEASURE)?;
    // Where the program puts the path of its capture, for the figure.
    let told = tempfile::NamedTempFile::new().context("no temporary file")?;
    command.env("MEASURE_TELL", told.path());
    let status = command.args(&args.options).status().context("cannot start cargo")?;
    let capture = std::fs::read_to_string(told.path()).unwrap_or_default();
    if !status.success() || capture.is_empty() {
        return Ok(workspace::exit_code(status));
    }
    draw(Path::new(&capture))?;
    Ok(ExitCode::SUCCESS)
}

/// The figure of a capture, beside it.
fn draw(capture: &Path) -> Result<()> {
    let figure = capture.with_extension("svg");
    let mut command = workspace::cargo();
    command.args(["run", "--quiet", "--package", "snippets", "--bin", "mdbook-snippets", "--"]);
    succeed("mdbook-snippets", command.arg("measured").arg(capture).arg(&figure))?;
    println!("The capture is {}, its figure {}", capture.display(), figure.display());
    Ok(())
}

/// The arguments without `--engine gpu`; `None` if that is not among them.
fn without_gpu(arguments: &[OsString]) -> Option<Vec<OsString>> {
    let is = |argument: &OsString, text: &str| argument.as_os_str() == OsStr::new(text);
    let mut rest = arguments.to_vec();
    if let Some(at) = rest.iter().position(|argument| is(argument, "--engine=gpu")) {
        rest.remove(at);
        return Some(rest);
    }
    let at = rest.windows(2).position(|pair| is(&pair[0], "--engine") && is(&pair[1], "gpu"))?;
    rest.drain(at..at + 2);
    Some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gpu_is_an_engine_of_its_own_and_the_rest_is_handed_on() {
        let words = |text: &str| text.split(' ').map(OsString::from).collect::<Vec<_>>();
        for text in ["--engine gpu --quick", "--quick --engine gpu", "--quick --engine=gpu"] {
            assert_eq!(without_gpu(&words(text)), Some(words("--quick")), "{text}");
        }
        for text in ["--engine vllm", "--formats gpu", "--engine"] {
            assert_eq!(without_gpu(&words(text)), None, "{text}");
        }
    }
}
