"""Files that ask for absurd amounts of memory or time are refused before they get them."""

import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cramjam
import google_crc32c
import pytest

from registry.errors import RegistryError
from registry.weights.checkpoint import find_weights

MEGABYTE = 2**20


def pickle(folder: Path, text: bytes) -> None:
    with zipfile.ZipFile(folder / "pytorch_model.bin", "w") as archive:
        archive.writestr("m/data.pkl", b"\x80\x02" + text + b".")
        archive.writestr("m/version", b"3\n")


def legacy(folder: Path, text: bytes) -> None:
    """The third pickle is the program's word for the system, the fourth the state dict."""
    magic = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
    (folder / "pytorch_model.bin").write_bytes(
        magic + b"\x80\x02M\xe9\x03." + b"\x80\x02}." + b"\x80\x02" + text + b"." + b"\x80\x02]."
    )


def state(text: bytes) -> bytes:
    """A training checkpoint: an empty state dict, and beside it a list with anything."""
    return b"}(X\x0a\x00\x00\x00state_dict}X\x01\x00\x00\x00o](" + text + b"eu"


def names_in_a_dict(count: int) -> bytes:
    return b"}(" + b"".join(b"X\7\0\0\0%07dN" % name for name in range(count)) + b"uq\0"


def tuples_of_one_hash() -> bytes:
    """A list of 256 tuples of eight numbers, -1 and -2, which have one hash; each is in the memo."""
    numbers = b"J\xff\xff\xff\xff", b"J\xfe\xff\xff\xff"
    rows = [b"(" + b"".join(numbers[row >> bit & 1] for bit in range(8)) + b"tq" + bytes([row]) for row in range(256)]
    return b"](" + b"".join(rows) + b"e"


def pairs_of_tuples() -> bytes:
    """All 65,536 pairs of them, as the keys of a dict."""
    return b"".join(b"h%ch%c\x86N" % (one, other) for one in range(256) for other in range(256))


def multiple(number: int) -> bytes:
    """A multiple of the modulus of hashes, and a value."""
    return b"\x8a\x0a" + (number * (2**61 - 1)).to_bytes(10, "little") + b"N"


def records(folder: Path, number: int) -> None:
    with zipfile.ZipFile(folder / "pytorch_model.bin", "w") as archive:
        archive.writestr("m/data.pkl", b"\x80\x02}.")
        archive.writestr("m/version", b"3\n")
        for record in range(number):
            archive.writestr(f"m/data/{record}", b"")


def sealed(content: bytes, kind: int) -> bytes:
    crc = google_crc32c.value(content + bytes([kind]))
    masked = ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
    return content + bytes([kind]) + struct.pack("<I", masked)


def number(value: int) -> bytes:
    return bytes([value & 0x7F | 0x80]) + number(value >> 7) if value > 0x7F else bytes([value])


def index(folder: Path, block: bytes) -> None:
    """An index of one block, compressed."""
    content = bytes(cramjam.snappy.compress_raw(block))
    handle = number(0) + number(len(content))
    top = b"\0\x01" + number(len(handle)) + b"k" + handle + struct.pack("<2I", 0, 1)
    first = sealed(content, 1)
    footer = b"\0\0" + number(len(first)) + number(len(top))
    data = first + sealed(top, 0) + footer.ljust(40, b"\0") + (0xDB4775248B80FB57).to_bytes(8, "little")
    (folder / "model.ckpt.index").write_bytes(data)
    (folder / "model.ckpt.data-00000-of-00001").write_bytes(b"")


def many_names(folder: Path) -> None:
    """Names of 4,000 bytes, of which each entry adds seven to the one before."""
    entries = [b"\0" + number(4000) + b"\0" + b"a" * 3993 + b"0000000"]
    entries += [number(3993) + b"\x07\0" + b"%07d" % n for n in range(1, 400_000)]
    index(folder, b"".join(entries) + struct.pack("<2I", 0, 1))


def entry(key: bytes, value: bytes) -> bytes:
    return b"\0" + number(len(key)) + number(len(value)) + key + value


def one_tensor(folder: Path, value: bytes) -> None:
    index(folder, entry(b"", b"\x08\x01") + entry(b"a", value) + struct.pack("<2I", 0, 1))


def many_handles(folder: Path) -> None:
    """A block that says where 300,000 others are."""
    handle = b"\0\x00\x02\0\0"
    top = handle * 300_000 + struct.pack("<2I", 0, 1)
    footer = b"\0\0" + number(0) + number(len(top))
    data = sealed(top, 0) + footer.ljust(40, b"\0") + (0xDB4775248B80FB57).to_bytes(8, "little")
    (folder / "model.ckpt.index").write_bytes(data)


def text(folder: Path, name: str, content: bytes) -> None:
    begin = struct.pack("<Q", len(content)) if name.endswith("safetensors") else b""
    (folder / name).write_bytes(begin + content)


def names(number: int) -> bytes:
    return b'{"__metadata__":{%s}}' % b",".join(b'"%x":""' % name for name in range(number))


def header(folder: Path, tensors: int) -> None:
    text = json.dumps({f"{n:07d}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for n in range(tensors)})
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text.encode())


def array(folder: Path) -> None:
    (folder / "params_shapes.json").write_text("[[1000000, 1000000]]")
    text = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,), }\n"
    (folder / "params_0.npy").write_bytes(b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text)


