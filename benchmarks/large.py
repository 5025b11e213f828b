"""Loading Llama directories of 7 and 70 billion parameters: seconds, and memory of the process's own.

Files are sparse: they have headers, names and shapes as published, and zeros that take no room on the disk.  What is
measured is what loading adds to reading: names matched, files mapped, everything reported.  The process has imported
torch; memory is what is not a mapped file.  The architecture is that of the example, ``registry-llama``.

Usage: python benchmarks/large.py [--rounds N]
"""

import argparse
import json
import os
import struct
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import NamedTuple

from results import row

LLAMA = Path(__file__).parent.parent / "examples" / "registry-llama" / "src"

LOAD = """
import json, re, sys
from time import perf_counter
import torch
def own():
    return int(re.search(r"Anonymous: +(\\d+)", open("/proc/self/smaps_rollup").read())[1]) * 1024
import registry
from registry_llama import plugin
registry.register(plugin)
before, start = own(), perf_counter()
model = registry.load_model(sys.argv[1], dtype=torch.bfloat16)
seconds = perf_counter() - start
print(json.dumps({"seconds": seconds, "own": own() - before, "loaded": len(model.load_report.loaded)}))
"""


class Llama(NamedTuple):
    """Sizes of a published Llama, and the files its weights come in."""

    layers: int
    width: int
    inner: int
    heads: int
    key_value_heads: int
    files: int


SIZES = {
    "7B": Llama(layers=32, width=4096, inner=11008, heads=32, key_value_heads=32, files=3),
    "70B": Llama(layers=80, width=8192, inner=28672, heads=64, key_value_heads=8, files=30),
}
VOCABULARY = 32_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    for name, llama in SIZES.items():
        with tempfile.TemporaryDirectory() as directory:
            tensors = write(Path(directory), llama)
            found = [load(directory) for _ in range(rounds + 1)][1:]
        assert all(of["loaded"] == tensors for of in found)
        seconds, own = median(of["seconds"] for of in found), median(of["own"] for of in found)
        row(f"load_model of a Llama, {name}", seconds, "s")
        row(f"load_model of a Llama, {name}, own memory", own / 1e6, "MB")
        print(f"Llama {name:4} {tensors:5} tensors in {llama.files:2} files: {seconds:6.3f} s, {own / 1e6:6.1f} MB")


def load(directory: str) -> dict[str, float]:
    """What a process that loads the directory reports."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path, str(LLAMA)])}
    line = [sys.executable, "-W", "ignore", "-c", LOAD, directory]
    found: dict[str, float] = json.loads(subprocess.run(line, env=environment, check=True, capture_output=True).stdout)
    return found


# --- Directories ------------------------------------------------------------------------------------------------------


def write(directory: Path, llama: Llama) -> int:
    """Write a directory of zeros in bfloat16, as the hub has it; return its number of tensors."""
    shapes = shapes_of(llama)
    names, of_name, total = list(shapes), {}, 0
    for number in range(llama.files):
        file = f"model-{number + 1:05}-of-{llama.files:05}.safetensors"
        header, end = {}, 0
        for name in names[number * len(names) // llama.files : (number + 1) * len(names) // llama.files]:
            start, end = end, end + 2 * shapes[name][0] * (shapes[name][1] if len(shapes[name]) > 1 else 1)
            header[name] = {"dtype": "BF16", "shape": shapes[name], "data_offsets": [start, end]}
            of_name[name] = file
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)  # as the library writes it, so that tensors can be mapped where they lie
        with (directory / file).open("wb") as sparse:
            sparse.write(struct.pack("<Q", len(text)) + text)
            sparse.truncate(8 + len(text) + end)
        total += end
    index = {"metadata": {"total_size": total}, "weight_map": of_name}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index))
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": VOCABULARY,
        "hidden_size": llama.width,
        "intermediate_size": llama.inner,
        "num_hidden_layers": llama.layers,
        "num_attention_heads": llama.heads,
        "num_key_value_heads": llama.key_value_heads,
        "tie_word_embeddings": False,
    }
    (directory / "config.json").write_text(json.dumps(config))
    return len(shapes)


def shapes_of(llama: Llama) -> dict[str, list[int]]:
    """The published names, each with its shape."""
    width, inner = llama.width, llama.inner
    narrow = width * llama.key_value_heads // llama.heads
    block = {
        "self_attn.q_proj": [width, width],
        "self_attn.k_proj": [narrow, width],
        "self_attn.v_proj": [narrow, width],
        "self_attn.o_proj": [width, width],
        "mlp.gate_proj": [inner, width],
        "mlp.up_proj": [inner, width],
        "mlp.down_proj": [width, inner],
        "input_layernorm": [width],
        "post_attention_layernorm": [width],
    }
    blocks = {
        f"model.layers.{layer}.{name}.weight": shape for layer in range(llama.layers) for name, shape in block.items()
    }
    vocabulary = {name: [VOCABULARY, width] for name in ("model.embed_tokens.weight", "lm_head.weight")}
    return {**vocabulary, **blocks, "model.norm.weight": [width]}


if __name__ == "__main__":
    main()
