"""Smoothing scales as SmoothQuant's reference implementation computes them, in torch.

The formula and its two clamps are those of `smooth_ln_fcs` in `smoothquant/smooth.py` of
mit-han-lab/smoothquant: the column maxima of the weight are clamped to 1e-5, and so are the scales.
The activations and weights are plain numbers, so that the file can be read. Run with torch 2.13.0:

    python make_smoothing_golden.py > smoothing.json
"""

import json

import torch

ACTIVATION = [
    [0.5, -80.0, 1.0, 0.003, 2.0, -6.0],
    [-1.5, 20.0, 0.25, -0.001, 0.125, 4.0],
    [0.75, -3.0, -2.0, 0.002, -8.0, 0.5],
]
WEIGHT = [
    [0.5, 0.02, -1.0, 300.0, 0.0, 0.000001],
    [-0.25, -0.125, 0.0625, -1.0, 0.0, 0.000002],
]


def smoothing(x, w, alpha):
    act_scales = x.abs().max(dim=0)[0]
    weight_scales = w.abs().max(dim=0)[0].clamp(min=1e-5)
    return (act_scales.pow(alpha) / weight_scales.pow(1 - alpha)).clamp(min=1e-5)


def main():
    x, w = torch.tensor(ACTIVATION), torch.tensor(WEIGHT)
    alphas = [0.0, 0.25, 0.5, 0.75, 1.0]
    print(json.dumps({
        "torch": torch.__version__,
        "activation": ACTIVATION,
        "weight": WEIGHT,
        "scales": [{"alpha": a, "scales": smoothing(x, w, a).tolist()} for a in alphas],
    }, indent=1))


main()
