//! That `cargo book grade` names each kept wrong answer when a starter gives it, and no other one.

use std::collections::BTreeMap;

use anyhow::Result;
use xtask::recognition::{Failures, SHOWN, recognize_among};
use xtask::spec::{Outcome, WrongAnswer};

/// The outcomes of the tests of a spec by their names.
type Outcomes = BTreeMap<String, Outcome>;

/// What is wrong with the names that a starter gets whose `outcomes` are those of `wrong`, where
/// `all` has the outcomes of each of the `known` wrong answers.
///
/// Two wrong answers that fail the same tests with the same messages are both named.
pub fn misnamed(
    wrong: &WrongAnswer,
    outcomes: Outcomes,
    known: &[WrongAnswer],
    all: &BTreeMap<String, Outcomes>,
) -> Result<Option<String>> {
    let failures: Failures = outcomes.into_iter().filter(|(_, outcome)| !outcome.passed).collect();
    let run = |wrong: &WrongAnswer, tests: &[String]| {
        let mut outcomes = all[&wrong.name].clone();
        outcomes.retain(|test, _| tests.is_empty() || tests.contains(test));
        Ok(outcomes)
    };
    let named = recognize_among(known.to_vec(), &failures, run)?;
    let names: Vec<&str> = named.iter().map(|found| found.wrong.name.as_str()).collect();
    let WrongAnswer { name, misconception, correction, .. } = wrong;
    let sentences = [&format!("`{name}`"), misconception, correction];
    let is_told = named
        .iter()
        .take(SHOWN)
        .map(ToString::to_string)
        .any(|told| sentences.iter().all(|sentence| told.contains(*sentence)));
    let others_are_alike = named.iter().all(|found| found.tests.len() == failures.len());
    let is_right = is_told && others_are_alike;
    Ok((!is_right).then(|| format!("grade takes `{name}` for {names:?}")))
}

mod bites {
    //! That this check can fail.

    use super::*;

    fn wrong(name: &str) -> WrongAnswer {
        WrongAnswer {
            name: name.into(),
            misconception: "one is two".into(),
            correction: "one is less".into(),
            caught_by: vec!["a".into()],
        }
    }

    fn failing(reports: &[(&str, &str)]) -> Outcomes {
        let outcome = |report: &str| Outcome { passed: false, report: report.into() };
        reports.iter().map(|(test, report)| (test.to_string(), outcome(report))).collect()
    }

    #[test]
    fn a_message_that_changes_and_too_many_that_are_alike_are_reported() -> Result<()> {
        let said = failing(&[("a", "left: 1")]);
        let check = |names: &[&str], starter: &Outcomes| {
            let known: Vec<_> = names.iter().map(|name| wrong(name)).collect();
            let all = names.iter().map(|name| (name.to_string(), said.clone())).collect();
            misnamed(&wrong("x"), starter.clone(), &known, &all)
        };
        assert_eq!(check(&["x"], &said)?, None);
        assert_eq!(check(&["x", "alike"], &said)?, None);
        for (names, starter) in [
            (&["x"][..], failing(&[("a", "left: 2")])),
            (&["x"], failing(&[("a", "left: 1"), ("b", "")])),
            (&["1", "2", "3", "x"], said.clone()),
        ] {
            assert!(check(names, &starter)?.is_some_and(|problem| problem.contains("`x`")));
        }
        Ok(())
    }
}
