//! The tensors of one module, by part.

use std::collections::BTreeMap;

use crate::checkpoint::dtype::{Dtype, Storage};
use crate::checkpoint::scheme::{Quantized, Scheme, UnknownLayout, ZeroPoints};
use crate::checkpoint::tensor::{Tensor, elements};
use crate::format::Group;

/// Why a module cannot be put together.
pub(super) enum Wrong {
    /// No loader that is known here reads these parts: what the file says, and what it should say.
    Contradiction(String, String),
    /// Another tool could have written them: the layout, as far as it can be named, and the reason.
    NotKnown(&'static str, String),
}

/// The name of a layout that has none here.
pub(super) const NAMELESS: &str = "quantized, layout not known here";

impl Wrong {
    pub(super) fn contradiction(file: impl Into<String>, expected: impl Into<String>) -> Self {
        Self::Contradiction(file.into(), expected.into())
    }

    pub(super) fn not_known(because: impl Into<String>) -> Self {
        Self::NotKnown(NAMELESS, because.into())
    }
}

/// The tensors whose names differ in the last part only.
pub(super) struct Module<'a> {
    pub(super) name: &'a str,
    parts: BTreeMap<&'a str, &'a Tensor>,
}

/// What shapes tell of a matrix, whichever program packed the matrix.
pub(super) struct Found {
    pub(super) bits: Option<u64>,
    pub(super) group: Group,
    pub(super) zeros: ZeroPoints,
    pub(super) shape: Option<Vec<u64>>,
    /// How many weights there are, where the shape is not known.
    pub(super) weights: Option<u64>,
}

impl Found {
    /// A matrix of `[.., out, in]`, symmetric.
    pub(super) fn of(bits: u64, group: Group, shape: Vec<u64>) -> Self {
        Self { bits: Some(bits), shape: Some(shape), ..Self::open(group) }
    }

    /// A symmetric matrix of which neither shape nor bits are known yet.
    pub(super) fn open(group: Group) -> Self {
        Self { bits: None, group, zeros: ZeroPoints::Absent, shape: None, weights: None }
    }
}

impl<'a> Module<'a> {
    pub(super) fn new(name: &'a str) -> Self {
        Self { name, parts: BTreeMap::new() }
    }

    pub(super) fn add(&mut self, part: &'a str, tensor: &'a Tensor) {
        // `x_blocks` and `x.blocks` are the same part. The second keeps its full name, so that its bytes are
        // counted.
        let part = if self.parts.contains_key(part) { tensor.name.as_str() } else { part };
        self.parts.insert(part, tensor);
    }

    pub(super) fn get(&self, part: &str) -> Option<&'a Tensor> {
        self.parts.get(part).copied()
    }

    /// Whether the part has elements of one of these types.
    pub(super) fn has(&self, part: &str, dtypes: &[Dtype]) -> bool {
        dtypes.iter().any(|&dtype| is(self.get(part), dtype))
    }

    pub(super) fn parts(&self) -> impl Iterator<Item = (&'a str, &'a Tensor)> {
        self.parts.iter().map(|(name, tensor)| (*name, *tensor))
    }

    pub(super) fn tensors(&self) -> impl Iterator<Item = &'a Tensor> {
        self.parts.values().copied()
    }

    /// The shape of a matrix, `None` if the part is not there or not one.
    pub(super) fn matrix(&self, part: &str) -> Option<[u64; 2]> {
        self.get(part)?.shape.as_slice().try_into().ok()
    }

    /// Whether there are zero points under the name `part`, in a layout that stores them only where the grid is
    /// asymmetric.
    pub(super) fn zeros(&self, part: &str) -> ZeroPoints {
        if self.get(part).is_some() { ZeroPoints::Stored } else { ZeroPoints::Absent }
    }

    /// Puts the matrix together: every part but the bias, which a plain layer has too.
    pub(super) fn quantized(&self, scheme: Scheme, found: Found) -> Quantized {
        let Found { bits, group, zeros, shape, weights } = found;
        let parts = self.parts().filter(|(name, _)| *name != "bias");
        let parts = parts.map(|(name, tensor)| Tensor { name: name.into(), ..tensor.clone() });
        let weights = weights.or_else(|| shape.as_deref().and_then(elements));
        let module = self.name.into();
        Quantized { module, scheme, bits, group, zeros, weights, parts: parts.collect(), shape }
    }

    /// The module as one whose layout is not known here.
    pub(super) fn unknown(&self, layout: &str, because: &str) -> UnknownLayout {
        let parts: Vec<&Tensor> =
            self.parts().filter(|(name, _)| *name != "bias").map(|(_, tensor)| tensor).collect();
        UnknownLayout {
            module: self.name.into(),
            layout: layout.into(),
            parts: parts.len(),
            bytes: parts.iter().fold(0, |sum: u64, part| sum.saturating_add(part.bytes)),
            because: because.into(),
        }
    }
}

/// Whether the tensor has elements of this type.
pub(super) fn is(tensor: Option<&Tensor>, dtype: Dtype) -> bool {
    tensor.is_some_and(|tensor| tensor.storage == Storage::Elements(dtype))
}

/// `a / b` where it is whole.
pub(super) fn whole(a: u64, b: u64) -> Option<u64> {
    (b > 0 && a.is_multiple_of(b)).then(|| a / b)
}

/// The group that cuts rows of `inputs` into `groups`; one group is a channel. The last group may be short,
/// as AutoGPTQ and compressed-tensors allocate it, so that several sizes fit: then the config decides.
pub(super) fn group_of(inputs: u64, groups: u64, said: Option<Group>) -> Result<Group, Wrong> {
    if groups == 1 {
        return Ok(Group::Channel);
    }
    let fits = |size: u64| size > 0 && inputs.div_ceil(size) == groups;
    match (said, whole(inputs, groups)) {
        (Some(Group::Size(size)), _) if fits(size) => Ok(Group::Size(size)),
        (_, Some(size)) if size > 0 => Ok(Group::Size(size)),
        (None | Some(Group::Unread), None) if groups > 0 && fits(inputs.div_ceil(groups)) => {
            Ok(Group::Unread)
        }
        _ => Err(no_such_group(inputs, groups)),
    }
}

/// The problem when no group size cuts `inputs` into `groups`: sizes that cut them at all.
fn no_such_group(inputs: u64, groups: u64) -> Wrong {
    // No layer has more inputs, and a forged shape must not cost a long loop.
    let sizes = (8..=inputs.min(1 << 16)).step_by(8).filter(|&size| inputs.is_multiple_of(size));
    let sizes: Vec<String> = sizes.map(|size| size.to_string()).collect();
    let advice = if sizes.is_empty() { "none".into() } else { sizes.join(", ") };
    Wrong::contradiction(
        format!("{groups} groups of scales for {inputs} inputs"),
        format!(
            "the group size has to divide {inputs}, or to leave one short group; of the multiples \
             of 8 these divide it: {advice}"
        ),
    )
}
