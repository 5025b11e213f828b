"""Tokenizers whose vocabulary is a model of pieces: a space is a letter, ``▁``, and pieces may start with one."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self

from registry.files.filenames import TOKENIZER_NAME
from registry.tokenization.added_tokens.matching import Normalizer
from registry.tokenization.added_tokens.token import AddedToken
from registry.tokenization.base import missing
from registry.tokenization.batches.encoding import Offsets, Span, SpanIds
from registry.tokenization.causal import CausalTokenizer
from registry.tokenization.options import FLAG, OPTIONAL_FLAG, Option
from registry.tokenization.sentencepiece.processor import MODEL_NAME, SentencePieceModel
from registry.tokenization.sentencepiece.unigram import read_unigram
from registry.tokenization.tokenizer_json import read_tokenizer_bytes, with_added_tokens
from registry.tokenization.vocabulary import read_bytes

if TYPE_CHECKING:
    from registry.records import Paths


PIPELINE_OPTIONS = frozenset(
    {"legacy", "add_prefix_space", "add_bos_token", "add_eos_token", "bos_token", "eos_token", "unk_token"}
)
"""Options whose values a ``tokenizer.json`` has as parts of its pipeline."""


class PieceModel(Protocol):
    """A vocabulary of pieces, and how texts are cut into them.

    Most models put a space before a text, so that its first word is like others; ``add_dummy_prefix`` says whether they
    do, for a text may also follow a special token.
    """

    @property
    def vocab(self) -> Mapping[str, int]:
        """Every piece and its id."""
        ...

    @property
    def special(self) -> Mapping[str, str]:
        """Special tokens, by the name of the option: ``"bos_token"`` and so on."""
        ...

    @property
    def prefixes(self) -> tuple[bool, bool] | None:
        """``add_dummy_prefix`` for a text, and for one that follows a token; None leaves it to the options."""
        ...

    @property
    def published_class(self) -> str | None:
        """The name of the tokenizer in other libraries that reads these files, where it is not the usual one."""
        ...

    @property
    def normalizer(self) -> Normalizer | None:
        """What is done to text before it is cut, as far as added tokens are found in the outcome."""
        ...

    def encode(self, text: str, add_dummy_prefix: bool) -> SpanIds:
        """The ids of a text."""
        ...

    def offsets(self, text: str, add_dummy_prefix: bool) -> Offsets:
        """For each of its tokens the characters that it touches; a space that was put before it has none."""
        ...

    def words(self, text: str, add_dummy_prefix: bool) -> Sequence[int]:
        """For each word the number of its tokens."""
        ...

    def decode(self, pieces: Sequence[str], add_dummy_prefix: bool) -> str:
        """The text that pieces spell."""
        ...

    def files(self, added: Iterable[AddedToken]) -> Mapping[str, str | bytes]:
        """Names and contents of the files that hold this vocabulary and ``added`` tokens."""
        ...


def piece_model(vocab_file: str | Path | bytes | PieceModel) -> PieceModel:
    """The model in a file, or in its bytes; a model is itself.  Raises VocabError where it is damaged."""
    if isinstance(vocab_file, (str, Path)):
        return SentencePieceModel(read_bytes(vocab_file), str(vocab_file))
    return SentencePieceModel(vocab_file) if isinstance(vocab_file, bytes) else vocab_file


class SentencePieceTokenizer(CausalTokenizer):
    """Base of tokenizers whose vocabulary is a model of pieces.

    Ids are those of ``sentencepiece``.  A model that has all bytes and normalizes nothing gives every text without lone
    surrogates back, but that ``▁`` comes back as the space that it is to pieces.  A lone surrogate is taken for U+FFFD.

    Args:
        vocab_file: Path of a ``tokenizer.model``, its bytes, or another ``PieceModel``.
        add_prefix_space: Whether a space is put before a text; None leaves that to the model.
        legacy: Whether text that follows a special token gets one too.
        add_bos_token: Whether ``bos_token`` is put before each text.
        add_eos_token: Whether ``eos_token`` is put after each text.
        **values: Further options, of those in ``options``; special tokens are those of the model, unless given here.

    Raises:
        VocabError: The model is damaged.
        ConfigError: An option has a value that it cannot have.
        UnknownOptionError: There is no such option.
    """

    has_clean_up: ClassVar[bool] = False
    vocabulary_name: ClassVar[str] = MODEL_NAME
    options: ClassVar[Mapping[str, Option]] = {
        **CausalTokenizer.options,
        "legacy": FLAG,
        "add_prefix_space": OPTIONAL_FLAG,
    }

    legacy: bool = False
    add_prefix_space: bool | None = None
    _published_json: bytes | None = None
    """The ``tokenizer.json`` next to the model, for other libraries; None once its pipeline would not be this one."""

    def __init__(self, vocab_file: str | Path | bytes | PieceModel, **values: Any) -> None:
        origin = str(vocab_file) if isinstance(vocab_file, (str, Path)) else "the model of sentencepiece"
        self.model = piece_model(vocab_file)
        super().__init__(dict(self.model.vocab), origin=origin, **{**self.model.special, **values})
        by_option = self.add_prefix_space is not False, self.add_prefix_space is not False and self.legacy
        self._prefixes = by_option if self.model.prefixes is None else self.model.prefixes

    @classmethod
    def read_files(cls, paths: Mapping[str, Path]) -> tuple[Any, dict[str, Any]]:
        """The model in the file of ``vocabulary_name``, or the unigram model in ``tokenizer.json``; and options."""
        if cls.vocabulary_name in paths:
            return paths[cls.vocabulary_name], {}
        if TOKENIZER_NAME not in paths:
            raise missing(cls, f"{cls.vocabulary_name} or {TOKENIZER_NAME}", paths)
        return read_unigram(paths[TOKENIZER_NAME])

    @classmethod
    def from_files(cls, paths: "Paths", **values: Any) -> Self:
        """The tokenizer in files; a ``tokenizer.json`` next to the model is kept, and saved with it."""
        tokenizer = super().from_files(paths, **values)
        if {cls.vocabulary_name, TOKENIZER_NAME} <= paths.keys() and PIPELINE_OPTIONS.isdisjoint(values):
            tokenizer._published_json = read_tokenizer_bytes(paths[TOKENIZER_NAME])
        return tokenizer

    def span_ids(self, span: Span) -> SpanIds:
        """The ids of a span."""
        return self.model.encode(span.text, not span.is_normalized and self._prefixes[span.follows_token])

    def span_offsets(self, span: Span) -> Offsets:
        """For each token the characters that it touches."""
        return self.model.offsets(span.text, not span.is_normalized and self._prefixes[span.follows_token])

    @property
    def normalizer(self) -> Normalizer | None:
        """What the model does to text before it cuts it."""
        return self.model.normalizer

    def span_words(self, span: Span) -> Sequence[int]:
        """For each word the number of its tokens."""
        return self.model.words(span.text, self._prefixes[span.follows_token])

    def convert_tokens_to_string(self, tokens: Sequence[str]) -> str:
        """The text that tokens spell, without spaces that were put before it; added tokens stand for themselves."""
        added = {*self.added_tokens, *self.all_special_tokens}
        texts: list[str] = []
        for is_added, run in groupby(tokens, added.__contains__):
            pieces = list(run)
            texts.append("".join(pieces) if is_added else self.model.decode(pieces, self._prefixes[bool(texts)]))
        return "".join(texts)

    def vocabulary_files(self) -> Mapping[str, str | bytes]:
        """Names and contents of the files of the vocabulary."""
        files = self.model.files(self._recognized.values())
        kept = {} if self._published_json is None else {TOKENIZER_NAME: self._published_json}
        return {self.vocabulary_name if name == MODEL_NAME else name: content for name, content in files.items()} | kept

    def published_class(self) -> str:
        """The name of the tokenizer in other libraries that reads what this one writes."""
        return self.model.published_class or super().published_class()

    def _set_option(self, name: str, value: Any) -> None:
        super()._set_option(name, value)
        if name in PIPELINE_OPTIONS:
            self._published_json = None

    def _remake(self, changes: Mapping[str, Any]) -> None:
        kept = self._published_json if PIPELINE_OPTIONS.isdisjoint(changes) else None
        super()._remake(changes)
        self._published_json = None if kept is None else with_added_tokens(kept, self._recognized.values())

    def __reduce__(self) -> tuple[Any, ...]:
        revive, (reference, state) = super().__reduce__()
        return revive, (reference, {**state, "vocab": self.model, "_published_json": self._published_json})

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        values = dict(state)
        published = values.pop("_published_json")
        super().__setstate__(values)
        self._published_json = published
