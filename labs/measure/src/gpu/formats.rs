//! The formats: how weights are stored, and how a product is computed from them.

use anyhow::{Result, anyhow};
use clap::ValueEnum;

use crate::gpu::cuda::lt::{Kind, Lt, Operands, Plan};
use crate::gpu::cuda::{Arg, Buffer, Device, Kernel};
use crate::gpu::numbers::Hash;
use crate::gpu::pack::{GROUP, TILE};
use crate::gpu::slice::RealWeights;
use crate::gpu::work::Shape;

/// A format of the course, as the meters see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// bf16 weights and activations.
    Bf16,
    /// FP8 W8A8: e4m3, one scale a tensor, dynamic for activations.
    Fp8Tensor,
    /// FP8 W8A8: e4m3, one scale a channel and, dynamic, one a token.
    Fp8Channel,
    /// INT8 W8A8: one scale a channel and, dynamic, one a token.
    Int8,
    /// int4 weights in groups of 128, bf16 activations.
    #[value(name = "w4a16-g128")]
    W4A16,
}

impl Format {
    /// All of them; the one with the most code of our own last, because an illegal address in a
    /// kernel ends the device's context for everything after it.
    pub const ALL: [Self; 5] =
        [Self::Bf16, Self::Fp8Tensor, Self::Fp8Channel, Self::Int8, Self::W4A16];

    /// The name in captures and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bf16 => "bf16",
            Self::Fp8Tensor => "fp8-tensor",
            Self::Fp8Channel => "fp8-channel",
            Self::Int8 => "int8",
            Self::W4A16 => "w4a16-g128",
        }
    }

    /// Whether the activations are quantized too.
    pub fn quantizes_activations(self) -> bool {
        matches!(self, Self::Fp8Tensor | Self::Fp8Channel | Self::Int8)
    }

    /// The least compute capability that has it: bf16 came with Ampere, e4m3 products with Ada, and
    /// the library's scales per row with Hopper.
    pub fn least_capability(self) -> (u32, u32) {
        match self {
            Self::Bf16 | Self::Int8 | Self::W4A16 => (8, 0),
            Self::Fp8Tensor => (8, 9),
            Self::Fp8Channel => (9, 0),
        }
    }

    fn kind(self) -> Kind {
        match self {
            Self::Bf16 | Self::W4A16 => Kind::Bf16,
            Self::Fp8Tensor => Kind::Fp8Tensor,
            Self::Fp8Channel => Kind::Fp8Rows,
            Self::Int8 => Kind::Int8,
        }
    }
}

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
    absmax: Buffer,
    sums: Buffer,
    scratch: Buffer,
}

/// Tokens are padded to at most this many where a library wants more than there are.
const LARGEST_PAD: usize = 32;

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
        let arguments =
            [to.arg(), Arg::Long(count as u64), Arg::Bits(hash.seed), Arg::Float(hash.sigma)];
        self.start(
            "fill_random",
            [self.device.facts().multiprocessors as usize * 8, 1],
            256,
            &arguments,
        )
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
        self.start(
            "fill_tiled",
            [self.device.facts().multiprocessors as usize * 8, 1],
            256,
            &arguments,
        )
    }

    fn start(&self, name: &str, grid: [usize; 2], threads: usize, arguments: &[Arg]) -> Result<()> {
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

    fn scales_address(&self) -> u64 {
        self.scales.as_ref().map_or(0, Buffer::address)
    }
}

/// How the skinny kernel is cut: `(tiles a block, warps a block)`.
const CUTS: [(usize, usize); 9] =
    [(1, 8), (1, 4), (1, 16), (2, 8), (2, 4), (4, 8), (4, 4), (1, 2), (2, 2)];

enum Method {
    /// cuBLASLt on what is stored.
    Dense(Plan),
    /// The W4A16 kernel, at each of [`CUTS`].
    Skinny { kernels: Vec<Kernel>, token_blocks: usize, chosen: usize },
    /// int4 unpacked to bf16 in memory, then cuBLASLt.
    Unpacked(Plan, Kernel),
}

