//! The tables of "Every scheme in vLLM's folder", drawn from the map that was written by hand and is
//! held to the package by `labs/measure/src/engines/vllm-map/check.py`.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use kit::Table;
use measure::engines::vllm_map::{self, Class, File, Kind, Step, VllmMap};

/// The file that these tables are drawn from.
pub fn file() -> PathBuf {
    vllm_map::PATH.into()
}

/// Which config class a name means, and the file it is in.
pub fn methods() -> Result<Table> {
    let map = VllmMap::load()?;
    let mut table = Table::new("The names of methods, and who reads on")
        .text("name")
        .text("config class")
        .text("file");
    let mut classes: Vec<&String> = map.methods.values().collect();
    classes.sort();
    classes.dedup();
    for class in classes {
        let names = map.methods.iter().filter(|(_, means)| *means == class);
        table.row([
            codes(names.map(|(name, _)| name.as_str())),
            format!("`{class}`"),
            format!("`{}`", file_of(&map, class)?),
        ]);
    }
    let online = map.shorthands.iter().filter(|name| !map.methods.contains_key(*name));
    table.row([
        codes(online.map(String::as_str)),
        "`OnlineQuantizationConfig`".to_string(),
        format!("`{}`", file_of(&map, "OnlineQuantizationConfig")?),
    ]);
    Ok(table)
}

/// The file that a config class is in, from the mapped folder, or from the package if it is outside.
fn file_of(map: &VllmMap, class: &str) -> Result<String> {
    let inside = map.files.iter().find(|file| file.classes.iter().any(|one| one.name == class));
    let outside = map.elsewhere.iter().find(|file| file.classes.contains_key(class));
    let path = inside
        .map(|file| file.path.clone())
        .or_else(|| outside.map(|file| format!("vllm/{}", file.path)));
    ensure!(path.is_some(), "the map of vLLM's folder has no class {class}");
    Ok(path.unwrap_or_default())
}

/// The words for what a method does after loading.
pub fn process() -> Result<Table> {
    Ok(steps("After loading: process_weights_after_loading", &VllmMap::load()?.process))
}

/// The words for what a method does at run time.
pub fn apply() -> Result<Table> {
    Ok(steps("At run time: apply, or apply_weights", &VllmMap::load()?.apply))
}

fn steps(title: &str, steps: &[Step]) -> Table {
    let mut table = Table::new(title).text("word").text("what happens").text("in the labs");
    for step in steps {
        table.row([step.step.clone(), step.does.clone(), step.lab.clone()]);
    }
    table
}

/// A family's classes with their answers.
fn family(title: &str, family: &str) -> Result<Table> {
    let map = VllmMap::load()?;
    let mut table = Table::new(title)
        .text("class")
        .text("grid")
        .text("a scale for each")
        .text("activations")
        .text("after loading")
        .text("at run time");
    let mut rows = 0;
    for (_, class, answers) in map.family(family) {
        let name = format!("`{}`", class.name);
        let of = answers.clone();
        table.row([name, of.grid, of.scale, of.activations, of.process, of.apply]);
        rows += 1;
    }
    ensure!(rows > 0, "the map of vLLM's folder has no family {family}");
    Ok(table)
}

/// Weights only, integers.
pub fn integer_weights() -> Result<Table> {
    family("Integer weights, activations left alone", "integer weights")
}

/// Integers on both sides.
pub fn integer_both() -> Result<Table> {
    family("Integer weights, integer activations", "integers on both sides")
}

/// 8-bit floats.
pub fn fp8() -> Result<Table> {
    family("FP8 on one side or both", "8-bit floats")
}

/// 4-bit floats, and 6-bit ones.
pub fn fp4() -> Result<Table> {
    family("4-bit floats (and 6-bit ones)", "4-bit floats")
}

/// Whatever a config says.
pub fn configured() -> Result<Table> {
    family("Classes whose answers lie in the config", "as the config says")
}

/// The parts that ModelOpt's linear method is put together from.
pub fn parts() -> Result<Table> {
    let map = VllmMap::load()?;
    let title = "The parts of ModelOptLinearMethod: one for the weight, one for x";
    let mut table = Table::new(title)
        .text("part")
        .text("of")
        .text("grid")
        .text("a scale for each")
        .text("after loading");
    for (_, class, answers) in map.family("ModelOpt parts") {
        let of = answers.clone();
        table.row([format!("`{}`", class.name), of.activations, of.grid, of.scale, of.process]);
    }
    Ok(table)
}

