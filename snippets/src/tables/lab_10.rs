//! The tables of lab 10: orders, the function of a model, flatness, and errors before and after a rotation.

use std::collections::BTreeMap;

use anyhow::Result;
use formats::architecture::{Architecture, PUBLISHED};
use int4_groups::{dequantize_groups, quantize_groups};
use kit::Table;
use kit::data::normal_matrix;
use kit::meters::relative_error;
use kit::real_slice::TENSORS;
use kit::reference::linear_f64;
use kit::table::{percent, sig3};
use kv_cache::{Bits, Grid, Layout, Policy, decode_steps};
use ndarray::{Array1, Array2, Array3};
use rotations::{
    Decoder, Layer as Weights, Online, Rotation, RotationError, Shape, apply, factors,
    flatness_bound, fuse_norms, max_over_rms, rotate_all_values, rotate_down, rotate_heads,
    rotate_residual,
};
use smoothquant::{
    Granularity, migrate, migrated_linear, quantize_activations_per_tensor,
    quantize_activations_per_token, quantize_weight, w8a8_linear,
};

use super::lab_04::ALPHA;
use super::real_activations::without_first;
use crate::inputs::{Caches, Layer, Layers};
use crate::rows::{largest, median, smallest};

/// The seed of the rotations of the tables and figures.
pub const SEED: u64 = 1;
/// The seeds whose spread is told.
const SEEDS: std::ops::RangeInclusive<u64> = 1..=10;
/// The layers whose spread is told: the two with the largest first tokens, and the one with an outlier channel.
const SPREAD: [&str; 3] = [TENSORS[2], TENSORS[7], TENSORS[8]];
/// Weights in groups.
const GROUP: usize = 64;
/// The chance of the bound that the tables name.
const CHANCE: f64 = 0.01;

/// `x Q` of numbers in `f32`.
pub fn rotated(x: &Array2<f32>, rotation: &Rotation) -> Result<Array2<f32>> {
    Ok(apply(&x.mapv(f64::from), rotation)?.mapv(|value| value as f32))
}

/// A layer whose inputs are rotated.
pub fn rotated_layer(layer: &Layer, rotation: &Rotation) -> Result<Layer> {
    Ok(Layer {
        label: layer.label.clone(),
        weight: rotated(&layer.weight, rotation)?,
        calibration: rotated(&layer.calibration, rotation)?,
        held_out: rotated(&layer.held_out, rotation)?,
    })
}

/// The rotation of a layer's inputs.
pub fn of_inputs(layer: &Layer, seed: u64) -> Result<Rotation> {
    Ok(Rotation::random(layer.weight.ncols(), seed)?)
}

/// The widths of published models that a rotation would have, and the cores of this lab.
pub fn orders() -> Result<Table> {
    let mut widths: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    for (name, of) in PUBLISHED {
        for (width, role) in widths_of(&of) {
            widths.entry(width).or_default().push(format!("{role} of {name}"));
        }
    }
    let rows = widths.into_iter().map(|(width, users)| (width as usize, users[0].clone()));
    Ok(Table::of("Orders that models need: the odd factor, and what this lab's table has", rows)
        .number("order", |(width, _)| width.to_string())
        .text("for example", |(_, user)| user.clone())
        .number("odd factor", |(width, _)| (width >> width.trailing_zeros()).to_string())
        .text("as core and power of two", |(width, _)| match factors(*width) {
            Ok((core, power)) => format!("{core} · {power}"),
            Err(RotationError::NoHadamard(_)) => "no Hadamard matrix".into(),
            Err(_) => "a core that this lab lacks".into(),
        })
        .done())
}

