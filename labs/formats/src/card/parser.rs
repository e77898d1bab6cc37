//! The parser: the words of the vocabulary in a text, in order.

use super::error::{CardError, LONGEST};
use super::grammar::{EXAMPLES, grammar};
use super::lexer::{Numbers, Token, read, tokens};
use super::stated::Found;
use super::word::{Fact, Field, Word};

/// The words of `text`, in order, and a note about those that were not read.
///
/// # Errors
/// If there is none, or one that is not known.
pub(super) fn parse(text: &str) -> Result<(Vec<Found<'static>>, Option<String>), CardError> {
    let characters: Vec<char> = text.chars().collect();
    if characters.len() > LONGEST {
        return Err(CardError::TooLong);
    }
    let tokens = tokens(&characters);
    if tokens.is_empty() {
        return Err(CardError::Empty);
    }
    let spelled =
        |from: &Token, to: &Token| characters[from.start..to.end].iter().collect::<String>();
    let mut found: Vec<Found> = Vec::new();
    // Words of a name behind its scheme, which may be the scheme's.
    let mut unread: Vec<String> = Vec::new();
    let mut scheme: Option<&Token> = None;
    // The name of an owner is no part of the scheme.
    let follows = |scheme: &Token, token: &Token| {
        let mut rest = characters[scheme.end..].iter().take_while(|c| !c.is_ascii_whitespace());
        scheme.chunk == token.chunk && rest.all(|c| *c != '/')
    };
    // The tokens of the last word with a statement.
    let (mut at, mut last) = (0, 0..0);
    while let Some(token) = tokens.get(at) {
        let named = is_name(&characters, &tokens, token.chunk);
        match longest(&tokens[at..], named) {
            Some((word, length, numbers)) => {
                let spelled = spelled(token, &tokens[at + length - 1]);
                if let Some(needs) = &word.needs {
                    return Err(CardError::Needs { word: spelled, what: needs.clone() });
                }
                found.push(Found { word, spelled, numbers });
                if !word.says.is_empty() {
                    last = at..at + length;
                    scheme = Some(&tokens[at + length - 1]);
                }
                at += length;
            }
            None => {
                // `Q4_K_X`: an underscore ties the unknown part to a type that is known.
                let tied = token.tied && last.end == at && names_a_type(found.last());
                if tied || !named {
                    let word = spelled(&tokens[if tied { last.start } else { at }], token);
                    return Err(CardError::Unknown { hint: hint(&[&word]), word });
                }
                if scheme.is_some_and(|scheme| follows(scheme, token)) {
                    unread.push(format!("`{}`", spelled(token, token)));
                }
                at += 1;
            }
        }
    }
    if found.iter().all(|word| word.word.says.is_empty() && word.word.open.is_empty()) {
        let pieces: Vec<&str> = tokens.iter().map(|token| token.text.as_str()).collect();
        let hint = hint(&pieces);
        return Err(CardError::NoScheme { text: characters.iter().collect(), hint });
    }
    let unread = (!unread.is_empty()).then(|| format!("not read: {}", unread.join(", ")));
    Ok((found, unread))
}

/// Whether a word is a type of GGUF, whose names have several parts.
fn names_a_type(found: Option<&Found>) -> bool {
    let is_gguf = |(field, value): &Fact| *field == Field::Method && value == "GGUF";
    found.is_some_and(|found| found.word.says.iter().any(is_gguf))
}

/// The word with the most tokens at the beginning of `tokens`, and how many it has.
fn longest(tokens: &[Token], named: bool) -> Option<(&'static Word, usize, Numbers)> {
    let mut best: Option<(&Word, usize, Numbers)> = None;
    for word in grammar().words.iter().filter(|word| !(named && word.card_only)) {
        if let Some((length, numbers)) = matches(word, tokens)
            && best.as_ref().is_none_or(|(_, most, _)| length > *most)
        {
            best = Some((word, length, numbers));
        }
    }
    best
}

fn matches(word: &Word, tokens: &[Token]) -> Option<(usize, Numbers)> {
    let (mut length, mut numbers) = (0, Numbers::new());
    for piece in word.pattern.split(' ') {
        numbers.extend(read(piece, &tokens.get(length)?.text)?);
        length += 1;
    }
    let one_piece = tokens[0].chunk == tokens[length - 1].chunk;
    (one_piece || !word.one_piece).then_some((length, numbers))
}

/// Whether a piece of the text between spaces is a model's name, which has a slash, a family or a size. The
/// unknown words of a name are the model's own.
fn is_name(text: &[char], tokens: &[Token], chunk: usize) -> bool {
    let mut own = tokens.iter().filter(|token| token.chunk == chunk);
    let (Some(first), Some(last)) = (own.next(), tokens.iter().rfind(|token| token.chunk == chunk))
    else {
        return false;
    };
    text[first.start..last.end].contains(&'/')
        || tokens.iter().filter(|token| token.chunk == chunk).any(|token| {
            let family = |family: &&str| {
                token
                    .text
                    .strip_prefix(*family)
                    .is_some_and(|rest| rest.chars().all(|c| c.is_ascii_digit() || c == '.'))
            };
            grammar().families.iter().any(family) || read("{p}b", &token.text).is_some()
        })
}

/// The nearest words to any of `pieces`, or some that are known.
fn hint(pieces: &[&str]) -> String {
    let mut near: Vec<(usize, usize)> = Vec::new();
    for (index, word) in grammar().words.iter().enumerate() {
        let name = bare(&word.name);
        let distances = pieces.iter().filter_map(|piece| {
            let piece = bare(piece);
            let most = piece.chars().count().max(2).div_ceil(3);
            let distance = strsim::levenshtein(&piece, &name);
            (distance <= most && piece.chars().count() > 2).then_some(distance)
        });
        near.extend(distances.min().map(|distance| (distance, index)));
    }
    near.sort_unstable();
    let mut names: Vec<&str> = Vec::new();
    for (_, index) in near {
        let name = grammar().words[index].name.as_str();
        if names.len() < 3 && !names.contains(&name) {
            names.push(name);
        }
    }
    if names.is_empty() { EXAMPLES.into() } else { format!("near it: {}", names.join(", ")) }
}

/// Letters and digits, in lower case.
fn bare(text: &str) -> String {
    text.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}
