"""Transformer-XL's tokenizer: a text is cut at white space, and its words are looked up.

Words and ids are the ancestor's.  A vocabulary is read from a file, or counted and built.
"""

import os
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from registry.errors import InputError, VocabError
from registry.tokenization.base import Tokenizer, missing
from registry.tokenization.batches import Segment
from registry.tokenization.chunks import ChunkMemory, pack
from registry.tokenization.options import FLAG, LENGTH, WORDS, Option
from registry.tokenization.vocabulary import decoded, parse_vocabulary, read_bytes

from .pickled import is_pickled, read_pickled

if TYPE_CHECKING:
    from torch import Tensor

    from registry.records import Paths

PICKLED = ("vocab.bin", "vocab.pkl")
"""Published names of pickled vocabularies."""
COUNTS = "counts.txt"
"""How often each word of the vocabulary beside it was counted, one number a line."""

BOUNDARY = "<S>"
"""Stands at both ends of a sentence of the One Billion Word corpus."""
UNKNOWN = ("<unk>", "<UNK>")
"""Spellings of the unknown word."""

COUNT = Option("a whole number from 0", lambda value: type(value) is int and value >= 0)
DELIMITER = Option("a text, or null", lambda value: value is None or type(value) is str)


class TransfoXLTokenizer(Tokenizer):
    """The tokenizer of Transformer-XL models.

    - ``vocab_file``: path of a ``vocab.txt``, one word a line, of which only what stands before the first blank counts;
      or the vocabulary itself, a mapping from words to ids; None for one that is yet to be counted and built.
    - ``special``: words that come first in a vocabulary that is built.
    - ``min_freq``, ``max_size``: how often a word must have been counted to come into it, and how many words may.
    - ``lower_case``: whether text is lowered.
    - ``delimiter``: what stands between words: white space when None, nothing (each character is a word) when empty.
    - ``counter``: how often words were counted before.
    - further options, special tokens among them, stand in ``TransfoXLTokenizer.options``.  Special tokens are words
      like others, which stand between spaces; with ``split_special_tokens=False`` they are found everywhere.

    Raises VocabError when the vocabulary is damaged, ConfigError for an option with a value that it cannot have, and
    UnknownOptionError.
    """

    published_classes: ClassVar[tuple[str, ...]] = ("TransfoXLTokenizer",)
    options: ClassVar[Mapping[str, Option]] = {
        **Tokenizer.options,
        "special": WORDS,
        "min_freq": COUNT,
        "max_size": LENGTH,
        "lower_case": FLAG,
        "delimiter": DELIMITER,
    }

    unk_token, eos_token = UNKNOWN[0], "<eos>"
    split_special_tokens: bool = True
    special: Sequence[str]
    min_freq: int
    max_size: int | None
    lower_case: bool
    delimiter: str | None
    counter: "Counter[str]"
    """How often each word was counted."""

    def __init__(
        self,
        vocab_file: str | Path | Mapping[str, int] | None = None,
        *,
        special: Iterable[str] = (),
        min_freq: int = 0,
        max_size: int | None = None,
        lower_case: bool = False,
        delimiter: str | None = None,
        counter: Mapping[str, int] | None = None,
        **values: Any,
    ) -> None:
        self.counter = Counter(counter)
        self._is_given = vocab_file is not None
        vocab, origin = _given(vocab_file, delimiter)
        if UNKNOWN[0] not in vocab and UNKNOWN[1] in vocab and values.get("unk_token", UNKNOWN[0]) == UNKNOWN[0]:
            values["unk_token"] = UNKNOWN[1]
        super().__init__(
            vocab,
            origin=origin,
            special=special,
            min_freq=min_freq,
            max_size=max_size,
            lower_case=lower_case,
            delimiter=delimiter,
            **values,
        )
        self._memory = ChunkMemory(self._ids_of_word)

    def _set_vocabulary(self, vocab: dict[str, int], origin: str) -> None:
        if vocab or self.added_tokens:
            super()._set_vocabulary(vocab, origin)
        else:
            self.vocab, self.ids_to_tokens, self.vocab_size = vocab, [], 0

    # --- Text to words and ids

    def tokenize(
        self,
        text: str,
        add_eos: bool = False,
        add_double_eos: bool = False,
        *,
        split_special_tokens: bool | None = None,
    ) -> list[str]:
        """The words of a text as they stand there, known or not.

        ``add_eos`` puts ``eos_token`` after them, and ``add_double_eos`` a ``<S>`` on both sides instead.
        """
        words: list[str] = []
        for piece, is_whole in self._pieces(text, split_special_tokens):
            words += [piece] if is_whole else self._words(piece)
        if add_double_eos:
            return [BOUNDARY, *words, BOUNDARY]
        return [*words, str(self.eos_token)] if add_eos else words

    def _words(self, text: str) -> list[str]:
        if self.lower_case:
            text = text.lower()
        if self.delimiter is None:
            return text.split()
        return text.strip().split(self.delimiter) if self.delimiter else list(text.strip())

    def _ids(self, text: str) -> bytes:
        return b"".join(map(self._memory.__getitem__, self._words(text)))

    def _ids_of_word(self, word: str) -> bytes:
        return pack([self.vocab[word] if word in self.vocab else self.special_id("unk_token")])

    def _located(self, text: str) -> Segment:
        """The same, with the place of each word: they stand in the text in their order, lowered or not."""
        lowered = text.lower() if self.lower_case else text
        places: Sequence[int] = range(len(text) + 1)
        if len(lowered) != len(text):  # a few letters become two
            places = [place for place, letter in enumerate(text) for _ in letter.lower()] + [len(text)]
        ids, offsets = array("q", self._ids(text)), array("q")
        start = len(lowered) - len(lowered.lstrip()) if self.delimiter is not None else 0
        for word in self._words(text):
            start = lowered.index(word, start)
            offsets.extend((places[start], places[start + len(word) - 1] + 1 if word else places[start]))
            start += len(word)
        return Segment(ids, offsets)

    # --- Words to text

    def _join(self, tokens: Sequence[str]) -> str:
        return (" " if self.delimiter is None else self.delimiter).join(tokens)

    # --- Counting

    def count_file(self, path: str | Path, verbose: bool = False, add_eos: bool = False) -> None:
        """Count the words of a text file, line by line; ``verbose`` shows a bar."""
        self.count_sents((self.tokenize(line, add_eos=add_eos) for line in lines_of(path)), verbose)

    def count_sents(self, sents: Iterable[Iterable[str]], verbose: bool = False) -> None:
        """Count the words of sentences; ``verbose`` shows a bar."""
        for words in _shown(sents, verbose):
            self.counter.update(words)

    def build_vocab(self) -> None:
        """Number the special words, and then those that were counted, the most frequent first.

        A vocabulary that was given stays as it is.  Raises VocabError when there is nothing to number.
        """
        if self._is_given:
            return
        frequent = takewhile(lambda item: item[1] >= self.min_freq, self.counter.most_common(self.max_size))
        words = dict.fromkeys([*self.special, *(word for word, _ in frequent)])
        if not words:
            raise VocabError(
                "There is nothing to build a vocabulary of.", hint="Count first: tokenizer.count_file(path)"
            )
        _, (_, state) = self.__reduce__()
        state["vocab"] = {word: number for number, word in enumerate(words)}
        self.__setstate__(state)
        self._is_given = False

    # --- Encoding

    def encode_file(
        self,
        path: str | Path,
        ordered: bool = False,
        verbose: bool = False,
        add_eos: bool = True,
        add_double_eos: bool = False,
    ) -> "Tensor | list[Tensor]":
        """The ids of each line of a text file, ``(tokens,)``; with ``ordered``, those of all lines in one tensor."""
        packed = (self._encoded(line, add_eos, add_double_eos) for line in _shown(lines_of(path), verbose))
        return _tensors(packed, ordered)

    def encode_sents(self, sents: Iterable[Iterable[str]], ordered: bool = False) -> "Tensor | list[Tensor]":
        """The ids of sentences, which are lists of words; with ``ordered``, in one tensor."""
        return _tensors((b"".join(map(self._memory.__getitem__, words)) for words in sents), ordered)

    def ids_of_file(self, path: str | Path) -> "array[int]":
        """The ids of a text file, each line ended by ``eos_token``."""
        return array("q", b"".join(self._encoded(line, True, False) for line in lines_of(path)))

    def _encoded(self, line: str, add_eos: bool, add_double_eos: bool) -> bytes:
        boundary = self._memory[BOUNDARY] if add_double_eos else b""
        end = pack([self.special_id("eos_token")]) if add_eos and not add_double_eos else b""
        return b"".join((boundary, bytes(self._segment(line, None).ids), boundary, end))

    # --- Files

    @classmethod
    def _read(cls, paths: "Paths") -> tuple[Any, dict[str, Any]]:
        name = next((name for name in (cls.vocabulary_name, *PICKLED) if name in paths), None)
        if name is None:
            raise missing(cls, f"{cls.vocabulary_name}, {' or '.join(PICKLED)}", paths)
        with paths[name].open("rb") as file:
            begins_as_text = not is_pickled(file.read(64) + b".")
        if name == cls.vocabulary_name and begins_as_text:
            return paths[name], {"counter": _counts(paths)} if COUNTS in paths else {}
        return read_pickled(read_bytes(paths[name]), origin=str(paths[name]))

    def _contents(self) -> dict[str, str]:
        words = self.ids_to_tokens[: self.vocab_size]
        text = "".join(f"{word}\n" for word in words)
        if not words or list(_parsed(text.encode(), "This vocabulary", self.delimiter)) != words:
            raise VocabError(
                "This vocabulary is not built yet, or one of its words has a blank or a line end in it: no line can "
                "hold it."
            )
        counts = "".join(f"{self.counter[word]}\n" for word in words) if self.counter else ""
        return {self.vocabulary_name: text, **({COUNTS: counts} if counts else {})}

    def __reduce__(self) -> tuple[Any, ...]:
        revive, (reference, state) = super().__reduce__()
        return revive, (reference, {**state, "counter": dict(self.counter)})


