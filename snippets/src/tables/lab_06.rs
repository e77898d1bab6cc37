//! The tables of lab 06 and of the chapter on calibration: choices on a planted control, what the factor
//! predicts, and tokens that were seen and not seen.

use anyhow::Result;
use gptq::{
    Grid, GroupScales, Hessian, Rounded, Settings, add_batch, gptq, group_scales, inverse_factor,
    prepare, round_block,
};
use int4_groups::{dequantize_groups, quantize_groups};
use kit::Table;
use kit::data::normal_matrix;
use kit::table::{count, percent};
use ndarray::{Array2, s};

use crate::inputs::{Layer, Layers};

/// Columns of the planted control, and the sources that its inputs are mixed from.
const FEATURES: usize = 256;
/// Its outputs.
const OUTPUTS: usize = 128;
/// Tokens that the Hessian is made of, and as many others.
const TOKENS: usize = 2048;
/// A group that is smaller than a lazy block, so that a scale can be stale.
const SMALL: usize = 32;
/// The usual lazy block.
const BLOCK: usize = 128;
/// The group size of the real layers, which divides all their rows.
pub const GROUP: usize = 64;

/// Correlated inputs, `[tokens, features]`: each is a mix of sources, and every third one is larger.
fn correlated(seed: u64) -> Array2<f32> {
    let mix = normal_matrix(7, FEATURES, FEATURES);
    let mix = Array2::from_shape_fn(mix.dim(), |(source, column)| {
        let own = if source == column { 8.0 } else { 0.0 };
        (own + mix[(source, column)]) * if column % 3 == 1 { 4.0 } else { 1.0 }
    });
    normal_matrix(seed, TOKENS, FEATURES).dot(&mix)
}

/// The Hessian of these inputs.
///
/// # Errors
/// If the lab refuses a batch.
pub fn hessian(x: &Array2<f32>) -> Result<Hessian> {
    let mut h = Hessian::new(x.ncols());
    add_batch(&mut h, x)?;
    Ok(h)
}

/// Lab 03's codes, which are the nearest.
///
/// # Errors
/// If the group size does not divide a row.
pub fn nearest(w: &Array2<f32>, group_size: usize) -> Result<Array2<f32>> {
    Ok(dequantize_groups(&quantize_groups(w, group_size)?))
}

/// The choices of the planted control, each with its values.
fn chosen(w: &Array2<f32>, h: &Hessian) -> Result<Vec<(&'static str, Array2<f32>)>> {
    let plain = Settings::new(Grid::LAB_03, SMALL);
    let fresh = Settings { scales: GroupScales::Fresh, ..plain };
    let ordered = Settings { act_order: true, ..plain };
    let values = |settings: &Settings| anyhow::Ok(gptq(w, h, settings)?.values());
    Ok(vec![
        ("nearest codes", nearest(w, SMALL)?),
        ("in order, stale scales", with_stale_scales(w, h)?),
        ("in order, fresh scales", values(&fresh)?),
        ("in order, static scales", values(&plain)?),
        ("act-order, static scales", values(&ordered)?),
    ])
}

/// As IST-DASLab's loop: the scales of a block's groups come from the weights at the start of the block.
fn with_stale_scales(w: &Array2<f32>, h: &Hessian) -> Result<Array2<f32>> {
    let (mut now, damped) = prepare(w, h, 0.01)?;
    let u = inverse_factor(&damped)?;
    let mut values = Array2::zeros(w.dim());
    for start in (0..w.ncols()).step_by(BLOCK) {
        let (columns, rest) = (start..start + BLOCK, start + BLOCK..w.ncols());
        let of_block = now.slice(s![.., columns.clone()]).to_owned();
        let scales = group_scales(of_block.view(), SMALL, &Grid::LAB_03)?;
        let each =
            Array2::from_shape_fn(of_block.dim(), |(row, column)| scales[(row, column / SMALL)]);
        let square = u.slice(s![columns.clone(), columns.clone()]);
        let mut moved = of_block;
        let (codes, errors) =
            round_block(&mut moved.view_mut(), square, each.view(), &Grid::LAB_03);
        let update = errors.dot(&u.slice(s![columns.clone(), rest.clone()]));
        now.slice_mut(s![.., rest]).scaled_add(-1.0, &update);
        values.slice_mut(s![.., columns]).assign(&Rounded::new(codes, scales)?.values());
    }
    Ok(values)
}

