//! What the book states a number of in more than one place, and where that number comes from.
//!
//! A [`Unit`] is a kind of number, with the phrases around it. Its things have a name, as pages phrase it,
//! and the numbers that a page may state of the thing in this unit.

use formats::architecture::{Architecture, LLAMA31_8B, SMOLLM2_135M};
use formats::device::{self, Device};
use formats::float8;
use formats::format::Format;
use formats::gguf::TensorType;
use half::f16;
use snippets::tables::cost_model::{crossover, layers_crossover};

/// A kind of number.
pub struct Unit {
    /// What the number is, for messages.
    pub name: &'static str,
    /// A number with the words around it that make it a number of this kind: each group is a number.
    pub number: &'static str,
    /// What pages state such a number of.
    pub things: &'static [Thing],
}

/// A thing, and its number.
pub struct Thing {
    /// How pages name it, as a regular expression.
    pub name: &'static str,
    /// Every number in this unit that may be stated of it.
    pub is: fn() -> Vec<f64>,
}

const fn thing(name: &'static str, is: fn() -> Vec<f64>) -> Thing {
    Thing { name, is }
}

/// Every number that the test of this folder compares.
pub const UNITS: [Unit; 7] = [
    Unit {
        name: "bits a weight",
        number: r"\b([1-9]\d*\.\d+)[ -]bits?\b|(?:costs?|\d \+ [^=]* =|FP\d|_[01K]) ([1-9]\.\d+)(?:[,.;)]| [a-z]|$)",
        things: &[
            thing("MXFP4", || shared(4, &[8], 32)),
            thing("MXFP6", || shared(6, &[8], 32)),
            thing("MXFP8", || shared(8, &[8], 32)),
            thing("NVFP4", || shared(4, &[8], 16)),
            // Plain, and with double quantization.
            thing("NF4|bnb-4bit", || vec![4.5, 4.0 + 8.0 / 64.0 + 32.0 / (64.0 * 256.0)]),
            thing(r"Q4_0\b", || block(TensorType::Q4_0)),
            thing(r"Q4_1\b", || block(TensorType::Q4_1)),
            thing(r"Q8_0\b", || block(TensorType::Q8_0)),
            thing(r"Q3_K\b", || block(TensorType::Q3_K)),
            thing(r"Q4_K\b", || block(TensorType::Q4_K)),
            thing(r"Q5_K\b", || block(TensorType::Q5_K)),
            thing(r"Q6_K\b", || block(TensorType::Q6_K)),
            // With a 16-bit scale, and with a zero point of four bits beside it.
            thing(r"(?i)(?:groups of|a group of| g)[ -]?32\b", || int4(32)),
            thing(r"(?i)(?:groups of|a group of| g)[ -]?64\b", || int4(64)),
            thing(r"(?i)(?:groups of|a group of| g)[ -]?128\b", || int4(128)),
            thing(r"(?i)(?:groups of|a group of| g)[ -]?192\b", || int4(192)),
            // GPTQ stores the group of each input as well, which all outputs share.
            thing("(?i)GPTQ,? (?:in )?groups of 64", || with_g_idx(64)),
            // AWQ has zero points in each file.
            // A bound is no statement.
            thing("at most", Vec::new),
            thing(r"AWQ,? (?:in |a )?(?:groups? of |g)128", || shared(4, &[16, 4], 128)),
        ],
    },
    Unit {
        name: "the largest value",
        number: r"(?:end is|ends? at|reaches|beyond|exceeds?|overflow at|up to) (\d[\d,]*\d\d)\b",
        things: &[
            thing(r"\bf16\b|\bIts range is that of f32", || vec![f64::from(f16::MAX)]),
            thing("E4M3|FP8|keys|grid", || vec![f64::from(float8::MAX)]),
        ],
    },
    Unit {
        name: "parameters, in millions",
        number: r"\b(\d+) million parameters",
        things: &[thing(r"(?i)SmolLM2|this (?:small |book's )?model|a model|in a device", || {
            vec![parameters(&SMOLLM2_135M) / 1e6]
        })],
    },
    Unit {
        name: "parameters, in billions",
        number: r"\b(\d+\.\d+)(?: of (\d+\.\d+))? billion",
        things: &[thing(r"Llama-3\.1-8B|Llama 3\.1 8B|The other|Its linear layers", || {
            let linear = LLAMA31_8B.linear_weights() as f64;
            let all = parameters(&LLAMA31_8B);
            vec![all / 1e9, linear / 1e9, (all - linear) / 1e9]
        })],
    },
    Unit {
        name: "groups of 128",
        number: r"(?:is|are) (\d+) groups",
        things: &[
            thing("29,?568", || vec![29_568.0 / 128.0]),
            thing("29,?696", || vec![29_696.0 / 128.0]),
        ],
    },
    Unit {
        name: "decibels of a bit",
        number: r"bit is (?:worth )?(?:about )?(\d\.\d+) dB|(\d\.\d+) dB a bit|10\} 2 \\approx (\d\.\d+)",
        things: &[thing("(?i)bit|decibels", || vec![20.0 * 2.0_f64.log10()])],
    },
    Unit {
        name: "tokens a step at which arithmetic takes over",
        number: r"(?:takes over|binds|meets?|waits for memory).*? (?:at|to|\\approx) (?:some |batch )?(\d+(?:\.\d+)?)(?: tokens|[,;]|\.?$)",
        things: &[
            thing("(?i)bf16", || crossovers(&Format::BF16)),
            thing("(?i)W4A16", || crossovers(&Format::w4a16(128))),
        ],
    },
];

/// Bits of a weight: those of its code, and the overhead that `group` weights share.
fn shared(code: u32, overhead: &[u32], group: u32) -> Vec<f64> {
    vec![f64::from(code) + f64::from(overhead.iter().sum::<u32>()) / f64::from(group)]
}

/// Four bits and a 16-bit scale, without a zero point and with one.
fn int4(group: u32) -> Vec<f64> {
    [shared(4, &[16], group), shared(4, &[16, 4], group)].concat()
}

/// With a zero point, in the matrices of the book's model: of a square one, and of all together.
fn with_g_idx(group: u32) -> Vec<f64> {
    let [hidden, ..] = SMOLLM2_135M.layer_matrices();
    let matrices = SMOLLM2_135M.layer_matrices();
    let inputs: u64 = matrices.iter().map(|[_, inputs]| inputs).sum();
    let weights: u64 = matrices.iter().map(|[outputs, inputs]| outputs * inputs).sum();
    let each = [1.0 / hidden[0] as f64, inputs as f64 / weights as f64];
    let int4 = shared(4, &[16, 4], group)[0];
    each.iter().map(|entries| int4 + 32.0 * entries).collect()
}

fn block(kind: TensorType) -> Vec<f64> {
    kind.block().map(|(weights, bytes)| 8.0 * bytes as f64 / weights as f64).into_iter().collect()
}

fn parameters(model: &Architecture) -> f64 {
    model.parameters() as f64
}

/// On the two devices that the chapters compare, with the head in 16 bits and without a head.
fn crossovers(format: &Format) -> Vec<f64> {
    let of =
        |device: &Device| [crossover(format.clone(), device), layers_crossover(format, device)];
    [device::H100, device::H200].iter().flat_map(of).flatten().collect()
}
