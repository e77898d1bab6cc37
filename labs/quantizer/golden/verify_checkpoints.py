"""What other people's code decodes from checkpoints that this lab's program wrote.

    pip install torch==2.14.0 numpy safetensors compressed-tensors==0.20.0 gguf==0.19.0 bitsandbytes==0.50.2
    cargo build --release -p cli
    python labs/quantizer/golden/verify_checkpoints.py target/release/course

Writes the tiny Llama of labs/model/golden under every scheme, decodes each matrix twice, and compares
the two to the bit:

* by the Rust of this lab (`course decode`);
* compressed-tensors' schemes by that library's own `decompress`; AWQ and GPTQ by the documented layout
  in numpy, below, which shares no code with the Rust; NF4 by bitsandbytes; GGUF by the `gguf` package.

The digests of what was decoded go into verified.json, which the lab's tests hold the Rust to.
"""

import hashlib
import json
import pathlib
import subprocess
import sys
import tempfile

import bitsandbytes.functional
import gguf
import numpy
import torch
from compressed_tensors.compressors import BaseCompressor
from compressed_tensors.compressors.nvfp4.helpers import unpack_fp4_from_uint8
from compressed_tensors.quantization import QuantizationScheme
from compressed_tensors.quantization.lifecycle.forward import dequantize
from safetensors import safe_open
from safetensors.torch import load_file

HERE = pathlib.Path(__file__).parent
TINY = HERE.parent.parent / "model" / "golden"
GROUP = 16
FOLDERS = ["w8a8", "w8a16", "fp8", "fp8-tensor", "fp8-block", "mxfp8", "mxfp4", "nvfp4", "nf4", "w4a16", "w4a16-asym", "awq", "gptq", "gptq-3bit"]
MIXES = ["gguf-q3_k_m", "gguf-q4_k_s", "gguf-q4_k_m", "gguf-q5_k_m", "gguf-q6_k"]
FILES = ["gguf-q8_0", "gguf-q4_0", "gguf-q4_1", "gguf-mxfp4", *MIXES]


def run(*arguments):
    subprocess.run([str(argument) for argument in arguments], check=True, stdout=subprocess.DEVNULL)


def modules(tensors, last):
    return sorted(name.removesuffix("." + last) for name in tensors if name.endswith("." + last))


def by_compressed_tensors(folder, tensors, config):
    group = config["config_groups"]["group_0"]
    scheme = QuantizationScheme(
        targets=group["targets"],
        weights=group["weights"],
        input_activations=group["input_activations"],
        format=config["format"],
    )
    compressor = BaseCompressor.get_value_from_registry(config["format"])
    packed = "pack-quantized" in config["format"]
    for module in modules(tensors, "weight_packed" if packed else "weight_scale"):
        parts = {
            name.rsplit(".", 1)[1]: value
            for name, value in tensors.items()
            if name.startswith(module + ".")
        }
        if config["format"] in MICROSCALING:
            yield module, microscaling(compressor, parts, scheme).numpy()
            continue
        as_stored = compressor.decompress(parts, scheme)["weight"]
        # The library multiplies in the type of the scale. With the same scale in f32 the product is
        # exact; with the f16 scale of w4a16 it is that product rounded to f16.
        parts["weight_scale"] = parts["weight_scale"].float()
        exact = compressor.decompress(parts, scheme)["weight"]
        assert torch.equal(as_stored, exact.to(as_stored.dtype)), module
        yield module, exact.numpy()


MICROSCALING = ["mxfp4-pack-quantized", "mxfp8-quantized", "nvfp4-pack-quantized"]


def microscaling(compressor, parts, scheme):
    """The library's `decompress` in f32, where it multiplies in bf16 or in the type of the codes itself."""
    codes, scale = parts.get("weight_packed"), parts["weight_scale"]
    if codes is None:
        values, scale = parts["weight"].float(), compressor._decompress_scale(scale)
    else:
        rows, columns = codes.shape
        values = unpack_fp4_from_uint8(codes, rows, 2 * columns, torch.float32)
        scale = compressor._decompress_scale(scale, torch.float32)
    shared = parts.get("weight_global_scale")
    return dequantize(values, scale.float(), args=scheme.weights, global_scale=shared, dtype=torch.float32)


def nibbles(words, order):
    """[..., n] int32 to [..., 8n]: neighbour order[i] is in the bits 4i to 4i + 3."""
    words = words.numpy().view("u4")
    out = numpy.zeros(words.shape + (8,), "i4")
    for i, neighbour in enumerate(order):
        out[..., neighbour] = words >> (4 * i) & 15
    return out.reshape(words.shape[:-1] + (-1,))


def by_awq(folder, tensors, config):
    order = [0, 2, 4, 6, 1, 3, 5, 7]
    for module in modules(tensors, "qweight"):
        codes = nibbles(tensors[module + ".qweight"], order)
        zeros = nibbles(tensors[module + ".qzeros"], order)
        scales = tensors[module + ".scales"].numpy().astype("f4")
        group = numpy.arange(codes.shape[0]) // config["group_size"]
        yield module, ((codes - zeros[group]).astype("f4") * scales[group]).T


