//! Lab 03's scale search as a rounding: the reader's own with `LAB_IMPL=starter`. The lab has int4; codes of
//! fewer bits have the search that GPTQ's scales come from, with each weight as important as the others.

use formats::FormatError;
use formats::format::{Ends, Grid};
use formats::layouts::Grouped;
use formats::registry::{Codes, StorageFormat};
use gptq::Settings;
use ndarray::{Array1, Array2};
use quantize_model::labs::quantize_groups_by_search;

use crate::gptq_matrix::grouped;
use crate::refine::searched_scales;
use crate::{Rounding, WriteError, grid};

/// The scale of each group is the one with the least squared error of the group.
#[derive(Clone, Copy, Debug)]
pub struct ScaleSearch;

impl Rounding for ScaleSearch {
    fn lab(&self, format: StorageFormat) -> Option<&'static str> {
        (format.description.weights == Grid::Int(4)).then_some("03")
    }

    fn check(&self, format: StorageFormat) -> Result<(), WriteError> {
        if format.description.is_int_in_chosen_groups() {
            return Ok(());
        }
        Err(WriteError::Unsupported(format!(
            "the search is for int4 and int3 in groups of a chosen size, not for {format}: take w4a16, or the \
             nearest codes"
        )))
    }

    fn round(
        &self,
        _: &str,
        w: &Array2<f32>,
        format: StorageFormat,
    ) -> Result<Option<Codes>, WriteError> {
        self.check(format)?;
        let group_size = usize::try_from(format.group_size).unwrap_or(usize::MAX);
        let grouped = match format.description.weights.bits() {
            4 => {
                let searched = quantize_groups_by_search(w, group_size).map_err(FormatError::from);
                Grouped::try_from(&searched?).map_err(FormatError::from)?
            }
            bits => by_search(w, group_size, bits)?,
        };
        Ok(Some(Codes::Grouped(grouped)))
    }
}

/// The nearest codes of so many bits under searched scales, which may be negative.
fn by_search(w: &Array2<f32>, group_size: usize, bits: u32) -> Result<Grouped, WriteError> {
    let grid = grid(Ends::AllCodes, bits);
    Settings::new(grid, group_size).check(w.ncols())?;
    if let Some((index, &value)) = w.iter().enumerate().find(|(_, value)| !value.is_finite()) {
        return Err(FormatError::NotFinite { index, value }.into());
    }
    let (w, equal) = (w.mapv(f64::from), Array1::ones(w.ncols()));
    let scales = searched_scales(&w, equal.view(), group_size, &grid);
    let code = |(row, column)| grid.code(w[(row, column)], scales[(row, column / group_size)]);
    grouped(&Array2::from_shape_fn(w.dim(), code), &scales, bits)
}
