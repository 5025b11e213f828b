"""Reading a BERT-base-sized TensorFlow checkpoint, against TensorFlow reading it: time and memory.

Every measurement is a process of its own, and the two take turns.  The checkpoint has random numbers and is written by
TensorFlow; it is in the page cache when time is taken.  Both sides compare checksums.  TensorFlow copies every tensor
into memory; here they are mapped, and take memory when they are used: "used" adds that every tensor is summed up.

Memory is given twice.  The peak (VmHWM) counts every page that the process can see: of a mapped file, those that
were used, too, although they are the page cache's, which lends them to any number of processes, and takes them back
when memory is short.  What the process itself holds (RssAnon, when all tensors have been used and are still there) is
what nobody else can have, and what many processes with the same checkpoint take each.  "libraries alone" is the peak
after the imports, torch's or TensorFlow's, of which either side holds most all the time.

Usage: python benchmarks/tensorflow_checkpoint.py [--tensorflow PYTHON] [--rounds N]
PYTHON is an interpreter that has TensorFlow (the extra ``tensorflow``); by default the one that runs this.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from results import row

MEGABYTE = 1e6

REPORT = """
import json, os, re, sys
from time import perf_counter
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = ""
def memory(kind):
    return int(re.search(kind + r":\\s+(\\d+)", open("/proc/self/status").read())[1]) * 1024
def peak():
    return memory("VmHWM")
def report(**numbers):
    print(json.dumps(numbers))
prefix = sys.argv[1]
"""

MAKE = """
import numpy as np
import tensorflow as tf
random, width, inner = np.random.default_rng(0), 768, 3072
shapes = {"word_embeddings": (30522, width), "position_embeddings": (512, width), "token_type_embeddings": (2, width)}
shapes = {f"bert/embeddings/{name}": shape for name, shape in shapes.items()}
for layer in range(12):
    here = f"bert/encoder/layer_{layer}"
    for part in ("attention/self/query", "attention/self/key", "attention/self/value", "attention/output/dense"):
        shapes |= {f"{here}/{part}/kernel": (width, width), f"{here}/{part}/bias": (width,)}
    shapes |= {f"{here}/intermediate/dense/kernel": (width, inner), f"{here}/intermediate/dense/bias": (inner,)}
    shapes |= {f"{here}/output/dense/kernel": (inner, width), f"{here}/output/dense/bias": (width,)}
    for part in ("attention/output/LayerNorm", "output/LayerNorm"):
        shapes |= {f"{here}/{part}/gamma": (width,), f"{here}/{part}/beta": (width,)}
tensors = [tf.constant(random.standard_normal(shape, dtype=np.float32)) for shape in shapes.values()]
tf.raw_ops.SaveV2(prefix=prefix, tensor_names=list(shapes), shape_and_slices=[""] * len(shapes), tensors=tensors)
report(version=tf.__version__)
"""

OURS = """
import torch
from pathlib import Path
from registry.weights.tensorflow import bundle
alone = peak()
start = perf_counter()
tensors = dict(bundle.load({path.name: path for path in Path(prefix).parent.iterdir()}).items())
read, after = perf_counter() - start, peak()
for tensor in tensors.values():
    tensor.sum()
used = perf_counter() - start
report(
    read=read, used=used, peak=after, used_peak=peak(), held=memory("RssAnon"), alone=alone, tensors=len(tensors)
)
"""

THEIRS = """
import numpy as np
import tensorflow as tf
alone = peak()
start = perf_counter()
reader = tf.train.load_checkpoint(prefix)
tensors = {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}
read, after = perf_counter() - start, peak()
for tensor in tensors.values():
    tensor.sum()
used = perf_counter() - start
report(
    read=read, used=used, peak=after, used_peak=peak(), held=memory("RssAnon"), alone=alone, tensors=len(tensors)
)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tensorflow", default=sys.executable, metavar="PYTHON")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        prefix = f"{directory}/bert_model.ckpt"
        version = run(arguments.tensorflow, MAKE, prefix)["version"]
        size = sum(path.stat().st_size for path in Path(directory).iterdir())
        results = [
            (run(sys.executable, OURS, prefix), run(arguments.tensorflow, THEIRS, prefix))
            for _ in range(arguments.rounds + 1)
        ][1:]  # the first fills the page cache
    ours, theirs = (medians([pair[side] for pair in results]) for side in (0, 1))
    assert ours["tensors"] == theirs["tensors"]
    print(f"A checkpoint of {size / MEGABYTE:.0f} MB with {ours['tensors']} tensors; TensorFlow {version}.")
    for what, key, aim in (("all tensors read", "read", "  (aim: >= 1x)"), ("... and used", "used", "")):
        row(f"TensorFlow checkpoint, {what}", ours[key] * 1e3, "ms", ratio=theirs[key] / ours[key], peer="TensorFlow")
        print(
            f"{what:28} {ours[key] * 1e3:7.0f} ms   TensorFlow {theirs[key] * 1e3:7.0f} ms"
            f"   {theirs[key] / ours[key]:5.2f}x{aim}"
        )
    for what, key, aim in (
        ("peak memory when read", "peak", "  (aim: <= 0.6x)"),
        ("... when used", "used_peak", ""),
        ("held by the process itself", "held", ""),
        ("libraries alone", "alone", ""),
    ):
        ratio = theirs[key] / ours[key]
        row(f"TensorFlow checkpoint, {what}", ours[key] / MEGABYTE, "MB", ratio=ratio, peer="TensorFlow")
        print(
            f"{what:28} {ours[key] / MEGABYTE:7.0f} MB   TensorFlow {theirs[key] / MEGABYTE:7.0f} MB"
            f"   {ours[key] / theirs[key]:5.2f}x{aim}"
        )


def medians(results: list[dict[str, float]]) -> dict[str, float]:
    return {key: statistics.median(result[key] for result in results) for key in results[0]}


def run(python: str, script: str, prefix: str) -> dict[str, float]:
    """Run a script in a process of its own; returns what it reports."""
    done = subprocess.run(
        [python, "-W", "ignore", "-c", REPORT + script, prefix],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    report: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return report


if __name__ == "__main__":
    main()
