//! The grammar: the vocabulary of cards, families of models, and examples for errors.

use std::sync::LazyLock;

use super::word::Word;
use super::{gguf_names, vocabulary};

/// The data of the card reader. The browser gets the same data by [`export`](super::export).
#[derive(Clone, Debug)]
pub struct Grammar {
    /// The words. Of those that fit, the one with the most tokens counts, then the first.
    pub words: Vec<Word>,
    /// Beginnings of models' names. In a name, words that mean nothing here are the model's.
    pub families: Vec<&'static str>,
    /// Words that an error names if none is near.
    pub examples: &'static str,
}

/// The grammar.
pub fn grammar() -> &'static Grammar {
    static GRAMMAR: LazyLock<Grammar> = LazyLock::new(|| Grammar {
        words: vocabulary::words().into_iter().chain(gguf_names::words()).collect(),
        families: FAMILIES.split_whitespace().collect(),
        examples: EXAMPLES,
    });
    &GRAMMAR
}

/// Families of models: the beginnings of names, before digits.
pub(super) const FAMILIES: &str = "llama meta qwen qwq mistral mixtral ministral phi gemma deepseek kimi \
    glm nemotron smollm gpt zephyr falcon granite olmo yi bloom opt muse vicuna internlm minimax";

/// Words that an error names if none is near.
pub(super) const EXAMPLES: &str = "known are, for example, W4A16, W8A8, FP8-dynamic, AWQ, GPTQ, INT4, Q4_K_M, NVFP4, MXFP4, group_size=128";
