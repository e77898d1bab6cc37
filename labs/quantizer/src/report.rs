//! The sizes and errors of a written checkpoint.

use std::collections::BTreeMap;

use formats::checkpoint::collapse;
use formats::registry::{Reason, StorageFormat};
use kit::Table;
use kit::table::{count, percent, times};
use ndarray::Array2;

/// The error of the quantized matrices of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LayerError {
    /// Matrices of this kind.
    pub matrices: usize,
    /// The sum of the squares of their errors.
    pub error: f64,
    /// The sum of the squares of their weights.
    pub reference: f64,
}

impl LayerError {
    /// The norm of the errors over the norm of the weights; 0 where there is no error.
    pub fn relative(&self) -> f64 {
        if self.error == 0.0 { 0.0 } else { (self.error / self.reference).sqrt() }
    }

    /// The error of one matrix, `decoded` from its bytes.
    pub(crate) fn of(reference: &Array2<f32>, decoded: &Array2<f32>) -> Self {
        let both = [reference, decoded].map(|matrix| matrix.as_standard_layout());
        let [reference, decoded] =
            both.each_ref().map(|matrix| matrix.as_slice().unwrap_or_default());
        Self { matrices: 1, ..Self::of_part(reference, decoded) }
    }

    /// The error of a part of a matrix. Lanes add up side by side, because an addition waits for the one before.
    pub(crate) fn of_part(reference: &[f32], decoded: &[f32]) -> Self {
        const LANES: usize = 8;
        let (mut error, mut squares) = ([0.0; LANES], [0.0; LANES]);
        for (was, is) in reference.chunks(LANES).zip(decoded.chunks(LANES)) {
            for (lane, (&was, &is)) in was.iter().zip(is).enumerate() {
                error[lane] += (f64::from(is) - f64::from(was)).powi(2);
                squares[lane] += f64::from(was).powi(2);
            }
        }
        Self { matrices: 0, error: error.iter().sum(), reference: squares.iter().sum() }
    }

    /// Adds another matrix of this kind.
    pub(crate) fn add(&mut self, other: Self) {
        self.matrices += other.matrices;
        self.error += other.error;
        self.reference += other.reference;
    }
}

/// A written checkpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// The format of the quantized matrices.
    pub format: StorageFormat,
    /// The numbers of the labs whose functions wrote it, in order.
    pub labs: Vec<&'static str>,
    /// The types in which the input was quantized already, and the tensors of each.
    pub input: Vec<(String, usize)>,
    /// Weights of the model.
    pub weights: u64,
    /// Bytes of the input's tensors.
    pub bytes_before: u64,
    /// Bytes of the files of weights.
    pub bytes_after: u64,
    /// Bits that a weight of the quantized matrices costs.
    pub bits_per_weight: Option<f64>,
    /// The tensors that stayed floats, and the reasons.
    pub kept: Vec<(String, Reason)>,
    /// The error of each kind of layer, by the last word of its name. With a transform, the reference is
    /// the transformed weight.
    pub errors: BTreeMap<String, LayerError>,
}

impl Report {
    /// Whose functions planned the files and chose the codes.
    pub fn codes(&self) -> String {
        let labs = self.labs.join(", ");
        match (self.labs.is_empty(), quantize_model::IS_STARTER) {
            (true, _) => format!("codes: given, because no lab writes {}", self.format),
            (_, true) => format!("codes: your starters, labs {labs}"),
            (_, false) => {
                format!("codes: the solutions, labs {labs} (LAB_IMPL=starter takes yours)")
            }
        }
    }

    /// What to know of an input that was quantized already, if it was.
    pub fn quantized_input(&self) -> Option<String> {
        let counts =
            self.input.iter().map(|(kind, tensors)| format!("{tensors} tensors in {kind}"));
        let counts: Vec<_> = counts.collect();
        (!counts.is_empty()).then(|| {
            format!(
                "the input was quantized already: {}. The errors below are against these values, and \
                 the loss of the input comes on top",
                counts.join(", ")
            )
        })
    }

    /// The sizes.
    pub fn sizes(&self) -> Table {
        let mut table = Table::new(format!("Written: {}", self.format)).text("").number("bytes");
        table.row(["tensors of the input".into(), count(self.bytes_before as usize)]);
        table.row(["files of weights".into(), count(self.bytes_after as usize)]);
        let ratio = self.bytes_before as f64 / self.bytes_after as f64;
        table.row(["the input is".into(), times(ratio)]);
        let in_16_bits = 2.0 * self.weights as f64;
        table
            .row(["16 bits a weight would be".into(), times(in_16_bits / self.bytes_after as f64)]);
        if let Some(bits) = self.bits_per_weight {
            table.row(["bits per quantized weight".into(), format!("{bits:.4}")]);
        }
        table
    }

    /// The error of each kind of layer.
    pub fn errors(&self) -> Table {
        let mut table = Table::new("Error against the input, by kind of layer")
            .text("layer")
            .number("matrices")
            .number("relative error");
        for (kind, error) in &self.errors {
            table.row([kind.clone(), count(error.matrices), percent(error.relative())]);
        }
        table
    }

    /// The tensors that stayed floats, a line for each reason.
    pub fn left_alone(&self) -> Vec<String> {
        let mut reasons: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for (name, reason) in &self.kept {
            reasons.entry(reason.to_string()).or_default().push(name);
        }
        let reasons = reasons.into_iter();
        reasons.map(|(why, names)| format!("kept, {why}: {}", collapse(names).join(", "))).collect()
    }
}
