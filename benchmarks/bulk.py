"""Embedding many texts: against sentence-transformers on one core, on several processes, and its memory.

    python benchmarks/bulk.py                     # 2,000 lines, and memory at 1,000 and 20,000
    python benchmarks/bulk.py --lines 100000 --memory 10000 1000000    # for a quiet machine, and long

Texts are lines of the docstrings of Python's standard library, repeated where there are fewer.  The model is MiniLM, or
one of its shape with random weights where it is not there (``--random``).  Vectors are compared first; beyond 1e-5 the
script ends with 1.  Speed against sentence-transformers is seconds of the processor, of one thread each, in turns;
memory is that of the process's own, with a tiny model.  The many lines are the few, repeated: with distinct words the
caches of the tokenizer grow, too, up to 66 MB where no word ever comes again.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from itertools import cycle, islice
from pathlib import Path
from time import perf_counter, process_time

import torch

import registry
from registry.bulk import Embedder, run
from results import row

EXAMPLES = Path(__file__).parent.parent / "examples"
MODEL = "all-minilm-l6-v2"
MINILM = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536}
TINY = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
TOLERANCE = 1e-5
ROUNDS = 2

MEMORY = """
import sys
from on_ranks import own_peak
from registry.bulk import Embedder, run
work = Embedder(sys.argv[1])
work({"text": ["loads everything"]})
with own_peak() as peak:
    run(work, [sys.argv[2]], sys.argv[3], format=sys.argv[4], progress=False)
print(peak())
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=2000)
    parser.add_argument("--memory", type=int, nargs=2, default=(1000, 20_000), metavar="LINES")
    parser.add_argument("--random", action="store_true", help="random weights in MiniLM's shape")
    parser.add_argument("--only", choices=("peer", "workers", "memory"), help="measure this alone")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary)
        model = directory / "model"
        if chosen.random:
            write(model, MINILM)
        elif chosen.only != "memory":
            registry.load(MODEL).save(model)
        if chosen.only in (None, "peer"):
            against_sentence_transformers(model, lines(chosen.lines))
        if chosen.only in (None, "workers"):
            in_processes(model, directory, chosen.lines)
        if chosen.only in (None, "memory"):
            memory(directory, *chosen.memory)


def lines(number: int) -> list[str]:
    """So many lines of docstrings."""
    sys.path.insert(0, str(EXAMPLES))
    from docstrings import docstrings

    found = [line.strip() for one in docstrings() for line in one.text.splitlines() if line.strip()]
    return list(islice(cycle(found), number))


def write(directory: Path, sizes: dict[str, int]) -> None:
    """A directory with a BERT of random weights, whose vocabulary is the characters and words of the lines."""
    from registry.zoo import BertConfig, BertModel, BertTokenizer

    words = sorted({word for line in lines(20_000) for word in line.lower().split() if word.isascii()})
    letters = [chr(code) for code in range(33, 127)]
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{one}" for one in letters), *words]
    torch.manual_seed(0)
    tokenizer = BertTokenizer({word: number for number, word in enumerate(dict.fromkeys(vocabulary))})
    model = BertModel(BertConfig(vocab_size=len(tokenizer.get_vocab()), max_position_embeddings=512, **sizes))
    model.init_weights()
    registry.save(model, directory, tokenizer=tokenizer)


def against_sentence_transformers(model: Path, texts: list[str]) -> None:
    """Compare vectors, and then seconds of the processor."""
    from sentence_transformers import SentenceTransformer

    ours, theirs = Embedder(str(model)), SentenceTransformer(str(model), device="cpu")
    difference = abs(ours({"text": texts[:500]})["vector"] - theirs.encode(texts[:500])).max()
    print(f"largest difference of a vector's elements to sentence-transformers: {difference:.1e}")
    if difference > TOLERANCE:
        sys.exit(1)
    seconds: dict[str, list[float]] = {"ours": [], "theirs": []}
    for _ in range(ROUNDS):
        for name, compute in (("ours", lambda: ours({"text": texts})), ("theirs", lambda: theirs.encode(texts))):
            start = process_time()
            compute()
            seconds[name].append(process_time() - start)
    mine, other = min(seconds["ours"]), min(seconds["theirs"])
    print(
        f"{len(texts):,} lines: {mine:.1f} s of one core, {len(texts) / mine:.0f} lines/s; sentence-transformers "
        f"{other:.1f} s: {other / mine:.2f}x"
    )
    row("embed, one core", len(texts) / mine, "lines/s", ratio=other / mine, peer="sentence-transformers")


def in_processes(model: Path, directory: Path, number: int) -> None:
    """Compare seconds of one process and of two, each of one thread."""
    os.environ["OMP_NUM_THREADS"] = "1"
    path = directory / "lines.txt"
    path.write_text("\n".join(lines(number)) + "\n", encoding="utf-8")
    seconds = []
    for workers in (1, 2):
        start = perf_counter()
        run(Embedder(str(model)), [path], directory / f"by-{workers}", format="npy", rows=500, workers=workers)
        seconds.append(perf_counter() - start)
    print(
        f"{number:,} lines by one process {seconds[0]:.1f} s, by two {seconds[1]:.1f} s: {seconds[0] / seconds[1]:.2f}x"
    )
    row("embed, two processes", number / seconds[1], "lines/s", ratio=seconds[0] / seconds[1], peer="one process")


def memory(directory: Path, few: int, many: int) -> None:
    """Compare the peaks of own memory over few lines and over many, in each format of results."""
    write(directory / "tiny", TINY)
    for format in ("npy", "parquet"):
        peaks = [peak_of(directory, few, number, format) for number in (few, many)]
        print(
            f"{format}: {few:,} lines: {peaks[0] / 1e6:.1f} MB of own memory more than before; {many:,} lines: "
            f"{peaks[1] / 1e6:.1f} MB"
        )
        row(f"embed to {format}, peak own memory of many lines to few", peaks[1] / peaks[0], "x")


def peak_of(directory: Path, distinct: int, number: int, format: str) -> int:
    """The peak of own memory over so many lines, in a process of its own, above that before, in bytes."""
    path = directory / f"{number}.txt"
    with path.open("w", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in islice(cycle(lines(distinct)), number))
    arguments = [directory / "tiny", path, directory / f"{number}-{format}", format]
    line = [sys.executable, "-c", MEMORY, *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    return int(subprocess.run(line, env=environment, check=True, capture_output=True, text=True).stdout)


if __name__ == "__main__":
    main()