/// One product of a format: a shape and a number of tokens.
pub struct Product {
    format: Format,
    shape: Shape,
    tokens: usize,
    padded: usize,
    method: Method,
}

impl Product {
    /// Finds a way to multiply `tokens` tokens by `shape` in `format`.
    ///
    /// # Errors
    /// If the library has none for this device.
    pub fn new(bench: &Bench, format: Format, shape: Shape, tokens: usize) -> Result<Self> {
        let made = |method, padded| Self { format, shape, tokens, padded, method };
        if format == Format::W4A16 && tokens <= 16 {
            let token_blocks = tokens.div_ceil(8);
            let kernel = |&(tiles, _): &(usize, usize)| {
                bench.device.kernel(&format!("w4a16_r{tiles}_t{token_blocks}"))
            };
            let kernels = CUTS.iter().map(kernel).collect::<Result<_>>()?;
            return Ok(made(Method::Skinny { kernels, token_blocks, chosen: 0 }, tokens));
        }
        let (plan, padded) = padded_plan(bench, format, shape, tokens)?;
        if format == Format::W4A16 {
            let kernel = bench.device.kernel("unpack_w4")?;
            return Ok(made(Method::Unpacked(plan, kernel), padded));
        }
        Ok(made(Method::Dense(plan), padded))
    }

    /// Tokens.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// The path in words.
    pub fn path(&self) -> String {
        let pad = match self.padded == self.tokens {
            true => String::new(),
            false => format!(", padded to {} tokens", self.padded),
        };
        let dense = match self.format {
            Format::Bf16 => "cuBLASLt bf16",
            Format::Fp8Tensor => "quantize per tensor, cuBLASLt e4m3 with fast accumulation",
            Format::Fp8Channel => {
                "quantize per token, cuBLASLt e4m3 with outer-vector scales and fast accumulation"
            }
            Format::Int8 => "quantize per token, cuBLASLt int8 to int32, rescale to bf16",
            Format::W4A16 => "unpack int4 to bf16 in memory, cuBLASLt bf16",
        };
        match &self.method {
            Method::Skinny { chosen, .. } => {
                let (tiles, warps) = CUTS[*chosen];
                format!("own W4A16 kernel, {} channels and {warps} warps a block", tiles * TILE)
            }
            Method::Dense(_) | Method::Unpacked(..) => format!("{dense}{pad}"),
        }
    }

    /// How many ways to compute it can be chosen from; the first is the library's, or ours.
    pub fn choices(&self) -> usize {
        match &self.method {
            Method::Dense(plan) | Method::Unpacked(plan, _) => plan.proposals(),
            Method::Skinny { kernels, .. } => kernels.len(),
        }
    }

    /// Takes choice `index` from now on.
    pub fn choose(&mut self, index: usize) {
        match &mut self.method {
            Method::Dense(plan) | Method::Unpacked(plan, _) => plan.chosen = index,
            Method::Skinny { chosen, .. } => *chosen = index,
        }
    }

    /// Quantizes the activations and multiplies: `y = x @ w.T`.
    pub fn run(&self, bench: &Bench, linear: &Linear, x: &Buffer, y: &Buffer) -> Result<()> {
        self.quantize(bench, x)?;
        self.multiply(bench, linear, x, y)
    }

    /// Quantizes the activations, where the format does.
    pub fn quantize(&self, bench: &Bench, x: &Buffer) -> Result<()> {
        bench.quantize(self.format, x, self.tokens, self.shape.in_features)
    }

