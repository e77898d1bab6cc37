//! One name, many rules: what the rules of [`formats::rules`] make of the same weights.
//!
//! The real slice has been through Q4_1 once, in blocks of 32. A rule that is given those very
//! blocks, or halves of them, finds their grid again and looks better than it is. So errors are
//! measured on [`Cut::Spread`] groups, and [`control`] shows that this takes the advantage away.

use anyhow::{Context, Result};
use formats::rules::{
    self, AUTOAWQ_SYMMETRIC, AUTOAWQ_ZERO_POINT, COMPRESSED_TENSORS_ASYMMETRIC,
    COMPRESSED_TENSORS_SYMMETRIC, Encoded, Evidence, GGML_Q4_0, GGML_Q4_1, GPTQ_ASYMMETRIC,
    GPTQ_SYMMETRIC, LAB_03, Rule, VLLM_DYNAMIC, VLLM_GROUP, Zero,
};
use kit::Table;
use kit::data::normal_matrix;
use kit::meters::relative_error;
use kit::real_slice::{TENSORS, label};
use kit::table::percent;
use ndarray::Array2;

use crate::inputs::Slice;

/// Weights in a group, and in a block of the file that the real slice comes from.
const GROUP: usize = 32;

/// How the rows of a matrix are cut into groups.
#[derive(Clone, Copy, PartialEq)]
pub enum Cut {
    /// 32 neighbours: the blocks of the file.
    Blocks,
    /// 32 neighbours, from the middle of one block to the middle of the next. The first and the
    /// last 16 weights of a row are left out.
    Straddling,
    /// 32 weights spread evenly over the row: at most two of one block of the file.
    Spread,
    /// Whole rows.
    Rows,
}

impl Cut {
    /// The weights of a row, one group after the other, and the size of a group.
    fn arrange(self, row: &[f32]) -> (Vec<f32>, usize) {
        let groups = row.len() / GROUP;
        match self {
            Self::Blocks => (row.to_vec(), GROUP),
            Self::Straddling => (row[GROUP / 2..row.len() - GROUP / 2].to_vec(), GROUP),
            Self::Spread => {
                let spread = |first| row.iter().skip(first).step_by(groups);
                ((0..groups).flat_map(spread).copied().collect(), GROUP)
            }
            Self::Rows => (row.to_vec(), row.len()),
        }
    }
}

/// What a rule does to many groups.
pub struct Tried<'a> {
    rule: &'a Rule,
    error: f64,
    norm: f64,
    weights: usize,
    /// How often each code is stored, from the first that the rule may use.
    codes: Vec<usize>,
}

impl<'a> Tried<'a> {
    fn new(rule: &'a Rule) -> Self {
        let codes = vec![0; rule.codes.clone().count()];
        Self { rule, error: 0.0, norm: 0.0, weights: 0, codes }
    }

    /// The rule on all nine real matrices, in a fixed order.
    fn on_the_real_slice(slice: &Slice, rule: &'a Rule, cut: Cut) -> Result<Self> {
        let mut tried = Self::new(rule);
        slice.all().try_for_each(|(_, w)| tried.add(w, cut))?;
        Ok(tried)
    }

    fn add(&mut self, w: &Array2<f32>, cut: Cut) -> Result<()> {
        for row in w.rows() {
            let (arranged, size) = cut.arrange(row.to_slice().context("a row is contiguous")?);
            for group in arranged.chunks_exact(size) {
                self.add_group(group)?;
            }
        }
        Ok(())
    }

    fn add_group(&mut self, weights: &[f32]) -> Result<()> {
        let encoded = self.rule.encode(weights)?;
        for (&weight, &value) in weights.iter().zip(&encoded.values) {
            let (weight, value) = (f64::from(weight), f64::from(value));
            self.error += (weight - value) * (weight - value);
            self.norm += weight * weight;
        }
        for code in &encoded.codes {
            let index = usize::try_from(code - self.rule.codes.start())?;
            let count = self.codes.get_mut(index);
            *count.with_context(|| format!("{} stored {code}", self.rule.name))? += 1;
        }
        self.weights += weights.len();
        Ok(())
    }

    /// The error of all weights together, relative to their norm.
    fn relative(&self) -> f64 {
        (self.error / self.norm).sqrt()
    }

