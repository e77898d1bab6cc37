//! Tables as text, a row a line, because a row of a Rust table takes a line for each column.

/// The rows of a table, with bars between the columns and comments behind `#`.
pub fn rows<const N: usize>(table: &'static str) -> Vec<[&'static str; N]> {
    let rows = table.lines().filter(|row| !row.is_empty() && !row.starts_with('#'));
    let columns = |row: &'static str| row.split('|').map(str::trim).collect::<Vec<_>>();
    rows.map(|row| columns(row).try_into().unwrap_or_else(|_| panic!("{N} columns: {row}")))
        .collect()
}

/// A sum of products, `24576 * 10000 + 73728 * 8192`, so that a row shows what its number counts.
pub fn number(sum: &str) -> u64 {
    let factor = |text: &str| text.trim().parse::<u64>().expect(sum);
    sum.split('+').map(|product| product.split('*').map(factor).product::<u64>()).sum()
}
