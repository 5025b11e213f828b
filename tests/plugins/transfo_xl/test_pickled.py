"""Pickled vocabularies: pytorch-pretrained-bert's, of every kind; and those that would do more than name words."""

import collections
import io
import os
import pickle
import pickletools
import struct
import zipfile
from collections import Counter, OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import registry
from plugins.transfo_xl.files import is_pickled
from plugins.transfo_xl.pickled import POLICY, read_pickled
from plugins.transfo_xl.tokenization import TransfoXLTokenizer
from registry.errors import VocabError

WORDS = ["<eos>", "the", "<unk>", "naïve", "(d", "x" * 60_000]


def attributes(**changes: Any) -> dict[str, Any]:
    """What pytorch-pretrained-bert's tokenizer has, and pickles."""
    return {
        "counter": Counter({"the": 5, "<unk>": 3, "naïve": 1}),
        "special": ["<eos>"],
        "min_freq": 0,
        "max_size": None,
        "lower_case": True,
        "delimiter": None,
        "vocab_file": None,
        "never_split": ("<unk>", "<eos>", "<formula>"),
        "idx2sym": list(WORDS),
        "sym2idx": OrderedDict((word, number) for number, word in enumerate(WORDS)),
        "eos_idx": 0,
        **changes,
    }


def saved(value: Any, kind: str) -> bytes:
    if kind.startswith("protocol"):
        return pickle.dumps(value, protocol=int(kind[-1]))
    file = io.BytesIO()
    torch.save(value, file, _use_new_zipfile_serialization=kind == "zip")
    return file.getvalue()


KINDS = ("zip", "legacy", *(f"protocol {number}" for number in range(6)))

each_kind = pytest.mark.parametrize("kind", KINDS)


@each_kind
def test_every_kind_is_read_with_its_counts_and_options(kind: str, tmp_path: Path) -> None:
    for name in ("vocab.bin", "vocab.pkl", "vocab.txt", "my_own_name"):
        path = tmp_path / name
        path.write_bytes(saved(attributes(), kind))
        found = TransfoXLTokenizer.from_pretrained(path)
        assert found.ids_to_tokens == WORDS
        assert found.counter == Counter({"the": 5, "<unk>": 3, "naïve": 1})
        assert (found.lower_case, found.special) == (True, ("<eos>",))
        assert found.encode("THE other") == [1, 2]
        assert not TransfoXLTokenizer.from_pretrained(path, lower_case=False).lower_case, "the caller's word is last"


def test_the_references_own_file_is_read(reference, tmp_path: Path) -> None:
    theirs = reference.TransfoXLTokenizer(special=["<eos>"], lower_case=True)
    theirs.count_sents([["b", "a", "<unk>", "a"]])
    theirs.build_vocab()
    path = theirs.save_vocabulary(str(tmp_path))
    ours = TransfoXLTokenizer.from_pretrained(tmp_path)
    assert path.endswith("vocab.bin")
    assert (ours.ids_to_tokens, ours.counter, ours.lower_case) == (theirs.idx2sym, theirs.counter, True)


def test_it_is_saved_as_a_text_with_its_counts(tmp_path: Path) -> None:
    (tmp_path / "vocab.pkl").write_bytes(pickle.dumps(attributes()))
    TransfoXLTokenizer.from_pretrained(tmp_path).save_pretrained(tmp_path / "text")
    assert {"vocab.txt", "counts.txt", "tokenizer_config.json"} == set(os.listdir(tmp_path / "text"))
    again = TransfoXLTokenizer.from_pretrained(tmp_path / "text")
    assert (again.ids_to_tokens, again.counter["the"], again.lower_case) == (WORDS, 5, True)


def test_a_text_is_preferred_to_a_pickle_next_to_it(tmp_path: Path) -> None:
    (tmp_path / "vocab.pkl").write_bytes(b"rubbish")
    (tmp_path / "vocab.txt").write_text("a\nb\n")
    assert TransfoXLTokenizer.from_pretrained(tmp_path).ids_to_tokens == ["a", "b"]


def test_a_word_may_look_like_a_pickle() -> None:
    assert not is_pickled(b"(d\nthe\n")
    assert not is_pickled(b"PKW\n")
    assert TransfoXLTokenizer({"(d": 0, ".": 1}).save_vocabulary


# --- What would do more -----------------------------------------------------------------------------------------------


