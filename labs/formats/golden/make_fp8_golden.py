"""Codes of torch's float8_e4m3fn for every value between which rounding can go wrong.

    pip install torch==2.13.0 numpy
    python labs/formats/golden/make_fp8_golden.py

For each of the 127 codes of a magnitude: its value, the middle to the next one (a tie), and the
neighbours of both in f32; then what lies beyond 448. Running it again gives the same bytes.
"""

import json
import pathlib

import numpy
import torch

HERE = pathlib.Path(__file__).parent

values = torch.arange(0, 127, dtype=torch.uint8).view(torch.float8_e4m3fn).float().numpy()
middles = (values[:-1] + values[1:]) / 2
points = numpy.concatenate([values, middles, numpy.array([456, 464, 480, 1e4, 3e38], "f4")])
points = points.astype("f4")
around = numpy.concatenate(
    [points, numpy.nextafter(points, numpy.float32(-1)), numpy.nextafter(points, numpy.float32(1e38))]
)
around = numpy.unique(around[around >= 0])
inputs = torch.from_numpy(numpy.concatenate([around, -around]))
codes = inputs.to(torch.float8_e4m3fn).view(torch.uint8)
golden = {
    "torch": torch.__version__.split("+")[0],
    "bits": [int(bits) for bits in inputs.view(torch.int32).numpy().view("u4")],
    "codes": codes.tolist(),
    "values": [float(value) for value in values],
}
(HERE / "fp8.json").write_text(json.dumps(golden, separators=(",", ":")) + "\n")
