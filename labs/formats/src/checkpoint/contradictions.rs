//! Compares the shapes with the config: two statements about one file.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::classify::inventory::Inventory;
use super::config::expected::{Activations, Expected, KvCache, Numbers, ScaleTime};
use super::config::quant_config::{ModuleRule, QuantConfig};
use super::dtype::{Dtype, Storage};
use super::names::{pattern, printable};
use super::problem::Problem;
use super::scheme::{GptqVersion, Quantized, Scheme};
use super::tensor::Tensor;
use crate::format::Group;

/// Names of linear layers that every loader quantizes together with their neighbours. Where one of them is
/// plain beside a quantized one, the config has to say so.
const LINEAR: [&str; 9] = [
    "q_proj",
    "k_proj",
    "v_proj",
    "o_proj",
    "qkv_proj",
    "gate_proj",
    "up_proj",
    "down_proj",
    "gate_up_proj",
];

/// Methods whose loaders decide by other rules which layers are quantized: by experts, by the data.
const CHOOSY: [&str; 4] = ["mxfp4", "bitsandbytes", "mlx", "hqq"];

/// A field of a config that the header confirms or contradicts, in the order in which a verdict names them.
#[allow(missing_docs)] // `name` says what each is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Aspect {
    Method,
    Bits,
    GroupSize,
    Block,
    Granularity,
    Table,
    Double,
    ZeroPoints,
    Activations,
    Ignored,
    KvCache,
}

impl Aspect {
    /// The aspect in words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Method => "method",
            Self::Bits => "bits",
            Self::GroupSize => "group size",
            Self::Block => "block",
            Self::Granularity => "granularity",
            Self::Table => "table",
            Self::Double => "quantized scales",
            Self::ZeroPoints => "zero points",
            Self::Activations => "activations",
            Self::Ignored => "ignored modules",
            Self::KvCache => "KV cache",
        }
    }
}

/// What the comparison of a file with its config came to.
#[derive(Clone, Debug, Default)]
pub struct Comparison {
    /// Where the config says one thing and the file another.
    pub problems: Vec<Problem>,
    /// What the header confirms or contradicts.
    pub compared: BTreeSet<Aspect>,
    /// The statements of the config that no shape of this file shows.
    pub words: Vec<String>,
    /// Why something was not compared, each with a module.
    pub unchecked: Vec<String>,
    /// Where loaders differ, so that nothing is held against the file.
    pub notes: Vec<String>,
}

/// Compares the file with its config.
pub fn compare(inventory: &Inventory, config: &QuantConfig) -> Comparison {
    let mut checker = Checker::new(config);
    for quantized in &inventory.quantized {
        checker.module(quantized);
    }
    checker.plain_modules(inventory);
    checker.whole_file(inventory);
    checker.kv_cache(&inventory.plain);
    checker.finish(inventory)
}

/// The comparison while it is made.
struct Checker<'a> {
    config: &'a QuantConfig,
    found: Comparison,
    /// Statements of the config that the header does not show.
    words: BTreeSet<(Aspect, String)>,
    /// Entries in doubt, with the first module that each may name.
    doubts: BTreeMap<(&'a str, bool), String>,
}

impl<'a> Checker<'a> {
    fn new(config: &'a QuantConfig) -> Self {
        let (found, words, doubts) = Default::default();
        Self { config, found, words, doubts }
    }

    fn disagree(&mut self, module: &str, file: String, expected: &str) {
        let expected = format!("{} {expected}", self.config.file);
        self.found.problems.push(Problem::new(printable(module), file, expected));
    }

    /// Remembers a statement, and whether the header shows it.
    fn said(&mut self, aspect: Aspect, words: impl FnOnce() -> String, is_shown: bool) {
        if is_shown {
            self.found.compared.insert(aspect);
        } else {
            self.words.insert((aspect, words()));
        }
    }

    /// Remembers that the header shows this aspect of a module, and what is wrong unless it `agrees`.
    fn shown(&mut self, aspect: Aspect, module: &str, agrees: bool, file: &str, expected: &str) {
        self.found.compared.insert(aspect);
        if !agrees {
            self.disagree(module, file.to_owned(), expected);
        }
    }

