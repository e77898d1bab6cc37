//! Lab 01's planted control with an outlier row whose factor the reader sets.

use anyhow::Result;
use fake_quant_linear::{Quantized, dequantize, quantize_per_channel, quantize_per_tensor};
use kit::data::{normal_matrix, with_outlier_row};
use kit::meters::relative_error;
use kit::table::{count, percent, sig3};

use super::Interactive;
use super::curves::{Curve, Places, draw_curves};
use super::replay::{Control, Replay, Said, Step, field};
use crate::figures::{Axis, Drawing, Figure, Ink, Layout, Mark, Pen, Shape, axis_percent, plain};
use crate::rows::largest;
use crate::tables::lab_01::{OUTLIER_ROW, mean_of_others, row_errors};

/// Factors from 1 to 1,000, eight settings to a power of ten.
const SETTINGS: u32 = 24;
const PER_DECADE: f64 = 8.0;

/// The errors and codes at one factor.
struct Outcome {
    factor: f64,
    step: f64,
    /// The mean error of the 63 other rows.
    per_tensor: f64,
    per_channel: f64,
    /// The whole matrix at once, one scale for the tensor.
    whole: f64,
    /// Weights of the other rows whose code is 0, and all weights of those rows.
    zeros: usize,
    of: usize,
    /// The last code that a weight of the other rows reaches.
    reach: f64,
}

impl Outcome {
    fn of(setting: u32) -> Result<Self> {
        let factor = libm::pow(10.0, f64::from(setting) / PER_DECADE);
        let w = with_outlier_row(&normal_matrix(42, 64, 128), OUTLIER_ROW, factor as f32);
        let (tensor, channel) = (quantize_per_tensor(&w)?, quantize_per_channel(&w)?);
        let codes = codes_of_others(&tensor);
        Ok(Self {
            factor,
            step: f64::from(tensor.scales()[(0, 0)]),
            per_tensor: mean_of_others(&row_errors(&w, &tensor)),
            per_channel: mean_of_others(&row_errors(&w, &channel)),
            whole: relative_error(&w, &dequantize(&tensor)),
            zeros: codes.iter().filter(|&&code| code == 0.0).count(),
            of: codes.len(),
            reach: largest(&codes),
        })
    }

    fn numbers(&self) -> Vec<String> {
        vec![
            sig3(self.factor),
            sig3(self.step),
            percent(self.per_tensor),
            count(self.zeros),
            count(self.of),
            percent(self.zeros as f64 / self.of as f64),
            format!("{:.0}", self.reach),
            percent(self.whole),
            percent(self.per_channel),
        ]
    }
}

/// The magnitudes of the codes of all rows but the outlier.
fn codes_of_others(quantized: &Quantized) -> Vec<f64> {
    let codes = quantized.q().indexed_iter().filter(|((row, _), _)| *row != OUTLIER_ROW);
    codes.map(|(_, &code)| f64::from(code).abs()).collect()
}

const SENTENCE: &str = "Row 7 is {0} times as large, and one step of the tensor's grid is {1}. With \
    one scale for the tensor the other 63 rows lose {2} on average: {3} of their {4} weights ({5}) \
    become 0, and the largest of them reaches code {6} of 127. The error of the whole matrix says \
    {7}. With one scale per row the 63 rows lose {8}.";

/// The errors of the other rows against the factor of one outlier row.
pub fn one_outlier_row() -> Result<Interactive> {
    let outcomes = (0..=SETTINGS).map(Outcome::of).collect::<Result<Vec<_>>>()?;
    let layout = Layout::with_legend(3);
    let (drawing, places) = plot(layout, &outcomes)?;
    let [first, middle, last] = [0, outcomes.len() / 2, outcomes.len() - 1].map(|i| &outcomes[i]);
    let peak = largest(&outcomes.iter().map(|outcome| outcome.whole).collect::<Vec<_>>());
    let [low, half, high, own, peak, end] =
        [first.per_tensor, middle.per_tensor, last.per_tensor, last.per_channel, peak, last.whole]
            .map(percent);
    let replay = Replay {
        controls: vec![Control {
            label: "how many times as large row 7 is",
            values: outcomes.iter().map(|outcome| format!("{}x", sig3(outcome.factor))).collect(),
            start: 0,
            slider: true,
        }],
        sentence: SENTENCE.into(),
        inks: vec![Ink::Two, Ink::Four, Ink::One],
        field: field(&layout),
        steps: steps(&outcomes, &places),
    };
    Ok(Interactive {
        figure: Figure {
            title: "Error of 63 other rows against the size of one".into(),
            caption: format!(
                "Row {OUTLIER_ROW} of 64 made 1 to 1,000 times as large. With one scale for the \
                 tensor the other rows lose {low} at 1, {half} at {} and {high} at 1,000; with one \
                 scale per row {own} at all of them. The error of the whole matrix is {peak} at most \
                 and ends at {end}: it never says that 63 rows are gone.",
                sig3(middle.factor),
            ),
            alt: format!(
                "Line plot, both axes logarithmic. The mean error of the 63 other rows rises from \
                 {low} to {high} with one scale for the tensor and is flat at {own} with one per \
                 row. The error of the whole matrix rises to {peak} and falls to {end}."
            ),
            drawing,
        },
        predict: "How large must one row of 64 be before half of all other weights become 0, on \
            one int8 grid for all? (Half of all normal values are within 0.67 of 0. A weight \
            becomes 0 under half a step, and a step is the largest weight over 127.)"
            .into(),
        then: "Then turn it up until they do.".into(),
        others: Vec::new(),
        widget: "replay",
        data: replay.to_json()?,
    })
}

fn plot(layout: Layout, outcomes: &[Outcome]) -> Result<(Drawing, Places)> {
    let curve = |name: &str, shape, pen: Pen, error: fn(&Outcome) -> f64| Curve {
        name: name.into(),
        mark: Mark::new(shape, pen.ink),
        pen,
        points: outcomes.iter().map(|outcome| (outcome.factor, error(outcome))).collect(),
    };
    let curves = [
        curve("the 63 others, one scale for the tensor", Shape::Dot, Pen::solid(Ink::Two), |o| {
            o.per_tensor
        }),
        curve("the whole matrix, one scale", Shape::Ring, Pen::dotted(Ink::Four), |o| o.whole),
        curve("the 63 others, one scale per row", Shape::Square, Pen::dashed(Ink::One), |o| {
            o.per_channel
        }),
    ];
    let x = Axis::log("how many times as large row 7 is", 0.9..1120.0).ticks(
        [1.0, 10.0, 100.0, 1000.0],
        |value| {
            if value < 1e3 { plain(value) } else { "1,000".into() }
        },
    );
    let y = Axis::log("relative error", 0.004..1.4)
        .ticks([0.005, 0.01, 0.03, 0.1, 0.3, 1.0], axis_percent);
    draw_curves(layout, x, y, &curves)
}

fn steps(outcomes: &[Outcome], places: &Places) -> Vec<Step> {
    let step = |(index, outcome): (usize, &Outcome)| Step {
        picture: 0,
        points: places.iter().map(|curve| curve[index]).collect(),
        said: Said::Numbers(outcome.numbers()),
    };
    outcomes.iter().enumerate().map(step).collect()
}
