//! How long a run may take, and how its times are read.

use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

use super::cuda::Repeatable;
use crate::capture::Spread;

/// How long the run may take, and how much of it one reading may use.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
    budget: Duration,
    reading: Duration,
}

/// Fewer readings than this make no median worth the name.
const FEWEST: usize = 5;
/// More add nothing.
const MOST: usize = 100;

impl Clock {
    /// Starts the clock: the run should end within `budget`, one reading takes about `reading`.
    pub fn start(budget: Duration, reading: Duration) -> Self {
        Self { start: Instant::now(), budget, reading }
    }

    /// Seconds since the start.
    pub fn seconds(&self) -> f64 {
        self.start.elapsed().as_secs_f64()
    }

    /// Whether more than two thirds of the budget are spent: readings get shorter, not fewer.
    pub fn is_late(&self) -> bool {
        self.start.elapsed() * 3 > self.budget * 2
    }

    fn repetitions(&self, once_ms: f64) -> usize {
        if self.is_late() {
            return FEWEST;
        }
        let wanted = self.reading.as_secs_f64() * 1e3 / once_ms.max(1e-3);
        (wanted as usize).clamp(FEWEST, MOST)
    }

    /// Warms up, then reads the time of `work` many times, in milliseconds divided by `parts`.
    ///
    /// # Errors
    /// If the device fails or a time is not a number.
    pub fn read(&self, work: &Repeatable, parts: usize) -> Result<Spread> {
        work.time_ms()?;
        let once = work.time_ms()?;
        let samples: Vec<f64> = (0..self.repetitions(once))
            .map(|_| Ok(work.time_ms()? / parts as f64))
            .collect::<Result<_>>()?;
        Spread::of(&samples).ok_or_else(|| anyhow!("the events gave no time: {samples:?}"))
    }
}
