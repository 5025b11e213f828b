"""Greedy decoding and sampling, with a model whose scores can be recomputed by hand."""

import inspect
import math

import pytest
import torch
from torch import Tensor

from registry.generation import beam_search, greedy, sample

PROMPT = [3, 1, 4, 1, 5]
OTHERS = [[2, 7], [3, 1, 4, 1, 5], [9]]


def padded(prompts: list[list[int]], side: str, padding: int = 0) -> tuple[Tensor, Tensor]:
    """The prompts as one batch, and its mask."""
    width = max(map(len, prompts))
    ids, mask = torch.full((len(prompts), width), padding), torch.zeros(len(prompts), width)
    for row, prompt in enumerate(prompts):
        place = slice(width - len(prompt), width) if side == "left" else slice(len(prompt))
        ids[row, place], mask[row, place] = torch.tensor(prompt), 1
    return ids, mask


# --- Greedy -----------------------------------------------------------------------------------------------------------


def test_each_token_is_the_likeliest(toy) -> None:
    model = toy()
    assert greedy(model, torch.tensor([PROMPT]), max_new_tokens=9).tolist() == [model.likeliest(PROMPT, 9)]


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("padding", [0, -1, 10_000])
def test_padded_prompts_are_continued_as_they_would_be_alone(toy, side: str, padding: int) -> None:
    model = toy()
    ids, mask = padded(OTHERS, side, padding)
    written = greedy(model, ids, attention_mask=mask, max_new_tokens=6).tolist()
    left, _ = padded(OTHERS, "left", padding)
    for row, start, prompt in zip(written, left.tolist(), OTHERS, strict=True):
        assert row[:5] == start  # padding goes to the left, with its own id
        assert row[5 - len(prompt) :] == model.likeliest(prompt, 6)


@pytest.mark.parametrize("dtype", [torch.bool, torch.float32, torch.int32])
def test_a_mask_may_be_of_any_type(toy, dtype: torch.dtype) -> None:
    ids, mask = padded(OTHERS, "right")
    written = greedy(toy(), ids, attention_mask=mask.to(dtype), max_new_tokens=3)
    assert torch.equal(written, greedy(toy(), ids, attention_mask=mask, max_new_tokens=3))


def test_columns_of_nothing_but_padding_take_no_room_in_the_context(toy) -> None:
    model = toy(context_size=7)
    ids, mask = torch.tensor([[0] * 20 + PROMPT]), torch.tensor([[0] * 20 + [1] * 5])
    written = greedy(model, ids, attention_mask=mask, max_new_tokens=3)
    assert written.tolist() == [[0] * 20 + model.likeliest(PROMPT, 3)]


def test_repetition_is_penalized_in_the_prompt_and_in_what_is_written_but_not_in_padding(toy) -> None:
    model = toy()
    ids, mask = padded(OTHERS, "left", padding=int(model.next_scores(OTHERS[0]).argmax()))
    together = greedy(model, ids, attention_mask=mask, max_new_tokens=6, repetition_penalty=3.0)
    for row, prompt in zip(together.tolist(), OTHERS, strict=True):
        assert row[5 - len(prompt) :] == model.likeliest(prompt, 6, penalty=3.0)


# --- Ends -------------------------------------------------------------------------------------------------------------


def test_ended_texts_are_filled_up_until_all_have_ended(toy) -> None:
    model = toy()
    alone = [model.likeliest(prompt, 8)[len(prompt) :] for prompt in OTHERS]
    end = next(token for token in range(11) if len({token in text for text in alone}) == 2)
    ids, mask = padded(OTHERS, "left")
    for row, text in zip(
        greedy(model, ids, attention_mask=mask, max_new_tokens=8, eos_token_id=end).tolist(), alone, strict=True
    ):
        expected = text[: text.index(end) + 1] if end in text else text
        assert row[5:] == expected + [end] * (8 - len(expected))


def test_nothing_is_computed_after_the_last_text_has_ended(toy) -> None:
    model = toy()
    text = model.likeliest(PROMPT, 8)
    written = greedy(model, torch.tensor([PROMPT]), max_new_tokens=8, eos_token_id=text[7])
    stop = text.index(text[7], 5) + 1
    assert written.tolist() == [text[:stop]]
    assert len(model.calls) == stop - 5


