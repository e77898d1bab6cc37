//! The matrix that every layout is unpacked to and packed from.

use half::f16;
use ndarray::Array2;

use super::LayoutError;
use kit::int4::{Int4Error, Int4Groups};

/// The bits that a code has at most.
const BITS: u32 = 4;
/// The largest zero point: GPTQ v1 stores 16 as 15. The other layouts end at 15.
const MAX_ZERO: u8 = 1 << BITS;

/// A matrix of codes 0..=15 with a zero point and a scale for each group: weight =
/// (code - zero) * scale. Codes of three bits are the codes 0..=7.
///
/// In a symmetric matrix every zero point is 8, or 4 where codes have three bits. An [`Int4Groups`] is one,
/// its codes plus 8.
#[derive(Clone, Debug, PartialEq)]
pub struct Grouped {
    codes: Array2<u8>,
    zeros: Array2<u8>,
    scales: Array2<f16>,
    g_idx: Vec<usize>,
}

impl Grouped {
    /// Puts `codes`, `[out_features, in_features]`, and the `zeros` and `scales`, both
    /// `[out_features, in_features / group_size]`, together. Groups are neighbours inside a row.
    ///
    /// # Errors
    /// If the groups do not divide the rows, the shapes disagree, a code is above 15, a zero point
    /// above 16, or a scale NaN or infinite.
    pub fn new(
        codes: Array2<u8>,
        zeros: Array2<u8>,
        scales: Array2<f16>,
    ) -> Result<Self, LayoutError> {
        let (in_features, groups) = (codes.ncols(), scales.ncols());
        if groups == 0 || in_features == 0 || !in_features.is_multiple_of(groups) {
            return Err(scales_do_not_fit(&codes, &scales));
        }
        let group_size = in_features / groups;
        Self::with_g_idx(codes, zeros, scales, (0..in_features).map(|i| i / group_size).collect())
    }

    /// A symmetric matrix of codes `q` with a sign, `[out_features, in_features]`, of so many `bits`: half of the
    /// grid is added to each code, and is every zero point.
    ///
    /// # Errors
    /// As [`Grouped::new`], and for a code that does not fit the bits.
    pub fn symmetric(q: &Array2<i8>, scales: Array2<f16>, bits: u32) -> Result<Self, LayoutError> {
        let middle = 1i16 << (bits - 1);
        let shifted = q.mapv(|code| i16::from(code) + middle);
        let outside = shifted.indexed_iter().find(|(_, code)| !(0..2 * middle).contains(*code));
        if let Some(((row, column), &code)) = outside {
            return Err(LayoutError::Code { row, column, code, bits });
        }
        let zeros = Array2::from_elem(scales.dim(), middle as u8);
        Self::new(shifted.mapv(|code| code as u8), zeros, scales)
    }

    /// As [`Grouped::new`], with the group of each input channel, because with act-order the channels
    /// of a group are not neighbours.
    ///
    /// # Errors
    /// As [`Grouped::new`], and [`LayoutError::NoSuchGroup`].
    pub fn with_g_idx(
        codes: Array2<u8>,
        zeros: Array2<u8>,
        scales: Array2<f16>,
        g_idx: Vec<usize>,
    ) -> Result<Self, LayoutError> {
        if codes.is_empty() || scales.is_empty() || scales.nrows() != codes.nrows() {
            return Err(scales_do_not_fit(&codes, &scales));
        }
        check_shape("zeros", zeros.shape(), scales.shape())?;
        check_shape("g_idx", &[g_idx.len()], &[codes.ncols()])?;
        check_codes(&codes, BITS)?;
        check_zeros(&zeros, "a group", MAX_ZERO)?;
        check_scales(&scales)?;
        let groups = scales.ncols();
        match g_idx.iter().position(|&group| group >= groups) {
            Some(input) => {
                Err(LayoutError::NoSuchGroup { input, group: g_idx[input] as i64, groups })
            }
            None => Ok(Self { codes, zeros, scales, g_idx }),
        }
    }

    /// The codes, `[out_features, in_features]`, each 0..=15.
    pub fn codes(&self) -> &Array2<u8> {
        &self.codes
    }

    /// The zero points, `[out_features, groups]`, each 0..=16.
    pub fn zeros(&self) -> &Array2<u8> {
        &self.zeros
    }

