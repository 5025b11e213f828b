"""A call of a tokenizer: texts are read, cut, padded and stacked into a batch."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from registry.tokenization.batches.batch import Batch
from registry.tokenization.batches.encoding import Encoding, RowOf, Template, special
from registry.tokenization.batches.formats import FILLING, FORMATS, PADDING, SIDES, BatchFormat, padded
from registry.tokenization.batches.origins import Origins
from registry.tokenization.batches.padding import columns_of, pad_columns, stacked
from registry.tokenization.batches.rows import (
    added_tokens,
    choose,
    padded_length,
    rows,
    texts_and_pairs,
    whole_number,
    words_and_pairs,
)
from registry.tokenization.batches.truncation import STRATEGIES, Truncation

if TYPE_CHECKING:
    from registry.tokenization.batches.encoder import BatchEncoder

# The keywords of a call, by what they are for; ``BatchEncoder.__call__`` describes each.  They are plain tuples, since
# named ones would make the call for a short text a tenth slower.

Given: TypeAlias = tuple[Any, Any]
"""Texts: ``text``, ``text_pair``."""
Reading: TypeAlias = tuple[bool, bool, bool | None]
"""How texts are read: ``add_special_tokens``, ``is_split_into_words``, ``split_special_tokens``."""
Cutting: TypeAlias = tuple[int | None, bool | str | None, str | None, int, bool | None]
"""How rows are cut: ``max_length``, ``truncation``, ``truncation_side``, ``stride``, ``return_overflowing_tokens``."""
Filling: TypeAlias = tuple[bool | str | None, str | None, int | None]
"""How rows are filled: ``padding``, ``padding_side``, ``pad_to_multiple_of``."""
Asked: TypeAlias = tuple[bool | None, bool | None, bool]
"""Columns: ``return_token_type_ids``, ``return_attention_mask``, ``return_offsets_mapping``."""
More: TypeAlias = tuple[bool, bool, str | None]
"""Further columns, and of what all are: ``return_special_tokens_mask``, ``return_length``, ``return_tensors``."""


def batch_of(
    tokenizer: "BatchEncoder", given: Given, reading: Reading, cutting: Cutting, fill: Filling, asked: Asked, more: More
) -> Batch:
    """The batch of the texts and second texts that are given; see ``BatchEncoder.__call__``."""
    add_special_tokens, as_words, split_special_tokens = reading
    with_special, with_length, return_tensors = more
    padding, side, multiple = fill
    form = choose(return_tensors, FORMATS, "return_tensors")
    pad_to = choose(padding, PADDING, "padding")
    cut = _truncation(tokenizer, cutting, is_padded=pad_to is not None)
    firsts, seconds, batched = (words_and_pairs if as_words else texts_and_pairs)(*given)
    makers = {key: form.columns[key] for key in _keys(tokenizer.model_input_names, *asked)}
    how = as_words, form.row_of, split_special_tokens, asked[-1]
    encodings = _encodings(tokenizer, firsts, *how)
    others = None if seconds is None else _encodings(tokenizer, seconds, *how)
    template = Template(*[special(form.row_of(ids)) for ids in tokenizer._template(add_special_tokens)])
    found, windows = rows(encodings, others, template, cut, makers, batched=batched)
    columns = {key: [row[key] for row in found] for key in makers}
    lengths = list(map(len, columns["input_ids"]))
    tokenizer._warn_of_length(max(lengths, default=0), cut.strategy)
    length = padded_length(columns["input_ids"], pad_to, cut.max_length, multiple)
    side = tokenizer.padding_side if side is None else choose(side, SIDES, "padding_side")
    texts = (firsts,) if seconds is None else (firsts, seconds)
    added = added_tokens(template, seconds is not None)
    origins = Origins(tokenizer, texts, windows, added, (length, side), split_special_tokens)
    if with_special:
        columns["special_tokens_mask"] = [form.row_of(origins.special_tokens_mask(row)) for row in range(len(windows))]
    batch = _stacked(tokenizer, columns, form, length, side)
    batch._origins = origins  # a key of the mapping could have any name
    if with_length:
        batch["length"] = form.numbers([max(number, length) for number in lengths])
    if cut.windows:
        batch["overflow_to_sample_mapping"] = form.numbers([*origins.text_index])
    elif not batched and return_tensors is None and not (cut.strategy and cut.has_windows):
        batch.update({key: column[0] for key, column in batch.items() if key != "length"})
    return batch


def padded_again(
    tokenizer: "BatchEncoder",
    encoded: Any,
    filling: Filling,
    max_length: int | None,
    *,
    with_mask: bool | None,
    return_tensors: str | None,
) -> Batch:
    """Rows that a call returned earlier, filled; see ``BatchEncoder.pad``."""
    padding, side, multiple = filling
    pad_to = choose(padding, PADDING, "padding")
    side = tokenizer.padding_side if side is None else choose(side, SIDES, "padding_side")
    columns, batched, kind = columns_of(encoded)
    kind = return_tensors or kind
    choose(kind, FORMATS, "return_tensors")
    if not batched:
        columns = {key: [column] for key, column in columns.items()}
    if with_mask or (with_mask is None and "attention_mask" in tokenizer.model_input_names):
        columns.setdefault("attention_mask", [[1] * len(row) for row in columns["input_ids"]])
    limit = tokenizer.max_len if max_length is None else max_length
    length = padded_length(columns["input_ids"], pad_to, limit, multiple)
    batch = pad_columns(columns, length, side, tokenizer._padding_id(columns["input_ids"], length))
    if not batched:
        batch = Batch({key: column[0] for key, column in batch.items()})
    return batch if kind is None else stacked(batch, kind)


# --- Parts of a call --------------------------------------------------------------------------------------------------


def _truncation(tokenizer: "BatchEncoder", cutting: Cutting, *, is_padded: bool) -> Truncation:
    """How rows are cut."""
    limit, wanted, side, stride, overflowing = cutting
    if wanted is None:
        wanted = limit is not None and not is_padded
    return Truncation(
        tokenizer.max_len if limit is None else whole_number(limit, "max_length"),
        choose(wanted, STRATEGIES, "truncation"),
        stride,
        tokenizer.truncation_side if side is None else choose(side, SIDES, "truncation_side"),
        overflowing,
    )


def _keys(names: Sequence[str], types: bool | None, mask: bool | None, offsets: bool) -> Sequence[str]:
    """The columns of a batch for a model that takes those of ``names``."""
    if types is None and mask is None:
        return (*names, "offset_mapping") if offsets else names
    wanted = {"input_ids": True, "token_type_ids": types, "attention_mask": mask, "offset_mapping": offsets}
    return [key for key, flag in wanted.items() if (key in names if flag is None else flag)]


def _encodings(
    tokenizer: "BatchEncoder",
    texts: Iterable[Any],
    as_words: bool,
    row_of: RowOf,
    split_special_tokens: bool | None,
    with_offsets: bool,
) -> Iterator[Encoding]:
    """The tokens of each text."""
    ids_of = tokenizer._ids_of_word_list if as_words else tokenizer._ids
    for text in texts:
        ids = ids_of(text, split_special_tokens, row_of)
        yield Encoding(ids, tokenizer.offsets_of(text, split_special_tokens) if with_offsets else [])


def _stacked(
    tokenizer: "BatchEncoder", columns: dict[str, list[Any]], form: BatchFormat, length: int, side: str
) -> Batch:
    """The columns, each row filled up to ``length``."""
    if length:
        fill = {**FILLING, "input_ids": tokenizer._padding_id(columns["input_ids"], length)}
        columns = {
            key: padded(column, length, form.padding(key, fill.get(key, 0)), side) for key, column in columns.items()
        }
    return Batch({key: form.stacked(key, column) for key, column in columns.items()})
