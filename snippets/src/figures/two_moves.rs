//! One row with two weights: the grid of codes and the ellipses of equal error.

use std::ops::Range;

use anyhow::Result;
use kit::table::sig3;
use ndarray::{Array2, arr2};

use super::{
    Axis, Drawing, Figure, HPos, Ink, Key, Layout, MARKER, Mark, Pen, Plot, Shape, draw, plain,
};
use crate::tables::two_moves::{Choice, WEIGHTS, hessian};

/// The correlation of the figure.
const CORRELATION: f64 = 0.9;

/// The second weight runs to the right, because feedback moves it, and the first one upwards. A step has the
/// same length on both axes.
const SECOND: Range<f64> = -1.1..1.9;
const FIRST: Range<f64> = -0.5..1.58;

/// The room around the plane.
pub const LAYOUT: Layout = Layout { height: 4700, top: 810, left: 640, right: 160, bottom: 560 };

/// Points of an ellipse.
const POINTS: u32 = 60;

const WEIGHT: Mark = Mark::new(Shape::Square, Ink::Text);
const NEAREST: Mark = Mark::new(Shape::Ring, Ink::Two).sized(MARKER * 7 / 4);
const FEEDBACK: Mark = Mark::new(Shape::Dot, Ink::One);
const BEST: Mark = Mark::new(Shape::Ring, Ink::Three).sized(MARKER * 11 / 4);

/// The three choices of codes at one correlation.
pub struct Plane {
    /// The correlation of the two inputs.
    pub correlation: f64,
    /// The nearest codes, those with feedback, the best.
    pub choices: [Pair; 3],
    /// The second weight when it is rounded with feedback.
    pub moved: f64,
}

/// Two codes and their error.
pub struct Pair {
    /// The code of the first weight and of the second.
    pub codes: [f64; 2],
    /// The mean squared error of the output, in squares of a step.
    pub error: f64,
}

impl Plane {
    /// The choices at a correlation.
    ///
    /// # Errors
    /// If the lab refuses the Hessian.
    pub fn at(correlation: f64) -> Result<Self> {
        let (w, h) = (arr2(&[WEIGHTS]), hessian(correlation));
        let feedback = Choice::with_feedback(&w, &h)?;
        let moved = feedback.moved[(0, 1)];
        let pair =
            |choice: Choice| Pair { codes: both(&choice.codes), error: choice.error(&w, &h) };
        let choices = [Choice::nearest(&w), feedback, Choice::best(&w, &h)?].map(pair);
        Ok(Self { correlation, choices, moved })
    }

    /// The points with this error, in runs that lie on the plot.
    fn ellipse(&self, error: f64) -> Vec<Vec<(f64, f64)>> {
        // The form d1^2 + d2^2 + 2 c d1 d2 has the axes d1 + d2 and d1 - d2.
        let sum = (error / (1.0 + self.correlation)).sqrt();
        let difference = (error / (1.0 - self.correlation)).sqrt();
        let turn = f64::from(POINTS) / std::f64::consts::TAU;
        let point = |at: u32| {
            let (a, b) = (
                sum * libm::cos(f64::from(at) / turn),
                difference * libm::sin(f64::from(at) / turn),
            );
            let half = std::f64::consts::FRAC_1_SQRT_2;
            (f64::from(WEIGHTS[1]) + (a + b) * half, f64::from(WEIGHTS[0]) + (a - b) * half)
        };
        let points: Vec<_> = (0..=POINTS).map(point).collect();
        let runs = points.split(|(x, y)| !(SECOND.contains(x) && FIRST.contains(y)));
        runs.filter(|run| run.len() > 1).map(<[_]>::to_vec).collect()
    }

    /// The drawing, and where on the canvas the second weight is rounded with feedback.
    ///
    /// # Errors
    /// If something is not on the axes.
    pub fn draw(&self) -> Result<(Drawing, (i32, i32))> {
        let whole = |from: i32, to: i32| (from..=to).map(f64::from);
        let x =
            Axis::linear("second weight, in steps of the grid", SECOND).ticks(whole(-1, 1), plain);
        let y = Axis::linear("first weight, in steps of the grid", FIRST).ticks(whole(0, 1), plain);
        let mut place = (0, 0);
        let drawing = draw(LAYOUT, x, y, |plot| {
            self.marks(plot)?;
            place = plot.at(self.moved, self.choices[1].codes[0])?;
            legend(plot)
        })?;
        Ok((drawing, place))
    }

