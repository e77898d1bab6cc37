//! The figures of lab 10: two real activations in another basis, drawn as lab 04 draws them.

use anyhow::Result;
use kit::real_slice::{TENSORS, label};
use kit::table::sig3;
use ndarray::Array2;

use super::landscape::{SHOWN, of_the_median, ratio, ridges};
use super::{Figure, subject};
use crate::inputs::Layers;
use crate::tables::lab_10::{SEED, of_inputs, rotated};
use crate::tables::real_activations::{position_of_absmax, without_first};

/// The layer in front of which the model has its massive activation.
const MASSIVE: &str = TENSORS[2];
/// The layer of lab 04's figures, with an outlier token and an outlier channel.
const BOTH: &str = TENSORS[7];
/// How high the massive activation stands, in distances between two tokens.
const PEAK: f64 = 20.0;

/// The value that is as high as two tokens are apart where the massive activation is [`PEAK`].
fn unit(x: &Array2<f32>) -> f64 {
    f64::from(x[position_of_absmax(x)].abs()) / PEAK
}

/// The largest magnitude, and the largest of all tokens but the first.
fn peaks(x: &Array2<f32>) -> (String, String) {
    let rest = without_first(x);
    let of = |x: &Array2<f32>| sig3(x[position_of_absmax(x)].abs().into());
    (of(x), of(&rest))
}

/// The inputs of a down projection as the layer gets them.
pub fn before(layers: &Layers) -> Result<Figure> {
    let x = &layers.of(MASSIVE).held_out;
    let (token, channel) = position_of_absmax(x);
    let (largest, rest) = peaks(x);
    Ok(Figure {
        title: format!("Magnitudes at the input of {}, token by channel", label(MASSIVE)),
        caption: format!(
            "The first {SHOWN} tokens of a window. Channel {channel} of token {token} is {largest}. The largest \
             value of all other tokens is {rest}."
        ),
        alt: format!(
            "Ridge plot, one line for each of {SHOWN} tokens over {} channels. The first line has a single peak \
             that is as high as the whole picture, at channel {channel}. All other lines look flat.",
            x.ncols()
        ),
        drawing: ridges(x, unit(x), &[(token, channel)])?,
    })
}

/// The same inputs, rotated, to the same measure.
pub fn after(layers: &Layers) -> Result<Figure> {
    let layer = layers.of(MASSIVE);
    let x = rotated(&layer.held_out, &of_inputs(layer, SEED)?)?;
    let (largest, rest) = peaks(&x);
    Ok(Figure {
        title: format!("The input of {} after a rotation", label(MASSIVE)),
        caption: format!(
            "The same tokens times Q, drawn to the same measure. The largest value of the first token is {largest}, \
             in each of many channels. The largest value of all other tokens is {rest}. The first token has the \
             norm that the token had before."
        ),
        alt: "The same ridge plot after the rotation. The peak is gone. The first line is a low band over all \
              channels, and all other lines look flat."
            .into(),
        drawing: ridges(&x, unit(&layer.held_out), &[])?,
    })
}

/// The layer of lab 04's landscape, rotated, to lab 04's measure.
pub fn both_kinds(layers: &Layers) -> Result<Figure> {
    let layer = layers.of(BOTH);
    let x = rotated(&layer.held_out, &of_inputs(layer, SEED)?)?;
    Ok(Figure {
        title: format!("The input of {} after a rotation", label(BOTH)),
        caption: format!(
            "{}, whose landscape lab 04 draws, times Q. Five times the median channel is as high as two tokens are \
             apart. The largest absmax of a channel is {} the median one, {} without the first token; before the \
             rotation {} and {}.",
            subject(BOTH),
            ratio(&x)?,
            ratio(&without_first(&x))?,
            ratio(&layer.held_out)?,
            ratio(&without_first(&layer.held_out))?,
        ),
        alt: format!(
            "Ridge plot, one line for each of {SHOWN} tokens over {} channels. All lines are low and rough over \
             their whole length, the first one a little higher. No peak stands out, and no column of peaks.",
            x.ncols()
        ),
        drawing: ridges(&x, of_the_median(&x)?, &[])?,
    })
}
