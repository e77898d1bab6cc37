//! NVFP4 on Blackwell: the rate of cuBLASLt's product of FP4 codes in blocks, whose outputs are checked.
//!
//! Codes and scales are random and are made on the host. No step is metered in FP4, because a step needs a
//! kernel that quantizes activations.

use anyhow::{Result, ensure};
use formats::{float4, float8};
use half::bf16;

use super::clock::Clock;
use super::cuda::lt::{Kind, Lt, Operands, Plan};
use super::cuda::{Buffer, Device};
use super::gpu_meters::Peak;
use super::hash::Hash;
use super::output_checks::{fp8_kernel_bound, products, relative_error};
use super::peaks::{SQUARE, fastest, of_square};

/// Blackwell, the first with products of FP4 codes in blocks.
pub(super) const CAPABILITY: (u32, u32) = (10, 0);
/// Weights of a block.
const BLOCK: usize = 16;
/// Rows of a tile of scales, and blocks of each row.
const TILE: (usize, usize) = (128, 4);
/// Tokens and channels whose outputs are checked: those at the ends of the parts of a tile of scales.
const CHECKED: [usize; 8] = [0, 1, 31, 32, 96, 127, 128, SQUARE - 1];

/// Why there is no step in FP4 on a device of `capability`.
pub(super) fn no_step((major, minor): (u32, u32)) -> String {
    let (a, b) = CAPABILITY;
    if (major, minor) < CAPABILITY {
        return format!(
            "left out: nvfp4 and mxfp4 products need compute capability {a}.{b} and this device has {major}.{minor}"
        );
    }
    "left out: no step in nvfp4, because this program has no kernel that quantizes activations to FP4; the rate of \
     cuBLASLt's product is among the peaks"
        .into()
}

/// Where cuBLASLt reads the scale of a block, in a matrix of `blocks` blocks a row: tiles of 128 rows and 4
/// blocks, row by row of tiles. In a tile, 16 bytes are the blocks of rows that are 32 apart ("1D Block
/// Scaling Factors Layout" in the manual of cuBLAS).
fn scale_offset(row: usize, block: usize, blocks: usize) -> usize {
    let (rows, columns) = TILE;
    let tile = row / rows * blocks.div_ceil(columns) + block / columns;
    tile * rows * columns + row % 32 * 16 + row % rows / 32 * 4 + block % columns
}

/// A square matrix of random codes, each block of a row under a random scale.
struct Codes(Hash);

impl Codes {
    /// Two codes, the first in the low nibble.
    fn pair(&self, index: usize) -> u8 {
        self.0.bits_at(index as u32) as u8
    }

    /// An E4M3 code of 0.5 to 1.875, no two neighbours alike for long, so that a scale in a wrong place shows.
    fn scale(&self, row: usize, block: usize) -> u8 {
        let index = u32::MAX - (row * (SQUARE / BLOCK) + block) as u32;
        0x30 + (self.0.bits_at(index) & 15) as u8
    }

    fn row(&self, row: usize) -> Vec<f32> {
        let value = |column: usize| {
            let code = self.pair((row * SQUARE + column) / 2) >> (4 * (column % 2));
            float4::decode(code) * float8::decode(self.scale(row, column / BLOCK))
        };
        (0..SQUARE).map(value).collect()
    }

    /// Puts codes and scales on the device.
    fn upload(&self, device: &Device) -> Result<[Buffer; 2]> {
        let blocks = SQUARE / BLOCK;
        let mut scales = vec![0; SQUARE * blocks];
        for (row, block) in (0..SQUARE).flat_map(|row| (0..blocks).map(move |block| (row, block))) {
            scales[scale_offset(row, block, blocks)] = self.scale(row, block);
        }
        let codes: Vec<u8> = (0..SQUARE * SQUARE / 2).map(|index| self.pair(index)).collect();
        let upload = |what, bytes: Vec<u8>| -> Result<Buffer> {
            let buffer = device.allocate(what, bytes.len())?;
            let words = bytes.as_chunks().0.iter().map(|pair| u16::from_le_bytes(*pair));
            device.upload(&buffer, &words.collect::<Vec<_>>())?;
            Ok(buffer)
        };
        Ok([upload("FP4 codes", codes)?, upload("FP4 scales", scales)?])
    }
}

