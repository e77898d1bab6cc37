//! `cut-activations MODEL OUT`: what `cargo book slice` runs to get the activations of the real slice.
//!
//! Behind a feature, so that `cargo book` itself does without a model and its tokenizer.

use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use half::f16;
use kit::real_slice::{self, Window};
use model::{Cache, Model, Tokenizer, passage};
use ndarray::Array2;
use safetensors::tensor::{Dtype, TensorView};

/// The activations by their names in the slice.
type Inputs = BTreeMap<String, Array2<f32>>;

fn main() -> ExitCode {
    let paths: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [model, out] = paths.as_slice() else {
        eprintln!("usage: cut-activations MODEL OUT.safetensors");
        return ExitCode::FAILURE;
    };
    match cut(model, out) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn cut(path: &Path, out: &Path) -> Result<(), Box<dyn Error>> {
    let (model, tokenizer) = (Model::load(path)?, Tokenizer::load(path)?);
    let tokens = tokenizer.encode(passage::ALICE)?;
    let (mut inputs, mut metadata) = (Inputs::new(), HashMap::new());
    for window in Window::ALL {
        let ids = tokens.get(window.range()).ok_or("the passage ends before the window")?;
        inputs.extend(inputs_of(&model, ids, window)?);
        let ids_text: Vec<String> = ids.iter().map(u32::to_string).collect();
        metadata.insert(format!("{} token ids", window.key()), ids_text.join(" "));
        metadata.insert(format!("{} text", window.key()), tokenizer.decode(ids)?);
    }
    write(&inputs, metadata, out)
}

/// The inputs of the nine places, from an empty cache: the first of `ids` is a first token.
fn inputs_of(model: &Model, ids: &[u32], window: Window) -> Result<Inputs, Box<dyn Error>> {
    let mut cache = Cache::new(model.config(), ids.len())?;
    let mut inputs = Inputs::new();
    model.hidden(ids, &mut cache, &mut |place, x| {
        let weight = format!("{place}.weight");
        if real_slice::TENSORS.contains(&weight.as_str()) {
            inputs.insert(real_slice::input_name(&weight, window), x.clone());
        }
    })?;
    Ok(inputs)
}

fn write(
    inputs: &Inputs,
    metadata: HashMap<String, String>,
    out: &Path,
) -> Result<(), Box<dyn Error>> {
    let halves = |x: &Array2<f32>| -> Vec<u8> {
        x.iter().flat_map(|value| f16::from_f32(*value).to_le_bytes()).collect()
    };
    let bytes = inputs.iter().map(|(name, x)| (name, x.shape().to_vec(), halves(x)));
    let bytes: Vec<_> = bytes.collect();
    let views = bytes.iter().map(|(name, shape, bytes)| {
        Ok((name.as_str(), TensorView::new(Dtype::F16, shape.clone(), bytes)?))
    });
    let views = views.collect::<Result<Vec<_>, safetensors::SafeTensorError>>()?;
    Ok(safetensors::serialize_to_file(views, Some(metadata), out)?)
}
