"""Makes the golden vectors that `formats::layouts` is held to, with the libraries themselves.

In an empty virtual environment of Python 3.11 on Linux x86-64:

    python -m pip install torch==2.14.0 numpy==2.4.6 transformers==5.23.0 gguf==0.19.0 setuptools==84.2.1
    python -m pip install compressed-tensors==0.20.0
    python -m pip install --no-deps --no-build-isolation autoawq==0.2.9
    python -m pip install --no-deps --only-binary :all: auto-gptq==0.7.1
    BUILD_CUDA_EXT=0 python -m pip install --no-deps --no-build-isolation gptqmodel==7.7.0
    python labs/formats/golden/make_layouts_golden.py

writes layouts.json beside this script. No GPU is needed. Running it again gives the same bytes.

Every word and every block in the file comes out of a library's own pack code. Only the importing is
ours: these packages load whole model zoos when they are imported, so `import_packers` keeps their
`__init__` files from running and puts empty modules where a packer never looks.
"""

import importlib.util
import json
import os
import sys
import types
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.metadata import version
from pathlib import Path
from unittest.mock import MagicMock

import numpy as np
import torch
import transformers  # noqa: F401  (auto-gptq and gptqmodel look for its Conv1D)
from compressed_tensors.compressors.pack_quantized.base import PackedQuantizationCompressor
from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
from gguf import GGMLQuantizationType
from gguf.quants import quantize

HERE = Path(__file__).resolve().parent
PACKAGES = ["autoawq", "auto-gptq", "gptqmodel", "compressed-tensors", "gguf", "numpy", "torch"]

# Packages whose `__init__` would import everything else.
HOLLOW = ["awq", "awq.modules", "awq.modules.linear", "awq.modules.triton", "awq.utils"]
HOLLOW += ["auto_gptq", "auto_gptq.nn_modules", "auto_gptq.nn_modules.qlinear"]
HOLLOW += ["gptqmodel", "gptqmodel.nn_modules"]
# What the packers import and never call while they pack.
ABSENT = ["accelerate", "threadpoolctl", "awq.modules.triton.gemm"]
ABSENT += ["gptqmodel.adapter", "gptqmodel.models", "gptqmodel.quantization"]
ABSENT += ["gptqmodel.looper", "gptqmodel.nn_modules.qlinear.torch", "pcre"]
ABSENT += [f"gptqmodel.nn_modules.qlinear.{name}" for name in ["exllamav2", "exllamav2_awq"]]
ABSENT += [f"gptqmodel.utils.{name}" for name in ["ctx", "device", "hf", "hub", "importer"]]
ABSENT += [f"gptqmodel.utils.{name}" for name in ["logger", "model_dequant", "packing"]]


class Absent(Loader, MetaPathFinder):
    """Finds an empty module under each name of ABSENT."""

    def find_spec(self, name, path, target=None):
        if any(name == absent or name.startswith(absent + ".") for absent in ABSENT):
            return ModuleSpec(name, self, is_package=True)

    def create_module(self, spec):
        return MagicMock(name=spec.name, __path__=[], __spec__=spec)

    def exec_module(self, module):
        pass


def import_packers():
    """The classes of AutoAWQ, auto-gptq and gptqmodel that pack, and gptqmodel's way to v1."""
    for name in HOLLOW:
        module = types.ModuleType(name)
        module.__path__ = list(importlib.util.find_spec(name).submodule_search_locations)
        sys.modules[name] = module
    sys.meta_path.insert(0, Absent())
    os.environ["GPTQMODEL_DISABLE_PACK_EXT"] = "1"  # the extension is compiled at first use
    from auto_gptq.nn_modules.qlinear.qlinear_cuda_old import QuantLinear
    from awq.modules.linear.gemm import WQLinear_GEMM
    from gptqmodel.nn_modules.qlinear import PackableQuantLinear
    from gptqmodel.utils.model import convert_gptq_v2_to_v1_format_module

    return WQLinear_GEMM, QuantLinear, PackableQuantLinear, convert_gptq_v2_to_v1_format_module


AWQ, AutoGPTQ, GPTQModel, v2_to_v1 = import_packers()


# ---- what is packed: integer arithmetic, the same on every machine


def numbers(shape, low, high, seed):
    """Integers low..=high without a pattern."""
    i = np.arange(int(np.prod(shape)), dtype=np.int64)
    mixed = (i * i * 7919 + i * (31 + 2 * seed) + 5 * seed) % 1009
    return (mixed % (high - low + 1) + low).reshape(shape)


