//! Several readings of one quantity.

use serde::{Deserialize, Serialize};

/// Several readings of one quantity.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// The middle reading; the mean of the middle two where their number is even.
    pub median: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
    /// How many readings.
    pub samples: u32,
}

impl Spread {
    /// Median, smallest and largest of `samples`; `None` for none or if one is not finite.
    pub fn of(samples: &[f64]) -> Option<Self> {
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (&min, &max) = (sorted.first()?, sorted.last()?);
        let middle = sorted.len() / 2;
        let median = match sorted.len() % 2 {
            1 => sorted[middle],
            _ => (sorted[middle - 1] + sorted[middle]) / 2.0,
        };
        let finite = min.is_finite() && max.is_finite();
        finite.then_some(Self { median, min, max, samples: sorted.len() as u32 })
    }

    /// Whether this can be a spread of times or rates: in order, above 0 and finite.
    pub fn is_sound(&self) -> bool {
        let ordered = 0.0 < self.min && self.min <= self.median && self.median <= self.max;
        ordered && self.max.is_finite() && self.samples > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spread_of_no_samples_or_of_nan_is_none() {
        assert_eq!(Spread::of(&[]), None);
        assert_eq!(Spread::of(&[1.0, f64::NAN]), None);
        let spread = Spread::of(&[3.0, 1.0, 2.0, 10.0]).expect("four numbers");
        assert_eq!((spread.median, spread.min, spread.max, spread.samples), (2.5, 1.0, 10.0, 4));
    }
}
