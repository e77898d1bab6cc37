"""What other libraries say of small floats, of block scales, and of matrices in MX, NVFP4 and NF4.

    python3 -m pip install torch==2.14.0 numpy==2.4.6 ml_dtypes==0.6.0 compressed-tensors==0.20.0 \
        torchao==0.18.0 bitsandbytes==0.50.2 scipy==1.17.1 gguf==0.19.0
    python3 labs/lab-08-float-grids/golden/make_float_golden.py > labs/lab-08-float-grids/golden/floats.json

Values and codes come from torch (E4M3, E5M2, E8M0) and ml_dtypes (E2M1, E2M3, E3M2), exponents of block
scales from compressed-tensors and torchao, matrices from compressed-tensors, torchao, gguf-py and
bitsandbytes. Floats are written as the bits of their f32. Running the script again gives the same bytes.
"""

import importlib.metadata
import json
import random
import sys

import bitsandbytes.functional as bnb
import gguf
import ml_dtypes
import numpy as np
import torch
from compressed_tensors.compressors import BaseCompressor
from compressed_tensors.compressors.nvfp4.helpers import unpack_fp4_from_uint8
from compressed_tensors.quantization import QuantizationScheme
from compressed_tensors.quantization.lifecycle.forward import dequantize
from compressed_tensors.quantization.quant_scheme import MXFP4A16, MXFP8A16, NVFP4A16
from compressed_tensors.quantization.utils import calculate_qparams, generate_gparam
from compressed_tensors.quantization.utils.mxfp_utils import generate_mx_scales
from torchao.prototype.mx_formats.config import ScaleCalculationMode as Mode
from torchao.prototype.mx_formats.mx_tensor import to_mx

LIBRARIES = ["torch", "ml_dtypes", "compressed-tensors", "torchao", "bitsandbytes", "scipy", "gguf"]
ML = {
    "E2M1": ml_dtypes.float4_e2m1fn,
    "E2M3": ml_dtypes.float6_e2m3fn,
    "E3M2": ml_dtypes.float6_e3m2fn,
}
TORCH = {"E4M3": torch.float8_e4m3fn, "E5M2": torch.float8_e5m2, "E8M0": torch.float8_e8m0fnu}
BITS = {"E2M1": 4, "E2M3": 6, "E3M2": 6, "E4M3": 8, "E5M2": 8, "E8M0": 8}
ELEMENTS = {"E2M1": torch.float4_e2m1fn_x2, "E4M3": torch.float8_e4m3fn, "E5M2": torch.float8_e5m2}


def bits(values):
    return np.asarray(values, "f4").ravel().view("u4").tolist()


def values_of(grid):
    codes = np.arange(2 ** BITS[grid], dtype="u1")
    if grid in TORCH:
        return torch.from_numpy(codes).view(TORCH[grid]).float().numpy()
    return codes.view(ML[grid]).astype("f4")


def codes_of(grid, values):
    if grid in TORCH:
        return torch.from_numpy(values).to(TORCH[grid]).view(torch.uint8).tolist()
    return values.astype(ML[grid]).view("u1").tolist()


def nearest(grid):
    """Values, middles and the neighbours of both, of both signs, up to the largest value."""
    values = values_of(grid)[: 2 ** (BITS[grid] - 1)]
    values = values[np.isfinite(values)]
    points = np.concatenate([values, (values[:-1] + values[1:]) / 2]).astype("f4")
    up, down = (np.nextafter(points, np.float32(end)) for end in (1e38, -1e38))
    points = np.unique(np.concatenate([points, up, down]))
    points = points[(points > 0) & (points <= values.max())]
    points = np.concatenate([points, -points, [0.0]]).astype("f4")
    return {"bits": bits(points), "codes": codes_of(grid, points)}


def exponents():
    """Exponents of block scales for largest magnitudes whose fractions lie on both sides of each limit."""
    fractions = [1.0, 1.1, 1.25, 1.45, 1.5, 1.51, 1.74, 1.75, 1.76, 1.875, 1.9375, 1.95, 1.99]
    powers = [-130, -100, -9, -1, 0, 3, 20, 100]
    absmax = np.array([0.0] + [f * 2.0**p for p in powers for f in fractions], "f4")
    blocks = torch.zeros(len(absmax), 32)
    blocks[:, 5] = torch.from_numpy(-absmax)
    rules = {}
    for grid, width in [("E2M1", 4), ("E4M3", 8)]:
        codes = generate_mx_scales(torch.from_numpy(absmax), width)
        rules[f"{grid} CompressedTensors"] = codes.clamp(0, 254).to(torch.uint8).tolist()
    for grid, element in ELEMENTS.items():
        for rule, mode in [("Floor", Mode.FLOOR), ("Even", Mode.EVEN), ("Ceil", Mode.CEIL), ("NoClip", Mode.RCEIL)]:
            scale, _ = to_mx(blocks, element, 32, mode)
            rules[f"{grid} {rule}"] = scale.view(torch.uint8).flatten().tolist()
    return {"absmax": bits(absmax), "codes": rules}


