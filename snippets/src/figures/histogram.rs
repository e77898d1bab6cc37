//! Counting into bins of equal width.

/// Counts over a range that is cut into bins of equal width.
pub struct Histogram {
    start: f64,
    width: f64,
    counts: Vec<usize>,
}

impl Histogram {
    /// `bins` bins of `width` each, the first from `start`.
    pub fn new(start: f64, width: f64, bins: usize) -> Self {
        Self { start, width, counts: vec![0; bins] }
    }

    /// Counts into bin `index`, the last one if there are not so many.
    pub fn count(&mut self, index: usize) {
        let last = self.counts.len() - 1;
        self.counts[index.min(last)] += 1;
    }

    /// Counts a value into its bin, or into the outermost one on its side.
    pub fn add(&mut self, value: f64) {
        // A cast from a negative number to `usize` gives 0.
        self.count(((value - self.start) / self.width).floor() as usize);
    }

    /// The outline from the first to the last bin that holds anything, up from the base line and
    /// down again. A bin is as high as `height` of its count, and the base line is `height(0)`.
    pub fn outline(&self, height: impl Fn(usize) -> f64) -> Vec<(f64, f64)> {
        let edge = |index: usize| self.start + self.width * index as f64;
        let held = |&n: &usize| n > 0;
        let first = self.counts.iter().position(held).unwrap_or(0);
        let end = self.counts.iter().rposition(held).map_or(first, |last| last + 1);
        let sides = |i: usize| [i, i + 1].map(|side| (edge(side), height(self.counts[i])));
        let base = |index| [(edge(index), height(0))];
        base(first).into_iter().chain((first..end).flat_map(sides)).chain(base(end)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_fall_into_their_bins_and_the_outermost_catch_the_rest() {
        let mut histogram = Histogram::new(-1.0, 0.5, 4);
        for value in [-7.0, -1.0, -0.6, -0.5, 0.0, 0.99, 1.0, 5.0] {
            histogram.add(value);
        }
        assert_eq!(histogram.counts, [3, 1, 1, 3]);
    }

    #[test]
    fn the_outline_leaves_empty_ends_out_and_stands_on_the_floor() {
        let mut histogram = Histogram::new(0.0, 1.0, 5);
        [1.5, 1.5, 3.5].iter().for_each(|&value| histogram.add(value));
        let outline = histogram.outline(|count| count as f64);
        let expected = [(1, 0), (1, 2), (2, 2), (2, 0), (3, 0), (3, 1), (4, 1), (4, 0)]
            .map(|(x, y)| (x.into(), y.into()));
        assert_eq!(outline, expected);
    }
}