/// Where scales come from and in which order columns are taken, on a planted control.
pub fn choices() -> Result<Table> {
    let w = normal_matrix(6, OUTPUTS, FEATURES);
    let (seen, others) = (hessian(&correlated(8))?, hessian(&correlated(9))?);
    let title = format!(
        "{OUTPUTS} outputs, {FEATURES} correlated inputs, {} tokens, groups of {SMALL}: relative error of the \
         output",
        count(TOKENS)
    );
    Ok(Table::of(title, chosen(&w, &seen)?)
        .text("codes", |(name, _)| *name)
        .number("on the tokens of calibration", |(_, v)| percent(seen.relative_error(&w, v)))
        .number("on as many others", |(_, v)| percent(others.relative_error(&w, v)))
        .done())
}

/// A matrix, its Hessian and settings: the ratio of errors that the factor predicts, and the one measured.
struct Prediction {
    name: String,
    predicted: f64,
    measured: f64,
}

impl Prediction {
    /// In order, with static scales, under the damped Hessian, which the loop knows.
    fn of(name: String, w: &Array2<f32>, h: &Hessian, group_size: usize) -> Result<Self> {
        let settings = Settings::new(Grid::LAB_03, group_size);
        let (wide, matrix) = prepare(w, h, settings.damping)?;
        let u = inverse_factor(&matrix)?;
        let scales = group_scales(wide.view(), group_size, &settings.grid)?;
        let (mut with, mut without) = (0.0, 0.0);
        for ((_, column), square) in steps(&scales, group_size).indexed_iter() {
            with += square / (u[(column, column)] * u[(column, column)]);
            without += square * matrix[(column, column)];
        }
        let damped = Hessian { matrix, tokens: h.tokens };
        let rounded = gptq(w, h, &settings)?.values();
        let measured = damped.error(w, &rounded) / damped.error(w, &nearest(w, group_size)?);
        Ok(Self { name, predicted: (with / without).sqrt(), measured: measured.sqrt() })
    }
}

/// The square of the scale of each weight.
fn steps(scales: &Array2<f32>, group_size: usize) -> Array2<f64> {
    Array2::from_shape_fn((scales.nrows(), scales.ncols() * group_size), |(row, column)| {
        f64::from(scales[(row, column / group_size)]).powi(2)
    })
}

/// The error with feedback over that of the nearest codes: predicted from the factor, and measured.
pub fn predicted(layers: &Layers) -> Result<Table> {
    let w = normal_matrix(6, OUTPUTS, FEATURES);
    let planted = format!("planted, {} tokens", count(TOKENS));
    let mut all = vec![Prediction::of(planted, &w, &hessian(&correlated(8))?, SMALL)?];
    for layer in narrow(layers) {
        let h = hessian(&layer.calibration)?;
        let name = format!("{}, {} tokens", layer.label, h.tokens);
        all.push(Prediction::of(name, &layer.weight, &h, GROUP)?);
    }
    let title = "Error with feedback over the error of the nearest codes, under the damped Hessian";
    Ok(Table::of(title, all)
        .text("layer", |of| of.name.clone())
        .number("predicted from H and the scales", |of| percent(of.predicted))
        .number("measured", |of| percent(of.measured))
        .done())
}

/// The layers with 576 inputs. A factor of 1,536 columns takes nineteen times as long.
fn narrow(layers: &Layers) -> impl Iterator<Item = &Layer> {
    layers.0.iter().filter(|layer| layer.weight.ncols() < 1000)
}

