//! The labs of the workspace, which cargo finds by their names, in the order of SUMMARY.md.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::workspace;

/// A lab: a package whose name starts with `lab-`.
#[derive(Clone, Debug)]
pub struct Lab {
    /// The package, `lab-01-fake-quant-linear`.
    pub package: String,
    /// Its directory.
    pub dir: PathBuf,
    /// The thing that a reader builds: the package's description after `Lab NN: `.
    pub builds: String,
    /// The hardware that a reader needs: `package.metadata.lab.needs`, or a CPU.
    pub needs: String,
    /// The chapter that teaches it, from `src`: `primitive/lab-01.md`. Without one, no reader finds
    /// the lab, and a test says so.
    pub chapter: Option<String>,
}

impl Lab {
    /// The lab's number, two digits: `01`.
    pub fn number(&self) -> &str {
        self.package.split('-').nth(1).unwrap_or_default()
    }

    /// The name that a reader types: `lab-01`.
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

    /// Plausible wrong answers.
    pub fn wrong_answers(&self) -> PathBuf {
        self.dir.join("src").join("wrong_answers.rs")
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

/// Every lab of the workspace, in the order of its chapters in SUMMARY.md; a lab without a chapter
/// comes last.
///
/// # Errors
/// If cargo cannot read the workspace, or a chapter is missing.
pub fn all() -> Result<Vec<Lab>> {
    let mut command = workspace::cargo();
    command.args(["metadata", "--no-deps", "--format-version", "1"]);
    let output = command.output().context("cannot start cargo")?;
    if !output.status.success() {
        bail!("cargo cannot read the workspace:\n{}", String::from_utf8_lossy(&output.stderr));
    }
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let packages = metadata["packages"].as_array().context("cargo metadata lists no packages")?;
    in_order(packages.iter().filter_map(lab).collect(), &workspace::root().join("src"))
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

/// The files that a SUMMARY.md links to, in its order.
pub fn chapters(summary: &str) -> Vec<String> {
    let links = summary.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    links.filter(|link| link.ends_with(".md")).map(|link| link.replace("./", "")).collect()
}

fn lab(package: &Value) -> Option<Lab> {
    let name = package["name"].as_str().filter(|name| name.starts_with("lab-"))?;
    let mut dir = PathBuf::from(package["manifest_path"].as_str()?);
    dir.pop();
    let description = package["description"].as_str().unwrap_or_default();
    let builds = description.split_once(": ").map_or(description, |(_, builds)| builds).into();
    let needs = package["metadata"]["lab"]["needs"].as_str().unwrap_or("a CPU").into();
    Some(Lab { package: name.into(), dir, builds, needs, chapter: None })
}

/// The labs with their chapters under `source`, in the order of SUMMARY.md.
fn in_order(labs: Vec<Lab>, source: &Path) -> Result<Vec<Lab>> {
    let read = |file: &str| {
        let path = source.join(file);
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    };
    let mut texts = Vec::new();
    for chapter in chapters(&read("SUMMARY.md")?) {
        texts.push((read(&chapter)?, chapter));
    }
    let mut placed = Vec::new();
    for mut lab in labs {
        let place = teaches(&texts, &lab.short_name());
        lab.chapter = place.map(|place| texts[place].1.clone());
        placed.push((place.unwrap_or(texts.len()), lab));
    }
    placed.sort_by(|(a, one), (b, other)| (a, &one.package).cmp(&(b, &other.package)));
    Ok(placed.into_iter().map(|(_, lab)| lab).collect())
}

/// The place of the chapter that teaches a lab: of those that tell the reader to grade it, the one
/// with the lab's name, or else the first.
fn teaches(chapters: &[(String, String)], lab: &str) -> Option<usize> {
    let command = format!("$ cargo book grade {lab}");
    let mut found = Vec::new();
    for (place, (text, file)) in chapters.iter().enumerate() {
        if text.lines().any(|line| line.starts_with(&command)) {
            found.push((!file.ends_with(&format!("/{lab}.md")), place));
        }
    }
    found.into_iter().min().map(|(_, place)| place)
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

    #[test]
    fn the_chapter_with_the_labs_name_comes_before_one_that_mentions_it() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let write = |file: &str, text: &str| fs::write(folder.path().join(file), text);
        fs::create_dir(folder.path().join("part"))?;
        write("SUMMARY.md", "- [A](setup.md)\n- [B](part/lab-07.md)\n- [C](part/more.md)\n")?;
        let says = "$ cargo book grade lab-07    # now\n";
        write("setup.md", says)?;
        write("part/more.md", says)?;
        write("part/lab-07.md", says)?;
        let lab = |package: &str| {
            let (builds, needs, chapter) = (String::new(), String::new(), None);
            Lab { package: package.into(), dir: PathBuf::new(), builds, needs, chapter }
        };
        let chapters = || -> Result<Vec<_>> {
            let labs = in_order(vec![lab("lab-06-y"), lab("lab-07-x")], folder.path())?;
            Ok(labs.into_iter().map(|lab| (lab.short_name(), lab.chapter)).collect())
        };
        let first = |chapter: &str| ("lab-07".to_string(), Some(chapter.to_string()));
        let last = ("lab-06".to_string(), None);
        assert_eq!(chapters()?, [first("part/lab-07.md"), last.clone()]);
        write("part/lab-07.md", "nothing")?;
        assert_eq!(chapters()?, [first("setup.md"), last]);
        write("setup.md", "nothing")?;
        write("part/more.md", "$ cargo book grade lab-06")?;
        let order: Vec<_> = chapters()?.into_iter().map(|(lab, _)| lab).collect();
        assert_eq!(order, ["lab-06", "lab-07"]);
        Ok(())
    }
}
