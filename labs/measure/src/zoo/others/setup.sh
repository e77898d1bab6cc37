#!/bin/sh
# Sets up the Python programs that the scripts of this folder run: for each a virtual environment in
# `target/zoo/venvs`, or in FOLDER, with the versions of its .lock file. About 5 GB each, most of which uv
# shares between them; nothing outside the folder and uv's cache changes. One that is ready is left alone.
# A package of gptqmodel is built, which needs a C compiler.
# llama.cpp's tools are set up by `labs/measure/src/engines/setup/llama.cpp.sh`.
#
#     labs/measure/src/zoo/others/setup.sh [--into FOLDER] [PROGRAM...]
#
# PROGRAM is llm-compressor, gptqmodel or bitsandbytes; without one all are set up.
#
# Environment: PYTHON (a Python 3.11; default python3.11, else python3), UV (default: uv on the PATH, or a uv
# installed into the folder).
set -eu

UV_VERSION=0.13.9

here=$(cd "$(dirname "$0")" && pwd)
folder=$here/../../../../../target/zoo/venvs

say() { echo "setup.sh: $*" >&2; }
stop() { say "$*"; exit 1; }

if [ "${1:-}" = --into ]; then
    [ $# -ge 2 ] || stop "--into needs a folder"
    folder=$2
    shift 2
fi
[ $# -gt 0 ] || set -- llm-compressor gptqmodel bitsandbytes
for program; do
    [ -f "$here/$program.lock" ] ||
        stop "no program is named $program: name llm-compressor, gptqmodel or bitsandbytes"
done

# The modules that a script imports.
module() {
    case $1 in llm-compressor) echo llmcompressor ;; *) echo "$1" ;; esac
}

# Not in the folder of the environments, whose names Python would take for packages.
works() { (cd "$folder/$1" && CUDA_VISIBLE_DEVICES= GPTQMODEL_CPU_WORKERS=2 "bin/python" -c "import $(module "$1")"); }

mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
for program; do
    lock=$here/$program.lock
    if cmp -s "$lock" "$folder/$program/ready"; then
        say "ready: $program"
        continue
    fi
    python=${PYTHON:-$(command -v python3.11 || command -v python3)} || stop "no Python: install Python 3.11, or set PYTHON"
    "$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' ||
        stop "$("$python" --version) will not do: the versions are those for Python 3.11, so set PYTHON to one"
    say "$program: a virtual environment and $(wc -l <"$lock" | tr -d ' ') packages"
    rm -rf "$folder/$program"
    "$python" -m venv "$folder/$program" || stop "no venv: install the package python3-venv, or set PYTHON"
    bin=$folder/$program/bin
    if uv=${UV:-$(command -v uv)}; then :; else
        "$bin/python" -m pip install --quiet "uv==$UV_VERSION" || stop "pip cannot load uv $UV_VERSION: set UV to one"
        uv=$bin/uv
    fi
    "$uv" pip install --quiet --python "$bin/python" --no-deps -r "$lock" || stop "$program: uv cannot install $lock"
    works "$program" >"$folder/$program/log" 2>&1 ||
        stop "$program does not start; the end of $folder/$program/log: $(tail -n 3 "$folder/$program/log")"
    cp "$lock" "$folder/$program/ready"
    say "ready: $program"
done
