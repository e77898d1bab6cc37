//! One matrix with lab 06's functions, and with scales that the lab does not choose.

use formats::registry::StorageFormat;
use gptq::{Grid, GroupScales, Hessian, Rounded, Settings};
use ndarray::{Array2, Axis};

use crate::WriteError;
use crate::refine::{refine, searched_scales};

/// Where the scales of groups come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scales {
    /// From the largest magnitude of the group, by the rule of the grid, before anything is rounded.
    Static,
    /// From the largest magnitude when the first column of the group is rounded.
    Fresh,
    /// From a search before anything is rounded: the scale with the least squared error of the group, each
    /// weight's error times its diagonal element of the Hessian.
    Searched,
}

/// How the codes are chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// The grid of four bits. Eight bits have lab 01's.
    pub int4: Grid,
    /// Where the scales of groups come from.
    pub scales: Scales,
    /// Whether columns with large inputs are rounded first.
    pub act_order: bool,
    /// The share of the mean of the diagonal that is added to it.
    pub damping: f64,
    /// Whether the Hessian of an input sees the rounded projections before it in the same decoder layer.
    /// Else one run of the layer gives all its Hessians.
    pub sequential: bool,
    /// How often scales and codes are fitted again after GPTQ, each to the other.
    pub sweeps: usize,
}

impl Options {
    /// The choices of llm-compressor 0.14: its grid, static scales, act-order, damping 0.01, one run for
    /// each layer.
    pub const LLM_COMPRESSOR: Self = Self {
        int4: Grid::LLM_COMPRESSOR,
        scales: Scales::Static,
        act_order: true,
        damping: 0.01,
        sequential: false,
        sweeps: 0,
    };

    /// The settings of a matrix with rows of `in_features`.
    pub(crate) fn settings(
        &self,
        format: StorageFormat,
        in_features: usize,
    ) -> Result<Settings, WriteError> {
        let &Self { int4, act_order, damping, .. } = self;
        let plain = if format.description.is_int4_in_chosen_groups() {
            Settings::new(int4, usize::try_from(format.group_size).unwrap_or(usize::MAX))
        } else if format.description.is_int8_per_channel() {
            Settings::new(Grid::LAB_01, in_features)
        } else {
            let problem = format!(
                "GPTQ is for int4 in groups of a chosen size and for int8 per channel, not {format}"
            );
            return Err(WriteError::Unsupported(problem));
        };
        let fresh = self.scales == Scales::Fresh;
        let scales = if fresh { GroupScales::Fresh } else { GroupScales::Static };
        Ok(Settings { scales, act_order, damping, ..plain })
    }
}

/// The codes of `w`, `[out_features, in_features]`, under the Hessian `h` of its inputs.
pub(crate) fn round(
    w: &Array2<f32>,
    h: &Hessian,
    options: &Options,
    format: StorageFormat,
) -> Result<Rounded, WriteError> {
    let settings = options.settings(format, w.ncols())?;
    if options.scales != Scales::Searched && options.sweeps == 0 {
        return Ok(gptq::gptq(w, h, &settings)?);
    }
    settings.check(w.ncols())?;
    let Settings { grid, group_size, .. } = settings;
    let (prepared, damped) = gptq::prepare(w, h, settings.damping)?;
    let rounded = if options.scales == Scales::Searched {
        let scales = searched_scales(&prepared, damped.diag(), group_size, &grid);
        with_scales(&prepared, &damped, scales, &settings)?
    } else {
        gptq::gptq(w, h, &settings)?
    };
    let (codes, scales) = refine(&rounded, &prepared, &damped, &grid, options.sweeps);
    Ok(Rounded::new(codes, scales)?)
}

/// GPTQ with given scales.
fn with_scales(
    w: &Array2<f64>,
    h: &Array2<f64>,
    scales: Array2<f32>,
    settings: &Settings,
) -> Result<Rounded, WriteError> {
    let Settings { grid, group_size, block, act_order, .. } = *settings;
    let order = if act_order { gptq::activation_order(h) } else { (0..w.ncols()).collect() };
    let u = gptq::inverse_factor(&h.select(Axis(0), &order).select(Axis(1), &order))?;
    let each = Array2::from_shape_fn(w.dim(), |(row, at)| scales[(row, order[at] / group_size)]);
    let rounded = gptq::round_static(&w.select(Axis(1), &order), &u, &each, block, &grid);
    let mut codes = Array2::zeros(w.dim());
    for (at, &column) in order.iter().enumerate() {
        codes.column_mut(column).assign(&rounded.column(at));
    }
    Ok(Rounded::new(codes, scales)?)
}
