//! The labs of the workspace, as cargo knows them: no list to keep.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::workspace;

/// The order the book recommends. The numbers of the directories are older than it.
pub const RECOMMENDED: [&str; 5] = ["01", "03", "04", "02", "05"];

/// A lab: a package whose name starts with `lab-` and that has something to fill in or to pass.
#[derive(Clone, Debug)]
pub struct Lab {
    /// The package, `lab-01-fake-quant-linear`.
    pub package: String,
    /// Its directory.
    pub dir: PathBuf,
}

impl Lab {
    /// The lab's number, two digits: `01`.
    pub fn number(&self) -> &str {
        self.package.split('-').nth(1).unwrap_or_default()
    }

    /// What a reader types to mean it: `lab-01`.
    pub fn short_name(&self) -> String {
        format!("lab-{}", self.number())
    }

    /// The reader's file.
    pub fn starter(&self) -> PathBuf {
        self.dir.join("src").join("starter.rs")
    }

    /// The reference.
    pub fn solution(&self) -> PathBuf {
        self.dir.join("src").join("solution.rs")
    }

    /// The spec's source.
    pub fn spec(&self) -> PathBuf {
        self.dir.join("tests").join("spec.rs")
    }

    /// Whether `name` means this lab: its package, `lab-01`, `01` or `1`.
    fn answers_to(&self, name: &str) -> bool {
        let name = name.trim_end_matches('/').rsplit('/').next().unwrap_or(name);
        let digits = name.strip_prefix("lab-").unwrap_or(name);
        name == self.package || format!("{digits:0>2}") == self.number()
    }
}

/// Every lab of the workspace, in the recommended order.
///
/// # Errors
/// If cargo cannot read the workspace.
pub fn all() -> Result<Vec<Lab>> {
    let mut command = workspace::cargo();
    command.args(["metadata", "--no-deps", "--format-version", "1"]);
    let output = command.output().context("cannot start cargo")?;
    if !output.status.success() {
        bail!("cargo cannot read the workspace:\n{}", String::from_utf8_lossy(&output.stderr));
    }
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let packages = metadata["packages"].as_array().context("cargo metadata lists no packages")?;
    let mut labs: Vec<Lab> = packages.iter().filter_map(lab).collect();
    labs.sort_by_key(recommended_place);
    Ok(labs)
}

/// The lab that `name` means.
///
/// # Errors
/// If there is no such lab; the message lists those there are.
pub fn named(name: &str) -> Result<Lab> {
    let labs = all()?;
    if let Some(lab) = labs.iter().find(|lab| lab.answers_to(name)) {
        return Ok(lab.clone());
    }
    let known: Vec<&str> = labs.iter().map(|lab| lab.package.as_str()).collect();
    bail!("there is no lab {name:?}; there are: {}", known.join(", "))
}

/// The lab after `lab` in the recommended order, if it exists.
///
/// # Errors
/// If cargo cannot read the workspace.
pub fn after(lab: &Lab) -> Result<Option<Lab>> {
    Ok(all()?.into_iter().skip_while(|other| other.package != lab.package).nth(1))
}

/// A lab that the order does not know yet comes last.
fn recommended_place(lab: &Lab) -> usize {
    let place = RECOMMENDED.iter().position(|number| *number == lab.number());
    place.unwrap_or(RECOMMENDED.len())
}

fn lab(package: &Value) -> Option<Lab> {
    let name = package["name"].as_str().filter(|name| name.starts_with("lab-"))?;
    let mut dir = PathBuf::from(package["manifest_path"].as_str()?);
    dir.pop();
    let lab = Lab { package: name.into(), dir };
    // Half a lab is a lab whose other half is missing, and a test says so. A package with neither a
    // starter nor a spec is a program that has no exercise yet.
    (lab.starter().is_file() || lab.spec().is_file()).then_some(lab)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lab_goes_by_its_package_its_number_and_its_directory() {
        for name in ["lab-01", "01", "1", "lab-1", "lab-01-fake-quant-linear", "labs/lab-01/"] {
            let found = named(name).map(|lab| lab.package);
            assert_eq!(found.ok().as_deref(), Some("lab-01-fake-quant-linear"), "{name}");
        }
    }

    #[test]
    fn an_unknown_lab_is_told_which_there_are() {
        for name in ["lab-99", "", "fake", "lab-"] {
            let Err(error) = named(name) else { panic!("{name:?} is no lab") };
            assert!(error.to_string().contains("lab-01-fake-quant-linear"), "{error}");
        }
    }
}