/// The error on the tokens of calibration and on other tokens, with 46 tokens for 576 inputs.
pub fn seen(layers: &Layers) -> Result<Table> {
    let rows = narrow(layers).map(|layer| -> Result<_> {
        let (w, h) = (&layer.weight, hessian(&layer.calibration)?);
        let others = hessian(&layer.held_out)?;
        let values = [
            nearest(w, GROUP)?,
            gptq(w, &h, &Settings::new(Grid::LAB_03, GROUP))?.values(),
            gptq(w, &h, &Settings { damping: 1.0, ..Settings::new(Grid::LAB_03, GROUP) })?.values(),
        ];
        let errors = [&h, &others].map(|h| [0, 1, 2].map(|i| h.relative_error(w, &values[i])));
        Ok((layer.label.clone(), errors, spanned(layer)?))
    });
    let rows = rows.collect::<Result<Vec<_>>>()?;
    let title = format!(
        "Calibrated on 46 tokens, groups of {GROUP}: relative error of the output on them and on 46 others"
    );
    let mut table = Table::of(title, rows).text("layer", |(label, ..)| label.clone());
    for (which, tokens) in ["seen", "others"].into_iter().enumerate() {
        for (index, codes) in ["nearest", "damping 0.01", "damping 1"].into_iter().enumerate() {
            table = table.number(format!("{tokens}: {codes}"), move |(_, errors, _): &Seen| {
                percent(errors[which][index])
            });
        }
    }
    Ok(table.number("others: inputs in the seen directions", |(.., share)| percent(*share)).done())
}

/// A layer: its name, its errors on the tokens of calibration and on others, and [`spanned`].
type Seen = (String, [[f64; 3]; 2], f64);

/// The share of the squared inputs of the other tokens that is a sum of multiples of the tokens of calibration.
fn spanned(layer: &Layer) -> Result<f64> {
    let [seen, others] = [&layer.calibration, &layer.held_out].map(|x| x.mapv(f64::from));
    let mut products = seen.dot(&seen.t());
    // So little that it changes no digit shown, against tokens that are alike.
    let damp = 1e-9 * products.diag().mean().unwrap_or_default();
    products.diag_mut().mapv_inplace(|element| element + damp);
    let inside = inverse_factor(&products)?.dot(&seen.dot(&others.t()));
    let squares = |m: &Array2<f64>| m.iter().map(|value| value * value).sum::<f64>();
    Ok(squares(&inside) / squares(&others))
}

/// The error on other tokens where neither window has its first token.
///
/// # Errors
/// If the lab refuses the layer.
pub fn without_first_tokens(layer: &Layer) -> Result<f64> {
    let rest = |x: &Array2<f32>| hessian(&x.slice(s![1.., ..]).to_owned());
    let (w, seen, others) = (&layer.weight, rest(&layer.calibration)?, rest(&layer.held_out)?);
    let values = gptq(w, &seen, &Settings::new(Grid::LAB_03, GROUP))?.values();
    Ok(others.relative_error(w, &values))
}

/// The damping factors of [`damped`].
pub const DAMPINGS: [f64; 9] = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0];

/// One damping: the errors on the tokens of calibration and on others, over those of the nearest codes.
pub struct Damped {
    /// The share of the mean of the diagonal.
    pub damping: f64,
    /// On the tokens of calibration.
    pub seen: f64,
    /// On others.
    pub others: f64,
}

/// A layer under every damping.
///
/// # Errors
/// If the lab refuses the layer.
pub fn damped(layer: &Layer) -> Result<Vec<Damped>> {
    let (w, h, others) = (&layer.weight, hessian(&layer.calibration)?, hessian(&layer.held_out)?);
    let nearest = nearest(w, GROUP)?;
    let share = |h: &Hessian, values: &Array2<f32>| {
        h.relative_error(w, values) / h.relative_error(w, &nearest)
    };
    let all = DAMPINGS.into_iter().map(|damping| {
        let settings = Settings { damping, ..Settings::new(Grid::LAB_03, GROUP) };
        let values = gptq(w, &h, &settings)?.values();
        Ok(Damped { damping, seen: share(&h, &values), others: share(&others, &values) })
    });
    all.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stale_scales_are_fresh_ones_where_a_group_is_a_block() -> Result<()> {
        let w = normal_matrix(6, 4, FEATURES);
        let h = hessian(&correlated(8))?;
        // The first group of each block of 128 has every update in both.
        let stale = with_stale_scales(&w, &h)?;
        let settings =
            Settings { scales: GroupScales::Fresh, ..Settings::new(Grid::LAB_03, SMALL) };
        let fresh = gptq(&w, &h, &settings)?.values();
        assert_eq!(stale.slice(s![.., ..SMALL]), fresh.slice(s![.., ..SMALL]));
        assert_ne!(stale, fresh, "the second group of a block misses the updates of the first");
        Ok(())
    }
}
