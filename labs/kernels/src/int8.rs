//! Weights of 8 bits with a scale for each row.

use ndarray::Array2;

use crate::KernelError;
use crate::loops::{self, MostTokens, OFFSET_8, Quad8, ROWS};
use crate::panels::{Interleaved, Tile, by_panels};
use crate::tokens::{PerToken, check_features, padded};

/// An `i32` holds the sum of so many products, each at most 128 * 127.
const MOST_FEATURES: usize = i32::MAX as usize / (128 * 127);

/// int8 weights with an `f32` scale for each row (output channel), laid out for the products.
#[derive(Clone, Debug, PartialEq)]
pub struct Int8 {
    /// `[panels, quads]`. Padding is the code 0, and adds nothing to a sum.
    panels: Vec<Quad8>,
    /// One array a panel.
    scales: Vec<[f32; ROWS]>,
    out_features: usize,
    in_features: usize,
}

impl Int8 {
    /// Takes codes, `[out_features, in_features]`, and the scale of each row. The products are exact
    /// for every code, also for -128, which the grid of the labs leaves out.
    ///
    /// # Errors
    /// [`KernelError::ScalesDoNotFit`] if there is not one scale a row,
    /// [`KernelError::TooManyFeatures`] from 132,105 features on.
    pub fn new(codes: &Array2<i8>, scales: &[f32]) -> Result<Self, KernelError> {
        let (out_features, in_features) = codes.dim();
        if scales.len() != out_features {
            let (scales, codes) = ([scales.len(), 1], [out_features, in_features]);
            return Err(KernelError::ScalesDoNotFit { scales, codes });
        }
        if in_features > MOST_FEATURES {
            let (found, limit) = (in_features, MOST_FEATURES);
            return Err(KernelError::TooManyFeatures { found, limit });
        }
        let quads = in_features.div_ceil(4);
        let mut panels = vec![[OFFSET_8 as u8; 4 * ROWS]; out_features.div_ceil(ROWS) * quads];
        for ((row, feature), &code) in codes.indexed_iter() {
            let quad = &mut panels[row / ROWS * quads + feature / 4];
            quad[4 * (row % ROWS) + feature % 4] = (i32::from(code) + OFFSET_8) as u8;
        }
        let scales = scales.chunks(ROWS).map(in_panel(0.0)).collect();
        Ok(Self { panels, scales, out_features, in_features })
    }

    /// Rows.
    pub fn out_features(&self) -> usize {
        self.out_features
    }

    /// Weights in a row.
    pub fn in_features(&self) -> usize {
        self.in_features
    }

    /// Bytes that a product reads: one a code and four a scale, with rows padded to a multiple of 16.
    pub fn memory_bytes(&self) -> usize {
        size_of_val(&self.panels[..]) + size_of_val(&self.scales[..])
    }

    /// Row `row` as numbers, each code times the scale; `None` if there are fewer rows.
    pub fn row(&self, row: usize) -> Option<Vec<f32>> {
        if row >= self.out_features {
            return None;
        }
        let (panel, lane) = (self.panel(row / ROWS), row % ROWS);
        let scale = self.scales[row / ROWS][lane];
        let code =
            |feature: usize| i32::from(panel[feature / 4][4 * lane + feature % 4]) - OFFSET_8;
        Some((0..self.in_features).map(|feature| code(feature) as f32 * scale).collect())
    }

    fn quads(&self) -> usize {
        self.in_features.div_ceil(4)
    }

    fn panel_bytes(&self) -> usize {
        size_of::<Quad8>() * self.quads()
    }

    fn panel(&self, panel: usize) -> &[Quad8] {
        &self.panels[panel * self.quads()..][..self.quads()]
    }

    /// `x @ W.T` with the activations in 8 bits as well: each token is quantized with its own scale,
    /// `absmax / 127`, half to even. The sums are exact in `i32`, and each result is
    /// `sum * scale of the token * scale of the row`, in this order.
    ///
    /// `x` is `[tokens, in_features]`, the result `[tokens, out_features]`.
    ///
    /// # Errors
    /// [`KernelError::FeaturesDiffer`], [`KernelError::NotFinite`].
    pub fn w8a8(&self, x: &Array2<f32>) -> Result<Array2<f32>, KernelError> {
        check_features(x, self.in_features)?;
        Ok(self.product(x.nrows(), &PerToken::quantize(x, None)?))
    }

