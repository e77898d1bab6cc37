//! The buffers of a run, and the weights that are made and stored in them.

use anyhow::Result;

use super::cuda::lt::Lt;
use super::cuda::{Arg, Buffer, Device};
use super::gpu_format::Format;
use super::hash::Hash;
use super::pack::{GROUP, TILE};
use super::slice::RealWeights;
use super::work::Shape;

/// Where weights come from.
#[derive(Clone, Copy)]
pub enum Source<'a> {
    /// Random numbers that the CPU knows too.
    Random(Hash),
    /// Real weights, tiled; the same on the host and on the device.
    Real(&'a RealWeights, &'a Buffer),
}

impl Source<'_> {
    /// The name in captures.
    pub fn name(self) -> &'static str {
        match self {
            Self::Random(_) => "random",
            Self::Real(..) => "real slice, tiled",
        }
    }

    /// Row `row` of a weight with `columns` inputs, before it is quantized.
    pub fn row(&self, row: usize, columns: usize) -> Vec<f32> {
        match self {
            Self::Random(hash) => {
                let start = (row * columns) as u64;
                (start..start + columns as u64).map(|i| hash.value(i)).collect()
            }
            Self::Real(weights, _) => weights.tiled_row(row, columns),
        }
    }
}

/// Buffers that all products of a run share, large enough for the largest.
pub struct Bench<'d> {
    /// The GPU.
    pub device: &'d Device,
    /// The library of dense products.
    pub lt: &'d Lt,
    /// Activations in bf16, filled by [`Bench::x_source`].
    pub x: Buffer,
    /// Output, bf16.
    pub y: Buffer,
    /// Activations as 8-bit codes.
    pub x_codes: Buffer,
    /// Their scales, f32: one, or one a token.
    pub x_scales: Buffer,
    /// The seed of the run.
    pub seed: u32,
    pub(super) absmax: Buffer,
    pub(super) sums: Buffer,
    pub(super) scratch: Buffer,
}

/// Tokens are padded to at most this many where a library wants more than there are.
pub(super) const LARGEST_PAD: usize = 32;

impl<'d> Bench<'d> {
    /// Buffers for up to `tokens` tokens of any of `shapes`.
    pub fn new(
        device: &'d Device,
        lt: &'d Lt,
        shapes: &[Shape],
        tokens: usize,
        seed: u32,
    ) -> Result<Self> {
        let largest = |of: fn(&Shape) -> usize| shapes.iter().map(of).max().unwrap_or(0);
        let (out, inputs) = (largest(|s| s.out_features), largest(|s| s.in_features));
        let tokens = tokens.max(LARGEST_PAD);
        let weights = largest(|s| s.weights());
        let bench = Self {
            device,
            lt,
            x: device.allocate("activations", tokens * inputs * 2)?,
            y: device.allocate("outputs", tokens * out * 2)?,
            x_codes: device.allocate("activation codes", tokens * inputs)?,
            x_scales: device.allocate("activation scales", tokens * 4)?,
            seed,
            absmax: device.allocate("row maxima", tokens.max(out) * 4)?,
            sums: device.allocate("int32 sums", tokens * out * 4)?,
            scratch: device.allocate("one weight in bf16", weights * 2)?,
        };
        bench.fill_random(&bench.x, tokens * inputs, bench.x_source())?;
        // Padding tokens are never quantized: give them codes that are numbers in both 8-bit grids.
        bench.quantize(Format::Fp8Channel, &bench.x, tokens, inputs)?;
        device.wait()?;
        Ok(bench)
    }

    /// The numbers in [`Bench::x`]: value `token * in_features + input`.
    pub fn x_source(&self) -> Hash {
        Hash::stream(self.seed, 0, 1.0)
    }

    fn fill_random(&self, to: &Buffer, count: usize, hash: Hash) -> Result<()> {
        let count = Arg::Long(count as u64);
        let arguments = [to.arg(), count, Arg::Bits(hash.seed), Arg::Float(hash.sigma)];
        self.start_everywhere("fill_random", &arguments)
    }

    /// Writes `source` in bf16, `[out, in]`, to `to`.
    fn fill(&self, to: &Buffer, shape: Shape, source: Source) -> Result<()> {
        let (weights, slice) = match source {
            Source::Random(hash) => return self.fill_random(to, shape.weights(), hash),
            Source::Real(weights, slice) => (weights, slice),
        };
        let arguments = [
            to.arg(),
            slice.arg(),
            Arg::Int(shape.out_features),
            Arg::Int(shape.in_features),
            Arg::Int(weights.rows),
            Arg::Int(weights.columns),
        ];
        self.start_everywhere("fill_tiled", &arguments)
    }

