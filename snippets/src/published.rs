//! Numbers that others reported, each typed once, here, with its source.
//!
//! A [`Published`] cannot be made without a source, and every table of published numbers shows it.
//! An author who adds a number has read the number in the source that is named.

use anyhow::Result;
use formats::device;
use kit::Table;

/// Where a number was read.
pub struct Source {
    /// As the References page lists it.
    pub name: &'static str,
    /// The address of the paper, file or page.
    pub url: &'static str,
}

impl Source {
    /// As a Markdown link.
    pub fn link(&self) -> String {
        format!("[{}]({})", self.name, self.url)
    }
}

/// What was run on what, in the source's own setting, and the numbers of it.
type Row = (&'static str, &'static [&'static str]);

/// A table of numbers from one place of one source.
pub struct Published {
    /// The name that chapters use.
    pub name: &'static str,
    /// What it is a table of.
    pub title: &'static str,
    /// The source.
    pub source: Source,
    /// Which table or section of the source.
    pub place: &'static str,
    /// What the numbers are, with their units.
    pub columns: &'static [&'static str],
    /// The numbers, in the order of the columns.
    pub rows: &'static [Row],
}

impl Published {
    /// Its title says that it is published, and its last column says where the numbers stand.
    pub fn table(&self) -> Table {
        let title = format!("Published, not measured here: {}", self.title);
        let mut table = Table::of(title, self.rows).text("setting", |(setting, _)| *setting);
        for (index, column) in self.columns.iter().enumerate() {
            table = table.number(*column, |(_, numbers)| numbers[index]);
        }
        let source = format!("{}, {}", self.source.link(), self.place);
        table.text("source", |_| source.clone()).done()
    }
}

/// Tokens per second of an 8B model on one GPU as the batch grows.
pub const BATCH_CROSSOVER: Published = Published {
    name: "published_batch_crossover",
    title: "throughput as the batch grows",
    // NVIDIA's benchmark page of Model Optimizer.
    source: Source {
        name: "NVIDIA",
        url: "https://github.com/NVIDIA/Model-Optimizer/blob/a2fbac7/examples/benchmark.md",
    },
    place: "section 1.1",
    columns: &["BF16 (tokens/s)", "FP8 (tokens/s)", "INT4 AWQ (tokens/s)"],
    rows: &[
        ("Llama-3.1-8B, one H200, 2,048 tokens in, 128 out, batch 1", &["174", "245", "232"]),
        ("Llama-3.1-8B, one H200, 2,048 tokens in, 128 out, batch 8", &["803", "1051", "600"]),
        ("Llama-3.1-8B, one H200, 2,048 tokens in, 128 out, batch 64", &["1680", "2191", "1393"]),
    ],
};

/// What vLLM found on a GPU when it profiled its memory.
const VLLM_MEMORY: Published = Published {
    name: "published_vllm_memory",
    title: "what vLLM took of a GPU at a utilization of 0.90, in GiB",
    source: Source { name: "vllm#10511", url: "https://github.com/vllm-project/vllm/pull/10511" },
    place: "the comment of 14 December 2024",
    columns: &["GPU", "weights", "outside PyTorch", "peak of activations", "left for the cache"],
    rows: &[("Llama-3-8B, one GPU", &["79.22", "14.96", "1.79", "1.26", "53.29"])],
};

/// Kurtic and others, 2024.
const BF16_OR_DEATH: Source =
    Source { name: "Kurtic et al.", url: "https://arxiv.org/abs/2411.02355" };

/// Mean speed-up over 16 bits of vLLM under asynchronous load.
const ASYNCHRONOUS: Published = Published {
    name: "published_asynchronous",
    title: "mean speed-up over BF16 under load",
    source: BF16_OR_DEATH,
    place: "table 6",
    columns: &["8-bit W8A8", "4-bit W4A16"],
    rows: &[
        ("Llama-3.1-8B, one A6000 (8 bits: INT8)", &["1.38x", "1.08x"]),
        ("Llama-3.1-70B, four A100 (8 bits: INT8)", &["1.87x", "1.64x"]),
        ("Llama-3.1-70B, four H100 (8 bits: FP8)", &["1.77x", "1.55x"]),
    ],
};

/// Benchmark averages of three formats.
const RECOVERY: Published = Published {
    name: "published_recovery",
    title: "average scores of a benchmark suite",
    source: BF16_OR_DEATH,
    place: "table 2",
    columns: &["BF16", "FP8 W8A8", "INT8 W8A8", "W4A16"],
    rows: &[
        ("Llama-3.1-8B, Leaderboard V1", &["74.06", "73.55", "74.29", "73.11"]),
        ("Llama-3.1-70B, Leaderboard V1", &["84.40", "84.16", "84.29", "84.00"]),
        ("Llama-3.1-405B, Leaderboard V1", &["86.79", "86.89", "86.20", "86.78"]),
    ],
};

/// OPT-175B in W8A8.
const COLLAPSE: Published = Published {
    name: "published_collapse",
    title: "a model of 175 billion parameters in W8A8",
    // Xiao and others, 2022.
    source: Source { name: "Xiao et al.", url: "https://arxiv.org/abs/2211.10438" },
    place: "table 3",
    columns: &["FP16", "naive W8A8", "LLM.int8()", "SmoothQuant O1", "SmoothQuant O3"],
    rows: &[
        ("OPT-175B, WikiText perplexity", &["10.99", "93080", "11.10", "11.11", "11.17"]),
        ("OPT-175B, mean of seven tasks (%)", &["66.9", "35.5", "66.7", "66.5", "66.8"]),
    ],
};

/// Outlier features between two sizes of a model.
const EMERGENCE: Published = Published {
    name: "published_emergence",
    title: "outlier features appear everywhere at once",
    // Dettmers and others, 2022.
    source: Source { name: "Dettmers et al.", url: "https://arxiv.org/abs/2208.07339" },
    place: "section 4",
    columns: &["6B", "6.7B"],
    rows: &[
        ("layers with outlier features (%)", &["65", "100"]),
        ("positions of a sequence with them (%)", &["35", "75"]),
    ],
};

/// Llama models, migrated.
const SMOOTHED_LLAMA: Published = Published {
    name: "published_smoothed_llama",
    title: "perplexity of Llama models",
    // The README of SmoothQuant's code.
    source: Source { name: "smoothquant", url: "https://github.com/mit-han-lab/smoothquant" },
    place: "README",
    columns: &["FP16", "SmoothQuant W8A8"],
    rows: &[
        ("Llama-2-7B, alpha 0.85", &["5.474", "5.515"]),
        ("Llama-2-70B", &["3.320", "3.359"]),
        ("Llama-3-8B", &["6.138", "6.258"]),
    ],
};

/// GPTQ with and without its two later options.
const GPTQ_LLAMA: Published = Published {
    name: "published_gptq_llama",
    title: "perplexity on WikiText-2 of a model in 4 bits, one scale a row",
    // The README of GPTQ's code.
    source: Source {
        name: "IST-DASLab",
        url: "https://github.com/IST-DASLab/gptq/blob/2d65066/README.md",
    },
    place: "README",
    columns: &["FP16", "nearest codes", "GPTQ", "GPTQ, act-order and true-sequential"],
    rows: &[("LLaMA-7B", &["5.68", "6.29", "7.15", "6.09"])],
};

/// One channel in a hundred in 16 bits.
const AWQ_ONE_PERCENT: Published = Published {
    name: "published_awq_one_percent",
    title: "perplexity of a model in 3 bits with 1 % of the channels in 16 bits",
    source: Source { name: "AWQ", url: "https://arxiv.org/abs/2306.00978" },
    place: "Table 1",
    columns: &["no channel", "largest inputs", "largest weights", "at random"],
    rows: &[("OPT-6.7B, groups of 128", &["23.54", "11.39", "22.37", "24.23"])],
};

/// The same two methods on perplexity, by the authors of one of them.
const AWQ_GPTQ: Published = Published {
    name: "published_awq_gptq",
    title: "perplexity in 4 bits, groups of 128",
    source: Source { name: "AWQ", url: "https://arxiv.org/abs/2306.00978" },
    place: "Table 4",
    columns: &["FP16", "nearest codes", "GPTQ", "GPTQ, reordered", "AWQ"],
    rows: &[
        ("LLaMA-7B", &["5.68", "5.96", "6.22", "5.83", "5.78"]),
        ("Llama-2-7B", &["5.47", "5.73", "5.69", "5.63", "5.60"]),
        ("Llama-2-13B", &["4.88", "4.98", "4.98", "4.99", "4.97"]),
        ("Llama-2-70B", &["3.32", "3.46", "3.42", "3.43", "3.41"]),
    ],
};

/// The same two methods on tasks, by others.
const GPTQ_AWQ_TASKS: Published = Published {
    name: "published_gptq_awq_tasks",
    title: "average of real tasks in 4 bits, more is better",
    source: BF16_OR_DEATH,
    place: "Table 1",
    columns: &["BF16", "GPTQ", "AWQ"],
    rows: &[
        ("Llama-3.1-8B", &["53.7", "52.3", "49.4"]),
        ("Llama-3.1-70B", &["73.1", "73.1", "72.3"]),
    ],
};

/// Perplexity of Llama models with random and with learned rotations.
const SPINQUANT: Published = Published {
    name: "published_spinquant",
    title: "perplexity on WikiText2 with rounding to nearest, random and learned rotations",
    source: Source {
        name: "SpinQuant",
        url: "https://github.com/facebookresearch/SpinQuant/blob/44dbc26/README.md",
    },
    place: "Quantized Models",
    columns: &[
        "floats",
        "nearest codes",
        "random rotation (QuaRot)",
        "learned rotation (SpinQuant)",
    ],
    rows: &[
        ("Llama-2-7B, W4A16, cache in 16 bits", &["5.5", "7.2", "5.6", "5.6"]),
        ("Llama-2-7B, W4A4, cache in 16 bits", &["5.5", "2e3", "6.1", "5.9"]),
        ("Llama-2-7B, W4A4, cache in 4 bits", &["5.5", "2e3", "6.4", "5.9"]),
        ("Llama-3-8B, W4A16, cache in 16 bits", &["6.1", "7.8", "6.4", "6.4"]),
        ("Llama-3-8B, W4A4, cache in 16 bits", &["6.1", "9e2", "7.9", "7.1"]),
        ("Llama-3-8B, W4A4, cache in 4 bits", &["6.1", "1e3", "8.0", "7.3"]),
    ],
};

/// Every table of published numbers but [`peaks`].
pub const ALL: [Published; 12] = [
    VLLM_MEMORY,
    BATCH_CROSSOVER,
    ASYNCHRONOUS,
    RECOVERY,
    COLLAPSE,
    EMERGENCE,
    SMOOTHED_LLAMA,
    GPTQ_LLAMA,
    AWQ_ONE_PERCENT,
    AWQ_GPTQ,
    GPTQ_AWQ_TASKS,
    SPINQUANT,
];

/// Bekman's collection of accelerator data sheets.
const ML_ENGINEERING: Source = Source {
    name: "Bekman",
    url: "https://github.com/stas00/ml-engineering/tree/744d01e/compute/accelerator",
};

/// A collection of the data sheets of desktops' cards.
const GPUMAP: Source =
    Source { name: "gpumap", url: "https://github.com/lamonoai/gpumap/blob/8d5e174/nvidia/GPU.md" };

/// Published peak rates: those of [`formats::device`], with their source.
pub fn peaks() -> Result<Table> {
    let tera = |rate: Option<f64>| rate.map_or("none".into(), |rate| (rate / 1e12).to_string());
    let title = "Published, not measured here: what the data sheets say, dense";
    Ok(Table::of(title, device::PUBLISHED)
        .text("device", |(name, _)| *name)
        .number("memory (GB)", |(_, of)| (of.memory_bytes / 1_000_000_000).to_string())
        .number("bandwidth (TB/s)", |(_, of)| format!("{:.2}", of.bytes_per_s / 1e12))
        .number("BF16 (TFLOP/s)", |(_, of)| tera(of.operations_per_s.sixteen))
        .number("FP8 (TFLOP/s)", |(_, of)| tera(of.operations_per_s.fp8))
        .number("INT8 (TOP/s)", |(_, of)| tera(of.operations_per_s.int8))
        .number("FP4 (TFLOP/s)", |(_, of)| tera(of.operations_per_s.fp4))
        .text("source", |(name, _)| {
            let desktop = name.starts_with("RTX");
            format!("{}, without sparsity", if desktop { GPUMAP } else { ML_ENGINEERING }.link())
        })
        .done())
}
