//! How configs name modules. Each loader has its own rule, and [`Reading`] is the table of the rules.

use std::collections::HashMap;

use regex::{RegexSet, RegexSetBuilder};

/// How a loader reads an entry of a list of modules.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Reading {
    /// The whole name: vLLM's fp8, compressed-tensors' names.
    Whole,
    /// The module, and modules inside it.
    Inside,
    /// Any piece of the name: vLLM's AWQ, and ModelOpt in older versions of vLLM.
    Piece,
    /// The module, those inside it, or one component of the name: vLLM's bitsandbytes.
    Component,
    /// transformers' `should_convert_module`: an expression at the start, or the end of the name.
    Start,
    /// ModelOpt and Quark: a name in which `*` stands for anything. A match covers modules inside, because
    /// ModelOpt names a whole layer that it leaves alone.
    Wildcard,
    /// An expression at the start of the name, as Python's `re.match`.
    Match,
    /// An expression anywhere in the name, as Python's `re.search`.
    Search,
    /// Every module: the class `Linear`, as far as a file can tell.
    All,
    /// A class that no file shows, or a list that the loader does not read.
    Never,
}

/// Characters that make a name an expression. A dot alone is read as a dot or any other character.
pub(super) const SPECIAL: [char; 13] =
    ['*', '+', '?', '^', '$', '(', ')', '[', ']', '{', '}', '|', '\\'];

/// How far an expression with look-ahead may go back before it counts as unreadable: a forged
/// expression must not cost minutes.
const BACKTRACKS: usize = 10_000;

/// The bytes that the expressions of one list may compile to.
const COMPILED: usize = 64 << 20;

/// An entry before it is compiled: as the config writes it, how each loader reads it, its outcome.
pub(super) type Listed<T> = (String, Vec<(Reading, String)>, T);

/// Entries that are asked together, each with an outcome.
#[derive(Clone, Debug)]
pub(super) struct Tier<T> {
    entries: Vec<Entry<T>>,
    /// Entries of whole names by name, because such a list can have as many entries as the file modules.
    names: HashMap<String, Vec<usize>>,
    /// The other entries.
    others: Vec<usize>,
    /// The expressions of all entries, which one pass over a name answers.
    expressions: RegexSet,
}

/// An entry of a list.
#[derive(Clone, Debug)]
pub(super) struct Entry<T> {
    /// The entry as the config writes it.
    pub(super) text: String,
    pub(super) outcome: T,
    readers: Vec<Matcher>,
}

#[derive(Clone, Debug)]
enum Matcher {
    Plain(Reading, String),
    /// An expression of the tier's set.
    InSet(usize),
    /// The same, or the end of the name.
    InSetOrEnd(usize, String),
    /// An expression with look-ahead.
    Ahead(fancy_regex::Regex),
    /// An expression that cannot be read here.
    Unread,
}

/// What a tier says of a module.
pub(super) struct Answer<'a, T> {
    /// The entry that names it.
    pub(super) sure: Option<&'a Entry<T>>,
    /// Entries that may name it.
    pub(super) doubts: Vec<&'a Entry<T>>,
}

impl<T: PartialEq> Tier<T> {
    /// The list, with the readings of the loaders of each entry.
    pub(super) fn new(list: impl IntoIterator<Item = Listed<T>>) -> Self {
        let (mut entries, mut expressions) = (Vec::new(), Vec::new());
        let (mut names, mut others) = (HashMap::<String, Vec<usize>>::new(), Vec::new());
        for (text, readings, outcome) in list {
            let matchers = readings.into_iter().map(|reading| matcher(reading, &mut expressions));
            let readers: Vec<Matcher> = matchers.collect();
            match readers.as_slice() {
                [Matcher::Plain(Reading::Whole | Reading::Inside, name)] => {
                    names.entry(name.clone()).or_default().push(entries.len());
                }
                _ => others.push(entries.len()),
            }
            entries.push(Entry { text, outcome, readers });
        }
        let set = RegexSetBuilder::new(&expressions).size_limit(COMPILED).build();
        let expressions = set.unwrap_or_else(|_| {
            // Too many to compile together: none of them can be asked.
            for reader in entries.iter_mut().flat_map(|entry| &mut entry.readers) {
                if matches!(reader, Matcher::InSet(_) | Matcher::InSetOrEnd(..)) {
                    *reader = Matcher::Unread;
                }
            }
            RegexSet::empty()
        });
        Self { entries, names, others, expressions }
    }

    pub(super) fn entries(&self) -> &[Entry<T>] {
        &self.entries
    }

