//! Text from a file, made fit to be printed.

/// The most characters of a name that are shown; real names of tensors stay below 150.
const SHOWN: usize = 200;

/// `text` without characters that control a terminal or turn the direction of writing, because a forged
/// name could move the cursor, colour its text or hide a part of it; and cut, because a name in a file
/// can have megabytes.
pub fn printable(text: &str) -> String {
    let hides = |c: char| matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    let shown = |c: char| if c.is_control() || hides(c) { char::REPLACEMENT_CHARACTER } else { c };
    let mut printed: String = text.chars().take(SHOWN).map(shown).collect();
    let more = text.chars().skip(SHOWN).count();
    if more > 0 {
        printed.push_str(&format!("… and {more} more characters"));
    }
    printed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_replaced_and_long_texts_cut() {
        assert_eq!(printable("a\u{1b}[2J\u{202e}b"), "a\u{fffd}[2J\u{fffd}b");
        let long = "k".repeat(2_000_000);
        assert!(printable(&long).ends_with("k… and 1999800 more characters"));
    }
}
