//! The importance matrix: what it is, its file, and what it changes.

use std::path::Path;

use formats::gguf::Gguf;
use gptq::{Hessian, add_batch};
use model::{LayerId, Model, Projection, Weights, gguf_name};
use ndarray::Array2;
use quantizer::smooth::each_input;
use quantizer::{Importance, Job, write};

use crate::tiny::{CHUNK, golden, job, text};

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn collected(tokens: &[u32]) -> Result<Importance, Box<dyn std::error::Error>> {
    let chunks: Vec<&[u32]> = tokens.chunks(CHUNK).collect();
    Ok(Importance::collect(&Model::load(golden("tiny"))?, &chunks)?)
}

#[test]
fn the_importance_of_a_column_is_the_diagonal_of_the_hessian_of_lab_06() -> Outcome {
    let (tokens, model) = (text(2), Model::load(golden("tiny"))?);
    let importance = collected(&tokens)?;
    let id = LayerId::Layer(1, Projection::Down);
    let chunks: Vec<&[u32]> = tokens.chunks(CHUNK).collect();
    let mut inputs: Vec<Array2<f32>> = Vec::new();
    each_input(&model, &chunks, |seen, x| {
        if seen == id {
            inputs.push(x.clone());
        }
        Ok(())
    })?;
    let mut hessian = Hessian::new(inputs[0].ncols());
    for x in &inputs {
        add_batch(&mut hessian, x)?;
    }
    let found = importance.of(&gguf_name(id)).ok_or("its inputs were seen")?;
    // The lab counts every square twice and divides by the tokens (2/n X^T X).
    for (column, (&found, &entry)) in found.iter().zip(hessian.matrix.diag()).enumerate() {
        let expected = entry / 2.0;
        // Sum and mean are each rounded to f32 once, and the lab's products in f32 once more.
        let bound = 4.0 * f64::from(f32::EPSILON) * expected;
        let error = (f64::from(found) - expected).abs();
        assert!(error <= bound, "column {column}: {found} against {expected}");
    }
    assert!(importance.of("output.weight").is_none(), "the head is not summed");
    Ok(())
}

#[test]
fn a_file_is_read_back_and_has_the_names_that_llama_cpp_looks_for() -> Outcome {
    let (folder, importance) = (tempfile::tempdir()?, collected(&text(1))?);
    let path = folder.path().join("imatrix.gguf");
    importance.write(&path, "a text", [1, CHUNK as u32])?;
    assert_eq!(Importance::read(&path)?, importance);
    let mut file = Gguf::open(&path)?;
    assert_eq!(file.text("general.type")?, "imatrix");
    assert_eq!(file.texts("imatrix.datasets")?, ["a text"]);
    assert_eq!(file.u64("imatrix.chunk_count")?, 1);
    let counts = file.tensor("blk.0.attn_q.weight.counts")?;
    assert_eq!(counts.into_iter().collect::<Vec<_>>(), [CHUNK as f32]);
    let error = importance.write(&path, "a text", [1, 1]).expect_err("the file is there");
    assert!(error.to_string().contains("is there already"), "{error}");
    Ok(())
}

#[test]
fn another_gguf_file_is_no_importance_matrix() -> Outcome {
    let error = Importance::read(&golden("tiny.gguf")).expect_err("it is a model").to_string();
    assert!(error.contains("no importance matrix") && error.contains("tiny.gguf"), "{error}");
    Ok(())
}

fn written(
    out: &Path,
    importance: Option<&Importance>,
) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    let weights = Weights::open(golden("tiny.gguf"))?;
    write(&Job { importance, ..job(&weights, ("gguf-q4_k_m", 16), out) }, &())?;
    Ok(Gguf::open(out.join("model.gguf"))?.bytes("blk.1.ffn_up.weight")?)
}

#[test]
fn an_importance_matrix_changes_codes_and_no_other_format_takes_one() -> Outcome {
    let (folder, importance) = (tempfile::tempdir()?, collected(&text(1))?);
    let plain = written(&folder.path().join("plain"), None)?;
    let weighed = written(&folder.path().join("weighed"), Some(&importance))?;
    assert_eq!(plain.len(), weighed.len(), "the format is the same");
    assert_ne!(plain, weighed, "the codes are not");

    let weights = Weights::open(golden("tiny.gguf"))?;
    let out = folder.path().join("refused");
    let job = Job { importance: Some(&importance), ..job(&weights, ("gguf-q4_0", 16), &out) };
    let error = write(&job, &()).expect_err("one type for all").to_string();
    assert!(error.contains("--imatrix") && error.contains("gguf-q4_0"), "{error}");
    Ok(())
}
