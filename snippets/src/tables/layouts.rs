//! The same int4 matrix in the layouts of real checkpoints.

use anyhow::{Context, Result};
use formats::gguf::{BLOCK, TensorType, dequantize};
use formats::layouts::gptq::Version;
use formats::layouts::{Grouped, Stored, awq, compressed_tensors, ggml, gptq};
use int4_groups::Int4Groups;
use int4_groups::solution::{dequantize_groups, quantize_groups};
use kit::Table;
use kit::meters::max_abs_error;
use kit::real_slice::{TENSORS, label};
use kit::table::{count, sig3};
use ndarray::Array2;

use crate::inputs::Slice;

/// Layer 10's query projection, `[576, 576]`.
const TENSOR: &str = TENSORS[3];
/// The group size that every layout here can hold: Q4_0 has no other.
const GROUP_SIZE: usize = BLOCK;

/// One matrix in one layout.
struct Packed {
    layout: &'static str,
    stored: Vec<Stored>,
    /// What it unpacks to.
    values: Array2<f32>,
}

impl Packed {
    fn bytes(&self) -> usize {
        self.stored.iter().map(|tensor| tensor.bytes).sum()
    }
}

fn quantized(slice: &Slice) -> Result<Int4Groups> {
    Ok(quantize_groups(slice.tensor(TENSOR), GROUP_SIZE)?)
}

fn in_awq(w: &Grouped) -> Result<Packed> {
    let tensors = awq::pack(w)?;
    let values = awq::unpack(&tensors)?.dequantize();
    Ok(Packed { layout: "AutoAWQ", stored: tensors.stored(), values })
}

fn in_gptq(w: &Grouped, layout: &'static str, version: Version) -> Result<Packed> {
    let tensors = gptq::pack(w, version)?;
    let values = gptq::unpack(&tensors, version)?.dequantize();
    Ok(Packed { layout, stored: tensors.stored(), values })
}

fn in_compressed_tensors(w: &Grouped) -> Result<Packed> {
    let tensors = compressed_tensors::pack(w)?;
    let values = compressed_tensors::unpack(&tensors)?.dequantize();
    Ok(Packed { layout: "compressed-tensors", stored: tensors.stored(), values })
}

fn in_q4_0(w: &Grouped) -> Result<Packed> {
    let bytes = ggml::pack_q4_0(w)?;
    let values = dequantize(TensorType::Q4_0, &bytes)?;
    let shape = vec![w.out_features(), bytes.len() / w.out_features()];
    let stored = vec![Stored { name: "blocks", dtype: "U8", shape, bytes: bytes.len() }];
    Ok(Packed { layout: "Q4_0", stored, values: Array2::from_shape_vec(w.codes().dim(), values)? })
}

/// What each layout stores of one real matrix, how large it is, and that its values are the lab's.
pub fn conversion(slice: &Slice) -> Result<Table> {
    let int4 = quantized(slice)?;
    let (w, expected) = (Grouped::try_from(&int4)?, dequantize_groups(&int4));
    let rows = [
        in_awq(&w)?,
        in_gptq(&w, "GPTQ v1", Version::V1)?,
        in_gptq(&w, "GPTQ v2", Version::V2)?,
        in_compressed_tensors(&w)?,
        in_q4_0(&w)?,
    ];
    let title = format!(
        "{} at group size {GROUP_SIZE} in five layouts: what is stored, and what comes back",
        label(TENSOR)
    );
    Ok(Table::of(title, rows)
        .text("layout", |packed| packed.layout)
        .text("tensors", |packed| {
            packed.stored.iter().map(described).collect::<Vec<_>>().join(", ")
        })
        .number("bytes", |packed| count(packed.bytes()))
        .number("bits a weight", |packed| {
            format!("{:.3}", 8.0 * packed.bytes() as f64 / w.codes().len() as f64)
        })
        .number("largest difference to dequantize_groups", |packed| {
            sig3(max_abs_error(&expected, &packed.values))
        })
        .done())
}

/// `qweight I32 [576, 72]`.
fn described(tensor: &Stored) -> String {
    format!("`{} {} {:?}`", tensor.name, tensor.dtype, tensor.shape)
}

/// What the same codes look like: the first word, or the first block, of each layout.
pub fn first_words(slice: &Slice) -> Result<Table> {
    let int4 = quantized(slice)?;
    let w = Grouped::try_from(&int4)?;
    let awq = awq::pack(&w)?;
    let (v1, v2) = (gptq::pack(&w, Version::V1)?, gptq::pack(&w, Version::V2)?);
    let packed = compressed_tensors::pack(&w)?;
    let blocks = ggml::pack_q4_0(&w)?;
    let block = blocks.first_chunk::<18>().context("a block of Q4_0 has 18 bytes")?;
    let mut table = Table::new(format!(
        "The first words of {} in each layout, the highest nibble of a word first",
        label(TENSOR)
    ))
    .text("layout")
    .text("stored at")
    .text("hex")
    .text("holds")
    .text("those, in order");
    let codes = w.codes();
    let (row, column) = (codes.row(0).to_vec(), codes.column(0).to_vec());
    let mut line = |cells: [&str; 3], hex: String, values: &[u8]| {
        let [layout, place, holds] = cells;
        let place = format!("`{place}`");
        table.row([layout.into(), place, hex, holds.into(), spaced(values)]);
    };
    let (down, across) = ("codes `[0..8, 0]`", "codes `[0, 0..8]`");
    line(["AutoAWQ", "qweight [0, 0]", down], word(awq.qweight[(0, 0)]), &column[..8]);
    line(["GPTQ v1, v2", "qweight [0, 0]", across], word(v1.qweight[(0, 0)]), &row[..8]);
    let first = word(packed.weight_packed[(0, 0)]);
    line(["compressed-tensors", "weight_packed [0, 0]", across], first, &row[..8]);
    line(["Q4_0", "block 0, bytes 2..18", "codes `[0, 0..32]`"], bytes(&block[2..]), &row[..BLOCK]);
    let zeros: Vec<u8> = w.zeros().column(0).iter().take(8).copied().collect();
    let zero_points = "zero points `[0..8, 0]`";
    line(["AutoAWQ", "qzeros [0, 0]", zero_points], word(awq.qzeros[(0, 0)]), &zeros);
    line(["GPTQ v1", "qzeros [0, 0]", zero_points], word(v1.qzeros[(0, 0)]), &zeros);
    line(["GPTQ v2", "qzeros [0, 0]", zero_points], word(v2.qzeros[(0, 0)]), &zeros);
    Ok(table)
}

fn word(word: i32) -> String {
    format!("`{word:08x}`")
}

fn bytes(bytes: &[u8]) -> String {
    let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("`{}`", hex.join(" "))
}

/// Codes as hexadecimal digits, as the words show them.
fn spaced(codes: &[u8]) -> String {
    let digits: Vec<String> = codes.iter().map(|code| format!("{code:x}")).collect();
    format!("`{}`", digits.join(" "))
}
