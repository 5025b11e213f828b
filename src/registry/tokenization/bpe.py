"""Byte-pair encoding (Sennrich et al., 2016, section 3.2): words as symbols, which rules merge in pairs.

A rule names two neighbouring symbols that become one.  Of the rules which apply to a word, the first of the file is
applied, at the leftmost place; and so on, until none applies.
"""

from array import array
from collections import defaultdict
from collections.abc import Iterable, Mapping
from heapq import heappop, heappush
from itertools import pairwise, repeat
from operator import add
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from registry.errors import VocabError
from registry.files.strict_json import read_json_object
from registry.tokenization.vocabulary import BLANKS, MOST_BYTES, MOST_TOKENS, decoded, read_bytes

Pair: TypeAlias = tuple[str, str]

HEADER = "#version"
"""Starts the first line of a file of rules; files without it are read as well."""
VERSION = "#version: 0.2"
"""The header that is written."""

AROUND = f"{BLANKS}\r\n"
"""Stripped from both ends of a line."""

LONG_WORD = 40
"""Symbols of the longest word for which looking at all of them again after each merge is the faster way."""

EMPTY = -1
"""Stands where a symbol was that is now part of the one before it."""


# --- Files ------------------------------------------------------------------------------------------------------------


class Merges(NamedTuple):
    """Rules, in order, and where they stand: ``origin`` and a number, which is ``start`` for the first rule."""

    firsts: list[str]
    """The first symbol of each rule."""
    seconds: list[str]
    """The second one."""
    origin: str
    start: int = 1

    def at(self, place: int) -> str:
        """Where a rule stands, in words."""
        return f"{self.origin} {self.start + place}"


def read_merges(path: str | Path) -> Merges:
    """Read a ``merges.txt``: the two symbols of a rule on each line, parted by a blank, perhaps after a header.

    Raises VocabError, which names the file and the line.
    """
    return parse_merges(read_bytes(path), origin=str(path))


def parse_merges(data: bytes, *, origin: str) -> Merges:
    """The rules in the bytes of a file; ``origin`` names it in errors."""
    text = decoded(data, origin=origin).rstrip(AROUND)
    if not text:
        raise VocabError(f"{origin} is empty, where rules of two symbols a line are needed.")
    lines = text.split("\n")
    start = 2 if lines[0].startswith(HEADER) else 1
    lines = [line.strip(AROUND) for line in lines[start - 1 :]]
    for number, blanks in enumerate(map(str.count, lines, repeat(" ")), start):
        if blanks != 1:
            raise VocabError(f"{origin}, line {number}: {lines[number - start]!r:.80} is no rule of two symbols.")
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
            raise VocabError(f"{origin}, number {number}: {pair!r:.80} is no rule of two symbols.")
    return Merges([first for first, _ in pairs], [second for _, second in pairs], f"{origin}, number")


def read_json_vocabulary(path: str | Path) -> dict[str, int]:
    """Read a ``vocab.json``, which maps tokens to ids.  Raises VocabError when it is no JSON or repeats a token."""
    return read_json_object(Path(path), limit=MOST_BYTES, error=VocabError)


# --- Rules ------------------------------------------------------------------------------------------------------------


class BytePairs:
    """The rules of a vocabulary, which merge the ids of symbols.

    Raises VocabError for a rule that stands twice, and for one whose symbols, apart or merged, are no tokens.
    """

    def __init__(self, merges: Merges, vocab: Mapping[str, int]) -> None:
        firsts, seconds, *_ = merges
        ranks: defaultdict[int, dict[int, int]] = defaultdict(dict)  # by the first symbol, then by the second
        if len(firsts) > MOST_TOKENS:
            raise VocabError(f"{merges.at(MOST_TOKENS)}: no vocabulary needs more than {MOST_TOKENS:,} rules.")
        ids: list[list[Any]] = [
            list(map(vocab.get, symbols)) for symbols in (firsts, seconds, map(add, firsts, seconds))
        ]
        for rank, (first, second) in enumerate(zip(*ids[:2], strict=True)):
            ranks[first][second] = rank
        if sum(map(len, ranks.values())) < len(firsts) or any(None in found for found in ids):
            raise VocabError(_fault(merges, vocab))
        self.merges = merges
        self._firsts, self._seconds, self._merged = ids
        self._ranks = ranks

    def merge(self, symbols: list[int]) -> list[int]:
        """What the symbols of a word become; changes the list that it is given."""
        if len(symbols) > LONG_WORD:
            return self._merge_long(symbols)
        ranks_of, merged, last = self._ranks, self._merged, len(self._merged)
        symbols.append(EMPTY)  # before the first symbol, too, for a list that is asked for its place -1
        ranks = [ranks_of[first].get(second, last) for first, second in pairwise(symbols)]
        ranks.append(last)
        while (rank := min(ranks)) < last:
            place = ranks.index(rank)
            symbols[place] = symbol = merged[rank]
            del symbols[place + 1], ranks[place]
            ranks[place - 1] = ranks_of[symbols[place - 1]].get(symbol, last)
            ranks[place] = ranks_of[symbol].get(symbols[place + 1], last)
        symbols.pop()
        return symbols

    def _merge_long(self, symbols: list[int]) -> list[int]:
        """The same in n log n: rules wait for their turn, each with the places where it may apply.

        A merged symbol stands in the first of the places that it takes; the others are empty from then on.
        """
        ranks_of, size = self._ranks, len(symbols)
        before, after = array("q", range(-1, size - 1)), array("q", range(1, size + 1))
        places: defaultdict[int, list[int]] = defaultdict(list)
        for place, (first, second) in enumerate(pairwise(symbols)):
            if (rank := ranks_of[first].get(second)) is not None:
                places[rank].append(place)
        ranks = sorted(places)  # a heap
        while ranks:
            rank = heappop(ranks)
            turn = sorted(places.pop(rank))
            first, second, symbol = self._firsts[rank], self._seconds[rank], self._merged[rank]
            for number, place in enumerate(turn, start=1):
                stop = after[place]
                if symbols[place] != first or stop == size or symbols[stop] != second:
                    continue  # another rule took one of the two
                symbols[place], symbols[stop] = symbol, EMPTY
                after[place] = stop = after[stop]
                if stop < size:  # the two ways of waiting are written out: a function would take a quarter of the time
                    before[stop] = place
                    if (further := ranks_of[symbol].get(symbols[stop])) is not None:
                        if further not in places:
                            heappush(ranks, further)
                        places[further].append(place)
                start = before[place]
                if start >= 0 and (further := ranks_of[symbols[start]].get(symbol)) is not None:
                    if further not in places:
                        heappush(ranks, further)
                    places[further].append(start)
                if ranks and ranks[0] < rank:  # its turn is before the other places of this one
                    places[rank] = turn[number:]
                    heappush(ranks, rank)
                    break
        return [symbol for symbol in symbols if symbol != EMPTY]


def _fault(merges: Merges, vocab: Mapping[str, int]) -> str:
    """The first rule at fault, in words."""
    seen: dict[Pair, int] = {}
    for place, pair in enumerate(zip(merges.firsts, merges.seconds, strict=True)):
        rule = f"{merges.at(place)}: the rule {' '.join(pair)!r}"
        for token in (*pair, "".join(pair)):
            if token not in vocab:
                return f"{rule} needs the token {token!r}, which is not in the vocabulary."
        if pair in seen:
            return f"{rule} stands already in {merges.at(seen[pair])}."
        seen[pair] = place
    raise AssertionError("called without a fault")
