"""Weights as ``torch.save`` writes them: a zip archive, or one file with pickles in front as before torch 1.6.

Nothing here runs what a file says: the pickle is looked through before torch reads it, torch reads it with
``weights_only=True``, and there is no other way.
"""

import io
import os
import pickle
import re
import struct
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar
from zlib import crc32

from registry.errors import (
    CorruptWeightsError,
    RegistryError,
    UnsafeWeightsError,
    WeightsLimitError,
    WeightsMismatchError,
)
from registry.records import Paths
from registry.serialization import WEIGHTS_INDEX_NAME, WEIGHTS_NAME
from registry.weights.headers import Header
from registry.weights.pickles import LARGEST_PICKLE, MOST_INSTRUCTIONS, RESAVE, Outline, read_outline
from registry.weights.shards import FileNames, load_files, read_headers, start

if TYPE_CHECKING:
    from torch import Tensor

KindT = TypeVar("KindT")

FILES = FileNames(WEIGHTS_NAME, WEIGHTS_INDEX_NAME)

WRAPPERS = ("state_dict", "model_state_dict")
"""Keys under which training scripts keep the state dict, beside the state of the optimizer."""

ZIP = b"PK\x03\x04"
LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""A pickle of the number with which torch's older files begin."""
LEGACY_PICKLES = (100, 100, 1000, MOST_INSTRUCTIONS, 100_000)
"""Most instructions of: magic number, protocol, system, state dict, and the keys of the memory that follows."""
COUNT = 8
"""Bytes of the number of elements that stands before each piece of memory."""

RECORDS = ("data.pkl", "version", "byteorder", ".format_version", ".storage_alignment", ".data/serialization_id")
STORAGE = re.compile(r"data/[0-9]+")
"""Records of an archive, under the name of its root."""
LOCAL = struct.Struct("<4s22xHH")
"""What stands before each record: a mark, and how long its name and its extra field are."""
END = struct.Struct("<4s8xL4xH")
"""The record with which an archive ends: a mark, the bytes of the list of records, and those of a comment."""
LARGER_END = struct.Struct("<4s36xQ8x4s16x")
"""What stands before it where a record has 4 GB or more, and always in torch's files: the same for larger numbers."""
LARGEST_LIST = 4 * 2**20
"""Bytes; a record takes about 100."""
PORTION = 256 * 1024
"""Bytes read at a time: what fits a processor's cache."""
ENCRYPTED = 1
"""Bit of a record's flags."""


def detect(paths: Paths) -> bool:
    """Whether the weights among ``paths`` begin as files of torch do."""
    return FILES.begin(paths, _begins_torch)


def _begins_torch(first: bytes) -> bool:
    """The name of the first record begins at byte 30 of a zip archive."""
    return first.startswith(LEGACY) or (first.startswith(ZIP) and b"/data.pkl" in first[30:])


def load(paths: Paths) -> "Mapping[str, Tensor]":
    """The tensors among ``paths``, on the CPU; mapped from disk where the file is an archive.

    Raises MissingFileError, UnsafeWeightsError for a file that could run code, CorruptWeightsError, WeightsLimitError,
    and WeightsMismatchError for one that holds something else than a state dict.
    """
    return load_files(paths, FILES, read)


def read(path: Path) -> "dict[str, Tensor]":
    """The state dict in one file."""
    import torch

    archive = start(path).startswith(ZIP)
    with path.open("rb") as file, _damage_as_corrupt(path):
        before = _identity(os.fstat(file.fileno()))
        state_dict(check(file, str(path)).root, Header, str(path))
        if archive:
            check_sums(file, str(path))
        found = torch.load(path, map_location="cpu", weights_only=True, mmap=archive)
        if _identity(path.stat()) != before:
            raise CorruptWeightsError(f"{path} was changed while it was read.", hint="Load it again.")
    tensors: dict[str, Tensor] = state_dict(found, torch.Tensor, str(path))
    _check_claims(tensors, str(path))
    return tensors


