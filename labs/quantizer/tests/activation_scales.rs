//! AWQ on the tiny model, whose query heads share kv heads in pairs.

use awq::{Grid, Rounding};
use formats::bytes::Float;
use formats::registry::Decision;
use model::{Cache, Dense, LayerId, Model, Norm, Projection, Weights};
use ndarray::{Array1, Array2, Axis};
use quantizer::activation_scales::{ActivationScales, AwqOptions};
use quantizer::layer_by_layer::LayerByLayer;
use quantizer::loaded::Checkpoint;
use quantizer::{DecoderLayers, Job, Options, Plan, Transform, WriteError, write};

use crate::tiny::{Nobody, format, golden, job, text};

type Outcome = Result<(), Box<dyn std::error::Error>>;

const SYMMETRIC: AwqOptions =
    AwqOptions { rounding: rounding(Grid::LlmCompressor), feedback: None, duo: false, clip: false };

const fn rounding(grid: Grid) -> Rounding {
    Rounding { grid, group_size: 16, stored: awq::Stored::F16 }
}

/// Each choice of the search.
fn options() -> [AwqOptions; 5] {
    [
        SYMMETRIC,
        AwqOptions { duo: true, ..SYMMETRIC },
        AwqOptions { clip: true, ..SYMMETRIC },
        AwqOptions { feedback: Some(Options::LLM_COMPRESSOR), ..SYMMETRIC },
        AwqOptions { rounding: rounding(Grid::Asymmetric), duo: true, clip: true, ..SYMMETRIC },
    ]
}

fn scales(options: &AwqOptions) -> Result<ActivationScales, WriteError> {
    let weights = Weights::open(golden("tiny"))?;
    let plan = Plan::new(format("w4a16", 16), Float::F16);
    ActivationScales::calibrate(&weights, &plan, &text(3), options, &mut |_, _| ())
}

/// The tiny model with its decoder layers changed.
fn changed(transform: &dyn Transform) -> Result<Model, WriteError> {
    let mut model = Model::load(golden("tiny"))?;
    for layer in 0..model.config().layers {
        for norm in [Norm::Attention(layer), Norm::Mlp(layer)] {
            let weight = Array1::from(model.norm(norm)?.to_vec()).insert_axis(Axis(0));
            let new = transform.apply(&format!("{norm}.weight"), weight)?;
            model.replace_norm(norm, &new.row(0).to_vec())?;
        }
        for id in Projection::ALL.map(|projection| LayerId::Layer(layer, projection)) {
            let new = transform.apply(&format!("{id}.weight"), weight(&model, id))?;
            model.replace(id, std::sync::Arc::new(Dense::new(new)))?;
        }
    }
    Ok(model)
}

fn weight(model: &Model, id: LayerId) -> Array2<f32> {
    let linear = model.linear(id).expect("the layer is there");
    linear.weight().expect("its weights are f32").clone()
}

fn logits(model: &Model) -> Result<Array2<f32>, WriteError> {
    let mut cache = Cache::new(model.config(), 64)?;
    Ok(model.forward(&text(1)[..64], &mut cache)?)
}

#[test]
fn the_scaled_model_computes_what_the_model_did() -> Outcome {
    let expected = logits(&Model::load(golden("tiny"))?)?;
    for options in [SYMMETRIC, AwqOptions { duo: true, ..SYMMETRIC }] {
        let scales = scales(&options)?;
        assert!(scales.choices().iter().any(|choice| choice.search.best.ratio > 0.0), "no scale");
        let found = logits(&changed(&scales)?)?;
        let size = expected.mapv(|x| x * x).mean().unwrap_or(0.0).sqrt();
        let moved = (&found - &expected).fold(0.0, |max: f32, d| max.max(d.abs())) / size;
        // Each weight and each norm is rounded to f32 once more, which moves a sum of 80 terms by no more
        // than 80 * 2^-23 of their magnitudes, through two layers of seven projections each.
        assert!(moved < 80.0 * 14.0 * 2f32.powi(-23), "{options:?}: logits moved by {moved:.1e}");
    }
    Ok(())
}

#[test]
fn each_layer_has_four_choices_and_none_is_worse_than_no_scales() -> Outcome {
    for options in options() {
        let scales = scales(&options)?;
        let ids: Vec<_> = scales.choices().iter().map(|choice| choice.id).collect();
        let readers = [Projection::Q, Projection::O, Projection::Gate, Projection::Down];
        let expected: Vec<_> =
            (0..2).flat_map(|layer| readers.map(|reader| LayerId::Layer(layer, reader))).collect();
        assert_eq!(ids, expected);
        for choice in scales.choices() {
            let errors = &choice.search.errors;
            let least = errors.iter().copied().fold(f64::INFINITY, f64::min);
            assert!(errors.len() == 20 && least <= errors[0], "{}", choice.id);
        }
    }
    Ok(())
}