    /// Multiplies what [`Product::quantize`] left.
    pub fn multiply(&self, bench: &Bench, linear: &Linear, x: &Buffer, y: &Buffer) -> Result<()> {
        if linear.shape != self.shape {
            return Err(anyhow!("a product of {:?} was given {:?}", self.shape, linear.shape));
        }
        match &self.method {
            Method::Skinny { kernels, token_blocks, chosen } => {
                let (tiles, warps) = CUTS[*chosen];
                let blocks = self.shape.out_features.div_ceil(TILE * tiles);
                let shared = warps * tiles * token_blocks * 128 * 4;
                let arguments = self.skinny_arguments(linear, x, y);
                bench.device.launch(kernels[*chosen], [blocks, 1], warps * 32, shared, &arguments)
            }
            Method::Unpacked(plan, kernel) => {
                let grid = [self.shape.in_features / GROUP, self.shape.out_features.div_ceil(TILE)];
                let arguments = [
                    linear.codes.arg(),
                    Arg::Pointer(linear.scales_address()),
                    bench.scratch.arg(),
                    Arg::Int(self.shape.out_features),
                    Arg::Int(self.shape.in_features),
                ];
                bench.device.launch(*kernel, grid, 64, 0, &arguments)?;
                let operands = self.operands(bench, bench.scratch.address(), 0, x, y);
                plan.run(bench.device, bench.lt, operands)
            }
            Method::Dense(plan) => {
                let (w, scales) = (linear.codes.address(), linear.scales_address());
                plan.run(bench.device, bench.lt, self.operands(bench, w, scales, x, y))?;
                if self.format == Format::Int8 { self.rescale(bench, linear, y) } else { Ok(()) }
            }
        }
    }

    fn skinny_arguments(&self, linear: &Linear, x: &Buffer, y: &Buffer) -> [Arg; 7] {
        [
            linear.codes.arg(),
            Arg::Pointer(linear.scales_address()),
            x.arg(),
            y.arg(),
            Arg::Int(self.shape.out_features),
            Arg::Int(self.shape.in_features),
            Arg::Int(self.tokens),
        ]
    }

    fn operands(&self, bench: &Bench, w: u64, w_scales: u64, x: &Buffer, y: &Buffer) -> Operands {
        let coded = self.format.quantizes_activations();
        Operands {
            w,
            w_scales,
            x: if coded { bench.x_codes.address() } else { x.address() },
            x_scales: bench.x_scales.address(),
            y: if self.format == Format::Int8 { bench.sums.address() } else { y.address() },
        }
    }

    fn rescale(&self, bench: &Bench, linear: &Linear, y: &Buffer) -> Result<()> {
        let n = self.shape.out_features;
        let arguments = [
            bench.sums.arg(),
            bench.x_scales.arg(),
            Arg::Pointer(linear.scales_address()),
            y.arg(),
            Arg::Int(n),
        ];
        bench.start("rescale_int32", [n.div_ceil(1024), self.tokens], 256, &arguments)
    }
}

/// A plan for `tokens`, or for a few more where the library has no way for so few.
fn padded_plan(
    bench: &Bench,
    format: Format,
    shape: Shape,
    tokens: usize,
) -> Result<(Plan, usize)> {
    let mut sizes = vec![tokens];
    if format.quantizes_activations() {
        sizes.extend([tokens.next_multiple_of(16), tokens.next_multiple_of(LARGEST_PAD)]);
    }
    let mut refusal = anyhow!("no size was tried");
    for size in sizes {
        match proven_plan(bench, format, [shape.out_features, shape.in_features, size]) {
            Ok(plan) => return Ok((plan, size)),
            Err(error) => refusal = error,
        }
    }
    Err(refusal)
}

/// A plan whose chosen algorithm has run: some refuse a shape only when they are started. The
/// operands are whatever lies in buffers that are large enough.
fn proven_plan(bench: &Bench, format: Format, shape: [usize; 3]) -> Result<Plan> {
    let operands = Operands {
        w: bench.scratch.address(),
        w_scales: bench.absmax.address(),
        x: bench.x.address(),
        x_scales: bench.x_scales.address(),
        y: bench.sums.address(),
    };
    let mut plan = Plan::new(bench.lt, format.kind(), shape, operands)?;
    let mut refusal = anyhow!("no algorithm was tried");
    for choice in 0..plan.proposals() {
        plan.chosen = choice;
        let started = plan.run(bench.device, bench.lt, operands);
        match started.and_then(|()| bench.device.wait()) {
            Ok(()) => return Ok(plan),
            Err(error) => refusal = error,
        }
    }
    Err(refusal)
}
