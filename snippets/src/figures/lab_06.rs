//! The figures of lab 06 and of the chapter on calibration: an error on its way through the columns
//! behind it, what those leave of it, and damping.

use anyhow::{Context, Result};
use gptq::{Grid, Hessian, group_scales, inverse_factor, prepare, round_block};
use kit::real_slice::TENSORS;
use kit::table::{percent, sig3};
use ndarray::{Array2, Axis as NdAxis, concatenate, s};

use super::{
    Axis, Figure, HPos, Ink, Key, Layout, MARKER, Mark, Pen, Shape, axis_percent, draw, plain,
    subject,
};
use crate::inputs::Layers;
use crate::rows::{largest, smallest};
use crate::tables::lab_06::{DAMPINGS, Damped, damped, hessian};

/// The layer of the figure of damping.
const DAMPED: &str = TENSORS[4];
/// The layer of the other figures.
const LAYER: &str = TENSORS[3];
/// Its first columns are drawn: fewer than the tokens of both windows.
const COLUMNS: usize = 64;
/// The row of the first figure.
const ROW: usize = 0;
/// The columns whose errors are followed.
const FROM: [(usize, Pen, &str); 3] = [
    (0, Pen::solid(Ink::Two), "of column 0"),
    (16, Pen::dashed(Ink::One), "of column 16"),
    (40, Pen::dotted(Ink::Three), "of column 40"),
];

/// The first columns of the layer, and the factor of their inputs in both windows.
struct Piece {
    weight: Array2<f64>,
    h: Array2<f64>,
    u: Array2<f64>,
}

impl Piece {
    fn of(layers: &Layers) -> Result<Self> {
        let layer = layers.of(LAYER);
        let tokens = concatenate![NdAxis(0), layer.calibration, layer.held_out];
        let h: Hessian = hessian(&tokens.slice(s![.., ..COLUMNS]).to_owned())?;
        let w = layer.weight.slice(s![ROW..ROW + 1, ..COLUMNS]).to_owned();
        let (weight, h) = prepare(&w, &h, 0.01)?;
        let u = inverse_factor(&h)?;
        Ok(Self { weight, h, u })
    }

    /// What each error moves in the columns behind it, in steps: `[from, to]`.
    fn moves(&self) -> Result<Array2<f64>> {
        let scale = group_scales(self.weight.view(), COLUMNS, &Grid::LAB_03)?[(0, 0)];
        let scales = Array2::from_elem(self.weight.dim(), scale);
        let mut w = self.weight.clone();
        let (_, errors) =
            round_block(&mut w.view_mut(), self.u.view(), scales.view(), &Grid::LAB_03);
        Ok(Array2::from_shape_fn(self.u.dim(), |(from, to)| {
            -errors[(0, from)] * self.u[(from, to)] / f64::from(scale)
        }))
    }

    /// What is left of the error of each column, as a share of what the nearest code costs.
    fn left(&self) -> Vec<f64> {
        let share =
            |column: usize| 1.0 / (self.u[(column, column)].powi(2) * self.h[(column, column)]);
        (0..COLUMNS).map(share).collect()
    }
}

/// Errors of three columns on their way through the columns behind them.
pub fn travel(layers: &Layers) -> Result<Figure> {
    let moves = Piece::of(layers)?.moves()?;
    let behind = FROM.iter().flat_map(|(from, ..)| moves.row(*from).to_vec().split_off(from + 1));
    let most = largest(&behind.map(f64::abs).collect::<Vec<_>>());
    let x = Axis::linear("column", -1.0..64.0).ticks([0.0, 16.0, 32.0, 48.0, 63.0], plain);
    let y = Axis::linear("what is added to a weight, in steps", -0.3..0.5)
        .ticks([-0.2, 0.0, 0.2, 0.4], plain)
        .holding(
            FROM.iter().flat_map(|(from, ..)| moves.row(*from).to_slice().unwrap_or_default()),
        );
    let drawing = draw(Layout::with_legend(2), x.without_grid(), y, |plot| {
        for (from, pen, _) in FROM {
            let line = (from..COLUMNS).map(|to| (to as f64, moves[(from, to)]));
            plot.line(line, pen)?;
            let own = (from as f64, moves[(from, from)]);
            plot.marks([own], Mark::new(Shape::Ring, pen.ink).sized(MARKER * 3 / 2))?;
        }
        plot.legend(
            1,
            &[Key::Mark(
                Mark::new(Shape::Ring, Ink::Text),
                "its own rounding; behind it the error",
            )],
        )?;
        plot.legend(2, &FROM.map(|(_, pen, name)| Key::Line(pen, name)))
    })?;
    Ok(Figure {
        title: "The errors of three columns on their way through the columns behind them".into(),
        caption: format!(
            "Row {ROW} of {}, its first {COLUMNS} columns, under the inputs of both windows of the slice. A ring is \
             the change that rounding makes to its own weight, at most half a step. The line behind the ring is what \
             the error adds to each weight that is still to be rounded, here at most {} of a step. No line goes \
             to the left.",
            kit::real_slice::label(LAYER),
            sig3(most),
        ),
        alt: format!(
            "Three jagged lines over {COLUMNS} columns. Each begins at the column whose error it shows, with a ring, \
             and runs to the last column, on both sides of 0, mostly within a tenth of a step."
        ),
        drawing,
    })
}

