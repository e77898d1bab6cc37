//! The row order of query and key projections.

use ndarray::{Array2, Axis};

use super::GgufError;

/// Puts the rows of a GGUF query or key projection back into the Hugging Face order.
///
/// `w` is `[heads * head_dim, in_features]`. Rotary embeddings turn pairs of rows: Hugging Face
/// pairs row `j` of a head with row `j + head_dim / 2`, GGML neighbours. The converter to GGUF
/// therefore interleaves the two halves of each head (of 8 rows: 0, 4, 1, 5, 2, 6, 3, 7), and
/// this takes them apart again. `heads` is the number of key-value heads for a key projection.
///
/// # Errors
/// [`GgufError::Damaged`] if the rows are not `heads` heads of an even number of rows.
pub fn unpermute_rotary<T: Clone>(w: &Array2<T>, heads: usize) -> Result<Array2<T>, GgufError> {
    let rows = w.nrows();
    if heads == 0 || !rows.is_multiple_of(2 * heads) {
        let problem = format!("{rows} rows are not {heads} heads of an even number of rows each");
        return Err(GgufError::Damaged(problem));
    }
    let head_dim = rows / heads;
    Ok(w.select(Axis(0), &source_rows(rows, head_dim)))
}

/// The way back: puts the rows of a query or key projection into the order of a GGUF file.
///
/// # Errors
/// As [`unpermute_rotary`].
pub fn permute_rotary<T: Clone>(w: &Array2<T>, heads: usize) -> Result<Array2<T>, GgufError> {
    // The checks, because a permutation is not its own inverse but has the same rows.
    unpermute_rotary(w, heads)?;
    let sources = source_rows(w.nrows(), w.nrows() / heads);
    let mut targets = vec![0; sources.len()];
    sources.into_iter().enumerate().for_each(|(row, source)| targets[source] = row);
    Ok(w.select(Axis(0), &targets))
}

/// For each row in the Hugging Face order, the row of the GGUF file it comes from.
fn source_rows(rows: usize, head_dim: usize) -> Vec<usize> {
    let half = head_dim / 2;
    let source = |row: usize| {
        let (head, in_head) = (row / head_dim, row % head_dim);
        head * head_dim + 2 * (in_head % half) + in_head / half
    };
    (0..rows).map(source).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The row order that llama.cpp's converter gives a head of 8 rows.
    const CONVERTED: [usize; 8] = [0, 4, 1, 5, 2, 6, 3, 7];

    /// Two heads of 8 rows, each row filled with its own number.
    fn numbered(rows: impl Iterator<Item = usize>) -> Array2<f32> {
        let rows: Vec<f32> = rows.map(|row| row as f32).collect();
        Array2::from_shape_fn((rows.len(), 3), |(r, _)| rows[r])
    }

    #[test]
    fn it_undoes_what_the_converter_does_head_by_head() -> Result<(), GgufError> {
        let converted = numbered((0..16).map(|row| row / 8 * 8 + CONVERTED[row % 8]));
        assert_eq!(unpermute_rotary(&converted, 2)?, numbered(0..16));
        assert_eq!(permute_rotary(&numbered(0..16), 2)?, converted);
        Ok(())
    }

    #[test]
    fn rows_that_are_not_whole_heads_are_refused() {
        for (rows, heads) in [(16, 0), (16, 3), (6, 2)] {
            let error = unpermute_rotary(&numbered(0..rows), heads).unwrap_err().to_string();
            assert!(error.contains(&format!("{rows} rows are not {heads} heads")), "{error}");
        }
    }
}
