"""Chunk caches: each distinct chunk of text is tokenized once.

Text is cut at boundaries which no token crosses, at white space for example.  Natural text repeats its chunks, so that
after the first pages nearly every chunk has been seen, and a document costs one dictionary lookup for each chunk::

    ids = as_list(cache.ids(text.split()))
"""

from array import array
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

try:
    from registry.tokenization import compiled as compiled  # byte_level and others take it from here
except ImportError:  # the package was built without a C compiler
    compiled = None  # type: ignore[assignment]  # a module

K = TypeVar("K", bound=str | bytes)
V = TypeVar("V")
TokenIds: TypeAlias = "array[int]"
"""Ids as 64-bit integers, as tensors hold them."""
ID_BYTES = 8
"""Bytes of one of them."""

LONGEST_CHUNK = 256
"""Length of the longest chunk that is cached; longer ones hardly ever come again."""
ROOM = 3 * 2**20
"""What chunks of one generation may weigh: their lengths, and ``WEIGHT`` for each."""
WEIGHT = 24
"""Makes a generation of natural text, whose chunks have six characters, hold 100,000 of them: about 23 MB."""


class ChunkCache(dict[K, V]):
    """What ``compute`` made of each chunk; a chunk not met before is computed when it is looked up.

    When the cache is full, it becomes the older generation, and a new one begins.  A chunk that is met again moves from
    the older one to the new; what was not met since is dropped with it.  So the cache drops what was not met lately,
    and a lookup that finds costs no more than that of a dict.

    Chunks are strings, or bytes where the algorithm works on these: they are cut out in four fifths of the time.

    May be used from several threads: its answers do not depend on what it holds.
    """

    __slots__ = ("compute", "older", "room")

    def __init__(self, compute: Callable[[K], V]) -> None:
        super().__init__()
        self.compute = compute
        self.older: dict[K, V] = {}
        """The generation before this one."""
        self.room = ROOM
        """What this one may still take."""

    def __missing__(self, chunk: K) -> V:
        found = self.older.get(chunk)
        if found is None:
            found = self.compute(chunk)
        if len(chunk) <= LONGEST_CHUNK:
            self.room -= WEIGHT + len(chunk)
            if self.room < 0:
                self.older = self.copy()
                super().clear()
                self.room = ROOM - WEIGHT - len(chunk)
            self[chunk] = found
        return found

    def clear(self) -> None:
        """Drop everything."""
        super().clear()
        self.older = {}
        self.room = ROOM


class IdCache(Protocol):
    """A cache of the ids of chunks, from which those of several chunks are put together."""

    def list_of(self, chunks: Any, /) -> list[int]:
        """The ids of chunks that follow each other, in a list of their own."""
        ...

    def bytes_of(self, chunks: Any, /) -> bytes:
        """The same as 64-bit integers, as they lie in memory."""
        ...


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

    def list_of(self, chunks: Iterable[K], /) -> list[int]:
        """The same, in a list."""
        return gather(self.tuples, chunks)

    def bytes_of(self, chunks: Iterable[K], /) -> bytes:
        """The same as 64-bit integers, as they lie in memory."""
        return b"".join(map(self.packed.__getitem__, chunks))


class CachedIds:
    """The ids of chunks that follow each other, which are put together in the form that is asked for."""

    __slots__ = ("cache", "chunks")

    def __init__(self, cache: IdCache, chunks: Any) -> None:
        self.cache = cache
        self.chunks = chunks


def as_list(ids: Iterable[int] | CachedIds) -> list[int]:
    """Ids in a list of their own."""
    return ids.cache.list_of(ids.chunks) if isinstance(ids, CachedIds) else list(ids)


def as_array(ids: Iterable[int] | CachedIds) -> TokenIds:
    """Ids as 64-bit integers."""
    if isinstance(ids, CachedIds):
        return array("q", ids.cache.bytes_of(ids.chunks))
    return array("q", ids)


def as_bytes(ids: Iterable[int] | CachedIds) -> bytes:
    """The same, as they lie in memory."""
    return ids.cache.bytes_of(ids.chunks) if isinstance(ids, CachedIds) else array("q", ids).tobytes()


def ids_of_parts(cache: ChunkCache[K, tuple[int, ...]], parts: Sequence[K]) -> tuple[int, ...]:
    """The ids of parts that follow each other; those of a single one are the very tuple that is cached."""
    return cache[parts[0]] if len(parts) == 1 else tuple(joined(map(cache.__getitem__, parts)))


def joined(parts: Iterable[Iterable[int]]) -> list[int]:
    """The numbers of all parts, one after the other, in a list of their own."""
    numbers: list[int] = []
    any(map(numbers.extend, parts))  # nothing is found, so that it continues to the end: faster than chain or a loop
    return numbers


def joined_ids(cache: dict[Any, tuple[int, ...]], chunks: Iterable[Any]) -> list[int]:
    """The ids of chunks, in a list of their own."""
    return joined(map(cache.__getitem__, chunks))


gather = joined_ids if compiled is None else compiled.gather
"""The same, in half the time."""
