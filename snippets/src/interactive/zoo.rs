//! Bits against divergence of every file of the zoo, and the best of a size.

use anyhow::{Context, Result};
use kit::table::{percent, sig3};
use measure::zoo::{Capture, Run};

use super::Interactive;
use super::replay::{Control, Replay, Said, Step, field};
use crate::figures::{
    Axis, Drawing, Figure, HPos, Ink, Key, Layout, Mark, Pen, Shape, draw, plain,
};
use crate::tables::zoo::{ahead, compared, front};

/// The sizes of the slider.
const SIZES: [f64; 11] = [3.5, 4.0, 4.25, 4.5, 5.0, 5.5, 6.0, 6.6, 7.0, 8.1, 8.5];
/// The size that is shown first.
const START: usize = 3;
/// Who shall read the file.
const READERS: [&str; 3] = ["anyone", "vLLM", "llama.cpp"];
/// The weights of the decoder layers of Llama-3.1-8B, for which a size is said in bytes.
const WEIGHTS_OF_8B: f64 = 6.98e9;

const OURS: Mark = Mark::new(Shape::Dot, Ink::One);
const THEIRS: Mark = Mark::new(Shape::Square, Ink::Two);
const WITH_INPUTS: Mark = Mark::new(Shape::Ring, Ink::Three);
const OLD_GRID: Mark = Mark::new(Shape::Ring, Ink::Muted);
/// Bits between two files of the line that are named.
const APART: f64 = 0.6;

/// Every file, the course's front as a line.
///
/// # Errors
/// If the capture has no file of the course.
pub fn zoo(of: &Capture) -> Result<Interactive> {
    let layout = Layout::with_legend(2);
    let x = Axis::linear("bits a weight of the decoder layers", 3.0..9.0)
        .ticks([3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0], plain);
    let y = Axis::log("divergence (nats a token)", 0.0001..4.0)
        .ticks([0.0001, 0.001, 0.01, 0.1, 1.0], plain);
    let mut places = Vec::new();
    let drawing = draw(layout, x, y, |plot| {
        let best = best(of);
        plot.line(best.iter().map(|run| point(run)), Pen::solid(Ink::One))?;
        for run in &of.runs {
            plot.marks([point(run)], mark_of(run))?;
        }
        for run in named(&best) {
            let (offset, anchor) =
                if run.bits < 7.0 { ((110, -130), HPos::Left) } else { ((-110, 190), HPos::Right) };
            plot.label(point(run), offset, anchor, Ink::Text, &run.name)?;
        }
        plot.legend(1, &[Key::Mark(OURS, "the course's"), Key::Mark(THEIRS, "other programs'")])?;
        plot.legend(
            2,
            &[Key::Mark(WITH_INPUTS, "inputs too"), Key::Mark(OLD_GRID, "finds the old grid")],
        )?;
        for reader in READERS {
            for size in SIZES {
                places.push(
                    Best::of(of, reader, size).at(|run| plot.at(point(run).0, point(run).1))?,
                );
            }
        }
        Ok(())
    })?;
    interactive(of, layout, drawing, places)
}

/// Where a file is on the axes.
fn point(run: &Run) -> (f64, f64) {
    (run.bits, run.quality.kl_divergence)
}

/// The course's files on the line.
fn best(of: &Capture) -> Vec<&Run> {
    front(compared(of, true).filter(|run| !run.activations))
}

fn mark_of(run: &Run) -> Mark {
    match (run.activations, run.finds_again, run.is_ours()) {
        (true, ..) => WITH_INPUTS,
        (_, true, _) => OLD_GRID,
        (.., true) => OURS,
        (.., false) => THEIRS,
    }
}

/// The files of the line that are named on the drawing: the first, and each that is far enough from the last named.
fn named<'r>(line: &[&'r Run]) -> Vec<&'r Run> {
    let mut named: Vec<&Run> = Vec::new();
    for run in line {
        if named.last().is_none_or(|last| run.bits - last.bits > APART) {
            named.push(run);
        }
    }
    named
}

/// The best files of at most a size that a reader reads.
struct Best<'c> {
    reader: &'static str,
    size: f64,
    ours: Option<&'c Run>,
    theirs: Option<&'c Run>,
}

impl<'c> Best<'c> {
    fn of(of: &'c Capture, reader: &'static str, size: f64) -> Self {
        let reads = |run: &&Run| {
            let is_read = reader == READERS[0] || run.readers.iter().any(|name| name == reader);
            is_read && !run.activations && run.bits <= size + 0.005
        };
        let best = |is_ours: bool| {
            let mine = compared(of, is_ours).filter(reads);
            mine.min_by(|a, b| a.quality.kl_divergence.total_cmp(&b.quality.kl_divergence))
        };
        Self { reader, size, ours: best(true), theirs: best(false) }
    }

