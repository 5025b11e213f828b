"""Run all benchmarks, and write the table of the README.

    python benchmarks/run.py                    # all, three rounds: about half an hour; prints what was measured
    python benchmarks/run.py --quick            # one short round: a few minutes
    python benchmarks/run.py --only forward     # one benchmark; may be repeated
    python benchmarks/run.py --write            # ... and write benchmarks/results.json and the table in README.md
    python benchmarks/run.py --compare OLD.json # ... and show what is slower or larger than it was

A round runs every benchmark once, in a process of its own; each takes turns with its peer in the same run.  Those that
are long, and take several rounds by themselves, run in the first round alone.  Printed are medians of the rounds, with
the least and the greatest.  Where the processor counts instructions for us (``perf stat``),
those of each benchmark are kept as well: they can be compared between machines.  Those that need a GPU, several
processes or hours are run by themselves: ``gpu.py``, ``gpu_ranks.py``, ``ranks.py`` and ``bulk.py``.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from time import monotonic
from typing import Any, NamedTuple

HERE = Path(__file__).parent
RESULTS = HERE / "results.json"
README = HERE.parent / "README.md"
BEGIN, END = "<!-- benchmarks/run.py writes from here -->\n", "<!-- to here -->\n"


class Benchmark(NamedTuple):
    """A script, and how it is called."""

    arguments: tuple[str, ...]
    quick: tuple[str, ...]
    """Arguments of a short run."""
    takes_data: bool = False
    """Whether it reads vocabularies and texts from ``--shared``."""
    is_long: bool = False
    """Whether it runs in the first round alone."""


BENCHMARKS = {
    "start": Benchmark(("--rounds", "9"), ("--rounds", "3")),
    "many_plugins": Benchmark(("--rounds", "5"), ("--rounds", "1")),
    "load": Benchmark(("--rounds", "5"), ("--rounds", "1"), takes_data=True, is_long=True),
    "large": Benchmark(("--rounds", "3"), ("--rounds", "1"), is_long=True),
    "tokenizer": Benchmark(("--rounds", "3"), ("--rounds", "1"), takes_data=True),
    "bpe_tokenizer": Benchmark(("--rounds", "3"), ("--rounds", "1"), takes_data=True),
    "stream": Benchmark((), ("--megabytes", "20"), takes_data=True, is_long=True),
    "files": Benchmark(("--rounds", "3"), ("--rounds", "1", "--megabytes", "10"), takes_data=True, is_long=True),
    "forward": Benchmark(("--rounds", "5"), ("--rounds", "2")),
    "training": Benchmark(("--rounds", "5"), ("--rounds", "1"), is_long=True),
    "generation": Benchmark(("--rounds", "3"), ("--rounds", "1", "--size", "124M", "--new", "16"), is_long=True),
    "transfo_xl": Benchmark(("--rounds", "3"), ("--rounds", "1", "--only", "models"), takes_data=True, is_long=True),
    "prescan": Benchmark(("--rounds", "9"), ("--rounds", "2")),
    "download": Benchmark(("--rounds", "3"), ("--rounds", "1", "--megabytes", "20")),
}
VERSIONS = ("torch", "transformers", "tokenizers", "tiktoken", "pytorch-pretrained-bert")
TABLE = (
    ("`import registry`, a whole process", "import registry"),
    ("`registry list`, a whole process", "registry list"),
    (
        "`load_model` of a BERT-Base directory in a fresh process, `import torch` not counted",
        "load_model, torch imported",
    ),
    ("... of GPT-2, 124M parameters", "load_model of GPT-2, 124M"),
    ("... its tokenizer after it", "load_tokenizer after it"),
    ("a fresh process to the first hidden state of BERT-Base", "process to first hidden state"),
    ("BERT-Base, forward, 8 x 128 tokens, float32", "BERT-Base, float32, 8 x 128 tokens"),
    (
        "BERT-Base, forward, 16 texts of 9 to 128 tokens, one padded batch",
        "BERT-Base, float32, 16 texts of 9 to 128 tokens, padded",
    ),
    ("BERT-Base, a step of fine-tuning, 8 x 128 tokens, float32", "BERT-Base, fine-tuning step, 8 x 128 tokens"),
    ("... 16 texts of 9 to 128 tokens, padded", "BERT-Base, fine-tuning step, 16 texts of 9 to 128 tokens, padded"),
    ("... its peak of memory, with gradient checkpointing", "BERT-Base, gradient checkpointing, peak"),
    ("a Llama of 7 billion parameters (zeros, sparse files), load_model", "load_model of a Llama, 7B"),
    ("BERT's tokenizer, English, first pass", "BERT's tokenizer, english, first pass"),
    ("... words that occurred before", "BERT's tokenizer, english, after it"),
    ("BERT's tokenizer, many languages, first pass", "BERT's tokenizer, multilingual, first pass"),
    ("BERT's tokenizer, source code, first pass", "BERT's tokenizer, code, first pass"),
    ("BERT's tokenizer, tables of numbers, first pass", "BERT's tokenizer, tables, first pass"),
    ("GPT-2's tokenizer, English, first pass", "GPT-2's tokenizer, english, first pass"),
    ("... words that occurred before", "GPT-2's tokenizer, english, after it"),
    ("GPT-2's tokenizer, many languages, first pass", "GPT-2's tokenizer, multilingual, first pass"),
    ("GPT-2's tokenizer, source code, first pass", "GPT-2's tokenizer, code, first pass"),
    ("... words that occurred before", "GPT-2's tokenizer, code, after it"),
    ("GPT-2's tokenizer, tables of numbers, first pass", "GPT-2's tokenizer, tables, first pass"),
    ("... words that occurred before", "GPT-2's tokenizer, tables, after it"),
    ("GPT-2's tokenizer, words with a Zipf tail, after 10 MB", "GPT-2's tokenizer, Zipf tail"),
    ("... its slowest 10 MB", "GPT-2's tokenizer, Zipf tail, slowest"),
    ("BERT's tokenizer, lines of a file, two processes", "BERT's tokenizer, lines of a file, two processes"),
    ("GPT-2's tokenizer, lines of a file, two processes", "GPT-2's tokenizer, lines of a file, two processes"),
    ("GPT-2 124M, decoding 1 text, float32", "GPT-2 124M, float32, decoding 1 text"),
    ("... 8 texts", "GPT-2 124M, float32, decoding 8 texts"),
    ("... 32 texts", "GPT-2 124M, float32, decoding 32 texts"),
    ("... beam search, 4 beams", "GPT-2 124M, float32, beam search, 4 beams"),
    ("... sampling with five processors", "GPT-2 124M, float32, sampling with five processors"),
    ("... 1 text, bfloat16", "GPT-2 124M, bfloat16, decoding 1 text"),
    ("... 8 texts, bfloat16", "GPT-2 124M, bfloat16, decoding 8 texts"),
    ("... 32 texts, bfloat16", "GPT-2 124M, bfloat16, decoding 32 texts"),
    ("GPT-2 355M, decoding 1 text, float32", "GPT-2 355M, float32, decoding 1 text"),
    ("... 8 texts, float32", "GPT-2 355M, float32, decoding 8 texts"),
    ("... 8 texts, bfloat16", "GPT-2 355M, bfloat16, decoding 8 texts"),
    ("Transformer-XL, evaluation", "Transformer-XL, evaluation, tokens"),
    ("... training", "Transformer-XL, training, tokens"),
    ("a download of 200 MB with its digest", "download of 200 MB"),
)
"""Rows of the README: what it says, and the name of the measurement."""

Row = dict[str, Any]
"""Of a measurement: name, peer, unit, and of all rounds the values and ratios."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, help="default: 3, or 1 with --quick")
    parser.add_argument("--quick", action="store_true", help="short runs, whose figures are rough")
    parser.add_argument("--only", action="append", choices=BENCHMARKS, help="run this one; may be repeated")
    parser.add_argument("--shared", type=Path, default=HERE.parent.parent / "shared", help="vocabularies and texts")
    parser.add_argument("--json", type=Path, help="write the results there")
    parser.add_argument("--write", action="store_true", help="write the results and the table of the README")
    parser.add_argument("--compare", type=Path, metavar="OLD.json", help="results of an earlier run")
    chosen = parser.parse_args()
    if chosen.write and (chosen.quick or chosen.only):
        parser.error("--write needs a whole run: leave --quick and --only out")
    names = chosen.only or list(BENCHMARKS)
    rounds = chosen.rounds or (1 if chosen.quick else 3)
    found = {"machine": machine(), "rounds": rounds, **measured(names, rounds, chosen.shared, quick=chosen.quick)}
    print(described(found))
    if chosen.json or chosen.write:
        (chosen.json or RESULTS).write_text(json.dumps(found, indent=1) + "\n")
    if chosen.write:
        README.write_text(with_table(README.read_text("utf-8"), found), "utf-8")
    if chosen.compare:
        print(compared(json.loads(chosen.compare.read_text()), found))


