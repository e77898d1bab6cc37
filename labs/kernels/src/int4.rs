//! Weights of 4 bits with a scale for each group.

use half::f16;
use ndarray::{Array2, ArrayView2, Axis};

use crate::KernelError;
use crate::int8::in_panel;
use crate::loops::{self, BLOCK, MostTokens, OFFSET_4, Quad4, ROWS};
use crate::panels::{Interleaved, Tile, by_panels};
use crate::tokens::{PerGroup, check_features, padded};

/// int4 weights in groups along a row, with an `f16` scale for each group, laid out for the products.
#[derive(Clone, Debug, PartialEq)]
pub struct Int4 {
    /// `[panels, groups, quads of a group]`. Padding is 0, and adds nothing to a sum.
    panels: Vec<Quad4>,
    /// `[panels, groups]`.
    scales: Vec<[f16; ROWS]>,
    out_features: usize,
    in_features: usize,
    group_size: usize,
}

impl Int4 {
    /// Takes codes, `[out_features, in_features]`, each in -8..=7, and the scales of their groups,
    /// `[out_features, in_features / group_size]`.
    ///
    /// # Errors
    /// [`KernelError::ScalesDoNotFit`] if the scales do not cut every row into equal groups,
    /// [`KernelError::CodeOutOfRange`].
    pub fn new(codes: &Array2<i8>, scales: &Array2<f16>) -> Result<Self, KernelError> {
        let (out_features, in_features) = codes.dim();
        let groups = scales.ncols();
        let fits = groups > 0 && in_features > 0 && in_features.is_multiple_of(groups);
        if !fits || scales.nrows() != out_features {
            let (scales, codes) = ([scales.nrows(), groups], [out_features, in_features]);
            return Err(KernelError::ScalesDoNotFit { scales, codes });
        }
        if let Some(((row, column), &code)) =
            codes.indexed_iter().find(|(_, code)| !(-8..=7).contains(*code))
        {
            let range = "-8..=7";
            return Err(KernelError::CodeOutOfRange { row, column, code, range });
        }
        let group_size = in_features / groups;
        Ok(Self {
            panels: packed(codes, group_size),
            scales: scales.axis_chunks_iter(Axis(0), ROWS).flat_map(scales_of_panel).collect(),
            out_features,
            in_features,
            group_size,
        })
    }

    /// Rows.
    pub fn out_features(&self) -> usize {
        self.out_features
    }

    /// Weights in a row.
    pub fn in_features(&self) -> usize {
        self.in_features
    }

    /// Weights that share a scale.
    pub fn group_size(&self) -> usize {
        self.group_size
    }

    /// Bytes that a product reads: half a byte a code and two bytes a scale, with rows padded to a
    /// multiple of 16 and groups to a multiple of 4.
    pub fn memory_bytes(&self) -> usize {
        size_of_val(&self.panels[..]) + size_of_val(&self.scales[..])
    }

    fn groups(&self) -> usize {
        self.in_features / self.group_size
    }

    /// Features of a row with the padding that fills each group up to whole quads.
    fn padded_features(&self) -> usize {
        self.groups() * self.group_size.next_multiple_of(4)
    }

    fn panel_bytes(&self) -> usize {
        size_of::<Quad4>() * self.padded_features() / 4
    }

    fn panel(&self, panel: usize) -> (&[Quad4], &[[f16; ROWS]]) {
        let (quads, groups) = (self.padded_features() / 4, self.groups());
        (&self.panels[panel * quads..][..quads], &self.scales[panel * groups..][..groups])
    }

    /// `x @ W.T` with activations in `f32`. For one token the codes are decoded in registers, and each
    /// group is multiplied by its scale once. For several tokens a panel is decoded to `f32` first,
    /// because the cost of decoding is then shared by the tokens.
    ///
    /// `x` is `[tokens, in_features]`, the result `[tokens, out_features]`.
    ///
    /// # Errors
    /// [`KernelError::FeaturesDiffer`].
    pub fn w4a16(&self, x: &Array2<f32>) -> Result<Array2<f32>, KernelError> {
        check_features(x, self.in_features)?;
        let rows = &padded(x, self.group_size, self.group_size.next_multiple_of(4))[..];
        let features = self.padded_features();
        let several = (x.nrows() > 1).then(|| Interleaved::of_rows(rows, features));
        Ok(by_panels(x.nrows(), self.out_features, self.in_features, |mut piece| {
            let Some(several) = &several else {
                return piece.in_tiles(self.panel_bytes(), 1, |panel| {
                    let (w, scales) = self.panel(panel);
                    OneToken { w, scales, x: rows }
                });
            };
            let expand = |panel, numbers: &mut [_]| {
                let (w, scales) = self.panel(panel);
                loops::expand4(w, scales, numbers);
            };
            piece.in_tiles_of_numbers(several, expand, |_| None);
        }))
    }

