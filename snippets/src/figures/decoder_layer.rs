//! The seven matrices of a decoder layer, drawn to scale.

use anyhow::Result;
use formats::architecture::LLAMA31_8B;
use kit::table::{count, percent};

use super::{Axis, Drawing, Figure, HPos, Ink, Layout, Pen, Plot, draw};
use crate::tables::cost_model::MATRICES;

/// Where the lower left corner of each matrix is, in widths of `hidden`: attention above the MLP.
const CORNERS: [(f64, f64); 7] =
    [(0.0, 5.0), (2.5, 5.0), (5.0, 5.0), (7.4, 5.0), (0.0, 0.0), (2.5, 0.0), (5.0, 0.0)];

/// The matrices of a layer of Llama-3.1-8B.
pub fn matrices() -> Result<Figure> {
    let shapes = LLAMA31_8B.layer_matrices();
    let weights = shapes.map(|[rows, columns]| (rows * columns) as f64);
    let mlp = weights[4..].iter().sum::<f64>() / weights.iter().sum::<f64>();
    Ok(Figure {
        title: "The seven matrices of a decoder layer, to scale".into(),
        caption: format!(
            "Llama-3.1-8B. A rectangle is as wide as the matrix has inputs and as high as it has \
             outputs. q, k and v read the output of one norm, gate and up that of another. The \
             three matrices of the MLP, below, hold {} of the weights.",
            percent(mlp)
        ),
        alt: "Two rows of rectangles. Above: q and o are squares, k and v a quarter as high. Below: \
              gate and up are as wide as q and three and a half times as high, down is as high as q \
              and three and a half times as wide."
            .into(),
        drawing: drawing(&shapes)?,
    })
}

fn drawing(shapes: &[[u64; 2]; 7]) -> Result<Drawing> {
    // 550 units of the canvas for `hidden`, across and up.
    let layout = Layout { height: 4575, top: 380, left: 160, right: 160, bottom: 400 };
    let x = Axis::linear("wide: in_features", 0.0..9.6);
    let y = Axis::linear("high: out_features", 0.0..6.9);
    draw(layout, x, y, |plot| {
        for ((matrix, corner), shape) in MATRICES.iter().zip(CORNERS).zip(shapes) {
            rectangle(plot, matrix.name, corner, shape)?;
        }
        Ok(())
    })
}

fn rectangle(plot: &Plot<'_>, name: &str, corner: (f64, f64), shape: &[u64; 2]) -> Result<()> {
    let [high, wide] = shape.map(|size| size as f64 / LLAMA31_8B.hidden as f64);
    let ((left, floor), (right, top)) = (corner, (corner.0 + wide, corner.1 + high));
    let corners = [(left, floor), (right, floor), (right, top), (left, top), (left, floor)];
    plot.guide(corners, Pen::solid(Ink::One))?;
    let size = |size: u64| count(size as usize);
    let text = format!("[{}, {}]", size(shape[0]), size(shape[1]));
    plot.label((left, top), (0, -285), HPos::Left, Ink::Text, name)?;
    plot.label((left, top), (0, -110), HPos::Left, Ink::Muted, &text)
}
