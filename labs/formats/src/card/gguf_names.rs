//! The names of GGUF files: a type of GGML, which is the base type of a file that mixes types.

use super::word::Field::{
    ActBits, Group, Layout, Mean, Method, Overhead, Symmetric, WeightBits, WeightKind,
};
use super::word::Word;

/// A type of GGML: its name, bits of a code, kind, neighbours that share a scale, whether blocks have
/// a minimum, and the overhead.
struct Type {
    name: &'static str,
    bits: &'static str,
    kind: &'static str,
    group: &'static str,
    minimum: bool,
    overhead: &'static str,
}

const fn of(
    name: &'static str,
    [bits, kind, group]: [&'static str; 3],
    minimum: bool,
    overhead: &'static str,
) -> Type {
    Type { name, bits, kind, group, minimum, overhead }
}

/// The quantized types (`ggml-common.h`). The bits of indices, signs and scales beyond `bits` are
/// overhead.
static TYPES: [Type; 31] = [
    of("Q4_0", ["4", "int", "32"], false, "16@32"),
    of("Q4_1", ["4", "int", "32"], true, "16@32 16@32"),
    of("Q5_0", ["5", "int", "32"], false, "16@32"),
    of("Q5_1", ["5", "int", "32"], true, "16@32 16@32"),
    of("Q8_0", ["8", "int", "32"], false, "16@32"),
    of("Q2_K", ["2", "int", "16"], true, "4@16 4@16 32@256"),
    of("Q3_K", ["3", "int", "16"], false, "6@16 16@256"),
    of("Q4_K", ["4", "int", "32"], true, "6@32 6@32 32@256"),
    of("Q5_K", ["5", "int", "32"], true, "6@32 6@32 32@256"),
    of("Q6_K", ["6", "int", "16"], false, "8@16 16@256"),
    of("IQ4_NL", ["4", "table", "32"], false, "16@32"),
    of("IQ4_XS", ["4", "table", "32"], false, "6@32 16@256"),
    of("IQ3_S", ["3", "table", "32"], false, "1@4 4@32 16@256"),
    of("IQ3_XXS", ["3", "table", "32"], false, "16@256"),
    of("IQ2_S", ["2", "table", "16"], false, "2@8 4@16 16@256"),
    of("IQ2_XS", ["2", "table", "16"], false, "4@16 16@256"),
    of("IQ2_XXS", ["2", "table", "32"], false, "16@256"),
    of("IQ1_M", ["1", "table", "16"], false, "4@8 3@16 16@256"),
    of("IQ1_S", ["1", "table", "32"], false, "3@8 4@32 16@256"),
    of("TQ2_0", ["2", "ternary", "256"], false, "16@256"),
    // Five values of three in a byte, where a code of one bit is the whole part.
    of("TQ1_0", ["1", "ternary", "256"], false, "160@256 16@256"),
    of("Q1_0", ["1", "int", "128"], false, "16@128"),
    of("Q2_0", ["2", "int", "64"], false, "16@64"),
    // Those of ik_llama.cpp.
    of("IQ2_K", ["2", "table", "16"], false, "4@16 16@256 16@256"),
    of("IQ3_K", ["3", "table", "16"], false, "4@16 48@256"),
    of("IQ4_K", ["4", "table", "16"], false, "6@16 32@256"),
    of("IQ5_K", ["5", "table", "16"], false, "6@16 32@256"),
    of("IQ6_K", ["6", "table", "16"], false, "8@16 32@256"),
    of("IQ2_KS", ["2", "table", "32"], false, "4@32 16@256 16@channel"),
    of("IQ4_KS", ["4", "table", "32"], false, "8@32 32@channel"),
    of("IQ4_KSS", ["4", "table", "32"], false, "32@channel"),
];

/// The kinds of files. Behind a colon are the mean bits of a weight of Llama-3.1-8B in such a file, where
/// llama.cpp's `tools/quantize/README.md` lists them.
const FILES: &str = "Q4_0 Q4_1 Q5_0 Q5_1 Q8_0:8.5008 \
    Q2_K:3.1593 Q2_K_S:2.9697 Q2_K_L Q2_K_XL \
    Q3_K Q3_K_S:3.6429 Q3_K_M:3.9960 Q3_K_L:4.2979 Q3_K_XL \
    Q4_K Q4_K_S:4.6672 Q4_K_M:4.8944 Q4_K_L Q4_K_XL \
    Q5_K Q5_K_S:5.5704 Q5_K_M:5.7036 Q5_K_L Q5_K_XL \
    Q6_K:6.5633 Q6_K_L Q6_K_XL Q8_K_XL \
    IQ4_NL:4.6818 IQ4_XS:4.4597 \
    IQ3_M:3.7628 IQ3_S:3.6606 IQ3_XS:3.4977 IQ3_XXS:3.2548 \
    IQ2_M:2.9294 IQ2_S:2.7403 IQ2_XS:2.5882 IQ2_XXS:2.3824 IQ1_M:2.1460 IQ1_S:2.0042 TQ2_0 \
    Q4_0_4_4 Q4_0_4_8 Q4_0_8_8 TQ1_0 Q1_0 Q2_0 \
    Q2_K_P Q3_K_P Q4_K_P Q5_K_P Q6_K_P \
    IQ2_K IQ3_K IQ4_K IQ5_K IQ6_K IQ2_KS IQ4_KS IQ4_KSS";

/// The base types of files that are not called by them.
const BASES: [(&str, &str); 4] =
    [("Q8_K_XL", "Q8_0"), ("IQ3_M", "IQ3_S"), ("IQ3_XS", "IQ3_S"), ("IQ2_M", "IQ2_S")];

/// The type that most matrices of a file have: the longest name that its name begins with.
fn base(name: &str) -> Option<&'static Type> {
    let begins = BASES.iter().find(|(file, _)| *file == name).map_or(name, |(_, base)| base);
    TYPES.iter().filter(|kind| begins.starts_with(kind.name)).max_by_key(|kind| kind.name.len())
}

