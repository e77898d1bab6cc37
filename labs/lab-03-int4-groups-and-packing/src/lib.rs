//! Lab 03: int4 in groups, and packing.
//!
//! The grid is int4, -7 to 7. A scale belongs to `group_size` neighbours inside a row, so the shape
//! of [`Int4Groups::scales`], `[out_features, in_features / group_size]`, is again the granularity.
//! Codes of four bits share bytes and words, and the layout is the place of each code in a word.
//! `formats::layouts` has the layouts of AutoAWQ, GPTQ, compressed-tensors and GGML.
//!
//! The functions are re-exported from [`solution`], and with `LAB_IMPL=starter` from [`starter`],
//! which is the file to edit. Rounding and the search for NaN are those of lab 01.

mod lab_01;
pub mod solution;
pub mod starter;
pub mod wrong_answers;

pub use kit::int4::{
    AWQ_ORDER, Int4Error, Int4Groups, LINEAR_ORDER, NibbleOrder, QMAX, shrunk_maxima,
    sizes_that_divide,
};
pub use lab_01::{check_finite, quantize_value};

kit::implementation!();