    /// How many of the codes are used.
    fn used(&self) -> usize {
        self.codes.iter().filter(|&&count| count > 0).count()
    }

    /// The share of the weights that have this code.
    fn share(&self, code: i32) -> f64 {
        let index = usize::try_from(code - self.rule.codes.start()).unwrap_or(usize::MAX);
        self.codes.get(index).map_or(0.0, |&count| count as f64 / self.weights as f64)
    }
}

/// Overhead bits of a group in the file of a rule: its scale, its zero point or minimum.
fn overhead_bits(rule: &Rule) -> u32 {
    match rule.name {
        "GGML Q4_1" => 32,
        // The files of these two have zero points whether or not they differ.
        "GPTQ symmetric" | "AutoAWQ symmetric" => 20,
        _ if rule.symmetric => 16,
        _ => 20,
    }
}

/// Bits a weight at a group size; GGML's blocks are of 32 and of nothing else.
fn bits_at(rule: &Rule, group: u32) -> String {
    if rule.name.starts_with("GGML") && group != 32 {
        return "-".into();
    }
    let bits = f64::from(rule.bits) + f64::from(overhead_bits(rule)) / f64::from(group);
    format!("{bits:.3}")
}

/// The codes a rule may store, as it counts them.
fn range(rule: &Rule) -> String {
    format!("{}..{}", rule.codes.start(), rule.codes.end())
}

/// The rules of four bits, in words.
pub fn int4() -> Result<Table> {
    Ok(Table::of("Nine rules of four bits", rules::INT4)
        .text("rule", |rule| rule.name)
        .text("read in", |rule| rule.library)
        .text("scale", |rule| rule.scale)
        .text("codes", |rule| range(rule))
        .text("ties", |rule| rule.ties.to_string())
        .text("zero guard", |rule| rule.zero_guard)
        .number("bits a weight, groups of 32", |rule| bits_at(rule, 32))
        .number("of 128", |rule| bits_at(rule, 128))
        .done())
}

/// The same rules on real weights.
pub fn int4_measured(slice: &Slice) -> Result<Table> {
    let rows = rules::INT4.iter().map(|rule| Tried::on_the_real_slice(slice, rule, Cut::Spread));
    // Of four bits all sixteen codes count, also those that a rule leaves out.
    let lowest = |rule: &Rule| if rule.codes == (-7..=7) { -8 } else { *rule.codes.start() };
    let title =
        "Nine rules of four bits on the nine real matrices, groups of 32 weights spread over a row";
    Ok(Table::of(title, rows.collect::<Result<Vec<_>>>()?)
        .text("rule", |tried| tried.rule.name)
        .number("error of the norm", |tried| percent(tried.relative()))
        .number("codes used", |tried| format!("{} of 16", tried.used()))
        .number("weights at the lowest code", |tried| percent(tried.share(lowest(tried.rule))))
        .number("at the highest", |tried| percent(tried.share(*tried.rule.codes.end())))
        .done())
}

/// Whether a way of cutting finds the grid of the file again: on normal values, which have none,
/// on the same values after Q4_1, and on a real matrix.
pub fn control(slice: &Slice) -> Result<Table> {
    let fresh = normal_matrix(4, 256, 576);
    let stored = round_trip(&fresh, &GGML_Q4_1)?;
    let real = slice.tensor(TWICE);
    let mut table = Table::new("The same rules on groups of 32 that are cut in three ways")
        .text("weights")
        .text("groups");
    let tried = [&LAB_03, &GGML_Q4_0, &COMPRESSED_TENSORS_ASYMMETRIC, &GGML_Q4_1];
    for rule in tried {
        table = table.number(rule.name);
    }
    let cuts = [
        ("the blocks of Q4_1", Cut::Blocks),
        ("half of one block, half of the next", Cut::Straddling),
        ("spread over the row", Cut::Spread),
    ];
    for (weights, w) in [
        ("normal, never quantized".to_string(), &fresh),
        ("the same, once through Q4_1".into(), &stored),
        (format!("{}, once through Q4_1", label(TWICE)), real),
    ] {
        for (name, cut) in cuts {
            let mut cells = vec![weights.clone(), name.into()];
            for rule in tried {
                let mut tried = Tried::new(rule);
                tried.add(w, cut)?;
                cells.push(percent(tried.relative()));
            }
            table.row(cells);
        }
    }
    Ok(table)
}

