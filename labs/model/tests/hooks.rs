//! Hooks on the inputs of linear layers, and replaced layers.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::golden::{load, logits, relative, tiny};
use fake_quant_linear::solution as lab_01;
use int4_groups::{Int4Groups, solution as lab_03};
use model::{Cache, Dense, LayerId, Linear, LinearError, Model, ModelError, Norm, Projection};
use ndarray::Array2;

/// A layer that a closure computes.
struct Layer<F> {
    /// `[out_features, in_features]`.
    shape: [usize; 2],
    bytes: usize,
    forward: F,
}

impl<F> Linear for Layer<F>
where
    F: Fn(&Array2<f32>) -> Result<Array2<f32>, LinearError> + Send + Sync,
{
    fn forward(&self, x: &Array2<f32>) -> Result<Array2<f32>, LinearError> {
        (self.forward)(x)
    }

    fn out_features(&self) -> usize {
        self.shape[0]
    }

    fn in_features(&self) -> usize {
        self.shape[1]
    }

    fn bytes(&self) -> usize {
        self.bytes
    }
}

/// Lab 03's format as a layer of the model.
fn int4(w: Array2<f32>) -> Arc<dyn Linear> {
    let (shape, q) = (w.dim().into(), groups(w));
    let bytes = lab_03::memory_bytes(&q);
    let forward = move |x: &Array2<f32>| Ok(lab_03::int4_linear(x, &q)?);
    Arc::new(Layer { shape, bytes, forward })
}

fn groups(w: Array2<f32>) -> Int4Groups {
    lab_03::quantize_groups(&w, 16).expect("16 divides 64 and 80")
}

/// Lab 01's format as a layer of the model.
fn int8(w: Array2<f32>) -> Arc<dyn Linear> {
    let q = lab_01::quantize_per_channel(&w).expect("finite weights");
    let bytes = lab_01::memory_bytes(&q);
    let forward = move |x: &Array2<f32>| Ok(lab_01::quant_linear(x, &q)?);
    Arc::new(Layer { shape: w.dim().into(), bytes, forward })
}

fn dense(model: &Model, id: LayerId) -> Array2<f32> {
    let linear = model.linear(id).expect("there is such a layer");
    linear.weight().expect("it is dense").clone()
}

fn replaced(model: &Model, new: impl Fn(Array2<f32>) -> Arc<dyn Linear>) -> Model {
    let mut model = model.clone();
    for id in model.layer_ids().filter(|id| id.layer().is_some()) {
        let new = new(dense(&model, id));
        model.replace(id, new).expect("a layer of the same widths");
    }
    model
}

#[test]
fn a_hook_sees_the_input_of_every_linear_layer_once_and_in_order() -> Result<(), ModelError> {
    let (model, ids) = (load("tiny"), tiny().tied.ids);
    let mut cache = Cache::new(model.config(), ids.len())?;
    let mut seen = Vec::new();
    let hooked = model.forward_with_hook(&ids, &mut cache, &mut |id, x| {
        seen.push((id, x.clone()));
    })?;
    assert_eq!(hooked, logits(&model, &ids), "a hook changes nothing");
    let hooked_ids: Vec<LayerId> = seen.iter().map(|(id, _)| *id).collect();
    assert_eq!(hooked_ids, model.layer_ids().collect::<Vec<_>>());
    for (id, x) in &seen {
        assert_eq!(x.dim(), (ids.len(), model.linear(*id)?.in_features()), "{id}");
    }
    let seen: BTreeMap<LayerId, Array2<f32>> = seen.into_iter().collect();
    let input = |layer, projection| &seen[&LayerId::Layer(layer, projection)];
    assert_eq!(input(1, Projection::Q), input(1, Projection::V), "Q, K and V read the same input");
    assert_eq!(input(1, Projection::Gate), input(1, Projection::Up));
    let head = model.linear(LayerId::Head)?.forward(&seen[&LayerId::Head]);
    assert_eq!(head.expect("the head runs"), hooked, "the head's input gives the logits");
    Ok(())
}

#[test]
fn layer_ids_are_named_as_in_a_hugging_face_checkpoint() {
    assert_eq!(LayerId::Layer(3, Projection::Down).to_string(), "model.layers.3.mlp.down_proj");
    assert_eq!(LayerId::Head.to_string(), "lm_head");
}

#[test]
fn a_layer_of_lab_03_gives_what_its_dequantized_weights_give() {
    let (model, ids) = (load("tiny"), tiny().tied.ids);
    let int4 = replaced(&model, int4);
    let fake = replaced(&model, |w| Arc::new(Dense::new(lab_03::dequantize_groups(&groups(w)))));
    let (int4_logits, plain) = (logits(&int4, &ids), logits(&model, &ids));
    // Thirteen products of at most 80 terms, summed in two orders: see tests/tiny.rs.
    let bound = 13.0 * 80.0 * f64::from(f32::EPSILON);
    let error = relative(&int4_logits, &logits(&fake, &ids));
    assert!(error <= bound, "{error:.2e}, bound {bound:.2e}");
    let cost = relative(&int4_logits, &plain);
    println!("4 bits in groups of 16: {cost:.2e} of the largest logit");
    assert!(cost > 100.0 * bound, "the quantized layers were not used: {cost:.2e}");
    assert!(int4.bytes() < model.bytes(), "and they are smaller");
}

