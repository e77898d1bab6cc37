//! Numbers that others reported, each typed once, here, with its source.
//!
//! A [`Published`] cannot be made without a source, and every table of published numbers shows it.
//! Whoever adds one has read it in the source that is named.

use kit::Table;

/// Where a number was read.
pub struct Source {
    /// As the References page lists it.
    pub name: &'static str,
    /// The address of the paper, file or page.
    pub url: &'static str,
}

/// A set of numbers from one place of one source.
pub struct Published {
    /// What was run on what, in the source's own setting.
    pub setting: &'static str,
    /// Which table or section of the source.
    pub place: &'static str,
    /// The source.
    pub source: &'static Source,
    /// The numbers, in the order of the table's columns.
    pub numbers: &'static [&'static str],
}

/// NVIDIA's benchmark page of Model Optimizer.
pub const MODEL_OPTIMIZER: Source = Source {
    name: "NVIDIA",
    url: "https://github.com/NVIDIA/Model-Optimizer/blob/a2fbac7/examples/benchmark.md",
};

/// Kurtic and others, 2024.
pub const BF16_OR_DEATH: Source =
    Source { name: "Kurtic et al.", url: "https://arxiv.org/abs/2411.02355" };

/// Bekman's collection of accelerator data sheets.
pub const ML_ENGINEERING: Source = Source {
    name: "Bekman",
    url: "https://github.com/stas00/ml-engineering/tree/744d01e/compute/accelerator",
};

/// Tokens per second of an 8B model on one GPU as the batch grows.
pub const BATCH_CROSSOVER: [Published; 3] = [
    Published {
        setting: "Llama-3.1-8B, one H200, 2,048 tokens in, 128 out, batch 1",
        place: "section 1.1",
        source: &MODEL_OPTIMIZER,
        numbers: &["174", "245", "232"],
    },
    Published {
        setting: "Llama-3.1-8B, one H200, 2,048 tokens in, 128 out, batch 8",
        place: "section 1.1",
        source: &MODEL_OPTIMIZER,
        numbers: &["803", "1051", "600"],
    },
    Published {
        setting: "Llama-3.1-8B, one H200, 2,048 tokens in, 128 out, batch 64",
        place: "section 1.1",
        source: &MODEL_OPTIMIZER,
        numbers: &["1680", "2191", "1393"],
    },
];

/// Mean speed-up over 16 bits of vLLM under asynchronous load.
pub const ASYNCHRONOUS: [Published; 3] = [
    Published {
        setting: "Llama-3.1-8B, one A6000 (8 bits: INT8)",
        place: "table 6",
        source: &BF16_OR_DEATH,
        numbers: &["1.38x", "1.08x"],
    },
    Published {
        setting: "Llama-3.1-70B, four A100 (8 bits: INT8)",
        place: "table 6",
        source: &BF16_OR_DEATH,
        numbers: &["1.87x", "1.64x"],
    },
    Published {
        setting: "Llama-3.1-70B, four H100 (8 bits: FP8)",
        place: "table 6",
        source: &BF16_OR_DEATH,
        numbers: &["1.77x", "1.55x"],
    },
];

/// Xiao and others, 2022.
pub const SMOOTHQUANT: Source =
    Source { name: "Xiao et al.", url: "https://arxiv.org/abs/2211.10438" };

/// The README of SmoothQuant's code.
pub const SMOOTHQUANT_CODE: Source =
    Source { name: "smoothquant", url: "https://github.com/mit-han-lab/smoothquant" };

/// Dettmers and others, 2022.
pub const LLM_INT8: Source =
    Source { name: "Dettmers et al.", url: "https://arxiv.org/abs/2208.07339" };

/// OPT-175B in W8A8.
pub const COLLAPSE: [Published; 2] = [
    Published {
        setting: "OPT-175B, WikiText perplexity",
        place: "table 3",
        source: &SMOOTHQUANT,
        numbers: &["10.99", "93080", "11.10", "11.11", "11.17"],
    },
    Published {
        setting: "OPT-175B, mean of seven tasks (%)",
        place: "table 3",
        source: &SMOOTHQUANT,
        numbers: &["66.9", "35.5", "66.7", "66.5", "66.8"],
    },
];

/// Outlier features between two sizes of a model.
pub const EMERGENCE: [Published; 2] = [
    Published {
        setting: "layers with outlier features (%)",
        place: "section 4",
        source: &LLM_INT8,
        numbers: &["65", "100"],
    },
    Published {
        setting: "positions of a sequence with them (%)",
        place: "section 4",
        source: &LLM_INT8,
        numbers: &["35", "75"],
    },
];

/// Llama models, migrated.
pub const SMOOTHED_LLAMA: [Published; 3] = [
    Published {
        setting: "Llama-2-7B, alpha 0.85",
        place: "README",
        source: &SMOOTHQUANT_CODE,
        numbers: &["5.474", "5.515"],
    },
    Published {
        setting: "Llama-2-70B",
        place: "README",
        source: &SMOOTHQUANT_CODE,
        numbers: &["3.320", "3.359"],
    },
    Published {
        setting: "Llama-3-8B",
        place: "README",
        source: &SMOOTHQUANT_CODE,
        numbers: &["6.138", "6.258"],
    },
];

/// Benchmark averages of three formats.
pub const RECOVERY: [Published; 3] = [
    Published {
        setting: "Llama-3.1-8B, Leaderboard V1",
        place: "table 2",
        source: &BF16_OR_DEATH,
        numbers: &["74.06", "73.55", "74.29", "73.11"],
    },
    Published {
        setting: "Llama-3.1-70B, Leaderboard V1",
        place: "table 2",
        source: &BF16_OR_DEATH,
        numbers: &["84.40", "84.16", "84.29", "84.00"],
    },
    Published {
        setting: "Llama-3.1-405B, Leaderboard V1",
        place: "table 2",
        source: &BF16_OR_DEATH,
        numbers: &["86.79", "86.89", "86.20", "86.78"],
    },
];

/// A table of published numbers: its title says so, and its last column says where they stand.
pub fn table(title: &str, numbers: &[&str], rows: &[Published]) -> Table {
    let mut table = Table::new(format!("Published, not measured here: {title}")).text("setting");
    for name in numbers {
        table = table.number(*name);
    }
    table = table.text("source");
    for row in rows {
        let source = format!("[{}]({}), {}", row.source.name, row.source.url, row.place);
        table.row([row.setting].into_iter().chain(row.numbers.iter().copied()).chain([&*source]));
    }
    table
}