/// The rules of eight bits, in words and on real rows.
pub fn int8(slice: &Slice) -> Result<Table> {
    let rows = rules::INT8.iter().map(|rule| Tried::on_the_real_slice(slice, rule, Cut::Rows));
    let title = "Seven rules of eight bits on the nine real matrices, whole rows";
    Ok(Table::of(title, rows.collect::<Result<Vec<_>>>()?)
        .text("rule", |tried| tried.rule.name)
        .text("read in", |tried| tried.rule.library)
        .text("scale", |tried| tried.rule.scale)
        .text("ties", |tried| tried.rule.ties.to_string())
        .text("zero guard", |tried| tried.rule.zero_guard)
        .text("its code was", |tried| evidence(tried.rule))
        .number("error of the norm", |tried| percent(tried.relative()))
        .number("weights at -128", |tried| percent(tried.share(-128)))
        .done())
}

fn evidence(rule: &Rule) -> &'static str {
    match rule.evidence {
        Evidence::Ran => "run",
        Evidence::Course => "written here",
        Evidence::Read => "read, not run",
    }
}

/// Eight weights that a reader can quantize by hand.
pub const ONE_GROUP: [f32; 8] = [-0.9, -0.7, -0.33, -0.06, 0.06, 0.33, 0.45, 0.8];

/// The same eight weights under every rule of four bits.
pub fn on_one_row() -> Result<Table> {
    let rows = rules::INT4.iter().map(|rule| Ok((rule.name, rule.encode(&ONE_GROUP)?)));
    let title = "Steps from 0 (code minus zero point) of the same eight weights";
    let mut table = Table::of(title, rows.collect::<Result<Vec<_>>>()?)
        .text("rule", |(name, _)| *name)
        .number("scale", |(_, encoded)| format!("{:.4}", encoded.scale));
    for (index, weight) in ONE_GROUP.into_iter().enumerate() {
        table = table.number(weight.to_string(), |(_, of)| of.steps()[index].to_string());
    }
    Ok(table.text("0 is", |(_, encoded)| zero(encoded)).done())
}

fn zero(encoded: &Encoded) -> String {
    match encoded.zero {
        Zero::Nowhere => "code 0".into(),
        Zero::Point(code) => format!("code {code}"),
        Zero::Minimum(minimum) => format!("not a code: code 0 is {minimum:.4}"),
    }
}

/// A group with a surprise in it, and the rules that show it.
struct Quirk {
    group: &'static str,
    weights: [f32; 4],
    rules: &'static [&'static Rule],
}

const QUIRKS: [Quirk; 5] = [
    Quirk {
        group: "all positive: 0.25, 0.5, 0.75, 1",
        weights: [0.25, 0.5, 0.75, 1.0],
        rules: &[&GPTQ_SYMMETRIC, &GPTQ_ASYMMETRIC, &COMPRESSED_TENSORS_SYMMETRIC],
    },
    Quirk {
        group: "far from 0: 0.5, 1, 1.5, 2",
        weights: [0.5, 1.0, 1.5, 2.0],
        rules: &[&AUTOAWQ_ZERO_POINT, &COMPRESSED_TENSORS_ASYMMETRIC, &GGML_Q4_1],
    },
    Quirk {
        group: "constant: 3, 3, 3, 3",
        weights: [3.0; 4],
        rules: &[&AUTOAWQ_ZERO_POINT, &COMPRESSED_TENSORS_ASYMMETRIC, &GGML_Q4_1],
    },
    Quirk {
        group: "tiny: 1e-7, -5e-8, 3e-8, 0",
        weights: [1e-7, -5e-8, 3e-8, 0.0],
        rules: &[&AUTOAWQ_SYMMETRIC, &LAB_03, &GGML_Q4_0, &COMPRESSED_TENSORS_SYMMETRIC],
    },
    Quirk {
        group: "zeros",
        weights: [0.0; 4],
        rules: &[&GPTQ_SYMMETRIC, &COMPRESSED_TENSORS_SYMMETRIC, &GGML_Q4_0],
    },
];