    fn doubt(&mut self, entry: &'a str, is_unread: bool, module: &str) {
        self.doubts.entry((entry, is_unread)).or_insert_with(|| printable(module));
    }

    fn module(&mut self, quantized: &Quantized) {
        let name = &quantized.module;
        let it_is = format!("it is {}", quantized.scheme);
        let expected = match self.config.rule(name) {
            ModuleRule::Quantized(expected) => Some(expected),
            ModuleRule::LeftAlone(entry) => {
                self.disagree(name, it_is, &format!("says to leave `{}` alone", printable(entry)));
                return;
            }
            ModuleRule::Silent => {
                if self.config.is_complete() {
                    self.disagree(name, it_is.clone(), "says nothing about it");
                }
                None
            }
            ModuleRule::Doubt { entry, is_unread } => {
                self.doubt(entry, is_unread, name);
                None
            }
        };
        let allowed = self.config.allows(quantized.scheme, expected);
        if allowed.is_some() {
            self.found.compared.insert(Aspect::Method);
        }
        if allowed == Some(false) {
            let method = printable(self.config.method.as_deref().unwrap_or("?"));
            let format = expected.and_then(|expected| expected.format.as_deref());
            let format =
                format.map_or(String::new(), |format| format!(", format {}", printable(format)));
            self.disagree(name, it_is, &format!("says quant_method {method}{format}"));
        } else if let Some(expected) = expected.filter(|_| quantized.scheme != Scheme::EXPERTS)
            && self.bits(quantized, expected)
        {
            self.group(quantized, expected);
            self.zero_points(quantized, expected);
            self.tables(quantized, expected);
            self.activations(quantized, expected);
        }
        let is_gptq = matches!(quantized.scheme, Scheme::Gptq(_));
        if is_gptq && self.config.desc_act == Some(true) && !has_part(quantized, "g_idx") {
            self.disagree(name, "it has no g_idx".into(), "says desc_act true, which needs one");
        }
    }

    /// Compares the bits of a code, and tells whether the rest can be compared.
    fn bits(&mut self, quantized: &Quantized, expected: &Expected) -> bool {
        let (Some(found), Some(said)) = (quantized.bits, expected.bits) else { return true };
        if found == said {
            self.said(Aspect::Bits, || format!("{said} bits"), shows_bits(quantized));
        } else {
            let file = format!("its codes have {found} bits");
            self.shown(Aspect::Bits, &quantized.module, false, &file, &format!("says {said} bits"));
        }
        found == said
    }

    fn group(&mut self, quantized: &Quantized, expected: &Expected) {
        let Some(said) = expected.group.or(expected.implied_group) else { return };
        let aspect = match said {
            Group::Size(_) => Aspect::GroupSize,
            Group::Block(..) => Aspect::Block,
            _ => Aspect::Granularity,
        };
        // The grids of scales are compared and not the groups, because a group of `in` neighbours is a
        // channel.
        let grids = quantized.matrix().and_then(|[out, inputs]| {
            let grids = (quantized.group.grid(out, inputs)?, said.grid(out, inputs)?);
            Some((out, inputs, grids))
        });
        let group = quantized.group;
        let Some((out, inputs, (found, wanted))) = grids else {
            if let (Group::Size(found), Group::Size(wanted)) = (group, said) {
                let file = format!("its scales are of groups of {found}");
                let says = format!("says group {wanted}");
                return self.shown(aspect, &quantized.module, found == wanted, &file, &says);
            }
            return self.said(aspect, || format!("group {said}"), false);
        };
        let file = format!("[{out}, {inputs}] has scales of {found:?}: group {group}");
        let says = if expected.group.is_some() { "says" } else { "means, without a field," };
        let says = format!("{says} group {said}, which takes {wanted:?}");
        self.shown(aspect, &quantized.module, found == wanted, &file, &says);
    }

    fn zero_points(&mut self, quantized: &Quantized, expected: &Expected) {
        let (Some(found), Some(said)) = (quantized.zeros.symmetric(), expected.symmetric) else {
            return;
        };
        // AWQ and GPTQ matrices without qzeros cannot be asymmetric.
        let stored = if found { "no zero points are stored" } else { "zero points are stored" };
        let says = if said { "says symmetric" } else { "says asymmetric" };
        self.shown(Aspect::ZeroPoints, &quantized.module, found == said, stored, says);
    }

