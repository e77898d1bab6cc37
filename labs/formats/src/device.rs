//! What a device can do at most: its memory, its bandwidth, and its rates by grid.

/// Memory, bandwidth and rates of a device. Of a published one they are those of its data sheet, without sparsity;
/// of a reader's own machine they are what it measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Device {
    /// Bytes of memory. A data sheet says GB, and they are taken as 10⁹ bytes; a driver may report
    /// more or less, and an engine goes by the driver.
    pub memory_bytes: u64,
    /// Bytes that it reads in a second.
    pub bytes_per_s: f64,
    /// Operations that it does in a second; a multiply-add is two.
    pub operations_per_s: Rates,
}

/// Operations in a second, by the grid of the operands. `None` where the device has no such unit, or
/// where nobody said.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rates {
    /// `f32`.
    pub f32: Option<f64>,
    /// `bf16` and `f16`, summed in `f32`: the unit of everything that is not quantized. Of an engine
    /// that computes in `f32` where others take 16 bits, what it reaches in that.
    pub sixteen: Option<f64>,
    /// FP8 E4M3.
    pub fp8: Option<f64>,
    /// int8, summed in `i32`.
    pub int8: Option<f64>,
    /// FP4 E2M1.
    pub fp4: Option<f64>,
}

/// Five GPUs of servers as "Machine Learning Engineering" (Bekman, the chapter on accelerators at commit
/// 744d01e) collects their data sheets, columns "without sparsity", and four of desktops as gpumap
/// (`nvidia/GPU.md` at commit 8d5e174) does.
///
/// A GeForce sums 16-bit and FP8 products in `f32` at half the rate of sums in `f16`. The rates here are
/// those of sums in `f32`, because the kernels of the engines sum in `f32`.
pub const PUBLISHED: [(&str, Device); 9] = [
    ("A100 SXM", A100),
    ("L40S", L40S),
    ("H100 SXM", H100),
    ("H200 SXM", H200),
    ("B200 SXM", B200),
    ("RTX 4070 Ti", RTX_4070_TI),
    ("RTX 4080", RTX_4080),
    ("RTX 4090", RTX_4090),
    ("RTX 5090", RTX_5090),
];

/// A100 SXM, 80 GB.
pub const A100: Device = sheet(80, 2.0e12, 312e12, None, 624e12, None);
/// L40S.
pub const L40S: Device = sheet(48, 0.86e12, 362e12, Some(733e12), 733e12, None);
/// H100 SXM.
pub const H100: Device = sheet(80, 3.35e12, 989e12, Some(1979e12), 1979e12, None);
/// H200 SXM.
pub const H200: Device = sheet(141, 4.80e12, 989e12, Some(1979e12), 1979e12, None);
/// B200 SXM.
pub const B200: Device = sheet(180, 8.0e12, 2250e12, Some(4500e12), 4500e12, Some(9000e12));

/// GeForce RTX 4070 Ti, 12 GB.
pub const RTX_4070_TI: Device = sheet(12, 0.504e12, 80e12, Some(160e12), 321e12, None);
/// GeForce RTX 4080, 16 GB.
pub const RTX_4080: Device = sheet(16, 0.717e12, 97e12, Some(195e12), 390e12, None);
/// GeForce RTX 4090, 24 GB.
pub const RTX_4090: Device = sheet(24, 1.008e12, 165e12, Some(330e12), 661e12, None);
/// GeForce RTX 5090, 32 GB. FP4 is half of the 3,352 TOPS of sparse matrices that its maker advertises.
pub const RTX_5090: Device = sheet(32, 1.792e12, 210e12, Some(419e12), 838e12, Some(1676e12));

const fn sheet(
    gigabytes: u64,
    bytes_per_s: f64,
    sixteen: f64,
    fp8: Option<f64>,
    int8: f64,
    fp4: Option<f64>,
) -> Device {
    let operations_per_s = Rates { f32: None, sixteen: Some(sixteen), fp8, int8: Some(int8), fp4 };
    Device { memory_bytes: gigabytes * 1_000_000_000, bytes_per_s, operations_per_s }
}
