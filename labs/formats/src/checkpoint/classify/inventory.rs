//! The contents of a checkpoint, matrix by matrix.

use super::byte_codes::ggml;
use super::module::Module;
use crate::checkpoint::problem::Problem;
use crate::checkpoint::scheme::{Quantized, UnknownLayout};
use crate::checkpoint::tensor::Tensor;
use crate::gguf::TensorType;

/// The contents of a checkpoint, by kind.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Inventory {
    /// Matrices that are stored quantized.
    pub quantized: Vec<Quantized>,
    /// Tensors that are not.
    pub plain: Vec<Tensor>,
    /// Modules that are quantized in a layout that is not known here, or could be.
    pub unknown: Vec<UnknownLayout>,
    /// Parts that do not fit each other.
    pub problems: Vec<Problem>,
}

impl Inventory {
    /// In a GGUF file every tensor stands for itself.
    pub(super) fn add_ggml(&mut self, tensor: &Tensor, kind: TensorType) {
        let (name, part) = tensor.name.rsplit_once('.').unwrap_or(("", &tensor.name));
        let mut module = Module::new(name);
        module.add(part, tensor);
        match (ggml(&module, tensor, kind), kind.block()) {
            (Some(quantized), _) => self.quantized.push(quantized),
            (None, Some(_)) => self.plain.push(tensor.clone()),
            (None, None) => {
                let because = "llama.cpp has no type of this number that is known here";
                self.unknown.push(module.unknown(&format!("GGML {kind}"), because));
            }
        }
    }

    /// Adds a matrix. A tensor of the module that is no part of the matrix, such as a bias, is plain.
    pub(super) fn add(&mut self, module: &Module, quantized: Quantized) {
        let is_part = |name: &str| quantized.parts.iter().any(|part| part.name == name);
        let rest = module.parts().filter(|(name, _)| !is_part(name));
        self.plain.extend(rest.map(|(_, tensor)| tensor.clone()));
        self.quantized.push(quantized);
    }

    /// Adds a module whose layout is not known. A bias is plain, as in every module.
    pub(super) fn add_unknown(&mut self, module: &Module, layout: &str, because: &str) {
        let bias = module.parts().filter(|(name, _)| *name == "bias");
        self.plain.extend(bias.map(|(_, tensor)| tensor.clone()));
        self.unknown.push(module.unknown(layout, because));
    }
}
