"""The archive in which ``torch.save`` keeps a pickle, and each piece of memory as a record beside it.

It is a zip archive of plain records.  Other readers of such archives see other things in one that was made for it, so
only what torch writes is let through.
"""

import io
import os
import re
import struct
import zipfile
from typing import IO
from zlib import crc32

from registry.errors import CorruptWeightsError, UnsafeWeightsError, WeightsLimitError
from registry.weights.torch.pickle_scan import LARGEST_PICKLE, RESAVE, Outline, read_outline

ZIP = b"PK\x03\x04"
"""The mark before each record, and so at the beginning."""
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


def check_archive(file: IO[bytes], origin: str) -> Outline:
    """Refuse an archive that torch would not have written, or that two readers could understand differently."""
    _check_end(file, origin)
    whole = os.fstat(file.fileno()).st_size
    with zipfile.ZipFile(file) as archive:
        records = archive.infolist()
        root = records[0].filename.partition("/")[0] + "/" if records else ""
        sizes = {record.filename.removeprefix(root): record.file_size for record in records}
        for record in records:
            _check_record(record, root, origin)
            if _data_of(file, record, origin) + record.file_size > whole:
                raise CorruptWeightsError(f"{origin} is damaged: {record.filename!r} reaches beyond its end.")
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
