"""Arrays of numpy cut into files, as the first release of an architecture has them."""

import io
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from registry.errors import (
    ConfigError,
    CorruptWeightsError,
    MissingFileError,
    RegistryError,
    UnsafeWeightsError,
    WeightsError,
    WeightsLimitError,
    WeightsMismatchError,
)
from registry.weights.checkpoint import open_checkpoint
from registry.weights.headers import Header
from registry.weights.numpy_shards import detect, headers, load, read_names

SHAPES: list[Any] = [[3, 2], [5], [1, 2, 4], [0, 3], []]
ROW = np.arange(20, dtype=np.float32)


def write(folder: Path, row: Any = ROW, shards: int = 3, shapes: object = SHAPES) -> dict[str, Path]:
    """The numbers of ``row`` in so many files, as `numpy.array_split` cuts them."""
    (folder / "params_shapes.json").write_text(json.dumps(shapes))
    for number, part in enumerate(np.array_split(row, shards)):
        np.save(folder / f"params_{number}.npy", part)
    return {path.name: path for path in folder.iterdir()}


@pytest.mark.parametrize("shards", [1, 2, 3, 7, 20])
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i4", "i8", "u1"])
def test_arrays_come_back_wherever_the_files_are_cut(tmp_path: Path, shards: int, dtype: str) -> None:
    paths = write(tmp_path, ROW.astype(dtype), shards)
    assert detect(paths)
    tensors, looks, begin = load(paths), headers(paths), 0
    for number, shape in enumerate(SHAPES):
        count = int(np.prod(shape))
        expected = ROW[begin : begin + count].reshape(shape).astype(dtype)
        assert np.array_equal(tensors[str(number)].numpy(), expected)
        assert looks[str(number)] == Header(tuple(shape), str(tensors[str(number)].dtype)[6:], expected.nbytes)
        begin += count


def test_ten_files_and_more_are_read_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    paths = write(tmp_path, shards=12)
    assert torch.cat([tensor.flatten() for tensor in load(paths).values()]).tolist() == ROW.tolist()


def test_looking_needs_neither_torch_nor_numpy(tmp_path: Path) -> None:
    write(tmp_path)
    code = (
        "import sys; from pathlib import Path; from registry.weights import numpy_shards as n;"
        f"p = {{f.name: f for f in Path({str(tmp_path)!r}).iterdir()}};"
        "assert n.detect(p) and len(n.headers(p)) == 5; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def npy(
    descr: str = "'<f4'", order: str = "False", shape: str = "(20,)", data: bytes = ROW.tobytes(), more: str = ""
) -> bytes:
    """A file of numpy by its description, with any header."""
    text = f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, {more}}}\n".encode("latin-1")
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + data


def refused(folder: Path, content: bytes, error: type[RegistryError], match: str | None = None) -> None:
    write(folder, shards=1)
    (folder / "params_0.npy").write_bytes(content)
    with pytest.raises(error, match=match):
        dict(open_checkpoint({path.name: path for path in folder.iterdir()}, None).tensors)


def test_a_header_that_is_well_written_is_read(tmp_path: Path) -> None:
    paths = write(tmp_path, shards=1)
    paths["params_0.npy"].write_bytes(npy())
    assert load(paths)["1"].tolist() == [6, 7, 8, 9, 10]


def test_objects_pickles_and_pages_are_refused(tmp_path: Path) -> None:
    file = io.BytesIO()
    np.save(file, np.array([{}] * 20, dtype=object), allow_pickle=True)
    refused(tmp_path, file.getvalue(), UnsafeWeightsError, "objects")
    refused(tmp_path, b"\x80\x04}.", CorruptWeightsError)
    refused(tmp_path, b"<!DOCTYPE html>", CorruptWeightsError, "HTML")


@pytest.mark.parametrize("shape", ["(1000000000000,)", "(19,)", "(21,)", "(-20,)", f"({2**64 + 20},)", "()", "(4, 5)"])
def test_a_shape_that_is_not_that_of_the_bytes_is_refused(tmp_path: Path, shape: str) -> None:
    refused(tmp_path, npy(shape=shape), CorruptWeightsError)


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (npy(more="'x': " + "1" * 20_000), WeightsLimitError),
        (npy(more="'x': 1"), CorruptWeightsError),
        (npy(shape="(__import__('os').getpid(),)"), CorruptWeightsError),
        (npy(shape="(" * 2000 + ")" * 2000), CorruptWeightsError),
        (npy(descr="'<f4', 'descr': '<f4'"), CorruptWeightsError),
        (npy(order="True"), CorruptWeightsError),
        (npy(order="0"), CorruptWeightsError),
        (npy(descr="'>f4'"), WeightsMismatchError),
        (npy(descr="'|V4'"), WeightsMismatchError),
        (npy(descr="'|S4'"), WeightsMismatchError),
        (npy(descr="'<M8[s]'"), WeightsMismatchError),
        (npy(descr="[('a', '<f4')]"), CorruptWeightsError),
        (b"\x93NUMPY\x09\x00" + npy()[8:], CorruptWeightsError),
        (b"\x93NUMPY", CorruptWeightsError),
    ],
    ids=range(14),
)
def test_a_header_that_numpy_would_not_write_is_refused(
    tmp_path: Path, content: bytes, error: type[RegistryError]
) -> None:
    refused(tmp_path, content, error)


