//! The codes that the weights of a block use, as its largest weight grows.

use anyhow::Result;
use float_grids::{E2M1, ScaleRule, block_exponent, decode, decode_e8m0, encode, largest};
use kit::data::normal_matrix;
use kit::table::percent;

use super::replay::{Control, Replay, Said, Step, field};
use super::{Interactive, Picture};
use crate::figures::{Axis, Drawing, Figure, Ink, Layout, Mark, Shape, draw, plain};

/// The largest weight of the block, in standard deviations of the others.
const LARGEST: [f32; 9] = [2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 12.0, 16.0, 24.0];
/// The setting that is shown first.
const START: usize = 1;
/// Weights beside the largest.
const OTHERS: usize = 31;

/// A grid with the rule of its scale.
struct Rule {
    name: &'static str,
    scale: fn(f32) -> f32,
    /// A weight over the scale, on the grid.
    place: fn(f32) -> f32,
}

const RULES: [Rule; 3] = [
    Rule {
        name: "int4, max / 7",
        scale: |max| max / 7.0,
        place: |steps| steps.round_ties_even().clamp(-7.0, 7.0),
    },
    Rule {
        name: "FP4, power of two",
        scale: |max| decode_e8m0(block_exponent(max, &E2M1, ScaleRule::Floor)),
        place: |steps| decode(&E2M1, encode(&E2M1, steps)),
    },
    Rule {
        name: "FP4, max / 6",
        scale: |max| max / largest(&E2M1),
        place: |steps| decode(&E2M1, encode(&E2M1, steps)),
    },
];

/// The other weights: normal values of at most 2 standard deviations.
fn others() -> Vec<f32> {
    let normal = normal_matrix(91, 1, 4 * OTHERS);
    normal.iter().copied().filter(|weight| weight.abs() < 2.0).take(OTHERS).collect()
}

/// What the other weights become under a largest weight.
struct Outcome {
    scale: f32,
    /// The values that are used, each once, in rising order.
    used: Vec<f32>,
    zeros: usize,
    error: f64,
}

impl Rule {
    fn of(&self, max: f32) -> Outcome {
        let (weights, scale) = (others(), (self.scale)(max));
        let back: Vec<f32> =
            weights.iter().map(|w| (self.place)(w / scale) * scale + 0.0).collect();
        let sum = |of: &dyn Fn((&f32, &f32)) -> f32| -> f64 {
            weights.iter().zip(&back).map(|pair| f64::from(of(pair)).powi(2)).sum()
        };
        let error = (sum(&|(w, back)| back - w) / sum(&|(w, _)| *w)).sqrt();
        let zeros = back.iter().filter(|value| **value == 0.0).count();
        let mut used = back;
        used.sort_by(f32::total_cmp);
        used.dedup();
        Outcome { scale, used, zeros, error }
    }

    fn says(&self, max: f32) -> String {
        let Outcome { scale, used, zeros, error } = self.of(max);
        format!(
            "{}: under a largest weight of {max} the scale is {}. The other {OTHERS} weights use {} \
             values, {zeros} of them become 0, and their error is {}.",
            self.name,
            kit::table::sig3(scale.into()),
            used.len(),
            percent(error)
        )
    }

    fn plot(&self, layout: Layout) -> Result<(Drawing, Vec<(i32, i32)>)> {
        let x = Axis::linear("largest weight of the block", 0.0..26.0)
            .ticks([2.0, 4.0, 8.0, 12.0, 16.0, 24.0], plain);
        let y = Axis::linear("values of the other weights", -2.6..2.6)
            .ticks([-2.0, -1.0, 0.0, 1.0, 2.0], plain);
        let mut places = Vec::new();
        let drawing = draw(layout, x, y, |plot| {
            let mark = Mark::new(Shape::Dot, Ink::One);
            for max in LARGEST {
                // A value just beyond the axis belongs to weights just inside.
                let used =
                    self.of(max).used.into_iter().map(|value| f64::from(value.clamp(-2.6, 2.6)));
                plot.marks(used.map(|value| (f64::from(max), value)), mark)?;
                places.push(plot.at(f64::from(max), 0.0)?);
            }
            Ok(())
        })?;
        Ok((drawing, places))
    }

    fn alt(&self) -> String {
        let [first, last] = [LARGEST[0], LARGEST[LARGEST.len() - 1]].map(|max| self.of(max));
        format!(
            "Columns of dots for nine largest weights from 2 to 24. With {} the first column has {} \
             values and the last {}.",
            self.name,
            first.used.len(),
            last.used.len()
        )
    }
}

/// The codes in use as the largest weight of a block grows, on three grids.
pub fn codes_in_use() -> Result<Interactive> {
    let layout = Layout::with_legend(0);
    let mut drawn = Vec::new();
    let mut steps = Vec::new();
    for (picture, rule) in RULES.iter().enumerate() {
        let (drawing, places) = rule.plot(layout)?;
        steps.extend(LARGEST.into_iter().zip(places).map(|(max, place)| Step {
            picture,
            points: vec![place],
            said: Said::Sentence(rule.says(max)),
        }));
        let title = format!("The values that 31 weights use beside a larger one: {}", rule.name);
        drawn.push(Picture { title, alt: rule.alt(), drawing });
    }
    let replay = Replay {
        controls: vec![
            Control {
                label: "grid and scale",
                values: RULES.iter().map(|rule| rule.name.to_string()).collect(),
                start: 0,
                slider: false,
            },
            Control {
                label: "largest weight",
                values: LARGEST.iter().map(ToString::to_string).collect(),
                start: START,
                slider: true,
            },
        ],
        sentence: String::new(),
        inks: vec![Ink::Text],
        field: field(&layout),
        steps,
    };
    let Picture { title, alt, drawing } = drawn.remove(0);
    Ok(Interactive {
        figure: Figure {
            title,
            caption: format!(
                "A block of 32: {OTHERS} normal weights with a standard deviation of about 1, and one \
                 that is as large as the axis says. A dot is a value that some of the {OTHERS} weights \
                 come back as. The larger the largest weight, the fewer values are left for the others."
            ),
            alt,
            drawing,
        },
        predict:
            "On which grid do the other weights keep more than the value 0 when one weight is \
                  twelve times as large? And how many values does int4 leave them?"
                .into(),
        then: "Then move the largest weight, and choose another grid.".into(),
        others: drawn,
        widget: "replay",
        data: replay.to_json()?,
    })
}
