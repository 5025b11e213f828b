"""Transformer-XL's tokenizer: a text is cut at white space, and its words are looked up.

Words and ids are those of pytorch-pretrained-bert.  A vocabulary is read from a file, or counted and built.
"""

from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Unpack

from registry.errors import VocabError
from registry.tokenization.added_tokens.matching import FoundSpan, LowerCase
from registry.tokenization.base import Tokenizer, missing
from registry.tokenization.batches.encoding import Offsets, Span, joined_surrogates
from registry.tokenization.chunk_cache import TokenIds, as_list
from registry.tokenization.options import FLAG, LENGTH, WORDS, CommonOptions, Option
from registry.tokenization.vocabulary import read_bytes

from .files import is_pickled, lines_of, parse_words, parts_of, read_counts, read_words

if TYPE_CHECKING:
    from torch import Tensor

    from registry.records import Paths

PICKLED = ("vocab.bin", "vocab.pkl")
"""Published names of pickled vocabularies."""
COUNTS = "counts.txt"
"""How often each word of the vocabulary next to it was counted, one number a line."""

BOUNDARY = "<S>"
"""Stands at both ends of a sentence of the One Billion Word corpus."""
UNKNOWN = ("<unk>", "<UNK>")
"""The two ways to write the unknown word."""

COUNT = Option("a whole number from 0", lambda value: type(value) is int and value >= 0)
DELIMITER = Option("a text, or null", lambda value: value is None or type(value) is str)


class WordIds(dict[str, int]):
    """Ids of the words that were met, of all ``ids``; a word that has none gets the id which ``unknown`` gives.

    A text repeats few words of a large vocabulary: those are found faster than among all.
    """

    __slots__ = ("ids", "unknown")

    def __init__(self, ids: Mapping[str, int], unknown: Callable[[], int]) -> None:
        super().__init__()
        self.ids = ids
        self.unknown = unknown

    def __missing__(self, word: str) -> int:
        spelled = word if word in self.ids else joined_surrogates(word)
        if spelled not in self.ids:
            return self.unknown()
        number = self[word] = self.ids[spelled]
        return number


