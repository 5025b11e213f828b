"""Vocabularies: tokens and their ids, read from files that anybody may have written.

The ids of a vocabulary of n tokens are 0 to n - 1, each used once.  Anything else is an error here, for later it would
be an embedding of another word.
"""

from collections.abc import Mapping
from itertools import count
from operator import eq
from pathlib import Path

from registry.errors import VocabError

MOST_TOKENS = 5_000_000
LONGEST_TOKEN = 64 * 1024
MOST_BYTES = 256 * 2**20
MOST_VALUES = 8_000_000
"""In a file of JSON: one for each token and, in some, three for each rule."""

BLANKS = " \t"
"""Stripped from both ends of a line, as pytorch-pretrained-bert did.  It stripped every space of Unicode, which made
empty tokens of lines that hold nothing else; no text can produce such tokens, and here they keep their ids and their
spelling."""


def read_vocabulary(path: str | Path) -> dict[str, int]:
    r"""Read a vocabulary of one token a line; the id of a token is the number of its line, from 0.

    Lines end at ``\n`` or ``\r\n`` and nowhere else; blanks around a token, a byte order mark and empty lines at the
    end are dropped.

    Raises:
        VocabError: The file is damaged; the error names it and the line.
    """
    return parse_vocabulary(read_bytes(path), origin=str(path))


def read_bytes(path: str | Path) -> bytes:
    """The bytes of a file, or as many of them as show that it is too large.  Raises VocabError."""
    try:
        with Path(path).open("rb") as file:
            return file.read(MOST_BYTES + 1)
    except OSError as problem:
        raise VocabError(f"The vocabulary {path} could not be read: {problem.strerror}.") from problem


def parse_vocabulary(data: bytes, *, origin: str) -> dict[str, int]:
    """The vocabulary in the bytes of a file; ``origin`` names it in errors."""
    text = decoded(data, origin=origin)
    tokens = text.split("\n")
    if any(blank in text for blank in (*BLANKS, "\r")):
        tokens = [token.removesuffix("\r").strip(BLANKS) for token in tokens]
    while tokens and not tokens[-1]:
        tokens.pop()
    vocab = dict(zip(tokens, range(len(tokens)), strict=True))
    too_long = _has_long_line(text) and len(max(tokens, key=len, default="")) > LONGEST_TOKEN
    if len(vocab) < len(tokens) or "" in vocab or too_long:
        raise VocabError(f"{origin} is damaged: {_fault(tokens)}.", hint="Download it again, or repair the line.")
    if not vocab:
        raise VocabError(f"{origin} is empty: one token per line is needed.")
    return vocab


def _has_long_line(text: str) -> bool:
    """Whether a line is longer than a token may be, found without looking at each: a line that is not ends in time."""
    start = 0
    while len(text) - start > LONGEST_TOKEN:
        start = text.rfind("\n", start, start + LONGEST_TOKEN + 1) + 1
        if not start:
            return True
    return False


def decoded(data: bytes, *, origin: str) -> str:
    """The text in the bytes of a file of short lines.  Raises VocabError, with the line that is at fault."""
    if len(data) > MOST_BYTES or data.count(b"\n") > MOST_TOKENS:
        raise VocabError(
            f"{origin} is not a vocabulary: it has more than {MOST_TOKENS:,} lines or {MOST_BYTES:,} bytes."
        )
    if b"\0" in data:
        raise VocabError(f"{origin} is not UTF-8 text: line {_line(data, data.index(0))} has a NUL byte.")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        line, byte = _line(data, problem.start), data[problem.start]
        raise VocabError(f"{origin} is not UTF-8 text: line {line} has the byte 0x{byte:02x}.") from problem


def _line(data: bytes, offset: int) -> int:
    return data.count(b"\n", 0, offset) + 1


def _fault(tokens: list[str]) -> str:
    """The first line at fault, as text."""
    seen: dict[str, int] = {}
    for number, token in enumerate(tokens, start=1):
        if not token:
            return f"line {number} is blank"
        if len(token) > LONGEST_TOKEN:
            return f"the token in line {number} has {len(token):,} characters"
        if token in seen:
            return f"the token {token!r} stands in line {seen[token]} and again in line {number}"
        seen[token] = number
    raise AssertionError("called without a fault")


def tokens_by_id(vocab: Mapping[str, int], *, origin: str) -> list[str]:
    """The tokens in the order of their ids.  Raises VocabError when these are not 0 to n - 1, each used once."""
    if set(map(type, vocab.values())) != {int}:
        raise VocabError(f"{origin} must map at least one token to its id, a whole number{_odd_one(vocab)}.")
    if all(map(eq, vocab.values(), count())):
        return list(vocab)
    tokens = dict(sorted((number, token) for token, number in vocab.items()))
    if list(tokens) != list(range(len(vocab))):
        raise VocabError(f"{origin} must number {len(vocab):,} tokens from 0 without gaps, but {_gap(vocab, tokens)}.")
    return list(tokens.values())


def _odd_one(vocab: Mapping[str, object]) -> str:
    """The first entry at fault, as text."""
    odd = ((token, number) for token, number in vocab.items() if type(number) is not int)
    return next((f", not {token!r} to {number!r}" for token, number in odd), "; it is empty")


def _gap(vocab: Mapping[str, int], tokens: Mapping[int, str]) -> str:
    for token, number in vocab.items():
        if number < 0:
            return f"{token!r} has the id {number}"
        if tokens[number] != token:
            return f"{token!r} and {tokens[number]!r} share the id {number}"
    return f"no token has the id {next(number for number in count() if number not in tokens)}"
