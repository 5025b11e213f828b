"""Byte-level pieces: a text cut into words, which are written in bytes, by the rules of a ``tokenizer.json``."""

import json
import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any, TypeAlias

import regex

from registry.errors import VocabError
from registry.tokenization.added_tokens.matching import Normalizer
from registry.tokenization.batches.encoding import Offsets, SpanIds
from registry.tokenization.bpe import Merges
from registry.tokenization.byte_level import CHARACTERS, WORD, ByteLevel, decode_bytes, utf8
from registry.tokenization.chunk_cache import TokenCache

from .rules import RuleModel

LLAMA_3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""How Llama 3 finds words, as its file has it."""

DIGITS_APART = r"'s|'t|'re|'ve|'m|'ll|'d| ?[{letter}]+|[{digit}]| ?[^\s{letter}{digit}]+|\s+(?![^\s{digit}])|\s+"
"""How words are found between digits, each of which is cut out beforehand: spaces end there as at the end of a text."""

LLAMA_3_WORD = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n{letter}{digit}]?[{letter}]+|[{digit}]{{1,3}}"
    r"| ?[^\s{letter}{digit}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""The same, with the classes of letters and digits left open."""

QWEN = LLAMA_3.replace(r"\p{N}{1,3}", r"\p{N}")
"""How Qwen finds words: as Llama 3, but each digit is a word."""

QWEN_WORD = LLAMA_3_WORD.replace("[{digit}]{{1,3}}", "[{digit}]")

Step: TypeAlias = tuple[Any, ...]

WORDS: Mapping[tuple[Step, ...] | None, str] = {
    (("ByteLevel", True),): WORD,
    (("Digits", True), ("ByteLevel", True)): DIGITS_APART,
    (("Split", LLAMA_3, "Isolated", False), ("ByteLevel", False)): LLAMA_3_WORD,
    (("Split", QWEN, "Isolated", False), ("ByteLevel", False)): QWEN_WORD,
}
"""The steps by which a text is cut, and the pattern that finds the same words in one.

They are the published ones, and others are refused: a pattern in a file may take exponential time for a short text.
"""


class Composition:
    """Unicode's normal form C: a letter and the marks on it as one character, where there is one."""

    def normalize(self, text: str) -> str:
        """A text, normalized."""
        return unicodedata.normalize("NFC", text)

    def normalize_each(self, text: str) -> list[str]:
        """What each character is normalized to; a mark that was composed is empty."""
        clusters = regex.findall(r"\X", text)
        composed = list(map(self.normalize, clusters))
        if "".join(composed) != self.normalize(text):
            clusters, composed = [text], [self.normalize(text)]
        return [part for old, new in zip(clusters, composed, strict=True) for part in _in_steps(old, new)]


NORMALIZERS: Mapping[str, Normalizer | None] = {"null": None, json.dumps({"type": "NFC"}): Composition()}
"""The normalizers that are understood, as their files have them."""


def _before(ends: Sequence[int], start: int, end: int) -> tuple[int, int]:
    """The characters of a text of which some of its normalized ones were made; ``ends`` has a number for each."""
    return bisect_right(ends, start), bisect_right(ends, end - 1) + 1 if end > start else bisect_right(ends, start)


def _in_steps(old: str, new: str) -> list[str]:
    """What each character of a cluster becomes: marks that were composed become nothing, and others stay in order."""
    extra = max(len(new) - len(old), 0)
    return [new[: 1 + extra], *[""] * (len(old) - len(new)), *new[1 + extra :]]


