//! Plausible wrong answers to a lab, kept as code, each with the tests that must catch it.
//!
//! A lab states its functions as a trait whose methods are right unless replaced; a wrong answer is
//! a type that replaces one. [`wrong_answers!`](crate::wrong_answers) defines them and the list of
//! all, and [`chosen`] is the one that the environment variable `WRONG_ANSWER` names.

/// A wrong answer and where it must fail.
pub struct WrongAnswer {
    /// What `WRONG_ANSWER` calls it.
    pub name: &'static str,
    /// What its author believed.
    pub misconception: &'static str,
    /// Tests of the spec that must fail on it.
    pub caught_by: &'static [&'static str],
}

/// The answer that the environment variable `WRONG_ANSWER` names; `right` for `none`, so that a
/// failure of the others is due to the one step they replace.
///
/// # Panics
/// If there is no such wrong answer; the message lists those there are.
pub fn chosen<A: ?Sized>(answers: &[(&str, &'static A)], right: &'static A) -> &'static A {
    let name = std::env::var("WRONG_ANSWER").unwrap_or_default();
    match answers.iter().find(|(known, _)| *known == name) {
        Some((_, answer)) => answer,
        None if name == "none" => right,
        None => {
            let known: Vec<_> = answers.iter().map(|(known, _)| *known).collect();
            panic!("WRONG_ANSWER is {name:?}; there are: none, {}", known.join(", "))
        }
    }
}

/// Defines each wrong answer as a unit type that replaces one step of the trait `Answer`, which has
/// to be in scope; the list `ALL` of what is known of them; and `ANSWERS`, for [`chosen`].
///
/// An entry is: a type, its name, the misconception, the tests that must catch it, the step.
#[macro_export]
macro_rules! wrong_answers {
    ($($type:ident, $name:literal, $misconception:literal, [$($test:literal),+ $(,)?],
       { $($step:item)+ })+) => {
        $(
            struct $type;
            impl Answer for $type { $($step)+ }
        )+
        /// All of them.
        pub static ALL: &[$crate::wrong::WrongAnswer] = &[
            $($crate::wrong::WrongAnswer {
                name: $name,
                misconception: $misconception,
                caught_by: &[$($test),+],
            }),+
        ];
        static ANSWERS: &[(&str, &(dyn Answer + Sync))] = &[$(($name, &$type)),+];
    };
}
