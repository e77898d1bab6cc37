//! The tables of "Every scheme in vLLM's folder", drawn from the map that was written by hand and is
//! held to the package by `labs/measure/src/engines/vllm-map/check.py`.

use anyhow::{Context, Result, ensure};
use kit::Table;
use measure::engines::vllm_map::{Class, File, Kind, Step, VllmMap};

/// Which config class a name means, and the file it is in.
pub fn methods(map: &VllmMap) -> Result<Table> {
    let mut classes: Vec<&String> = map.methods.values().collect();
    classes.sort();
    classes.dedup();
    let mut rows = Vec::new();
    for class in classes {
        let names = map.methods.iter().filter(|(_, means)| *means == class);
        rows.push((codes(names.map(|(name, _)| name.as_str())), class.as_str()));
    }
    let online = map.shorthands.iter().filter(|name| !map.methods.contains_key(*name));
    rows.push((codes(online.map(String::as_str)), "OnlineQuantizationConfig"));
    let files = rows.iter().map(|(_, class)| file_of(map, class)).collect::<Result<Vec<_>>>()?;
    Ok(Table::of("The names of methods, and who reads on", rows.into_iter().zip(files))
        .text("name", |((names, _), _)| names.clone())
        .text("config class", |((_, class), _)| code(class))
        .text("file", |(_, file)| code(file))
        .done())
}

/// The file that a config class is in, from the mapped folder, or from the package if it is outside.
fn file_of(map: &VllmMap, class: &str) -> Result<String> {
    let inside = map.files.iter().find(|file| file.classes.iter().any(|one| one.name == class));
    let outside = map.elsewhere.iter().find(|file| file.classes.contains_key(class));
    let path = inside.map(|file| file.path.clone());
    path.or_else(|| outside.map(|file| format!("vllm/{}", file.path)))
        .with_context(|| format!("the map of vLLM's folder has no class {class}"))
}

/// The words for what a method does after loading.
pub fn process(map: &VllmMap) -> Result<Table> {
    steps("After loading: process_weights_after_loading", &map.process)
}

/// The words for what a method does at run time.
pub fn apply(map: &VllmMap) -> Result<Table> {
    steps("At run time: apply, or apply_weights", &map.apply)
}

fn steps(title: &str, steps: &[Step]) -> Result<Table> {
    Ok(Table::of(title, steps)
        .text("word", |step| step.step.clone())
        .text("what happens", |step| step.does.clone())
        .text("in the labs", |step| step.lab.clone())
        .done())
}

/// A family of classes and its table.
pub struct Family {
    /// The name of the table.
    pub table: &'static str,
    title: &'static str,
    /// The family's name in the map.
    family: &'static str,
}

const fn of(table: &'static str, family: &'static str, title: &'static str) -> Family {
    Family { table, title, family }
}

/// Every family but the parts of ModelOpt, which have a table of another kind.
pub const FAMILIES: [Family; 7] = [
    of("vllm_integer_weights", "integer weights", "Integer weights, activations left alone"),
    of("vllm_integer_both", "integers on both sides", "Integer weights, integer activations"),
    of("vllm_fp8", "8-bit floats", "FP8 on one side or both"),
    of("vllm_fp4", "4-bit floats", "4-bit floats (and 6-bit ones)"),
    of("vllm_configured", "as the config says", "Classes whose answers lie in the config"),
    of("vllm_experts", "experts", "The same grids for experts"),
    of("vllm_kv_cache", "KV cache", "The KV cache"),
];

/// The parts that ModelOpt's linear method is put together from.
const PARTS: &str = "ModelOpt parts";

/// A family's classes with their answers.
pub fn family(map: &VllmMap, of: &Family) -> Result<Table> {
    let rows: Vec<_> = map.family(of.family).collect();
    ensure!(!rows.is_empty(), "the map of vLLM's folder has no family {}", of.family);
    Ok(Table::of(of.title, rows)
        .text("class", |(_, class, _)| code(&class.name))
        .text("grid", |(.., answers)| answers.grid.clone())
        .text("a scale for each", |(.., answers)| answers.scale.clone())
        .text("activations", |(.., answers)| answers.activations.clone())
        .text("after loading", |(.., answers)| answers.process.clone())
        .text("at run time", |(.., answers)| answers.apply.clone())
        .done())
}

