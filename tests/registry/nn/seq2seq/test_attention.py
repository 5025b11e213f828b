"""Cross-attention: each sequence attends to its text alone, whatever is cached and however many share the text."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from registry.errors import InputError
from registry.nn.seq2seq.attention import CrossState, CrossStateWithWeights, Seq2SeqCache

TEXTS, LENGTH, TOKENS, HEADS, WIDTH = 3, 5, 4, 2, 6
MASK = torch.tensor([[1, 1, 1, 1, 1], [0, 0, 1, 1, 1], [1, 1, 0, 0, 0]])


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


ENCODED = random(TEXTS, LENGTH, HEADS * WIDTH)


class Projection:
    """Keys and values are the features of the text, and twice them; calls are counted."""

    calls = 0

    def __call__(self, encoded: Tensor) -> tuple[Tensor, Tensor]:
        self.calls += 1
        heads = encoded.unflatten(-1, (HEADS, WIDTH))
        return heads, 2 * heads


def by_formula(query: Tensor, encoded: Tensor) -> Tensor:
    """The attention of one sequence, ``(T, H, D)``, to one text without padding, ``(S, H * D)``."""
    heads = encoded.unflatten(-1, (HEADS, WIDTH))
    weights = (torch.einsum("thd,shd->hts", query, heads) / WIDTH**0.5).softmax(-1)
    return torch.einsum("hts,shd->thd", weights, 2 * heads)


@pytest.mark.parametrize("kind", [CrossState, CrossStateWithWeights])
@pytest.mark.parametrize("mask", [None, torch.ones_like(MASK), MASK])
@pytest.mark.parametrize("answers", [1, 3])
def test_each_sequence_attends_to_its_own_text(kind: Any, mask: Tensor | None, answers: int) -> None:
    query = random(TEXTS * answers, TOKENS, HEADS, WIDTH, seed=1)
    state = kind(ENCODED, mask)
    mixed = state.attend_in(0)(query, Projection())
    real = torch.ones_like(MASK).bool() if mask is None else mask.bool()
    for row, one in enumerate(query):
        text = row // answers
        assert_close(mixed[row], by_formula(one, ENCODED[text, real[text]]))
    if state.attentions is not None:
        (weights,) = state.attentions
        assert weights.shape == (TEXTS * answers, HEADS, TOKENS, LENGTH)
        assert_close(weights.sum(-1), torch.ones_like(weights[..., 0]))
        assert (weights[~real[:, None, None, :].expand(-1, HEADS, TOKENS, -1).repeat_interleave(answers, 0)] == 0).all()
        values = 2 * ENCODED.unflatten(-1, (HEADS, WIDTH)).repeat_interleave(answers, 0)
        assert_close(torch.einsum("bhts,bshd->bthd", weights, values), mixed)


def test_a_text_that_is_all_padding_gives_no_nan() -> None:
    mask = MASK.clone()
    mask[1] = 0
    assert CrossState(ENCODED, mask).attend_in(0)(random(TEXTS, 1, HEADS, WIDTH), Projection()).isfinite().all()


def test_keys_and_values_are_computed_once_and_follow_no_reordering() -> None:
    cache, project, query = (
        Seq2SeqCache(layers=2, batch=TEXTS, capacity=8),
        Projection(),
        random(TEXTS, 1, HEADS, WIDTH),
    )
    first = CrossState(ENCODED, MASK, cache)
    for layer in (0, 1):
        first.attend_in(layer)(query, project)
    assert project.calls == 2
    assert [key.is_contiguous() for key, _ in cache.cross.values()] == [True, True]
    before = {layer: keys for layer, (keys, _) in cache.cross.items()}
    for layer in (0, 1):
        cache.append(layer, query.transpose(1, 2), query.transpose(1, 2))
    cache.reorder(torch.tensor([0, 0, 1, 1, 2, 2]))
    several = random(2 * TEXTS, 1, HEADS, WIDTH, seed=2)
    mixed = CrossState(ENCODED, MASK, cache).attend_in(1)(several, project)
    assert project.calls == 2
    assert all(cache.cross[layer][0] is keys for layer, keys in before.items())
    assert_close(mixed, CrossState(ENCODED, MASK).attend_in(1)(several, Projection()))
    cache.clear()
    assert (cache.length, len(cache.cross)) == (0, 2)


def test_what_a_call_returns_continues_it() -> None:
    project, query = Projection(), random(TEXTS, 1, HEADS, WIDTH)
    state = CrossState(ENCODED, MASK)
    wanted = state.attend_in(0)(query, project)
    own = ((torch.zeros(1), torch.ones(1)),)
    ((*pair, keys, values),) = past = state.past_key_values(own)
    assert [float(one) for one in pair] == [0, 1]
    assert keys.shape == values.shape == (TEXTS, HEADS, LENGTH, WIDTH)
    again = CrossState(ENCODED, MASK, past)
    assert_close(again.attend_in(0)(query, project), wanted)
    assert project.calls == 1
    assert again.past_key_values(own)[0][2] is keys


def test_a_layer_that_is_computed_again_has_its_gradients() -> None:
    encoded, project = ENCODED.clone().requires_grad_(), Projection()
    attend = CrossState(encoded).attend_in(0)
    with torch.no_grad():  # as the forward pass of gradient checkpointing
        attend(random(TEXTS, 1, HEADS, WIDTH), project)
    attend(random(TEXTS, 1, HEADS, WIDTH), project).sum().backward()
    assert project.calls == 2
    assert encoded.grad is not None


def test_without_a_cache_nothing_is_kept() -> None:
    state = CrossState(ENCODED, use_cache=False)
    state.attend_in(0)(random(TEXTS, 1, HEADS, WIDTH), Projection())
    with pytest.raises(KeyError):
        state.past_key_values(((torch.zeros(1), torch.zeros(1)),))


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(InputError, match=r"shape of the encoded texts, \(3, 5\), not \(3, 4\)"):
        CrossState(ENCODED, MASK[:, 1:])
    with pytest.raises(InputError, match="1 at tokens and 0 at padding"):
        CrossState(ENCODED, (MASK - 1).float() * 10_000)
    with pytest.raises(InputError, match="4 sequences of 2 heads of 6 cannot attend to 3 encoded texts"):
        CrossState(ENCODED).attend_in(0)(random(4, 1, HEADS, WIDTH), Projection())
