//! The online rotation of `down_proj`, as compressed-tensors' config says it (`transform_config`).
//!
//! A reader knows Sylvester's matrix by its order, which `head_dim` says. Another matrix is stored once, with
//! entries 1 and -1, under the name of the first layer; vLLM shares the matrix among the layers of a scheme, and
//! divides by the root of its order.

use formats::bytes::{self, Float};
use formats::registry::{StoredPart, part};
use kernels::Hadamard;
use ndarray::{Array2, s};
use serde_json::{Map, Value, json};

use crate::WriteError;

/// The modules whose inputs are rotated.
const TARGETS: &str = "re:.*down_proj$";
/// What the name of the matrix ends with, behind that of the scheme.
const MATRIX: &str = "_input.weight";

/// Says in `config.json` that the inputs of `down_proj` are rotated in blocks of `order`, by a matrix that is
/// stored or by Sylvester's.
pub(crate) fn add(config: &mut Map<String, Value>, order: usize, is_stored: bool) {
    // What compressed-tensors writes where no weight is quantized.
    let dense = || {
        json!({"quant_method": "compressed-tensors", "format": "dense", "config_groups": {},
               "ignore": [], "quantization_status": "compressed"})
    };
    let apply = |location, inverse| json!({"targets": [TARGETS], "location": location, "inverse": inverse, "ignore": []});
    let quantization = config.entry("quantization_config").or_insert_with(dense);
    quantization["transform_config"] = json!({"config_groups": {"R4": {
        "type": if is_stored { "random-hadamard" } else { "hadamard" },
        "apply": [apply("input", false), apply("weight_input", true)],
        "head_dim": if is_stored { Value::Null } else { order.into() }, "randomize": false, "requires_grad": false,
        "precision": "torch.float32"}}});
}

/// The matrix of the rotation, `[order, order]`, with entries 1 and -1.
pub(crate) fn matrix(signs: &Array2<f32>, float: Float) -> Result<StoredPart, WriteError> {
    let order = signs.nrows() as u64;
    let module = "model.layers.0.mlp.down_proj.R4_input";
    let tensor = part(module, "weight", float.dtype(), &[order, order]);
    Ok(StoredPart { tensor, bytes: bytes::of_floats(signs, float)? })
}

/// Whether a tensor is the matrix of a rotation.
pub(crate) fn is_matrix(name: &str) -> bool {
    name.ends_with(MATRIX) && name.contains(".down_proj.")
}

/// The rotation that a `quantization_config` asks for while the model runs, if it asks for one. `stored` reads
/// the matrix of a scheme.
///
/// # Errors
/// If the config asks for a rotation that is not run here, or its matrix is missing or another.
pub(crate) fn read(
    quantization: &Map<String, Value>,
    width: usize,
    stored: impl Fn(&str) -> Result<Option<Array2<f32>>, WriteError>,
) -> Result<Option<Hadamard>, WriteError> {
    let groups = quantization.get("transform_config").map(|config| &config["config_groups"]);
    let mut found = None;
    for (name, scheme) in groups.and_then(Value::as_object).into_iter().flatten() {
        let refused = |why: &str| {
            let problem = format!("transform_config: {name} is not run here, because {why}");
            Err(WriteError::Unsupported(problem))
        };
        let applied = scheme["apply"].as_array().map_or(&[][..], Vec::as_slice);
        let online = applied.iter().filter(|apply| {
            // A rotation that is in the weights already is nothing to do.
            !matches!(apply["location"].as_str(), Some("weight_input" | "weight_output"))
        });
        for apply in online {
            if apply["location"] != "input" || apply["targets"] != json!([TARGETS]) {
                return refused("only inputs of down_proj are rotated while a model runs");
            }
            if apply["inverse"] == true || !apply["ignore"].as_array().is_none_or(Vec::is_empty) {
                return refused("it applies the inverse, or ignores some modules");
            }
            if found.is_some() {
                return refused("another entry rotates the same inputs");
            }
            let block = scheme["head_dim"].as_u64().and_then(|block| usize::try_from(block).ok());
            let hadamard = match scheme["type"].as_str() {
                Some("hadamard") => Hadamard::of_power(block.unwrap_or(width)),
                Some("random-hadamard") => match stored(&format!("{name}{MATRIX}"))? {
                    Some(matrix) => match factors(&matrix) {
                        Some((core, power)) => Hadamard::new(&core, power),
                        None => {
                            return refused("its matrix is no small one times Sylvester's");
                        }
                    },
                    None => return refused("its matrix is not in the file"),
                },
                _ => return refused("its type is neither hadamard nor random-hadamard"),
            };
            match hadamard {
                Ok(hadamard) => found = Some(hadamard),
                Err(error) => return refused(&error.to_string()),
            }
        }
    }
    Ok(found)
}

/// A matrix as the Kronecker product of a core and Sylvester's matrix of the largest power of two for which
/// there is one.
fn factors(matrix: &Array2<f32>) -> Option<(Array2<i8>, usize)> {
    let order = matrix.nrows();
    if order == 0 || !matrix.is_square() || matrix.iter().any(|sign| sign.abs() != 1.0) {
        return None;
    }
    let powers = (0..=order.trailing_zeros()).rev().map(|exponent| 1 << exponent);
    powers.into_iter().find_map(|power: usize| {
        let step = power as isize;
        // The first entry of Sylvester's matrix is 1.
        let core = matrix.slice(s![..;step, ..;step]);
        let is_product = matrix.indexed_iter().all(|((row, column), &sign)| {
            let shared = (row % power) & (column % power);
            let of_power = if shared.count_ones().is_multiple_of(2) { 1.0 } else { -1.0 };
            sign == core[(row / power, column / power)] * of_power
        });
        is_product.then(|| (core.mapv(|sign| sign as i8), power))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rotations::solution::hadamard;

    #[test]
    fn a_matrix_is_taken_apart_into_its_core_and_the_power_of_two()
    -> Result<(), rotations::RotationError> {
        for (order, expected) in [(1, 1), (64, 64), (12, 1), (48, 4), (1536, 128)] {
            let matrix = hadamard(order)?.mapv(|sign| sign as f32);
            let (core, power) = factors(&matrix).expect("it is a product");
            assert_eq!((core.nrows(), power), (order / expected, expected), "{order}");
        }
        let mut other = hadamard(48)?.mapv(|sign| sign as f32);
        other[(47, 46)] *= -1.0;
        // Still a product, with all of it as the core, which is no Hadamard matrix.
        let (core, power) = factors(&other).expect("a core of its own");
        assert_eq!(power, 1);
        assert!(Hadamard::new(&core, power).is_err());
        assert_eq!(factors(&(other * 2.0)), None);
        Ok(())
    }
}