/// What the columns behind leave of the error of each column.
pub fn left(layers: &Layers) -> Result<Figure> {
    let left = Piece::of(layers)?.left();
    let mean = |of: &[f64]| of.iter().sum::<f64>() / of.len() as f64;
    let (first, last) = (mean(&left[..8]), mean(&left[COLUMNS - 8..]));
    let x = Axis::linear("column", -1.0..64.0).ticks([0.0, 16.0, 32.0, 48.0, 63.0], plain);
    let y = Axis::linear("share of the squared error that is left", 0.0..1.04)
        .ticks([0.0, 0.25, 0.5, 0.75, 1.0], axis_percent);
    let drawing = draw(Layout::default(), x.without_grid(), y, |plot| {
        let points: Vec<_> =
            left.iter().enumerate().map(|(column, &share)| (column as f64, share)).collect();
        plot.curve(&points, Pen::solid(Ink::One), Mark::new(Shape::Dot, Ink::One).sized(MARKER - 8))
    })?;
    Ok(Figure {
        title: "What the columns behind leave of the error of each column".into(),
        caption: format!(
            "{}, the same {COLUMNS} columns. With the nearest code every column keeps 100 %. With feedback the first \
             eight columns keep {} on average, the last eight {}, and the last one all of it.",
            subject(LAYER),
            percent(first),
            percent(last),
        ),
        alt: format!(
            "A curve over {COLUMNS} columns that rises with many dips from near {} at the left to 100 % at the last \
             column.",
            percent(first),
        ),
        drawing,
    })
}

/// Damping against the error on tokens that calibration has seen, and on others.
pub fn damping(layers: &Layers) -> Result<Figure> {
    let all = damped(layers.of(DAMPED))?;
    let column = |of: fn(&Damped) -> f64| all.iter().map(of).collect::<Vec<f64>>();
    let (seen, others) = (column(|d| d.seen), column(|d| d.others));
    let x = Axis::log("damping, as a share of the mean of the diagonal", 0.0008..12.5)
        .ticks(DAMPINGS.into_iter().step_by(2), plain);
    let y = Axis::linear("error over that of the nearest codes", 0.0..1.5)
        .ticks([0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5], axis_percent)
        .holding(seen.iter().chain(&others));
    let points = |of: &[f64]| DAMPINGS.into_iter().zip(of.iter().copied()).collect::<Vec<_>>();
    let drawing = draw(Layout::with_legend(1), x, y, |plot| {
        plot.guide([(0.0008, 1.0), (12.5, 1.0)], Pen::dashed(Ink::Muted))?;
        let mark = |shape, ink| Mark::new(shape, ink);
        plot.curve(&points(&seen), Pen::solid(Ink::One), mark(Shape::Dot, Ink::One))?;
        plot.curve(&points(&others), Pen::dashed(Ink::Two), mark(Shape::Square, Ink::Two))?;
        plot.label((12.5, 1.0), (-60, -120), HPos::Right, Ink::Muted, "nearest codes")?;
        let keys = [
            Key::Mark(mark(Shape::Dot, Ink::One), "tokens of calibration"),
            Key::Mark(mark(Shape::Square, Ink::Two), "others"),
        ];
        plot.legend(1, &keys)
    })?;
    let at =
        |damping: f64| all.iter().find(|d| d.damping == damping).context("a damping of the list");
    let (usual, strong) = (at(0.01)?, at(1.0)?);
    Ok(Figure {
        title: "Damping against the error on seen and on other tokens".into(),
        caption: format!(
            "{}, calibrated on 46 tokens. At the usual damping of 0.01 the error is {} of that of the nearest codes on \
             the tokens of calibration, and {} on 46 others. At a damping of 1 it is {} and {}. The lowest point of the \
             other tokens is {}.",
            subject(DAMPED),
            percent(usual.seen),
            percent(usual.others),
            percent(strong.seen),
            percent(strong.others),
            percent(smallest(&others)),
        ),
        alt: format!(
            "Two curves against damping from 0.001 to 10. That of the tokens of calibration rises from {} towards 100 \
             %. That of other tokens falls from {} to {} and ends near 100 %.",
            percent(seen[0]),
            percent(others[0]),
            percent(smallest(&others)),
        ),
        drawing,
    })
}
