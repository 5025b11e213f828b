"""TensorFlow checkpoints: those that TensorFlow wrote, damaged ones, and such as only an enemy writes."""

import math
import random
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import cramjam
import google_crc32c
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from registry.errors import (
    AmbiguousWeightsError,
    CorruptWeightsError,
    WeightsError,
    WeightsLimitError,
    WeightsMismatchError,
)
from registry.files.signatures import TABLE_END
from registry.weights.checkpoint import find_weights, open_checkpoint
from registry.weights.headers import header_of
from registry.weights.tensorflow.bundle import detect, headers, load
from registry.weights.tensorflow.table import read_table

Limits = Callable[..., Any]

WRITTEN = Path(__file__).parents[3] / "fixtures" / "tensorflow"
ALL = sorted(path.parent.name for path in WRITTEN.glob("*/*.ckpt*") if ".data" not in path.name)
"""Every checkpoint that is committed."""
REFUSED = {"version_1", "object_graph"}
"""Those that are of other kinds."""
SMALL = sorted(set(ALL) - REFUSED)


def paths_in(folder: Path) -> dict[str, Path]:
    return {path.name: path for path in sorted(folder.iterdir())}


@pytest.fixture
def copy(tensorflow: Path, tmp_path: Path) -> Callable[[str], Path]:
    """A copy of a fixture's files, to be spoilt."""

    def copied(name: str) -> Path:
        return Path(shutil.copytree(tensorflow / name, tmp_path / name))

    return copied


def read_all(paths: Mapping[str, Path]) -> dict[str, torch.Tensor]:
    return dict(load(paths).items())


# --- What TensorFlow wrote --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["bert_pretraining", "bert_squad", "bert_classifier", "gpt2", "transfo_xl"])
def test_every_tensor_has_the_numbers_that_were_written(tensorflow: Path, written: ModuleType, name: str) -> None:
    tensors = load(paths_in(tensorflow / name))
    expected = written.arrays(getattr(written, name)())
    assert set(expected) <= set(tensors)
    for variable, array in expected.items():
        assert np.array_equal(tensors[variable].numpy(), array), variable


def test_every_type_is_read(tensorflow: Path) -> None:
    paths = paths_in(tensorflow / "types")
    tensors, looks = load(paths), headers(paths)
    for name, dtype in {"float32": torch.float32, "bfloat16": torch.bfloat16, "int8": torch.int8}.items():
        assert tensors[name].dtype == dtype
        assert tensors[name].tolist() == [[-3, -2, -1], [0, 1, 2]]
    assert tensors["uint8"].tolist() == [[253, 254, 255], [0, 1, 2]]
    assert tensors["bool"].tolist() == [True, False]
    assert tensors["scalar"].shape == ()
    assert tensors["scalar"] == 1.5
    assert tensors["empty"].shape == (0, 3)
    assert looks == {name: header_of(tensor) for name, tensor in tensors.items()}


def test_the_pieces_of_a_partitioned_variable_are_joined(tensorflow: Path, written: ModuleType) -> None:
    tensors = load(paths_in(tensorflow / "partitioned"))
    assert np.array_equal(tensors["rows"].numpy(), written.value("rows", (7, 3)))
    assert np.array_equal(tensors["columns"].numpy(), written.value("columns", (2, 300)))


def test_several_shards_are_read_as_one(tensorflow: Path, written: ModuleType) -> None:
    tensors = load(paths_in(tensorflow / "sharded"))
    for number in range(7):
        assert np.array_equal(tensors[f"v{number}"].numpy(), written.value(f"v{number}", (number, 2)))


def test_tensors_are_mapped_and_changing_one_leaves_the_file_alone(copy: Callable[[str], Path]) -> None:
    folder = copy("bert_pretraining")
    shard = folder / "bert_model.ckpt.data-00000-of-00001"
    before = shard.read_bytes()
    tensor = load(paths_in(folder))["bert/pooler/dense/bias"]
    tensor.zero_()
    assert shard.read_bytes() == before
    shard.unlink()
    assert tensor.eq(0).all()


