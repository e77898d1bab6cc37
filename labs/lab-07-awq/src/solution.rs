//! The reference, which the chapter shows piece by piece.

use ndarray::{Array1, Array2, ArrayView2, Axis, Zip, concatenate, s};

use crate::{AwqError, Block, Candidate, Heads, MIN_SCALE, Rounding, Search, clip_maxima, ratios};

// ANCHOR: channel_means
/// The mean magnitude of each channel over all tokens of `batches`, each `[tokens, in_features]`:
/// `[in_features]`. Sums are in `f64`.
///
/// # Errors
/// [`AwqError::NoTokens`] without a token, [`AwqError::ChannelsDiffer`] if the batches have different
/// widths, [`AwqError::NotFinite`] with the first value of a batch that is NaN or infinite.
pub fn channel_means(batches: &[Array2<f32>]) -> Result<Array1<f32>, AwqError> {
    let expected = batches.first().map_or(0, Array2::ncols);
    let mut sum = Array1::<f64>::zeros(expected);
    for x in batches {
        same_channels("a batch", x.ncols(), "the first batch", expected)?;
        check_finite("a batch", x)?;
        for token in x.rows() {
            sum.zip_mut_with(&token, |sum, x| *sum += f64::from(x.abs()));
        }
    }
    let tokens: usize = batches.iter().map(Array2::nrows).sum();
    if tokens == 0 {
        return Err(AwqError::NoTokens);
    }
    Ok(sum.mapv(|sum| (sum / tokens as f64) as f32))
}
// ANCHOR_END: channel_means

// ANCHOR: candidate_scales
/// The scales for a ratio, `[in_features]`: `means` to the power of `ratio`, at least
/// [`MIN_SCALE`](crate::MIN_SCALE), and
/// then all multiplied by one number, so that the largest times the smallest is 1.
///
/// # Errors
/// [`AwqError::RatioOutOfRange`] unless `ratio` is in 0..=1; [`AwqError::NotAMagnitude`] with the first
/// mean that is negative, NaN or infinite.
pub fn candidate_scales(means: &Array1<f32>, ratio: f32) -> Result<Array1<f32>, AwqError> {
    if !(0.0..=1.0).contains(&ratio) {
        return Err(AwqError::RatioOutOfRange(ratio));
    }
    let is_mean = |mean: f32| mean.is_finite() && mean >= 0.0;
    if let Some((channel, &value)) = means.indexed_iter().find(|(_, mean)| !is_mean(**mean)) {
        return Err(AwqError::NotAMagnitude { channel, value });
    }
    let scales = means.mapv(|mean| mean.powf(ratio).max(MIN_SCALE));
    let largest = scales.fold(0.0, |max: f32, scale| max.max(*scale));
    let smallest = scales.fold(f32::INFINITY, |min: f32, scale| min.min(*scale));
    // Two roots, because the product of the largest numbers of f32 overflows.
    Ok(scales / (largest.sqrt() * smallest.sqrt()))
}
// ANCHOR_END: candidate_scales

// ANCHOR: output_error
/// The weight that a layer computes with when its columns are multiplied by `scales`, rounded, and
/// its inputs divided by `scales`: `[out_features, in_features]` for the inputs as they were.
///
/// # Errors
/// [`AwqError::ChannelsDiffer`] if the scales do not fit `w`, [`AwqError::NotAScale`], and those of
/// [`Rounding::round`].
pub fn scaled_values(
    w: &Array2<f32>,
    scales: &Array1<f32>,
    rounding: &Rounding,
) -> Result<Array2<f32>, AwqError> {
    check_scales("the weight", w.ncols(), scales)?;
    Ok(rounding.values(&(w * scales))? / scales)
}

/// The mean over all tokens of `x`, `[tokens, in_features]`, and all outputs of the squared difference
/// between the outputs of `w` and of `values`, both `[out_features, in_features]`. In `f64`.
///
/// # Errors
/// [`AwqError::ChannelsDiffer`] if `x` does not fit the weights, [`AwqError::NoTokens`] if `x` is empty.
pub fn output_error(
    x: &Array2<f32>,
    w: &Array2<f32>,
    values: &Array2<f32>,
) -> Result<f64, AwqError> {
    same_channels("the weight", w.ncols(), "the input", x.ncols())?;
    let moved = values.mapv(f64::from) - w.mapv(f64::from);
    let outputs = x.mapv(f64::from).dot(&moved.t());
    outputs.mapv(|error| error * error).mean().ok_or(AwqError::NoTokens)
}
// ANCHOR_END: output_error

// ANCHOR: search
/// A candidate for each of [`ratios`](crate::ratios).
///
/// # Errors
/// As [`candidate_scales`].
pub fn candidates(means: &Array1<f32>) -> Result<Vec<Candidate>, AwqError> {
    ratios().map(|ratio| Ok(Candidate { ratio, scales: candidate_scales(means, ratio)? })).collect()
}

