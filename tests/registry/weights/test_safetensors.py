"""Weights as safetensors: what is mapped, and what is refused."""

import json
import math
import os
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from registry.errors import (
    CorruptWeightsError,
    MissingFileError,
    UnsafeWeightsError,
    WeightsError,
    WeightsLimitError,
    WeightsMismatchError,
)
from registry.loading.fill import fill
from registry.saving.verify import verify
from registry.weights.checkpoint import Checkpoint
from registry.weights.headers import Header, header_of
from registry.weights.names import Layout
from registry.weights.safetensors import BITS, check_header, detect, header_bytes, headers, load

NAME = "model.safetensors"
TENSORS = {"a": torch.arange(6.0).view(2, 3), "b": torch.tensor([1, 2, 3]), "empty": torch.zeros(0, 4)}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    save_file(TENSORS, tmp_path / NAME, metadata={"format": "pt"})
    return tmp_path / NAME


def write(path: Path, header: object, data: bytes = b"", *, length: int | None = None) -> Path:
    """A file with any header, given as an object or as its bytes."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)
    return path


def entry(dtype: str = "F32", shape: Any = (2,), place: Any = (0, 8)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": place}


def test_tensors_are_mapped_and_equal(file: Path) -> None:
    tensors = load({NAME: file})
    assert set(tensors) == set(TENSORS)
    assert len(tensors) == 3
    for name, tensor in TENSORS.items():
        torch.testing.assert_close(tensors[name], tensor)
    assert tensors["a"].data_ptr() == tensors["a"].data_ptr()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.bool, torch.int64, torch.complex64])
def test_the_library_reads_files_with_a_header_that_is_written_here(tmp_path: Path, dtype: torch.dtype) -> None:
    tensors = {"a": torch.tensor([[1, 0, 2]], dtype=dtype), "b": torch.ones(3, dtype=dtype)}
    data = b"".join(bytes(tensor.view(torch.uint8).flatten().tolist()) for tensor in tensors.values())
    path = tmp_path / NAME
    path.write_bytes(header_bytes({name: header_of(tensor) for name, tensor in tensors.items()}) + data)
    assert path.stat().st_size % 8 == len(data) % 8
    found = load_file(path)
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors.items())


def test_a_file_that_comes_alone_may_have_any_name(file: Path) -> None:
    other = file.rename(file.with_name("my_weights.bin"))
    assert detect({other.name: other})
    assert set(load({other.name: other})) == set(TENSORS)


def test_detection_reads_little_and_needs_no_torch(file: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from registry.weights import safetensors;"
        "from registry.weights.torch import reader;"
        f"p = {{{NAME!r}: Path({str(file)!r})}};"
        "assert safetensors.detect(p) and not reader.detect(p); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("content", [b"", b"{", b"<!DOCTYPE html>", b"version https://git-lfs.github.com/spec/v1\n"])
def test_other_files_are_not_detected(tmp_path: Path, content: bytes) -> None:
    (tmp_path / NAME).write_bytes(content)
    assert not detect({NAME: tmp_path / NAME})


def test_without_files_there_is_nothing_to_load(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError):
        load({})


@pytest.mark.parametrize("length", [0, 2**63, 2**64 - 1, 100, 3])
def test_a_header_of_impossible_length_is_refused(tmp_path: Path, length: int) -> None:
    with pytest.raises(CorruptWeightsError):
        load({NAME: write(tmp_path / NAME, b"{}  ", length=length)})


def test_a_file_cut_off_anywhere_is_refused(file: Path) -> None:
    whole = file.read_bytes()
    for length in range(len(whole)):
        file.write_bytes(whole[:length])
        with pytest.raises(CorruptWeightsError):
            load({NAME: file})


def test_a_header_beyond_all_need_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / NAME, b"{}", length=17 * 2**20)
    with path.open("r+b") as file:
        file.truncate(18 * 2**20)
    with pytest.raises(WeightsLimitError):
        load({NAME: path})


def test_a_name_that_occurs_twice_is_refused(tmp_path: Path) -> None:
    one = json.dumps(entry())
    for header in (f'{{"a": {one}, "a": {one}}}', f'{{"a": {one}, "__metadata__": {{"x": "1", "x": "2"}}}}'):
        with pytest.raises(UnsafeWeightsError, match="twice"):
            load({NAME: write(tmp_path / NAME, header.encode(), bytes(8))})


def test_what_the_format_does_not_define_is_refused(tmp_path: Path) -> None:
    for header in (b" " + json.dumps({"a": entry()}).encode(), {"a": {**entry(), "note": 1}}):
        with pytest.raises(UnsafeWeightsError):
            load({NAME: write(tmp_path / NAME, header, bytes(8))})


@pytest.mark.parametrize(
    ("header", "size"),
    [
        ({"a": entry(place=(0, 8)), "b": entry(place=(4, 12))}, 12),
        ({"a": entry(place=(0, 8)), "b": entry(place=(9, 17))}, 17),
        ({"a": entry(place=(4, 12))}, 12),
        ({"a": entry()}, 9),
        ({"a": entry()}, 7),
        ({"a": entry(shape=(2**62, 2**62, 16))}, 8),
        ({"a": entry(shape=(-1, -2))}, 8),
        ({"a": entry(shape=(True, 2))}, 8),
        ({"a": entry(shape=(2.0,))}, 8),
        ({"a": entry(shape=None)}, 8),
        ({"a": entry(place=(8, 0))}, 8),
        ({"a": entry(place=(0, 8, 8))}, 8),
        ({"a": entry(dtype="F31")}, 8),
        ({"a": entry(dtype=["F32"])}, 8),
        ({"a": 3}, 8),
        ({"a": {"dtype": "F32", "shape": [2]}}, 8),
        ({"__metadata__": {"x": 1}}, 0),
        ({"__metadata__": []}, 0),
        (b"{\xff}", 0),
        (b"{" * 100_000, 0),
        (b'{"a": ' + b"[" * 100_000, 0),
        (b"{nonsense}", 0),
    ],
)
def test_a_damaged_header_is_refused(tmp_path: Path, header: object, size: int) -> None:
    with pytest.raises(CorruptWeightsError):
        load({NAME: write(tmp_path / NAME, header, bytes(size))})


def test_too_many_tensors_and_axes_are_refused(tmp_path: Path) -> None:
    many = {str(number): entry(shape=(0,), place=(0, 0)) for number in range(20_001)}
    for header, size in ((many, 0), ({"a": entry(shape=(1,) * 9, place=(0, 4))}, 4)):
        with pytest.raises(WeightsLimitError):
            load({NAME: write(tmp_path / NAME, header, bytes(size))})


def test_a_flipped_bit_in_the_data_is_found_by_the_digest_alone(tmp_path: Path) -> None:
    from registry.files.atomic import content_writer
    from registry.saving.folder import write_folder

    writers: dict[str, Callable[[Path], None]] = {
        "config.json": content_writer("{}"),
        NAME: lambda path: save_file(TENSORS, path),
    }
    folder = write_folder(tmp_path / "model", writers, about={})
    data = bytearray((folder / NAME).read_bytes())
    data[-1] ^= 1
    (folder / NAME).write_bytes(data)
    assert len(load({NAME: folder / NAME})) == 3  # the format has no checksum
    with pytest.raises(OSError, match=NAME):
        verify(folder)


def test_tensors_stay_valid_when_their_file_is_replaced_or_removed(file: Path) -> None:
    tensors = load({NAME: file})
    mapped = tensors["a"]
    other = file.with_name("other")
    save_file({"a": torch.zeros(2, 3)}, other)
    os.replace(other, file)
    assert torch.equal(mapped, TENSORS["a"])
    assert torch.equal(tensors["b"], TENSORS["b"])
    file.unlink()
    assert torch.equal(mapped, TENSORS["a"])


def test_metadata_is_text_and_nothing_else(file: Path) -> None:
    save_file(TENSORS, file, metadata={"format": "__import__('os').system('false')", "": "\x00"})
    assert set(check_header(file)) == set(TENSORS)


def test_whatever_is_accepted_the_library_reads_too_and_nothing_but_our_errors_is_raised(file: Path) -> None:
    whole = file.read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    for place in range(header):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << (place % 8)
        file.write_bytes(damaged)
        try:
            tensors = load({NAME: file})
            assert [tensors[name].shape for name in tensors]
        except WeightsError:
            pass


def test_looking_shows_what_loading_gives(file: Path) -> None:
    assert headers({NAME: file}) == {name: header_of(tensor) for name, tensor in load({NAME: file}).items()}


@pytest.mark.parametrize(("dtype", "size"), [("F4", 1), ("F8_E4M3", 2), ("U64", 16)])
def test_a_type_that_the_model_does_not_use_is_refused(tmp_path: Path, dtype: str, size: int) -> None:
    path = write(tmp_path / NAME, {"weight": entry(dtype, (2,), (0, size))}, bytes(size))
    model = torch.nn.Module()
    model.weight = torch.nn.Parameter(torch.empty(2))
    with pytest.raises(WeightsError):
        fill(model, Checkpoint(tensors=load({NAME: path}), format="safetensors"), Layout(), lambda _: None)
    assert headers({NAME: path})["weight"].nbytes == size


def told(path: Path) -> dict[str, Header] | None:
    """The headers of a file; None where it is refused."""
    try:
        return dict(headers({NAME: path}))
    except WeightsError:
        return None


def found(path: Path) -> dict[str, Header] | None:
    """The headers of the tensors that are read from a file; None where it is refused."""
    try:
        return {name: header_of(tensor) for name, tensor in load({NAME: path}).items()}
    except WeightsError:
        return None


@pytest.mark.parametrize("dtype", BITS)
@pytest.mark.parametrize("shape", [[8], [2, 4], [], [0], [3, 8]])
def test_of_every_type_headers_say_what_loading_gives(tmp_path: Path, dtype: str, shape: list[int]) -> None:
    bits = math.prod(shape) * BITS[dtype]
    path = write(tmp_path / NAME, {"a": entry(dtype, shape, (0, bits // 8))}, bytes(bits // 8))
    assert told(path) == found(path)
    assert (told(path) is None) == (dtype.startswith("F6_") or (dtype == "F4" and shape == []))


GOOD = json.dumps({"a": entry("F16", (1,), (0, 2))})
ODD = {
    "an empty tensor that cannot be counted": json.dumps({"a": entry("F32", (0, 2**70), (0, 0))}),
    "an empty tensor that overflows": json.dumps({"a": entry("F32", (0, 2**40, 2**40), (0, 0))}),
    "an axis of 64 bits": json.dumps({"a": entry("F32", (2**63, 0), (0, 0))}),
    "half of a character": GOOD.replace('"a"', '"\\ud800"'),
    "half of a character in the metadata": GOOD.replace("{", '{"__metadata__": {"a": "\\ud800"}, ', 1),
    "minus zero": json.dumps({"a": entry("F32", (0,), (0, 0))}).replace("[0]", "[-0]"),
}


@pytest.mark.parametrize("header", ODD.values(), ids=ODD)
def test_what_the_library_refuses_is_not_reported_as_valid(tmp_path: Path, header: str) -> None:
    path = write(tmp_path / NAME, header.encode(), bytes(2 * ("F16" in header)))
    assert told(path) is None
    assert found(path) is None


@pytest.mark.parametrize("read", [headers, load])
def test_what_is_no_file_is_refused(tmp_path: Path, read: Callable[..., Any]) -> None:
    (tmp_path / NAME).mkdir()
    with pytest.raises(CorruptWeightsError, match="cannot be read"):
        read({NAME: tmp_path / NAME})
    with pytest.raises(CorruptWeightsError, match="cannot be read"):
        read({NAME: tmp_path / "missing"})


@pytest.mark.parametrize("name", ["../../etc/passwd", "a\0b", "a\nb", "a" * 1_000_000])
def test_a_name_is_a_key_and_never_a_path(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / NAME, {name: entry()}, bytes(8))
    assert headers({NAME: path}) == {name: Header((2,), "float32", 8)}
    model = torch.nn.Module()
    model.weight = torch.nn.Parameter(torch.empty(2))
    with pytest.raises(WeightsMismatchError):
        fill(model, Checkpoint(tensors=load({NAME: path}), format="safetensors"), Layout(), lambda _: None)
    assert [file.name for file in tmp_path.iterdir()] == [NAME]


plain = st.one_of(st.integers(-1, 9), st.sampled_from([2**63, 0.5, None, True, "F32", "BF16", "__metadata__", ""]))
json_values = st.recursive(
    plain, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3))
)
entries = st.one_of(
    json_values,
    st.builds(
        entry,
        st.one_of(st.sampled_from(["F32", "U8", "F4", "BOOL"]), json_values),
        st.one_of(st.lists(st.integers(-1, 3), max_size=3), json_values),
        st.one_of(st.tuples(st.integers(0, 9), st.integers(0, 9)), json_values),
    ),
)
SIZES = {"F32": 4, "U8": 1, "BF16": 2, "I64": 8, "BOOL": 1}


def in_a_row(looks: list[tuple[str, list[int]]], spoilt: dict[str, Any] | None, surplus: int) -> tuple[object, bytes]:
    """A header that is right, but for one entry that may be spoilt, and for surplus bytes."""
    header: dict[str, Any] = {}
    end = 0
    for number, (dtype, shape) in enumerate(looks):
        begin, end = end, end + math.prod(shape) * SIZES[dtype]
        header[f"t{number}"] = entry(dtype, shape, (begin, end))
    if spoilt is not None and header:
        header["t0"] |= spoilt
    return header, bytes(end + surplus)


nearly = st.builds(
    in_a_row,
    st.lists(st.tuples(st.sampled_from([*SIZES]), st.lists(st.integers(0, 3), max_size=3)), max_size=4),
    st.one_of(
        st.none(),
        st.none(),
        st.dictionaries(st.sampled_from(["dtype", "shape", "data_offsets", "x"]), json_values, max_size=1),
    ),
    st.sampled_from([0, 0, 0, 1]),
)
made = st.one_of(nearly, st.tuples(st.dictionaries(st.text(max_size=3), entries, max_size=4), st.binary(max_size=20)))


def fuzzed(limits: Callable[..., Any], folder: Path, header: object, data: bytes) -> None:
    """Headers that are reported load, with the shapes and types that were reported."""
    path = write(folder / NAME, header, data)
    with limits(seconds=60):
        assert told(path) == found(path)


@given(made)
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_a_header_holds_nothing_but_our_errors_is_raised(
    limits: Callable[..., Any], tmp_path: Path, file: tuple[object, bytes]
) -> None:
    fuzzed(limits, tmp_path, *file)
