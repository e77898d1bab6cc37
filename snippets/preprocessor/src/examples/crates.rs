//! The crates that examples may use: exactly the files that cargo built for the running program.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::Setup;

/// What rustdoc needs to know of the crates.
#[derive(Debug, Default)]
pub struct Crates {
    /// The crates that an example can name, each with its file.
    pub named: Vec<(String, PathBuf)>,
    /// The folders of the crates that these use.
    pub folders: BTreeSet<PathBuf>,
}

impl Crates {
    /// Asks cargo. Nothing is compiled, as a rule: the program that asks was built from them.
    ///
    /// An example may use the library crates of the workspace that the package of the set-up
    /// depends on, but not this one, and of the package's other dependencies those that such a
    /// library depends on as well, because they show in its signatures.
    ///
    /// # Errors
    /// If cargo fails.
    pub fn of(setup: &Setup) -> Result<Self> {
        let wanted = wanted(&setup.manifest)?;
        let mut crates = Self::default();
        for artifact in build(setup)? {
            let Some(file) = artifact.library() else { continue };
            crates.folders.extend(file.parent().map(Path::to_owned));
            let is_it = |wanted: &&Wanted| wanted.package.is(&artifact);
            if let Some(wanted) = wanted.iter().find(is_it)
                && !artifact.is_macro()
            {
                let name = wanted.rename.clone().unwrap_or(artifact.target.name.clone());
                crates.named.push((name.replace('-', "_"), file.clone()));
            }
        }
        crates.unambiguous()
    }

    fn unambiguous(mut self) -> Result<Self> {
        self.named.sort();
        for pair in self.named.windows(2) {
            ensure!(
                pair[0].0 != pair[1].0,
                "cargo built two versions of {}, and examples cannot tell them apart",
                pair[0].0
            );
        }
        Ok(self)
    }
}

/// The cargo that runs us, or the one on the PATH.
pub fn cargo() -> PathBuf {
    std::env::var_os("CARGO").map_or_else(|| "cargo".into(), PathBuf::from)
}

/// A crate that examples may use.
struct Wanted {
    package: Package,
    /// The name that the depending package gives it, if it is not its own.
    rename: Option<String>,
}

/// How cargo's messages name a package.
enum Package {
    /// One of the workspace, by its id.
    Member(String),
    /// One from elsewhere, by its name.
    Other(String),
}

impl Package {
    fn is(&self, artifact: &Artifact) -> bool {
        match self {
            Self::Member(id) => artifact.package_id == *id,
            Self::Other(name) => {
                let spec = artifact.package_id.rsplit_once('#').map(|(_, spec)| spec);
                spec.and_then(|spec| spec.split_once('@')).is_some_and(|(known, _)| known == name)
            }
        }
    }
}

fn wanted(manifest: &Path) -> Result<Vec<Wanted>> {
    // Without dependencies: cargo would download those of other systems, too.
    let metadata: Metadata = serde_json::from_slice(&run(
        cargo_in(manifest).args(["metadata", "--format-version=1", "--no-deps", "--manifest-path"]),
        manifest,
    )?)
    .context("cannot read the answer of `cargo metadata`")?;
    let host = metadata.packages.iter().find(|package| same_file(&package.manifest_path, manifest));
    let host = host.with_context(|| format!("cargo knows no {}", manifest.display()))?;
    let (local, other): (Vec<_>, Vec<_>) = host.normal().partition(|d| d.path.is_some());
    let members: Vec<(&Dependency, &Member)> = local
        .into_iter()
        .filter(|dependency| dependency.name != env!("CARGO_PKG_NAME"))
        .filter_map(|d| Some((d, metadata.packages.iter().find(|p| p.name == d.name)?)))
        .collect();
    let is_used = |d: &&Dependency| {
        members.iter().any(|(_, member)| member.normal().any(|used| used.name == d.name))
    };
    let others = other.into_iter().filter(is_used);
    let others = others.map(|d| (Package::Other(d.name.clone()), d.rename.clone()));
    let members = members.iter().map(|(d, m)| (Package::Member(m.id.clone()), d.rename.clone()));
    Ok(members.chain(others).map(|(package, rename)| Wanted { package, rename }).collect())
}

/// Builds what the running program was built from, with the same flags, so that all is fresh. Only
/// the library: some systems do not let a running program be replaced.
fn build(setup: &Setup) -> Result<Vec<Artifact>> {
    let mut command = cargo_in(&setup.manifest);
    command.args(["build", "--lib", "--message-format=json", "--profile", &setup.profile]);
    let output = run(command.arg("--manifest-path"), &setup.manifest)?;
    messages(&output)
}

fn messages<T: DeserializeOwned>(output: &[u8]) -> Result<Vec<T>> {
    #[derive(Deserialize)]
    struct Message {
        reason: String,
    }
    let lines = output.split(|&byte| byte == b'\n').filter(|line| line.starts_with(b"{"));
    let artifacts = lines.filter(|line| {
        serde_json::from_slice::<Message>(line).is_ok_and(|m| m.reason == "compiler-artifact")
    });
    artifacts
        .map(|line| serde_json::from_slice(line).context("cannot read a message of `cargo build`"))
        .collect()
}

fn cargo_in(manifest: &Path) -> Command {
    let mut command = Command::new(cargo());
    // A toolchain file counts from the folder that cargo is started in.
    command.current_dir(manifest.parent().unwrap_or(Path::new(".")));
    command
}

fn run(command: &mut Command, manifest: &Path) -> Result<Vec<u8>> {
    let output = command.arg(manifest).output().context("cannot start cargo")?;
    if !output.status.success() {
        let rendered: String = String::from_utf8_lossy(&output.stdout)
            .lines()
            .filter_map(|line| serde_json::from_str::<Diagnostic>(line).ok()?.message?.rendered)
            .collect();
        let errors = String::from_utf8_lossy(&output.stderr);
        bail!("cargo cannot build the crates of the examples:\n{rendered}{errors}");
    }
    Ok(output.stdout)
}

fn same_file(a: &Path, b: &Path) -> bool {
    a == b || matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Member>,
}

#[derive(Deserialize)]
struct Member {
    id: String,
    name: String,
    manifest_path: PathBuf,
    dependencies: Vec<Dependency>,
}

impl Member {
    fn normal(&self) -> impl Iterator<Item = &Dependency> {
        self.dependencies.iter().filter(|dependency| dependency.kind.is_none())
    }
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    rename: Option<String>,
    kind: Option<String>,
    path: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Artifact {
    package_id: String,
    target: Target,
    filenames: Vec<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

impl Artifact {
    fn is_macro(&self) -> bool {
        self.target.kind.iter().any(|kind| kind == "proc-macro")
    }

    /// The file that a crate is linked from: of a macro the dynamic library, else the rlib.
    fn library(&self) -> Option<&PathBuf> {
        let is_library = |file: &&PathBuf| file.extension().is_some_and(|e| e == "rlib");
        self.filenames.iter().find(|file| self.is_macro() || is_library(file))
    }
}

#[derive(Deserialize)]
struct Diagnostic {
    message: Option<Rendered>,
}

#[derive(Deserialize)]
struct Rendered {
    rendered: Option<String>,
}
