"""Makes what the tests of `model` are held to, with transformers in float32.

    python3 -m pip install torch==2.13.0 transformers==5.23.0 tokenizers==0.23.3 gguf==0.19.0 accelerate numpy
    python3 labs/model/golden/make_golden.py [SmolLM2-135M-Instruct.Q4_1.gguf]

writes beside this script:

* tiny/: a random Llama, tied head, bfloat16, with a tokenizer.json;
* tiny-sharded/: the same without tied head, float16, in two shards and an index;
* tiny.gguf: the model of tiny/ as GGUF, rows of Q and K permuted as llama.cpp's converter does;
* tiny.json: logits, perplexity and token ids that the reference gives for them;
* smollm2.json: the same of the real model, when its GGUF file is given.

The texts are ../passage/alice.txt, its opening (three paragraphs), and the strings under AWKWARD.

The tokenizer of the real model is built here from the metadata of its GGUF file by the rules that
the metadata names (`smollm`). What transformers itself builds from a GGUF file leaves one of these
rules out, that each digit stands alone: smollm2.json lists the strings where that shows.

Every weight of the tiny models is a bfloat16 number that float16 holds too, so that the three
files mean the same numbers. Running it again gives the same files up to the last bits of logits.
"""

import json
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from gguf import GGMLQuantizationType, GGUFReader, GGUFWriter
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

HERE = Path(__file__).resolve().parent
PACKAGES = ["torch", "transformers", "tokenizers", "gguf", "numpy"]
VERSIONS = {name: version(name) for name in PACKAGES}
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
ALICE = (HERE.parent / "passage" / "alice.txt").read_text(encoding="ascii")
PASSAGE = "\n\n".join(ALICE.split("\n\n")[2:5])  # as model::passage::opening
CONFIG = dict(
    vocab_size=320, hidden_size=64, intermediate_size=80, num_hidden_layers=2,
    num_attention_heads=4, num_key_value_heads=2, head_dim=16, max_position_embeddings=256,
    rms_norm_eps=1e-5, bos_token_id=1, eos_token_id=2, pad_token_id=None,
)
AWKWARD = [
    "", " ", "  ", "a", " a", "  a", "   a", "a ", "a  ", "\n", "\n\n", " \n a", "\t\tx", "\r\n",
    "The capital of France is", "Hello, world!", "don't I'll we've they'd DON'T I'M x's",
    "2024", " 2024", "  2024", "   7 8", "a1b22c333", "3.14159", "1,000,000", "x2 ", "v1.2.3-rc4",
    "\u00e9 e\u0301 na\u00efve", "\u4f60\u597d\uff0c\u4e16\u754c", "\u0660\u0661\u0662 \u00bd \u00b2",
    "\U0001f600 \U0001f469\u200d\U0001f4bb", "\u00a0a\u2003b", "\ufeffx", "\u200b", "a\u0000b",
    "fn main() { println!(\"{}\", x[0]); }", "    indented\n        more\n", "snake_case camelCase",
    "https://example.org/a?b=c&d=%20", "!!!!????....", "--- *** ___", "<|im_start|>user\nHi<|im_end|>",
    "<|im_start|", "x<|endoftext|>y", "<|endoftext|><|endoftext|>", " <|im_end|> ", "<repo_name>a/b",
    "\u0645\u0631\u062d\u0628\u0627 \u0628\u0643", "\u0928\u092e\u0938\u094d\u0924\u0947", "A\u0301\u0302\u0303", "\ud7ff\uffff\U0010ffff",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "THE QUICK bRoWn", "a\u2028b\u0085c", "'s 't '", "\u2019s it\u2019s",
]


def rules(tokens, merges, special):
    """The SmolLM tokenizer: single digits, then GPT-2's byte-level BPE."""
    tokenizer = Tokenizer(models.BPE(vocab=tokens, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), byte_level()]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(special)
    return tokenizer


def byte_level():
    return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)


def encodings(tokenizer):
    def case(text):
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        return {"text": text, "ids": ids, "decoded": tokenizer.decode(ids, skip_special_tokens=False)}

    return [case(text) for text in AWKWARD]


def tiny_tokenizer():
    tokenizer = rules({}, [], [])
    trainer = trainers.BpeTrainer(
        vocab_size=CONFIG["vocab_size"], special_tokens=SPECIAL, show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )
    tokenizer.train_from_iterator([PASSAGE], trainer)
    assert tokenizer.get_vocab_size() == CONFIG["vocab_size"]
    return tokenizer


