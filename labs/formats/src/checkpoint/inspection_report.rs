//! An inspection as tables and sentences.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::contradictions::Comparison;
use super::inspection::Inspection;
use super::names::{collapse, printable};
use super::problem::Problem;
use super::scheme::{Quantized, Scheme, UnknownLayout, bits_per_weight};
use kit::Table;
use kit::table::count;

/// How many names a row shows, unless all are asked for.
const NAMES: usize = 4;

/// What is summed over the tensors of a row.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sum {
    /// Matrices, or plain tensors.
    pub tensors: usize,
    /// Weights in them.
    pub weights: u64,
    /// Bytes, all parts counted.
    pub bytes: u64,
    /// Tensors whose number of weights the header does not tell; their bytes are counted.
    pub unknown: usize,
}

impl Sum {
    fn add(&mut self, weights: Option<u64>, bytes: u64) {
        self.tensors += 1;
        self.weights = self.weights.saturating_add(weights.unwrap_or(0));
        self.bytes = self.bytes.saturating_add(bytes);
        self.unknown += usize::from(weights.is_none());
    }

    /// Bits a weight costs; `None` if some weights are not counted.
    pub fn bits_per_weight(&self) -> Option<f64> {
        bits_per_weight(self.bytes, self.weights).filter(|_| self.unknown == 0)
    }
}

/// The sums of each scheme and of each plain type, and of everything.
pub fn sums(inspection: &Inspection) -> (BTreeMap<String, Sum>, BTreeMap<String, Sum>, Sum) {
    let (mut quantized, mut plain) = (BTreeMap::<_, Sum>::new(), BTreeMap::<_, Sum>::new());
    let mut total = Sum::default();
    for tensor in &inspection.inventory.quantized {
        let sum = quantized.entry(tensor.scheme.to_string()).or_default();
        sum.add(tensor.weights, tensor.bytes());
        total.add(tensor.weights, tensor.bytes());
    }
    for module in &inspection.inventory.unknown {
        quantized.entry(module.layout.clone()).or_default().add(None, module.bytes);
        total.add(None, module.bytes);
    }
    for tensor in &inspection.inventory.plain {
        let sum = plain.entry(tensor.storage.to_string()).or_default();
        sum.add(Some(tensor.elements()), tensor.bytes);
        total.add(Some(tensor.elements()), tensor.bytes);
    }
    (quantized, plain, total)
}

/// The whole file in a few lines: tensors, weights, bytes and bits a weight of each scheme.
pub fn summary(inspection: &Inspection) -> Table {
    let (quantized, plain, total) = sums(inspection);
    let plain = plain.into_iter().map(|(storage, sum)| (format!("not quantized, {storage}"), sum));
    let rows = quantized.into_iter().chain(plain).chain([("everything".into(), total)]);
    let weights = |sum: &Sum| if sum.unknown > 0 { "?".into() } else { whole(sum.weights) };
    Table::of("What is stored how", rows)
        .text("stored as", |(name, _)| name.clone())
        .number("tensors", |(_, sum)| count(sum.tensors))
        .number("weights", |(_, sum)| weights(sum))
        .number("bytes", |(_, sum)| whole(sum.bytes))
        .number("bits a weight", |(_, sum)| bits(sum.bits_per_weight()))
        .done()
}

/// The quantized matrices. Matrices that are alike share a row.
pub fn quantized(inspection: &Inspection, all: bool) -> Table {
    let mut rows: BTreeMap<[String; 6], Vec<&str>> = BTreeMap::new();
    for tensor in &inspection.inventory.quantized {
        rows.entry(key(tensor)).or_default().push(&tensor.module);
    }
    Table::of("Quantized", rows)
        .text("modules", |(_, modules)| names(modules.clone(), all))
        .number("count", |(_, modules)| count(modules.len()))
        .text("scheme", |(key, _)| key[0].clone())
        .number("bits", |(key, _)| key[1].clone())
        .number("group", |(key, _)| key[2].clone())
        .text("[out, in]", |(key, _)| key[3].clone())
        .number("bits a weight", |(key, _)| key[4].clone())
        .text("symmetric", |(key, _)| key[5].clone())
        .done()
}

