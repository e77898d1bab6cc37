//! What a format buys on a GPU as the step grows, from the committed capture.

use anyhow::{Context, Result};
use kit::table::{count, times};
use measure::gpu::Capture;

use super::{Axis, Figure, Ink, Key, Layout, Mark, Pen, Plot, Shape, draw, plain};
use crate::inputs::Gpus;
use crate::tables::captured::{H200, LLAMA, rate};

/// The format that the others are multiples of.
const BASE: &str = "bf16";
/// The others, with their inks.
const FORMATS: [(&str, Ink); 4] = [
    ("fp8-tensor", Ink::One),
    ("fp8-channel", Ink::Two),
    ("int8", Ink::Three),
    ("w4a16-g128", Ink::Four),
];

/// One format with one number of tokens in a step, as multiples of [`BASE`].
struct Gain {
    tokens: usize,
    /// The ratio of the roofline bounds, from the bandwidth and the rates of the same run.
    bound: f64,
    measured: f64,
}

/// The gains of every format, one line each.
pub fn gains(of: &Gpus) -> Result<Figure> {
    let capture = of.of(H200)?;
    let lines: Vec<Vec<Gain>> =
        FORMATS.iter().map(|(format, _)| gains_of(capture, format)).collect::<Result<_>>()?;
    let named = || FORMATS.iter().map(|format| format.0).zip(&lines);
    let alt: Vec<String> = named().map(|(format, gains)| in_words(format, gains)).collect();
    Ok(Figure {
        title: "What each format buys on a GPU, as the step grows".into(),
        caption: format!(
            "Linear layers of Llama-3.1-8B on one {}, tokens/s as a multiple of {BASE}. Dots: \
             measured. Dashed: the ratio of the roofline bounds, from the bandwidth and rates of the same \
             run. {}.",
            capture.setup.gpu,
            turning_point(&lines)?,
        ),
        alt: alt.join(" "),
        drawing: {
            let tokens: Vec<f64> = lines[0].iter().map(|gain| gain.tokens as f64).collect();
            let x = Axis::log("tokens in a step (logarithmic)", 0.8..2600.0)
                .ticks(tokens, |tokens| count(tokens as usize));
            let all: Vec<f64> =
                lines.iter().flatten().flat_map(|gain| [gain.bound, gain.measured]).collect();
            let y =
                Axis::log("times bf16", 0.3..4.5).ticks([0.5, 1.0, 2.0, 4.0], plain).holding(&all);
            draw(Layout::with_legend(2), x, y, |plot| marks(plot, &lines))?
        },
    })
}

fn gains_of(capture: &Capture, format: &str) -> Result<Vec<Gain>> {
    let bound = |format, tokens| capture.step(LLAMA, format, tokens).map(|step| step.bound_ms);
    let steps = capture.steps().filter(|step| step.model == LLAMA && step.format == format);
    let gain = |tokens: usize| {
        let measured = rate(capture, LLAMA, format, tokens)? / rate(capture, LLAMA, BASE, tokens)?;
        Some(Gain { tokens, bound: bound(BASE, tokens)? / bound(format, tokens)?, measured })
    };
    steps
        .map(|step| gain(step.tokens).with_context(|| format!("{BASE} at {} tokens", step.tokens)))
        .collect()
}

fn in_words(format: &str, gains: &[Gain]) -> String {
    let each = gains.iter().map(|gain| {
        let (measured, bound) = (times(gain.measured), times(gain.bound));
        format!("{} tokens {measured} (bounds {bound})", count(gain.tokens))
    });
    format!("{format}: {}.", each.collect::<Vec<_>>().join(", "))
}

/// Where the 4-bit format stops being the fastest.
fn turning_point(lines: &[Vec<Gain>]) -> Result<String> {
    let (four, eight) = lines.split_last().context("there are formats")?;
    let lead = |at: usize| {
        let best = eight.iter().map(|line| line[at].measured).fold(f64::MIN, f64::max);
        four[at].measured > best
    };
    let last = (0..four.len()).filter(|&at| lead(at)).max().context("four bits lead at first")?;
    Ok(format!("Four bits lead up to {} tokens a step", count(four[last].tokens)))
}

fn marks(plot: &Plot<'_>, lines: &[Vec<Gain>]) -> Result<()> {
    plot.guide([(0.8, 1.0), (2600.0, 1.0)], Pen::solid(Ink::Muted))?;
    for ((_, ink), gains) in FORMATS.iter().zip(lines) {
        let at = |value: fn(&Gain) -> f64| {
            gains.iter().map(|gain| (gain.tokens as f64, value(gain))).collect::<Vec<_>>()
        };
        plot.hairline(at(|gain| gain.bound), Pen::dashed(*ink))?;
        plot.curve(&at(|gain| gain.measured), Pen::solid(*ink), Mark::new(Shape::Dot, *ink))?;
    }
    let key = |at: usize| Key::Mark(Mark::new(Shape::Dot, FORMATS[at].1), FORMATS[at].0);
    plot.legend(1, &[key(0), key(1), key(2), key(3)])?;
    plot.legend(2, &[Key::Line(Pen::dashed(Ink::Muted), "ratio of the bounds")])
}
