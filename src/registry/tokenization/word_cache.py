"""Ids and offsets of words: text is cut into chunks, chunks into words, and each of them is tokenized once."""

from collections.abc import Callable, Iterable
from functools import cached_property
from itertools import chain

from registry.tokenization.batches.encoding import Offsets, joined_surrogates, with_surrogates
from registry.tokenization.chunk_cache import CachedIds, ChunkCache, TokenCache, ids_of_parts
from registry.tokenization.words import Splitter


class WordCache:
    """Turns texts into tokens, each of which lies inside a word; caches chunks and words.

    Args:
        splitter: Cuts texts into words.
        ids_of_word: Ids of the tokens of a word.
        token_ends: Where in a word each of its tokens ends.
    """

    def __init__(
        self,
        splitter: Splitter,
        ids_of_word: Callable[[str], tuple[int, ...]],
        token_ends: Callable[[str], Iterable[int]],
    ) -> None:
        self.splitter = splitter
        self.token_ends = token_ends
        self._words = ChunkCache(ids_of_word)
        self._chunks: TokenCache[str] = TokenCache(lambda chunk: ids_of_parts(self._words, self._words_of(chunk)))
        self._offsets = ChunkCache(self._offsets_of_chunk)

    @cached_property
    def of_normalized(self) -> "WordCache":
        """The same for texts that are normalized already."""
        return WordCache(self.splitter.of_normalized(), self._words.compute, self.token_ends)

    def ids(self, text: str) -> CachedIds:
        """The ids of a text."""
        return self._chunks.ids(self.splitter.chunks(text))

    def offsets(self, text: str) -> Offsets:
        """The offsets of the same tokens."""
        offsets: Offsets = []
        for chunk in self.splitter.chunk.finditer(text):
            begin = chunk.start()
            offsets.extend([(begin + start, begin + end) for start, end in self._offsets[chunk.group()]])
        return offsets

    def sizes(self, text: str) -> list[int]:
        """For each word of a text the number of its tokens."""
        words = chain.from_iterable(map(self._words_of, self.splitter.chunks(text)))
        return [len(self._words[word]) for word in words]

    def _words_of(self, chunk: str) -> list[str]:
        return self.splitter.words(joined_surrogates(chunk))

    def _offsets_of_chunk(self, chunk: str) -> Offsets:
        """The offsets of the tokens of a chunk, in it."""
        found: Offsets = []
        for word, offsets in self.splitter.words_with_offsets(joined_surrogates(chunk)):
            start = 0
            for end in self.token_ends(word):
                found.append((offsets[start], offsets[end - 1] + 1))
                start = end
        return with_surrogates(chunk, found)