# --- Files ------------------------------------------------------------------------------------------------------------


def lines_of(path: str | Path) -> Iterator[str]:
    """The lines of a text file.  Raises InputError where it is not UTF-8."""
    try:
        with Path(path).open(encoding="utf-8") as file:
            yield from file
    except UnicodeDecodeError as problem:
        raise InputError(f"{path} is not a text in UTF-8: {problem}.") from problem


def _given(vocab_file: str | Path | Mapping[str, int] | None, delimiter: str | None) -> tuple[dict[str, int], str]:
    """A vocabulary that was given, and its name in errors."""
    if vocab_file is None or isinstance(vocab_file, Mapping):
        return dict(vocab_file or {}), "the vocabulary"
    if not isinstance(vocab_file, (str, os.PathLike)):
        raise TypeError(
            f"vocab_file must be a path or a mapping, not {vocab_file!r:.80}; first words are special=[...]."
        )
    return _parsed(read_bytes(vocab_file), str(vocab_file), delimiter), str(vocab_file)


def _parsed(data: bytes, origin: str, delimiter: str | None) -> dict[str, int]:
    """The vocabulary in the bytes of a text file; where words may have blanks in them, of whole lines."""
    if is_pickled(data):
        raise VocabError(
            f"{origin} is a pickle, not a text.", hint=f"TransfoXLTokenizer.from_pretrained({origin!r}) reads it."
        )
    if delimiter is None:
        if b" " in data or b"\t" in data:  # counts, or what else stands behind the words
            data = b"\n".join(line.lstrip().partition(b" ")[0].partition(b"\t")[0] for line in data.split(b"\n"))
        return parse_vocabulary(data, origin=origin)
    words = decoded(data, origin=origin).removesuffix("\n").split("\n")
    vocab = {word: number for number, word in enumerate(words)}
    if len(vocab) < len(words):
        raise VocabError(f"{origin} is damaged: it has {len(words)} lines, and {len(vocab)} different ones.")
    return vocab


