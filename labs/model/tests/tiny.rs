//! A random Llama small enough to travel with the repository, against transformers in float32.

use crate::golden::{load, logits, relative, tiny};
use model::{Cache, Convention, Model, greedy, perplexity};

#[test]
fn the_logits_are_those_of_transformers_from_each_kind_of_file() {
    let golden = tiny();
    golden.tied.check("tiny, bf16, tied head", &logits(&load("tiny"), &golden.tied.ids));
    let sharded = load("tiny-sharded");
    golden.untied.check("tiny, f16 in two shards, own head", &logits(&sharded, &golden.untied.ids));
    golden.tied.check("tiny, GGUF", &logits(&load("tiny.gguf"), &golden.tied.ids));
}

#[test]
fn a_gguf_and_a_folder_of_the_same_weights_are_the_same_model_to_the_bit() {
    let ids = tiny().tied.ids;
    assert_eq!(logits(&load("tiny.gguf"), &ids), logits(&load("tiny"), &ids));
}

#[test]
fn the_head_is_the_embedding_only_where_the_files_say_so() {
    let (tied, gguf, untied) = (load("tiny"), load("tiny.gguf"), load("tiny-sharded"));
    assert_eq!((tied.is_tied(), gguf.is_tied(), untied.is_tied()), (true, true, false));
    let config = tied.config();
    let head = 4 * config.vocab_size * config.hidden_size;
    assert_eq!(untied.bytes() - tied.bytes(), head, "a tied head takes no memory of its own");
}

/// Rounding errors add up along the products of a token's way through the model: six in each layer
/// (one of Q, K and V; scores; mix; O; one of gate and up; down) and the head, each with a relative
/// error of at most n u of its absolute sum, n the longest row (Higham, Accuracy and Stability of
/// Numerical Algorithms, 2nd edition, section 3.1). Two ways to sum differ by at most twice that.
/// It takes the products as well-conditioned, which the norm in front of them sees to.
fn rounding_bound(model: &Model) -> f64 {
    let config = model.config();
    let longest = config.hidden_size.max(config.intermediate_size) as f64;
    let products = (6 * config.layers + 1) as f64;
    2.0 * products * longest * f64::from(f32::EPSILON) / 2.0
}

#[test]
fn prefill_and_decode_with_a_cache_give_the_same_logits() -> Result<(), model::ModelError> {
    let (model, ids) = (load("tiny"), tiny().tied.ids);
    let (whole, bound) = (logits(&model, &ids), rounding_bound(&model));
    for pieces in [1, 5, 47] {
        let mut cache = Cache::new(model.config(), ids.len())?;
        for piece in ids.chunks(pieces) {
            let first = cache.len();
            let found = model.forward(piece, &mut cache)?;
            let expected = whole.slice(ndarray::s![first..cache.len(), ..]).to_owned();
            let error = relative(&found, &expected);
            assert!(
                error <= bound,
                "pieces of {pieces} at {first}: {error:.2e}, bound {bound:.2e}"
            );
        }
    }
    Ok(())
}

#[test]
fn that_bound_is_small_enough_to_see_a_token_at_a_wrong_position() -> Result<(), model::ModelError>
{
    let (model, ids) = (load("tiny"), tiny().tied.ids);
    let (whole, bound) = (logits(&model, &ids), rounding_bound(&model));
    // One token of the context is left out, so the last one sits one position too early.
    let mut cache = Cache::new(model.config(), ids.len())?;
    model.forward(&ids[..46], &mut cache)?;
    let shifted = model.forward(&ids[47..], &mut cache)?;
    let error = relative(&shifted, &whole.slice(ndarray::s![47.., ..]).to_owned());
    assert!(error > 100.0 * bound, "{error:.2e} against a bound of {bound:.2e}");
    Ok(())
}

