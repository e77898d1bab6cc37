//! From text to tokens and back.

use std::io::{Read, Seek};
use std::path::Path;

use formats::gguf::{Gguf, Value};
use tokenizers::models::bpe::{BPE, Merges, Vocab};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::{AddedToken, PreTokenizerWrapper};

use crate::ModelError;
use crate::source::{Source, source};

/// GGML's number for a control token: matched in text as a whole, before any rule.
const CONTROL: u64 = 3;
/// GGML's number for a token that its users added: matched as a whole too.
const USER_DEFINED: u64 = 4;

/// The tokenizer of a model.
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    bos_in_front: Option<u32>,
}

impl Tokenizer {
    /// Reads the tokenizer of what `path` names: the metadata of a GGUF file, or the
    /// `tokenizer.json` of a folder.
    ///
    /// # Errors
    /// If the tokenizer is missing or not supported.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, ModelError> {
        match source(path.as_ref())? {
            Source::Gguf(file) => Self::from_gguf(&mut Gguf::open(file)?),
            Source::HuggingFace(folder) => Self::from_json(&folder.join("tokenizer.json")),
        }
    }

    /// Reads a `tokenizer.json`.
    fn from_json(path: &Path) -> Result<Self, ModelError> {
        let bytes = std::fs::read(path).map_err(ModelError::io(path))?;
        let inner = tokenizers::Tokenizer::from_bytes(bytes)
            .map_err(|error| ModelError::Tokenizer(format!("{}: {error}", path.display())))?;
        // An empty text shows the tokens that the tokenizer puts in front of every text.
        let around_nothing = inner.encode_fast("", true).map_err(failed)?;
        Ok(Self { bos_in_front: around_nothing.get_ids().first().copied(), inner })
    }

    /// Builds the byte-level BPE tokenizer of a GGUF file by the rules of SmolLM: each digit by
    /// itself, then GPT-2's rules. (What transformers 5.23 builds from the same metadata leaves the rule
    /// for digits out, and gives other tokens where two spaces precede a number.)
    fn from_gguf<R: Read + Seek>(gguf: &mut Gguf<R>) -> Result<Self, ModelError> {
        check_rules(gguf)?;
        let tokens = gguf.texts("tokenizer.ggml.tokens")?;
        let bpe = BPE::builder().vocab_and_merges(vocabulary(&tokens)?, merges(gguf)?);
        let mut inner = tokenizers::Tokenizer::new(bpe.build().map_err(failed)?);
        let rules: [PreTokenizerWrapper; 2] =
            [Digits::new(true).into(), ByteLevel::new(false, true, true).into()];
        inner.with_pre_tokenizer(Some(Sequence::new(rules.into())));
        inner.with_decoder(Some(ByteLevel::default()));
        inner.add_tokens(whole_tokens(gguf, &tokens)?).map_err(failed)?;
        Ok(Self { inner, bos_in_front: bos_in_front(gguf)? })
    }

    /// The tokens of `text`. The text of a control token, `<|im_end|>` for example, is that token;
    /// nothing is put in front.
    ///
    /// # Errors
    /// If the tokenizer fails.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, ModelError> {
        Ok(self.inner.encode_fast(text, false).map_err(failed)?.get_ids().to_vec())
    }

    /// The text of `tokens`, control tokens as they are written. Bytes that are no UTF-8, as of a
    /// character cut in two, become U+FFFD.
    ///
    /// # Errors
    /// If the tokenizer fails.
    pub fn decode(&self, tokens: &[u32]) -> Result<String, ModelError> {
        self.inner.decode(tokens, false).map_err(failed)
    }

    /// The token that the model's rules put in front of every text, if there is one. The config's
    /// [`bos`](crate::Config::bos) may be set all the same: SmolLM2 has one and puts none in front.
    pub fn bos_in_front(&self) -> Option<u32> {
        self.bos_in_front
    }

    /// The whole tokenizer as a `tokenizer.json`, which transformers and vLLM read.
    ///
    /// # Errors
    /// If it cannot be written as JSON.
    pub fn to_json(&self) -> Result<String, ModelError> {
        self.inner.to_string(true).map_err(failed)
    }

    /// Tokens of the vocabulary.
    pub fn vocab_size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }
}

fn failed(error: impl std::fmt::Display) -> ModelError {
    ModelError::Tokenizer(error.to_string())
}

fn check_rules<R: Read + Seek>(gguf: &Gguf<R>) -> Result<(), ModelError> {
    for (key, wanted) in [("tokenizer.ggml.model", "gpt2"), ("tokenizer.ggml.pre", "smollm")] {
        let found = gguf.text(key)?;
        if found != wanted {
            let why = format!("`{wanted}` is; a folder with tokenizer.json works for any");
            return Err(ModelError::unsupported(format!("the tokenizer `{found}` ({key})"), why));
        }
    }
    Ok(())
}

fn vocabulary(tokens: &[String]) -> Result<Vocab, ModelError> {
    let ids = 0..u32::try_from(tokens.len()).map_err(failed)?;
    let vocabulary: Vocab = tokens.iter().cloned().zip(ids).collect();
    if vocabulary.len() != tokens.len() {
        let twice = tokens.len() - vocabulary.len();
        return Err(ModelError::Tokenizer(format!("{twice} of its tokens are there twice")));
    }
    Ok(vocabulary)
}

fn merges<R: Read + Seek>(gguf: &mut Gguf<R>) -> Result<Merges, ModelError> {
    let pair = |merge: &str| {
        let (left, right) = merge.split_once(' ').ok_or_else(|| {
            ModelError::Tokenizer(format!("the merge `{merge}` is not two tokens and a space"))
        })?;
        Ok((left.to_string(), right.to_string()))
    };
    gguf.texts("tokenizer.ggml.merges")?.iter().map(|merge| pair(merge)).collect()
}

/// The tokens that are matched as a whole.
fn whole_tokens<R: Read + Seek>(
    gguf: &mut Gguf<R>,
    tokens: &[String],
) -> Result<Vec<AddedToken>, ModelError> {
    let kinds = gguf.integers("tokenizer.ggml.token_type")?;
    if kinds.len() != tokens.len() {
        let problem = format!("{} tokens, but {} token types", tokens.len(), kinds.len());
        return Err(ModelError::Tokenizer(problem));
    }
    let whole = tokens.iter().zip(kinds).filter_map(|(token, kind)| match kind {
        CONTROL => Some(AddedToken::from(token.as_str(), true)),
        USER_DEFINED => Some(AddedToken::from(token.as_str(), false)),
        _ => None,
    });
    Ok(whole.collect())
}

/// llama.cpp puts a BOS in front of a byte-level BPE's texts only where the file says so.
fn bos_in_front<R: Read + Seek>(gguf: &Gguf<R>) -> Result<Option<u32>, ModelError> {
    let adds = gguf.metadata().get("tokenizer.ggml.add_bos_token").and_then(Value::as_bool);
    if adds != Some(true) {
        return Ok(None);
    }
    let bos = gguf.u64("tokenizer.ggml.bos_token_id")?;
    Ok(Some(u32::try_from(bos).map_err(failed)?))
}