def _counts(paths: "Paths") -> dict[str, int]:
    """The counts of a saved vocabulary.  Raises VocabError unless there is one for each word."""
    words = parse_vocabulary(read_bytes(paths[TransfoXLTokenizer.vocabulary_name]), origin="The vocabulary")
    numbers = decoded(read_bytes(paths[COUNTS]), origin=str(paths[COUNTS])).split()
    if len(numbers) != len(words) or not all(number.isdecimal() for number in numbers):
        raise VocabError(f"{paths[COUNTS]} must have one number for each of {len(words):,} words.")
    return dict(zip(words, map(int, numbers), strict=True))


def _tensors(packed: Iterable[bytes], ordered: bool) -> "Tensor | list[Tensor]":
    return _tensor(b"".join(packed)) if ordered else list(map(_tensor, packed))


def _tensor(packed: bytes) -> "Tensor":
    import torch  # only who asks for tensors waits for torch

    return torch.frombuffer(bytearray(packed), dtype=torch.int64) if packed else torch.empty(0, dtype=torch.int64)


def _shown(items: Iterable[Any], verbose: bool) -> Iterable[Any]:
    """The same items, with a bar on the way where it is wanted."""
    if not verbose:
        return items
    from tqdm import tqdm

    return tqdm(items, unit=" lines")
