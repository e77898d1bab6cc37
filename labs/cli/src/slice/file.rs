//! The safetensors file, always the same bytes for the same tensors.
//!
//! A safetensors file is the header's length in 8 bytes, the header in JSON, the tensors' bytes. The
//! `safetensors` crate keeps `__metadata__` in a hash map, so its order changes from run to run. The
//! functions here write the keys in order, and tests read the file with the crate.

use std::collections::BTreeMap;

use anyhow::Result;
use half::f16;
use ndarray::Array2;
use serde_json::{Value, json};

use super::Rounding;
use super::rows::Kept;

/// Bytes that the header is padded to a multiple of, as the format recommends.
const ALIGNMENT: usize = 8;

/// A tensor cut out of the model.
pub struct Cut {
    /// Its Hugging Face name.
    pub name: &'static str,
    /// Its weights, `[rows kept, in_features]`.
    pub values: Array2<f16>,
    /// The rows that were kept.
    pub kept: Kept,
    /// The errors of rounding to `f16`.
    pub rounding: Rounding,
}

/// The metadata of every file: the name and the checksum of the model.
pub fn source(name: &str, sha256: &str) -> BTreeMap<String, String> {
    BTreeMap::from([
        ("source".to_string(), name.to_string()),
        ("source sha256".to_string(), sha256.to_string()),
        ("tool".to_string(), "cargo book slice".to_string()),
    ])
}

/// The bytes of the file of the weights. `name` and `sha256` are those of the model.
pub fn weights(cuts: &[Cut], name: &str, sha256: &str) -> Result<Vec<u8>> {
    let mut metadata = source(name, sha256);
    for cut in cuts {
        metadata.insert(format!("rows of {}", cut.name), cut.kept.to_string());
    }
    let tensors: Vec<_> = cuts.iter().map(|cut| (cut.name, &cut.values)).collect();
    bytes(&tensors, &metadata)
}

/// The bytes of a file of matrices by name.
pub fn bytes(
    tensors: &[(&str, &Array2<f16>)],
    metadata: &BTreeMap<String, String>,
) -> Result<Vec<u8>> {
    let tensors = tensors.iter().map(|(name, values)| Encoded {
        name: (*name).into(),
        dtype: "F16",
        shape: values.shape().to_vec(),
        data: values.iter().flat_map(|value| value.to_le_bytes()).collect(),
    });
    encode(&tensors.collect::<Vec<_>>(), metadata)
}

/// A tensor as the file holds it.
pub struct Encoded {
    /// Its name.
    pub name: String,
    /// The format's name of the type.
    pub dtype: &'static str,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its values, the last axis first.
    pub data: Vec<u8>,
}

/// The bytes of a file.
pub fn encode(tensors: &[Encoded], metadata: &BTreeMap<String, String>) -> Result<Vec<u8>> {
    let mut header = BTreeMap::from([("__metadata__".to_string(), json!(metadata))]);
    let mut at = 0;
    for Encoded { name, dtype, shape, data } in tensors {
        let end = at + data.len();
        let entry: Value = json!({"dtype": dtype, "shape": shape, "data_offsets": [at, end]});
        header.insert(name.clone(), entry);
        at = end;
    }
    let mut header = serde_json::to_vec(&header)?;
    header.resize(header.len().next_multiple_of(ALIGNMENT), b' ');
    let length = (header.len() as u64).to_le_bytes();
    let data = tensors.iter().flat_map(|tensor| tensor.data.iter().copied());
    Ok(length.into_iter().chain(header).chain(data).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slice::rows::row_absmax;
    use kit::real_slice;
    use safetensors::SafeTensors;
    use safetensors::tensor::Dtype;

    fn cuts() -> Vec<Cut> {
        let values = [1.0f32, -2.0, 0.5, 3.0, 65504.0, -0.0].map(f16::from_f32).to_vec();
        let matrix = |dim| Array2::from_shape_vec(dim, values.clone()).unwrap_or_default();
        let cut = |name, values: Array2<f16>| {
            let kept = Kept::every(1, &row_absmax(&values));
            Cut { name, values, kept, rounding: Rounding { normal: 0.0, subnormal: 0.0 } }
        };
        vec![cut("b", matrix((3, 2))), cut("a", matrix((2, 3)))]
    }

    #[test]
    fn the_safetensors_crate_reads_back_what_was_written() -> Result<()> {
        let bytes = weights(&cuts(), "model.gguf", "1234")?;
        let file = SafeTensors::deserialize(&bytes)?;
        for cut in cuts() {
            let view = file.tensor(cut.name)?;
            assert_eq!((view.dtype(), view.shape()), (Dtype::F16, cut.values.shape()));
            let data: Vec<u8> = cut.values.iter().flat_map(|w| w.to_le_bytes()).collect();
            assert_eq!(view.data(), data);
        }
        let (_, header) = SafeTensors::read_metadata(&bytes)?;
        let metadata = header.metadata().clone().unwrap_or_default();
        assert_eq!(metadata.get("source sha256").map(String::as_str), Some("1234"));
        assert_eq!(metadata.get("rows of a").map(String::as_str), Some("all 2 rows"));
        Ok(())
    }

    #[test]
    fn the_same_tensors_give_the_same_bytes() -> Result<()> {
        assert_eq!(weights(&cuts(), "m", "s")?, weights(&cuts(), "m", "s")?);
        Ok(())
    }

    #[test]
    fn the_committed_slice_says_where_it_comes_from() -> Result<()> {
        let file = std::fs::read(real_slice::PATH)?;
        let (_, header) = SafeTensors::read_metadata(&file)?;
        let metadata = header.metadata().clone().unwrap_or_default();
        let sha256 = metadata.get("source sha256").map(String::as_str);
        assert_eq!(sha256, Some(xtask::fetch::MODEL.sha256));
        for name in real_slice::TENSORS {
            assert!(metadata.contains_key(&format!("rows of {name}")), "{name}");
        }
        Ok(())
    }
}
