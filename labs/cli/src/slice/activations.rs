//! The activations of the slice: the inputs of the nine layers in the whole model.
//!
//! The last bits of an `f32` sum depend on the processor. After rounding to `f16` most values are the
//! same everywhere, but a value near the middle of two `f16` numbers may be either, so a check allows
//! one step of `f16`. A sum that nearly cancels has few correct digits and tiny steps, so the check
//! allows such a value [`NEAR_ZERO`] of the token's root mean square.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use half::f16;
use ndarray::{Array2, ArrayView1};
use safetensors::SafeTensors;
use safetensors::tensor::Dtype;

use super::file;

/// The allowed error of a value as a share of its token's root mean square, where that is more than one
/// step. Another order of all sums (tokens one by one) moved such values by up to 1.0e-5. The bound is
/// ten times as large, and a twentieth of half a step of `f16` at a value of average size.
const NEAR_ZERO: f64 = 1e-4;

/// Activations and what is known of them.
pub struct Inputs {
    pub(super) tensors: BTreeMap<String, Array2<f16>>,
    pub(super) metadata: BTreeMap<String, String>,
}

impl Inputs {
    /// Reads a file of activations.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&bytes).with_context(|| format!("{} is damaged", path.display()))
    }

    fn parse(bytes: &[u8]) -> Result<Self> {
        let (_, header) = SafeTensors::read_metadata(bytes)?;
        let metadata = header.metadata().clone().unwrap_or_default().into_iter().collect();
        let tensors = SafeTensors::deserialize(bytes)?.tensors();
        let tensors = tensors.into_iter().map(|(name, view)| {
            let &[tokens, features] = view.shape() else {
                anyhow::bail!("{name} has the shape {:?}, not that of a matrix", view.shape());
            };
            ensure!(view.dtype() == Dtype::F16, "{name} is {:?}, not F16", view.dtype());
            let values = view.data().chunks_exact(2).map(|b| f16::from_le_bytes([b[0], b[1]]));
            Ok((name, Array2::from_shape_vec((tokens, features), values.collect())?))
        });
        Ok(Self { tensors: tensors.collect::<Result<_>>()?, metadata })
    }

    /// The bytes of the file: the same for the same values.
    pub fn bytes(&self) -> Result<Vec<u8>> {
        let tensors: Vec<_> =
            self.tensors.iter().map(|(name, values)| (name.as_str(), values)).collect();
        file::bytes(&tensors, &self.metadata)
    }

    /// Compares `there` with these values, and returns the number of values that differ.
    pub fn compare(&self, there: &Self) -> Result<usize> {
        ensure!(self.metadata == there.metadata, "the metadata is another: {:?}", there.metadata);
        let (names, others) = (self.tensors.keys(), there.tensors.keys());
        ensure!(names.eq(others), "the file has other tensors than the model gives");
        let mut off = 0;
        for (name, ours) in &self.tensors {
            let theirs = &there.tensors[name];
            ensure!(ours.dim() == theirs.dim(), "{name} is {:?} there", theirs.dim());
            for ((at, &ours_at), &theirs_at) in ours.indexed_iter().zip(theirs) {
                ensure!(
                    steps_between(ours_at, theirs_at) <= 1
                        || (ours_at.to_f64() - theirs_at.to_f64()).abs()
                            <= NEAR_ZERO * rms(ours.row(at.0)),
                    "{name}: {ours_at} at {at:?}, and {theirs_at} is in the file"
                );
                off += usize::from(ours_at != theirs_at);
            }
        }
        Ok(off)
    }
}

/// Writes the file `path` of `inputs`, or compares the file that is there with them.
pub fn run(inputs: &Inputs, path: &str, check: bool) -> Result<()> {
    let path = Path::new(path);
    let shown = path.display();
    if !check {
        let bytes = inputs.bytes()?;
        super::write(&bytes, path)?;
        eprintln!("{shown} is written, {} bytes", bytes.len());
        return Ok(());
    }
    let off = inputs.compare(&Inputs::read(path)?).with_context(|| {
        format!("{shown} is not what the model gives: `cargo book slice` writes it again")
    })?;
    let all: usize = inputs.tensors.values().map(Array2::len).sum();
    eprintln!("{shown} is what the model gives; {off} of {all} values differ, within the bound");
    Ok(())
}

