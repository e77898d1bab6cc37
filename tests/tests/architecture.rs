//! The graphs of crates and of modules have no circles.
//!
//! For modules the rule is: **modules of one folder depend on each other one way, each taken with all that
//! is below it.** A module and what is below it are one concern, so a child may use what its parent
//! defines. A name counts for the module that defines it: a re-export is followed, and a link in a comment
//! or a use in a test does not count.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use anyhow::{Context, Result, ensure};
use quote::ToTokens;
use regex::Regex;
use serde_json::Value;
use syn::{Item, UseTree};

/// A tie that closes a circle and may stay: who knows whom, and why.
type Exception = (&'static str, &'static str, &'static str);

/// Cargo allows a circle that a dev-dependency closes.
const CRATES: &[Exception] = &[(
    "lab-05-quantize-a-real-model",
    "quantizer",
    "a dev-dependency: the lab's spec writes whole files with the quantizer that calls the lab",
)];

/// A tie may stand here for a reason that its line gives. There is none.
const MODULES: &[Exception] = &[];

#[test]
fn crates_know_each_other_one_way() -> Result<()> {
    let mut graph = Graph::default();
    for package in packages()? {
        let known = list(&package, "dependencies").iter().filter(|known| known["path"].is_string());
        for known in known {
            graph.tie(
                text(&package, "name"),
                text(known, "name"),
                known["kind"].as_str().unwrap_or("normal"),
            );
        }
    }
    ensure!(
        graph.0.len() > 10,
        "only {} crates know another: are all of them read?",
        graph.0.len()
    );
    graph.check("crates", CRATES)
}

#[test]
fn modules_beside_each_other_know_each_other_one_way() -> Result<()> {
    let mut graph = Graph::default();
    for package in packages()? {
        for target in list(&package, "targets") {
            let is_code = |kind: &Value| kind == "lib" || kind == "bin";
            if list(target, "kind").iter().any(is_code) {
                Tree::read(Path::new(text(target, "src_path")))?
                    .tie(text(&package, "name"), &mut graph);
            }
        }
    }
    ensure!(
        graph.0.len() > 100,
        "only {} modules know another: are all of them read?",
        graph.0.len()
    );
    graph.check("modules", MODULES)
}

/// Cargo finds the files of `tests/` by itself only where each of them is a binary.
#[test]
fn a_binary_of_tests_names_each_file_of_its_folder() -> Result<()> {
    for package in packages()? {
        let folder = Path::new(text(&package, "manifest_path")).with_file_name("tests");
        let Ok(main) = std::fs::read_to_string(folder.join("main.rs")) else { continue };
        for entry in std::fs::read_dir(&folder)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            let Some(name) = name.strip_suffix(".rs").filter(|name| *name != "main") else {
                continue;
            };
            let folder = folder.display();
            ensure!(main.contains(&format!("mod {name};")), "{folder}/main.rs lacks `mod {name};`");
        }
    }
    Ok(())
}

/// A file that no `mod` names is not compiled, and nothing else says so.
#[test]
fn each_file_of_a_crate_is_a_module_of_it() -> Result<()> {
    let mut modules = 0;
    for package in packages()? {
        let roots: Vec<_> = list(&package, "targets").iter().map(|t| text(t, "src_path")).collect();
        let source = Path::new(text(&package, "manifest_path")).with_file_name("src");
        for file in files(&source)? {
            if roots.iter().any(|root| Path::new(root) == file) {
                continue;
            }
            let folder = file.parent().context("a file is in a folder")?;
            // The module `name/mod.rs` is called `name` by the folder above.
            let is_mod = file.ends_with("mod.rs");
            let (named, above) =
                if is_mod { (folder, folder.parent()) } else { (&*file, Some(folder)) };
            let (Some(name), Some(above)) = (named.file_stem(), above) else { continue };
            let line = format!("mod {};", name.to_string_lossy());
            let parents = ["mod.rs", "lib.rs", "main.rs"].map(|parent| above.join(parent));
            let names = |parent: &PathBuf| {
                std::fs::read_to_string(parent).is_ok_and(|code| {
                    code.lines().any(|code| code == line || code.ends_with(&format!(" {line}")))
                })
            };
            ensure!(
                parents.iter().any(names),
                "{} is not compiled: no file of {} has the line `{line}`",
                file.display(),
                above.display()
            );
            modules += 1;
        }
    }
    ensure!(modules > 100, "only {modules} modules: are all of them read?");
    Ok(())
}

