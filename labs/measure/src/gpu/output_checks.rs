//! The output meter: every product against f64, on random and on real weights.
//!
//! Three errors, each with the bound that its format implies. `kernel` compares with the f64
//! product of the very codes on the device: what is left is the rounding of sums and of the bf16
//! output, so a wrong index cannot hide behind the format's own error. `format` compares with the
//! f64 product before quantization. `grid` asks that each weight lies within half a step of its
//! code.

use anyhow::{Result, anyhow};
use formats::float8;
use half::bf16;

use super::bench::{Bench, Linear, Source};
use super::cuda::Buffer;
use super::gpu_format::Format;
use super::gpu_meters::OutputCheck;
use super::hash::Hash;
use super::pack::{GROUP, TILE, TILE_SCALES, TILE_WORDS, scale_of, unpack_channel};
use super::product::Product;
use super::work::Shape;

/// Output channels that are checked of each product.
const CHANNELS: usize = 64;
/// Tokens that are checked of each product.
const TOKENS: usize = 4;
/// The spacing of bf16 relative to the value; rounding errs by half of it.
const BF16: f64 = 1.0 / 256.0;
/// The largest relative rounding error of e4m3.
const E4M3: f64 = 1.0 / 16.0;

/// One error, before it has a name.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Finding {
    meter: &'static str,
    error: f64,
    bound: f64,
}

impl Finding {
    /// As a record of the capture; an error that is not a number never passes.
    pub fn record(self, what: &str, data: &str, tokens: usize) -> OutputCheck {
        let error = self.error.is_finite().then_some(self.error);
        OutputCheck {
            what: what.into(),
            data: data.into(),
            tokens,
            meter: self.meter.into(),
            error,
            bound: self.bound,
            passed: error.is_some_and(|error| error <= self.bound),
        }
    }
}

/// Numbers as they were and as they are stored, row by row.
#[derive(Default)]
struct Rows {
    indices: Vec<usize>,
    truth: Vec<Vec<f32>>,
    stored: Vec<Vec<f32>>,
    /// The step of the grid at each number; 0 where there is none.
    steps: Vec<Vec<f32>>,
}

impl Rows {
    fn push(&mut self, index: usize, truth: Vec<f32>, (stored, steps): (Vec<f32>, Vec<f32>)) {
        self.indices.push(index);
        self.truth.push(truth);
        self.stored.push(stored);
        self.steps.push(steps);
    }

    /// Mean squared rounding error over mean square, by the steps: a uniform error in a step has
    /// the variance `step² / 12`.
    fn relative_variance(&self) -> f64 {
        let square = |v: &f32| f64::from(*v).powi(2);
        let noise: f64 = self.steps.iter().flatten().map(|s| square(s) / 12.0).sum();
        let signal: f64 = self.truth.iter().flatten().map(square).sum();
        noise / signal
    }

    /// The largest distance of a number to its stored value, in half steps.
    fn worst_distance(&self) -> f64 {
        let numbers = self.truth.iter().flatten().zip(self.stored.iter().flatten());
        numbers.zip(self.steps.iter().flatten()).fold(0.0, |worst, ((&truth, &stored), &step)| {
            let distance = f64::from((truth - stored).abs()) / f64::from(step / 2.0);
            if distance.is_nan() || distance > worst { distance } else { worst }
        })
    }
}

/// A weight's sampled channels, read back from the device once and used for every batch.
pub struct Weights {
    format: Format,
    shape: Shape,
    data: &'static str,
    rows: Rows,
}

impl Weights {
    /// Reads the sampled channels of `linear`, which was loaded from `source`.
    ///
    /// # Errors
    /// If the device cannot be read.
    pub fn sample(bench: &Bench, format: Format, linear: &Linear, source: Source) -> Result<Self> {
        let mut rows = Rows::default();
        for channel in spread(linear.shape.out_features, CHANNELS) {
            let truth = source.row(channel, linear.shape.in_features);
            rows.push(channel, truth, stored_channel(bench, format, linear, channel)?);
        }
        Ok(Self { format, shape: linear.shape, data: source.name(), rows })
    }

    /// What was found on so many tokens, as a record of the capture.
    pub fn record(&self, finding: Finding, tokens: usize) -> OutputCheck {
        finding.record(self.shape.name, self.data, tokens)
    }

