//! The tensors of a layout in a file: names, types, shapes, bytes.

/// A tensor as a checkpoint stores it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The last part of its name in the checkpoint, `qweight` for example.
    pub name: &'static str,
    /// The type of its elements, by safetensors' name for it.
    pub dtype: &'static str,
    /// Its shape, in elements of that type.
    pub shape: Vec<usize>,
    /// Its bytes.
    pub bytes: usize,
}

impl Stored {
    /// A tensor of `shape` whose elements are `T`, called `dtype` in a file.
    pub(super) fn of<T>(name: &'static str, dtype: &'static str, shape: &[usize]) -> Self {
        let bytes = shape.iter().product::<usize>() * size_of::<T>();
        Self { name, dtype, shape: shape.to_vec(), bytes }
    }
}
