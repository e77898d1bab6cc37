//! A quantization config: its rule for each module.

use super::expected::{Expected, KvCache, Numbers, WeightGrid};
use super::module_patterns::{Listed, Tier};
use crate::checkpoint::scheme::{GptqVersion, Scheme};
use crate::printable::printable;

/// Whether the config wants a module quantized.
#[derive(Clone, Debug, PartialEq)]
pub enum ModuleRule<'a> {
    /// On the list of modules to leave alone, by this entry.
    LeftAlone(&'a str),
    /// Quantized, like this.
    Quantized(&'a Expected),
    /// The config does not say.
    Silent,
    /// This entry may name the module.
    Doubt {
        /// The entry as the config writes it.
        entry: &'a str,
        /// Whether the entry cannot be read here. Otherwise its loaders read it differently.
        is_unread: bool,
    },
}

/// What an entry of a list does with the modules it names.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Outcome {
    LeaveAlone,
    /// Quantize like the group of this number.
    Like(usize),
}

/// A quantization config, read once.
#[derive(Clone, Debug, Default)]
pub struct QuantConfig {
    /// The file it was found in.
    pub file: String,
    /// `quant_method`, by one name for each method, or what other fields or the file's name stand for.
    pub method: Option<String>,
    /// What could not be checked, in words.
    pub notes: Vec<String>,
    /// Fields that are there and cannot be read, in words.
    pub unread: Vec<String>,
    /// Fields that shapes cannot confirm, as they stand there.
    pub unverifiable: Vec<String>,
    /// GPTQ: how zero points are stored.
    pub gptq_version: GptqVersion,
    /// GPTQ: whether rows were reordered.
    pub desc_act: Option<bool>,
    /// How keys and values are kept; `None` if nothing is said.
    pub kv_cache: Option<KvCache>,
    /// Lists of modules. The first list that names a module decides.
    pub(super) tiers: Vec<Tier<Outcome>>,
    pub(super) expected: Vec<Expected>,
    /// Whether modules are named in a way that no file shows, as by their class.
    pub(super) names_classes: bool,
}

impl QuantConfig {
    /// What the config says about `module`.
    pub fn rule(&self, module: &str) -> ModuleRule<'_> {
        let mut doubts = Vec::new();
        for tier in &self.tiers {
            let answer = tier.ask(module);
            doubts.extend(answer.doubts);
            let Some(entry) = answer.sure else { continue };
            // A doubt matters only if its entry would decide otherwise.
            doubts.retain(|doubt| doubt.outcome != entry.outcome);
            if doubts.is_empty() {
                return match entry.outcome {
                    Outcome::LeaveAlone => ModuleRule::LeftAlone(&entry.text),
                    Outcome::Like(group) => ModuleRule::Quantized(&self.expected[group]),
                };
            }
            break;
        }
        match doubts.first() {
            Some(doubt) => ModuleRule::Doubt { entry: &doubt.text, is_unread: doubt.is_unread() },
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
        self.expected.iter()
    }

    /// The modules to leave alone, as the config names them.
    pub fn left_alone(&self) -> impl Iterator<Item = &str> {
        let entries = self.tiers.iter().flat_map(Tier::entries);
        let alone = entries.filter(|entry| entry.outcome == Outcome::LeaveAlone);
        alone.map(|entry| entry.text.as_str())
    }

    /// Whether the config says anything about modules that could be checked.
    pub fn is_specific(&self) -> bool {
        !self.expected.is_empty()
    }

    /// Whether a module that no group names must stay plain.
    pub fn is_complete(&self) -> bool {
        self.is_specific() && !self.names_classes
    }

    /// Whether configs of the method say what happens to activations. Others quantize weights alone.
    pub(in crate::checkpoint) fn speaks_of_activations(&self) -> bool {
        matches!(self.method.as_deref(), Some("compressed-tensors" | "modelopt" | "quark"))
    }

    /// Adds a group of modules; its number is the outcome of entries that name them.
    pub(super) fn group(&mut self, expected: Expected) -> Outcome {
        let known = self.expected.iter().position(|known| *known == expected);
        Outcome::Like(known.unwrap_or_else(|| {
            self.expected.push(expected);
            self.expected.len() - 1
        }))
    }

    /// Entries of lists that cannot be read here, in words.
    pub(super) fn unread_entries(&self) -> Vec<String> {
        let entries =
            self.tiers.iter().flat_map(Tier::entries).filter(|entry| entry.cannot_be_read());
        let reason =
            |text: &str| format!("the expression `{}` cannot be read here", printable(text));
        entries.map(|entry| reason(&entry.text)).collect()
    }

    /// Adds a list that counts where those before it say nothing.
    pub(super) fn tier(&mut self, list: impl IntoIterator<Item = Listed<Outcome>>) {
        self.tiers.push(Tier::new(list));
    }

    /// Whether files of this method look like `scheme`; `None` where the method or its layout is not known
    /// here.
    pub fn allows(&self, scheme: Scheme, expected: Option<&Expected>) -> Option<bool> {
        if matches!(scheme, Scheme::Named(_)) {
            return None;
        }
        let format = expected.and_then(|expected| expected.format.as_deref());
        let grid = expected.and_then(|expected| expected.grid.as_ref());
        let is_gptq = matches!(scheme, Scheme::Gptq(_));
        Some(match self.method.as_deref()? {
            "awq" => scheme == Scheme::AwqGemm,
            "gptq" => is_gptq,
            "auto-round" => match format? {
                format if format.contains("awq") => scheme == Scheme::AwqGemm,
                format if format.contains("gptq") => is_gptq,
                _ => return None,
            },
            "fp8" | "fbgemm_fp8" => matches!(scheme, Scheme::Fp8 | Scheme::Fp8ScaleInv),
            "mxfp4" => matches!(scheme, Scheme::Mxfp4 | Scheme::Mxfp4GptOss),
            "bitsandbytes" => matches!(scheme, Scheme::BnbTable { .. } | Scheme::BnbInt8),
            "modelopt" => match grid? {
                WeightGrid::Nvfp4 => scheme == Scheme::Nvfp4ModelOpt,
                WeightGrid::Mxfp8 => scheme == Scheme::Mxfp8,
                WeightGrid::Plain(Numbers::Float) => {
                    matches!(scheme, Scheme::Fp8 | Scheme::Fp8ScaleInv)
                }
                _ => return None,
            },
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
