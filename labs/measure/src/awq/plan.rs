//! The runs: each method on one grid of 4.25 bits a weight.

use ::awq::Grid;
use formats::format::Ends;
use quantizer::{Options, Scales};

/// A run.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The method, and what is special about the run.
    pub name: &'static str,
    /// The grid of the codes.
    pub grid: Grid,
    /// Whether lab 07 scales the tensors, and how.
    pub scales: Option<Search>,
    /// Whether lab 06 chooses the codes, and how; else the nearest are taken.
    pub feedback: Option<Options>,
}

/// How scales are searched.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Search {
    /// Whether the candidates are those of AutoAWQ's and llm-compressor's formula.
    pub duo: bool,
    /// Whether weights are clipped.
    pub clip: bool,
    /// Whether candidates are tried with the rounding that follows, else with the nearest codes.
    pub with_feedback: bool,
}

/// Weights that share a scale.
pub const GROUP_SIZE: usize = 64;
/// Tokens of the calibration text, Paradise Lost.
pub const TOKENS: usize = 8192;

const PAPER: Search = Search { duo: false, clip: true, with_feedback: false };
const NO_CLIP: Search = Search { clip: false, ..PAPER };
const DUO: Search = Search { duo: true, ..NO_CLIP };
const TRIED: Search = Search { with_feedback: true, ..DUO };

/// llm-compressor's choices, in sequence.
const USUAL: Options = Options { sequential: true, ..Options::LLM_COMPRESSOR };
/// The best of lab 06 at this size.
const SEARCHED: Options = Options { scales: Scales::Searched, ..USUAL };

const fn run(name: &'static str, scales: Option<Search>, feedback: Option<Options>) -> Asked {
    Asked { name, grid: Grid::LlmCompressor, scales, feedback }
}

/// All runs.
pub static PLAN: &[Asked] = &[
    run("nearest", None, None),
    Asked { grid: Grid::Lab03, ..run("nearest, absmax over 7", None, None) },
    Asked { grid: Grid::Asymmetric, ..run("nearest, zero points", None, None) },
    run("AWQ", Some(PAPER), None),
    run("AWQ without clipping", Some(NO_CLIP), None),
    run("AWQ, second formula, without clipping", Some(DUO), None),
    Asked { grid: Grid::Asymmetric, ..run("AWQ, zero points", Some(PAPER), None) },
    run("GPTQ", None, Some(USUAL)),
    run("AWQ and GPTQ", Some(NO_CLIP), Some(USUAL)),
    run("GPTQ, searched scales", None, Some(SEARCHED)),
    run("AWQ and GPTQ, searched scales", Some(NO_CLIP), Some(SEARCHED)),
    run("AWQ, second formula, and GPTQ, searched scales", Some(DUO), Some(SEARCHED)),
    run(
        "AWQ, second formula, and GPTQ, searched scales, ratios tried with feedback",
        Some(TRIED),
        Some(SEARCHED),
    ),
];

/// Where lab 07's `grid` ends, if it is symmetric.
pub fn ends(grid: Grid) -> Option<Ends> {
    match grid {
        Grid::Lab03 => Some(Ends::Equal),
        Grid::LlmCompressor => Some(Ends::AllCodes),
        Grid::Asymmetric => None,
    }
}

/// The run of this name.
pub fn named(name: &str) -> Option<&'static Asked> {
    PLAN.iter().find(|asked| asked.name == name)
}
