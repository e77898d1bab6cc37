//! `cargo book slice`: cuts the real slice out of the fetched model.
//!
//! The same model always gives the same weights, byte for byte, so `--check` compares the committed file
//! byte for byte. Activations and caches are computed, so they are compared within a step of `f16`.

mod activations;
mod caches;
mod file;
mod hessians;
mod rows;
mod windows;

use std::fs;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use formats::gguf::{Gguf, unpermute_rotary};
use half::f16;
use kit::{real_cache, real_slice};
use ndarray::{Array2, Axis};

use file::Cut;
use rows::{Kept, outlier_ratio, row_absmax};
use xtask::fetch;

/// Arguments of `cargo book slice`.
#[derive(clap::Args)]
pub struct Args {
    /// The model to cut from [default: where `cargo book fetch` puts it].
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// Write nothing: compare with the slice that is there.
    #[arg(long)]
    check: bool,
}

/// Cuts the slice and writes it, or compares it with what is there.
pub fn run(args: &Args) -> Result<()> {
    let model = args.model.clone().unwrap_or_else(kit::workspace::fetched_model);
    if !model.exists() {
        bail!("there is no model {}: `cargo book fetch` gets it", model.display());
    }
    fetch::MODEL.require(&model)?;
    let bytes = slice_of(&model)?;
    let slice = Path::new(real_slice::PATH);
    if args.check {
        compare(&bytes, slice)?;
    } else {
        write(&bytes, slice)?;
        eprintln!("{} is written, {} bytes", slice.display(), bytes.len());
    }
    activations::run(&windows::inputs(&model)?, real_slice::ACTIVATIONS_PATH, args.check)?;
    activations::run(&caches::inputs(&model)?, real_cache::PATH, args.check)?;
    hessians::run(&model, args.check)
}

/// The bytes of the slice of `model`.
fn slice_of(model: &Path) -> Result<Vec<u8>> {
    let mut gguf = Gguf::open(model)?;
    let cuts = real_slice::TENSORS.map(|name| {
        let cut = cut(&mut gguf, name).with_context(|| format!("cannot cut {name}"))?;
        describe(&cut);
        Ok(cut)
    });
    let cuts: Vec<Cut> = cuts.into_iter().collect::<Result<_>>()?;
    file::weights(&cuts, fetch::MODEL.name, fetch::MODEL.sha256)
}

/// One line of what `PROVENANCE.md` says.
fn describe(cut: &Cut) {
    let ratio = outlier_ratio(&row_absmax(&cut.values));
    let [rows, columns] = [cut.values.nrows(), cut.values.ncols()];
    let (name, kept, rounding) = (cut.name, cut.kept, &cut.rounding);
    eprintln!("{name}: {rows}x{columns}, {kept}, largest row {ratio:.1}x the median, {rounding}");
}

/// Cuts the tensor that Hugging Face calls `name`.
fn cut(gguf: &mut Gguf<BufReader<fs::File>>, name: &'static str) -> Result<Cut> {
    let (layer, projection) = parts(name)?;
    let (source, step) = match projection {
        "q_proj" => ("attn_q", 1),
        "gate_proj" => ("ffn_gate", 3),
        "down_proj" => ("ffn_down", 3),
        other => bail!("nothing is known of {other}"),
    };
    let mut weights = gguf.tensor(&format!("blk.{layer}.{source}.weight"))?;
    if projection == "q_proj" {
        let heads = usize::try_from(gguf.u64("llama.attention.head_count")?)?;
        weights = unpermute_rotary(&weights, heads)?;
    }
    let halves = weights.mapv(f16::from_f32);
    let kept = Kept::every(step, &row_absmax(&halves));
    let values = halves.select(Axis(0), &kept.rows());
    Ok(Cut { name, values, kept, rounding: Rounding::of(&weights, &halves) })
}

/// The layer and the projection in `model.layers.1.self_attn.q_proj.weight`.
fn parts(name: &str) -> Result<(&str, &str)> {
    let parts: Vec<&str> = name.split('.').collect();
    match parts[..] {
        ["model", "layers", layer, _, projection, "weight"] => Ok((layer, projection)),
        _ => bail!("{name} is not the name of a projection"),
    }
}

/// The errors of rounding a matrix to `f16`.
struct Rounding {
    /// The largest `|f16 - f32| / |f32|`, over weights that are not 0 and round to a normal `f16`.
    normal: f64,
    /// The largest `|f16 - f32|` over the weights that round to a subnormal `f16` or to 0.
    subnormal: f64,
}

impl Rounding {
    fn of(weights: &Array2<f32>, halves: &Array2<f16>) -> Self {
        let mut worst = Self { normal: 0.0, subnormal: 0.0 };
        for (&weight, &half) in weights.iter().zip(halves) {
            let (weight, half) = (f64::from(weight), half.to_f64());
            let error = (half - weight).abs();
            if half.abs() >= f16::MIN_POSITIVE.to_f64() {
                worst.normal = worst.normal.max(error / weight.abs());
            } else {
                worst.subnormal = worst.subnormal.max(error);
            }
        }
        worst
    }
}

impl std::fmt::Display for Rounding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { normal, subnormal } = self;
        write!(f, "f16 moves a weight by at most {normal:.3e} of it ({subnormal:.1e} below 2^-14)")
    }
}

fn compare(bytes: &[u8], slice: &Path) -> Result<()> {
    let there = fs::read(slice).with_context(|| format!("cannot read {}", slice.display()))?;
    let shown = slice.display();
    if there != bytes {
        bail!("{shown} is not what the model gives: `cargo book slice` writes it again");
    }
    eprintln!("{shown} is, byte for byte, what the model gives");
    Ok(())
}

/// Writes under another name first, so that a slice is never partial.
fn write(bytes: &[u8], slice: &Path) -> Result<()> {
    let part = slice.with_extension("part");
    let written = fs::write(&part, bytes).and_then(|()| fs::rename(&part, slice));
    if written.is_err() {
        let _ = fs::remove_file(&part);
    }
    written.with_context(|| format!("cannot write {}", slice.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn names_are_taken_apart_and_others_refused() -> Result<()> {
        for name in real_slice::TENSORS {
            let (layer, projection) = parts(name)?;
            assert!(name.contains(&format!("layers.{layer}.")) && name.contains(projection));
        }
        assert!(parts("model.norm.weight").is_err());
        Ok(())
    }

    #[test]
    fn rounding_is_measured_apart_for_subnormals() {
        // Between 1 and the next f16 lie 2^-10; half of it is the worst that can happen.
        let weights = array![[1.0 + 0.000_488_281_25, 0.0, 1e-8]];
        let rounding = Rounding::of(&weights, &weights.mapv(f16::from_f32));
        assert!((rounding.normal - 0.000_488).abs() < 1e-6, "{rounding}");
        assert!((rounding.subnormal - 1e-8).abs() < 1e-12, "{rounding}");
    }

    #[test]
    fn a_slice_is_replaced_whole_and_a_difference_is_noticed() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let slice = dir.path().join("slice");
        fs::write(&slice, "old")?;
        assert!(compare(b"new", &slice).unwrap_err().to_string().contains("`cargo book slice`"));
        write(b"new", &slice)?;
        compare(b"new", &slice)?;
        assert_eq!(fs::read_dir(dir.path())?.count(), 1, "a temporary file was left");
        Ok(())
    }
}
