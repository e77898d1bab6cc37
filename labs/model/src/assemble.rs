//! From a path to a model.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use formats::gguf::Gguf;
use ndarray::Array2;

use crate::absent::Absent;
use crate::config::{from_gguf, from_hugging_face};
use crate::model::{Layer, Model};
use crate::source::{Source, source};
use crate::tensors::{GgufTensors, Shards, Tensors, Weight};
use crate::{Config, Dense, LayerId, ModelError, Projection};

impl Model {
    /// Loads a GGUF file, or a folder with `config.json` and `*.safetensors`.
    ///
    /// # Errors
    /// If a file is missing or damaged, a tensor is missing or has another shape than the config
    /// gives it, or the architecture is not supported.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, ModelError> {
        Self::load_with(path.as_ref(), true)
    }

    /// As [`Model::load`], without the matrices of the decoder layers: their shapes are checked, and they
    /// take no memory. A matrix is put in with [`Model::replace`], and a layer out again with
    /// [`Model::clear_layer`].
    ///
    /// # Errors
    /// As [`Model::load`].
    pub fn load_without_layers(path: impl AsRef<Path>) -> Result<Self, ModelError> {
        Self::load_with(path.as_ref(), false)
    }

    fn load_with(path: &Path, matrices: bool) -> Result<Self, ModelError> {
        match source(path)? {
            Source::Gguf(file) => {
                let gguf = Gguf::open(file)?;
                let config = from_gguf(&gguf)?;
                let tensors = GgufTensors::new(gguf, &config);
                Loader::new(tensors, config).model(matrices)
            }
            Source::HuggingFace(folder) => {
                let config = from_hugging_face(&folder.join("config.json"))?;
                Loader::new(Shards::open(&folder)?, config).model(matrices)
            }
        }
    }

    /// Assembles a model from tensors under their Hugging Face names. `shapes` lists the tensors, and
    /// `read` decodes one, `[rows, columns]`, a vector as one row. The quantizer runs its checkpoints
    /// this way.
    ///
    /// # Errors
    /// If a tensor is missing or has another shape than the config gives it, or `read` fails.
    pub fn from_tensors(
        config: Config,
        shapes: Vec<(String, Vec<usize>)>,
        read: &mut dyn FnMut(&str) -> Result<Array2<f32>, ModelError>,
    ) -> Result<Self, ModelError> {
        Loader::new(Named { shapes, read }, config).model(true)
    }
}

/// Tensors that a caller's function reads.
struct Named<'a> {
    shapes: Vec<(String, Vec<usize>)>,
    read: &'a mut dyn FnMut(&str) -> Result<Array2<f32>, ModelError>,
}

impl Tensors for Named<'_> {
    fn name(&self, weight: Weight) -> String {
        weight.hugging_face()
    }

    fn list(&self) -> Vec<(String, Vec<usize>)> {
        self.shapes.clone()
    }

    fn read(&mut self, weight: Weight) -> Result<Array2<f32>, ModelError> {
        (self.read)(&weight.hugging_face())
    }

    fn is_ignored(&self, name: &str) -> bool {
        name.ends_with("rotary_emb.inv_freq")
    }
}

/// Reads the weights of a store one by one and checks each against the shape that the config gives.
struct Loader<T> {
    tensors: T,
    config: Config,
    shapes: BTreeMap<String, Vec<usize>>,
}

impl<T: Tensors> Loader<T> {
    fn new(tensors: T, config: Config) -> Self {
        let shapes = tensors.list().into_iter().collect();
        Self { tensors, config, shapes }
    }

    /// The model, with the matrices of its layers or with their places.
    fn model(mut self, matrices: bool) -> Result<Model, ModelError> {
        let (vocab, hidden) = (self.config.vocab_size, self.config.hidden_size);
        let why = "[vocab_size, hidden_size]";
        let embedding = self.dense(Weight::Embedding, [vocab, hidden], why)?;
        let head = Weight::Linear(LayerId::Head);
        let has_head = self.shapes.contains_key(&self.tensors.name(head));
        let head = if self.config.tied.unwrap_or(!has_head) {
            // A tied checkpoint may still carry a copy of the embedding under the head's name.
            embedding.clone()
        } else {
            self.dense(head, [vocab, hidden], why)?
        };
        let last_norm = self.norm(Weight::LastNorm)?;
        let layers = (0..self.config.layers).map(|index| self.layer(index, matrices));
        let layers = layers.collect::<Result<_, _>>()?;
        self.check_nothing_left()?;
        let down_rotation = None;
        Ok(Model { config: self.config, embedding, layers, last_norm, head, down_rotation })
    }