    /// The scales, `[out_features, groups]`.
    pub fn scales(&self) -> &Array2<f16> {
        &self.scales
    }

    /// The group of each of the `in_features` input channels.
    pub fn g_idx(&self) -> &[usize] {
        &self.g_idx
    }

    /// Rows.
    pub fn out_features(&self) -> usize {
        self.codes.nrows()
    }

    /// Weights in a row.
    pub fn in_features(&self) -> usize {
        self.codes.ncols()
    }

    /// How many weights of a row share a scale.
    pub fn group_size(&self) -> usize {
        self.codes.ncols() / self.scales.ncols()
    }

    /// True if every zero point is 8.
    pub fn is_symmetric(&self) -> bool {
        self.zeros.iter().all(|&zero| zero == 8)
    }

    /// The weights: (code - zero) * scale in `f32`, `[out_features, in_features]`. The product is
    /// exact, because 5 bits times the 11 of an `f16` fit.
    pub fn dequantize(&self) -> Array2<f32> {
        Array2::from_shape_fn(self.codes.dim(), |(row, column)| {
            let at = (row, self.g_idx[column]);
            // Codes and zero points have no sign, and their difference has one.
            let steps = i16::from(self.codes[(row, column)]) - i16::from(self.zeros[at]);
            f32::from(steps) * self.scales[at].to_f32()
        })
    }

    /// Refuses act-order, for a layout that does not store `g_idx`.
    pub(super) fn refuse_act_order(&self, layout: &'static str) -> Result<(), LayoutError> {
        let size = self.group_size();
        let neighbours = self.in_features().is_multiple_of(self.scales.ncols())
            && self.g_idx.iter().enumerate().all(|(input, &group)| group == input / size);
        if neighbours { Ok(()) } else { Err(LayoutError::ActOrder { layout }) }
    }

    /// Refuses a zero point of 16, for a layout that stores zero points as they are.
    pub(super) fn refuse_zero_16(&self, layout: &'static str) -> Result<(), LayoutError> {
        self.refuse_zeros_above(layout, MAX_ZERO - 1)
    }

    /// Refuses a zero point that a layout cannot store.
    pub(super) fn refuse_zeros_above(
        &self,
        layout: &'static str,
        most: u8,
    ) -> Result<(), LayoutError> {
        check_zeros(&self.zeros, layout, most)
    }

    /// Refuses a code that does not fit so many bits.
    pub(super) fn refuse_codes_beyond(&self, bits: u32) -> Result<(), LayoutError> {
        check_codes(&self.codes, bits)
    }
}

/// The same weights: every code plus 8, every zero point 8.
impl TryFrom<&Int4Groups> for Grouped {
    type Error = LayoutError;

    fn try_from(w: &Int4Groups) -> Result<Self, LayoutError> {
        Self::symmetric(w.q(), w.scales().clone(), BITS)
    }
}

fn scales_do_not_fit(codes: &Array2<u8>, scales: &Array2<f16>) -> LayoutError {
    let scales = [scales.nrows(), scales.ncols()];
    Int4Error::ScalesDoNotFit { scales, codes: [codes.nrows(), codes.ncols()] }.into()
}

fn check_shape(
    tensor: &'static str,
    found: &[usize],
    expected: &[usize],
) -> Result<(), LayoutError> {
    super::words::check_shape("a grouped matrix", tensor, found, expected)
}

fn check_codes(codes: &Array2<u8>, bits: u32) -> Result<(), LayoutError> {
    match codes.indexed_iter().find(|(_, code)| **code >= 1 << bits) {
        Some(((row, column), &code)) => {
            Err(LayoutError::Code { row, column, code: code.into(), bits })
        }
        None => Ok(()),
    }
}

fn check_zeros(zeros: &Array2<u8>, layout: &'static str, most: u8) -> Result<(), LayoutError> {
    match zeros.indexed_iter().find(|(_, zero)| **zero > most) {
        Some(((row, group), &zero)) => {
            let range = format!("0..={most}");
            Err(LayoutError::Zero { layout, row, group, zero, range })
        }
        None => Ok(()),
    }
}

fn check_scales(scales: &Array2<f16>) -> Result<(), LayoutError> {
    match scales.indexed_iter().find(|(_, scale)| !scale.is_finite()) {
        Some(((row, group), &scale)) => Err(LayoutError::Scale { row, group, scale }),
        None => Ok(()),
    }
}
