"""Models of ``sentencepiece`` (Kudo and Richardson, 2018), and the ids that library gives, each chunk of text once.

A text is cut where no piece continues, before spaces, and each distinct chunk is encoded once; where that would not be
exact, whole texts are encoded.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from registry.errors import VocabError
from registry.tokenization.added_tokens.token import AddedToken
from registry.tokenization.batches.encoding import (
    Offsets,
    SpanIds,
    joined_surrogates,
    with_surrogates,
    without_prefix,
)
from registry.tokenization.chunk_cache import ChunkCache, TokenCache, as_list
from registry.tokenization.sentencepiece.model_file import check_model, without_dummy_prefix

MODEL_NAME = "tokenizer.model"
SPACE = "\u2581"
"""A space in a piece; in a text, it is a space as well."""
CHUNK = re.compile(f"[ {SPACE}]*[^ {SPACE}]+|[ {SPACE}]+")
"""Finds the chunks of a text: spaces, and what stands behind them."""
SPANS_BOUNDARY = re.compile(f"[^ {SPACE}][ {SPACE}]")
"""Finds a boundary of chunks inside a piece, for which texts cannot be cut there."""


class SentencePieceModel:
    """A model of ``sentencepiece``.

    Args:
        data: The bytes of its file.
        origin: The name of the file in errors.

    Raises:
        VocabError: The file is damaged, or its pieces are not distinct texts of reasonable length.
    """

    prefixes = None
    published_class = None
    normalizer = None

    def __init__(self, data: bytes, origin: str = "the model of sentencepiece") -> None:
        settings = check_model(data, origin)
        self._data = data
        self._processor = _processor(data, origin)
        self._without_prefix = _processor(without_dummy_prefix(data), origin)
        self.vocab: dict[str, int] = _vocabulary(self._processor, origin)
        self._prefix = " " if settings.add_dummy_prefix else ""
        self.is_cut = (
            settings.is_bpe
            and settings.escape_whitespaces
            and not (settings.treat_whitespace_as_suffix or settings.has_charsmap or settings.remove_extra_whitespaces)
            and SPACE in self.vocab  # an unknown one would become one with unknown neighbors
            and not any(map(SPANS_BOUNDARY.search, self.vocab))
        )
        self._chunks: TokenCache[str] = TokenCache(
            lambda chunk: tuple(self._without_prefix.encode(joined_surrogates(chunk)))
        )
        self._offsets: ChunkCache[str, Offsets] = ChunkCache(lambda chunk: _offsets(self._without_prefix, chunk))

    @property
    def special(self) -> dict[str, str]:
        """The special tokens of the model."""
        numbers = {f"{name}_token": getattr(self._processor, f"{name}_id")() for name in ("unk", "bos", "eos", "pad")}
        return {name: self._processor.id_to_piece(number) for name, number in numbers.items() if number >= 0}

    def encode(self, text: str, add_dummy_prefix: bool) -> SpanIds:
        """The ids of a text."""
        if not self.is_cut:
            return list(self._processor_for(add_dummy_prefix).encode(joined_surrogates(text)))
        return self._chunks.ids(CHUNK.findall(self._prefix_of(text, add_dummy_prefix) + text))

    def offsets(self, text: str, add_dummy_prefix: bool) -> Offsets:
        """For each of its tokens the characters that it touches; a space that was put before it has none."""
        if not self.is_cut:
            return _offsets(self._processor_for(add_dummy_prefix), text)
        prefix = self._prefix_of(text, add_dummy_prefix)
        return without_prefix(offsets_of_chunks(self._offsets, CHUNK.findall(prefix + text)), len(prefix))

    def words(self, text: str, add_dummy_prefix: bool) -> list[int]:
        """The number of its tokens: pieces may be of several words, so that a text counts as one."""
        return [size] if (size := len(as_list(self.encode(text, add_dummy_prefix)))) else []

    def decode(self, pieces: Sequence[str], add_dummy_prefix: bool) -> str:
        """The text that pieces spell; bytes that are not UTF-8 become U+FFFD."""
        return str(self._processor_for(add_dummy_prefix).decode(list(pieces)))

    def files(self, added: Iterable[AddedToken]) -> dict[str, bytes]:  # noqa: ARG002  # other models write them
        """The model as it was read, without further tokens."""
        return {MODEL_NAME: self._data}

    def _processor_for(self, add_dummy_prefix: bool) -> Any:
        return self._processor if add_dummy_prefix else self._without_prefix

    def _prefix_of(self, text: str, add_dummy_prefix: bool) -> str:
        return self._prefix if add_dummy_prefix and text else ""

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._data,)


def offsets_of_chunks(cache: Mapping[str, Offsets], chunks: Iterable[str]) -> Offsets:
    """The offsets of the tokens of chunks that follow each other, of those in each chunk."""
    found: Offsets = []
    begin = 0
    for chunk in chunks:
        found.extend([(begin + start, begin + end) for start, end in cache[chunk]])
        begin += len(chunk)
    return found


def _offsets(processor: Any, text: str) -> Offsets:
    """The offsets of the pieces of a text; of the bytes of a character, sentencepiece has the last only."""
    found: Offsets = []
    start = end = len(joined_surrogates(text))
    for here in reversed(processor.encode_as_offset_mapping(joined_surrogates(text))["offsets"]):
        if here[0] < here[1]:
            start, end = here
        found.append((start, end))
    return with_surrogates(text, found[::-1])


def _processor(data: bytes, origin: str) -> Any:
    """The processor of a model that has been checked."""
    from sentencepiece import SentencePieceProcessor  # takes a while, which only its users wait for

    try:
        return SentencePieceProcessor(model_proto=data)
    except (RuntimeError, ValueError, OSError) as problem:
        raise VocabError(
            f"{origin} was refused by sentencepiece: {problem}".rstrip(".") + ".",
            hint="The file is damaged, or not a model of sentencepiece; download it again.",
        ) from problem


def _vocabulary(processor: Any, origin: str) -> dict[str, int]:
    try:
        pieces: Iterable[str] = [processor.id_to_piece(number) for number in range(processor.get_piece_size())]
    except UnicodeDecodeError as problem:
        raise VocabError(f"{origin} has a piece that is not UTF-8: {problem}.") from problem
    return {piece: number for number, piece in enumerate(pieces)}