/// Groups on which rules do what their names do not say.
pub fn quirks() -> Result<Table> {
    let rows = QUIRKS.iter().flat_map(|quirk| {
        let encode = |rule: &&Rule| Ok((quirk.group, rule.name, rule.encode(&quirk.weights)?));
        quirk.rules.iter().map(encode)
    });
    let title = "Five groups of four weights, and what some rules make of them";
    Ok(Table::of(title, rows.collect::<Result<Vec<_>>>()?)
        .text("group", |(group, ..)| *group)
        .text("rule", |(_, rule, _)| *rule)
        .number("scale", |(.., of)| short(of.scale))
        .number("codes", |(.., of)| listed(&of.codes, i32::to_string))
        .number("read back as", |(.., of)| listed(&of.values, |&value| short(value)))
        .done())
}

fn listed<T>(values: &[T], shown: impl Fn(&T) -> String) -> String {
    values.iter().map(shown).collect::<Vec<_>>().join(", ")
}

/// A number of three digits: plain where that is short, as a power of ten where it is tiny.
fn short(value: f32) -> String {
    // Both zeros are 0 to a reader.
    match value.abs() {
        0.0 => "0".into(),
        tiny if tiny < 1e-3 => format!("{value:.2e}"),
        _ => format!("{value:.3}"),
    }
}

/// The matrix that is quantized twice.
const TWICE: &str = TENSORS[6];

/// The rules that are crossed.
const CROSSED: [&Rule; 4] =
    [&LAB_03, &COMPRESSED_TENSORS_SYMMETRIC, &GGML_Q4_0, &COMPRESSED_TENSORS_ASYMMETRIC];

/// What is left of a matrix that went through one rule and then through another.
pub fn requantized(slice: &Slice) -> Result<Table> {
    let w = spread(slice.tensor(TWICE))?;
    let rows = CROSSED.map(|first| -> Result<_> {
        let once = round_trip(&w, first)?;
        let twice = CROSSED.map(|second| Ok(relative_error(&w, &round_trip(&once, second)?)));
        let twice = twice.into_iter().collect::<Result<Vec<_>>>()?;
        Ok((first.name, relative_error(&w, &once), twice))
    });
    let title =
        format!("The error of {} after one rule, and after a second one on top", label(TWICE));
    let mut table = Table::of(title, rows.into_iter().collect::<Result<Vec<_>>>()?)
        .text("first rule", |(name, ..)| *name)
        .number("alone", |(_, once, _)| percent(*once));
    for (index, second) in CROSSED.into_iter().enumerate() {
        table = table.number(format!("then {}", second.name), |(.., of)| percent(of[index]));
    }
    Ok(table.done())
}

/// The matrix with the weights of its rows in the order of their spread groups, so that each group
/// is 32 neighbours.
fn spread(w: &Array2<f32>) -> Result<Array2<f32>> {
    let mut arranged = w.clone();
    for mut row in arranged.rows_mut() {
        let row = row.as_slice_mut().context("a row is contiguous")?;
        let (order, _) = Cut::Spread.arrange(row);
        row.copy_from_slice(&order);
    }
    Ok(arranged)
}

/// The matrix as it is read back, from groups of 32 neighbours.
fn round_trip(w: &Array2<f32>, rule: &Rule) -> Result<Array2<f32>> {
    let mut back = w.clone();
    for mut row in back.rows_mut() {
        let row = row.as_slice_mut().context("a row is contiguous")?;
        for group in row.chunks_exact_mut(GROUP) {
            let values = rule.encode(group)?.values;
            group.copy_from_slice(&values);
        }
    }
    Ok(back)
}

/// The error of one rule on its own output, and its first error, on the matrix of [`requantized`].
///
/// # Errors
/// If a rule refuses a group.
pub fn once_and_twice(slice: &Slice, rule: &Rule) -> Result<[f64; 2]> {
    let w = spread(slice.tensor(TWICE))?;
    let once = round_trip(&w, rule)?;
    let twice = round_trip(&once, rule)?;
    Ok([relative_error(&w, &once), relative_error(&w, &twice)])
}

/// Of the real groups whose weight of largest magnitude is negative: the share in which compressed-tensors'
/// symmetric rule gives it -8. The others get -7, by the last bit of two divisions.
///
/// # Errors
/// If a rule refuses a group.
pub fn peaks_at_minus_eight(slice: &Slice) -> Result<f64> {
    let (mut peaks, mut at_minus_eight) = (0u32, 0u32);
    let w = spread(slice.tensor(TWICE))?;
    for group in w.as_slice().context("contiguous")?.chunks_exact(GROUP) {
        let lowest = group.iter().copied().fold(f32::INFINITY, f32::min);
        if group.iter().all(|weight| weight.abs() <= -lowest) {
            let codes = COMPRESSED_TENSORS_SYMMETRIC.encode(group)?.codes;
            peaks += 1;
            at_minus_eight += u32::from(codes.contains(&-8));
        }
    }
    Ok(f64::from(at_minus_eight) / f64::from(peaks))
}

