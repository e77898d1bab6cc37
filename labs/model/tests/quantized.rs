//! The fast layers against the labs' readable ones, and many sequences at once against each alone.

use std::sync::Arc;

use crate::golden::{load, relative, tiny};
use fake_quant_linear::solution as lab_01;
use half::f16;
use int4_groups::solution as lab_03;
use kit::data::normal_matrix;
use model::{
    Cache, Codes, Format, LayerId, Linear, LinearError, Model, ModelError, Projection,
    QuantizedLinear, Quantizer,
};
use ndarray::{Array2, s};

type Result<Value = ()> = std::result::Result<Value, LinearError>;

/// The rules of labs 01 and 03.
struct Labs;

impl Quantizer for Labs {
    fn int8(&self, w: &Array2<f32>) -> Result<(Array2<i8>, Vec<f32>)> {
        let quantized = lab_01::quantize_per_channel(w)?;
        Ok((quantized.q().clone(), quantized.scales().iter().copied().collect()))
    }

    fn int4(&self, w: &Array2<f32>, group_size: usize) -> Result<(Array2<i8>, Array2<f16>)> {
        let quantized = lab_03::quantize_groups(w, group_size)?;
        Ok((quantized.q().clone(), quantized.scales().clone()))
    }
}

/// `gamma(n) = n u / (1 - n u)`: what `n` roundings make of a term (Higham, Accuracy and Stability of
/// Numerical Algorithms, 2nd edition, section 3.1).
fn gamma(roundings: usize) -> f64 {
    let unit = roundings as f64 * 2f64.powi(-24);
    unit / (1.0 - unit)
}

/// Holds two ways to sum the same products to each other: each is within `gamma` of the exact sum of
/// `x @ w.T`, relative to the sum of magnitudes.
fn hold(what: &str, fast: &Array2<f32>, slow: &Array2<f32>, x: &Array2<f32>, w: &Array2<f32>) {
    let magnitudes = x.mapv(|x| f64::from(x.abs())).dot(&w.t().mapv(|w| f64::from(w.abs())));
    let bound = 2.0 * gamma(w.ncols() + 3);
    assert_eq!(fast.dim(), slow.dim(), "{what}");
    for ((at, fast), (slow, magnitude)) in fast.indexed_iter().zip(slow.iter().zip(&magnitudes)) {
        let (error, bound) = (f64::from(fast - slow).abs(), bound * magnitude);
        assert!(error <= bound, "{what} {at:?}: {fast} against {slow}, bound {bound:e}");
    }
}

#[test]
fn the_fast_layers_are_the_readable_ones_of_the_labs() -> Result {
    let w = normal_matrix(1, 48, 192);
    let layer = |format| QuantizedLinear::quantize(&w, format, &Labs);
    for tokens in [1, 2, 7, 16] {
        let x = normal_matrix(2 + tokens as u64, tokens, 192);
        let int8 = lab_01::quantize_per_channel(&w)?;
        let x8 = lab_01::quantize_per_channel(&x)?;
        let found = layer(Format::W8A8)?.forward(&x)?;
        assert_eq!(found, lab_01::int8_linear(&x8, &int8)?, "w8a8 is exact");

        let found = layer(Format::W8A16)?.forward(&x)?;
        let readable = lab_01::quant_linear(&x, &int8)?;
        hold("w8a16", &found, &readable, &x, &lab_01::dequantize(&int8));

        for group_size in [2, 32, 64] {
            let int4 = lab_03::quantize_groups(&w, group_size)?;
            let numbers = lab_03::dequantize_groups(&int4);
            let found = layer(Format::W4A16 { group_size })?.forward(&x)?;
            hold("w4a16", &found, &lab_03::int4_linear(&x, &int4)?, &x, &numbers);
            if group_size == 2 {
                continue;
            }
            // Lab 03's layer, on what lab 01's rule makes of each group of the activations.
            let x = in_groups(&x, group_size)?;
            let found = layer(Format::W4A8 { group_size })?.forward(&x.clone())?;
            hold("w4a8", &found, &lab_03::int4_linear(&x, &int4)?, &x, &numbers);
        }
    }
    Ok(())
}

/// `x` as its codes stand for, each group of `size` quantized by lab 01's rule of a row.
fn in_groups(x: &Array2<f32>, size: usize) -> Result<Array2<f32>> {
    let groups = x.clone().into_shape_with_order((x.len() / size, size))?;
    let numbers = lab_01::dequantize(&lab_01::quantize_per_channel(&groups)?);
    Ok(numbers.into_shape_with_order(x.dim())?)
}

#[test]
fn a_layer_takes_the_bytes_of_its_codes_and_scales() -> Result {
    let w = normal_matrix(1, 48, 192);
    let bytes = |format| QuantizedLinear::quantize(&w, format, &Labs).map(|layer| layer.bytes());
    let int8 = lab_01::memory_bytes(&lab_01::quantize_per_channel(&w)?);
    let int4 = lab_03::memory_bytes(&lab_03::quantize_groups(&w, 32)?);
    assert_eq!((bytes(Format::W8A8)?, bytes(Format::W8A16)?), (int8, int8));
    let of_groups =
        (bytes(Format::W4A8 { group_size: 32 })?, bytes(Format::W4A16 { group_size: 32 })?);
    assert_eq!(of_groups, (int4, int4));
    Ok(())
}

