"""What the scripts beside this file share: the text, the arguments, and the measurement of a run.

A script has a table of recipes, from a name to what its program is told. A run of NAME writes the folder
OUT/NAME, a checkpoint, and then OUT/NAME.json, the measurement. A name whose measurement is there is left
alone, so a list of runs that was stopped goes on."""

import argparse
import contextlib
import datetime
import json
import os
import pathlib
import resource
import shlex
import shutil
import subprocess
import sys
import time
from importlib.metadata import version

ROOT = pathlib.Path(__file__).resolve().parents[5]
TEXT = ROOT / "labs/model/passage/paradise-lost.txt"
CHUNK = 512
# As many as the processors that this process may use, so that `taskset` leaves others free.
THREADS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def arguments(about, recipes, **others):
    """The arguments, with a folder for the results. `others` are more options and their defaults."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="recipes, without which all are run")
    parser.add_argument("--list", action="store_true", help="name the recipes, and those that are done")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "target/zoo/theirs")
    parser.add_argument("--samples", type=int, default=32, help=f"chunks of {CHUNK} tokens (default 32)")
    for option, default in others.items():
        parser.add_argument(f"--{option}", type=type(default), default=default)
    asked = parser.parse_args()
    asked.out = asked.out.resolve()
    if unknown := [name for name in asked.names if name not in recipes]:
        parser.error(f"no recipe is named {', '.join(unknown)}: --list shows them")
    return asked


def run(asked, recipes, make):
    """Calls `make(name, recipe, folder, asked)` for each name, each in a process of its own, because a
    program that quantizes a model leaves memory and state behind. `make` gives a measurement."""
    names = asked.names or list(recipes)
    if asked.list:
        for name in names:
            print(name + (", done" if (asked.out / f"{name}.json").exists() else ""))
        return
    options = [word for word in sys.argv[1:] if word not in recipes]
    if len(names) > 1:
        failed = [name for name in names if subprocess.run([sys.executable, sys.argv[0], name, *options]).returncode]
        sys.exit(f"failed: {', '.join(failed)}" if failed else 0)
    [name] = names
    measurement, folder = asked.out / f"{name}.json", asked.out / name
    if measurement.exists():
        print(f"{name}: done, {measurement}")
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    command = shlex.join([pathlib.Path(sys.argv[0]).name, name, *options])
    measured = {"name": name, **make(name, recipes[name], folder, asked), "command": command}
    measurement.write_text(json.dumps(measured, indent=2) + "\n")
    print(json.dumps(measured, indent=2))


def versions(program, *packages):
    """The program first, because tables show what stands before the comma."""
    return ", ".join(f"{package} {version(package)}" for package in (program, *packages))


def chunks(tokenizer, samples):
    """The first chunks of the text, without a token in front."""
    ids = tokenizer(TEXT.read_text(), add_special_tokens=False)["input_ids"]
    if len(ids) < samples * CHUNK:
        sys.exit(f"the text has {len(ids) // CHUNK} chunks of {CHUNK} tokens: ask for as many --samples at most")
    return [ids[at * CHUNK : (at + 1) * CHUNK] for at in range(samples)]


def processor_seconds():
    """Of this process and of those it has waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(part.ru_utime + part.ru_stime for part in used)


@contextlib.contextmanager
def timed(program, version, tokens):
    """Measures its body, and fills the dictionary that it gives when the body ends. `tokens` are those that
    the recipe calibrates on, or 0."""
    measured = {"program": program, "version": version, "text": "Paradise Lost" if tokens else "none"}
    load, date = os.getloadavg()[0], datetime.datetime.now(datetime.timezone.utc)
    started, before = time.perf_counter(), processor_seconds()
    yield measured
    measured |= {
        "tokens": tokens,
        "threads": THREADS,
        "seconds": round(time.perf_counter() - started, 1),
        "processor_seconds": round(processor_seconds() - before, 1),
        "load": round(load, 2),
        "date": date.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
