//! The mechanics of `mdbook-snippets`, which knows chapters and nothing of quantization.
//!
//! * For the rendered book it replaces the marks `{{#figure name}}`, `{{#interactive name}}`,
//!   `{{#table name}}` and `{{#value name}}` by what a [`Library`] makes of the names.
//! * For `mdbook test` it runs the Rust examples against the crates that it was built from.
//! * For both it checks what mdBook lets pass: unknown marks, includes of nothing, code
//!   blocks without a language.
//!
//! mdBook runs it after its own `links`, so that included examples are complete. Lines and
//! includes are looked up in the chapter's source file, which `links` does not change.

mod cache;
mod chapters;
mod embed;
mod examples;
mod fences;
mod html;
mod includes;
mod make;
mod markdown;
mod marks;
mod parallel;
mod problem;
mod source;

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use mdbook_preprocessor::book::Book;

pub use problem::{Problem, Problems};

/// What a chapter can embed, by name. The crate `snippets` implements it with figures, tables and
/// values computed by the labs. Several are made at the same time, hence `Sync`.
pub trait Library: Sync {
    /// The names of this kind.
    fn names(&self, kind: Kind) -> Vec<&'static str>;

    /// Computes one of them: for a figure, interactive or not, an HTML block without empty lines, for
    /// a table Markdown with its caption, for a value one line of Markdown that goes into the
    /// sentence.
    ///
    /// # Errors
    /// If it cannot be computed, a data file is missing, say.
    fn render(&self, kind: Kind, name: &str) -> Result<String>;

    /// The files, besides the program itself, that one of them is made of. A file that is missing
    /// counts as missing: [`Library::render`] says what the file is for.
    fn inputs(&self, kind: Kind, name: &str) -> Vec<PathBuf>;
}

/// The four kinds of mark: `{{#figure name}}`, `{{#interactive name}}`, `{{#table name}}`,
/// `{{#value name}}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A plot with its caption.
    Figure,
    /// A plot that a script of the book brings to life.
    Interactive,
    /// A table with its title.
    Table,
    /// A number inside a sentence.
    Value,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 4] = [Self::Figure, Self::Interactive, Self::Table, Self::Value];

    /// The word that stands in the mark.
    pub fn word(self) -> &'static str {
        match self {
            Self::Figure => "figure",
            Self::Interactive => "interactive",
            Self::Table => "table",
            Self::Value => "value",
        }
    }

    /// What it is, with its article, in a sentence.
    fn noun(self) -> &'static str {
        match self {
            Self::Figure => "a figure",
            Self::Interactive => "an interactive figure",
            Self::Table => "a table",
            Self::Value => "a value",
        }
    }

    fn verb(self) -> &'static str {
        match self {
            Self::Figure | Self::Interactive => "drawing",
            Self::Table => "filling",
            Self::Value => "computing",
        }
    }
}

/// Where the program finds what it works with.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The `Cargo.toml` of the package whose library crates the examples may use.
    pub manifest: PathBuf,
    /// The running program: when its bytes change, everything is made again.
    pub program: PathBuf,
    /// The target folder that the program was built into: cargo builds the examples' crates there,
    /// and the cache lies in it.
    pub target: PathBuf,
    /// The profile that the program was built with: examples use the crates that are in it.
    pub profile: String,
}

impl Setup {
    /// The set-up of the running program, built from the package of `manifest`.
    ///
    /// # Errors
    /// If the program cannot find itself.
    pub fn of_this_program(manifest: &Path) -> Result<Self> {
        let program = std::env::current_exe().context("cannot find the running program")?;
        // The program is TARGET/PROFILE/mdbook-snippets. Cargo's CACHEDIR.TAG does not tell the target
        // folder, because cargo writes that file only into a folder which it makes itself.
        let target = program.ancestors().nth(2).unwrap_or(Path::new("."));
        let (target, profile) = (target.to_owned(), profile_of(&program));
        Ok(Self { manifest: manifest.to_owned(), program, target, profile })
    }

    /// The folder of the cache.
    pub fn cache(&self) -> PathBuf {
        self.target.join("snippets-cache")
    }
}

/// The profile by the folder of its programs, `target/debug` or `target/PROFILE`.
fn profile_of(program: &Path) -> String {
    let folder = program.parent().and_then(Path::file_name).unwrap_or_default();
    if folder == "debug" { "dev".to_owned() } else { folder.to_string_lossy().into_owned() }
}

/// Answers one request of mdBook, which is JSON: the context and the book.
///
/// # Errors
/// [`Problems`] if the chapters have any; other errors if the request cannot be read or answered.
pub fn run(library: &dyn Library, setup: &Setup, request: impl Read) -> Result<Book> {
    let (context, mut book) = mdbook_preprocessor::parse_input(request)
        .context("this is not a request of mdBook 0.5: is another version on the PATH?")?;
    let chapters = chapters::check(&context, &book, library)?;
    match context.renderer.as_str() {
        "html" => html::replace_marks(&context, &mut book, &chapters, library, setup)?,
        "test" => examples::run(&context, &mut book, &chapters, setup)?,
        other => bail!("the renderer `{other}` is not supported, only html and test are"),
    }
    Ok(book)
}

/// The whole program: reads mdBook's request from standard input and answers on standard output.
/// `manifest` is the `Cargo.toml` of the package whose library crates the examples may use.
pub fn main(library: &dyn Library, manifest: &Path) -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words[..] {
        [] => answer(library, manifest),
        ["list"] => list(library),
        ["supports", renderer] => {
            return if ["html", "test"].contains(&renderer) { 0 } else { 1 }.into();
        }
        _ => Err(anyhow::anyhow!("mdBook calls this program; by hand: `mdbook-snippets list`")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<Problems>() => fail(&error.to_string()),
        Err(error) => fail(&format!("error: {error:#}")),
    }
}

fn fail(message: &str) -> ExitCode {
    eprintln!("{message}");
    ExitCode::FAILURE
}

fn answer(library: &dyn Library, manifest: &Path) -> Result<()> {
    let setup = Setup::of_this_program(manifest)?;
    let book = run(library, &setup, io::stdin().lock())?;
    serde_json::to_writer(io::stdout().lock(), &book).context("cannot answer mdBook")
}

fn list(library: &dyn Library) -> Result<()> {
    let mut out = io::stdout().lock();
    for kind in Kind::ALL {
        for name in library.names(kind) {
            writeln!(out, "{{{{#{} {name}}}}}", kind.word())?;
        }
    }
    Ok(())
}
