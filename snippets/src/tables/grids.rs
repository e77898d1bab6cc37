//! Conventions for a grid of whole numbers, each tried on the nine real matrices.

use ndarray::Axis;

use crate::inputs::Slice;
use crate::rows::absmax;

/// A convention: the scale is the largest magnitude over `divisor`, codes are clipped.
pub struct Grid {
    /// What a table calls it.
    pub name: &'static str,
    /// Steps from 0 to the largest magnitude.
    pub divisor: f32,
    /// The lowest code.
    pub lowest: f32,
    /// The highest code. One step below its negative lies the code that only some grids have.
    pub highest: f32,
    /// How many weights of a row share a scale; a whole row has no more.
    pub group: usize,
    /// The scale as it is stored.
    pub stored: fn(f32) -> f32,
    /// From how many steps of error on a weight counts as clipped: half a step, a tie included, and
    /// what the stored scale may be off.
    pub clipped_from: f64,
}

/// What a grid does to the real slice.
#[derive(Default)]
pub struct Tried {
    error: f64,
    norm: f64,
    /// Weights at the code that only some grids have.
    pub lowest: usize,
    /// Weights that were clipped.
    pub clipped: usize,
    /// Weights whose code is another when their sign is turned, sign aside.
    pub one_sided: usize,
}

impl Grid {
    /// Quantizes the nine real matrices.
    pub fn on_the_real_slice(&self, slice: &Slice) -> Tried {
        let mut tried = Tried::default();
        for row in slice.all().flat_map(|(_, w)| w.rows()) {
            for group in row.axis_chunks_iter(Axis(0), self.group.min(row.len())) {
                let scale = (self.stored)(absmax(group) as f32 / self.divisor);
                group.iter().for_each(|&value| tried.add(self, value, scale));
            }
        }
        tried
    }

    fn code(&self, value: f32, scale: f32) -> f32 {
        (value / scale).round_ties_even().clamp(self.lowest, self.highest)
    }
}

impl Tried {
    fn add(&mut self, grid: &Grid, value: f32, scale: f32) {
        let code = grid.code(value, scale);
        let error = f64::from(value) - f64::from(code) * f64::from(scale);
        self.error += error.powi(2);
        self.norm += f64::from(value).powi(2);
        self.lowest += usize::from(code < -grid.highest);
        self.clipped += usize::from(error.abs() > grid.clipped_from * f64::from(scale));
        self.one_sided += usize::from(grid.code(-value, scale) != -code);
    }

    /// The error relative to the norm.
    pub fn error(&self) -> f64 {
        (self.error / self.norm).sqrt()
    }
}
