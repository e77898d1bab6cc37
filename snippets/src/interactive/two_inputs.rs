//! Two weights of one row under inputs whose correlation the reader sets.

use anyhow::Result;
use kit::table::sig3;

use super::replay::{Control, Replay, Said, Step, field};
use super::{Interactive, Picture};
use crate::figures::two_moves::{LAYOUT, Plane, named};
use crate::figures::{Figure, Ink, plain};
use crate::tables::two_moves::WEIGHTS;

/// Correlations from -0.9 to 0.9.
const SETTINGS: i32 = 12;
const STEP: f64 = 0.15;

const SENTENCE: &str = "Correlation {0}: the first weight rounds to {1}, and the second one moves to {2} before it is \
    rounded. The nearest codes are {3} with an error of {4}. Feedback gives {5}, {6}. The best codes are {7}, {8}.";

fn numbers(plane: &Plane) -> Vec<String> {
    let [nearest, feedback, best] = &plane.choices;
    let correlation = format!("{:.2}", plane.correlation).replace('-', "−");
    let mut all = vec![correlation, plain(feedback.codes[0]), minus(sig3(plane.moved))];
    for pair in [nearest, feedback, best] {
        all.extend([named(pair.codes), sig3(pair.error)]);
    }
    all
}

/// With the sign that the axes have.
fn minus(number: String) -> String {
    number.replace('-', "−")
}

/// The plane of two weights, at each correlation.
pub fn two_inputs() -> Result<Interactive> {
    let middle = SETTINGS / 2;
    let correlation = |setting: i32| f64::from(setting - middle) * STEP;
    let (mut pictures, mut steps) = (Vec::new(), Vec::new());
    for setting in 0..=SETTINGS {
        let plane = Plane::at(correlation(setting))?;
        let (drawing, place) = plane.draw()?;
        pictures.push(picture(&plane, drawing));
        steps.push(Step {
            // The picture of correlation 0 comes first.
            picture: usize::try_from((setting - middle).rem_euclid(SETTINGS + 1))?,
            points: vec![place],
            said: Said::Numbers(numbers(&plane)),
        });
    }
    pictures.rotate_left(usize::try_from(middle)?);
    let replay = Replay {
        controls: vec![Control {
            label: "correlation of the two inputs",
            values: (0..=SETTINGS).map(|s| minus(format!("{:.2}", correlation(s)))).collect(),
            start: usize::try_from(middle)?,
            slider: true,
        }],
        sentence: SENTENCE.into(),
        inks: vec![Ink::One],
        field: field(&LAYOUT),
        steps,
    };
    let Picture { title, alt, drawing } = pictures.remove(0);
    let [first, second] = WEIGHTS;
    Ok(Interactive {
        figure: Figure {
            title,
            caption: format!(
                "The row of the figure above, with weights {first} and {second}. An ellipse is drawn through each of \
                 the three choices of codes. Without correlation the ellipses are circles, the second weight stays \
                 where it is, and the nearest codes are the best."
            ),
            alt,
            drawing,
        },
        predict: format!(
            "The first weight is {first} and rounds to 0. How large must the correlation be before the second one, \
             {second}, rounds to 1 in place of 0? And do the best codes change at the same place?"
        ),
        then: "Then move the correlation until the nearest codes and the best ones part, and on until feedback \
            moves."
            .into(),
        others: pictures,
        widget: "replay",
        data: replay.to_json()?,
    })
}

fn picture(plane: &Plane, drawing: crate::figures::Drawing) -> Picture {
    let [nearest, feedback, best] = &plane.choices;
    let correlation = minus(format!("{:.2}", plane.correlation));
    Picture {
        title: format!("Two weights and curves of equal error at a correlation of {correlation}"),
        alt: format!(
            "A plane of two weights with ellipses around them. The nearest codes are {}, those with feedback {}, the \
             best ones {}.",
            named(nearest.codes),
            named(feedback.codes),
            named(best.codes),
        ),
        drawing,
    }
}
