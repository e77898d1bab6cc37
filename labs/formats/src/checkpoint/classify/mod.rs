//! From tensors to quantized matrices: groups tensors by module, and tells the scheme of each.

mod awq_gptq;
mod byte_codes;
mod floats;
pub(super) mod inventory;
mod module;
mod weight_packed;

use std::collections::BTreeMap;

use super::config::expected::Expected;
use super::config::quant_config::QuantConfig;
use super::dtype::{Dtype, Storage};
use super::names::printable;
use super::problem::Problem;
use super::scheme::Quantized;
use super::tensor::Tensor;
use inventory::Inventory;
use module::{Module, Wrong};

/// Puts the parts of each quantized matrix together, and tells what it is.
///
/// `config` decides only where shapes have two readings. It never overrules the shapes: [`contradictions`](super::contradictions::contradictions) compares the two.
pub fn classify(tensors: &[Tensor], config: Option<&QuantConfig>) -> Inventory {
    let mut modules: BTreeMap<&str, Module> = BTreeMap::new();
    let mut inventory = Inventory::default();
    for tensor in tensors {
        if let Storage::Blocks(kind) = tensor.storage {
            inventory.add_ggml(tensor, kind);
            continue;
        }
        let (name, part) = split(&tensor.name);
        modules.entry(name).or_insert_with(|| Module::new(name)).add(part, tensor);
    }
    for module in modules.values() {
        let expected = config.and_then(|config| config.expected(module.name));
        match quantized(module, config, expected) {
            Ok(Some(quantized)) => inventory.add(module, quantized),
            Ok(None) => inventory.plain.extend(module.tensors().cloned()),
            Err((file, expected)) => {
                inventory.problems.push(Problem::new(printable(module.name), file, expected));
                inventory.plain.extend(module.tensors().cloned());
            }
        }
    }
    inventory
}

fn quantized(
    module: &Module,
    config: Option<&QuantConfig>,
    expected: Option<&Expected>,
) -> Result<Option<Quantized>, Wrong> {
    // By the part that only one family of layouts has; `weight` comes last, because plain layers have one.
    if module.get("qweight").is_some() {
        return awq_gptq::awq_or_gptq(module, config, expected).map(Some);
    }
    if module.get("weight_packed").is_some() {
        return weight_packed::packed(module, expected).map(Some);
    }
    if module.get("blocks").is_some() && module.get("scales").is_some() {
        return floats::gpt_oss(module).map(Some);
    }
    let Some(weight) = module.get("weight") else { return orphans(module).map(|()| None) };
    match weight.storage {
        Storage::Elements(dtype) if dtype.is_fp8() => floats::fp8(module, weight, expected),
        Storage::Elements(Dtype::I8) => byte_codes::int8(module, weight, expected),
        Storage::Elements(Dtype::U8) => byte_codes::bytes(module, weight),
        _ => orphans(module).map(|()| None),
    }
}

/// Scales without codes: part of the checkpoint is missing.
fn orphans(module: &Module) -> Result<(), Wrong> {
    const COMPANIONS: [&str; 4] =
        ["qzeros", "weight_zero_point", "weight_scale", "weight_scale_inv"];
    match COMPANIONS.into_iter().find(|name| module.get(name).is_some()) {
        None => Ok(()),
        Some(name) => Err((
            format!("{name} is here without codes that need it"),
            "the codes are missing, or lie in a shard that is not here".into(),
        )),
    }
}

/// The module and the part of a tensor's name.
fn split(name: &str) -> (&str, &str) {
    // bitsandbytes: `q_proj.weight.absmax` belongs to `q_proj`.
    if let Some(at) = name.find(".weight.") {
        return (&name[..at], &name[at + 1..]);
    }
    // gpt-oss: `experts.down_proj_blocks`.
    for part in ["blocks", "scales"] {
        if let Some(module) = name.strip_suffix(part).and_then(|rest| rest.strip_suffix('_')) {
            return (module, part);
        }
    }
    name.rsplit_once('.').unwrap_or(("", name))
}
