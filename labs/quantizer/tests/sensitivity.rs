//! What the model minds, and the file within a budget.

use formats::bytes::Float;
use formats::gguf::TensorType;
use model::Weights;
use quantizer::layer_by_layer::Watch;
use quantizer::{Job, Plan, budget, sensitivity, write};

use crate::tiny::{Nobody, format, golden, job, text};

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// Counts the layers that are measured.
#[derive(Default)]
struct Layers(usize);

impl Watch for Layers {
    fn layer(&mut self, _: usize, _: usize) {
        self.0 += 1;
    }
}

#[test]
fn a_file_keeps_to_its_budget_and_a_larger_one_has_a_smaller_sum_of_divergences() -> Outcome {
    let (folder, tiny) = (tempfile::tempdir()?, Weights::open(golden("tiny"))?);
    let matrices = sensitivity::measure(&tiny, &text(2), folder.path(), &mut Nobody)?;
    // Six of the seven matrices of each of two layers: rows of 80 weights are no whole blocks.
    assert_eq!(matrices.len(), 12);
    let least = budget::least_bits(&matrices);
    assert_eq!(budget::within(&matrices, least - 0.01), None);
    let mut sum_before = f64::INFINITY;
    for bits in [least, 5.0, 6.0, 7.0, 8.5] {
        let kinds = budget::within(&matrices, bits).ok_or("the budget is enough")?;
        let of = |matrix: &budget::Matrix| {
            let kind = kinds[&matrix.name];
            *matrix.choices.iter().find(|of| of.kind == kind).expect("it is a choice")
        };
        let chosen: Vec<budget::Choice> = matrices.iter().map(of).collect();
        let sum: f64 = chosen.iter().map(|of| of.divergence).sum();
        let bytes: u64 = chosen.iter().map(|of| of.bytes).sum();
        let weights: u64 = matrices.iter().map(|matrix| matrix.weights).sum();
        assert!(8.0 * bytes as f64 <= bits * weights as f64 + 1e-6, "{bits} bits: {bytes} bytes");
        assert!(sum <= sum_before, "{bits} bits: {sum} after {sum_before}");
        sum_before = sum;
        let out = folder.path().join(format!("{bits}"));
        let plan = Plan::new(format("gguf-q4_k_m", 16), Float::F16).with_kinds(kinds.clone());
        write(&Job { plan, ..job(&tiny, ("gguf-q4_k_m", 16), &out) }, &())?;
        let written = Weights::open(out.join("model.gguf"))?;
        for tensor in written.tensors() {
            if let Some(kind) = kinds.get(&tensor.name) {
                assert_eq!(tensor.storage, formats::checkpoint::Storage::Blocks(*kind));
            }
        }
    }
    Ok(())
}

#[test]
fn more_bits_are_less_divergence_and_what_is_measured_is_kept() -> Outcome {
    let (folder, tiny) = (tempfile::tempdir()?, Weights::open(golden("tiny"))?);
    let measure = |watch: &mut Layers| sensitivity::measure(&tiny, &text(2), folder.path(), watch);
    let (mut first, mut second) = (Layers::default(), Layers::default());
    let matrices = measure(&mut first)?;
    for matrix in &matrices {
        let of = |kind| matrix.choices.iter().find(|of| of.kind == kind).map(|of| of.divergence);
        let [four, five, eight] = [TensorType::Q4_0, TensorType::Q5_0, TensorType::Q8_0].map(of);
        assert!(four > five && five > eight && eight > Some(0.0), "{}", matrix.name);
    }
    // Digits of a JSON file may come back with another last bit.
    for (again, matrix) in measure(&mut second)?.iter().zip(&matrices) {
        assert_eq!(again.name, matrix.name);
        for (again, choice) in again.choices.iter().zip(&matrix.choices) {
            assert_eq!((again.kind, again.bytes), (choice.kind, choice.bytes));
            let off = (again.divergence - choice.divergence).abs();
            assert!(off <= 4.0 * f64::EPSILON * choice.divergence, "{}", matrix.name);
        }
    }
    assert_eq!([first.0, second.0], [2, 0]);
    let file = std::fs::read_dir(folder.path())?.next().ok_or("a file is kept")??.path();
    std::fs::write(&file, "[1]")?;
    let error = measure(&mut Layers::default()).unwrap_err().to_string();
    assert!(error.contains("is damaged: remove it"), "{error}");
    Ok(())
}
