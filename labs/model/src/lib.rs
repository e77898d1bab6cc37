//! A small Llama in Rust: SmolLM2-135M, whole, on ndarray.
//!
//! A lab that quantizes one matrix measures the error of one product. The effect of that error on a
//! language model shows only in the whole model. This crate loads one from a GGUF file or from a
//! Hugging Face folder and runs it in `f32`. Labs reach into it in two ways:
//!
//! * **hook**: [`Model::forward_with_hook`] shows a callback the input of every linear layer.
//! * **replace**: [`Model::replace`] puts another [`Linear`] in the place of a layer, and
//!   [`Model::replace_norm`] another weight in the place of a norm's.
//!
//! ```no_run
//! # fn main() -> Result<(), model::ModelError> {
//! use model::{Cache, Model, Tokenizer, greedy};
//!
//! let path = "target/model/SmolLM2-135M-Instruct.Q4_1.gguf";
//! let (model, tokenizer) = (Model::load(path)?, Tokenizer::load(path)?);
//! let prompt = tokenizer.encode("The capital of France is")?;
//! println!("{}", tokenizer.decode(&greedy(&model, &prompt, 14)?)?);
//!
//! let mut cache = Cache::new(model.config(), prompt.len())?;
//! let logits = model.forward_with_hook(&prompt, &mut cache, &mut |layer, x| {
//!     println!("{layer} sees {:?}", x.dim()); // [tokens, in_features]
//! })?; // [tokens, vocab_size]
//! # Ok(())
//! # }
//! ```
//!
//! [`Model::quantized`] replaces all layers by the fast layers of a [`Format`], and [`Model::step`]
//! decodes one token of each of many sequences. Together they are an engine, which `measure` compares
//! with other engines.
//!
//! The crate depends on no lab. The last bits of a result depend on the machine, because a matrix
//! product chooses the order of its sums by the processor, so no result of the model belongs in a
//! table that a snapshot pins to the digit.

mod absent;
mod assemble;
mod attention;
mod cache;
pub mod cache_format;
pub mod config;
mod dense;
mod error;
mod generate;
mod in_layer;
mod layer_id;
mod linear;
mod model;
mod norm;
pub mod passage;
pub mod perplexity;
mod quantized;
mod rotary;
mod source;
mod swiglu;
mod tensors;
mod tokenizer;
mod weights;

pub use cache::Cache;
pub use cache_format::{CacheFormat, CacheStorage};
pub use config::Config;
pub use dense::Dense;
pub use error::ModelError;
pub use generate::{drawn, generate, greedy, most_likely};
pub use in_layer::{InLayer, READERS};
pub use layer_id::{LayerId, Projection};
pub use linear::{Linear, LinearError};
pub use model::{Hook, Model};
pub use norm::Norm;
pub use perplexity::{Closeness, Compared, Convention, Reference, Score, compare, perplexity};
pub use quantized::{Codes, Format, QuantizedLinear, Quantizer};
pub use tensors::gguf_name;
pub use tokenizer::Tokenizer;
pub use weights::Weights;
