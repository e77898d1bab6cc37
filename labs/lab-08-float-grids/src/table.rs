//! Table grids: their types, and the tables that NF4 and its double quantization are made of.

/// Values in blocks that share a largest magnitude, as codes of a table. The last block may be short.
#[derive(Clone, Debug, PartialEq)]
pub struct TableBlocks {
    /// The place of each value in the table.
    pub codes: Vec<u8>,
    /// The largest magnitude of each block.
    pub absmax: Vec<f32>,
    /// Values of a block.
    pub block: usize,
}

/// The scales of NF4 in eight bits: what is left of each after the mean is taken away, as codes of
/// a table of 256, [`dynamic_table`].
#[derive(Clone, Debug, PartialEq)]
pub struct DoubleScales {
    /// The mean of the scales.
    pub mean: f32,
    /// Scales less the mean, in blocks of [`DOUBLE_BLOCK`](crate::DOUBLE_BLOCK).
    pub rest: TableBlocks,
}

/// The value below which a standard normal variate lies with probability `p`, in (0, 1).
pub fn normal_quantile(p: f64) -> f64 {
    // Halved until the ends are neighbours: 40 standard deviations, and the 53 bits of an f64.
    let (mut low, mut high) = (-40.0, 40.0);
    for _ in 0..64 {
        let middle = (low + high) / 2.0;
        let below = libm::erfc(-middle / std::f64::consts::SQRT_2) / 2.0;
        if below < p { low = middle } else { high = middle }
    }
    (low + high) / 2.0
}

/// `count` values from `start` to `end` at equal distances, as `torch.linspace` computes them in `f32`:
/// the first half counted from the start, the second half from the end.
pub fn linspace(start: f32, end: f32, count: u8) -> Vec<f32> {
    let step = (end - start) / (f32::from(count) - 1.0);
    let value = |i: u8| {
        if i < count / 2 {
            start + step * f32::from(i)
        } else {
            end - step * f32::from(count - 1 - i)
        }
    };
    (0..count).map(value).collect()
}

/// The 256 values of bitsandbytes' dynamic map in rising order: for each power of ten from 1e-6 to 1, twice
/// as many values as for the one before, of both signs. A file stores the table that it was made with,
/// whose last bits depend on the vectors that torch had there.
pub fn dynamic_table() -> Vec<f32> {
    let mut table = vec![0.0, 1.0];
    for bits in 0..7u8 {
        let bounds = linspace(0.1, 1.0, (1 << bits) + 1);
        // Rounded before the product, as torch rounds a number that multiplies a tensor of f32.
        let factor = 10f64.powi(i32::from(bits) - 6) as f32;
        let means = bounds.windows(2).map(|ends| factor * ((ends[0] + ends[1]) / 2.0));
        table.extend(means.flat_map(|mean| [mean, -mean]));
    }
    table.sort_by(f32::total_cmp);
    table
}
