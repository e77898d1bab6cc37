//! Fast kernels, each held to a slow and readable reference by its tests.
//!
//! * [`matvec_f32`], [`matvec_int8`], [`matvec_int4`]: one product at batch 1, the codes turned into
//!   numbers in registers; [`matvec_int4_materialized`] writes the whole matrix to memory first, and
//!   is there to be measured against them.
//! * [`quantize`]: encoders that write GGML blocks and int4 groups.
//! * [`read`]: plain reading, whose bandwidth is the roofline bound of the products.
//!
//! They run on the threads of the rayon pool they are called in: `pool.install(|| …)` chooses how
//! many, see [`Threads`]. The loops are plain safe Rust. On x86-64 each is compiled twice, once for
//! AVX2, and chosen at run time ([`::kernels::dispatch`], in the crate that this lab shares with the
//! model).

mod dot;
mod matrix;
mod matvec;
pub mod quantize;
pub use matrix::{Int4Matrix, Int8Matrix};
pub use matvec::{matvec_f32, matvec_int4, matvec_int4_materialized, matvec_int8};

pub use ::kernels::{Threads, instructions, read};

/// What a kernel refuses.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum KernelError {
    /// The weights do not fill whole blocks.
    #[error(
        "{weights} weights do not fill whole blocks of {block}: pad every row to a multiple of \
         {block}, or leave this tensor in 16 bits"
    )]
    NotWholeBlocks {
        /// How many weights there are.
        weights: usize,
        /// Weights in a block.
        block: usize,
    },
    /// The weights do not fill whole rows.
    #[error("{weights} weights do not fill whole rows of in_features {in_features}")]
    NotWholeRows {
        /// How many weights there are.
        weights: usize,
        /// Weights in a row.
        in_features: usize,
    },
    /// A slice has the wrong length.
    #[error("`{name}` has length {found} and must have {needed}")]
    Length {
        /// Which argument.
        name: &'static str,
        /// Its length.
        found: usize,
        /// The length that fits the others.
        needed: usize,
    },
    /// A weight is NaN or infinite.
    #[error(
        "weight {index} (block {}, place {} in it) is {value}: only finite values have a place on \
         a grid", index / 32, index % 32
    )]
    NotFinite {
        /// Which weight, from 0.
        index: usize,
        /// Its value.
        value: f32,
    },
    /// The scale of a block is too large for `f16`.
    #[error(
        "block {block} reaches {absmax}: its scale is beyond the largest f16, 65504. Divide the \
         tensor by a constant, or leave it in 16 bits"
    )]
    ScaleOverflow {
        /// Which block, from 0.
        block: usize,
        /// The largest magnitude in it.
        absmax: f32,
    },
    /// Two codes that share a byte would belong to two groups.
    #[error("group_size {0} is odd: two codes share a byte, and a byte must belong to one group")]
    OddGroup(usize),
    /// The matrix is not stored row by row.
    #[error("the matrix is not stored row by row: pass `w.as_standard_layout()`")]
    NotRowMajor,
    /// No pool of threads could be started.
    #[error(transparent)]
    Threads(#[from] ::kernels::ThreadsError),
    /// What the readable quantizer refuses too.
    #[error(transparent)]
    Int4(#[from] int4_groups::Int4Error),
    /// The same of int8.
    #[error(transparent)]
    Int8(#[from] smoothquant::QuantError),
}

/// Refuses a slice of the wrong length.
fn expect_length(name: &'static str, found: usize, needed: usize) -> Result<(), KernelError> {
    if found == needed { Ok(()) } else { Err(KernelError::Length { name, found, needed }) }
}
