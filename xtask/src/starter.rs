//! The functions of a starter and the tasks of a spec, from which a grade derives the next step.

use xtask::spec::Outcome;

/// A public function of a starter.
#[derive(Clone, Debug, PartialEq)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// The line of its signature, from 1.
    pub line: usize,
    /// Its doc comment.
    pub promise: String,
}

impl Function {
    /// Whether it belongs to the task of a heading such as `task 1: one value`.
    fn belongs_to(&self, heading: &str) -> bool {
        let task = heading.split(':').next().unwrap_or(heading);
        !task.is_empty() && self.promise.to_lowercase().starts_with(&format!("{task}. "))
    }

    /// Whether `text` has its name as code: with a parenthesis, or between backticks.
    fn is_called_in(&self, text: &str) -> bool {
        let is_name = |letter: char| letter.is_alphanumeric() || letter == '_';
        text.match_indices(&self.name).any(|(at, name)| {
            let (before, after) = (text[..at].chars().last(), &text[at + name.len()..]);
            !before.is_some_and(is_name)
                && (after.starts_with('(') || (before == Some('`') && after.starts_with('`')))
        })
    }
}

/// The public functions of a starter, in its order.
pub fn functions(source: &str) -> Vec<Function> {
    let mut functions = Vec::new();
    let mut promise = Vec::new();
    for (index, line) in source.lines().enumerate() {
        if let Some(text) = line.strip_prefix("///") {
            promise.push(text.trim());
        } else if let Some(signature) = line.strip_prefix("pub fn ") {
            let name = signature.split(['(', '<']).next().unwrap_or(signature).into();
            let promise = std::mem::take(&mut promise).join("\n");
            functions.push(Function { name, line: index + 1, promise });
        } else if !line.starts_with("#[") {
            promise.clear();
        }
    }
    functions
}

/// The heading of the part of `spec` that holds the test `name`: `task 1: one value`.
pub fn heading<'a>(spec: &'a str, name: &str) -> &'a str {
    let before = spec.find(&format!("fn {name}(")).map_or("", |at| &spec[..at]);
    let headings = before.lines().rev().find_map(|line| line.strip_prefix("// ---- "));
    headings.unwrap_or_default().trim_end_matches('-').trim()
}

/// The names of the tests of a spec, in its order, as its source tells them.
pub fn tests(spec: &str) -> Vec<&str> {
    let after_marks = spec.split("\n#[test]\n").skip(1);
    let names = after_marks.filter_map(|rest| rest.split_once("fn ")?.1.split_once('('));
    names.map(|(name, _)| name).collect()
}

/// What to work on after the test `name` of `spec` has failed: the function in which it panicked, or,
/// when an assertion failed, those that the assertion tells, or else those of the task.
pub fn next<'a>(
    functions: &'a [Function],
    outcome: &Outcome,
    spec: &str,
    name: &str,
) -> Vec<&'a Function> {
    let (place, message) = outcome.place_and_message();
    if let Some(line) = line_of(place, "starter.rs:") {
        let inside = functions.iter().take_while(|function| function.line <= line).last();
        return inside.into_iter().collect();
    }
    let heading = heading(spec, name);
    let of_task: Vec<_> = functions.iter().filter(|f| f.belongs_to(heading)).collect();
    let statement = line_of(place, "spec.rs:").map_or("", |line| block_at(spec, line));
    let test = spec
        .find(&format!("fn {name}("))
        .map_or("", |at| block_at(spec, spec[..at].lines().count() + 1));
    // The narrowest text first, because a test calls functions that it does not test, too.
    for text in [message, statement, test] {
        let told = |among: &[&'a Function]| -> Vec<&'a Function> {
            among.iter().copied().filter(|function| function.is_called_in(text)).collect()
        };
        let told = [told(&of_task), told(&functions.iter().collect::<Vec<_>>())];
        if let Some(told) = told.into_iter().find(|told| !told.is_empty()) {
            return told;
        }
    }
    of_task
}

/// The line in `file` of a place such as `tests/spec.rs:42:5:`.
fn line_of(place: &str, file: &str) -> Option<usize> {
    place.split_once(file)?.1.split(':').next()?.parse().ok()
}

