"""Chunk memory: tokenize each distinct piece of text once.

Text is cut at boundaries which no token crosses, at whitespace for example.  Natural text repeats its chunks, so that
after the first pages nearly every chunk has been seen, and a document costs one dictionary lookup for each chunk::

    ids = b"".join(map(memory.__getitem__, text.split()))

Ids are kept packed, eight bytes each: joining, cutting and padding them, and handing them to a tensor, then run at the
speed of copying memory.
"""

from array import array
from collections.abc import Callable, Iterable
from typing import TypeVar

K = TypeVar("K", bound=str | bytes)
V = TypeVar("V")

LONGEST_CHUNK = 256
"""Length of the longest chunk that is remembered; longer ones hardly ever come again."""
MOST_CHUNKS = 2**16
"""Chunks that are remembered at a time: about 15 MB on natural text."""


class ChunkMemory(dict[K, V]):
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


def pack(ids: Iterable[int]) -> bytes:
    """Ids as bytes: 64-bit integers in the machine's order, which ``array("q")`` and ``torch.int64`` share."""
    return array("q", ids).tobytes()
