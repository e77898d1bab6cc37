//! One type for every table of the book.
//!
//! The chapter and the snapshot get the same text, so insta pins the text that the reader reads.

use std::fmt::{self, Display, Write};

/// A titled table, which a chapter embeds and a snapshot pins.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    title: String,
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
}

#[derive(Clone, Debug, PartialEq)]
struct Column {
    name: String,
    align: Align,
}

/// The alignment of a column's cells: text to the left, numbers to the right.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Align {
    Left,
    Right,
}

impl Table {
    /// An empty table. The title is a sentence that names the measurement and its object.
    pub fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), columns: Vec::new(), rows: Vec::new() }
    }

    /// Adds a column of words.
    pub fn text(mut self, name: impl Into<String>) -> Self {
        self.columns.push(Column { name: name.into(), align: Align::Left });
        self
    }

    /// Adds a column of numbers; the name carries the unit.
    pub fn number(mut self, name: impl Into<String>) -> Self {
        self.columns.push(Column { name: name.into(), align: Align::Right });
        self
    }

    /// Adds a row: one cell per column.
    ///
    /// # Panics
    /// If the number of cells is not the number of columns.
    pub fn row<Cell: Into<String>>(&mut self, cells: impl IntoIterator<Item = Cell>) {
        let cells: Vec<String> = cells.into_iter().map(Into::into).collect();
        assert!(
            cells.len() == self.columns.len(),
            "table «{}» has {} columns and was given a row of {} cells: {cells:?}",
            self.title,
            self.columns.len(),
            cells.len(),
        );
        self.rows.push(cells);
    }

    /// A table with a row for each of `rows`, to which columns are added.
    pub fn of<R>(title: impl Into<String>, rows: impl IntoIterator<Item = R>) -> Columns<R> {
        let rows: Vec<R> = rows.into_iter().collect();
        let table = Self { rows: vec![Vec::new(); rows.len()], ..Self::new(title) };
        Columns { table, rows }
    }

    /// The title.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// The cell of `column` in the first row that has each of the cells `row`.
    pub fn cell(&self, row: &[&str], column: &str) -> Option<&str> {
        let column = self.columns.iter().position(|found| found.name == column)?;
        let has = |cells: &&Vec<String>| row.iter().all(|cell| cells.iter().any(|c| c == cell));
        Some(self.rows.iter().find(has)?.get(column)?)
    }

    /// The Markdown table without its title, columns padded so that a difference reads well.
    pub fn to_markdown(&self) -> String {
        let widths: Vec<usize> = (0..self.columns.len()).map(|c| self.width(c)).collect();
        let mut text = String::new();
        self.write_line(&mut text, &widths, self.columns.iter().map(|c| c.name.as_str()));
        for (column, width) in self.columns.iter().zip(&widths) {
            let dashes = "-".repeat(width + 1);
            let _ = match column.align {
                Align::Left => write!(text, "|{dashes}-"),
                Align::Right => write!(text, "|{dashes}:"),
            };
        }
        text.push_str("|\n");
        for row in &self.rows {
            self.write_line(&mut text, &widths, row.iter().map(String::as_str));
        }
        text
    }

    fn width(&self, column: usize) -> usize {
        let cells = self.rows.iter().map(|row| escape(&row[column]).chars().count());
        cells.chain([escape(&self.columns[column].name).chars().count()]).max().unwrap_or(0)
    }

    fn write_line<'a>(
        &self,
        text: &mut String,
        widths: &[usize],
        cells: impl Iterator<Item = &'a str>,
    ) {
        for ((cell, column), width) in cells.zip(&self.columns).zip(widths) {
            let cell = escape(cell);
            let _ = match column.align {
                Align::Left => write!(text, "| {cell:<width$} "),
                Align::Right => write!(text, "| {cell:>width$} "),
            };
        }
        text.push_str("|\n");
    }
}

/// A table whose rows are known. A column is a name and a function from a row to its cell.
pub struct Columns<R> {
    table: Table,
    rows: Vec<R>,
}

