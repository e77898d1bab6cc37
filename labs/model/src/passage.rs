//! The passage on which perplexity is measured (`labs/model/passage/PROVENANCE.md` names its source),
//! and the text on which scales are calibrated.

/// Chapters I to IV of "Alice's Adventures in Wonderland" (Lewis Carroll, 1865, in the public
/// domain), a paragraph a line: 11,367 tokens of SmolLM2.
pub const ALICE: &str = include_str!("../passage/alice.txt");

/// The text on which scales are calibrated: the Apache License, as it lies beside the real slice. It
/// shares no passage with [`ALICE`] and its prose is of another kind, so a good perplexity cannot come
/// from calibration on the test text.
pub const CALIBRATION: &str = include_str!("../../kit/real-slice/LICENSE-APACHE-2.0");

/// The text on which GPTQ is calibrated: books I to VII of "Paradise Lost" (John Milton, 1667, in the
/// public domain), line by line. A Hessian needs more tokens than a layer has inputs, and the licence is
/// too short for that. It shares no sentence with [`ALICE`].
pub const PARADISE_LOST: &str = include_str!("../passage/paradise-lost.txt");

/// Headings before the first paragraph.
const HEADINGS: usize = 2;
/// Paragraphs of the opening.
const PARAGRAPHS: usize = 3;

/// The first three paragraphs of [`ALICE`], without the headings: enough for a test.
pub fn opening() -> String {
    let paragraphs: Vec<&str> = ALICE.split("\n\n").skip(HEADINGS).take(PARAGRAPHS).collect();
    paragraphs.join("\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_opening_is_the_first_three_paragraphs() {
        let opening = opening();
        assert!(opening.starts_with("Alice was beginning to get very tired"), "{opening}");
        assert_eq!(opening.matches("\n\n").count(), PARAGRAPHS - 1);
    }

    #[test]
    fn the_passage_is_plain_ascii_in_paragraphs() {
        assert!(ALICE.is_ascii() && !ALICE.contains('\r') && ALICE.ends_with('\n'));
        assert!(ALICE.starts_with("CHAPTER I\n\n"));
    }

    #[test]
    fn no_long_line_of_the_calibration_text_is_in_the_passage() {
        assert!(PARADISE_LOST.is_ascii() && PARADISE_LOST.starts_with("Book I\n\nOf Man's first"));
        let long = PARADISE_LOST.lines().filter(|line| line.len() > 20);
        assert_eq!(long.filter(|line| ALICE.contains(*line)).count(), 0);
    }
}
