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

    /// The upper outline: two points a bin, its height given by `height` of its count.
    pub fn outline(&self, height: impl Fn(usize) -> f64) -> Vec<(f64, f64)> {
        let edge = |index: usize| self.start + self.width * index as f64;
        let bins = self.counts.iter().enumerate();
        bins.flat_map(|(i, &n)| [(edge(i), height(n)), (edge(i + 1), height(n))]).collect()
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
        let outline = histogram.outline(|count| count as f64);
        assert_eq!(outline[..3], [(-1.0, 3.0), (-0.5, 3.0), (-0.5, 1.0)]);
    }
}
