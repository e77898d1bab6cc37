//! Several readings of one quantity.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::CaptureError;

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

    /// As [`Spread::of`], for samples that are times or rates.
    ///
    /// # Errors
    /// [`CaptureError::Inconsistent`] if there is none, or one is not above 0 and finite.
    pub fn sound(samples: &[f64]) -> Result<Self, CaptureError> {
        Self::of(samples).filter(Self::is_sound).ok_or_else(|| {
            CaptureError::Inconsistent(format!("no time or rate in the readings {samples:?}"))
        })
    }

    /// Whether this can be a spread of times or rates: in order, above 0 and finite.
    pub fn is_sound(&self) -> bool {
        let ordered = 0.0 < self.min && self.min <= self.median && self.median <= self.max;
        ordered && self.max.is_finite() && self.samples > 0
    }
}

/// Milliseconds that `work` takes, and its result.
pub fn time_ms<Output>(work: impl FnOnce() -> Output) -> (f64, Output) {
    let start = Instant::now();
    let output = work();
    (start.elapsed().as_secs_f64() * 1e3, output)
}

/// Repeats `once`, which returns how much it did, at most `most` times and not after `limit`: the
/// amount per second of each time. A first time is not kept, because it wakes threads and fills
/// caches.
///
/// # Errors
/// If `once` fails.
pub fn rates<E>(
    limit: Duration,
    most: usize,
    mut once: impl FnMut() -> Result<f64, E>,
) -> Result<Vec<f64>, E> {
    once()?;
    let (start, mut samples) = (Instant::now(), Vec::new());
    while samples.is_empty() || samples.len() < most && start.elapsed() < limit {
        let (ms, amount) = time_ms(&mut once);
        samples.push(amount? / ms * 1e3);
    }
    Ok(samples)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spread_of_no_samples_or_of_nan_is_none() {
        assert_eq!(Spread::of(&[]), None);
        assert_eq!(Spread::of(&[1.0, f64::NAN]), None);
        let error = Spread::sound(&[1.0, 0.0]).expect_err("no time is 0").to_string();
        assert!(error.contains("no time or rate in the readings [1.0, 0.0]"), "{error}");
        let spread = Spread::of(&[3.0, 1.0, 2.0, 10.0]).expect("four numbers");
        assert_eq!((spread.median, spread.min, spread.max, spread.samples), (2.5, 1.0, 10.0, 4));
    }
}
