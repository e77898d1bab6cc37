//! The reference, which the chapter shows piece by piece.

use formats::layouts::{Grouped, awq, compressed_tensors, ggml, gptq};
use ndarray::Array2;
use serde_json::{Value, json};

use crate::labs::{quantize_groups, quantize_per_channel};
use crate::{
    Decision, Dtype, FormatError, Reason, Recipe, Scheme, Tensor, TensorType, blocks, bytes, file,
    fp8, part,
};

// ANCHOR: decide
/// Whether a tensor is quantized, and if not, why.
///
/// Quantized is the `weight` of a linear layer: a matrix, but not the embedding (a module called
/// `embed_tokens`) and not the head (`lm_head`). A scheme with groups needs `in_features` in whole
/// groups, [`Scheme::W8A16`] in whole words of 4 codes; AWQ needs `out_features` in multiples of
/// 32, GPTQ of 8.
///
/// The reason is the first that holds, in this order: [`Reason::NotAMatrix`], [`Reason::Plain`],
/// [`Reason::Embedding`], [`Reason::Head`], [`Reason::Indivisible`] by its `out_features`, then by
/// its `in_features`.
pub fn decide(tensor: &Tensor, scheme: Scheme) -> Decision {
    let (Some(module), &[out_features, in_features]) =
        (tensor.name.strip_suffix(".weight"), tensor.shape.as_slice())
    else {
        return Decision::Keep(Reason::NotAMatrix);
    };
    match module.rsplit('.').next() {
        _ if scheme == Scheme::Plain => return Decision::Keep(Reason::Plain),
        Some("embed_tokens") => return Decision::Keep(Reason::Embedding),
        Some("lm_head") => return Decision::Keep(Reason::Head),
        _ => {}
    }
    let out_by = match scheme {
        Scheme::Awq(_) => 32,
        Scheme::Gptq(_) => 8,
        _ => 1,
    };
    let in_by = if scheme == Scheme::W8A16 { 4 } else { scheme.group_size().unwrap_or(1) };
    let axes = [("out_features", out_features, out_by), ("in_features", in_features, in_by)];
    match axes.into_iter().find(|(_, size, by)| !size.is_multiple_of(*by)) {
        Some((axis, size, by)) => Decision::Keep(Reason::Indivisible { axis, size, by }),
        None => Decision::Quantize,
    }
}
// ANCHOR_END: decide

// ANCHOR: parts
/// The tensors that stand for `tensor` in the file, in the order in which [`quantize`] gives their
/// bytes.
///
/// A tensor that is kept keeps its name and shape and has the type `recipe.float`; in a GGUF file
/// it is F16, and F32 with fewer than two axes. A quantized one becomes, with `out` and `in` for
/// its shape and `groups` for `in / group_size`:
///
/// | scheme | parts |
/// | --- | --- |
/// | w8a8 | `weight` I8 `[out, in]`, `weight_scale` F32 `[out, 1]` |
/// | fp8 | `weight` F8_E4M3 `[out, in]`, `weight_scale` F32 `[out, 1]` |
/// | w8a16 | `weight_packed` I32 `[out, in / 4]`, `weight_scale` F32 `[out, 1]`, `weight_shape` I64 `[2]` |
/// | w4a16 | `weight_packed` I32 `[out, in / 8]`, `weight_scale` F16 `[out, groups]`, `weight_shape` I64 `[2]` |
/// | awq | `qweight` I32 `[in, out / 8]`, `qzeros` I32 `[groups, out / 8]`, `scales` F16 `[groups, out]` |
/// | gptq | `qweight` I32 `[in / 8, out]`, `qzeros` and `scales` as AWQ, `g_idx` I32 `[in]` |
/// | gguf | itself, in blocks |
pub fn parts(tensor: &Tensor, recipe: Recipe) -> Vec<Tensor> {
    let quantized = decide(tensor, recipe.scheme) == Decision::Quantize;
    let (true, &[out, inputs], Some(module)) =
        (quantized, tensor.shape.as_slice(), tensor.name.strip_suffix(".weight"))
    else {
        return vec![kept(tensor, recipe)];
    };
    let part = |name, dtype, shape: &[u64]| part(module, name, dtype, shape);
    let channel_scale = part("weight_scale", Dtype::F32, &[out, 1]);
    let shape = part("weight_shape", Dtype::I64, &[2]);
    match recipe.scheme {
        Scheme::Plain => vec![kept(tensor, recipe)],
        Scheme::W8A8 => vec![part("weight", Dtype::I8, &[out, inputs]), channel_scale],
        Scheme::Fp8 => vec![part("weight", Dtype::F8E4M3, &[out, inputs]), channel_scale],
        Scheme::W8A16 => {
            vec![part("weight_packed", Dtype::I32, &[out, inputs / 4]), channel_scale, shape]
        }
        Scheme::W4A16(size) => vec![
            part("weight_packed", Dtype::I32, &[out, inputs / 8]),
            part("weight_scale", Dtype::F16, &[out, inputs / size]),
            shape,
        ],
        Scheme::Awq(size) => vec![
            part("qweight", Dtype::I32, &[inputs, out / 8]),
            part("qzeros", Dtype::I32, &[inputs / size, out / 8]),
            part("scales", Dtype::F16, &[inputs / size, out]),
        ],
        Scheme::Gptq(size) => vec![
            part("qweight", Dtype::I32, &[inputs / 8, out]),
            part("qzeros", Dtype::I32, &[inputs / size, out / 8]),
            part("scales", Dtype::F16, &[inputs / size, out]),
            part("g_idx", Dtype::I32, &[inputs]),
        ],
        Scheme::Gguf(kind) => vec![blocks(&tensor.name, kind, &tensor.shape)],
    }
}