def tiny_model(tied, seed):
    torch.manual_seed(seed)
    config = LlamaConfig(**CONFIG, rope_theta=10000.0, tie_word_embeddings=tied)
    model = LlamaForCausalLM(config).float().eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            random = torch.randn_like(weight) * (0.3 if "norm" in name else 0.2)
            exact = (random + ("norm" in name)).bfloat16().float()
            weight.copy_(torch.where(exact.abs() < 2.0**-13, 0.0, exact))
    return model


def weights(model, dtype):
    tensors = {name: weight.detach().to(dtype) for name, weight in model.named_parameters()}
    assert all(torch.equal(tensors[name].float(), w) for name, w in model.named_parameters())
    return {name: tensors[name].contiguous() for name in sorted(tensors)}


def write_config(folder, tied, dtype):
    keep = dict(CONFIG, rope_theta=10000.0, tie_word_embeddings=tied, torch_dtype=dtype)
    keep.update(architectures=["LlamaForCausalLM"], model_type="llama", hidden_act="silu")
    keep.update(rope_scaling=None, attention_bias=False, mlp_bias=False)
    (folder / "config.json").write_text(json.dumps(keep, indent=1) + "\n")


def write_tiny(model, tokenizer):
    folder = HERE / "tiny"
    folder.mkdir(exist_ok=True)
    write_config(folder, True, "bfloat16")
    save_file(weights(model, torch.bfloat16), folder / "model.safetensors", {"format": "pt"})
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)


def write_sharded(model):
    folder = HERE / "tiny-sharded"
    folder.mkdir(exist_ok=True)
    write_config(folder, False, "float16")
    tensors = weights(model, torch.float16)
    for name in tensors:
        if "norm" in name:
            tensors[name] = tensors[name].float()
    names = sorted(tensors)
    shards = {"model-00001-of-00002.safetensors": names[::2]}
    shards["model-00002-of-00002.safetensors"] = names[1::2]
    for shard, held in shards.items():
        save_file({name: tensors[name] for name in held}, folder / shard, {"format": "pt"})
    index = {"weight_map": {name: shard for shard, held in shards.items() for name in held}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=1) + "\n")


GGUF_NAMES = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm", "model.layers.": "blk.",
    "model.embed_tokens": "token_embd", "model.norm": "output_norm",
}


def permute(weight, heads):
    half = weight.shape[0] // heads // 2
    split = weight.reshape(heads, 2, half, weight.shape[1])
    return np.ascontiguousarray(split.swapaxes(1, 2).reshape(weight.shape))


