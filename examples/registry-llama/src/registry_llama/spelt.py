"""A text spelt in pieces, as ``sentencepiece`` does it, by the rules of a ``tokenizer.json``.

Such files were made of a ``tokenizer.model``: characters are merged by rules, and one that is no piece is spelt by the
bytes of UTF-8, ``<0xE4>``.
"""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from registry.errors import VocabError
from registry.tokenization.batches import Segment
from registry.tokenization.bpe import Merges
from registry.tokenization.byte_level import utf8
from registry.tokenization.chunk_cache import ChunkCache, joined
from registry.tokenization.pieces import GOES_ON, SPACE, chunks_of, located_chunks

from .rules import RulePieces

BYTES = {f"<0x{byte:02X}>": byte for byte in range(256)}

REPLACE = {"type": "Replace", "pattern": {"String": " "}, "content": SPACE}
PREPEND = {"type": "Prepend", "prepend": SPACE}
PREFIXES: Mapping[str, tuple[bool, bool]] = {"always": (True, True), "first": (True, False), "never": (False, False)}
"""A scheme's word, and whether it puts a space before a text, and before one that goes on from a special token."""


class SpeltPieces(RulePieces):
    """Pieces that spell a space as ``▁``, and rules that merge them.

    Raises VocabError when a byte is missing, and for a pipeline of another kind.
    """

    def __init__(self, keys: Mapping[str, Any], merges: Merges) -> None:
        super().__init__(keys, merges)
        self.spaced, self._doubles = _prefixes(self.keys["normalizer"], self.keys["pre_tokenizer"])
        lacking = [piece for piece in (*BYTES, SPACE) if piece not in self.vocab]
        if lacking:
            raise VocabError(
                f"The vocabulary lacks {', '.join(lacking[:3])}, without which not every text can be spelt."
            )
        self._bytes = [self.vocab[piece] for piece in BYTES]
        self._pieces = {number: piece for piece, number in self.vocab.items()}
        self._is_cut = not any(map(GOES_ON.search, self.vocab))
        self._chunks = ChunkCache(self._ids_of_chunk)
        self._places = ChunkCache(self._located_chunk)

    def ids(self, text: str, spaced: bool) -> list[int]:
        """The ids of a text."""
        return joined(map(self._chunks.__getitem__, self._cut(self._before(text, spaced) + text)))

    def located(self, text: str, spaced: bool) -> Segment:
        """The same with the places in the text that each piece touches."""
        before = self._before(text, spaced)
        return located_chunks(self._places, self._cut(before + text), len(before))

    def text(self, pieces: Sequence[str], spaced: bool) -> str:
        """The text that pieces spell; each byte of a row that is no UTF-8 becomes U+FFFD."""
        runs = groupby(pieces, BYTES.__contains__)
        text = "".join([_decoded(run) if is_bytes else "".join(run).replace(SPACE, " ") for is_bytes, run in runs])
        return text.removeprefix(" ") if spaced else text

    def _cut(self, text: str) -> list[str]:
        return chunks_of(text) if self._is_cut else [text]

    def _before(self, text: str, spaced: bool) -> str:
        return " " if spaced and text and (self._doubles or text[0] not in f" {SPACE}") else ""

    def _ids_of_chunk(self, chunk: str) -> tuple[int, ...]:
        symbols: list[int] = []
        for character in chunk.replace(" ", SPACE):
            if character in self.vocab:
                symbols.append(self.vocab[character])
            else:
                symbols.extend(map(self._bytes.__getitem__, utf8(character)))
        return tuple(self.byte_pairs.merge(symbols))

    def _located_chunk(self, chunk: str) -> Segment:
        """The pieces of a chunk with their places; each byte of a character has its place."""
        ids = self._chunks[chunk]
        places: list[int] = []
        stop = 0
        for piece in map(self._pieces.__getitem__, ids):
            follows = 0x80 <= BYTES.get(piece, 0) < 0xC0  # a further byte of the character before
            start = stop - follows
            stop = start + (1 if piece in BYTES else len(piece))
            places += (start, stop)
        return Segment(list(ids), places)


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
        f"A normalizer {normalizer!r:.80} with a pre_tokenizer {pre_tokenizer!r:.80} is not understood here.",
        hint="Understood is what is made of Llama's tokenizer.model: Prepend and Replace, or Metaspace without split.",
    )
