"""llm-compressor on the course's model.

    labs/measure/src/zoo/others/setup.sh llm-compressor
    cargo book quantize --scheme none --out target/checkpoints/none
    target/zoo/venvs/llm-compressor/bin/python labs/measure/src/zoo/others/llm_compressor.py [NAME...]

With `--samples 128`, `llm-compressor-w4a16-g64-gptq` makes the choices of the run `aim, llm-compressor's
choices` of the capture of GPTQ. `llm-compressor-w4a16-g64-awq` makes those of `AWQ, second formula, without
clipping` of the capture of AWQ. METHOD being gptq or awq and NAME one of the two, run the script with
`NAME --samples 128 --out OTHER`, and then

    cargo book capture METHOD --other OTHER/NAME.json --scored OTHER/NAME

adds the measurement to a capture. `timed.py` says what is written."""

import torch

# AWQ and GPTQ of this version pin memory, which needs CUDA.
torch.Tensor.pin_memory = lambda self, *args, **kwargs: self

import transformers
from datasets import Dataset
from llmcompressor import oneshot
from llmcompressor.modifiers.quantization import GPTQModifier, QuantizationModifier
from llmcompressor.modifiers.transform.awq import AWQModifier

from timed import CHUNK, ROOT, THREADS, arguments, chunks, run, timed, versions


def integers(bits, group_size=None, symmetric=True):
    strategy = {"strategy": "group", "group_size": group_size} if group_size else {"strategy": "channel"}
    weights = {"num_bits": bits, "type": "int", "symmetric": symmetric, **strategy}
    return {"config_groups": {"group_0": {"targets": ["Linear"], "weights": weights}}}


FP8 = {"num_bits": 8, "type": "float", "symmetric": True, "strategy": "channel"}
FP8_WEIGHTS = {"config_groups": {"group_0": {"targets": ["Linear"], "weights": FP8}}}

# The programs' ways to codes. Each takes the grid.
METHODS = {
    "rtn": lambda **grid: QuantizationModifier(**grid),
    "gptq": lambda **grid: GPTQModifier(actorder="static", **grid),
    # The scales with their default choices, and then the nearest codes.
    "awq": lambda **grid: [AWQModifier(), QuantizationModifier(**grid)],
}
RECIPES = {
    "llm-compressor-w4a16-g64-rtn": ("rtn", integers(4, 64)),
    "llm-compressor-w4a16-g64-gptq": ("gptq", integers(4, 64)),
    "llm-compressor-w4a16-g64-awq": ("awq", integers(4, 64)),
    "llm-compressor-w4a16-g32-gptq": ("gptq", integers(4, 32)),
    "llm-compressor-w4a16-g64-asym-gptq": ("gptq", integers(4, 64, symmetric=False)),
    "llm-compressor-w4a16-g64-asym-awq": ("awq", integers(4, 64, symmetric=False)),
    "llm-compressor-w3a16-g64-gptq": ("gptq", integers(3, 64)),
    "llm-compressor-w8a16-rtn": ("rtn", integers(8)),
    "llm-compressor-fp8-weights-rtn": ("rtn", FP8_WEIGHTS),
    "llm-compressor-fp8-dynamic-rtn": ("rtn", {"targets": "Linear", "scheme": "FP8_DYNAMIC"}),
    "llm-compressor-nvfp4a16-rtn": ("rtn", {"targets": "Linear", "scheme": "NVFP4A16"}),
    "llm-compressor-nvfp4a16-gptq": ("gptq", {"targets": "Linear", "scheme": "NVFP4A16"}),
    "llm-compressor-mxfp4a16-rtn": ("rtn", {"targets": "Linear", "scheme": "MXFP4A16"}),
}


def make(name, recipe, folder, asked):
    method, grid = recipe
    torch.set_num_threads(THREADS)
    tokenizer = transformers.AutoTokenizer.from_pretrained(asked.model)
    model = transformers.AutoModelForCausalLM.from_pretrained(asked.model, dtype=torch.float32)
    calibrated = {}
    if method != "rtn":
        rows = chunks(tokenizer, asked.samples)
        data = Dataset.from_dict({"input_ids": rows, "attention_mask": [[1] * CHUNK for _ in rows]})
        calibrated = {"dataset": data, "max_seq_length": CHUNK, "num_calibration_samples": asked.samples}
    version = versions("llmcompressor", "torch", "compressed-tensors", "transformers")
    version = version.replace("llmcompressor", "llm-compressor", 1)
    with timed("llm-compressor", version, asked.samples * CHUNK if calibrated else 0) as measured:
        oneshot(model=model, recipe=METHODS[method](ignore=["lm_head"], **grid), **calibrated)
    # The calibration is in f32. The file is as large as one of the original, whose floats are f16. The second
    # scale of NVFP4 is f32 by the format.
    for part, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if tensor.dtype == torch.float32 and not part.endswith("global_scale"):
            tensor.data = tensor.data.half()
    model.config.dtype = torch.float16
    model.save_pretrained(folder, save_compressed=True)
    tokenizer.save_pretrained(folder)
    return measured


if __name__ == "__main__":
    run(arguments(__doc__, RECIPES, model=str(ROOT / "target/checkpoints/none")), RECIPES, make)
