//! Every prediction and every exercise of the book has an answer, and the answer is folded.
//!
//! A chapter is read in blocks, which empty lines divide. A question has its answer in the next block: a
//! `<details>`. In the sections of exercises no Rust code stands in the open, because code there is an
//! answer.

use anyhow::{Result, ensure};
use kit::workspace;

/// The words that begin the heading of a section of exercises.
const EXERCISES: [&str; 5] =
    ["Going further", "Exercises", "Reflect", "Check yourself", "Test your understanding"];

#[test]
fn every_prediction_and_every_exercise_has_a_folded_answer() -> Result<()> {
    let (mut problems, mut questions) = (Vec::new(), 0);
    let source = workspace::root().join("src");
    for entry in walkdir::WalkDir::new(&source).sort_by_file_name() {
        let entry = entry?;
        if entry.path().extension().is_some_and(|end| end == "md") {
            let found = open(&std::fs::read_to_string(entry.path())?);
            questions += found.questions;
            let name = entry.path().strip_prefix(&source)?.display();
            problems.extend(found.problems.into_iter().map(|problem| format!("{name}: {problem}")));
        }
    }
    ensure!(questions > 100, "only {questions} questions: are all of them found?");
    ensure!(problems.is_empty(), "{} open questions:\n{}", problems.len(), problems.join("\n"));
    Ok(())
}

#[test]
fn every_graded_prediction_is_asked_in_its_chapter_and_answered_in_a_fold() -> Result<()> {
    for prediction in snippets::predictions::all() {
        // The exercises of lab 02 have worked answers in place of one mark.
        let Some(mark) = prediction.mark() else { continue };
        let (name, chapter) = (&prediction.name, prediction.chapter);
        let text = std::fs::read_to_string(workspace::root().join("src").join(chapter))?;
        let mut folds =
            text.split("<details>").skip(1).filter_map(|rest| rest.split("</details>").next());
        let command = format!("cargo book predict {name} NUMBER");
        ensure!(text.contains(&command), "src/{chapter} does not say `{command}`");
        ensure!(folds.any(|fold| fold.contains(&mark)), "no fold of src/{chapter} has {mark}");
    }
    Ok(())
}

/// What was found in a chapter.
#[derive(Default)]
struct Found {
    questions: usize,
    problems: Vec<String>,
}

