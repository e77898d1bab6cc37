//! The size of a block of each GGML type, including the types that are not decoded here.
//!
//! The sizes are GGML's (`ggml-common.h`). A test holds this list to that of the `gguf` package, which
//! lacks the types that llama.cpp no longer writes (31 to 33) and the newest (42). Other programs give
//! numbers from 36 on a meaning of their own, so such a number is not read as any type.

/// Number, name, weights in a block, bytes of a block, weights that share a scale (0 for plain numbers).
pub(super) type Listed = (u32, &'static str, usize, usize, u64);

/// Every type that is known here, by its number in the file.
const LISTED: &[Listed] = &[
    (0, "F32", 1, 4, 0),
    (1, "F16", 1, 2, 0),
    (2, "Q4_0", 32, 18, 32),
    (3, "Q4_1", 32, 20, 32),
    (6, "Q5_0", 32, 22, 32),
    (7, "Q5_1", 32, 24, 32),
    (8, "Q8_0", 32, 34, 32),
    (9, "Q8_1", 32, 40, 32),
    (10, "Q2_K", 256, 84, 16),
    (11, "Q3_K", 256, 110, 16),
    (12, "Q4_K", 256, 144, 32),
    (13, "Q5_K", 256, 176, 32),
    (14, "Q6_K", 256, 210, 16),
    (15, "Q8_K", 256, 292, 256),
    (16, "IQ2_XXS", 256, 66, 32),
    (17, "IQ2_XS", 256, 74, 16),
    (18, "IQ3_XXS", 256, 98, 32),
    (19, "IQ1_S", 256, 50, 32),
    (20, "IQ4_NL", 32, 18, 32),
    (21, "IQ3_S", 256, 110, 32),
    (22, "IQ2_S", 256, 82, 16),
    (23, "IQ4_XS", 256, 136, 32),
    (24, "I8", 1, 1, 0),
    (25, "I16", 1, 2, 0),
    (26, "I32", 1, 4, 0),
    (27, "I64", 1, 8, 0),
    (28, "F64", 1, 8, 0),
    (29, "IQ1_M", 256, 56, 16),
    (30, "BF16", 1, 2, 0),
    (31, "Q4_0_4_4", 32, 18, 32),
    (32, "Q4_0_4_8", 32, 18, 32),
    (33, "Q4_0_8_8", 32, 18, 32),
    (34, "TQ1_0", 256, 54, 256),
    (35, "TQ2_0", 256, 66, 256),
    (39, "MXFP4", 32, 17, 32),
    (40, "NVFP4", 64, 36, 16),
    (41, "Q1_0", 128, 18, 128),
    (42, "Q2_0", 64, 18, 64),
];

/// The type with the number `id`, `None` for a number that is not known here.
pub(super) fn listed(id: u32) -> Option<&'static Listed> {
    LISTED.iter().find(|listed| listed.0 == id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sizes_are_those_of_the_gguf_package() {
        let json = include_str!("../../golden/ggml-sizes.json");
        let golden: serde_json::Value = serde_json::from_str(json).expect("valid JSON");
        let golden = golden["sizes"].as_object().expect("sizes by name");
        let (known, others): (Vec<&Listed>, Vec<&Listed>) =
            LISTED.iter().partition(|listed| golden.contains_key(listed.1));
        assert_eq!(known.len(), golden.len());
        for (id, name, weights, bytes, _) in known {
            let wanted = serde_json::json!({ "id": id, "weights": weights, "bytes": bytes });
            assert_eq!(golden[*name], wanted, "{name}");
        }
        let others: Vec<&str> = others.iter().map(|listed| listed.1).collect();
        assert_eq!(others, ["Q4_0_4_4", "Q4_0_4_8", "Q4_0_8_8", "Q2_0"]);
    }
}