    /// As [`Int8::w8a8`], with a given scale for each token, as per-tensor and static quantization
    /// have. Values beyond 127 steps are clipped.
    ///
    /// # Errors
    /// As [`Int8::w8a8`], and [`KernelError::ScalesDoNotFit`] if there is not one scale a token.
    pub fn w8a8_scaled(&self, x: &Array2<f32>, scales: &[f32]) -> Result<Array2<f32>, KernelError> {
        check_features(x, self.in_features)?;
        if scales.len() != x.nrows() {
            let (scales, codes) = ([scales.len(), 1], [x.nrows(), x.ncols()]);
            return Err(KernelError::ScalesDoNotFit { scales, codes });
        }
        Ok(self.product(x.nrows(), &PerToken::quantize(x, Some(scales))?))
    }

    fn product(&self, tokens: usize, x: &PerToken) -> Array2<f32> {
        by_panels(tokens, self.out_features, self.in_features, |mut piece| {
            piece.in_tiles(self.panel_bytes(), MostTokens::here().w8a8, |panel| W8A8 {
                w: self.panel(panel),
                scales: &self.scales[panel],
                x,
            });
        })
    }

    /// `x @ W.T` with activations in `f32`. Each row is summed in its codes and multiplied by its scale
    /// once.
    ///
    /// `x` is `[tokens, in_features]`, the result `[tokens, out_features]`.
    ///
    /// # Errors
    /// [`KernelError::FeaturesDiffer`].
    pub fn w8a16(&self, x: &Array2<f32>) -> Result<Array2<f32>, KernelError> {
        check_features(x, self.in_features)?;
        let features = 4 * self.quads();
        let rows = &padded(x, self.in_features, features)[..];
        let several = (x.nrows() > 1).then(|| Interleaved::of_rows(rows, features));
        Ok(by_panels(x.nrows(), self.out_features, self.in_features, |mut piece| {
            let Some(several) = &several else {
                return piece.in_tiles(self.panel_bytes(), 1, |panel| OneToken {
                    w: self.panel(panel),
                    scales: &self.scales[panel],
                    x: rows,
                });
            };
            // Codes are converted to `f32` once for all tokens.
            piece.in_tiles_of_numbers(
                several,
                |panel, numbers| loops::expand8(self.panel(panel), numbers),
                |panel| Some(&self.scales[panel]),
            );
        }))
    }
}

/// The values of a panel's rows, padded with `rest`.
pub(crate) fn in_panel<Value: Copy>(rest: Value) -> impl Fn(&[Value]) -> [Value; ROWS] {
    move |values| std::array::from_fn(|row| values.get(row).copied().unwrap_or(rest))
}

/// A panel and tokens in 8 bits.
struct W8A8<'a> {
    w: &'a [Quad8],
    scales: &'a [f32; ROWS],
    x: &'a PerToken,
}

impl Tile for W8A8<'_> {
    fn run<const T: usize>(&self, first: usize) -> [[f32; ROWS]; T] {
        let sums = loops::w8a8::<T>(self.w, self.x.at(first));
        let mut results = [[0.0; ROWS]; T];
        for t in 0..T {
            let of_token = self.x.scales[first + t];
            for row in 0..ROWS {
                results[t][row] = sums[t][row] as f32 * of_token * self.scales[row];
            }
        }
        results
    }
}

/// A panel and one token.
struct OneToken<'a> {
    w: &'a [Quad8],
    scales: &'a [f32; ROWS],
    x: &'a [f32],
}

impl Tile for OneToken<'_> {
    fn run<const T: usize>(&self, _: usize) -> [[f32; ROWS]; T] {
        let mut sums = loops::w8a16(self.w, self.x.as_chunks().0);
        sums.iter_mut().zip(self.scales).for_each(|(sum, scale)| *sum *= scale);
        // `T` is 1, because no other tile is asked for.
        [sums; T]
    }
}
