//! The map of vLLM's quantization folder: held to the package when there is one, and the check
//! itself held to small packages that are wrong in one way each.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use kit::skip::left_out;
use measure::engines::vllm_map::{self, VllmMap};
use regex::Regex;
use serde_json::{Value, json};
use tempfile::TempDir;
use xtask::{python, workspace};

/// Runs the check on a package; none if there is no Python, which is said.
fn check(package: &Path, map: &Path) -> Result<Option<Output>> {
    let Some(python) = python::find() else {
        left_out("the check of vLLM's folder", "it needs a Python 3.9 or later");
        return Ok(None);
    };
    let mut command = Command::new(python);
    command.arg(vllm_map::CHECK).arg("--package").arg(package).arg("--map").arg(map);
    Ok(Some(command.output().context(python)?))
}

/// The package that the environment names, or that `setup/vllm.sh` installed.
fn installed() -> Option<PathBuf> {
    if let Some(named) = env::var_os("VLLM_PACKAGE").filter(|named| !named.is_empty()) {
        return Some(named.into());
    }
    let libraries = workspace::root().join("target/engines/vllm/venv/lib");
    let entries = fs::read_dir(libraries).ok()?.flatten();
    let mut packages = entries.map(|entry| entry.path().join("site-packages/vllm"));
    packages.find(|package| package.is_dir())
}

#[test]
fn the_map_names_what_the_installed_vllm_has_and_nothing_else() -> Result<()> {
    let Some(package) = installed() else {
        left_out(
            "the map against vLLM itself",
            "there is no vLLM: labs/measure/src/engines/README.md says how",
        );
        return Ok(());
    };
    let Some(output) = check(&package, Path::new(vllm_map::PATH))? else { return Ok(()) };
    ensure!(
        output.status.success(),
        "the map in labs/measure/src/engines/vllm-map and the package differ:\n{}",
        said(&output)
    );
    Ok(())
}

/// The folder that is mapped, in the small packages as in the real one.
const FOLDER: &str = "model_executor/layers/quantization";

/// A package of three files that its map describes.
struct Planted {
    folder: TempDir,
    map: Value,
}

impl Planted {
    fn new() -> Result<Self> {
        let planted = Self { folder: TempDir::new()?, map: good_map() };
        planted.write("_version.py", "__version__ = version = '1.2.3'\n")?;
        planted.write(
            &format!("{FOLDER}/__init__.py"),
            "QuantizationMethods = Literal['small', 'at_load']\n\
             def get():\n    method_to_config: dict = {'small': SmallConfig}\n",
        )?;
        planted.write("config/quantization.py", "_ONLINE_SHORTHANDS: dict = {'at_load': 1}\n")?;
        planted.write(&format!("{FOLDER}/small.py"), SMALL)?;
        Ok(planted)
    }

    fn write(&self, path: &str, text: &str) -> Result<()> {
        let path = self.folder.path().join("vllm").join(path);
        fs::create_dir_all(path.parent().context("a file stands in a folder")?)?;
        Ok(fs::write(path, text)?)
    }

    /// Exit code and what was printed; none if there is no Python.
    fn check(&self) -> Result<Option<(i32, String)>> {
        let map = self.folder.path().join("map.json");
        fs::write(&map, self.map.to_string())?;
        let output = check(&self.folder.path().join("vllm"), &map)?;
        Ok(output.map(|output| (output.status.code().unwrap_or(-1), said(&output))))
    }

    /// That there is exactly one finding, and that it says this.
    fn finds(&self, finding: &str) -> Result<()> {
        let Some((code, said)) = self.check()? else { return Ok(()) };
        ensure!(
            code == 1,
            "the check ends with {code}, and there is this to find: {finding}\n{said}"
        );
        ensure!(said.contains(finding), "not found: {finding}\nbut:\n{said}");
        ensure!(said.contains("\n1 findings in "), "one thing is wrong, not these:\n{said}");
        Ok(())
    }

    /// Puts `value` at a place of the map.
    fn set(&mut self, place: &str, value: Value) -> Result<()> {
        let (parent, key) = place.rsplit_once('/').context("a place in the map")?;
        self.map.pointer_mut(parent).context("the map has that place")?[key] = value;
        Ok(())
    }
}

const SMALL: &str = "
class SmallConfig(QuantizationConfig):
    pass
class SmallMethod(linear.LinearMethodBase):
    def create_weights(self): pass
    def apply(self): pass
    def of_no_interest(self): pass
class Tool:
    pass
def helper(): pass
";

