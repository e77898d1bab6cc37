//! The tables of lab 04 on its planted set-up: the cliff, what migration wins back, what alpha does.

use anyhow::Result;
use kit::Table;
use kit::data::{normal_matrix, with_outlier_channel, with_outlier_row};
use kit::meters::relative_error;
use kit::reference::linear_f64;
use kit::table::{percent, times};
use ndarray::{Array2, Axis};
use smoothquant::decomposition::{THRESHOLD, mixed_linear, outlier_channels};
use smoothquant::{
    Granularity, Quantized, channel_absmax, migrate, migrated_linear,
    quantize_activations_per_tensor, quantize_activations_per_token, quantize_weight,
    smoothing_scales, w8a8_linear,
};

/// Tokens of the planted activation.
pub const TOKENS: usize = 64;
/// Its channels.
pub const CHANNELS: usize = 256;
/// The channels that are planted as outliers.
pub const OUTLIERS: [usize; 4] = [37, 100, 154, 221];
/// How many times as large the values of an outlier are.
pub const OUTLIER_FACTOR: f32 = 80.0;
/// The outlier where a token is one, and no channel.
const OUTLIER_TOKEN: usize = 5;
/// The migration strength of the tables.
pub const ALPHA: f32 = 0.5;

/// An activation of normal values: the control arm.
pub fn healthy(seed: u64) -> Array2<f32> {
    normal_matrix(seed, TOKENS, CHANNELS)
}

/// The same with four channels 80 times as large: the set-up that the spec uses.
pub fn planted(seed: u64) -> Array2<f32> {
    OUTLIERS
        .iter()
        .fold(healthy(seed), |x, &channel| with_outlier_channel(&x, channel, OUTLIER_FACTOR))
}

/// The weight that they are multiplied with, `[64, 256]`.
pub fn weight() -> Array2<f32> {
    normal_matrix(2, 64, CHANNELS)
}

/// The error of a layer's output on `x`, relative to its norm.
///
/// # Errors
/// If the lab refuses the set-up.
pub fn naive_error(x: &Array2<f32>, granularity: Granularity) -> Result<f64> {
    let y = w8a8_linear(&quantized(x, granularity)?, &quantize_weight(&weight())?)?;
    Ok(relative_error(&linear_f64(x, &weight()), &y))
}

/// The error on `x` of a layer that was migrated on `calibration`.
///
/// # Errors
/// If the lab refuses the set-up.
pub fn migrated_error(
    x: &Array2<f32>,
    calibration: &Array2<f32>,
    alpha: f32,
    granularity: Granularity,
) -> Result<f64> {
    let layer = migrate(std::slice::from_ref(calibration), &weight(), alpha)?;
    Ok(relative_error(&linear_f64(x, &weight()), &migrated_linear(x, &layer, granularity)?))
}

/// An activation on the grid of the lab.
///
/// # Errors
/// If the lab refuses it.
pub fn quantized(x: &Array2<f32>, granularity: Granularity) -> Result<Quantized> {
    Ok(match granularity {
        Granularity::PerTensor => quantize_activations_per_tensor(x)?,
        Granularity::PerToken => quantize_activations_per_token(x)?,
    })
}

/// What codes and scales stand for.
pub fn back(quantized: &Quantized) -> Array2<f32> {
    quantized.q().mapv(f32::from) * quantized.scales()
}

/// What rounding does to the channels that are no outliers.
pub struct Others {
    /// The share of their entries whose code is 0.
    pub zeros: f64,
    /// Their own error, relative to their own norm.
    pub error: f64,
}

impl Others {
    /// Of the planted activation.
    ///
    /// # Errors
    /// If the lab refuses it.
    pub fn of(x: &Array2<f32>, granularity: Granularity) -> Result<Self> {
        let others: Vec<usize> =
            (0..CHANNELS).filter(|channel| !OUTLIERS.contains(channel)).collect();
        let q = quantized(x, granularity)?;
        let codes = q.q().select(Axis(1), &others);
        let rounded = back(&q).select(Axis(1), &others);
        let zeros = codes.iter().filter(|&&code| code == 0).count();
        Ok(Self {
            zeros: zeros as f64 / codes.len() as f64,
            error: relative_error(&x.select(Axis(1), &others), &rounded),
        })
    }
}

/// The cliff: an activation without outliers, then one with four outlier channels.
pub fn cliff() -> Result<Table> {
    let arms = [("normal values", healthy(1)), ("four outlier channels", planted(1))];
    let rows = on_both(&arms).into_iter().map(|(name, x, (granularity, scales))| {
        Ok((name, scales, naive_error(x, granularity)?, Others::of(x, granularity)?))
    });
    let title = "W8A8 without help: four of 256 channels are 80 times as large";
    Ok(Table::of(title, rows.collect::<Result<Vec<_>>>()?)
        .text("activation", |(name, ..)| *name)
        .text("scales of the activation", |(_, scales, ..)| *scales)
        .number("error of the output", |(_, _, error, _)| percent(*error))
        .number("other entries that round to 0", |(.., others)| percent(others.zeros))
        .number("error of the other channels", |(.., others)| percent(others.error))
        .done())
}