class ByteLevelModel(RuleModel):
    """Pieces of words, which are written in bytes.

    Raises:
        VocabError: The pipeline cuts texts into words in a way that is not in ``WORDS``.
    """

    def __init__(self, keys: Mapping[str, Any], merges: Merges) -> None:
        super().__init__(keys, merges)
        self.normalizer = NORMALIZERS.get(json.dumps(self.keys["normalizer"]))
        template = _template(self.keys["normalizer"], self.keys["pre_tokenizer"])
        self._find = regex.compile(template.format(letter=r"\p{L}", digit=r"\p{N}"))
        self._find_ascii = re.compile(template.format(letter="A-Za-z", digit="0-9"), re.ASCII)  # most texts, and faster
        self._level = ByteLevel(self.vocab, self.byte_pairs, self.vocab.get(self.special.get("unk_token", "")))
        self._words = TokenCache(self._ids_of_known_word if self.model.get("ignore_merges") else self._ids_of_word)

    def encode(self, text: str, add_dummy_prefix: bool) -> SpanIds:  # noqa: ARG002  # no space is put anywhere
        """The ids of a text."""
        text = self._normalized(text)
        return self._words.ids(self._pattern(text).findall(text))

    def offsets(self, text: str, add_dummy_prefix: bool) -> Offsets:
        """For each of its tokens the characters that it touches."""
        normalized = self._normalized(text)
        if normalized != text:
            assert self.normalizer is not None
            ends = list(accumulate(map(len, self.normalizer.normalize_each(text))))
            return [_before(ends, start, end) for start, end in self.offsets(normalized, add_dummy_prefix)]
        found: Offsets = []
        for word in self._pattern(text).finditer(text):
            begin, offsets = word.start(), self._level.offsets(word.group(), self._words.tuples[word.group()])
            found.extend([(begin + start, begin + end) for start, end in offsets])
        return found

    def words(self, text: str, add_dummy_prefix: bool) -> list[int]:  # noqa: ARG002  # a piece model's option
        """For each word the number of its tokens."""
        text = self._normalized(text)
        return [len(self._words.tuples[word]) for word in self._pattern(text).findall(text)]

    def decode(self, pieces: Sequence[str], add_dummy_prefix: bool) -> str:  # noqa: ARG002
        """The text whose bytes the pieces stand for; bytes that are not UTF-8 become U+FFFD."""
        return decode_bytes(pieces, ()).decode("utf-8", "replace")

    def _normalized(self, text: str) -> str:
        return text if self.normalizer is None or text.isascii() else self.normalizer.normalize(text)

    def _pattern(self, text: str) -> Any:
        return self._find_ascii if text.isascii() else self._find

    def _ids_of_word(self, word: str) -> tuple[int, ...]:
        return self._level.ids_of_words(utf8(word))

    def _ids_of_known_word(self, word: str) -> tuple[int, ...]:
        """The ids of a word that is a piece as it stands, whatever rules would make of it; else by the rules."""
        number = self.vocab.get("".join(map(CHARACTERS.__getitem__, utf8(word))))
        return self._ids_of_word(word) if number is None else (number,)


def _template(normalizer: Any, pre_tokenizer: Any) -> str:
    """The pattern of words that a pipeline stands for, with the classes of letters and digits left open."""
    steps = tuple(_steps(pre_tokenizer)) if json.dumps(normalizer) in NORMALIZERS else None
    if steps in WORDS:
        return WORDS[steps]
    raise VocabError(
        f"A normalizer {normalizer!r:.80} with a pre_tokenizer {pre_tokenizer!r:.200} is not supported.",
        hint="Supported are ByteLevel alone or behind Digits, and the words of Llama 3 and Qwen, with NFC or without.",
    )


def _steps(part: Any) -> Iterator[Step]:
    """What each step of a pre-tokenizer does, as far as it decides about words."""
    match part:
        case {"type": "Sequence", "pretokenizers": [*parts]}:
            for inner in parts:
                yield from _steps(inner)
        case {"type": "ByteLevel", "add_prefix_space": False}:
            yield "ByteLevel", part.get("use_regex", True)
        case {"type": "Digits"}:
            yield "Digits", part.get("individual_digits", False)
        case {"type": "Split", "pattern": {"Regex": pattern}}:
            yield "Split", pattern, part.get("behavior"), part.get("invert")
        case _:
            yield (repr(part),)
