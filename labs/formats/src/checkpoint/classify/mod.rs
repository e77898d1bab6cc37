//! From tensors to quantized matrices: groups tensors by module, and tells the scheme of each.

mod awq_gptq;
mod byte_codes;
mod floats;
pub(super) mod inventory;
mod module;
mod named;
mod weight_packed;

use std::collections::{BTreeMap, HashMap, HashSet};

use super::config::quant_config::QuantConfig;
use super::dtype::{Dtype, Storage};
use super::problem::Problem;
use super::scheme::Quantized;
use super::tensor::Tensor;
use crate::printable::printable;
use inventory::Inventory;
use module::{Module, Wrong, is};
use named::Said;

/// Puts the parts of each quantized matrix together, and tells what it is.
///
/// `config` decides only where shapes have two readings. It never overrules the shapes: [`contradictions`](super::contradictions::contradictions) compares the two.
pub fn classify(tensors: &[Tensor], config: Option<&QuantConfig>) -> Inventory {
    let mut modules: BTreeMap<&str, Module> = BTreeMap::new();
    let mut inventory = Inventory::default();
    let fused = fused(tensors);
    for tensor in tensors {
        if let Storage::Blocks(kind) = tensor.storage {
            inventory.add_ggml(tensor, kind);
            continue;
        }
        let (name, part) = split(&tensor.name, &fused);
        modules.entry(name).or_insert_with(|| Module::new(name)).add(part, tensor);
    }
    for module in modules.values() {
        let expected = config.and_then(|config| config.expected(module.name));
        match quantized(module, Said { config, expected }) {
            Ok(Some(quantized)) => inventory.add(module, quantized),
            Ok(None) => inventory.plain.extend(module.tensors().cloned()),
            Err(Wrong::Contradiction(file, expected)) => {
                inventory.problems.push(Problem::new(printable(module.name), file, expected));
                inventory.plain.extend(module.tensors().cloned());
            }
            Err(Wrong::NotKnown(layout, because)) => {
                inventory.add_unknown(module, layout, &because)
            }
        }
    }
    inventory
}

fn quantized(module: &Module, said: Said) -> Result<Option<Quantized>, Wrong> {
    if let Some(table) = byte_codes::bitsandbytes_table(module) {
        return byte_codes::bitsandbytes(module, table).map(Some);
    }
    let weight = module.get("weight");
    if module.get("weight_scale_2").is_some()
        && module.has("weight_scale", &[Dtype::F8E4M3])
        && let Some(weight) = weight.filter(|weight| is(Some(weight), Dtype::U8))
    {
        return byte_codes::modelopt(module, weight).map(Some);
    }
    if let Some(quantized) = named::named(module, said)? {
        return Ok(Some(quantized));
    }
    // By the part that only one family of layouts has; `weight` comes last, because plain layers have one.
    if module.get("qweight").is_some() {
        return awq_gptq::awq_or_gptq(module, said.config, said.expected).map(Some);
    }
    if module.get("weight_packed").is_some() {
        return weight_packed::packed(module, said.expected).map(Some);
    }
    if module.get("blocks").is_some() && module.get("scales").is_some() {
        return floats::gpt_oss(module).map(Some);
    }
    let found = match weight.map(|weight| (weight, weight.storage)) {
        Some((weight, Storage::Elements(dtype))) if dtype.is_fp8() => {
            floats::fp8(module, weight, said.expected)?
        }
        Some((weight, Storage::Elements(Dtype::I8))) => {
            byte_codes::int8(module, weight, said.expected)?
        }
        _ => None,
    };
    match found {
        Some(found) => Ok(Some(found)),
        None => not_plain(module, said.config).map(|()| None),
    }
}

