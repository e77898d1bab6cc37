//! Your file. The signatures and their promises are here; the bodies are yours.
//!
//! Grade it with `cargo book grade lab-05`, or
//! `LAB_IMPL=starter cargo test -p lab-05-quantize-a-real-model --test spec`. That takes your labs
//! 01, 03 and 04 too: what is written is yours all the way down. On the untouched file every test
//! of the spec fails, because every body is a `todo!`.

use ndarray::Array2;
use serde_json::Value;

#[allow(unused_imports)] // Yours to use: what a part is made with, and what the labs offer.
use crate::{
    Decision, Dtype, FormatError, Reason, Recipe, Scheme, Storage, Tensor, TensorType, blocks,
    bytes, file, fp8, labs, part,
};

/// Task 1. Whether a tensor is quantized, and if not, why.
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
    todo!(
        "task 1: {} of shape {:?} under {scheme}: matrix, embedding, head, divisible?",
        tensor.name,
        tensor.shape
    )
}

/// Task 2. The tensors that stand for `tensor` in the file, in the order in which [`quantize`]
/// gives their bytes.
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
    todo!("task 2: the tensors that {} becomes under {recipe:?}", tensor.name)
}

/// Task 3. The bytes of each part of a quantized matrix `w`, `[out_features, in_features]`: one
/// vector for each of [`parts`], in that order.
///
/// The codes come from the labs: int8 per channel from lab 01, groups of int4 and the layouts from
/// lab 03, and FP8 from [`fp8`]. The words of [`Scheme::W8A16`] hold each code plus 128, the first
/// in the lowest byte.
///
/// # Errors
/// Those of the lab's function: NaN, infinity, a group that does not divide, a scale beyond `f16`.
/// [`FormatError::NothingQuantized`] for [`Scheme::Plain`], which quantizes nothing.
pub fn quantize(w: &Array2<f32>, scheme: Scheme) -> Result<Vec<Vec<u8>>, FormatError> {
    todo!("task 3: the bytes of each part of a {:?} matrix under {scheme}", w.dim())
}

/// Task 4. The linear modules that an engine has to leave alone, in the order of `tensors`:
/// `lm_head` first, whether there is a tensor for it or not (a tied head is a linear layer without
/// one), then every matrix kept because it cannot be divided, by its module's name. Under
/// [`Scheme::Plain`] that is `lm_head` alone.
pub fn left_alone(tensors: &[Tensor], scheme: Scheme) -> Vec<String> {
    todo!("task 4: lm_head, then the indivisible of {} tensors under {scheme}", tensors.len())
}

/// Task 4. The `quantization_config` of `config.json`, or `None` for [`Scheme::Plain`] and GGUF,
/// which need none.
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
    todo!("task 4: the JSON for {scheme}, leaving {left_alone:?} alone")
}

/// Task 5. The size of `model.safetensors` in bytes, before a weight is read: 8 for the length of
/// the header, the header as [`file::header`] writes it, and the data of every part. `tensors` are
/// those of the original.
pub fn predicted_bytes(tensors: &[Tensor], recipe: Recipe) -> u64 {
    todo!(
        "task 5: 8, the header and the data of what {} tensors become under {recipe:?}",
        tensors.len()
    )
}

/// Task 5. Bits per weight of the quantized matrices, with every part counted, or `None` if no
/// tensor is quantized.
pub fn bits_per_weight(tensors: &[Tensor], recipe: Recipe) -> Option<f64> {
    todo!(
        "task 5: bytes and weights of the quantized among {} tensors under {recipe:?}",
        tensors.len()
    )
}
