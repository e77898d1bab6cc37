//! The passage that perplexities are measured on: `labs/model/passage/PROVENANCE.md` says where it
//! comes from.

/// Chapters I to IV of "Alice's Adventures in Wonderland" (Lewis Carroll, 1865, in the public
/// domain), a paragraph a line: 11,367 tokens of SmolLM2.
pub const ALICE: &str = include_str!("../passage/alice.txt");

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
}
