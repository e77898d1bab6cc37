//! The tables of lab 03: groups against one outlier, error against bytes, what -8 costs, and
//! what a misread layout does.

use anyhow::{Context, Result};
use half::f16;
use int4_groups::{
    AWQ_ORDER, Int4Groups, LINEAR_ORDER, QMAX, dequantize_groups, memory_bytes, pack_nibbles,
    pack_word, quantize_groups, quantize_groups_by_search, unpack_nibbles, unpack_word,
};
use kit::Table;
use kit::data::{normal_matrix, with_outlier_channel};
use kit::meters::{relative_error, sqnr_db};
use kit::real_slice::{TENSORS, label};
use kit::table::{count, percent, sig3, times};
use ndarray::{Array2, Axis};

use super::grids::Grid;
use crate::inputs::Slice;

/// The column that is planted as the outlier of [`outlier_column`].
pub const OUTLIER_COLUMN: usize = 7;
/// How many times as large the values of that column are.
pub const OUTLIER_FACTOR: f32 = 20.0;
/// The row of [`planted`] whose outlier was nearest to 1 before it was multiplied. The chapter's
/// arithmetic takes an outlier of about 20.
pub const TYPICAL_ROW: usize = 42;
/// Group sizes of the tables, from large to small; the whole row comes before them.
pub const SIZES: [usize; 4] = [128, 64, 32, 16];
/// The matrix that error and bytes are traded on: 128 divides its rows.
pub const TRADED: &str = TENSORS[5];
/// The matrix that is packed and misread.
pub const PACKED: &str = TENSORS[3];
/// A group size that divides every matrix of the real slice.
pub const COMMON: usize = 64;

/// The planted control: 64 rows of 512 normal values, those of column 7 twenty times as large.
pub fn planted() -> Array2<f32> {
    with_outlier_channel(&normal_matrix(42, 64, 512), OUTLIER_COLUMN, OUTLIER_FACTOR)
}

/// The outlier of the typical row, half a step of one scale for that row, and how many of the other
/// weights do not round to 0.
///
/// # Errors
/// If the lab refuses the row.
pub fn survivors() -> Result<(f32, f32, usize)> {
    let row = planted().select(Axis(0), &[TYPICAL_ROW]);
    let quantized = quantize_groups(&row, row.ncols())?;
    let codes = quantized.q().iter().enumerate();
    let survive = codes.filter(|&(column, &code)| column != OUTLIER_COLUMN && code != 0).count();
    Ok((row[(0, OUTLIER_COLUMN)].abs(), quantized.scales()[(0, 0)].to_f32() / 2.0, survive))
}

/// The error of the columns of `w` that `keep` names, after a round trip in groups of `size`.
fn error_of(w: &Array2<f32>, size: usize, keep: impl Fn(usize) -> bool) -> Result<Option<f64>> {
    let columns: Vec<usize> = (0..w.ncols()).filter(|&column| keep(column)).collect();
    let back = dequantize_groups(&quantize_groups(w, size)?);
    let select = |matrix: &Array2<f32>| matrix.select(Axis(1), &columns);
    Ok((!columns.is_empty()).then(|| relative_error(&select(w), &select(&back))))
}

/// The error of all weights but the outlier column, with groups of `size`.
///
/// # Errors
/// If `size` does not divide the rows of the control.
pub fn others(size: usize) -> Result<f64> {
    let error = error_of(&planted(), size, |column| column != OUTLIER_COLUMN)?;
    error.context("the control has more than one column")
}

/// The error of the other weights in the groups of `size` that hold the outlier column.
///
/// # Errors
/// If `size` does not divide the rows of the control.
pub fn group_of_outlier(size: usize) -> Result<f64> {
    let same_group = |column: usize| column / size == OUTLIER_COLUMN / size;
    let error = error_of(&planted(), size, |c| c != OUTLIER_COLUMN && same_group(c))?;
    error.context("a group holds more than the outlier column")
}

/// One outlier column: the error of the other weights by the size of the groups.
pub fn outlier_column() -> Result<Table> {
    let w = planted();
    let rows = [w.ncols()].into_iter().chain(SIZES).map(|size| {
        let rest = error_of(&w, size, |column| column / size != OUTLIER_COLUMN / size)?;
        Ok((size, group_of_outlier(size)?, rest, others(size)?))
    });
    let title = "One column of 512 times twenty: relative error of the other weights, 64 rows";
    Ok(Table::of(title, rows.collect::<Result<Vec<_>>>()?)
        .text("group", |(size, ..)| group_name(*size, w.ncols()))
        .number("others that share its scale", |(size, ..)| {
            format!("{} of {}", size - 1, w.ncols() - 1)
        })
        .number("error of those", |(_, in_group, ..)| percent(*in_group))
        .number("error of the rest", |(_, _, rest, _)| rest.map_or("-".into(), percent))
        .number("of all others", |(.., others)| percent(*others))
        .done())
}

