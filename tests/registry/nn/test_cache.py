"""Caches of keys and values, beside plain concatenation."""

import copy
import pickle
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor
from torch.testing import assert_close

from registry.errors import InputError
from registry.nn.cache import DynamicKeyValueCache, FixedKeyValueCache, StaticKeyValueCache, cache_after

SIZES: dict[str, Any] = {"layers": 2, "batch": 3}


def pair(tokens: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    key, value = torch.randn(2, 3, 2, tokens, 4, generator=generator)
    return key, value


@pytest.fixture(params=["cache", "pairs"])
def past(request: pytest.FixtureRequest) -> StaticKeyValueCache | DynamicKeyValueCache:
    return StaticKeyValueCache(**SIZES, capacity=8) if request.param == "cache" else DynamicKeyValueCache()


def test_a_past_gives_all_tokens_so_far(past: Any) -> None:
    if isinstance(past, DynamicKeyValueCache):
        past = DynamicKeyValueCache([pair(3, 0), pair(3, 1)])
    else:
        past.append(0, *pair(3, 0))
        past.append(1, *pair(3, 1))
    assert past.length == 3
    for layer in range(2):
        found = past.append(layer, *pair(2, layer + 2))
        expected = tuple(torch.cat(both, -2) for both in zip(pair(3, layer), pair(2, layer + 2), strict=True))
        assert_close(found, expected)
        assert_close(past[layer] if layer == 1 else found, expected)
    assert past.length == 5
    assert len(past) == len(list(past)) == len(past[:]) == 2


def test_the_length_advances_with_the_last_layer() -> None:
    cache = StaticKeyValueCache(**SIZES, capacity=8)
    cache.append(0, *pair(3))
    assert cache.length == 0
    cache.append(1, *pair(3))
    assert cache.length == 3


def test_what_a_cache_gives_is_not_copied() -> None:
    cache = StaticKeyValueCache(**SIZES, capacity=8)
    first, _ = cache.append(0, *pair(3))
    cache.append(1, *pair(3))
    second, _ = cache.append(0, *pair(1))
    assert first.data_ptr() == second.data_ptr()
    assert second.stride()[-2:] == (4, 1)


def test_rows_are_reordered_in_place() -> None:
    cache = StaticKeyValueCache.from_tuples([pair(3, 0), pair(3, 1)], capacity=5)
    address = cache[0][0].data_ptr()
    cache.reorder(torch.tensor([2, 0, 0]))
    assert cache[0][0].data_ptr() == address
    assert_close(list(cache), [tuple(x[[2, 0, 0]] for x in pair(3, seed)) for seed in (0, 1)])


def test_a_cleared_cache_is_empty() -> None:
    cache = StaticKeyValueCache.from_tuples([pair(3, 0), pair(3, 1)])
    cache.clear()
    assert cache.length == 0
    assert_close(cache.append(0, *pair(2, 5)), pair(2, 5))


def test_a_cache_made_of_tuples_is_a_copy_with_the_room_asked_for() -> None:
    pairs = [pair(3, 0), torch.stack(pair(3, 1))]  # the second in the form of pytorch-pretrained-bert
    cache = StaticKeyValueCache.from_tuples(pairs, capacity=4)  # type: ignore[arg-type]
    assert (cache.length, cache.capacity, StaticKeyValueCache.from_tuples([pair(3)]).capacity) == (3, 4, 3)
    cache.append(0, *pair(1))
    assert_close(cache[1], pair(3, 1))
    assert cache[0][0].data_ptr() != pairs[0][0].data_ptr()


def test_what_does_not_fit_a_cache_is_refused() -> None:
    cache = StaticKeyValueCache.from_tuples([pair(3, 0), pair(3, 1)], capacity=4)
    with pytest.raises(InputError, match="room for 4 tokens, not for 3 and 2 more"):
        cache.append(0, *pair(2))
    with pytest.raises(InputError, match="a batch of 3 sequences, not of 1"):
        cache.append(0, *(x[:1] for x in pair(1)))
    with pytest.raises(InputError, match="gradients"):
        cache.append(0, *(x.requires_grad_() for x in pair(1)))
    assert cache.length == 3


def test_a_cache_of_transformers_is_read_as_the_pairs_that_it_holds() -> None:
    theirs = transformers.DynamicCache()
    for layer in range(2):
        theirs.update(*pair(3, layer), layer)
    for found in (FixedKeyValueCache(theirs), DynamicKeyValueCache(theirs), StaticKeyValueCache.from_tuples(theirs)):
        assert found.length == 3
        assert_close(tuple(found), tuple(pair(3, layer) for layer in range(2)))


def test_pairs_leave_what_they_were_given_as_it_was() -> None:
    given = (pair(3, 0), pair(3, 1))
    past = DynamicKeyValueCache(given)
    past.append(0, *pair(1, 2))
    past.append(1, *pair(1, 3))
    assert_close(given, (pair(3, 0), pair(3, 1)))
    assert DynamicKeyValueCache(given).length == 3
    assert DynamicKeyValueCache().length == 0


def test_caches_are_copied_and_pickled_with_their_tokens() -> None:
    cache = StaticKeyValueCache.from_tuples([pair(3, 0), pair(3, 1)], capacity=4)
    for other in (copy.deepcopy(cache), pickle.loads(pickle.dumps(cache))):
        assert_close(list(other), list(cache))
        other.append(0, *pair(1, 7))
        other.append(1, *pair(1, 8))
        assert (other.length, cache.length) == (4, 3)


def test_a_cache_has_the_heads_width_and_type_of_the_first_key_of_each_layer() -> None:
    cache = StaticKeyValueCache(**SIZES, capacity=8)
    assert len(cache) == 0
    cache.append(0, *(x.double() for x in pair(3)))
    assert cache.append(1, *(x[:, :1] for x in pair(3)))[0].shape == (3, 1, 3, 4)
    assert (cache[0][0].shape, cache[0][0].dtype) == ((3, 2, 3, 4), torch.float64)


def test_a_cache_that_was_filled_in_inference_mode_is_continued_outside_of_it() -> None:
    cache = StaticKeyValueCache(layers=1, batch=3, capacity=8)
    with torch.inference_mode():
        cache.append(0, *pair(3, 0))
        cache.reorder(torch.tensor([0, 1, 2, 2]))
    with torch.no_grad():
        cache.append(0, *(x[[0, 1, 2, 2]] for x in pair(1, 1)))
    expected = tuple(torch.cat(both, -2)[[0, 1, 2, 2]] for both in zip(pair(3, 0), pair(1, 1), strict=True))
    assert_close(cache[0], expected)


def test_a_forward_pass_that_failed_is_repeated_from_where_it_began() -> None:
    cache = StaticKeyValueCache.from_tuples([pair(3, 0), pair(3, 1)], capacity=5)
    cache.append(0, *pair(1, 2))  # and then something was raised
    cache.append(0, *pair(1, 3))
    assert_close(cache.append(1, *pair(1, 4))[0], torch.cat([pair(3, 1)[0], pair(1, 4)[0]], -2))
    assert_close(cache[0][0], torch.cat([pair(3, 0)[0], pair(1, 3)[0]], -2))


def test_a_fixed_cache_gives_all_tokens_and_keeps_none() -> None:
    for given in ([], [pair(3, 0), pair(3, 1)], StaticKeyValueCache.from_tuples([pair(3, 0), pair(3, 1)], capacity=9)):
        cache = FixedKeyValueCache(given)
        length = 3 if len(given) else 0
        for layer in range(2):
            found, expected = cache.append(layer, *pair(2, 5)), DynamicKeyValueCache(given).append(layer, *pair(2, 5))
            assert_close(found, expected)
        assert (cache.length, len(cache)) == (length, len(given))


def test_a_forward_pass_appends_to_the_cache_that_it_was_given_only_where_that_is_wanted() -> None:
    static = StaticKeyValueCache.from_tuples([pair(3)], capacity=9)
    assert cache_after(static, wanted=True) is static
    assert type(cache_after([pair(3)], wanted=True)) is type(cache_after(None, wanted=True)) is DynamicKeyValueCache
    for past in (static, [pair(3)]):
        cache = cache_after(past, wanted=False)
        assert_close(cache.append(0, *pair(1, 2))[0], torch.cat([pair(3)[0], pair(1, 2)[0]], -2))
        assert static.length == cache.length == 3