/// The error of vLLM's cast over the error of its rounding, on whole real rows.
///
/// # Errors
/// If a rule refuses a group.
pub fn cast_cost(slice: &Slice) -> Result<f64> {
    error_ratio(slice, &VLLM_GROUP, &VLLM_DYNAMIC, Cut::Rows)
}

/// The error of Q4_0's scale with a sign over the error of `absmax / 7`, on spread real groups.
///
/// # Errors
/// If a rule refuses a group.
pub fn signed_scale(slice: &Slice) -> Result<f64> {
    error_ratio(slice, &GGML_Q4_0, &AUTOAWQ_SYMMETRIC, Cut::Spread)
}

fn error_ratio(slice: &Slice, one: &Rule, other: &Rule, cut: Cut) -> Result<f64> {
    let one = Tried::on_the_real_slice(slice, one, cut)?.relative();
    Ok(one / Tried::on_the_real_slice(slice, other, cut)?.relative())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inputs::SLICE;
    use formats::rules::LAB_01;
    use int4_groups::{dequantize_groups, quantize_groups};

    #[test]
    fn the_rule_of_lab_03_is_lab_03() -> Result<()> {
        for (name, w) in SLICE.data().all() {
            let lab = quantize_groups(w, GROUP)?;
            let values = dequantize_groups(&lab);
            for (row, weights) in w.rows().into_iter().enumerate() {
                let weights = weights.to_slice().context("contiguous")?;
                for (group, weights) in weights.chunks_exact(GROUP).enumerate() {
                    let range = group * GROUP..(group + 1) * GROUP;
                    let ours = LAB_03.encode(weights)?;
                    let codes: Vec<i32> =
                        lab.q().row(row).slice(ndarray::s![range.clone()]).mapv(i32::from).to_vec();
                    assert_eq!(ours.codes, codes, "{name} row {row} group {group}");
                    assert_eq!(ours.scale, lab.scales()[(row, group)].to_f32(), "{name} {row}");
                    let values = values.row(row).slice(ndarray::s![range]).to_vec();
                    assert_eq!(ours.values, values, "{name} row {row} group {group}");
                }
            }
        }
        Ok(())
    }

    #[test]
    fn the_rule_of_lab_01_is_lab_01() -> Result<()> {
        for (name, w) in SLICE.data().all() {
            let lab = fake_quant_linear::quantize_per_channel(w)?;
            let values = fake_quant_linear::dequantize(&lab);
            for (row, weights) in w.rows().into_iter().enumerate() {
                let ours = LAB_01.encode(weights.to_slice().context("contiguous")?)?;
                assert_eq!(ours.codes, lab.q().row(row).mapv(i32::from).to_vec(), "{name} {row}");
                assert_eq!(ours.scale, lab.scales()[(row, 0)], "{name} row {row}");
                assert_eq!(ours.values, values.row(row).to_vec(), "{name} row {row}");
            }
        }
        Ok(())
    }

    #[test]
    fn a_row_is_cut_as_the_names_say() {
        let row: Vec<f32> = (0u8..96).map(f32::from).collect();
        let first = |cut: Cut| cut.arrange(&row).0[..3].to_vec();
        assert_eq!(first(Cut::Blocks), [0.0, 1.0, 2.0]);
        assert_eq!(first(Cut::Straddling), [16.0, 17.0, 18.0]);
        assert_eq!(first(Cut::Spread), [0.0, 3.0, 6.0]);
        for (cut, length) in [(Cut::Blocks, 96), (Cut::Straddling, 64), (Cut::Spread, 96)] {
            let (mut arranged, size) = cut.arrange(&row);
            arranged.sort_by(f32::total_cmp);
            arranged.dedup();
            assert_eq!((arranged.len(), size), (length, GROUP));
        }
        assert_eq!(Cut::Rows.arrange(&row), (row.clone(), 96));
    }
}
