//! One source is compiled to three machine codes, and the processor decides at run time which one runs.

use std::sync::OnceLock;

/// The machine codes that the kernels are compiled to, the oldest instructions first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Instructions {
    /// What every processor of the architecture has.
    Portable,
    /// AVX2, FMA and F16C: x86-64 processors from 2013 (Haswell) and 2017 (Zen) on.
    Avx2,
    /// AVX-512 with its F, BW, DQ, VL and VNNI parts: Ice Lake, Sapphire Rapids, Zen 4 and later.
    Avx512,
}

/// The environment variable that forbids newer instructions, by a name of [`Instructions::NAMES`].
const LIMIT: &str = "KERNELS_INSTRUCTIONS";

impl Instructions {
    /// All of them, and their names in the environment variable `KERNELS_INSTRUCTIONS`.
    pub const NAMES: [(&str, Self); 3] =
        [("portable", Self::Portable), ("avx2", Self::Avx2), ("avx512", Self::Avx512)];

    /// The newest that this machine has and `KERNELS_INSTRUCTIONS` allows. The variable is there for
    /// tests and measurements, and is read once. A name that is unknown forbids nothing.
    pub fn used() -> Self {
        static USED: OnceLock<Instructions> = OnceLock::new();
        *USED.get_or_init(|| Self::of_machine().min(limit(std::env::var(LIMIT).ok().as_deref())))
    }

    #[cfg(target_arch = "x86_64")]
    fn of_machine() -> Self {
        let avx2 = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c");
        let avx512 = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512vnni");
        match (avx2, avx512) {
            (true, true) => Self::Avx512,
            (true, false) => Self::Avx2,
            (false, _) => Self::Portable,
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn of_machine() -> Self {
        Self::Portable
    }

    /// The instructions in words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Avx512 => "AVX-512 with VNNI",
            Self::Avx2 => "AVX2, FMA and F16C",
            Self::Portable if cfg!(target_arch = "x86_64") => "SSE2",
            Self::Portable => std::env::consts::ARCH,
        }
    }
}

/// What the value of the environment variable allows.
fn limit(value: Option<&str>) -> Instructions {
    let Some(value) = value else { return Instructions::Avx512 };
    let known = Instructions::NAMES.iter().find(|(name, _)| *name == value);
    known.map_or_else(
        || {
            let names = Instructions::NAMES.map(|(name, _)| name).join(", ");
            eprintln!("{LIMIT}={value:?} is unknown, and ignored: the names are {names}");
            Instructions::Avx512
        },
        |(_, instructions)| *instructions,
    )
}

/// The instructions that the kernels use on this machine, in words.
pub fn instructions() -> &'static str {
    Instructions::used().words()
}

/// Whether a multiply-add is one instruction in the portable copy of a loop. Where it is not,
/// `f32::mul_add` would be a call of the C library for each weight.
pub const PORTABLE_FMA: bool = cfg!(target_arch = "aarch64");

/// `a * b + c`, rounded once where the machine can, twice where it cannot.
#[inline(always)]
pub fn multiply_add<const FMA: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

/// Defines a function that runs `body::<true>` compiled for AVX-512 or for AVX2 where the machine has
/// them, and `body::<PORTABLE_FMA>` elsewhere. The body is `#[inline(always)]` and safe.
///
/// ```
/// kernels::dispatch::dispatched! {
///     /// The sum of the squares.
///     fn squares(values: &[f32]) -> f32 = squares_body
/// }
///
/// #[inline(always)]
/// fn squares_body<const FMA: bool>(values: &[f32]) -> f32 {
///     values.iter().fold(0.0, |sum, x| kernels::dispatch::multiply_add::<FMA>(*x, *x, sum))
/// }
/// assert_eq!(squares(&[3.0, 4.0]), 25.0);
/// ```
#[macro_export]
macro_rules! dispatched {
    ($(#[$doc:meta])* $vis:vis fn $name:ident($($arg:ident: $type:ty),* $(,)?)
        $(-> $result:ty)? = $body:ident) => {
        $(#[$doc])*
        $vis fn $name($($arg: $type),*) $(-> $result)? {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2,fma,f16c")]
                fn compiled_for_avx2($($arg: $type),*) $(-> $result)? {
                    $body::<true>($($arg),*)
                }
                #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
                fn compiled_for_avx512($($arg: $type),*) $(-> $result)? {
                    $body::<true>($($arg),*)
                }
                use $crate::dispatch::Instructions;
                match Instructions::used() {
                    // SAFETY: the machine has the instructions that the function needs, because they are used.
                    Instructions::Avx512 => return unsafe { compiled_for_avx512($($arg),*) },
                    // SAFETY: as above.
                    Instructions::Avx2 => return unsafe { compiled_for_avx2($($arg),*) },
                    Instructions::Portable => (),
                }
            }
            $body::<{ $crate::dispatch::PORTABLE_FMA }>($($arg),*)
        }
    };
}
pub use dispatched;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_a_name_and_an_unknown_one_limits_nothing() {
        for (name, instructions) in Instructions::NAMES {
            assert_eq!(limit(Some(name)), instructions);
        }
        assert_eq!((limit(None), limit(Some("sse"))), (Instructions::Avx512, Instructions::Avx512));
        assert!(Instructions::Portable < Instructions::Avx2);
    }
}
