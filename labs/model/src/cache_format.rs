//! How a KV cache can be stored.

use std::sync::Arc;

use half::f16;
use kernels::cached::{Codes, UNIT};
use kernels::{Hadamard, rounding};

use crate::ModelError;

/// How a KV cache is stored.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CacheFormat {
    /// The name on a command line.
    pub name: &'static str,
    /// The format in words.
    pub about: &'static str,
    /// How keys are coded; `None` leaves them in `f32`.
    pub keys: Option<Coding>,
    /// How values are coded; `None` leaves them in `f32`.
    pub values: Option<Coding>,
    /// The most recent tokens, which stay in `f32` (KIVI's residual).
    pub window: usize,
    /// The first tokens, which stay in `f32`, because attention pours what it does not need onto them.
    pub sinks: usize,
    /// Whether queries and keys are multiplied by a Hadamard matrix after RoPE (R3 of SpinQuant, Liu et al.
    /// 2024), so that no channel of a key is an outlier. Attention computes the same.
    pub rotated: bool,
}

/// How the numbers of one head are coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coding {
    /// The codes.
    pub codes: Codes,
    /// How a group's scale and zero follow from its numbers.
    pub rule: Rule,
    /// Which numbers share a scale.
    pub along: Along,
    /// How many. [`HEAD`] are all channels of a head.
    pub group: usize,
}

/// All channels of a head.
pub const HEAD: usize = usize::MAX;

/// Which numbers share a scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Along {
    /// Neighbouring channels of one token.
    Token,
    /// Tokens in a row, in one channel.
    Channel,
}

/// How a group's scale and zero follow from its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// The scale is the largest magnitude over so many steps; zero is 0.
    Absmax(u8),
    /// The scale is the distance between the smallest and the largest number over so many steps; zero is
    /// the smallest number, a float (Liu et al. 2024, KIVI).
    MinMax(u8),
    /// One scale for all numbers of a layer, from calibration; without calibration 1.
    PerTensor,
}

/// Codes, and the rule that belongs to them.
type Kind = (Codes, Rule);
const EIGHT: Kind = (Codes::Int8, Rule::Absmax(127));
const FOUR: Kind = (Codes::UInt4, Rule::MinMax(15));
const TWO: Kind = (Codes::UInt2, Rule::MinMax(3));
const FP8: Kind = (Codes::E4M3, Rule::PerTensor);

const fn coding((codes, rule): Kind, along: Along, group: usize) -> Option<Coding> {
    Some(Coding { codes, rule, along, group })
}

/// Keys and values in groups of so many channels of a token.
const fn by_token(
    name: &'static str,
    about: &'static str,
    kind: Kind,
    group: usize,
) -> CacheFormat {
    let coding = coding(kind, Along::Token, group);
    CacheFormat { name, about, keys: coding, values: coding, ..CacheFormat::F32 }
}

/// Keys by channel, values by token, the last 128 tokens in `f32`: KIVI's defaults.
const fn kivi(name: &'static str, about: &'static str, kind: Kind) -> CacheFormat {
    let keys = coding(kind, Along::Channel, 32);
    CacheFormat { keys, window: WINDOW, ..by_token(name, about, kind, 32) }
}

/// Tokens that stay in `f32` by KIVI's default.
const WINDOW: usize = 128;
/// Four tokens are more than the one that SmolLM2 pours attention onto.
const SINKS: usize = 4;

impl CacheFormat {
    /// Numbers as they are computed.
    pub const F32: Self = Self {
        name: "f32",
        about: "32 bits",
        keys: None,
        values: None,
        window: 0,
        sinks: 0,
        rotated: false,
    };

