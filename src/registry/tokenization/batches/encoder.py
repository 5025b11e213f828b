"""Texts to batches, and back: special tokens, pairs, windows, padding, tensors."""

import os
import sys
from array import array
from collections.abc import Iterable, Iterator, Sequence, Sized
from typing import TYPE_CHECKING, Any, ClassVar, Never

from registry.errors import UnknownOptionError, warn
from registry.garbage import gc_paused
from registry.tokenization.batches.encoding import NOTHING, Span, Template
from registry.tokenization.chunk_cache import ID_BYTES, TokenIds, as_array, as_bytes, as_list
from registry.tokenization.encoder import TextEncoder
from registry.tokenization.lookup import plain

if TYPE_CHECKING:
    from registry.tokenization.batches.batch import Batch

# What makes batches is imported with the first: a tokenizer that is only loaded, or gives ids alone, needs none of it.


class BatchEncoder(TextEncoder):
    """Texts as inputs of a model."""

    template: ClassVar[Template[tuple[str, ...]]] = Template((), (), ())
    """The special tokens around a text and between two: ``"cls_token"``, ``"sep_token"`` and so on."""

    model_input_names: Sequence[str] = ("input_ids", "attention_mask")
    """Keys of a batch: ``input_ids``, and some of ``token_type_ids`` and ``attention_mask``."""
    max_len: int | None = None
    """Tokens of the longest input of the model, special ones included; None where it is not known."""
    padding_side: str = "right"
    """The side on which rows are padded: ``"right"`` or ``"left"``."""
    truncation_side: str = "right"
    """The side on which text is cut: ``"right"`` keeps its beginning, ``"left"`` its end."""

    _warned_of_length = False

    @gc_paused()  # of thousands of rows, none is garbage
    def __call__(
        self,
        text: str | Iterable[Any],
        text_pair: str | Iterable[Any] | None = None,
        *,
        add_special_tokens: bool = True,
        max_length: int | None = None,
        truncation: bool | str | None = None,
        truncation_side: str | None = None,
        stride: int = 0,
        return_overflowing_tokens: bool | None = None,
        padding: bool | str | None = False,
        padding_side: str | None = None,
        pad_to_multiple_of: int | None = None,
        is_split_into_words: bool = False,
        split_special_tokens: bool | None = None,
        return_tensors: str | None = None,
        return_token_type_ids: bool | None = None,
        return_attention_mask: bool | None = None,
        return_special_tokens_mask: bool = False,
        return_offsets_mapping: bool = False,
        return_length: bool = False,
        **unknown: Never,
    ) -> "Batch":
        """Turn texts into what a model takes: ``model(**tokenizer(texts, padding=True, return_tensors="pt"))``.

        Args:
            text: One text, a list of texts, or a list of pairs.
            text_pair: The second text, or as many second texts as there are texts.
            add_special_tokens: Whether the model's special tokens are put around and between texts.
            max_length: Tokens that a row may have, special ones included; ``max_len`` when None.
            truncation: Which text is cut when a row is too long: the longer one (True or ``"longest_first"``),
                ``"only_first"`` or ``"only_second"``; none when False, or when no length is known.  When None, True if
                ``max_length`` is given without padding.
            truncation_side: Where text is cut, ``"right"`` or ``"left"``; None: as the tokenizer's own option says.
            stride: Where text is cut, there are as many rows as it takes to keep all of it; neighbors share ``stride``
                tokens, and ``text_index`` of the batch has the text of each row.
            return_overflowing_tokens: Whether there are such rows, also without a stride; their texts are then in the
                column ``overflow_to_sample_mapping`` as well.  When None, where there is a stride, without the column.
            padding: Whether rows are filled up to the longest (True or ``"longest"``) or to ``"max_length"``.
            padding_side: Where they are filled, ``"right"`` or ``"left"``; None: as the tokenizer's own option says.
            pad_to_multiple_of: A number; the length to which rows are filled is rounded up to a multiple of it.
            is_split_into_words: Whether a text is given as a list of words.
            split_special_tokens: Whether special tokens in a text are taken for ordinary text; None: as the tokenizer's
                own option says.
            return_tensors: ``"pt"`` for torch, ``"np"`` for numpy, None for lists.
            return_token_type_ids: Whether there is a column of types; None: if the model takes it.
            return_attention_mask: Whether there is a mask of padding; None: if the model takes it.
            return_special_tokens_mask: Whether ``special_tokens_mask`` is added, 1 at tokens that are of no text.
            return_offsets_mapping: Whether ``offset_mapping`` is added, the characters of each token in its text.
            return_length: Whether ``length`` is added, the tokens of each row.
            unknown: Nothing: other keywords are refused, with a suggestion.

        Returns:
            Columns of shape ``(rows, tokens)``; of shape ``(tokens,)`` for a single text in lists.

        Raises:
            UnknownOptionError: A keyword or a strategy does not exist.
            InputError: The lengths cannot be met.
            VocabError: A special token is needed that the vocabulary lacks.
            TypeError: A text is not a string.
        """
        if unknown:
            raise self._unknown_keyword(next(iter(unknown)))
        from registry.tokenization.batches.call import batch_of

        return batch_of(
            self,
            (text, text_pair),
            (add_special_tokens, is_split_into_words, split_special_tokens),
            (max_length, truncation, truncation_side, stride, return_overflowing_tokens),
            (padding, padding_side, pad_to_multiple_of),
            (return_token_type_ids, return_attention_mask, return_offsets_mapping),
            (return_special_tokens_mask, return_length, return_tensors),
        )

    def encode(self, text: str | Iterable[str], text_pair: str | Iterable[str] | None = None, **call: Any) -> list[int]:
        """The ids of a text or a pair, special tokens added; takes the keywords of a call."""
        if isinstance(text, str) and text_pair is None and not call:  # most calls, at half the cost
            ids: list[int] = self._ids(text, None, as_list)
            template = self._template(True)
            if template.start or template.end:
                ids = [*template.start, *ids, *template.end]
            self._warn_of_length(len(ids), None)
            return ids
        return list(self(text, text_pair, **call)["input_ids"])

    def encode_files(
        self,
        paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
        *,
        workers: int = 1,
        column: str = "text",
        add_special_tokens: bool = True,
        max_length: int | None = None,
    ) -> Iterator[TokenIds]:
        """The ids of each text of files, in their order, computed by several processes.

        Files are read as the ids are taken, some megabytes ahead.

        Args:
            paths: Files: ``.jsonl``, ``.parquet``, ``.npy``; others have a text a line, in UTF-8.
            workers: Processes, this one among them.  A script that asks for several needs
                ``if __name__ == "__main__":``.
            column: The column of the texts, in files that have columns.
            add_special_tokens: Whether the model's special tokens are put around texts.
            max_length: Tokens that a text may have, special ones included; longer ones are cut on ``truncation_side``.

        Returns:
            For each text its ids, an ``array`` of 64-bit integers.

        Raises:
            MissingFileError: There is no such file.
            InputError: A line is damaged, or has no text; the error names its file and its number.
            BulkError: A process died.
        """
        from registry.tokenization.batches.rows import check_room, whole_number
        from registry.tokenization.corpus.encode import Packer, in_processes, in_this_process
        from registry.tokenization.corpus.parts import existing, parts_of

        if max_length is not None:
            added = self.num_special_tokens_to_add() if add_special_tokens else 0
            check_room(whole_number(max_length, "max_length"), added)
        packer = Packer(self, add_special_tokens, max_length)
        parts = parts_of(existing(paths), column)
        if whole_number(workers, "workers") == 1:
            return in_this_process(packer, parts)
        return in_processes(packer, parts, workers)

    @gc_paused()  # of thousands of rows, none is garbage
    def packed(self, texts: Sequence[str], add_special_tokens: bool, max_length: int | None) -> tuple[TokenIds, bytes]:
        """The number of ids of each text, and the ids of all, which ``encode_files`` gives, as they lie in memory."""
        template = self._template(add_special_tokens)
        start, end = as_bytes(template.start), as_bytes(template.end)
        room = sys.maxsize if max_length is None else max_length * ID_BYTES - len(start) - len(end)
        search = self._finder.may_have_ordinary_tokens if self.split_special_tokens else self._finder.may_have_tokens
        may_have_tokens = search("\n".join(texts))
        rows = []
        for text in texts:
            if may_have_tokens:
                row: bytes = self._ids(text, None, as_array).tobytes()
            else:  # with what ``_ids`` does then, a text takes two thirds of the time
                row = as_bytes(self.span_ids(tuple.__new__(Span, (text, False, False))))
            if len(row) > room:
                row = row[:room] if self.truncation_side == "right" else row[len(row) - room :]
            rows.append(start + row + end)
        return array("q", [len(row) // ID_BYTES for row in rows]), b"".join(rows)

    def pad(
        self,
        encoded_inputs: Any,
        padding: bool | str | None = True,
        max_length: int | None = None,
        pad_to_multiple_of: int | None = None,
        padding_side: str | None = None,
        return_attention_mask: bool | None = None,
        return_tensors: str | None = None,
    ) -> "Batch":
        """Fill rows that a call returned earlier, as data collators do.

        Args:
            encoded_inputs: A batch, a mapping of columns, or a list of mappings, one for each row.  Columns other than
                ids, types and masks are kept as they are.
            padding: Whether rows are filled up to the longest (True or ``"longest"``) or to ``"max_length"``.
            max_length: Tokens that a row is filled up to; ``max_len`` when None.
            pad_to_multiple_of: A number; the length is rounded up to a multiple of it.
            padding_side: Where rows are filled, ``"right"`` or ``"left"``; None: as the tokenizer's own option says.
            return_attention_mask: Whether a mask is added where there is none; None: if the model takes it.
            return_tensors: ``"pt"`` for torch, ``"np"`` for numpy; None for what ``encoded_inputs`` has.

        Returns:
            A batch; of shape ``(rows, tokens)``, or ``(tokens,)`` for a single row.

        Raises:
            InputError: There are no ``input_ids``, or a column makes no tensor.
            UnknownOptionError: A strategy does not exist.
            VocabError: The vocabulary lacks ``pad_token``, and a row is short.
        """
        from registry.tokenization.batches.call import padded_again

        return padded_again(
            self,
            encoded_inputs,
            (padding, padding_side, pad_to_multiple_of),
            max_length,
            with_mask=return_attention_mask,
            return_tensors=return_tensors,
        )

    # --- Special tokens

    is_fast: ClassVar[bool] = True
    """Whether batches have offsets, words and characters: always."""
    pad_token_type_id: ClassVar[int] = 0
    """The type of padding."""

    def build_inputs_with_special_tokens(self, ids: Sequence[int], pair: Sequence[int] | None = None) -> list[int]:
        """The ids of a text or a pair, with special tokens around and between."""
        start, between, end, opening = self._template(True)
        if pair is None:
            return [*start, *ids, *end]
        return [*start, *ids, *between, *opening, *pair, *end]

    def num_special_tokens_to_add(self, pair: bool = False) -> int:
        """How many special tokens are put around a text, or around and between two."""
        return len(self.build_inputs_with_special_tokens([], [] if pair else None))

    def get_special_tokens_mask(
        self, ids: Iterable[int], pair: Sequence[int] | None = None, already_has_special_tokens: bool = False
    ) -> list[int]:
        """1 for each special token, 0 for others.

        Args:
            ids: The ids of a text.
            pair: Those of a second text.
            already_has_special_tokens: Whether ``ids`` are a row with special tokens; else those are counted that would
                be added.
        """
        if already_has_special_tokens:
            special_ids = {*self.all_special_ids}
            return [int(number in special_ids) for number in plain(ids)]
        start, between, end, opening = self._template(True)
        mask = [1] * len(start) + [0] * len(list(ids))
        if pair is not None:
            mask += [1] * (len(between) + len(opening)) + [0] * len(pair)
        return mask + [1] * len(end)

    # --- Parts of a call

    def _template(self, wanted: bool) -> Template[list[int]]:
        """The ids of the special tokens around and between texts; none unless they are wanted."""
        if not wanted:
            return NOTHING
        start, between, end, opening = self.template
        number = self.special_id
        return Template(
            list(map(number, start)), list(map(number, between)), list(map(number, end)), list(map(number, opening))
        )

    def _padding_id(self, column: Sequence[Sized], length: int) -> int:
        """The id of padding, which is missed only where a row is short."""
        return self.special_id("pad_token") if any(len(row) < length for row in column) else 0

    def _warn_of_length(self, longest: int, strategy: str | None) -> None:
        """Warn, once, of a row that the model will refuse."""
        most = self.max_len or longest
        if strategy is None and longest > most and not self._warned_of_length:
            self._warned_of_length = True
            warn(
                f"A sequence has {longest:,} tokens, but the model takes at most {most:,}: truncation=True truncates "
                f"it, and stride=... splits it into windows."
            )

    def _unknown_keyword(self, name: str) -> UnknownOptionError:
        from inspect import signature  # which takes longer than a tokenizer to import

        from registry.config.keywords import unknown_keyword  # and with it attrs, which tokenizers do without

        known = [key for key in signature(type(self).__call__).parameters if key not in ("self", "unknown")]
        hint = f"Its keywords are: {', '.join(known)}."
        return unknown_keyword(name, f"A call of {type(self).__name__} has no keyword {name!r}.", known, hint)
