//! The data of the script `replay.js`: a table of steps that controls choose from.

use crate::figures::{Ink, Layout};
use anyhow::{Result, ensure};
use serde_json::{Value, json};

/// What a reader sets.
pub struct Control {
    /// What it is, in a few words.
    pub label: &'static str,
    /// Its settings in words, in order.
    pub values: Vec<String>,
    /// The setting to begin with.
    pub start: usize,
    /// Whether it is drawn as a slider, or as a choice of a few.
    pub slider: bool,
}

/// What one combination of settings gives.
pub struct Step {
    /// Which drawing it is read from.
    pub picture: usize,
    /// Where the points of the curves are on the canvas. Empty if there are none to point at.
    pub points: Vec<(i32, i32)>,
    /// What goes into the gaps of the sentence, or a sentence of its own.
    pub said: Said,
}

/// What a step says.
pub enum Said {
    /// The numbers for the gaps of the common sentence, in order.
    Numbers(Vec<String>),
    /// A sentence of its own.
    Sentence(String),
}

/// A table of steps, ready to be replayed.
pub struct Replay {
    /// The controls. The last one changes fastest along the steps.
    pub controls: Vec<Control>,
    /// A sentence with gaps `{0}`, `{1}` and so on.
    pub sentence: String,
    /// The colour of each curve that has a point in a step.
    pub inks: Vec<Ink>,
    /// From the top of the plot to its bottom, on the canvas.
    pub field: (i32, i32),
    /// A step for each combination of settings.
    pub steps: Vec<Step>,
}

/// The rows of the canvas between which the plot is.
pub fn field(layout: &Layout) -> (i32, i32) {
    (layout.top as i32, (layout.height - layout.bottom) as i32)
}

impl Replay {
    /// What the script reads.
    ///
    /// # Errors
    /// If there is not a step for each combination of settings, a control starts outside of its
    /// settings, or a sentence has another number of gaps than a step has numbers.
    pub fn to_json(&self) -> Result<Value> {
        let combinations: usize =
            self.controls.iter().map(|control| control.values.len()).product();
        let steps = self.steps.len();
        ensure!(steps == combinations, "{steps} steps for {combinations} combinations of settings");
        for control in &self.controls {
            ensure!(control.start < control.values.len(), "«{}» starts nowhere", control.label);
        }
        let controls = self.controls.iter().map(|control| {
            json!({
                "label": control.label,
                "values": control.values,
                "start": control.start,
                "kind": if control.slider { "slider" } else { "choice" },
            })
        });
        let inks = self.inks.iter().map(|ink| ink.variable());
        Ok(json!({
            "controls": controls.collect::<Vec<_>>(),
            "sentence": self.sentence,
            "inks": inks.collect::<Vec<_>>(),
            "field": [self.field.0, self.field.1],
            "steps": self.steps.iter().map(|step| self.step(step)).collect::<Result<Vec<_>>>()?,
        }))
    }

    /// A step as `[picture, points, numbers]`, the numbers in place of which may stand a sentence.
    fn step(&self, step: &Step) -> Result<Value> {
        let points: Vec<[i32; 2]> = step.points.iter().map(|&(x, y)| [x, y]).collect();
        ensure!(
            points.is_empty() || points.len() == self.inks.len(),
            "{} points for {} curves",
            points.len(),
            self.inks.len()
        );
        Ok(match &step.said {
            Said::Sentence(sentence) => json!([step.picture, points, sentence]),
            Said::Numbers(numbers) => {
                let gaps = (0..).take_while(|gap| self.sentence.contains(&format!("{{{gap}}}")));
                let (gaps, given) = (gaps.count(), numbers.len());
                ensure!(gaps == given, "a sentence of {gaps} gaps is given {given} numbers");
                json!([step.picture, points, numbers])
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replay(values: usize, start: usize, numbers: usize) -> Replay {
        let control =
            Control { label: "size", values: vec!["a".into(); values], start, slider: true };
        let step = Step {
            picture: 0,
            points: vec![(1, 2)],
            said: Said::Numbers(vec!["1".into(); numbers]),
        };
        Replay {
            controls: vec![control],
            sentence: "{0} and {1}".into(),
            inks: vec![Ink::One],
            field: (0, 9),
            steps: vec![step],
        }
    }

    #[test]
    fn a_table_that_leaves_a_reader_without_an_answer_is_refused() -> Result<()> {
        let refused = |replay: Replay| replay.to_json().err().map(|error| error.to_string());
        assert_eq!(refused(replay(1, 0, 2)), None);
        let few = "1 steps for 2 combinations of settings";
        assert_eq!(refused(replay(2, 0, 2)).as_deref(), Some(few));
        assert_eq!(refused(replay(1, 1, 2)).as_deref(), Some("«size» starts nowhere"));
        let gaps = "a sentence of 2 gaps is given 3 numbers";
        assert_eq!(refused(replay(1, 0, 3)).as_deref(), Some(gaps));
        let made = replay(1, 0, 2).to_json()?;
        assert_eq!(made["steps"], json!([[0, [[1, 2]], ["1", "1"]]]));
        Ok(())
    }
}
