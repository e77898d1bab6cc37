//! Fields of a config, by type. A field of another type reads as absent.

use serde_json::Value;

use crate::format::Group;

/// The number under the first of `keys` that is there.
pub(super) fn number(json: &Value, keys: &[&str]) -> Option<u64> {
    keys.iter().find_map(|key| json.get(*key)).and_then(Value::as_u64)
}

pub(super) fn truth(json: &Value, key: &str) -> Option<bool> {
    json.get(key)?.as_bool()
}

pub(super) fn text<'a>(json: &'a Value, key: &str) -> Option<&'a str> {
    json.get(key)?.as_str()
}

/// The texts of a list.
pub(super) fn texts<'a>(json: &'a Value, key: &str) -> impl Iterator<Item = &'a str> {
    json.get(key).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

/// A group size; -1 is one group for the whole row.
pub(super) fn group_size(json: &Value, keys: &[&str]) -> Option<Group> {
    match keys.iter().find_map(|key| json.get(*key)).and_then(Value::as_i64)? {
        -1 => Some(Group::Channel),
        size => u64::try_from(size).ok().filter(|&size| size > 0).map(Group::Size),
    }
}

/// Rows and columns of a block.
pub(super) fn block(json: &Value, key: &str) -> Option<Group> {
    let sides: Vec<u64> = json.get(key)?.as_array()?.iter().filter_map(Value::as_u64).collect();
    match *sides.as_slice() {
        [rows, columns] if rows > 0 && columns > 0 => Some(Group::Block(rows, columns)),
        _ => None,
    }
}