/// The Rust files below `folder`.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files(&path)?);
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(path);
        }
    }
    Ok(found)
}

/// What cargo knows of the packages of the workspace.
fn packages() -> Result<Vec<Value>> {
    let output = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    Ok(list(&metadata, "packages").to_vec())
}

fn list<'a>(json: &'a Value, key: &str) -> &'a [Value] {
    json[key].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn text<'a>(json: &'a Value, key: &str) -> &'a str {
    json[key].as_str().unwrap_or_default()
}

/// Who knows whom, and by which names.
#[derive(Clone, Default)]
struct Graph(BTreeMap<String, BTreeMap<String, BTreeSet<String>>>);

impl Graph {
    fn tie(&mut self, from: &str, to: &str, name: &str) {
        let known = self.0.entry(from.into()).or_default();
        known.entry(to.into()).or_default().insert(name.into());
    }

    /// Fails on a circle, and on an exception that closes none: it has to leave its list.
    fn check(&self, what: &str, exceptions: &[Exception]) -> Result<()> {
        let mut allowed = self.clone();
        for (from, to, why) in exceptions {
            let is_needed = self.way(to, from).is_some();
            let tie = allowed.0.get_mut(*from).and_then(|known| known.remove(*to));
            ensure!(
                tie.is_some() && is_needed,
                "{from} and {to} are no circle any more: no «{why}»"
            );
        }
        let circles: Vec<String> =
            allowed.0.keys().filter_map(|from| allowed.circle(from)).collect();
        ensure!(circles.is_empty(), "{} circles of {what}:\n{}", circles.len(), circles.join("\n"));
        Ok(())
    }

    /// A shortest circle in which `first` is the first by name, with the names that tie it.
    fn circle(&self, first: &str) -> Option<String> {
        let mut later = self.clone();
        later.0.retain(|from, _| from.as_str() >= first);
        let way = later.way(first, first)?;
        let ties = way.windows(2).map(|pair| {
            let names: Vec<&str> = self.0[pair[0]][pair[1]].iter().map(String::as_str).collect();
            format!(" -({})-> {}", names.join(", "), pair[1])
        });
        Some(first.to_owned() + &ties.collect::<String>())
    }

    /// A shortest way of one tie or more.
    fn way<'a>(&'a self, from: &'a str, to: &str) -> Option<Vec<&'a str>> {
        let mut ways = VecDeque::from([vec![from]]);
        let mut seen = BTreeSet::new();
        while let Some(way) = ways.pop_front() {
            for next in self.0.get(*way.last()?).into_iter().flat_map(BTreeMap::keys) {
                let longer = [way.as_slice(), &[next.as_str()]].concat();
                if next == to {
                    return Some(longer);
                }
                if seen.insert(next) {
                    ways.push_back(longer);
                }
            }
        }
        None
    }
}

/// Names joined by `::`: of a module from its crate's root, or of what a module mentions.
type Names = Vec<String>;

/// A module: what it defines, what it brings in, and every path in it.
#[derive(Default)]
struct Module {
    items: BTreeSet<String>,
    /// By the name that each has here.
    imports: BTreeMap<String, Names>,
    globs: Vec<Names>,
    paths: BTreeSet<Names>,
}

/// The modules of a crate; the root has no name.
#[derive(Default)]
struct Tree(BTreeMap<Names, Module>);

/// What a path leads to: a module, or an item and the module that defines it.
enum Target {
    Module(Names),
    Item(Names, String),
}

impl Tree {
    fn read(root: &Path) -> Result<Self> {
        let mut tree = Self::default();
        tree.read_file(root, root.parent().context("a file is in a folder")?, Names::new())?;
        Ok(tree)
    }

    /// Reads the file of a module whose children lie in `folder`.
    fn read_file(&mut self, file: &Path, folder: &Path, module: Names) -> Result<()> {
        let source = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
        let parsed = syn::parse_file(&source).with_context(|| file.display().to_string())?;
        self.read_items(parsed.items, folder, module)
    }