def test_several_ids_may_end_a_text_and_the_first_fills_up(toy) -> None:
    model = toy()
    first, second = ([2, 7], [9])
    ends = [model.likeliest(second, 4)[-1], model.likeliest(first, 2)[-1]]
    ids, mask = padded([first, second], "left")
    one, two = greedy(model, ids, attention_mask=mask, max_new_tokens=9, eos_token_id=ends).tolist()
    expected = model.likeliest(first, 9)[2:]
    stop = min(expected.index(end) for end in ends if end in expected) + 1
    assert one[2:] == expected[:stop] + [ends[0]] * (len(one) - 2 - stop)
    assert two[-1] in ends


# --- The context ------------------------------------------------------------------------------------------------------


def test_the_context_is_used_to_its_last_place(toy) -> None:
    model = toy(context_size=8)
    written = greedy(model, torch.tensor([PROMPT]), max_new_tokens=4)  # the last token needs no place
    assert written.tolist() == [model.likeliest(PROMPT, 4)]
    assert model.caches[0].capacity == 8


@pytest.mark.parametrize("context", [5, 6, 7, 8])
def test_a_full_context_slides(toy, context: int) -> None:
    model = toy(context_size=context)
    written = greedy(model, torch.tensor([PROMPT]), max_new_tokens=30, when_full="slide")
    assert written.tolist() == [model.likeliest(PROMPT, 30, slides=True)]


def test_a_context_of_one_token_slides(toy) -> None:
    model = toy(context_size=1)
    assert greedy(model, torch.tensor([[4]]), max_new_tokens=5, when_full="slide").tolist() == [
        model.likeliest([4], 5, slides=True)
    ]


@pytest.mark.parametrize("side", ["left", "right"])
def test_padded_texts_slide_as_they_would_alone(toy, side: str) -> None:
    model = toy(context_size=7)
    ids, mask = padded(OTHERS, side)
    written = greedy(model, ids, attention_mask=mask, max_new_tokens=30, when_full="slide")
    for row, prompt in zip(written.tolist(), OTHERS, strict=True):
        assert row[5 - len(prompt) :] == model.likeliest(prompt, 30, slides=True)


def test_the_penalty_remembers_what_has_slid_out_of_the_context(toy) -> None:
    model = toy(context_size=4)
    written = greedy(model, torch.tensor([[1, 2]]), max_new_tokens=9, repetition_penalty=3.0, when_full="slide")
    assert written.tolist() == [model.likeliest([1, 2], 9, slides=True, penalty=3.0)]


# --- What the model is given ------------------------------------------------------------------------------------------


def test_without_padding_a_step_is_one_id_and_nothing_else(toy) -> None:
    model = toy()
    mask = torch.ones(1, 5)
    greedy(model, torch.tensor([PROMPT]), attention_mask=mask, max_new_tokens=6)
    assert [tuple(call.ids.shape) for call in model.calls] == [(1, 5)] + [(1, 1)] * 5
    assert all(call.mask is call.positions is None for call in model.calls)
    assert [cache.capacity for cache in model.caches] == [10]


def test_with_padding_masks_and_positions_are_views(toy) -> None:
    model = toy()
    ids, mask = padded(OTHERS, "left")
    greedy(model, ids, attention_mask=mask, max_new_tokens=6)
    assert len({call.mask.untyped_storage().data_ptr() for call in model.calls}) == 1
    assert len({call.positions.untyped_storage().data_ptr() for call in model.calls}) == 1
    assert model.calls[1].positions.flatten().tolist() == [2, 5, 1]


def test_each_step_is_handed_on_as_soon_as_it_is_chosen(toy) -> None:
    model, steps = toy(), []
    ids, mask = padded(OTHERS, "left")

    def on_token(tokens: Tensor) -> None:
        steps.append((tokens, len(model.calls)))

    written = greedy(model, ids, attention_mask=mask, max_new_tokens=6, on_token=on_token)
    assert torch.equal(torch.stack([tokens for tokens, _ in steps], dim=1), written[:, 5:])
    assert [calls for _, calls in steps] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("write", [greedy, sample])
def test_ids_can_be_trained_on(toy, write) -> None:
    written = write(toy(), torch.tensor([PROMPT]), max_new_tokens=2)
    assert not written.is_inference()
    assert written.dtype == torch.long


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
def test_prompts_are_not_written_to(toy, dtype: torch.dtype) -> None:
    ids, mask = padded(OTHERS, "right")
    ids = ids.to(dtype)
    before = ids.clone()
    greedy(toy(), ids, attention_mask=mask, max_new_tokens=2)
    assert torch.equal(ids, before)
    assert int(mask.sum()) == 8


