//! Questions to cargo, and the parts of its JSON answers that matter here.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::Value;

use crate::Setup;

/// The cargo that runs us, or the one on the PATH.
pub fn program() -> PathBuf {
    std::env::var_os("CARGO").map_or_else(|| "cargo".into(), PathBuf::from)
}

/// The packages of the workspace of `manifest`, with their dependencies by name.
///
/// # Errors
/// If cargo fails.
pub fn workspace(manifest: &Path) -> Result<Vec<Member>> {
    // Without dependencies: cargo would download those of other systems, too.
    let mut command = cargo_in(manifest);
    command.args(["metadata", "--format-version=1", "--no-deps", "--manifest-path"]);
    let metadata: Metadata = serde_json::from_slice(&run(&mut command, manifest)?)
        .context("cannot read the answer of `cargo metadata`")?;
    Ok(metadata.packages)
}

/// Builds what the running program was built from, with the same flags, so that all is fresh. Only
/// the library: some systems do not let a running program be replaced.
///
/// # Errors
/// If cargo fails; the message has the compiler's errors.
pub fn build(setup: &Setup) -> Result<Vec<Artifact>> {
    let mut command = cargo_in(&setup.manifest);
    command.args([
        "build",
        "--workspace",
        "--lib",
        "--message-format=json",
        "--profile",
        &setup.profile,
    ]);
    command.arg("--target-dir").arg(&setup.target);
    let output = run(command.arg("--manifest-path"), &setup.manifest)?;
    artifacts(&output)
}

fn artifacts(output: &[u8]) -> Result<Vec<Artifact>> {
    // Lines without a brace are those of build scripts and macros, which may print what they like.
    let lines = output.split(|&byte| byte == b'\n').filter(|line| line.starts_with(b"{"));
    let messages = lines.filter_map(|line| serde_json::from_slice::<Value>(line).ok());
    let artifacts = messages.filter(|message| message["reason"] == "compiler-artifact");
    let read = |message| serde_json::from_value(message);
    artifacts.map(|it| read(it).context("cannot read a message of `cargo build`")).collect()
}

fn cargo_in(manifest: &Path) -> Command {
    let mut command = Command::new(program());
    // A toolchain file counts from the folder that cargo is started in.
    command.current_dir(manifest.parent().unwrap_or(Path::new(".")));
    command
}

fn run(command: &mut Command, manifest: &Path) -> Result<Vec<u8>> {
    let output = command.arg(manifest).output().context("cannot start cargo")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stdout);
        let messages = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let rendered: String = messages
            .filter_map(|message| Some(message["message"]["rendered"].as_str()?.to_owned()))
            .collect();
        let errors = String::from_utf8_lossy(&output.stderr);
        bail!("cargo cannot build the crates of the examples:\n{rendered}{errors}");
    }
    Ok(output.stdout)
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Member>,
}

/// A package of the workspace.
#[derive(Deserialize)]
pub struct Member {
    pub id: String,
    pub name: String,
    pub manifest_path: PathBuf,
    dependencies: Vec<Dependency>,
}

impl Member {
    /// The dependencies that are neither for tests nor for the build script.
    pub fn normal(&self) -> impl Iterator<Item = &Dependency> {
        self.dependencies.iter().filter(|dependency| dependency.kind.is_none())
    }
}

/// What a package says it depends on.
#[derive(Deserialize)]
pub struct Dependency {
    pub name: String,
    pub rename: Option<String>,
    kind: Option<String>,
    /// Of a dependency in this repository.
    pub path: Option<PathBuf>,
}

/// Something that cargo built, or found built.
#[derive(Deserialize)]
pub struct Artifact {
    pub package_id: String,
    pub target: Target,
    filenames: Vec<PathBuf>,
}

/// The target of a package: its library, say.
#[derive(Deserialize)]
pub struct Target {
    pub name: String,
    kind: Vec<String>,
}

impl Artifact {
    /// Whether it is a procedural macro.
    pub fn is_macro(&self) -> bool {
        self.target.kind.iter().any(|kind| kind == "proc-macro")
    }

    /// The file that a crate is linked from: of a macro the dynamic library, else the rlib.
    pub fn library(&self) -> Option<&PathBuf> {
        let is_library = |file: &&PathBuf| file.extension().is_some_and(|e| e == "rlib");
        self.filenames.iter().find(|file| self.is_macro() || is_library(file))
    }
}
