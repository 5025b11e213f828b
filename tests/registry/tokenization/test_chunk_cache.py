"""Caches of chunks."""

from array import array
from concurrent.futures import ThreadPoolExecutor

import pytest

from registry.tokenization import chunk_cache
from registry.tokenization.chunk_cache import ChunkCache, TokenCache, as_array, as_list, ids_of_parts, joined


def test_a_chunk_is_tokenized_once() -> None:
    asked: list[str] = []
    cache = ChunkCache(lambda chunk: (asked.append(chunk), chunk.upper())[1])
    assert [cache[chunk] for chunk in ["a", "b", "a", "a"]] == ["A", "B", "A", "A"]
    assert asked == ["a", "b"]


def test_long_chunks_are_not_cached() -> None:
    cache = ChunkCache(len)
    assert cache["x" * 256] == 256
    assert cache["x" * 257] == 257
    assert list(cache) == ["x" * 256]


@pytest.mark.parametrize("length", [3, 250])
def test_the_cache_is_bounded_by_what_its_chunks_weigh(monkeypatch: pytest.MonkeyPatch, length: int) -> None:
    monkeypatch.setattr(chunk_cache, "ROOM", 3000)
    cache = ChunkCache(str.upper)
    for number in range(1000):
        chunk = f"a{number:0{length - 1}}"
        assert cache[chunk] == chunk.upper()
        for generation in (cache, cache.older):
            assert sum(map(len, generation)) + chunk_cache.WEIGHT * len(generation) <= 3000
    assert cache.older


def test_a_text_of_more_chunks_than_a_generation_is_computed_once() -> None:
    asked: list[str] = []
    cache = ChunkCache(lambda chunk: (asked.append(chunk), len(chunk))[1])
    numbers = [f" {number}" for number in range(100_000)]
    for _ in range(3):
        assert list(map(cache.__getitem__, numbers)) == list(map(len, numbers))
    assert len(asked) == len(numbers)


def test_what_is_met_again_outlives_what_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunk_cache, "ROOM", 3000)
    asked: list[str] = []
    cache = ChunkCache(lambda chunk: (asked.append(chunk), chunk)[1])
    for number in range(10_000):
        cache[f"once {number}"]
        cache["often"]
    assert asked.count("often") == 1


def test_a_cleared_cache_computes_anew() -> None:
    answer = "old"
    cache: ChunkCache[str, str] = ChunkCache(lambda _: answer)
    assert cache["a"] == "old"
    answer = "new"
    cache.older["b"] = "old"
    cache.clear()
    assert (cache["a"], cache["b"]) == ("new", "new")


def test_threads_that_fill_and_empty_the_cache_get_right_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunk_cache, "ROOM", 7 * 26)
    cache = ChunkCache(str.upper)
    words = [f"w{number % 13}" for number in range(20_000)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: list(map(cache.__getitem__, words)), range(8)))
    assert all(answers == [word.upper() for word in words] for answers in found)


def test_parts_are_joined_to_a_list_that_is_nobody_elses() -> None:
    parts = [(1, 2), (), [3], range(4, 6)]
    assert joined(iter(parts)) == [1, 2, 3, 4, 5]
    assert joined([]) == []
    assert joined(parts[2:3]) is not parts[2]


def test_ids_are_lists_or_arrays_as_they_are_asked_for() -> None:
    cache = TokenCache(lambda chunk: tuple(map(ord, chunk)))
    chunks = ["ab", "", "c", "ab"]
    for _ in range(2):  # made, and cached
        assert as_list(cache.ids(chunks)) == [97, 98, 99, 97, 98]
        assert as_array(cache.ids(chunks)) == array("q", [97, 98, 99, 97, 98])
    as_list(cache.ids(chunks)).clear()
    assert as_list(cache.ids(chunks)) == [97, 98, 99, 97, 98]


def test_ids_without_a_cache_are_copied() -> None:
    ids = [1, 2]
    assert (as_list(ids), as_array(ids)) == ([1, 2], array("q", [1, 2]))
    assert as_list(ids) is not ids


def test_a_single_part_is_the_cached_tuple() -> None:
    cache = ChunkCache(lambda part: tuple(map(ord, part)))
    assert ids_of_parts(cache, ["ab", "c"]) == (97, 98, 99)
    assert ids_of_parts(cache, []) == ()
    assert ids_of_parts(cache, ["ab"]) is cache["ab"]