/// The widths at which a model may be rotated.
fn widths_of(of: &Architecture) -> [(u64, &'static str); 4] {
    [
        (of.heads, "heads"),
        (of.head_dim, "a head"),
        (of.hidden, "the stream"),
        (of.intermediate, "the inputs of down"),
    ]
}

/// Tokens of the models of [`exactness`].
const TOKENS: [usize; 12] = [3, 10, 17, 24, 31, 38, 5, 12, 19, 26, 33, 3];

/// What each step does to the logits of a model with the sizes of SmolLM2-135M.
pub fn exactness() -> Result<Table> {
    let model = Decoder::seeded(SEED, Shape::SMOLLM2);
    let logits = model.logits(&TOKENS)?;
    let shape = model.shape;
    let random = |order, seed| Rotation::random(order, seed);
    let (r1, r2) = (random(shape.hidden, 1)?, random(shape.head_dim, 2)?);
    let (r3, r4) = (random(shape.head_dim, 3)?, random(shape.intermediate, 4)?);
    let fused = fuse_norms(&model)?;
    let with_keys = |model: &Decoder| {
        let online = Online { keys: Some(r3.clone()), ..model.online.clone() };
        Decoder { online, ..model.clone() }
    };
    let streamed = rotate_residual(&fused, &r1)?;
    let all = rotate_down(&rotate_all_values(&streamed, std::slice::from_ref(&r2))?, &r4)?;
    let rows = [
        ("norms fused", fused.clone()),
        ("R1, the stream", streamed),
        ("R2, the values of each head", rotate_all_values(&model, std::slice::from_ref(&r2))?),
        ("R3, queries and keys after RoPE", with_keys(&model)),
        ("R4, the inputs of down", rotate_down(&model, &r4)?),
        ("all of them", with_keys(&all)),
        ("R3 before RoPE", before_rope(&model, &r3)?),
        ("R1 around norms that are not fused", not_fused(&model, &r1)?),
        ("R2 on the rows of v as Q, on o as Q", wrong_side(&model, &r2)?),
        ("embedding rows without their mean", centred(&fused)),
        ("R4 offline only", Decoder { online: Online::default(), ..rotate_down(&model, &r4)? }),
    ];
    let rows = rows.map(|(name, other)| Ok((name, change(&other.logits(&TOKENS)?, &logits))));
    let rows = rows.into_iter().collect::<Result<Vec<_>>>()?;
    Ok(Table::of("Relative change of the logits of one layer at the sizes of SmolLM2-135M", rows)
        .text("step", |(name, _)| *name)
        // Below that the number is noise of the processor's own order of sums.
        .number(
            "change",
            |(_, change)| {
                if *change < 1e-13 { "below 1e-13".into() } else { sig3(*change) }
            },
        )
        .done())
}

/// The norm of the difference over the norm of `expected`.
fn change(found: &Array2<f64>, expected: &Array2<f64>) -> f64 {
    let energy = |m: &Array2<f64>| m.iter().map(|value| value * value).sum::<f64>();
    (energy(&(found - expected)) / energy(expected)).sqrt()
}

/// A model whose layers are changed.
fn with_layers(
    model: &Decoder,
    change: impl Fn(&Weights) -> Result<Weights, RotationError>,
) -> Result<Decoder> {
    let layers = model.layers.iter().map(change).collect::<Result<_, _>>()?;
    Ok(Decoder { layers, ..model.clone() })
}

/// Queries and keys that are rotated by their projections, so that RoPE comes after R3.
fn before_rope(model: &Decoder, r3: &Rotation) -> Result<Decoder> {
    let rows = |w: &Array2<f64>| -> Result<Array2<f64>, RotationError> {
        Ok(rotate_heads(&w.t().to_owned(), r3)?.reversed_axes())
    };
    with_layers(model, |layer| {
        Ok(Weights { q: rows(&layer.q)?, k: rows(&layer.k)?, ..layer.clone() })
    })
}

/// The stream rotated around norms that keep their weights.
fn not_fused(model: &Decoder, r1: &Rotation) -> Result<Decoder> {
    let ones = Array1::ones(model.shape.hidden);
    let bare = with_layers(model, |layer| {
        Ok(Weights { input_norm: ones.clone(), post_norm: ones.clone(), ..layer.clone() })
    })?;
    let head = Some(model.embedding.clone());
    let mut around = rotate_residual(&Decoder { head, final_norm: ones.clone(), ..bare }, r1)?;
    for (layer, original) in around.layers.iter_mut().zip(&model.layers) {
        layer.input_norm.clone_from(&original.input_norm);
        layer.post_norm.clone_from(&original.post_norm);
    }
    Ok(Decoder { final_norm: model.final_norm.clone(), ..around })
}

/// The rows of v multiplied by Q in place of its transpose.
fn wrong_side(model: &Decoder, r2: &Rotation) -> Result<Decoder> {
    with_layers(model, |layer| {
        let mut v = layer.v.t().to_owned();
        for mut head in v.axis_chunks_iter_mut(ndarray::Axis(1), r2.order()) {
            let turned = rotations::invert(&head.to_owned(), r2)?;
            head.assign(&turned);
        }
        Ok(Weights { v: v.reversed_axes(), o: rotate_heads(&layer.o, r2)?, ..layer.clone() })
    })
}

/// The rows of the embedding without their means.
fn centred(model: &Decoder) -> Decoder {
    let mut centred = model.clone();
    for mut row in centred.embedding.rows_mut() {
        let mean = row.sum() / row.len() as f64;
        row -= mean;
    }
    centred
}

/// Maximum over rms of a row.
fn flatness(row: ndarray::ArrayView1<f32>) -> f64 {
    max_over_rms(&row.iter().map(|value| f64::from(*value)).collect::<Vec<_>>())
}

/// How flat the inputs of the layers are, token by token, before and after.
pub fn flat(layers: &Layers) -> Result<Table> {
    let rows = layers.0.iter().map(|layer| {
        let after = rotated(&layer.held_out, &of_inputs(layer, SEED)?)?;
        let normal = normal_matrix(SEED, layer.held_out.nrows(), layer.held_out.ncols());
        let each = [&layer.held_out, &after, &normal].map(|x| -> (f64, f64, f64) {
            let all: Vec<f64> = x.rows().into_iter().map(flatness).collect();
            let peak = x.iter().fold(0.0, |max: f32, value| max.max(value.abs()));
            (all[0], median(&all[1..]), peak.into())
        });
        Ok((layer, each))
    });
    let title = "Maximum over rms of the inputs of nine layers, a window of 46 tokens";
    Ok(Table::of(title, rows.collect::<Result<Vec<_>>>()?)
        .text("input of", |(layer, _)| layer.label.clone())
        .number("first token", |(_, [before, ..])| sig3(before.0))
        .number("first token, rotated", |(_, [_, after, _])| sig3(after.0))
        .number("median of the others", |(_, [before, ..])| sig3(before.1))
        .number("the others, rotated", |(_, [_, after, _])| sig3(after.1))
        .number("median normal row", |(.., [_, _, normal])| sig3(normal.1))
        .number("bound", |(layer, _)| sig3(flatness_bound(layer.weight.ncols(), CHANCE)))
        .number("largest value", |(_, [before, ..])| sig3(before.2))
        .number("largest value, rotated", |(_, [_, after, _])| sig3(after.2))
        .done())
}

/// The error of the outputs of all tokens but the first.
fn error(layer: &Layer, outputs: &Array2<f32>) -> f64 {
    let exact = linear_f64(&without_first(&layer.held_out), &layer.weight);
    relative_error(&exact, &without_first(outputs))
}

/// The output error of W8A8 with one scale for all tokens.
fn per_tensor(layer: &Layer) -> Result<f64> {
    let x = quantize_activations_per_tensor(&layer.held_out)?;
    Ok(error(layer, &w8a8_linear(&x, &quantize_weight(&layer.weight)?)?))
}

/// The output error of W8A8 with one scale for each token.
fn per_token(layer: &Layer) -> Result<f64> {
    let x = quantize_activations_per_token(&layer.held_out)?;
    Ok(error(layer, &w8a8_linear(&x, &quantize_weight(&layer.weight)?)?))
}

/// W8A8 on nine layers: plain, migrated, rotated.
pub fn eight_bits(layers: &Layers) -> Result<Table> {
    let rows = layers.0.iter().map(|layer| {
        let both =
            |layer: &Layer| -> Result<[f64; 2]> { Ok([per_tensor(layer)?, per_token(layer)?]) };
        let plain = both(layer)?;
        let migrated = migrate(std::slice::from_ref(&layer.calibration), &layer.weight, ALPHA)?;
        let by = |granularity| -> Result<f64> {
            Ok(error(layer, &migrated_linear(&layer.held_out, &migrated, granularity)?))
        };
        let migrated = [by(Granularity::PerTensor)?, by(Granularity::PerToken)?];
        let rotated = both(&rotated_layer(layer, &of_inputs(layer, SEED)?)?)?;
        Ok((layer.label.clone(), plain, migrated, rotated))
    });
    let title = "Output error of nine layers in W8A8 on tokens 1 to 45: plain, migrated at alpha 0.5, rotated";
    Ok(Table::of(title, rows.collect::<Result<Vec<_>>>()?)
        .text("layer", |(label, ..)| label.clone())
        .number("per tensor", |(_, plain, ..)| percent(plain[0]))
        .number("migrated, per tensor", |(_, _, migrated, _)| percent(migrated[0]))
        .number("rotated, per tensor", |(.., rotated)| percent(rotated[0]))
        .number("per token", |(_, plain, ..)| percent(plain[1]))
        .number("migrated, per token", |(_, _, migrated, _)| percent(migrated[1]))
        .number("rotated, per token", |(.., rotated)| percent(rotated[1]))
        .done())
}

/// A matrix in int4 with one scale for `group` neighbours of a row, and back.
fn int4(m: &Array2<f32>, group: usize) -> Result<Array2<f32>> {
    Ok(dequantize_groups(&quantize_groups(m, group)?))
}

/// The output errors of int4: weights per row, weights in groups, activations per token, both.
fn four(layer: &Layer) -> Result<[f64; 4]> {
    let (x, w) = (&layer.held_out, &layer.weight);
    let (rows, groups) = (int4(w, w.ncols())?, int4(w, GROUP)?);
    let tokens = int4(x, x.ncols())?;
    let outputs = [
        linear_f64(x, &rows),
        linear_f64(x, &groups),
        linear_f64(&tokens, w),
        linear_f64(&tokens, &rows),
    ];
    Ok(outputs.map(|outputs| error(layer, &outputs)))
}

/// Four bits on nine layers, plain and rotated.
pub fn four_bits(layers: &Layers) -> Result<Table> {
    let rows = layers.0.iter().map(|layer| {
        let rotated = rotated_layer(layer, &of_inputs(layer, SEED)?)?;
        Ok((layer.label.clone(), four(layer)?, four(&rotated)?))
    });
    let title = "Output error of nine layers with int4 on tokens 1 to 45, plain and rotated";
    let rows = rows.collect::<Result<Vec<_>>>()?;
    let mut table = Table::of(title, rows).text("layer", |(label, ..)| label.clone());
    let names = ["weights per row", "weights in groups of 64", "activations per token", "W4A4"];
    for (index, name) in names.into_iter().enumerate() {
        table = table
            .number(name, move |(_, plain, _)| percent(plain[index]))
            .number(format!("{name}, rotated"), move |(.., rotated)| percent(rotated[index]));
    }
    Ok(table.done())
}

/// Ten seeds, and the matrix without signs: the error of W8A8 per tensor.
pub fn seeds(layers: &Layers) -> Result<Table> {
    let rows = SPREAD.into_iter().map(|name| {
        let layer = layers.of(name);
        let of = |rotation: Rotation| per_tensor(&rotated_layer(layer, &rotation)?);
        let plain = of(Rotation::plain(layer.weight.ncols())?)?;
        let all = SEEDS.map(|seed| of(of_inputs(layer, seed)?)).collect::<Result<Vec<_>>>()?;
        Ok((layer.label.clone(), plain, all))
    });
    let title = "Output error in W8A8 per tensor with the signs of ten seeds, and without signs";
    Ok(Table::of(title, rows.collect::<Result<Vec<_>>>()?)
        .text("layer", |(label, ..)| label.clone())
        .number("without signs", |(_, plain, _)| percent(*plain))
        .number("smallest", |(.., all)| percent(smallest(all)))
        .number("median", |(.., all)| percent(median(all)))
        .number("largest", |(.., all)| percent(largest(all)))
        .done())
}

/// Keys and queries of a layer, `[tokens, heads, head_dim]`, with R3.
fn rotated_heads(of: &Array3<f32>, r3: &Rotation) -> Result<Array3<f32>> {
    let (tokens, heads, head_dim) = of.dim();
    let flat = of.to_shape((tokens, heads * head_dim))?.mapv(f64::from);
    let rotated = rotate_heads(&flat, r3)?.mapv(|value| value as f32);
    Ok(rotated.into_shape_with_order((tokens, heads, head_dim))?)
}

/// R3 on real keys, with a scale for each token and with one for each channel.
pub fn keys(caches: &Caches) -> Result<Table> {
    let grid = Grid::Asymmetric(Bits::Four);
    let r3 = Rotation::random(kit::real_cache::HEAD_DIM, SEED)?;
    let rows = caches.0.iter().map(|(layer, of)| {
        let exact = decode_steps(Policy::FLOATS, &of.keys, &of.values, &of.queries)?;
        let (keys, queries) = (rotated_heads(&of.keys, &r3)?, rotated_heads(&of.queries, &r3)?);
        let errors = [Layout::per_token(grid, 64), Layout::per_channel(grid, 32)].map(|layout| {
            let policy = Policy { keys: layout, values: kv_cache::EXACT, sinks: 4, window: 32 };
            let error = |keys: &Array3<f32>, queries: &Array3<f32>| -> Result<f64> {
                Ok(relative_error(&exact, &decode_steps(policy, keys, &of.values, queries)?))
            };
            Ok((error(&of.keys, &of.queries)?, error(&keys, &queries)?))
        });
        let errors: Vec<(f64, f64)> = errors.into_iter().collect::<Result<_>>()?;
        Ok((*layer, errors))
    });
    let title = "Error of attention's output, keys in 4 bits, four sinks, a window of 32: plain and with R3";
    Ok(Table::of(title, rows.collect::<Result<Vec<_>>>()?)
        .number("layer", |(layer, _)| layer.to_string())
        .number("per token and head", |(_, errors)| percent(errors[0].0))
        .number("per token and head, R3", |(_, errors)| percent(errors[0].1))
        .number("per channel, groups of 32", |(_, errors)| percent(errors[1].0))
        .number("per channel, R3", |(_, errors)| percent(errors[1].1))
        .done())
}
