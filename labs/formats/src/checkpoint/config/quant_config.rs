//! A quantization config: its rule for each module.

use super::expected::{Expected, KvCache};
use super::module_patterns::Pattern;
use crate::checkpoint::scheme::{GptqVersion, Scheme};

/// Whether the config wants a module quantized.
#[derive(Clone, Debug, PartialEq)]
pub enum ModuleRule<'a> {
    /// On the list of modules to leave alone, by this entry.
    LeftAlone(&'a str),
    /// Quantized, like this.
    Quantized(&'a Expected),
    /// The config does not say.
    Silent,
}

/// A quantization config, read once.
#[derive(Clone, Debug, Default)]
pub struct QuantConfig {
    /// The file it was found in.
    pub file: String,
    /// `quant_method`, or what the file's name stands for.
    pub method: Option<String>,
    /// What could not be read or checked, in words.
    pub notes: Vec<String>,
    /// Fields that shapes cannot confirm, as they stand there.
    pub unverifiable: Vec<String>,
    /// GPTQ: how zero points are stored.
    pub gptq_version: GptqVersion,
    /// GPTQ: whether rows were reordered.
    pub desc_act: Option<bool>,
    /// How keys and values are kept; `None` if nothing is said.
    pub kv_cache: Option<KvCache>,
    /// The modules to leave alone.
    pub(super) ignore: Vec<Pattern>,
    /// The first group that names a module counts.
    pub(super) groups: Vec<(Vec<Pattern>, Expected)>,
    /// Whether a group names a class of modules, which no file shows.
    pub(super) names_classes: bool,
}

impl QuantConfig {
    /// What the config says about `module`.
    pub fn rule(&self, module: &str) -> ModuleRule<'_> {
        if let Some(pattern) = self.ignore.iter().find(|pattern| pattern.matches(module)) {
            return ModuleRule::LeftAlone(pattern.text());
        }
        let mut groups = self.groups.iter();
        let names_it = |patterns: &[Pattern]| patterns.iter().any(|p| p.matches(module));
        match groups.find(|(targets, _)| names_it(targets)) {
            Some((_, expected)) => ModuleRule::Quantized(expected),
            None => ModuleRule::Silent,
        }
    }

    /// What the config says about `module`, where it wants it quantized.
    pub fn expected(&self, module: &str) -> Option<&Expected> {
        match self.rule(module) {
            ModuleRule::Quantized(expected) => Some(expected),
            _ => None,
        }
    }

    /// What the config says of each group of modules, in its order.
    pub fn groups(&self) -> impl Iterator<Item = &Expected> {
        self.groups.iter().map(|(_, expected)| expected)
    }

    /// The modules to leave alone, as the config names them.
    pub fn left_alone(&self) -> impl Iterator<Item = &str> {
        self.ignore.iter().map(Pattern::text)
    }

    /// Whether the config says anything about modules that could be checked.
    pub fn is_specific(&self) -> bool {
        !self.groups.is_empty()
    }

    /// Whether a module that no group names must stay plain.
    pub fn is_complete(&self) -> bool {
        self.is_specific() && !self.names_classes
    }

    /// Whether files of this method look like `scheme`; `None` for a method that is not known here.
    pub fn allows(&self, scheme: Scheme, expected: Option<&Expected>) -> Option<bool> {
        if matches!(scheme, Scheme::Named(_)) {
            return None;
        }
        let format = expected.and_then(|expected| expected.format.as_deref());
        Some(match self.method.as_deref()? {
            "awq" => scheme == Scheme::AwqGemm,
            "gptq" => matches!(scheme, Scheme::Gptq(_)),
            "fp8" | "fbgemm_fp8" => matches!(scheme, Scheme::Fp8 | Scheme::Fp8ScaleInv),
            "mxfp4" => matches!(scheme, Scheme::Mxfp4 | Scheme::Mxfp4GptOss),
            "bitsandbytes" => matches!(scheme, Scheme::BnbTable { .. } | Scheme::BnbInt8),
            "modelopt" => {
                matches!(scheme, Scheme::Nvfp4ModelOpt | Scheme::Fp8 | Scheme::Mxfp8)
            }
            "compressed-tensors" => match format? {
                "pack-quantized" => scheme == Scheme::PackQuantized,
                "int-quantized" => scheme == Scheme::IntQuantized,
                "float-quantized" => scheme == Scheme::Fp8,
                "naive-quantized" => matches!(scheme, Scheme::IntQuantized | Scheme::Fp8),
                "nvfp4-pack-quantized" => scheme == Scheme::Nvfp4,
                "mxfp4-pack-quantized" => scheme == Scheme::Mxfp4,
                "mxfp8-quantized" => scheme == Scheme::Mxfp8,
                _ => return None,
            },
            _ => return None,
        })
    }
}
