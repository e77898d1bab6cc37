//! The vocabulary of cards: the words of `vocabulary.txt` and `details.txt`, and the types of a KV cache.

use super::word::{Field, Word};

/// All of them but GGUF's, which [`gguf_names`](super::gguf_names) lists.
pub(super) fn words() -> Vec<Word> {
    // A test holds both texts to the form of their rows.
    let listed = |text| read(text).unwrap_or_default();
    let (words, details) = (include_str!("vocabulary.txt"), include_str!("details.txt"));
    [listed(words), caches(), listed(details)].concat()
}

/// The words that a text lists. `vocabulary.txt` begins with its form.
///
/// # Errors
/// The row that cannot be read.
fn read(text: &str) -> Result<Vec<Word>, String> {
    let mut words: Vec<Word> = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let is_read = match (line.strip_prefix("    "), words.last_mut()) {
            (Some(sentence), Some(word)) => add_sentence(word, sentence),
            _ => row(line, &words).map(|word| words.push(word)),
        };
        is_read.ok_or_else(|| line.to_owned())?;
    }
    words.retain(|word| !word.pattern.is_empty());
    Ok(words)
}

/// Reads `name | pattern | statements`.
fn row(line: &str, known: &[Word]) -> Option<Word> {
    let (name, rest) = line.split_once('|')?;
    let (pattern, statements) = rest.split_once('|')?;
    let mut word = Word::new(name.trim(), pattern.trim());
    let (says, usual) = statements.split_once("usually ").unwrap_or((statements, ""));
    for statement in list(says.trim_end_matches("; ")) {
        match statement {
            "card only" => word.card_only = true,
            "one piece" => word.one_piece = true,
            "computes" => word.computes = true,
            _ => match statement.split_once(' ')? {
                ("as", name) => add(&mut word, known.iter().rfind(|word| word.name == name)?),
                (field, value) => word.says.push((Field::named(field)?, value.into())),
            },
        }
    }
    for statement in list(usual) {
        let (field, value) = statement.split_once(' ')?;
        word.usual.push((Field::named(field)?, value.into()));
    }
    Some(word)
}

fn list(statements: &str) -> impl Iterator<Item = &str> {
    statements.split(',').map(str::trim).filter(|statement| !statement.is_empty())
}

/// Adds what `word` has in common with others.
fn add(word: &mut Word, common: &Word) {
    word.says.extend_from_slice(&common.says);
    word.usual.extend_from_slice(&common.usual);
    word.open.extend_from_slice(&common.open);
    if common.note.is_some() {
        word.note.clone_from(&common.note);
    }
    word.computes |= common.computes;
}

/// Reads `note SENTENCE`, `needs SENTENCE` or `FIELD? SENTENCE`.
fn add_sentence(word: &mut Word, line: &str) -> Option<()> {
    let (what, sentence) = line.split_once(' ')?;
    match what {
        "note" => word.note = Some(sentence.into()),
        "needs" => word.needs = Some(sentence.into()),
        _ => word.open.push((Field::named(what.strip_suffix('?')?)?, sentence.into())),
    }
    Some(())
}

/// `--kv-cache-dtype` of vLLM.
fn caches() -> Vec<Word> {
    const TYPES: &str = "auto float16 bfloat16 fp8 fp8_e4m3 fp8_e5m2 fp8_inc fp8_ds_mla nvfp4_ds_mla \
        turboquant_k8v4 turboquant_4bit_nc turboquant_k3v4_nc turboquant_3bit_nc ultraquant_4bit \
        int4_per_token_head int8_per_token_head fp8_per_token_head nvfp4 nvfp4_4over6";
    // Alone, these words could be about weights.
    const AMBIGUOUS: [&str; 7] =
        ["auto", "float16", "bfloat16", "fp8", "fp8_e4m3", "fp8_e5m2", "nvfp4"];
    let mut words = Vec::new();
    for kind in TYPES.split_whitespace() {
        // `fp8` is E4M3 on the GPUs that the book speaks of.
        let canonical = if kind == "fp8" { "fp8_e4m3" } else { kind };
        let atoms = kind.replace('_', " ");
        let mut add = |name: &str, pattern: String| {
            words.push(Word::new(name, &pattern).says(&[(Field::Kv, canonical)]));
        };
        add(&format!("kv-cache-dtype {kind}"), format!("kv cache dtype {atoms}"));
        add(&format!("kv={kind}"), format!("kv {atoms}"));
        if !AMBIGUOUS.contains(&kind) {
            add(kind, atoms);
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_read_and_a_wrong_one_is_named() {
        for text in [include_str!("vocabulary.txt"), include_str!("details.txt")] {
            assert!(read(text).expect("a row that can be read").len() > 50);
        }
        for wrong in
            ["x | x", "x | x | bits", "x | x | size 4", "x | x | as y", "x | x |\n    z? w"]
        {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