/// The part of a tensor that is kept.
fn kept(tensor: &Tensor, recipe: Recipe) -> Tensor {
    match (recipe.scheme, tensor.shape.len()) {
        (Scheme::Gguf(_), 0 | 1) => blocks(&tensor.name, TensorType::F32, &tensor.shape),
        (Scheme::Gguf(_), _) => blocks(&tensor.name, TensorType::F16, &tensor.shape),
        _ => {
            let dtype = recipe.float.dtype();
            let (module, name) = tensor.name.rsplit_once('.').unwrap_or(("", &tensor.name));
            Tensor { name: tensor.name.clone(), ..part(module, name, dtype, &tensor.shape) }
        }
    }
}
// ANCHOR_END: parts

// ANCHOR: quantize
/// The bytes of each part of a quantized matrix `w`, `[out_features, in_features]`: one vector for
/// each of [`parts`], in that order.
///
/// The codes come from the labs: int8 per channel from lab 01, groups of int4 and the layouts from
/// lab 03, and FP8 from [`fp8`]. The words of [`Scheme::W8A16`] hold each code plus 128, the first
/// in the lowest byte.
///
/// # Errors
/// Those of the lab's function: NaN, infinity, a group that does not divide, a scale beyond `f16`.
/// [`FormatError::NothingQuantized`] for [`Scheme::Plain`], which quantizes nothing.
pub fn quantize(w: &Array2<f32>, scheme: Scheme) -> Result<Vec<Vec<u8>>, FormatError> {
    let shape = [w.nrows() as i64, w.ncols() as i64];
    Ok(match scheme {
        Scheme::Plain => return Err(FormatError::NothingQuantized),
        Scheme::W8A8 => {
            let w = quantize_per_channel(w)?;
            vec![bytes::of(w.q()), bytes::of(w.scales())]
        }
        Scheme::W8A16 => {
            let w = quantize_per_channel(w)?;
            // Plus 128, because the top bit of two's complement is then flipped.
            let codes = w.q().mapv(|code| code.cast_unsigned() ^ 0x80);
            vec![bytes::of(&codes), bytes::of(w.scales()), bytes::of(&shape)]
        }
        Scheme::Fp8 => {
            let (codes, scales) = fp8::quantize_per_channel(w)?;
            vec![bytes::of(&codes), bytes::of(&scales)]
        }
        Scheme::W4A16(size) => {
            let w = compressed_tensors::pack(&grouped(w, size)?)?;
            vec![bytes::of(&w.weight_packed), bytes::of(&w.weight_scale), bytes::of(&shape)]
        }
        Scheme::Awq(size) => {
            let w = awq::pack(&grouped(w, size)?)?;
            vec![bytes::of(&w.qweight), bytes::of(&w.qzeros), bytes::of(&w.scales)]
        }
        Scheme::Gptq(size) => {
            let w = gptq::pack(&grouped(w, size)?, gptq::Version::V1)?;
            let [qweight, qzeros] = [&w.qweight, &w.qzeros].map(bytes::of);
            vec![qweight, qzeros, bytes::of(&w.scales), bytes::of(&w.g_idx)]
        }
        Scheme::Gguf(kind) => {
            let values: Vec<f32> = w.iter().copied().collect();
            vec![ggml::encode(kind, &values)?]
        }
    })
}

/// Lab 03's groups, in the form that its layouts pack.
fn grouped(w: &Array2<f32>, group_size: u64) -> Result<Grouped, FormatError> {
    let group_size = usize::try_from(group_size).unwrap_or(usize::MAX);
    Ok(Grouped::try_from(&quantize_groups(w, group_size)?)?)
}
// ANCHOR_END: quantize

// ANCHOR: left_alone
/// The linear modules that an engine has to leave alone, in the order of `tensors`: `lm_head`
/// first, whether there is a tensor for it or not (a tied head is a linear layer without one), then
/// every matrix kept because it cannot be divided, by its module's name. Under [`Scheme::Plain`] that is
/// `lm_head` alone.
pub fn left_alone(tensors: &[Tensor], scheme: Scheme) -> Vec<String> {
    let indivisible = tensors.iter().filter(|tensor| {
        matches!(decide(tensor, scheme), Decision::Keep(Reason::Indivisible { .. }))
    });
    let modules = indivisible.filter_map(|tensor| tensor.name.strip_suffix(".weight"));
    ["lm_head"].into_iter().chain(modules).map(Into::into).collect()
}
// ANCHOR_END: left_alone