    fn read_items(&mut self, items: Vec<Item>, folder: &Path, path: Names) -> Result<()> {
        let mut module = Module::default();
        for item in items {
            let code = code(&item);
            if code.replace(' ', "").starts_with("#[cfg(test)]") {
                continue;
            }
            match item {
                Item::Mod(inner) => {
                    let name = inner.ident.to_string();
                    let child = [path.as_slice(), std::slice::from_ref(&name)].concat();
                    let inside = folder.join(&name);
                    let beside = inside.with_extension("rs");
                    match inner.content {
                        Some((_, items)) => self.read_items(items, &inside, child)?,
                        None if beside.is_file() => self.read_file(&beside, &inside, child)?,
                        None => self.read_file(&inside.join("mod.rs"), &inside, child)?,
                    }
                }
                Item::Use(import) => module.import(&import.tree, &[]),
                other => module.define(&other, &code),
            }
        }
        self.0.insert(path, module);
        Ok(())
    }

    /// Adds the ties between modules of one folder in `crate_name`.
    fn tie(&self, crate_name: &str, graph: &mut Graph) {
        for (from, module) in &self.0 {
            let mentioned = module.imports.values().chain(&module.paths).chain(&module.globs);
            for path in mentioned {
                let (to, name) = match self.resolve(from, path, 8) {
                    Some(Target::Item(to, name)) => (to, name),
                    Some(Target::Module(to)) if module.globs.contains(path) => (to, "*".into()),
                    _ => continue,
                };
                let common = from.iter().zip(&to).take_while(|(from, to)| from == to).count();
                if common < from.len().min(to.len()) {
                    let node =
                        |path: &[String]| format!("{crate_name}::{}", path[..=common].join("::"));
                    graph.tie(&node(from), &node(&to), &name);
                }
            }
        }
    }

    /// Where `path` leads from inside `module`; none for a path into another crate.
    fn resolve(&self, module: &[String], path: &[String], depth: usize) -> Option<Target> {
        let mut at = if path.first()? == "crate" { Names::new() } else { module.to_vec() };
        for name in path {
            match name.as_str() {
                "crate" | "self" => {}
                "super" => drop(at.pop()?),
                _ => match self.named(&at, name, depth)? {
                    Target::Module(found) => at = found,
                    item => return Some(item),
                },
            }
        }
        Some(Target::Module(at))
    }

    /// What `name` means in `module`, at the end of at most `depth` re-exports.
    fn named(&self, module: &[String], name: &String, depth: usize) -> Option<Target> {
        let child = [module, std::slice::from_ref(name)].concat();
        if self.0.contains_key(&child) {
            return Some(Target::Module(child));
        }
        let found = self.0.get(module)?;
        if found.items.contains(name) {
            return Some(Target::Item(module.into(), name.clone()));
        }
        let depth = depth.checked_sub(1)?;
        if let Some(import) = found.imports.get(name) {
            return self.resolve(module, import, depth);
        }
        found.globs.iter().find_map(|glob| match self.resolve(module, glob, depth)? {
            Target::Module(from) => self.named(&from, name, depth),
            Target::Item(..) => None,
        })
    }
}

impl Module {
    fn import(&mut self, tree: &UseTree, before: &[String]) {
        let and = |name: &syn::Ident| [before, &[name.to_string()]].concat();
        match tree {
            UseTree::Path(path) => self.import(&path.tree, &and(&path.ident)),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.import(tree, before)),
            UseTree::Glob(_) => self.globs.push(before.into()),
            UseTree::Name(name) => {
                let last = if name.ident == "self" { before.last().cloned() } else { None };
                self.imports.insert(last.unwrap_or(name.ident.to_string()), and(&name.ident));
            }
            UseTree::Rename(rename) => {
                self.imports.insert(rename.rename.to_string(), and(&rename.ident));
            }
        }
    }

    /// Notes what `item` defines, and the paths in its code. Those in macros are text to `syn`, so all are
    /// looked for as text.
    fn define(&mut self, item: &Item, code: &str) {
        static PATH: LazyLock<Regex> =
            LazyLock::new(|| Regex::new(r"\w+(?:\s*::\s*\w+)+").expect("an expression"));
        let name = match item {
            Item::Const(item) => Some(&item.ident),
            Item::Enum(item) => Some(&item.ident),
            Item::Fn(item) => Some(&item.sig.ident),
            Item::Static(item) => Some(&item.ident),
            Item::Struct(item) => Some(&item.ident),
            Item::Trait(item) => Some(&item.ident),
            Item::Type(item) => Some(&item.ident),
            _ => None,
        };
        self.items.extend(name.map(ToString::to_string));
        let paths = PATH.find_iter(code).map(|path| path.as_str().split("::"));
        self.paths.extend(paths.map(|path| path.map(|name| name.trim().to_owned()).collect()));
    }
}

