"""Windows, padding and tensors, on rows of numbers."""

from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.errors import UnknownOptionError
from registry.tokenization import batches
from registry.tokenization.batches import Batch, Form, Frame, Limit, Segment, added


def text(*ids: int) -> Segment:
    return Segment(list(ids), [])


LISTS, ARRAYS = batches.FORMS[None], batches.FORMS["np"]
FRAME = Frame(added([101]), added([102]), added([102]))


def rows(first: Segment, second: Segment | None, limit: Limit) -> list[list[int]]:
    found, _ = batches.rows([first], None if second is None else [second], FRAME, limit, LISTS.columns)
    return [row["input_ids"] for row in found]


@given(size=st.integers(0, 200), room=st.integers(2, 40), stride=st.integers(1, 39))
def test_windows_show_every_token_and_share_the_stride(size: int, room: int, stride: int) -> None:
    stride = min(stride, room - 1)
    spans = [first for first, _ in batches.windows(size, 0, 2, Limit(room + 2, "longest_first", stride))]
    assert spans[0][0] == 0
    assert spans[-1][1] == size
    assert all(stop - start <= room for start, stop in spans)
    assert all(here[1] - there[0] == stride for here, there in zip(spans, spans[1:], strict=False))
    assert all(stop - start == room for start, stop in spans[:-1])


@given(first=st.integers(0, 60), second=st.integers(0, 60), room=st.integers(0, 60))
def test_the_longer_of_two_texts_is_cut_first(first: int, second: int, room: int) -> None:
    [((_, kept), (_, other))] = batches.windows(first, second, 0, Limit(room, "longest_first", 0))
    assert kept + other == min(room, first + second)
    assert kept <= first
    assert other <= second
    assert kept == first or kept >= other - 1
    assert other == second or other >= kept - 1


def test_one_text_of_a_pair_can_be_spared() -> None:
    assert rows(text(1, 2, 3), text(4, 5), Limit(7, "only_first", 0)) == [[101, 1, 2, 102, 4, 5, 102]]
    assert rows(text(1, 2, 3), text(4, 5), Limit(7, "only_second", 0)) == [[101, 1, 2, 3, 102, 4, 102]]


@pytest.mark.parametrize(
    ("limit", "fault"),
    [
        (Limit(5, "only_first", 0), "nothing would be left"),
        (Limit(6, "only_second", 0), "nothing would be left"),
        (Limit(2, "longest_first", 0), "max_length=2 leaves no room for the 3 special tokens"),
        (Limit(7, "only_first", 2), "stride=2 must be from 0 to below 2"),
        (Limit(7, "only_first", -1), "stride=-1"),
    ],
)
def test_lengths_that_cannot_be_met_are_errors(limit: Limit, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        rows(text(1, 2, 3), text(4, 5), limit)


def test_the_second_of_one_text_cannot_be_cut() -> None:
    with pytest.raises(ValueError, match="only_second"):
        rows(text(1, 2, 3), None, Limit(4, "only_second", 0))


@pytest.mark.parametrize("form", [LISTS, ARRAYS])
def test_types_and_mask_tell_texts_and_padding_apart(form: Form) -> None:
    [row], _ = batches.rows([text(1, 2)], [text(3)], FRAME, Limit(None, None, 0), form.columns)
    assert list(row["token_type_ids"]) == [0, 0, 0, 0, 1, 1]
    [padded] = batches.padded([row["attention_mask"]], 8, form.padding("attention_mask", 0))
    assert list(padded) == [1, 1, 1, 1, 1, 1, 0, 0]


@pytest.mark.parametrize(("word", "meant"), [("longst", "'longest'"), ("MAX_LENGTH", "'max_length'")])
def test_an_unknown_strategy_is_refused_with_a_suggestion(word: str, meant: str) -> None:
    with pytest.raises(UnknownOptionError, match=f"padding='{word}' is not known. Did you mean {meant}"):
        batches.choose(word, batches.PADDING, "padding")


def test_rows_of_different_lengths_make_no_tensor() -> None:
    with pytest.raises(ValueError, match="Rows of 1 to 2 tokens make no tensor: ask for padding=True"):
        batches.as_torch("input_ids", [array("q", [1]), array("q", [1, 2])])


@pytest.mark.parametrize(
    "wrong", [None, 5, float("nan"), b"bytes", [None], ["a", 5], [("a", "b"), "c"], [("a", None)], {"a": 1}]
)
def test_what_is_no_text_is_refused(wrong: object) -> None:
    with pytest.raises(TypeError, match="string"):
        batches.texts_and_pairs(wrong, None)


def test_as_many_second_texts_as_texts_are_needed() -> None:
    with pytest.raises(ValueError, match="2 texts, but 1 second"):
        batches.texts_and_pairs(["a", "b"], ["c"])


def test_a_batch_reads_as_mapping_and_by_attribute() -> None:
    batch = Batch(input_ids=[1])
    assert {**batch} == {"input_ids": [1]}
    assert batch.input_ids == [1]
    with pytest.raises(AttributeError, match="no 'labels'; it has input_ids"):
        _ = batch.labels
