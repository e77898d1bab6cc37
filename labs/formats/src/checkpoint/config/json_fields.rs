//! Fields of a config, by type. A field that is there and cannot be read is remembered, because a field of
//! a wrong type or range must not pass for a field that is absent.

use std::cell::RefCell;

use serde_json::Value;

use crate::format::Group;
use crate::printable::printable;

/// The longest value that a sentence repeats, in characters.
const SHOWN: usize = 60;

/// The fields of an object.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a> {
    pub(super) json: &'a Value,
    unread: &'a RefCell<Vec<String>>,
}

impl<'a> Fields<'a> {
    /// The fields of `json`; `unread` collects what cannot be read.
    pub(super) fn of(json: &'a Value, unread: &'a RefCell<Vec<String>>) -> Self {
        Self { json, unread }
    }

    /// The fields of an object inside this one.
    pub(super) fn at(&self, json: &'a Value) -> Self {
        Self { json, ..*self }
    }

    /// The first of `keys` that is there. `null` is what Python writes for an absent value.
    fn get(&self, keys: &[&'a str]) -> Option<(&'a str, &'a Value)> {
        let found = keys.iter().find_map(|key| Some((*key, self.json.get(*key)?)));
        found.filter(|(_, value)| !value.is_null())
    }

    /// The value under the first of `keys`; one that `read` refuses is remembered with what it has to be.
    fn field<T>(
        &self,
        keys: &[&'a str],
        wanted: &str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Option<T> {
        let (key, value) = self.get(keys)?;
        let found = read(value);
        if found.is_none() {
            self.refuse(key, value, wanted);
        }
        found
    }

    /// Remembers that the field cannot be read.
    pub(super) fn refuse(&self, key: &str, value: &Value, wanted: &str) {
        let value: String = printable(&value.to_string()).chars().take(SHOWN).collect();
        self.lament(format!("`{}` is {value}, and has to be {wanted}", printable(key)));
    }

    /// Remembers another reason why the config cannot be read in full.
    pub(super) fn lament(&self, reason: String) {
        self.unread.borrow_mut().push(reason);
    }

    pub(super) fn has(&self, key: &'a str) -> bool {
        self.get(&[key]).is_some()
    }

    /// Bits of a number.
    pub(super) fn bits(&self, keys: &[&'a str]) -> Option<u64> {
        self.field(keys, "a whole number from 1 to 64", |value| {
            value.as_u64().filter(|bits| (1..=64).contains(bits))
        })
    }

    pub(super) fn truth(&self, key: &'a str) -> Option<bool> {
        self.field(&[key], "true or false", Value::as_bool)
    }

    pub(super) fn text(&self, key: &'a str) -> Option<&'a str> {
        self.field(&[key], "a text", Value::as_str)
    }

    /// A text that is one of `known`.
    pub(super) fn word(&self, key: &'a str, known: &[&str]) -> Option<&'a str> {
        let wanted = format!("one of {}", known.join(", "));
        self.field(&[key], &wanted, |value| value.as_str().filter(|text| known.contains(text)))
    }

    /// The texts of a list.
    pub(super) fn texts(&self, key: &'a str) -> Vec<&'a str> {
        let read = |value: &'a Value| value.as_array()?.iter().map(Value::as_str).collect();
        self.field(&[key], "a list of texts", read).unwrap_or_default()
    }

    /// A group size; -1 is one group for the whole row.
    pub(super) fn group_size(&self, keys: &[&'a str]) -> Option<Group> {
        self.field(keys, "a whole number above 0, or -1 for the whole row", |value| {
            match value.as_i64()? {
                -1 => Some(Group::Channel),
                size => u64::try_from(size).ok().filter(|&size| size > 0).map(Group::Size),
            }
        })
    }

    /// Rows and columns of a block.
    pub(super) fn block(&self, key: &'a str) -> Option<Group> {
        self.field(&[key], "two whole numbers above 0", |value| {
            let sides: Option<Vec<u64>> = value.as_array()?.iter().map(Value::as_u64).collect();
            match *sides?.as_slice() {
                [rows, columns] if rows > 0 && columns > 0 => Some(Group::Block(rows, columns)),
                _ => None,
            }
        })
    }

    /// The object under `key`.
    pub(super) fn object(&self, key: &'a str) -> Option<Self> {
        let json = self.field(&[key], "an object", |value| value.is_object().then_some(value))?;
        Some(self.at(json))
    }

    /// The entries of the object under `key` that are objects themselves, in the file's order.
    pub(super) fn entries(&self, key: &'a str) -> Vec<(&'a str, Self)> {
        let mut entries = Vec::new();
        let object = self.object(key).and_then(|object| object.json.as_object());
        for (key, json) in object.into_iter().flatten() {
            match json {
                Value::Object(_) => entries.push((key.as_str(), self.at(json))),
                Value::Null => {}
                other => self.refuse(key, other, "an object"),
            }
        }
        entries
    }
}