    /// The grid meter; none for bf16, which stores the numbers as they are.
    pub fn grid(&self) -> Option<Finding> {
        let error = self.rows.worst_distance();
        // Codes are rounded after a multiplication by the reciprocal of the scale: a number half
        // way between two codes may land on either side, by a few units of 2^-24 of 448 steps.
        let bound = 1.0 + 448.0 * 2f64.powi(-21);
        (self.format != Format::Bf16).then_some(Finding { meter: "grid", error, bound })
    }

    /// Runs `product` on `linear` with the bench's activations and compares sampled outputs.
    ///
    /// # Errors
    /// If the device fails. A wrong result is no error but a finding.
    pub fn check(&self, bench: &Bench, product: &Product, linear: &Linear) -> Result<[Finding; 2]> {
        bench.device.poison(&bench.y)?;
        product.run(bench, linear, &bench.x, &bench.y)?;
        let x = activations(bench, self.format, product.tokens(), linear.shape.in_features)?;
        let outputs = outputs(bench, &bench.y, &x.indices, linear.shape.out_features)?;
        let measured: Vec<f64> = outputs
            .iter()
            .flat_map(|token| self.rows.indices.iter().map(|&c| f64::from(token[c])))
            .collect();
        let against = |x: &[Vec<f32>], w: &[Vec<f32>]| relative_error(&products(x, w), &measured);
        Ok([
            Finding {
                meter: "kernel",
                error: against(&x.stored, &self.rows.stored),
                bound: kernel_bound(self.format, linear.shape.in_features),
            },
            Finding {
                meter: "format",
                error: against(&x.truth, &self.rows.truth),
                bound: format_bound(self.format, &self.rows, &x),
            },
        ])
    }
}

/// FP8 with fast accumulation keeps about 13 bits of the sum after each step of 32 inputs, and
/// cuts the rest off, so these errors may all point the same way and add up.
pub(super) fn fp8_kernel_bound(inputs: usize) -> f64 {
    BF16 + inputs as f64 / 32.0 / 8192.0
}

/// bf16 output of f32 or int32 sums: half a spacing at most, doubled to leave room for the sums.
fn kernel_bound(format: Format, inputs: usize) -> f64 {
    match format {
        Format::Fp8Tensor | Format::Fp8Channel => fp8_kernel_bound(inputs),
        Format::Bf16 | Format::Int8 | Format::W4A16 => BF16,
    }
}

/// The errors of weights and activations are independent, so their squares add. e4m3 errs by 2^-4
/// of a number at most. A uniform grid errs by half a step at most, √3 times the mean that
/// `relative_variance` has.
fn format_bound(format: Format, w: &Rows, x: &Rows) -> f64 {
    let rounding = match format {
        Format::Bf16 => 0.0,
        Format::Fp8Tensor | Format::Fp8Channel => 2f64.sqrt() * E4M3,
        Format::Int8 | Format::W4A16 => {
            (3.0 * (w.relative_variance() + x.relative_variance())).sqrt()
        }
    };
    let inputs = w.truth.first().map_or(0, Vec::len);
    rounding + kernel_bound(format, inputs)
}

/// Up to `count` indices of `0..length`, the first and the last among them.
fn spread(length: usize, count: usize) -> Vec<usize> {
    let count = count.min(length);
    (0..count).map(|i| if count == 1 { 0 } else { i * (length - 1) / (count - 1) }).collect()
}

/// The activations of sampled tokens: the numbers, and what the last product made of them.
fn activations(bench: &Bench, format: Format, tokens: usize, inputs: usize) -> Result<Rows> {
    let mut rows = Rows::default();
    for token in spread(tokens, TOKENS) {
        let truth = token_values(bench.x_source(), token, inputs);
        let stored = if format.quantizes_activations() {
            eight_bit_row(bench, format, &bench.x_codes, &bench.x_scales, token, inputs)?
        } else {
            (truth.clone(), vec![0.0; inputs])
        };
        rows.push(token, truth, stored);
    }
    Ok(rows)
}

fn token_values(hash: Hash, token: usize, inputs: usize) -> Vec<f32> {
    let start = (token * inputs) as u64;
    (start..start + inputs as u64).map(|index| hash.value(index)).collect()
}