    /// Every format.
    pub const ALL: &'static [Self] = &[
        Self::F32,
        by_token("int8", "8 bits, a scale per token and head", EIGHT, HEAD),
        by_token("int8-g32", "8 bits in groups of 32 channels, as q8_0", EIGHT, 32),
        by_token("fp8", "E4M3, a scale for the keys and one for the values of a layer", FP8, HEAD),
        by_token("int4", "4 bits, scale and zero per token and head", FOUR, HEAD),
        Self { rotated: true, ..by_token("int4-r3", "int4, keys rotated", FOUR, HEAD) },
        by_token("int4-g32", "4 bits in groups of 32 channels", FOUR, 32),
        Self { rotated: true, ..by_token("int4-g32-r3", "int4-g32, keys rotated", FOUR, 32) },
        Self {
            window: WINDOW,
            ..by_token("int4-window", "int4-g32 with the last 128 tokens in 32 bits", FOUR, 32)
        },
        kivi(
            "kivi4",
            "4 bits, keys by channel, values by token, the last 128 tokens in 32 bits",
            FOUR,
        ),
        Self {
            sinks: SINKS,
            ..kivi("kivi4-sinks", "kivi4 with the first 4 tokens in 32 bits", FOUR)
        },
        Self {
            window: WINDOW,
            ..by_token(
                "int2-window",
                "2 bits in groups of 32 channels, the last 128 tokens in 32 bits",
                TWO,
                32,
            )
        },
        kivi(
            "kivi2",
            "2 bits, keys by channel, values by token, the last 128 tokens in 32 bits",
            TWO,
        ),
        Self {
            sinks: SINKS,
            ..kivi("kivi2-sinks", "kivi2 with the first 4 tokens in 32 bits", TWO)
        },
    ];

    /// The format of this name.
    ///
    /// # Errors
    /// [`ModelError::NoCacheFormat`] with the names that there are.
    pub fn named(name: &str) -> Result<&'static Self, ModelError> {
        Self::ALL
            .iter()
            .find(|format| format.name == name)
            .ok_or_else(|| ModelError::NoCacheFormat { name: name.into(), known: Self::names() })
    }

    /// The names of all formats, in words.
    fn names() -> String {
        Self::ALL.iter().map(|format| format.name).collect::<Vec<_>>().join(", ")
    }

    /// Checks that heads of this width can be coded.
    ///
    /// # Errors
    /// [`ModelError::CacheFormat`] if the width is no multiple of 32, [`ModelError::Rotation`] if keys are
    /// rotated and the width is no power of two.
    pub(crate) fn check(&self, head_dim: usize) -> Result<(), ModelError> {
        let coded = self.keys.is_some() || self.values.is_some();
        if coded && !head_dim.is_multiple_of(UNIT) {
            return Err(ModelError::CacheFormat { format: self.name, head_dim });
        }
        if self.rotated {
            let what = format!("a head for the cache format {}", self.name);
            let named = |error| ModelError::Rotation { what, error };
            Hadamard::of_power(head_dim).map_err(named)?;
        }
        Ok(())
    }
}

/// How a model's caches are stored.
#[derive(Clone, Debug, PartialEq)]
pub struct CacheStorage {
    /// The format of keys and values.
    pub format: &'static CacheFormat,
    /// Of each layer the scale of keys and that of values, for a format with one scale a layer. Empty: 1.
    pub scales: Arc<[[f32; 2]]>,
}

impl CacheStorage {
    /// This format, with a scale of 1 where a layer has one scale.
    pub fn of(format: &'static CacheFormat) -> Self {
        Self { format, scales: Arc::new([]) }
    }
}

impl Default for CacheStorage {
    fn default() -> Self {
        Self::of(&CacheFormat::F32)
    }
}

impl Coding {
    /// Tokens that are coded together.
    pub(crate) fn block(&self) -> usize {
        match self.along {
            Along::Token => 1,
            Along::Channel => self.group,
        }
    }

    /// Scales of a block whose tokens have `head_dim` channels.
    pub(crate) fn scales_of_block(&self, head_dim: usize) -> usize {
        match (self.rule, self.along) {
            (Rule::PerTensor, _) => 0,
            (_, Along::Token) => head_dim / self.group.min(head_dim),
            (_, Along::Channel) => head_dim,
        }
    }
}

impl Rule {
    /// Whether a group has a zero beside its scale.
    pub(crate) fn has_zero(self) -> bool {
        matches!(self, Self::MinMax(_))
    }

    /// Scale and zero of a group, rounded to the 16 bits in which they are stored.
    pub(crate) fn fit(self, numbers: &[f32]) -> (f16, f16) {
        match self {
            Self::Absmax(steps) => {
                let absmax = f32::from_bits(rounding::absmax_bits(numbers));
                (f16::from_f32(absmax / f32::from(steps)), f16::ZERO)
            }
            Self::MinMax(steps) => {
                let min = numbers.iter().copied().fold(f32::INFINITY, f32::min);
                let max = numbers.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                (f16::from_f32((max - min) / f32::from(steps)), f16::from_f32(min))
            }
            Self::PerTensor => (f16::ONE, f16::ZERO),
        }
    }

    /// The code of a number: the nearest, half to even. A scale of 0 leaves one code, 0.
    #[inline]
    pub(crate) fn code(self, x: f32, scale: f32, zero: f32) -> u8 {
        let steps = |least: f32, most: u8| {
            let steps = if scale == 0.0 { 0.0 } else { (x - zero) / scale };
            rounding::nearest(steps.clamp(least, most.into()))
        };
        match self {
            Self::Absmax(most) => (steps(-f32::from(most), most) as i8).cast_unsigned(),
            Self::MinMax(most) => steps(0.0, most) as u8,
            Self::PerTensor => formats::float8::encode(x / scale),
        }
    }
}