    /// The table of bitsandbytes' codes, and whether its scales are quantized.
    fn tables(&mut self, quantized: &Quantized, expected: &Expected) {
        let Scheme::BnbTable { table, double } = quantized.scheme else { return };
        let module = &quantized.module;
        if let Some(said) = &expected.table {
            let file = format!("its quant_state is of {table}");
            let says = format!("says {}", printable(said));
            self.shown(Aspect::Table, module, said == table, &file, &says);
        }
        if let Some(said) = expected.double {
            let file = if double { "it has nested_absmax" } else { "it has no nested_absmax" };
            let says = format!("says bnb_4bit_use_double_quant {said}");
            self.shown(Aspect::Double, module, said == double, file, &says);
        }
    }

    fn activations(&mut self, quantized: &Quantized, expected: &Expected) {
        if expected.input_scale {
            let is_there = quantized.parts.iter().any(|part| is_input_scale(&part.name));
            let [file, says] = ["it has no input_scale", "says static activations, which need one"];
            self.shown(Aspect::Activations, &quantized.module, is_there, file, says);
        } else if let Some(activations) = &expected.activations
            && (activations.bits < 16 || self.config.speaks_of_activations())
        {
            self.said(Aspect::Activations, || in_words(activations), false);
        }
    }

    /// Modules that stayed plain although the config wants them quantized: the same module of another
    /// layer is quantized, or a neighbour of a name that loaders quantize with it.
    fn plain_modules(&mut self, inventory: &Inventory) {
        if self.config.left_alone().next().is_some() && !inventory.quantized.is_empty() {
            self.found.compared.insert(Aspect::Ignored);
        }
        let quantized = || inventory.quantized.iter().map(|quantized| quantized.module.as_str());
        let patterns: HashSet<String> = quantized().map(pattern).collect();
        let parent = |module: &str| module.rsplit_once('.').map(|(parent, _)| parent.to_owned());
        let parents: HashSet<String> = quantized().filter_map(parent).collect();
        let is_choosy = self.config.method.as_deref().is_none_or(|name| CHOOSY.contains(&name));
        for tensor in inventory.plain.iter().filter(|tensor| is_float(tensor)) {
            let Some(module) = tensor.name.strip_suffix(".weight") else { continue };
            let beside = if patterns.contains(&pattern(module)) {
                "quantized in another layer"
            } else if !is_choosy
                && is_linear(module)
                && tensor.shape.len() == 2
                && parent(module).is_some_and(|parent| parents.contains(&parent))
            {
                "its neighbour is quantized"
            } else {
                continue;
            };
            match self.config.rule(module) {
                ModuleRule::Quantized(_) => {
                    let file = format!("it is plain {}, and {beside}", tensor.storage);
                    self.disagree(module, file, "does not leave it alone");
                }
                ModuleRule::Doubt { entry, is_unread } => self.doubt(entry, is_unread, module),
                ModuleRule::LeftAlone(_) | ModuleRule::Silent => {}
            }
        }
    }

    /// A file in which nothing is quantized. Only matrices that the config wants quantized contradict it:
    /// a shard can hold nothing but norms.
    fn whole_file(&mut self, inventory: &Inventory) {
        let is_silent = inventory.quantized.is_empty() && inventory.problems.is_empty();
        if !is_silent || !self.config.is_specific() {
            return;
        }
        let wanted = |tensor: &&Tensor| {
            let module = tensor.name.strip_suffix(".weight");
            let rule = module.filter(|module| is_linear(module)).map(|m| self.config.rule(m));
            tensor.shape.len() == 2 && matches!(rule, Some(ModuleRule::Quantized(_)))
        };
        let is_plain = inventory.plain.iter().filter(|tensor| is_float(tensor)).any(|t| wanted(&t));
        if is_plain
            && inventory.unknown.is_empty()
            && self.config.method.as_deref() != Some("mxfp4")
        {
            let method = printable(self.config.method.as_deref().unwrap_or("?"));
            let file = "no tensor is quantized".to_owned();
            self.disagree("the whole file", file, &format!("says quant_method {method}"));
        } else if inventory.unknown.is_empty() {
            let reason = "no matrix is here that the config wants quantized";
            self.found.unchecked.push(reason.into());
        }
    }