    fn marks(&self, plot: &Plot<'_>) -> Result<()> {
        let pens = [Pen::dashed(Ink::Two), Pen::solid(Ink::One), Pen::dotted(Ink::Three)];
        // The smallest error that the second weight could make, if it needed no code.
        let first = self.choices[1].codes[0] - f64::from(WEIGHTS[0]);
        let touching = first * first * (1.0 - self.correlation * self.correlation);
        for run in self.ellipse(touching) {
            plot.hairline(run, Pen::solid(Ink::Muted))?;
        }
        for (pair, pen) in self.choices.iter().zip(pens) {
            for run in self.ellipse(pair.error) {
                plot.guide(run, pen)?;
            }
        }
        let [first, second] = WEIGHTS.map(f64::from);
        let [nearest, feedback, best] =
            [0, 1, 2].map(|i| (self.choices[i].codes[1], self.choices[i].codes[0]));
        // To the line of the first code, along it, and to the second code.
        let way = [(second, first), (second, feedback.1), (self.moved, feedback.1), feedback];
        plot.line(way, Pen::dotted(Ink::Muted))?;
        plot.marks([(self.moved, feedback.1)], WEIGHT.sized(MARKER / 2))?;
        plot.marks([(second, first)], WEIGHT)?;
        plot.marks([best], BEST)?;
        plot.marks([nearest], NEAREST)?;
        plot.marks([feedback], FEEDBACK)?;
        let corner = (SECOND.end, FIRST.end);
        let text = format!("correlation {}", plain(self.correlation));
        plot.label(corner, (-90, 170), HPos::Right, Ink::Text, &text)
    }
}

fn both(codes: &Array2<f32>) -> [f64; 2] {
    [codes[(0, 0)].into(), codes[(0, 1)].into()]
}

fn legend(plot: &Plot<'_>) -> Result<()> {
    plot.legend(1, &[Key::Mark(WEIGHT, "the weights"), Key::Mark(NEAREST, "nearest codes")])?;
    plot.legend(2, &[Key::Mark(FEEDBACK, "with feedback"), Key::Mark(BEST, "best codes")])
}

/// Two codes as a sentence names them.
pub fn named(codes: [f64; 2]) -> String {
    format!("{} and {}", plain(codes[0]), plain(codes[1]))
}

/// One row, two weights, two inputs that are nearly alike.
pub fn two_weights() -> Result<Figure> {
    let plane = Plane::at(CORRELATION)?;
    let [nearest, feedback, best] = &plane.choices;
    let [first, second] = WEIGHTS;
    let [n, f, b] = [nearest, feedback, best].map(|pair| sig3(pair.error));
    Ok(Figure {
        title: "Two weights of one row, the grid, and curves of equal error".into(),
        caption: format!(
            "Weights {first} and {second}, inputs with a correlation of {CORRELATION}. Points on one ellipse make \
             the same error of the output. The nearest codes, {}, make {n}; the best ones, {}, make {b}. Feedback \
             rounds the first weight to {}, moves the second one along that line from {second} to {}, where the \
             smallest ellipse touches the line, and makes {f}.",
            named(nearest.codes),
            named(best.codes),
            plain(feedback.codes[0]),
            sig3(plane.moved),
        ),
        alt: format!(
            "A plane with a grid of whole numbers, the weights at {second} to the right and {first} upwards, and \
             three long ellipses around them that lean to the right and downwards. The nearest codes lie on the \
             largest ellipse, the codes with feedback on a small one, and the best codes on the smallest. A dotted \
             way leads from the weights down to the line of the first code, along it to {}, and to the second code.",
            sig3(plane.moved),
        ),
        drawing: plane.draw()?.0,
    })
}