/// The candidate with the least error, the first of those that are equal. A candidate whose error is NaN
/// or infinite is never the best.
///
/// # Errors
/// [`AwqError::Nothing`] without a candidate, [`AwqError::NoFiniteError`] if each error is NaN or
/// infinite, and the first error of `error_of`.
pub fn search(
    candidates: Vec<Candidate>,
    mut error_of: impl FnMut(&Array1<f32>) -> Result<f64, AwqError>,
) -> Result<Search, AwqError> {
    if candidates.is_empty() {
        return Err(AwqError::Nothing("candidate"));
    }
    let errors = candidates.iter().map(|candidate| error_of(&candidate.scales));
    let errors = errors.collect::<Result<Vec<f64>, _>>()?;
    let tried = candidates.into_iter().zip(&errors).filter(|(_, error)| error.is_finite());
    // `min_by` returns the first of equal elements.
    let best = tried.min_by(|a, b| a.1.total_cmp(b.1)).map(|(best, _)| best);
    Ok(Search { best: best.ok_or(AwqError::NoFiniteError(errors.len()))?, errors })
}

/// The scales for `layers`, each `[out_features, in_features]`, which all read `x`,
/// `[tokens, in_features]`: the best of [`candidates`] of the channel means of `x`. The error of a
/// candidate is the [`output_error`] of all outputs of all layers.
///
/// # Errors
/// [`AwqError::Nothing`] without a layer, [`AwqError::ChannelsDiffer`] if a layer has another width than
/// `x`, and those of [`channel_means`], [`search`] and [`scaled_values`].
pub fn search_scales(
    x: &Array2<f32>,
    layers: &[Array2<f32>],
    rounding: &Rounding,
) -> Result<Search, AwqError> {
    for w in layers {
        same_channels("a layer", w.ncols(), "the input", x.ncols())?;
    }
    // One weight with all rows, because groups lie along a row.
    let rows: Vec<ArrayView2<f32>> = layers.iter().map(|w| w.view()).collect();
    let w = concatenate(Axis(0), &rows).map_err(|_| AwqError::Nothing("layer"))?;
    let means = channel_means(std::slice::from_ref(x))?;
    search(candidates(&means)?, |scales| output_error(x, &w, &scaled_values(&w, scales, rounding)?))
}
// ANCHOR_END: search

// ANCHOR: fold_into_norm
/// The weight of a norm over `scales`, and the columns of each of the `layers` behind it times `scales`:
/// together they compute what they did.
///
/// # Errors
/// [`AwqError::ChannelsDiffer`] if the scales do not fit the norm or a layer, [`AwqError::NotAScale`].
pub fn fold_into_norm(
    norm: &Array1<f32>,
    layers: &[Array2<f32>],
    scales: &Array1<f32>,
) -> Result<(Array1<f32>, Vec<Array2<f32>>), AwqError> {
    check_scales("the norm", norm.len(), scales)?;
    for w in layers {
        check_scales("a layer", w.ncols(), scales)?;
    }
    Ok((norm / scales, layers.iter().map(|w| w * scales).collect()))
}
// ANCHOR_END: fold_into_norm

// ANCHOR: fold_into_linear
/// The row of the value projection whose output is `channel` of the output projection's input, in any
/// token. Channels are in the order of query heads, and neighbouring query heads share a kv head.
pub fn row_behind(channel: usize, heads: &Heads) -> usize {
    let sharing = heads.query / heads.kv;
    channel / heads.dim / sharing * heads.dim + channel % heads.dim
}

/// The mean of `means`, one for each channel of the layer that reads, over the channels behind which
/// there is the same row: one for each row of the layer that writes.
///
/// # Errors
/// [`AwqError::UnevenHeads`]; [`AwqError::ChannelsDiffer`] if the means do not fit the heads.
pub fn means_of_rows(means: &Array1<f32>, heads: &Heads) -> Result<Array1<f32>, AwqError> {
    heads.check()?;
    same_channels("the means", means.len(), "the heads", heads.channels())?;
    let mut sum = Array1::zeros(heads.rows());
    for (channel, mean) in means.indexed_iter() {
        sum[row_behind(channel, heads)] += mean;
    }
    Ok(sum / (heads.query / heads.kv) as f32)
}

/// The scale of each channel of the layer that reads, from `scales` of the rows of the layer that
/// writes.
///
/// # Errors
/// [`AwqError::UnevenHeads`]; [`AwqError::ChannelsDiffer`] if the scales do not fit the heads.
pub fn spread(scales: &Array1<f32>, heads: &Heads) -> Result<Array1<f32>, AwqError> {
    heads.check()?;
    same_channels("the scales", scales.len(), "the heads", heads.rows())?;
    Ok((0..heads.channels()).map(|channel| scales[row_behind(channel, heads)]).collect())
}

/// The rows of `before` over `scales`, and the columns of `after` times the scales that these rows reach:
/// together they compute what they did. `before` is `[kv * dim, in_features]`, `after`
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
    check_scales("the layer before", before.nrows(), scales)?;
    let spread = spread(scales, heads)?;
    check_scales("the layer after", after.ncols(), &spread)?;
    let each_row = scales.view().insert_axis(Axis(1));
    Ok((before / &each_row, after * &spread))
}
// ANCHOR_END: fold_into_linear

