//! The tables of lab 07: which channels to keep in 16 bits, and what the search finds on real layers.

use anyhow::Result;
use awq::{
    Grid, Rounding, Search, candidate_scales, channel_means, clip, fold_into_norm, output_error,
    scaled_values, search_clip, search_scales,
};
use gptq::{Hessian, Settings};
use kit::Table;
use kit::data::normal_matrix;
use kit::table::percent;
use ndarray::{Array1, Array2, Axis, s};

use super::lab_06::GROUP;
use crate::inputs::{Hessians, Layer, Layers, WithHessian};

/// Rows of a matrix that are searched, because clips are searched group by group.
const ROWS: usize = 96;

/// Tokens of the Hessians of the slice.
const MANY: usize = 8192;

/// The rounding of these tables: lab 03's grid.
pub const ROUNDING: Rounding =
    Rounding { grid: Grid::Lab03, group_size: GROUP, stored: awq::Stored::F16 };

/// The `count` channels with the largest values.
fn largest(values: &Array1<f32>, count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[b].total_cmp(&values[a]));
    order.truncate(count);
    order
}

/// The mean magnitude of each column of a weight.
pub fn weight_magnitudes(w: &Array2<f32>) -> Array1<f32> {
    w.map_axis(Axis(0), |column| column.iter().map(|w| w.abs()).sum::<f32>() / column.len() as f32)
}

/// The error of a layer's output on tokens that chose nothing, with one channel in a hundred kept as it is.
fn kept(layer: &Layer) -> Result<[f64; 3]> {
    let w = &layer.weight;
    let values = ROUNDING.values(w)?;
    let none = output_error(&layer.held_out, w, &values)?;
    let left = |by: Array1<f32>| -> Result<f64> {
        let mut kept = values.clone();
        for channel in largest(&by, w.ncols().div_ceil(100)) {
            kept.column_mut(channel).assign(&w.column(channel));
        }
        Ok(output_error(&layer.held_out, w, &kept)? / none)
    };
    let by_chance = normal_matrix(8, 1, w.ncols()).row(0).to_owned();
    let by_input = channel_means(std::slice::from_ref(&layer.calibration))?;
    Ok([left(by_input)?, left(weight_magnitudes(w))?, left(by_chance)?])
}

/// One channel in a hundred in 16 bits, chosen in three ways.
pub fn one_percent(layers: &Layers) -> Result<Table> {
    let rows: Vec<_> =
        layers.0.iter().map(|layer| Ok((layer, kept(layer)?))).collect::<Result<_>>()?;
    let title = "Squared error of the output that is left when one channel in a hundred stays in 16 bits, on \
                 tokens that chose no channel";
    Ok(Table::of(title, rows)
        .text("layer", |(layer, _)| layer.label.clone())
        .number("largest inputs", |(_, [by, ..])| percent(*by))
        .number("largest weights", |(_, [_, by, _])| percent(*by))
        .number("at random", |(_, [.., by])| percent(*by))
        .done())
}

/// What the search finds for a layer, on its tokens of calibration.
///
/// # Errors
/// If the lab refuses.
pub fn searched(layer: &Layer) -> Result<Search> {
    Ok(search_scales(&layer.calibration, std::slice::from_ref(&layer.weight), &ROUNDING)?)
}

/// The error of a layer over that of the nearest codes, on its two windows: with scales, and with scales
/// and clips.
fn gains(layer: &Layer) -> Result<(f32, [f64; 3])> {
    let rows = s![..ROWS.min(layer.weight.nrows()), ..];
    let w = layer.weight.slice(rows).to_owned();
    let layer = Layer { weight: w.clone(), label: String::new(), ..copied(layer) };
    let best = searched(&layer)?.best;
    let values = scaled_values(&w, &best.scales, &ROUNDING)?;
    let ones = Array1::ones(w.ncols());
    let (_, scaled) = fold_into_norm(&ones, std::slice::from_ref(&w), &best.scales)?;
    let x = &layer.calibration / &best.scales;
    let maxima = search_clip(&x, &scaled[0], &ROUNDING)?;
    let clipped = ROUNDING.values(&clip(&scaled[0], &maxima)?)? / &best.scales;
    let nearest = ROUNDING.values(&w)?;
    let left = |x: &Array2<f32>, values| -> Result<f64> {
        Ok(output_error(x, &w, values)? / output_error(x, &w, &nearest)?)
    };
    let (seen, others) = (&layer.calibration, &layer.held_out);
    Ok((best.ratio, [left(seen, &values)?, left(others, &values)?, left(others, &clipped)?]))
}