#[test]
fn layers_behind_one_input_have_one_vector_and_query_heads_share_that_of_their_values() -> Outcome {
    let scales = scales(&SYMMETRIC)?;
    let model = Model::load(golden("tiny"))?;
    let of = |projection| {
        let id = LayerId::Layer(1, projection);
        scales.apply(&format!("{id}.weight"), Array2::ones(weight(&model, id).dim()))
    };
    let q = of(Projection::Q)?.row(0).to_owned();
    assert_eq!(of(Projection::K)?.row(0), q);
    let v = of(Projection::V)?;
    let (rows, heads) = (v.column(0).mapv(|x| q[0] / x), model.config().head_dim);
    let o = of(Projection::O)?.row(0).to_owned();
    for channel in 0..o.len() {
        // Two query heads to a kv head.
        let row = channel / heads / 2 * heads + channel % heads;
        assert!((o[channel] / rows[row] - 1.0).abs() < 1e-5, "channel {channel}");
    }
    assert_eq!(of(Projection::Gate)?.row(0).len(), model.config().hidden_size);
    Ok(())
}

#[test]
fn files_of_every_layout_are_read_back_to_the_scaled_weights_and_their_nearest_codes() -> Outcome {
    let tiny = Weights::open(golden("tiny"))?;
    for (scheme, grid) in [
        ("w4a16", Grid::LlmCompressor),
        ("gptq", Grid::Lab03),
        ("awq", Grid::Lab03),
        ("awq", Grid::Asymmetric),
    ] {
        let options = AwqOptions { rounding: rounding(grid), clip: true, ..SYMMETRIC };
        let scales = scales(&options)?;
        let folder = tempfile::tempdir()?;
        let out = folder.path().join("out");
        let (transform, rounding) = (Some(&scales as &dyn Transform), &options.rounding);
        let job = Job { transform, rounding: Some(rounding), ..job(&tiny, (scheme, 16), &out) };
        let (report, plan) = (write(&job, &())?, job.plan);
        assert!(report.labs.contains(&"07"), "{:?}", report.labs);
        let checkpoint = Checkpoint::open(&out)?;
        for tensor in tiny.tensors() {
            let expected = scales.apply(&tensor.name, tiny.read(&tensor.name)?)?;
            let stored = checkpoint.read(&tensor.name)?;
            // AutoAWQ's layout takes outputs by 32, and the tiny model has projections of 80.
            if plan.decide(tensor) == Decision::Quantize {
                assert_eq!(stored, rounding.values(&expected)?, "{scheme}, {}", tensor.name);
            } else {
                let half = expected.mapv(|value| half::f16::from_f32(value).to_f32());
                assert_eq!(stored, half, "{scheme}, {}", tensor.name);
            }
        }
    }
    Ok(())
}

#[test]
fn with_feedback_the_codes_are_those_of_the_scaled_model() -> Outcome {
    let tiny = Weights::open(golden("tiny"))?;
    let (scales, folder) = (scales(&SYMMETRIC)?, tempfile::tempdir()?);
    let plan = Plan::new(format("w4a16", 16), Float::F16);
    let (kept, out) = (folder.path().join("kept"), folder.path().join("out"));
    let options = Options::LLM_COMPRESSOR;
    let transform: Option<&dyn Transform> = Some(&scales);
    let layers = DecoderLayers { weights: &tiny, transform };
    let layers = LayerByLayer::calibrate(layers, &plan, &text(3), &options, &kept, &mut Nobody)?;
    write(&Job { transform, rounding: Some(&layers), ..job(&tiny, ("w4a16", 16), &out) }, &())?;
    let (checkpoint, model) = (Checkpoint::open(&out)?, layers.model()?);
    let scaled = changed(&scales)?;
    for id in scaled.layer_ids().filter(|id| *id != LayerId::Head) {
        let stored = checkpoint.read(&format!("{id}.weight"))?;
        assert_eq!(stored, weight(&model, id), "{id}");
        let w = weight(&scaled, id);
        let off = (&stored - &w).mapv(|d| d * d).sum() / w.mapv(|w| w * w).sum();
        assert!(off < 0.1, "{id}: {off} of the scaled weight");
    }
    for layer in 0..2 {
        for norm in [Norm::Attention(layer), Norm::Mlp(layer)] {
            assert_eq!(model.norm(norm)?, scaled.norm(norm)?, "{norm}");
        }
    }
    Ok(())
}

#[test]
fn formats_without_groups_and_layouts_without_zero_points_are_refused() -> Outcome {
    let (tiny, scales) = (Weights::open(golden("tiny"))?, scales(&SYMMETRIC)?);
    let folder = tempfile::tempdir()?;
    let out = folder.path().join("out");
    let transform: Option<&dyn Transform> = Some(&scales);
    let refused = write(&Job { transform, ..job(&tiny, ("fp8", 16), &out) }, &());
    let said = refused.map_or_else(|error| error.to_string(), |_| String::new());
    assert!(said.contains("int4 in groups") && said.contains("fp8"), "{said}");
    let asymmetric = rounding(Grid::Asymmetric);
    let refused =
        write(&Job { rounding: Some(&asymmetric), ..job(&tiny, ("w4a16", 16), &out) }, &());
    let said = refused.map_or_else(|error| error.to_string(), |_| String::new());
    assert!(said.contains("w4a16") && said.contains("--scheme w4a16-asym or awq"), "{said}");
    Ok(())
}