    fn layer(&mut self, index: usize, matrices: bool) -> Result<Layer, ModelError> {
        let attention_norm = self.norm(Weight::AttentionNorm(index))?;
        let mlp_norm = self.norm(Weight::MlpNorm(index))?;
        let mut linears: Vec<Arc<dyn crate::Linear>> = Vec::new();
        for projection in Projection::ALL {
            let (shape, why) = shape_of(projection, &self.config);
            let weight = Weight::Linear(LayerId::Layer(index, projection));
            linears.push(if matrices {
                self.dense(weight, shape, why)?
            } else {
                self.check(weight, &shape, why)?;
                Arc::new(Absent(shape))
            });
        }
        Ok(Layer { attention_norm, mlp_norm, linears })
    }

    fn dense(
        &mut self,
        weight: Weight,
        shape: [usize; 2],
        why: &'static str,
    ) -> Result<Arc<Dense>, ModelError> {
        Ok(Arc::new(Dense::new(self.take(weight, &shape, why)?)))
    }

    fn norm(&mut self, weight: Weight) -> Result<Arc<[f32]>, ModelError> {
        let shape = [self.config.hidden_size];
        Ok(self.take(weight, &shape, "[hidden_size]")?.into_iter().collect())
    }

    fn take(
        &mut self,
        weight: Weight,
        expected: &[usize],
        why: &'static str,
    ) -> Result<Array2<f32>, ModelError> {
        self.check(weight, expected, why)?;
        self.tensors.read(weight)
    }

    /// Whether there is such a tensor, of this shape.
    fn check(
        &self,
        weight: Weight,
        expected: &[usize],
        why: &'static str,
    ) -> Result<(), ModelError> {
        let name = self.tensors.name(weight);
        let Some(found) = self.shapes.get(&name) else {
            // A tensor that nothing asks for may be this one by another name.
            let unexpected = self.unexpected();
            let nearest = if unexpected.is_empty() {
                nearest(&name, self.shapes.keys().map(String::as_str))
            } else {
                nearest(&name, unexpected.into_iter())
            };
            return Err(ModelError::MissingTensor { name, nearest });
        };
        if found != expected {
            let (found, expected) = (found.clone(), expected.to_vec());
            return Err(ModelError::Shape { name, found, expected, why });
        }
        Ok(())
    }

    /// The tensors that a Llama of this config does not have.
    fn unexpected(&self) -> Vec<&str> {
        // A config that claims more layers than there are tensors has failed on a missing one.
        let layers = self.config.layers.min(self.shapes.len());
        let expected = Weight::all(layers);
        let expected: BTreeSet<String> = expected.map(|weight| self.tensors.name(weight)).collect();
        let names = self.shapes.keys().map(String::as_str);
        names.filter(|&name| !expected.contains(name) && !self.tensors.is_ignored(name)).collect()
    }

    /// Refuses a tensor that nothing asked for, because it means another computation: a bias, a norm,
    /// another head.
    fn check_nothing_left(&self) -> Result<(), ModelError> {
        let left = self.unexpected();
        if left.is_empty() {
            return Ok(());
        }
        let more =
            if left.len() > 4 { format!(" and {} more", left.len() - 4) } else { String::new() };
        let names = left.into_iter().take(4).map(|name| format!("`{name}`")).collect::<Vec<_>>();
        let what = format!("a model with the tensors {}{more}", names.join(", "));
        let why = "a plain Llama, of as many layers as its config says, has none";
        Err(ModelError::unsupported(what, why))
    }
}

/// The shape of a linear layer, and the config's words for it.
fn shape_of(projection: Projection, config: &Config) -> ([usize; 2], &'static str) {
    let (hidden, inner) = (config.hidden_size, config.intermediate_size);
    let (queries, keys) = (config.heads * config.head_dim, config.kv_heads * config.head_dim);
    match projection {
        Projection::Q => ([queries, hidden], "[heads * head_dim, hidden_size]"),
        Projection::K | Projection::V => ([keys, hidden], "[kv_heads * head_dim, hidden_size]"),
        Projection::O => ([hidden, queries], "[hidden_size, heads * head_dim]"),
        Projection::Gate | Projection::Up => ([inner, hidden], "[intermediate_size, hidden_size]"),
        Projection::Down => ([hidden, inner], "[hidden_size, intermediate_size]"),
    }
}

/// Up to three names most like `name`.
fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> String {
    let mut names: Vec<&str> = names.collect();
    names.sort_by_cached_key(|other| strsim::levenshtein(name, other));
    let names: Vec<String> = names.into_iter().take(3).map(|name| format!("`{name}`")).collect();
    if names.is_empty() { "the file has no tensor at all".into() } else { names.join(", ") }
}
