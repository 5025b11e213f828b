"""Headers that no writer makes: refused as a RegistryError, in little time and memory."""

import struct
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from registry.errors import CorruptWeightsError, RegistryError, UnsupportedError, WeightsLimitError
from registry_gguf import config, tokenizer, weights
from registry_gguf.reading import LARGEST_HEADER, MOST_ENTRIES, MOST_ITEMS, detect, read_file
from writing import byte_level, tiny_gpt2, write

HUGE = 2**64 - 1


def text(word: str | bytes) -> bytes:
    data = word.encode() if isinstance(word, str) else word
    return struct.pack("<Q", len(data)) + data


def key(name: str, kind: int, value: bytes) -> bytes:
    return text(name) + struct.pack("<I", kind) + value


def array(kind: int, count: int, items: bytes) -> bytes:
    return struct.pack("<IQ", kind, count) + items


def tensor(name: str, shape: tuple[int, ...], kind: int = 0, offset: int = 0, axes: int | None = None) -> bytes:
    count = len(shape) if axes is None else axes
    return text(name) + struct.pack(f"<I{len(shape)}QIQ", count, *shape, kind, offset)


def header(*entries: bytes, version: int = 3, tensors: int | None = None, keys: int | None = None) -> bytes:
    """A header; keys are told from tensors by their order, tensors last."""
    return b"GGUF" + struct.pack("<IQQ", version, tensors or 0, keys or 0) + b"".join(entries)