def matrix(rows, columns):
    """Integers over 512; a block of zeros, small blocks, and blocks of very different size."""
    gauss = random.Random(8).gauss
    w = np.array([[round(gauss(0, 100)) / 512 for _ in range(columns)] for _ in range(rows)], "f4")
    w[1] *= 0.01
    w[2, 32:64] = 0
    w[3, :32] *= 16
    return w


def compressed(name, preset, w):
    scheme = QuantizationScheme(targets=["Linear"], weights=preset["weights"], format=name)
    args, weight = scheme.weights, torch.from_numpy(w)
    groups = weight.reshape(len(w), -1, args.group_size)
    is_nvfp4 = name.startswith("nvfp4")
    shared = generate_gparam(weight.amin(), weight.amax()) if is_nvfp4 else None
    scale, _ = calculate_qparams(groups.amin(2), groups.amax(2), args, shared)
    state = {"weight": weight, "weight_scale": scale} | ({"weight_global_scale": shared} if is_nvfp4 else {})
    compressor = BaseCompressor.get_value_from_registry(name)
    parts = compressor.compress(state, scheme)
    codes = parts.get("weight_packed", parts.get("weight"))
    # `decompress` multiplies in bf16 or in the type of the codes. Here the same function does so in f32.
    is_packed = "weight_packed" in parts
    floats = unpack_fp4_from_uint8(codes, *w.shape, torch.float32) if is_packed else codes.float()
    values = dequantize(floats, scale.float(), args=args, global_scale=shared, dtype=torch.float32)
    golden = {
        "codes": codes.view(torch.uint8).flatten().tolist(),
        "scales": parts["weight_scale"].view(torch.uint8).flatten().tolist(),
        "values": bits(values.numpy()),
    }
    return golden | ({"global": bits(shared.numpy())[0]} if is_nvfp4 else {})


def underflow():
    """The scales that compressed-tensors stores for blocks of very different size under one global scale."""
    absmax = torch.tensor([3.0, 1e-3, 1e-5, 1e-6, 0.0])
    scheme = QuantizationScheme(targets=["Linear"], weights=NVFP4A16["weights"])
    shared = generate_gparam(-absmax.amax(), absmax.amax())
    scale, _ = calculate_qparams(-absmax, absmax, scheme.weights, shared)
    return {"absmax": bits(absmax), "global": bits(shared)[0], "scales": bits(scale)}


def normal_float(w):
    flat = torch.from_numpy(w)
    packed, state = bnb.quantize_4bit(flat, blocksize=64, quant_type="nf4")
    scales = torch.tensor([(7 * i % 301 + 1) / 512 for i in range(600)])
    offset = scales.mean()
    # In f64 the library's Python code runs, which takes the nearest value. Its C++ for f32 looks the value
    # up in a coarser index, and takes the second nearest here and there.
    dynamic = bnb.create_dynamic_map()
    rest, inner = torch.ops.bitsandbytes.quantize_blockwise.default((scales - offset).double(), dynamic, 256)
    back = bnb.dequantize_blockwise(rest, absmax=inner, code=dynamic, blocksize=256) + offset
    made = torch.unique(bnb.create_normal_map())
    return {
        "table": bits(state.code), "made": bits(made),
        "packed": packed.flatten().tolist(), "absmax": bits(state.absmax),
        "values": bits(bnb.dequantize_4bit(packed, state)),
        "dynamic": bits(dynamic), "scales": bits(scales), "mean": bits(offset)[0],
        "rest": rest.flatten().tolist(), "rest_absmax": bits(inner), "scales_back": bits(back),
    }


def main():
    w = matrix(4, 128)
    blocks = gguf.quants.quantize(w, gguf.GGMLQuantizationType.MXFP4)
    golden = {
        "versions": {name: importlib.metadata.version(name) for name in LIBRARIES},
        "values": {grid: bits(values_of(grid)) for grid in BITS},
        "nearest": {grid: nearest(grid) for grid in BITS if grid != "E8M0"},
        "exponents": exponents(),
        "w": bits(w),
        "mxfp4": compressed("mxfp4-pack-quantized", MXFP4A16, w),
        "mxfp8": compressed("mxfp8-quantized", MXFP8A16, w),
        "nvfp4": compressed("nvfp4-pack-quantized", NVFP4A16, w),
        "gguf_mxfp4": blocks.flatten().tolist(),
        "underflow": underflow(),
        "nf4": normal_float(w),
    }
    json.dump(golden, sys.stdout, separators=(",", ":"))
    print()


if __name__ == "__main__":
    main()