class Case:
    """Codes and zeros of 4 or 3 bits and f16 scales, and the weights that they stand for, exactly."""

    def __init__(self, name, shape, group, zeros, seed, codes=None, g_idx=None, bits=4):
        self.name, (self.out, self.inputs), self.group = name, shape, group
        groups, self.bits = (self.out, self.inputs // group), bits
        self.codes = numbers(shape, 0, 2**bits - 1, seed) if codes is None else codes
        self.zeros = zeros if isinstance(zeros, np.ndarray) else numbers(groups, *zeros, seed)
        self.scales = numbers(groups, 0x1C00, 0x27FF, seed + 1).astype("<u2").view("<f2")
        self.g_idx = np.arange(self.inputs) // group if g_idx is None else g_idx
        # Codes of 4 bits times 11 bits of scale: every product below is exact in f32.
        steps = (self.codes - self.zeros[:, self.g_idx]).astype(np.float32)
        self.weights = torch.from_numpy(steps * self.scales.astype(np.float32)[:, self.g_idx])

    def linear(self):
        linear = torch.nn.Linear(self.inputs, self.out, bias=False)
        linear.weight.data = self.weights.clone()
        return linear

    def floats(self, array):
        return torch.from_numpy(array.astype(np.float32))

    def to_json(self):
        return {
            "name": self.name,
            "bits": self.bits,
            "out_features": self.out,
            "in_features": self.inputs,
            "codes": [digits(row) for row in self.codes],
            "zeros": [digits(row) for row in self.zeros],
            "scales": halves(self.scales),
            "g_idx": digits(self.g_idx),
        }


def digits(values):
    """Numbers 0..=15, a hex digit each."""
    return "".join(f"{value:x}" for value in values)


def halves(values):
    """f16 bits, row by row, 4 hex digits each, with the shape."""
    values = np.ascontiguousarray(values, "<f2")
    return {"shape": list(values.shape), "f16": " ".join(f"{b:04x}" for b in values.view("<u2").flat)}


def words(values):
    """int32 words, row by row, 8 hex digits each, with the shape."""
    values = np.ascontiguousarray(values, "<i4")
    return {"shape": list(values.shape), "i32": " ".join(f"{w:08x}" for w in values.view("<u4").flat)}


# ---- the libraries


def autoawq(case):
    scales, zeros = case.floats(case.scales.T), case.floats(case.zeros.T)
    packed = AWQ.from_linear(case.linear(), 4, case.group, scales=scales, zeros=zeros)
    return {
        "qweight": words(packed.qweight.numpy()),
        "qzeros": words(packed.qzeros.numpy()),
        "scales": halves(packed.scales.numpy()),
    }


def auto_gptq_v1(case):
    packed = AutoGPTQ(case.bits, case.group, case.inputs, case.out, False)
    packed.pack(case.linear(), case.floats(case.scales), case.floats(case.zeros), None)
    return gptq_json(packed)


def gptqmodel(case):
    """v2 by the default packer, `pack_block`, with which the older `pack_original` must agree; and
    what gptqmodel turns it into when it saves v1."""
    results = []
    for name in ["pack_block", "pack_original"]:
        packed = GPTQModel.__new__(GPTQModel)
        torch.nn.Module.__init__(packed)
        packed.bits, packed.maxq, packed.planar = case.bits, 2**case.bits - 1, False
        packed.pack_dtype, packed.pack_dtype_bits, packed.pack_factor = torch.int32, 32, 32 // case.bits
        packed.pack_np_dtype, packed.pack_np_math_dtype = np.int32, np.uint32
        g_idx = torch.from_numpy(case.g_idx.astype(np.int32))
        scales, zeros = case.floats(case.scales), case.floats(case.zeros)
        getattr(packed, name)(case.linear(), scales, zeros, g_idx)
        results.append(gptq_json(packed))
    assert results[0] == results[1], case.name
    if case.bits != 4:  # the way to v1 is in a module of ABSENT then
        return {"gptq_v2": results[0]}
    v2_to_v1(packed, types.SimpleNamespace(bits=4, pack_dtype=torch.int32))
    return {"gptq_v2": results[0], "gptq_v1_by_gptqmodel": words(packed.qzeros.numpy())}


def gptq_json(packed):
    return {
        "qweight": words(packed.qweight.numpy()),
        "qzeros": words(packed.qzeros.numpy()),
        # auto-gptq keeps the dtype of the linear layer, which is f32 here: exact, as in a file.
        "scales": halves(packed.scales.to(torch.float16).numpy()),
        "g_idx": digits(packed.g_idx),
    }


def compressed_tensors(case, symmetric):
    scheme = QuantizationScheme(
        targets=["Linear"],
        weights=QuantizationArgs(
            num_bits=4, symmetric=symmetric, strategy="group", group_size=case.group
        ),
    )
    state = {"weight": case.weights, "weight_scale": torch.from_numpy(case.scales.copy())}
    if not symmetric:
        state["weight_zero_point"] = torch.from_numpy((case.zeros - 8).astype(np.int8))
    packed = PackedQuantizationCompressor.compress(state, scheme)
    result = {
        "weight_packed": words(packed["weight_packed"].numpy()),
        "weight_scale": halves(packed["weight_scale"].numpy()),
        "weight_shape": [int(size) for size in packed["weight_shape"]],
    }
    if not symmetric:
        result["weight_zero_point"] = words(packed["weight_zero_point"].numpy())
    return result


# ---- GGML blocks


def spread(count, divisor):
    return numbers((count,), -504, 504, 3).astype(np.float32) / np.float32(divisor)


RAMP = (np.arange(32, dtype=np.float32) - 16) / 8
POSITIVE_PEAK = np.where(np.arange(32) == 3, np.float32(3), RAMP)
HALVES = np.arange(32, dtype=np.float32) / 2  # 0, .5, 1, .. 15.5
# The scale is 1 in each (Q4_0: the peak is -8; Q4_1: 0 to 15; Q8_0: the peak is 127).
TIES_Q4_0 = np.where(np.arange(32) == 31, np.float32(-8), HALVES - 7.5).clip(-8, 7.5)
TIES_Q4_1 = HALVES.clip(0, 15)
TIES_Q8_0 = np.where(np.arange(32) == 31, np.float32(127), HALVES - 7.5)
PEAKS = np.where(np.arange(32) == 5, np.float32(-2), RAMP)  # -2 and, later, another -2
BOTH_PEAKS = np.where(np.arange(32) == 20, np.float32(2), RAMP)  # -2 first, then 2
ROWS = {
    "ramp": RAMP,
    "a positive peak": POSITIVE_PEAK,
    "two equal peaks": PEAKS,
    "a negative and a positive peak": BOTH_PEAKS,
    "zeros": np.zeros(32, np.float32),
    "a constant": np.full(32, 0.3, np.float32),
    "ties of Q4_0": TIES_Q4_0,
    "ties of Q4_1": TIES_Q4_1,
    "ties of Q8_0": TIES_Q8_0,
    "spread": spread(128, 700),
    "a scale below the normal numbers of f16": spread(32, 9e7),
}


def ggml(name, values):
    values = np.ascontiguousarray(values, "<f4")
    blocks = {
        kind.lower(): quantize(values, GGMLQuantizationType[kind]).tobytes().hex()
        for kind in ["Q4_0", "Q4_1", "Q8_0"]
    }
    return {"name": name, "f32": " ".join(f"{b:08x}" for b in values.view("<u4")), **blocks}


# ---- the file

SYMMETRIC = Case("symmetric", (32, 64), 32, (8, 8), seed=1)
ASYMMETRIC = Case("asymmetric", (32, 64), 16, (1, 15), seed=2)
COUNT = np.arange(32) % 16
COUNTING = Case(
    "counting",  # code: output plus input channel; zero point: output channel; all modulo 16
    (32, 32), 32, COUNT[:, None], seed=3, codes=(COUNT[:, None] + COUNT) % 16,
)
RAGGED = Case("ragged, asymmetric", (12, 20), 10, (0, 15), seed=4)
RAGGED_SYMMETRIC = Case("ragged, symmetric", (3, 20), 20, (8, 8), seed=5)
ACT_ORDER = Case("act-order", (32, 64), 16, (1, 15), seed=6, g_idx=np.arange(64) * 29 % 64 // 16)

THREE_BITS = Case("three bits", (32, 64), 16, (1, 7), seed=7, bits=3)
THREE_SYMMETRIC = Case("three bits, symmetric", (64, 96), 48, (4, 4), seed=8, bits=3)


def main():
    grouped = []
    for case in [SYMMETRIC, ASYMMETRIC, COUNTING, RAGGED, RAGGED_SYMMETRIC, ACT_ORDER]:
        entry = case.to_json()
        ragged, ordered = case.out % 32 != 0, case is not ACT_ORDER
        if ordered:
            symmetric = bool(np.all(case.zeros == 8))
            entry["compressed_tensors"] = compressed_tensors(case, symmetric)
        if not ragged:
            entry |= gptqmodel(case)
        if ordered and not ragged:
            entry["awq"] = autoawq(case)
            # COUNTING has a zero point of 0: auto-gptq damages its words, which is what is kept.
            entry["gptq_v1"] = auto_gptq_v1(case)
        grouped.append(entry)
    for case in [THREE_BITS, THREE_SYMMETRIC]:
        grouped.append(case.to_json() | gptqmodel(case) | {"gptq_v1": auto_gptq_v1(case)})
    content = {
        "made with": {name: version(name) for name in PACKAGES},
        "grouped": grouped,
        "ggml": [ggml(name, values) for name, values in ROWS.items()],
    }
    text = json.dumps(content, indent=1) + "\n"
    (HERE / "layouts.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