/// GGUF's words.
pub(super) fn words() -> Vec<Word> {
    let mut words: Vec<Word> = Vec::new();
    for file_name in FILES.split_whitespace() {
        let (name, mean) = file_name.split_once(':').unwrap_or((file_name, ""));
        words.extend(file(name, mean));
        if name.ends_with("_XL") || name.starts_with("IQ") || name.starts_with("TQ") {
            words.extend(file(name, "").map(|word| per_layer(word, name)));
        }
    }
    let per_layer = "UD: unsloth chooses a type for each layer; the name is that of the base";
    words.push(Word::new("UD", "ud").note(per_layer));
    words.push(
        Word::new("GGUF", "gguf")
            .says(&[(Method, "GGUF")])
            .open(WeightBits, "the type: a GGUF file has it in its header, tensor by tensor"),
    );
    for name in ["i1", "imatrix"] {
        let note =
            format!("{name}: an importance matrix weighed the errors; the layout is the same");
        words.push(Word::new(name, name).note(&note));
    }
    words
}

fn file(name: &str, mean: &str) -> Option<Word> {
    let kind = base(name)?;
    let mut word = Word::new(name, &name.to_ascii_lowercase().replace('_', " "))
        .says(&[(Method, "GGUF"), (Layout, name), (WeightBits, kind.bits), (WeightKind, kind.kind)])
        .says(&[(Group, kind.group), (Overhead, kind.overhead), (ActBits, "16")])
        .says(&[(Symmetric, if kind.minimum || kind.kind == "table" { "no" } else { "yes" })]);
    if !mean.is_empty() {
        word = word.says(&[(Mean, mean)]);
    }
    if is_a_mix(name) {
        let note = format!(
            "a mix: most matrices are {}, some have a bigger type; the file's header says which",
            kind.name
        );
        word = word.note(&note);
    }
    Some(word)
}

/// Whether files of this name hold more than one quantized type by design.
fn is_a_mix(name: &str) -> bool {
    let suffixes = ["_S", "_M", "_L", "_XL", "_P", "Q2_K"];
    name.starts_with('Q') && suffixes.iter().any(|suffix| name.ends_with(suffix))
        || ["IQ3_M", "IQ3_XS", "IQ2_M"].contains(&name)
}

/// unsloth's `UD-`: another type for each layer.
fn per_layer(word: Word, name: &str) -> Word {
    let mut word =
        word.note("UD: unsloth chooses a type for each layer; the name is that of the base");
    word.pattern.insert_str(0, "ud ");
    word.name = format!("UD-{name}");
    for (field, value) in &mut word.says {
        if *field == Layout {
            *value = format!("UD-{name}");
        }
    }
    word
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gguf::TensorType;

    #[test]
    fn every_type_costs_what_its_block_weighs() {
        let mut compared = 0;
        let types: Vec<TensorType> = (0..64).map(TensorType::from_id).collect();
        for kind in &TYPES {
            let listed = types.iter().find(|listed| listed.to_string() == kind.name);
            // The reader of GGUF need not know the types of every fork.
            let Some((weights, bytes)) = listed.and_then(|listed| listed.block()) else { continue };
            compared += 1;
            let overhead = kind.overhead.split(' ').map(|part| {
                let (bits, group) = part.split_once('@').expect(part);
                bits.parse::<f64>().expect(bits) / group.parse::<f64>().expect(group)
            });
            let bits = kind.bits.parse::<f64>().expect(kind.bits) + overhead.sum::<f64>();
            let name = kind.name;
            assert_eq!(
                bits,
                bytes as f64 * 8.0 / weights as f64,
                "{name} is a block of {bytes} bytes"
            );
        }
        assert!(compared >= 20, "{compared} types were compared");
    }
}