    /// Starts a kernel whose threads stride over all values: eight blocks a multiprocessor, so that
    /// memory is the limit and not the number of loads in flight.
    fn start_everywhere(&self, name: &str, arguments: &[Arg]) -> Result<()> {
        let blocks = self.device.facts().multiprocessors as usize * 8;
        self.start(name, [blocks, 1], 256, arguments)
    }

    pub(super) fn start(
        &self,
        name: &str,
        grid: [usize; 2],
        threads: usize,
        arguments: &[Arg],
    ) -> Result<()> {
        self.device.launch(self.device.kernel(name)?, grid, threads, 0, arguments)
    }

    /// Makes and stores the weight of `shape` in `format`.
    ///
    /// # Errors
    /// If there is no memory for it, or a kernel fails.
    pub fn load(&self, format: Format, shape: Shape, source: Source) -> Result<Linear> {
        let allocate =
            |what: &str, bytes| self.device.allocate(&format!("{what} of {}", shape.name), bytes);
        let (n, k) = (shape.out_features, shape.in_features);
        if format == Format::Bf16 {
            let codes = allocate("bf16 weights", n * k * 2)?;
            self.fill(&codes, shape, source)?;
            return Ok(Linear { shape, codes, scales: None });
        }
        self.fill(&self.scratch, shape, source)?;
        if format == Format::W4A16 {
            let (tiles, groups) = (n.div_ceil(TILE), k / GROUP);
            let codes = allocate("int4 weights", tiles * groups * 1024)?;
            let scales = allocate("int4 scales", tiles * groups * 32)?;
            let arguments =
                [self.scratch.arg(), codes.arg(), scales.arg(), Arg::Int(n), Arg::Int(k)];
            self.start("pack_w4", [groups, tiles], 128, &arguments)?;
            return Ok(Linear { shape, codes, scales: Some(scales) });
        }
        let codes = allocate("8-bit weights", n * k)?;
        let count = if format == Format::Fp8Tensor { 1 } else { n };
        let scales = allocate("weight scales", count * 4)?;
        self.quantize_rows(format, &self.scratch, &codes, &scales, n, k)?;
        Ok(Linear { shape, codes, scales: Some(scales) })
    }

    /// Quantizes `tokens` rows of `x` into the bench's codes and scales. Nothing where the format
    /// leaves activations in 16 bits.
    pub fn quantize(&self, format: Format, x: &Buffer, tokens: usize, inputs: usize) -> Result<()> {
        self.quantize_rows(format, x, &self.x_codes, &self.x_scales, tokens, inputs)
    }

    fn quantize_rows(
        &self,
        format: Format,
        from: &Buffer,
        codes: &Buffer,
        scales: &Buffer,
        rows: usize,
        k: usize,
    ) -> Result<()> {
        let grid = [rows, 1];
        let by_row = [from.arg(), codes.arg(), scales.arg(), Arg::Int(k)];
        match format {
            Format::Bf16 | Format::W4A16 => Ok(()),
            Format::Fp8Channel => self.start("quantize_fp8_rows", grid, 256, &by_row),
            Format::Int8 => self.start("quantize_int8_rows", grid, 256, &by_row),
            Format::Fp8Tensor => {
                let maxima = [from.arg(), self.absmax.arg(), Arg::Int(k)];
                self.start("absmax_rows", grid, 256, &maxima)?;
                let arguments = [
                    from.arg(),
                    codes.arg(),
                    self.absmax.arg(),
                    scales.arg(),
                    Arg::Int(rows),
                    Arg::Int(k),
                ];
                self.start("quantize_fp8_tensor", grid, 256, &arguments)
            }
        }
    }
}

/// A stored weight.
pub struct Linear {
    /// Its shape.
    pub shape: Shape,
    /// bf16 numbers, 8-bit codes, or packed int4 words.
    pub codes: Buffer,
    /// One f32, one f32 a channel, or packed bf16 pairs a group; none for bf16.
    pub scales: Option<Buffer>,
}

impl Linear {
    /// Bytes it takes.
    pub fn bytes(&self) -> usize {
        self.codes.bytes() + self.scales.as_ref().map_or(0, Buffer::bytes)
    }

    pub(super) fn scales_address(&self) -> u64 {
        self.scales.as_ref().map_or(0, Buffer::address)
    }
}