    /// The places of both; none where neither is there, and one for both where one is.
    fn at(&self, place: impl Fn(&Run) -> Result<(i32, i32)>) -> Result<Vec<(i32, i32)>> {
        let (Some(ours), Some(theirs)) = (self.ours.or(self.theirs), self.theirs.or(self.ours))
        else {
            return Ok(Vec::new());
        };
        [ours, theirs].map(place).into_iter().collect()
    }

    fn says(&self) -> String {
        let gigabytes = self.size * WEIGHTS_OF_8B / 8.0 / 1e9;
        let reads = match self.reader {
            "anyone" => String::new(),
            engine => format!(" that {engine} reads"),
        };
        let named = |run: Option<&Run>| match run {
            None => "none".to_string(),
            Some(run) => format!(
                "{} ({:.2} bits, divergence {}, top-1 {}, made in {} s)",
                run.name,
                run.bits,
                sig3(run.quality.kl_divergence),
                percent(run.quality.top1_agreement),
                sig3(run.seconds.max(1.0).round()),
            ),
        };
        let theirs = self.theirs.map_or(String::new(), |run| format!(" by {}", run.program));
        format!(
            "Up to {} bits, which is {gigabytes:.1} GB for the layers of an 8B model, the best file{reads} is, of the \
             course's: {}. Of other programs'{theirs}: {}.",
            self.size,
            named(self.ours),
            named(self.theirs),
        )
    }
}

fn interactive(
    of: &Capture,
    layout: Layout,
    drawing: Drawing,
    places: Vec<Vec<(i32, i32)>>,
) -> Result<Interactive> {
    let settings = READERS.into_iter().flat_map(|reader| SIZES.map(|size| (reader, size)));
    let steps = settings.zip(places).map(|((reader, size), points)| {
        let said = Said::Sentence(Best::of(of, reader, size).says());
        Step { picture: 0, points, said }
    });
    let replay = Replay {
        controls: vec![
            Control {
                label: "read by",
                values: READERS.map(String::from).into(),
                start: 0,
                slider: false,
            },
            Control {
                label: "bits a weight, at most",
                values: SIZES.map(|size| size.to_string()).into(),
                start: START,
                slider: true,
            },
        ],
        sentence: String::new(),
        inks: vec![Ink::One, Ink::Two],
        field: field(&layout),
        steps: steps.collect(),
    };
    let (ours, theirs): (Vec<&Run>, Vec<&Run>) = of.runs.iter().partition(|run| run.is_ours());
    let best = best(of);
    let (first, last) = (best.first(), best.last());
    let (first, last) = first.zip(last).context("the course has no file")?;
    let counts =
        format!("{} files of the course and {} of other programs", ours.len(), theirs.len());
    let behind = match ahead(of).len() {
        0 => {
            "each file of another program that is not grey has a file of the course below it or to \
              its left"
                .into()
        }
        count => format!(
            "{count} of the other programs' files have no file of the course so close at their size"
        ),
    };
    Ok(Interactive {
        figure: Figure {
            title: "Every file of the zoo: size against divergence".into(),
            caption: format!(
                "{counts}, made of the same weights with the same text and scored by the course's model. The line \
                 joins the files of rounded weights that none of the course's beats. Files whose blocks find the grid of the \
                 fetched weights again are grey, and compared with nothing. {}.",
                behind.replacen(&behind[..1], &behind[..1].to_uppercase(), 1),
            ),
            alt: format!(
                "Bits a weight from 3 to 9 against divergence, logarithmic: {counts}. The line of the course's best \
                 goes from {} at {:.2} bits and a divergence of {} to {} at {:.2} bits and {}; {behind}.",
                first.name,
                first.bits,
                sig3(first.quality.kl_divergence),
                last.name,
                last.bits,
                sig3(last.quality.kl_divergence),
            ),
            drawing,
        },
        predict: format!(
            "You have {} bits a weight. Which is closest to the original: a grid of integers in groups, a mix of \
             k-quants, FP4? And what decides more, the grid or how codes are chosen?",
            SIZES[START]
        ),
        then: "Then move the size, and say which engine shall read the file.".into(),
        others: Vec::new(),
        widget: "replay",
        data: replay.to_json()?,
    })
}
