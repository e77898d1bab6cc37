//! Plausible wrong answers to a lab, kept as code, each with the tests that must catch it.
//!
//! A lab has a struct `Steps` of functions, and a constant `RIGHT` in which every step is right. A
//! wrong answer replaces one step. [`wrong_answers!`](crate::wrong_answers) defines the wrong answers,
//! [`answered!`](crate::answered) the functions of the lab that are a single step, and the environment
//! variable `WRONG_ANSWER` names the wrong answer that the lab's functions give.

use std::io::Write;

/// A wrong answer, the reason why it is wrong, and the tests that must fail.
///
/// A learner reads "its author believed that `misconception`, but `correction`".
pub struct WrongAnswer<A: 'static> {
    /// What `WRONG_ANSWER` calls it.
    pub name: &'static str,
    /// What its author believed.
    pub misconception: &'static str,
    /// Why the belief is wrong.
    pub correction: &'static str,
    /// Tests of the spec that must fail on it.
    pub caught_by: &'static [&'static str],
    /// The answer itself.
    pub answer: &'static A,
}

/// The start of each line that `WRONG_ANSWER=list` prints. Tabs divide the name, the misconception,
/// the correction and the tests; spaces divide the tests.
pub const LISTED: &str = "wrong answer\t";

/// The answer that the environment variable `WRONG_ANSWER` names; `right` for `none`, so that a
/// failure of the others is due to the one step they replace. `list` prints all of them and ends the
/// program, because a program that grades a starter links no lab.
///
/// # Panics
/// If there is no such wrong answer; the message lists those there are.
pub fn chosen<A>(all: &[WrongAnswer<A>], right: &'static A) -> &'static A {
    let name = std::env::var("WRONG_ANSWER").unwrap_or_default();
    match (all.iter().find(|wrong| wrong.name == name), name.as_str()) {
        (Some(wrong), _) => wrong.answer,
        (None, "none") => right,
        (None, "list") => list(all),
        (None, _) => {
            let known: Vec<_> = all.iter().map(|wrong| wrong.name).collect();
            panic!("WRONG_ANSWER is {name:?}; there are: none, list, {}", known.join(", "))
        }
    }
}

fn list<A>(all: &[WrongAnswer<A>]) -> ! {
    // Not with `println!`, because libtest captures the output of a test. The first line is empty,
    // because libtest may have begun a line.
    let mut lines = String::from("\n");
    for WrongAnswer { name, misconception, correction, caught_by, .. } in all {
        let tests = caught_by.join(" ");
        lines += &format!("{LISTED}{name}\t{misconception}\t{correction}\t{tests}\n");
    }
    let printed = std::io::stdout().write_all(lines.as_bytes());
    std::process::exit(i32::from(printed.is_err()))
}

/// Re-exports the implementation that `LAB_IMPL` chose, in the root of a lab: `solution`, `starter`
/// or `wrong_answers::chosen`.
#[macro_export]
macro_rules! implementation {
    () => {
        #[cfg(lab_impl = "solution")]
        pub use solution::*;
        #[cfg(lab_impl = "starter")]
        pub use starter::*;
        /// Whether the functions are the reader's.
        pub const IS_STARTER: bool = cfg!(lab_impl = "starter");
        #[cfg(lab_impl = "wrong")]
        pub use wrong_answers::chosen::*;
        #[cfg(not(any(lab_impl = "solution", lab_impl = "starter", lab_impl = "wrong")))]
        compile_error!("Cargo.toml of a lab says `build = \"../kit/choose_implementation.rs\"`");
    };
}

/// Defines `ALL`, the wrong answers, and `answer()`, the steps that are [`chosen`](crate::wrong::chosen).
/// `Steps` and `RIGHT` have to be in scope.
///
/// An entry is: the name, the misconception, the correction, the tests that must catch it, the steps
/// that are replaced.
#[macro_export]
macro_rules! wrong_answers {
    ($($name:literal, $misconception:literal, $correction:literal,
       [$($test:literal),+ $(,)?], { $($step:ident: $wrong:expr),+ $(,)? })+) => {
        static ALL: &[$crate::wrong::WrongAnswer<Steps>] = &[
            $($crate::wrong::WrongAnswer {
                name: $name,
                misconception: $misconception,
                correction: $correction,
                caught_by: &[$($test),+],
                answer: &Steps { $($step: $wrong,)+ ..RIGHT },
            }),+
        ];

        fn answer() -> &'static Steps {
            // Looked up once, because a step may be called for every weight of a matrix.
            static CHOSEN: std::sync::LazyLock<&Steps> =
                std::sync::LazyLock::new(|| $crate::wrong::chosen(ALL, &RIGHT));
            *CHOSEN
        }
    };
}

/// Defines the functions of the lab that are a single step: a function calls the step with the same
/// name.
#[macro_export]
macro_rules! answered {
    ($(fn $name:ident($($argument:ident: $type:ty),+ $(,)?) -> $result:ty;)+) => {
        $(
            #[doc = concat!("See [`solution::", stringify!($name), "`].")]
            pub fn $name($($argument: $type),+) -> $result {
                (answer().$name)($($argument),+)
            }
        )+
    };
}
