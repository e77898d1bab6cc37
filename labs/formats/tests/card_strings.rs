//! Cards that are out there, and what each means: the names of repositories state their schemes, as
//! their cards and configs do; where a name leaves something to the config, that is counted.

use formats::architecture::{Architecture, LLAMA31_8B, LLAMA31_70B};
use formats::card::{CARDS, CardError, WeightBytes, grammar, read, weight_bytes};
use proptest::prelude::*;

use crate::text_table::rows;

/// The list: a card, what it reads as, bits of a weight, and how many questions it leaves open.
fn cards() -> Vec<[&'static str; 4]> {
    rows(include_str!("../src/card/cards.txt"))
}

#[test]
fn every_card_of_the_list_reads_as_its_makers_say() {
    let mut wrong = Vec::new();
    assert!(
        cards().len() > 100 && cards().iter().map(|[card, ..]| *card).eq(CARDS.iter().copied())
    );
    for [card, canonical, bits, open] in cards() {
        match read(card) {
            Err(error) => wrong.push(format!("{card}: {error}")),
            Ok(found) => {
                let found = found.answers;
                if (&*found.canonical, &*found.bits, &*found.open.len().to_string())
                    != (canonical, bits, open)
                {
                    wrong.push(format!("{card}: {found:#?}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

// ---- the arithmetic, held to sizes that cards print

/// Llama-2-13B, as its config.json has it.
const LLAMA2_13B: Architecture = Architecture {
    layers: 40,
    hidden: 5120,
    intermediate: 13_824,
    heads: 40,
    kv_heads: 40,
    ..LLAMA2_70B
};

/// Llama-2-70B.
const LLAMA2_70B: Architecture = Architecture { vocabulary: 32_000, ..LLAMA31_70B };

fn bytes(card: &str, model: &Architecture) -> WeightBytes {
    let card = read(card).unwrap_or_else(|error| panic!("{card}: {error}"));
    weight_bytes(&card, &model.into()).expect("a card that says enough")
}

/// TheBloke's, ISTA-DASLab's and bartowski's cards print GB of the file, with two digits behind the
/// point; tokenizer, header and `g_idx` are in it and are not counted here.
#[test]
fn bits_of_a_card_times_weights_are_the_size_that_the_card_prints() {
    let branch =
        |group: &str| format!("TheBloke/Llama-2-13B-chat-GPTQ:gptq-4bit-{group}-actorder_True");
    for (card, model, printed_gb) in [
        (branch("32g"), &LLAMA2_13B, 8.00),
        (branch("64g"), &LLAMA2_13B, 7.51),
        ("TheBloke/Llama-2-13B-chat-GPTQ".into(), &LLAMA2_13B, 7.26),
        // The main branch of the 70B has no groups: by its name it would have groups of 128.
        ("GPTQ 4bit group_size=-1".into(), &LLAMA2_70B, 35.33),
        ("AQLM-PV-2Bit-1x16".into(), &LLAMA31_8B, 4.08),
        ("Q4_K_M".into(), &LLAMA31_8B, 4.92),
        ("IQ2_M".into(), &LLAMA31_8B, 2.95),
    ] {
        let gb = bytes(&card, model).total() as f64 / 1e9;
        // g_idx of a 13B layer: 4 bytes for each of 6 x 5120 + 13824 inputs, 7 MB in 40 layers, and
        // 28 MB in the 70B. Tokenizer and header: up to 10 MB. The digits: 5 MB.
        let allowed = 0.001 * printed_gb + 0.015;
        let off = printed_gb - gb;
        assert!(off.abs() <= allowed, "{card}: {gb:.3} GB, its card says {printed_gb}");
    }
}

#[test]
fn what_is_not_quantized_stays_in_16_bits() {
    let w4a16 = bytes("W4A16 group_size=128 sym", &LLAMA31_8B);
    assert_eq!(w4a16.linear, LLAMA31_8B.linear_weights() / 2 + LLAMA31_8B.linear_weights() / 64);
    let rest = LLAMA31_8B.embedding_weights() + LLAMA31_8B.vector_weights();
    assert_eq!(w4a16.rest, 2 * rest);
    assert_eq!(bytes("BF16", &LLAMA31_8B).total(), 2 * LLAMA31_8B.parameters());
}

// ---- names that do not decide

#[test]
fn a_name_that_two_configs_share_says_what_the_config_decides() {
    for (card, words) in [
        ("hugging-quants/Meta-Llama-3.1-8B-Instruct-GPTQ-INT4", "the name does not decide it"),
        ("ModelCloud/Meta-Llama-3.1-8B-Instruct-gptq-4bit", "the name does not decide it"),
        ("neuralmagic/Meta-Llama-3-8B-Instruct-FP8", "128x128 blocks on Qwen3's"),
        ("Qwen/Qwen3-VL-235B-A22B-Thinking-FP8", "one per tensor on RedHatAI's cards"),
        ("TheBloke/Llama-2-70B-chat-GPTQ", "nothing of the group size"),
        ("TheBloke/zephyr-7B-beta-AWQ", "AWQ says nothing of the group size: 128 is usual"),
        ("unsloth/Meta-Llama-3.1-8B-Instruct-bnb-4bit", "NF4 or FP4"),
        ("gemma-3-4b-it-qat", "the name does not say"),
    ] {
        let open = read(card).expect(card).answers.open;
        assert!(open.iter().any(|open| open.contains(words)), "{card}: no `{words}` in {open:#?}");
    }
}

#[test]
fn what_a_config_says_closes_the_questions_that_a_name_leaves() {
    let with = |order: bool| {
        let (bits, group) = (4, 128);
        format!(
            r#"{{"quant_method":"gptq","bits":{bits},"group_size":{group},"sym":true,"desc_act":{order}}}"#
        )
    };
    let [ordered, plain] = [true, false].map(|order| read(&with(order)).expect("a config").answers);
    assert_eq!(ordered.canonical, "W4A16 int group_size=128 sym zeros=4 act-order");
    assert_eq!(plain.canonical, "W4A16 int group_size=128 sym zeros=4");
    assert!(ordered.open.is_empty() && plain.open.is_empty());
}

// ---- errors

#[test]
fn what_cannot_be_read_is_named_with_what_is_known() {
    for (card, words) in [
        ("", "there is no card to read"),
        (" -- ", "there is no card to read"),
        ("W4A16 FP8", "`W4A16` and `FP8` contradict each other: bits of a weight 4 against 8"),
        ("Q4_0 group_size=128", "weights that share a scale 32 against 128"),
        ("w8a8 4bit", "`w8a8` and `4bit` contradict each other: bits of a weight 8 against 4"),
        ("AWQ FP8", "kind of grid int against float"),
        ("W4A8_AWQ int8", "bits of a weight 4 against 8"),
        ("GPTQ AWQ", "method GPTQ against AWQ"),
        ("Q4_K_M Q4_0", "layout Q4_K_M against Q4_0"),
        ("NVFP4 g128", "weights that share a scale 16 against 128"),
        ("W4A16 sym asym", "symmetric yes against no"),
        ("W4A16 dynamic", "scale of the activations none against dynamic"),
        (
            "fp8_per_tensor asym",
            "`fp8_per_tensor` and `asym` contradict each other: symmetric yes against no",
        ),
        ("MXFP4 int4", "kind of grid float against int"),
        ("group_size=0", "`group_size=0`: a group has 8, 16, 24"),
        ("W4A16 g100", "`g100`: a group has 8, 16, 24"),
        ("Q4_K group_size", "`group_size` needs a number: group_size=128"),
        ("--kv-cache-dtype", "needs a type"),
        ("KV3", "`KV3`: keys and values are kept in 4, 8 or 16 bits"),
        ("W4A61", "`W4A61`: bits of an activation are 4, 6, 8 or 16"),
        ("W9A16", "`W9A16`: bits of a weight are 1 to 8, or 16"),
        ("0bit", "`0bit`: bits of a weight are 1 to 8, or 16"),
        ("W5A16 float", "no float of 5 bits is known, only of 4, 6, 8, 16"),
        ("exl2 99bpw", "`99bpw`: mean bits of a weight are between 1 and 16"),
        ("exl2 1.2.3bpw", "mean bits of a weight"),
        ("Q4_K_X", "`Q4_K_X` is not known; near it: Q4_K"),
        ("Meta-Llama-3.1-8B-Instruct-Q4_K_X.gguf", "`Q4_K_X` is not known"),
        ("W4A16 symetric", "`symetric` is not known; near it: symmetric"),
        ("gtpq", "`gtpq` is not known; near it: GPTQ"),
        ("W4A16 frobnicate", "`frobnicate` is not known; known are, for example, W4A16"),
        (
            "meta-llama/Llama-3.1-8B-Instruct",
            "no word of `meta-llama/Llama-3.1-8B-Instruct` states",
        ),
        ("someone/Llama-3.1-8B-GTPQ", "near it: GPTQ"),
    ] {
        let error = read(card).map(|card| card.answers.canonical).expect_err(card).to_string();
        assert!(error.contains(words), "{card}: no `{words}` in «{error}»");
    }
    assert_eq!(read(&"a".repeat(501)), Err(CardError::TooLong));
}

#[test]
fn the_grammar_has_no_word_twice() {
    let words = &grammar().words;
    for (index, word) in words.iter().enumerate() {
        let twin = words[..index].iter().find(|other| other.pattern == word.pattern);
        assert_eq!(twin.map(|twin| &twin.name), None, "`{}` is there twice", word.pattern);
    }
}

// ---- any text

/// A word as people write it, from the grammar.
fn any_word() -> impl Strategy<Value = String> {
    let names: Vec<String> = grammar().words.iter().map(|word| word.name.clone()).collect();
    prop_oneof![
        4 => proptest::sample::select(names),
        1 => proptest::sample::select(CARDS.to_vec()).prop_map(str::to_owned),
        1 => (1u32..20, 1u32..20).prop_map(|(w, a)| format!("W{w}A{a}")),
        1 => (0u32..300).prop_map(|g| format!("group_size={g}")),
    ]
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,60}") {
        let _ = read(&text);
    }

    #[test]
    fn no_json_makes_it_panic(text in "\\{[\"a-z_:,0-9{}\\[\\] -]{0,80}") {
        let _ = read(&text);
    }

    #[test]
    fn what_is_printed_reads_as_the_same_card(
        words in proptest::collection::vec(any_word(), 1..4),
        tie in proptest::sample::select(vec![" ", "-", ", "]),
    ) {
        let text = words.join(tie);
        let Ok(card) = read(&text) else { return Ok(()) };
        let canonical = &card.answers.canonical;
        prop_assume!(!canonical.is_empty());
        let again = read(canonical)
            .map_err(|error| TestCaseError::fail(format!("{text}: «{canonical}»: {error}")))?;
        prop_assert_eq!(&again.answers.canonical, canonical, "{}", &text);
        prop_assert_eq!(&again.format, &card.format, "{}", &text);
        prop_assert_eq!(again.kv_bits, card.kv_bits, "{}", &text);
        prop_assert_eq!(&again.answers.kv, &card.answers.kv, "{}", &text);
    }
}
