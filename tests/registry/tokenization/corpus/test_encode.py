"""Files are tokenized line by line, by one process or several, with the ids of each line alone."""

import json
from itertools import islice, repeat
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


def ids_of_lines() -> list[list[int]]:
    return [TOKENIZER.encode(line) for line in LINES]


def test_each_line_is_a_text(lines: Path) -> None:
    assert [ids.tolist() for ids in TOKENIZER.encode_files(lines)] == ids_of_lines()
    lines.write_bytes(lines.read_bytes() + b"\n")
    assert [ids.tolist() for ids in TOKENIZER.encode_files([lines, str(lines)])] == ids_of_lines() * 2
    lines.write_bytes(b"")
    assert list(TOKENIZER.encode_files(lines)) == []


def test_processes_give_the_same_ids_in_the_same_order_and_name_the_line_at_fault(lines: Path, tmp_path: Path) -> None:
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
    again = encode.ArrayEncoder(BertTokenizer(TOKENIZER.vocab, max_len=5), True, None)
    with pytest.warns(RegistryWarning, match="the model takes at most 5") as warned:
        list(encode.in_processes(again, parts.parts_of([lines], "text"), 1))
    assert len(warned) == 1


def test_no_more_is_read_than_a_few_parts_ahead() -> None:
    endless = repeat(parts.Texts(["a", "b"]))
    encoder = encode.ArrayEncoder(TOKENIZER, False, None)
    assert [ids.tolist() for ids in islice(encode.in_this_process(encoder, endless), 3)] == [[5], [6], [5]]
    assert [ids.tolist() for ids in islice(encode.in_processes(encoder, endless, 1), 3)] == [[5], [6], [5]]


def test_a_process_that_dies_is_an_error() -> None:
    class Deadly(parts.Texts):
        def texts(self) -> list[str]:
            raise AssertionError("never called here")

        def __reduce__(self) -> tuple[object, ...]:
            return __import__("os")._exit, (9,)

    with pytest.raises(BulkError, match="A process that tokenizes texts died"):
        list(encode.in_processes(encode.ArrayEncoder(TOKENIZER, False, None), iter([Deadly([])]), 1))
