"""Files that ask for absurd amounts of memory or time are refused before they get them."""

import json
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import cramjam
import google_crc32c
import pytest

MEGABYTE = 2**20

READ = """
import resource, sys, time
from pathlib import Path
from registry.errors import RegistryError
from registry.weights.checkpoint import find_weights
before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
try:
    find_weights({path.name: path for path in Path(sys.argv[1]).iterdir()}, None).headers()
except RegistryError as error:
    print(type(error).__name__)
taken = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
assert taken < 200 * 1024, f"{taken} KB"
assert time.process_time() - start < 2, time.process_time() - start
"""


def pickle(folder: Path, text: bytes) -> None:
    with zipfile.ZipFile(folder / "pytorch_model.bin", "w") as archive:
        archive.writestr("m/data.pkl", b"\x80\x02" + text + b".")


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


def header(folder: Path, tensors: int) -> None:
    text = json.dumps({f"{n:07d}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for n in range(tensors)})
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text.encode())


def array(folder: Path) -> None:
    (folder / "params_shapes.json").write_text("[[1000000, 1000000]]")
    text = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,), }\n"
    (folder / "params_0.npy").write_bytes(b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text)


BOMBS: dict[str, tuple[Callable[[Path], object], str]] = {
    "a pickle of 30 million values": (lambda folder: pickle(folder, b"N" * 30_000_000), "WeightsLimitError"),
    "places in memory": (lambda folder: pickle(folder, b"}r\xff\xff\xff\x7f"), "WeightsLimitError"),
    "tuples in tuples": (lambda folder: pickle(folder, b")" + b"q\x01h\x01\x86" * 60), "WeightsLimitError"),
    "a call for bytes": (
        lambda folder: pickle(folder, b"cbuiltins\nbytearray\nJ\xff\xff\xff\x7f\x85R"),
        "UnsafeWeightsError",
    ),
    "zeros in a block": (lambda folder: index(folder, bytes(300 * MEGABYTE)), "WeightsLimitError"),
    "long names": (many_names, "WeightsLimitError"),
    "180,000 tensors": (lambda folder: header(folder, 180_000), "WeightsLimitError"),
    "an array of a tebibyte": (array, "CorruptWeightsError"),
}


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="peaks of memory are measured in kilobytes there")
@pytest.mark.parametrize("bomb", BOMBS)
def test_w28_a_bomb_is_refused_within_two_seconds_and_200_megabytes(tmp_path: Path, bomb: str) -> None:
    make, error = BOMBS[bomb]
    make(tmp_path)
    done = subprocess.run([sys.executable, "-c", READ, tmp_path], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, error), done.stderr
