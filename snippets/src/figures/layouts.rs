//! The bit layouts of lab 03, drawn from the tables that its packers read.

use anyhow::Result;
use formats::gguf::TensorType;
use formats::gguf::k_quants::layout::{self as k_quants, Field, Subs};
use formats::layouts::ggml::{BlockByte, block_bytes};
use formats::layouts::{Along, WordLayout, awq, compressed_tensors, gptq};

use super::{Axis, Drawing, Figure, HPos, Ink, Layout, Pen, Plot, draw};

/// Cells in a line; a line of words has eight nibbles, twice as wide as those of a block.
const COLUMNS: f64 = 16.0;
/// From one line of cells to the next, in heights of a cell.
const LINE: f64 = 2.2;

/// One cell: what it says, how many columns it takes, and whether it is a field and not a code.
struct Cell {
    text: String,
    columns: f64,
    field: bool,
}

impl Cell {
    fn code(text: impl Into<String>, columns: f64) -> Self {
        Self { text: text.into(), columns, field: false }
    }

    fn field(text: &str) -> Self {
        Self { text: text.into(), columns: 2.0, field: true }
    }
}

/// A titled line of cells.
struct Line {
    title: String,
    cells: Vec<Cell>,
}

/// The words of AutoAWQ, GPTQ and compressed-tensors.
pub fn words() -> Result<Figure> {
    let layouts = [awq::WORDS, gptq::WORDS, compressed_tensors::WORDS];
    let digits = |layout: &WordLayout| {
        layout.order.iter().rev().map(usize::to_string).collect::<Vec<_>>().join(" ")
    };
    Ok(Figure {
        title: "Which of eight neighbours sits in which nibble of a 32-bit word".into(),
        caption: "A 32-bit word as its eight hexadecimal digits, the highest first. The number is \
                  the neighbour that the digit belongs to. AutoAWQ's neighbours are eight output \
                  channels, with the even ones in the low half; those of GPTQ and \
                  compressed-tensors are eight inputs, in order."
            .into(),
        alt: format!(
            "Three rows of eight cells. AutoAWQ: {}. GPTQ: {}. compressed-tensors: {}.",
            digits(&layouts[0]),
            digits(&layouts[1]),
            digits(&layouts[2])
        ),
        drawing: lines(
            &layouts.map(|layout| word_line(&layout)),
            "the eight digits of a word",
            "number: which neighbour the digit belongs to",
        )?,
    })
}

fn word_line(layout: &WordLayout) -> Line {
    let along = match layout.along {
        Along::OutFeatures => "eight outputs",
        Along::InFeatures => "eight inputs",
    };
    let cells = layout.order.iter().rev().map(|neighbour| Cell::code(neighbour.to_string(), 2.0));
    Line { title: format!("{}: {along}", layout.name), cells: cells.collect() }
}

/// The blocks of Q4_0, Q4_1 and Q8_0.
pub fn blocks() -> Result<Figure> {
    let kinds = [TensorType::Q4_0, TensorType::Q4_1, TensorType::Q8_0];
    let maps = kinds.map(|kind| block_bytes(kind).map(|bytes| (kind, bytes)));
    let maps = maps.into_iter().collect::<Result<Vec<_>, _>>()?;
    let sizes: Vec<usize> = maps.iter().map(|(_, bytes)| bytes.len()).collect();
    let lines_of: Vec<Line> = maps.iter().map(|(kind, bytes)| block_line(*kind, bytes)).collect();
    Ok(Figure {
        title: "What each byte of a GGML block holds".into(),
        caption: format!(
            "Blocks of 32 weights in file order, the middle left out: {}, {} and {} bytes. d is \
             the scale, m the minimum, both f16. In the 4-bit types a byte holds an element of the \
             first half in its low digit, written second, and one of the second half in its high \
             digit.",
            sizes[0], sizes[1], sizes[2]
        ),
        alt: "Three rows of cells. Q4_0: d, then bytes with elements 16 and 0, 17 and 1, up to 31 \
              and 15. Q4_1: d, m, then the same. Q8_0: d, then elements 0, 1, 2, up to 31, a byte \
              each."
            .into(),
        drawing: lines(
            &lines_of,
            "the bytes of a block",
            "number: which element the digits belong to",
        )?,
    })
}

/// The super-blocks of the k-quants, as the encoder's table has them.
pub fn super_blocks() -> Result<Figure> {
    let layouts: Vec<_> =
        k_quants::ALL.iter().filter(|layout| layout.weights == k_quants::MOST).collect();
    let parts = |layout: &k_quants::Layout| {
        let part = |&field: &Field| format!("{} {}", part_name(field), layout.bytes_of(field));
        layout.fields.iter().map(part).collect::<Vec<_>>().join(", ")
    };
    let alt = layouts.iter().map(|layout| format!("{}: {}.", layout.kind, parts(layout)));
    Ok(Figure {
        title: "The parts of a super-block of 256 weights, in file order".into(),
        caption: "A number is the bytes of a part. d and dmin are f16 numbers, and the scales and minima of the \
                  sub-blocks are small integers, multiples of d and dmin. Cells are not to scale. Q3_K and Q6_K \
                  are without minima. d is first in Q4_K and Q5_K, and behind the codes in the others."
            .into(),
        alt: format!("Five rows of cells. {}", alt.collect::<Vec<_>>().join(" ")),
        drawing: lines(
            &layouts.into_iter().map(super_block_line).collect::<Vec<_>>(),
            "the parts of a super-block",
            "number: bytes of the part",
        )?,
    })
}