CALL = b"ccollections\nOrderedDict\nq\1"
LISTS, DICTS = b"[],", b"{},"
INDEX = "model.safetensors.index.json"

BOMBS: dict[str, tuple[Callable[[Path], object], str]] = {
    "a pickle of 30 million values": (lambda folder: pickle(folder, b"N" * 30_000_000), "WeightsLimitError"),
    "a pickle of a million dicts": (lambda folder: pickle(folder, b"](" + b"}" * 10**6 + b"e"), "WeightsLimitError"),
    "as many dicts as a pickle may have": (
        lambda folder: pickle(folder, b"](X\0\0\xe0\0" + b"a" * 14 * MEGABYTE + b"}" * 599_000 + b"e"),
        "WeightsMismatchError",
    ),
    "as many beside a state dict": (lambda folder: pickle(folder, state(b"}" * 599_000)), ""),
    "as many numbers beside a state dict": (lambda folder: pickle(folder, state(b"G12345678" * 599_000)), ""),
    "as many in an older file": (lambda folder: legacy(folder, state(b"}" * 599_000)), ""),
    "places in memory": (lambda folder: pickle(folder, b"}r\xff\xff\xff\x7f"), "WeightsLimitError"),
    "tuples in tuples": (lambda folder: pickle(folder, b")" + b"q\x01h\x01\x86" * 60), "WeightsLimitError"),
    "a call for bytes": (
        lambda folder: pickle(folder, b"cbuiltins\nbytearray\nJ\xff\xff\xff\x7f\x85R"),
        "UnsafeWeightsError",
    ),
    "copies of one dict": (
        lambda folder: pickle(
            folder, state(names_in_a_dict(100_000) + b"ccollections\nOrderedDict\nh\0\x85R" * 50_000)
        ),
        "CorruptWeightsError",
    ),
    "attributes of one dict": (
        lambda folder: pickle(folder, state(names_in_a_dict(100_000) + CALL + b")R" + b"h\0b" * 50_000)),
        "WeightsLimitError",
    ),
    "tuples of one hash as keys": (
        lambda folder: pickle(folder, state(tuples_of_one_hash() + b"}(" + pairs_of_tuples() + b"u")),
        "WeightsLimitError",
    ),
    "numbers of one hash as keys": (
        lambda folder: pickle(folder, state(b"}(" + b"".join(map(multiple, range(100_000))) + b"u")),
        "CorruptWeightsError",
    ),
    "80,000 records": (lambda folder: records(folder, 80_000), "WeightsLimitError"),
    "as many records as a list may have": (lambda folder: records(folder, 70_000), ""),
    "zeros in a block": (lambda folder: index(folder, bytes(300 * MEGABYTE)), "WeightsLimitError"),
    "long names": (many_names, "WeightsLimitError"),
    "numbers in an entry": (lambda folder: one_tensor(folder, b"\x08\x00" * 7_000_000), "WeightsLimitError"),
    "as many as an entry may have": (lambda folder: one_tensor(folder, b"\x08\x00" * 2_000_000), "CorruptWeightsError"),
    "as many pieces": (lambda folder: one_tensor(folder, b"\x3a\x00" * 2_000_000), "CorruptWeightsError"),
    "as many axes": (
        lambda folder: one_tensor(folder, b"\x08\x01\x12" + number(4_000_000) + b"\x12\x00" * 2_000_000),
        "WeightsLimitError",
    ),
    "handles of blocks": (many_handles, "CorruptWeightsError"),
    "180,000 tensors": (lambda folder: header(folder, 180_000), "WeightsLimitError"),
    "as many tensors as a header may have": (lambda folder: header(folder, 20_000), ""),
    "lists in a header": (
        lambda folder: text(folder, "model.safetensors", b'{"a":[' + LISTS * 5_500_000 + b"0]}"),
        "WeightsLimitError",
    ),
    "metadata": (lambda folder: text(folder, "model.safetensors", names(1_400_000)), "WeightsLimitError"),
    "as much metadata as a header may have": (lambda folder: text(folder, "model.safetensors", names(399_000)), ""),
    "objects in an index": (
        lambda folder: text(folder, INDEX, b'{"weight_map":[' + DICTS * 5_500_000 + b"0]}"),
        "CorruptWeightsError",
    ),
    "an array of a tebibyte": (array, "CorruptWeightsError"),
    "arrays without numbers": (
        lambda folder: (array(folder), text(folder, "params_shapes.json", b"[" + LISTS * 1_390_000 + b"[]]")),
        "ConfigError",
    ),
}
"""What is written, and the error; none where it is read, because it is just within what is allowed."""


@pytest.mark.slow
@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_is_refused_before_it_costs_time_or_200_megabytes(
    limits: Callable[..., Any], tmp_path: Path, bomb: str
) -> None:
    make, error = BOMBS[bomb]
    make(tmp_path)
    paths = {path.name: path for path in tmp_path.iterdir()}
    for read in (lambda found: found.headers(), lambda found: dict(found.spec.loader.load()(paths).items())):
        raised = ""
        with limits(seconds=60):  # a quiet machine takes two; unguarded, most would take minutes
            try:
                read(find_weights(paths, None))
            except RegistryError as problem:
                raised = type(problem).__name__
        assert raised == error
