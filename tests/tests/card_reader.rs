//! The book's card reader, in Chromium, held to `formats::card`: the same answers on every card of the list
//! and on thousands of compositions of known words, and the same errors.

use anyhow::{Context, Result, ensure};
use book_tests::browser::{Tab, start_or_skip, theme_scripts};
use formats::card::{CARDS, export, grammar, read};
use serde_json::{Value, json};

/// The scripts that the reader needs.
fn scripts() -> String {
    theme_scripts(["course.js", "card.js"])
}

/// Numbers that look random and are the same everywhere (a linear congruence, its upper bits).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end
    }

    fn one_of<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[self.below(list.len())]
    }
}

/// What a reader might type: the cards of the list, words of the grammar put together, and words with
/// numbers and letters changed.
fn texts() -> Vec<String> {
    let mut numbers = Numbers(2026);
    let names: Vec<&str> = grammar().words.iter().map(|word| word.name.as_str()).collect();
    let mut texts: Vec<String> = CARDS.iter().map(|card| (*card).to_owned()).collect();
    texts.extend(names.iter().map(|name| (*name).to_owned()));
    for _ in 0..3000 {
        let mut words: Vec<String> = Vec::new();
        for _ in 0..=numbers.below(3) {
            words.push(match numbers.below(8) {
                0 => format!("W{}A{}", numbers.below(18), [4, 8, 16, 6, 0][numbers.below(5)]),
                1 => format!(
                    "group_size={}",
                    numbers.one_of(&["-1", "0", "32", "0128", "100", "64"])
                ),
                2 => {
                    numbers.one_of(&["g-1", "64g", "-1g", "4.25bpw", "1.2.3bpw", "128x128"]).into()
                }
                3 => numbers.one_of(&CARDS).into(),
                _ => numbers.one_of(&names).into(),
            });
        }
        let mut text = words.join(numbers.one_of(&[" ", "-", "_", ", ", " --", "/", ".", "  "]));
        match numbers.below(6) {
            0 => text.insert_str(0, "someone/Llama-3.1-8B-"),
            1 => {
                // A slip of the finger.
                let at = numbers.below(text.len());
                text = text.chars().enumerate().filter(|(i, _)| *i != at).map(|(_, c)| c).collect();
            }
            2 => text.push(['x', '_', 'é', '4', '.', '\u{1f4a1}'][numbers.below(6)]),
            _ => {}
        }
        texts.push(text);
    }
    texts.extend(["", " ", "--", "\t\n", "İ", "W4A16\u{a0}sym", "q4_k_m"].map(str::to_owned));
    texts.push("a".repeat(501));
    texts.push("💡".repeat(500));
    // A config is read by the command.
    texts.retain(|text| !text.trim_start().starts_with('{'));
    texts
}

/// What `formats::card` says, in the form of the script.
fn says(text: &str) -> Value {
    read(text).map_or_else(
        |error| json!({ "error": error.to_string() }),
        |card| serde_json::to_value(card.answers).unwrap_or_default(),
    )
}

/// The texts on which the script and `formats::card` differ, with both answers.
fn differences(
    tab: &mut Tab<'_>,
    scripts: &str,
    texts: &[String],
    said: &[Value],
) -> Result<Vec<String>> {
    tab.open_scripts(scripts)?;
    let asked = tab.evaluate(&format!(
        "(() => {{
            const grammar = course.cardGrammar({});
            return {}.map(text => course.readCard(grammar, text));
        }})()",
        export(),
        json!(texts)
    ))?;
    let answers = asked.as_array().context("a list")?;
    ensure!(answers.len() == texts.len(), "{} answers", answers.len());
    let all = texts.iter().zip(answers).zip(said);
    let differ = all.filter(|((_, answer), said)| answer != said);
    Ok(differ.map(|((text, answer), said)| format!("«{text}»: {answer}\n  not {said}")).collect())
}

/// What `formats::card` says of each text.
fn said(texts: &[String]) -> Vec<Value> {
    texts.iter().map(|text| says(text)).collect()
}

#[test]
fn the_reader_of_the_book_says_what_kit_says() {
    let Some(mut browser) = start_or_skip() else { return };
    let mut tab = browser.tab().expect("a tab");
    let texts = texts();
    let said = said(&texts);
    let readable = said.iter().filter(|said| said["error"].is_null()).count();
    assert!(readable > 800 && texts.len() - readable > 800, "{readable} of {}", texts.len());
    let found = differences(&mut tab, &scripts(), &texts, &said).expect("answers");
    let few: Vec<&str> = found.iter().take(5).map(String::as_str).collect();
    assert!(found.is_empty(), "{} of {} differ:\n{}", found.len(), texts.len(), few.join("\n"));
    assert_eq!(tab.complaints(), Vec::<String>::new());
}

/// Mistakes that a script like this is likely to have: what is replaced, and by what.
const MISTAKES: [(&str, &str); 8] = [
    ("word.pieces.length <= best.length", "word.pieces.length < best.length"),
    ("return !(isDigit(text[at - 1]) && isDigit(text[at + 1]));", "return true;"),
    ("named && word.cardOnly", "word.cardOnly"),
    ("onePiece || !word.onePiece", "true"),
    ("Math.floor(total * 1e4 + 0.5) / 1e4", "Math.floor(total * 1e4) / 1e4"),
    ("usualScale = among => isWhole(among) ? 16 : 32;", "usualScale = among => 16;"),
    ("number.replace(/^0+(?=[0-9])/, \"\")", "number"),
    ("if (said === \"w\") return weightBits;", ""),
];

#[test]
fn a_mistake_in_the_reader_is_found() {
    let Some(mut browser) = start_or_skip() else { return };
    let mut tab = browser.tab().expect("a tab");
    let (sound, texts) = (scripts(), texts());
    let said = said(&texts);
    for (right, wrong) in MISTAKES {
        assert!(sound.contains(right), "the script has no {right}");
        let found = differences(&mut tab, &sound.replace(right, wrong), &texts, &said);
        assert!(
            found.map_or(true, |found| !found.is_empty()),
            "{wrong} for {right} goes unnoticed"
        );
    }
}
