//! From tensors to quantized matrices: which tensors belong together, and what they stand for.

mod compressed;
mod floats;
mod module;
mod others;
mod words;

use std::collections::BTreeMap;

use crate::gguf::TensorType;

use super::names::printable;
use super::{Problem, QuantConfig, Quantized, Storage, Tensor};
use module::Module;

/// What a checkpoint holds, by kind.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Inventory {
    /// Matrices that are stored quantized.
    pub quantized: Vec<Quantized>,
    /// Tensors that are not.
    pub plain: Vec<Tensor>,
    /// Parts that do not fit each other.
    pub problems: Vec<Problem>,
}

/// Puts the parts of each quantized matrix together, and tells what it is.
///
/// `config` helps where shapes have two readings, and with what no shape shows. It is not believed
/// against the shapes: [`check`](super::check::check) compares the two.
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

impl Inventory {
    /// In a GGUF file every tensor stands for itself.
    fn add_ggml(&mut self, tensor: &Tensor, kind: TensorType) {
        let (name, part) = tensor.name.rsplit_once('.').unwrap_or(("", &tensor.name));
        let mut module = Module::new(name);
        module.add(part, tensor);
        match others::ggml(&module, tensor, kind) {
            Some(quantized) => self.quantized.push(quantized),
            None => self.plain.push(tensor.clone()),
        }
    }

    fn add(&mut self, module: &Module, quantized: Quantized) {
        let is_part = |name: &str| quantized.parts.iter().any(|part| part.name == name);
        let rest = module.parts().filter(|(name, _)| !is_part(name));
        self.plain.extend(rest.map(|(_, tensor)| tensor.clone()));
        self.quantized.push(quantized);
    }
}

/// What is wrong with a module: what the file says, and what it should say.
type Wrong = (String, String);

fn quantized(
    module: &Module,
    config: Option<&QuantConfig>,
    expected: Option<&super::Expected>,
) -> Result<Option<Quantized>, Wrong> {
    if module.get("qweight").is_some() {
        return words::awq_or_gptq(module, config, expected).map(Some);
    }
    if module.get("weight_packed").is_some() {
        return compressed::packed(module, expected).map(Some);
    }
    if module.get("blocks").is_some() && module.get("scales").is_some() {
        return floats::gpt_oss(module).map(Some);
    }
    let Some(weight) = module.get("weight") else { return orphans(module).map(|()| None) };
    match weight.storage {
        Storage::Elements(dtype) if dtype.is_fp8() => floats::fp8(module, weight, expected),
        Storage::Elements(super::Dtype::I8) => others::int8(module, weight, expected),
        Storage::Elements(super::Dtype::U8) => others::bytes(module, weight),
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
