//! Cards that are out there: names of repositories and branches, and what people type.

use std::sync::LazyLock;

/// The cards of `cards.txt`. The tests hold each to what the list says of it, and the book's own reader
/// is held to the same list.
pub static CARDS: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
    let rows = include_str!("cards.txt").lines().filter(|row| !row.starts_with('#'));
    rows.filter_map(|row| row.split('|').next()).map(str::trim).collect()
});
