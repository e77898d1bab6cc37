//! From a path to the tensors behind it: a file, an index of shards, a folder.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::config::config_files::read_bytes;
use super::config::quant_config::QuantConfig;
use super::dtype::Storage;
use super::error::{CheckpointError, MAX_HEADER};
use super::problem::Problem;
use super::safetensors_header::read_header;
use super::split_gguf::{self, SplitPart};
use super::tensor::Tensor;
use crate::gguf::Gguf;
use crate::printable::printable;

/// The index of a sharded checkpoint.
const INDEX: &str = "model.safetensors.index.json";

/// One file of a checkpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct FileSummary {
    /// Its path.
    pub path: PathBuf,
    /// Its bytes.
    pub bytes: u64,
    /// Bytes of its header: all of it that was read.
    pub header_bytes: u64,
    /// Which part it is, of a GGUF model in several files.
    pub part: Option<SplitPart>,
}

/// The headers of a checkpoint, and its config.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    /// Its files.
    pub files: Vec<FileSummary>,
    /// The tensors of all files.
    pub tensors: Vec<Tensor>,
    /// The quantization config in the same folder. A GGUF file needs none, so none is looked for.
    pub config: Option<QuantConfig>,
    /// Where the index and its shards disagree.
    pub problems: Vec<Problem>,
}

/// Reads the headers behind `path`: a `.safetensors` or `.gguf` file, an index of shards, or a folder
/// with one of these.
///
/// # Errors
/// If there is none of them, or a file is damaged, cut short or cannot be read.
pub fn open(path: &Path) -> Result<Checkpoint, CheckpointError> {
    let file = if is_folder(path)? { choose(path)? } else { path.to_path_buf() };
    let folder = file.parent().unwrap_or(Path::new(""));
    let (mut files, mut tensors, mut problems) = (Vec::new(), Vec::new(), Vec::new());
    if file.extension().is_some_and(|extension| extension == "json") {
        read_shards(&file, folder, &mut files, &mut tensors, &mut problems)?;
    } else {
        let is_gguf = file.extension().is_some_and(|extension| extension == "gguf");
        let beside = if is_gguf { files_ending_with(folder, "gguf")? } else { Vec::new() };
        for part in split_gguf::parts(&file, beside) {
            read_file(&part, &mut files, &mut tensors)?;
        }
    }
    let is_gguf = tensors.iter().any(|tensor| matches!(tensor.storage, Storage::Blocks(_)));
    let config = if is_gguf { None } else { QuantConfig::find(folder)? };
    Ok(Checkpoint { files, tensors, config, problems })
}

fn is_folder(path: &Path) -> Result<bool, CheckpointError> {
    path.metadata().map(|found| found.is_dir()).map_err(CheckpointError::io(path))
}

/// The one checkpoint in a folder.
fn choose(folder: &Path) -> Result<PathBuf, CheckpointError> {
    let named = [INDEX, "model.safetensors"].map(|name| folder.join(name));
    if let Some(found) = named.into_iter().find(|path| path.is_file()) {
        return Ok(found);
    }
    // Diffusion models name their weights otherwise, and the index after the weights.
    let mut indices = files_ending_with(folder, "json")?;
    indices.retain(|path| path.to_string_lossy().ends_with(".safetensors.index.json"));
    if let [only] = indices.as_slice() {
        return Ok(only.clone());
    }
    for extension in ["safetensors", "gguf"] {
        let mut found = files_ending_with(folder, extension)?;
        if let Some(first) = split_gguf::first_of_one_model(&found) {
            return Ok(first.clone());
        }
        if found.len() > 1 {
            let names: Vec<String> = found.iter().map(|path| path.display().to_string()).collect();
            let problem =
                format!("several checkpoints and no {INDEX}: give one of {}", names.join(", "));
            return Err(CheckpointError::NoCheckpoint { path: folder.into(), problem });
        }
        if let Some(only) = found.pop() {
            return Ok(only);
        }
    }
    let below = folders_below(folder)?;
    let advice = match below.first() {
        Some(first) => format!("; there is one in {}: give that folder", first.display()),
        None => String::new(),
    };
    let problem = format!("no .safetensors, no .gguf and no {INDEX} in this folder{advice}");
    Err(CheckpointError::NoCheckpoint { path: folder.into(), problem })
}

fn files_ending_with(folder: &Path, extension: &str) -> Result<Vec<PathBuf>, CheckpointError> {
    // The folder of a bare name is the current one.
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let entries = folder.read_dir().map_err(CheckpointError::io(folder))?;
    let mut paths = Vec::new();
    for entry in entries {
        paths.push(entry.map_err(CheckpointError::io(folder))?.path());
    }
    paths.retain(|path| path.is_file() && path.extension().is_some_and(|found| found == extension));
    paths.sort();
    Ok(paths)
}

/// The folders in this one that hold files of weights, as the parts of a diffusion model do.
fn folders_below(folder: &Path) -> Result<Vec<PathBuf>, CheckpointError> {
    let entries = std::fs::read_dir(folder).map_err(CheckpointError::io(folder))?;
    let mut folders: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    let holds = |folder: &PathBuf, extension| {
        files_ending_with(folder, extension).is_ok_and(|found| !found.is_empty())
    };
    folders.retain(|path| path.is_dir() && (holds(path, "safetensors") || holds(path, "gguf")));
    folders.sort();
    Ok(folders)
}

