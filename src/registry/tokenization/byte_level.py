"""Byte-level byte pairs (Radford et al., 2019, section 2.2): words as bytes of UTF-8, which rules merge in pairs.

Every text consists of 256 symbols, so none is unknown.  A vocabulary writes each byte as a character that can be seen:
``\u0120`` is a space.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from functools import cached_property
from itertools import accumulate, compress, count, pairwise
from typing import Any

from registry.errors import VocabError
from registry.tokenization.batches.encoding import Offsets, joined_surrogates
from registry.tokenization.bpe import BytePairs
from registry.tokenization.chunk_cache import ChunkCache, compiled, ids_of_parts

WORD = r" ?+[{letter}]++| ?+[{digit}]++|'(?:s|t|re|ve|m|ll|d)| ?+[^\s{letter}{digit}]++|\s+(?!\S)|\s++"
"""How the first release cuts text into words, with the classes of letters and digits left open.

Letters come first here, since most words are of letters; no apostrophe starts such a word.  What a part has taken is
never given back (``++``): nothing behind it could take it.
"""
ASCII_WORD = re.compile(WORD.format(letter="A-Za-z", digit="0-9").encode())
"""Finds the words of a text in ASCII, in a third of the time."""

PLAIN = (*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100))
"""Bytes that are written as the character of the same number; the others follow from U+0100 on."""


def bytes_to_unicode() -> dict[int, str]:
    """The character for each byte by which a vocabulary writes its tokens: none is a space or a control."""
    further = count(0x100)
    return {byte: chr(byte if byte in PLAIN else next(further)) for byte in range(256)}


CHARACTERS = bytes_to_unicode()
BYTES = {character: byte for byte, character in CHARACTERS.items()}
LEAD_BYTES = "\xc2\xff"
"""From the first to the second, a byte starts a character outside ASCII; they are written as themselves."""
CONTINUATION = b"[^\xc2-\xff]*+"
"""Finds bytes up to the next of these."""
SEPARATOR = b"\xff"
"""Stands between words; no byte of UTF-8."""
NO_MATCH = b"(?!)"
"""Matches nothing."""


class ByteLevel:
    """Words as tokens, made of their bytes by rules.

    Args:
        vocab: The tokens and their ids.
        byte_pairs: The rules.
        unknown: The id of a byte that the vocabulary lacks, where there is one.
    """

    parts: ChunkCache[bytes, tuple[int, ...]]
    """The ids of each part of a word.  Raises VocabError for one with a byte that has no token."""

    def __init__(self, vocab: Mapping[str, int], byte_pairs: BytePairs, unknown: int | None = None) -> None:
        self.parts = ChunkCache(self._ids_of_part)
        self._byte_pairs = byte_pairs
        self._symbols: list[Any] = [vocab.get(character, unknown) for character in CHARACTERS.values()]
        self._has_holes = None in self._symbols  # few vocabularies have: not every part of others is looked through
        self._vocab = vocab
        self._unknown = unknown

    # --- Words to ids

    def ids_of_ascii(self, text: bytes) -> tuple[int, ...]:
        """The ids of a text in ASCII, whose words are those of ``WORD``."""
        if self._merger is not None:
            return self._merger.ids_of_ascii(text)
        return ids_of_parts(self.parts, ASCII_WORD.findall(text))

    def ids_of_words(self, words: bytes) -> tuple[int, ...]:
        """The ids of words, with ``SEPARATOR`` between them."""
        return self._ids_in_python(words) if self._merger is None else self._merger.ids_of_words(words)

    def _ids_in_python(self, words: bytes) -> tuple[int, ...]:
        return ids_of_parts(self.parts, self.cut(words))

    @cached_property
    def _merger(self) -> "compiled.Merger | None":
        """The rules in C, where that was built: ids of words never met before, in a tenth of the time."""
        if compiled is None:
            return None
        return compiled.Merger(self._symbols, *self._byte_pairs.columns, self._ids_in_python)

    def cut(self, words: bytes) -> list[bytes]:
        """The parts of words, with ``SEPARATOR`` between them, cut where no rule merges; a word in ASCII is one part.

        Parts come again more often than words: a first pass over text of many scripts takes three fifths of the time.
        """
        return self._part.findall(words)

    def _ids_of_part(self, part: bytes) -> tuple[int, ...]:
        symbols = list(map(self._symbols.__getitem__, part))
        if self._has_holes and None in symbols:
            raise VocabError(
                f"The vocabulary has no token for the byte 0x{part[symbols.index(None)]:02x}, and no unk_token that "
                f"could stand for it.",
                hint="Take the vocabulary that the model was trained with, or name one of its tokens: unk_token=...",
            )
        return tuple(self._byte_pairs.merge(symbols))

    @cached_property
    def _part(self) -> "re.Pattern[bytes]":
        """Finds the parts of words.

        A part ends before a character outside ASCII, unless some rule appends a symbol that starts with the first two
        bytes of the character to a symbol that ends with the byte before it.
        """
        endings: dict[bytes, set[int]] = {}  # first bytes of what a rule appends -> last bytes of what it appends to
        firsts, seconds, *_ = self._byte_pairs.merges
        for first, second in compress(zip(firsts, seconds, strict=True), map(LEAD_BYTES[0].__le__, seconds)):  # few
            if second <= LEAD_BYTES[1] and BYTES.keys() >= {first[-1], *second[:2]}:
                endings.setdefault(bytes(map(BYTES.__getitem__, second[:2])), set()).add(BYTES[first[-1]])
        by_lead: dict[bytes, list[bytes]] = {}
        for start, before in endings.items():
            lead, rest = _escaped(start[:1]), _escaped(start[1:])
            by_lead.setdefault(lead, []).append(rest + b"(?<=[" + _escaped(before) + b"]" + lead + rest + b")")
        goes_on = b"|".join([lead + b"(?:" + b"|".join(rests) + b")" for lead, rests in by_lead.items()])
        return re.compile(b"[^%b]%b(?:(?:%b)%b)*+" % (SEPARATOR, CONTINUATION, goes_on or NO_MATCH, CONTINUATION))

    # --- Offsets

    def offsets(self, text: str, ids: Iterable[int]) -> Offsets:
        """For each token of a text whose ids are ``ids``, the start and the end of the characters that it touches."""
        characters = [index for index, letter in enumerate(text) for _ in letter.encode("utf-8", "surrogatepass")]
        ends = accumulate(map(self._widths.__getitem__, ids), initial=0)
        return [(characters[start], characters[end - 1] + 1) for start, end in pairwise(ends)]

    @cached_property
    def _widths(self) -> dict[int, int]:
        """For each token, the bytes that it stands for: as many as its characters, or one that is unknown."""
        return {number: 1 if number == self._unknown else len(token) for token, number in self._vocab.items()}


def utf8(text: str) -> bytes:
    """The bytes of a text; pairs of surrogates are the character that they mean, and lone ones U+FFFD."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return joined_surrogates(text).encode()


def decode_bytes(tokens: Iterable[str], added: Collection[str]) -> bytes:
    """The bytes that tokens stand for; those among ``added`` stand for themselves."""
    return b"".join(
        token.encode(errors="replace") if token in added else bytes(map(BYTES.__getitem__, token)) for token in tokens
    )


def _escaped(some: Iterable[int]) -> bytes:
    """Bytes in a pattern."""
    return b"".join([b"\\x%02x" % byte for byte in some])