def write_gguf(model, tokenizer):
    writer = GGUFWriter(HERE / "tiny.gguf", "llama")
    writer.add_block_count(CONFIG["num_hidden_layers"])
    writer.add_context_length(CONFIG["max_position_embeddings"])
    writer.add_embedding_length(CONFIG["hidden_size"])
    writer.add_feed_forward_length(CONFIG["intermediate_size"])
    writer.add_head_count(CONFIG["num_attention_heads"])
    writer.add_head_count_kv(CONFIG["num_key_value_heads"])
    writer.add_rope_dimension_count(CONFIG["head_dim"])
    writer.add_rope_freq_base(10000.0)
    writer.add_layer_norm_rms_eps(CONFIG["rms_norm_eps"])
    writer.add_vocab_size(CONFIG["vocab_size"])
    write_gguf_tokenizer(writer, json.loads(tokenizer.to_str())["model"])
    for name, weight in weights(model, torch.float32).items():
        weight = weight.numpy()
        if "q_proj" in name or "k_proj" in name:
            key = "num_attention_heads" if "q_proj" in name else "num_key_value_heads"
            weight = permute(weight, CONFIG[key])
        for long, short in GGUF_NAMES.items():
            name = name.replace(long, short)
        writer.add_tensor(name, weight if weight.ndim == 1 else weight.astype(np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_gguf_tokenizer(writer, bpe):
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    tokens = sorted(bpe["vocab"], key=bpe["vocab"].get)
    writer.add_token_list(tokens)
    writer.add_token_types([3 if token in SPECIAL else 1 for token in tokens])
    writer.add_token_merges([" ".join(pair) for pair in bpe["merges"]])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_add_bos_token(False)


@torch.no_grad()
def logits(model, ids):
    return model(torch.tensor([ids])).logits[0].float()


def perplexity(model, ids, chunk, bos):
    """llama.cpp's: whole chunks, token 0 replaced in the input only, the second half scored."""
    total, count = 0.0, 0
    for start in range(0, len(ids) - chunk + 1, chunk):
        window = list(ids[start : start + chunk])
        seen = window if bos is None else [bos] + window[1:]
        scores = torch.log_softmax(logits(model, seen).double(), -1)
        for target in range(chunk // 2 + 1, chunk):
            total -= scores[target - 1, window[target]].item()
            count += 1
    return {"chunk": chunk, "bos": bos, "scored": count, "mean_nll": total / count,
            "perplexity": float(np.exp(total / count))}


def run(model, ids, positions, columns):
    out = logits(model, ids)
    values = out[positions][:, columns]
    return {"ids": ids, "argmax": out.argmax(-1).tolist(), "positions": positions,
            "columns": columns, "logits": [[float(v) for v in row] for row in values],
            "absmax": float(out.abs().max())}


@torch.no_grad()
def greedy(model, ids, count):
    ids = list(ids)
    for _ in range(count):
        ids.append(int(logits(model, ids)[-1].argmax()))
    return ids


def write_json(name, content):
    path = HERE / name
    path.write_text(json.dumps({"versions": VERSIONS, **content}, indent=None) + "\n")


def make_tiny():
    tokenizer = tiny_tokenizer()
    tied, untied = tiny_model(True, 11), tiny_model(False, 12)
    write_tiny(tied, tokenizer)
    write_sharded(untied)
    write_gguf(tied, tokenizer)
    prompt = [(7 * i * i + 3 * i + 5) % CONFIG["vocab_size"] for i in range(48)]
    passage = tokenizer.encode(PASSAGE).ids
    whole = [list(range(48)), list(range(0, 320, 13))]
    write_json("tiny.json", {
        "tied": run(tied, prompt, *whole), "untied": run(untied, prompt, *whole),
        "passage_ids": passage, "greedy": greedy(tied, prompt[:5], 12),
        "perplexity": [perplexity(tied, passage, c, b) for c in (64, 33) for b in (1, None)],
        "tokenizer": encodings(tokenizer),
    })


def make_smollm2(path):
    tokenizer = rules_of(GGUFReader(path))
    folder = dict(pretrained_model_name_or_path=str(path.parent), gguf_file=path.name)
    model = AutoModelForCausalLM.from_pretrained(**folder, dtype=torch.float32).eval()
    theirs = AutoTokenizer.from_pretrained(**folder)
    prompts = ["The capital of France is", "def add(a, b):\n    return", PASSAGE[:600]]
    columns = list(range(0, 49152, 1999))
    runs = []
    for prompt in prompts:
        ids = tokenizer.encode(prompt).ids
        runs.append(run(model, ids, sorted({0, 1, len(ids) // 2, len(ids) - 1}), columns))
    passage = tokenizer.encode(PASSAGE).ids
    alice = tokenizer.encode(ALICE).ids
    cases = encodings(tokenizer)
    differ = [c["text"] for c in cases if theirs(c["text"])["input_ids"] != c["ids"]]
    continued = greedy(model, tokenizer.encode(prompts[0]).ids, 14)
    write_json("smollm2.json", {
        "runs": runs, "greedy": continued, "greedy_text": tokenizer.decode(continued),
        "passage_ids": passage, "tokenizer": cases, "transformers_gguf_differs": differ,
        "perplexity": [perplexity(model, passage, 128, b) for b in (1, None)],
        "alice_tokens": len(alice),
        "alice_start": [perplexity(model, alice[:2048], 512, b) for b in (1, None)],
    })


def rules_of(reader):
    field = lambda key: reader.fields[key].contents()
    tokens = field("tokenizer.ggml.tokens")
    kinds = field("tokenizer.ggml.token_type")
    merges = [tuple(merge.split(" ")) for merge in field("tokenizer.ggml.merges")]
    special = [token for token, kind in zip(tokens, kinds) if kind == 3]
    return rules({token: i for i, token in enumerate(tokens)}, merges, special)


if __name__ == "__main__":
    make_tiny()
    if len(sys.argv) > 1:
        make_smollm2(Path(sys.argv[1]).resolve())