ONE = {"tensors": 1}
HOSTILE: dict[str, tuple[bytes, type[RegistryError], str]] = {
    "empty": (b"", CorruptWeightsError, "cannot be read"),
    "the magic alone": (b"GGUF", CorruptWeightsError, "4 bytes are announced at byte 4, where 0 follow"),
    "version 1": (header(version=1), UnsupportedError, "version 1 of GGUF"),
    "another order of bytes": (header(version=3 << 24), UnsupportedError, "other order of bytes"),
    "tensors without number": (header(tensors=HUGE), WeightsLimitError, "tensors, where 20,000"),
    "keys without number": (header(keys=HUGE), WeightsLimitError, "keys, where 20,000"),
    "as many keys as allowed": (header(keys=MOST_ENTRIES), CorruptWeightsError, "announced at byte 24"),
    "an endless name": (header(struct.pack("<Q", HUGE), keys=1), CorruptWeightsError, "where 0 follow"),
    "a name that is not UTF-8": (header(text(b"\xff"), keys=1), CorruptWeightsError, "is not UTF-8"),
    "a key twice": (header(*[key("a", 4, bytes(4))] * 2, keys=2), CorruptWeightsError, "key 'a' stands twice"),
    "a type of value that is none": (header(key("a", 99, bytes(8)), keys=1), UnsupportedError, "type 99"),
    "an endless array": (header(key("a", 9, array(0, HUGE, b"")), keys=1), WeightsLimitError, "items of an array"),
    "an array beyond the file": (
        header(key("a", 9, array(12, MOST_ITEMS, b"")), keys=1),
        CorruptWeightsError,
        "follow",
    ),
    "arrays of too many items": (
        header(*[key(f"{n}", 9, array(0, MOST_ITEMS // 2 + 1, bytes(MOST_ITEMS // 2 + 1))) for n in "ab"], keys=2),
        WeightsLimitError,
        "arrays of more than 4,194,304 items",
    ),
    "nested arrays": (
        header(key("a", 9, array(9, 2, array(9, 2, array(0, 1, b"\0")))), keys=1),
        UnsupportedError,
        "an array in an array",
    ),
    "texts beyond the file": (header(key("a", 9, array(8, 1000, text("b"))), keys=1), CorruptWeightsError, "follow"),
    "a larger header than any": (
        header(key("a", 8, struct.pack("<Q", LARGEST_HEADER) + bytes(LARGEST_HEADER)), keys=1),
        WeightsLimitError,
        "a header of more than",
    ),
    "alignment 0": (header(key("general.alignment", 4, bytes(4)), keys=1), CorruptWeightsError, "alignment is 0"),
    "alignment 24": (header(key("general.alignment", 4, b"\x18\0\0\0"), keys=1), CorruptWeightsError, "power of two"),
    "alignment in words": (header(key("general.alignment", 8, text("x")), keys=1), CorruptWeightsError, "power of two"),
    "too many axes": (header(tensor("a", (1,) * 9), **ONE), CorruptWeightsError, "9 axes"),
    "axes without number": (header(tensor("a", (1,), axes=2**32 - 1), **ONE), CorruptWeightsError, "axes"),
    "no axis": (header(tensor("a", ()), **ONE), CorruptWeightsError, r"shape \(\)"),
    "an axis of 0": (header(tensor("a", (0, 4)), **ONE), CorruptWeightsError, "has the shape"),
    "sizes that overflow": (header(tensor("a", (2**32, 2**32)), **ONE), CorruptWeightsError, "has the shape"),
    "part of a block": (header(tensor("a", (33,), kind=8), **ONE), CorruptWeightsError, "q8_0 has the shape"),
    "an unknown type": (header(tensor("a", (32,), kind=10), **ONE), UnsupportedError, "type 10 of ggml"),
    "beyond the file": (header(tensor("a", (1 << 40,)), bytes(64), **ONE), CorruptWeightsError, "ends at byte"),
    "a far offset": (header(tensor("a", (8,), offset=2**63), bytes(64), **ONE), CorruptWeightsError, "ends at byte"),
    "an odd offset": (header(tensor("a", (8,), offset=4), bytes(99), **ONE), CorruptWeightsError, "is not aligned"),
    "overlapping tensors": (
        header(tensor("a", (16,)), tensor("b", (8,), offset=32), bytes(256), tensors=2),
        CorruptWeightsError,
        "'b' overlaps",
    ),
    "a tensor twice": (
        header(*[tensor("a", (8,))] * 2, bytes(256), tensors=2),
        CorruptWeightsError,
        "'a' stands twice",
    ),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_header_is_refused(case: str, tmp_path: Path) -> None:
    data, error, words = HOSTILE[case]
    path = tmp_path / "x.gguf"
    path.write_bytes(data)
    tracemalloc.start()
    try:
        with pytest.raises(error, match=words):
            read_file(path)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < 2**20 or most < 32 * len(data)  # bytes: nothing is made of what is only announced


def test_a_file_that_is_no_file_is_not_detected(tmp_path: Path) -> None:
    assert not detect({"x.gguf": tmp_path / "x.gguf"})
    with pytest.raises(CorruptWeightsError, match="cannot be read"):
        read_file(tmp_path / "x.gguf")


# --- Any bytes --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A complete model with a tokenizer."""
    path = tmp_path_factory.mktemp("whole") / "model.gguf"
    write(tiny_gpt2(n_embd=8, n_inner=8, vocab_size=300, n_layer=1), path, tokens=byte_level)
    return path.read_bytes()


def read_all(path: Path) -> Any:
    """All that the plugin reads of a file; a RegistryError is None."""
    paths = {path.name: path}
    found: list[Any] = []
    for read in (config.read, tokenizer.files, lambda paths: [tensor.sum() for tensor in weights.load(paths).values()]):
        try:
            found.append(read(paths))
        except RegistryError:
            found.append(None)
    return found


def test_an_intact_file_is_read(whole: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.gguf").write_bytes(whole)
    assert None not in read_all(tmp_path / "x.gguf")


EDITS = st.lists(
    st.tuples(st.floats(0, 1), st.sampled_from(("flip", "cut", "insert", "number")), st.binary(min_size=1, max_size=9)),
    min_size=1,
    max_size=4,
)


def edited(data: bytes, edits: list[tuple[float, str, bytes]]) -> bytes:
    """Bytes with some changes, most of them in the header."""
    for where, what, bytes_ in edits:
        at = int(where**3 * (len(data) - 1)) if data else 0
        match what:
            case "flip":
                data = data[:at] + bytes_ + data[at + len(bytes_) :]
            case "cut":
                data = data[:at] + data[at + bytes_[0] :]
            case "insert":
                data = data[:at] + bytes_ + data[at:]
            case "number":
                data = data[:at] + struct.pack("<Q", HUGE - bytes_[0]) + data[at + 8 :]
    return data


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(edits=EDITS)
def test_any_damage_is_a_registry_error_or_none(edits: Any, whole: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.gguf"
    path.unlink(missing_ok=True)
    path.write_bytes(b"GGUF" + edited(whole[4:], edits))
    read_all(path)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=300), counts=st.tuples(st.integers(0, 3), st.integers(0, 3)))
def test_any_bytes_after_the_counts_are_a_registry_error_or_none(data: bytes, counts: Any, tmp_path: Path) -> None:
    path = tmp_path / "x.gguf"
    path.unlink(missing_ok=True)
    path.write_bytes(header(data, tensors=counts[0], keys=counts[1]))
    read_all(path)