/// The code of an item without its texts and its documentation.
fn code(item: &Item) -> String {
    static TEXT: LazyLock<Regex> = LazyLock::new(|| {
        let text = r##"r#+"(?s:.*?)"#+|r"[^"]*"|"(?s:\\.|[^"\\])*"|'(?:\\.|[^'\\])'"##;
        Regex::new(&format!(r"#\s*\[\s*doc\s*=\s*(?:{text})\s*\]|{text}")).expect("an expression")
    });
    TEXT.replace_all(&item.to_token_stream().to_string(), "").trim().to_owned()
}

// ---- the check itself, on small crates with one circle each

/// The ties of a crate made of these files.
fn tied(files: &[(&str, &str)]) -> Result<Graph> {
    let folder = tempfile::tempdir()?;
    for (name, source) in files {
        let file: PathBuf = folder.path().join(name);
        std::fs::create_dir_all(file.parent().context("a file is in a folder")?)?;
        std::fs::write(file, source)?;
    }
    let mut graph = Graph::default();
    Tree::read(&folder.path().join("lib.rs"))?.tie("c", &mut graph);
    Ok(graph)
}

/// What is said of a crate with a file for each of `card` and `format`.
fn verdict(card: &str, format: &str) -> Result<String> {
    let root =
        "mod card; mod format; pub use card::Card; pub use format::Format; pub const SIZE: u8 = 1;";
    let graph = tied(&[("lib.rs", root), ("card.rs", card), ("format.rs", format)])?;
    Ok(graph.check("modules", &[]).map_or_else(|error| error.to_string(), |()| "none".into()))
}

#[test]
fn a_circle_is_printed_with_the_names_that_tie_it() -> Result<()> {
    let card = "use crate::Format; pub struct Card(Format);";
    let circle = "1 circles of modules:\nc::card -(Format)-> c::format -(Card)-> c::card";
    for format in [
        "use super::card::Card; pub struct Format(Box<Card>);",
        // Through a re-export, without `use`, and inside a macro.
        "use crate::Card; pub struct Format(Box<Card>);",
        "pub struct Format(Box<crate::card::Card>);",
        "pub struct Format; fn f() { println!(\"{:?}\", super::Card); }",
    ] {
        assert_eq!(verdict(card, format)?, circle, "{format}");
    }
    let one_way =
        "/// As [`Card`](crate::Card).\npub struct Format(&'static str, [u8; crate::SIZE]);
        #[cfg(test)] mod tests { use crate::Card; }";
    assert_eq!(verdict(card, one_way)?, "none", "a comment, a test and the root are no ties");
    Ok(())
}

#[test]
fn a_folder_counts_as_one_and_a_child_may_use_its_parent() -> Result<()> {
    let files = [
        ("lib.rs", "mod a; mod b;"),
        ("a/mod.rs", "mod x; mod y; pub struct A; fn f() { x::f() }"),
        ("a/x.rs", "use super::A; use super::y::Y; pub fn f() {}"),
        ("a/y.rs", "use crate::b::B; pub struct Y;"),
        ("b.rs", "pub struct B;"),
    ];
    assert!(tied(&files)?.check("modules", &[]).is_ok());
    let circle = [&files[..4], &[("b.rs", "use crate::a::A; pub struct B;")]].concat();
    let error = tied(&circle)?.check("modules", &[]).expect_err("a and b").to_string();
    assert!(
        error.ends_with("c::a -(B)-> c::b -(A)-> c::a"),
        "no file knows itself, a folder does: {error}"
    );
    Ok(())
}

#[test]
fn an_exception_that_is_not_needed_has_to_go() {
    let mut graph = Graph::default();
    for (from, to) in [("a", "b"), ("b", "c"), ("c", "a"), ("c", "d")] {
        graph.tie(from, to, "name");
    }
    assert!(graph.check("nodes", &[]).is_err());
    assert!(graph.check("nodes", &[("c", "a", "known")]).is_ok());
    assert!(graph.check("nodes", &[("c", "a", "known"), ("c", "d", "no circle")]).is_err());
}