#[test]
fn eight_bits_cost_less_than_four() {
    let (model, ids) = (load("tiny"), tiny().tied.ids);
    let plain = logits(&model, &ids);
    let int8 = relative(&logits(&replaced(&model, int8), &ids), &plain);
    let int4 = relative(&logits(&replaced(&model, int4), &ids), &plain);
    assert!(int8 < int4, "int8 {int8:.2e}, int4 {int4:.2e}");
}

#[test]
fn a_replaced_layer_comes_back_and_leaves_other_clones_alone() -> Result<(), ModelError> {
    let (model, ids) = (load("tiny"), tiny().tied.ids);
    let (mut variant, id) = (model.clone(), LayerId::Layer(1, Projection::Down));
    let zero = Dense::new(Array2::zeros(dense(&model, id).dim()));
    let old = variant.replace(id, Arc::new(zero))?;
    assert_ne!(logits(&variant, &ids), logits(&model, &ids));
    variant.replace(id, old)?;
    assert_eq!(logits(&variant, &ids), logits(&model, &ids));
    Ok(())
}

#[test]
fn a_replaced_head_leaves_the_embedding_it_was_tied_to() -> Result<(), ModelError> {
    let (model, ids) = (load("tiny"), tiny().tied.ids);
    let mut variant = model.clone();
    variant.replace(LayerId::Head, Arc::new(Dense::new(2.0 * dense(&model, LayerId::Head))))?;
    assert!(!variant.is_tied());
    assert_eq!(logits(&variant, &ids), 2.0 * logits(&model, &ids));
    Ok(())
}

#[test]
fn a_layer_that_fails_is_named_and_the_cache_is_as_before() -> Result<(), ModelError> {
    let model = load("tiny");
    let id = LayerId::Layer(1, Projection::Gate);
    // A layer that returns an error, and a layer that promises 80 columns and gives 64.
    for (fails, wanted) in [(true, "the scales are gone"), (false, "[3, 64], not [3, 80]")] {
        let mut variant = model.clone();
        let forward = move |x: &Array2<f32>| {
            if fails { Err("the scales are gone".into()) } else { Ok(x.clone()) }
        };
        let shape = dense(&model, id).dim().into();
        variant.replace(id, Arc::new(Layer { shape, bytes: 0, forward }))?;
        let mut cache = Cache::new(model.config(), 8)?;
        let error = variant.forward(&[1, 2, 3], &mut cache).unwrap_err().to_string();
        assert!(error.contains("model.layers.1.mlp.gate_proj"), "{error}");
        assert!(error.contains(wanted), "{error}");
        assert!(cache.is_empty());
    }
    Ok(())
}

#[test]
fn a_replacement_of_another_size_or_place_is_refused() {
    let mut model = load("tiny");
    let small = || Arc::new(Dense::new(Array2::zeros((3, 64))));
    let mut refusal = |layer| {
        let error = model.replace(LayerId::Layer(layer, Projection::K), small()).err();
        error.expect("it is refused").to_string()
    };
    let error = refusal(0);
    assert!(error.contains("self_attn.k_proj maps [32, 64]"), "{error}");
    assert!(error.contains("[3, 64]"), "{error}");
    let error = refusal(2);
    assert!(error.contains("the model has 2 layers"), "{error}");
}

#[test]
fn a_norm_halved_and_its_layers_doubled_is_the_same_model_to_the_bit() -> Result<(), ModelError> {
    let (model, ids) = (load("tiny"), tiny().tied.ids);
    let mut variant = model.clone();
    for layer in 0..model.config().layers {
        for (norm, behind) in [
            (Norm::Attention(layer), &[Projection::Q, Projection::K, Projection::V][..]),
            (Norm::Mlp(layer), &[Projection::Gate, Projection::Up]),
        ] {
            // A power of two costs no rounding.
            let half: Vec<f32> = model.norm(norm)?.iter().map(|weight| weight / 2.0).collect();
            variant.replace_norm(norm, &half)?;
            assert_ne!(logits(&variant, &ids), logits(&model, &ids), "{norm} is used");
            for &projection in behind {
                let id = LayerId::Layer(layer, projection);
                variant.replace(id, Arc::new(Dense::new(2.0 * dense(&model, id))))?;
            }
        }
    }
    assert_eq!(logits(&variant, &ids), logits(&model, &ids));
    Ok(())
}

#[test]
fn a_norm_of_another_length_or_layer_is_refused() {
    let mut model = load("tiny");
    let error = model.replace_norm(Norm::Mlp(1), &[1.0; 3]).unwrap_err().to_string();
    assert!(error.contains("layers.1.post_attention_layernorm has 64 weights"), "{error}");
    let error = model.replace_norm(Norm::Attention(2), &[1.0; 64]).unwrap_err().to_string();
    assert!(error.contains("the model has 2 layers"), "{error}");
}
