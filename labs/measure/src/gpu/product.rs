//! One product: how it is computed in each format.

use anyhow::{Result, anyhow};

use super::bench::{Bench, LARGEST_PAD, Linear};
use super::cuda::lt::{Operands, Plan};
use super::cuda::{Arg, Buffer, Kernel};
use super::gpu_format::Format;
use super::pack::{GROUP, TILE};
use super::work::Shape;

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
