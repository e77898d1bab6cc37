"""GPTQ of llm-compressor on the course's model: the text, the tokens and the choices of the run
`aim, llm-compressor's choices`, and the seconds that it takes.

    uv venv --python 3.11 && uv pip install llmcompressor==0.14.0.1 torch
    cargo book quantize --scheme none --out target/checkpoints/none
    python labs/measure/src/gptq/time_llm_compressor.py target/checkpoints/none OUT OTHER.json [SAMPLES]
    cargo book perplexity OUT
    cargo book capture gptq --other OTHER.json

SAMPLES are chunks of 512 tokens, 128 unless another number is given. OUT is the checkpoint."""

import datetime
import json
import os
import pathlib
import resource
import sys
import time

import torch

# AWQ and GPTQ of this version pin memory, which needs CUDA.
torch.Tensor.pin_memory = lambda self, *args, **kwargs: self

import compressed_tensors
import llmcompressor
import transformers
from datasets import Dataset
from llmcompressor import oneshot
from llmcompressor.modifiers.quantization import GPTQModifier

CHUNK, THREADS = 512, os.cpu_count()
TEXT = pathlib.Path(__file__).parents[3] / "model/passage/paradise-lost.txt"


def main(base, out, other, samples=128):
    torch.set_num_threads(THREADS)
    tokenizer = transformers.AutoTokenizer.from_pretrained(base)
    model = transformers.AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    ids = tokenizer(TEXT.read_text(), add_special_tokens=False)["input_ids"]
    rows = [ids[at * CHUNK : (at + 1) * CHUNK] for at in range(samples)]
    data = Dataset.from_dict({"input_ids": rows, "attention_mask": [[1] * CHUNK for _ in rows]})
    weights = {"num_bits": 4, "type": "int", "symmetric": True, "strategy": "group", "group_size": 64}
    groups = {"group_0": {"targets": ["Linear"], "weights": weights}}
    recipe = GPTQModifier(config_groups=groups, ignore=["lm_head"], actorder="static")
    load, date = os.getloadavg()[0], datetime.datetime.now(datetime.timezone.utc)
    started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
    oneshot(model=model, dataset=data, recipe=recipe, max_seq_length=CHUNK, num_calibration_samples=samples)
    seconds, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF)
    model.save_pretrained(out, save_compressed=True)
    tokenizer.save_pretrained(out)
    versions = {"torch": torch, "compressed-tensors": compressed_tensors, "transformers": transformers}
    versions = ", ".join(f"{name} {module.__version__}" for name, module in versions.items())
    measured = {
        "name": f"llm-compressor, {samples} samples",
        "version": f"llm-compressor {llmcompressor.__version__}, {versions}",
        "text": "Paradise Lost",
        "tokens": samples * CHUNK,
        "threads": THREADS,
        "seconds": round(seconds, 1),
        "processor_seconds": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 1),
        "load": round(load, 2),
        "perplexity": None,
        "date": date.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    pathlib.Path(other).write_text(json.dumps(measured, indent=2) + "\n")
    print(measured)


if __name__ == "__main__":
    main(*sys.argv[1:4], *map(int, sys.argv[4:]))
