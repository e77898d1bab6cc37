//! Products of rows with a Hadamard matrix, in the time of a few passes over the row.

use ndarray::Array2;
use rayon::prelude::*;

use crate::KernelError;
use crate::dispatch::dispatched;

/// Numbers of a task, so that one token is not worth a second thread.
const SHARE: usize = 8192;

/// An orthogonal matrix with one Hadamard matrix in each block of its diagonal:
/// `(A (x) S) / sqrt(order * power)`, where `A` is a Hadamard matrix of a small order and `S` Sylvester's
/// of a power of two. A row has any number of blocks.
#[derive(Clone, Debug, PartialEq)]
pub struct Hadamard {
    /// `A`, row by row.
    small: Vec<f32>,
    order: usize,
    power: usize,
}

impl Hadamard {
    /// Blocks of Sylvester's matrix of `size`.
    ///
    /// # Errors
    /// [`KernelError::Hadamard`] if the size is no power of two.
    pub fn of_power(size: usize) -> Result<Self, KernelError> {
        Self::new(&Array2::from_elem((1, 1), 1), size)
    }

    /// Blocks of `small (x) S`, `small` a Hadamard matrix and `S` Sylvester's of the size `power`.
    ///
    /// # Errors
    /// [`KernelError::Hadamard`] if `small` is no Hadamard matrix, or `power` is no power of two.
    pub fn new(small: &Array2<i8>, power: usize) -> Result<Self, KernelError> {
        let order = small.nrows();
        let signs = small.mapv(i32::from);
        let is_hadamard = small.is_square()
            && small.iter().all(|sign| sign.abs() == 1)
            && signs.dot(&signs.t()) == Array2::from_diag_elem(order, order as i32);
        if order == 0 || !is_hadamard || !power.is_power_of_two() {
            return Err(KernelError::Hadamard { order, power });
        }
        Ok(Self { small: small.iter().map(|&sign| f32::from(sign)).collect(), order, power })
    }

    /// Columns of a block.
    pub fn block(&self) -> usize {
        self.order * self.power
    }

    /// Multiplies each block of each row by the matrix: a row `x` becomes `x H`, block by block.
    ///
    /// # Errors
    /// [`KernelError::Block`] if a row is no whole number of blocks.
    pub fn rotate(&self, x: &mut Array2<f32>) -> Result<(), KernelError> {
        let (block, features) = (self.block(), x.ncols());
        if !features.is_multiple_of(block) {
            return Err(KernelError::Block { features, block });
        }
        if !x.is_standard_layout() {
            *x = x.as_standard_layout().into_owned();
        }
        if let Some(values) = x.as_slice_mut() {
            let whole = block * (SHARE / block).max(1);
            values.par_chunks_mut(whole).for_each(|blocks| {
                let mut room = vec![0.0; if self.order > 1 { block } else { 0 }];
                for one in blocks.chunks_exact_mut(block) {
                    self.rotate_block(one, &mut room);
                }
            });
        }
        Ok(())
    }

    /// As [`Hadamard::rotate`], on one block, with room for a second.
    fn rotate_block(&self, block: &mut [f32], room: &mut [f32]) {
        let scale = 1.0 / (self.block() as f32).sqrt();
        if self.order == 1 {
            return butterflies(block, scale);
        }
        block.chunks_exact_mut(self.power).for_each(|part| butterflies(part, scale));
        mix(&self.small, block, room, self.power);
        block.copy_from_slice(room);
    }
}

dispatched! {
    /// The product with Sylvester's matrix, times `scale`, in place. The length is a power of two.
    fn butterflies(x: &mut [f32], scale: f32) = butterflies_body
}

#[inline(always)]
fn butterflies_body<const FMA: bool>(x: &mut [f32], scale: f32) {
    let mut half = 1;
    while half < x.len() {
        for pair in x.chunks_exact_mut(2 * half) {
            let (low, high) = pair.split_at_mut(half);
            for (low, high) in low.iter_mut().zip(high) {
                (*low, *high) = (*low + *high, *low - *high);
            }
        }
        half *= 2;
    }
    x.iter_mut().for_each(|x| *x *= scale);
}

dispatched! {
    /// `out[i] = sum_j x[j] small[j, i]` for parts of the length `power`.
    fn mix(small: &[f32], x: &[f32], out: &mut [f32], power: usize) = mix_body
}

#[inline(always)]
fn mix_body<const FMA: bool>(small: &[f32], x: &[f32], out: &mut [f32], power: usize) {
    let order = x.len() / power;
    out.fill(0.0);
    for (x, signs) in x.chunks_exact(power).zip(small.chunks_exact(order)) {
        for (out, sign) in out.chunks_exact_mut(power).zip(signs) {
            out.iter_mut().zip(x).for_each(|(out, x)| *out += sign * x);
        }
    }
}