/// One channel of a weight as the device stores it, and the step of the grid at each number.
fn stored_channel(
    bench: &Bench,
    format: Format,
    linear: &Linear,
    channel: usize,
) -> Result<(Vec<f32>, Vec<f32>)> {
    let inputs = linear.shape.in_features;
    let Some(scales) = &linear.scales else {
        let row = bf16_row(bench, &linear.codes, channel, inputs)?;
        return Ok((row, vec![0.0; inputs]));
    };
    if format != Format::W4A16 {
        return eight_bit_row(bench, format, &linear.codes, scales, channel, inputs);
    }
    let (tile, groups) = (channel / TILE, inputs / GROUP);
    let codes = words(bench, &linear.codes, tile * groups * TILE_WORDS, groups * TILE_WORDS)?;
    let scales = words(bench, scales, tile * groups * TILE_SCALES, groups * TILE_SCALES)?;
    let step = |i: usize| scale_of(&scales[i / GROUP * TILE_SCALES..], channel % TILE);
    Ok((unpack_channel(&codes, &scales, channel % TILE), (0..inputs).map(step).collect()))
}

/// One row of 8-bit codes and its step at each number. The step of e4m3 grows with the number.
fn eight_bit_row(
    bench: &Bench,
    format: Format,
    codes: &Buffer,
    scales: &Buffer,
    row: usize,
    columns: usize,
) -> Result<(Vec<f32>, Vec<f32>)> {
    let at = if format == Format::Fp8Tensor { 0 } else { row };
    let scale = f32::from_bits(words(bench, scales, at, 1)?[0]);
    let bytes = bench.device.download(codes, row * columns, columns)?;
    if format == Format::Int8 {
        let stored = bytes.iter().map(|&code| f32::from(code as i8) * scale).collect();
        return Ok((stored, vec![scale; columns]));
    }
    let stored: Vec<f32> = bytes.iter().map(|&code| float8::decode(code) * scale).collect();
    let steps = bytes.iter().map(|&code| e4m3_step(code) * scale).collect();
    Ok((stored, steps))
}

/// The larger of the two spacings around an e4m3 value: a power of two has a finer one below.
fn e4m3_step(code: u8) -> f32 {
    2f32.powi(i32::from(code >> 3 & 15).max(1) - 7 - 3)
}

fn bf16_row(bench: &Bench, buffer: &Buffer, row: usize, columns: usize) -> Result<Vec<f32>> {
    let bytes = bench.device.download(buffer, row * columns * 2, columns * 2)?;
    Ok(bytes.as_chunks().0.iter().map(|two| bf16::from_le_bytes(*two).to_f32()).collect())
}

fn words(bench: &Bench, buffer: &Buffer, start: usize, count: usize) -> Result<Vec<u32>> {
    let bytes = bench.device.download(buffer, start * 4, count * 4)?;
    Ok(bytes.as_chunks().0.iter().map(|word| u32::from_le_bytes(*word)).collect())
}

fn outputs(bench: &Bench, y: &Buffer, tokens: &[usize], columns: usize) -> Result<Vec<Vec<f32>>> {
    tokens.iter().map(|&token| bf16_row(bench, y, token, columns)).collect()
}

/// `x @ w.T` in f64, token by token.
pub(super) fn products(x: &[Vec<f32>], w: &[Vec<f32>]) -> Vec<f64> {
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
    };
    x.iter().flat_map(|token| w.iter().map(move |channel| dot(token, channel))).collect()
}

/// `‖reference - measured‖ / ‖reference‖`; NaN if any value is.
pub(super) fn relative_error(reference: &[f64], measured: &[f64]) -> f64 {
    let norm: f64 = reference.iter().map(|r| r * r).sum();
    let error: f64 = reference.iter().zip(measured).map(|(r, m)| (r - m).powi(2)).sum();
    (error / norm).sqrt()
}

/// Products in a stack.
pub const DEPTH: usize = 4;

/// The stack of layers: each product's output is the next one's input, `[4, hidden]`.
pub struct Stack {
    shape: Shape,
    /// `[4 tokens][hidden]` after the last product, in f64 throughout.
    reference: Vec<Vec<f64>>,
}

