"""Files are tokenized line by line, by one process or several, with the ids of each line alone."""

import json
import os
from collections.abc import Iterator
from itertools import count, islice, repeat
from pathlib import Path

import numpy as np
import pytest

from plugins.bert.tokenization import BertTokenizer
from registry.errors import BulkError, InputError, MissingFileError, RegistryWarning
from registry.tokenization.corpus import encode, parts

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "c", "##b", "é")
TOKENIZER = BertTokenizer({word: number for number, word in enumerate(WORDS)})
LINES = ["a b", "", "ab c\u2028a", "é" * 40, "c " * 60, "a\rb", " ", *["b a"] * 20]


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "BYTES", 16)
    monkeypatch.setattr(parts, "TEXTS", 2)


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    path = tmp_path / "lines.txt"
    path.write_bytes("\n".join(LINES).replace("a b\n", "a b\r\n", 1).encode())
    return path


@pytest.fixture
def first_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait until other processes have started, so that the first parts are theirs."""
    take = encode._OtherProcess.take

    def take_late(worker: encode._OtherProcess, texts: Iterator[parts.Portion]) -> Iterator[encode._OtherProcess]:
        assert worker.has_started or worker.pipe.poll(60)
        return take(worker, texts)

    monkeypatch.setattr(encode._OtherProcess, "take", take_late)


def ids_of_lines() -> list[list[int]]:
    return [TOKENIZER.encode(line) for line in LINES]


def test_each_line_is_a_text(lines: Path) -> None:
    assert [ids.tolist() for ids in TOKENIZER.encode_files(lines)] == ids_of_lines()
    lines.write_bytes(lines.read_bytes() + b"\n")
    assert [ids.tolist() for ids in TOKENIZER.encode_files([lines, str(lines)])] == ids_of_lines() * 2
    lines.write_bytes(b"")
    assert list(TOKENIZER.encode_files(lines)) == []


def test_processes_give_the_same_ids_in_the_same_order_and_name_the_line_at_fault(
    lines: Path, tmp_path: Path, first_others: None
) -> None:
    damaged = tmp_path / "damaged.txt"
    damaged.write_bytes(b"a b\n" * 30 + b"a \xff\n" + b"a\n" * 20)
    found = TOKENIZER.encode_files([lines, damaged], workers=2)
    assert [ids.tolist() for ids in islice(found, len(LINES))] == ids_of_lines()
    with pytest.raises(InputError, match=rf"line 31 of {damaged} is not UTF-8") as problem:
        list(found)
    with pytest.raises(InputError) as alone:
        list(TOKENIZER.encode_files(damaged))
    assert str(alone.value) == str(problem.value)


def test_columns_are_read_in_each_format(tmp_path: Path) -> None:
    parquet, pyarrow = pytest.importorskip("pyarrow.parquet"), pytest.importorskip("pyarrow")
    files = [tmp_path / f"rows.{suffix}" for suffix in ("jsonl", "parquet", "npy")]
    files[0].write_text("".join(json.dumps({"said": line, "n": 1}) + "\n" for line in LINES))
    parquet.write_table(pyarrow.table({"said": LINES}), files[1])
    np.save(files[2], np.array(LINES))
    for path in files:
        assert [ids.tolist() for ids in TOKENIZER.encode_files(path, column="said")] == ids_of_lines(), path
    files[0].write_text('{"said": "a"}\n' * 9 + '{"sad": "a"}\n')
    with pytest.raises(InputError, match=r"line 10 of .*rows.jsonl has no text 'said': only the columns 'sad'"):
        list(TOKENIZER.encode_files(files[0], column="said"))
    files[0].write_text('{"said": "a"}\n[\n')
    with pytest.raises(InputError, match=r"line 2 of .*rows.jsonl is not JSON"):
        list(TOKENIZER.encode_files(files[0], column="said"))


@pytest.mark.parametrize("side", ["left", "right"])
def test_long_lines_are_cut_as_a_batch_cuts_them(lines: Path, side: str) -> None:
    tokenizer = BertTokenizer(TOKENIZER.vocab, truncation_side=side)
    for special in (True, False):
        found = tokenizer.encode_files(lines, add_special_tokens=special, max_length=4)
        expected = tokenizer(LINES, add_special_tokens=special, max_length=4)["input_ids"]
        assert [ids.tolist() for ids in found] == expected
    assert [len(ids) for ids in tokenizer.encode_files(lines, max_length=2)] == [2] * len(LINES)


def test_what_cannot_be_done_is_refused_at_once(lines: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="nowhere"):
        TOKENIZER.encode_files([lines, tmp_path / "nowhere"])
    with pytest.raises(InputError, match="workers must be a whole number above 0, not 0"):
        TOKENIZER.encode_files(lines, workers=0)
    with pytest.raises(InputError, match="leaves no room for the 2 special tokens"):
        TOKENIZER.encode_files(lines, max_length=1)


def test_a_line_that_the_model_will_refuse_is_warned_of_once(lines: Path) -> None:
    short = BertTokenizer(TOKENIZER.vocab, max_len=5)
    with pytest.warns(RegistryWarning, match="the model takes at most 5") as warned:
        list(short.encode_files([lines, lines]))
    assert len(warned) == 1
    with pytest.warns(RegistryWarning, match="the model takes at most 5") as warned:
        list(BertTokenizer(TOKENIZER.vocab, max_len=5).encode_files(lines, workers=2))
    assert len(warned) == 1


class Numbered(parts.Texts):
    """A text of the letter "a" as often as a number says, and "b"; in another process "c"."""

    def __new__(cls, number: int) -> "Numbered":
        return super().__new__(cls, ["a " * number + "b"])

    def __reduce__(self) -> tuple[object, ...]:  # of a class that other processes know
        return parts.Texts, ([self.read[0].replace("b", "c")],)


def test_this_process_computes_as_well_and_parts_stay_in_order() -> None:
    taken = []
    endless = (taken.append(number) or Numbered(number % 7) for number in count())  # type: ignore[func-returns-value]
    by_whom = set()
    for number, ids in enumerate(encode.in_processes(encode.Packer(TOKENIZER, False, None), endless, 2)):
        assert ids.tolist()[:-1] == [5] * (number % 7)
        assert len(taken) <= number + 1 + 2 * encode.AHEAD + 1
        by_whom.add(ids[-1])
        if by_whom == {6, 7}:
            break


def test_no_more_is_read_than_a_few_parts_ahead(first_others: None) -> None:
    encoder, endless = encode.Packer(TOKENIZER, False, None), repeat(parts.Texts(["a", "b"]))
    assert [ids.tolist() for ids in islice(encode.in_this_process(encoder, endless), 3)] == [[5], [6], [5]]
    assert [ids.tolist() for ids in islice(encode.in_processes(encoder, endless, 3), 9)] == [[5], [6]] * 4 + [[5]]


class Deadly(parts.Texts):
    def __reduce__(self) -> tuple[object, ...]:
        return os._exit, (9,)


def test_a_process_that_dies_is_an_error(first_others: None, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BulkError, match="A process that tokenizes texts died"):
        list(encode.in_processes(encode.Packer(TOKENIZER, False, None), iter([Deadly([])]), 2))
    monkeypatch.setattr(encode, "_serve", os._exit)  # with a pipe, which it does not take
    large = BertTokenizer({**TOKENIZER.vocab, **{str(number): len(WORDS) + number for number in range(50_000)}})
    with pytest.raises(BulkError, match="A process that tokenizes texts died"):  # more than a pipe can hold
        list(encode.in_processes(encode.Packer(large, False, None), repeat(parts.Texts(["a"])), 2))