class Runs:
    """Pickles as a call of ``os.system``, which leaves a mark."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.mark}",)


@pytest.mark.parametrize("place", ["whole", "inside"])
@each_kind
def test_nothing_that_could_run_code_is_run(kind: str, place: str, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    value = Runs(mark) if place == "whole" else attributes(extra=Runs(mark))
    (tmp_path / "vocab.bin").write_bytes(saved(value, kind))
    with pytest.raises(VocabError, match=r"would import '(posix|nt)\.system'"):
        TransfoXLTokenizer.from_pretrained(tmp_path)
    assert not mark.exists()


@pytest.mark.parametrize(
    "value",
    [collections.defaultdict(list), {1, 2}, frozenset([1]), b"bytes", bytearray(3), 1.5, Path("x"), ValueError, len],
    ids=repr,
)
@pytest.mark.parametrize("protocol", range(6))
def test_other_kinds_of_values_are_refused(value: Any, protocol: int) -> None:
    with pytest.raises(VocabError, match=r"would import|with the instruction"):
        read_pickled(pickle.dumps(attributes(extra=value), protocol), origin="it")


def test_every_instruction_is_refused_that_no_vocabulary_needs() -> None:
    names = {opcode.name: opcode for opcode in pickletools.opcodes}
    assert set(names) >= POLICY.instructions
    for name in (
        "INST",
        "OBJ",
        "NEWOBJ",
        "NEWOBJ_EX",
        "BUILD",
        "EXT1",
        "PERSID",
        "BINPERSID",
        "BYTEARRAY8",
        "BINBYTES8",
    ):
        assert name not in POLICY.instructions
    for name in ("NEWOBJ", "BUILD", "BINPERSID", "POP", "DUP", "EMPTY_SET"):
        data = b"\x80\x04}" + names[name].code.encode("latin-1") + b"."
        with pytest.raises(VocabError, match=f"the instruction {name}"):
            read_pickled(data, origin="it")


WORDS_AS_KEYS = b"(" + b"".join(b"X\5\0\0\0%05dK\1" % number for number in range(20_000)) + b"dq\0"

BOMBS = {
    "copies of one dict": b"\x80\x02(" + WORDS_AS_KEYS + b"ccollections\nCounter\nh\0\x85R" * 5_000 + b"l.",
    "pairs of pairs": b"\x80\x02})" + b"q\x01h\x01\x86" * 60 + b"K\1s.",
    "a place in memory beyond all": b"\x80\x02}r\xff\xff\xff\xff.",
    "the same in text": b"(dp4000000000\n.",
    "a long text that is not there": b"\x80\x04\x8d" + struct.pack("<Q", 2**40) + b"x.",
    "nothing": b"\x80\x02.",
    "cut short": pickle.dumps(attributes())[:-50],
    "another place": b"\x80\x02}q\x00h\x07.",
}


@pytest.mark.parametrize("data", BOMBS.values(), ids=BOMBS)
def test_bombs_and_damage_are_named(data: bytes) -> None:
    with pytest.raises(VocabError, match=r"it (is damaged|holds)"):
        read_pickled(data, origin="it")


WRONG: list[Any] = [
    [],
    "text",
    {},
    {"sym2idx": {"a": 0}, "idx2sym": ["b"]},
    {"sym2idx": {"a": 1}},
    {"sym2idx": {"a": 0, "b": 0}},
    {"sym2idx": {"a": "0"}},
    {"sym2idx": {0: "a"}},
    {"sym2idx": ["a"]},
    {"idx2sym": ["a", "a"]},
    {"idx2sym": [1]},
    {"idx2sym": ["a"], "counter": {"a": "1"}},
    {"idx2sym": ["a"], "counter": ["a"]},
]


@pytest.mark.parametrize("value", WRONG, ids=repr)
def test_what_is_no_vocabulary_is_refused(value: Any, tmp_path: Path) -> None:
    (tmp_path / "vocab.bin").write_bytes(pickle.dumps(value))
    with pytest.raises(VocabError):
        TransfoXLTokenizer.from_pretrained(tmp_path)


def test_options_of_another_kind_are_refused(tmp_path: Path) -> None:
    (tmp_path / "vocab.bin").write_bytes(pickle.dumps(attributes(lower_case="yes")))
    with pytest.raises(registry.errors.ConfigError, match="lower_case"):
        TransfoXLTokenizer.from_pretrained(tmp_path)


def test_archives_that_readers_could_understand_differently_are_refused() -> None:
    good = pickle.dumps(attributes(), protocol=2)
    for records, compression in (
        (["archive/data.pkl", "archive/DATA.PKL"], zipfile.ZIP_STORED),
        (["archive/data.pkl"], zipfile.ZIP_DEFLATED),
        (["archive/other"], zipfile.ZIP_STORED),
    ):
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", compression) as archive:
            for name in records:
                archive.writestr(name, good)
        with pytest.raises(VocabError, match=r"one plain record data\.pkl"):
            read_pickled(file.getvalue(), origin="it")


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_changed_bytes_never_raise_anything_else(limits: Callable[..., Any], data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(KINDS))
    good = bytearray(
        saved({**attributes(), "idx2sym": WORDS[:4], "sym2idx": dict(zip(WORDS[:4], range(4), strict=True))}, kind)
    )
    for _ in range(data.draw(st.integers(1, 4))):
        good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    try:
        with limits(seconds=60):
            vocab, _ = read_pickled(bytes(good), origin="it")
    except VocabError:
        return
    assert all(type(word) is str and type(number) is int for word, number in vocab.items())
