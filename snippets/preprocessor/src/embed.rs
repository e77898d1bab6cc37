//! Puts what the library made in the place of the marks.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};

use crate::Kind;
use crate::marks::{self, Mark};

/// What the library made, by kind and name.
pub type Rendered = BTreeMap<(Kind, String), String>;

/// Replaces the marks of a chapter. `content` is the chapter as mdBook hands it on, `marks` are
/// those of its source: mdBook's own directives were replaced in between, and the backslashes
/// before escaped marks are gone, so the two are matched by their order.
///
/// # Errors
/// If the two do not match, because another preprocessor changed the marks.
pub fn embed(content: &str, marks: &[Option<Mark>], rendered: &Rendered) -> Result<String> {
    let positions = marks::positions(content);
    ensure!(
        positions.len() == marks.len(),
        "its source has {} marks and mdBook hands on {}: was the file changed during the build, \
         or does another preprocessor run before this one?",
        marks.len(),
        positions.len(),
    );
    let (mut text, mut done) = (String::with_capacity(content.len()), 0);
    for (position, mark) in positions.into_iter().zip(marks) {
        let Some(mark) = mark else { continue };
        text.push_str(&content[done..position.start]);
        let made = &rendered[&(mark.kind, mark.name.clone())];
        // The indentation or the `>` in front of a mark is repeated on every line of a block.
        let line_start = text.rfind('\n').map_or(0, |newline| newline + 1);
        let prefix = text[line_start..].to_owned();
        text.push_str(&replacement(mark, made, &prefix));
        done = position.end;
    }
    text.push_str(&content[done..]);
    Ok(text)
}

fn replacement(mark: &Mark, made: &str, prefix: &str) -> String {
    match (mark.kind, mark.in_table) {
        (Kind::Value, true) => made.replace('|', "\\|"),
        (Kind::Value, false) => made.to_owned(),
        (Kind::Figure | Kind::Interactive | Kind::Table, _) => block(made, prefix),
    }
}

/// A block between empty lines, in the list or the quote that `prefix` says it stands in.
fn block(made: &str, prefix: &str) -> String {
    let blank = prefix.trim_end();
    let mut text = String::new();
    for line in made.trim_matches('\n').lines() {
        text.push('\n');
        text.push_str(if line.is_empty() { blank } else { prefix });
        text.push_str(line);
    }
    text + "\n" + blank
}

/// Makes what the library made safe to be embedded.
///
/// # Errors
/// If it is not of the form that its kind asks for.
pub fn finish(kind: Kind, made: String) -> Result<String> {
    match kind {
        Kind::Table => {
            ensure!(!made.trim().is_empty(), "it is empty");
            ensure!(has_math_in_pairs(&made), LONE_DOLLAR);
            Ok(made)
        }
        Kind::Value => {
            ensure!(has_math_in_pairs(&made), LONE_DOLLAR);
            ensure!(!made.trim().is_empty(), "it is empty");
            ensure!(!made.contains('\n'), "it has more than one line");
            Ok(made)
        }
        Kind::Figure | Kind::Interactive => {
            let lines = made.trim_matches('\n');
            let has_gap = lines.lines().any(|line| line.trim().is_empty());
            ensure!(!lines.is_empty(), "it is empty");
            ensure!(!has_gap, "it has an empty line, which would end the HTML block");
            // The math preprocessor reads HTML, too, and would take these two for its own.
            Ok(made.replace('$', "&#36;").replace('`', "&#96;"))
        }
    }
}

const LONE_DOLLAR: &str = "it has a lone dollar sign, which would begin a formula: write \\$";

fn has_math_in_pairs(text: &str) -> bool {
    (text.matches('$').count() - text.matches("\\$").count()).is_multiple_of(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(kind: Kind, in_table: bool) -> Option<Mark> {
        Some(Mark { kind, name: "n".into(), line: 1, in_table })
    }

    fn embedded(content: &str, kind: Kind, in_table: bool, made: &str) -> String {
        let rendered = Rendered::from([((kind, "n".into()), made.into())]);
        embed(content, &[mark(kind, in_table)], &rendered).unwrap()
    }

    #[test]
    fn a_value_goes_into_its_sentence() {
        assert_eq!(embedded("a {{#value n}}.", Kind::Value, false, "3 %"), "a 3 %.");
    }

    #[test]
    fn a_bar_in_a_cell_is_escaped() {
        assert_eq!(embedded("| {{#value n}} |", Kind::Value, true, "|x|"), "| \\|x\\| |");
    }

    #[test]
    fn a_block_gets_empty_lines_around_it() {
        let text = embedded("a\n{{#table n}}\nb", Kind::Table, false, "\n| x |\n|---|\n");
        assert_eq!(text, "a\n\n| x |\n|---|\n\nb");
    }

    #[test]
    fn a_block_stays_in_its_quote_and_in_its_list() {
        let quoted = embedded("> a\n> {{#table n}}\n> b", Kind::Table, false, "x\n\ny");
        assert_eq!(quoted, "> a\n> \n> x\n>\n> y\n>\n> b");
        let listed = embedded("- a\n\n  {{#figure n}}", Kind::Figure, false, "<p>\n</p>");
        assert_eq!(listed, "- a\n\n  \n  <p>\n  </p>\n");
    }

    #[test]
    fn marks_that_another_preprocessor_took_away_are_missed() {
        let error = embed("nothing", &[mark(Kind::Value, false)], &Rendered::new()).unwrap_err();
        assert!(error.to_string().starts_with("its source has 1 marks and mdBook hands on 0"));
    }

    #[test]
    fn dollars_and_backticks_of_a_figure_are_not_math_and_not_code() {
        let figure = finish(Kind::Figure, "<p>$1 `x`</p>".into()).unwrap();
        assert_eq!(figure, "<p>&#36;1 &#96;x&#96;</p>");
    }

    #[test]
    fn what_would_break_the_chapter_is_refused() {
        assert!(finish(Kind::Figure, "<p>\n\n</p>".into()).is_err());
        assert!(finish(Kind::Figure, String::new()).is_err());
        assert!(finish(Kind::Value, "a\nb".into()).is_err());
        assert!(finish(Kind::Value, " ".into()).is_err());
        assert!(finish(Kind::Table, "| 3 $ |".into()).is_err());
        assert!(finish(Kind::Table, r"| $x$ | 3 \$ |".into()).is_ok());
    }
}
