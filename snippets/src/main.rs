//! `mdbook-snippets`: the preprocessor of this book.

use std::process::ExitCode;

fn main() -> ExitCode {
    book_preprocessor::main(&snippets::Book)
}
