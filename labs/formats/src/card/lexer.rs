//! The lexer: a text cut into tokens, the pieces between spaces, dashes, dots, slashes and the like.

/// A piece of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    /// Its characters, ASCII letters in lower case.
    pub(super) text: String,
    /// Where it begins and ends, in characters.
    pub(super) start: usize,
    pub(super) end: usize,
    /// Which of the pieces between spaces it is in.
    pub(super) chunk: usize,
    /// Whether only an underscore separates it from the token before.
    pub(super) tied: bool,
}

/// The characters that separate tokens, besides white space.
const SEPARATORS: &str = ",;/:@()[]{}=-_\"'`+|&";

/// The tokens of `text`.
pub(super) fn tokens(text: &[char]) -> Vec<Token> {
    let mut tokens: Vec<Token> = Vec::new();
    let (mut chunk, mut start) = (0, None);
    for at in 0..=text.len() {
        let ends = text.get(at).is_none_or(|_| separates(text, at));
        match (start, ends) {
            (None, false) => start = Some(at),
            (Some(begin), true) => {
                let before = tokens.last().map_or(0, |last| last.end);
                let between = &text[before..begin];
                tokens.push(Token {
                    text: text[begin..at].iter().map(char::to_ascii_lowercase).collect(),
                    start: begin,
                    end: at,
                    chunk,
                    tied: !tokens.is_empty() && between == ['_'],
                });
                start = None;
            }
            _ => {}
        }
        if text.get(at).is_some_and(char::is_ascii_whitespace) {
            chunk += 1;
        }
    }
    tokens
}

/// Whether the character at `at` separates tokens.
fn separates(text: &[char], at: usize) -> bool {
    let is_digit =
        |at: Option<usize>| at.and_then(|at| text.get(at)).is_some_and(char::is_ascii_digit);
    let (before, after) = (at.checked_sub(1), Some(at + 1));
    match text[at] {
        // `4.0bpw` and `Llama-3.1` keep their points, `model.Q4_1.gguf` does not.
        '.' => !(is_digit(before) && is_digit(after)),
        // The one negative number on cards: -1, one group for the whole row.
        '-' if text.get(at + 1) == Some(&'1') && !is_digit(Some(at + 2)) => {
            before.is_some_and(|before| !is_between(text[before]))
        }
        other => is_between(other),
    }
}

fn is_between(c: char) -> bool {
    c.is_ascii_whitespace() || SEPARATORS.contains(c)
}

/// The numbers of a token, each with the letter of its placeholder in the pattern.
pub(super) type Numbers = Vec<(char, String)>;

/// Reads `token` by one piece of a pattern; `None` if it is another word.
pub(super) fn read(pattern: &str, token: &str) -> Option<Numbers> {
    let (mut numbers, mut rest) = (Numbers::new(), token);
    let mut pattern = pattern.chars();
    while let Some(c) = pattern.next() {
        if c != '{' {
            rest = rest.strip_prefix(c)?;
            continue;
        }
        let placeholder = pattern.next()?;
        // The closing brace.
        pattern.next();
        let length = number_length(placeholder, rest)?;
        numbers.push((placeholder, rest[..length].to_owned()));
        rest = &rest[length..];
    }
    rest.is_empty().then_some(numbers)
}

/// The bytes at the start of `text` that are a number for this placeholder.
fn number_length(placeholder: char, text: &str) -> Option<usize> {
    if placeholder == 'g' && text.starts_with("-1") {
        return Some(2);
    }
    let point = |c: char| c == '.' && "dp".contains(placeholder);
    let length = text.find(|c: char| !c.is_ascii_digit() && !point(c)).unwrap_or(text.len());
    // Six digits are enough for any scheme, and fit a u32.
    (1..=6).contains(&length).then_some(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<String> {
        let text: Vec<char> = text.chars().collect();
        tokens(&text).into_iter().map(|token| token.text).collect()
    }

    #[test]
    fn a_name_falls_into_tokens_and_numbers_keep_their_points_and_signs() {
        for (text, tokens) in [
            ("Meta-Llama-3.1-8B.Q4_K_M.gguf", "meta llama 3.1 8b q4 k m gguf"),
            ("gptq-8bit--1g-actorder_True", "gptq 8bit -1g actorder true"),
            ("group_size=-1, sym", "group size -1 sym"),
            ("Llama-1B @4.0bpw", "llama 1b 4.0bpw"),
            ("-- ..", ""),
        ] {
            assert_eq!(texts(text).join(" "), tokens, "{text}");
        }
    }

    #[test]
    fn a_pattern_takes_the_numbers_out_of_a_token() {
        let numbers = |pattern, token| {
            read(pattern, token).map(|found| found.into_iter().map(|(_, n)| n).collect::<Vec<_>>())
        };
        assert_eq!(numbers("w{w}a{a}", "w4a16"), Some(vec!["4".into(), "16".into()]));
        assert_eq!(numbers("{g}g", "-1g"), Some(vec!["-1".into()]));
        assert_eq!(numbers("{d}bpw", "4.25bpw"), Some(vec!["4.25".into()]));
        assert_eq!(numbers("w{w}a{a}", "w4a16x"), None);
        assert_eq!(numbers("w{w}", "w4.5"), None);
    }
}
