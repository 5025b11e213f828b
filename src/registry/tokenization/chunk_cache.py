"""Chunk memory: tokenize each distinct piece of text once.

Text is cut at boundaries which no token crosses, at whitespace for example.  Natural text repeats its chunks, so that
after the first pages nearly every chunk has been seen, and a document costs one dictionary lookup for each chunk::

    ids = memory.ids(text.split())

For lists, a chunk is remembered as a tuple of numbers, which all lists share: a list then takes eight bytes a token,
and no time to make its numbers.  For tensors it is remembered as bytes, which are joined as fast as memory is copied.
"""

from array import array
from collections.abc import Callable, Iterable, Sequence
from typing import Generic, TypeAlias, TypeVar

K = TypeVar("K", bound=str | bytes)
V = TypeVar("V")
PackedIds: TypeAlias = "array[int]"
"""Ids as 64-bit integers, as tensors hold them."""

LONGEST_CHUNK = 256
"""Length of the longest chunk that is remembered; longer ones hardly ever come again."""
MOST_CHUNKS = 2**16
"""Chunks that are remembered at a time: about 15 MB on natural text."""


class ChunkCache(dict[K, V]):
    """What ``tokenize`` made of each chunk; a chunk not met before is tokenized when it is looked up.

    Chunks are strings, or bytes where the algorithm works on these: they are cut out in four fifths of the time.

    May be used from several threads: its answers do not depend on what it remembers.
    """

    __slots__ = ("tokenize",)

    def __init__(self, tokenize: Callable[[K], V]) -> None:
        super().__init__()
        self.tokenize = tokenize

    def __missing__(self, chunk: K) -> V:
        found = self.tokenize(chunk)
        if len(chunk) <= LONGEST_CHUNK:
            if len(self) >= MOST_CHUNKS:
                self.clear()  # to forget only the oldest would make every lookup pay for an order
            self[chunk] = found
        return found


class TokenCache(Generic[K]):
    """The tokens of texts, which are cut into chunks; ``tokenize`` gives the ids of a chunk."""

    def __init__(self, tokenize: Callable[[K], tuple[int, ...]]) -> None:
        self._ids = ChunkCache(tokenize)
        self._packed: ChunkCache[K, bytes] = ChunkCache(lambda chunk: array("q", tokenize(chunk)).tobytes())

    def ids(self, chunks: Iterable[K]) -> list[int]:
        """The ids of chunks that follow each other, in a list of its own."""
        return joined(map(self._ids.__getitem__, chunks))

    def packed(self, chunks: Iterable[K]) -> PackedIds:
        """The same as 64-bit integers."""
        return array("q", b"".join(map(self._packed.__getitem__, chunks)))


def ids_of_parts(memory: ChunkCache[K, tuple[int, ...]], parts: Sequence[K]) -> tuple[int, ...]:
    """The ids of parts that follow each other; those of a single one are the very tuple that is remembered."""
    return memory[parts[0]] if len(parts) == 1 else tuple(joined(map(memory.__getitem__, parts)))


def joined(parts: Iterable[Iterable[int]]) -> list[int]:
    """The numbers of all parts, one after the other, in a list of their own."""
    numbers: list[int] = []
    any(map(numbers.extend, parts))  # nothing is found, so that it goes on to the end: faster than chain or a loop
    return numbers
