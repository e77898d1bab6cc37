//! The figure of the chapter "One name, many rules".

use anyhow::{Context, Result};
use formats::rules::{AUTOAWQ_SYMMETRIC, COMPRESSED_TENSORS_SYMMETRIC, GGML_Q4_0, Rule};

use super::{Axis, Drawing, Figure, HPos, Ink, Key, Layout, Mark, Pen, Shape, draw, plain};

/// A rule, and a group by the sign of its largest weight.
struct Row {
    label: &'static str,
    rule: &'static Rule,
    peak: f32,
}

/// The absmax is 0.9, because at 1 a division by 7.5 rounds so that -8 is not reached.
const ROWS: [Row; 4] = [
    Row { label: "max / 7", rule: &AUTOAWQ_SYMMETRIC, peak: -0.9 },
    Row { label: "max / 7.5", rule: &COMPRESSED_TENSORS_SYMMETRIC, peak: -0.9 },
    Row { label: "max / −8, peak −", rule: &GGML_Q4_0, peak: -0.9 },
    Row { label: "max / −8, peak +", rule: &GGML_Q4_0, peak: 0.9 },
];

/// A value that weights of the group are put on: in units of the absmax, and in steps.
type Place = (f64, i32);

impl Row {
    /// The places that weights between minus and plus the peak are put on, from small to large.
    fn places(&self) -> Result<Vec<Place>> {
        let absmax = self.peak.abs();
        let mut group = vec![self.peak];
        group.extend((-499i16..=499).map(|sample| f32::from(sample) / 500.0 * absmax));
        let encoded = self.rule.encode(&group)?;
        let values = encoded.values.iter().map(|value| f64::from(*value) / f64::from(absmax));
        let mut places: Vec<Place> = values.zip(encoded.steps()).collect();
        places.sort_by(|a, b| a.0.total_cmp(&b.0));
        places.dedup_by_key(|place| place.1);
        Ok(places)
    }
}

/// The grids of symmetric int4, on one axis.
pub fn rules_grids() -> Result<Figure> {
    let rows = ROWS.iter().map(Row::places).collect::<Result<Vec<_>>>()?;
    let drawing = grids(&rows)?;
    let ends = |index: usize| -> Result<String> {
        let row: &[Place] = &rows[index];
        let (first, last) = (row.first().context("no codes")?, row.last().context("no codes")?);
        Ok(format!("{:.3} to {:.3} in {} places", first.0, last.0, row.len()))
    };
    Ok(Figure {
        title: "Where four rules of symmetric int4 can put a weight".into(),
        caption: "The places that weights of one group can be put on, in units of its largest \
                  magnitude, with the steps of the outermost. Dividing by 7 leaves one of sixteen \
                  codes unused. Dividing by 7.5 reaches beyond one end and falls short of the \
                  other. A scale with a sign puts the largest weight on its place, and falls \
                  short at the opposite end."
            .into(),
        alt: format!(
            "Four rows of marks from -1 to 1. By 7: {}. By 7.5: {}. By -8 with a negative peak: \
             {}. By -8 with a positive peak: {}.",
            ends(0)?,
            ends(1)?,
            ends(2)?,
            ends(3)?,
        ),
        drawing,
    })
}

fn grids(rows: &[Vec<Place>]) -> Result<Drawing> {
    let x = Axis::linear("value / largest magnitude of the group", -1.2..1.2)
        .ticks([-1.0, -0.5, 0.0, 0.5, 1.0], plain)
        .holding(rows.iter().flatten().map(|(value, _)| value));
    let height = |row: usize| -(row as f64);
    let label = |at: f64| ROWS[(-at) as usize].label.to_string();
    let y = Axis::linear("scale", -3.6..0.6).ticks((0..ROWS.len()).map(height), label);
    let layout = Layout { left: 1800, height: 3000, ..Layout::with_legend(1) };
    let place = Mark::new(Shape::Dot, Ink::One);
    draw(layout, x, y, |plot| {
        for (row, places) in rows.iter().enumerate() {
            plot.marks(places.iter().map(|(value, _)| (*value, height(row))), place)?;
            for (value, steps) in [places.first(), places.last()].into_iter().flatten() {
                let text = plain(f64::from(*steps));
                plot.label((*value, height(row)), (0, -170), HPos::Center, Ink::Text, &text)?;
            }
        }
        plot.guide([(-1.0, -3.6), (-1.0, 0.6)], Pen::dotted(Ink::Two))?;
        plot.guide([(1.0, -3.6), (1.0, 0.6)], Pen::dotted(Ink::Two))?;
        let keys = [
            Key::Mark(place, "a place for weights"),
            Key::Line(Pen::dotted(Ink::Two), "largest magnitude"),
        ];
        plot.legend(1, &keys)
    })
}
