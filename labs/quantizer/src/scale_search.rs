//! Lab 03's scale search as a rounding: the reader's own with `LAB_IMPL=starter`.

use formats::format::Grid;
use formats::layouts::Grouped;
use formats::registry::{self, Codes, Description, Granularity, StorageFormat};
use ndarray::Array2;
use quantize_model::labs::quantize_groups_by_search;

use crate::{Rounding, WriteError};

/// The scale of each group is the one with the least squared error of the group.
#[derive(Clone, Copy, Debug)]
pub struct ScaleSearch;

impl ScaleSearch {
    /// Whether `format` stores int4 codes in groups of a chosen size, as lab 03 makes them.
    fn is_for(format: &Description) -> bool {
        format.weights == Grid::Int(4) && format.granularity == Granularity::ChosenGroup
    }
}

impl Rounding for ScaleSearch {
    fn check(&self, format: StorageFormat) -> Result<(), WriteError> {
        if Self::is_for(format.description) {
            return Ok(());
        }
        let fits = registry::ALL.into_iter().filter(|known| Self::is_for(known));
        let fits: Vec<_> = fits.map(|known| known.name).collect();
        Err(WriteError::Unsupported(format!(
            "--rounding search is for {}, not {format}: take one of these formats, or --rounding nearest",
            fits.join(", ")
        )))
    }

    fn round(&self, _: &str, w: &Array2<f32>, format: StorageFormat) -> Result<Codes, WriteError> {
        self.check(format)?;
        let group_size = usize::try_from(format.group_size).unwrap_or(usize::MAX);
        let searched =
            quantize_groups_by_search(w, group_size).map_err(formats::FormatError::from)?;
        let grouped = Grouped::try_from(&searched).map_err(formats::FormatError::from)?;
        Ok(Codes::Int4(grouped))
    }
}