def test_missing_and_surplus_bytes_are_refused(tmp_path: Path) -> None:
    whole = npy()
    for length in range(len(whole)):
        refused(tmp_path, whole[:length], CorruptWeightsError)
    refused(tmp_path, whole + b"\0", CorruptWeightsError)


def test_an_archive_of_arrays_is_refused(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "params.npz", a=np.zeros(10_000_000))
    with pytest.raises(MissingFileError, match=r"params\.npz is arrays of MLX or JAX"):
        open_checkpoint({"params.npz": tmp_path / "params.npz"}, None)
    paths = write(tmp_path, shards=1)
    paths["params_0.npy"].write_bytes((tmp_path / "params.npz").read_bytes())
    with pytest.raises(CorruptWeightsError, match="zip archive"):
        open_checkpoint(paths, None)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    for name in ("params_1.npy", "params_0.npy"):
        paths = write(tmp_path)
        del paths[name]
        with pytest.raises(CorruptWeightsError, match=name):
            load(paths)
    paths = write(tmp_path)
    del paths["params_2.npy"]  # the last: only the sum tells
    with pytest.raises(CorruptWeightsError, match=r"20 numbers.*params_1\.npy hold 14"):
        load(paths)


def test_sizes_that_are_not_those_of_the_shapes_are_refused_at_once(tmp_path: Path) -> None:
    for shapes in ([[3, 2], [5]], [[10**9, 10**3]], []):
        with pytest.raises(CorruptWeightsError, match="need"):
            load(write(tmp_path, shapes=shapes))


def test_files_of_different_types_are_refused(tmp_path: Path) -> None:
    paths = write(tmp_path)
    np.save(paths["params_2.npy"], np.arange(6.0))
    with pytest.raises(CorruptWeightsError, match="float64"):
        load(paths)


def test_names_must_be_as_many_as_the_arrays(tmp_path: Path) -> None:
    paths = write(tmp_path)
    assert list(load(paths, list("abcde"))) == list("abcde")
    for names in (list("abcd"), list("abcdef"), list("abcda")):
        with pytest.raises(CorruptWeightsError, match="name"):
            load(paths, names)


@pytest.mark.parametrize(
    "shapes",
    ["{}", "3", "[3]", "[[-1]]", "[[2.0]]", "[[true]]", f"[[{2**50}]]", '[["2"]]', "[[null]]", "[", "[NaN]", ""],
)
def test_shapes_that_are_none_are_refused(tmp_path: Path, shapes: str) -> None:
    paths = write(tmp_path)
    paths["params_shapes.json"].write_text(shapes)
    with pytest.raises(ConfigError):
        load(paths)


def test_names_that_are_none_are_refused(tmp_path: Path) -> None:
    paths = write(tmp_path)
    assert read_names(paths) is None
    paths["parameters_names.json"] = tmp_path / "parameters_names.json"
    for names in ('{"a": 1}', "[1]", "[["):
        paths["parameters_names.json"].write_text(names)
        with pytest.raises(ConfigError):
            read_names(paths)


json_values = st.recursive(
    st.one_of(st.integers(-2, 5), st.booleans(), st.none(), st.text(max_size=3), st.just(2**70)),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=8,
)
words = st.sampled_from(["'<f4'", "'|O'", "True", "False", "(20,)", "(2,)", "(", "{", "'", "0", ""])
FUZZ: dict[str, Any] = {
    "content": st.one_of(
        st.builds(  # as numpy writes it, for shapes that need just so many numbers, or others
            lambda count, descr, more: npy(f"'{descr}'", shape=f"({count},)", data=bytes(count * int(descr[2]) + more)),
            st.sampled_from([20, 20, 20, 6, 0, 19]),
            st.sampled_from(["<f4", "<f2", "<f8", "<i4", "|u1", ">f4"]),
            st.sampled_from([0, 0, 0, 1]),
        ),
        st.builds(lambda *parts: npy(*parts), words, words, words, st.binary(max_size=90), words),
        st.binary(max_size=80).map(lambda data: b"\x93NUMPY\x01\x00" + data),
    ),
    "shapes": st.one_of(json_values, st.just(SHAPES), st.sampled_from([[[2, 3]], [[]] * 6, [[2**40], [20]], [[0]]])),
}


def fuzzed(limits: Callable[..., Any], folder: Path, content: bytes, shapes: object) -> None:
    paths: Mapping[str, Path] = write(folder, shards=1, shapes=shapes)
    paths["params_0.npy"].write_bytes(content)
    with suppress(WeightsError, ConfigError), limits(seconds=60):
        dict(load(paths).items())


@given(**FUZZ)
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_the_files_hold_nothing_but_our_errors_is_raised(
    limits: Callable[..., Any], tmp_path: Path, **made: Any
) -> None:
    fuzzed(limits, tmp_path, **made)
