//! Your file. The signatures and their promises are here; the bodies are yours.
//!
//! Grade it with `cargo book grade lab-07`, or `LAB_IMPL=starter cargo test -p lab-07-awq`. On the
//! untouched file every test of the spec fails, because every body is a `todo!`.

use ndarray::{Array1, Array2};

use crate::{AwqError, Block, Candidate, Heads, Rounding, Search};

/// Task 1. The mean magnitude of each channel over all tokens of `batches`, each `[tokens,
/// in_features]`: `[in_features]`. Sums are in `f64`.
///
/// # Errors
/// [`AwqError::NoTokens`] without a token, [`AwqError::ChannelsDiffer`] if the batches have different
/// widths, [`AwqError::NotFinite`] with the first value of a batch that is NaN or infinite.
pub fn channel_means(batches: &[Array2<f32>]) -> Result<Array1<f32>, AwqError> {
    todo!("task 1: the mean magnitudes of {} batches", batches.len())
}

/// Task 2. The scales for a ratio, `[in_features]`: `means` to the power of `ratio`, at least
/// [`MIN_SCALE`](crate::MIN_SCALE), and then all multiplied by one number, so that the largest times
/// the smallest is 1.
///
/// # Errors
/// [`AwqError::RatioOutOfRange`] unless `ratio` is in 0..=1; [`AwqError::NotAMagnitude`] with the first
/// mean that is negative, NaN or infinite.
pub fn candidate_scales(means: &Array1<f32>, ratio: f32) -> Result<Array1<f32>, AwqError> {
    todo!("task 2: {} means to the power of {ratio}, then normalized", means.len())
}

/// Task 3. The weight that a layer computes with when its columns are multiplied by `scales`, rounded,
/// and its inputs divided by `scales`: `[out_features, in_features]` for the inputs as they were.
///
/// # Errors
/// [`AwqError::ChannelsDiffer`] if the scales do not fit `w`, [`AwqError::NotAScale`], and those of
/// [`Rounding::round`].
pub fn scaled_values(
    w: &Array2<f32>,
    scales: &Array1<f32>,
    rounding: &Rounding,
) -> Result<Array2<f32>, AwqError> {
    todo!("task 3: {:?} times {} scales, {rounding:?}, and back", w.dim(), scales.len())
}

/// Task 3. The mean over all tokens of `x`, `[tokens, in_features]`, and all outputs of the squared
/// difference between the outputs of `w` and of `values`, both `[out_features, in_features]`. In `f64`.
///
/// # Errors
/// [`AwqError::ChannelsDiffer`] if `x` does not fit the weights, [`AwqError::NoTokens`] if `x` is empty.
pub fn output_error(
    x: &Array2<f32>,
    w: &Array2<f32>,
    values: &Array2<f32>,
) -> Result<f64, AwqError> {
    todo!("task 3: the outputs of {:?} by {:?} and {:?}", x.dim(), w.dim(), values.dim())
}

/// Task 4. A candidate for each of [`ratios`](crate::ratios).
///
/// # Errors
/// As [`candidate_scales`].
pub fn candidates(means: &Array1<f32>) -> Result<Vec<Candidate>, AwqError> {
    todo!("task 4: a candidate for each ratio, of {} means", means.len())
}

/// Task 4. The candidate with the least error, the first of those that are equal. A candidate whose
/// error is NaN or infinite is never the best.
///
/// # Errors
/// [`AwqError::Nothing`] without a candidate, [`AwqError::NoFiniteError`] if each error is NaN or
/// infinite, and the first error of `error_of`.
pub fn search(
    candidates: Vec<Candidate>,
    mut error_of: impl FnMut(&Array1<f32>) -> Result<f64, AwqError>,
) -> Result<Search, AwqError> {
    todo!("task 4: the least of {} errors, from {:?}", candidates.len(), error_of(&Array1::ones(1)))
}

/// Task 4. The scales for `layers`, each `[out_features, in_features]`, which all read `x`, `[tokens,
/// in_features]`: the best of [`candidates`] of the channel means of `x`. The error of a candidate is
/// the [`output_error`] of all outputs of all layers.
///
/// # Errors
/// [`AwqError::Nothing`] without a layer, [`AwqError::ChannelsDiffer`] if a layer has another width than
/// `x`, and those of [`channel_means`], [`search`] and [`scaled_values`].
pub fn search_scales(
    x: &Array2<f32>,
    layers: &[Array2<f32>],
    rounding: &Rounding,
) -> Result<Search, AwqError> {
    todo!("task 4: one vector for {} layers behind {:?}, {rounding:?}", layers.len(), x.dim())
}

