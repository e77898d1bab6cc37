"""bitsandbytes' NF4 on the course's model, through transformers, on a CPU.

    labs/measure/src/zoo/others/setup.sh bitsandbytes
    cargo book quantize --scheme none --out target/checkpoints/none
    target/zoo/venvs/bitsandbytes/bin/python labs/measure/src/zoo/others/bitsandbytes_nf4.py [NAME...]

`timed.py` says what is written, with two differences. The folder holds the values, as `bitsandbytes` gives them
back in f16, because the course does not read the layout of `bitsandbytes`. OUT/NAME.stored holds that layout,
and the measurement counts the bytes and the weights of its linear layers."""

import shutil

import torch
import transformers
from bitsandbytes.functional import dequantize_4bit
from bitsandbytes.nn import Linear4bit
from safetensors import safe_open

from timed import ROOT, THREADS, arguments, run, timed, versions

RECIPES = {
    "bitsandbytes-nf4": {"bnb_4bit_use_double_quant": False},
    "bitsandbytes-nf4-double": {"bnb_4bit_use_double_quant": True},
}


def make(name, recipe, folder, asked):
    torch.set_num_threads(THREADS)
    tokenizer = transformers.AutoTokenizer.from_pretrained(asked.model)
    config = transformers.BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", **recipe)
    load = transformers.AutoModelForCausalLM.from_pretrained
    with timed("bitsandbytes", versions("bitsandbytes", "torch", "transformers"), 0) as measured:
        model = load(asked.model, dtype=torch.float16, device_map="cpu", quantization_config=config)
    stored = folder.with_name(f"{folder.name}.stored")
    shutil.rmtree(stored, ignore_errors=True)
    model.save_pretrained(stored)

    plain = load(asked.model, dtype=torch.float16)
    layers = {part: layer for part, layer in model.named_modules() if isinstance(layer, Linear4bit)}
    for part, layer in layers.items():
        weight = plain.get_submodule(part).weight
        weight.data = dequantize_4bit(layer.weight.data, layer.weight.quant_state).to(weight)
    plain.save_pretrained(folder)
    for target in (stored, folder):
        tokenizer.save_pretrained(target)

    size = {}
    with safe_open(stored / "model.safetensors", "pt") as file:
        for key in file.keys():
            layer, _, rest = key.partition(".weight")
            if layer in layers:
                tensor = file.get_tensor(key)
                kind = rest.lstrip(".") or "codes"
                size[kind] = size.get(kind, 0) + tensor.numel() * tensor.element_size()
    weights = sum(layer.in_features * layer.out_features for layer in layers.values())
    measured["linear"] = {"weights": weights, "bytes": sum(size.values()), "parts": size}
    measured["linear"]["bits_per_weight"] = round(8 * sum(size.values()) / weights, 4)
    return measured


if __name__ == "__main__":
    run(arguments(__doc__, RECIPES, model=str(ROOT / "target/checkpoints/none")), RECIPES, make)