# --- Sampling ---------------------------------------------------------------------------------------------------------


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_same_generator_gives_the_same_texts(toy) -> None:
    ids = torch.tensor([PROMPT, PROMPT])
    first, again, other = (sample(toy(), ids, max_new_tokens=11, generator=seeded(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first[0], first[1])


def test_without_a_generator_the_seed_of_torch_decides(toy) -> None:
    texts = []
    for _ in range(2):
        torch.manual_seed(3)
        texts.append(sample(toy(), torch.tensor([PROMPT]), max_new_tokens=11))
    assert torch.equal(*texts)


@pytest.mark.parametrize(
    ("options", "weigh"),
    [
        ({}, lambda scores: scores.softmax(-1)),
        ({"temperature": 2.5}, lambda scores: (scores / 2.5).softmax(-1)),
        ({"top_k": 3}, lambda scores: scores.where(scores >= scores.sort().values[-3], -math.inf).softmax(-1)),
        ({"temperature": 2.5, "top_p": 1e-3}, lambda scores: (scores == scores.max()).float()),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_tokens_come_as_often_as_they_are_likely(toy, options, weigh) -> None:
    model, draws = toy(), 4000
    written = sample(
        model, torch.tensor([PROMPT]), max_new_tokens=1, num_return_sequences=draws, generator=seeded(), **options
    )
    expected = weigh(model.next_scores(PROMPT))
    frequencies = written[:, -1].bincount(minlength=11) / draws
    assert (frequencies - expected).abs().max() < 4 * 0.5 / draws**0.5
    assert not frequencies[expected == 0].any()


def test_several_texts_follow_each_prompt_which_is_read_once(toy) -> None:
    model = toy()
    ids, mask = padded(OTHERS, "right")
    written = sample(
        model, ids, attention_mask=mask, max_new_tokens=6, num_return_sequences=3, top_k=1, eos_token_id=()
    )
    assert model.calls[0].ids.shape == (3, 5)
    assert model.calls[1].ids.shape == (9, 1)
    assert torch.equal(written, greedy(model, ids, attention_mask=mask, max_new_tokens=6).repeat_interleave(3, dim=0))


def test_a_cold_sample_is_greedy(toy) -> None:
    ids = torch.tensor([PROMPT])
    cold, colder = (sample(toy(), ids, max_new_tokens=9, temperature=least) for least in (1e-6, 5e-324))
    assert torch.equal(cold, colder)
    assert torch.equal(cold, greedy(toy(), ids, max_new_tokens=9))


def test_samples_end_slide_and_are_handed_on_as_well(toy) -> None:
    steps: list[Tensor] = []
    ids, mask = padded(OTHERS, "left")
    options = {"attention_mask": mask, "max_new_tokens": 40, "when_full": "slide", "eos_token_id": 6}
    written = sample(toy(context_size=7), ids, top_k=1, on_token=steps.append, **options)
    assert torch.equal(written, greedy(toy(context_size=7), ids, **options))
    assert torch.equal(torch.stack(steps, dim=1), written[:, 5:])


def test_what_both_take_is_the_same() -> None:
    ours, wider = (inspect.signature(function).parameters for function in (greedy, sample))
    assert all(wider[name] == parameter for name, parameter in ours.items())


@pytest.mark.parametrize(
    ("generate", "top"),
    [
        (lambda model, ids: greedy(model, ids, max_new_tokens=2), 1),
        (lambda model, ids: greedy(model, ids, max_new_tokens=2, repetition_penalty=1.5), None),
        (lambda model, ids: sample(model, ids, max_new_tokens=2, top_k=3), 3),
        (lambda model, ids: sample(model, ids, max_new_tokens=2), None),
        (lambda model, ids: beam_search(model, ids, max_new_tokens=2, num_beams=2), 4),
        (lambda model, ids: beam_search(model, ids, max_new_tokens=2, num_beams=2, eos_token_id=[0, 1]), 6),
        (lambda model, ids: beam_search(model, ids, max_new_tokens=2, num_beams=2, repetition_penalty=1.5), None),
    ],
)
def test_a_model_is_told_how_many_of_the_highest_logits_matter(toy, generate, top: int | None) -> None:
    model = toy()
    generate(model, torch.tensor([PROMPT]))
    assert [call.top for call in model.calls] == [top, top]
