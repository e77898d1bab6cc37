//! Compares the shapes with the config: two statements about one file.

use std::collections::HashSet;

use super::classify::inventory::Inventory;
use super::config::expected::Expected;
use super::config::quant_config::{ModuleRule, QuantConfig};
use super::names::{pattern, printable};
use super::problem::Problem;
use super::scheme::{GptqVersion, Quantized, Scheme};

/// Where the config says one thing and the file another.
///
/// Only what a shape can show is compared. `QuantConfig::unverifiable` has the rest.
pub fn contradictions(inventory: &Inventory, config: &QuantConfig) -> Vec<Problem> {
    let mut problems = Vec::new();
    for quantized in &inventory.quantized {
        check_module(quantized, config, &mut problems);
    }
    problems.extend(missing(inventory, config));
    let is_plain = inventory.quantized.is_empty()
        && inventory.unknown.is_empty()
        && inventory.problems.is_empty();
    if is_plain && config.is_specific() {
        let method = config.method.as_deref().unwrap_or("?");
        let expected = format!("{} says quant_method {}", config.file, printable(method));
        problems.push(Problem::new("the whole file", "no tensor is quantized", expected));
    }
    problems
}

fn check_module(quantized: &Quantized, config: &QuantConfig, problems: &mut Vec<Problem>) {
    let mut disagree = |file: String, expected: String| {
        let expected = format!("{} says {expected}", config.file);
        problems.push(Problem::new(printable(&quantized.module), file, expected));
    };
    let expected = match config.rule(&quantized.module) {
        ModuleRule::Quantized(expected) => Some(expected),
        ModuleRule::LeftAlone(entry) => {
            let entry = printable(entry);
            disagree(format!("it is {}", quantized.scheme), format!("to leave `{entry}` alone"));
            None
        }
        ModuleRule::Silent if config.is_complete() => {
            disagree(format!("it is {}", quantized.scheme), "nothing about it".into());
            None
        }
        ModuleRule::Silent => None,
    };
    if config.allows(quantized.scheme, expected) == Some(false) {
        let method = printable(config.method.as_deref().unwrap_or("?"));
        let format = expected.and_then(|expected| expected.format.as_deref());
        let format =
            format.map_or(String::new(), |format| format!(", format {}", printable(format)));
        disagree(format!("it is {}", quantized.scheme), format!("quant_method {method}{format}"));
    } else if let Some(expected) = expected.filter(|_| quantized.scheme != Scheme::EXPERTS) {
        check_numbers(quantized, expected, &mut disagree);
    }
    let is_gptq = matches!(quantized.scheme, Scheme::Gptq(_));
    if is_gptq && config.desc_act == Some(true) && !has_part(quantized, "g_idx") {
        disagree("it has no g_idx".into(), "desc_act true, which needs one".into());
    }
}

/// Bits, group and symmetry of one matrix.
fn check_numbers(
    quantized: &Quantized,
    expected: &Expected,
    disagree: &mut impl FnMut(String, String),
) {
    if let (Some(found), Some(said)) = (quantized.bits, expected.bits)
        && found != said
    {
        disagree(format!("its codes have {found} bits"), format!("{said} bits"));
        return;
    }
    if let (Some([out, inputs]), Some(said)) = (quantized.matrix(), expected.group) {
        // The grids of scales are compared and not the groups, because a group of `in` neighbours is a
        // channel.
        let (found, said_grid) = (quantized.group.grid(out, inputs), said.grid(out, inputs));
        if let (Some(found), Some([rows, columns])) = (found, said_grid)
            && found != [rows, columns]
        {
            let group = quantized.group;
            disagree(
                format!("[{out}, {inputs}] has scales of {found:?}: group {group}"),
                format!("group {said}, which takes [{rows}, {columns}]"),
            );
        }
    }
    if let (Some(found), Some(said)) = (quantized.zeros.symmetric(), expected.symmetric)
        && found != said
    {
        // AWQ and GPTQ matrices without qzeros cannot be asymmetric.
        let stored = if found { "no zero points are stored" } else { "zero points are stored" };
        disagree(stored.into(), if said { "symmetric".into() } else { "asymmetric".into() });
    }
}

/// Modules that stayed plain although the same module of another layer is quantized, and the config
/// wants them quantized.
fn missing<'a>(
    inventory: &'a Inventory,
    config: &'a QuantConfig,
) -> impl Iterator<Item = Problem> + 'a {
    let patterns: HashSet<String> =
        inventory.quantized.iter().map(|quantized| pattern(&quantized.module)).collect();
    inventory.plain.iter().filter_map(move |tensor| {
        let module = tensor.name.strip_suffix(".weight")?;
        let is_wanted = matches!(config.rule(module), ModuleRule::Quantized(_));
        (is_wanted && patterns.contains(&pattern(module))).then(|| {
            let file = format!("it is plain {}, and quantized in another layer", tensor.storage);
            let expected = format!("{} does not leave it alone", config.file);
            Problem::new(printable(module), file, expected)
        })
    })
}

fn has_part(quantized: &Quantized, name: &str) -> bool {
    quantized.parts.iter().any(|part| part.name == name)
}

/// The statements of the config that no shape can show.
pub fn unverifiable(inventory: &Inventory, config: &QuantConfig) -> Vec<String> {
    let mut words = config.unverifiable.clone();
    let is_gptq = inventory.quantized.iter().any(|q| matches!(q.scheme, Scheme::Gptq(_)));
    if is_gptq && config.gptq_version == GptqVersion::Unsaid {
        words.push("no checkpoint_format: loaders take GPTQ v1, zero points minus one".into());
    }
    words
}
