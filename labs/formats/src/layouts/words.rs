//! Words of eight codes: what AutoAWQ, GPTQ and compressed-tensors share.

use std::array;

use ndarray::{Array2, ArrayView2};

use super::LayoutError;
use kit::int4::{Int4Error, NibbleOrder};

/// Bits of a word.
const WORD: u32 = 32;

/// The axis of the weight, `[out_features, in_features]`, along which eight codes share a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Along {
    /// Eight rows: the same input channel of neighbouring outputs.
    OutFeatures,
    /// Eight columns: neighbouring input channels of the same output.
    InFeatures,
}

/// How a layout packs its codes into 32-bit words: enough to draw it.
///
/// Nibble `i` of a word, the bits `4i` to `4i + 3`, holds neighbour `order[i]` along `along`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WordLayout {
    /// The layout's name.
    pub name: &'static str,
    /// The tensor of the words.
    pub tensor: &'static str,
    /// Its shape in words.
    pub shape: &'static str,
    /// Where the eight neighbours lie in the weight.
    pub along: Along,
    /// Which of them is in which nibble.
    pub order: NibbleOrder,
}

/// Packs eight codes, 0..=15, into a word: nibble `i` holds `codes[order[i]]`. Lab 03 derives it.
///
/// # Errors
/// [`Int4Error::CodeOutOfRange`] for a code above 15, which would spill into its neighbour.
pub(super) fn pack_word(codes: [u8; 8], order: &NibbleOrder) -> Result<u32, Int4Error> {
    if let Some(index) = codes.iter().position(|&code| code > 15) {
        let code = codes[index].into();
        return Err(Int4Error::CodeOutOfRange { index, code, range: "0..=15" });
    }
    let nibbles = order.iter().enumerate();
    Ok(nibbles.fold(0, |word, (i, &from)| word | u32::from(codes[from]) << (4 * i)))
}

/// The eight codes of a word, each 0..=15, back in the order of the neighbours.
pub(super) fn unpack_word(word: u32, order: &NibbleOrder) -> [u8; 8] {
    let mut codes = [0; 8];
    for (i, &to) in order.iter().enumerate() {
        codes[to] = (word >> (4 * i) & 0x0F) as u8;
    }
    codes
}

/// Packs every eight neighbours inside a row into a word: `[rows, columns]` to
/// `[rows, columns / 8, rounded up]`. The last word of a row is filled up with zeros.
pub(super) fn pack_rows(
    values: ArrayView2<u8>,
    pack: impl Fn([u8; 8]) -> Result<u32, Int4Error>,
) -> Result<Array2<i32>, Int4Error> {
    let mut words = Array2::zeros((values.nrows(), values.ncols().div_ceil(8)));
    for ((row, index), word) in words.indexed_iter_mut() {
        // compressed-tensors pads the last word with zero bits; the other layouts have no padding.
        let value = |i| values.get((row, 8 * index + i)).copied().unwrap_or(0);
        *word = pack(array::from_fn(value))?.cast_signed();
    }
    Ok(words)
}

/// The codes of so many bits that fill whole words: 8 of 4 bits, 32 of 3.
pub(super) fn codes_of_whole_words(bits: u32) -> usize {
    // 32 and the bits have no odd factor in common.
    WORD as usize >> bits.trailing_zeros()
}

/// Packs each row as one stream of codes of so many `bits` from the lowest bit of the first word up, so that a
/// code may begin in one word and end in the next: `[rows, columns]` to `[rows, columns * bits / 32]`. At four
/// bits the stream is the linear order. The rows fill whole words, and no value has more bits.
pub(super) fn pack_stream(values: ArrayView2<u8>, bits: u32) -> Array2<i32> {
    let words = values.ncols() * bits as usize / WORD as usize;
    let mut packed = Array2::zeros((values.nrows(), words));
    for (row, mut packed) in values.rows().into_iter().zip(packed.rows_mut()) {
        let (mut waiting, mut filled, mut word) = (0u64, 0, 0);
        for &value in row {
            waiting |= u64::from(value) << filled;
            filled += bits;
            if filled >= WORD {
                packed[word] = (waiting as u32).cast_signed();
                (waiting, filled, word) = (waiting >> WORD, filled - WORD, word + 1);
            }
        }
    }
    packed
}

/// The first `columns` values of every row of words; 0 where the words end before.
pub(super) fn unpack_rows(
    words: ArrayView2<i32>,
    columns: usize,
    unpack: impl Fn(u32) -> [u8; 8],
) -> Array2<u8> {
    let mut values = Array2::zeros((words.nrows(), columns));
    for ((row, index), word) in words.indexed_iter() {
        for (i, value) in unpack(word.cast_unsigned()).into_iter().enumerate() {
            // The padding of the last word lies beyond the row, and is dropped.
            if let Some(code) = values.get_mut((row, 8 * index + i)) {
                *code = value;
            }
        }
    }
    values
}

/// The transpose, row major as a file wants it.
pub(super) fn transposed<T: Clone>(matrix: &Array2<T>) -> Array2<T> {
    matrix.t().as_standard_layout().into_owned()
}

/// Refuses a tensor whose shape does not fit the other tensors.
pub(super) fn check_shape(
    layout: &'static str,
    tensor: &'static str,
    found: &[usize],
    expected: &[usize],
) -> Result<(), LayoutError> {
    if found == expected {
        return Ok(());
    }
    let (found, expected) = (found.to_vec(), expected.to_vec());
    Err(LayoutError::ShapesDisagree { layout, tensor, found, expected })
}

/// Refuses a size that does not fill whole words.
pub(super) fn check_divides(
    layout: &'static str,
    axis: &'static str,
    size: usize,
    of: usize,
    fix: &'static str,
) -> Result<(), LayoutError> {
    if size.is_multiple_of(of) {
        return Ok(());
    }
    Err(LayoutError::Indivisible { layout, axis, size, of, fix })
}
