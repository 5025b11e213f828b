"""GPT-2's tokenizer (Radford et al., 2019, section 2.2): words as bytes of UTF-8, which rules merge in pairs.

Ids are those of tiktoken, and ids and offsets those of transformers' ``GPT2TokenizerFast``, on any text.
"""

import codecs
import re
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from itertools import chain, groupby
from pathlib import Path
from typing import Any, ClassVar, Unpack

from registry.tokenization.added_tokens.pattern import WHITE_SPACE
from registry.tokenization.batches.encoding import Offsets, Span, with_surrogates, without_prefix
from registry.tokenization.bpe import Pair
from registry.tokenization.bpe_tokenizer import BytePairTokenizer
from registry.tokenization.byte_level import SEPARATOR, WORD, ByteLevel, bytes_to_unicode, decode_bytes, utf8
from registry.tokenization.chunk_cache import (
    LONGEST_CHUNK,
    ROOM,
    WEIGHT,
    CachedIds,
    ChunkCache,
    IdCache,
    TokenCache,
    compiled,
)
from registry.tokenization.options import FLAG, CommonOptions, Option

END_OF_TEXT = "<|endoftext|>"

# --- Words ------------------------------------------------------------------------------------------------------------

PATTERN = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
"""Finds the words of any text, as the release has it, for the library ``regex``."""
BETWEEN = SEPARATOR.decode("utf-8", "surrogateescape")
"""Becomes ``SEPARATOR``; no text has it, as its lone surrogates were replaced."""


@cache
def exact_pattern() -> Any:
    """``PATTERN``, compiled."""
    import regex  # takes a third of the time of loading

    return regex.compile(PATTERN)


@cache
def basic_pattern() -> "re.Pattern[str]":
    """Finds the same words in a third of the time, but skips characters above U+FFFF and those new to Python's tables.

    ``re`` has no classes of letters and of symbols, so that they are made of Python's tables as ranges.
    """
    plane = array("H", (*range(0xD800), *range(0xF900, 0x10000))).tobytes().decode("utf-16")  # no private use
    letters = _ranges(re.findall(r"[^\W\d_]+", plane), str.isalpha)
    symbols = _ranges(re.findall(r"[^\w\s]+|_", plane), str.isprintable)
    template = WORD.replace(r"[^\s{letter}{digit}]", f"[{symbols}]")
    template = template.replace(r"\S", f"[^{WHITE_SPACE}]").replace(r"\s", f"[{WHITE_SPACE}]")
    return re.compile(template.format(letter=letters, digit=r"\d"))


def _ranges(runs: Iterable[str], belongs: Callable[[str], bool]) -> str:
    """The characters of ``runs`` of consecutive characters that belong to a class, as its ranges."""
    parts = chain.from_iterable(
        [run] if belongs(run) else ["".join(part) for does, part in groupby(run, belongs) if does] for run in runs
    )
    return "".join([f"\\u{ord(part[0]):04x}-\\u{ord(part[-1]):04x}" for part in parts])


def pretokenize(text: str) -> bytes:
    """The words of a text, as bytes of UTF-8 with ``SEPARATOR`` between them."""
    words = basic_pattern().findall(text)
    joined = BETWEEN.join(words)
    if len(joined) < len(text) + len(words) - bool(words):  # it skipped a character
        joined = BETWEEN.join(exact_pattern().findall(text))
    return joined.encode("utf-8", "surrogateescape")


# --- Chunks -----------------------------------------------------------------------------------------------------------
# No word continues from a character that is not white space to one that is, so that a text may be cut there.  It is cut
# into what such a pattern finds; the last chunk is empty, which costs less than to look for white space at the end.

CHUNK = re.compile(f"[{WHITE_SPACE}]*+[^{WHITE_SPACE}]*+")
"""Finds the chunks of any text."""
ASCII_CHUNK = re.compile(rb"\s*+\S*+")
"""Finds the chunks of a text in UTF-8, and knows white space in ASCII only; takes two thirds of the time."""
PUNCTUATION_SPACE = rb"\xe2\x80[\x80-\x8a\xa8\xa9\xaf]|\xe2\x81\x9f"
"""White space from U+2000 to U+205F."""
WIDE_CHUNK = re.compile(
    rb"\s*+\S*+(?:(?<=[\x80-\xaf])(?:(?<=\xc2[\x85\xa0])|(?<=\xe1\x9a\x80|%b|\xe3\x80\x80))\s++\S*+)*+"
    % PUNCTUATION_SPACE
)
"""The same, but does not cut between white space outside ASCII and white space in ASCII; takes an eighth longer."""
FIND_PUNCTUATION_SPACE = re.compile(PUNCTUATION_SPACE).search


