//! The online rotation of `down_proj`, as compressed-tensors' config says it (`transform_config`).

use kernels::Hadamard;
use serde_json::{Map, Value, json};

use crate::WriteError;

/// The modules whose inputs are rotated.
const TARGETS: &str = "re:.*down_proj$";

/// Says in `config.json` that the inputs of `down_proj` are rotated in blocks of `block`.
pub(crate) fn add(config: &mut Map<String, Value>, block: usize) {
    // What compressed-tensors writes where no weight is quantized.
    let dense = || {
        json!({"quant_method": "compressed-tensors", "format": "dense", "config_groups": {},
        "ignore": [], "quantization_status": "compressed"})
    };
    let apply = |location, inverse| json!({"targets": [TARGETS], "location": location, "inverse": inverse, "ignore": []});
    let quantization = config.entry("quantization_config").or_insert_with(dense);
    quantization["transform_config"] = json!({"config_groups": {"R4": {
        "type": "hadamard",
        "apply": [apply("input", false), apply("weight_input", true)],
        "head_dim": block, "randomize": false, "requires_grad": false}}});
}

/// The rotation that a `quantization_config` asks for while the model runs, if it asks for one.
///
/// # Errors
/// If the config asks for a rotation that is not run here.
pub(crate) fn read(quantization: &Map<String, Value>) -> Result<Option<Hadamard>, WriteError> {
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
            let block = scheme["head_dim"].as_u64().and_then(|block| usize::try_from(block).ok());
            let Some(block) = block.filter(|_| scheme["type"] == "hadamard") else {
                return refused("its type is not `hadamard` in blocks of `head_dim`");
            };
            if scheme["randomize"] == true || !apply["ignore"].as_array().is_none_or(Vec::is_empty)
            {
                return refused("it has random signs, or ignores some modules");
            }
            if found.is_some() {
                return refused("another entry rotates the same inputs");
            }
            match Hadamard::of_power(block) {
                Ok(hadamard) => found = Some(hadamard),
                Err(error) => return refused(&error.to_string()),
            }
        }
    }
    Ok(found)
}