impl Stack {
    /// Computes the reference with the weights of `sources`, one a layer.
    pub fn new(shape: Shape, x: Hash, sources: &[Hash]) -> Self {
        let inputs = shape.in_features;
        let wide = |token| token_values(x, token, inputs).into_iter().map(f64::from).collect();
        let mut reference: Vec<Vec<f64>> = (0..TOKENS).map(wide).collect();
        for &hash in sources {
            let mut next = vec![vec![0.0; shape.out_features]; TOKENS];
            for channel in 0..shape.out_features {
                let row = Source::Random(hash).row(channel, inputs);
                for (out, token) in next.iter_mut().zip(&reference) {
                    out[channel] = row.iter().zip(token).map(|(&w, x)| f64::from(w) * x).sum();
                }
            }
            reference = next;
        }
        Self { shape, reference }
    }

    /// Runs the stack on `layers` and compares with the reference. The errors of the products are
    /// independent, so the bound grows with the square root of the depth.
    ///
    /// # Errors
    /// If the device fails or the library has no way to multiply four tokens.
    pub fn check(
        &self,
        bench: &Bench,
        format: Format,
        layers: &[&Linear],
        one: Finding,
    ) -> Result<Finding> {
        let product = Product::new(bench, format, self.shape, TOKENS)?;
        // A padded product writes more rows than there are tokens.
        let bytes = 32 * self.shape.in_features * 2;
        let x = bench.device.allocate("the stack's input", bytes)?;
        bench.device.copy(&x, &bench.x, bytes)?;
        for layer in layers {
            product.run(bench, layer, &x, &bench.y)?;
            bench.device.copy(&x, &bench.y, bytes)?;
        }
        let tokens: Vec<usize> = (0..TOKENS).collect();
        let outputs = outputs(bench, &bench.y, &tokens, self.shape.out_features)?;
        let measured: Vec<f64> = outputs.into_iter().flatten().map(f64::from).collect();
        let reference: Vec<f64> = self.reference.iter().flatten().copied().collect();
        if measured.len() != reference.len() {
            return Err(anyhow!("a stack of {:?} has no square weight", self.shape));
        }
        let error = relative_error(&reference, &measured);
        Ok(Finding { meter: "format", error, bound: one.bound * (layers.len() as f64).sqrt() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nan_never_passes() {
        let finding = Finding { meter: "kernel", error: f64::NAN, bound: 1.0 };
        let record = finding.record("o_proj", "random", 1);
        assert!(!record.passed && record.error.is_none());
        assert!(relative_error(&[1.0, 2.0], &[1.0, f64::NAN]).is_nan());
    }

    #[test]
    fn samples_reach_both_ends() {
        assert_eq!(spread(1, 4), [0]);
        assert_eq!(spread(2, 4), [0, 1]);
        assert_eq!(spread(896, 4), [0, 298, 596, 895]);
    }

    #[test]
    fn the_step_of_e4m3_is_the_distance_to_the_next_value() {
        for code in 0..0x7e_u8 {
            assert_eq!(
                e4m3_step(code),
                float8::decode(code + 1) - float8::decode(code),
                "{code:#x}"
            );
        }
    }

    #[test]
    fn a_number_is_within_half_a_step_of_its_code() {
        let truth: Vec<f32> = (1..4000).map(|i| i as f32 * 0.1).collect();
        let codes: Vec<u8> = truth.iter().map(|&v| float8::encode(v)).collect();
        let rows = Rows {
            indices: vec![0],
            stored: vec![codes.iter().map(|&c| float8::decode(c)).collect()],
            steps: vec![codes.iter().map(|&c| e4m3_step(c)).collect()],
            truth: vec![truth],
        };
        assert!(rows.worst_distance() <= 1.0, "{}", rows.worst_distance());
        assert!(rows.worst_distance() > 0.99);
    }

    #[test]
    fn a_shifted_column_is_far_beyond_the_kernel_bound() {
        let w: Vec<Vec<f32>> =
            (0..8).map(|r| token_values(Hash::stream(1, r, 1.0), 0, 256)).collect();
        let x = vec![token_values(Hash::stream(2, 0, 1.0), 0, 256)];
        let mut wrong = w.clone();
        wrong.iter_mut().for_each(|row| row.rotate_left(1));
        let error = relative_error(&products(&x, &w), &products(&x, &wrong));
        assert!(error > 100.0 * BF16, "{error}");
    }
}