def chunks(text: str) -> list[bytes]:
    """The chunks of a text, as bytes of UTF-8."""
    data = utf8(text)
    is_wide = "\xa0" in text or "\x85" in text or "\u1680" in text
    is_wide = is_wide or (b"\xe3" in data and "\u3000" in text)  # to look for its first byte takes a fifth of the time
    return (WIDE_CHUNK if is_wide or FIND_PUNCTUATION_SPACE(data) else ASCII_CHUNK).findall(data)


def _is_error_handler(value: Any) -> bool:
    try:
        return bool(type(value) is str and codecs.lookup_error(value))
    except (LookupError, ValueError):  # ValueError where C cannot hold the name
        return False


class GPT2Tokenizer(BytePairTokenizer):
    """The tokenizer of GPT-2 models.

    Every text without surrogates is given back by ``decode(encode(text))``.  Two surrogates are read as the character
    that they mean, and a lone one, for which UTF-8 has no bytes, as U+FFFD.

    Args:
        vocab_file: Path of a ``vocab.json``, or the vocabulary itself, a mapping from tokens to ids.
        merges_file: Path of a ``merges.txt``, or the rules themselves; next to the vocabulary when None.
        errors: What ``decode`` makes of bytes that are not UTF-8: the name of an error handler of ``bytes.decode``.
        special_tokens: Special tokens; those which the vocabulary lacks follow it, in this order.
        max_len: Tokens of the longest input of the model.
        add_prefix_space: Whether a text that starts without a space is taken as if it had one.
        **values: Further options, of those in ``GPT2Tokenizer.options``.

    Raises:
        VocabError: The vocabulary or the rules are damaged.
        MissingTokenizerError: There are no rules.
        ConfigError: An option has a value that it cannot have.
        UnknownOptionError: There is no such option.
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
        **values: Unpack[CommonOptions],
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
        self._level = ByteLevel(self.own_vocab, self.byte_pairs, self.vocab.get(self.unk_token))
        if compiled is None:
            self._chunks: IdCache = TokenCache(self._ids_of_chunk)
            self._cut: Callable[[str], Any] = chunks
        else:  # which cuts a text into the same chunks, and makes nothing of those that it has: half the time
            self._chunks, self._cut = compiled.ChunkTable(self._ids_of_chunk, ROOM, WEIGHT, LONGEST_CHUNK), utf8
        self._offsets_of = ChunkCache(self._offsets_of_chunk)

    @property
    def byte_encoder(self) -> dict[int, str]:
        """The character by which the vocabulary writes each byte: a name of pytorch-pretrained-bert; a copy."""
        return bytes_to_unicode()

    @property
    def byte_decoder(self) -> dict[str, int]:
        """The byte of each of these characters, likewise."""
        return {character: byte for byte, character in bytes_to_unicode().items()}

    # --- Text to ids

    def span_ids(self, span: Span) -> CachedIds:
        """The ids of a span."""
        return CachedIds(self._chunks, self._cut(self._prefix(span.text) + span.text))

    def span_offsets(self, span: Span) -> Offsets:
        """For each token the characters that it touches; a space that was put before the span has none."""
        prefix = self._prefix(span.text)
        offsets: Offsets = []
        for chunk in CHUNK.finditer(prefix + span.text):
            begin = chunk.start()
            offsets.extend([(begin + start, begin + end) for start, end in self._offsets_of[chunk.group()]])
        return without_prefix(offsets, len(prefix))

    def span_words(self, span: Span) -> list[int]:
        """For each word the number of its tokens."""
        words = pretokenize(utf8(self._prefix(span.text) + span.text).decode()).split(SEPARATOR)
        return [len(self._level.ids_of_words(word)) for word in words if word]

    def _prefix(self, text: str) -> str:
        return " " if self.add_prefix_space and text and text[0] != " " else ""

    def _ids_of_chunk(self, chunk: bytes) -> tuple[int, ...]:
        level = self._level
        return level.ids_of_ascii(chunk) if chunk.isascii() else level.ids_of_words(pretokenize(chunk.decode()))

    def _offsets_of_chunk(self, chunk: str) -> Offsets:
        """The offsets of the tokens of a chunk, in it."""
        data = utf8(chunk)
        return with_surrogates(chunk, self._level.offsets(data.decode(), self._ids_of_chunk(data)))

    # --- Tokens to text

    def convert_tokens_to_string(self, tokens: Sequence[str]) -> str:
        """The text whose bytes the tokens stand for; added tokens stand for themselves."""
        added = {*self.added_tokens, *self.all_special_tokens}
        return decode_bytes(tokens, added).decode("utf-8", self.errors)
