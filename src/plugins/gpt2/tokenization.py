"""GPT-2's tokenizer (Radford et al., 2019, section 2.2): words as bytes of UTF-8, which rules merge in pairs.

Ids are those of tiktoken, and ids and places those of transformers' ``GPT2TokenizerFast``, on any text.
"""

import codecs
import re
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from itertools import chain, groupby
from pathlib import Path
from typing import Any, ClassVar

from registry.tokenization.batches import Segment
from registry.tokenization.bpe import Pair
from registry.tokenization.bpe_tokenizer import BytePairTokenizer
from registry.tokenization.byte_level import APART, WORD, ByteLevel, spelt, utf8
from registry.tokenization.chunk_cache import ChunkCache, PackedIds, TokenCache, ids_of_parts
from registry.tokenization.options import FLAG, MARKS, Option

END_OF_TEXT = "<|endoftext|>"

ASCII_WORDS = re.compile(WORD.format(letter="A-Za-z", digit="0-9").encode())
"""Finds the words of a text in ASCII, for which no tables are needed."""

WIDE = "\x85\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
"""White space outside ASCII that hardly ever stands before other white space."""
NO_BREAK = "\xa0"
"""White space that often does."""
SPACE = f"\t-\r {NO_BREAK}{WIDE}"
"""White space."""
CHUNK = re.compile(f"[{SPACE}]*+[^{SPACE}]*+")
"""Finds the chunks of a text: no word goes on from a character that is not white space to one that is.

The last one is empty, which costs less than to look for white space at the end.
"""
BYTE_CHUNK = re.compile(rb"\s*+\S*+")
"""Finds chunks in the bytes of a text, which knows white space in ASCII; an eighth faster than the next."""
NO_BREAK_CHUNK = re.compile(rb"\s*+\S*+(?:(?<=\xc2\xa0)\s++\S*+)*+")
"""The same for a text with ``NO_BREAK``."""

BETWEEN = APART.decode("utf-8", "surrogateescape")
"""Becomes ``APART``; no text has it, as its lone surrogates were replaced."""


@cache
def most_words() -> "re.Pattern[str]":
    """A pattern that finds the words of most texts, and passes over characters that it does not know.

    It is told which letters and signs there are up to U+FFFF, from Python's tables.  That takes hardly longer than to
    load ``regex``, which knows all, and takes three times as long to find words.
    """
    plane = array("H", (*range(0xD800), *range(0xF900, 0x10000))).tobytes().decode("utf-16")  # no private use
    letters = _ranges(re.findall(r"[^\W\d_]+", plane), str.isalpha)
    signs = _ranges(re.findall(r"[^\w\s]+|_", plane), str.isprintable)
    template = WORD.replace(r"[^\s{letter}{digit}]", f"[{signs}]")
    template = template.replace(r"\S", f"[^{SPACE}]").replace(r"\s", f"[{SPACE}]")
    return re.compile(template.format(letter=letters, digit=r"\d"))


def _ranges(runs: Iterable[str], belongs: Callable[[str], bool]) -> str:
    """The characters that belong, of runs of neighbours, as ranges in a class."""
    parts = chain.from_iterable(
        [run] if belongs(run) else ["".join(part) for does, part in groupby(run, belongs) if does] for run in runs
    )
    return "".join([f"\\u{ord(part[0]):04x}-\\u{ord(part[-1]):04x}" for part in parts])


@cache
def all_words() -> Any:
    """A pattern that finds the words of any text."""
    import regex  # takes a third of the time of loading

    return regex.compile(WORD.format(letter=r"\p{L}", digit=r"\p{N}"))


def words(text: str) -> bytes:
    """The words of a text, as bytes of UTF-8 with ``APART`` between them."""
    found = most_words().findall(text)
    parted = BETWEEN.join(found)
    if len(parted) < len(text) + len(found) - bool(found):  # characters are missing
        parted = BETWEEN.join(all_words().findall(text))
    return parted.encode("utf-8", "surrogateescape")


class _EndsWide(Exception):  # noqa: N818  # no error: it tells that a text was cut too simply
    """A chunk ends in ``WIDE`` white space, to which the beginning of the next one may belong."""


def _is_error_handler(value: Any) -> bool:
    try:
        return bool(type(value) is str and codecs.lookup_error(value))
    except LookupError:
        return False


