//! Lab 03's scale search as a rounding: the reader's own with `LAB_IMPL=starter`.

use formats::layouts::Grouped;
use formats::registry::{Codes, StorageFormat};
use ndarray::Array2;
use quantize_model::labs::quantize_groups_by_search;

use crate::{Rounding, WriteError};

/// The scale of each group is the one with the least squared error of the group.
#[derive(Clone, Copy, Debug)]
pub struct ScaleSearch;

impl Rounding for ScaleSearch {
    fn lab(&self) -> &'static str {
        "03"
    }

    fn check(&self, format: StorageFormat) -> Result<(), WriteError> {
        if format.description.is_int4_in_chosen_groups() {
            return Ok(());
        }
        Err(WriteError::Unsupported(format!(
            "lab 03's search is for int4 in groups of a chosen size, not for {format}: take w4a16, or the \
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
        let searched =
            quantize_groups_by_search(w, group_size).map_err(formats::FormatError::from)?;
        let grouped = Grouped::try_from(&searched).map_err(formats::FormatError::from)?;
        Ok(Some(Codes::Int4(grouped)))
    }
}