/// The granularities of an activation's scales, and what tables call them.
pub const GRANULARITIES: [(Granularity, &str); 2] =
    [(Granularity::PerTensor, "one for the tensor"), (Granularity::PerToken, "one per token")];

/// Each activation at both granularities.
fn on_both<'a, A>(
    arms: &'a [(&'static str, A)],
) -> Vec<(&'static str, &'a A, (Granularity, &'static str))> {
    let both = |(name, arm): &'a (_, A)| GRANULARITIES.map(|scales| (*name, arm, scales));
    arms.iter().flat_map(both).collect()
}

/// When the outlier is a token: what the other tokens pay.
pub fn outlier_token() -> Result<Table> {
    let x = with_outlier_row(&healthy(1), OUTLIER_TOKEN, OUTLIER_FACTOR);
    let others: Vec<usize> = (0..TOKENS).filter(|&token| token != OUTLIER_TOKEN).collect();
    let pick = |m: &Array2<f32>| m.select(Axis(0), &others);
    let rows = GRANULARITIES.map(|(granularity, scales)| -> Result<_> {
        let q = quantized(&x, granularity)?;
        let y = w8a8_linear(&q, &quantize_weight(&weight())?)?;
        let outputs = relative_error(&pick(&linear_f64(&x, &weight())), &pick(&y));
        Ok((scales, relative_error(&pick(&x), &pick(&back(&q))), outputs))
    });
    let title = "One token of 64 is 80 times as large: error of the other 63";
    Ok(Table::of(title, rows.into_iter().collect::<Result<Vec<_>>>()?)
        .text("scales of the activation", |(scales, ..)| *scales)
        .number("error of their entries", |(_, entries, _)| percent(*entries))
        .number("error of their outputs", |(.., outputs)| percent(*outputs))
        .done())
}

/// What migration wins back, on tokens it saw, on tokens it did not, and where there is nothing to
/// win.
pub fn migration() -> Result<Table> {
    let arms = [
        ("four outlier channels", (planted(1), planted(1))),
        ("the same, tokens it never saw", (planted(3), planted(1))),
        ("control: normal values", (healthy(1), healthy(1))),
    ];
    let rows = on_both(&arms).into_iter().map(|(name, (x, calibration), (granularity, scales))| {
        let migrated = migrated_error(x, calibration, ALPHA, granularity)?;
        Ok((name, scales, naive_error(x, granularity)?, migrated))
    });
    let title = "SmoothQuant at alpha 0.5: error of the output";
    Ok(Table::of(title, rows.collect::<Result<Vec<_>>>()?)
        .text("activation", |(name, ..)| *name)
        .text("scales of the activation", |(_, scales, ..)| *scales)
        .number("naive", |(_, _, naive, _)| percent(*naive))
        .number("migrated", |(.., migrated)| percent(*migrated))
        .number("smaller by", |(_, _, naive, migrated)| times(naive / migrated))
        .done())
}

/// The two sides of one layer before and after: the absmax of the largest channel over that of the median one.
pub fn two_sides() -> Result<Table> {
    let (x, w) = (channel_absmax(&planted(1))?, channel_absmax(&weight())?);
    let rows = [0.0, 0.25, 0.5, 0.75, 1.0].map(|alpha| -> Result<_> {
        let s = smoothing_scales(&x, &w, alpha)?;
        let sides = [&x / &s, &w * &s].map(|side| spread(&side.to_vec()));
        let error = migrated_error(&planted(1), &planted(1), alpha, Granularity::PerTensor)?;
        Ok((alpha, sides, error))
    });
    let title = "Who carries the outliers: largest channel over median channel";
    Ok(Table::of(title, rows.into_iter().collect::<Result<Vec<_>>>()?)
        .text("alpha", |(alpha, ..)| format!("{alpha:.2}"))
        .number("activation", |(_, sides, _)| times(sides[0]))
        .number("weight", |(_, sides, _)| times(sides[1]))
        .number("error of the output", |(.., error)| percent(*error))
        .done())
}

/// The largest of some magnitudes over their median.
pub fn spread(magnitudes: &[f32]) -> f64 {
    let magnitudes: Vec<f64> = magnitudes.iter().map(|&value| value.into()).collect();
    crate::rows::largest(&magnitudes) / crate::rows::median(&magnitudes)
}

/// The other road on the same set-up: the outlier channels stay in floating point.
pub fn other_road() -> Result<Table> {
    let arms = [("four outlier channels", planted(1)), ("normal values", healthy(1))];
    let rows = arms.map(|(name, x)| -> Result<_> {
        let y = mixed_linear(&x, &weight(), THRESHOLD)?;
        Ok((name, relative_error(&linear_f64(&x, &weight()), &y), outlier_channels(&x, THRESHOLD)))
    });
    let title = "Mixed decomposition at a threshold of 6, on the planted set-up";
    Ok(Table::of(title, rows.into_iter().collect::<Result<Vec<_>>>()?)
        .text("activation", |(name, ..)| *name)
        .number("channels kept in floating point", |(.., kept)| {
            format!("{} of {CHANNELS}", kept.len())
        })
        .number("error of the output", |(_, error, _)| percent(*error))
        .done())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spread_is_the_largest_over_the_median() {
        assert_eq!(spread(&[1.0, 2.0, 8.0]), 4.0);
    }
}
