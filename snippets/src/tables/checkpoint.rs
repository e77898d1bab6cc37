//! The tables of the chapter on reading a checkpoint: shapes by formula, and what inspect says of
//! files that other people's tools wrote.

use anyhow::{Context, Result, ensure};
use formats::checkpoint::{
    Dtype, Inspection, Quantized, Storage, Tensor, classify, inspection_report,
};
use formats::format::Group;
use formats::gguf::TensorType;
use kit::Table;
use kit::table::count;

use crate::inputs::Golden;

/// The matrix of [`shapes`]: a down projection of SmolLM2-135M.
const OUT: u64 = 576;
const IN: u64 = 1536;
const GROUP: u64 = 64;

/// A tensor of a layout: what its name ends with, its type, its shape as formula and as numbers.
type Row = (&'static str, Storage, &'static str, Vec<u64>);

/// Each layout with its tensors.
fn layouts() -> Vec<(&'static str, Vec<Row>)> {
    let words = Storage::Elements(Dtype::I32);
    let halves = Storage::Elements(Dtype::F16);
    let q4_0 = Storage::Blocks(TensorType::Q4_0);
    let groups = IN / GROUP;
    vec![
        (
            "AWQ gemm",
            vec![
                ("qweight", words, "[in, out / 8]", vec![IN, OUT / 8]),
                ("qzeros", words, "[in / g, out / 8]", vec![groups, OUT / 8]),
                ("scales", halves, "[in / g, out]", vec![groups, OUT]),
            ],
        ),
        (
            "GPTQ",
            vec![
                ("qweight", words, "[in / 8, out]", vec![IN / 8, OUT]),
                ("qzeros", words, "[in / g, out / 8]", vec![groups, OUT / 8]),
                ("scales", halves, "[in / g, out]", vec![groups, OUT]),
                ("g_idx", words, "[in]", vec![IN]),
            ],
        ),
        (
            "pack-quantized, asymmetric",
            vec![
                ("weight_packed", words, "[out, in / 8]", vec![OUT, IN / 8]),
                ("weight_scale", halves, "[out, in / g]", vec![OUT, groups]),
                ("weight_zero_point", words, "[out / 8, in / g]", vec![OUT / 8, groups]),
                ("weight_shape", Storage::Elements(Dtype::I64), "[2]", vec![2]),
            ],
        ),
        ("GGUF, group 32", vec![("weight", q4_0, "[out, in]", vec![OUT, IN])]),
    ]
}

/// The tensor with this row's shape.
fn tensor((part, storage, _, shape): &Row) -> Result<Tensor> {
    let elements: u64 = shape.iter().product();
    let bytes = match storage {
        Storage::Elements(dtype) => elements * dtype.bits() / 8,
        Storage::Blocks(kind) => {
            let (weights, bytes) = kind.block().context("GGML has no such type")?;
            elements / weights as u64 * bytes as u64
        }
    };
    Ok(Tensor { name: format!("m.{part}"), storage: *storage, shape: shape.clone(), bytes })
}

/// One matrix in four layouts, each held to what the classifier makes of its shapes.
pub fn shapes() -> Result<Table> {
    let title = format!("[out, in] = [{OUT}, {IN}], 4 bits, groups of {GROUP}: what is stored");
    let mut table = Table::new(title)
        .text("layout")
        .text("tensor")
        .text("dtype")
        .text("shape, formula")
        .text("shape")
        .number("bytes")
        .number("bits a weight");
    for (layout, rows) in layouts() {
        let tensors = rows.iter().map(tensor).collect::<Result<Vec<_>>>()?;
        let matrix = only(&tensors)?;
        for ((part, storage, formula, shape), tensor) in rows.iter().zip(&tensors) {
            table.row([
                layout.into(),
                part.to_string(),
                storage.to_string(),
                formula.to_string(),
                format!("{shape:?}"),
                number(tensor.bytes),
                bits(tensor.bytes),
            ]);
        }
        let (bytes, bits) = (number(matrix.bytes()), bits(matrix.bytes()));
        table.row([layout, "together", "", "", "", &bytes, &bits]);
    }
    Ok(table)
}

