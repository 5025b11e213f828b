"""Metaspace: ``sentencepiece``'s pieces, by the rules of a ``tokenizer.json``; a space is a letter, ``▁``.

Such files were made of a ``tokenizer.model``: characters are merged by rules, and one that is not a piece is written in
the bytes of UTF-8, ``<0xE4>``.
"""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple

from registry.errors import VocabError
from registry.tokenization.batches.encoding import Offsets, SpanIds, joined_surrogates, with_surrogates, without_prefix
from registry.tokenization.bpe import Merges
from registry.tokenization.byte_level import utf8
from registry.tokenization.chunk_cache import ChunkCache, TokenCache, as_list
from registry.tokenization.sentencepiece.processor import CHUNK, SPACE, SPANS_BOUNDARY, offsets_of_chunks

from .rules import RuleModel

BYTES = {f"<0x{byte:02X}>": byte for byte in range(256)}

REPLACE = {"type": "Replace", "pattern": {"String": " "}, "content": SPACE}
PREPEND = {"type": "Prepend", "prepend": SPACE}
PREFIXES: Mapping[str, tuple[bool, bool]] = {"always": (True, True), "first": (True, False), "never": (False, False)}
"""A scheme, and whether it puts a space before a text, and before one that follows a special token."""


class Spaces(NamedTuple):
    """A normalizer that writes ``▁`` for a space, and a prefix before a text."""

    prefix: str

    def normalize(self, text: str) -> str:
        """A text, normalized."""
        return self.prefix + text.replace(" ", SPACE) if text else ""

    def normalize_each(self, text: str) -> list[str]:
        """What each character is normalized to; the prefix belongs to the first one."""
        characters = list(text.replace(" ", SPACE))
        return [self.prefix + characters[0], *characters[1:]]


class MetaspaceModel(RuleModel):
    """Pieces in which a space is ``▁``, and rules that merge them.

    Raises:
        VocabError: A byte is missing, or the pipeline is of another kind.
    """

    def __init__(self, keys: Mapping[str, Any], merges: Merges) -> None:
        super().__init__(keys, merges)
        self.prefixes, self._doubles = _prefixes(self.keys["normalizer"], self.keys["pre_tokenizer"])
        self.normalizer = Spaces(SPACE if self._doubles else "") if self.keys["normalizer"] is not None else None
        missing = [piece for piece in (*BYTES, SPACE) if piece not in self.vocab]
        if missing:
            raise VocabError(
                f"The vocabulary lacks {', '.join(missing[:3])}, without which some texts cannot be encoded."
            )
        self._bytes = [self.vocab[piece] for piece in BYTES]
        self._pieces = {number: piece for piece, number in self.vocab.items()}
        self._is_cut = not any(map(SPANS_BOUNDARY.search, self.vocab))
        self._chunks = TokenCache(self._ids_of_chunk)
        self._offsets = ChunkCache(self._offsets_of_chunk)

    def encode(self, text: str, add_dummy_prefix: bool) -> SpanIds:
        """The ids of a text."""
        return self._chunks.ids(self._cut(self._prefix(text, add_dummy_prefix) + text))

    def offsets(self, text: str, add_dummy_prefix: bool) -> Offsets:
        """For each of its tokens the characters that it touches; a space that was put before it has none."""
        prefix = self._prefix(text, add_dummy_prefix)
        return without_prefix(offsets_of_chunks(self._offsets, self._cut(prefix + text)), len(prefix))

    def words(self, text: str, add_dummy_prefix: bool) -> list[int]:
        """The number of its tokens: pieces may be of several words, so that a text counts as one."""
        return [size] if (size := len(as_list(self.encode(text, add_dummy_prefix)))) else []

    def decode(self, pieces: Sequence[str], add_dummy_prefix: bool) -> str:
        """The text that pieces spell; each byte of a run that is not UTF-8 becomes U+FFFD."""
        runs = groupby(pieces, BYTES.__contains__)
        text = "".join([_decoded(run) if is_bytes else "".join(run).replace(SPACE, " ") for is_bytes, run in runs])
        return text.removeprefix(" ") if add_dummy_prefix else text

    def _cut(self, text: str) -> list[str]:
        return CHUNK.findall(text) if self._is_cut else [text]

    def _prefix(self, text: str, add_dummy_prefix: bool) -> str:
        return " " if add_dummy_prefix and text and (self._doubles or text[0] not in f" {SPACE}") else ""

    def _ids_of_chunk(self, chunk: str) -> tuple[int, ...]:
        symbols: list[int] = []
        for character in joined_surrogates(chunk).replace(" ", SPACE):
            if character in self.vocab:
                symbols.append(self.vocab[character])
            else:
                symbols.extend(map(self._bytes.__getitem__, utf8(character)))
        return tuple(self.byte_pairs.merge(symbols))

    def _offsets_of_chunk(self, chunk: str) -> Offsets:
        """The offsets of the pieces of a chunk, in it; each byte of a character has those of the character."""
        offsets: Offsets = []
        end = 0
        for piece in map(self._pieces.__getitem__, self._chunks.tuples[chunk]):
            follows = 0x80 <= BYTES.get(piece, 0) < 0xC0  # a further byte of the character before
            start = end - follows
            end = start + (1 if piece in BYTES else len(piece))
            offsets.append((start, end))
        return with_surrogates(chunk, offsets)


def _decoded(run: Any) -> str:
    data = bytes(map(BYTES.__getitem__, run))
    try:
        return data.decode()
    except UnicodeDecodeError:
        return "\ufffd" * len(data)


def _prefixes(normalizer: Any, pre_tokenizer: Any) -> tuple[tuple[bool, bool], bool]:
    """Where a pipeline puts spaces, and whether it does so where there is one already."""
    if pre_tokenizer is None and normalizer == {"type": "Sequence", "normalizers": [PREPEND, REPLACE]}:
        return PREFIXES["always"], True
    if pre_tokenizer is None and normalizer == REPLACE:
        return PREFIXES["never"], False
    if normalizer is None and isinstance(pre_tokenizer, dict):
        scheme = pre_tokenizer.get(
            "prepend_scheme", "always" if pre_tokenizer.get("add_prefix_space", True) else "never"
        )
        known = {"type": "Metaspace", "replacement": SPACE, "split": False}
        if known.items() <= pre_tokenizer.items() and scheme in PREFIXES:
            return PREFIXES[scheme], False
    raise VocabError(
        f"A normalizer {normalizer!r:.80} with a pre_tokenizer {pre_tokenizer!r:.80} is not supported.",
        hint="Understood is what is made of Llama's tokenizer.model: Prepend and Replace, or Metaspace without split.",
    )
