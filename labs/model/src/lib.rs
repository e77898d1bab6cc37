//! A small Llama in Rust: SmolLM2-135M, whole, on ndarray.
//!
//! A lab that quantizes one matrix measures the error of one product. What that error does to a
//! language model shows only in the whole model, so here it is: loaded from the fetched GGUF file or
//! from a Hugging Face folder, run in `f32`, with two ways in for the labs.
//!
//! * **hook**: [`Model::forward_with_hook`] shows a callback the input of every linear layer.
//! * **replace**: [`Model::replace`] puts any other [`Linear`] in the place of one, and
//!   [`Model::replace_norm`] another weight into the norm in front of it.
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
//! [`Model::quantized`] relayers all of them by the fast layers of a [`Format`], and [`Model::step`]
//! runs many sequences at once, a token of each: together they are an engine that can be measured
//! beside others.
//!
//! The crate depends on no lab. Everything is `f32`; sums are those of a matrix product, so the last
//! bits depend on the machine: nothing here belongs into a table that is pinned to the digit.

mod assemble;
mod attention;
mod cache;
pub mod config;
mod dense;
mod error;
mod generate;
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
pub use config::Config;
pub use dense::Dense;
pub use error::ModelError;
pub use generate::{greedy, most_likely};
pub use layer_id::{LayerId, Projection};
pub use linear::{Linear, LinearError};
pub use model::{Hook, Model};
pub use norm::Norm;
pub use perplexity::{Closeness, Convention, Reference, Score, perplexity};
pub use quantized::{Codes, Format, QuantizedLinear, Quantizer};
pub use tokenizer::Tokenizer;
pub use weights::Weights;
