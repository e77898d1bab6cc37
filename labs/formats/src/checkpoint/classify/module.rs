//! The tensors of one module, by part.

use std::collections::BTreeMap;

use crate::checkpoint::dtype::{Dtype, Storage};
use crate::checkpoint::scheme::{Part, Quantized, Scheme, ZeroPoints};
use crate::checkpoint::tensor::{Tensor, elements};
use crate::format::Group;

/// What is wrong with a module: what the file says, and what it should say.
pub(super) type Wrong = (String, String);

/// The tensors whose names differ in the last part only.
pub(super) struct Module<'a> {
    pub(super) name: &'a str,
    parts: BTreeMap<&'a str, &'a Tensor>,
}

/// What is known of a matrix, before its parts are attached.
pub(super) struct Found {
    pub(super) scheme: Scheme,
    pub(super) bits: Option<u64>,
    pub(super) group: Group,
    pub(super) zeros: ZeroPoints,
    pub(super) shape: Option<Vec<u64>>,
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

    /// Puts the matrix together: every part but the bias, which a plain layer has too.
    pub(super) fn quantized(&self, found: Found) -> Quantized {
        let Found { scheme, bits, group, zeros, shape } = found;
        let parts = self.parts().filter(|(name, _)| *name != "bias").map(|(name, tensor)| Part {
            name: name.into(),
            storage: tensor.storage,
            shape: tensor.shape.clone(),
            bytes: tensor.bytes,
        });
        let weights = shape.as_deref().and_then(elements);
        let module = self.name.into();
        Quantized { module, scheme, bits, group, zeros, weights, parts: parts.collect(), shape }
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

/// The group that cuts rows of `inputs` into `groups`; one group is a channel.
pub(super) fn group_of(inputs: u64, groups: u64) -> Option<Group> {
    match groups {
        1 => Some(Group::Channel),
        _ => whole(inputs, groups).map(Group::Size),
    }
}

/// The problem when no group size cuts `inputs` into `groups`: sizes that cut them at all.
pub(super) fn no_such_group(inputs: u64, groups: u64) -> Wrong {
    // No layer has more inputs, and a forged shape must not cost a long loop.
    let sizes = (8..=inputs.min(1 << 16)).step_by(8).filter(|&size| inputs.is_multiple_of(size));
    let sizes: Vec<String> = sizes.map(|size| size.to_string()).collect();
    let file = format!("{groups} groups of scales for {inputs} inputs");
    let advice = if sizes.is_empty() { "none".into() } else { sizes.join(", ") };
    (
        file,
        format!("the group size has to divide {inputs}; of the multiples of 8 these do: {advice}"),
    )
}