impl<R> Columns<R> {
    /// Adds a column of words.
    pub fn text<C: Into<String>>(
        mut self,
        name: impl Into<String>,
        cell: impl Fn(&R) -> C,
    ) -> Self {
        self.table = self.table.text(name);
        self.cells(cell)
    }

    /// Adds a column of numbers; the name carries the unit.
    pub fn number<C: Into<String>>(
        mut self,
        name: impl Into<String>,
        cell: impl Fn(&R) -> C,
    ) -> Self {
        self.table = self.table.number(name);
        self.cells(cell)
    }

    fn cells<C: Into<String>>(mut self, cell: impl Fn(&R) -> C) -> Self {
        for (cells, row) in self.table.rows.iter_mut().zip(&self.rows) {
            cells.push(cell(row).into());
        }
        self
    }

    /// The table.
    pub fn done(self) -> Table {
        self.table
    }
}

impl Display for Table {
    /// The title, an empty line, and the Markdown table.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n\n{}", self.title, self.to_markdown())
    }
}

/// Escapes bars, because a bar ends a cell in Markdown.
fn escape(cell: &str) -> String {
    cell.replace('|', "\\|")
}

/// Three significant digits, as every number of an error table: `0.00653`, `12.3`, `1230`.
pub fn sig3(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return value.to_string();
    }
    // Round first: 9.996 has one digit before the point, its rounded form two.
    let rounded: f64 = format!("{value:.2e}").parse().unwrap_or(value);
    let exponent = rounded.abs().log10().floor() as i32;
    format!("{rounded:.*}", usize::try_from(2 - exponent).unwrap_or(0))
}

/// A fraction as a percentage with three significant digits: 0.00653 gives `0.653 %`.
pub fn percent(fraction: f64) -> String {
    format!("{} %", sig3(fraction * 100.0))
}

/// A ratio with three significant digits: `3.97x`.
pub fn times(ratio: f64) -> String {
    format!("{}x", sig3(ratio))
}

/// A whole number with its thousands set apart: `1,327,104`.
pub fn count(number: usize) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> = digits
        .as_bytes()
        .rchunks(3)
        .rev()
        .map(|group| std::str::from_utf8(group).unwrap_or_default())
        .collect();
    groups.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_by_columns_is_the_table_by_rows() {
        let mut by_rows = Table::new("t").text("name").number("length");
        for word in ["a", "bcd"] {
            by_rows.row([word.to_string(), word.len().to_string()]);
        }
        let columns = Table::of("t", ["a", "bcd"]).text("name", |word| *word);
        assert_eq!(columns.number("length", |word| word.len().to_string()).done(), by_rows);
    }

    #[test]
    fn numbers_keep_three_significant_digits() {
        let cases = [
            (0.006_534, "0.00653"),
            (0.999_6, "1.00"),
            (9.996, "10.0"),
            (12.345, "12.3"),
            (1234.0, "1230"),
            (-0.5, "-0.500"),
            (0.0, "0"),
            (f64::INFINITY, "inf"),
            (f64::NAN, "NaN"),
        ];
        for (value, text) in cases {
            assert_eq!(sig3(value), text, "{value}");
        }
        assert_eq!(percent(0.006_534), "0.653 %");
        assert_eq!(times(3.972), "3.97x");
        assert_eq!(count(1_327_104), "1,327,104");
        assert_eq!(count(42), "42");
    }

    #[test]
    fn a_table_is_padded_markdown_with_a_title() {
        let mut table = Table::new("Two rows").text("name").number("error |w - q|");
        table.row(["a", "0.1"]);
        table.row(["longer", "12.3"]);
        let expected = "Two rows\n\n\
            | name   | error \\|w - q\\| |\n\
            |--------|----------------:|\n\
            | a      |             0.1 |\n\
            | longer |            12.3 |\n";
        assert_eq!(table.to_string(), expected);
    }

    #[test]
    #[should_panic(expected = "has 1 columns and was given a row of 2 cells")]
    fn a_row_of_the_wrong_length_is_named() {
        Table::new("T").text("a").row(["1", "2"]);
    }
}
