"""Whatever makes no sense is refused before anything is computed, by an error that says what would."""

import inspect
from collections.abc import Callable

import pytest
import torch

from registry.errors import InputError
from registry.generation import beam_search, greedy, sample

IDS = torch.tensor([[1, 2, 3], [4, 5, 6]])
ALL = {greedy: {}, sample: {}, beam_search: {"num_beams": 2}}
each = pytest.mark.parametrize("write", ALL, ids=lambda write: write.__name__)


def refused(toy, write: Callable, ids: torch.Tensor = IDS, **options) -> str:
    model = toy()
    with pytest.raises(InputError) as caught:
        write(model, ids, **{"max_new_tokens": 2, **ALL[write], **options})
    assert not model.calls
    return str(caught.value)


@each
@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (torch.tensor([1, 2]), "two dimensions, (batch, tokens), not the shape (2,)"),
        (torch.ones(1, 2), "must be whole numbers"),
        (torch.ones(1, 2, dtype=torch.bool), "must be whole numbers"),
        (torch.ones(2, 0, dtype=torch.long), "A prompt is empty"),
        (torch.ones(0, 2, dtype=torch.long), "A prompt is empty"),
    ],
)
def test_prompts_are_a_table_of_ids(toy, write, ids, message) -> None:
    assert message in refused(toy, write, ids)


@each
def test_an_empty_prompt_beside_others_is_found(toy, write) -> None:
    assert "A prompt is empty" in refused(toy, write, attention_mask=torch.tensor([[1, 1, 1], [0, 0, 0]]))


@each
def test_a_mask_has_the_shape_of_the_ids(toy, write) -> None:
    assert "attention_mask must have the shape of input_ids" in refused(toy, write, attention_mask=torch.ones(2, 4))


@each
def test_ids_beyond_the_vocabulary_are_refused_by_the_model(toy, write) -> None:
    with pytest.raises(InputError, match="unknown"):
        write(toy(), torch.tensor([[11]]), max_new_tokens=1, **ALL[write])


@each
@pytest.mark.parametrize("when_full", ["error", "slide"])
def test_a_prompt_that_is_too_long_is_refused_however_the_end_is_handled(toy, write, when_full) -> None:
    message = refused(toy, write, torch.ones(1, 17, dtype=torch.long), when_full=when_full)
    assert "A prompt has 17 tokens, but the model's context is 16" in message
    assert "input_ids[:, -16:]" in message


@each
def test_the_end_of_the_context_is_foreseen(toy, write) -> None:
    message = refused(toy, write, max_new_tokens=15)
    assert "A prompt of 3 tokens and 15 new ones exceed the model's context of 16" in message
    assert "at most 14" in message
    assert "when_full='slide'" in message
    assert write(toy(), IDS, max_new_tokens=14, **ALL[write]).shape == (2, 17)


@each
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens must be a whole number above 0, not 0"),
        ({"max_new_tokens": 2.0}, "max_new_tokens must be a whole number above 0, not 2.0"),
        ({"max_new_tokens": True}, "max_new_tokens must be a whole number above 0, not True"),
        ({"repetition_penalty": 0.0}, "repetition_penalty must be a number above 0, not 0.0"),
        ({"repetition_penalty": float("nan")}, "repetition_penalty must be a number above 0, not nan"),
        ({"repetition_penalty": float("inf")}, "repetition_penalty must be a number above 0, not inf"),
        ({"eos_token_id": -1}, "eos_token_id must be an id, several, or None, not -1"),
        ({"eos_token_id": [1, "</s>"]}, "eos_token_id must be an id"),
        ({"eos_token_id": True}, "eos_token_id must be an id"),
        ({"eos_token_id": 1.5}, "eos_token_id must be an id"),
        ({"when_full": "stop"}, "when_full must be 'error' or 'slide', not 'stop'"),
    ],
    ids=str,
)
def test_options_of_all_three_are_checked(toy, write, options, message) -> None:
    assert message in refused(toy, write, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": 0}, "temperature must be a number above 0, not 0"),
        ({"temperature": -1.0}, "temperature must be a number above 0, not -1.0"),
        ({"temperature": "warm"}, "temperature must be a number above 0, not 'warm'"),
        ({"top_k": 0}, "top_k must be a whole number above 0, not 0"),
        ({"top_k": 0.5}, "top_k must be a whole number above 0, not 0.5"),
        ({"top_p": 0.0}, "top_p must be a number above 0 and at most 1, not 0.0"),
        ({"top_p": 1.1}, "top_p must be a number above 0 and at most 1, not 1.1"),
        ({"num_return_sequences": 0}, "num_return_sequences must be a whole number above 0, not 0"),
    ],
    ids=str,
)
def test_options_of_sampling_are_checked(toy, options, message) -> None:
    assert message in refused(toy, sample, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_beams": 0}, "num_beams must be a whole number above 0, not 0"),
        ({"num_return_sequences": 3}, "num_return_sequences must be a whole number above 0 and at most 2, not 3"),
        ({"length_penalty": float("inf")}, "length_penalty must be a number from -20 to 20, not inf"),
        ({"length_penalty": None}, "length_penalty must be a number from -20 to 20, not None"),
    ],
    ids=str,
)
def test_options_of_beam_search_are_checked(toy, options, message) -> None:
    assert message in refused(toy, beam_search, **options)


def test_options_of_one_name_mean_the_same_everywhere() -> None:
    one, two, three = (inspect.signature(write).parameters for write in ALL)
    for ours, others in ((one, two), (one, three), (two, three)):
        for name in ours.keys() & others.keys():
            assert ours[name] == others[name]
