//! Rounding, clipping and zero scales: what each small choice costs.

use anyhow::Result;
use fake_quant_linear::{QMAX, quantize_value, scale_for};
use kit::Table;
use kit::real_slice::{TENSORS, label};
use kit::table::{count, percent};
use ndarray::Array2;

use super::grids::Grid;
use crate::inputs::Slice;
use crate::rows::absmax;

/// The matrix that the rounding rules are tried on.
pub const ROUNDED: &str = TENSORS[2];

/// A rounding rule: what it is called and what it does to a number of steps.
pub struct Rule {
    /// Its name.
    pub name: &'static str,
    /// Steps in, code out.
    pub round: fn(f32) -> f32,
}

/// The rules one meets, the lab's first.
pub const RULES: [Rule; 4] = [
    Rule { name: "half to even", round: |steps| f32::from(quantize_value(steps, 1.0)) },
    Rule { name: "half away from zero", round: f32::round },
    Rule { name: "toward zero (a cast)", round: f32::trunc },
    Rule { name: "down (floor)", round: f32::floor },
];

/// The four rules on real weights, in steps of each row's scale.
pub fn rounding_rules(slice: &Slice) -> Result<Table> {
    let w = slice.tensor(ROUNDED);
    let rows = RULES.iter().map(|rule| (rule.name, Moved::of(w, rule.round)));
    Ok(Table::of(format!("Four roundings of {}, per channel", label(ROUNDED)), rows)
        .text("rule", |(name, _)| *name)
        .number("error of the norm", |(_, moved)| percent(moved.relative))
        .number("mean error (steps)", |(_, moved)| format!("{:+.3}", moved.mean_steps))
        .number("largest error (steps)", |(_, moved)| format!("{:.3}", moved.largest_steps))
        .number("codes that are 0", |(_, moved)| percent(moved.zeros))
        .done())
}

/// What a rounding rule does to a matrix.
struct Moved {
    relative: f64,
    mean_steps: f64,
    largest_steps: f64,
    zeros: f64,
}

impl Moved {
    fn of(w: &Array2<f32>, round: fn(f32) -> f32) -> Self {
        let (mut error, mut norm, mut sum, mut zeros) = (0.0, 0.0, 0.0, 0u32);
        let mut largest_steps: f64 = 0.0;
        for row in w.rows() {
            let scale = scale_for(absmax(row) as f32);
            for &value in row {
                let code = round(value / scale);
                let steps = f64::from(value) / f64::from(scale) - f64::from(code);
                error += (steps * f64::from(scale)).powi(2);
                norm += f64::from(value).powi(2);
                sum += steps;
                zeros += u32::from(code == 0.0);
                largest_steps = largest_steps.max(steps.abs());
            }
        }
        let total = w.len() as f64;
        Self {
            relative: (error / norm).sqrt(),
            mean_steps: sum / total,
            largest_steps,
            zeros: f64::from(zeros) / total,
        }
    }
}

/// The same rules where they differ: on values that lie exactly between two codes.
pub fn ties() -> Result<Table> {
    let ties: Vec<f32> = (0u8..100).map(|k| f32::from(k) + 0.5).collect();
    let rows = RULES.iter().map(|rule| {
        (rule.name, ties.iter().map(|&steps| (rule.round)(steps)).collect::<Vec<f32>>())
    });
    Ok(Table::of("A hundred ties, 0.5 to 99.5 steps", rows)
        .text("rule", |(name, _)| *name)
        .number("codes of 0.5, 1.5, 2.5, 3.5", |(_, codes)| {
            codes[..4].iter().map(f32::to_string).collect::<Vec<_>>().join(", ")
        })
        .number("mean shift (steps)", |(_, codes)| {
            let shifts = ties.iter().zip(codes).map(|(t, c)| f64::from(c - t));
            format!("{:+.3}", shifts.sum::<f64>() / 100.0)
        })
        .number("sum of the codes", |(_, codes)| {
            count(codes.iter().map(|&code| f64::from(code)).sum::<f64>() as usize)
        })
        .done())
}

