//! Migration: the error of both sides of a W8A8 layer, and of their product, against alpha.

use anyhow::{Result, anyhow};
use kit::meters::relative_error;
use kit::real_slice::TENSORS;
use kit::reference::linear_f64;
use kit::table::{percent, times};
use ndarray::{Array2, s};
use smoothquant::{
    Quantized, calibrate, channel_absmax, migrate, migrated_linear, quantize_weight, smooth,
    smoothing_scales, w8a8_linear,
};

use super::curves::{Curve, Places, draw_curves};
use super::replay::{Control, Replay, Said, Step, field};
use super::{Interactive, Picture};
use crate::figures::{Axis, Drawing, Figure, Ink, Layout, Mark, Pen, Shape, axis_percent, plain};
use crate::inputs::Layers;
use crate::tables::lab_04::{GRANULARITIES, back, healthy, planted, quantized, weight};

/// The slider goes from 0 to 1 in steps of a twentieth.
const STEPS: usize = 20;

/// Of the real layer's outputs, one in so many is computed: products take their time.
const EVERY: usize = 12;

/// A layer: what it is calibrated on, what it is tried on, its weight.
struct Arm {
    name: String,
    calibration: Array2<f32>,
    x: Array2<f32>,
    w: Array2<f32>,
    /// The first token whose output is judged.
    judged_from: usize,
    /// Of how many output channels one is computed. Each has a scale of its own, so the others make no
    /// difference to it.
    every: usize,
}

impl Arm {
    fn all(layers: &Layers) -> [Self; 3] {
        let planted_on = |name: &str, make: fn(u64) -> Array2<f32>| Self {
            name: name.into(),
            calibration: make(1),
            x: make(3),
            w: weight(),
            judged_from: 0,
            every: 1,
        };
        let real = layers.of(TENSORS[3]);
        [
            planted_on("four outlier channels (planted)", planted),
            planted_on("no outliers (control)", healthy),
            Self {
                name: format!("{} (real)", real.label),
                calibration: real.calibration.clone(),
                x: real.held_out.clone(),
                w: real.weight.clone(),
                // As in the tables: the output of the first token is another matter.
                judged_from: 1,
                every: EVERY,
            },
        ]
    }

    fn error(&self, exact: &Array2<f32>, y: &Array2<f32>) -> f64 {
        let pick = |m: &Array2<f32>| m.slice(s![self.judged_from.., ..]).to_owned();
        relative_error(&pick(exact), &pick(y))
    }

    /// Its curves, granularity by granularity.
    fn sweeps(&self) -> Result<[Sweep; 2]> {
        let exact = linear_f64(&self.x, &self.computed(&self.w));
        let int8 = self.computed_int8(&quantize_weight(&self.w)?)?;
        let mut sweeps = Vec::new();
        for (granularity, scales) in GRANULARITIES {
            let naive = w8a8_linear(&quantized(&self.x, granularity)?, &int8)?;
            let what = format!("{}, {scales}", self.name);
            sweeps.push(Sweep { what, sides: vec![], naive: self.error(&exact, &naive) });
        }
        for step in 0..=STEPS {
            let now = self.at(step as f32 / STEPS as f32, &exact)?;
            sweeps.iter_mut().zip(now).for_each(|(sweep, sides)| sweep.sides.push(sides));
        }
        sweeps.try_into().map_err(|_| anyhow!("a sweep for each granularity"))
    }

    /// The rows of a weight whose outputs are computed.
    fn computed<T: Copy>(&self, w: &Array2<T>) -> Array2<T> {
        w.slice(s![..;self.every, ..]).to_owned()
    }

    fn computed_int8(&self, w: &Quantized) -> Result<Quantized> {
        Ok(Quantized::new(self.computed(w.q()), self.computed(w.scales()))?)
    }

    /// The errors at one alpha, granularity by granularity.
    fn at(&self, alpha: f32, exact: &Array2<f32>) -> Result<Vec<Sides>> {
        let calibration = std::slice::from_ref(&self.calibration);
        let scales = smoothing_scales(&calibrate(calibration)?, &channel_absmax(&self.w)?, alpha)?;
        let (x, w) = smooth(&self.x, &self.w, &scales)?;
        let mut layer = migrate(calibration, &self.w, alpha)?;
        layer.weight = self.computed_int8(&layer.weight)?;
        let weight = self.error(exact, &linear_f64(&x, &back(&layer.weight)));
        let w = self.computed(&w);
        let sides = GRANULARITIES.map(|(granularity, _)| -> Result<Sides> {
            let rounded = back(&quantized(&x, granularity)?);
            Ok(Sides {
                alpha: f64::from(alpha),
                activation: self.error(exact, &linear_f64(&rounded, &w)),
                weight,
                both: self.error(exact, &migrated_linear(&self.x, &layer, granularity)?),
            })
        });
        sides.into_iter().collect()
    }
}

/// The output error at one alpha, with one side rounded, the other, and both.
struct Sides {
    alpha: f64,
    activation: f64,
    weight: f64,
    both: f64,
}

impl Sides {
    fn numbers(&self, naive: f64) -> Vec<String> {
        vec![
            format!("{:.2}", self.alpha),
            percent(self.activation),
            percent(self.weight),
            percent(self.both),
            percent(naive),
            times(naive / self.both),
        ]
    }
}

const SENTENCE: &str = "At alpha {0}: with only the activation rounded the output is off by {1}, \
    with only the weight rounded by {2}, with both by {3}. Without migration it is {4}, which is \
    {5} as much.";