/// Task 5. The weight of a norm over `scales`, and the columns of each of the `layers` behind it times
/// `scales`: together they compute what they did.
///
/// # Errors
/// [`AwqError::ChannelsDiffer`] if the scales do not fit the norm or a layer, [`AwqError::NotAScale`].
pub fn fold_into_norm(
    norm: &Array1<f32>,
    layers: &[Array2<f32>],
    scales: &Array1<f32>,
) -> Result<(Array1<f32>, Vec<Array2<f32>>), AwqError> {
    todo!("task 5: {} scales out of {norm} and into {} layers", scales.len(), layers.len())
}

/// Task 5. The row of the value projection whose output is `channel` of the output projection's input,
/// in any token. Channels are in the order of query heads, and neighbouring query heads share a kv
/// head.
pub fn row_behind(channel: usize, heads: &Heads) -> usize {
    todo!("task 5: channel {channel} of {heads:?}")
}

/// Task 5. The mean of `means`, one for each channel of the layer that reads, over the channels behind
/// which there is the same row: one for each row of the layer that writes.
///
/// # Errors
/// [`AwqError::UnevenHeads`]; [`AwqError::ChannelsDiffer`] if the means do not fit the heads.
pub fn means_of_rows(means: &Array1<f32>, heads: &Heads) -> Result<Array1<f32>, AwqError> {
    todo!("task 5: {} means over the channels that share a row, {heads:?}", means.len())
}

/// Task 5. The scale of each channel of the layer that reads, from `scales` of the rows of the layer
/// that writes.
///
/// # Errors
/// [`AwqError::UnevenHeads`]; [`AwqError::ChannelsDiffer`] if the scales do not fit the heads.
pub fn spread(scales: &Array1<f32>, heads: &Heads) -> Result<Array1<f32>, AwqError> {
    todo!("task 5: {} scales for all channels, {heads:?}", scales.len())
}

/// Task 5. The rows of `before` over `scales`, and the columns of `after` times the scales that these
/// rows reach: together they compute what they did. `before` is `[kv * dim, in_features]`, `after`
/// `[out_features, query * dim]`, and `scales` has one for each row of `before`.
///
/// # Errors
/// [`AwqError::UnevenHeads`], [`AwqError::ChannelsDiffer`] and [`AwqError::NotAScale`].
pub fn fold_into_linear(
    before: &Array2<f32>,
    after: &Array2<f32>,
    scales: &Array1<f32>,
    heads: &Heads,
) -> Result<(Array2<f32>, Array2<f32>), AwqError> {
    todo!(
        "task 5: {} scales out of {:?} and into {:?}, {heads:?}",
        scales.len(),
        before.dim(),
        after.dim()
    )
}

/// Task 6. Whether the weight `name` is clipped. A query and a key meet in a product, where the error
/// of one depends on the other, so `q_proj` and `k_proj` are not.
pub fn is_clipped(name: &str) -> bool {
    todo!("task 6: {name}")
}

/// Task 6. Each weight limited to its group's maximum and the negative of the maximum. `maxima` is
/// `[out_features, in_features / group_size]`.
///
/// # Errors
/// [`AwqError::MaximaDoNotFit`] if `maxima` do not cut the rows of `w` into equal groups.
pub fn clip(w: &Array2<f32>, maxima: &Array2<f32>) -> Result<Array2<f32>, AwqError> {
    todo!("task 6: {:?} limited by {:?}", w.dim(), maxima.dim())
}

/// Task 6. The maximum of each group under which the nearest codes of the clipped group are best, the
/// largest of those that are equal: `[out_features, in_features / group_size]`.
///
/// A group's candidates are [`clip_maxima`](crate::clip_maxima) of its largest magnitude. The error is the mean over the
/// tokens of `x` of the squared error of the group's share of the output, against the weights `w` as they
/// are.
///
/// # Errors
/// [`AwqError::ChannelsDiffer`] if `x` does not fit `w`, [`AwqError::NoTokens`] if `x` is empty, and those
/// of [`Rounding::round`].
pub fn search_clip(
    x: &Array2<f32>,
    w: &Array2<f32>,
    rounding: &Rounding,
) -> Result<Array2<f32>, AwqError> {
    todo!("task 6: maxima for {:?} under {:?}, {rounding:?}", w.dim(), x.dim())
}

/// Task 7. All of it for a norm and the layers behind it, `(name, weight)` each, with the norm's output
/// `x`, `[tokens, in_features]`: the scales are searched and folded in, and each layer that
/// [`is_clipped`] is clipped for the input that it has then.
///
/// # Errors
/// Those of [`search_scales`], [`fold_into_norm`] and [`search_clip`].
pub fn awq(
    norm: &Array1<f32>,
    layers: &[(&str, Array2<f32>)],
    x: &Array2<f32>,
    rounding: &Rounding,
) -> Result<Block, AwqError> {
    todo!("task 7: {norm} and {} layers behind {:?}, {rounding:?}", layers.len(), x.dim())
}