class GPT2Tokenizer(BytePairTokenizer):
    """The tokenizer of GPT-2 models.

    - ``vocab_file``: path of a ``vocab.json``, or the vocabulary itself, a mapping from tokens to ids.
    - ``merges_file``: path of a ``merges.txt``, or the rules themselves; beside the vocabulary when None.
    - ``errors``: what ``decode`` makes of bytes that are not UTF-8: a name that ``bytes.decode`` knows.
    - ``special_tokens``: tokens that are recognised whole; those which the vocabulary lacks follow it, in this order.
    - ``max_len``: tokens of the longest input of the model.
    - ``add_prefix_space``: whether a text that starts without a space is taken as if it had one.
    - further options stand in ``GPT2Tokenizer.options``.

    Every text without lone surrogates is given back by ``decode(encode(text))``.  A lone surrogate, for which UTF-8 has
    no bytes, is taken for U+FFFD.

    Raises VocabError when the vocabulary or the rules are damaged, MissingTokenizerError when there are no rules,
    ConfigError for an option with a value that it cannot have, and UnknownOptionError.
    """

    published_classes: ClassVar[tuple[str, ...]] = (
        "GPT2Tokenizer",
        "GPT2TokenizerFast",
        "PreTrainedTokenizerFast",
        "TokenizersBackend",
    )
    options: ClassVar[Mapping[str, Option]] = {
        **BytePairTokenizer.options,
        "errors": Option("the name of an error handler of bytes.decode", _is_error_handler),
        "add_prefix_space": FLAG,
    }
    marks: ClassVar[Sequence[str]] = tuple(mark for mark in MARKS if mark != "normalized")  # nothing is normalised
    understood: ClassVar[Mapping[str, Mapping[str, Any] | None]] = {
        "model": {
            "type": "BPE",
            "dropout": None,
            "continuing_subword_prefix": ("", None),
            "end_of_word_suffix": ("", None),
            "byte_fallback": False,
            "ignore_merges": False,
        },
        "normalizer": None,
        "pre_tokenizer": {"type": "ByteLevel", "use_regex": True},
    }

    unk_token = bos_token = eos_token = END_OF_TEXT
    errors: str
    add_prefix_space: bool

    def __init__(
        self,
        vocab_file: str | Path | Mapping[str, int],
        merges_file: str | Path | Iterable[Pair] | None = None,
        errors: str = "replace",
        special_tokens: Iterable[str] | None = None,
        max_len: int | None = None,
        *,
        add_prefix_space: bool = False,
        **values: Any,
    ) -> None:
        super().__init__(
            vocab_file,
            merges_file,
            special_tokens,
            errors=errors,
            max_len=max_len,
            add_prefix_space=add_prefix_space,
            **values,
        )
        self._level = ByteLevel(self.vocab, self.byte_pairs, self.vocab.get(self.unk_token))
        self._chunks = TokenCache(self._ids_of_chunk)
        self._places = ChunkCache(self._locate_chunk)

    # --- Text to ids

    def _ids(self, text: str) -> list[int]:
        try:
            return self._chunks.ids(self._cut(text))
        except _EndsWide:
            return list(self._located(text).ids)

    def _packed(self, text: str) -> PackedIds:
        try:
            return self._chunks.packed(self._cut(text))
        except _EndsWide:
            return super()._packed(text)

    def _cut(self, text: str) -> list[bytes]:
        """The chunks of a text; where white space is wide, some may not be whole."""
        return (NO_BREAK_CHUNK if NO_BREAK in text else BYTE_CHUNK).findall(utf8(self._prefix(text) + text))

    def _prefix(self, text: str) -> str:
        return " " if self.add_prefix_space and text and text[0] != " " else ""

    def _ids_of_chunk(self, chunk: bytes) -> tuple[int, ...]:
        if chunk.isascii():
            return ids_of_parts(self._level.parts, ASCII_WORDS.findall(chunk))
        text = chunk.decode()
        if text[-1] in WIDE:
            raise _EndsWide
        return ids_of_parts(self._level.parts, self._level.cut(words(text)))

    def _located(self, text: str) -> Segment:
        prefix = self._prefix(text)
        segment = Segment([], [])
        for chunk in CHUNK.finditer(prefix + text):
            ids, places = self._places[chunk.group()]
            start = chunk.start() - len(prefix)
            segment.ids.extend(ids)
            segment.offsets.extend([start + place for place in places])
        if prefix:  # it stands where the first character does
            segment.offsets[:2] = 0, max(segment.offsets[1], 1)
        return segment

    def _locate_chunk(self, chunk: str) -> Segment:
        """The tokens of a chunk with their places in it."""
        text = utf8(chunk).decode()
        ids = ids_of_parts(self._level.parts, self._level.cut(words(text)))
        return Segment(list(ids), self._level.places(text, ids))

    # --- Tokens to text

    def _join(self, tokens: Sequence[str]) -> str:
        """The text whose bytes the tokens spell; tokens that are recognised whole stand for themselves."""
        whole = {*self.added_tokens, *self.all_special_tokens}
        return spelt(tokens, whole).decode("utf-8", self.errors)
