"""The ids of the texts of files, computed part by part, in this process or in several."""

import signal
from array import array
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import accumulate, islice, pairwise
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from registry.errors import BulkError
from registry.garbage import gc_paused
from registry.tokenization.chunk_cache import TokenIds
from registry.tokenization.corpus.parts import Portion

if TYPE_CHECKING:
    from registry.tokenization.batches.encoder import BatchEncoder

AHEAD = 2
"""Parts for each process that are computed or wait for the caller, so that none waits for another one's."""

Packed: TypeAlias = tuple[TokenIds, TokenIds]
"""The number of ids of each text, and all ids: arrays pass between processes as they lie in memory."""


class ArrayEncoder(NamedTuple):
    """The ids of texts as arrays."""

    tokenizer: "BatchEncoder"
    add_special_tokens: bool
    max_length: int | None

    def __call__(self, part: Portion) -> Iterator[TokenIds]:
        """The ids of the texts of a part."""
        return self.tokenizer.arrays_of(part.texts(), *self[1:])


def in_this_process(encoder: ArrayEncoder, parts: Iterable[Portion]) -> Iterator[TokenIds]:
    """The ids of each text."""
    for part in parts:
        yield from encoder(part)


def in_processes(encoder: ArrayEncoder, parts: Iterator[Portion], workers: int) -> Iterator[TokenIds]:
    """The same, computed by several processes, which are started when the first ids are asked for.

    Raises:
        BulkError: A process died.
        InputError: A file is damaged.
    """
    pool = ProcessPoolExecutor(workers, get_context("spawn"), _start, (encoder,))  # threads do not survive a fork
    try:
        waiting = deque(pool.submit(_pack, part) for part in islice(parts, AHEAD * workers))
        while waiting:
            lengths, ids = waiting.popleft().result()
            waiting.extend(pool.submit(_pack, part) for part in islice(parts, 1))
            if encoder.max_length is None:
                encoder.tokenizer._warn_of_length(max(lengths, default=0), None)
            for start, stop in pairwise(accumulate(lengths, initial=0)):
                yield ids[start:stop]
    except BrokenProcessPool as problem:
        raise BulkError(
            "A process that tokenizes texts died.",
            hint='Was memory exhausted?  Does the script that asks for workers lack `if __name__ == "__main__":`?',
        ) from problem
    finally:
        pool.shutdown(cancel_futures=True)


# --- In a worker ------------------------------------------------------------------------------------------------------

_ENCODER: list[ArrayEncoder] = []
"""The encoder of this process, which is a worker."""


def _start(encoder: ArrayEncoder) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process of a terminal; the first one ends us
    encoder.tokenizer._warned_of_length = True  # the first process warns, once
    _ENCODER.append(encoder)


@gc_paused()  # of thousands of arrays, none is garbage
def _pack(part: Portion) -> Packed:
    rows: list[Any] = list(_ENCODER[0](part))
    return array("q", map(len, rows)), array("q", b"".join(rows))
