"""Byte-pair encoding (Sennrich et al., 2016, section 3.2): words as symbols, which rules merge in pairs.

A rule names two neighboring symbols that become one.  Of the rules which apply to a word, the first of the file is
applied, to the leftmost pair; and so on, until none applies.
"""

from array import array
from collections.abc import Iterable, Mapping
from heapq import heapify, heappop, heappush
from itertools import count, pairwise, repeat
from operator import add
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from registry.errors import VocabError
from registry.files.strict_json import read_json_object
from registry.garbage import gc_paused
from registry.tokenization.vocabulary import BLANKS, MOST_BYTES, MOST_TOKENS, MOST_VALUES, decoded, read_bytes

Pair: TypeAlias = tuple[str, str]

HEADER = "#version"
"""Starts the first line of a file of rules; files without it are read as well."""
VERSION = "#version: 0.2"
"""The header that is written."""

AROUND = f"{BLANKS}\r\n"
"""Stripped from both ends of a line."""

LONG_WORD = 40
"""Symbols of the longest word for which no heap is kept: it is faster to look at all of them after each merge."""

EMPTY = -1
"""Stands where a symbol was that is now part of the one before it."""


# --- Files ------------------------------------------------------------------------------------------------------------


class Merges(NamedTuple):
    """Rules, in order, and the lines of their file: ``origin`` and a number, which is ``start`` for the first rule."""

    firsts: list[str]
    """The first symbol of each rule."""
    seconds: list[str]
    """The second one."""
    origin: str
    start: int = 1

    def line(self, index: int) -> str:
        """The file and the line of a rule, as text."""
        return f"{self.origin} {self.start + index}"


def read_merges(path: str | Path) -> Merges:
    """Read a ``merges.txt``: the two symbols of a rule on each line, with a blank between them, perhaps after a header.

    Raises:
        VocabError: The file is damaged; the error names it and the line.
    """
    return parse_merges(read_bytes(path), origin=str(path))


def parse_merges(data: bytes, *, origin: str) -> Merges:
    """The rules in the bytes of a file; ``origin`` names it in errors."""
    text = decoded(data, origin=origin).rstrip(AROUND)
    if not text:
        raise VocabError(f"{origin} is empty: one rule of two symbols per line is needed.")
    lines = text.split("\n")
    start = 2 if lines[0].startswith(HEADER) else 1
    lines = [line.strip(AROUND) for line in lines[start - 1 :]]
    for number, blanks in enumerate(map(str.count, lines, repeat(" ")), start):
        if blanks != 1:
            raise VocabError(f"{origin}, line {number}: {lines[number - start]!r:.80} is not a rule of two symbols.")
    symbols = " ".join(lines).split(" ") if lines else []
    return Merges(symbols[::2], symbols[1::2], f"{origin}, line", start)


def listed_merges(rules: Iterable[Any], *, origin: str) -> Merges:
    """Rules that are given as a list, each as two symbols or as one string with a blank between them."""
    pairs = [rule.split(" ") if isinstance(rule, str) else rule for rule in rules]
    for number, pair in enumerate(pairs, start=1):
        if (
            not isinstance(pair, (tuple, list))
            or len(pair) != 2
            or not all(type(part) is str and part for part in pair)
        ):
            raise VocabError(f"{origin}, number {number}: {pair!r:.80} is not a rule of two symbols.")
    return Merges([first for first, _ in pairs], [second for _, second in pairs], f"{origin}, number")


def read_json_vocabulary(path: str | Path) -> dict[str, int]:
    """Read a ``vocab.json``, which maps tokens to ids.  Raises VocabError when it is not JSON or repeats a token."""
    return read_json_object(Path(path), limit=MOST_BYTES, values=MOST_VALUES, error=VocabError)


# --- Rules ------------------------------------------------------------------------------------------------------------


