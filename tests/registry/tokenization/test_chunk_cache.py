"""The memory of chunks."""

from array import array
from concurrent.futures import ThreadPoolExecutor

import pytest

from registry.tokenization import chunk_cache as chunks
from registry.tokenization.chunk_cache import ChunkCache, TokenCache, ids_of_parts, joined


def test_a_chunk_is_tokenized_once() -> None:
    asked: list[str] = []
    memory = ChunkCache(lambda chunk: (asked.append(chunk), chunk.upper())[1])
    assert [memory[chunk] for chunk in ["a", "b", "a", "a"]] == ["A", "B", "A", "A"]
    assert asked == ["a", "b"]


def test_long_chunks_are_not_remembered() -> None:
    memory = ChunkCache(len)
    assert memory["x" * 256] == 256
    assert memory["x" * 257] == 257
    assert list(memory) == ["x" * 256]


def test_the_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "MOST_CHUNKS", 10)
    memory = ChunkCache(str.upper)
    for number in range(1000):
        assert memory[f"a{number}"] == f"A{number}"
        assert len(memory) <= 10


def test_threads_that_fill_and_empty_the_memory_get_right_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "MOST_CHUNKS", 7)
    memory = ChunkCache(str.upper)
    words = [f"w{number % 13}" for number in range(20_000)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: list(map(memory.__getitem__, words)), range(8)))
    assert all(answers == [word.upper() for word in words] for answers in found)


def test_parts_are_joined_to_a_list_that_is_nobody_elses() -> None:
    parts = [(1, 2), (), [3], range(4, 6)]
    assert joined(iter(parts)) == [1, 2, 3, 4, 5]
    assert joined([]) == []
    assert joined(parts[2:3]) is not parts[2]


def test_ids_are_lists_or_packed_as_they_are_asked_for() -> None:
    memory = TokenCache(lambda chunk: tuple(map(ord, chunk)))
    chunks = ["ab", "", "c", "ab"]
    for _ in range(2):  # made, and remembered
        assert memory.ids(chunks) == [97, 98, 99, 97, 98]
        assert memory.packed(chunks) == array("q", [97, 98, 99, 97, 98])
    memory.ids(chunks).clear()
    assert memory.ids(chunks) == [97, 98, 99, 97, 98]


def test_a_single_part_costs_no_further_memory() -> None:
    memory = ChunkCache(lambda part: tuple(map(ord, part)))
    assert ids_of_parts(memory, ["ab", "c"]) == (97, 98, 99)
    assert ids_of_parts(memory, []) == ()
    assert ids_of_parts(memory, ["ab"]) is memory["ab"]
