//! A plot of a few curves that tells where on the canvas their points are.

use crate::figures::{Axis, Drawing, Key, Layout, Mark, Pen, draw};
use anyhow::Result;

/// A curve: its name in the legend, what it looks like, its points.
pub struct Curve {
    /// What the legend calls it.
    pub name: String,
    /// Its points.
    pub mark: Mark,
    /// The line through them.
    pub pen: Pen,
    /// Values on the axes.
    pub points: Vec<(f64, f64)>,
}

/// Where the points of each curve are on the canvas.
pub type Places = Vec<Vec<(i32, i32)>>;

/// Draws the curves with a legend of a line each, and says where their points are.
pub fn draw_curves(
    layout: Layout,
    x: Axis,
    y: Axis,
    curves: &[Curve],
) -> Result<(Drawing, Places)> {
    let y = y.holding(curves.iter().flat_map(|curve| curve.points.iter().map(|(_, y)| y)));
    let mut places = Places::new();
    let drawing = draw(layout, x, y, |plot| {
        for (line, curve) in (1..).zip(curves) {
            plot.curve(&curve.points, curve.pen, curve.mark)?;
            plot.legend(line, &[Key::Mark(curve.mark, &curve.name)])?;
            let at = curve.points.iter().map(|&(x, y)| plot.at(x, y));
            places.push(at.collect::<Result<_>>()?);
        }
        Ok(())
    })?;
    Ok((drawing, places))
}