    /// What the list says of `module`.
    pub(super) fn ask(&self, module: &str) -> Answer<'_, T> {
        let mut answer = Answer { sure: None, doubts: Vec::new() };
        for index in self.named(module) {
            answer.add(&self.entries[index], Some(true));
        }
        let hits = (!self.expressions.is_empty()).then(|| self.expressions.matches(module));
        let in_set = |index| hits.as_ref().is_some_and(|hits| hits.matched(index));
        for &index in &self.others {
            let entry = &self.entries[index];
            answer.add(entry, entry.names(module, &in_set));
        }
        answer
    }

    /// The entries of whole names that name `module` or a module around it.
    fn named<'a>(&'a self, module: &'a str) -> impl Iterator<Item = usize> + 'a {
        let ends = module.match_indices('.').map(|(at, _)| at).chain([module.len()]);
        let ends = ends.filter(|_| !self.names.is_empty());
        ends.flat_map(move |end| {
            let found = self.names.get(&module[..end]).into_iter().flatten().copied();
            let whole = end == module.len();
            found.filter(move |&index| {
                let inside = |m: &Matcher| matches!(m, Matcher::Plain(Reading::Inside, _));
                whole || self.entries[index].readers.iter().any(inside)
            })
        })
    }
}

impl<'a, T: PartialEq> Answer<'a, T> {
    /// Two entries with different outcomes are a doubt: loaders ask them in orders of their own.
    fn add(&mut self, entry: &'a Entry<T>, names: Option<bool>) {
        match (names, self.sure) {
            (Some(false), _) => {}
            (Some(true), None) => self.sure = Some(entry),
            (Some(true), Some(known)) if known.outcome == entry.outcome => {}
            _ => self.doubts.push(entry),
        }
    }
}

impl<T> Entry<T> {
    /// Whether the entry names `module`; `None` if its readers differ, or it cannot be read.
    fn names(&self, module: &str, in_set: &impl Fn(usize) -> bool) -> Option<bool> {
        let mut answers = self.readers.iter().map(|reader| reader.matches(module, in_set));
        let first = answers.next()??;
        answers.all(|answer| answer == Some(first)).then_some(first)
    }

    /// Whether an expression of the entry is none that can be read here.
    pub(super) fn cannot_be_read(&self) -> bool {
        self.readers.iter().any(|reader| matches!(reader, Matcher::Unread))
    }

    /// Whether an expression of the entry is the reason of a doubt.
    pub(super) fn is_unread(&self) -> bool {
        // An expression with look-ahead is in doubt only where it asked for too many steps.
        let cannot = |reader: &Matcher| matches!(reader, Matcher::Unread | Matcher::Ahead(_));
        self.readers.iter().any(cannot)
    }
}

impl Matcher {
    fn matches(&self, module: &str, in_set: &impl Fn(usize) -> bool) -> Option<bool> {
        match self {
            Self::Plain(reading, text) => Some(plain(*reading, text, module)),
            Self::InSet(index) => Some(in_set(*index)),
            Self::InSetOrEnd(index, end) => Some(in_set(*index) || module.ends_with(end.as_str())),
            Self::Ahead(expression) => expression.is_match(module).ok(),
            Self::Unread => None,
        }
    }
}

/// The matcher of a reading; an expression is added to `set` if it has no look-ahead.
fn matcher((reading, text): (Reading, String), set: &mut Vec<String>) -> Matcher {
    let expression = match reading {
        Reading::Match => format!("^(?:{text})"),
        Reading::Search => text.clone(),
        Reading::Start if text.contains(SPECIAL) => format!("^(?:{text})"),
        Reading::Wildcard if text.contains('[') => {
            let classes = regex::escape(&text).replace(r"\[!", "[^").replace(r"\[", "[");
            let stars = classes.replace(r"\]", "]").replace(r"\-", "-").replace(r"\*", ".*");
            format!(r"^(?:{})(\.|$)", stars.replace(r"\?", "."))
        }
        _ => return Matcher::Plain(reading, text),
    };
    if regex::Regex::new(&expression).is_ok() {
        set.push(expression);
        let index = set.len() - 1;
        return match reading {
            Reading::Start => Matcher::InSetOrEnd(index, text),
            _ => Matcher::InSet(index),
        };
    }
    let ahead = fancy_regex::RegexBuilder::new(&expression).backtrack_limit(BACKTRACKS).build();
    ahead.map_or(Matcher::Unread, Matcher::Ahead)
}

