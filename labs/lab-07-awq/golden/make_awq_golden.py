"""Scales, losses and clips that AutoAWQ and llm-compressor compute for one small set of tensors.

    python3 -m pip install llmcompressor==0.14.0.1 torch==2.14.0
    python3 -m pip download --no-deps --no-binary :all: autoawq==0.2.9 && tar xf autoawq-0.2.9.tar.gz
    python3 labs/lab-07-awq/golden/make_awq_golden.py autoawq-0.2.9 > labs/lab-07-awq/golden/scales.json

Both libraries' own functions run, in f32 on the CPU. Of AutoAWQ: `_search_best_scale`, `_compute_best_scale`,
`_compute_best_clip` and `pseudo_quantize_tensor` of awq/quantize/quantizer.py, with duo scaling off (the
paper's formula, as llm-awq has it) and on; the modules that this file imports from its package are replaced
by empty ones, because they need a GPU or an older transformers. Of llm-compressor: `_compute_best_scale` and
`_compute_layer_means` of llmcompressor/modifiers/transform/awq/base.py.

The two formulas for a ratio r, of the mean magnitudes x of the inputs and w of the weights in their groups:
x^r, and x^r / (w^(1-r) + 1e-4); both at least 1e-4, then divided by the root of largest times smallest.

Weights are integers over 65536 and inputs integers over 8. Running the script again gives the same bytes.
"""

import contextlib
import importlib.util
import io
import json
import random
import sys
import types
from pathlib import Path

import torch
from torch import nn

ROWS, FEATURES, TOKENS, GROUP, SOURCES = 64, 64, 48, 16, 24


def data():
    gauss = random.Random(7).gauss
    w = [[round(gauss(0, 5000)) for _ in range(FEATURES)] for _ in range(ROWS)]
    mix = [[gauss(0, 1) for _ in range(FEATURES)] for _ in range(SOURCES)]
    loud = [2.0 ** (column * 7 % 6 - 2) for column in range(FEATURES)]
    x = []
    for _ in range(TOKENS):
        source = [gauss(0, 1) for _ in range(SOURCES)]
        values = [sum(s * m[column] for s, m in zip(source, mix)) for column in range(FEATURES)]
        x.append([round(value * factor) for value, factor in zip(values, loud)])
    return w, x


def auto_awq(folder):
    """quantizer.py without the package around it."""
    for name, names in {
        "awq": [],
        "awq.quantize": [],
        "awq.quantize.scale": ["apply_scale", "apply_clip"],
        "awq.utils": [],
        "awq.utils.calib_data": ["get_calib_dataset"],
        "awq.utils.utils": ["clear_memory", "get_best_device"],
        "awq.utils.module": ["append_str_prefix", "get_op_name", "get_named_linears",
                             "set_op_by_name", "exclude_layers_to_not_quantize"],
        "awq.modules": [],
        "awq.modules.linear": ["WQLinear_GEMM", "WQLinear_GEMV", "WQLinear_Marlin",
                               "WQLinear_GEMVFast"],
    }.items():
        module = types.ModuleType(name)
        for item in names:
            setattr(module, item, lambda *_: None)
        sys.modules[name] = module
    path = Path(folder) / "awq" / "quantize" / "quantizer.py"
    spec = importlib.util.spec_from_file_location("quantizer", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.AwqQuantizer


def quantizer_of(cls, zero_point, duo):
    quantizer = cls.__new__(cls)
    quantizer.w_bit, quantizer.group_size = 4, GROUP
    quantizer.zero_point, quantizer.duo_scaling = zero_point, duo
    quantizer.n_parallel_calib_samples, quantizer.max_chunk_memory = None, 1024**3
    return quantizer


def linear(w):
    layer = nn.Linear(FEATURES, ROWS, bias=False)
    layer.weight.data = w.clone()
    layer.weight.requires_grad_(False)
    # AutoAWQ keeps `state_dict` by `.cpu()`, which copies from a GPU only: on the CPU the first ratio's scales
    # would stay in the weight that each further ratio begins with.
    state = {"weight": w.clone()}
    layer.state_dict = lambda: state
    return layer


def auto_awq_case(cls, w, x, zero_point, duo):
    quantizer = quantizer_of(cls, zero_point, duo)
    losses, inner = [], quantizer._compute_loss
    quantizer._compute_loss = lambda *args: losses.append(inner(*args)) or losses[-1]
    _, _, scales = quantizer._search_best_scale(None, None, [linear(w)], x)
    clip = quantizer._compute_best_clip(w * scales, x / scales)
    return {"library": "AutoAWQ", "duo": duo, "asymmetric": zero_point, "losses": losses,
            "scales": scales.tolist(), "maxima": clip.flatten().tolist()}


def llm_compressor_case(w, x, symmetric, duo):
    from compressed_tensors.quantization import (QuantizationArgs, QuantizationScheme,
                                                 initialize_module_for_quantization)
    from llmcompressor.modifiers.transform.awq import AWQModifier
    from llmcompressor.modifiers.transform.awq.mappings import ResolvedMapping

    layer = linear(w)
    args = QuantizationArgs(num_bits=4, symmetric=symmetric, strategy="group", group_size=GROUP)
    layer.quantization_scheme = QuantizationScheme(targets=["Linear"], weights=args)
    initialize_module_for_quantization(layer, layer.quantization_scheme)
    modifier = AWQModifier(duo_scaling=duo)
    mapping = ResolvedMapping(smooth_name="norm", smooth_layer=nn.Identity(), balance_layers=[layer],
                              balance_names=["layer"], parent=layer, parent_name="layer")
    modifier._smooth_activation_stats["norm"] = [x.abs().sum(0), torch.tensor(float(TOKENS))]
    modifier._run_samples = lambda module: [module.forward(x)]
    outputs, losses, inner = [x @ w.T], [], modifier._compute_loss
    layer.forward = lambda inputs: inputs @ layer.weight.T
    object.__setattr__(modifier, "_compute_loss",
                       lambda *args: losses.append(inner(*args)) or losses[-1])
    scales = modifier._compute_best_scale(mapping, outputs, {layer: w.clone()})
    return {"library": "llm-compressor", "duo": duo, "asymmetric": not symmetric, "losses": losses,
            "scales": scales.flatten().tolist(), "maxima": []}


def main():
    # Both libraries write to the standard output.
    with contextlib.redirect_stdout(io.StringIO()):
        golden = make()
    # A line for each value of the object, and for each case.
    lines = [f" {json.dumps(key)}: {json.dumps(value)}" for key, value in golden.items()]
    print("{\n" + ",\n".join(lines).replace('}, {"library"', '},\n  {"library"') + "\n}")


def make():
    torch.manual_seed(0)
    numbers, inputs = data()
    w, x = torch.tensor(numbers, dtype=torch.float32) / 65536, torch.tensor(inputs, dtype=torch.float32) / 8
    cls = auto_awq(sys.argv[1])
    cases = [auto_awq_case(cls, w, x, zero, duo) for zero in [True, False] for duo in [False, True]]
    cases += [llm_compressor_case(w, x, sym, duo) for sym in [True, False] for duo in [False, True]]
    return {"torch": torch.__version__.split("+")[0], "autoawq": "0.2.9",
            "llm-compressor": "0.14.0.1", "group_size": GROUP, "weight_times_65536": numbers,
            "inputs_times_8": inputs, "cases": cases}


main()
