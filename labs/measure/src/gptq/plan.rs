//! The runs, each an answer to a question.

use formats::format::Ends;
use quantizer::{Options, Scales};

use super::texts::{ALICE_LATER, AS_YOU_LIKE_IT, LICENSE, PARADISE_LOST, TECHNICAL};

/// A run.
#[derive(Clone, Debug)]
pub struct Asked {
    /// What is asked, and the value that is tried.
    pub name: &'static str,
    /// The format.
    pub scheme: &'static str,
    /// How codes are chosen.
    pub options: Options,
    /// Weights that share a scale.
    pub group_size: u64,
    /// The calibration text.
    pub text: &'static str,
    /// Tokens of the text.
    pub tokens: usize,
    /// Whether the loss of each matrix is kept.
    pub losses: bool,
}

/// The choices that every question but its own leaves as they are: llm-compressor's, but in sequence,
/// because that runs each projection once.
const USUAL: Options = Options { sequential: true, ..Options::LLM_COMPRESSOR };
/// The best that is known at 4.25 bits a weight.
const BEST: Options = Options { scales: Scales::Searched, sweeps: 3, ..USUAL };
/// The format of three bits.
const THREE: &str = "gptq-3bit";

const fn usual(name: &'static str, tokens: usize) -> Asked {
    let (options, text) = (USUAL, PARADISE_LOST);
    Asked { name, scheme: "w4a16", options, group_size: 64, text, tokens, losses: false }
}

const fn with(name: &'static str, options: Options) -> Asked {
    Asked { options, ..usual(name, MOST) }
}

const fn on(name: &'static str, text: &'static str, tokens: usize) -> Asked {
    Asked { text, ..usual(name, tokens) }
}

/// Tokens of the questions that are not about tokens.
const MOST: usize = 8192;
/// The tokens of the licence in whole chunks.
const OF_THE_LICENSE: usize = 2048;
/// 128 chunks.
const MANY: usize = 65_536;

/// All runs.
pub static PLAN: &[Asked] = &[
    // Aims.
    Asked { options: Options::LLM_COMPRESSOR, ..usual("aim, llm-compressor's choices", MANY) },
    Asked { options: BEST, losses: true, ..usual("aim, best choices", MANY) },
    // How many tokens.
    usual("tokens, 1024", 1024),
    usual("tokens, 2048", 2048),
    usual("tokens, 4096", 4096),
    Asked { losses: true, ..usual("tokens, 8192", MOST) },
    usual("tokens, 16384", 16_384),
    usual("tokens, 32768", 32_768),
    usual("tokens, 65536", MANY),
    // Which text.
    on("text, licence", LICENSE, OF_THE_LICENSE),
    on("text, technical", TECHNICAL, OF_THE_LICENSE),
    on("text, play", AS_YOU_LIKE_IT, OF_THE_LICENSE),
    on("text, later chapters", ALICE_LATER, OF_THE_LICENSE),
    on("text, technical, 8192", TECHNICAL, MOST),
    on("text, play, 8192", AS_YOU_LIKE_IT, MOST),
    on("text, later chapters, 8192", ALICE_LATER, MOST),
    // Order and passes.
    with("order, none", Options { act_order: false, ..USUAL }),
    with("order, none, one pass", Options { act_order: false, ..Options::LLM_COMPRESSOR }),
    with("order, act-order, one pass", Options::LLM_COMPRESSOR),
    with("order, none, fresh scales", Options { act_order: false, scales: Scales::Fresh, ..USUAL }),
    // Where the grid ends.
    with("clip, absmax over 7", Options { ends: Ends::Equal, ..USUAL }),
    with("clip, searched", Options { scales: Scales::Searched, ..USUAL }),
    with("clip, fitted", Options { sweeps: 3, ..USUAL }),
    with("clip, searched and fitted", BEST),
    // Groups.
    Asked { group_size: 32, ..usual("groups, 32", MOST) },
    Asked { group_size: 192, ..usual("groups, 192", MOST) },
    // Three bits.
    Asked { scheme: THREE, ..with("3 bits, absmax over 3.5", USUAL) },
    Asked { scheme: THREE, ..with("3 bits, searched and fitted", BEST) },
];

/// The run of this name.
pub fn named(name: &str) -> Option<&'static Asked> {
    PLAN.iter().find(|asked| asked.name == name)
}
