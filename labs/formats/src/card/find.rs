//! The words of a text.

use super::atoms::{Atom, Numbers, atoms, read};
use super::facts::Found;
use super::{CardError, LONGEST, Word, grammar};

/// Families of models, as their names begin; digits may follow.
pub(super) const FAMILIES: [&str; 26] = [
    "llama",
    "meta",
    "qwen",
    "qwq",
    "mistral",
    "mixtral",
    "ministral",
    "phi",
    "gemma",
    "deepseek",
    "kimi",
    "glm",
    "nemotron",
    "smollm",
    "gpt",
    "zephyr",
    "falcon",
    "granite",
    "olmo",
    "yi",
    "bloom",
    "opt",
    "muse",
    "vicuna",
    "internlm",
    "minimax",
];

/// Words that an error names if none is near.
pub(super) const EXAMPLES: &str = "known are, for example, W4A16, W8A8, FP8-dynamic, AWQ, GPTQ, INT4, Q4_K_M, NVFP4, MXFP4, group_size=128";

/// The words of `text`, in order.
///
/// # Errors
/// If there is none, or one that means nothing.
pub(super) fn find(text: &str) -> Result<Vec<Found<'static>>, CardError> {
    let characters: Vec<char> = text.chars().collect();
    if characters.len() > LONGEST {
        return Err(CardError::TooLong);
    }
    let atoms = atoms(&characters);
    if atoms.is_empty() {
        return Err(CardError::Empty);
    }
    let spelled =
        |from: &Atom, to: &Atom| characters[from.start..to.end].iter().collect::<String>();
    let mut found: Vec<Found> = Vec::new();
    // The atoms of the last word that says something.
    let (mut at, mut last) = (0, 0..0);
    while let Some(atom) = atoms.get(at) {
        let named = is_name(&characters, &atoms, atom.chunk);
        match longest(&atoms[at..], named) {
            Some((word, length, numbers)) => {
                let spelled = spelled(atom, &atoms[at + length - 1]);
                if !word.needs.is_empty() {
                    return Err(CardError::Needs { word: spelled, what: word.needs.clone() });
                }
                found.push(Found { word, spelled, numbers });
                if !word.says.is_empty() {
                    last = at..at + length;
                }
                at += length;
            }
            None => {
                // `Q4_K_X`: an underscore ties the unknown part to a word that is known.
                let tied = atom.tied && last.end == at;
                if tied || !named {
                    let word = spelled(&atoms[if tied { last.start } else { at }], atom);
                    return Err(CardError::Unknown { hint: hint(&[&word]), word });
                }
                at += 1;
            }
        }
    }
    if found.iter().all(|word| word.word.says.is_empty() && word.word.open.is_empty()) {
        let pieces: Vec<&str> = atoms.iter().map(|atom| atom.text.as_str()).collect();
        let hint = hint(&pieces);
        return Err(CardError::NoScheme { text: characters.iter().collect(), hint });
    }
    Ok(found)
}

/// The word with the most atoms at the beginning of `atoms`, and how many it has.
fn longest(atoms: &[Atom], named: bool) -> Option<(&'static Word, usize, Numbers)> {
    let mut best: Option<(&Word, usize, Numbers)> = None;
    for word in grammar().words.iter().filter(|word| !(named && word.card_only)) {
        if let Some((length, numbers)) = matches(word, atoms)
            && best.as_ref().is_none_or(|(_, most, _)| length > *most)
        {
            best = Some((word, length, numbers));
        }
    }
    best
}

fn matches(word: &Word, atoms: &[Atom]) -> Option<(usize, Numbers)> {
    let (mut length, mut numbers) = (0, Numbers::new());
    for piece in word.pattern.split(' ') {
        numbers.extend(read(piece, &atoms.get(length)?.text)?);
        length += 1;
    }
    let one_piece = atoms[0].chunk == atoms[length - 1].chunk;
    (one_piece || !word.one_piece).then_some((length, numbers))
}

/// Whether a piece of the text between spaces is a model's name: it has a slash, a family, a size.
fn is_name(text: &[char], atoms: &[Atom], chunk: usize) -> bool {
    let mut own = atoms.iter().filter(|atom| atom.chunk == chunk);
    let (Some(first), Some(last)) = (own.next(), atoms.iter().rfind(|atom| atom.chunk == chunk))
    else {
        return false;
    };
    text[first.start..last.end].contains(&'/')
        || atoms.iter().filter(|atom| atom.chunk == chunk).any(|atom| {
            let family = |family: &&str| {
                atom.text
                    .strip_prefix(*family)
                    .is_some_and(|rest| rest.chars().all(|c| c.is_ascii_digit() || c == '.'))
            };
            FAMILIES.iter().any(family) || read("{p}b", &atom.text).is_some()
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
