//! The runs: each format, rotated in three ways, with the nearest codes and with GPTQ.

use quantizer::{Options, Scales};

/// Weights that share a scale in formats of 4 bits.
pub const GROUP_SIZE: u64 = 64;
/// Tokens of the calibration text, Paradise Lost.
pub const TOKENS: usize = 8192;
/// Tokens behind those, on which draws of the signs are compared, so that no draw is chosen by the passage.
pub const HELD_OUT: usize = 16384;
/// GPTQ as lab 06 found it best at this size.
pub const FEEDBACK: Options =
    Options { scales: Scales::Searched, sequential: true, ..Options::LLM_COMPRESSOR };
/// Runs of which the spread over signs is measured: the cheapest one, whose inputs stay floats, and the best one
/// of four bits.
pub const DRAWS: [Draws; 2] = [
    Draws { format: W4A16, letters: OFFLINE.letters, with_gptq: false, count: 10 },
    Draws { format: W4A8, letters: ONLINE.letters, with_gptq: true, count: 5 },
];

/// What is quantized, and how.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quantized {
    /// The name in the tables.
    pub name: &'static str,
    /// The format of the weights.
    pub scheme: &'static str,
    /// The format of the inputs of layers, if the scheme does not say.
    pub activations: Option<&'static str>,
    /// The format of the cache, if not `f32`.
    pub cache: Option<&'static str>,
}

const fn of(
    name: &'static str,
    scheme: &'static str,
    activations: Option<&'static str>,
    cache: Option<&'static str>,
) -> Quantized {
    Quantized { name, scheme, activations, cache }
}

const W4A16: Quantized = of("W4A16", "w4a16", None, None);
const W4A8: Quantized = of("W4A8", "w4a16", Some("int8"), None);
const W4A4: Quantized = of("W4A4", "w4a16", Some("int4"), None);

/// What is rounded to the nearest codes, in the order of the tables.
pub const FORMATS: [Quantized; 7] = [
    of("W8A8 static", "w8a8", Some("int8-static"), None),
    of("W8A8 clipped", "w8a8", Some("int8-clipped"), None),
    of("W8A8 mixed", "w8a8", Some("int8-mixed"), None),
    of("W8A8 per token", "w8a8", None, None),
    W4A16,
    W4A8,
    W4A4,
];
/// What GPTQ rounds.
pub const WITH_GPTQ: [Quantized; 3] = [W4A16, W4A8, W4A4];
/// Caches of 4 bits; R3 rotates keys, and R2 values.
pub const CACHES: [Quantized; 2] =
    [of("KV4", "none", None, Some("int4")), of("KV4, r3", "none", None, Some("int4-r3"))];

/// Rotations, by their letters as on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotated {
    /// Nothing, `r1,r2` and the like.
    pub letters: &'static str,
    /// Decides the signs.
    pub seed: u64,
}

/// The seed of every run but those of the spread.
const SEED: u64 = 1;
/// The model as it is.
pub const NONE: Rotated = Rotated { letters: "", seed: SEED };
/// What any engine runs.
pub const OFFLINE: Rotated = Rotated { letters: "r1,r2", seed: SEED };
/// Without the residual stream, so that the norms keep their weights.
pub const INNER: Rotated = Rotated { letters: "r2,r4", seed: SEED };
/// All three.
pub const ONLINE: Rotated = Rotated { letters: "r1,r2,r4", seed: SEED };

/// A run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Case {
    /// What is quantized.
    pub format: Quantized,
    /// What is rotated.
    pub rotated: Rotated,
    /// Whether GPTQ chooses the codes.
    pub with_gptq: bool,
}

impl Case {
    /// The name in a capture.
    pub fn name(&self) -> String {
        name(self.format.name, self.rotated, self.with_gptq)
    }
}

/// A run with several draws of the signs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Draws {
    /// What is quantized.
    pub format: Quantized,
    /// What is rotated, by the letters.
    pub letters: &'static str,
    /// Whether GPTQ chooses the codes.
    pub with_gptq: bool,
    /// The number of draws.
    pub count: u64,
}

impl Draws {
    /// The run of each draw, in the order of the seeds.
    pub fn cases(self) -> impl Iterator<Item = Case> {
        let Self { format, letters, with_gptq, count } = self;
        let rotated = (SEED..SEED + count).map(move |seed| Rotated { letters, seed });
        rotated.map(move |rotated| Case { format, rotated, with_gptq })
    }
}

/// The name of a run in a capture.
pub fn name(format: &str, rotated: Rotated, with_gptq: bool) -> String {
    let rotation = match rotated.letters {
        "" => String::new(),
        letters => format!(" | {letters}"),
    };
    let seed =
        if rotated.seed == SEED { String::new() } else { format!(" | seed {}", rotated.seed) };
    let method = if with_gptq { " | GPTQ" } else { "" };
    format!("{format}{rotation}{seed}{method}")
}

/// Runs of one rotation and one method, which share the codes of GPTQ.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// What is rotated.
    pub rotated: Rotated,
    /// Whether GPTQ chooses the codes.
    pub with_gptq: bool,
    /// The runs.
    pub cases: Vec<Case>,
}

/// All runs, in the order in which they are made.
pub fn groups() -> Vec<Group> {
    let group = |formats: &[Quantized], rotated, with_gptq| {
        let cases = formats.iter().map(|&format| Case { format, rotated, with_gptq });
        Group { rotated, with_gptq, cases: cases.collect() }
    };
    let mut groups = vec![
        group(&FORMATS, ONLINE, false),
        group(&WITH_GPTQ, ONLINE, true),
        group(&WITH_GPTQ, INNER, false),
        group(&WITH_GPTQ, INNER, true),
        group(&FORMATS, NONE, false),
        group(&WITH_GPTQ, NONE, true),
        group(&FORMATS, OFFLINE, false),
        group(&CACHES, OFFLINE, false),
        group(&CACHES, NONE, false),
        group(&WITH_GPTQ, OFFLINE, true),
    ];
    for draws in DRAWS {
        // The groups above have the first.
        let others = draws.cases().filter(|case| case.rotated.seed != SEED);
        groups.extend(others.map(|case| group(&[case.format], case.rotated, case.with_gptq)));
    }
    groups
}

/// The names of all runs.
pub fn names() -> Vec<String> {
    groups().iter().flat_map(|group| group.cases.iter().map(Case::name)).collect()
}