/// A model that has only the codes' values as `f32`, through the same layers.
fn dequantized(model: &Model, format: Format) -> Result<Model> {
    let mut variant = model.clone();
    for id in model.layer_ids() {
        let w = model.linear(id)?.weight().ok_or("dense")?;
        let numbers = match (format, id) {
            (Format::W4A16 { group_size }, LayerId::Layer(..)) => {
                lab_03::dequantize_groups(&lab_03::quantize_groups(w, group_size)?)
            }
            _ => lab_01::dequantize(&lab_01::quantize_per_channel(w)?),
        };
        variant.replace(id, Arc::new(model::Dense::new(numbers)))?;
    }
    Ok(variant)
}

/// What orders of sums may make of the logits; see `tiny.rs`.
fn rounding_bound(model: &Model) -> f64 {
    let config = model.config();
    let longest = config.hidden_size.max(config.intermediate_size) as f64;
    2.0 * (6 * config.layers + 1) as f64 * longest * f64::from(f32::EPSILON) / 2.0
}

#[test]
fn a_model_in_codes_is_the_model_of_their_values() -> Result {
    // A head of its own: an embedding that is the head would change with it.
    let (model, ids) = (load("tiny-sharded"), tiny().tied.ids);
    for format in [Format::W8A16, Format::W4A16 { group_size: 16 }] {
        let fast = crate::golden::logits(&model.quantized(format, &Labs)?, &ids);
        let slow = crate::golden::logits(&dequantized(&model, format)?, &ids);
        let (error, bound) = (relative(&fast, &slow), rounding_bound(&model));
        assert!(error <= bound, "{format}: {error:.2e}, bound {bound:.2e}");
        let lost = relative(&fast, &crate::golden::logits(&model, &ids));
        assert!(lost > bound, "{format} changed nothing: {lost:.2e}");
    }
    Ok(())
}

#[test]
fn the_whole_model_is_replaced_and_says_how_many_bytes_a_token_reads() -> Result {
    let model = load("tiny");
    let fast = model.quantized(Format::W8A8, &Labs)?;
    assert!(fast.layer_ids().all(|id| fast.linear(id).is_ok_and(|l| l.weight().is_none())));
    let read: usize = fast.layer_ids().map(|id| fast.linear(id).map_or(0, |l| l.bytes())).sum();
    let config = model.config();
    // Two norms a layer and the last one, and one row of the embedding.
    let more = 4 * config.hidden_size * (2 * config.layers + 2);
    assert_eq!(fast.bytes_per_step(), read + more);
    assert!(model.bytes_per_step() > 3 * fast.bytes_per_step());
    let again = fast.quantized(Format::W8A8, &Labs).err().map(|error| error.to_string());
    let text = again.unwrap_or_default();
    assert!(text.contains("q_proj") && text.contains("not f32"), "{text}");
    // 80 features of the down projection do not divide into groups of 32.
    let error = model.quantized(Format::W4A8 { group_size: 32 }, &Labs).err();
    let text = error.map(|error| error.to_string()).unwrap_or_default();
    assert!(text.contains("down_proj") && text.contains("does not divide"), "{text}");
    Ok(())
}

#[test]
fn codes_that_do_not_fit_are_refused() {
    let codes = Codes::Int4(Array2::from_elem((4, 64), 9), Array2::from_elem((4, 2), f16::ONE));
    let text = QuantizedLinear::new(&codes, true).unwrap_err().to_string();
    assert!(text.contains("-8..=7"), "{text}");
}

/// Caches that hold the first `lengths[i]` of some tokens, another text each.
fn texts(model: &Model, lengths: &[usize]) -> Result<Vec<Cache>> {
    let caches = lengths.iter().enumerate().map(|(text, &length)| {
        let mut cache = Cache::new(model.config(), length + 8)?;
        let tokens: Vec<u32> = (0..length).map(|i| (i * 31 + text * 7) as u32 % 320).collect();
        if length > 0 {
            model.forward(&tokens, &mut cache)?;
        }
        Ok(cache)
    });
    caches.collect::<std::result::Result<_, ModelError>>().map_err(Into::into)
}