/// The statement or the function that begins in a line, from 1: up to the line with the same indentation
/// that ends it.
fn block_at(source: &str, line: usize) -> &str {
    let indentation = |line: &str| line.len() - line.trim_start().len();
    let lines = || source.split_inclusive('\n');
    let start: usize = lines().take(line.saturating_sub(1)).map(str::len).sum();
    let mut block = source[start..].split_inclusive('\n');
    let first = block.next().unwrap_or_default();
    let mut length = first.len();
    if !first.trim_end().ends_with(';') {
        for line in block {
            length += line.len();
            if indentation(line) <= indentation(first) && line.trim_end().ends_with([';', '}']) {
                break;
            }
        }
    }
    &source[start..start + length]
}

#[cfg(test)]
mod tests {
    use super::*;

    const STARTER: &str = "//! Your file.

/// Task 1. The scale.
///
/// Never 0.
pub fn scale_for(absmax: f32) -> f32 {
    todo!()
}

/// Task 1. The code.
pub fn quantize_value(value: f32, scale: f32) -> i8 {
    todo!()
}

/// Task 2. The matrix.
#[must_use]
pub fn quantize<T>(w: &T) -> T {
    todo!()
}
";

    const SPEC: &str = "// ---- task 1: one value ------
#[test]
fn codes() {
    assert_eq!(
        quantize_value(0.3, 0.1),
        3,
    );
    assert_eq!(3, 4);
    scale_for(1.0);
}
// ---- task 2: a matrix ----
#[test]
fn rows() {}
";

    fn names(functions: &[&Function]) -> Vec<String> {
        functions.iter().map(|function| function.name.clone()).collect()
    }

    #[test]
    fn functions_come_with_their_line_and_their_promise() {
        let functions = functions(STARTER);
        let found: Vec<_> = functions.iter().map(|f| (f.name.as_str(), f.line)).collect();
        assert_eq!(found, [("scale_for", 6), ("quantize_value", 11), ("quantize", 17)]);
        assert_eq!(functions[0].promise, "Task 1. The scale.\n\nNever 0.");
        assert_eq!(functions[2].promise, "Task 2. The matrix.");
    }

    #[test]
    fn a_test_belongs_to_the_heading_above_it() {
        assert_eq!(heading(SPEC, "codes"), "task 1: one value");
        assert_eq!(heading(SPEC, "rows"), "task 2: a matrix");
        assert_eq!(heading(SPEC, "not_there"), "");
    }

    #[test]
    fn a_spec_that_does_not_compile_still_tells_the_names_of_its_tests() {
        assert_eq!(tests(SPEC), ["codes", "rows"]);
        assert_eq!(tests(""), Vec::<&str>::new());
    }

    /// The functions that are next after a failure of the test `codes` with this report.
    fn next_after(report: &str) -> Vec<String> {
        let outcome = Outcome { passed: false, report: report.into() };
        names(&next(&functions(STARTER), &outcome, SPEC, "codes"))
    }

    #[test]
    fn a_todo_is_next_where_it_stands() {
        let report = "thread 'rows' panicked at labs/x/src/starter.rs:12:5:\nnot yet implemented";
        assert_eq!(next_after(report), ["quantize_value"]);
    }

    #[test]
    fn a_failed_assertion_tells_the_function_by_its_message_its_statement_or_its_test() {
        let report = |line: u8, message: &str| {
            next_after(&format!("panicked at labs/x/tests/spec.rs:{line}:5:\n{message}"))
        };
        assert_eq!(report(4, "look at `scale_for`"), ["scale_for"]);
        assert_eq!(report(4, "quantize and scale_for are words here"), ["quantize_value"]);
        assert_eq!(report(8, "no"), ["scale_for", "quantize_value"]);
        assert_eq!(report(4, "`quantize(w)` is of another task"), ["quantize"]);
    }

    #[test]
    fn what_tells_no_function_leads_to_those_of_the_task() {
        let outcome = Outcome { passed: false, report: "died".into() };
        let next = |name| names(&next(&functions(STARTER), &outcome, SPEC, name));
        assert_eq!(next("rows"), ["quantize"]);
        assert_eq!(next("not_there"), Vec::<String>::new());
    }
}