/// What the matrices of a row have in common.
fn key(tensor: &Quantized) -> [String; 6] {
    [
        tensor.scheme.to_string(),
        match tensor.scheme {
            Scheme::Ggml(kind) => kind.code_bits(),
            _ => tensor.bits.map_or("?".into(), |bits| bits.to_string()),
        },
        tensor.group.to_string(),
        tensor.shape.as_ref().map_or("?".into(), |shape| format!("{shape:?}")),
        bits(tensor.bits_per_weight()),
        tensor.zeros.to_string(),
    ]
}

/// The modules whose layout is not known here, and why. Modules that are alike share a row.
pub fn unknown(inspection: &Inspection, all: bool) -> Table {
    let mut rows: BTreeMap<(&str, &str), Vec<&UnknownLayout>> = BTreeMap::new();
    for module in &inspection.inventory.unknown {
        rows.entry((&module.layout, &module.because)).or_default().push(module);
    }
    let bytes = |modules: &[&UnknownLayout]| {
        modules.iter().fold(0, |sum: u64, module| sum.saturating_add(module.bytes))
    };
    Table::of("Layouts not known here", rows)
        .text("modules", |(_, modules)| {
            names(modules.iter().map(|m| m.module.as_str()).collect(), all)
        })
        .number("count", |(_, modules)| count(modules.len()))
        .text("stored as", |((layout, _), _)| (*layout).to_owned())
        .number("bytes", |(_, modules)| whole(bytes(modules)))
        .text("not checked, because", |((_, because), _)| (*because).to_owned())
        .done()
}

/// The plain tensors. Tensors that are alike share a row.
pub fn plain(inspection: &Inspection, all: bool) -> Table {
    let mut rows: BTreeMap<(String, String), Vec<&str>> = BTreeMap::new();
    for tensor in &inspection.inventory.plain {
        let key = (tensor.storage.to_string(), format!("{:?}", tensor.shape));
        rows.entry(key).or_default().push(&tensor.name);
    }
    Table::of("Not quantized", rows)
        .text("tensors", |(_, tensors)| names(tensors.clone(), all))
        .number("count", |(_, tensors)| count(tensors.len()))
        .text("dtype", |((storage, _), _)| storage.clone())
        .text("shape", |((_, shape), _)| shape.clone())
        .done()
}

/// The parts of one matrix of each kind: what the arithmetic starts from.
pub fn parts(inspection: &Inspection) -> Table {
    let mut table = Table::new("Parts of the first matrix of each kind")
        .text("tensor")
        .text("dtype")
        .text("shape")
        .number("bytes");
    let mut seen = std::collections::HashSet::new();
    for tensor in &inspection.inventory.quantized {
        if !seen.insert(key(tensor)) {
            continue;
        }
        for part in &tensor.parts {
            let name = printable(&format!("{}.{}", tensor.module, part.name));
            let shape = format!("{:?}", part.shape);
            table.row([name, part.storage.to_string(), shape, whole(part.bytes)]);
        }
    }
    table
}

/// Whether config and file agree, in sentences; problems that are alike share one.
pub fn verdict(inspection: &Inspection) -> Vec<String> {
    let mut lines = Vec::new();
    let Inspection { config, comparison, problems, .. } = inspection;
    let describes_itself = |tensor: &Quantized| matches!(tensor.scheme, Scheme::Ggml(_));
    match config {
        None if inspection.inventory.quantized.iter().any(describes_itself)
            || inspection
                .inventory
                .unknown
                .iter()
                .any(|module| module.layout.starts_with("GGML")) =>
        {
            lines.push("config: none is needed, a GGUF file names the type of each tensor".into());
        }
        None => {
            lines.push("config: there is none beside the file that speaks of quantization".into())
        }
        Some(config) => {
            let Comparison { compared, words, unchecked, notes, .. } = comparison;
            let method = printable(config.method.as_deref().unwrap_or("none"));
            let word = match (problems.is_empty(), compared.is_empty(), unchecked.is_empty()) {
                (false, ..) => "see the contradictions",
                (true, true, _) => "not checked",
                (true, false, true) => "agrees",
                (true, false, false) => "not checked in full",
            };
            lines.push(format!("config: {word} ({}, quant_method {method})", config.file));
            if !compared.is_empty() {
                let names: Vec<&str> = compared.iter().map(|aspect| aspect.name()).collect();
                lines.push(format!("compared with the shapes: {}", names.join(", ")));
            }
            if !words.is_empty() {
                lines
                    .push(format!("on the config's word, no shape shows it: {}", words.join("; ")));
            }
            lines.extend(unchecked.iter().map(|reason| format!("not checked: {reason}")));
            let notes = config.notes.iter().chain(notes);
            lines.extend(notes.map(|note| format!("note: {note}")));
        }
    }
    lines.extend(missing_parts(inspection));
    lines.extend(contradictions(problems));
    lines
}

