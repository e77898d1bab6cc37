//! A group of weights encoded by a rule.

/// Where 0 lies on the grid.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Zero {
    /// At code 0, so that nothing is stored.
    Nowhere,
    /// At this code: a constant (8) in a symmetric rule, and stored in the other rules.
    Point(i32),
    /// Not at a code. Code 0 is this minimum, and the other codes count up from it.
    Minimum(f32),
}

/// A group of weights as a rule stores it, and the values that are read back.
#[derive(Clone, Debug, PartialEq)]
pub struct Encoded {
    /// One code per weight, as the rule counts them: -8..=7, or 0..=15 where there is a zero point.
    pub codes: Vec<i32>,
    /// The scale as it is stored. GGML and lab 03 store `f16`, which is widened exactly.
    pub scale: f32,
    /// Where 0 lies.
    pub zero: Zero,
    /// The weights as they are read back, in the unit of the weights.
    pub values: Vec<f32>,
}

impl Encoded {
    /// How many steps from 0 each weight is put: code minus zero point. From a minimum, the steps
    /// above it.
    pub fn steps(&self) -> Vec<i32> {
        let zero = if let Zero::Point(zero) = self.zero { zero } else { 0 };
        self.codes.iter().map(|code| code - zero).collect()
    }

    /// Whether scale, minimum and values are all numbers.
    pub(super) fn is_finite(&self) -> bool {
        let minimum = if let Zero::Minimum(minimum) = self.zero { minimum } else { 0.0 };
        let values = self.values.iter().all(|value| value.is_finite());
        self.scale.is_finite() && minimum.is_finite() && values
    }
}
