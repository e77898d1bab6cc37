//! The weights of a checkpoint one at a time, without the model.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use formats::checkpoint::{self, Tensor, gguf_tensors};
use formats::gguf::{Gguf, dequantize};
use ndarray::Array2;

use crate::source::{Source, source};
use crate::tensors::{Shards, Weight, in_gguf_order, in_hugging_face_order};
use crate::{Config, ModelError};

/// The tensors of a GGUF file or of a Hugging Face folder, under their Hugging Face names and in
/// their order of rows. Only the headers are in memory; many threads may read at once.
pub struct Weights {
    tensors: Vec<Tensor>,
    store: Store,
}

enum Store {
    Folder { path: PathBuf, shards: Shards },
    File(Box<GgufFile>),
}

struct GgufFile {
    path: PathBuf,
    /// The weight behind each Hugging Face name.
    weights: BTreeMap<String, Weight>,
    /// Query heads, key-value heads.
    heads: [usize; 2],
    gguf: Mutex<Gguf<BufReader<File>>>,
}

impl Weights {
    /// Opens what `path` names: a GGUF file of a Llama, or a folder with `config.json` and
    /// `*.safetensors` in floats of 8, 16 or 32 bits.
    ///
    /// # Errors
    /// If a file is missing or damaged, a folder is quantized, or a GGUF file has a tensor that no
    /// plain Llama has.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, ModelError> {
        match source(path.as_ref())? {
            Source::Gguf(path) => Self::of_gguf(path),
            Source::HuggingFace(path) => {
                let shards = Shards::open(&path)?;
                let tensors = checkpoint::open(&path)?.tensors;
                Ok(Self { tensors, store: Store::Folder { path, shards } })
            }
        }
    }

    fn of_gguf(path: PathBuf) -> Result<Self, ModelError> {
        let config = Config::load(&path)?;
        let gguf = Gguf::open(&path)?;
        let known: BTreeMap<String, Weight> =
            Weight::all(config.layers.min(gguf.tensors().len())).map(|w| (w.gguf(), w)).collect();
        let (mut tensors, mut weights) = (Vec::new(), BTreeMap::new());
        for tensor in gguf_tensors(&gguf) {
            let Some(&weight) = known.get(&tensor.name) else {
                let what = format!("the tensor `{}`", tensor.name);
                return Err(ModelError::unsupported(what, "a plain Llama has none of that name"));
            };
            let name = weight.hugging_face();
            weights.insert(name.clone(), weight);
            tensors.push(Tensor { name, ..tensor });
        }
        let heads = [config.heads, config.kv_heads];
        let store = GgufFile { path, weights, heads, gguf: Mutex::new(gguf) };
        Ok(Self { tensors, store: Store::File(Box::new(store)) })
    }

    /// The folder, or the GGUF file.
    pub fn path(&self) -> &Path {
        match &self.store {
            Store::Folder { path, .. } => path,
            Store::File(file) => &file.path,
        }
    }

    /// Whether it is a GGUF file.
    pub fn is_gguf(&self) -> bool {
        matches!(self.store, Store::File(_))
    }

    /// Every tensor under its Hugging Face name, stored as the file has it.
    pub fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }

    /// The name of the tensor `name` in a GGUF file; `None` for a tensor that no plain Llama has. A file may
    /// lack the tensor, as the file of a tied model lacks the head.
    pub fn gguf_name(&self, name: &str) -> Option<String> {
        Weight::named(name).map(Weight::gguf)
    }

    /// Reads a tensor, `[rows, columns]`; a vector is one row.
    ///
    /// # Errors
    /// If there is no such tensor, its type is not supported, or the file cannot be read.
    pub fn read(&self, name: &str) -> Result<Array2<f32>, ModelError> {
        match &self.store {
            Store::Folder { shards, .. } => shards.read_named(name),
            Store::File(file) => {
                let weight = file.weight(name)?;
                in_hugging_face_order(weight, file.read(weight)?, file.heads)
            }
        }
    }

    /// Reads a tensor in the order of rows that a GGUF file has, which is another one for queries and keys.
    ///
    /// # Errors
    /// As [`Weights::read`], and if a folder's config is not that of a Llama.
    pub fn read_for_gguf(&self, name: &str) -> Result<Array2<f32>, ModelError> {
        match &self.store {
            Store::Folder { shards, .. } => self.rows_for_gguf(name, shards.read_named(name)?),
            Store::File(file) => file.read(file.weight(name)?),
        }
    }

    /// Something with a row for each row of the tensor `name`, in the order of [`Weights::read_for_gguf`] where
    /// it has that of [`Weights::read`].
    ///
    /// # Errors
    /// If a folder's config is not that of a Llama, or there are not so many rows.
    pub fn rows_for_gguf<T: Clone>(
        &self,
        name: &str,
        rows: Array2<T>,
    ) -> Result<Array2<T>, ModelError> {
        let Some(weight) = Weight::named(name) else { return Ok(rows) };
        let heads = match &self.store {
            Store::Folder { path, .. } => {
                let config = Config::load(path)?;
                [config.heads, config.kv_heads]
            }
            Store::File(file) => file.heads,
        };
        in_gguf_order(weight, rows, heads)
    }
}

impl GgufFile {
    fn weight(&self, name: &str) -> Result<Weight, ModelError> {
        let missing = || ModelError::MissingTensor { name: name.into(), nearest: String::new() };
        self.weights.get(name).copied().ok_or_else(missing)
    }

    /// Only the bytes are read under the lock, so that threads decode in parallel.
    fn read(&self, weight: Weight) -> Result<Array2<f32>, ModelError> {
        let name = weight.gguf();
        let (kind, shape, bytes) = {
            // A poisoned lock is harmless, because a read seeks first.
            let mut gguf = self.gguf.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let info = gguf.info(&name)?;
            (info.kind, info.shape.clone(), gguf.bytes(&name)?)
        };
        let not_a_matrix = || formats::gguf::GgufError::NotAMatrix { name, shape: shape.clone() };
        let dim = match *shape.as_slice() {
            [columns] => (1, columns),
            [rows, columns] => (rows, columns),
            _ => return Err(not_a_matrix().into()),
        };
        let values = dequantize(kind, &bytes)?;
        Array2::from_shape_vec(dim, values).map_err(|_| not_a_matrix().into())
    }
}
