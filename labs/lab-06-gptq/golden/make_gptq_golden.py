"""Codes that IST-DASLab's GPTQ and llm-compressor choose for one small weight and one set of tokens.

    python3 -m pip install llmcompressor==0.14.0.1 torch==2.14.0
    git clone https://github.com/IST-DASLab/gptq    # commit 2d65066
    python3 labs/lab-06-gptq/golden/make_gptq_golden.py gptq > labs/lab-06-gptq/golden/codes.json

Both libraries' own loops run, in f32 on the CPU: `GPTQ.fasterquant` of gptq.py with the `Quantizer` of
quant.py, and `quantize_weight` of llmcompressor/modifiers/gptq/gptq_quantize.py. Only the call of
torch.cuda.synchronize is patched away, and `quantize` of gptq.py is wrapped to note the codes.

Weights are integers over 512 and inputs integers, of 128 tokens, so that the Hessian 2 / 128 * sum of
x x^T is exact in f32: what differs from another program is the loop's own arithmetic. Inputs are mixed
from 24 sources and so are correlated. Running the script again gives the same bytes.
"""

import contextlib
import io
import json
import random
import sys

import torch
from torch import nn

ROWS, FEATURES, TOKENS, SOURCES, DEAD = 12, 64, 128, 24, 21


def data():
    gauss = random.Random(6).gauss
    w = [[round(gauss(0, 40)) for _ in range(FEATURES)] for _ in range(ROWS)]
    mix = [[gauss(0, 1) for _ in range(FEATURES)] for _ in range(SOURCES)]
    loud = [2.0 ** (column * 7 % 5 - 2) for column in range(FEATURES)]
    x = []
    for _ in range(TOKENS):
        source = [gauss(0, 1) for _ in range(SOURCES)]
        values = [sum(s * m[column] for s, m in zip(source, mix)) for column in range(FEATURES)]
        x.append([round(value * factor) for value, factor in zip(values, loud)])
    return w, x


def hessian(x, dead):
    x = torch.tensor(x, dtype=torch.float64)
    if dead:
        x[:, DEAD] = 0
    exact = 2 / TOKENS * x.T @ x
    h = exact.float()
    assert torch.equal(h.double(), exact)
    return h


def ist(module, w, h, group_size, block, act_order, static):
    layer = nn.Linear(FEATURES, ROWS, bias=False)
    layer.weight.data = w.clone()
    solver = module.GPTQ(layer)
    solver.H, solver.quantizer = h.clone(), module.Quantizer()
    solver.quantizer.configure(4, perchannel=True, sym=True, mse=False)
    codes, inner = [], module.quantize

    def quantize(x, scale, zero, maxq):
        value = inner(x, scale, zero, maxq)
        codes.append(torch.round(value / scale).flatten())
        return value

    module.quantize = quantize
    solver.fasterquant(blocksize=block, groupsize=group_size, actorder=act_order,
                       static_groups=static)
    module.quantize = inner
    codes = torch.stack(codes, dim=1)
    if act_order:
        diagonal = torch.diag(h).clone()
        diagonal[diagonal == 0] = 1
        codes = codes[:, torch.argsort(torch.argsort(diagonal, descending=True))]
    return codes


def llm_compressor(w, h, group_size, act_order):
    from compressed_tensors.quantization import QuantizationArgs
    from llmcompressor.modifiers.gptq.gptq_quantize import quantize_weight

    args = QuantizationArgs(num_bits=4, symmetric=True, strategy="group", group_size=group_size,
                            actorder="static" if act_order else None)
    scale = w.reshape(ROWS, -1, group_size).abs().amax(dim=2) / 7.5
    values, _, fallback = quantize_weight(w.clone()[None], h.clone()[None], scale[None],
                                          torch.zeros_like(scale)[None], None, args)
    assert not fallback.any()
    return torch.round(values[0] / scale.repeat_interleave(group_size, dim=1))


def main():
    sys.path.insert(0, sys.argv[1])
    torch.cuda.synchronize = lambda: None
    with contextlib.redirect_stdout(io.StringIO()):
        golden = make()
    # A line for each value of the object, and for each case.
    lines = [f" {json.dumps(key)}: {json.dumps(value)}" for key, value in golden.items()]
    print("{\n" + ",\n".join(lines).replace('}, {"library"', '},\n  {"library"') + "\n}")


def make():
    import gptq as module

    numbers, x = data()
    w = torch.tensor(numbers, dtype=torch.float32) / 512
    cases = []

    def case(library, codes, dead=False, **settings):
        flat = [int(code) for code in codes.flatten()]
        cases.append({"library": library, "dead": dead, **settings, "codes": flat})

    plain, with_dead = hessian(x, False), hessian(x, True)
    for group_size, block, act_order, static, dead in [
        (-1, 128, False, False, False),
        (-1, 16, True, False, False),
        (16, 128, False, True, False),
        (16, 128, True, True, False),
        (16, 16, False, False, False),
        (32, 32, False, False, False),
        (16, 128, False, True, True),
        (16, 128, True, True, True),
    ]:
        h = with_dead if dead else plain
        codes = ist(module, w, h, group_size, block, act_order, static)
        size = FEATURES if group_size == -1 else group_size
        case("IST-DASLab", codes, dead, group_size=size, act_order=act_order,
             fresh=group_size != -1 and not static)
    for act_order in [False, True]:
        codes = llm_compressor(w, plain, 16, act_order)
        case("llm-compressor", codes, group_size=16, act_order=act_order, fresh=False)
    return {"torch": torch.__version__.split("+")[0], "llm-compressor": "0.14.0.1",
            "gptq": "2d65066", "weight_times_512": numbers, "inputs": x, "dead_column": DEAD,
            "cases": cases}


main()
