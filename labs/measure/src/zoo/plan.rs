//! The files of the course. Each is what follows `cargo book quantize`, so that a reader makes the same file.

use formats::registry::{Description, Reader, StorageFormat};

/// Tokens of calibration, which is the default of `--tokens`, and what the scripts of other programs take.
pub const TOKENS: usize = 16_384;
/// Stands for the file of `cargo book imatrix`, made from as many tokens.
pub const IMATRIX: &str = "target/zoo/imatrix.gguf";

/// A file.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Asked {
    /// Format and method.
    pub name: &'static str,
    /// The arguments of `cargo book quantize` but `--out`.
    pub arguments: &'static str,
}

/// GPTQ as lab 06 found it best where scales are chosen freely.
macro_rules! gptq {
    ($scheme:literal) => {
        concat!("--scheme ", $scheme, " --method gptq --act-order --sequential --scales search")
    };
}
/// The same where the scales are those of the nearest codes.
macro_rules! gptq_static {
    ($scheme:literal) => {
        concat!("--scheme ", $scheme, " --method gptq --act-order --sequential")
    };
}
macro_rules! imatrix {
    ($scheme:literal) => {
        concat!("--scheme ", $scheme, " --imatrix target/zoo/imatrix.gguf")
    };
}
macro_rules! nearest {
    ($scheme:literal) => {
        concat!("--scheme ", $scheme)
    };
}

const fn of(name: &'static str, arguments: &'static str) -> Asked {
    Asked { name, arguments }
}

/// All files, those of eight bits first. Q4_1 is left out, because the fetched weights went through Q4_1, and in
/// that format they would come back as they are.
pub static PLAN: &[Asked] = &[
    of("W8A16", nearest!("w8a16")),
    of("W8A16, GPTQ", gptq_static!("w8a16")),
    of("W8A8", nearest!("w8a8")),
    of("W8A8, SmoothQuant", concat!(nearest!("w8a8"), " --smooth 0.5")),
    of("W8A8, GPTQ", gptq_static!("w8a8")),
    of("W8A8, rotated, GPTQ", concat!(gptq_static!("w8a8"), " --rotate r1,r2")),
    of("FP8", nearest!("fp8")),
    of("FP8 128 x 128", nearest!("fp8-block")),
    of("MXFP8", nearest!("mxfp8")),
    of("Q8_0", nearest!("gguf-q8_0")),
    of("Q8_0, GPTQ", gptq!("gguf-q8_0")),
    of("Q6_K", nearest!("gguf-q6_k")),
    of("Q6_K, imatrix", imatrix!("gguf-q6_k")),
    of("Q6_K, GPTQ", gptq!("gguf-q6_k")),
    of("Q5_K_M", nearest!("gguf-q5_k_m")),
    of("Q5_K_M, imatrix", imatrix!("gguf-q5_k_m")),
    of("Q5_K_M, GPTQ", gptq!("gguf-q5_k_m")),
    of("Q4_K_M", nearest!("gguf-q4_k_m")),
    of("Q4_K_M, imatrix", imatrix!("gguf-q4_k_m")),
    of("Q4_K_M, GPTQ", gptq!("gguf-q4_k_m")),
    of("Q4_K_S", nearest!("gguf-q4_k_s")),
    of("Q4_K_S, imatrix", imatrix!("gguf-q4_k_s")),
    of("Q4_K_S, GPTQ", gptq!("gguf-q4_k_s")),
    of("Q4_0", nearest!("gguf-q4_0")),
    of("Q4_0, GPTQ", gptq!("gguf-q4_0")),
    of("Q3_K_M", nearest!("gguf-q3_k_m")),
    of("Q3_K_M, imatrix", imatrix!("gguf-q3_k_m")),
    of("Q3_K_M, GPTQ", gptq!("gguf-q3_k_m")),
    of("mixed, 4.2 bits, GPTQ", concat!(gptq!("gguf-q4_k_m"), " --bits 4.2")),
    of("mixed, 4.25 bits, GPTQ", concat!(gptq!("gguf-q4_k_m"), " --bits 4.25")),
    of("mixed, 4.5 bits, GPTQ", concat!(gptq!("gguf-q4_k_m"), " --bits 4.5")),
    of("mixed, 5 bits, GPTQ", concat!(gptq!("gguf-q4_k_m"), " --bits 5")),
    of("mixed, 5.5 bits, imatrix", concat!(imatrix!("gguf-q4_k_m"), " --bits 5.5")),
    of("mixed, 5.5 bits, GPTQ", concat!(gptq!("gguf-q4_k_m"), " --bits 5.5")),
    of("mixed, 6 bits, GPTQ", concat!(gptq!("gguf-q4_k_m"), " --bits 6")),
    of("mixed, 7 bits, GPTQ", concat!(gptq!("gguf-q4_k_m"), " --bits 7")),
    of("mixed, 8 bits, GPTQ", concat!(gptq!("gguf-q4_k_m"), " --bits 8")),
    of("int4 g16, GPTQ", concat!(gptq!("w4a16"), " --absmax-over 7.5 --sweeps 3 --group-size 16")),
    of("int4 g32", concat!(nearest!("w4a16"), " --group-size 32")),
    of("int4 g32, GPTQ", concat!(gptq!("w4a16"), " --absmax-over 7.5 --sweeps 3 --group-size 32")),
    of("int4 g64", nearest!("w4a16")),
    of("int4 g64, scale search", concat!(nearest!("w4a16"), " --method search")),
    of("int4 g64, AWQ", concat!(nearest!("w4a16"), " --method awq --absmax-over 7.5")),
    of("int4 g64 with zero points, AWQ", "--scheme w4a16-asym --method awq --zero-point"),
    of("int4 g64, GPTQ", concat!(gptq!("w4a16"), " --absmax-over 7.5 --sweeps 3")),
    of(
        "int4 g64, AWQ and GPTQ",
        "--scheme w4a16 --method awq+gptq --act-order --sequential --scales search --absmax-over 7.5",
    ),
    of(
        "int4 g64, rotated, GPTQ",
        concat!(gptq!("w4a16"), " --absmax-over 7.5 --sweeps 3 --rotate r1,r2"),
    ),
    of("int4 g192", concat!(nearest!("w4a16"), " --group-size 192")),
    of(
        "int4 g192, GPTQ",
        concat!(gptq!("w4a16"), " --absmax-over 7.5 --sweeps 3 --group-size 192"),
    ),
    of(
        "W4A8, rotated online, GPTQ",
        concat!(
            gptq!("w4a16"),
            " --absmax-over 7.5 --sweeps 3 --rotate r1,r2,r4 --activations int8"
        ),
    ),
    of(
        "int3 g16, GPTQ",
        concat!(gptq!("gptq-3bit"), " --absmax-over 3.5 --sweeps 3 --group-size 16"),
    ),
    of(
        "int3 g32, GPTQ",
        concat!(gptq!("gptq-3bit"), " --absmax-over 3.5 --sweeps 3 --group-size 32"),
    ),
    of("int3 g64", nearest!("gptq-3bit")),
    of("int3 g64, scale search", concat!(nearest!("gptq-3bit"), " --method search")),
    of("int3 g64, GPTQ", concat!(gptq!("gptq-3bit"), " --absmax-over 3.5 --sweeps 3")),
    of(
        "int3 g192, GPTQ",
        concat!(gptq!("gptq-3bit"), " --absmax-over 3.5 --sweeps 3 --group-size 192"),
    ),
    of("NF4", nearest!("nf4")),
    of("NVFP4", nearest!("nvfp4")),
    of("NVFP4, GPTQ", gptq_static!("nvfp4")),
    of("MXFP4", nearest!("mxfp4")),
    of("MXFP4, GPTQ", gptq_static!("mxfp4")),
];