fn group_name(size: usize, row: usize) -> String {
    if size == row { format!("the row ({row})") } else { size.to_string() }
}

/// The error of all nine real matrices for each group size.
pub fn real_errors(slice: &Slice) -> Result<Table> {
    let error = |w: &Array2<f32>, size| match quantize_groups(w, size) {
        Ok(quantized) => percent(relative_error(w, &dequantize_groups(&quantized))),
        Err(_) => "does not divide".into(),
    };
    let title = "int4 round trip of real weights, error relative to the norm";
    let mut table = Table::of(title, slice.all())
        .text("tensor", |(name, _)| label(name))
        .number("in_features", |(_, w)| count(w.ncols()))
        .number("one scale a row", |(_, w)| error(w, w.ncols()));
    for size in SIZES {
        table = table.number(format!("groups of {size}"), |(_, w)| error(w, size));
    }
    Ok(table.done())
}

/// The errors of one scale a row on the nine real matrices, in their order.
///
/// # Errors
/// If the lab refuses one.
pub fn row_errors(slice: &Slice) -> Result<Vec<f64>> {
    let error = |(_, w): (_, &Array2<f32>)| -> Result<f64> {
        Ok(relative_error(w, &dequantize_groups(&quantize_groups(w, w.ncols())?)))
    };
    slice.all().map(error).collect()
}

/// What a smaller group buys and costs on one real matrix.
pub fn group_size_trade(slice: &Slice) -> Result<Table> {
    let w = slice.tensor(TRADED);
    let rows = [w.ncols()].into_iter().chain(SIZES).map(|size| -> Result<_> {
        let quantized = quantize_groups(w, size)?;
        let bytes = memory_bytes(&quantized) as f64 / w.len() as f64;
        Ok((size, bytes, dequantize_groups(&quantized)))
    });
    let title = format!("Group size, bytes and error: {}", label(TRADED));
    Ok(Table::of(title, rows.collect::<Result<Vec<_>>>()?)
        .text("group", |(size, ..)| group_name(*size, w.ncols()))
        .number("bits a weight", |(_, bytes, _)| format!("{:.3}", 8.0 * bytes))
        .number("bytes a weight", |(_, bytes, _)| format!("{bytes:.4}"))
        .number("smaller than f32", |(_, bytes, _)| times(4.0 / bytes))
        .number("smaller than f16", |(_, bytes, _)| times(2.0 / bytes))
        .number("error of the norm", |(.., back)| percent(relative_error(w, back)))
        .number("SQNR (dB)", |(.., back)| sig3(sqnr_db(w, back)))
        .done())
}

/// Sixteen codes, used as this lab does. The scale is an `f16`, 2^-11 off its divisor at most.
const INT4: Grid = Grid {
    name: "max / 7, clip to -7..7 (this lab)",
    divisor: QMAX,
    lowest: -QMAX,
    highest: QMAX,
    group: COMMON,
    stored: |scale| f16::from_f32(scale).to_f32(),
    clipped_from: 0.51,
};

const GRIDS: [Grid; 3] = [
    INT4,
    Grid { name: "max / 7.5, clip to -8..7", divisor: 7.5, lowest: -8.0, ..INT4 },
    Grid { name: "max / 8, clip to -8..7", divisor: 8.0, lowest: -8.0, ..INT4 },
];

/// Three ways to use sixteen codes on all nine real matrices, groups of 64.
pub fn minus_eight(slice: &Slice) -> Result<Table> {
    let rows = GRIDS.iter().map(|grid| (grid.name, grid.on_the_real_slice(slice)));
    Ok(Table::of("With -8 and without, on the nine real matrices, groups of 64", rows)
        .text("scale and clip", |(name, _)| *name)
        .number("error of the norm", |(_, tried)| percent(tried.error()))
        .number("weights at -8", |(_, tried)| count(tried.lowest))
        .number("clipped by more than half a step", |(_, tried)| count(tried.clipped))
        .number("codes that change when the sign of the weight does", |(_, tried)| {
            count(tried.one_sided)
        })
        .done())
}

/// The scale of the maximum against the searched scale on all nine real matrices, at the same bytes.
pub fn search(slice: &Slice) -> Result<Table> {
    let rows = slice.all().map(|(name, w)| -> Result<_> {
        let (nearest, searched) =
            (quantize_groups(w, COMMON)?, quantize_groups_by_search(w, COMMON)?);
        let pairs = nearest.scales().iter().zip(searched.scales());
        let smaller = pairs.filter(|(nearest, searched)| searched < nearest).count();
        let error = |of: &Int4Groups| relative_error(w, &dequantize_groups(of));
        let share = smaller as f64 / nearest.scales().len() as f64;
        Ok((name, memory_bytes(&searched), error(&nearest), error(&searched), share))
    });
    let title = "The scale of the maximum and the searched scale, groups of 64";
    Ok(Table::of(title, rows.collect::<Result<Vec<_>>>()?)
        .text("tensor", |(name, ..)| label(name))
        .number("bytes, either way", |(_, bytes, ..)| count(*bytes))
        .number("error with the maximum", |(_, _, nearest, ..)| percent(*nearest))
        .number("with the search", |(.., searched, _)| percent(*searched))
        .number("groups with a smaller scale", |(.., share)| percent(*share))
        .done())
}