def three_bits(words):
    """[..., 3n] int32 to [..., 32n]. As `forward` of auto-gptq 0.7.1's qlinear_cuda_old.py unpacks 3 bits: eleven,
    eleven and ten codes begin in the three words, and the last of the first two words are put together."""
    words = words.numpy().view("u4").reshape(words.shape[:-1] + (-1, 3, 1))
    shifts = [[0, 3, 6, 9, 12, 15, 18, 21, 24, 27, 30, 0], [0, 1, 4, 7, 10, 13, 16, 19, 22, 25, 28, 31],
              [0, 2, 5, 8, 11, 14, 17, 20, 23, 26, 29, 0]]
    codes = words >> numpy.array(shifts, "u4")
    codes[..., 0, 10] = codes[..., 0, 10] & 3 | codes[..., 1, 0] << 2 & 4
    codes[..., 1, 11] = codes[..., 1, 11] & 1 | codes[..., 2, 0] << 1 & 6
    codes = (codes & 7).astype("i4")
    codes = numpy.concatenate([codes[..., 0, :11], codes[..., 1, 1:12], codes[..., 2, 1:11]], -1)
    return codes.reshape(codes.shape[:-2] + (-1,))


def by_gptq(folder, tensors, config):
    unpack = {3: three_bits, 4: lambda words: nibbles(words, range(8))}[config["bits"]]
    for module in modules(tensors, "qweight"):
        codes = unpack(tensors[module + ".qweight"].T.contiguous()).T
        zeros = unpack(tensors[module + ".qzeros"]) + 1
        scales = tensors[module + ".scales"].numpy().astype("f4")
        group = tensors[module + ".g_idx"].numpy()
        yield module, ((codes - zeros[group]).astype("f4") * scales[group]).T


def by_bitsandbytes(folder, tensors, config):
    for module in modules(tensors, "weight.absmax"):
        start = module + ".weight."
        state = {name: value for name, value in tensors.items() if name.startswith(start)}
        state = bitsandbytes.functional.QuantState.from_dict(state, torch.device("cpu"))
        # The library multiplies in f32, and rounds the product to the type of the state.
        state.dtype = torch.float32
        values = bitsandbytes.functional.dequantize_4bit(tensors[module + ".weight"], state)
        yield module, values.numpy()


def by_gguf(path):
    for tensor in gguf.GGUFReader(path).tensors:
        yield tensor.name, gguf.dequantize(tensor.data, tensor.tensor_type), tensor.tensor_type.name


def digest(array):
    return hashlib.sha256(numpy.ascontiguousarray(array, "<f4").tobytes()).hexdigest()


def folder_scheme(program, scheme, work):
    out, decoded = work / scheme, work / (scheme + ".safetensors")
    run(program, "quantize", "--scheme", scheme, "--group-size", GROUP, "--leave-out",
        "--input", TINY / "tiny", "--out", out)
    run(program, "decode", out, decoded)
    config = json.loads((out / "config.json").read_text())["quantization_config"]
    others = {"awq": by_awq, "gptq": by_gptq, "bitsandbytes": by_bitsandbytes}
    how = others.get(config["quant_method"], by_compressed_tensors)
    tensors, ours = load_file(out / "model.safetensors"), load_file(decoded)
    digests = {}
    for module, theirs in how(out, tensors, config):
        name = module + ".weight"
        assert theirs.shape == tuple(ours[name].shape), name
        # Code 0 of a negative weight is +0 here and there: compared as numbers, and as bits.
        assert (theirs == ours[name].numpy()).all(), f"{scheme}: {name} differs"
        digests[name] = digest(theirs + 0.0)
    assert digests, scheme
    with safe_open(out / "model.safetensors", "pt") as file:
        assert file.metadata() == {"format": "pt"}
    return digests


def gguf_scheme(program, scheme, work):
    out = work / scheme
    run(program, "quantize", "--scheme", scheme, "--leave-out", "--requantize",
        "--input", TINY / "tiny.gguf", "--out", out)
    return {
        name: digest(values + 0.0)
        for name, values, kind in by_gguf(out / "model.gguf")
        if kind not in ("F32", "F16")
    }


def main():
    program = pathlib.Path(sys.argv[1]).resolve()
    golden = {}
    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        for scheme in FOLDERS:
            golden[scheme] = folder_scheme(program, scheme, work)
        for scheme in FILES:
            golden[scheme] = gguf_scheme(program, scheme, work)
    import compressed_tensors

    versions = {"torch": torch.__version__.split("+")[0], "gguf": "0.19.0",
                "compressed-tensors": compressed_tensors.__version__,
                "bitsandbytes": bitsandbytes.__version__}
    text = json.dumps({"versions": versions, "group_size": GROUP, "sha256": golden}, indent=1)
    (HERE / "verified.json").write_text(text + "\n")
    for scheme, digests in golden.items():
        print(f"{scheme}: {len(digests)} matrices, equal to the bit")


if __name__ == "__main__":
    main()
