//! What the tests of the book share: the built book as files, and a browser to open it in.

pub mod browser;
pub mod site;
