"""Makes the matrices that `formats::bitsandbytes` is held to, with the library itself.

    python3 -m pip install torch==2.14.0 numpy==2.4.6 bitsandbytes==0.50.2
    python3 labs/formats/golden/make_bitsandbytes_golden.py

writes bitsandbytes.json beside this script. No GPU is needed. Running it again gives the same bytes.

Each case has the parts as `QuantState.as_dict(packed=True)` gives them to a file, and values that
`dequantize_4bit` makes of them. Both are bytes in hex.
"""

import json
from importlib.metadata import version
from pathlib import Path

import bitsandbytes.functional as bnb
import numpy as np
import torch

HERE = Path(__file__).resolve().parent


def weights(shape, seed):
    """Weights without a pattern, exact in f16, in integer arithmetic; each row is larger than the one before. The
    last weight is the largest, and a block of the second row is 0."""
    i = np.arange(int(np.prod(shape)), dtype=np.int64)
    mixed = (i * i * 7919 + i * (31 + 2 * seed) + 5 * seed) % 1009 - 504
    w = mixed.reshape(shape) / 1024 * (1 + np.arange(shape[0])[:, None] / 4)
    w[1, :64] = 0
    w[-1, -1] = 9
    return torch.from_numpy(w.astype("<f2"))


def stored(tensor):
    array = np.ascontiguousarray(tensor.numpy())
    return {"dtype": str(array.dtype), "shape": list(array.shape), "hex": array.tobytes().hex()}


def decoded(packed, state, w):
    """As one row: where rows are not whole blocks, the CPU kernel of 0.50.2 begins each row with a block of its own,
    and takes scales that belong to other weights."""
    state.dtype, shape = torch.float32, state.shape
    by_rows = bnb.dequantize_4bit(packed, state).reshape(-1)
    state.shape = torch.Size([1, w.numel()])
    values = bnb.dequantize_4bit(packed, state).reshape(-1)
    assert torch.equal(values, by_rows) == (shape[1] % 64 == 0)
    # Half of the largest gap of the table, FP4's from 2/3 to 1, times the scale.
    scales = torch.nn.functional.pad(w.float().reshape(-1).abs(), (0, -w.numel() % 64))
    scales = scales.reshape(-1, 64).max(1)[0].repeat_interleave(64)[: w.numel()]
    near = (values - w.float().reshape(-1)).abs() <= scales * 0.17
    assert bool(near.all()) or state.nested
    return values


def case(name, shape, table, double, seed, every):
    """`every`: which of the values are kept."""
    w = weights(shape, seed)
    packed, state = bnb.quantize_4bit(
        w, blocksize=64, quant_type=table, compress_statistics=double
    )
    parts = {"weight": stored(packed)}
    for part, tensor in state.as_dict(packed=True).items():
        parts["weight." + part] = stored(tensor)
    values = decoded(packed, state, w).numpy()[::every]
    return {
        "name": name, "table": table, "double": double, "shape": list(shape), "parts": parts,
        "weights": w.numpy().tobytes().hex() if every == 1 else "",
        "every": every, "values": values.astype("<f4").tobytes().hex(),
    }


def main():
    content = {
        "made with": {name: version(name) for name in ["bitsandbytes", "numpy", "torch"]},
        "cases": [
            case("rows of whole blocks", (5, 128), "nf4", False, 1, 1),
            case("blocks that run on, the last one short", (6, 80), "nf4", False, 2, 1),
            case("FP4", (6, 80), "fp4", False, 3, 1),
            case("scales in two blocks", (24, 704), "nf4", True, 4, 37),
        ],
    }
    (HERE / "bitsandbytes.json").write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