/// The root mean square of a token.
fn rms(token: ArrayView1<f16>) -> f64 {
    let squares: f64 = token.iter().map(|x| x.to_f64().powi(2)).sum();
    (squares / token.len() as f64).sqrt()
}

/// The steps of `f16` from `a` to `b`; both zeros are one number.
fn steps_between(a: f16, b: f16) -> u32 {
    // The bits of a magnitude are in the order of the numbers, because the exponent comes first.
    let step = |value: f16| {
        let magnitude = i32::from(value.to_bits() & 0x7fff);
        if value.is_sign_negative() { -magnitude } else { magnitude }
    };
    step(a).abs_diff(step(b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use kit::real_slice::{self, Window};
    use ndarray::array;

    fn inputs(values: Array2<f32>) -> Inputs {
        let tensors = BTreeMap::from([("x".to_string(), values.mapv(f16::from_f32))]);
        Inputs { tensors, metadata: BTreeMap::from([("text".to_string(), "a".to_string())]) }
    }

    #[test]
    fn a_step_is_the_next_number_across_zero_and_powers_of_two() {
        let step = |a, b| steps_between(f16::from_bits(a), f16::from_bits(b));
        assert_eq!(step(0x3bff, 0x3c00), 1, "the number before 1, and 1");
        assert_eq!(step(0x8000, 0x0000), 0, "minus zero is zero");
        assert_eq!(step(0x8001, 0x0001), 2, "the numbers around zero");
        assert_eq!(step(0x3c00, 0xbc00), 2 * 0x3c00);
    }

    #[test]
    fn one_step_of_f16_passes_and_is_counted_and_two_do_not() -> Result<()> {
        let ours = inputs(array![[1.0, -2.0]]);
        assert_eq!(ours.compare(&ours)?, 0);
        assert_eq!(ours.compare(&inputs(array![[1.0 + 0.5f32.powi(10), -2.0]]))?, 1);
        let error = ours.compare(&inputs(array![[1.0 + 0.5f32.powi(9), -2.0]])).unwrap_err();
        assert!(error.to_string().contains("x: 1 at (0, 0)"), "{error}");
        Ok(())
    }

    #[test]
    fn a_value_near_zero_is_compared_at_the_scale_of_its_token() -> Result<()> {
        let ours = inputs(array![[1.0, 1e-5]]);
        assert_eq!(ours.compare(&inputs(array![[1.0, 5e-5]]))?, 1);
        assert!(ours.compare(&inputs(array![[1.0, 2e-4]])).is_err());
        assert!(inputs(array![[1e-3, 1e-5]]).compare(&inputs(array![[1e-3, 5e-5]])).is_err());
        Ok(())
    }

    #[test]
    fn what_was_written_is_read_back() -> Result<()> {
        let ours = inputs(array![[1.0, -2.0, 65504.0]]);
        let again = Inputs::parse(&ours.bytes()?)?;
        assert_eq!(ours.compare(&again)?, 0);
        Ok(())
    }

    #[test]
    fn the_committed_activations_say_which_text_they_come_from() -> Result<()> {
        let inputs = Inputs::read(Path::new(real_slice::ACTIVATIONS_PATH))?;
        assert_eq!(inputs.metadata["source sha256"], xtask::fetch::MODEL.sha256);
        for window in Window::ALL {
            let ids = &inputs.metadata[&format!("{} token ids", window.key())];
            assert_eq!(ids.split(' ').count(), Window::TOKENS);
            assert!(inputs.metadata.contains_key(&format!("{} text", window.key())));
        }
        Ok(())
    }
}