/// Whether the module is more than plain tensors: codes beside scales, codes alone, or scales alone.
fn not_plain(module: &Module, config: Option<&QuantConfig>) -> Result<(), Wrong> {
    /// Parts that nothing but a quantized matrix has.
    const COMPANIONS: [&str; 4] =
        ["qzeros", "weight_zero_point", "weight_scale", "weight_scale_inv"];
    let holds_codes = |tensor: &Tensor| match tensor.storage {
        Storage::Elements(dtype) => {
            use Dtype::{F4, F6E2M3, F6E3M2, I8, I16, I32, U8, U16, U32};
            let codes = [F4, F6E2M3, F6E3M2, I8, I16, I32, U8, U16, U32];
            tensor.shape.len() > 1 && (codes.contains(&dtype) || dtype.is_fp8())
        }
        Storage::Blocks(_) => false,
    };
    // Scales of activations, of the cache and of logits say nothing of a weight.
    let others = ["k_scale", "v_scale", "q_scale", "input_scale", "output_scale", "logit_scale"];
    let scales = module.parts().filter(|(name, _)| !others.contains(name)).find(|(name, _)| {
        ["scale", "zero", "absmax", "codebook"].iter().any(|word| name.contains(word))
    });
    // A method that is not known here may give its scales any name, but not those of masks and indices of
    // plain models.
    let any_name = config.is_some_and(|config| config.method.is_some() && !config.is_specific());
    let is_plain = |name: &str| ["bias", "index", "ids"].iter().any(|end| name.ends_with(end));
    // The tensors without a module are not one.
    let codes = module.parts().find(|(name, tensor)| {
        let alone = *name == "weight"
            && !matches!(tensor.storage, Storage::Elements(dtype) if dtype.is_fp8());
        let beside = scales.is_some() || any_name && !is_plain(name);
        holds_codes(tensor) && (alone || beside && !module.name.is_empty())
    });
    if codes.is_some() {
        let because = match scales {
            Some(_) => "no layout that is known here has these parts",
            None => "whole numbers without scales beside them in this file",
        };
        return Err(Wrong::not_known(format!("{because}: {}", named::shapes(module))));
    }
    match COMPANIONS.into_iter().find(|name| module.get(name).is_some()) {
        Some(name) if module.get("weight").is_none() => Err(Wrong::not_known(format!(
            "{name} is here without codes that need it; they may lie in a shard that is not here"
        ))),
        _ => Ok(()),
    }
}

/// The ends of names that a tensor of codes and its scales have where the module is one tensor and not a layer:
/// `experts.down_proj`, `experts.down_proj_scale`. The part is the name that a layer gives to the same.
const FUSED: [(&str, &str); 8] = [
    ("_weight_scale_2", "weight_scale_2"),
    ("_weight_scale_inv", "weight_scale_inv"),
    ("_weight_scale", "weight_scale"),
    ("_input_scale", "input_scale"),
    ("_scale_inv", "weight_scale_inv"),
    ("_scale", "weight_scale"),
    ("_blocks", "blocks"),
    ("_scales", "scales"),
];

/// The modules whose parts are named so.
fn fused(tensors: &[Tensor]) -> HashSet<&str> {
    let names: HashMap<&str, Storage> =
        tensors.iter().map(|tensor| (tensor.name.as_str(), tensor.storage)).collect();
    let are_codes = |base: &str| match names.get(base) {
        Some(Storage::Elements(dtype)) => {
            !base.ends_with("weight") && (dtype.is_fp8() || matches!(dtype, Dtype::U8 | Dtype::I8))
        }
        // gpt-oss: `experts.down_proj_blocks` and `experts.down_proj_scales`.
        _ => ["_blocks", "_scales"]
            .iter()
            .all(|end| names.contains_key(format!("{base}{end}").as_str())),
    };
    let bases =
        names.keys().filter_map(|name| FUSED.iter().find_map(|(end, _)| name.strip_suffix(end)));
    bases.filter(|base| are_codes(base)).collect()
}

/// The module and the part of a tensor's name.
fn split<'a>(name: &'a str, fused: &HashSet<&str>) -> (&'a str, &'a str) {
    // bitsandbytes: `q_proj.weight.absmax` belongs to `q_proj`. VPTQ: so does `q_proj.centroids.weight`.
    let inside = [".weight.", ".centroids.", ".res_centroids.", ".outlier_centroids."];
    if let Some(at) = inside.iter().find_map(|part| name.find(part)) {
        return (&name[..at], &name[at + 1..]);
    }
    if fused.contains(name) {
        return (name, "weight");
    }
    for (end, part) in FUSED {
        if let Some(module) = name.strip_suffix(end).filter(|module| fused.contains(module)) {
            return (module, part);
        }
    }
    name.rsplit_once('.').unwrap_or(("", name))
}
