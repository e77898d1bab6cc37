"""llama.cpp's types and mixes of types on the course's model, without and with an importance matrix.

    labs/measure/src/engines/setup/llama.cpp.sh
    cargo book fetch
    cargo book measure llama.cpp --only quality --formats f32    # makes original-f32.gguf
    python3 labs/measure/src/zoo/others/llama_cpp.py [NAME...]

`timed.py` says what is written. The matrix is made once, by the first run that needs it, and its seconds are
in each measurement of a run that used it. `llama-imatrix` reads the text in chunks, and puts the token of the
beginning before each only where the model asks for that, which this model does not (`add_bos_token`)."""

import json
import subprocess

from timed import CHUNK, ROOT, TEXT, THREADS, arguments, run, timed

# IQ2, IQ3 and IQ4_XS are left out, because the course does not decode their blocks, so it cannot score the files.
# Q4_1 is left out, because the original was a file of Q4_1, whose weights that type gives back.
TYPES = "Q2_K Q3_K_S Q3_K_M IQ4_NL Q4_0 Q4_K_S Q4_K_M Q5_0 Q5_K_S Q5_K_M Q6_K Q8_0".split()
RECIPES = {f"llama.cpp-{kind.lower()}": (kind, False) for kind in TYPES}
RECIPES |= {f"llama.cpp-{kind.lower()}-imatrix": (kind, True) for kind in TYPES if kind != "Q8_0"}


def tool(engine, name, *words, log):
    with open(log, "w") as lines:
        subprocess.run([f"{engine}/build/bin/{name}", *map(str, words)], check=True, stdout=lines, stderr=lines)


def imatrix(asked, version):
    """The matrix and what it took."""
    # Not among the measurements of files, because a matrix is none.
    file = asked.out / f"imatrix/llama.cpp-{asked.samples}-chunks.gguf"
    file.parent.mkdir(parents=True, exist_ok=True)
    kept = file.with_suffix(".json")
    if not kept.exists():
        with timed("llama.cpp", version, asked.samples * CHUNK) as measured:
            options = ["-c", CHUNK, "--chunks", asked.samples, "-t", THREADS, "--no-ppl"]
            words = ["-m", f"{asked.engine}/original-f32.gguf", "-f", TEXT, "-o", file, *options]
            tool(asked.engine, "llama-imatrix", *words, log=file.with_suffix(".log"))
        kept.write_text(json.dumps(measured, indent=2) + "\n")
    return file, json.loads(kept.read_text())


def make(name, recipe, folder, asked):
    kind, weighted = recipe
    version = open(f"{asked.engine}/version").read().strip()
    options, before = [], None
    if weighted:
        file, before = imatrix(asked, version)
        options = ["--imatrix", file]
    words = [*options, f"{asked.engine}/original-f32.gguf", folder / "model.gguf", kind, THREADS]
    with timed("llama.cpp", version, asked.samples * CHUNK if weighted else 0) as measured:
        tool(asked.engine, "llama-quantize", *words, log=folder / "llama-quantize.log")
    if before:
        measured["imatrix_seconds"] = before["seconds"]
        for part in ("seconds", "processor_seconds"):
            measured[part] = round(measured[part] + before[part], 1)
    return measured


if __name__ == "__main__":
    run(arguments(__doc__, RECIPES, engine=str(ROOT / "target/engines/llama.cpp")), RECIPES, make)
