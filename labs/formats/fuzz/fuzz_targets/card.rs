//! Any text as a card: an answer or an error that fits a terminal, never a panic.

#![no_main]

use formats::architecture::PUBLISHED;
use formats::card::{read, step_bytes, weight_bytes};
use formats::model_sizes::ModelSizes;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let card = match read(text) {
        Ok(card) => card,
        Err(error) => {
            let error = error.to_string();
            assert!(!error.contains(char::is_control), "raw text of the card: {error:?}");
            return;
        }
    };
    for (_, model) in PUBLISHED {
        let model = ModelSizes::from(&model);
        let _ = (weight_bytes(&card, &model), step_bytes(&card, &model));
    }
    // A config says more than words can.
    let canonical = &card.answers.canonical;
    if text.trim_start().starts_with('{') || canonical.is_empty() {
        return;
    }
    let again = read(canonical).map(|card| card.answers.canonical);
    assert_eq!(again.as_ref().ok(), Some(canonical), "{again:?}");
});
