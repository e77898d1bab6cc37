//! The figures of lab 08: the values of every grid, and what rounding a scale to a power of two does.

use anyhow::{Context, Result};
use float_grids::{
    E2M1, E2M3, E3M2, E4M3, FloatGrid, ScaleRule, block_exponent, decode, decode_e8m0, largest,
    normal_float,
};
use kit::table::{percent, sig3};
use measure::grids::stored::ALL;
use measure::grids::{Capture, Run};

use super::{Axis, Drawing, Figure, Ink, Key, Layout, Mark, Pen, Shape, axis_percent, draw, plain};
use crate::rows::{largest as most, median, smallest};
use crate::tables::lab_08::{blocks, rule_on_normal, unit_grid_names};

/// The finite values of a grid over the largest one, in rising order.
fn scaled(grid: &FloatGrid) -> Vec<f64> {
    let values = (0..grid.codes()).map(|code| decode(grid, code as u8));
    let values = values.filter(|value| value.is_finite());
    let mut values: Vec<f64> = values.map(|value| f64::from(value / largest(grid))).collect();
    values.sort_by(f64::total_cmp);
    // Zero has two codes.
    values.dedup();
    values
}

/// Every grid with its name, from above.
fn lines() -> Vec<(&'static str, Vec<f64>)> {
    vec![
        ("int4", (-7..=7).map(|code| f64::from(code) / 7.0).collect()),
        ("E2M1 (FP4)", scaled(&E2M1)),
        ("NF4", normal_float().map(f64::from).to_vec()),
        ("E2M3 (FP6)", scaled(&E2M3)),
        ("E3M2 (FP6)", scaled(&E3M2)),
        ("E4M3 (FP8)", scaled(&E4M3)),
    ]
}

/// The values of six grids on one axis.
pub fn number_lines() -> Result<Figure> {
    let lines = lines();
    let inside = |values: &[f64]| values.iter().filter(|value| value.abs() < 0.25).count();
    let counted: Vec<String> = lines
        .iter()
        .map(|(name, values)| {
            format!("{name} has {} values, {} of them", values.len(), inside(values))
        })
        .collect();
    Ok(Figure {
        title: "The values of six grids, to scale".into(),
        caption: "Each grid in units of its largest value, which is where the largest weight of a \
                  block lies. The values of int4 have equal distances. Those of a float double their \
                  distance at each power of two, and those of NF4 follow the quantiles of a normal \
                  distribution."
            .into(),
        alt: format!(
            "Six rows of marks from -1 to 1. {} within a quarter of the largest.",
            counted.join("; ")
        ),
        drawing: number_line_plot(&lines)?,
    })
}