/// The int8 grid of lab 01, per channel.
const INT8: Grid = Grid {
    name: "max / 127, clip to ±127 (this lab)",
    divisor: QMAX,
    lowest: -QMAX,
    highest: QMAX,
    group: usize::MAX,
    stored: |scale| scale,
    clipped_from: 0.5001,
};

const GRIDS: [Grid; 3] = [
    INT8,
    Grid { name: "max / 127.5, clip to -128..127", divisor: 127.5, lowest: -128.0, ..INT8 },
    Grid { name: "max / 128, clip to -128..127", divisor: 128.0, lowest: -128.0, ..INT8 },
];

/// Three conventions for the int8 grid on all nine real matrices, per channel.
pub fn clip_rules(slice: &Slice) -> Result<Table> {
    let rows = GRIDS.iter().map(|grid| (grid.name, grid.on_the_real_slice(slice)));
    Ok(Table::of("Three int8 grids on the nine real matrices, per channel", rows)
        .text("scale and clip", |(name, _)| *name)
        .number("error of the norm", |(_, tried)| percent(tried.error()))
        .number("weights at -128", |(_, tried)| count(tried.lowest))
        .number("weights clipped by more than half a step", |(_, tried)| count(tried.clipped))
        .done())
}

/// A guard against a scale of zero.
struct Guard {
    name: &'static str,
    scale: fn(f32) -> f32,
}

const GUARDS: [Guard; 5] = [
    Guard { name: "none", scale: |absmax| absmax / QMAX },
    Guard { name: "1 where the scale is 0 (this lab)", scale: scale_for },
    Guard { name: "max(absmax, 1e-10) / 127", scale: |absmax| absmax.max(1e-10) / QMAX },
    Guard { name: "max(absmax, 1e-5) / 127", scale: |absmax| absmax.max(1e-5) / QMAX },
    Guard { name: "(absmax + 1e-5) / 127", scale: |absmax| (absmax + 1e-5) / QMAX },
];

/// The scale that a guard gives a row of zeros, and the error that it adds to a row of small weights.
pub fn zero_guards(slice: &Slice) -> Result<Table> {
    // A real row with the absmax of a nearly dead channel, 1e-6.
    let row = slice.tensor(ROUNDED).row(0);
    let small: Vec<f32> = row.iter().map(|value| value / absmax(row) as f32 * 1e-6).collect();
    let title = "No guard and four guards: a row of zeros, and a row whose largest value is 1e-6";
    Ok(Table::of(title, &GUARDS)
        .text("guard", |guard| guard.name)
        .number("scale of the zeros", |guard| scientific((guard.scale)(0.0)))
        .number("a zero comes back as", |guard| {
            let scale = (guard.scale)(0.0);
            ((0.0f32 / scale).round_ties_even() * scale).to_string()
        })
        .number("error of the small row", |guard| percent(row_error(&small, (guard.scale)(1e-6))))
        .done())
}

/// A scale as people write it: 0, 1, or a power of ten.
fn scientific(scale: f32) -> String {
    if scale == 0.0 || scale == 1.0 { scale.to_string() } else { format!("{scale:.2e}") }
}

fn row_error(row: &[f32], scale: f32) -> f64 {
    let (error, norm) = row.iter().fold((0.0, 0.0), |(error, norm), &value| {
        let back = f64::from(quantize_value(value, scale)) * f64::from(scale);
        (error + (f64::from(value) - back).powi(2), norm + f64::from(value).powi(2))
    });
    (error / norm).sqrt()
}

/// The error of truncation over the error of rounding half to even, on the same real matrix.
pub fn truncation_cost(slice: &Slice) -> f64 {
    let w = slice.tensor(ROUNDED);
    Moved::of(w, RULES[2].round).relative / Moved::of(w, RULES[0].round).relative
}