/// What `bytes` cost each weight of the matrix, in bits.
fn bits(bytes: u64) -> String {
    format!("{:.4}", bytes as f64 * 8.0 / (OUT * IN) as f64)
}

/// The one matrix that `tensors` are the parts of.
fn only(tensors: &[Tensor]) -> Result<Quantized> {
    // compressed-tensors' four bits are the config's word where the outputs fit other widths too.
    let inventory = classify(tensors, None);
    ensure!(inventory.problems.is_empty(), "{:?}", inventory.problems);
    let matrix = inventory.quantized.into_iter().next().context("nothing is quantized")?;
    ensure!(matrix.shape == Some(vec![OUT, IN]), "the classifier sees {:?}", matrix.shape);
    let group = matrix.group;
    ensure!(matches!(group, Group::Size(GROUP | 32)), "the classifier sees groups of {group}");
    Ok(matrix)
}

/// Bits a weight of the AWQ layout of [`shapes`].
pub fn exercise_bits() -> Result<f64> {
    let (_, rows) = layouts().into_iter().next().context("there are layouts")?;
    let tensors = rows.iter().map(tensor).collect::<Result<Vec<_>>>()?;
    only(&tensors)?.bits_per_weight().context("the weights are counted")
}

/// What inspect says of each file in the repository.
pub fn inspected(golden: &Golden) -> Result<Table> {
    let rows = golden.0.iter().map(|(name, tool, inspection)| {
        let matrix = wide(inspection).with_context(|| format!("{name} has no wide matrix"))?;
        let bits = matrix.bits_per_weight().context("the weights are counted")?;
        let config = match &inspection.config {
            None => "none",
            Some(_) if inspection.problems.is_empty() => "agrees",
            Some(_) => "contradicts",
        };
        Ok((format!("{tool} ({name})"), matrix, bits, config))
    });
    let title = "What inspect says of files that other tools wrote";
    Ok(Table::of(title, rows.collect::<Result<Vec<_>>>()?)
        .text("written by", |(written_by, ..)| written_by.clone())
        .text("a matrix, [out, in]", |(_, matrix, ..)| {
            format!("{:?}", matrix.shape.as_deref().unwrap_or_default())
        })
        .text("scheme", |(_, matrix, ..)| matrix.scheme.to_string())
        .number("bits", |(_, matrix, ..)| matrix.bits.map_or("?".into(), |bits| bits.to_string()))
        .number("group", |(_, matrix, ..)| matrix.group.to_string())
        .number("bits a weight", |(_, _, bits, _)| format!("{bits:.3}"))
        .text("symmetric", |(_, matrix, ..)| matrix.zeros.to_string())
        .text("config", |(.., config)| *config)
        .done())
}

/// The matrix of a fixture that is not square, so that its axes cannot be confused.
fn wide(inspection: &Inspection) -> Option<&Quantized> {
    let matrices = &inspection.inventory.quantized;
    matrices.iter().find(|matrix| matrix.matrix().is_some_and(|[out, inputs]| out != inputs))
}

/// The file that the chapter shows in full.
const GPTQ: &str = "autogptq";

/// The first table of `cargo book inspect` on auto-gptq's file.
pub fn gptq_summary(golden: &Golden) -> Result<Table> {
    Ok(inspection_report::summary(golden.of(GPTQ)?))
}

/// The second table of `cargo book inspect` on auto-gptq's file.
pub fn gptq_modules(golden: &Golden) -> Result<Table> {
    Ok(inspection_report::quantized(golden.of(GPTQ)?, false))
}

/// What `--all` adds on auto-gptq's file.
pub fn gptq_parts(golden: &Golden) -> Result<Table> {
    Ok(inspection_report::parts(golden.of(GPTQ)?))
}

/// The last lines of `cargo book inspect` on auto-gptq's file, one a row.
pub fn gptq_verdict(golden: &Golden) -> Result<Table> {
    let lines = inspection_report::verdict(golden.of(GPTQ)?);
    Ok(Table::of("And its last lines", lines).text("line", |line| line.to_string()).done())
}

fn number(bytes: u64) -> String {
    usize::try_from(bytes).map_or_else(|_| bytes.to_string(), count)
}