fn good_map() -> Value {
    json!({
        "package": "vllm", "version": "1.2.3", "folder": FOLDER,
        "absent": ["gone"],
        "methods": {"small": "SmallConfig"},
        "shorthands": ["at_load"],
        "process": [{"step": "nothing", "does": "", "lab": ""}],
        "apply": [{"step": "dequantize", "does": "", "lab": ""}],
        "files": [
            {"path": "__init__.py", "role": "names"},
            {"path": "small.py", "role": "a scheme", "functions": ["helper"], "classes": [
                {"name": "SmallConfig", "kind": "config"},
                {"name": "SmallMethod", "kind": "scheme", "methods": ["create_weights", "apply"],
                 "answers": {"family": "f", "grid": "int8", "scale": "row", "activations": "no",
                             "process": "nothing", "apply": "dequantize"}},
                {"name": "Tool", "kind": "helper"}
            ]}
        ],
        "elsewhere": [
            {"path": "config/quantization.py", "role": "", "classes": {}, "functions": []}
        ]
    })
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn a_package_that_is_as_its_map_says_passes_and_the_counts_are_said() -> Result<()> {
    let Some((code, said)) = Planted::new()?.check()? else { return Ok(()) };
    ensure!(code == 0, "nothing is wrong with this one:\n{said}");
    ensure!(said.contains("vLLM 1.2.3, the map is of 1.2.3"), "{said}");
    ensure!(said.contains("2 files, 3 classes, 2 calls of methods, 2 names"), "{said}");
    Ok(())
}

/// Changes of the package or of its map, each with the one finding that must come of it.
type Change = fn(&mut Planted) -> Result<()>;

const CHANGES: [(Change, &str); 13] = [
    (
        |planted| planted.write(&format!("{FOLDER}/utils/new.py"), ""),
        "the package has the file utils/new.py, the map does not name it",
    ),
    (
        |planted| {
            let files = planted.map["files"].as_array_mut().context("a list")?;
            files.push(json!({"path": "old.py", "role": "gone"}));
            Ok(())
        },
        "the map names the file old.py, the package has none",
    ),
    (
        // Inside an `if` too, where a search for `class` at the start of a line finds nothing.
        |planted| {
            let more = format!("{SMALL}\nif True:\n    class Hidden(SmallMethod):\n        pass\n");
            planted.write(&format!("{FOLDER}/small.py"), &more)
        },
        "small.py: the package has the class Hidden, the map does not name it",
    ),
    (
        |planted| planted.set("/files/1/classes/1/methods", json!(["create_weights"])),
        "small.py, SmallMethod: the package has the step apply, the map does not name it",
    ),
    (
        |planted| {
            let methods = json!(["create_weights", "apply", "embedding"]);
            planted.set("/files/1/classes/1/methods", methods)
        },
        "small.py, SmallMethod: the map names the step embedding, the package has none",
    ),
    (
        |planted| planted.set("/files/1/functions", json!(["helper", "gone"])),
        "small.py: the map names the function gone, the package has none",
    ),
    (
        |planted| planted.set("/files/1/words", json!(["of_no_interest", "weight_scale"])),
        "small.py: the map says that weight_scale stands in it, it does not",
    ),
    (
        |planted| planted.set("/files/1/classes/1/kind", json!("helper")),
        "SmallMethod: it derives from LinearMethodBase, and the map calls it a helper",
    ),
    (
        |planted| planted.set("/files/1/classes/2/kind", json!("config")),
        "Tool: the map calls it a config, and it derives from no base class of those",
    ),
    (
        |planted| planted.set("/files/1/classes/1/answers/scale", json!("")),
        "SmallMethod: the map does not say its scale",
    ),
    (
        |planted| planted.set("/files/1/classes/1/answers/apply", json!("magic")),
        "SmallMethod: the map's list 'apply' has no 'magic'",
    ),
    (
        |planted| planted.set("/methods", json!({"small": "Tool"})),
        "__init__.py: small means SmallConfig, the map says Tool",
    ),
    (
        |planted| planted.set("/elsewhere/0/classes", json!({"QuantSpec": []})),
        "config/quantization.py: the map names the class QuantSpec, the package has none",
    ),
];

#[test]
fn each_change_of_the_package_or_the_map_is_found_and_nothing_else() -> Result<()> {
    for (change, finding) in CHANGES {
        let mut planted = Planted::new()?;
        change(&mut planted)?;
        planted.finds(finding)?;
    }
    Ok(())
}

/// Changes that have more than one finding, with words of them.
const MORE_CHANGES: [(Change, [&str; 2]); 3] = [
    (
        |planted| {
            let other = SMALL.replace("class Tool", "class Other");
            planted.write(&format!("{FOLDER}/small.py"), &other)
        },
        ["the map names the class Tool, the package has none", "the package has the class Other"],
    ),
    (
        |planted| planted.set("/shorthands", json!(["at_load", "other"])),
        ["the map names the name of a method other", "the map names the shorthand other"],
    ),
    (
        |planted| planted.set("/absent", json!(["small"])),
        [
            "that there is no method small, there is",
            "small.py: the map says that there is no such file, there is",
        ],
    ),
];

#[test]
fn a_change_with_several_findings_shows_them_all() -> Result<()> {
    for (change, findings) in MORE_CHANGES {
        let mut planted = Planted::new()?;
        change(&mut planted)?;
        let Some((code, said)) = planted.check()? else { return Ok(()) };
        ensure!(code == 1 && findings.iter().all(|finding| said.contains(finding)), "{said}");
    }
    Ok(())
}

#[test]
fn another_version_is_named_and_compared_all_the_same() -> Result<()> {
    let planted = Planted::new()?;
    planted.write("_version.py", "__version__ = version = '9.9'\n")?;
    let Some((code, said)) = planted.check()? else { return Ok(()) };
    ensure!(code == 0, "the names are the same:\n{said}");
    ensure!(said.contains("vLLM 9.9, the map is of 1.2.3"), "{said}");
    ensure!(said.contains("ANOTHER VERSION"), "{said}");
    Ok(())
}

#[test]
fn a_folder_that_is_no_vllm_is_refused_with_what_to_do() -> Result<()> {
    let planted = Planted::new()?;
    let map = planted.folder.path().join("map.json");
    fs::write(&map, planted.map.to_string())?;
    let Some(output) = check(planted.folder.path(), &map)? else { return Ok(()) };
    let said = said(&output);
    ensure!(output.status.code() == Some(2), "{said}");
    ensure!(said.contains(&format!("has no {FOLDER}: name the package's own folder")), "{said}");
    Ok(())
}

/// What the chapter names and vLLM does not: the labs, Rust, torch, a checkpoint's matrices.
const NOT_OF_VLLM: &[&str] = &[
    "Int4Groups",
    "Quantized",
    "ScaleInsideTheSum",
    "dequantize",
    "in_features",
    "int4_linear",
    "int8_linear",
    "k_proj",
    "pack_word",
    "per_token_head",
    "q_proj",
    "quant_linear",
    "quant_method",
    "quantization_config",
    "quantize_activations_per_tensor",
    "quantize_activations_per_token",
    "quantize_per_channel",
    "quantize_per_tensor",
    "v_proj",
    "w8a8_linear",
    "float8_e4m3fn",
    "compressed_tensors",
];

/// The chapter's own names: of prose the script knows nothing.
#[test]
fn every_name_in_the_prose_of_the_chapter_is_in_the_map() -> Result<()> {
    let chapter = workspace::root().join("src/choose/vllm-folder.md");
    let text = fs::read_to_string(&chapter).context(chapter.display().to_string())?;
    let map = VllmMap::load()?;
    let mut known: BTreeSet<&str> = NOT_OF_VLLM.iter().copied().collect();
    known.extend(map.absent.iter().chain(&map.shorthands).map(String::as_str));
    known.extend(map.methods.keys().map(String::as_str));
    let mut paths = Vec::new();
    for file in &map.files {
        known.extend(file.functions.iter().chain(&file.words).map(String::as_str));
        for class in &file.classes {
            known.extend(class.methods.iter().chain([&class.name]).map(String::as_str));
        }
        paths.push(&file.path);
    }
    for file in &map.elsewhere {
        known.extend(file.functions.iter().map(String::as_str));
        for (class, methods) in &file.classes {
            known.extend(methods.iter().chain([class]).map(String::as_str));
        }
        paths.push(&file.path);
    }

    let code = Regex::new(r"`([^`\n]+)`")?;
    let class = Regex::new(r"^[A-Z][A-Za-z0-9]*[a-z][A-Za-z0-9]*[A-Z0-9][A-Za-z0-9_]*$")?;
    let function = Regex::new(r"^_?[a-zA-Z0-9]+(_[a-zA-Z0-9]+)+$")?;
    let mut named = 0;
    for found in code.captures_iter(&text) {
        let name = found[1].trim_start_matches("vllm/");
        if name.ends_with(".py") && !name.starts_with("labs/") {
            let there =
                paths.iter().any(|path| *path == name || path.ends_with(&format!("/{name}")));
            ensure!(there, "the chapter names the file {name}, the map does not");
        } else if class.is_match(name) || function.is_match(name) {
            ensure!(known.contains(name), "the chapter names {name}, the map does not");
        } else {
            continue;
        }
        named += 1;
    }
    ensure!(named > 100, "the chapter names {named} things: is it this chapter?");
    Ok(())
}