    /// Scales of keys and values, which vLLM and ModelOpt store beside the layer.
    fn kv_cache(&mut self, plain: &[Tensor]) {
        let Some(cache) = self.config.kv_cache else { return };
        let is_scale = |tensor: &Tensor| {
            let ends = [".k_scale", ".v_scale", "k_proj.output_scale", "v_proj.output_scale"];
            ends.iter().any(|end| tensor.name.ends_with(end))
        };
        let is_shown = plain.iter().any(is_scale);
        self.said(Aspect::KvCache, || format!("KV cache in {}", kv_name(cache)), is_shown);
    }

    fn finish(self, inventory: &Inventory) -> Comparison {
        let Self { config, mut found, words, doubts } = self;
        found.words = config.unverifiable.clone();
        found.words.extend(words.into_iter().map(|(_, words)| words));
        let is_gptq = inventory.quantized.iter().any(|q| matches!(q.scheme, Scheme::Gptq(_)));
        if is_gptq && config.gptq_version == GptqVersion::Unsaid {
            let words = "no checkpoint_format: loaders take GPTQ v1, zero points minus one";
            found.words.push(words.into());
        }
        found.unchecked.extend(config.unread.iter().cloned());
        for ((entry, is_unread), module) in doubts {
            let entry = printable(entry);
            if is_unread {
                let reason = format!("`{entry}` may name {module}, and cannot be read here");
                found.unchecked.push(reason);
            } else {
                let note = format!("loaders read `{entry}` differently, as for {module}");
                found.notes.push(note);
            }
        }
        let mut unknown: BTreeMap<&str, (usize, &str)> = BTreeMap::new();
        for module in &inventory.unknown {
            unknown.entry(&module.because).or_insert((0, &module.module)).0 += 1;
        }
        found.unchecked.extend(unknown.into_iter().map(|(because, (count, first))| {
            let more = if count > 1 { format!(" and {} more", count - 1) } else { String::new() };
            format!("{}{more}: {because}", printable(first))
        }));
        found
    }
}

/// Whether the header alone shows the bits. A word of 32 bits holds 4 codes or 8, and only zero points, a
/// list of groups or the type of the codes tell which.
fn shows_bits(quantized: &Quantized) -> bool {
    match quantized.scheme {
        Scheme::PackQuantized => has_part(quantized, "weight_zero_point"),
        Scheme::Gptq(_) => has_part(quantized, "qzeros") || has_part(quantized, "g_idx"),
        _ => true,
    }
}

fn has_part(quantized: &Quantized, name: &str) -> bool {
    quantized.parts.iter().any(|part| part.name == name)
}

/// `input_scale` and its kin; `act_scale` is the name in older files.
fn is_input_scale(part: &str) -> bool {
    part.starts_with("input_") || part.starts_with("act")
}

fn is_linear(module: &str) -> bool {
    LINEAR.contains(&module.rsplit('.').next().unwrap_or(module))
}

/// Whether a tensor holds numbers that nobody quantized.
fn is_float(tensor: &Tensor) -> bool {
    let floats = [Dtype::F16, Dtype::BF16, Dtype::F32, Dtype::F64].map(Storage::Elements);
    floats.contains(&tensor.storage)
}

fn kv_name(cache: KvCache) -> String {
    match cache {
        KvCache::Fp8E4m3 => "FP8".into(),
        KvCache::Nvfp4 => "NVFP4".into(),
        KvCache::Int(bits) => format!("int{bits}"),
    }
}

fn in_words(activations: &Activations) -> String {
    let Activations { bits, numbers, scale, .. } = activations;
    let numbers = match numbers {
        Some(Numbers::Float) => " float",
        Some(Numbers::Int) => " int",
        _ => "",
    };
    let scale = match scale {
        Some(ScaleTime::Static) => ", static",
        Some(ScaleTime::Dynamic) => ", dynamic",
        None => "",
    };
    format!("activations of {bits} bits{numbers}{scale}")
}
