//! One source is compiled to two machine codes, and the processor decides at run time which one runs.

/// The instructions that the kernels use on this machine, in words.
pub fn instructions() -> &'static str {
    if has_avx2() {
        "AVX2, FMA and F16C"
    } else if cfg!(target_arch = "x86_64") {
        "SSE2"
    } else {
        std::env::consts::ARCH
    }
}

/// Whether this machine has what the fast copies are compiled for.
#[cfg(target_arch = "x86_64")]
pub fn has_avx2() -> bool {
    is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("fma")
        && is_x86_feature_detected!("f16c")
}

/// Whether this machine has what the fast copies are compiled for.
#[cfg(not(target_arch = "x86_64"))]
pub fn has_avx2() -> bool {
    false
}

/// Whether a multiply-add is one instruction in the portable copy of a loop. Where it is not,
/// `f32::mul_add` would be a call of the C library for each weight.
pub const PORTABLE_FMA: bool = cfg!(target_arch = "aarch64");

/// `a * b + c`, rounded once where the machine can, twice where it cannot.
#[inline(always)]
pub fn multiply_add<const FMA: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

/// Defines a function that runs `body::<true>` compiled for AVX2 where the machine has it, and
/// `body::<PORTABLE_FMA>` elsewhere. The body is `#[inline(always)]` and safe.
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
                if $crate::dispatch::has_avx2() {
                    // SAFETY: the function needs AVX2, FMA and F16C, and `has_avx2` found all three.
                    return unsafe { compiled_for_avx2($($arg),*) };
                }
            }
            $body::<{ $crate::dispatch::PORTABLE_FMA }>($($arg),*)
        }
    };
}
pub use dispatched;