fn plain(reading: Reading, text: &str, module: &str) -> bool {
    let is_inside =
        || module.strip_prefix(text).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    match reading {
        Reading::Whole => module == text,
        Reading::Inside => is_inside(),
        Reading::Piece => module.contains(text),
        Reading::Component => is_inside() || module.split('.').any(|part| part == text),
        Reading::Start => begins(module, text) || module.ends_with(text),
        Reading::Wildcard => glob(text.as_bytes(), module.as_bytes()),
        Reading::All => true,
        Reading::Match | Reading::Search | Reading::Never => false,
    }
}

/// Whether the name begins with the text, in which a dot is any character: transformers hands the names of
/// modules to `re.match` as they are.
fn begins(module: &str, text: &str) -> bool {
    let (module, text) = (module.as_bytes(), text.as_bytes());
    module.len() >= text.len() && text.iter().zip(module).all(|(t, m)| *t == b'.' || t == m)
}

/// Whether a pattern with `*` and `?` names the module, or a module around it.
fn glob(pattern: &[u8], module: &[u8]) -> bool {
    // Most patterns are a name and a star, and most modules have another name: one comparison decides.
    let head = pattern.iter().position(|c| matches!(c, b'*' | b'?')).unwrap_or(pattern.len());
    let Some(module) = module.strip_prefix(&pattern[..head]) else { return false };
    let pattern = &pattern[head..];
    let (mut p, mut m) = (0, 0);
    // Where the last star stands, and where the text behind it begins.
    let mut star: Option<(usize, usize)> = None;
    loop {
        if p == pattern.len() && module.get(m).is_none_or(|&next| next == b'.') {
            return true;
        }
        if pattern.get(p) == Some(&b'*') {
            star = Some((p, m));
            p += 1;
        } else if m < module.len()
            && matches!(pattern.get(p), Some(c) if *c == b'?' || *c == module[m])
        {
            (p, m) = (p + 1, m + 1);
        } else if let Some((at, from)) = star.filter(|(_, from)| *from < module.len()) {
            star = Some((at, from + 1));
            (p, m) = (at + 1, from + 1);
        } else {
            return false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(readings: &[Reading], text: &str, module: &str) -> Option<bool> {
        let readings = readings.iter().map(|reading| (*reading, text.to_owned())).collect();
        let tier = Tier::new([(text.to_owned(), readings, ())]);
        let answer = tier.ask(module);
        if answer.doubts.is_empty() { Some(answer.sure.is_some()) } else { None }
    }

    #[test]
    fn each_loader_names_modules_in_its_own_way() {
        use Reading::{
            All, Component, Inside, Match, Never, Piece, Search, Start, Whole, Wildcard,
        };
        let module = "model.layers.3.mlp.up_proj";
        for (reading, text, expected) in [
            (All, "Linear", true),
            (Never, "MoeBlock", false),
            (Whole, "model.layers.3.mlp.up_proj", true),
            (Whole, "model.layers.3", false),
            (Inside, "model.layers.3", true),
            (Inside, "model.layers.30", false),
            (Match, ".*up_proj$", true),
            (Match, "up_proj", false),
            (Match, r".*mlp\.(?!down).*", true),
            (Match, r".*mlp\.(?!up).*", false),
            (Search, "up_proj", true),
            (Piece, "mlp", true),
            (Component, "mlp", true),
            (Component, "up", false),
            (Start, "model.layers", true),
            (Start, "mlp.up_proj", true),
            (Start, "layers.3", false),
            (Start, "model.layers.[23]", true),
            (Start, "model.layers.[01]", false),
            (Wildcard, "model.layers.3*", true),
            (Wildcard, "model.layers.3", true),
            (Wildcard, "*.mlp.*", true),
            (Wildcard, "*up", false),
            (Wildcard, "*layers.[!0-2].mlp*", true),
            (Wildcard, "model.layers.?.mlp", true),
            (Wildcard, "lm_head", false),
        ] {
            assert_eq!(names(&[reading], text, module), Some(expected), "{reading:?} {text}");
        }
    }

    #[test]
    fn loaders_that_differ_and_expressions_that_cannot_be_read_are_a_doubt() {
        let loaders = [Reading::Start, Reading::Piece];
        assert_eq!(names(&loaders, "mlp.gate", "model.layers.0.mlp.gate_proj"), None);
        assert_eq!(names(&loaders, "mlp.gate", "model.layers.0.mlp.gate"), Some(true));
        assert_eq!(names(&[Reading::Match], "(?<", "a"), None);
        // Three nested repetitions ask for more steps than a forged file is given.
        assert_eq!(names(&[Reading::Match], r"(?=(a+)+\1b)x", &"a".repeat(40)), None);
    }
}