// ANCHOR: quantization_config
/// The `quantization_config` of `config.json`, or `None` for [`Scheme::Plain`] and GGUF, which need
/// none.
///
/// | scheme | quant_method | and |
/// | --- | --- | --- |
/// | w8a8 | compressed-tensors | format `int-quantized` |
/// | fp8 | compressed-tensors | format `float-quantized` |
/// | w8a16, w4a16 | compressed-tensors | format `pack-quantized` |
/// | awq | awq | bits, group_size, zero_point, version `gemm`, modules_to_not_convert |
/// | gptq | gptq | bits, group_size, sym, desc_act, checkpoint_format `gptq`, modules_to_not_convert |
///
/// `left_alone` are the modules that stay in floats, which is `ignore` of compressed-tensors.
///
/// compressed-tensors has this skeleton, here for 8-bit weights and 16-bit activations. The key
/// `group_0` may have another name.
///
/// ```json
/// {
///   "quant_method": "compressed-tensors",
///   "format": "pack-quantized",
///   "quantization_status": "compressed",
///   "ignore": ["lm_head"],
///   "config_groups": {
///     "group_0": {
///       "targets": ["Linear"],
///       "weights": {
///         "num_bits": 8, "type": "int", "symmetric": true, "strategy": "channel", "dynamic": false
///       },
///       "input_activations": null,
///       "output_activations": null
///     }
///   }
/// }
/// ```
///
/// `type` is `int` or `float`, `strategy` is `channel`, `group` or `token`, and `group` brings the key
/// `group_size`. `dynamic` says whether a scale is found while the model runs. Activations that are
/// quantized have the same keys as weights. `labs/formats/golden/checkpoints/ct-w8a8/config.json` is a whole config that
/// the library wrote.
pub fn quantization_config(scheme: Scheme, left_alone: &[String]) -> Option<Value> {
    let on_channels = |bits: u64, kind: &str| {
        json!({"num_bits": bits, "type": kind, "symmetric": true, "strategy": "channel",
               "dynamic": false})
    };
    let on_tokens = |kind: &str| {
        json!({"num_bits": 8, "type": kind, "symmetric": true, "strategy": "token",
               "dynamic": true})
    };
    let compressed_tensors = |format: &str, weights: Value, activations: Value| {
        let group = json!({"targets": ["Linear"], "weights": weights,
                           "input_activations": activations, "output_activations": null});
        json!({"quant_method": "compressed-tensors", "format": format,
               "quantization_status": "compressed", "ignore": left_alone,
               "config_groups": {"group_0": group}})
    };
    Some(match scheme {
        Scheme::Plain | Scheme::Gguf(_) => return None,
        Scheme::W8A8 => {
            compressed_tensors("int-quantized", on_channels(8, "int"), on_tokens("int"))
        }
        Scheme::Fp8 => {
            compressed_tensors("float-quantized", on_channels(8, "float"), on_tokens("float"))
        }
        Scheme::W8A16 => compressed_tensors("pack-quantized", on_channels(8, "int"), Value::Null),
        Scheme::W4A16(size) => {
            let weights = json!({"num_bits": 4, "type": "int", "symmetric": true,
                                 "strategy": "group", "group_size": size, "dynamic": false});
            compressed_tensors("pack-quantized", weights, Value::Null)
        }
        Scheme::Awq(size) => json!({
            "quant_method": "awq", "bits": 4, "group_size": size, "zero_point": true,
            "version": "gemm", "modules_to_not_convert": left_alone}),
        Scheme::Gptq(size) => json!({
            "quant_method": "gptq", "bits": 4, "group_size": size, "sym": true, "desc_act": false,
            "checkpoint_format": "gptq", "modules_to_not_convert": left_alone}),
    })
}
// ANCHOR_END: quantization_config

// ANCHOR: predicted_bytes
/// The size of `model.safetensors` in bytes, before a weight is read: 8 for the length of the
/// header, the header as [`file::header`] writes it, and the data of every part. `tensors` are
/// those of the original.
pub fn predicted_bytes(tensors: &[Tensor], recipe: Recipe) -> u64 {
    let parts: Vec<Tensor> = tensors.iter().flat_map(|tensor| parts(tensor, recipe)).collect();
    let data: u64 = parts.iter().map(|part| part.bytes).sum();
    file::LENGTH + file::header(&parts).len() as u64 + data
}

/// Bits per weight of the quantized matrices, with every part counted, or `None` if no tensor is
/// quantized.
pub fn bits_per_weight(tensors: &[Tensor], recipe: Recipe) -> Option<f64> {
    let quantized = |tensor: &&Tensor| decide(tensor, recipe.scheme) == Decision::Quantize;
    let (mut bytes, mut weights) = (0, 0);
    for tensor in tensors.iter().filter(quantized) {
        bytes += parts(tensor, recipe).iter().map(|part| part.bytes).sum::<u64>();
        weights += tensor.elements();
    }
    formats::checkpoint::bits_per_weight(bytes, weights)
}
// ANCHOR_END: predicted_bytes
