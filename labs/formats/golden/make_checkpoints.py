"""Makes the tiny checkpoints that `formats::checkpoint` is held to, with the libraries that write them.

    python3 -m pip install torch==2.13.0 numpy==2.4.6 safetensors==0.8.0 \
        compressed-tensors==0.20.0 gguf==0.19.0 transformers==5.23.0
    python3 -m pip install --no-deps auto-gptq==0.7.1
    python3 -m pip download --no-deps --no-binary :all: autoawq==0.2.9    # unpack it
    PYTHONPATH=autoawq-0.2.9 python3 labs/formats/golden/make_checkpoints.py

writes a folder for each scheme into `checkpoints` beside this script, and ggml-sizes.json. Of
AutoAWQ and auto-gptq only the modules with the packed layers are imported: the packages want GPUs.
The two do not write a config.json for a bare layer, so theirs holds the fields that their own
writers give it.

The model is two blocks with a square q_proj and an up_proj that is not square; lm_head stays as it
is. Weights are seeded; running it again gives the same bytes.
"""

import importlib.util
import json
import sys
import types
from pathlib import Path

import numpy as np
import torch
from compressed_tensors.compressors import ModelCompressor
from compressed_tensors.quantization import QuantizationConfig, apply_quantization_config
from compressed_tensors.quantization.utils import calculate_qparams, generate_gparam
from gguf import GGMLQuantizationType, GGUFWriter
from gguf.constants import GGML_QUANT_SIZES
from gguf.quants import quantize
from safetensors.torch import save_file

HERE = Path(__file__).resolve().parent
OUT = HERE / "checkpoints"
HIDDEN, INTERMEDIATE, VOCABULARY, GROUP = 64, 96, 32, 32


