//! Axes, marks and labels in the style of [`super::style`].

use std::ops::Range;

use anyhow::{Result, bail, ensure};
use plotters::coord::Shift;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::style::{
    self, AREA_TINT, BAND, BAND_TINT, CHARACTER, HAIRLINE, Ink, KEY_GAP, LINE, MARKER, Mark, Pen,
    STROKE, Shape, TEXT, WIDTH,
};
use super::svg::Drawing;

/// One axis: its title with the unit, its range, its numbers.
pub struct Axis {
    title: String,
    range: Range<f64>,
    ticks: Vec<(f64, String)>,
    logarithmic: bool,
    grid: bool,
}

impl Axis {
    /// An axis on which equal differences are equal lengths.
    pub fn linear(title: impl Into<String>, range: Range<f64>) -> Self {
        Self { title: title.into(), range, ticks: Vec::new(), logarithmic: false, grid: true }
    }

    /// An axis on which equal ratios are equal lengths.
    pub fn log(title: impl Into<String>, range: Range<f64>) -> Self {
        Self { logarithmic: true, ..Self::linear(title, range) }
    }

    /// Numbers at these values, written by `format`.
    pub fn ticks(
        mut self,
        values: impl IntoIterator<Item = f64>,
        format: impl Fn(f64) -> String,
    ) -> Self {
        self.ticks = values.into_iter().map(|value| (value, format(value))).collect();
        self
    }

    /// The same axis, stretched where it would not hold these values, because a reader who breaks the lab
    /// on purpose should see the effect.
    pub fn holding<'a>(mut self, values: impl IntoIterator<Item = &'a f64>) -> Self {
        // A logarithmic axis has no place for 0: the mark itself will say so.
        let none = if self.logarithmic { 0.0 } else { f64::NEG_INFINITY };
        for &value in values.into_iter().filter(|&&value| value > none && value.is_finite()) {
            self.range.start = self.range.start.min(value);
            self.range.end = self.range.end.max(value);
        }
        self
    }

    /// The same axis without lines across the plot.
    pub fn without_grid(mut self) -> Self {
        self.grid = false;
        self
    }

    /// Where a value is along the axis. The logarithm is that of `libm`, which is the same on
    /// every machine.
    fn position(&self, value: f64) -> f64 {
        if self.logarithmic { libm::log10(value) } else { value }
    }

    fn positions(&self) -> Range<f64> {
        self.position(self.range.start)..self.position(self.range.end)
    }

    /// Whether the value is on the axis.
    pub fn holds(&self, value: f64) -> bool {
        (self.range.start..=self.range.end).contains(&value)
    }
}

/// Room around the plot, in units of the canvas.
#[derive(Clone, Copy)]
pub struct Layout {
    /// Height of the whole canvas.
    pub height: u32,
    /// Above the plot, where the y axis has its title and the legend its lines.
    pub top: u32,
    /// Left of it, where the numbers of the y axis are.
    pub left: u32,
    /// Right of it.
    pub right: u32,
    /// Below it, where the x axis has numbers and title.
    pub bottom: u32,
}

impl Layout {
    /// Columns and rows of the canvas that the axes span; rows count downwards.
    fn field(&self) -> (Range<i32>, Range<i32>) {
        let columns = self.left as i32..(WIDTH - self.right) as i32;
        (columns, (self.height - self.bottom) as i32..self.top as i32)
    }

    /// Room for a legend of `lines` lines.
    pub fn with_legend(lines: u32) -> Self {
        let usual = Self::default();
        Self { top: usual.top + lines * LINE as u32, ..usual }
    }
}

impl Default for Layout {
    fn default() -> Self {
        Self { height: style::HEIGHT, top: 380, left: 640, right: 160, bottom: 560 }
    }
}

