"""Makes the golden vectors that `formats::gguf` is held to, with the `gguf` package and numpy.

    python3 -m pip install gguf==0.19.0 numpy==2.4.6
    python3 labs/formats/golden/make_gguf_golden.py

writes three files beside this script:

* gguf-blocks.json: blocks of each type as bytes, and the f32 bits that `gguf` decodes them to;
* small.gguf: a complete file, written by GGUFWriter;
* small.json: what GGUFReader reads in small.gguf: metadata, names, shapes, f32 bits.

Running it again gives the same bytes.
"""

import json
from importlib.metadata import version
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType, GGUFReader, GGUFValueType, GGUFWriter
from gguf.quants import dequantize, quantize

HERE = Path(__file__).resolve().parent
VERSIONS = {"gguf": version("gguf"), "numpy": version("numpy")}

# Every 4-bit code, upwards in the low nibbles and downwards in the high ones; the edges of int8.
Q4_CODES = bytes(i | (15 - i) << 4 for i in range(16))
Q8_CODES = bytes([0x80, 0x81, 0xFF, 0x00, 0x01, 0x7F] + [(i * 37 + 11) % 256 for i in range(26)])
LAYOUT = {"Q4_0": (1, Q4_CODES), "Q4_1": (2, Q4_CODES), "Q8_0": (1, Q8_CODES)}

# f16 bits of the scales (and minima) that a decoder can get wrong.
SCALES = {
    "scale one": 0x3C00,
    "negative scale": 0xB600,
    "zero scale": 0x0000,
    "negative zero scale": 0x8000,
    "smallest subnormal scale": 0x0001,
    "largest subnormal scale": 0x03FF,
    "negative subnormal scale": 0x8155,
    "smallest normal scale": 0x0400,
    "largest scale": 0x7BFF,
}
MINIMUM = 0xB555  # about -1/3: the sum with it is rounded



def spread(count):
    """Numbers without a pattern, by integer arithmetic: the same on every machine."""
    i = np.arange(count, dtype=np.int64)
    return ((i * i * 7919 + i * 31 + 5) % 1009 - 504).astype(np.float32) / 700


RAMP = (np.arange(32, dtype=np.float32) - 16) / 8
POSITIVE_PEAK = RAMP.copy()
POSITIVE_PEAK[3] = 3.0
QUANTIZED = {
    "quantized ramp": RAMP,
    "quantized ramp with a positive peak": POSITIVE_PEAK,
    "quantized zeros": np.zeros(32, dtype=np.float32),
    "quantized spread": spread(256),
}
F16_BITS = [0, 0x8000, 1, 0x8001, 0x3FF, 0x400, 0x3555, 0x3C00, 0xBC01, 0x7BFF, 0xFBFF, 0x7C00]
F32_BITS = [0, 0x80000000, 1, 0x807FFFFF, 0x00800000, 0x3F800000, 0xBEAAAAAB, 0x7F7FFFFF]


def bits(values):
    """The bits of f32 values, 8 hex digits each."""
    return " ".join(f"{b:08x}" for b in np.ascontiguousarray(values, np.float32).view("<u4").flat)


def case(kind, name, data):
    values = dequantize(np.frombuffer(data, np.uint8), GGMLQuantizationType[kind])
    return {"type": kind, "name": name, "bytes": data.hex(), "f32": bits(values)}


def block_cases():
    for kind, (halves, codes) in LAYOUT.items():
        for name, scale in SCALES.items():
            head = np.array([scale, MINIMUM][:halves], "<u2").tobytes()
            yield case(kind, name, head + codes)
        for name, values in QUANTIZED.items():
            yield case(kind, name, quantize(values, GGMLQuantizationType[kind]).tobytes())
    # For plain floats the bits are the golden value: numpy widens, gguf has no say.
    f16 = np.array(F16_BITS, "<u2").view("<f2")
    yield {"type": "F16", "name": "edges", "bytes": f16.tobytes().hex(), "f32": bits(f16)}
    f32 = np.array(F32_BITS, "<u4").view("<f4")
    yield {"type": "F32", "name": "edges", "bytes": f32.tobytes().hex(), "f32": bits(f32)}


def write_small_file(path):
    writer = GGUFWriter(path, "llama")
    writer.add_custom_alignment(64)
    numbers = ["uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"]
    for name in numbers:
        low = np.iinfo(name).min
        getattr(writer, f"add_{name}")(f"golden.{name}", int(low or np.iinfo(name).max))
    writer.add_float32("golden.float32", 1e-5)
    writer.add_float64("golden.float64", 1e-5)
    writer.add_bool("golden.yes", True)
    writer.add_bool("golden.no", False)
    writer.add_string("golden.text", "Ġé𝄞 and a\nnew line")
    writer.add_key_value("golden.empty", "", GGUFValueType.STRING)  # add_string leaves "" out
    writer.add_array("golden.tokens", ["<s>", "Ġthe", "é"])
    writer.add_array("golden.integers", [-1, 0, 1])
    writer.add_array("golden.floats", [0.5, -0.25])
    writer.add_array("golden.nested", [[1, 2], [3]])
    writer.add_tensor("norm.weight", spread(33))
    writer.add_tensor("plain.weight", spread(15).reshape(3, 5))
    writer.add_tensor("half.weight", spread(15).reshape(5, 3).astype(np.float16))
    for kind in LAYOUT:
        data = quantize(spread(192).reshape(3, 64), GGMLQuantizationType[kind])
        writer.add_tensor(f"{kind.lower()}.weight", data, raw_dtype=GGMLQuantizationType[kind])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def tensor_entry(tensor):
    shape = [int(n) for n in reversed(tensor.shape)]
    values = dequantize(tensor.data, tensor.tensor_type)
    return {"name": tensor.name, "type": tensor.tensor_type.name, "shape": shape, "f32": bits(values)}


def metadata_entry(field):
    kinds = [GGUFValueType(kind).name for kind in field.types]
    return {"types": kinds, "value": field.contents()}


def small_file_entries(path):
    reader = GGUFReader(path)
    fields = {k: f for k, f in reader.fields.items() if not k.startswith("GGUF.")}
    # GGUFReader cannot show an array of arrays; its value is what was written above.
    nested = fields.pop("golden.nested")
    metadata = {key: metadata_entry(field) for key, field in fields.items()}
    metadata["golden.nested"] = {"types": ["ARRAY", "ARRAY", "INT32"], "value": [[1, 2], [3]]}
    assert nested is not None
    return {"metadata": metadata, "tensors": [tensor_entry(t) for t in reader.tensors]}


def write_json(name, content):
    text = json.dumps({"made with": VERSIONS, **content}, indent=1, ensure_ascii=False)
    (HERE / name).write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    write_json("gguf-blocks.json", {"blocks": list(block_cases())})
    small = HERE / "small.gguf"
    write_small_file(small)
    write_json("small.json", small_file_entries(small))
