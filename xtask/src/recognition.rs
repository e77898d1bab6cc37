//! Whether a starter fails as a known wrong answer fails.

use std::collections::BTreeMap;
use std::fmt::{self, Display};

use anyhow::Result;
use console::style;

use crate::spec::{Outcome, Spec, WrongAnswer};

/// The outcomes of the tests that a starter does not pass, by the names of the tests.
pub type Failures = BTreeMap<String, Outcome>;

/// At most so many known wrong answers are shown for one starter.
pub const SHOWN: usize = 3;

/// A wrong answer that fails as a starter fails.
#[derive(Clone, Debug, PartialEq)]
pub struct Recognized {
    /// The wrong answer.
    pub wrong: WrongAnswer,
    /// The tests that both fail with the same message.
    pub tests: Vec<String>,
}

/// What a learner reads.
impl Display for Recognized {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let WrongAnswer { name, misconception, correction, .. } = &self.wrong;
        let counted = match self.tests.len() {
            1 => "1 test with the same message".into(),
            tests => format!("{tests} tests with the same messages"),
        };
        let name = style(format!("`{name}`")).bold();
        writeln!(f, "Your code fails {counted} as the known wrong answer {name}.")?;
        write!(f, "    Its author believed that {misconception},\n    but {correction}.")
    }
}

/// The wrong answers of `spec`, which is compiled against `wrong`, that fail as the starter fails;
/// those that explain most tests come first.
///
/// A test that stops at an unwritten body of the starter says nothing. Of the others, each test that
/// the wrong answer fails must fail on the starter, too, and with the same message. The starter may
/// fail more tests, because a starter may have two mistakes. A wrong answer is left out if another one
/// explains the same tests and more.
///
/// # Errors
/// If the spec cannot be run.
pub fn recognize(spec: &Spec, failures: &Failures) -> Result<Vec<Recognized>> {
    if failures.values().all(Outcome::is_todo) {
        return Ok(Vec::new());
    }
    let run = |wrong: &WrongAnswer, tests: &[String]| spec.run_all(&wrong.name, tests);
    recognize_among(spec.wrong_answers()?, failures, run)
}

/// As [`recognize`], where `run` gives the outcomes of some tests on a wrong answer, or of all tests
/// for none.
///
/// # Errors
/// Those of `run`.
pub fn recognize_among(
    wrong_answers: Vec<WrongAnswer>,
    failures: &Failures,
    run: impl Fn(&WrongAnswer, &[String]) -> Result<BTreeMap<String, Outcome>>,
) -> Result<Vec<Recognized>> {
    let mut recognized = Vec::new();
    for wrong in wrong_answers {
        let fails = |test: &String| failures.contains_key(test);
        // Its own tests first, because they rule out most wrong answers without a run of the whole spec.
        if wrong.caught_by.iter().all(fails)
            && !shared(failures, &run(&wrong, &wrong.caught_by)?).is_empty()
        {
            let tests = shared(failures, &run(&wrong, &[])?);
            if !tests.is_empty() {
                recognized.push(Recognized { wrong, tests });
            }
        }
    }
    Ok(without_parts(recognized))
}

/// Those whose tests are no part of the tests of another one, the longest first.
fn without_parts(mut recognized: Vec<Recognized>) -> Vec<Recognized> {
    recognized.sort_by_key(|found| std::cmp::Reverse(found.tests.len()));
    let all = recognized.clone();
    recognized.retain(|found| {
        let explains = |other: &Recognized| {
            other.tests.len() > found.tests.len()
                && found.tests.iter().all(|test| other.tests.contains(test))
        };
        !all.iter().any(explains)
    });
    recognized
}

/// The tests that starter and wrong answer fail with the same message; none if a test tells the two
/// apart.
fn shared(failures: &Failures, outcomes: &BTreeMap<String, Outcome>) -> Vec<String> {
    let mut tests = Vec::new();
    for (test, theirs) in outcomes.iter().filter(|(_, outcome)| !outcome.passed) {
        match failures.get(test) {
            Some(ours) if ours.is_todo() => {}
            Some(ours) if ours.words() == theirs.words() => tests.push(test.clone()),
            _ => return Vec::new(),
        }
    }
    tests
}

#[cfg(test)]
mod tests {
    use super::*;

    const TODO: &str = "panicked at src/starter.rs:3:5:\nnot yet implemented: task 2";

    /// Tests with their reports; an empty report is that of a test that passes.
    fn outcomes(reports: &[(&str, &str)]) -> BTreeMap<String, Outcome> {
        let outcome = |report: &str| Outcome { passed: report.is_empty(), report: report.into() };
        reports.iter().map(|(test, report)| (test.to_string(), outcome(report))).collect()
    }

    /// The tests by which a wrong answer that fails `a` and `b` is recognized.
    fn recognized_by(failures: &[(&str, &str)]) -> Vec<String> {
        let said = "panicked at tests/spec.rs:7:1:\nleft: 0.30000000000000004";
        let wrong = outcomes(&[("a", said), ("b", "panicked at src/x.rs:1:1:\nno"), ("c", "")]);
        shared(&outcomes(failures), &wrong)
    }

    const SAME: &str = "panicked at spec.rs:7:1:\nleft: 0.3";
    const ALSO: &str = "printed by the learner\npanicked at src/starter.rs:9:9:\nno";

    #[test]
    fn the_same_messages_are_recognized_wherever_they_come_from() {
        assert_eq!(recognized_by(&[("a", SAME), ("b", ALSO)]), ["a", "b"]);
    }

    #[test]
    fn a_second_mistake_hides_none_and_a_todo_says_nothing() {
        assert_eq!(recognized_by(&[("a", SAME), ("b", ALSO), ("c", "x")]), ["a", "b"]);
        assert_eq!(recognized_by(&[("a", SAME), ("b", TODO)]), ["a"]);
        assert!(recognized_by(&[("a", TODO), ("b", TODO)]).is_empty());
    }

    #[test]
    fn a_wrong_answer_that_explains_a_part_of_what_another_explains_is_left_out() {
        let found = |name: &str, tests: &[&str]| Recognized {
            wrong: WrongAnswer {
                name: name.into(),
                misconception: "one is two".into(),
                correction: "one is less".into(),
                caught_by: Vec::new(),
            },
            tests: tests.iter().map(ToString::to_string).collect(),
        };
        let all = [found("part", &["a"]), found("whole", &["a", "b"]), found("other", &["c"])];
        let left = without_parts([all.to_vec(), vec![found("alike", &["b", "a"])]].concat());
        let names: Vec<_> = left.iter().map(|found| found.wrong.name.as_str()).collect();
        assert_eq!(names, ["whole", "alike", "other"]);
        let told = left[0].to_string();
        assert!(told.contains("2 tests") && told.contains("believed that one is two,"), "{told}");
    }

    #[test]
    fn one_test_that_passes_or_says_something_else_rules_a_wrong_answer_out() {
        assert!(recognized_by(&[("a", SAME)]).is_empty());
        assert!(recognized_by(&[("a", SAME), ("b", "panicked at x:1:1:\nyes")]).is_empty());
    }
}
