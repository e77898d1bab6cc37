//! The tables of the chapter on cards: what `formats::card` says of names that are out there.

use anyhow::{Context, Result, anyhow, bail};
use formats::architecture::LLAMA31_8B;
use formats::card::{Card, read, weight_bytes};
use kit::Table;
use kit::table::sig3;

/// Names that say enough for a number of bytes.
const NAMES: [&str; 20] = [
    "RedHatAI/Meta-Llama-3.1-8B-Instruct-quantized.w4a16",
    "RedHatAI/Meta-Llama-3.1-8B-Instruct-quantized.w8a8",
    "RedHatAI/Meta-Llama-3.1-8B-quantized.w8a16",
    "neuralmagic/Meta-Llama-3-8B-Instruct-FP8",
    "RedHatAI/phi-4-FP8-dynamic",
    "RedHatAI/Llama-3.1-8B-Instruct-FP8-block",
    "RedHatAI/Kimi-K3-NVFP4",
    "openai/gpt-oss-20b",
    "TheBloke/zephyr-7B-beta-AWQ",
    "Qwen/Qwen2.5-7B-Instruct-GPTQ-Int8",
    "TheBloke/Llama-2-13B-chat-GPTQ:gptq-4bit-32g-actorder_True",
    "Intel/Qwen3-8B-int4-AutoRound",
    "unsloth/Meta-Llama-3.1-8B-Instruct-bnb-4bit",
    "mlx-community/Qwen2.5-72B-Instruct-4bit",
    "mit-han-lab/Llama-3-8B-QServe-g128",
    "meta-llama/Llama-3.2-1B-Instruct-SpinQuant_INT4_EO8",
    "ISTA-DASLab/Meta-Llama-3.1-8B-Instruct-AQLM-PV-2Bit-1x16-hf",
    "turboderp/Llama-3.1-8B-Instruct-exl2 @4.0bpw",
    "bartowski/Meta-Llama-3.1-8B-Instruct-GGUF:Q4_K_M",
    "google/gemma-3-4b-it-qat-q4_0-gguf",
];

/// Names whose config decides something.
const OPEN: [&str; 7] = [
    "hugging-quants/Meta-Llama-3.1-8B-Instruct-GPTQ-INT4",
    "Qwen/Qwen3-VL-235B-A22B-Thinking-FP8",
    "TheBloke/zephyr-7B-beta-AWQ",
    "unsloth/Meta-Llama-3.1-8B-Instruct-bnb-4bit",
    "tbhot3ww/Llama-3.2-3B-Instruct-NVFP4",
    "RedHatAI/GLM-5.2-NVFP4-FP8",
    "gemma-3-4b-it-qat",
];

/// Texts that are no card.
const WRONG: [&str; 8] = [
    "W4A16 FP8",
    "w8a8 4bit",
    "Q4_0 group_size=128",
    "NVFP4 g128",
    "W4A16 dynamic",
    "W4A16 g100",
    "Q4_K_X",
    "W4A16 symetric",
];

fn card(name: &str) -> Result<Card> {
    read(name).map_err(|error| anyhow!("{name}: {error}"))
}

/// Names, what each reads as, bits of a weight, and GB of an 8B model.
pub fn strings() -> Result<Table> {
    let rows = NAMES.map(|name| {
        let card = card(name)?;
        let bytes = weight_bytes(&card, &(&LLAMA31_8B).into())
            .with_context(|| format!("{name} has no bytes"))?;
        let about = if bytes.about { "about " } else { "" };
        Ok((name, card.answers, format!("{about}{}", sig3(bytes.total() as f64 / 1e9))))
    });
    let title = "Cards read as arithmetic, and the weights of Llama-3.1-8B in each";
    Ok(Table::of(title, rows.into_iter().collect::<Result<Vec<_>>>()?)
        .text("card", |(name, ..)| code(name))
        .text("reads as", |(_, answers, _)| code(&answers.canonical))
        .text("bits a weight", |(_, answers, _)| answers.bits.clone())
        .number("8B, GB", |(.., gb)| gb.clone())
        .done())
}

/// What names leave to the config.
pub fn open() -> Result<Table> {
    let mut rows = Vec::new();
    for name in OPEN {
        rows.extend(card(name)?.answers.open.into_iter().map(|sentence| (name, sentence)));
    }
    Ok(Table::of("What a name leaves open", rows)
        .text("card", |(name, _)| code(name))
        .text("the config decides", |(_, sentence)| sentence.clone())
        .done())
}

/// What contradicts itself or means nothing.
pub fn contradictions() -> Result<Table> {
    let rows = WRONG.map(|text| match read(text) {
        Ok(card) => bail!("{text} reads as {}", card.answers.canonical),
        Err(error) => Ok((text, error.to_string())),
    });
    Ok(Table::of("Texts that are no card", rows.into_iter().collect::<Result<Vec<_>>>()?)
        .text("text", |(text, _)| code(text))
        .text("what is wrong", |(_, error)| error.clone())
        .done())
}

fn code(text: &str) -> String {
    format!("`{text}`")
}
