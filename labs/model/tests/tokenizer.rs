//! The tokenizer, against the Python `tokenizers` on strings that rules get wrong.

use crate::golden::{Case, path, tiny};
use model::{ModelError, Tokenizer};

fn check(tokenizer: &Tokenizer, cases: &[Case]) -> Result<(), ModelError> {
    assert!(cases.len() > 40, "all cases are there");
    for case in cases {
        let ids = tokenizer.encode(&case.text)?;
        assert_eq!(ids, case.ids, "{:?}", case.text);
        assert_eq!(tokenizer.decode(&ids)?, case.decoded, "{:?}", case.text);
    }
    Ok(())
}

#[test]
fn tokens_are_those_of_the_reference_from_a_gguf_and_from_a_folder() -> Result<(), ModelError> {
    let golden = tiny();
    for name in ["tiny.gguf", "tiny"] {
        let tokenizer = Tokenizer::load(path(name))?;
        check(&tokenizer, &golden.tokenizer)?;
        assert_eq!(tokenizer.encode(&model::passage::opening())?, golden.passage_ids);
        assert_eq!((tokenizer.vocab_size(), tokenizer.bos_in_front()), (320, None));
    }
    Ok(())
}

#[test]
fn every_text_comes_back() -> Result<(), ModelError> {
    let tokenizer = Tokenizer::load(path("tiny.gguf"))?;
    for case in tiny().tokenizer {
        assert_eq!(tokenizer.decode(&tokenizer.encode(&case.text)?)?, case.text);
    }
    Ok(())
}

#[test]
fn a_folder_without_a_tokenizer_says_so() {
    let error = Tokenizer::load(path("tiny-sharded")).err().expect("it has none").to_string();
    assert!(error.contains("tokenizer.json"), "{error}");
}
