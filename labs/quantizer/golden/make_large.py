"""A sharded checkpoint of 8 GB that takes no room: sparse files of zeros, to measure memory with.

    python labs/quantizer/golden/make_large.py FOLDER
    cargo book quantize --scheme w8a8 --input FOLDER --out FOLDER-w8a8

The program prints the most memory that it had. The shards are a Llama of 60 layers of width 2048 in
bfloat16; standard library only. The result is no sparse file: it takes about 4 GB of disk.
"""

import json
import pathlib
import struct
import sys

LAYERS, HIDDEN, INNER, VOCAB, SHARDS = 60, 2048, 8192, 32000, 4
ATTENTION = {f"self_attn.{name}_proj": [HIDDEN, HIDDEN] for name in "qkvo"}
MLP = {"mlp.gate_proj": [INNER, HIDDEN], "mlp.up_proj": [INNER, HIDDEN],
       "mlp.down_proj": [HIDDEN, INNER]}
NORMS = {"input_layernorm": [HIDDEN], "post_attention_layernorm": [HIDDEN]}


def tensors():
    yield "model.embed_tokens.weight", [VOCAB, HIDDEN]
    for layer in range(LAYERS):
        for name, shape in (ATTENTION | MLP | NORMS).items():
            yield f"model.layers.{layer}.{name}.weight", shape
    yield "model.norm.weight", [HIDDEN]


def write_shard(path, entries):
    header, end = {"__metadata__": {"format": "pt"}}, 0
    for name, shape in entries:
        begin, size = end, 2
        for axis in shape:
            size *= axis
        end = begin + size
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + end)
    return end


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True)
    every, index, total = list(tensors()), {}, 0
    for shard in range(SHARDS):
        name = f"model-{shard + 1:05}-of-{SHARDS:05}.safetensors"
        entries = every[shard * len(every) // SHARDS : (shard + 1) * len(every) // SHARDS]
        total += write_shard(folder / name, entries)
        index |= {tensor: name for tensor, _ in entries}
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {"total_size": total}, "weight_map": index}))
    (folder / "config.json").write_text(json.dumps({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": VOCAB,
        "hidden_size": HIDDEN, "intermediate_size": INNER, "num_hidden_layers": LAYERS,
        "num_attention_heads": 16, "num_key_value_heads": 16, "max_position_embeddings": 2048,
        "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": True,
        "torch_dtype": "bfloat16"}))
    print(f"{folder}: {total} bytes of tensors")


main()
