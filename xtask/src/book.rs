//! `cargo book build` and `cargo book serve`.

use std::net::TcpListener;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use xtask::workspace;

use crate::tools::{self, Tools};
use crate::{marks, progress};

/// How to serve the book.
#[derive(clap::Args)]
pub struct ServeArgs {
    /// The port to serve on.
    #[arg(long, short, default_value_t = 3000)]
    port: u16,
    /// The address to serve on.
    #[arg(long, short = 'n', default_value = "localhost")]
    hostname: String,
    /// Open the book in a browser.
    #[arg(long)]
    open: bool,
}

/// Builds the book into `target/book` and checks that everything is in it.
///
/// # Errors
/// If the tools cannot be had, something does not compile, a chapter is wrong, or the built book is
/// not complete.
pub fn build() -> Result<()> {
    build_with(&tools::ready()?)
}

/// Builds the book once, with all checks, then serves it and rebuilds it when a file changes.
///
/// # Errors
/// As [`build`], and if the address cannot be used.
pub fn serve(args: &ServeArgs) -> Result<()> {
    let ServeArgs { port, hostname, open } = args;
    // Checked before the build, because a build takes minutes and the port may be taken.
    drop(TcpListener::bind((hostname.as_str(), *port)).with_context(|| {
        format!("cannot serve on {hostname}:{port}; try `cargo book serve --port {}`", port ^ 1)
    })?);
    let tools = tools::ready()?;
    build_with(&tools)?;
    let mut command = tools.mdbook();
    command.args(["serve", "--port", &port.to_string(), "--hostname", hostname]);
    if *open {
        command.arg("--open");
    }
    println!("Start with http://{hostname}:{port}/introduction.html; Ctrl-C ends the server.");
    succeed("mdbook serve", &mut command)
}

/// As [`build`], with `tools` at hand.
///
/// # Errors
/// As [`build`].
pub fn build_with(tools: &Tools) -> Result<()> {
    let started = Instant::now();
    compile_snippets()?;
    succeed("mdbook build", tools.mdbook().arg("build"))?;
    let book = workspace::built_book();
    let found = marks::check(&workspace::root().join("src"), &book)?;
    println!(
        "The book is built, {} pages with {} figures, {} interactive ones and {} tables, in {}: {}",
        found.pages,
        found.figures,
        found.interactives,
        found.tables,
        progress::human(started.elapsed()),
        book.join("index.html").display()
    );
    Ok(())
}

/// Compiles the preprocessor. mdBook would compile it too, but without progress.
fn compile_snippets() -> Result<()> {
    let mut command = workspace::cargo();
    command.args(["build", "--bin", "mdbook-snippets"]);
    let output = progress::run("compiling the labs, figures and tables", &mut command)?;
    if output.status.success() {
        return Ok(());
    }
    bail!(
        "the labs, figures and tables do not compile:\n{}",
        String::from_utf8_lossy(&output.stderr).trim_end()
    )
}

/// Runs `command` with its output shown as it comes.
///
/// # Errors
/// If it cannot be started or fails.
pub fn succeed(name: &str, command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start {name}"))?;
    if status.success() { Ok(()) } else { bail!("{name} failed ({status})") }
}