# --- Measuring --------------------------------------------------------------------------------------------------------


def machine() -> dict[str, Any]:
    """The processor, its cores, Python, and the versions of what is compared."""
    cpu = Path("/proc/cpuinfo")
    models = [line.partition(":")[2].strip() for line in cpu.read_text().splitlines() if line.startswith("model name")]
    versions = {}
    for name in VERSIONS:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "processor": models[0] if models else platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "system": platform.system(),
        "python": platform.python_version(),
        "versions": versions,
    }


def measured(names: list[str], rounds: int, shared: Path, *, quick: bool) -> dict[str, Any]:
    """The rows of all benchmarks, and the instructions that each took where they can be counted."""
    rows: dict[tuple[str, str | None], Row] = {}
    instructions: dict[str, list[int]] = {}
    for number in range(rounds):
        for name in names:
            if number and BENCHMARKS[name].is_long:
                continue
            begun = monotonic()
            found, counted = run(name, shared, quick=quick)
            took = f"{monotonic() - begun:.0f} s"
            print(f"round {number + 1} of {rounds}: {name}, {took}", file=sys.stderr, flush=True)
            for row in found:
                key = (row["name"], row["peer"])
                kept = rows.setdefault(key, {**row, "benchmark": name, "value": [], "ratio": []})
                kept["value"].append(row["value"])
                if row["ratio"] is not None:
                    kept["ratio"].append(row["ratio"])
            if counted is not None:
                instructions.setdefault(name, []).append(counted)
    return {"rows": list(rows.values()), "instructions": {name: int(median(of)) for name, of in instructions.items()}}


