"""Ids and places of words: text is cut into chunks, chunks into words, and each of them is tokenized once."""

from collections.abc import Callable, Iterable

from registry.tokenization.batches import Segment
from registry.tokenization.chunk_cache import ChunkCache, PackedIds, TokenCache, ids_of_parts
from registry.tokenization.words import Splitter


class WordCache:
    """Turns texts into tokens, each of which lies inside a word; remembers chunks and words.

    - ``splitter``: cuts texts into words.
    - ``ids_of_word``: ids of the tokens of a word.
    - ``stops``: where in a word each of its tokens ends.
    """

    def __init__(
        self, splitter: Splitter, ids_of_word: Callable[[str], tuple[int, ...]], stops: Callable[[str], Iterable[int]]
    ) -> None:
        self.splitter = splitter
        self.stops = stops
        self._words = ChunkCache(ids_of_word)
        self._chunks = TokenCache(self._ids_of_chunk)
        self._places = ChunkCache(self._locate_chunk)

    def ids(self, text: str) -> list[int]:
        """The ids of a text."""
        return self._chunks.ids(self.splitter.chunks(text))

    def packed(self, text: str) -> PackedIds:
        """The same as 64-bit integers."""
        return self._chunks.packed(self.splitter.chunks(text))

    def located(self, text: str) -> Segment:
        """The same tokens with their places in the text."""
        segment = Segment([], [])
        for chunk in self.splitter.chunk.finditer(text):
            ids, places = self._places[chunk.group()]
            start = chunk.start()
            segment.ids.extend(ids)
            segment.offsets.extend([start + place for place in places])
        return segment

    def _ids_of_chunk(self, chunk: str) -> tuple[int, ...]:
        return ids_of_parts(self._words, self.splitter.words(chunk))

    def _locate_chunk(self, chunk: str) -> Segment:
        """The tokens of a chunk with their places in it."""
        ids: list[int] = []
        ends: list[int] = []
        for word, places in self.splitter.located_words(chunk):
            ids.extend(self._words[word])
            start = 0
            for stop in self.stops(word):
                ends += (places[start], places[stop - 1] + 1)
                start = stop
        return Segment(ids, ends)
