"""GPTQModel on the course's model, with its default choices apart from bits and group size, on a CPU.

    labs/measure/src/zoo/others/setup.sh gptqmodel
    cargo book quantize --scheme none --out target/checkpoints/none
    target/zoo/venvs/gptqmodel/bin/python labs/measure/src/zoo/others/gptqmodel_gptq.py [NAME...]

`timed.py` says what is written. The script is not named after the package, because Python would import the
script instead."""

import os

# With fewer than three processors GPTQModel 7.7 makes one worker, and then asks it for two loaders.
os.environ.setdefault("GPTQMODEL_CPU_WORKERS", "2")

import torch
from gptqmodel import GPTQModel, QuantizeConfig
from transformers import AutoTokenizer

from timed import CHUNK, ROOT, THREADS, arguments, chunks, run, timed, versions

RECIPES = {
    "gptqmodel-4bit-g64": {"bits": 4, "group_size": 64},
    "gptqmodel-4bit-g32": {"bits": 4, "group_size": 32},
    "gptqmodel-3bit-g64": {"bits": 3, "group_size": 64},
    "gptqmodel-8bit-g64": {"bits": 8, "group_size": 64},
}


def make(name, recipe, folder, asked):
    torch.set_num_threads(THREADS)
    tokenizer = AutoTokenizer.from_pretrained(asked.model)
    rows = chunks(tokenizer, asked.samples)
    data = [{"input_ids": row, "attention_mask": [1] * CHUNK} for row in rows]
    model = os.path.abspath(asked.model)
    # GPTQModel writes a folder of logs where the process is.
    os.chdir(folder)
    config = QuantizeConfig(**recipe, device="cpu", offload_to_disk=False)
    # The dtype of the file, which GPTQModel takes by itself on a GPU. On a CPU it rounds the model to bf16 first.
    model = GPTQModel.load(model, config, dtype=torch.float16)
    version = versions("gptqmodel", "torch", "transformers")
    with timed("GPTQModel", version.replace("gptqmodel", "GPTQModel", 1), asked.samples * CHUNK) as measured:
        model.quantize(data, batch_size=1, tokenizer=tokenizer)
    model.save(str(folder))
    tokenizer.save_pretrained(folder)
    return measured


if __name__ == "__main__":
    run(arguments(__doc__, RECIPES, model=str(ROOT / "target/checkpoints/none")), RECIPES, make)