/// An entry of a legend: a sample and what it means.
pub enum Key<'a> {
    /// A marker.
    Mark(Mark, &'a str),
    /// A line.
    Line(Pen, &'a str),
    /// A broad, pale line.
    Band(Ink, &'a str),
}

type Canvas<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// A plot with its axes drawn, ready for marks. Positions are values on the axes.
pub struct Plot<'a> {
    canvas: Canvas<'a>,
    field: Cartesian2d<RangedCoordf64, RangedCoordf64>,
    layout: Layout,
    x: Axis,
    y: Axis,
}

/// Draws the axes, then what `marks` adds.
///
/// # Errors
/// If `marks` fails, or puts a mark outside the axes.
pub fn draw(
    layout: Layout,
    x: Axis,
    y: Axis,
    marks: impl FnOnce(&Plot<'_>) -> Result<()>,
) -> Result<Drawing> {
    let mut document = String::new();
    {
        let backend = SVGBackend::with_string(&mut document, (WIDTH, layout.height));
        let canvas = backend.into_drawing_area();
        let field = Cartesian2d::new(x.positions(), y.positions(), layout.field());
        let plot = Plot { canvas, field, layout, x, y };
        plot.axes()?;
        marks(&plot)?;
        plot.canvas.present()?;
    }
    Drawing::from_plotters(&document, WIDTH, layout.height)
}

/// A number of an axis as it is, with a true minus sign.
pub fn plain(value: f64) -> String {
    format!("{value}").replace('-', "−")
}

/// A fraction on an axis as a percentage: 0.003 gives `0.3 %`.
pub fn axis_percent(fraction: f64) -> String {
    let text = format!("{:.4}", fraction * 100.0);
    format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
}

impl Plot<'_> {
    /// Where the values `x` and `y` are on the canvas.
    ///
    /// # Errors
    /// If they are outside the axes or not finite: a mark at the edge would be a lie.
    pub fn at(&self, x: f64, y: f64) -> Result<(i32, i32)> {
        ensure!(self.x.holds(x), "{x} is not on the axis «{}»: {:?}", self.x.title, self.x.range);
        ensure!(self.y.holds(y), "{y} is not on the axis «{}»: {:?}", self.y.title, self.y.range);
        // The field is linear: plotters' own logarithmic axis uses the system's logarithm, whose last bit
        // differs between machines.
        Ok(self.field.translate(&(self.x.position(x), self.y.position(y))))
    }

    /// A line through points.
    pub fn line(&self, points: impl IntoIterator<Item = (f64, f64)>, pen: Pen) -> Result<()> {
        self.stroke(points, pen, STROKE)
    }

    /// A thin line through points: a guide, not data.
    pub fn guide(&self, points: impl IntoIterator<Item = (f64, f64)>, pen: Pen) -> Result<()> {
        self.stroke(points, pen, 2 * HAIRLINE)
    }

    /// The thinnest line, as those of the grid.
    pub fn hairline(&self, points: impl IntoIterator<Item = (f64, f64)>, pen: Pen) -> Result<()> {
        self.stroke(points, pen, HAIRLINE)
    }

    /// A broad, pale line through points, for what others lie on.
    pub fn band(&self, points: impl IntoIterator<Item = (f64, f64)>, ink: Ink) -> Result<()> {
        let points = self.all_at(points)?;
        let style = Pen::solid(ink).color().mix(BAND_TINT).stroke_width(BAND);
        Ok(self.canvas.draw(&PathElement::new(points, style))?)
    }

    fn all_at(&self, points: impl IntoIterator<Item = (f64, f64)>) -> Result<Vec<(i32, i32)>> {
        points.into_iter().map(|(x, y)| self.at(x, y)).collect()
    }

    fn stroke(
        &self,
        points: impl IntoIterator<Item = (f64, f64)>,
        pen: Pen,
        width: u32,
    ) -> Result<()> {
        let points = self.all_at(points)?;
        self.path(points, pen, width)
    }

    /// The area between a line and the bottom of the plot, tinted.
    pub fn area(&self, points: impl IntoIterator<Item = (f64, f64)>, ink: Ink) -> Result<()> {
        let mut corners = self.all_at(points)?;
        let (Some(&first), Some(&last)) = (corners.first(), corners.last()) else {
            bail!("an area needs points");
        };
        let floor = self.at(self.x.range.start, self.y.range.start)?.1;
        corners.extend([(last.0, floor), (first.0, floor)]);
        Ok(self
            .canvas
            .draw(&Polygon::new(corners, Pen::solid(ink).color().mix(AREA_TINT).filled()))?)
    }

    /// A marker at each point.
    pub fn marks(&self, points: impl IntoIterator<Item = (f64, f64)>, mark: Mark) -> Result<()> {
        points.into_iter().try_for_each(|(x, y)| self.mark_at(self.at(x, y)?, mark))
    }

    fn mark_at(&self, (x, y): (i32, i32), mark: Mark) -> Result<()> {
        let (r, pen) = (mark.radius, Pen::solid(mark.ink).color());
        // A square of the circle's width would look larger than the circle.
        let half = r * 9 / 10;
        match mark.shape {
            Shape::Dot => self.canvas.draw(&Circle::new((x, y), r, pen.filled()))?,
            Shape::Ring => self.canvas.draw(&Circle::new(
                (x, y),
                r,
                pen.stroke_width(STROKE.min(r as u32 * 11 / 20)),
            ))?,
            Shape::Square => self.canvas.draw(&Rectangle::new(
                [(x - half, y - half), (x + half, y + half)],
                pen.filled(),
            ))?,
        }
        Ok(())
    }

    /// A line through points, with a marker at each.
    pub fn curve(&self, points: &[(f64, f64)], pen: Pen, mark: Mark) -> Result<()> {
        self.line(points.iter().copied(), pen)?;
        self.marks(points.iter().copied(), mark)
    }

    /// Text `offset` units right of and below a point; `anchor` says which of its ends is there.
    pub fn label(
        &self,
        point: (f64, f64),
        offset: (i32, i32),
        anchor: HPos,
        ink: Ink,
        text: &str,
    ) -> Result<()> {
        let (x, y) = self.at(point.0, point.1)?;
        self.write(text, (x + offset.0, y + offset.1), anchor, Pen::text(ink))
    }

    /// Samples and their meanings in a row above the plot, `line` lines under the title of the
    /// y axis.
    pub fn legend(&self, line: i32, keys: &[Key<'_>]) -> Result<()> {
        let y = self.title_line() + line * LINE;
        let mut x = 2 * MARKER;
        for key in keys {
            let (sample, meaning) = match key {
                Key::Mark(mark, meaning) => {
                    self.mark_at((x + mark.radius, y), *mark)?;
                    (2 * mark.radius, meaning)
                }
                Key::Line(pen, meaning) => {
                    self.path(vec![(x, y), (x + 400, y)], *pen, STROKE)?;
                    (400, meaning)
                }
                Key::Band(ink, meaning) => {
                    let style = Pen::solid(*ink).color().mix(BAND_TINT).stroke_width(BAND);
                    self.canvas.draw(&PathElement::new(vec![(x, y), (x + 300, y)], style))?;
                    (300, meaning)
                }
            };
            self.write(meaning, (x + sample + 70, y), HPos::Left, Pen::solid(Ink::Text))?;
            x += sample + 70 + CHARACTER * meaning.chars().count() as i32 + KEY_GAP;
        }
        Ok(())
    }

    fn axes(&self) -> Result<()> {
        let (columns, rows) = self.layout.field();
        for (value, text) in &self.y.ticks {
            let y = self.at(self.x.range.start, *value)?.1;
            if self.y.grid {
                self.path(
                    vec![(columns.start, y), (columns.end, y)],
                    Pen::solid(Ink::Grid),
                    HAIRLINE,
                )?;
            }
            self.write(text, (columns.start - 90, y), HPos::Right, Pen::solid(Ink::Muted))?;
        }
        for (value, text) in &self.x.ticks {
            let x = self.at(*value, self.y.range.start)?.0;
            if self.x.grid {
                self.path(vec![(x, rows.start), (x, rows.end)], Pen::solid(Ink::Grid), HAIRLINE)?;
            }
            let tick = vec![(x, rows.start), (x, rows.start + 50)];
            self.path(tick, Pen::solid(Ink::Muted), 2 * HAIRLINE)?;
            self.write(text, (x, rows.start + 165), HPos::Center, Pen::solid(Ink::Muted))?;
        }
        if !self.x.ticks.is_empty() {
            let floor = vec![(columns.start, rows.start), (columns.end, rows.start)];
            self.path(floor, Pen::solid(Ink::Muted), 2 * HAIRLINE)?;
        }
        self.titles()
    }

    /// The title of the y axis stands above it: turned text is hard to read on a phone.
    fn titles(&self) -> Result<()> {
        let ink = Pen::solid(Ink::Text);
        self.write(&self.y.title, (2 * MARKER, self.title_line()), HPos::Left, ink)?;
        let (columns, rows) = self.layout.field();
        let middle = (columns.start + columns.end) / 2;
        let numbers = if self.x.ticks.is_empty() { 0 } else { LINE };
        self.write(&self.x.title, (middle, rows.start + 165 + numbers), HPos::Center, ink)
    }

    fn title_line(&self) -> i32 {
        LINE * 2 / 3
    }

    fn path(&self, points: Vec<(i32, i32)>, pen: Pen, width: u32) -> Result<()> {
        Ok(self.canvas.draw(&PathElement::new(points, pen.color().stroke_width(width)))?)
    }

    fn write(&self, text: &str, at: (i32, i32), anchor: HPos, pen: Pen) -> Result<()> {
        // plotters writes its sizes divided by 1.24.
        let (font, color) = (("sans-serif", TEXT * 1.24), pen.color());
        let style = font.into_text_style(&self.canvas).color(&color);
        let style = style.pos(Pos::new(anchor, VPos::Center));
        Ok(self.canvas.draw(&Text::new(text, at, style))?)
    }
}
