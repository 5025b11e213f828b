"""Texts of four kinds for the benchmarks of tokenizers: two are read, one is found, one is made.

A tokenizer that caches what it has met is fast on text that repeats itself, and slow on numbers, which do not.
"""

import random
import sysconfig
from collections.abc import Iterator
from pathlib import Path

CHARACTERS = 2000
"""Of a document."""
SIZE = 1_500_000
"""Characters of a text that is found or made."""
KINDS = ("english", "multilingual", "code", "tables")


def text_of(kind: str, shared: Path) -> str:
    """A text of one of the ``KINDS``: prose, prose in many languages, modules of Python, tables of numbers."""
    if kind == "code":
        modules = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))
        return "\n".join(module.read_text("utf-8") for module in modules)[:SIZE]
    if kind == "tables":
        return "".join(_lines_of_tables())[:SIZE]
    return (shared / "data" / "text" / f"{kind}.txt").read_text("utf-8")


def documents_of(text: str) -> list[str]:
    """The text in documents of ``CHARACTERS``."""
    return [text[start : start + CHARACTERS] for start in range(0, len(text), CHARACTERS)]


def zipf_words(seed: int) -> Iterator[str]:
    """Words without end whose frequencies fall as their ranks rise (Zipf's law): more and more of them never recur."""
    numbers = random.Random(seed)
    letters = "etaoinshrdlucmfw"
    while True:
        rank = int(numbers.paretovariate(0.8))
        word = ""
        while rank:
            rank, letter = divmod(rank, 16)
            word += letters[letter]
        yield word[:20]


def _lines_of_tables() -> Iterator[str]:
    """Tables in turn, each of forty rows: numbers in aligned columns, and measurements separated by commas."""
    numbers = random.Random(0)
    size = 0
    while size < SIZE:
        aligned = "".join(
            "  ".join(f"{numbers.gauss(0, 10**power):12.{6 - power}f}" for power in range(6)) + "\n" for _ in range(40)
        )
        separated = "".join(
            f"{numbers.randrange(10**7)},20{numbers.randrange(24):02}-{numbers.randrange(1, 13):02}-"
            f"{numbers.randrange(1, 29):02},{numbers.random():.4f},{numbers.expovariate(1e-4):.2f},"
            f"id{numbers.randrange(10**5)},{numbers.choice(('ok', 'late', 'lost'))}\n"
            for _ in range(40)
        )
        size += len(aligned) + len(separated)
        yield aligned + separated