fn super_block_line(layout: &k_quants::Layout) -> Line {
    let cells = layout.fields.iter().map(|&field| {
        let text = format!("{}: {}", part_name(field), layout.bytes_of(field));
        match field {
            Field::Scale | Field::Minimum => Cell { text, columns: 2.0, field: true },
            Field::Subs(_) => Cell { text, columns: 4.4, field: true },
            Field::Low(_) | Field::High(_) => Cell::code(text, 3.7),
        }
    });
    let bits = layout.bytes() as f64 * 8.0 / layout.weights as f64;
    let title = format!("{}: {} bytes, {bits} bits a weight", layout.kind, layout.bytes());
    Line { title, cells: cells.collect() }
}

fn part_name(field: Field) -> String {
    match field {
        Field::Scale => "d".into(),
        Field::Minimum => "dmin".into(),
        Field::Subs(Subs::Nibbles | Subs::SixBitPairs) => "scales, minima".into(),
        Field::Subs(_) => "scales".into(),
        Field::Low(plane) => format!("low {} bits", plane.bits),
        Field::High(plane) if plane.bits == 1 => "high bit".into(),
        Field::High(plane) => format!("high {} bits", plane.bits),
    }
}

/// The fields, the first bytes of codes and the last.
fn block_line(kind: TensorType, bytes: &[BlockByte]) -> Line {
    let mut cells = Vec::new();
    let is_code =
        |byte: &&BlockByte| matches!(byte, BlockByte::Nibbles { .. } | BlockByte::Code(_));
    for byte in bytes {
        match byte {
            BlockByte::Scale(0) => cells.push(Cell::field("d")),
            BlockByte::Minimum(0) => cells.push(Cell::field("m")),
            _ => {}
        }
    }
    let codes: Vec<&BlockByte> = bytes.iter().filter(is_code).collect();
    let shown = if cells.len() > 1 { 4 } else { 5 };
    codes.iter().take(shown).for_each(|byte| cells.extend(byte_cells(byte)));
    cells.push(Cell { text: "…".into(), columns: 2.0, field: true });
    codes.last().into_iter().for_each(|byte| cells.extend(byte_cells(byte)));
    Line { title: format!("{kind}: {} bytes for 32 weights", bytes.len()), cells }
}

/// A byte as its two digits, the high one first, or as one code.
fn byte_cells(byte: &BlockByte) -> Vec<Cell> {
    match byte {
        BlockByte::Nibbles { low, high } => {
            vec![Cell::code(high.to_string(), 1.0), Cell::code(low.to_string(), 1.0)]
        }
        BlockByte::Code(element) => vec![Cell::code(element.to_string(), 2.0)],
        BlockByte::Scale(_) | BlockByte::Minimum(_) => Vec::new(),
    }
}

/// Lines of cells under their titles, from the top.
fn lines(lines: &[Line], y_title: &str, x_title: &str) -> Result<Drawing> {
    let top = lines.len() as f64 * LINE;
    // A line has the same height in every figure.
    let height = 778 + 774 * lines.len() as u32;
    let layout = Layout { height, top: 380, left: 160, right: 160, bottom: 400 };
    let x = Axis::linear(x_title, 0.0..COLUMNS);
    let y = Axis::linear(y_title, 0.0..top);
    draw(layout, x, y, |plot| {
        for (index, line) in lines.iter().enumerate() {
            let base = top - (index as f64 + 1.0) * LINE + 0.1;
            plot.label((0.0, base + 1.5), (0, 0), HPos::Left, Ink::Text, &line.title)?;
            draw_cells(plot, base, &line.cells)?;
        }
        Ok(())
    })
}

fn draw_cells(plot: &Plot<'_>, base: f64, cells: &[Cell]) -> Result<()> {
    let mut left = 0.0;
    for cell in cells {
        let right = left + cell.columns;
        let corners = [(left, base), (right, base), (right, base + 1.0), (left, base + 1.0)];
        let outline = corners.into_iter().chain([corners[0]]);
        plot.guide(outline, Pen::solid(if cell.field { Ink::Muted } else { Ink::One }))?;
        let middle = (left + cell.columns / 2.0, base + 0.5);
        let ink = if cell.field { Ink::Muted } else { Ink::Text };
        plot.label(middle, (0, 0), HPos::Center, ink, &cell.text)?;
        left = right;
    }
    Ok(())
}
