//! The Hessians of the slice: of the inputs of two of its layers, over a text.
//!
//! The file has the lower triangles in `f32`. Sums of `f32` are in another order on another processor, so a
//! check allows an element [`SLACK`] of the root of its two diagonal elements, which bounds an element.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use gptq::{Hessian, add_batch};
use kit::real_slice::{self, HESSIANS};
use model::{Cache, Model, Tokenizer, passage};
use ndarray::Array2;
use quantizer::CHUNK;

use super::file::{self, Encoded};
use xtask::fetch;

/// Tokens of the calibration text.
const TOKENS: usize = 8192;
/// The allowed error of an element. Inputs are off by about 1e-6 of their size, and an element by twice that.
const SLACK: f64 = 1e-4;

/// Writes the file of the Hessians that the model at `path` gives, or compares the file with them.
pub fn run(path: &Path, check: bool) -> Result<()> {
    let hessians = hessians(path)?;
    let (file, shown) = (Path::new(real_slice::HESSIANS_PATH), real_slice::HESSIANS_PATH);
    if !check {
        let bytes = bytes(&hessians)?;
        super::write(&bytes, file)?;
        eprintln!("{shown} is written, {} bytes", bytes.len());
        return Ok(());
    }
    for (name, ours) in &hessians {
        let theirs = real_slice::hessian(name)?;
        let worst = worst(&ours.matrix, &theirs);
        ensure!(
            worst <= SLACK,
            "{shown}: the Hessian of {name} is off by {worst:.1e}: `cargo book slice` writes it again"
        );
    }
    eprintln!("{shown} is what the model gives, within the bound");
    Ok(())
}

/// The largest difference of two elements, as a share of the root of the two diagonal elements.
fn worst(ours: &Array2<f64>, theirs: &Array2<f64>) -> f64 {
    let share = |((row, column), ours): ((usize, usize), &f64)| {
        let size = (theirs[(row, row)] * theirs[(column, column)]).sqrt();
        (ours - theirs[(row, column)]).abs() / size
    };
    ours.indexed_iter().map(share).fold(0.0, f64::max)
}

/// The Hessian of each of [`HESSIANS`], by the name of the weight.
fn hessians(path: &Path) -> Result<BTreeMap<&'static str, Hessian>> {
    let (model, tokenizer) = (Model::load(path)?, Tokenizer::load(path)?);
    let tokens = tokenizer.encode(passage::PARADISE_LOST)?;
    let tokens = tokens.get(..TOKENS).context("the calibration text is too short")?;
    let mut hessians = BTreeMap::new();
    for chunk in tokens.chunks(CHUNK) {
        let mut cache = Cache::new(model.config(), chunk.len())?;
        let mut refused = None;
        model.hidden(chunk, &mut cache, &mut |id, x| {
            let weight = format!("{id}.weight");
            if let Some(name) = HESSIANS.into_iter().find(|name| *name == weight) {
                let h = hessians.entry(name).or_insert_with(|| Hessian::new(x.ncols()));
                // A hook cannot fail, so an error is kept until the end of the chunk.
                refused = add_batch(h, x).err().or(refused.take());
            }
        })?;
        refused.map_or(Ok(()), Err)?;
    }
    Ok(hessians)
}

fn bytes(hessians: &BTreeMap<&'static str, Hessian>) -> Result<Vec<u8>> {
    let mut metadata = file::source(fetch::MODEL.name, fetch::MODEL.sha256);
    metadata.insert("text".into(), "labs/model/passage/paradise-lost.txt".into());
    metadata.insert("tokens".into(), format!("the first {TOKENS}, in chunks of {CHUNK}"));
    let tensors = hessians.iter().map(|(name, h)| {
        let lower = h.matrix.indexed_iter().filter(|((row, column), _)| column <= row);
        let lower: Vec<f32> = lower.map(|(_, &value)| value as f32).collect();
        let data = lower.iter().flat_map(|value| value.to_le_bytes()).collect();
        Encoded {
            name: real_slice::hessian_name(name),
            dtype: "F32",
            shape: vec![lower.len()],
            data,
        }
    });
    file::encode(&tensors.collect::<Vec<_>>(), &metadata)
}
