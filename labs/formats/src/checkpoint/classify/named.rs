//! Layouts that are told by the names of their parts. Of each only the size is known here: how many weights
//! the shapes stand for.

use super::floats::group_of_scales;
use super::module::{Found, Module, NAMELESS, Wrong, group_of, is, whole};
use crate::checkpoint::config::expected::Expected;
use crate::checkpoint::config::quant_config::QuantConfig;
use crate::checkpoint::dtype::Dtype::{
    self, BF16, F8E4M3, F8E5M2, F8E8M0, F16, F32, I8, I16, I32, U8, U32,
};
use crate::checkpoint::scheme::{Quantized, Scheme, ZeroPoints};
use crate::format::Group;
use crate::printable::printable;

/// What the config says, where shapes have several readings.
#[derive(Clone, Copy)]
pub(super) struct Said<'a> {
    pub(super) config: Option<&'a QuantConfig>,
    pub(super) expected: Option<&'a Expected>,
}

/// The name, the part with the codes and its types (none: any), the parts that have to be beside it, and what the
/// shapes tell. `None` from the last: they do not tell the size, or the parts are another tool's.
struct Layout(&'static str, &'static str, &'static [Dtype], &'static [&'static str], Size);

type Size = fn(&Module, Said) -> Option<Found>;

/// Every layout with names of its own, the most particular names first.
const LAYOUTS: &[Layout] = &[
    Layout("EXL3", "trellis", &[I16], &["suh", "svh"], exl3),
    Layout("EXL3", "trellis", &[], &[], unsized_),
    Layout("EXL2", "q_weight", &[I32], &["q_scale", "q_groups"], exl2),
    Layout("HQQ", "W_q", &[], &[], hqq),
    Layout("AQLM", "codes", &[], &["codebooks"], aqlm),
    Layout("2:4 sparse, bit mask", "compressed", &[], &["bitmask"], sparse_24),
    Layout("Marlin 2:4", "B_24", &[], &[], unsized_),
    Layout("Marlin 2:4", "weight_packed", &[I32], &["meta", "scale_packed"], marlin_24),
    Layout("Marlin 2:4", "weight_packed", &[], &["meta"], unsized_),
    Layout("Marlin", "B", &[I32], &["s"], marlin),
    Layout("QQQ", "B", &[I32], &["s_channel"], qqq),
    Layout("torchao", "_weight_qdata", &[], &["_weight_scale"], torchao),
    Layout("torchao", "_weight_qdata", &[], &[], unsized_),
    Layout("quanto", "weight._data", &[I8, F8E4M3, F8E5M2], &["weight._scale"], quanto),
    Layout("quanto", "weight._data", &[], &[], unsized_),
    Layout("quanto", "weight._data._data", &[], &[], unsized_),
    Layout("VPTQ", "indices", &[], &["centroids.weight"], unsized_),
    Layout("VPTQ", "indices", &[], &["centroids"], unsized_),
    Layout("QuIP#", "Qidxs", &[], &[], unsized_),
    Layout("SpQR", "dense_weights", &[], &[], unsized_),
    Layout("SqueezeLLM", "qweight", &[], &["lookup_table"], unsized_),
    Layout("EETQ", "qweight", &[I8], &["weight_scales"], |m, _| eetq(m, "qweight")),
    Layout("EETQ", "weight", &[I8], &["weight_scales"], |m, _| eetq(m, "weight")),
    Layout("MLX", "weight", &[U32], &["scales"], mlx),
    Layout("MXFP4, DeepSeek-V4 names", "weight", &[I8], &["scale"], |m, _| mx(m, "scale", 4)),
    Layout("INT4, ModelOpt names", "weight", &[U8], &["weight_scale"], int4_modelopt),
    Layout("MXFP4, Quark names", "weight", &[U8], &["weight_scale"], |m, _| {
        mx(m, "weight_scale", 4)
    }),
    Layout("MXFP6, Quark names", "weight", &[U8], &["weight_scale"], |m, _| {
        mx(m, "weight_scale", 6)
    }),
    Layout("MXFP8, in bytes", "weight", &[U8], &["weight_scale"], |m, _| mx(m, "weight_scale", 8)),
    Layout("BitNet", "weight", &[U8], &["weight_scale"], bitnet),
    Layout("INT4, Quark names", "weight", &[I32], &["weight_scale"], int4_quark),
];

/// The matrix, if its parts have the names of a layout; `None` if they have not.
pub(super) fn named(module: &Module, said: Said) -> Result<Option<Quantized>, Wrong> {
    let has_names = |Layout(_, codes, dtypes, beside, _): &&Layout| {
        module.get(codes).is_some()
            && (dtypes.is_empty() || module.has(codes, dtypes))
            && beside.iter().all(|part| module.get(part).is_some())
    };
    let mut name = None;
    for Layout(layout, .., size) in LAYOUTS.iter().filter(has_names) {
        if let Some(found) = size(module, said) {
            return Ok(Some(module.quantized(Scheme::Named(layout), found)));
        }
        // Several layouts share these names: none of them is claimed.
        name = Some(if name.is_none_or(|name| name == *layout) { *layout } else { NAMELESS });
    }
    match name {
        None => Ok(None),
        Some(name) => Err(Wrong::NotKnown(
            name,
            format!("names and shapes do not tell how many weights it holds: {}", shapes(module)),
        )),
    }
}

/// The parts with their types and shapes, for a message; four at most.
pub(super) fn shapes(module: &Module) -> String {
    let parts = module.parts().filter(|(name, _)| *name != "bias");
    let parts = parts.take(4).map(|(name, tensor)| {
        let name = printable(name);
        format!("{name} {} {:?}", tensor.storage, tensor.shape)
    });
    parts.collect::<Vec<_>>().join(", ")
}

fn unsized_(_: &Module, _: Said) -> Option<Found> {
    None
}

/// `trellis [in/16, out/16, 16 * bits]` in words of 16 bits, a scale for each input and each output.
fn exl3(module: &Module, _: Said) -> Option<Found> {
    let &[rows, columns, words] = module.get("trellis")?.shape.as_slice() else { return None };
    let shape = vec![columns.checked_mul(16)?, rows.checked_mul(16)?];
    let sides = [module.get("svh")?.elements(), module.get("suh")?.elements()];
    let bits = whole(words, 16).filter(|bits| (1..=8).contains(bits) && sides[..] == shape)?;
    Some(Found { zeros: ZeroPoints::Table, ..Found::of(bits, Group::Channel, shape) })
}

/// `q_weight [words, out]`, whose rows mix bits; `q_invperm [in]` lists the inputs.
fn exl2(module: &Module, _: Said) -> Option<Found> {
    let [_, out] = module.matrix("q_weight")?;
    let [groups, _] = module.matrix("q_scale")?;
    let inputs = module.get("q_invperm").or_else(|| module.get("q_perm"))?.elements();
    let group = whole(inputs, groups).map_or(Group::Unread, Group::Size);
    Some(Found { shape: Some(vec![out, inputs]), ..Found::open(group) })
}

/// `W_q [groups * bits / 8, size]` or its transpose, and a scale for each group. The shape of the matrix is in
/// the config or in `shape`, which is data.
fn hqq(module: &Module, _: Said) -> Option<Found> {
    let (codes, scale) = (module.matrix("W_q")?, module.matrix("scale")?);
    // `[1, groups]`: groups lie along the first axis, which is packed, so that their size needs the bits.
    let ([packed, size], [groups, 1]) = (codes, scale) else { return None };
    let bits = match module.has("W_q", &[U8]) {
        true => whole(packed.checked_mul(8)?, groups).filter(|bits| [1, 2, 4, 8].contains(bits))?,
        // Ten codes of 3 bits in a word of 32.
        false if is(module.get("W_q"), I32) && packed == groups.div_ceil(10) => 3,
        false => return None,
    };
    let (bits, zeros, weights) = (Some(bits), module.zeros("zero"), groups.checked_mul(size));
    weights.map(|_| Found { bits, zeros, weights, ..Found::open(Group::Size(size)) })
}

/// `codes [out/a, in/b, books]` and `codebooks [books, entries, a, b]`.
fn aqlm(module: &Module, _: Said) -> Option<Found> {
    let &[rows, columns, books] = module.get("codes")?.shape.as_slice() else { return None };
    let &[count, entries, height, width] = module.get("codebooks")?.shape.as_slice() else {
        return None;
    };
    let shape = vec![rows.checked_mul(height)?, columns.checked_mul(width)?];
    let index = entries.checked_ilog2().filter(|_| count == books && entries.is_power_of_two())?;
    let bits = whole(books.checked_mul(index.into())?, height.checked_mul(width)?);
    // A scale for each row of codes, which is an output where codes stand for one.
    let group = if height == 1 { Group::Channel } else { Group::Unread };
    let (zeros, shape) = (ZeroPoints::Table, Some(shape));
    Some(Found { bits, zeros, shape, ..Found::open(group) })
}

/// `compressed [out, in/2]`, the half of the weights that is not zero, and a bit for every weight.
fn sparse_24(module: &Module, said: Said) -> Option<Found> {
    let ([out, half], [rows, mask]) = (module.matrix("compressed")?, module.matrix("bitmask")?);
    let inputs = half.checked_mul(2).filter(|inputs| out == rows && inputs.div_ceil(8) == mask)?;
    let shape = vec![out, inputs];
    let group = match module.get("weight_scale") {
        Some(scale) => group_of_scales(&shape, &scale.shape, group(said)).ok()?,
        None => Group::Unread,
    };
    let bits = if module.has("compressed", &[F8E4M3, F8E5M2, I8]) { 8 } else { 16 };
    Some(Found::of(bits, group, shape))
}

/// `B [in/16, out * bits / 2]` in tiles of 16, and `s [groups, out]`.
fn marlin(module: &Module, said: Said) -> Option<Found> {
    let ([tiles, words], [groups, out]) = (module.matrix("B")?, module.matrix("s")?);
    let bits = whole(words.checked_mul(2)?, out).filter(|bits| [4, 8].contains(bits))?;
    let inputs = tiles.checked_mul(16)?;
    Some(Found::of(bits, group_of(inputs, groups, group(said)).ok()?, vec![out, inputs]))
}

/// `weight_packed [in/32, out * bits / 2]`: the half of the codes that is kept, in tiles of 16, and two bits of
/// `meta [in/32, 2 * out]` for the place of each.
fn marlin_24(module: &Module, said: Said) -> Option<Found> {
    let ([tiles, words], [groups, out]) =
        (module.matrix("weight_packed")?, module.matrix("scale_packed")?);
    let bits = whole(words.checked_mul(2)?, out).filter(|bits| [4, 8].contains(bits))?;
    let inputs = tiles.checked_mul(32)?;
    let places = module.get("meta")?.elements().checked_mul(16) == inputs.checked_mul(out);
    let group = group_of(inputs, groups, group(said)).ok().filter(|_| places)?;
    Some(Found::of(bits, group, vec![out, inputs]))
}

/// `B` as Marlin has it, in 4 bits. `s_channel [1, out]` scales the int8 of `s_group [groups, out]`, which is
/// empty where there are no groups.
fn qqq(module: &Module, said: Said) -> Option<Found> {
    let ([tiles, words], [1, out]) = (module.matrix("B")?, module.matrix("s_channel")?) else {
        return None;
    };
    let inputs = tiles.checked_mul(16).filter(|_| out.checked_mul(2) == Some(words))?;
    let group = match module.matrix("s_group") {
        Some([groups, _]) => group_of(inputs, groups, group(said)).ok()?,
        None => Group::Channel,
    };
    Some(Found::of(4, group, vec![out, inputs]))
}

/// A code for each element of `_weight_qdata`, or two in a byte with `_weight_scale [groups, out]`.
fn torchao(module: &Module, said: Said) -> Option<Found> {
    let zeros = module.zeros("_weight_zero_point");
    if module.has("_weight_qdata", &[I8, F8E4M3, F8E5M2]) {
        let found = a_code_each(module, "_weight_qdata", "_weight_scale", said)?;
        return Some(Found { zeros, ..found });
    }
    let ([out, bytes], [groups, rows]) =
        (module.matrix("_weight_qdata")?, module.matrix("_weight_scale")?);
    let is_fit = module.has("_weight_qdata", &[U8]) && rows == out;
    let inputs = bytes.checked_mul(2).filter(|_| is_fit)?;
    let group = Group::Size(whole(inputs, groups)?);
    Some(Found { zeros, ..Found::of(4, group, vec![out, inputs]) })
}

fn quanto(module: &Module, said: Said) -> Option<Found> {
    a_code_each(module, "weight._data", "weight._scale", said)
}

/// 8 bits for each element of `codes`.
fn a_code_each(module: &Module, codes: &str, scale: &str, said: Said) -> Option<Found> {
    let (codes, scale) = (module.get(codes)?, module.get(scale)?);
    let group = group_of_scales(&codes.shape, &scale.shape, group(said)).ok()?;
    Some(Found::of(8, group, codes.shape.clone()))
}

/// int8 `[in, out]`, a scale for each output.
fn eetq(module: &Module, codes: &str) -> Option<Found> {
    let [inputs, out] = module.matrix(codes)?;
    let fits = module.get("weight_scales")?.shape == [out];
    fits.then(|| Found::of(8, Group::Channel, vec![out, inputs]))
}

/// `weight [.., out, in * bits / 32]`, and for each group a scale and a bias, or a byte of scale for the floats.
/// Bits and size of a group are one product, which the config takes apart.
fn mlx(module: &Module, said: Said) -> Option<Found> {
    let (words, groups, outer) = rows_and_groups(module, "scales")?;
    let a_group = whole(words.checked_mul(32)?, groups)?;
    let (bits, sizes): (&[u64], &[u64]) = match module.has("scales", &[U8]) {
        true => (&[4, 8], &[16, 32]),
        false => (&[2, 3, 4, 5, 6, 8], &[32, 64, 128]),
    };
    let pairs = bits.iter().flat_map(|&bits| sizes.iter().map(move |&size| (bits, size)));
    let mut fitting =
        pairs.filter(|(bits, size)| bits * size == a_group && (*size, *bits) != (16, 8));
    let expected = said.expected.and_then(|expected| expected.bits);
    let (bits, size) = match (fitting.clone().count(), expected) {
        (1, _) => fitting.next()?,
        (_, said) => fitting.find(|(bits, _)| Some(*bits) == said)?,
    };
    let has_biases = module.get("biases").is_some();
    let zeros = if has_biases { ZeroPoints::Minimum } else { ZeroPoints::Absent };
    let shape = [outer, &[groups.checked_mul(size)?]].concat();
    Some(Found { zeros, ..Found::of(bits, Group::Size(size), shape) })
}

/// Floats of `bits` bits in bytes, and a byte of exponent for 32 of them.
fn mx(module: &Module, scale: &str, bits: u64) -> Option<Found> {
    let (bytes, groups, outer) = rows_and_groups(module, scale)?;
    let fits = module.has(scale, &[U8, F8E8M0]) && whole(bytes, groups) == Some(4 * bits);
    let inputs = groups.checked_mul(32).filter(|_| fits)?;
    Some(Found::of(bits, Group::Size(32), [outer, &[inputs]].concat()))
}

/// What a row of `weight` and a row of its scales hold, and the other axes, if both have the same.
fn rows_and_groups<'a>(module: &Module<'a>, scale: &str) -> Option<(u64, u64, &'a [u64])> {
    let (&row, outer) = module.get("weight")?.shape.split_last()?;
    let (&groups, rows) = module.get(scale)?.shape.split_last()?;
    (outer == rows && !outer.is_empty()).then_some((row, groups, outer))
}

/// `weight [out/2, in]`: two outputs in a byte, and `weight_scale [out, groups]`.
fn int4_modelopt(module: &Module, said: Said) -> Option<Found> {
    let ([pairs, inputs], [out, groups]) =
        (module.matrix("weight")?, module.matrix("weight_scale")?);
    let fits = module.has("weight_scale", &[F32, F16, BF16]) && pairs.checked_mul(2) == Some(out);
    let group = group_of(inputs, groups, group(said)).ok().filter(|_| fits)?;
    Some(Found::of(4, group, vec![out, inputs]))
}

/// `weight [out/4, in]`: four codes of three values in a byte. The same names and shapes can be another tool's,
/// so only the config tells.
fn bitnet(module: &Module, said: Said) -> Option<Found> {
    let [quarter, inputs] = module.matrix("weight")?;
    let is_bitnet = said.config?.method.as_deref() == Some("bitnet");
    let fits = is_bitnet && module.get("weight_scale")?.elements() == 1;
    let shape = vec![quarter.checked_mul(4).filter(|_| fits)?, inputs];
    Some(Found::of(2, Group::Tensor, shape))
}

/// `weight [in, out * bits / 32]` and `weight_scale [groups, out]`.
fn int4_quark(module: &Module, said: Said) -> Option<Found> {
    let ([inputs, words], [groups, out]) =
        (module.matrix("weight")?, module.matrix("weight_scale")?);
    let bits = whole(words.checked_mul(32)?, out).filter(|bits| [2, 4, 8].contains(bits))?;
    let zeros = match module.matrix("weight_zero_point") {
        None => ZeroPoints::Absent,
        Some(shape) if shape == [groups, words] => ZeroPoints::Always(1 << (bits - 1)),
        Some(_) => return None,
    };
    let group = group_of(inputs, groups, group(said)).ok()?;
    Some(Found { zeros, ..Found::of(bits, group, vec![out, inputs]) })
}

fn group(said: Said) -> Option<Group> {
    said.expected?.group
}