impl Asked {
    /// The word behind an option.
    fn option(&self, name: &str) -> Option<&'static str> {
        let mut words = self.arguments.split(' ');
        words.find(|word| *word == name)?;
        words.next()
    }

    fn description(&self) -> Option<&'static Description> {
        let format = StorageFormat::named(self.option("--scheme")?, TOKENS as u64).ok()?;
        Some(format.description)
    }

    /// The engines that serve the file. What is computed while a model runs and no scheme of an engine says, the
    /// course computes alone.
    pub fn readers(&self) -> Vec<String> {
        let is_own = self.option("--activations").is_some()
            || self.option("--rotate").is_some_and(|letters| letters.contains("r4"));
        let readers = self.description().map_or(&[][..], |of| of.read_by);
        let readers = readers.iter().filter(|reader| !is_own || **reader == Reader::Course);
        readers.map(|reader| reader.name().into()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_has_its_own_name_and_a_scheme_of_the_registry() {
        for (at, asked) in PLAN.iter().enumerate() {
            assert!(PLAN[..at].iter().all(|other| other.name != asked.name), "{}", asked.name);
            assert!(asked.description().is_some(), "{}", asked.arguments);
            assert!(asked.readers().contains(&"this course".into()), "{}", asked.name);
        }
    }

    #[test]
    fn the_words_of_a_file_are_one_space_apart() {
        for asked in PLAN {
            assert!(!asked.arguments.contains("  "), "{}", asked.arguments);
        }
    }

    #[test]
    fn who_serves_a_file_follows_from_its_words() {
        let named = |name: &str| PLAN.iter().find(|asked| asked.name == name).expect("it is there");
        let readers = |name: &str| named(name).readers().join(", ");
        assert_eq!(readers("Q4_K_M, GPTQ"), "this course, llama.cpp");
        assert_eq!(readers("int4 g64, rotated, GPTQ"), "this course, vLLM");
        assert_eq!(readers("W4A8, rotated online, GPTQ"), "this course");
    }
}
