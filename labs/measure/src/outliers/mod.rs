//! `outlier-meters`: what this lab's methods do to a real model, as a whole.
//!
//! * [`text`]: what is scored, and what scales are chosen on.
//! * [`calibration`]: the largest magnitudes that the `f32` model shows on the calibration text.
//! * [`profile`]: where outliers are, in which channels and tokens; [`residual`] looks between layers.
//! * [`layer`]: a quantized layer as a [`model::Linear`], fast and held to the lab's reference.
//! * [`folding`]: smoothing folded into the norms, and into the layers before `o_proj` and `down_proj`.
//! * [`errors`]: what each method does to each layer by itself.
//! * [`variants`] and [`scores`]: what each method does to the whole model.
//! * [`reorder`]: the same model with other roundings, to learn how far two machines may be apart.

pub mod calibration;
pub mod capture;
pub mod errors;
pub mod folding;
pub mod layer;
pub mod profile;
pub mod program;
pub mod provenance;
pub mod reorder;
pub mod residual;
pub mod scores;
pub mod text;
pub mod variants;

use std::time::Instant;

/// Lines to the terminal, with the time since the start.
pub struct Progress(Instant);

impl Progress {
    /// Starts the clock.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Says what is being done.
    pub fn say(&self, what: &str) {
        eprintln!("[{:5.0} s] {what}", self.0.elapsed().as_secs_f64());
    }

    /// Says which part of a step is done, and when the rest will be.
    pub fn part(&self, what: &str, since: Instant, done: usize, of: usize) {
        let spent = since.elapsed().as_secs_f64();
        let left = spent / done.max(1) as f64 * of.saturating_sub(done) as f64;
        self.say(&format!("{what}: {done} of {of}, about {:.1} min left", left / 60.0));
    }
}