/// A run of lines in the open: a fence as a whole, a fold as a whole, or lines up to an empty one.
enum Block<'a> {
    Heading(usize, &'a str),
    Code(&'a str),
    /// By its summary.
    Fold(&'a str),
    Text(Vec<&'a str>),
}

/// The questions of a chapter, and those that have no folded answer.
fn open(chapter: &str) -> Found {
    let mut found = Found::default();
    let blocks = blocks(chapter);
    let mut exercises: Option<usize> = None;
    for (at, block) in blocks.iter().enumerate() {
        match block {
            Block::Heading(level, title) => {
                let begins = EXERCISES.iter().any(|words| title.starts_with(words));
                if begins {
                    exercises = Some(*level);
                } else if exercises.is_some_and(|section| *level <= section) {
                    exercises = None;
                } else if exercises.is_some() {
                    found.ask(title, is_answered(&blocks[at + 1..]));
                }
            }
            Block::Code(first) if exercises.is_some() && first.starts_with("```rust") => {
                found.problems.push("Rust code stands in the open among the exercises".into());
            }
            Block::Text(lines) => {
                let text = lines.join(" ");
                let is_question = match exercises {
                    Some(_) => lines.iter().any(|line| is_item(line)),
                    None => asks(&text),
                };
                if is_question {
                    found.ask(&text, is_fold_next(&blocks[at + 1..]));
                }
            }
            _ => {}
        }
    }
    found
}

impl Found {
    fn ask(&mut self, question: &str, is_answered: bool) {
        self.questions += 1;
        if !is_answered {
            let words: String = question.chars().take(90).collect();
            let fix = "let a <details> with the answer follow";
            self.problems.push(format!("«{words}» has no folded answer: {fix}"));
        }
    }
}

/// Whether a paragraph asks for a prediction or a trace.
fn asks(text: &str) -> bool {
    ["*Predict", "*Trace", "Predict first", "Predict, "].iter().any(|words| text.contains(words))
}

/// Whether a line is an item of a list, with or without numbers.
fn is_item(line: &str) -> bool {
    let number = line.split_once(". ").is_some_and(|(number, _)| number.parse::<u8>().is_ok());
    line.starts_with("- ") || number
}

/// Whether the next block is a folded answer. A list, hints, and the command that grades the prediction
/// belong to the question.
fn is_fold_next(after: &[Block]) -> bool {
    let part = |block: &&Block| match block {
        Block::Text(lines) => lines.iter().all(|line| is_item(line) || line.starts_with(' ')),
        Block::Code(first) => first.starts_with("```console"),
        Block::Fold(summary) => is_hint(summary),
        Block::Heading(..) => false,
    };
    matches!(after.iter().find(|block| !part(block)), Some(Block::Fold(_)))
}

/// Whether a summary promises help and no answer.
fn is_hint(summary: &str) -> bool {
    summary.contains("<summary>Hint")
}

/// Whether an answer is folded before the next heading.
fn is_answered(after: &[Block]) -> bool {
    let mut section = after.iter().take_while(|block| !matches!(block, Block::Heading(..)));
    section.any(|block| matches!(block, Block::Fold(summary) if !is_hint(summary)))
}

/// The blocks of a chapter.
fn blocks(chapter: &str) -> Vec<Block<'_>> {
    let mut blocks = Vec::new();
    let mut lines = chapter.lines();
    let mut text = Vec::new();
    while let Some(line) = lines.next() {
        let is_whole = line.is_empty() || line.starts_with(['#', '<']) || line.starts_with("```");
        if is_whole && !text.is_empty() {
            blocks.push(Block::Text(std::mem::take(&mut text)));
        }
        if line.starts_with("```") {
            lines.by_ref().find(|line| line.starts_with("```"));
            blocks.push(Block::Code(line));
        } else if line == "<details>" {
            // Nothing is folded twice.
            let summary = lines.next().unwrap_or_default();
            lines.by_ref().find(|line| *line == "</details>");
            blocks.push(Block::Fold(summary));
        } else if let Some(title) = line.strip_prefix('#') {
            let title = title.trim_start_matches('#');
            let level = line.len() - title.len();
            blocks.push(Block::Heading(level, title.trim()));
        } else if !is_whole {
            text.push(line);
        }
    }
    if !text.is_empty() {
        blocks.push(Block::Text(text));
    }
    blocks
}

mod bites {
    use super::*;

    fn problems(chapter: &str) -> usize {
        open(chapter).problems.len()
    }

    #[test]
    fn a_prediction_is_answered_by_the_next_block_alone() {
        let fold = "<details>\n<summary>Answer</summary>\n\n2\n\n</details>\n";
        assert_eq!(problems(&format!("*Predict:* 1 + 1?\n\n{fold}")), 0);
        assert_eq!(
            problems(&format!("*Predict:*\n\n- a?\n- b?\n\n```console\n$ x\n```\n\n{fold}")),
            0
        );
        assert_eq!(problems(&format!("*Predict:* 1 + 1?\n\nIt is 2.\n\n{fold}")), 1);
        assert_eq!(problems("Words. *Predict* it.\n\n{{#table sums}}\n"), 1);
    }

    #[test]
    fn a_hint_is_no_answer() {
        let hint = "<details>\n<summary>Hint 1</summary>\n\n2?\n\n</details>\n";
        assert_eq!(problems(&format!("*Predict:* 1 + 1?\n\n{hint}")), 1);
        assert_eq!(problems(&format!("## Exercises\n\n### Trace: x\n\n{hint}")), 1);
        assert_eq!(problems(&format!("## Exercises\n\n1. What?\n\n{hint}")), 1);
    }

    #[test]
    fn an_exercise_is_answered_in_its_section_and_shows_no_code() {
        let fold = "<details>\n<summary>Answer</summary>\n\n```rust\n```\n\n</details>\n";
        let under = |text: &str| format!("## Going further\n\n{text}\n## Notes\n\n- a note\n");
        assert_eq!(problems(&under(&format!("### Build: x\n\nDo.\n\n{fold}"))), 0);
        assert_eq!(problems(&under("### Build: x\n\nDo.\n")), 1);
        assert_eq!(problems(&under("- What if?\n")), 1);
        assert_eq!(problems(&under(&format!("- What if?\n\n{fold}\n```rust\n```\n"))), 1);
    }
}
