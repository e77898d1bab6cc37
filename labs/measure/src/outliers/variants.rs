//! The whole models that are compared.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result};
use int4_groups::solution as lab_03;
use kernels::Int8;
use model::{Dense, LayerId, Linear, Model, Projection};
use rayon::prelude::*;

use super::calibration::Calibration;
use super::folding::{Reach, smooth_model, weight};
use super::layer::{Input, Layer, laid_out, scale_of};
use crate::outliers;
use fake_quant_linear::solution::quantize_per_channel;
use smoothquant::decomposition::THRESHOLD;

/// Strengths of migration, in hundredths: 0.5 is the paper's.
pub const ALPHAS: [u8; 7] = [30, 40, 50, 60, 70, 80, 90];
/// Group sizes of int4.
const GROUP_SIZES: [usize; 2] = [64, 32];

/// A model to compare, and what a capture says of it.
pub struct Variant {
    /// What a capture says of it; nothing is measured yet.
    pub record: outliers::Variant,
    /// The model.
    pub model: Model,
}

impl Variant {
    fn new(name: &str, weights: &str, activations: &str, model: Model) -> Self {
        let (name, weights, activations) = (name.into(), weights.into(), activations.into());
        let record =
            outliers::Variant { name, weights, activations, ..outliers::Variant::default() };
        Self { record, model }
    }
}

/// A model in `f32` and the int8 codes of its layers, which many variants share.
struct InInt8 {
    float: Model,
    weights: BTreeMap<LayerId, Arc<Int8>>,
    calibrated: BTreeMap<LayerId, f32>,
}

impl InInt8 {
    fn new(float: Model, calibrated: impl IntoIterator<Item = (LayerId, f32)>) -> Result<Self> {
        let ids: Vec<LayerId> = layers(&float).collect();
        let codes = |id| -> Result<_> {
            let codes = quantize_per_channel(weight(&float, id)?)?;
            let codes = laid_out(&codes).map_err(anyhow::Error::from_boxed)?;
            Ok((id, codes))
        };
        let weights = ids.into_par_iter().map(codes).collect::<Result<_>>()?;
        Ok(Self { float, weights, calibrated: calibrated.into_iter().collect() })
    }

    /// The model with each layer's input treated as `input` says; `None` leaves a layer in `f32`.
    fn model(&self, input: impl Fn(LayerId) -> Option<Input>) -> Result<Model> {
        let mut model = self.float.clone();
        for (&id, weights) in &self.weights {
            if let Some(input) = input(id) {
                let layer = Layer::int8(weights.clone(), self.float.linear(id)?, input);
                model.replace(id, Arc::new(layer))?;
            }
        }
        Ok(model)
    }

    fn all(&self, input: Input) -> Result<Model> {
        self.model(|_| Some(input))
    }

    /// Static scales from the calibration text.
    fn with_static(&self) -> Result<Model> {
        self.model(|id| Some(Input::Static(scale_of(*self.calibrated.get(&id)?))))
    }
}

/// Every linear layer but the head, which stays in `f32` in all variants.
fn layers(model: &Model) -> impl Iterator<Item = LayerId> + use<> {
    model.layer_ids().filter(|id| id.layer().is_some())
}

/// All variants, `f32` first.
///
/// # Errors
/// If a layer cannot be quantized or smoothed.
pub fn all(model: &Model, calibration: &Calibration) -> Result<Vec<Variant>> {
    let mut variants = vec![Variant::new("f32", "f32", "float", model.clone())];
    variants.extend(plain(model, calibration)?);
    for alpha in ALPHAS {
        variants.extend(smoothed(model, calibration, alpha, Reach::Norms)?);
    }
    for alpha in [50, 80] {
        variants.extend(smoothed(model, calibration, alpha, Reach::Everything)?);
    }
    variants.extend(four_bits(model)?);
    Ok(variants)
}

