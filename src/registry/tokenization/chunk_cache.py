"""Chunk caches: each distinct chunk of text is tokenized once.

Text is cut at boundaries which no token crosses, at white space for example.  Natural text repeats its chunks, so that
after the first pages nearly every chunk has been seen, and a document costs one dictionary lookup for each chunk::

    ids = as_list(cache.ids(text.split()))
"""

from array import array
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, TypeAlias, TypeVar

K = TypeVar("K", bound=str | bytes)
V = TypeVar("V")
TokenIds: TypeAlias = "array[int]"
"""Ids as 64-bit integers, as tensors hold them."""

LONGEST_CHUNK = 256
"""Length of the longest chunk that is cached; longer ones hardly ever come again."""
MOST_CHUNKS = 2**16
"""Chunks that are cached at a time: about 15 MB on natural text."""


class ChunkCache(dict[K, V]):
    """What ``compute`` made of each chunk; a chunk not met before is computed when it is looked up.

    Chunks are strings, or bytes where the algorithm works on these: they are cut out in four fifths of the time.

    May be used from several threads: its answers do not depend on what it holds.
    """

    __slots__ = ("compute",)

    def __init__(self, compute: Callable[[K], V]) -> None:
        super().__init__()
        self.compute = compute

    def __missing__(self, chunk: K) -> V:
        found = self.compute(chunk)
        if len(chunk) <= LONGEST_CHUNK:
            if len(self) >= MOST_CHUNKS:
                self.clear()  # to drop only the oldest would make every lookup pay for an order
            self[chunk] = found
        return found


class TokenCache(Generic[K]):
    """The ids of chunks, which ``tokenize`` gives.

    They are cached as tuples for lists, which then share their numbers: made of bytes, lists take 13 to 27 % longer.
    For tensors they are cached as bytes, which are joined as memory is copied: made of tuples, tensors take 16 to 26 %
    longer (whole batches, measured on benchmarks/tokenizer.py and bpe_tokenizer.py).
    """

    def __init__(self, tokenize: Callable[[K], tuple[int, ...]]) -> None:
        self.tuples = ChunkCache(tokenize)
        self.packed: ChunkCache[K, bytes] = ChunkCache(lambda chunk: array("q", tokenize(chunk)).tobytes())

    def ids(self, chunks: Iterable[K]) -> "CachedIds":
        """The ids of chunks that follow each other."""
        return CachedIds(self, chunks)


class CachedIds:
    """The ids of chunks that follow each other, which are put together in the form that is asked for."""

    __slots__ = ("cache", "chunks")

    def __init__(self, cache: TokenCache[Any], chunks: Iterable[Any]) -> None:
        self.cache = cache
        self.chunks = chunks


def as_list(ids: Iterable[int] | CachedIds) -> list[int]:
    """Ids in a list of their own."""
    if isinstance(ids, CachedIds):
        return joined(map(ids.cache.tuples.__getitem__, ids.chunks))
    return list(ids)


def as_array(ids: Iterable[int] | CachedIds) -> TokenIds:
    """Ids as 64-bit integers."""
    if isinstance(ids, CachedIds):
        return array("q", b"".join(map(ids.cache.packed.__getitem__, ids.chunks)))
    return array("q", ids)


def ids_of_parts(cache: ChunkCache[K, tuple[int, ...]], parts: Sequence[K]) -> tuple[int, ...]:
    """The ids of parts that follow each other; those of a single one are the very tuple that is cached."""
    return cache[parts[0]] if len(parts) == 1 else tuple(joined(map(cache.__getitem__, parts)))


def joined(parts: Iterable[Iterable[int]]) -> list[int]:
    """The numbers of all parts, one after the other, in a list of their own."""
    numbers: list[int] = []
    any(map(numbers.extend, parts))  # nothing is found, so that it continues to the end: faster than chain or a loop
    return numbers
