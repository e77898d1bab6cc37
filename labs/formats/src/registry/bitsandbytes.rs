//! NF4 in the layout of bitsandbytes, activations in floats.

use serde_json::json;

use super::{Codes, Description, File, Granularity, Reader};
use crate::FormatError;
use crate::bitsandbytes::{self, BLOCK, NF4 as TABLE, nf4_state};
use crate::bytes;
use crate::checkpoint::{Dtype, Scheme};
use crate::format::Grid;

/// Sixteen quantiles of the normal distribution with an `f32` for each 64 neighbours.
pub(super) const NF4: Description = Description {
    name: "nf4",
    about: "NF4 in blocks of 64, in bitsandbytes' layout, without double quantization",
    weights: Grid::Table(4),
    activations: None,
    // A block of the library may begin in one row and end in the next; rows of whole blocks have none such.
    granularity: Granularity::FixedGroup(BLOCK as u64),
    overhead: &[32],
    shared: None,
    multiples: [1, 1],
    file: File::Safetensors {
        parts: |[out, inputs], size| {
            let weights = out * inputs;
            let state = nf4_state([out, inputs]).len() as u64;
            vec![
                ("weight", Dtype::U8, vec![weights / 2, 1]),
                ("weight.absmax", Dtype::F32, vec![weights / size]),
                ("weight.quant_map", Dtype::F32, vec![TABLE.len() as u64]),
                ("weight.quant_state.bitsandbytes__nf4", Dtype::U8, vec![state]),
            ]
        },
        config: |_, ignore| {
            Some(json!({
                "quant_method": "bitsandbytes", "load_in_4bit": true, "load_in_8bit": false,
                "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": false,
                "bnb_4bit_quant_storage": "uint8", "llm_int8_skip_modules": ignore}))
        },
    },
    scheme: Some(Scheme::BnbTable { table: "nf4", double: false }),
    read_by: &[Reader::Course],
    round: |_, w| {
        let (codes, scales) = bitsandbytes::quantize_nf4(w)?;
        Ok(Codes::Table { codes, scales })
    },
    store: |codes| match codes {
        Codes::Table { codes, scales } => Ok(vec![
            bitsandbytes::pack(codes),
            bytes::of(scales),
            bytes::of(&TABLE),
            nf4_state([codes.nrows() as u64, codes.ncols() as u64]),
        ]),
        _ => Err(FormatError::WrongCodes("NF4")),
    },
};
