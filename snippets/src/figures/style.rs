//! The one style of all figures: canvas, colours, pens, markers, sizes of text.
//!
//! plotters writes colours as hexadecimal numbers, and the book's colours are CSS variables that
//! follow the reader's theme. So a [`Pen`] draws with a colour that only says which variable and
//! which dash are meant, and [`super::svg`] puts those in its place.

use plotters::style::{Color, RGBAColor, RGBColor};

/// Width of the canvas. A unit is a tenth of a pixel at the width figures are made for, because
/// plotters counts in whole units: whole pixels would make stairs of slanted lines.
pub const WIDTH: u32 = 5600;
/// Height of the canvas, unless a figure says otherwise.
pub const HEIGHT: u32 = 4000;

/// Size of all text. On a phone a figure is about 340 pixels wide: there it is 10 pixels.
pub const TEXT: f64 = 168.0;
/// From one line of text to the next.
pub const LINE: i32 = 215;
/// Mean width of a character, generous because the page chooses the font.
pub const CHARACTER: i32 = 94;

/// From one entry of a legend to the next.
pub const KEY_GAP: i32 = 190;

/// Width of the lines that carry data.
pub const STROKE: u32 = 24;
/// Width of the lines of the grid and of the axes.
pub const HAIRLINE: u32 = 7;
/// Width of the broad, pale lines that others lie on.
pub const BAND: u32 = 4 * STROKE;
/// Opacity of such a line.
pub const BAND_TINT: f64 = 0.4;
/// Opacity of an area.
pub const AREA_TINT: f64 = 0.22;
/// Radius of a marker.
pub const MARKER: i32 = 38;

/// What a mark is painted with: one CSS variable each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ink {
    /// First series.
    One = 1,
    /// Second series.
    Two,
    /// Third series.
    Three,
    /// Fourth series.
    Four,
    /// Fifth series.
    Five,
    /// Text, and marks that belong to no series.
    Text,
    /// Axes and their numbers, and what is there for comparison.
    Muted,
    /// The grid.
    Grid,
}

impl Ink {
    /// Every ink with its CSS variable, in the order of their numbers.
    const VARIABLES: [(Self, &str); 8] = [
        (Self::One, "--plot-1"),
        (Self::Two, "--plot-2"),
        (Self::Three, "--plot-3"),
        (Self::Four, "--plot-4"),
        (Self::Five, "--plot-5"),
        (Self::Text, "--plot-ink"),
        (Self::Muted, "--plot-muted"),
        (Self::Grid, "--plot-grid"),
    ];

    /// The CSS variable.
    pub fn variable(self) -> &'static str {
        Self::VARIABLES[self as usize - 1].1
    }
}

/// How a line is broken, so that series differ without their colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dash {
    /// Not at all.
    Solid,
    /// Dashes.
    Dashed,
    /// Dots.
    Dotted,
}

impl Dash {
    /// Every dash, in the order of their numbers.
    pub const ALL: [Self; 3] = [Self::Solid, Self::Dashed, Self::Dotted];

    /// The value of `stroke-dasharray`, if the line is broken.
    pub fn array(self) -> Option<&'static str> {
        match self {
            Self::Solid => None,
            Self::Dashed => Some("110 60"),
            Self::Dotted => Some("26 44"),
        }
    }
}

/// An ink and a dash, in disguise as a colour of plotters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pen {
    /// The colour.
    pub ink: Ink,
    /// The dash.
    pub dash: Dash,
    /// Whether text keeps the lines behind it at a distance.
    pub halo: bool,
}

impl Pen {
    /// An unbroken line of this ink.
    pub const fn solid(ink: Ink) -> Self {
        Self { ink, dash: Dash::Solid, halo: false }
    }

    /// A dashed line of this ink.
    pub const fn dashed(ink: Ink) -> Self {
        Self { dash: Dash::Dashed, ..Self::solid(ink) }
    }

    /// A dotted line of this ink.
    pub const fn dotted(ink: Ink) -> Self {
        Self { dash: Dash::Dotted, ..Self::solid(ink) }
    }

    /// Text of this ink.
    pub fn text(ink: Ink) -> Self {
        Self { halo: true, ..Self::solid(ink) }
    }

    /// The colour that stands for this pen until [`Pen::from_hex`] reads it back.
    pub fn color(self) -> RGBAColor {
        RGBColor(self.ink as u8, self.dash as u8, u8::from(self.halo)).to_rgba()
    }

    /// The pen that a colour such as `#030100` stands for.
    pub fn from_hex(hex: &str) -> Option<Self> {
        let byte = |at: usize| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok();
        let hex_digits = hex.strip_prefix('#')?.len() == 6;
        let (ink, dash, halo) = (byte(1)?, byte(3)?, byte(5)?);
        let (ink, _) = *Ink::VARIABLES.get(usize::from(ink).checked_sub(1)?)?;
        let dash = *Dash::ALL.get(usize::from(dash))?;
        (hex_digits && halo < 2).then_some(Self { ink, dash, halo: halo == 1 })
    }
}

/// What a data point looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A filled circle.
    Dot,
    /// An open circle.
    Ring,
    /// A filled square.
    Square,
}

/// A marker: shape, ink, radius.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Its shape.
    pub shape: Shape,
    /// Its colour.
    pub ink: Ink,
    /// Its radius.
    pub radius: i32,
}

impl Mark {
    /// A marker of the usual size.
    pub const fn new(shape: Shape, ink: Ink) -> Self {
        Self { shape, ink, radius: MARKER }
    }

    /// The same marker, `radius` large.
    pub const fn sized(self, radius: i32) -> Self {
        Self { radius, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pen_survives_its_disguise() {
        for (ink, _) in Ink::VARIABLES {
            for dash in Dash::ALL {
                for halo in [false, true] {
                    let pen = Pen { ink, dash, halo };
                    let (r, g, b) = pen.color().rgb();
                    assert_eq!(Pen::from_hex(&format!("#{r:02X}{g:02X}{b:02X}")), Some(pen));
                }
            }
        }
    }

    #[test]
    fn a_colour_that_is_no_pen_is_not_taken_for_one() {
        for hex in ["#000000", "#FFFFFF", "#090000", "#010300", "#010002", "none", "#01000000"] {
            assert_eq!(Pen::from_hex(hex), None, "{hex}");
        }
    }
}