    /// `x @ W.T` with the activations in 8 bits: each group of a token is quantized with its own
    /// scale, `absmax / 127`, half to even. Inside each 32 features the sums are exact in integers,
    /// and go to the result as `sum * (scale of the weights * scale of the activations)`. This is how
    /// llama.cpp multiplies Q4_0 with Q8_0, whose groups are of 32.
    ///
    /// `x` is `[tokens, in_features]`, the result `[tokens, out_features]`.
    ///
    /// # Errors
    /// [`KernelError::FeaturesDiffer`], [`KernelError::NotFinite`], [`KernelError::GroupSize`] if
    /// the group size is no multiple of 32.
    pub fn w4a8(&self, x: &Array2<f32>) -> Result<Array2<f32>, KernelError> {
        check_features(x, self.in_features)?;
        if !self.group_size.is_multiple_of(BLOCK) {
            return Err(KernelError::GroupSize(self.group_size));
        }
        let tokens = x.nrows();
        let x = &PerGroup::quantize(x, self.group_size)?;
        Ok(by_panels(tokens, self.out_features, self.in_features, |mut piece| {
            piece.in_tiles(self.panel_bytes(), MostTokens::here().w4a8, |panel| {
                let (w, scales) = self.panel(panel);
                W4A8 { w, scales, x }
            });
        }))
    }
}

/// The codes in panels.
fn packed(codes: &Array2<i8>, group_size: usize) -> Vec<Quad4> {
    let (out_features, in_features) = codes.dim();
    let in_group = group_size.div_ceil(4);
    let quads = in_features / group_size * in_group;
    // Padding is the code 0, which is stored as 8 in both nibbles.
    let zeros = OFFSET_4.cast_unsigned() * 0x11;
    let mut panels = vec![[zeros; 2 * ROWS]; out_features.div_ceil(ROWS) * quads];
    for ((row, feature), &code) in codes.indexed_iter() {
        let place = feature % group_size;
        let quad = feature / group_size * in_group + place / 4;
        let row_in_half = row % (ROWS / 2);
        let byte = &mut panels[row / ROWS * quads + quad][4 * row_in_half + place % 4];
        let nibble = (code + OFFSET_4).cast_unsigned();
        *byte =
            if row % ROWS < ROWS / 2 { *byte & 0xF0 | nibble } else { *byte & 0x0F | nibble << 4 };
    }
    panels
}

/// From the scales of at most 16 rows, `[rows, groups]`, to one array a group.
fn scales_of_panel(scales: ArrayView2<f16>) -> Vec<[f16; ROWS]> {
    let columns = scales.columns().into_iter();
    columns.map(|column| in_panel(f16::ZERO)(&column.to_vec())).collect()
}

/// A panel and tokens in 8 bits.
struct W4A8<'a> {
    w: &'a [Quad4],
    scales: &'a [[f16; ROWS]],
    x: &'a PerGroup,
}

impl Tile for W4A8<'_> {
    fn run<const T: usize>(&self, first: usize) -> [[f32; ROWS]; T] {
        loops::w4a8::<T>(self.w, self.scales, self.x.at(first))
    }
}

/// A panel and one token.
struct OneToken<'a> {
    w: &'a [Quad4],
    scales: &'a [[f16; ROWS]],
    x: &'a [f32],
}

impl Tile for OneToken<'_> {
    fn run<const T: usize>(&self, _: usize) -> [[f32; ROWS]; T] {
        // `T` is 1, because no other tile is asked for.
        [loops::w4a16(self.w, self.scales, self.x.as_chunks().0); T]
    }
}
