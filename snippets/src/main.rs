//! `mdbook-snippets`: the preprocessor of this book.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    book_preprocessor::main(&snippets::Book, Path::new(env!("CARGO_MANIFEST_PATH")))
}
