"""Makes the golden vectors that `formats::gguf::k_quants` is held to, with llama.cpp's own functions.

    labs/measure/src/engines/setup/llama.cpp.sh
    python3 -m pip install gguf==0.19.0 numpy==2.4.6
    python3 labs/formats/golden/make_k_quants_golden.py target/engines/llama.cpp

writes k-quants.json beside this script. Blocks are decoded by the `gguf` package. Rows are encoded by
`ggml_quantize_chunk` of the library that `llama-quantize` calls, with and without an importance matrix.
Running it again gives the same bytes.
"""

import ctypes
import json
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType
from gguf.quants import dequantize

HERE = Path(__file__).resolve().parent
ENGINE = Path(sys.argv[1])
GGML = ctypes.CDLL(str(ENGINE / "build/bin/libggml-base.so"))
GGML.ggml_quantize_chunk.restype = ctypes.c_size_t
GGML.ggml_quantize_chunk.argtypes = [
    ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p,
    ctypes.c_int64, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p,
]

TYPES = ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "IQ4_NL", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K"]
# Weights and bytes of a block, and where the f16 numbers of a block begin.
BLOCKS = {
    "Q4_0": (32, 18, [0]), "Q4_1": (32, 20, [0, 2]), "Q5_0": (32, 22, [0]), "Q5_1": (32, 24, [0, 2]),
    "IQ4_NL": (32, 18, [0]), "Q2_K": (256, 84, [80, 82]), "Q3_K": (256, 110, [108]),
    "Q4_K": (256, 144, [0, 2]), "Q5_K": (256, 176, [0, 2]), "Q6_K": (256, 210, [208]),
}
COLUMNS = 512
random = np.random.default_rng(24)


def rows():
    normal = random.standard_normal(COLUMNS)
    yield "normal", normal / 50
    yield "heavy tails", normal**3 / 10
    yield "all positive", np.abs(normal) + 0.5
    yield "all negative and close together", -1 - np.abs(normal) / 1000
    yield "tiny", normal * 1e-7
    yield "large", normal * 1000
    zeros = normal / 50
    zeros[:256] = 0
    zeros[300:340] = 0
    yield "a block of zeros", zeros
    steps = np.repeat(random.standard_normal(COLUMNS // 16), 16) / 10
    yield "sub-blocks of one number", steps
    last = normal / 1000
    last[[255, 511]] = [3, -3]
    yield "the largest is the last", last


def encoded(kind, row, importance):
    weights, size, _ = BLOCKS[kind]
    out = np.zeros(COLUMNS // weights * size, np.uint8)
    pointer = importance.ctypes.data if importance is not None else None
    number = GGMLQuantizationType[kind].value
    GGML.ggml_quantize_chunk(number, row.ctypes.data, out.ctypes.data, 0, 1, COLUMNS, pointer)
    return out.tobytes().hex()


def decoded(kind):
    _, size, halves = BLOCKS[kind]
    block = random.integers(0, 256, size, np.uint8)
    for at, value in zip(halves, [0.0123, 0.0456]):
        block[at : at + 2] = np.array([value], "<f2").view(np.uint8)
    values = np.ascontiguousarray(dequantize(block, GGMLQuantizationType[kind]), "<f4")
    return {"type": kind, "bytes": block.tobytes().hex(), "f32": values.tobytes().hex()}


ROWS = {name: np.ascontiguousarray(row, "<f4") for name, row in rows()}
importance = np.ascontiguousarray(random.standard_normal(COLUMNS) ** 4, "<f4")
importance[[7, 40, 300]] = 0
golden = {
    "made with": {
        "gguf": version("gguf"),
        "numpy": version("numpy"),
        "llama.cpp": (ENGINE / "version").read_text().strip(),
    },
    "rows": {name: row.tobytes().hex() for name, row in ROWS.items()},
    "importance": importance.tobytes().hex(),
    "decoded": [decoded(kind) for kind in TYPES for _ in range(2)],
    "encoded": [
        {"type": kind, "row": name, "weighted": of is not None, "bytes": encoded(kind, row, of)}
        for kind in TYPES
        for name, row in ROWS.items()
        for of in (None, importance)
    ],
}
(HERE / "k-quants.json").write_text(json.dumps(golden, indent=1) + "\n")
