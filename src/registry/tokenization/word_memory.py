"""Ids and places of words: text is cut into chunks, chunks into words, and each of them is tokenized once."""

from array import array
from collections.abc import Callable, Iterable

from registry.tokenization.batches import Segment
from registry.tokenization.chunks import ChunkMemory
from registry.tokenization.words import Splitter


class WordMemory:
    """Turns texts into tokens, each of which lies inside a word; remembers chunks and words.

    - ``splitter``: cuts texts into words.
    - ``ids_of_word``: packed ids of the tokens of a word.
    - ``stops``: where in a word each of its tokens ends.
    """

    def __init__(
        self, splitter: Splitter, ids_of_word: Callable[[str], bytes], stops: Callable[[str], Iterable[int]]
    ) -> None:
        self.splitter = splitter
        self.stops = stops
        self._words = ChunkMemory(ids_of_word)
        self._chunks = ChunkMemory(self._ids_of_chunk)
        self._places = ChunkMemory(self._locate_chunk)

    def ids(self, text: str) -> bytes:
        """Packed ids of a text."""
        return b"".join(map(self._chunks.__getitem__, self.splitter.chunks(text)))

    def located(self, text: str) -> Segment:
        """The same tokens with their places in the text."""
        ids: list[bytes] = []
        offsets = array("q")
        for chunk in self.splitter.chunk.finditer(text):
            packed, places = self._places[chunk.group()]
            start = chunk.start()
            ids.append(packed)
            offsets.extend([start + place for place in places])
        return Segment(array("q", b"".join(ids)), offsets)

    def _ids_of_chunk(self, chunk: str) -> bytes:
        return b"".join(map(self._words.__getitem__, self.splitter.words(chunk)))

    def _locate_chunk(self, chunk: str) -> tuple[bytes, list[int]]:
        """Packed ids of a chunk, and start and end of each of its tokens, in turn."""
        ids: list[bytes] = []
        ends: list[int] = []
        for word, places in self.splitter.located_words(chunk):
            ids.append(self._words[word])
            start = 0
            for stop in self.stops(word):
                ends += (places[start], places[stop - 1] + 1)
                start = stop
        return b"".join(ids), ends
