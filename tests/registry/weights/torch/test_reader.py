"""Weights as torch.save writes them: what is read, and that nothing runs."""

import io
import os
import pickle
import pickletools
import struct
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from registry.errors import (
    CorruptWeightsError,
    UnsafeWeightsError,
    WeightsError,
    WeightsLimitError,
    WeightsMismatchError,
)
from registry.weights.headers import header_of
from registry.weights.torch.reader import detect, headers, load

NAME = "pytorch_model.bin"
TENSORS = {"a": torch.arange(6.0).view(2, 3), "b": torch.tensor([1, 2, 3]), "h": torch.ones(2, dtype=torch.float16)}

both_formats = pytest.mark.parametrize("archive", [True, False], ids=["zip", "legacy"])


def save(found: Any, folder: Path, archive: bool = True) -> Path:
    path = folder / NAME
    torch.save(found, path, _use_new_zipfile_serialization=archive)
    return path


class Evil:
    """Writes a file when it is unpickled by a reader that lets it."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.marker}",)


@both_formats
def test_a_state_dict_comes_back(tmp_path: Path, archive: bool) -> None:
    path = save(OrderedDict(TENSORS), tmp_path, archive)
    assert detect({NAME: path})
    tensors = load({NAME: path})
    assert list(tensors) == list(TENSORS)
    assert all(
        torch.equal(tensors[name], tensor) and tensors[name].dtype == tensor.dtype for name, tensor in TENSORS.items()
    )


@both_formats
def test_the_state_dict_of_a_module_comes_back_as_a_plain_dict(tmp_path: Path, archive: bool) -> None:
    module = nn.Linear(2, 3)
    tensors = load({NAME: save(module.state_dict(), tmp_path, archive)})
    assert type(tensors) is dict
    assert torch.equal(tensors["weight"], module.weight)
    assert list(load({NAME: save(dict(module.named_parameters()), tmp_path, archive)})) == ["weight", "bias"]


@both_formats
def test_code_in_a_pickle_is_named_and_does_not_run(tmp_path: Path, archive: bool) -> None:
    marker = tmp_path / "marker"
    with pytest.raises(UnsafeWeightsError, match=r"system") as caught:
        load({NAME: save({**TENSORS, "x": Evil(marker)}, tmp_path, archive)})
    assert not marker.exists()
    assert "weights_only" not in str(caught.value)


@both_formats
def test_a_pickled_module_is_refused_with_the_way_to_convert_it(tmp_path: Path, archive: bool) -> None:
    with pytest.raises(UnsafeWeightsError, match=r"torch\.nn\.modules\.linear\.Linear") as caught:
        load({NAME: save(nn.Linear(2, 2), tmp_path, archive)})
    assert "state_dict()" in str(caught.value)


@both_formats
@pytest.mark.parametrize(
    "found",
    [bytearray(4), {1, 2}, 1j, torch.Size([2]), torch.float16, torch.device("cpu"), slice(1), range(3), Path("x")],
    ids=lambda found: type(found).__name__,
)
def test_values_that_state_dicts_do_without_are_refused(tmp_path: Path, archive: bool, found: object) -> None:
    with pytest.raises(UnsafeWeightsError):
        load({NAME: save({"a": found}, tmp_path, archive)})


def rewrite(path: Path, change: Callable[[dict[str, bytes]], Any], **how: Any) -> Path:
    """Write an archive of torch anew, after a change to its records."""
    with zipfile.ZipFile(path) as archive:
        records = {info.filename: archive.read(info) for info in archive.infolist()}
    change(records)
    with zipfile.ZipFile(path, "w", **how) as archive:
        for name, data in records.items():
            archive.writestr(name, data)
    return path


def pickled(text: bytes, folder: Path) -> Path:
    """An archive of torch with another pickle in it."""
    return rewrite(save({}, folder), lambda records: records.update({f"{Path(NAME).stem}/data.pkl": text}))


@pytest.mark.parametrize(
    "text",
    [
        b"\x80\x02cos\nsystem\n.",
        b"\x80\x04\x8c\x02os\x8c\x06system\x93.",
        b"\x80\x02(ios\nsystem\n.",
        b"\x80\x02(cos\nsystem\no.",
        b"\x80\x02\x82\x01.",
        b"\x80\x02ccollections\nOrderedDict\n)\x81.",
        pickle.dumps({"a": 1}, protocol=0),
        pickle.dumps({"a": 1}, protocol=4),
        pickle.dumps({"a": {1, 2}}, protocol=5),
    ],
)
def test_instructions_beyond_the_few_that_are_needed_are_refused(tmp_path: Path, text: bytes) -> None:
    with pytest.raises(UnsafeWeightsError):
        load({NAME: pickled(text, tmp_path)})


@pytest.mark.parametrize("text", [b"", b"\x80\x02", b"\x80\x02}", b"\xff", b"\x80\x02X\xff\xff\xff\xff."])
def test_a_pickle_that_breaks_off_is_refused(tmp_path: Path, text: bytes) -> None:
    with pytest.raises(CorruptWeightsError):
        load({NAME: pickled(text, tmp_path)})


@both_formats
def test_a_tensor_larger_than_its_memory_is_refused(tmp_path: Path, archive: bool) -> None:
    with pytest.raises(WeightsMismatchError, match=r"1000000"):
        load({NAME: save({"a": torch.ones(1).expand(1_000_000, 1_000_000)}, tmp_path, archive)})


@both_formats
def test_tensors_may_repeat_their_numbers_up_to_the_size_of_the_file(tmp_path: Path, archive: bool) -> None:
    weight = torch.arange(128.0).view(2, 64)  # 512 bytes, and 4 of each number

    def found(more: int) -> dict[str, Tensor]:
        repeated = {name: torch.full((1,), 7.0).expand(size) for name, size in (("a", 64), ("b", more))}
        return {"weight": weight, "row": weight[:1].expand(2, 64), **repeated}

    expected = found(68)  # 252 and 268 bytes more than the 520 in the file
    path = save(expected, tmp_path, archive)
    assert headers({NAME: path}) == {name: header_of(tensor) for name, tensor in expected.items()}
    loaded = load({NAME: path})
    assert all(torch.equal(loaded[name], tensor) for name, tensor in expected.items())
    save(found(69), tmp_path, archive)
    for read in (headers, load):
        with pytest.raises(WeightsMismatchError, match=r"'b' claims the shape \(69,\), with 4 bytes"):
            read({NAME: path})


def test_archives_that_torch_would_not_have_written_are_refused(tmp_path: Path) -> None:
    root = Path(NAME).stem
    changes: list[tuple[Callable[[dict[str, bytes]], Any], dict[str, Any]]] = [
        (lambda records: None, {"compression": zipfile.ZIP_DEFLATED}),
        (lambda records: records.update({f"{root}/DATA.PKL": b""}), {}),
        (lambda records: records.update({"other/data/0": b""}), {}),
        (lambda records: records.update({f"{root}/code/model.py": b""}), {}),
        (lambda records: records.update({f"{root}/data/../../x": b""}), {}),
    ]
    for change, how in changes:
        with pytest.raises(UnsafeWeightsError):
            load({NAME: rewrite(save(TENSORS, tmp_path), change, **how)})


def test_memory_that_is_missing_or_of_another_size_is_refused(tmp_path: Path) -> None:
    storage = f"{Path(NAME).stem}/data/0"
    for change in (lambda records: records.pop(storage), lambda records: records.update({storage: b"1234"})):
        with pytest.raises(CorruptWeightsError):
            load({NAME: rewrite(save(TENSORS, tmp_path), change)})


def test_a_record_that_reaches_beyond_the_file_is_refused_before_it_is_shown(tmp_path: Path) -> None:
    count = 500_000_000
    data = bytearray(zipped([("x/data.pkl", described(False, count, 0, [count], [1]), 0), ("x/data/0", bytes(24), 0)]))
    for mark, place in ((b"PK\x03\x04", 14), (b"PK\x01\x02", 16)):  # in front of the record, and in the list
        struct.pack_into("<3L", data, data.rindex(mark) + place, 0, 4 * count, 4 * count)
    (tmp_path / NAME).write_bytes(data)
    for read in (headers, load):
        with pytest.raises(CorruptWeightsError, match="beyond its end"):
            read({NAME: tmp_path / NAME})


@both_formats
def test_a_file_cut_off_anywhere_is_refused(tmp_path: Path, archive: bool) -> None:
    path = save({f"layer.{number}.weight": torch.ones(16) for number in range(6)}, tmp_path, archive)
    whole = path.read_bytes()
    assert len(whole) > 1000
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(CorruptWeightsError) as caught:
            load({NAME: path})
        assert "weights_only" not in str(caught.value)


@both_formats
@pytest.mark.parametrize("wrapper", ["state_dict", "model_state_dict"])
def test_the_state_dict_in_a_training_checkpoint_is_found(tmp_path: Path, archive: bool, wrapper: str) -> None:
    found = {"epoch": 3, wrapper: OrderedDict(TENSORS), "optimizer": {"state": [1.0, None, True], "step": 2}}
    assert list(load({NAME: save(found, tmp_path, archive)})) == list(TENSORS)


@both_formats
@pytest.mark.parametrize(
    "found", [{"a": 1}, {3: torch.ones(1)}, {"other": TENSORS}, [torch.ones(1)], torch.ones(1), None], ids=str
)
def test_what_is_no_state_dict_is_refused(tmp_path: Path, archive: bool, found: object) -> None:
    with pytest.raises(WeightsMismatchError):
        load({NAME: save(found, tmp_path, archive)})


@both_formats
def test_a_dict_that_overrides_its_methods_is_read_as_what_it_holds(tmp_path: Path, archive: bool) -> None:
    found = OrderedDict(TENSORS)
    vars(found)["values"] = {"x": 1}
    found._metadata = OrderedDict({"": {"version": 1}})  # type: ignore[attr-defined]
    assert list(load({NAME: save(found, tmp_path, archive)})) == list(TENSORS)


def test_other_pickles_are_refused(tmp_path: Path) -> None:
    for protocol in range(6):
        (tmp_path / NAME).write_bytes(pickle.dumps({"a": [1.0]}, protocol=protocol))
        assert not detect({NAME: tmp_path / NAME})
        with pytest.raises(WeightsError):
            load({NAME: tmp_path / NAME})


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_scripted_module_is_refused(tmp_path: Path) -> None:
    class Doubled(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x + x

    torch.jit.save(torch.jit.trace(Doubled(), torch.ones(1)), str(tmp_path / NAME))
    with pytest.raises(UnsafeWeightsError):
        load({NAME: tmp_path / NAME})


def test_a_pickle_beyond_all_need_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsLimitError):
        load({NAME: pickled(b"\x80\x02" + b"N" * (64 * 2**20 + 1) + b".", tmp_path)})


@both_formats
def test_sparse_and_quantised_tensors_are_refused(tmp_path: Path, archive: bool) -> None:
    with pytest.raises(UnsafeWeightsError):
        load({NAME: save({"a": torch.ones(2, 2).to_sparse()}, tmp_path, archive)})


@both_formats
def test_the_environment_cannot_switch_the_protection_off(
    tmp_path: Path, archive: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    marker = tmp_path / "marker"
    with pytest.raises(UnsafeWeightsError):
        load({NAME: save({"x": Evil(marker)}, tmp_path, archive)})
    assert not marker.exists()


@both_formats
def test_names_that_a_plugin_made_safe_are_refused_all_the_same(tmp_path: Path, archive: bool) -> None:
    with torch.serialization.safe_globals([os.system]), pytest.raises(UnsafeWeightsError):
        load({NAME: save({"x": Evil(tmp_path / "marker")}, tmp_path, archive)})
    assert not (tmp_path / "marker").exists()


@both_formats
def test_damaged_files_raise_nothing_but_our_errors(tmp_path: Path, archive: bool) -> None:
    path = save(TENSORS, tmp_path, archive)
    whole = path.read_bytes()
    for place in range(0, len(whole), 3):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << (place % 8)
        path.write_bytes(damaged)
        with suppress(WeightsError):
            load({NAME: path})


@both_formats
def test_tensors_stay_valid_when_their_file_is_removed(tmp_path: Path, archive: bool) -> None:
    path = save(TENSORS, tmp_path, archive)
    tensors = load({NAME: path})
    path.unlink()
    assert torch.equal(tensors["a"], TENSORS["a"])


def test_a_legacy_file_of_another_protocol_is_refused_before_it_is_reported_as_valid(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(b"".join([OLD[0], OLD[0], *OLD[2:]]))
    for read in (headers, load):
        with pytest.raises(CorruptWeightsError, match="its protocol is not 1001"):
            read({NAME: tmp_path / NAME})


def test_a_legacy_file_without_the_memory_of_its_tensors_is_refused(tmp_path: Path) -> None:
    path = save(TENSORS, tmp_path, archive=False)
    whole = path.read_bytes()
    keys = whole.rindex(b"\x80\x02]")
    for damaged in (
        whole[:keys] + b"\x80\x02].",
        whole + bytes(8),
        whole[:-8],
        whole[:keys] + whole[keys:].replace(b"e.", b".", 1),
    ):
        path.write_bytes(damaged)
        with pytest.raises(CorruptWeightsError):
            load({NAME: path})


def test_places_beyond_all_need_are_refused_before_room_is_made(tmp_path: Path) -> None:
    with pytest.raises(WeightsLimitError):
        load({NAME: pickled(b"\x80\x02}r\xff\xff\xff\x7f.", tmp_path)})


@both_formats
def test_looking_shows_what_loading_gives(tmp_path: Path, archive: bool) -> None:
    paths = {NAME: save({"state_dict": OrderedDict(TENSORS), "epoch": 1}, tmp_path, archive)}
    assert headers(paths) == {name: header_of(tensor) for name, tensor in load(paths).items()}


LIES = {
    "an offset beyond the memory": (6, 3, [4], [1]),
    "a shape beyond the memory": (6, 0, [7], [1]),
    "strides beyond the memory": (6, 0, [2, 3], [4, 1]),
    "a negative offset": (6, -1, [2], [1]),
    "a negative size": (6, 0, [-2], [1]),
    "a negative stride": (6, 5, [2], [-1]),
    "fewer strides than axes": (6, 0, [2, 3], [1]),
    "4 TiB of one number": (6, 0, [2**40], [0]),
    "an axis of 64 bits": (6, 0, [0, 2**63], [1, 1]),
    "an offset of 64 bits": (6, 2**63, [0], [1]),
}


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_a_tensor_that_is_not_in_its_memory_is_not_reported_as_valid(tmp_path: Path, lie: Any, legacy: bool) -> None:
    path = tmp_path / NAME
    path.write_bytes(of_one_tensor(legacy, lie))
    for read in (headers, load):
        with pytest.raises(WeightsError):
            read({NAME: path})
    path.write_bytes(of_one_tensor(legacy, (6, 1, [2, 2], [2, 1])))
    assert headers({NAME: path}) == {"a": header_of(torch.ones(2, 2))} == {
        name: header_of(tensor) for name, tensor in load({NAME: path}).items()
    }  # fmt: skip


def of_one_tensor(legacy: bool, look: Any) -> bytes:
    """A file whose memory has six numbers."""
    if legacy:
        keys = b"\x80\x02]" + text("0") + b"a."
        return b"".join([*OLD[:3], described(True, *look), keys, (6).to_bytes(8, "little"), bytes(24)])
    return zipped([("x/data.pkl", described(False, *look), 0), ("x/version", b"3\n", 0), ("x/data/0", bytes(24), 0)])


FACTS = [("version", None), ("version", b"99"), ("version", b"x"), ("byteorder", b"middle"), ("byteorder", b"\x80"),
         (".storage_alignment", b"x"), (".data/serialization_id", b"\x80")]  # fmt: skip


@pytest.mark.parametrize(("name", "content"), FACTS)
def test_a_small_record_that_torch_cannot_parse_is_not_reported_as_valid(
    tmp_path: Path, name: str, content: bytes | None
) -> None:
    def change(records: dict[str, bytes]) -> None:
        del records[f"{Path(NAME).stem}/{name}"]
        records.update({} if content is None else {f"{Path(NAME).stem}/{name}": content})

    path = rewrite(save(TENSORS, tmp_path), change)
    for read in (headers, load):
        with pytest.raises(CorruptWeightsError):
            read({NAME: path})


MARKS = {"an entry": (b"PK\x01\x02", 46), "the end": (b"PK\x05\x06", 22), "the larger end": (b"PK\x06\x06", 76)}


@pytest.mark.parametrize("mark", MARKS)
def test_whatever_byte_of_a_list_of_records_is_changed_headers_say_what_loading_gives(
    tmp_path: Path, mark: str
) -> None:
    whole, path = saved(True), tmp_path / NAME
    signature, length = MARKS[mark]
    begin = whole.rindex(signature)
    for place in range(begin, begin + length):
        for value in {1, 16, 255} - {whole[place]}:
            path.write_bytes(whole[:place] + bytes([value]) + whole[place + 1 :])
            told, found = (outcome(lambda read=read: read({NAME: path})) for read in (headers, load))
            assert told == found or "checksum" in found, (place - begin, value)


def outcome(read: Callable[[], Any]) -> str:
    """Whether a file is good, or what the error says."""
    try:
        return f"good: {sorted(read())}"
    except WeightsError as problem:
        return "refused" + " for a checksum" * ("checksum" in str(problem))


def test_one_storage_of_two_types_is_refused(tmp_path: Path) -> None:
    found = described(False, 6, 0, [6], [1])
    other = found.replace(text("a"), text("b")).replace(b"FloatStorage", b"IntStorage")
    both = found[:-2] + b"s" + other[3:]  # the second after the first, in one dict
    records = [("x/data.pkl", both, 0), ("x/version", b"3\n", 0), ("x/data/0", bytes(24), 0)]
    (tmp_path / NAME).write_bytes(zipped(records))
    for read in (headers, load):
        with pytest.raises(CorruptWeightsError, match="two sizes or types"):
            read({NAME: tmp_path / NAME})


def test_one_file_after_another_is_read_as_if_it_were_alone(tmp_path: Path) -> None:
    """Attributes of what stands for a class or a function would change what the next file is."""
    names = ("collections\nOrderedDict", "torch._utils\n_rebuild_tensor_v2", "torch._utils\n_rebuild_parameter")
    (tmp_path / "good").mkdir()
    good = save(TENSORS, tmp_path / "good")
    expected = headers({NAME: good})
    for target in names:
        for attribute in ("__setitem__", "__init__", "__name__", "__class__"):
            state = b"N}" + text(attribute) + b"ctorch._utils\n_rebuild_parameter\ns\x86"
            program = b"c" + target.encode() + b"\n" + state + b"b"
            with pytest.raises(WeightsError):
                load({NAME: pickled(b"\x80\x02" + program + b".", tmp_path)})
            assert headers({NAME: good}) == expected
            assert set(load({NAME: good})) == set(TENSORS)


@both_formats
def test_attributes_of_a_tensor_do_not_change_what_headers_say(tmp_path: Path, archive: bool) -> None:
    look = described(not archive, 6, 0, [6], [1])
    state = b"(" + text("float32") + b"K\x04tN}" + text("nbytes") + b"K\x01s\x86"
    forged = look[:-2] + state + b"bs."
    data = of_one_tensor(not archive, (6, 0, [6], [1])).replace(look, forged) if not archive else zipped(
        [("x/data.pkl", forged, 0), ("x/version", b"3\n", 0), ("x/data/0", bytes(24), 0)]
    )  # fmt: skip
    (tmp_path / NAME).write_bytes(data)
    for read in (headers, load):
        with pytest.raises(WeightsError):
            read({NAME: tmp_path / NAME})


def test_a_flipped_bit_in_an_archive_is_found_by_its_checksums(tmp_path: Path) -> None:
    path = save({"a": torch.arange(64.0)}, tmp_path)
    whole = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        parts = {info.filename: archive.read(info) for info in archive.infolist()}
    for name, data in parts.items():
        begin = whole.index(data) if data else 0
        for place in range(begin, begin + len(data), 5):
            damaged = bytearray(whole)
            damaged[place] ^= 1 << (place % 8)
            path.write_bytes(damaged)
            with pytest.raises(WeightsError):
                load({NAME: path})
            assert name


def test_an_archive_without_checksums_is_read(tmp_path: Path) -> None:
    torch.serialization.set_crc32_options(False)
    try:
        path = save(TENSORS, tmp_path)
    finally:
        torch.serialization.set_crc32_options(True)
    assert torch.equal(load({NAME: path})["a"], TENSORS["a"])


@both_formats
def test_bytes_after_the_end_are_refused(tmp_path: Path, archive: bool) -> None:
    path = save(TENSORS, tmp_path, archive)
    whole = path.read_bytes()
    for more in (b"\0", b"garbage" * 9, whole):
        path.write_bytes(whole + more)
        with pytest.raises(WeightsError):
            load({NAME: path})


def test_bytes_before_the_beginning_are_refused(tmp_path: Path) -> None:
    path = save(TENSORS, tmp_path)
    path.write_bytes(b"PK\x03\x04" + path.read_bytes())
    with pytest.raises(WeightsError):
        load({NAME: path})


@pytest.mark.parametrize(
    "text",
    [
        b"\x80\x02})" + b"\x85" * 100_000 + b"K\x01s.",
        b"\x80\x02})" + b"".join(b"q%ch%c\x86" % (level, level) for level in range(60)) + b"K\x01s.",
        b"\x80\x02})" + b"N\x86" * 50_000 + b"K\x01s.",
    ],
    ids=["deep", "doubled", "nested"],
)
def test_tuples_in_tuples_are_refused_before_they_are_hashed(tmp_path: Path, text: bytes) -> None:
    with pytest.raises(WeightsLimitError, match="tuples"):
        load({NAME: pickled(text, tmp_path)})


def test_lists_in_lists_harm_nobody(tmp_path: Path) -> None:
    with pytest.raises(WeightsError):
        load({NAME: pickled(b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".", tmp_path)})


@both_formats
def test_numbers_that_are_none_are_weights_as_others_are(tmp_path: Path, archive: bool) -> None:
    odd = torch.tensor([float("nan"), float("inf"), -float("inf"), 1.0])
    found = load({NAME: save({"a": odd}, tmp_path, archive)})["a"]
    torch.testing.assert_close(found, odd, equal_nan=True)


def test_tensors_of_a_gpu_come_to_the_cpu(tmp_path: Path) -> None:
    def on_a_gpu(records: dict[str, bytes]) -> None:
        name = f"{Path(NAME).stem}/data.pkl"
        records[name] = records[name].replace(b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:0")

    path = rewrite(save(TENSORS, tmp_path), on_a_gpu)
    assert b"cuda:0" in path.read_bytes()
    tensors = load({NAME: path})
    assert all(tensor.device.type == "cpu" and torch.equal(tensor, TENSORS[name]) for name, tensor in tensors.items())


def test_the_numbers_of_a_big_endian_machine_are_read(tmp_path: Path) -> None:
    root = Path(NAME).stem

    def turned(records: dict[str, bytes]) -> None:
        assert records[f"{root}/byteorder"] == b"little"
        records[f"{root}/byteorder"] = b"big"
        records[f"{root}/data/0"] = b"".join(
            records[f"{root}/data/0"][place : place + 4][::-1] for place in range(0, 24, 4)
        )

    tensor = torch.arange(6.0)
    assert torch.equal(load({NAME: rewrite(save({"a": tensor}, tmp_path), turned)})["a"], tensor)


@both_formats
def test_a_file_that_changes_while_it_is_read_is_refused(
    tmp_path: Path, archive: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, other = save(TENSORS, tmp_path, archive), tmp_path / "other"
    torch.save({"x": Evil(tmp_path / "marker")}, other)
    real = torch.load

    def load_another(*arguments: Any, **keywords: Any) -> Any:
        tensors = real(*arguments, **keywords)
        os.replace(other, path)
        return tensors

    monkeypatch.setattr(torch, "load", load_another)
    with pytest.raises(CorruptWeightsError, match="changed while"):
        load({NAME: path})
    assert not (tmp_path / "marker").exists()


def test_a_file_of_the_older_format_is_read_where_an_archive_is_mapped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mapped = []
    real = torch.load
    monkeypatch.setattr(torch, "load", lambda *a, mmap, **kw: mapped.append(mmap) or real(*a, mmap=mmap, **kw))
    for archive in (True, False):
        assert torch.equal(load({NAME: save(TENSORS, tmp_path, archive)})["a"], TENSORS["a"])
    assert mapped == [True, False]


# --- Fuzzing ----------------------------------------------------------------------------------------------------------

REBUILD = b"ctorch._utils\n_rebuild_tensor_v2\n"
WORDS = [
    *(b"N", b"\x88", b"K\x05", b"J\xff\xff\xff\xff", b"X\x01\x00\x00\x00a", b"X\x07\x00\x00\x00storage"),
    *(b")", b"(", b"t", b"\x85", b"\x86", b"\x87", b"]", b"a", b"e", b"}", b"s", b"u", b"R", b"b", b"Q"),
    *(b"q\x01", b"h\x01", b"J\xff\xff\xff\x7f", b"\x8a\x02\xff\xff", b"r\x02\x00\x00\x00", b"G" + bytes(8)),
    *(b"ccollections\nOrderedDict\n", REBUILD, b"ctorch\nFloatStorage\n"),
]
programs = st.lists(st.sampled_from(WORDS), max_size=30).map(lambda words: b"\x80\x02" + b"".join(words) + b".")
changes = st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), max_size=3)
QUIET = [HealthCheck.function_scoped_fixture]


def saved(archive: bool) -> bytes:
    file = io.BytesIO()
    torch.save(TENSORS, file, _use_new_zipfile_serialization=archive)
    return file.getvalue()


def parts_of_an_archive() -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(saved(True))) as archive:
        return {record.filename: archive.read(record) for record in archive.infolist()}


def parts_of_a_legacy_file() -> list[bytes]:
    """Its five pickles, then what follows them, one piece of memory after the other."""
    file = io.BytesIO(saved(False))
    parts = []
    for _ in range(5):
        begin = file.tell()
        list(pickletools.genops(file))
        parts.append(file.getvalue()[begin : file.tell()])
    while count := file.read(8):
        size = {6: 24, 3: 24, 2: 4}[int.from_bytes(count, "little")]
        parts.append(count + file.read(size))
    return parts


ARCHIVE, OLD = parts_of_an_archive(), parts_of_a_legacy_file()


def changed(data: bytes, changes: list[tuple[int, int]]) -> bytes:
    spoilt = bytearray(data)
    for place, value in changes if data else []:
        spoilt[place % len(data)] = value
    return bytes(spoilt)


def zipped(records: list[tuple[str, bytes, int]]) -> bytes:
    file = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(file, "w") as archive:
        warnings.simplefilter("ignore")  # of two records of one name
        for name, data, kind in records:
            archive.writestr(name, data, kind)
    return file.getvalue()


def integer(value: int) -> bytes:
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


def text(value: str) -> bytes:
    return b"X" + len(value).to_bytes(4, "little") + value.encode()


def described(legacy: bool, count: int, offset: int, shape: list[int], stride: list[int]) -> bytes:
    """A pickle as torch writes it for one tensor, of any numbers."""
    memory = text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu") + integer(count)
    sizes = [b"(" + b"".join(map(integer, numbers)) + b"t" for numbers in (shape, stride)]
    tensor = b"((" + memory + b"N" * legacy + b"tQ" + integer(offset) + b"".join(sizes)
    return b"\x80\x02}" + text("a") + REBUILD + tensor + b"\x89ccollections\nOrderedDict\n)RtRs."


amounts = st.one_of(st.integers(-2, 6), st.sampled_from([75_000_000, 2**31 - 1, 2**40, 2**62, 2**63, -(2**63)]))
looks = st.tuples(amounts, amounts, st.lists(amounts, max_size=3), st.lists(amounts, max_size=3))
near = st.builds(  # six numbers, of which most shapes find enough
    lambda offset, shape, step: (6, offset, shape, [step] * len(shape)),
    st.integers(-1, 7),
    st.lists(st.integers(0, 4), max_size=2),
    st.integers(0, 2),
)
tensor_files = st.one_of(
    st.builds(
        lambda look, size: zipped(
            [("x/data.pkl", described(False, *look), 0), ("x/version", b"3\n", 0), ("x/data/0", bytes(size), 0)]
        ),
        st.one_of(looks, near),
        st.sampled_from([24, 24, 0, 3]),
    ),
    st.builds(
        lambda look, count, size: (
            b"".join([*OLD[:3], described(True, *look), b"\x80\x02]" + text("0") + b"a."])
            + (count & 2**64 - 1).to_bytes(8, "little")
            + bytes(size)
        ),
        st.one_of(looks, near),
        st.one_of(st.just(6), amounts),
        st.sampled_from([24, 24, 0, 3]),
    ),
)
names = st.sampled_from([*ARCHIVE, "other/data.pkl", "archive/DATA.PKL", "archive/data/9", "../x", "archive/", "x"])
contents = st.one_of(st.sampled_from([*ARCHIVE.values()]), programs, st.binary(max_size=30))
kinds = st.sampled_from([zipfile.ZIP_STORED] * 6 + [zipfile.ZIP_DEFLATED])
usual = st.sampled_from([(name, data, zipfile.ZIP_STORED) for name, data in ARCHIVE.items()])
whole = [(name, data, zipfile.ZIP_STORED) for name, data in ARCHIVE.items()]
archives = st.builds(
    lambda records, changes: changed(zipped(records), changes),
    st.one_of(
        st.just(whole),
        st.builds(lambda more: whole + more, st.lists(st.tuples(names, contents, kinds), max_size=2)),
        st.builds(  # one record has other contents, or is left out
            lambda name, data: [(n, d if n != name else data, k) for n, d, k in whole if n != name or data is not None],
            st.sampled_from([*ARCHIVE]),
            st.one_of(st.none(), contents),
        ),
        st.lists(st.one_of(usual, st.tuples(names, contents, kinds)), max_size=8),
    ),
    changes,
)
old_files = st.builds(
    lambda parts, changes: changed(b"".join(parts), changes),
    st.one_of(
        st.just(OLD),
        st.builds(
            lambda place, part: OLD[:place] + part + OLD[place + 1 :],
            st.integers(0, len(OLD) - 1),
            st.lists(st.one_of(programs, st.sampled_from(OLD), st.binary(max_size=30)), max_size=2),
        ),
        st.lists(st.one_of(st.sampled_from(OLD), programs), max_size=8).map(lambda parts: OLD[:1] + parts),
    ),
    changes,
)
files = st.one_of(
    archives,
    old_files,
    tensor_files,
    programs.map(lambda program: zipped([("x/data.pkl", program, 0), ("x/version", b"3\n", 0)])),
)


def fuzzed(limits: Callable[..., Any], folder: Path, data: bytes) -> None:
    """Headers that are reported load, with the shapes and types that were reported; only loading compares checksums."""
    (folder / NAME).write_bytes(data)
    with limits(seconds=60):
        try:
            looks = headers({NAME: folder / NAME})
        except WeightsError:
            with pytest.raises(WeightsError):
                load({NAME: folder / NAME})
            return
        try:
            found = load({NAME: folder / NAME})
        except CorruptWeightsError as problem:
            assert "the checksum of" in str(problem)  # noqa: PT017  # only of some
        else:
            assert looks == {name: header_of(tensor) for name, tensor in found.items()}


@given(files)
@settings(max_examples=400, deadline=None, suppress_health_check=QUIET)
def test_whatever_a_file_holds_nothing_but_our_errors_is_raised(
    limits: Callable[..., Any], tmp_path: Path, data: bytes
) -> None:
    fuzzed(limits, tmp_path, data)