class BytePairs:
    """The rules of a vocabulary, which merge the ids of symbols.

    Args:
        merges: The rules, as ``read_merges`` or ``listed_merges`` returns them.
        vocab: The tokens and their ids.

    Raises:
        VocabError: A rule stands twice, or its symbols, apart or merged, are not tokens.
    """

    @gc_paused()  # of a pair for each rule, none is garbage
    def __init__(self, merges: Merges, vocab: Mapping[str, int]) -> None:
        firsts, seconds, *_ = merges
        if len(firsts) > MOST_TOKENS:
            raise VocabError(f"{merges.line(MOST_TOKENS)}: no vocabulary needs more than {MOST_TOKENS:,} rules.")
        ids: list[list[Any]] = [
            list(map(vocab.get, symbols)) for symbols in (firsts, seconds, map(add, firsts, seconds))
        ]
        self.merges = merges
        self._firsts, self._seconds, self._merged = ids
        self._ranks = dict(zip(zip(self._firsts, self._seconds, strict=True), count(), strict=False))
        if len(self._ranks) < len(firsts) or any(None in found for found in ids):
            raise VocabError(_fault(merges, vocab))

    @property
    def columns(self) -> tuple[list[int], list[int], list[int]]:
        """The rules as ids, in order: the first symbol of each, the second, and what they become."""
        return self._firsts, self._seconds, self._merged

    def merge(self, symbols: list[int]) -> list[int]:
        """What the symbols of a word become; changes the list that it is given."""
        if len(symbols) > LONG_WORD:
            return self._merge_long(symbols)
        rank_of, merged, last = self._ranks.get, self._merged, len(self._merged)
        symbols.append(EMPTY)  # before the first symbol, too, in a list that is asked for its index -1
        ranks = list(map(rank_of, pairwise(symbols), repeat(last)))
        ranks.append(last)
        while (rank := min(ranks)) < last:
            index = ranks.index(rank)
            symbols[index] = symbol = merged[rank]
            del symbols[index + 1], ranks[index]
            ranks[index - 1] = rank_of((symbols[index - 1], symbol), last)
            ranks[index] = rank_of((symbol, symbols[index + 1]), last)
        symbols.pop()
        return symbols

    def _merge_long(self, symbols: list[int]) -> list[int]:
        """The same in n log n: pairs wait in a heap, those of the first rule before others, and the leftmost before.

        A merged symbol stands at the index of the first of the two; at that of the other one is ``EMPTY`` from then on.
        """
        rank_of, size = self._ranks.get, len(symbols)
        before, after = array("q", range(-1, size - 1)), array("q", range(1, size + 1))
        heap = [rank * size + index for index, rank in enumerate(map(rank_of, pairwise(symbols))) if rank is not None]
        heapify(heap)
        while heap:
            rank, index = divmod(heappop(heap), size)
            stop = after[index]
            if symbols[index] != self._firsts[rank] or stop == size or symbols[stop] != self._seconds[rank]:
                continue  # another rule took one of the two
            symbols[index], symbols[stop] = self._merged[rank], EMPTY
            after[index] = stop = after[stop]
            if stop < size:
                before[stop] = index
            for first, second in ((before[index], index), (index, stop)):
                if first >= 0 and second < size:
                    further = rank_of((symbols[first], symbols[second]))
                    if further is not None:
                        heappush(heap, further * size + first)
        return [symbol for symbol in symbols if symbol != EMPTY]


def _fault(merges: Merges, vocab: Mapping[str, int]) -> str:
    """The first rule at fault, as text."""
    seen: dict[Pair, int] = {}
    for index, pair in enumerate(zip(merges.firsts, merges.seconds, strict=True)):
        rule = f"{merges.line(index)}: the rule {' '.join(pair)!r}"
        for token in (*pair, "".join(pair)):
            if token not in vocab:
                return f"{rule} needs the token {token!r}, which is not in the vocabulary."
        if pair in seen:
            return f"{rule} stands already in {merges.line(seen[pair])}."
        seen[pair] = index
    raise AssertionError("called without a fault")
