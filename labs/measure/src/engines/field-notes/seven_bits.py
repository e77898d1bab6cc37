"""The control of a field note: a W8A8 folder whose weights use 7 bits of the 8.

On x86 processors without VNNI, int8 products are made of the instruction `vpmaddubsw`, which adds two
products of an unsigned and a signed byte in 16 bits and saturates. 255 * 127 twice is beyond 32,767;
255 * 63 twice is not. So the same model with weight codes of at most 63 cannot saturate: an engine that
is off on the first folder and right on the second saturates.

    python seven_bits.py target/checkpoints/none target/checkpoints/w8a8 target/checkpoints/w8a8-seven-bits

Reads the weights of the first folder, takes everything else from the second. Run with safetensors 0.8.0
and numpy 2.4.6.
"""

import shutil
import sys

import numpy as np
from safetensors.numpy import load_file, save_file

none, w8a8, out = sys.argv[1:4]
shutil.copytree(w8a8, out)
original = load_file(f"{none}/model.safetensors")
tensors = load_file(f"{w8a8}/model.safetensors")
for name, codes in tensors.items():
    if codes.dtype == np.int8:
        w = original[name].astype(np.float32)
        scale = np.abs(w).max(axis=1, keepdims=True) / np.float32(63)
        scale[scale == 0] = 1
        tensors[name] = np.clip(np.rint(w / scale), -63, 63).astype(np.int8)
        tensors[name + "_scale"] = scale.astype(np.float32)
save_file(tensors, f"{out}/model.safetensors", {"format": "pt"})
