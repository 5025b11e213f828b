"""Windows, padding and tensors, on rows of numbers."""

from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.errors import UnknownOptionError
from registry.tokenization.batches.batch import Batch
from registry.tokenization.batches.encoding import Encoding, Template, special
from registry.tokenization.batches.formats import FORMATS, PADDING, BatchFormat, as_torch, padded
from registry.tokenization.batches.rows import choose, rows, texts_and_pairs
from registry.tokenization.batches.truncation import Truncation, windows


def text(*ids: int) -> Encoding:
    return Encoding(list(ids), [])


LISTS, ARRAYS = FORMATS[None], FORMATS["np"]
TEMPLATE = Template(special([101]), special([102]), special([102]))


def ids_of_rows(first: Encoding, second: Encoding | None, truncation: Truncation) -> list[list[int]]:
    found, _ = rows([first], None if second is None else [second], TEMPLATE, truncation, LISTS.columns)
    return [row["input_ids"] for row in found]


@given(size=st.integers(0, 200), room=st.integers(2, 40), stride=st.integers(1, 39))
def test_windows_show_every_token_and_share_the_stride(size: int, room: int, stride: int) -> None:
    stride = min(stride, room - 1)
    spans = [first for first, _ in windows(size, 0, 2, Truncation(room + 2, "longest_first", stride))]
    assert spans[0][0] == 0
    assert spans[-1][1] == size
    assert all(stop - start <= room for start, stop in spans)
    assert all(here[1] - there[0] == stride for here, there in zip(spans, spans[1:], strict=False))
    assert all(stop - start == room for start, stop in spans[:-1])


@given(first=st.integers(0, 60), second=st.integers(0, 60), room=st.integers(0, 60))
def test_the_longer_of_two_texts_is_cut_first(first: int, second: int, room: int) -> None:
    [((_, kept), (_, other))] = windows(first, second, 0, Truncation(room, "longest_first", 0))
    assert kept + other == min(room, first + second)
    assert kept <= first
    assert other <= second
    assert kept == first or kept >= other - 1
    assert other == second or other >= kept - 1


# Recorded from transformers' BertTokenizerFast, of two texts of equal length, without special tokens.
@pytest.mark.parametrize(
    ("size", "room", "kept"),
    [(5, 9, (4, 5)), (5, 8, (4, 4)), (5, 7, (3, 4)), (3, 5, (2, 3)), (3, 3, (1, 2)), (2, 3, (1, 2)), (1, 1, (0, 1))],
)
def test_of_two_texts_of_one_length_the_second_keeps_the_odd_token(size: int, room: int, kept: tuple[int, int]) -> None:
    [((_, first), (_, second))] = windows(size, size, 0, Truncation(room, "longest_first", 0))
    assert (first, second) == kept


# Recorded from transformers' BertTokenizerFast: two texts of eight tokens, max_length=11, stride=1.
WINDOWS = [
    ((0, 4), (0, 4)), ((3, 7), (0, 4)), ((3, 7), (3, 7)), ((3, 7), (6, 8)), ((6, 8), (0, 4)), ((6, 8), (3, 7)),
    ((6, 8), (6, 8)), ((0, 4), (3, 7)), ((0, 4), (6, 8)),
]  # fmt: skip


def test_windows_of_two_texts_come_in_the_order_of_the_reference() -> None:
    found = windows(8, 8, 3, Truncation(11, "longest_first", 1))
    assert found == WINDOWS


def test_one_text_of_a_pair_can_be_spared() -> None:
    assert ids_of_rows(text(1, 2, 3), text(4, 5), Truncation(7, "only_first", 0)) == [[101, 1, 2, 102, 4, 5, 102]]
    assert ids_of_rows(text(1, 2, 3), text(4, 5), Truncation(7, "only_second", 0)) == [[101, 1, 2, 3, 102, 4, 102]]


@pytest.mark.parametrize(
    ("truncation", "fault"),
    [
        (Truncation(5, "only_first", 0), "nothing would remain"),
        (Truncation(6, "only_second", 0), "nothing would remain"),
        (Truncation(2, "longest_first", 0), "max_length=2 leaves no room for the 3 special tokens"),
        (Truncation(7, "only_first", 2), "stride=2 must be from 0 to below 2"),
        (Truncation(7, "only_first", -1), "stride=-1"),
    ],
)
def test_lengths_that_cannot_be_met_are_errors(truncation: Truncation, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        ids_of_rows(text(1, 2, 3), text(4, 5), truncation)


def test_the_second_of_one_text_cannot_be_cut() -> None:
    with pytest.raises(ValueError, match="only_second"):
        ids_of_rows(text(1, 2, 3), None, Truncation(4, "only_second", 0))


@pytest.mark.parametrize("form", [LISTS, ARRAYS])
def test_types_and_mask_tell_texts_and_padding_apart(form: BatchFormat) -> None:
    template = Template(*(special(form.row_of(part.ids)) for part in TEMPLATE[:3]))
    first, second = Encoding(form.row_of([1, 2]), []), Encoding(form.row_of([3]), [])
    [row], _ = rows([first], [second], template, Truncation(None, None, 0), form.columns)
    assert list(row["input_ids"]) == [101, 1, 2, 102, 3, 102]
    assert list(row["token_type_ids"]) == [0, 0, 0, 0, 1, 1]
    [filled] = padded([row["attention_mask"]], 8, form.padding("attention_mask", 0))
    assert list(filled) == [1, 1, 1, 1, 1, 1, 0, 0]


@pytest.mark.parametrize(("word", "meant"), [("longst", "'longest'"), ("MAX_LENGTH", "'max_length'")])
def test_an_unknown_strategy_is_refused_with_a_suggestion(word: str, meant: str) -> None:
    with pytest.raises(UnknownOptionError, match=f"padding='{word}' is not known. Did you mean {meant}"):
        choose(word, PADDING, "padding")


def test_rows_of_different_lengths_make_no_tensor() -> None:
    with pytest.raises(
        ValueError, match="Sequences of 1 to 2 tokens cannot be stacked into a tensor: pass padding=True"
    ):
        as_torch("input_ids", [array("q", [1]), array("q", [1, 2])])


@pytest.mark.parametrize(
    "wrong", [None, 5, float("nan"), b"bytes", [None], ["a", 5], [("a", "b"), "c"], [("a", None)], {"a": 1}]
)
def test_what_is_no_text_is_refused(wrong: object) -> None:
    with pytest.raises(TypeError, match="string"):
        texts_and_pairs(wrong, None)


def test_as_many_second_texts_as_texts_are_needed() -> None:
    with pytest.raises(ValueError, match="2 texts, but 1 second"):
        texts_and_pairs(["a", "b"], ["c"])


def test_a_batch_reads_as_mapping_and_by_attribute() -> None:
    batch = Batch(input_ids=[1])
    assert {**batch} == {"input_ids": [1]}
    assert batch.input_ids == [1]
    with pytest.raises(AttributeError, match="no 'labels'; it has input_ids"):
        _ = batch.labels
