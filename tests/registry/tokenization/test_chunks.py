"""The memory of chunks."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from registry.tokenization import chunks
from registry.tokenization.chunks import ChunkMemory, pack


def test_a_chunk_is_tokenized_once() -> None:
    asked: list[str] = []
    memory = ChunkMemory(lambda chunk: (asked.append(chunk), chunk.upper())[1])
    assert [memory[chunk] for chunk in ["a", "b", "a", "a"]] == ["A", "B", "A", "A"]
    assert asked == ["a", "b"]


def test_long_chunks_are_not_remembered() -> None:
    memory = ChunkMemory(len)
    assert memory["x" * 256] == 256
    assert memory["x" * 257] == 257
    assert list(memory) == ["x" * 256]


def test_the_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "MOST_CHUNKS", 10)
    memory = ChunkMemory(str.upper)
    for number in range(1000):
        assert memory[f"a{number}"] == f"A{number}"
        assert len(memory) <= 10


def test_threads_that_fill_and_empty_the_memory_get_right_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "MOST_CHUNKS", 7)
    memory = ChunkMemory(str.upper)
    words = [f"w{number % 13}" for number in range(20_000)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: list(map(memory.__getitem__, words)), range(8)))
    assert all(answers == [word.upper() for word in words] for answers in found)


def test_packed_ids_are_eight_bytes_each() -> None:
    assert memoryview(pack([0, 1, 30521])).cast("q").tolist() == [0, 1, 30521]
