//! Group size against error and bytes, on real matrices.

use anyhow::Result;
use int4_groups::{dequantize_groups, memory_bytes, quantize_groups};
use kit::meters::relative_error;
use kit::real_slice::{TENSORS, label};
use kit::table::{count, percent};

use super::Interactive;
use super::curves::Places;
use super::replay::{Control, Replay, Said, Step, field};
use crate::figures::{
    Axis, Drawing, Figure, HPos, Ink, Key, Layout, Mark, Pen, Shape, axis_percent, draw, plain,
};
use crate::inputs::Slice;

/// The matrices, each with its mark and pen: those with the smallest row absmaxes first.
const MATRICES: [(&str, Mark, Pen); 3] = [
    (TENSORS[3], Mark::new(Shape::Square, Ink::One), Pen::solid(Ink::One)),
    (TENSORS[6], Mark::new(Shape::Ring, Ink::Three), Pen::dashed(Ink::Three)),
    (TENSORS[8], Mark::new(Shape::Dot, Ink::Two), Pen::dotted(Ink::Two)),
];

/// The sizes of the slider; the whole row comes before them.
const SIZES: [usize; 6] = [192, 128, 64, 32, 16, 8];

/// A group size that divides a row: what it costs and what it leaves.
struct Trade {
    size: usize,
    bytes: usize,
    bits: f64,
    error: f64,
}

/// A matrix, and for each setting of the slider the trade, or why there is none.
struct Matrix {
    name: String,
    row: usize,
    weights: usize,
    mark: Mark,
    pen: Pen,
    trades: Vec<Result<Trade, String>>,
}

impl Matrix {
    fn of(slice: &Slice, (name, mark, pen): (&str, Mark, Pen)) -> Self {
        let w = slice.tensor(name);
        let trade = |size: usize| match quantize_groups(w, size) {
            Ok(quantized) => Ok(Trade {
                size,
                bytes: memory_bytes(&quantized),
                bits: 8.0 * memory_bytes(&quantized) as f64 / w.len() as f64,
                error: relative_error(w, &dequantize_groups(&quantized)),
            }),
            Err(refusal) => Err(refusal.to_string()),
        };
        let trades = [w.ncols()].into_iter().chain(SIZES).map(trade).collect();
        Self { name: label(name), row: w.ncols(), weights: w.len(), mark, pen, trades }
    }

    fn made(&self) -> impl Iterator<Item = &Trade> {
        self.trades.iter().flatten()
    }

    /// The error with the row as its group, and with groups of 32.
    fn ends(&self) -> String {
        let error = |size| self.made().find(|trade| trade.size == size).map(|trade| trade.error);
        match (error(self.row), error(32)) {
            (Some(row), Some(small)) => format!("from {} to {}", percent(row), percent(small)),
            _ => String::new(),
        }
    }

    /// The steps of this matrix, whose points are `places`, in the order of [`Matrix::made`].
    fn steps(&self, places: &[(i32, i32)]) -> Vec<Step> {
        let mut places = places.iter();
        let mut before: Option<&Trade> = None;
        let mut steps = Vec::new();
        for (trade, size) in self.trades.iter().zip([self.row].into_iter().chain(SIZES)) {
            let (points, said) = match trade {
                Ok(trade) => {
                    let points = places.next().into_iter().copied().collect();
                    (points, self.says(trade, before))
                }
                Err(refusal) => (vec![], format!("Groups of {size} in {}: {refusal}.", self.name)),
            };
            before = trade.as_ref().ok().or(before);
            steps.push(Step { picture: 0, points, said: Said::Sentence(said) });
        }
        steps
    }

    fn says(&self, trade: &Trade, before: Option<&Trade>) -> String {
        let group = if trade.size == self.row { "a row" } else { "a group" };
        let scales = 2 * self.weights / trade.size;
        let now = format!(
            "{} weights to {group}: {} bytes, {} of them scales, {:.3} bits a weight. The error \
             is {}.",
            count(trade.size),
            count(trade.bytes),
            count(scales),
            trade.bits,
            percent(trade.error),
        );
        let Some(before) = before else { return now };
        let whose =
            if before.size == self.row { "the row".into() } else { before.size.to_string() };
        format!(
            "{now} Against {whose} that is {} bytes more ({}) and {} off the error.",
            count(trade.bytes.saturating_sub(before.bytes)),
            percent(trade.bytes as f64 / before.bytes as f64 - 1.0),
            percent(1.0 - trade.error / before.error),
        )
    }
}