def test_looking_needs_no_torch(tensorflow: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from registry.weights.tensorflow import bundle as t;"
        f"p = {{f.name: f for f in Path({str(tensorflow / 'gpt2')!r}).iterdir()}};"
        "assert t.detect(p) and len(t.headers(p)) == 28; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_of_several_checkpoints_the_latest_is_read(copy: Callable[[str], Path], tensorflow: Path) -> None:
    folder = copy("gpt2")
    for file in (tensorflow / "bert_squad").glob("model.ckpt-7.*"):
        shutil.copy(file, folder)
    assert "model/wte" in load(paths_in(folder))  # `checkpoint` says so
    (folder / "checkpoint").unlink()
    assert "model/wte" in load(paths_in(folder))  # the prefix of pytorch-pretrained-bert
    for file in folder.glob("model.ckpt.*"):
        file.rename(folder / file.name.replace("ckpt", "ckpt-9"))
    with pytest.raises(AmbiguousWeightsError, match=r"model\.ckpt-7, model\.ckpt-9"):
        load(paths_in(folder))
    (folder / "checkpoint").write_text('model_checkpoint_path: "/elsewhere/runs/model.ckpt-7"\n')
    assert "cls/squad/output_bias" in load(paths_in(folder))


# --- Faults -----------------------------------------------------------------------------------------------------------


def test_missing_files_are_named(copy: Callable[[str], Path]) -> None:
    folder = copy("sharded")
    (folder / "model.ckpt.data-00001-of-00003").rename(folder / "aside")
    with pytest.raises(CorruptWeightsError, match="data-00001-of-00003"):
        open_checkpoint(paths_in(folder), None)
    for shard in folder.glob("*.data-*"):
        shard.unlink()
    with pytest.raises(CorruptWeightsError, match="There are: none"):
        open_checkpoint(paths_in(folder), None)
    (folder / "model.ckpt.index").unlink()
    (folder / "aside").rename(folder / "model.ckpt.data-00000-of-00001")
    with pytest.raises(CorruptWeightsError, match=r"model\.ckpt\.index"):
        open_checkpoint(paths_in(folder), None)


def test_another_number_of_shards_is_refused(copy: Callable[[str], Path]) -> None:
    folder = copy("gpt2")
    for shard in folder.glob("*.data-*"):
        shard.rename(folder / "model.ckpt.data-00000-of-00002")
    with pytest.raises(CorruptWeightsError, match="00000-of-00002"):
        load(paths_in(folder))


def outcome(paths: Mapping[str, Path]) -> dict[str, torch.Tensor] | None:
    """All tensors; None where one of our errors is raised, which is the only other thing that may happen."""
    try:
        return dict(open_checkpoint(paths, None).tensors.items())
    except (WeightsError, FileNotFoundError):
        return None


def calls_in(function: Callable[[], Any]) -> tuple[Any, int]:
    """What a function returns, and how many functions it called: its work, whatever else the machine does."""
    number = 0

    def count(_frame: object, event: str, _argument: object) -> None:
        nonlocal number
        number += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        return function(), number
    finally:
        sys.setprofile(before)


def check_equal_or_refused(limits: Limits, folder: Path, changes: Sequence[tuple[str, bytes]]) -> None:
    """Each change to a file ends in the tensors as they were, or in an error of ours, within the limits."""
    with limits(seconds=600):
        _check_equal_or_refused(folder, changes)


def _check_equal_or_refused(folder: Path, changes: Sequence[tuple[str, bytes]]) -> None:
    whole = {name: path.read_bytes() for name, path in paths_in(folder).items()}
    expected, most = calls_in(lambda: outcome(paths_in(folder)))
    assert (expected is None) == (folder.name in REFUSED)
    for number, (name, data) in enumerate(changes):
        (folder / name).unlink()  # a file that is truncated and written again is sent to the disk at once
        (folder / name).write_bytes(data)
        is_counted = number % (1 + len(changes) // 200) == 0  # which takes twice as long
        found, calls = calls_in(lambda: outcome(paths_in(folder))) if is_counted else (outcome(paths_in(folder)), 0)
        assert calls <= 2 * most + 10_000, "no change makes reading much more work"
        assert found is None or (
            expected is not None
            and found.keys() == expected.keys()
            and all(torch.equal(found[key], expected[key]) for key in found)
        ), name
        (folder / name).unlink()
        (folder / name).write_bytes(whole[name])


def weights_in(folder: Path) -> dict[str, bytes]:
    return {name: path.read_bytes() for name, path in paths_in(folder).items() if ".ckpt" in name}


def truncations(folder: Path, step: int) -> list[tuple[str, bytes]]:
    return [(name, data[:end]) for name, data in weights_in(folder).items() for end in range(0, len(data), step)]


def flips(folder: Path, count: int, seed: int) -> list[tuple[str, bytes]]:
    chosen = random.Random(seed)
    changed = []
    for name, data in weights_in(folder).items():
        for bit in chosen.sample(range(8 * len(data)), min(count, 8 * len(data))):
            spoilt = bytearray(data)
            spoilt[bit // 8] ^= 1 << bit % 8
            changed.append((name, bytes(spoilt)))
    return changed


@pytest.mark.parametrize("name", ALL)
def test_truncations_and_flipped_bits_never_go_unnoticed(
    limits: Limits, copy: Callable[[str], Path], name: str
) -> None:
    folder = copy(name)
    check_equal_or_refused(limits, folder, truncations(folder, 97) + flips(folder, 40, seed=0))


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
def test_many_truncations_and_flipped_bits_never_go_unnoticed(
    limits: Limits, copy: Callable[[str], Path], name: str
) -> None:
    folder = copy(name)
    check_equal_or_refused(limits, folder, truncations(folder, 13) + flips(folder, 80, seed=1))


def test_a_flipped_bit_in_a_tensor_is_named_when_it_is_read(copy: Callable[[str], Path]) -> None:
    folder = copy("gpt2")
    shard = folder / "model.ckpt.data-00000-of-00001"
    data = bytearray(shard.read_bytes())
    data[0] ^= 1
    shard.write_bytes(data)
    tensors = load(paths_in(folder))
    names = sorted(tensors)
    with pytest.raises(CorruptWeightsError, match="checksum") as caught:
        tensors[names[0]]
    assert names[0] in str(caught.value)
    assert tensors[names[-1]] is not None


@pytest.mark.parametrize("path", ["../outside/model.ckpt", "/etc/passwd", "..", "no/such/model.ckpt-3"])
def test_the_file_that_names_the_latest_is_never_followed_elsewhere(
    copy: Callable[[str], Path], tensorflow: Path, path: str
) -> None:
    folder = copy("gpt2")
    shutil.copytree(tensorflow / "bert_squad", folder.parent / "outside")
    (folder / "checkpoint").write_text(f'model_checkpoint_path: "{path}"\n')
    assert "model/wte" in load(paths_in(folder))


def test_the_older_format_is_refused_with_the_way_to_convert_it(tensorflow: Path) -> None:
    with pytest.raises(WeightsError, match="V1") as caught:
        find_weights(paths_in(tensorflow / "version_1"), None)
    assert "SaverDef.V2" in str(caught.value)


def test_a_saved_model_is_refused_with_the_prefix_of_its_variables(tmp_path: Path) -> None:
    (tmp_path / "saved_model.pb").write_bytes(b"\x08\x01")
    with pytest.raises(WeightsError, match="variables/variables"):
        find_weights(paths_in(tmp_path), None)


@pytest.mark.parametrize("read", [headers, load])
def test_a_checkpoint_of_objects_is_refused_with_what_it_holds(tensorflow: Path, read: Callable[..., Any]) -> None:
    with pytest.raises(WeightsMismatchError, match=r"tf\.train\.Checkpoint.*no names, only paths \(name/\.ATTRIB"):
        read(paths_in(tensorflow / "object_graph"))


# --- Written here, by the format's description ------------------------------------------------------------------------


def number(value: int) -> bytes:
    value &= 2**64 - 1
    text = b""
    while value > 0x7F:
        text += bytes([value & 0x7F | 0x80])
        value >>= 7
    return text + bytes([value])


def message(*parts: tuple[int, int | bytes]) -> bytes:
    """A message of numbers and texts; the field 6 of an entry is a number of four bytes."""
    text = b""
    for field, value in parts:
        if isinstance(value, bytes):
            text += number(field << 3 | 2) + number(len(value)) + value
        elif field == 6:
            text += number(field << 3 | 5) + struct.pack("<I", value & 0xFFFFFFFF)
        else:
            text += number(field << 3) + number(value)
    return text


def sealed(content: bytes, kind: int = 0) -> bytes:
    crc = google_crc32c.value(content + bytes([kind]))
    return content + bytes([kind]) + struct.pack("<I", masked(crc))


def masked(crc: int) -> int:
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def block(entries: Sequence[tuple[bytes, bytes]], restarts: Sequence[int] = (0,)) -> bytes:
    body = b"".join(number(0) + number(len(key)) + number(len(value)) + key + value for key, value in entries)
    return body + struct.pack(f"<{len(restarts) + 1}I", *restarts, len(restarts))


def table(blocks: Sequence[bytes], kinds: Sequence[int] = ()) -> bytes:
    """A table of these blocks; ``kinds`` says how each is compressed."""
    data, handles = b"", []
    for place, content in enumerate(blocks):
        handles.append((b"k%04d" % place, number(len(data)) + number(len(content))))
        data += sealed(content, kinds[place] if kinds else 0)
    index = block(handles)
    footer = number(0) + number(0) + number(len(data)) + number(len(index))
    return data + sealed(index) + footer.ljust(40, b"\0") + TABLE_END


HEADER = message((1, 1), (3, message((1, 1))))


def entry(
    shape: Sequence[int] = (2,),
    *,
    dtype: int = 1,
    shard: int = 0,
    offset: int = 0,
    size: int = 8,
    crc: int | None = None,
) -> bytes:
    axes = message(*((2, message((1, axis))) for axis in shape))
    stored = masked(google_crc32c.value(bytes(8))) if crc is None else crc
    return message((1, dtype), (2, axes), (3, shard), (4, offset), (5, size), (6, stored))


def bundle(
    folder: Path, entries: Mapping[bytes, bytes], header: bytes = HEADER, data: bytes = bytes(8)
) -> dict[str, Path]:
    (folder / "model.ckpt.index").write_bytes(table([block(sorted({b"": header, **entries}.items()))]))
    (folder / "model.ckpt.data-00000-of-00001").write_bytes(data)
    return paths_in(folder)


def test_a_bundle_that_is_well_written_is_read(tmp_path: Path) -> None:
    assert read_all(bundle(tmp_path, {b"a": entry()}))["a"].tolist() == [0, 0]


@pytest.mark.parametrize(
    "spoilt",
    [
        entry(offset=1), entry(offset=-1), entry(offset=2**62), entry(size=-8), entry(size=12), entry(size=4),
        entry(shape=(3,)), entry(shape=(-2,)), entry(shape=(2**40, 2**40)), entry(shard=1), entry(shard=-1),
        entry(dtype=99), entry(crc=0), entry() + b"\x0f", entry() + b"\x80", b"\x08", entry()[:-2],
        message((1, b"text")), message((1, 1), (2, message((3, 1))), (5, 4)),
    ],
)  # fmt: skip
def test_an_entry_that_cannot_be_is_refused(tmp_path: Path, spoilt: bytes) -> None:
    with pytest.raises(CorruptWeightsError):
        read_all(bundle(tmp_path, {b"a": spoilt}))


def test_a_piece_that_is_missing_or_overlaps_is_refused(tmp_path: Path) -> None:
    def piece(begin: int, length: int) -> bytes:
        return message((1, message((1, begin), (2, length))))

    whole = message((1, 1), (2, message((2, message((1, 4))))), (7, piece(0, 2)), (7, piece(2, 2)))
    keys = [b"\0a\0\x01\x01\x01" + bytes([0x80 | begin, 0x82]) for begin in (0, 2)]
    assert read_all(bundle(tmp_path, {b"a": whole, **dict.fromkeys(keys, entry())}))["a"].tolist() == [0] * 4
    overlapping = message((1, 1), (2, message((2, message((1, 4))))), (7, piece(0, 2)), (7, piece(1, 2)))
    other = b"\0a\0\x01\x01\x01\x81\x82"
    for entries in (
        {b"a": whole, keys[0]: entry()},
        {b"a": overlapping, keys[0]: entry(), other: entry()},
        {b"a": whole, keys[0]: entry(), keys[1]: entry(shape=(1,), size=4)},
    ):
        with pytest.raises(CorruptWeightsError):
            read_all(bundle(tmp_path, entries))


def test_a_big_endian_checkpoint_and_absurd_shards_are_refused(tmp_path: Path) -> None:
    for header in (message((1, 1), (2, 1)), message((1, 0)), message((1, 2**40)), message((1, -1)), b""):
        with pytest.raises(CorruptWeightsError):
            read_all(bundle(tmp_path, {b"a": entry()}, header))


def test_a_block_compressed_by_snappy_is_read_and_its_size_bounded(tmp_path: Path) -> None:
    entries = [(b"key%03d" % place, b"value" * 9) for place in range(50)]
    compressed = bytes(cramjam.snappy.compress_raw(block(entries)))
    assert read_table(table([compressed], [1]), "x") == dict(entries)
    with pytest.raises(CorruptWeightsError, match="decompressed"):
        read_table(table([compressed[:-5]], [1]), "x")
    with pytest.raises(CorruptWeightsError, match="unknown way 2"):
        read_table(table([compressed], [2]), "x")
    with pytest.raises(WeightsLimitError):
        read_table(table([number(2**40) + b"\0"], [1]), "x")


@pytest.mark.parametrize(
    "body",
    [
        b"\x80" * 11, b"\xff" * 9 + b"\x7f", number(0) + number(2**63) + number(0),
        number(5) + number(1) + number(0) + b"a",
        number(0) + number(1) + number(2**40) + b"a", number(0) + number(9) + number(0) + b"a",
    ],
)  # fmt: skip
def test_numbers_without_an_end_or_beyond_the_block_are_refused(body: bytes) -> None:
    with pytest.raises(CorruptWeightsError):
        read_table(table([body + struct.pack("<2I", 0, 1)]), "x")


def test_keys_out_of_order_are_refused() -> None:
    for keys in ([b"b", b"a"], [b"a", b"a"]):
        with pytest.raises(CorruptWeightsError, match="order"):
            read_table(table([block([(key, b"") for key in keys])]), "x")
    with pytest.raises(CorruptWeightsError, match="order"):
        read_table(table([block([(b"b", b"")]), block([(b"a", b"")])]), "x")


def test_absurd_numbers_of_entries_and_names_are_refused() -> None:
    many = block([(b"%06d" % place, b"") for place in range(100_001)])
    for content in (many, block([(b"a" * 5000, b"")])):
        with pytest.raises(WeightsLimitError):
            read_table(table([content]), "x")


def test_names_lead_nowhere_but_to_rows_of_the_table(tmp_path: Path) -> None:
    import registry
    from plugins.bert.modeling import BertModel

    odd = [b"bert/embeddings/../../x", b"__class__", b"bert/encoder/layer_0/__init__/kernel", b"kernel"]
    bundle(tmp_path, dict.fromkeys(odd, entry()))
    (tmp_path / "bert_config.json").write_text('{"vocab_size": 5, "hidden_size": 4, "num_attention_heads": 2}')
    with pytest.raises(registry.errors.WeightsMismatchError) as caught:
        BertModel.from_pretrained(tmp_path, from_tf=True)
    for name in odd:
        assert name.decode() in str(caught.value)


# --- Fuzzing ----------------------------------------------------------------------------------------------------------

numbers = st.one_of(st.integers(-2, 12), st.sampled_from([2**31, 2**32, 2**62, 2**63 - 1, -(2**63)]))
values: st.SearchStrategy[bytes] = st.deferred(
    lambda: st.one_of(
        st.binary(max_size=12),
        st.builds(
            lambda parts: message(*parts),
            st.lists(st.tuples(st.integers(1, 8), st.one_of(numbers, values)), max_size=5),
        ),
    )
)
keys = st.one_of(st.just(b""), st.binary(max_size=6), st.sampled_from([b"a", b"\0a\0\x01\x01\x01\x80\x82"]))
good = st.builds(
    entry,
    st.lists(st.integers(0, 3), max_size=3),
    dtype=st.integers(0, 24),
    offset=numbers,
    size=numbers,
    shard=numbers,
)


def near(shape: list[int], kind: tuple[int, int], offset: int) -> bytes:
    """An entry that is right, where its bytes are among the eight of the shard."""
    dtype, itemsize = kind
    size = math.prod(shape) * itemsize
    return entry(shape, dtype=dtype, offset=offset, size=size, crc=masked(google_crc32c.value(bytes(size))))


def in_pieces(places: list[tuple[int, int]], length: int) -> dict[bytes, bytes]:
    """A row of numbers that lies in pieces, each with where it begins and how long it is."""
    slices = [(7, message((1, message((1, begin), (2, size))))) for begin, size in places]
    row = {b"p": message((1, 1), (2, message((2, message((1, length))))), *slices)}
    return row | {
        b"\0p\0\x01\x01\x01" + bytes([0x80 | begin, 0x80 | size]): near([size], (1, 4), 0) for begin, size in places
    }


nearly = st.builds(
    near,
    st.lists(st.integers(0, 2), max_size=3),
    st.sampled_from([(1, 4), (3, 4), (4, 1), (10, 1), (14, 2), (9, 8), (7, 1)]),
    st.sampled_from([0, 0, 0, 4, 1]),
)
pieces = st.builds(
    in_pieces,
    st.one_of(
        st.sampled_from([[(0, 2), (2, 2)], [(0, 1), (1, 2), (3, 1)]]),
        st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=3),
    ),
    st.sampled_from([4, 4, 3]),
)
several = st.one_of(
    st.dictionaries(keys, st.one_of(values, good), max_size=5),
    st.dictionaries(st.sampled_from([b"a", b"b", b"c/d"]), nearly, max_size=3),
    st.builds(lambda *parts: {**parts[0], **parts[1]}, pieces, st.dictionaries(keys, nearly, max_size=1)),
)


def fuzzed(
    limits: Limits, folder: Path, entries: Mapping[bytes, bytes], headed: bool, cut: int, flip: int | None
) -> None:
    data = bytearray(table([block(sorted({**({b"": HEADER} if headed else {}), **entries}.items()))]))
    if flip is not None:
        data[flip % len(data)] ^= 0x10
    (folder / "model.ckpt.index").write_bytes(bytes(data[: len(data) - cut]))
    (folder / "model.ckpt.data-00000-of-00001").write_bytes(bytes(8))
    with limits(seconds=60):
        found = outcome(paths_in(folder))
        assert found is None or headers(paths_in(folder)) == {name: header_of(found[name]) for name in found}


FUZZ: dict[str, Any] = {
    "entries": several,
    "headed": st.sampled_from([True, True, True, False]),
    "cut": st.sampled_from([0] * 8 + [1, 4, 50]),
    "flip": st.one_of(st.none(), st.none(), st.integers(0, 10_000)),
}
QUIET = [HealthCheck.function_scoped_fixture]


@given(**FUZZ)
@settings(max_examples=150, deadline=None, suppress_health_check=QUIET)
def test_whatever_an_index_holds_nothing_but_our_errors_is_raised(limits: Limits, tmp_path: Path, **made: Any) -> None:
    fuzzed(limits, tmp_path, **made)


@given(st.binary(max_size=200))
@settings(max_examples=150, deadline=None)
def test_whatever_bytes_a_table_has_nothing_but_our_errors_is_raised(limits: Limits, data: bytes) -> None:
    for content in (data, data + TABLE_END, table([data]), table([block([]), data])):
        with suppress(WeightsError), limits(seconds=60):
            read_table(content, "x")


# --- Against TensorFlow itself ----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_what_tensorflow_writes_now_is_read_as_it_reads_it(tmp_path: Path, tensorflow: Path) -> None:
    tf = pytest.importorskip("tensorflow", reason="the extra `tensorflow` is not installed")
    subprocess.run([sys.executable, tensorflow / "write.py", tmp_path], check=True, capture_output=True)
    for name in SMALL:
        tensors = load(paths_in(tmp_path / name))
        reader = tf.train.load_checkpoint(str(next((tmp_path / name).glob("*.index")).with_suffix("")))
        assert set(tensors) == set(reader.get_variable_to_shape_map())
        for key, tensor in tensors.items():
            assert np.array_equal(tensor.double().numpy(), reader.get_tensor(key).astype(np.float64)), key


@pytest.mark.slow
def test_the_older_format_converts_as_its_error_says(tensorflow: Path, tmp_path: Path, written: ModuleType) -> None:
    tf = pytest.importorskip("tensorflow", reason="the extra `tensorflow` is not installed").compat.v1
    reader = tf.train.load_checkpoint(str(tensorflow / "version_1" / "model.ckpt"))
    with tf.Graph().as_default(), tf.Session() as session:
        tensors = {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}
        variables = [tf.get_variable(name, initializer=tensor) for name, tensor in tensors.items()]
        session.run(tf.global_variables_initializer())
        tf.train.Saver(variables, write_version=tf.train.SaverDef.V2).save(session, str(tmp_path / "model.ckpt"))
    assert np.array_equal(read_all(paths_in(tmp_path))["v"].numpy(), written.value("v", (2, 2)))


def test_detection_wants_the_mark_of_a_table(tmp_path: Path) -> None:
    for content in (b"", b"faiss", bytes(100)):
        (tmp_path / "vectors.index").write_bytes(content)
        assert not detect(paths_in(tmp_path))