#[test]
fn a_step_of_many_sequences_is_that_of_each_alone() -> Result {
    let dense = load("tiny");
    for model in [dense.clone(), dense.quantized(Format::W8A16, &Labs)?] {
        for lengths in [&[5][..], &[0, 3, 40, 17, 1, 200, 3, 9, 12, 60, 33]] {
            let (mut together, mut alone) = (texts(&model, lengths)?, texts(&model, lengths)?);
            for round in 0..3 {
                let next: Vec<u32> =
                    (0..lengths.len() as u32).map(|i| (i * 5 + round) % 320).collect();
                let found = model.step(&next, &mut together)?;
                assert_eq!(found.dim(), (lengths.len(), model.config().vocab_size));
                for (text, cache) in alone.iter_mut().enumerate() {
                    let expected = model.forward(&next[text..=text], cache)?;
                    let found = found.slice(s![text..=text, ..]).to_owned();
                    let (error, bound) = (relative(&found, &expected), rounding_bound(&model));
                    assert!(error <= bound, "text {text}: {error:.2e}, bound {bound:.2e}");
                    assert_eq!(together[text].len(), cache.len());
                }
            }
        }
    }
    Ok(())
}

#[test]
fn prompts_that_run_together_are_those_of_each_alone_whatever_their_lengths() -> Result {
    let dense = load("tiny");
    for model in [dense.clone(), dense.quantized(Format::W8A16, &Labs)?] {
        // A cache of `texts` has room for eight tokens more.
        let (lengths, news) = ([0, 3, 17, 1, 200], [4, 1, 8, 7, 2]);
        let (mut together, mut alone) = (texts(&model, &lengths)?, texts(&model, &lengths)?);
        let tokens: Vec<Vec<u32>> =
            news.iter().map(|&new| (0..new as u32).map(|i| (i * 11 + 3) % 320).collect()).collect();
        let prompts: Vec<&[u32]> = tokens.iter().map(Vec::as_slice).collect();
        let found = model.hidden_of_each(&prompts, &mut together)?;
        let mut first = 0;
        for (text, (prompt, cache)) in prompts.iter().zip(&mut alone).enumerate() {
            let expected = model.hidden(prompt, cache, &mut |_, _| ())?;
            let found = found.slice(s![first..first + prompt.len(), ..]).to_owned();
            let (error, bound) = (relative(&found, &expected), rounding_bound(&model));
            assert!(error <= bound, "text {text}: {error:.2e}, bound {bound:.2e}");
            assert_eq!(together[text].len(), cache.len());
            first += prompt.len();
        }
        let before: Vec<usize> = together.iter().map(Cache::len).collect();
        let empty = model.hidden_of_each(&[&[1], &[]], &mut together[..2]);
        assert_eq!(empty.unwrap_err().to_string(), ModelError::NoTokens.to_string());
        assert_eq!(together.iter().map(Cache::len).collect::<Vec<_>>(), before);
    }
    Ok(())
}

#[test]
fn a_step_that_cannot_be_run_leaves_the_caches_as_they_were() -> Result {
    let model = load("tiny");
    let mut caches = texts(&model, &[3, 5])?;
    let refused = |tokens: &[u32], caches: &mut [Cache]| {
        model.step(tokens, caches).err().map(|error| error.to_string()).unwrap_or_default()
    };
    let text = refused(&[1], &mut caches);
    assert!(text.contains("1 tokens and 2 caches"), "{text}");
    let text = refused(&[1, 320], &mut caches);
    assert!(text.contains("token 320 is not in the vocabulary"), "{text}");
    assert_eq!(refused(&[], &mut []), ModelError::NoTokens.to_string());
    let mut full = vec![caches[0].clone(), Cache::new(model.config(), 0)?];
    let text = refused(&[1, 2], &mut full);
    assert!(text.contains("1 positions do not fit 0"), "{text}");
    assert_eq!([caches[0].len(), caches[1].len(), full[0].len()], [3, 5, 3]);
    Ok(())
}

#[test]
fn a_layer_that_fails_in_a_step_leaves_the_caches_as_they_were() -> Result {
    let model = load("tiny").quantized(Format::W8A8, &Labs)?;
    let mut broken = model.clone();
    // Weights of infinity give activations of infinity, which have no codes.
    let id = LayerId::Layer(1, Projection::Up);
    let like = model.linear(id)?;
    let infinite = Array2::from_elem((like.out_features(), like.in_features()), f32::INFINITY);
    broken.replace(id, Arc::new(model::Dense::new(infinite)))?;
    let mut caches = texts(&model, &[3, 5])?;
    let text = broken.step(&[1, 2], &mut caches).unwrap_err().to_string();
    assert!(text.contains("layers.1.mlp.down_proj") && text.contains("finite"), "{text}");
    assert_eq!([caches[0].len(), caches[1].len()], [3, 5]);
    Ok(())
}

#[test]
fn an_embedding_that_is_the_head_is_stored_once_in_8_bits() -> Result {
    let model = load("tiny");
    let fast = model.quantized(Format::W8A8, &Labs)?;
    assert!(model.is_tied() && fast.is_tied(), "the head is the embedding before and after");
    let layers = |of: &Model| -> usize {
        of.layer_ids().map(|id| of.linear(id).map_or(0, |linear| linear.bytes())).sum()
    };
    // What is not a linear layer are the norms, and they did not change.
    assert_eq!(model.bytes() - layers(&model), fast.bytes() - layers(&fast));
    Ok(())
}
