//! The real model, against transformers in float32; skipped where the model has not been fetched.

use std::path::PathBuf;
use std::sync::LazyLock;

use crate::golden::{logits, smollm2};
use model::{Cache, Convention, Model, ModelError, Tokenizer, greedy, perplexity};

/// Loaded once for all tests here: half a gigabyte.
static MODEL: LazyLock<Option<Model>> = LazyLock::new(|| {
    let path = file()?;
    Some(Model::load(path).expect("the fetched file is whole"))
});

fn file() -> Option<PathBuf> {
    Some(kit::workspace::fetched_model()).filter(|path| path.is_file())
}

fn left_out(what: &str) {
    kit::skip::left_out(what, "the model has not been fetched: `cargo book fetch` gets it");
}

#[test]
fn the_logits_of_smollm2_are_those_of_transformers() {
    let Some(model) = &*MODEL else { return left_out("the logits of SmolLM2") };
    for (index, run) in smollm2().runs.iter().enumerate() {
        run.check(&format!("SmolLM2, prompt {index}"), &logits(model, &run.ids));
    }
}

#[test]
fn smollm2_says_what_it_says_in_transformers() -> Result<(), ModelError> {
    let (Some(model), Some(path)) = (&*MODEL, file()) else {
        left_out("the greedy text of SmolLM2");
        return Ok(());
    };
    let (golden, tokenizer) = (smollm2(), Tokenizer::load(path)?);
    let prompt = tokenizer.encode("The capital of France is")?;
    let found = greedy(model, &prompt, golden.greedy.len() - prompt.len())?;
    assert_eq!(tokenizer.decode(&found)?, golden.greedy_text);
    assert_eq!(found, golden.greedy);
    Ok(())
}

#[test]
fn prefill_and_decode_of_smollm2_agree() -> Result<(), ModelError> {
    let Some(model) = &*MODEL else {
        left_out("prefill and decode of SmolLM2");
        return Ok(());
    };
    let ids = &smollm2().runs[2].ids[..24];
    let whole = logits(model, ids);
    let mut cache = Cache::new(model.config(), ids.len())?;
    for (position, id) in ids.iter().enumerate() {
        let found = model.forward(&[*id], &mut cache)?;
        let expected = whole.slice(ndarray::s![position..=position, ..]).to_owned();
        let error = crate::golden::relative(&found, &expected);
        assert!(error <= crate::golden::ALLOWED, "position {position}: {error:.2e}");
    }
    Ok(())
}

#[test]
fn the_perplexity_of_smollm2_is_that_of_transformers() -> Result<(), ModelError> {
    let Some(model) = &*MODEL else {
        left_out("the perplexity of SmolLM2");
        return Ok(());
    };
    let Some(file) = file() else { return Ok(()) };
    let golden = smollm2();
    let alice = Tokenizer::load(file)?.encode(model::passage::ALICE)?;
    assert_eq!(alice.len(), golden.alice_tokens);
    let opening = golden.perplexity.iter().map(|case| (case, golden.passage_ids.as_slice()));
    // llama.cpp's own chunks, of 512 tokens: the first four of the passage.
    let start = golden.alice_start.iter().map(|case| (case, &alice[..2048]));
    for (case, tokens) in opening.chain(start) {
        let convention = Convention { chunk: case.chunk, bos: case.bos };
        let score = perplexity(model, tokens, convention, &mut |_, _| ())?;
        assert_eq!(score.tokens, case.scored);
        let error = (score.perplexity() / case.perplexity - 1.0).abs();
        println!("{convention:?}: perplexity {} ({error:.1e} off)", score.perplexity());
        assert!(error < 1e-3, "{convention:?}: {} against {}", score.perplexity(), case.perplexity);
    }
    Ok(())
}

#[test]
fn the_tokens_of_smollm2_are_those_of_the_reference() -> Result<(), ModelError> {
    let Some(path) = file() else {
        left_out("the tokenizer of SmolLM2");
        return Ok(());
    };
    let (golden, tokenizer) = (smollm2(), Tokenizer::load(path)?);
    for case in &golden.tokenizer {
        let ids = tokenizer.encode(&case.text)?;
        assert_eq!(ids, case.ids, "{:?}", case.text);
        assert_eq!(tokenizer.decode(&ids)?, case.decoded, "{:?}", case.text);
    }
    assert_eq!(tokenizer.encode(&model::passage::opening())?, golden.passage_ids);
    assert_eq!((tokenizer.vocab_size(), tokenizer.bos_in_front()), (49_152, None));
    Ok(())
}