def _identity(status: os.stat_result) -> tuple[int, ...]:
    """What changes when another file takes the place of one, or its bytes do."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def headers(paths: Paths) -> "dict[str, Header]":
    """What the tensors among ``paths`` look like, from the outlines of their pickles; needs no torch."""
    return read_headers(paths, FILES, read_file_headers)


def read_file_headers(path: Path) -> "dict[str, Header]":
    """What the tensors of one file look like; errors are those of ``load``."""
    with path.open("rb") as file, _damage_as_corrupt(path):
        root = check(file, str(path)).root
    return state_dict(root, Header, str(path))


@contextmanager
def _damage_as_corrupt(path: Path) -> Iterator[None]:
    """Turn what readers raise for damaged files, which is of every kind, into CorruptWeightsError."""
    try:
        yield
    except RegistryError:
        raise
    except pickle.UnpicklingError:  # its text advises to switch the protection off, so nobody should read it
        raise CorruptWeightsError(f"{path} is damaged: its pickle cannot be read.") from None
    except Exception as problem:
        raise CorruptWeightsError(f"{path} is damaged: reading it ended in a {type(problem).__name__}.") from problem


# --- Before torch reads -----------------------------------------------------------------------------------------------


def check(file: IO[bytes], origin: str) -> Outline:
    """Refuse a file that does more than describe a state dict, or lacks its memory; returns what it describes."""
    archive = file.read(len(ZIP)) == ZIP
    file.seek(0)
    return (_check_archive if archive else _check_legacy)(file, origin)


def _check_archive(file: IO[bytes], origin: str) -> Outline:
    """Refuse an archive that torch would not have written, or that two readers could understand differently."""
    _check_end(file, origin)
    with zipfile.ZipFile(file) as archive:
        records = archive.infolist()
        root = records[0].filename.partition("/")[0] + "/" if records else ""
        sizes = {record.filename.removeprefix(root): record.file_size for record in records}
        for record in records:
            _check_record(record, root, origin)
            _data_of(file, record, origin)
        if len({name.casefold() for name in sizes}) < len(records):
            raise UnsafeWeightsError(f"{origin} holds two records of one name: readers differ in which one counts.")
        if not records or records[0].header_offset:
            raise CorruptWeightsError(f"{origin} holds bytes before its records: it was put together.")
        if sizes.get("data.pkl", 0) > LARGEST_PICKLE:
            raise WeightsLimitError(f"{origin} holds a pickle larger than any state dict needs.")
        outline = read_outline(io.BytesIO(_pickle(file, archive.getinfo(root + "data.pkl"), origin)), origin)
    for key, size in outline.storages.items():
        if sizes.get(f"data/{key}") != size:
            found = f"{sizes[f'data/{key}']:,}" if f"data/{key}" in sizes else "no"
            raise CorruptWeightsError(
                f"{origin} is damaged: {size:,} bytes should be in data/{key}, which has {found}."
            )
    return outline


def _pickle(file: IO[bytes], record: zipfile.ZipInfo, origin: str) -> bytes:
    """The pickle of an archive; a writer that computes no checksum leaves 0 there, which ``zipfile`` would refuse."""
    file.seek(_data_of(file, record, origin))
    data = file.read(record.file_size)
    if record.CRC not in (0, crc32(data)):
        raise CorruptWeightsError(f"{origin} is damaged: the checksum of {record.filename!r} is wrong.")
    return data


def _check_end(file: IO[bytes], origin: str) -> None:
    """Refuse an archive that does not end with its end, or whose records are more than a state dict needs."""
    file.seek(-min(LARGER_END.size + END.size, file.seek(0, os.SEEK_END)), os.SEEK_END)
    last = file.read().rjust(LARGER_END.size + END.size, b"\0")
    mark, size, comment = END.unpack_from(last, LARGER_END.size)
    if mark != b"PK\x05\x06" or comment:
        raise CorruptWeightsError(f"{origin} holds bytes after its records, or was cut off.")
    larger_mark, larger_size, locator = LARGER_END.unpack_from(last)
    if locator == b"PK\x06\x07":
        if larger_mark != b"PK\x06\x06":
            raise CorruptWeightsError(f"{origin} is damaged: the list of its records is nowhere.")
        size = larger_size
    if size > LARGEST_LIST:
        raise WeightsLimitError(f"{origin} lists its records in {size:,} bytes, where {LARGEST_LIST:,} are the most.")


def _data_of(file: IO[bytes], record: zipfile.ZipInfo, origin: str) -> int:
    """Where the data of a record begin, after a check that it is called there as in the list at the end."""
    file.seek(record.header_offset)
    header = file.read(LOCAL.size)
    mark: bytes
    name_length: int
    extra_length: int
    mark, name_length, extra_length = LOCAL.unpack(header)
    if mark != ZIP or file.read(name_length) != record.orig_filename.encode():
        raise UnsafeWeightsError(f"{origin} calls {record.filename!r} otherwise in another place.")
    return record.header_offset + LOCAL.size + name_length + extra_length


def check_sums(file: IO[bytes], origin: str) -> None:
    """Compare every record with its CRC-32, which torch does not; a writer that computes none leaves 0 there."""
    portion = memoryview(bytearray(PORTION))
    with zipfile.ZipFile(file) as archive:
        for record in filter(lambda record: record.CRC, archive.infolist()):
            file.seek(_data_of(file, record, origin))
            found, left = 0, record.file_size
            while left > 0 and (count := file.readinto(portion[:left])):  # type: ignore[attr-defined]
                found = crc32(portion[:count], found)
                left -= count
            if left or found != record.CRC:
                raise CorruptWeightsError(f"{origin} is damaged: the checksum of {record.filename!r} is wrong.")


def _check_record(record: zipfile.ZipInfo, root: str, origin: str) -> None:
    name = record.filename.removeprefix(root)
    if name not in RECORDS and not STORAGE.fullmatch(name):
        raise UnsafeWeightsError(f"{origin} holds {record.filename!r}, which no state dict needs.", hint=RESAVE)
    if record.compress_type != zipfile.ZIP_STORED or record.flag_bits & ENCRYPTED:
        raise UnsafeWeightsError(f"{origin} holds {record.filename!r} compressed or encrypted, as torch never does.")


def _check_legacy(file: IO[bytes], origin: str) -> Outline:
    """Refuse a file of torch before 1.6 with pickles that do more than describe a state dict, or without its memory."""
    if file.read(len(LEGACY)) != LEGACY:
        raise CorruptWeightsError(f"{origin} is not what torch.save writes, or was cut off.", hint=RESAVE)
    file.seek(0)
    *_, state, keys = [read_outline(file, origin, most) for most in LEGACY_PICKLES]
    needed = file.tell() + sum(COUNT + size for size in state.storages.values())
    if sorted(keys.root) != sorted(state.storages) or needed != os.fstat(file.fileno()).st_size:
        raise CorruptWeightsError(f"{origin} is damaged: it does not hold just the memory that its tensors need.")
    return state


# --- What was read ----------------------------------------------------------------------------------------------------


def state_dict(found: Any, kind: "type[KindT]", origin: str) -> "dict[str, KindT]":
    """The plain dict of tensors in what a file holds, be it wrapped in what a training script saves.

    ``kind`` is what stands for a tensor.  Raises WeightsMismatchError where it is something else.
    """
    for wrapper in WRAPPERS:
        if isinstance(found, dict) and isinstance(inner := dict.get(found, wrapper), dict):
            found = inner
    if not isinstance(found, dict):
        raise WeightsMismatchError(f"{origin} holds a {type(found).__name__}, not a dict of tensors.", hint=RESAVE)
    tensors = dict(dict.items(found))  # a file can give its dict another method `items`
    for name, tensor in tensors.items():
        if not isinstance(name, str) or not isinstance(tensor, kind):
            raise WeightsMismatchError(
                f"{origin} holds a {type(tensor).__name__} under {name!r:.80}, where tensors under names are needed.",
                hint=f"A state dict is found at the top, or under {' or '.join(map(repr, WRAPPERS))}.",
            )
    return tensors


def _check_claims(tensors: "Mapping[str, Tensor]", origin: str) -> None:
    """Refuse a tensor that claims more numbers than it has memory."""
    for name, tensor in tensors.items():
        stored = tensor.untyped_storage().nbytes()
        if tensor.numel() * tensor.itemsize > stored:
            raise WeightsMismatchError(
                f"{origin}: {name!r} claims the shape {tuple(tensor.shape)}, with {stored:,} bytes."
            )
