"""Files of Transformer-XL's tokenizer: vocabularies, and texts."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from registry.errors import InputError, VocabError
from registry.files.signatures import ZIP
from registry.tokenization.vocabulary import decoded, parse_vocabulary, read_bytes

CHARACTERS = 2**20
"""Characters of a text that are read at once, with the rest of the line in which they end."""

# --- Texts ------------------------------------------------------------------------------------------------------------


def parts_of(path: str | Path) -> Iterator[str]:
    """A text file in parts that end where a line ends.  Raises InputError where it is not UTF-8."""
    with _as_text(path) as file:
        while part := file.read(CHARACTERS) + file.readline():
            yield part


def lines_of(path: str | Path) -> Iterator[str]:
    """The lines of a text file.  Raises InputError where it is not UTF-8."""
    with _as_text(path) as file:
        yield from file


@contextmanager
def _as_text(path: str | Path) -> Iterator[IO[str]]:
    try:
        with Path(path).open(encoding="utf-8") as file:
            yield file
    except UnicodeDecodeError as problem:
        raise InputError(f"{path} is not UTF-8 text: {problem}.") from problem


# --- Vocabularies -----------------------------------------------------------------------------------------------------


def is_pickled(data: bytes) -> bool:
    """Whether the bytes of a file are those of a pickled vocabulary, alone or in an archive, and not a text."""
    return data.startswith((ZIP, b"\x80")) or (data.startswith((b"(d", b"}q")) and data.endswith(b"."))


def read_words(vocab_file: str | Path | Mapping[str, int] | None, delimiter: str | None) -> tuple[dict[str, int], str]:
    """The vocabulary in a file or a mapping, and its name in errors.  Raises VocabError."""
    if vocab_file is None or isinstance(vocab_file, Mapping):
        return dict(vocab_file or {}), "the vocabulary"
    if not isinstance(vocab_file, (str, os.PathLike)):
        raise TypeError(
            f"vocab_file must be a path or a mapping, not {vocab_file!r:.80}; pass the first words as special=[...]."
        )
    return parse_words(read_bytes(vocab_file), str(vocab_file), delimiter), str(vocab_file)


def parse_words(data: bytes, origin: str, delimiter: str | None) -> dict[str, int]:
    """The vocabulary in the bytes of a text file.

    Args:
        data: The bytes.
        origin: The name of the file, for errors.
        delimiter: What separates words; where that is not white space, a word is a complete line, blanks included.

    Raises:
        VocabError: The file is a pickle, or damaged.
    """
    if is_pickled(data):
        raise VocabError(
            f"{origin} is a pickle, not a text.", hint=f"TransfoXLTokenizer.from_pretrained({origin!r}) reads it."
        )
    if delimiter is None:
        if b" " in data or b"\t" in data:  # counts, or whatever follows the words
            data = b"\n".join(line.lstrip().partition(b" ")[0].partition(b"\t")[0] for line in data.split(b"\n"))
        return parse_vocabulary(data, origin=origin)
    words = decoded(data, origin=origin).removesuffix("\n").split("\n")
    vocab = {word: number for number, word in enumerate(words)}
    if len(vocab) < len(words):
        raise VocabError(f"{origin} is damaged: of its {len(words)} lines, only {len(vocab)} are different.")
    return vocab


def read_counts(path: Path) -> list[int]:
    """The numbers in a file, one a line.  Raises VocabError."""
    numbers = decoded(read_bytes(path), origin=str(path)).split()
    if not all(number.isdecimal() and number.isascii() for number in numbers):
        raise VocabError(f"{path} must have one number per line.")
    return list(map(int, numbers))