class TransfoXLTokenizer(Tokenizer):
    """The tokenizer of Transformer-XL models.

    Special tokens are words like others, which stand between spaces; with ``split_special_tokens=False`` they are found
    everywhere.

    Args:
        vocab_file: Path of a ``vocab.txt``, one word a line, of which only what stands before the first blank counts;
            or the vocabulary itself, a mapping from words to ids; None for one that is yet to be counted and built.
        special: Words that come first in a vocabulary that is built.
        min_freq: How often a word must have been counted to come into it.
        max_size: How many words may come into it.
        lower_case: Whether text is lowered.
        delimiter: What stands between words: white space when None, nothing (each character is a word) when empty.
        max_len: Tokens of the longest input of the model.
        counter: How often words were counted before; or how often each of the vocabulary was, in its order.
        **values: Further options, of those in ``TransfoXLTokenizer.options``, special tokens among them.

    Raises:
        VocabError: The vocabulary is damaged.
        ConfigError: An option has a value that it cannot have.
        UnknownOptionError: There is no such option.
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
        max_len: int | None = None,
        counter: Mapping[str, int] | Sequence[int] | None = None,
        **values: Unpack[CommonOptions],
    ) -> None:
        self._is_given = vocab_file is not None and vocab_file != {}
        vocab, origin = read_words(vocab_file, delimiter)
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
            max_len=max_len,
            **values,
        )
        self.counter = Counter(self._by_word(counter or {}))

    def _set_vocabulary(self, vocab: dict[str, int], origin: str) -> None:
        if vocab or self.added_tokens:
            super()._set_vocabulary(vocab, origin)
        else:
            self.vocab = self.own_vocab = vocab
            self.ids_to_tokens, self.vocab_size, self._recognized = [], 0, {}
        special_tokens = {token: self.vocab[token] for token in self.all_special_tokens}
        words = {**vocab, **special_tokens} if self.added_tokens else vocab
        self._ids_of_words = WordIds(words, self._id_of_unknown).__getitem__
        self._ids_of_tokens = WordIds(self.vocab, self._id_of_unknown).__getitem__

    def _set_option(self, name: str, value: Any) -> None:
        is_given = self._is_given
        super()._set_option(name, value)
        self._is_given = is_given

    def _by_word(self, counts: Mapping[str, int] | Sequence[int]) -> Mapping[str, int]:
        """How often each word was counted.  Raises VocabError unless there is one number for each."""
        if isinstance(counts, Mapping):
            return counts
        if len(counts) != self.vocab_size:
            raise VocabError(f"There must be one count for each of {self.vocab_size:,} words, not {len(counts):,}.")
        return dict(zip(self.ids_to_tokens, counts, strict=False))

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
        for part in self._parts(text, split_special_tokens) or [FoundSpan(Span(text), 0)]:
            words += self._words(part.span.text) if isinstance(part, FoundSpan) else [part.token.content]
        if add_double_eos:
            return [BOUNDARY, *words, BOUNDARY]
        return [*words, str(self.eos_token)] if add_eos else words

    def _words(self, text: str) -> list[str]:
        text = self._lowered(text)
        if self.delimiter is None:
            return text.split()
        return text.strip().split(self.delimiter) if self.delimiter else list(text.strip())

    def encode(self, text: str | Iterable[str], text_pair: str | Iterable[str] | None = None, **call: Any) -> list[int]:
        """The ids of a text or a pair; takes the keywords of a call."""
        if text_pair is None and not call and self.max_len is None and self._is_plain and isinstance(text, str):
            return list(map(self._ids_of_words, self._words(text)))  # most calls, at a fifth of the cost
        return super().encode(text, text_pair, **call)

    @property
    def _is_plain(self) -> bool:
        """Whether no token is looked for but between delimiters."""
        return self.split_special_tokens and not self._finder.finds_ordinary_tokens

    def _lowered(self, text: str) -> str:
        return text.lower() if self.lower_case else text

    def span_ids(self, span: Span) -> list[int]:
        """The ids of a span."""
        return list(map(self._ids_of_words, self._words(span.text)))

    @property
    def normalizer(self) -> LowerCase | None:
        """What is done to text before it is cut into words."""
        return LowerCase() if self.lower_case else None

    def _id_of_unknown(self) -> int:
        return self.special_id("unk_token")

    def span_offsets(self, span: Span) -> Offsets:
        """For each word its characters: words stand in the text in their order, lowered or not."""
        text, lowered = span.text, self._lowered(span.text)
        characters: Sequence[int] = range(len(text) + 1)
        if len(lowered) != len(text):  # a few letters become two
            characters = [index for index, letter in enumerate(text) for _ in letter.lower()] + [len(text)]
        offsets: Offsets = []
        start = len(lowered) - len(lowered.lstrip()) if self.delimiter is not None else 0
        for word in self._words(text):
            start = lowered.index(word, start)
            offsets.append((characters[start], characters[start + len(word) - 1] + 1 if word else characters[start]))
            start += len(word)
        return offsets

    # --- Names of pytorch-pretrained-bert

    @property
    def idx2sym(self) -> list[str]:
        """The words, in the order of their ids; a copy."""
        return list(self.ids_to_tokens)

    @property
    def sym2idx(self) -> dict[str, int]:
        """The words and their ids; a copy."""
        return self.get_vocab()

    def get_idx(self, sym: str) -> int:
        """The id of a word."""
        return self._ids_of_words(sym)

    def get_sym(self, idx: int) -> str:
        """The word of an id.  Raises VocabError when there is none."""
        return str(self.convert_ids_to_tokens(idx))

    def convert_to_tensor(self, symbols: Iterable[str]) -> "Tensor":
        """The ids of words, ``(tokens,)``."""
        return _tensor(list(map(self._ids_of_words, symbols)))

    # --- Words to text

    def convert_tokens_to_string(self, tokens: Sequence[str]) -> str:
        """The words, with the delimiter between them."""
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
        if ordered:
            return _tensor(_array(_shown(self._ids_of_parts(path, add_eos, add_double_eos), verbose)))
        lines = _shown(lines_of(path), verbose)
        return [_tensor(self._encoded(line, add_eos, add_double_eos)) for line in lines]

    def encode_sents(self, sents: Iterable[Iterable[str]], ordered: bool = False) -> "Tensor | list[Tensor]":
        """The ids of sentences, which are lists of words; with ``ordered``, in one tensor."""
        if ordered:
            return _tensor(list(map(self._ids_of_tokens, chain.from_iterable(sents))))
        return [_tensor(list(map(self._ids_of_tokens, words))) for words in sents]

    def ids_of_file(self, path: str | Path) -> TokenIds:
        """The ids of a text file, each line ended by ``eos_token``."""
        return _array(self._ids_of_parts(path, add_eos=True))

    def _ids_of_parts(self, path: str | Path, add_eos: bool, add_double_eos: bool = False) -> Iterator[list[int]]:
        """The ids of a text file, part after part; where it makes no difference, of many lines at once."""
        if add_double_eos or self.delimiter is not None or not self._is_plain:
            yield from (self._encoded(line, add_eos, add_double_eos) for line in lines_of(path))
            return
        end = f" {self.ids_to_tokens[self.special_id('eos_token')]} " if add_eos else "\n"
        for lines in parts_of(path):
            text = lines if lines.endswith("\n") else f"{lines}\n"
            yield list(map(self._ids_of_words, self._lowered(text).replace("\n", end).split()))

    def _encoded(self, line: str, add_eos: bool, add_double_eos: bool) -> list[int]:
        """The ids of a line; a line end at its end is white space, and so is cut off."""
        ids = self.span_ids(Span(line)) if self._is_plain else self._ids(line, None, as_list)
        if add_double_eos:
            boundary = self._ids_of_words(BOUNDARY)
            return [boundary, *ids, boundary]
        return [*ids, self.special_id("eos_token")] if add_eos else ids

    # --- Files

    @classmethod
    def read_files(cls, paths: "Paths") -> tuple[Any, dict[str, Any]]:
        """The first argument of the constructor, and options, from the files of a vocabulary."""
        name = next((name for name in (cls.vocabulary_name, *PICKLED) if name in paths), None)
        if name is None:
            raise missing(cls, f"{cls.vocabulary_name}, {' or '.join(PICKLED)}", paths)
        with paths[name].open("rb") as file:
            begins_as_text = not is_pickled(file.read(64) + b".")
        if name == cls.vocabulary_name and begins_as_text:
            return paths[name], {"counter": read_counts(paths[COUNTS])} if COUNTS in paths else {}
        from .pickled import read_pickled  # importing it takes a third of the time of loading

        return read_pickled(read_bytes(paths[name]), origin=str(paths[name]))

    def vocabulary_files(self) -> dict[str, str]:
        """The words, and how often each was counted, one a line.  Raises VocabError where no line can hold them."""
        words = self.ids_to_tokens[: self.vocab_size]
        text = "".join(f"{word}\n" for word in words)
        if not words or list(parse_words(text.encode(errors="replace"), "This vocabulary", self.delimiter)) != words:
            raise VocabError(
                "This vocabulary is not built yet, or one of its words contains a blank or a line break, which "
                "vocab.txt cannot represent."
            )
        counts = "".join(f"{self.counter[word]}\n" for word in words) if self.counter else ""
        return {self.vocabulary_name: text, **({COUNTS: counts} if counts else {})}

    def __reduce__(self) -> tuple[Any, ...]:
        revive, (reference, state) = super().__reduce__()
        return revive, (reference, {**state, "counter": dict(self.counter)})


# --- Tensors and bars -------------------------------------------------------------------------------------------------


def _array(parts: Iterable[list[int]]) -> TokenIds:
    """The ids of all parts, one after the other."""
    ids = array("q")
    for part in parts:
        ids.fromlist(part)
    return ids


def _tensor(ids: "list[int] | TokenIds") -> "Tensor":
    import torch  # only who asks for tensors waits for torch

    numbers = ids if isinstance(ids, array) else array("q", ids)
    return torch.frombuffer(numbers, dtype=torch.int64) if numbers else torch.empty(0, dtype=torch.int64)


def _shown(items: Iterable[Any], verbose: bool) -> Iterable[Any]:
    """The same items, with a progress bar where it is wanted."""
    if not verbose:
        yield from items
        return
    from registry.download.progress import ProgressBar

    with ProgressBar("Tokenizing", total=None, unit="parts", shown=True) as bar:
        for item in items:
            yield item
            bar.advance()