#[test]
fn a_prompt_longer_than_a_block_of_queries_is_causal() -> Result<(), model::ModelError> {
    let model = load("tiny");
    let ids: Vec<u32> = (0..200).map(|i| (i * i * 11 + i) % 320).collect();
    let whole = logits(&model, &ids);
    let mut changed = ids.clone();
    changed[150] = (ids[150] + 1) % 320;
    let changed = logits(&model, &changed);
    assert_eq!(
        whole.slice(ndarray::s![..150, ..]),
        changed.slice(ndarray::s![..150, ..]),
        "a token changed the logits of tokens before it"
    );
    for position in 150..200 {
        assert_ne!(whole.row(position), changed.row(position), "position {position} saw no change");
    }
    Ok(())
}

#[test]
fn a_cache_cut_back_goes_on_as_if_the_rest_had_never_been_run() -> Result<(), model::ModelError> {
    let (model, ids) = (load("tiny"), tiny().tied.ids);
    let mut cache = Cache::new(model.config(), 48)?;
    model.forward(&ids, &mut cache)?;
    cache.truncate(20);
    let again = model.forward(&ids[20..30], &mut cache)?;
    let mut fresh = Cache::new(model.config(), 48)?;
    model.forward(&ids[..20], &mut fresh)?;
    let error = relative(&again, &model.forward(&ids[20..30], &mut fresh)?);
    let bound = rounding_bound(&model);
    assert!(error <= bound, "{error:.2e}, bound {bound:.2e}");
    Ok(())
}

#[test]
fn greedy_text_is_that_of_transformers() -> Result<(), model::ModelError> {
    let golden = tiny();
    let prompt = &golden.tied.ids[..5];
    assert_eq!(greedy(&load("tiny"), prompt, golden.greedy.len() - 5)?, golden.greedy);
    Ok(())
}

#[test]
fn greedy_text_ends_with_the_end_of_text() -> Result<(), model::ModelError> {
    let golden = tiny();
    // A copy of the model whose config calls the third new token the end of a text.
    let folder = tempfile::tempdir().expect("a temporary folder");
    let end = golden.greedy[7];
    assert!(!golden.greedy[5..7].contains(&end), "the golden text has it earlier already");
    let config =
        std::fs::read_to_string(crate::golden::path("tiny/config.json")).expect("committed");
    let config = config.replace("\"eos_token_id\": 2", &format!("\"eos_token_id\": [0, {end}]"));
    std::fs::write(folder.path().join("config.json"), config).expect("a new file");
    let weights = folder.path().join("model.safetensors");
    std::fs::copy(crate::golden::path("tiny/model.safetensors"), weights).expect("a new file");
    let found = greedy(&Model::load(folder.path())?, &golden.greedy[..5], 12)?;
    assert_eq!(found, golden.greedy[..8]);
    Ok(())
}

#[test]
fn perplexity_is_that_of_llama_cpps_convention() -> Result<(), model::ModelError> {
    let (golden, model) = (tiny(), load("tiny"));
    for case in &golden.perplexity {
        let convention = Convention { chunk: case.chunk, bos: case.bos };
        let mut seen = Vec::new();
        let score = perplexity(&model, &golden.passage_ids, convention, &mut |score, chunks| {
            seen.push((score.chunks, chunks));
        })?;
        let chunks = golden.passage_ids.len() / case.chunk;
        assert_eq!(seen, (1..=chunks).map(|done| (done, chunks)).collect::<Vec<_>>());
        assert_eq!(score.tokens, case.scored, "{convention:?}");
        let error = (score.perplexity() / case.perplexity - 1.0).abs();
        println!("{convention:?}: perplexity {} ({error:.1e} off)", score.perplexity());
        assert!(error < 1e-3, "{convention:?}: {} against {}", score.perplexity(), case.perplexity);
    }
    Ok(())
}

#[test]
fn the_convention_alone_moves_the_number_far_more_than_two_engines_differ() {
    let golden = tiny();
    let (a, b) = (&golden.perplexity[0], &golden.perplexity[1]);
    assert_eq!((a.chunk, b.chunk, a.bos, b.bos), (64, 64, Some(1), None));
    assert!((a.perplexity / b.perplexity - 1.0).abs() > 1e-2, "{} {}", a.perplexity, b.perplexity);
}