/// The best rate of the product.
///
/// # Errors
/// If the library has no way to compute it here, or the outputs are wrong.
pub(super) fn peak(device: &Device, lt: &Lt, seed: u32, clock: &Clock) -> Result<Peak> {
    let [w, x] = [1, 2].map(|stream| Codes(Hash::stream(seed, u32::MAX - stream, 1.0)));
    let ([w_codes, w_scales], [x_codes, x_scales]) = (w.upload(device)?, x.upload(device)?);
    let y = device.allocate("outputs", SQUARE * SQUARE * 2)?;
    let operands = Operands {
        w: w_codes.address(),
        w_scales: w_scales.address(),
        x: x_codes.address(),
        x_scales: x_scales.address(),
        y: y.address(),
    };
    let plan = Plan::new(lt, Kind::Nvfp4, [SQUARE; 3], operands)?;
    let run = |choice| plan.run_choice(choice, device, lt, operands);
    let time = fastest(device, clock, plan.proposals(), run)?;
    let rows = |of: &Codes| CHECKED.map(|row| of.row(row)).to_vec();
    let mut measured = Vec::new();
    for token in CHECKED {
        let row = device.download(&y, token * SQUARE * 2, SQUARE * 2)?;
        let value = |channel: usize| bf16::from_le_bytes([row[2 * channel], row[2 * channel + 1]]);
        measured.extend(CHECKED.map(|channel| f64::from(value(channel).to_f32())));
    }
    let error = relative_error(&products(&rows(&x), &rows(&w)), &measured);
    let bound = fp8_kernel_bound(SQUARE);
    ensure!(
        error <= bound,
        "outputs of the FP4 product are off by {error:.3}, and {bound:.3} is the bound"
    );
    let how = "cuBLASLt e2m1 with e4m3 scales for blocks of 16, outputs checked";
    Ok(of_square("nvfp4", time, plan.proposals(), how))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_lie_in_tiles_as_the_manual_of_cublas_draws_them() {
        let blocks = 8;
        for ((row, block), offset) in [
            ((0, 0), 0),
            ((0, 3), 3),
            ((1, 0), 16),
            ((31, 0), 496),
            ((32, 0), 4),
            ((64, 1), 9),
            ((127, 3), 511),
            // The tile to the right, then the tiles below.
            ((0, 4), 512),
            ((128, 0), 1024),
        ] {
            assert_eq!(scale_offset(row, block, blocks), offset, "row {row}, block {block}");
        }
        let mut all: Vec<_> = (0..256)
            .flat_map(|row| (0..blocks).map(move |block| scale_offset(row, block, blocks)))
            .collect();
        all.sort_unstable();
        assert!(
            all.into_iter().eq(0..256 * blocks),
            "each scale has its own place, and none is empty"
        );
    }

    #[test]
    fn a_row_has_the_values_of_the_codes_that_are_uploaded() {
        let codes = Codes(Hash::stream(1, 2, 1.0));
        let (row, pair) = (codes.row(3), codes.pair(3 * SQUARE / 2 + 8));
        let scale = float8::decode(codes.scale(3, 1));
        assert!((0.5..2.0).contains(&scale), "{scale}");
        assert_eq!(
            row[16..18],
            [float4::decode(pair & 15) * scale, float4::decode(pair >> 4) * scale]
        );
    }

    #[test]
    fn a_step_is_left_out_for_want_of_the_device_below_blackwell_and_of_a_kernel_above() {
        assert!(no_step((9, 0)).contains("need compute capability 10.0 and this device has 9.0"));
        for capability in [(10, 0), (12, 0)] {
            assert!(no_step(capability).contains("no kernel"), "{capability:?}");
        }
    }
}
