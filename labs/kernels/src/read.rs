//! Plain reading: the bandwidth of this machine's memory.

use rayon::prelude::*;

use crate::dispatch::dispatched;

/// Words that one task reads: 2 MiB.
const CHUNK: usize = 1 << 18;

/// Reads every word once and returns the sum, because a compiler removes a read without a result.
pub fn read(words: &[u64]) -> u64 {
    words.par_chunks(CHUNK).map(sum).reduce(|| 0, u64::wrapping_add)
}

dispatched! {
    /// The sum of `words`, modulo 2^64.
    fn sum(words: &[u64]) -> u64 = sum_body
}

#[inline(always)]
fn sum_body<const FMA: bool>(words: &[u64]) -> u64 {
    words.iter().fold(0, |sum, word| sum.wrapping_add(*word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_read_once() {
        let words: Vec<u64> = (0..(2 * CHUNK + 45) as u64).collect();
        let count = words.len() as u64;
        assert_eq!(read(&words), count * (count - 1) / 2);
    }
}
