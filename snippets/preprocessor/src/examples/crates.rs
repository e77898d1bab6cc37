//! The crates that examples may use: exactly the files that cargo built for the running program.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::cargo::{Artifact, Dependency, Member, build, workspace};
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
    let packages = workspace(manifest)?;
    let host = packages.iter().find(|package| same_file(&package.manifest_path, manifest));
    let host = host.with_context(|| format!("cargo knows no {}", manifest.display()))?;
    let (local, other): (Vec<_>, Vec<_>) = host.normal().partition(|d| d.path.is_some());
    let members: Vec<(&Dependency, &Member)> = local
        .into_iter()
        .filter(|dependency| dependency.name != env!("CARGO_PKG_NAME"))
        .filter_map(|d| Some((d, packages.iter().find(|p| p.name == d.name)?)))
        .collect();
    let is_used = |d: &&Dependency| {
        members.iter().any(|(_, member)| member.normal().any(|used| used.name == d.name))
    };
    let others = other.into_iter().filter(is_used);
    let others = others.map(|d| (Package::Other(d.name.clone()), d.rename.clone()));
    let members = members.iter().map(|(d, m)| (Package::Member(m.id.clone()), d.rename.clone()));
    Ok(members.chain(others).map(|(package, rename)| Wanted { package, rename }).collect())
}

fn same_file(a: &Path, b: &Path) -> bool {
    a == b || matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}
