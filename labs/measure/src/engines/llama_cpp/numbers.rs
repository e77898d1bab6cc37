//! Numbers in what the tools print.

/// The first number behind `key :` in a line that begins with `key`, whatever blanks are in both.
pub(super) fn after(text: &str, key: &str) -> Option<f64> {
    let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        if squeezed(name) != key {
            return None;
        }
        first(value)
    })
}

/// The number that a text begins with, a `%` behind it left out.
pub(super) fn first(text: &str) -> Option<f64> {
    let word = text.split_whitespace().next()?.trim_end_matches('%');
    word.parse().ok().filter(|number: &f64| number.is_finite())
}
