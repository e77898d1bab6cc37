//! The functions of a starter and the tasks of a spec, from which a grade derives the next step.

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

/// What to work on after the failure `report` under `heading`: the function in which it panicked,
/// or, when an assertion of the spec failed, those of the task.
pub fn next<'a>(functions: &'a [Function], report: &str, heading: &str) -> Vec<&'a Function> {
    if let Some(line) = panicked_in_starter(report) {
        let inside = functions.iter().take_while(|function| function.line <= line).last();
        return inside.into_iter().collect();
    }
    functions.iter().filter(|function| function.belongs_to(heading)).collect()
}

/// The line of the starter at which the report says the test panicked.
fn panicked_in_starter(report: &str) -> Option<usize> {
    let (_, place) = report.split_once("panicked at ")?;
    let (_, line) = place.lines().next()?.split_once("starter.rs:")?;
    line.split(':').next()?.parse().ok()
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
fn codes() {}
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

    #[test]
    fn a_todo_is_next_where_it_stands() {
        let report = "thread 'rows' panicked at labs/x/src/starter.rs:12:5:\nnot yet implemented";
        let functions = functions(STARTER);
        assert_eq!(names(&next(&functions, report, "task 2: a matrix")), ["quantize_value"]);
    }

    #[test]
    fn a_failed_assertion_leads_to_the_functions_of_its_task() {
        let report = "thread 'codes' panicked at labs/x/tests/spec.rs:9:5:\nassertion failed";
        let functions = functions(STARTER);
        let task_1 = names(&next(&functions, report, "task 1: one value"));
        assert_eq!(task_1, ["scale_for", "quantize_value"]);
        assert_eq!(names(&next(&functions, report, "")), Vec::<String>::new());
    }
}