/// One layer at one granularity: its curves.
struct Sweep {
    /// The layer and the granularity, for titles.
    what: String,
    sides: Vec<Sides>,
    naive: f64,
}

impl Sweep {
    fn lowest(&self) -> &Sides {
        self.sides
            .iter()
            .fold(&self.sides[0], |low, now| if now.both < low.both { now } else { low })
    }

    fn title(&self) -> String {
        format!("Error of both sides of a migrated layer against alpha: {}", self.what)
    }

    fn alt(&self) -> String {
        let low = self.lowest();
        let ends = [&self.sides[0], &self.sides[STEPS]];
        let activation = ends.map(|sides| percent(sides.activation));
        let weight = ends.map(|sides| percent(sides.weight));
        let both = percent(low.both);
        format!(
            "Line plot of relative error, logarithmic, against alpha from 0 to 1. The \
             activation's curve goes from {} to {}, the weight's from {} to {}. The curve of \
             both is lowest at {:.2}, with {both}.",
            activation[0], activation[1], weight[0], weight[1], low.alpha,
        )
    }

    fn steps(&self, picture: usize, places: &Places) -> Vec<Step> {
        let step = |(index, sides): (usize, &Sides)| Step {
            picture,
            points: places.iter().map(|curve| curve[index]).collect(),
            said: Said::Numbers(sides.numbers(self.naive)),
        };
        self.sides.iter().enumerate().map(step).collect()
    }
}

/// Alpha against the error of the activation's side, the weight's, and the product's.
pub fn migration_sides(layers: &Layers) -> Result<Interactive> {
    let arms = Arm::all(layers);
    let mut sweeps = Vec::new();
    for arm in &arms {
        sweeps.extend(arm.sweeps()?);
    }
    let layout = Layout::with_legend(3);
    let (mut pictures, mut steps) = (Vec::new(), Vec::new());
    for (index, sweep) in sweeps.iter().enumerate() {
        let (drawing, places) = plot(layout, sweep, &sweeps)?;
        steps.extend(sweep.steps(index, &places));
        pictures.push(Picture { title: sweep.title(), alt: sweep.alt(), drawing });
    }
    let replay = Replay {
        controls: controls(&arms),
        sentence: SENTENCE.into(),
        inks: vec![Ink::Two, Ink::One, Ink::Text],
        field: field(&layout),
        steps,
    };
    let Picture { title, alt, drawing } = pictures.remove(0);
    let low = sweeps[0].lowest();
    let root = (low.activation.powi(2) + low.weight.powi(2)).sqrt();
    let [activation, weight, both, root] =
        [low.activation, low.weight, low.both, root].map(percent);
    Ok(Interactive {
        figure: Figure {
            title,
            caption: format!(
                "The layer's output against the exact one, on tokens that calibration did not \
                 see. One curve has only the activation in int8, one only the weight, one both \
                 (of the real layer one output in {EVERY} is computed). With four outlier channels \
                 and one scale for the activation, the two sides cost {activation} and {weight} at \
                 alpha {:.2}, where both together cost least, {both}. The root of the sum of the two \
                 squares is {root}.",
                low.alpha,
            ),
            alt,
            drawing,
        },
        predict: "Where the two sides cost the same, is the error of both together twice that of \
            one side, or less? And where is the valley when there is nothing to migrate?"
            .into(),
        then: "Then look for the crossing, and change the layer.".into(),
        others: pictures,
        widget: "replay",
        data: replay.to_json()?,
    })
}

fn controls(arms: &[Arm]) -> Vec<Control> {
    let alpha = |step: usize| format!("{:.2}", step as f64 / STEPS as f64);
    vec![
        Control {
            label: "layer",
            values: arms.iter().map(|arm| arm.name.clone()).collect(),
            start: 0,
            slider: false,
        },
        Control {
            label: "scales of the activation",
            values: GRANULARITIES.iter().map(|(_, scales)| (*scales).into()).collect(),
            start: 0,
            slider: false,
        },
        Control {
            label: "alpha",
            values: (0..=STEPS).map(alpha).collect(),
            start: 0,
            slider: true,
        },
    ]
}

/// The curves of one sweep, on axes that hold those of all.
fn plot(layout: Layout, sweep: &Sweep, all: &[Sweep]) -> Result<(Drawing, Places)> {
    let curve = |name: &str, shape, pen: Pen, error: fn(&Sides) -> f64| Curve {
        name: name.into(),
        mark: Mark::new(shape, pen.ink),
        pen,
        points: sweep.sides.iter().map(|sides| (sides.alpha, error(sides))).collect(),
    };
    let curves = [
        curve("only the activation in int8", Shape::Dot, Pen::solid(Ink::Two), |s| s.activation),
        curve("only the weight in int8", Shape::Square, Pen::dashed(Ink::One), |s| s.weight),
        curve("both: the layer as it runs", Shape::Ring, Pen::dotted(Ink::Text), |s| s.both),
    ];
    let others = all.iter().flat_map(|sweep| &sweep.sides);
    let others: Vec<f64> = others.flat_map(|s| [s.activation, s.weight, s.both]).collect();
    let x = Axis::linear("alpha: the share that moves to the weights", -0.03..1.03)
        .ticks([0.0, 0.25, 0.5, 0.75, 1.0], plain);
    let y = Axis::log("relative error of the output", 0.003..0.12)
        .ticks([0.003, 0.005, 0.01, 0.02, 0.05, 0.1], axis_percent)
        .holding(&others);
    draw_curves(layout, x, y, &curves)
}