// ANCHOR: clip
/// Whether the weight `name` is clipped. A query and a key meet in a product, where the error of one
/// depends on the other, so `q_proj` and `k_proj` are not.
pub fn is_clipped(name: &str) -> bool {
    !name.split('.').any(|part| part == "q_proj" || part == "k_proj")
}

/// Each weight limited to its group's maximum and the negative of the maximum. `maxima` is
/// `[out_features, in_features / group_size]`.
///
/// # Errors
/// [`AwqError::MaximaDoNotFit`] if `maxima` do not cut the rows of `w` into equal groups.
pub fn clip(w: &Array2<f32>, maxima: &Array2<f32>) -> Result<Array2<f32>, AwqError> {
    let divides = maxima.ncols() > 0 && w.ncols().is_multiple_of(maxima.ncols());
    if !divides || maxima.nrows() != w.nrows() {
        let (maxima, weight) = (maxima.dim().into(), w.dim().into());
        return Err(AwqError::MaximaDoNotFit { maxima, weight });
    }
    let size = w.ncols() / maxima.ncols();
    Ok(Array2::from_shape_fn(w.dim(), |(row, column)| {
        let max = maxima[(row, column / size)];
        w[(row, column)].clamp(-max, max)
    }))
}

/// The maximum of each group under which the nearest codes of the clipped group are best, the largest of
/// those that are equal: `[out_features, in_features / group_size]`.
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
    same_channels("the weight", w.ncols(), "the input", x.ncols())?;
    if x.nrows() == 0 {
        return Err(AwqError::NoTokens);
    }
    // For its errors, and for the shape of the groups.
    let mut best = rounding.round(w)?.scales;
    for (group, mut best) in best.columns_mut().into_iter().enumerate() {
        let columns = s![.., group * rounding.group_size..(group + 1) * rounding.group_size];
        let (w, x) = (w.slice(columns).to_owned(), x.slice(columns).mapv(f64::from));
        let largest = w.map_axis(Axis(1), |row| row.fold(0.0, |max: f32, w| max.max(w.abs())));
        let mut least = Array1::from_elem(w.nrows(), f64::INFINITY);
        for shrunk in clip_maxima(1.0) {
            let maxima = largest.mapv(|largest| largest * shrunk);
            let values = rounding.values(&clip(&w, &maxima.clone().insert_axis(Axis(1)))?)?;
            let errors = x.dot(&(values.mapv(f64::from) - w.mapv(f64::from)).t());
            let errors = errors.mapv(|error| error * error).sum_axis(Axis(0));
            Zip::from(&mut best).and(&mut least).and(&maxima).and(&errors).for_each(
                |best, least, &max, &error| {
                    if error < *least {
                        (*best, *least) = (max, error);
                    }
                },
            );
        }
    }
    Ok(best)
}
// ANCHOR_END: clip

// ANCHOR: awq
/// All of it for a norm and the layers behind it, `(name, weight)` each, with the norm's output `x`,
/// `[tokens, in_features]`: the scales are searched and folded in, and each layer that [`is_clipped`] is
/// clipped for the input that it has then.
///
/// # Errors
/// Those of [`search_scales`], [`fold_into_norm`] and [`search_clip`].
pub fn awq(
    norm: &Array1<f32>,
    layers: &[(&str, Array2<f32>)],
    x: &Array2<f32>,
    rounding: &Rounding,
) -> Result<Block, AwqError> {
    let weights: Vec<Array2<f32>> = layers.iter().map(|(_, w)| w.clone()).collect();
    let found = search_scales(x, &weights, rounding)?.best;
    let (norm, mut weights) = fold_into_norm(norm, &weights, &found.scales)?;
    let x = x / &found.scales;
    for ((name, _), w) in layers.iter().zip(&mut weights) {
        if is_clipped(name) {
            *w = clip(w, &search_clip(&x, w, rounding)?)?;
        }
    }
    Ok(Block { scales: found, norm, layers: weights })
}
// ANCHOR_END: awq

/// Refuses two tensors with different numbers of channels.
fn same_channels(
    what: &'static str,
    found: usize,
    other: &'static str,
    expected: usize,
) -> Result<(), AwqError> {
    if found == expected {
        return Ok(());
    }
    Err(AwqError::ChannelsDiffer { what, found, other, expected })
}

/// Refuses scales that do not fit a tensor, and the first that is not above 0 and finite.
fn check_scales(what: &'static str, found: usize, scales: &Array1<f32>) -> Result<(), AwqError> {
    same_channels(what, found, "the scales", scales.len())?;
    let is_scale = |scale: f32| scale.is_finite() && scale > 0.0;
    match scales.indexed_iter().find(|(_, scale)| !is_scale(**scale)) {
        Some((channel, &value)) => Err(AwqError::NotAScale { channel, value }),
        None => Ok(()),
    }
}

/// Refuses a matrix that holds NaN or infinity.
fn check_finite(what: &'static str, m: &Array2<f32>) -> Result<(), AwqError> {
    match m.indexed_iter().find(|(_, value)| !value.is_finite()) {
        Some(((row, column), &value)) => Err(AwqError::NotFinite { what, row, column, value }),
        None => Ok(()),
    }
}
