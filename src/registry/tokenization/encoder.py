"""Text to tokens and back, whatever the algorithm: special tokens, pairs, truncation, padding, tensors."""

import warnings
from collections.abc import Iterable, Iterator, Sequence, Sized
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from registry.errors import InputError, RegistryWarning
from registry.garbage import gc_paused
from registry.tokenization.added_tokens.matching import AddedTokenFinder, FoundSpan, Normalizer, Part
from registry.tokenization.batches.encoding import (
    NOTHING,
    Encoding,
    Offsets,
    RowOf,
    Span,
    SpanIds,
    Template,
    special,
)
from registry.tokenization.batches.formats import FORMATS, PADDING, Batch, padded
from registry.tokenization.batches.rows import choose, padded_length, rows, texts_and_pairs
from registry.tokenization.batches.truncation import STRATEGIES, Truncation
from registry.tokenization.chunk_cache import TokenIds, as_array, as_list
from registry.tokenization.lookup import Ids, Lookup


class TextEncoder(Lookup):
    """Texts as tokens of a vocabulary.

    An algorithm is two functions, ``span_ids`` and ``span_offsets``, and ``convert_tokens_to_string`` for the way back;
    one that normalizes text has a ``normalizer`` as well.
    """

    template: ClassVar[Template[tuple[str, ...]]] = Template((), (), ())
    """The special tokens around a text and between two: ``"cls_token"``, ``"sep_token"`` and so on."""
    model_inputs: ClassVar[tuple[str, ...]] = ("input_ids", "attention_mask")
    """Keys of a batch, in order."""

    max_len: int | None = None
    """Tokens of the longest input of the model, special ones included; None where it is not known."""
    split_special_tokens: bool = False
    """Whether special tokens that stand in a text are taken for ordinary text."""

    _warned_of_length = False

    # --- The algorithm, which an architecture defines

    def span_ids(self, span: Span) -> SpanIds:
        """The ids of a span of text, in which no added token is to be found; a list will do."""
        raise NotImplementedError

    def span_offsets(self, span: Span) -> Offsets:
        """For each token of the span, in order, the start and the end of its characters in the span."""
        raise NotImplementedError

    @property
    def normalizer(self) -> Normalizer | None:
        """What the algorithm does to text before it cuts it, but for spans that ``is_normalized``; None for nothing."""
        return None

    def convert_tokens_to_string(self, tokens: Sequence[str]) -> str:
        """The text that tokens spell."""
        raise NotImplementedError

    # --- One text

    def tokenize(self, text: str, *, split_special_tokens: bool | None = None) -> list[str]:
        """The tokens of a text; no special tokens are added."""
        return [self.ids_to_tokens[number] for number in self._ids(text, split_special_tokens, as_list)]

    def encode(self, text: str, text_pair: str | None = None, **call: Any) -> list[int]:
        """The ids of a text or a pair, special tokens added; takes the keywords of a call."""
        if isinstance(text, str) and text_pair is None and not call:  # most calls, at half the cost
            ids: list[int] = self._ids(text, None, as_list)
            template = self._template(True)
            if template.start or template.end:
                ids = [*template.start, *ids, *template.end]
            self._warn_of_length(len(ids), None)
            return ids
        return list(self(text, text_pair, **call)["input_ids"])

    def ids_of_file(self, path: str | Path) -> TokenIds:
        """The ids of a text file as the model was trained to read texts, without special tokens around it.

        Raises:
            InputError: The file is not UTF-8.
        """
        try:
            ids: TokenIds = self._ids(Path(path).read_text(encoding="utf-8"), None, as_array)
        except UnicodeDecodeError as problem:
            raise InputError(f"{path} is not a text in UTF-8: {problem}.") from problem
        return ids

    def decode(self, ids: Ids, skip_special_tokens: bool = False) -> str:
        """The text that ids spell, as far as it can be told."""
        tokens = self.convert_ids_to_tokens([ids] if isinstance(ids, int) else ids, skip_special_tokens)
        return self.convert_tokens_to_string(tokens)

    def _ids(self, text: str, split_special_tokens: bool | None, row_of: RowOf) -> Any:
        """The ids of a text, in a row of their own."""
        parts = self._parts(text, split_special_tokens)
        if parts is None:
            return row_of(self.span_ids(tuple.__new__(Span, (text, False, False))))  # in two thirds of the time
        ids = row_of(())
        for part in parts:
            if isinstance(part, FoundSpan):
                ids.extend(row_of(self.span_ids(part.span)))
            else:
                ids.append(part.token.id)
        return ids

    def _offsets(self, text: str, split_special_tokens: bool | None) -> Offsets:
        """The offsets of the tokens of a text."""
        parts = self._parts(text, split_special_tokens, with_offsets=True)
        if parts is None:
            return self.span_offsets(Span(text))
        found: Offsets = []
        for part in parts:
            if isinstance(part, FoundSpan):
                found += part.in_text(self.span_offsets(part.span))
            else:
                found.append((part.start, part.end))
        return found

    def _parts(self, text: str, split_special_tokens: bool | None, *, with_offsets: bool = False) -> list[Part] | None:
        """The added tokens of a text and the spans between them; None for a text without added tokens."""
        split = self.split_special_tokens if split_special_tokens is None else split_special_tokens
        finder = self._finder
        may_have = finder.may_have_ordinary_tokens if split else finder.may_have_tokens
        return finder.parts(text, split, with_offsets) if may_have(text) else None

    @cached_property
    def _finder(self) -> AddedTokenFinder:
        """Finds the added tokens of a text; made when it is first needed, as patterns take time to compile."""
        return AddedTokenFinder(self._recognized.values(), self.normalizer)

    # --- Batches

    @gc_paused()  # of thousands of rows, none is garbage
    def __call__(
        self,
        text: str | Sequence[str] | Sequence[tuple[str, str]],
        text_pair: str | Sequence[str] | None = None,
        *,
        add_special_tokens: bool = True,
        max_length: int | None = None,
        truncation: bool | str | None = False,
        stride: int = 0,
        padding: bool | str | None = False,
        return_tensors: str | None = None,
        return_offsets_mapping: bool = False,
        split_special_tokens: bool | None = None,
    ) -> Batch:
        """Turn texts into what a model takes: ``model(**tokenizer(texts, padding=True, return_tensors="pt"))``.

        Args:
            text: One text, a list of texts, or a list of pairs.
            text_pair: The second text, or as many second texts as there are texts.
            add_special_tokens: Whether the model's special tokens are put around and between texts.
            max_length: Tokens that a row may have, special ones included; ``max_len`` when None.
            truncation: Which text is cut when a row is too long: the longer one (True or ``"longest_first"``),
                ``"only_first"`` or ``"only_second"``; none when False, or when no length is known.
            stride: Where text is cut, there are as many rows as it takes to keep all of it; neighbors share ``stride``
                tokens, and ``text_index`` of the batch has the text of each row.
            padding: Whether rows are filled up to the longest (True or ``"longest"``) or to ``"max_length"``.
            return_tensors: ``"pt"`` for torch, ``"np"`` for numpy, None for lists.
            return_offsets_mapping: Whether ``offset_mapping`` is added, the characters of each token in its text.
            split_special_tokens: Whether special tokens in a text are taken for ordinary text; None: as the tokenizer's
                own option says.

        Returns:
            Columns of shape ``(rows, tokens)``; of shape ``(tokens,)`` for a single text in lists.

        Raises:
            UnknownOptionError: A strategy does not exist.
            ValueError: The lengths cannot be met.
            VocabError: A special token is needed that the vocabulary lacks.
        """
        pad_to, form = choose(padding, PADDING, "padding"), choose(return_tensors, FORMATS, "return_tensors")
        limit = self.max_len if max_length is None else max_length
        cut = Truncation(limit, choose(truncation, STRATEGIES, "truncation"), stride)
        firsts, seconds, batched = texts_and_pairs(text, text_pair)
        keys = (*self.model_inputs, "offset_mapping") if return_offsets_mapping else self.model_inputs
        how = form.row_of, split_special_tokens, return_offsets_mapping
        found, text_index = rows(
            self._encodings(firsts, *how),
            None if seconds is None else self._encodings(seconds, *how),
            Template(*(special(form.row_of(ids)) for ids in self._template(add_special_tokens))),
            cut,
            {key: form.columns[key] for key in keys},
        )
        columns = {key: [row[key] for row in found] for key in keys}
        self._warn_of_length(max(map(len, columns["input_ids"]), default=0), cut.strategy)
        length = padded_length(columns["input_ids"], pad_to, limit)
        fill = {"input_ids": self._padding_id(columns["input_ids"], length)}
        columns = {key: padded(column, length, form.padding(key, fill.get(key, 0))) for key, column in columns.items()}
        batch = Batch({key: form.stacked(key, column) for key, column in columns.items()})
        if not batched and return_tensors is None and not (cut.strategy and stride):
            batch.update({key: column[0] for key, column in batch.items()})
        batch.text_index = text_index
        return batch

    def _encodings(
        self, texts: Iterable[str], row_of: RowOf, split_special_tokens: bool | None, with_offsets: bool
    ) -> Iterator[Encoding]:
        """The tokens of each text."""
        for text in texts:
            ids = self._ids(text, split_special_tokens, row_of)
            yield Encoding(ids, self._offsets(text, split_special_tokens) if with_offsets else [])

    def _template(self, wanted: bool) -> Template[list[int]]:
        """The ids of the special tokens around and between texts; none unless they are wanted."""
        return Template(*([self.special_id(name) for name in names] for names in self.template)) if wanted else NOTHING

    def _padding_id(self, column: Sequence[Sized], length: int) -> int:
        """The id of padding, which is missed only where a row is short."""
        return self.special_id("pad_token") if any(len(row) < length for row in column) else 0

    def _warn_of_length(self, longest: int, strategy: str | None) -> None:
        """Warn, once, of a row that the model will refuse."""
        most = self.max_len or longest
        if strategy is None and longest > most and not self._warned_of_length:
            self._warned_of_length = True
            warnings.warn(
                f"A row has {longest:,} tokens, and the model takes {most:,}: truncation=True cuts the text, and with "
                f"stride=... makes several rows of it.",
                RegistryWarning,
                stacklevel=3,
            )