/// Experts.
pub fn experts() -> Result<Table> {
    family("The same grids for experts", "experts")
}

/// The KV cache.
pub fn kv_cache() -> Result<Table> {
    family("The KV cache", "KV cache")
}

/// The files of the folder itself.
pub fn files_top() -> Result<Table> {
    files("The folder itself: quantization/", |path| !path.contains('/'))
}

/// The files of compressed-tensors.
pub fn files_compressed_tensors() -> Result<Table> {
    files("quantization/compressed_tensors/", |path| path.starts_with("compressed_tensors/"))
}

/// The files of Intel Neural Compressor.
pub fn files_inc() -> Result<Table> {
    files("quantization/inc/", |path| path.starts_with("inc/"))
}

/// The files of Quark.
pub fn files_quark() -> Result<Table> {
    files("quantization/quark/", |path| path.starts_with("quark/"))
}

/// The files of online quantization and of TurboQuant.
pub fn files_online() -> Result<Table> {
    files("quantization/online/ and quantization/turboquant/", |path| {
        path.starts_with("online/") || path.starts_with("turboquant/")
    })
}

/// The helpers.
pub fn files_utils() -> Result<Table> {
    files("quantization/utils/", |path| path.starts_with("utils/"))
}

fn files(title: &str, is_in: impl Fn(&str) -> bool) -> Result<Table> {
    let map = VllmMap::load()?;
    let mut table = Table::new(title).text("file").text("what it is for").text("its classes");
    for file in map.files.iter().filter(|file| is_in(&file.path)) {
        table.row([format!("`{}`", file.path), file.role.clone(), names(file)]);
    }
    Ok(table)
}

fn names(file: &File) -> String {
    if file.classes.is_empty() {
        return "-".into();
    }
    codes(file.classes.iter().map(|class| class.name.as_str()))
}

fn codes<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// The files outside the folder that the chapter names.
pub fn elsewhere() -> Result<Table> {
    let map = VllmMap::load()?;
    let mut table = Table::new("Outside the folder, in vllm/")
        .text("file")
        .text("what it is for")
        .text("named here");
    for file in &map.elsewhere {
        let named = file.classes.keys().chain(&file.functions).map(String::as_str);
        let named = codes(named);
        table.row([
            format!("`{}`", file.path),
            file.role.clone(),
            if named.is_empty() { "-".into() } else { named },
        ]);
    }
    Ok(table)
}

/// How many classes of a kind there are, or of all.
pub fn number_of_classes(kind: Option<Kind>) -> Result<usize> {
    let is = |class: &&Class| kind.is_none_or(|kind| class.kind == kind);
    Ok(VllmMap::load()?.files.iter().flat_map(|file| &file.classes).filter(is).count())
}

/// How many files there are.
pub fn number_of_files() -> Result<usize> {
    Ok(VllmMap::load()?.files.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_stands_in_one_table_of_files() -> Result<()> {
        let folders =
            ["files_top", "compressed_tensors", "inc", "quark", "online", "turboquant", "utils"];
        for file in VllmMap::load()?.files {
            let folder = file.path.split_once('/').map_or("files_top", |(folder, _)| folder);
            ensure!(folders.contains(&folder), "{} stands in no table of files", file.path);
        }
        Ok(())
    }

    #[test]
    fn every_scheme_stands_in_a_table_of_a_family() -> Result<()> {
        let families = [
            "integer weights",
            "integers on both sides",
            "8-bit floats",
            "4-bit floats",
            "as the config says",
            "ModelOpt parts",
            "experts",
            "KV cache",
        ];
        let map = VllmMap::load()?;
        for class in map.files.iter().flat_map(|file| &file.classes) {
            let quantizes = matches!(class.kind, Kind::Scheme | Kind::Part);
            ensure!(quantizes == class.answers.is_some(), "{}: answers or none?", class.name);
            let Some(answers) = &class.answers else { continue };
            ensure!(
                families.contains(&answers.family.as_str()),
                "{} is of the family {:?}, which has no table",
                class.name,
                answers.family
            );
        }
        Ok(())
    }
}