class Attention(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.q_proj = torch.nn.Linear(HIDDEN, HIDDEN, bias=False)


class Mlp(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.up_proj = torch.nn.Linear(HIDDEN, INTERMEDIATE, bias=False)


class Block(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.self_attn, self.mlp = Attention(), Mlp()


class Inner(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = torch.nn.ModuleList([Block(), Block()])
        self.norm = torch.nn.RMSNorm(HIDDEN)


class Tiny(torch.nn.Module):
    def __init__(self, dtype):
        super().__init__()
        torch.manual_seed(3)
        self.model = Inner()
        self.lm_head = torch.nn.Linear(HIDDEN, VOCABULARY, bias=False)
        self.to(dtype)


def projections(model):
    """The linears that get quantized, by name."""
    return {n: m for n, m in model.named_modules() if isinstance(m, torch.nn.Linear) and n != "lm_head"}


def write_config(folder, content):
    text = json.dumps(content, indent=2, sort_keys=True)
    (folder / "config.json").write_text(text + "\n", encoding="utf-8")


# ---- compressed-tensors


def scheme(weights, activations=None):
    group = {"targets": ["Linear"], "weights": weights}
    if activations:
        group["input_activations"] = activations
    return {"group_0": group}


W4 = {"num_bits": 4, "type": "int", "strategy": "group", "group_size": GROUP}
E4M3 = {"num_bits": 8, "type": "float", "symmetric": True}
FP4 = {"num_bits": 4, "type": "float", "symmetric": True, "strategy": "tensor_group", "group_size": 16}
MX = {
    "type": "float", "symmetric": True, "strategy": "group", "group_size": 32,
    "scale_dtype": torch.uint8, "zp_dtype": torch.uint8,
}
PER_TOKEN = {"num_bits": 8, "symmetric": True, "strategy": "token", "dynamic": True}
COMPRESSED = {
    "ct-w4-symmetric": ("pack-quantized", scheme(W4 | {"symmetric": True})),
    "ct-w4-asymmetric": ("pack-quantized", scheme(W4 | {"symmetric": False})),
    "ct-w8a8": (
        "int-quantized",
        scheme({"num_bits": 8, "type": "int", "symmetric": True, "strategy": "channel"}, PER_TOKEN | {"type": "int"}),
    ),
    "ct-fp8-channel": (
        "float-quantized",
        scheme(E4M3 | {"strategy": "channel"}, PER_TOKEN | {"type": "float"}),
    ),
    "ct-fp8-block": (
        "float-quantized",
        scheme(
            E4M3 | {"strategy": "block", "block_structure": [32, 32]},
            {"num_bits": 8, "type": "float", "symmetric": True, "strategy": "group", "group_size": 32, "dynamic": True},
        ),
    ),
    "ct-fp8-tensor": (
        "float-quantized",
        scheme(E4M3 | {"strategy": "tensor"}, PER_TOKEN | {"type": "float"}),
    ),
    "ct-mxfp4": ("mxfp4-pack-quantized", scheme(MX | {"num_bits": 4})),
    "ct-mxfp8": ("mxfp8-quantized", scheme(MX | {"num_bits": 8})),
    "ct-nvfp4": ("nvfp4-pack-quantized", scheme(FP4)),
}


def extremes(weight, args):
    """The smallest and the largest weight that share a scale, in the shape of the scales."""
    rows, columns = weight.shape
    strategy = args.strategy
    if strategy == "tensor":
        return weight.amin().reshape(1), weight.amax().reshape(1)
    if strategy == "channel":
        return weight.amin(1, keepdim=True), weight.amax(1, keepdim=True)
    if strategy == "block":
        height, width = args.block_structure
        blocks = weight.reshape(rows // height, height, columns // width, width)
        return blocks.amin((1, 3)), blocks.amax((1, 3))
    groups = weight.reshape(rows, columns // args.group_size, args.group_size)
    return groups.amin(2), groups.amax(2)


def set_scales(module):
    args = module.quantization_scheme.weights
    low, high = extremes(module.weight.data, args)
    global_scale = None
    if hasattr(module, "weight_global_scale"):
        global_scale = generate_gparam(module.weight.data.amin(), module.weight.data.amax())
        module.weight_global_scale.data.copy_(global_scale)
    scale, zero = calculate_qparams(low, high, args, global_scale)
    module.weight_scale.data.copy_(scale.reshape(module.weight_scale.shape))
    if hasattr(module, "weight_zero_point"):
        module.weight_zero_point.data.copy_(zero.reshape(module.weight_zero_point.shape))


def write_compressed(name, form, groups):
    folder = OUT / name
    folder.mkdir(parents=True, exist_ok=True)
    model = Tiny(torch.bfloat16)
    config = QuantizationConfig(format=form, ignore=["lm_head"], config_groups=groups)
    apply_quantization_config(model, config)
    for module in projections(model).values():
        set_scales(module)
    compressor = ModelCompressor(quantization_config=config)
    compressor.force_compression_format = form
    compressor.compress_model(model)
    tensors = {n: t.contiguous() for n, t in model.state_dict().items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    write_config(folder, {"model_type": "llama", "hidden_size": HIDDEN})
    compressor.update_config(folder)


# ---- AutoAWQ and auto-gptq: one module each, without the packages' own start-up


def module_of(package, path):
    """Imports `package.path` without running the `__init__` of the packages on the way."""
    spec = importlib.util.find_spec(package)
    names = [package, *path.split(".")]
    for depth in range(1, len(names)):
        stub = types.ModuleType(".".join(names[:depth]))
        stub.__path__ = [str(Path(spec.origin).parent.joinpath(*names[1:depth]))]
        sys.modules[stub.__name__] = stub
    return importlib.import_module(".".join(names))


def min_max(weight, symmetric):
    """Scales and zero points of 4-bit groups, [out, groups] each."""
    groups = weight.float().reshape(weight.shape[0], -1, GROUP)
    low, high = groups.amin(2), groups.amax(2)
    if symmetric:
        scale = 2 * torch.maximum(high, -low) / 15
        return scale.half().float(), torch.full_like(scale, 8)
    scale = ((high - low).clamp(min=1e-5) / 15).half().float()
    return scale, (-low / scale).round().clamp(0, 15)


def others(model):
    return {n: t for n, t in model.state_dict().items() if "proj" not in n}


def write_awq():
    folder = OUT / "autoawq"
    folder.mkdir(parents=True, exist_ok=True)
    sys.modules.setdefault("accelerate", types.ModuleType("accelerate"))  # imported, not used
    layer = module_of("awq", "modules.linear.gemm").WQLinear_GEMM
    model = Tiny(torch.float16)
    tensors = others(model)
    for name, module in projections(model).items():
        scale, zero = min_max(module.weight.data, symmetric=False)
        packed = layer.from_linear(module.float(), 4, GROUP, scales=scale.t(), zeros=zero.t())
        tensors |= {f"{name}.{n}": t.contiguous() for n, t in packed.state_dict().items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    quantization = {"quant_method": "awq", "bits": 4, "group_size": GROUP, "zero_point": True, "version": "gemm"}
    quantization["modules_to_not_convert"] = None
    write_config(folder, {"model_type": "llama", "hidden_size": HIDDEN, "quantization_config": quantization})


def write_gptq():
    folder = OUT / "autogptq"
    folder.mkdir(parents=True, exist_ok=True)
    layer = module_of("auto_gptq", "nn_modules.qlinear.qlinear_cuda_old").QuantLinear
    model = Tiny(torch.float16)
    tensors = others(model)
    for name, module in projections(model).items():
        scale, zero = min_max(module.weight.data, symmetric=True)
        packed = layer(4, GROUP, module.in_features, module.out_features, bias=False)
        packed.pack(module, scale, zero, None)  # scales get the dtype of the weight, f16
        tensors |= {f"{name}.{n}": t.contiguous() for n, t in packed.state_dict().items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    # auto-gptq writes both files.
    quantization = {
        "bits": 4, "group_size": GROUP, "damp_percent": 0.01, "desc_act": False, "static_groups": False,
        "sym": True, "true_sequential": True, "model_name_or_path": None, "model_file_base_name": "model",
        "quant_method": "gptq", "checkpoint_format": "gptq",
    }
    text = json.dumps(quantization, indent=2)
    (folder / "quantize_config.json").write_text(text + "\n", encoding="utf-8")
    write_config(folder, {"model_type": "llama", "hidden_size": HIDDEN, "quantization_config": quantization})


# ---- GGUF


def write_gguf():
    writer = GGUFWriter(OUT / "tiny.gguf", "llama")
    kinds = {"attn_q": GGMLQuantizationType.Q4_0, "ffn_up": GGMLQuantizationType.Q8_0}
    for name, module in projections(Tiny(torch.float32)).items():
        layer = name.split(".")[2]
        part = "attn_q" if name.endswith("q_proj") else "ffn_up"
        data = quantize(module.weight.data.numpy(), kinds[part])
        writer.add_tensor(f"blk.{layer}.{part}.weight", data, raw_dtype=kinds[part])
    writer.add_tensor("output_norm.weight", np.ones(HIDDEN, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_sizes():
    sizes = {t.name: {"id": int(t), "weights": w, "bytes": b} for t, (w, b) in GGML_QUANT_SIZES.items()}
    text = json.dumps({"made with": "gguf 0.19.0", "sizes": sizes}, indent=1)
    (HERE / "ggml-sizes.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    for name, (form, groups) in COMPRESSED.items():
        write_compressed(name, form, groups)
    write_awq()
    write_gptq()
    write_gguf()
    write_sizes()
