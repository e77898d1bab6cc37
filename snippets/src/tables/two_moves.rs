//! Two weights of one row: the nearest codes, the codes with feedback and the best codes, under inputs of
//! any correlation.

use anyhow::{Context, Result};
use gptq::{Grid, Hessian, Stored, inverse_factor, prepare, round_block};
use kit::Table;
use kit::table::{percent, sig3};
use ndarray::{Array2, arr1, array};

/// The two weights of the row, in steps of the grid.
pub const WEIGHTS: [f32; 2] = [0.4, 0.3];

/// Correlations of the table.
const CORRELATIONS: [f64; 6] = [0.0, 0.3, 0.6, 0.8, 0.9, 0.99];

/// Weights on each side of a step, for the mean over all pairs.
const SIDE: usize = 64;

/// The best codes lie this near to the weights at every correlation of the table.
const REACH: i8 = 3;

/// A step is 1, so that errors are in squares of a step.
const GRID: Grid = Grid { stored: Stored::F32, ..Grid::LAB_03 };

/// The Hessian of two inputs with a mean square of 1 each.
pub fn hessian(correlation: f64) -> Hessian {
    Hessian { matrix: array![[2.0, 2.0 * correlation], [2.0 * correlation, 2.0]], tokens: 2 }
}

/// Codes for the rows of `w`, `[rows, 2]`, and where the weights were when they were rounded.
pub struct Choice {
    /// The codes.
    pub codes: Array2<f32>,
    /// The weights after feedback.
    pub moved: Array2<f64>,
}

impl Choice {
    /// Lab 06's loop.
    ///
    /// # Errors
    /// If the correlation is 1.
    pub fn with_feedback(w: &Array2<f32>, h: &Hessian) -> Result<Self> {
        let (mut moved, damped) = prepare(w, h, 0.0)?;
        let u = inverse_factor(&damped)?;
        let scales = Array2::ones(w.dim());
        let (codes, _) = round_block(&mut moved.view_mut(), u.view(), scales.view(), &GRID);
        Ok(Self { codes: codes.mapv(f32::from), moved })
    }

    /// Each weight by itself.
    pub fn nearest(w: &Array2<f32>) -> Self {
        let moved = w.mapv(f64::from);
        Self { codes: moved.mapv(|weight| GRID.code(weight, 1.0).into()), moved }
    }

    /// The pair of codes with the smallest error, by trying all within reach.
    ///
    /// # Errors
    /// If there is nothing to try.
    pub fn best(w: &Array2<f32>, h: &Hessian) -> Result<Self> {
        let mut codes = Array2::zeros(w.dim());
        for (row, mut best) in w.rows().into_iter().zip(codes.rows_mut()) {
            let all =
                (-REACH..=REACH).flat_map(|a| (-REACH..=REACH).map(move |b| [a, b].map(f32::from)));
            let error = |pair: &[f32; 2]| {
                let d = array![pair[0] - row[0], pair[1] - row[1]].mapv(f64::from);
                d.dot(&h.matrix.dot(&d))
            };
            let least = all.min_by(|a, b| error(a).total_cmp(&error(b)));
            best.assign(&arr1(&least.context("codes within reach")?));
        }
        Ok(Self { codes, moved: w.mapv(f64::from) })
    }

    /// The mean squared error of the output over rows and tokens, in squares of a step.
    pub fn error(&self, w: &Array2<f32>, h: &Hessian) -> f64 {
        h.error(w, &self.codes) / 2.0 / w.nrows() as f64
    }
}

/// Every pair of weights on a fine lattice over one step.
fn all_pairs() -> Array2<f32> {
    let place = |i: usize| (i as f32 + 0.5) / SIDE as f32 - 0.5;
    Array2::from_shape_fn((SIDE * SIDE, 2), |(row, column)| {
        place(if column == 0 { row / SIDE } else { row % SIDE })
    })
}

/// The mean squared error over all pairs of weights, by correlation.
pub fn correlations() -> Result<Table> {
    let w = all_pairs();
    let rows = CORRELATIONS.map(|correlation| -> Result<_> {
        let h = hessian(correlation);
        let error = |choice: Choice| choice.error(&w, &h);
        let nearest = error(Choice::nearest(&w));
        let feedback = error(Choice::with_feedback(&w, &h)?);
        Ok((correlation, nearest, feedback, error(Choice::best(&w, &h)?)))
    });
    let rows = rows.into_iter().collect::<Result<Vec<_>>>()?;
    let title = "Two weights of one row: mean squared error of the output, in squares of a step";
    Ok(Table::of(title, rows)
        .text("correlation of the inputs", |(correlation, ..)| correlation.to_string())
        .number("nearest codes", |(_, nearest, ..)| sig3(*nearest))
        .number("with feedback", |(_, _, feedback, _)| sig3(*feedback))
        .number("predicted with feedback", |(c, ..)| sig3((2.0 - c * c) / 12.0))
        .number("best codes", |(.., best)| sig3(*best))
        .number("feedback takes away", |(_, n, f, _)| percent(1.0 - f / n))
        .done())
}