/// Error against bits a weight on real matrices: what each group size buys.
pub fn group_sizes(slice: &Slice) -> Result<Interactive> {
    let matrices = MATRICES.map(|matrix| Matrix::of(slice, matrix));
    let layout = Layout::with_legend(2);
    let (drawing, places) = plot(layout, &matrices)?;
    let sizes = SIZES.map(|size| size.to_string());
    let replay = Replay {
        controls: vec![
            Control {
                label: "matrix",
                values: matrices.iter().map(|matrix| matrix.name.clone()).collect(),
                start: 2,
                slider: false,
            },
            Control {
                label: "weights that share a scale",
                values: ["the whole row".to_owned()].into_iter().chain(sizes).collect(),
                start: 2,
                slider: true,
            },
        ],
        sentence: String::new(),
        inks: vec![Ink::Text],
        field: field(&layout),
        steps: matrices.iter().zip(&places).flat_map(|(m, places)| m.steps(places)).collect(),
    };
    let [first, _, last] = &matrices;
    Ok(Interactive {
        figure: Figure {
            title: "Error against bits a weight for int4 with groups of several sizes".into(),
            caption: format!(
                "Three real matrices. A point is a group size, from the whole row at the left to \
                 8 at the right. Between the row and groups of 32 half a bit takes {} {}; what \
                 comes after that is bought at a bit and more.",
                last.name,
                last.ends(),
            ),
            alt: format!(
                "Line plot, bits a weight from 4 to 6 against relative error. All three curves \
                 fall steeply before 4.5 bits and slowly after. Between the row and groups of \
                 32, {} falls {}, {} {}.",
                first.name,
                first.ends(),
                last.name,
                last.ends(),
            ),
            drawing,
        },
        predict: format!(
            "{} has {} weights. How many bytes do groups of 64 cost more than groups of 128? And \
             which share of the error do they take away?",
            last.name.replacen('l', "L", 1),
            count(last.weights),
        ),
        then: "Then move from 128 to 64, and on to 8. Try 128 on the other matrices too.".into(),
        others: Vec::new(),
        widget: "replay",
        data: replay.to_json()?,
    })
}

/// The curves, and where their points are.
fn plot(layout: Layout, matrices: &[Matrix]) -> Result<(Drawing, Places)> {
    let all = || matrices.iter().flat_map(Matrix::made);
    let (errors, bits): (Vec<f64>, Vec<f64>) = all().map(|t| (t.error, t.bits)).unzip();
    let x = Axis::linear("bits a weight, scales counted", 3.9..6.15)
        .ticks([4.0, 4.5, 5.0, 5.5, 6.0], plain)
        .holding(&bits);
    let y = Axis::linear("relative error", 0.06..0.19)
        .ticks([0.06, 0.08, 0.1, 0.12, 0.14, 0.16, 0.18], axis_percent)
        .holding(&errors);
    let mut places = Places::new();
    let drawing = draw(layout, x, y, |plot| {
        for matrix in matrices {
            let points: Vec<_> = matrix.made().map(|trade| (trade.bits, trade.error)).collect();
            plot.curve(&points, matrix.pen, matrix.mark)?;
            places.push(points.iter().map(|&(x, y)| plot.at(x, y)).collect::<Result<_>>()?);
        }
        // One curve names its sizes, above the marks; the last of the lowest end stay apart.
        for trade in matrices[2].made() {
            let whole = trade.size == matrices[2].row;
            let text = if whole { "the row".into() } else { trade.size.to_string() };
            plot.label((trade.bits, trade.error), (90, -110), HPos::Left, Ink::Text, &text)?;
        }
        let key = |matrix: usize| Key::Mark(matrices[matrix].mark, &matrices[matrix].name);
        plot.legend(1, &[key(0), key(1)])?;
        plot.legend(2, &[key(2)])
    })?;
    Ok((drawing, places))
}