def run(name: str, shared: Path, *, quick: bool) -> tuple[list[Row], int | None]:
    """The rows that one run of a benchmark measures, and its instructions."""
    benchmark = BENCHMARKS[name]
    arguments = [*(benchmark.quick if quick else benchmark.arguments)]
    if benchmark.takes_data:
        arguments += ["--shared", str(shared)]
    with tempfile.TemporaryDirectory() as directory:
        results, counts = Path(directory, "rows"), Path(directory, "counts")
        command = [sys.executable, str(HERE / f"{name}.py"), *arguments]
        if COUNTS:
            command = ["perf", "stat", "-x", ",", "-e", "instructions:u", "-o", str(counts), *command]
        environment = {**os.environ, "BENCHMARK_RESULTS": str(results)}
        subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
        rows = [json.loads(line) for line in results.read_text().splitlines()]
        return rows, instructions_of(counts.read_text()) if COUNTS else None


def instructions_of(report: str) -> int | None:
    """The number in a report of ``perf stat -x ,``; None where the processor does not count for us."""
    first = next((line.partition(",")[0] for line in report.splitlines() if "instructions" in line), "")
    return int(first) if first.isdigit() else None


def can_count() -> bool:
    """Whether ``perf stat`` counts instructions here."""
    if shutil.which("perf") is None:
        return False
    command = ["perf", "stat", "-x", ",", "-e", "instructions:u", "true"]
    return instructions_of(subprocess.run(command, capture_output=True, text=True, check=False).stderr) is not None


COUNTS = can_count()


# --- Showing ----------------------------------------------------------------------------------------------------------


def number(value: float) -> str:
    """Three digits, in full."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def spread(values: list[float], unit: str) -> str:
    """The median, with the least and the greatest where there are several."""
    middle = f"{number(median(values))}{unit}"
    return middle if len(values) == 1 else f"{middle} ({number(min(values))} to {number(max(values))})"


def described(found: dict[str, Any]) -> str:
    """All rows, for a terminal."""
    lines = []
    for row in found["rows"]:
        ratio = f"{spread(row['ratio'], 'x')} of {row['peer']}" if row["ratio"] else ""
        lines.append(f"{row['name']:62}{spread(row['value'], ' ' + row['unit']):40}{ratio}")
    return "\n".join(lines)


def table(found: dict[str, Any]) -> str:
    """The table of the README, with the machine."""
    at, versions = found["machine"], found["machine"]["versions"]
    peers = ", ".join(f"{name} {number}" for name, number in versions.items())
    lines = [
        f"`python benchmarks/run.py --write` on {at['cores']} cores of {at['processor']}, without a GPU, with Python "
        f"{at['python']}, {peers}.",
        "Each line was measured next to its peer in the same run"
        + (
            f": medians of {found['rounds']} runs, with least and greatest; long benchmarks ran once."
            if found["rounds"] > 1
            else ", once."
        )
        + " Ratios above 1 mean faster than the peer;",
        "they differ between processors, as the speed of torch's matrix products does.",
        "",
        "| what | `registry` | against | ratio |",
        "|---|---|---|---|",
    ]
    for label, name in TABLE:
        for row in found["rows"]:
            if row["name"] == name:
                value = f"{number(median(row['value']))} {row['unit']}"
                ratio = spread(row["ratio"], "x") if row["ratio"] else ""
                lines.append(f"| {label} | {value} | {row['peer'] or ''} | {ratio} |")
    return "\n".join(lines) + "\n"


def with_table(text: str, found: dict[str, Any]) -> str:
    """The README with the table of these results between its marks."""
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}{table(found)}{END}{rest.split(END)[1]}"


def compared(old: dict[str, Any], new: dict[str, Any]) -> str:
    """What is worse than it was by more than 5 %: by the ratio to the peer where there is one, else by the number."""
    before = {(row["name"], row["peer"]): row for row in old["rows"]}
    lines = []
    for row in new["rows"]:
        then = before.get((row["name"], row["peer"]))
        if then is None:
            continue
        if row["ratio"] and then["ratio"]:
            change = median(row["ratio"]) / median(then["ratio"]) - 1
        else:
            was = median(then["value"])  # may be none: bytes that a cached model has a server send
            change = median(row["value"]) / was - 1 if was else median(row["value"])
            change = change if "/s" in row["unit"] or row["unit"] == "%" else -change
        if change < -0.05:
            lines.append(f"{row['name']}, {row['peer'] or 'alone'}: {change:+.0%}")
    return "\n".join(["Worse by more than 5 %:", *lines] if lines else ["Nothing is worse by more than 5 %."])


if __name__ == "__main__":
    main()