fn number_line_plot(lines: &[(&'static str, Vec<f64>)]) -> Result<Drawing> {
    let x = Axis::linear("value / largest value of the grid", -1.05..1.05)
        .ticks([-1.0, -0.5, 0.0, 0.5, 1.0], plain);
    let height = |row: usize| -(row as f64);
    let label = |at: f64| lines[(-at) as usize].0.to_string();
    let y = Axis::linear("grid", -5.6..0.6).ticks((0..lines.len()).map(height), label);
    let layout = Layout { left: 1400, height: 3400, ..Layout::with_legend(0) };
    draw(layout, x.without_grid(), y.without_grid(), |plot| {
        for (row, (_, values)) in lines.iter().enumerate() {
            let ink = if row < 3 { Ink::One } else { Ink::Two };
            for &value in values {
                let ends = [(value, height(row) - 0.28), (value, height(row) + 0.28)];
                plot.hairline(ends, Pen::solid(ink))?;
            }
        }
        Ok(())
    })
}

/// The rules that are drawn, with their pens.
const RULES: [(ScaleRule, Pen); 3] = [
    (ScaleRule::Floor, Pen::solid(Ink::One)),
    (ScaleRule::CompressedTensors, Pen::dashed(Ink::Two)),
    (ScaleRule::NoClip, Pen::dotted(Ink::Three)),
];

/// Where the largest magnitude of a block lies on the FP4 grid, by three rules.
pub fn e8m0_rounding() -> Result<Figure> {
    let (clipped, _) = rule_on_normal(ScaleRule::Floor, &E2M1)?;
    Ok(Figure {
        title: "The largest weight of a block over its power-of-two scale, on FP4".into(),
        caption: format!(
            "A block whose largest magnitude is the number below, times any power of two. Under the \
             floor rule the magnitude lies between 4 and 8 steps and is clipped above 6, which \
             happens to {} of normal blocks. Without clipping the magnitude lies between 3 and 6, so that \
             the other weights have fewer codes. compressed-tensors changes from one to the other at \
             1.75.",
            percent(clipped)
        ),
        alt: "Three lines over 1 to 2. The floor rule rises from 4 to 8. The rule of \
              compressed-tensors rises from 4 to 7 and drops to 3.5 at 1.75. The rule without clipping \
              rises from 4 to 6 and drops to 3 at 1.5. A level line marks 6, the largest value of FP4."
            .into(),
        drawing: rounding_plot()?,
    })
}

fn rounding_plot() -> Result<Drawing> {
    let x = Axis::linear("largest magnitude, as a number in 1 to 2", 1.0..2.0)
        .ticks([1.0, 1.25, 1.5, 1.75, 2.0], plain);
    let y = Axis::linear("magnitude / scale", 2.5..8.5).ticks([3.0, 4.0, 6.0, 8.0], plain);
    draw(Layout { height: 3400, ..Layout::with_legend(2) }, x, y, |plot| {
        plot.guide([(1.0, 6.0), (2.0, 6.0)], Pen::dotted(Ink::Muted))?;
        for (rule, pen) in RULES {
            let at = |sample: u16| {
                let absmax = 1.0 + f32::from(sample) / 200.0;
                let scale = decode_e8m0(block_exponent(absmax, &E2M1, rule));
                (f64::from(absmax), f64::from(absmax / scale))
            };
            let points: Vec<(f64, f64)> = (0..200).map(at).collect();
            // A line for each stretch between two jumps.
            for stretch in points.chunk_by(|a, b| b.1 >= a.1) {
                plot.line(stretch.iter().copied(), pen)?;
            }
        }
        let end = Mark::new(Shape::Dot, Ink::Muted);
        plot.marks([(1.0, 6.0), (2.0, 6.0)], end)?;
        let [floor, ct, no_clip] = RULES.map(|(rule, pen)| Key::Line(pen, rule.name()));
        plot.legend(1, &[floor, ct])?;
        plot.legend(2, &[no_clip, Key::Mark(end, "6, the largest value")])
    })
}

/// Ratios of largest magnitude to root mean square, between which blocks are taken together.
const BINS: [f64; 12] = [1.6, 1.8, 2.0, 2.2, 2.4, 2.6, 2.8, 3.0, 3.25, 3.5, 4.0, 4.5];

/// The middle of each bin, and the median error of its blocks on each grid.
fn by_ratio() -> [Vec<(f64, f64)>; 3] {
    let blocks = blocks();
    let of = |grid: usize| {
        let bins = BINS.windows(2).map(|ends| {
            let inside = blocks.iter().filter(|block| (ends[0]..ends[1]).contains(&block.ratio));
            let errors: Vec<f64> = inside.map(|block| block.errors[grid]).collect();
            ((ends[0] + ends[1]) / 2.0, median(&errors))
        });
        bins.collect()
    };
    [of(0), of(1), of(2)]
}

/// The error of a block on three grids, by the ratio of its largest magnitude to its root mean square.
///
/// # Errors
/// If int4 is not the finer one at first and FP4 at last.
pub fn shape_decides() -> Result<Figure> {
    let curves = by_ratio();
    let [int4, fp4, _] = &curves;
    let crossing = int4.iter().zip(fp4).find(|(int4, fp4)| int4.1 > fp4.1);
    let ((ratio, _), _) = crossing.filter(|(at, _)| *at != &int4[0]).context("the curves cross")?;
    let names = unit_grid_names();
    let pens = [
        (Pen::solid(Ink::One), Mark::new(Shape::Square, Ink::One)),
        (Pen::dashed(Ink::Two), Mark::new(Shape::Dot, Ink::Two)),
        (Pen::dotted(Ink::Three), Mark::new(Shape::Ring, Ink::Three)),
    ];
    let x = Axis::linear("largest magnitude / root mean square of the block", 1.5..4.5)
        .ticks([1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5], plain);
    let y = Axis::linear("error of the block", 0.06..0.22)
        .ticks([0.06, 0.1, 0.14, 0.18, 0.22], axis_percent)
        .holding(curves.iter().flatten().map(|(_, error)| error));
    let drawing = draw(Layout::with_legend(1), x, y, |plot| {
        for (points, (pen, mark)) in curves.iter().zip(pens) {
            plot.curve(points, pen, mark)?;
        }
        let keys = [0, 1, 2].map(|at| Key::Mark(pens[at].1, names[at]));
        plot.legend(1, &keys)
    })?;
    let ends = |curve: &[(f64, f64)]| {
        let [first, last] = [curve.first(), curve.last()].map(|at| at.map_or(0.0, |at| at.1));
        format!("from {} to {}", percent(first), percent(last))
    };
    Ok(Figure {
        title: "The error of a block of 32 with an exact scale".into(),
        caption: format!(
            "Blocks of the planted normal and heavy-tailed weights, the median of those with about the same ratio. The \
             largest magnitude lies on the last value of the grid. Up to a ratio of about {} int4 has the smaller \
             error of int4 and FP4.",
            sig3(*ratio)
        ),
        alt: format!(
            "Three rising curves over ratios from 1.6 to 4.5: int4 {}, FP4 {}, NF4 {}. int4 and FP4 cross near {}.",
            ends(&curves[0]),
            ends(&curves[1]),
            ends(&curves[2]),
            sig3(*ratio)
        ),
        drawing,
    })
}

/// The perplexity of the whole model in every format, in the order of their bits.
///
/// # Errors
/// If the capture has no run.
pub fn perplexities(of: &Capture) -> Result<Figure> {
    let bits = |run: &Run| {
        // GPTQ changes no bit, so the name before it has the bits.
        let name = run.format.trim_end_matches(", GPTQ");
        ALL.iter().find(|stored| stored.name == name).map_or(0.0, |stored| stored.bits())
    };
    let mut runs: Vec<&Run> = of.runs.iter().collect();
    runs.sort_by(|a, b| bits(a).total_cmp(&bits(b)));
    let values: Vec<f64> = runs.iter().map(|run| run.quality.perplexity).collect();
    let (low, high) = (smallest(&values).floor() - 1.0, most(&values).ceil() + 1.0);
    let step = ((high - low) / 6.0).ceil() as usize;
    let ticks = (low as i32..=high as i32).step_by(step.max(1)).map(f64::from);
    let x = Axis::linear("perplexity", low..high).ticks(ticks, plain);
    let label = |at: f64| {
        let run = runs[(-at) as usize];
        format!("{:.3}  {}", bits(run), run.format)
    };
    let rows = runs.len();
    let y = Axis::linear("bits a weight, format", -(rows as f64) + 0.4..0.6)
        .ticks((0..rows).map(|row| -(row as f64)), label);
    let layout = Layout { left: 3200, height: 5200, ..Layout::with_legend(1) };
    let marks = [Mark::new(Shape::Dot, Ink::One), Mark::new(Shape::Ring, Ink::Two)];
    let drawing = draw(layout, x, y, |plot| {
        for (row, run) in runs.iter().enumerate() {
            let mark = marks[usize::from(run.calibration_tokens.is_some())];
            plot.marks([(run.quality.perplexity, -(row as f64))], mark)?;
        }
        plot.legend(1, &[Key::Mark(marks[0], "nearest codes"), Key::Mark(marks[1], "GPTQ")])
    })?;
    let said = runs.iter().map(|run| format!("{} {:.2}", run.format, run.quality.perplexity));
    Ok(Figure {
        title: "Perplexity of the whole model in each format".into(),
        caption: format!(
            "All linear layers of {} but the head, weights only. The file is Q4_1 itself, so Q4_1 gives the model back and \
             is a control, not a result.",
            of.setup.model
        ),
        alt: format!(
            "A row for each format with a dot at its perplexity: {}.",
            said.collect::<Vec<_>>().join(", ")
        ),
        drawing,
    })
}