/// Without smoothing.
fn plain(model: &Model, calibration: &Calibration) -> Result<Vec<Variant>> {
    let calibrated = layers(model).map(|id| Ok((id, calibration.at(id)?.max())));
    let int8 = InInt8::new(model.clone(), calibrated.collect::<Result<Vec<_>>>()?)?;
    let but_down = |input| {
        int8.model(|id| {
            let is_down = id.projection() == Some(Projection::Down);
            Some(if is_down { Input::Float } else { input })
        })
    };
    let but_first = int8.model(|id| {
        let rest = calibration.at(id).ok()?.without_first;
        Some(Input::StaticButFirst(scale_of(rest)))
    })?;
    let all = |input| int8.all(input);
    let (down, first, from_6) = ("down_proj", "first token", "channels from 6");
    // Name, activations, the part that stays in floating point, model.
    let rows = [
        ("W8A16", "float", None, all(Input::Float)?),
        ("W8A8 per-tensor", "per-tensor", None, all(Input::PerTensor)?),
        ("W8A8 static", "static", None, int8.with_static()?),
        ("W8A8 per-token", "per-token", None, all(Input::PerToken)?),
        ("W8A8 per-tensor, down_proj W8A16", "per-tensor", Some(down), but_down(Input::PerTensor)?),
        ("W8A8 per-token, down_proj W8A16", "per-token", Some(down), but_down(Input::PerToken)?),
        (
            "W8A8 per-tensor, first token f32",
            "per-tensor",
            Some(first),
            all(Input::PerTensorButFirst)?,
        ),
        ("W8A8 static, first token f32", "static", Some(first), but_first),
        ("LLM.int8() from 6", "per-token", Some(from_6), all(Input::Mixed(THRESHOLD))?),
    ];
    let variant = |(name, activations, kept, model): (_, _, Option<&str>, _)| {
        let mut variant = Variant::new(name, "int8", activations, model);
        variant.record.kept = kept.map(Into::into);
        variant
    };
    Ok(rows.into_iter().map(variant).collect())
}

/// With smoothing at `alpha` hundredths.
fn smoothed(
    model: &Model,
    calibration: &Calibration,
    alpha: u8,
    reach: Reach,
) -> Result<Vec<Variant>> {
    let alpha = f64::from(alpha) / 100.0;
    let smoothed = smooth_model(model, calibration, alpha as f32, reach)?;
    let int8 = InInt8::new(smoothed.model, smoothed.calibrated)?;
    let (more, folded) = match reach {
        Reach::Norms => ("", "norms"),
        Reach::Everything => (" with o and down", "norms, v, up"),
    };
    let variant = |activations: &str, model| {
        let name = format!("SmoothQuant {alpha:.1}{more}, {activations}");
        let mut variant = Variant::new(&name, "int8", activations, model);
        (variant.record.alpha, variant.record.folded) = (Some(alpha), Some(folded.into()));
        variant
    };
    let mut variants = vec![
        variant("per-tensor", int8.all(Input::PerTensor)?),
        variant("per-token", int8.all(Input::PerToken)?),
    ];
    if alpha == 0.5 || reach == Reach::Everything {
        variants.push(variant("static", int8.with_static()?));
    }
    Ok(variants)
}

/// int4 in groups, of lab 03.
fn four_bits(model: &Model) -> Result<Vec<Variant>> {
    let mut variants = Vec::new();
    for size in GROUP_SIZES {
        let ids: Vec<LayerId> = layers(model).collect();
        let weights = ids.into_par_iter().map(|id| {
            let groups = lab_03::quantize_groups(weight(model, id)?, size);
            let groups = groups.with_context(|| format!("{id} in groups of {size}"))?;
            Ok((id, Arc::new(Dense::new(lab_03::dequantize_groups(&groups)))))
        });
        let weights: Vec<(LayerId, Arc<Dense>)> = weights.collect::<Result<_>>()?;
        let with = |input| -> Result<Model> {
            let mut model = model.clone();
            for (id, weights) in &weights {
                let layer: Arc<dyn Linear> = Arc::new(Layer::dequantized(weights.clone(), input));
                model.replace(*id, layer)?;
            }
            Ok(model)
        };
        let kind = format!("int4 g{size}");
        let name = format!("W4A16 g{size}");
        variants.push(Variant::new(&name, &kind, "float", with(Input::Float)?));
        if size == GROUP_SIZES[0] {
            let name = format!("W4A8 g{size}, per-token");
            variants.push(Variant::new(&name, &kind, "per-token", with(Input::PerToken)?));
        }
    }
    Ok(variants)
}
