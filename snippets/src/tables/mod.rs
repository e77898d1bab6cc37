//! Tables, computed by the labs. insta pins each under its name in `tests/snapshots`.

pub mod captured;
pub mod dequantization;
pub mod lab_01;
pub mod lab_02;
pub mod mental_model;
pub mod rounding;

use kit::Table;

use crate::Entry;

/// Every table that needs nothing but the labs.
pub const ALL: &[Entry<Table>] = &[
    Entry { name: "model_bytes", make: mental_model::model_bytes },
    Entry { name: "three_questions", make: mental_model::three_questions },
    Entry { name: "bits_ladder", make: mental_model::bits_ladder },
    Entry { name: "real_slice_contents", make: lab_01::real_slice_contents },
    Entry { name: "lab_01_outlier_row", make: lab_01::outlier_row },
    Entry { name: "lab_01_real_errors", make: lab_01::real_errors },
    Entry { name: "lab_01_layer_output", make: lab_01::layer_output },
    Entry { name: "lab_01_memory", make: lab_01::memory },
    Entry { name: "rounding_rules", make: rounding::rounding_rules },
    Entry { name: "rounding_ties", make: rounding::ties },
    Entry { name: "clip_rules", make: rounding::clip_rules },
    Entry { name: "zero_guards", make: rounding::zero_guards },
    Entry { name: "published_ceilings", make: lab_02::published_ceilings },
    Entry { name: "published_batch_crossover", make: lab_02::published_batch_crossover },
    Entry { name: "published_asynchronous", make: lab_02::published_asynchronous },
    Entry { name: "matvec_captured", make: dequantization::matvec_captured },
    Entry { name: "quantize_captured", make: dequantization::quantize_captured },
    Entry { name: "cpu_run", make: dequantization::cpu_run },
];

/// The tables there are now: those above, and those of captures if there are captures.
pub fn available() -> impl Iterator<Item = &'static Entry<Table>> {
    ALL.iter().chain(captured::available())
}