/// Reads one file, in the format of its first bytes. Names are not trusted, because people rename files.
fn read_file(
    path: &Path,
    files: &mut Vec<FileSummary>,
    tensors: &mut Vec<Tensor>,
) -> Result<(), CheckpointError> {
    let mut start = Vec::new();
    let file = File::open(path).map_err(CheckpointError::io(path))?;
    file.take(4).read_to_end(&mut start).map_err(CheckpointError::io(path))?;
    let mut file = File::open(path).map_err(CheckpointError::io(path))?;
    let (bytes, header_bytes, part) = if start == b"GGUF" {
        let gguf = Gguf::read(BufReader::new(file));
        let gguf = gguf.map_err(|error| CheckpointError::from(error).within(path))?;
        tensors.extend(gguf_tensors(&gguf));
        (gguf.file_bytes(), gguf.header_bytes(), SplitPart::of(&gguf))
    } else {
        let header = read_header(&mut file).map_err(|error| error.within(path))?;
        tensors.extend(header.tensors);
        (header.file_bytes, header.header_bytes, None)
    };
    files.push(FileSummary { path: path.into(), bytes, header_bytes, part });
    Ok(())
}

/// The tensors of a GGUF file, as those of any other. One of a type that is not known takes the bytes up to
/// the next.
pub fn gguf_tensors<R>(gguf: &Gguf<R>) -> Vec<Tensor>
where
    R: Read + std::io::Seek,
{
    let tensors = gguf.tensors().iter();
    let tensor = |info: &crate::gguf::TensorInfo| Tensor {
        name: info.name.clone(),
        storage: Storage::Blocks(info.kind),
        shape: info.shape.iter().map(|&length| length as u64).collect(),
        bytes: info.bytes.map_or(info.room, |bytes| bytes as u64),
    };
    tensors.map(tensor).collect()
}

/// An index of shards. Other fields of the file are not kept.
#[derive(serde::Deserialize)]
struct Index {
    weight_map: Option<BTreeMap<String, Value>>,
}

/// Reads every shard that the index names, and compares the index with the shards.
fn read_shards(
    index: &Path,
    folder: &Path,
    files: &mut Vec<FileSummary>,
    tensors: &mut Vec<Tensor>,
    problems: &mut Vec<Problem>,
) -> Result<(), CheckpointError> {
    let not_an_index =
        |problem: String| CheckpointError::NoCheckpoint { path: index.into(), problem };
    let bytes = read_bytes(index, MAX_HEADER, "index")?.unwrap_or_default();
    let json: Index = serde_json::from_slice(&bytes)
        .map_err(|error| not_an_index(format!("not valid JSON: {error}")))?;
    let map = json.weight_map.ok_or_else(|| {
        not_an_index(format!("JSON without a weight_map is no index of shards; give {INDEX}"))
    })?;
    let itself = index.file_name().and_then(|name| name.to_str());
    let mut shards: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, shard) in &map {
        let named = shard.as_str().filter(|shard| stays_inside(shard)).ok_or_else(|| {
            let (name, shard) = (printable(name), printable(&shard.to_string()));
            not_an_index(format!("tensor `{name}` is in {shard}, which is no name of a file here"))
        })?;
        if Some(named) == itself {
            let name = printable(name);
            let problem =
                format!("tensor `{name}` is said to be in this index, which holds no data");
            return Err(not_an_index(problem));
        }
        shards.entry(named).or_default().push(name);
    }
    for (shard, listed) in shards {
        let before = tensors.len();
        read_file(&folder.join(shard), files, tensors)?;
        let found = tensors.get(before..).unwrap_or_default();
        let found: Vec<&str> = found.iter().map(|tensor| tensor.name.as_str()).collect();
        compare(shard, &listed, &found, problems);
        // A tensor that is in two shards is counted where the index lists it.
        let listed: HashSet<&str> = listed.into_iter().collect();
        let mut at = 0..tensors.len();
        tensors.retain(|tensor| {
            let name = tensor.name.as_str();
            at.next().is_some_and(|at| at < before)
                || listed.contains(name)
                || !map.contains_key(name)
        });
    }
    Ok(())
}

/// Whether a path stays inside the folder, because a forged index must not open other files of the
/// machine. Shards may lie in a folder of their own.
fn stays_inside(path: &str) -> bool {
    let is_name = |name: &str| {
        let leads_out = |c: char| c.is_control() || ['\\', ':'].contains(&c);
        !name.is_empty() && !name.contains(leads_out) && name != "." && name != ".."
    };
    path.split('/').all(is_name)
}

/// Reports tensors that the index lists in another shard, and tensors that the shard lacks.
fn compare(shard: &str, listed: &[&str], found: &[&str], problems: &mut Vec<Problem>) {
    let (shard, index) = (printable(shard), format!("{INDEX} lists it there"));
    let sets = [listed, found].map(|names| names.iter().collect::<HashSet<_>>());
    for name in listed.iter().filter(|name| !sets[1].contains(name)) {
        problems.push(Problem::new(printable(name), format!("it is not in {shard}"), &index));
    }
    for name in found.iter().filter(|name| !sets[0].contains(name)) {
        let expected = format!("{INDEX} does not list it there");
        problems.push(Problem::new(printable(name), format!("it is in {shard}"), expected));
    }
}
