//! Reads the sizes in a config.json, by the family of its `model_type`.

use serde_json::Value;

use super::families::{Attention, Bias, Experts, FAMILIES, Family, QkNorm, Shared, Window};
use super::{CachePart, Matrices, ModelSizes};
use crate::architecture::{Architecture, ArchitectureError};
use crate::printable::printable;

/// Why the sizes of a model are not known.
#[allow(missing_docs)] // The messages say what the variants and their fields are.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SizesError {
    #[error("no `model_type` in it: sizes are read by it, and by nothing else")]
    NoType,
    #[error("sizes of `{0}` are not known here; known are {names}", names = known())]
    UnknownType(String),
    #[error("no `{0}` in it: a config.json of this model_type has one")]
    Missing(&'static str),
    #[error("`{key}` is {found}: a size is a whole number, above 0 and not absurd")]
    NoSize { key: &'static str, found: String },
    /// A key that this family has not.
    #[error("`{0}` in a model of this model_type: its sizes are not known here")]
    Unlike(String),
    #[error(transparent)]
    Architecture(#[from] ArchitectureError),
}

/// The names of all families.
fn known() -> String {
    FAMILIES.iter().map(|family| family.types.replace(' ', ", ")).collect::<Vec<_>>().join(", ")
}

/// The largest number that is read as a size, and the most layers: then the numbers of all vectors fit
/// into 64 bits, and those of all matrices into 128.
const LARGEST: u64 = 1 << 20;
const MOST_LAYERS: u64 = 1 << 12;
/// The most parameters: 32 bits of each are counted in 61.
const MOST: u128 = 1 << 56;

impl ModelSizes {
    /// The sizes in a config.json. A model of several parts has those of its language part in
    /// `text_config`.
    ///
    /// # Errors
    /// If the `model_type` is not known here, or its sizes are not there or are no sizes.
    pub fn from_config(json: &Value) -> Result<Self, SizesError> {
        let text = json.get("text_config").filter(|text| text.is_object());
        let inner = text.unwrap_or(json);
        let named = |json: &Value| json.get("model_type").and_then(Value::as_str).map(printable);
        let name = named(inner).or_else(|| named(json)).ok_or(SizesError::NoType)?;
        let family = FAMILIES.iter().find(|family| family.types.split(' ').any(|it| it == name));
        let family = family.ok_or(SizesError::UnknownType(name))?;
        let mut sizes = Reader { json: inner, outer: json, family }.sizes()?;
        if text.is_some() {
            sizes.notes.push("the language part is counted, and no other part".into());
        }
        Ok(sizes)
    }
}

/// A config and its family.
struct Reader<'a> {
    json: &'a Value,
    outer: &'a Value,
    family: &'a Family,
}

/// The sizes that every family has.
struct Base {
    layers: u64,
    hidden: u64,
    heads: u64,
    kv_heads: u64,
    head_dim: u64,
}

impl Reader<'_> {
    fn value(&self, key: &str) -> Option<&Value> {
        self.json.get(key).filter(|value| !value.is_null())
    }

    /// A number that the config or the family has; 0 only where `zero` allows it.
    fn number(&self, key: &'static str, zero: bool) -> Result<Option<u64>, SizesError> {
        let Some(value) = self.value(key) else {
            // A null is a statement, and no default: Mistral's `sliding_window`.
            return Ok(self.family.default(key).filter(|_| self.json.get(key).is_none()));
        };
        let most = if key == "num_hidden_layers" { MOST_LAYERS } else { LARGEST };
        match value.as_u64() {
            Some(0) if zero => Ok(Some(0)),
            Some(size) if (1..=most).contains(&size) => Ok(Some(size)),
            _ => Err(SizesError::NoSize { key, found: printable(&value.to_string()) }),
        }
    }

    fn size(&self, key: &'static str) -> Result<u64, SizesError> {
        self.number(key, false)?.ok_or(SizesError::Missing(key))
    }

    /// A number that is 0 where it is absent.
    fn count(&self, key: &'static str) -> Result<u64, SizesError> {
        Ok(self.number(key, true)?.unwrap_or(0))
    }

    fn truth(&self, key: &str, default: bool) -> bool {
        self.value(key).and_then(Value::as_bool).unwrap_or(default)
    }

    fn has(&self, bias: Bias) -> bool {
        match bias {
            Bias::No => false,
            Bias::Yes => true,
            Bias::Key(key, default) => self.truth(key, default),
        }
    }

    fn sizes(&self) -> Result<ModelSizes, SizesError> {
        self.like_its_family()?;
        let (hidden, heads) = (self.size("hidden_size")?, self.size("num_attention_heads")?);
        let base = Base {
            layers: self.size("num_hidden_layers")?,
            hidden,
            heads,
            kv_heads: self.number("num_key_value_heads", false)?.unwrap_or(heads),
            head_dim: self.number("head_dim", false)?.unwrap_or(hidden / heads),
        };
        let tied = [self.json, self.outer].into_iter();
        let tied = tied.filter_map(|json| json["tie_word_embeddings"].as_bool()).next();
        let table = [self.size("vocab_size")?, hidden];
        let [of_layer, last] = self.family.norms;
        let mut sizes = ModelSizes {
            matrices: Vec::new(),
            table,
            tied: tied.unwrap_or(self.family.tied),
            vectors: (base.layers * of_layer + last) * hidden,
            cache: Vec::new(),
            attention: 0,
            dense: None,
            notes: Vec::new(),
        };
        match self.family.attention {
            Attention::Grouped => self.grouped(&base, &mut sizes)?,
            Attention::Latent => self.latent(&base, &mut sizes)?,
        }
        let intermediate = match self.family.experts {
            None => {
                let width = self.size("intermediate_size")?;
                self.mlp(&base, &mut sizes, [width, base.layers, base.layers], false);
                width
            }
            Some(experts) => self.experts(&base, &mut sizes, experts)?,
        };
        let all = sizes.matrices.iter().map(|matrices| {
            let [out, inputs] = matrices.shape.map(u128::from);
            u128::from(matrices.stored) * out * inputs
        });
        let all = all.sum::<u128>() + 2 * u128::from(table[0]) * u128::from(hidden);
        if all > MOST {
            return Err(ArchitectureError::TooMany(all).into());
        }
        self.speculation(&mut sizes)?;
        sizes.dense = self.dense(&base, intermediate, &sizes)?;
        Ok(sizes)
    }

    /// Refuses keys of another family: a mixture or a latent attention that would be counted as none.
    fn like_its_family(&self) -> Result<(), SizesError> {
        let (dense, grouped) =
            (self.family.experts.is_none(), self.family.attention == Attention::Grouped);
        let unlike = [
            ("num_experts", dense),
            ("num_local_experts", dense),
            ("n_routed_experts", dense),
            ("kv_lora_rank", grouped),
        ];
        let is_there = |key| self.value(key).is_some_and(|value| *value != 0 && *value != 1);
        match unlike.into_iter().find(|(key, is_without)| *is_without && is_there(key)) {
            Some((key, _)) => Err(SizesError::Unlike(key.into())),
            None => Ok(()),
        }
    }

    fn grouped(&self, base: &Base, sizes: &mut ModelSizes) -> Result<(), SizesError> {
        let &Base { layers, hidden, heads, kv_heads, head_dim } = base;
        if heads % kv_heads != 0 {
            return Err(ArchitectureError::Uneven { heads, kv_heads }.into());
        }
        let (queries, keys) = (heads * head_dim, kv_heads * head_dim);
        let shapes = [[queries, hidden], [keys, hidden], [keys, hidden], [hidden, queries]];
        sizes.matrices.extend(shapes.map(|shape| Matrices::in_layers(layers, shape)));
        let [qkv, out, _] = self.family.biases.map(|bias| u64::from(self.has(bias)));
        let (of_head, full) = (2 * head_dim, queries + keys);
        let norms = match self.family.qk_norm {
            QkNorm::Head => of_head,
            QkNorm::Full => full,
            QkNorm::HeadIf(key) if self.truth(key, false) => of_head,
            QkNorm::FullIf(key) if self.truth(key, false) => full,
            _ => 0,
        };
        // gpt-oss has a number for each head, to which attention may go instead of to a token.
        let sinks = if self.family.types == "gpt_oss" { heads } else { 0 };
        sizes.vectors += layers * (qkv * (queries + 2 * keys) + out * hidden + norms + sinks);
        sizes.attention = 2 * layers * queries;
        let windowed = self.windowed(layers)?;
        let part = |layers: u64, window| CachePart { numbers: 2 * layers * keys, window };
        let (full, window) = windowed.map_or((layers, None), |(count, window)| {
            (layers - count, Some(part(count, Some(window))))
        });
        sizes.cache.extend((full > 0).then(|| part(full, None)).into_iter().chain(window));
        Ok(())
    }

    /// How many layers keep a window only, and how long it is.
    fn windowed(&self, layers: u64) -> Result<Option<(u64, u64)>, SizesError> {
        let (count, key) = match self.family.window {
            Window::Never => return self.layer_types().map(|_| None),
            Window::All => (layers, "sliding_window"),
            Window::Flag if !self.truth("use_sliding_window", false) => return Ok(None),
            Window::Flag => {
                (layers.saturating_sub(self.count("max_window_layers")?), "sliding_window")
            }
            Window::Pattern(every, key) => (layers - layers / every, key),
        };
        let count = self.layer_types()?.unwrap_or(count).min(layers);
        let window = self.number(key, false)?;
        Ok(window.filter(|_| count > 0).map(|window| (count, window)))
    }

    /// The layers with a window in `layer_types`, where the config lists them.
    fn layer_types(&self) -> Result<Option<u64>, SizesError> {
        let Some(types) = self.value("layer_types").and_then(Value::as_array) else {
            return Ok(None);
        };
        let mut windowed = 0;
        for kind in types.iter().map(|kind| kind.as_str().unwrap_or_default()) {
            match kind {
                "full_attention" => {}
                "sliding_attention" | "chunked_attention" => windowed += 1,
                other => return Err(SizesError::Unlike(printable(other))),
            }
        }
        Ok(Some(windowed))
    }

    fn latent(&self, base: &Base, sizes: &mut ModelSizes) -> Result<(), SizesError> {
        let &Base { layers, hidden, heads, .. } = base;
        let [latent, rope, nope, value] =
            ["kv_lora_rank", "qk_rope_head_dim", "qk_nope_head_dim", "v_head_dim"]
                .map(|key| self.size(key));
        let (latent, rope, nope, value) = (latent?, rope?, nope?, value?);
        let queries = heads * (nope + rope);
        let (cached, expanded) = (latent + rope, heads * (nope + value));
        let mut shapes = vec![[cached, hidden], [expanded, latent], [hidden, heads * value]];
        let rank = self.number("q_lora_rank", false)?;
        match rank {
            Some(rank) => shapes.extend([[rank, hidden], [queries, rank]]),
            None => shapes.push([queries, hidden]),
        }
        sizes.matrices.extend(shapes.into_iter().map(|it| Matrices::in_layers(layers, it)));
        sizes.vectors += layers * (latent + rank.unwrap_or(0));
        sizes.attention = layers * heads * (nope + rope + value);
        sizes.cache.push(CachePart { numbers: layers * cached, window: None });
        Ok(())
    }

    /// Adds MLPs of a width: how many are stored, and how many a token passes.
    fn mlp(
        &self,
        base: &Base,
        sizes: &mut ModelSizes,
        [width, stored, active]: [u64; 3],
        expert: bool,
    ) {
        let into = self.family.mlp - 1;
        let all = |shape, times| Matrices {
            shape,
            stored: stored * times,
            active: active * times,
            expert,
        };
        // Gate and up stand apart, so that a dense Llama has the matrices of `Architecture`.
        sizes.matrices.extend((0..into).map(|_| all([width, base.hidden], 1)));
        sizes.matrices.push(all([base.hidden, width], 1));
        if self.has(self.family.biases[2]) {
            sizes.vectors += stored * (into * width + base.hidden);
        }
    }

    /// Adds the MLPs of a mixture. Returns the width of an MLP of a layer without experts.
    fn experts(
        &self,
        base: &Base,
        sizes: &mut ModelSizes,
        experts: Experts,
    ) -> Result<u64, SizesError> {
        let (count, width) = (self.size(experts.count)?, self.size(experts.width)?);
        let active = self.size("num_experts_per_tok")?.min(count);
        let layers = self.layers_with_experts(base.layers)?;
        let dense = base.layers - layers;
        if dense > 0 {
            let width = self.size(experts.dense)?;
            self.mlp(base, sizes, [width, dense, dense], false);
        }
        self.mlp(base, sizes, [width, layers * count, layers * active], true);
        let shared = match experts.shared {
            Shared::No => 0,
            Shared::One => width,
            Shared::Count(key) => width * self.count(key)?,
            Shared::Gated(key) => {
                sizes.vectors += layers * base.hidden;
                self.count(key)?
            }
        };
        if shared > 0 {
            self.mlp(base, sizes, [shared, layers, layers], false);
        }
        sizes.vectors += layers * count * (base.hidden + u64::from(experts.router_bias));
        Ok(width)
    }

    /// How many layers have experts.
    fn layers_with_experts(&self, layers: u64) -> Result<u64, SizesError> {
        if let Some(listed) = self.value("moe_layers").and_then(Value::as_array) {
            return Ok((listed.len() as u64).min(layers));
        }
        let first = self.count("first_k_dense_replace")?;
        let mut every = 1;
        for key in ["decoder_sparse_step", "interleave_moe_layer_step", "moe_layer_freq"] {
            every = every.max(self.number(key, false)?.unwrap_or(1));
        }
        // DeepSeek counts layers from 0, and the others from 1.
        let from = u64::from(self.value("moe_layer_freq").is_none());
        let only = self.value("mlp_only_layers").and_then(Value::as_array);
        let is_dense = |layer| only.is_some_and(|only| only.iter().any(|it| *it == layer));
        let with = |&layer: &u64| {
            layer >= first && (layer + from).is_multiple_of(every) && !is_dense(layer)
        };
        Ok((0..layers).filter(with).count() as u64)
    }

    /// Says which layers are not counted.
    fn speculation(&self, sizes: &mut ModelSizes) -> Result<(), SizesError> {
        for key in ["num_nextn_predict_layers", "num_mtp_modules"] {
            let more = self.count(key)?;
            let note =
                || format!("not counted: {more} more layer(s) that guess further tokens ({key})");
            sizes.notes.extend((more > 0).then(note));
        }
        Ok(())
    }

    /// The model as a dense Llama-like one, if it is counted as that is.
    fn dense(
        &self,
        base: &Base,
        intermediate: u64,
        sizes: &ModelSizes,
    ) -> Result<Option<Architecture>, SizesError> {
        if sizes.is_mixture() || self.family.attention != Attention::Grouped {
            return Ok(None);
        }
        let &Base { layers, hidden, heads, kv_heads, head_dim } = base;
        let model = Architecture {
            layers,
            hidden,
            intermediate,
            heads,
            kv_heads,
            head_dim,
            vocabulary: sizes.table[0],
            tied: sizes.tied,
            qkv_bias: self.has(self.family.biases[0]),
            qk_norm: matches!(self.family.qk_norm, QkNorm::Head),
        };
        model.check()?;
        let as_llama = ModelSizes { dense: None, notes: sizes.notes.clone(), ..(&model).into() };
        Ok((as_llama == *sizes).then_some(model))
    }
}