/// The parts of ModelOpt.
pub fn parts(map: &VllmMap) -> Result<Table> {
    let title = "The parts of ModelOptLinearMethod: one for the weight, one for x";
    Ok(Table::of(title, map.family(PARTS))
        .text("part", |(_, class, _)| code(&class.name))
        .text("of", |(.., answers)| answers.activations.clone())
        .text("grid", |(.., answers)| answers.grid.clone())
        .text("a scale for each", |(.., answers)| answers.scale.clone())
        .text("after loading", |(.., answers)| answers.process.clone())
        .done())
}

/// Folders in vLLM's quantization folder, and their table of files.
pub struct Folders {
    /// The name of the table.
    pub table: &'static str,
    title: &'static str,
    /// The folders; `""` is the quantization folder itself.
    folders: &'static [&'static str],
}

/// Every folder.
pub const FOLDERS: [Folders; 6] = [
    Folders { table: "vllm_files_top", title: "The folder itself: quantization/", folders: &[""] },
    Folders {
        table: "vllm_files_compressed_tensors",
        title: "quantization/compressed_tensors/",
        folders: &["compressed_tensors"],
    },
    Folders { table: "vllm_files_inc", title: "quantization/inc/", folders: &["inc"] },
    Folders { table: "vllm_files_quark", title: "quantization/quark/", folders: &["quark"] },
    Folders {
        table: "vllm_files_online",
        title: "quantization/online/ and quantization/turboquant/",
        folders: &["online", "turboquant"],
    },
    Folders { table: "vllm_files_utils", title: "quantization/utils/", folders: &["utils"] },
];

/// The files of one table.
pub fn files(map: &VllmMap, of: &Folders) -> Result<Table> {
    let rows = map.files.iter().filter(|file| of.folders.contains(&folder(file)));
    Ok(Table::of(of.title, rows)
        .text("file", |file| code(&file.path))
        .text("what it is for", |file| file.role.clone())
        .text("its classes", |file| codes(file.classes.iter().map(|class| class.name.as_str())))
        .done())
}

/// The first folder of a file's path; `""` if the file lies in the quantization folder itself.
fn folder(file: &File) -> &str {
    file.path.split_once('/').map_or("", |(folder, _)| folder)
}

fn code(name: &str) -> String {
    format!("`{name}`")
}

/// Names as code, or a dash if there are none.
fn codes<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<String> = names.map(code).collect();
    if names.is_empty() { "-".into() } else { names.join(", ") }
}

/// The files outside the folder that the chapter names.
pub fn elsewhere(map: &VllmMap) -> Result<Table> {
    Ok(Table::of("Outside the folder, in vllm/", &map.elsewhere)
        .text("file", |file| code(&file.path))
        .text("what it is for", |file| file.role.clone())
        .text("named here", |file| {
            codes(file.classes.keys().chain(&file.functions).map(String::as_str))
        })
        .done())
}

/// How many classes of a kind there are, or of all.
pub fn number_of_classes(map: &VllmMap, kind: Option<Kind>) -> usize {
    let is = |class: &&Class| kind.is_none_or(|kind| class.kind == kind);
    map.files.iter().flat_map(|file| &file.classes).filter(is).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inputs::VLLM_MAP;

    #[test]
    fn every_file_stands_in_one_table_of_files() -> Result<()> {
        for file in &VLLM_MAP.data().files {
            let tables = FOLDERS.iter().filter(|of| of.folders.contains(&folder(file)));
            ensure!(tables.count() == 1, "{} stands in no table of files, or in two", file.path);
        }
        Ok(())
    }

    #[test]
    fn every_scheme_stands_in_a_table_of_a_family() -> Result<()> {
        for class in VLLM_MAP.data().files.iter().flat_map(|file| &file.classes) {
            let quantizes = matches!(class.kind, Kind::Scheme | Kind::Part);
            ensure!(quantizes == class.answers.is_some(), "{}: answers or none?", class.name);
            let Some(answers) = &class.answers else { continue };
            let family = answers.family.as_str();
            ensure!(
                family == PARTS || FAMILIES.iter().any(|of| of.family == family),
                "{} is of the family {family:?}, which has no table",
                class.name,
            );
        }
        Ok(())
    }
}
