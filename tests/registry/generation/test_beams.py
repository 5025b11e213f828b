"""Beam search, compared with trying everything, and with what transformers finds by its own model."""

import itertools

import pytest
import torch
from torch import Tensor
from transformers import DynamicCache, GPT2Config, GPT2LMHeadModel

from registry.errors import InputError
from registry.generation import beam_search, greedy

PROMPT = [3, 1, 4, 1, 5]


class Theirs:
    """A model of transformers, which meets what decoding asks of a model."""

    context_size = 64

    class Cache:
        def __init__(self) -> None:
            self.clear()

        def clear(self) -> None:
            self.layers = DynamicCache()

        def reorder(self, rows: Tensor) -> None:
            self.layers.reorder_cache(rows)

    def __init__(self, seed: int) -> None:
        torch.manual_seed(seed)
        config = GPT2Config(
            vocab_size=31, n_positions=64, n_embd=16, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=0
        )
        self.model = GPT2LMHeadModel(config).eval()
        for parameter in self.model.parameters():  # far from uniform, so that neither ties nor long texts are the rule
            parameter.data *= 8

    def new_cache(self, batch: int, capacity: int) -> Cache:
        return self.Cache()

    def score(
        self,
        ids: Tensor,
        cache: Cache,
        *,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        top: int | None = None,
    ) -> Tensor:
        return self.model(
            ids, past_key_values=cache.layers, attention_mask=attention_mask, position_ids=position_ids
        ).logits[:, -1]


def test_many_beams_find_the_best_of_all_texts(toy) -> None:
    model = toy(vocabulary=7)

    def likelihood(new: tuple[int, ...]) -> float:
        steps = [model.next_scores([*PROMPT, *new[:n]]).log_softmax(-1)[token] for n, token in enumerate(new)]
        return float(sum(steps))

    best = sorted(itertools.product(range(7), repeat=2), key=likelihood, reverse=True)[:7]
    found = beam_search(model, torch.tensor([PROMPT]), max_new_tokens=2, num_beams=7, num_return_sequences=7)
    assert found.tolist() == [PROMPT + list(new) for new in best]


def test_one_beam_is_greedy(toy) -> None:
    ids = torch.tensor([PROMPT, PROMPT[::-1]])
    assert torch.equal(beam_search(toy(), ids, max_new_tokens=9, num_beams=1), greedy(toy(), ids, max_new_tokens=9))


def test_prompts_are_read_once_and_a_step_is_one_id_for_each_beam(toy) -> None:
    model = toy()
    beam_search(model, torch.tensor([PROMPT, PROMPT]), max_new_tokens=4, num_beams=3)
    assert [tuple(call.ids.shape) for call in model.calls] == [(2, 5), (6, 1), (6, 1), (6, 1)]


def test_the_search_ends_when_enough_texts_have(toy) -> None:
    model = toy(vocabulary=40)
    found = beam_search(model, torch.tensor([PROMPT]), max_new_tokens=11, num_beams=2, eos_token_id=list(range(38)))
    assert len(model.calls) < 4
    assert found.shape[1] <= 5 + len(model.calls)


def test_more_beams_than_tokens_are_refused(toy) -> None:
    with pytest.raises(InputError, match="num_beams must be a whole number above 0 and at most 10, not 11"):
        beam_search(toy(), torch.tensor([PROMPT]), max_new_tokens=2, num_beams=11, eos_token_id=4)


@pytest.mark.parametrize("options", [{}, {"repetition_penalty": 1.5}, {"when_full": "slide", "max_new_tokens": 30}])
def test_padded_prompts_are_continued_as_they_would_be_alone(toy, options) -> None:
    model = toy(context_size=12)
    prompts = [[2, 7], [3, 1, 4, 1, 5], [9]]
    options = {"max_new_tokens": 6, "num_beams": 3, "num_return_sequences": 2, "eos_token_id": 6, **options}
    mask = torch.tensor([[1, 1, 0, 0, 0], [1] * 5, [1, 0, 0, 0, 0]])
    ids = torch.tensor([prompt + [0] * (5 - len(prompt)) for prompt in prompts])
    together = beam_search(model, ids, attention_mask=mask, **options)
    for number, prompt in enumerate(prompts):
        alone = beam_search(model, torch.tensor([prompt]), **options)
        for row, expected in zip(together[2 * number : 2 * number + 2, 5:], alone[:, len(prompt) :], strict=True):
            assert row[: len(expected)].tolist() == expected.tolist()
            assert (row[len(expected) :] == 6).all()


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"length_penalty": 0.0},
        {"length_penalty": 2.5, "num_return_sequences": 4},
        {"length_penalty": -1.0, "num_return_sequences": 2},
        {"repetition_penalty": 1.7},
        {"eos_token_id": [4, 9, 17], "num_return_sequences": 3},
        {"num_beams": 2, "eos_token_id": []},
        {"early_stopping": True, "num_return_sequences": 4},
        {"early_stopping": "never", "length_penalty": 2.0},
        {"early_stopping": "never", "length_penalty": -1.0, "num_return_sequences": 2},
    ],
    ids=str,
)
def test_texts_are_those_of_transformers(seed: int, options) -> None:
    model = Theirs(seed)
    ids = torch.randint(1, 31, (3, 5))
    mask = torch.tensor([[1] * 5, [0, 0, 1, 1, 1], [0, 1, 1, 1, 1]])
    options = {"max_new_tokens": 14, "num_beams": 4, "eos_token_id": 7, **options}
    ours = beam_search(model, ids, attention_mask=mask, **options)
    ends = options.pop("eos_token_id")
    theirs = model.model.generate(
        ids,
        attention_mask=mask,
        do_sample=False,
        eos_token_id=ends or None,
        pad_token_id=(ends or [0])[0] if isinstance(ends, list) else ends,
        **options,
    )
    new, expected = ours[:, 5:].tolist(), theirs[:, 5:].tolist()
    assert new == expected
