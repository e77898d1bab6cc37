//! Puts the commit and the date of the build into the program, for the captures it writes.

use std::process::Command;

fn main() {
    println!("cargo:rerun-if-env-changed=GPU_METERS_COMMIT");
    println!("cargo:rerun-if-changed=src");
    let commit = std::env::var("GPU_METERS_COMMIT").ok().or_else(commit_of_git);
    println!("cargo:rustc-env=GPU_METERS_COMMIT={}", commit.as_deref().unwrap_or("unknown"));
}

/// The commit that is checked out, marked when this package's files differ from it.
fn commit_of_git() -> Option<String> {
    let commit = git(&["rev-parse", "HEAD"])?;
    let changed = git(&["status", "--porcelain", "--", "."]).is_some_and(|text| !text.is_empty());
    Some(if changed { format!("{commit} with changes") } else { commit })
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_string())
}