fn copied(layer: &Layer) -> Layer {
    let Layer { label, weight, calibration, held_out } = layer;
    Layer {
        label: label.clone(),
        weight: weight.clone(),
        calibration: calibration.clone(),
        held_out: held_out.clone(),
    }
}

/// The ratios of the table with feedback: beyond them every error grows.
const RATIOS: [f32; 7] = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6];

/// The squared error of the output over that of an output of 0, for each of [`RATIOS`]: with the nearest
/// codes and with GPTQ, under the Hessian of many tokens.
fn with_ratios(layer: &WithHessian) -> Result<Vec<[f64; 2]>> {
    let w = layer.weight.slice(s![..ROWS, ..]).to_owned();
    let h = Hessian { matrix: layer.hessian.clone(), tokens: MANY };
    // The slice keeps no means of these tokens, and a root of a mean square ranks channels as well.
    let sizes = h.matrix.diag().mapv(|sum| (sum / MANY as f64).sqrt() as f32);
    let settings = Settings { act_order: true, ..Settings::new(gptq::Grid::LAB_03, GROUP) };
    let each = RATIOS.map(|ratio| {
        let scales = candidate_scales(&sizes, ratio)?;
        let wide = scales.mapv(f64::from);
        let matrix = &h.matrix / &wide / wide.view().insert_axis(Axis(1));
        let scaled = Hessian { matrix, tokens: MANY };
        let nearest = scaled_values(&w, &scales, &ROUNDING)?;
        let fed = gptq::gptq(&(&w * &scales), &scaled, &settings)?.values() / &scales;
        Ok([&nearest, &fed].map(|values| h.relative_error(&w, values).powi(2)))
    });
    each.into_iter().collect()
}

/// Ratios before the nearest codes and before GPTQ, on the two layers with Hessians of many tokens.
pub fn with_feedback(layers: &Hessians) -> Result<Table> {
    let layers = layers.0.iter().map(|layer| Ok((layer.label.clone(), with_ratios(layer)?)));
    let layers = layers.collect::<Result<Vec<_>>>()?;
    let title = format!(
        "Squared error of the output, over that of an output of 0: scales of one ratio before the nearest codes \
         and before GPTQ, {MANY} tokens"
    );
    let mut table = Table::of(title, RATIOS.into_iter().enumerate().collect::<Vec<_>>())
        .number("ratio", |(_, ratio)| format!("{ratio:.1}"));
    for (label, errors) in &layers {
        for (way, which) in [("nearest codes", 0), ("GPTQ", 1)] {
            let column = format!("{label}, {way}");
            table = table.number(column, move |(at, _)| percent(errors[*at][which]));
        }
    }
    Ok(table.done())
}

/// The search on the nine layers, on tokens that it has seen and on others.
pub fn search(layers: &Layers) -> Result<Table> {
    let rows: Vec<_> =
        layers.0.iter().map(|layer| Ok((layer, gains(layer)?))).collect::<Result<_>>()?;
    let title = format!(
        "Squared error of the output over that of the nearest codes, the first {ROWS} rows of each layer: \
         searched on 46 tokens, tried on these and on 46 others"
    );
    Ok(Table::of(title, rows)
        .text("layer", |(layer, _)| layer.label.clone())
        .number("ratio", |(_, (ratio, _))| format!("{ratio:.2}"))
        .number("tokens seen", |(_, (_, [seen, ..]))| percent(*seen))
        .number("other tokens", |(_, (_, [_, others, _]))| percent(*others))
        .number("clipped as well, other tokens", |(_, (_, [.., clipped]))| percent(*clipped))
        .done())
}