/// The mistakes of [`misread`] that a chapter names.
pub mod mistakes {
    /// The two codes of each byte changed places.
    pub const SWAPPED: &str = "nibbles swapped";
    /// Words of AutoAWQ read in linear order.
    pub const AWQ: &str = "AWQ words in linear order";
    /// A GPTQ v2 file taken for v1.
    pub const ZEROS: &str = "GPTQ v2 zero points as v1";
    /// Every group has the scale of the next one.
    pub const NEXT: &str = "the scale of the next group";
}

/// What the mistake `name` costs, relative to the norm.
///
/// # Errors
/// If there is no such mistake.
pub fn misread_error(slice: &Slice, name: &str) -> Result<f64> {
    let w = slice.tensor(PACKED);
    let readings = readings(&quantize_groups(w, COMMON)?)?;
    let named = readings.iter().find(|(reading, _)| *reading == name);
    let (_, read) = named.with_context(|| format!("no mistake is called {name}"))?;
    Ok(relative_error(w, &dequantize_groups(read)))
}

/// The same file, read with the right convention and with wrong ones.
pub fn misread(slice: &Slice) -> Result<Table> {
    let w = slice.tensor(PACKED);
    let right = quantize_groups(w, COMMON)?;
    let true_counts = histogram(right.q());
    let title = format!("{} in groups of {COMMON}, read in six ways", label(PACKED));
    Ok(Table::of(title, readings(&right)?)
        .text("read as", |(name, _)| *name)
        .text("codes seen", |(_, read)| {
            let (low, high) = read.q().iter().fold((0, 0), |(l, h), &q| (q.min(l), q.max(h)));
            format!("{low} to {high}")
        })
        .text(
            "histogram",
            |(_, read)| {
                if histogram(read.q()) == true_counts { "the same" } else { "another" }
            },
        )
        .number("error of the norm", |(_, read)| {
            percent(relative_error(w, &dequantize_groups(read)))
        })
        .done())
}

fn histogram(codes: &Array2<i8>) -> [usize; 16] {
    let mut counts = [0; 16];
    codes.iter().for_each(|&code| counts[usize::from((code + 8).cast_unsigned() & 15)] += 1);
    counts
}

/// What readers with other conventions make of the codes and scales of `right`.
fn readings(right: &Int4Groups) -> Result<Vec<(&'static str, Int4Groups)>> {
    let codes: Vec<i8> = right.q().iter().copied().collect();
    let packed = pack_nibbles(&codes)?;
    let swapped: Vec<u8> = packed.iter().map(|byte| byte.rotate_left(4)).collect();
    let with = |codes: Vec<i8>| -> Result<Int4Groups> {
        let codes = Array2::from_shape_vec(right.q().dim(), codes)?;
        Ok(Int4Groups::new(codes, right.scales().clone())?)
    };
    // A v2 file holds the zero points themselves, so a reader for v1 adds one to each.
    let off_by_one = codes.iter().map(|code| code - 1).collect();
    let mut next = right.scales().clone();
    next.rows_mut().into_iter().for_each(|mut row| {
        row.as_slice_mut().into_iter().for_each(|scales| scales.rotate_left(1));
    });
    Ok(vec![
        ("itself", with(unpack_nibbles(&packed))?),
        (mistakes::SWAPPED, with(unpack_nibbles(&swapped))?),
        ("nibbles less 8, as if without a sign", with(unsigned(&packed))?),
        (mistakes::AWQ, with(awq_as_linear(&codes)?)?),
        (mistakes::ZEROS, with(off_by_one)?),
        (mistakes::NEXT, Int4Groups::new(right.q().clone(), next)?),
    ])
}

/// Two's complement read as offset binary: the sign bit the wrong way round.
fn unsigned(packed: &[u8]) -> Vec<i8> {
    let codes = |&byte: &u8| [byte & 15, byte >> 4].map(|nibble| nibble.cast_signed() - 8);
    packed.iter().flat_map(codes).collect()
}

fn awq_as_linear(codes: &[i8]) -> Result<Vec<i8>> {
    let (words, _) = codes.as_chunks::<8>();
    let mut misread = Vec::with_capacity(codes.len());
    for word in words {
        let word = pack_word(word.map(|code| (code + 8).cast_unsigned()), &AWQ_ORDER)?;
        misread.extend(unpack_word(word, &LINEAR_ORDER).map(|code| code.cast_signed() - 8));
    }
    Ok(misread)
}
