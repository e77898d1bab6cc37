//! The importance matrix of llama.cpp: for each column of a matrix the mean square of the inputs that the column
//! multiplies.
//!
//! It is the diagonal of lab 06's Hessian, up to a factor that the matrix has in all columns. The file is the
//! GGUF form that `llama-imatrix` writes and `llama-quantize` reads (`tools/imatrix` of build 11434): of each
//! weight `NAME.in_sum2`, the sums of the squares, and `NAME.counts`, how many tokens were summed.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use formats::gguf::{Gguf, RawValue, TensorType, layout};
use model::{Model, gguf_name};

use crate::WriteError;
use crate::smooth::each_input;

const SUMS: &str = ".in_sum2";
const COUNTS: &str = ".counts";

/// Sums of squares of one weight's inputs.
#[derive(Clone, Debug, PartialEq)]
struct Columns {
    /// `[in_features]`.
    sums: Vec<f32>,
    tokens: f32,
}

/// How much the error of each column counts, by the names that weights have in a GGUF file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Importance {
    columns: BTreeMap<String, Columns>,
    means: BTreeMap<String, Vec<f32>>,
}

impl Importance {
    /// The importance of the columns of the weight that a GGUF file calls `name`; `None` if its inputs were
    /// not seen.
    pub fn of(&self, name: &str) -> Option<&[f32]> {
        self.means.get(name).map(Vec::as_slice)
    }

    /// How many weights it has.
    pub fn weights(&self) -> usize {
        self.columns.len()
    }

    fn new(columns: BTreeMap<String, Columns>) -> Self {
        let mean = |of: &Columns| of.sums.iter().map(|sum| sum / of.tokens).collect();
        let means = columns.iter().map(|(name, of)| (name.clone(), mean(of))).collect();
        Self { columns, means }
    }

    /// Runs `model` on `chunks` of tokens, each from an empty cache. The inputs of the head are not summed,
    /// as in llama.cpp.
    ///
    /// # Errors
    /// If there is no token, or the model fails.
    pub fn collect<C: AsRef<[u32]>>(model: &Model, chunks: &[C]) -> Result<Self, WriteError> {
        let mut sums: BTreeMap<String, (Vec<f64>, usize)> = BTreeMap::new();
        each_input(model, chunks, |id, x| {
            if id.projection().is_some() {
                let new = || (vec![0.0; x.ncols()], 0);
                let (sums, tokens) = sums.entry(gguf_name(id)).or_insert_with(new);
                for token in x.rows() {
                    let squares = token.iter().map(|&x| f64::from(x) * f64::from(x));
                    sums.iter_mut().zip(squares).for_each(|(sum, square)| *sum += square);
                }
                *tokens += x.nrows();
            }
            Ok(())
        })?;
        let columns = sums.into_iter().filter(|(_, (_, tokens))| *tokens > 0);
        let columns = columns.map(|(name, (sums, tokens))| {
            let sums = sums.into_iter().map(|sum| sum as f32).collect();
            (name, Columns { sums, tokens: tokens as f32 })
        });
        let columns: BTreeMap<_, _> = columns.collect();
        if columns.is_empty() {
            return Err(model::ModelError::NoTokens.into());
        }
        Ok(Self::new(columns))
    }

    /// Reads a file of `llama-imatrix` or of [`Importance::write`].
    ///
    /// # Errors
    /// If the file cannot be read, is no GGUF file (older versions of llama.cpp write another form), or has no
    /// sums; if the sums of a weight have no count.
    pub fn read(path: &Path) -> Result<Self, WriteError> {
        let says =
            |problem: String| WriteError::Unsupported(format!("{} {problem}", path.display()));
        let mut file = Gguf::open(path)?;
        let names: Vec<String> = file.tensors().iter().map(|tensor| tensor.name.clone()).collect();
        let mut columns = BTreeMap::new();
        for name in names.iter().filter_map(|name| name.strip_suffix(SUMS)) {
            let sums: Vec<f32> = file.tensor(&format!("{name}{SUMS}"))?.into_iter().collect();
            let counts = file.tensor(&format!("{name}{COUNTS}"))?;
            let [tokens] = counts.iter().copied().collect::<Vec<f32>>()[..] else {
                let problem =
                    format!("has {} counts for `{name}`: experts are not supported", counts.len());
                return Err(says(problem));
            };
            // A count of 0 would make every mean infinite or NaN.
            if !(tokens > 0.0 && sums.iter().all(|sum| sum.is_finite())) {
                return Err(says(format!("has no finite means for `{name}`: make the file again")));
            }
            columns.insert(name.to_string(), Columns { sums, tokens });
        }
        if columns.is_empty() {
            return Err(says("is no importance matrix: it has no tensor `….in_sum2`".into()));
        }
        Ok(Self::new(columns))
    }

    /// Writes the GGUF form. `text` is the name of the text, `chunks` of `chunk` tokens each.
    ///
    /// # Errors
    /// If the file is there already or cannot be written.
    pub fn write(
        &self,
        path: &Path,
        text: &str,
        [chunks, chunk]: [u32; 2],
    ) -> Result<(), WriteError> {
        if path.symlink_metadata().is_ok() {
            return Err(WriteError::Exists { path: path.into() });
        }
        let metadata: BTreeMap<String, RawValue> = [
            ("general.type", RawValue::from("imatrix")),
            ("imatrix.datasets", RawValue::from(&[text][..])),
            ("imatrix.chunk_count", RawValue::from(chunks)),
            ("imatrix.chunk_size", RawValue::from(chunk)),
        ]
        .map(|(key, value)| (key.to_string(), value))
        .into();
        let tensors: Vec<(String, &[f32])> = self.columns.iter().flat_map(tensors).collect();
        let shapes: Vec<[u64; 1]> = tensors.iter().map(|(_, x)| [x.len() as u64]).collect();
        let entries = tensors.iter().zip(&shapes);
        let entries: Vec<_> = entries
            .map(|((name, _), shape)| (name.as_str(), TensorType::F32, shape.as_slice()))
            .collect();
        let layout = layout(&metadata, &entries)?;
        let mut bytes = layout.header;
        bytes.resize(layout.bytes as usize, 0);
        for (begin, (_, numbers)) in layout.begins.iter().zip(&tensors) {
            let place = &mut bytes[*begin as usize..];
            for (place, number) in place.as_chunks_mut::<4>().0.iter_mut().zip(*numbers) {
                *place = number.to_le_bytes();
            }
        }
        // Under another name first, so that a file of this name is whole.
        let partial = path.with_extension(format!("partial-{}", std::process::id()));
        fs::write(&partial, bytes).map_err(WriteError::io(&partial))?;
        fs::rename(&partial, path).map_err(WriteError::io(path))
    }
}

/// The two tensors of a weight.
fn tensors<'a>((name, of): (&'a String, &'a Columns)) -> [(String, &'a [f32]); 2] {
    let counts = std::slice::from_ref(&of.tokens);
    [(format!("{name}{COUNTS}"), counts), (format!("{name}{SUMS}"), &of.sums)]
}
