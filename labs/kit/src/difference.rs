//! How two arrays differ, in a line, because a test that fails must not print whole arrays.

use std::fmt::{Debug, Display};

use ndarray::{ArrayView, Dimension};

/// How many values differ, and the first of them. `None` if shapes and values are equal.
pub fn difference<T: PartialEq + Debug, D: Dimension>(
    found: ArrayView<T, D>,
    expected: ArrayView<T, D>,
) -> Option<String> {
    if found.shape() != expected.shape() {
        return Some(format!("the shape is {:?}, not {:?}", found.shape(), expected.shape()));
    }
    let mut differing = found.indexed_iter().zip(&expected).filter(|((_, a), b)| a != b);
    let ((index, first), wanted) = differing.next()?;
    let (count, all) = (1 + differing.count(), expected.len());
    let first = format!("the first at {index:?}: {first:?}, not {wanted:?}");
    Some(format!("{count} of {all} values differ, {first}"))
}

/// Asserts that both arrays are equal.
///
/// # Panics
/// If they differ, with their [`difference`] and with `why`.
#[track_caller]
pub fn assert_same<T: PartialEq + Debug, D: Dimension>(
    found: ArrayView<T, D>,
    expected: ArrayView<T, D>,
    why: impl Display,
) {
    if let Some(difference) = difference(found, expected) {
        panic!("{difference}. {why}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn a_difference_is_counted_and_has_an_address() {
        let (a, b) = (array![[1, 2], [3, 4]], array![[1, 2], [5, 6]]);
        let text = difference(a.view(), b.view()).unwrap_or_default();
        assert_eq!(text, "2 of 4 values differ, the first at (1, 0): 3, not 5");
        assert_eq!(difference(a.view(), a.view()), None);
        let flat = array![[1, 2, 3, 4]];
        assert!(difference(a.view(), flat.view()).is_some_and(|text| text.contains("[1, 4]")));
    }
}