/// The parts of a GGUF model that are not here, in a sentence.
fn missing_parts(inspection: &Inspection) -> Option<String> {
    let parts: Vec<_> = inspection.files.iter().filter_map(|file| file.part).collect();
    let count = parts.first()?.count;
    let here: Vec<String> = parts.iter().map(|part| part.number.to_string()).collect();
    (here.len() as u64 != count).then(|| {
        format!(
            "note: part {} of {count} of a GGUF model in several files: the other parts are not in this \
             folder, and every sum is of the parts that are here",
            here.join(", ")
        )
    })
}

/// The problems in sentences, layers collapsed.
fn contradictions(problems: &[Problem]) -> Vec<String> {
    let mut alike: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    for Problem { name, file, expected } in problems {
        alike.entry((file, expected)).or_default().push(name);
    }
    let lines = alike.into_iter().map(|((file, expected), modules)| {
        format!("contradiction: {}: {file}; {expected}", names(modules, false))
    });
    lines.collect()
}

/// Everything as JSON, for other programs; one entry for each matrix.
pub fn to_json(inspection: &Inspection) -> Value {
    let (quantized, plain, total) = sums(inspection);
    json!({
        "files": inspection.files.iter().map(|file| json!({
            "path": file.path.display().to_string(),
            "bytes": file.bytes,
            "header_bytes": file.header_bytes,
            "part": file.part.map(|part| [part.number, part.count]),
        })).collect::<Vec<_>>(),
        "total": sum_json(&total),
        "schemes": sums_json(&quantized),
        "plain": sums_json(&plain),
        "unknown": inspection.inventory.unknown.iter().map(|module| json!({
            "module": module.module,
            "layout": module.layout,
            "bytes": module.bytes,
            "because": module.because,
        })).collect::<Vec<_>>(),
        "quantized": inspection.inventory.quantized.iter().map(quantized_json).collect::<Vec<_>>(),
        "config": inspection.config.as_ref().map(|config| json!({
            "file": config.file,
            "quant_method": config.method,
            "notes": config.notes,
            "compared": inspection.comparison.compared.iter().map(|a| a.name()).collect::<Vec<_>>(),
            "unverifiable": inspection.comparison.words,
            "unchecked": inspection.comparison.unchecked,
        })),
        "problems": inspection.problems.iter().map(|problem| json!({
            "name": problem.name,
            "file": problem.file,
            "expected": problem.expected,
        })).collect::<Vec<_>>(),
    })
}

fn sums_json(sums: &BTreeMap<String, Sum>) -> Value {
    sums.iter().map(|(name, sum)| (name.clone(), sum_json(sum))).collect()
}

fn sum_json(sum: &Sum) -> Value {
    json!({
        "tensors": sum.tensors,
        "weights": (sum.unknown == 0).then_some(sum.weights),
        "bytes": sum.bytes,
        "bits_per_weight": sum.bits_per_weight(),
    })
}

fn quantized_json(tensor: &Quantized) -> Value {
    json!({
        "module": tensor.module,
        "scheme": tensor.scheme.to_string(),
        "bits": tensor.bits,
        "group": tensor.group.to_string(),
        "shape": tensor.shape,
        "weights": tensor.weights,
        "bytes": tensor.bytes(),
        "bits_per_weight": tensor.bits_per_weight(),
        "symmetric": tensor.zeros.symmetric(),
        "symmetric_because": tensor.zeros.to_string(),
        "parts": tensor.parts.iter().map(|part| json!({
            "name": part.name,
            "dtype": part.storage.to_string(),
            "shape": part.shape,
            "bytes": part.bytes,
        })).collect::<Vec<_>>(),
    })
}

fn names(names: Vec<&str>, all: bool) -> String {
    let mut collapsed = collapse(names);
    let more = collapsed.len().saturating_sub(NAMES);
    if !all && more > 0 {
        collapsed.truncate(NAMES);
        collapsed.push(format!("and {more} more"));
    }
    collapsed.join(", ")
}

fn whole(number: u64) -> String {
    usize::try_from(number).map_or_else(|_| number.to_string(), count)
}

fn bits(bits: Option<f64>) -> String {
    bits.map_or("?".into(), |bits| format!("{bits:.3}"))
}
