//! A Hugging Face folder becomes a GGUF file, which is compared with the file that llama.cpp's names and order
//! were written to by hand: the same tiny model in both forms.

use std::path::Path;

use formats::gguf::Gguf;
use model::{Cache, Model, Tokenizer, Weights};
use quantizer::write;
use serde_json::{Value, json};

use crate::tiny::{golden, job, text};

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn written(input: &Path, scheme: &str, out: &Path) -> Result<(), Box<dyn std::error::Error>> {
    write(&job(&Weights::open(input)?, (scheme, 16), out), &())?;
    Ok(())
}

#[test]
fn a_folder_and_the_gguf_file_of_the_same_model_become_the_same_file() -> Outcome {
    let folder = tempfile::tempdir()?;
    for scheme in ["gguf-q8_0", "gguf-q4_k_m"] {
        let [from_folder, from_file] =
            ["folder", "file"].map(|name| folder.path().join(format!("{scheme}-{name}")));
        written(&golden("tiny"), scheme, &from_folder)?;
        written(&golden("tiny.gguf"), scheme, &from_file)?;
        let [mut ours, mut theirs] = [&from_folder, &from_file]
            .map(|out| out.join("model.gguf"))
            .map(|path| Gguf::open(path).expect("a whole file"));
        let mut metadata = ours.raw_metadata()?;
        // The tiny file was written without these two.
        for own in ["general.name", "general.quantization_version"] {
            assert!(metadata.remove(own).is_some(), "{own}");
        }
        for (key, value) in theirs.raw_metadata()? {
            assert_eq!(metadata.remove(&key), Some(value), "{scheme}: {key}");
        }
        assert!(metadata.is_empty(), "{scheme}: more than the file has: {metadata:?}");
        let names: Vec<String> = theirs.tensors().iter().map(|t| t.name.clone()).collect();
        assert_eq!(ours.tensors().len(), names.len(), "{scheme}");
        for name in names {
            assert_eq!(ours.bytes(&name)?, theirs.bytes(&name)?, "{scheme}: {name}");
        }
    }
    Ok(())
}

#[test]
fn the_file_of_a_folder_runs_and_has_its_tokens() -> Outcome {
    let folder = tempfile::tempdir()?;
    let out = folder.path().join("q8_0");
    written(&golden("tiny"), "gguf-q8_0", &out)?;
    let file = out.join("model.gguf");
    let (ids, [given, read]) = (&text(1)[..40], [golden("tiny"), file.clone()]);
    let logits = |path: &Path| -> Result<_, Box<dyn std::error::Error>> {
        let model = Model::load(path)?;
        Ok(model.forward(ids, &mut Cache::new(model.config(), ids.len())?)?)
    };
    let (expected, found) = (logits(&given)?, logits(&read)?);
    let error = kit::meters::relative_error(&expected, &found);
    // Int8 in blocks of 32, in two layers: a rotary order that is wrong is off by more than a half.
    assert!(error < 0.05, "{error}");
    let words = "a text, and 42 numbers";
    assert_eq!(
        Tokenizer::load(&file)?.encode(words)?,
        Tokenizer::load(golden("tiny"))?.encode(words)?
    );
    Ok(())
}

#[test]
fn rules_of_a_tokenizer_that_have_no_name_here_are_refused_before_a_weight_is_read() -> Outcome {
    let folder = tempfile::tempdir()?;
    for name in ["config.json", "model.safetensors"] {
        std::fs::copy(golden("tiny").join(name), folder.path().join(name))?;
    }
    let path = golden("tiny").join("tokenizer.json");
    let mut tokenizer: Value = serde_json::from_slice(&std::fs::read(path)?)?;
    tokenizer["pre_tokenizer"] = json!({"type": "Whitespace"});
    std::fs::write(folder.path().join("tokenizer.json"), tokenizer.to_string())?;
    let out = folder.path().join("out");
    let error = written(folder.path(), "gguf-q8_0", &out).expect_err("no name").to_string();
    assert!(error.contains("tokenizer.json") && error.contains("convert_hf_to_gguf.py"), "{error}");
    assert!(!out.exists(), "nothing half-written");
    Ok(())
}
