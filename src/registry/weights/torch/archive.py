"""The zip archive in which ``torch.save`` keeps a pickle, and each storage as a record of its own.

Other readers of zip archives see other things in one that was made for it, so only what torch writes is let through:
plain records of known names, none twice, no bytes before or behind them, each called by one name in both its headers.
"""

import os
import re
import zipfile
from collections.abc import Mapping
from typing import IO
from zlib import crc32

from attrs import frozen

from registry.errors import CorruptWeightsError, UnsafeWeightsError, WeightsLimitError
from registry.files import zip_format
from registry.files.zip_format import EndRecord, LocalHeader, Zip64EndRecord, Zip64Locator
from registry.weights.checks import is_mine
from registry.weights.torch.pickle_scan import LARGEST_PICKLE, RESAVE, Outline, read_outline

PICKLE, VERSION = "data.pkl", "version"
FACTS = {
    VERSION: re.compile(rb"([1-9]|10)\n?"),
    "byteorder": re.compile(rb"little|big"),
    ".format_version": re.compile(rb"[0-9]{1,9}"),
    ".storage_alignment": re.compile(rb"[0-9]{1,9}"),
    ".data/serialization_id": re.compile(rb"[ -~]*"),
}
"""What may be in the small records that torch parses, by their names under the root."""
RECORDS = (PICKLE, *FACTS)
STORAGE = re.compile(r"data/[0-9]+")
"""Records of an archive, under the name of its root."""
LARGEST_DIRECTORY = 4 * 2**20
"""Bytes of the list of records, of which each takes about 100."""
LARGEST_FACT = 100
"""Bytes of a small record."""
PORTION = 256 * 1024
"""Bytes read at a time: what fits a processor's cache."""

ENCRYPTED = zip_format.ENCRYPTED | zip_format.PATCHED | zip_format.STRONGLY_ENCRYPTED | zip_format.MASKED


@frozen
class TorchArchive:
    """The pickle of an archive, and the sizes of its records."""

    pickle: bytes
    sizes: Mapping[str, int]
    """Bytes of each record, by its name under the root."""


def check_archive(file: IO[bytes], origin: str) -> Outline:
    """The outline of the state dict in an archive, which must have the storages of its tensors.

    Raises UnsafeWeightsError, CorruptWeightsError and WeightsLimitError, as ``read_archive`` and ``read_outline`` do.
    """
    archive = read_archive(file, origin)
    outline = read_outline(archive.pickle, origin)
    for key, storage in outline.storages.items():
        size = storage.nbytes
        if archive.sizes.get(f"data/{key}") != size:
            found = f"{archive.sizes[f'data/{key}']:,}" if f"data/{key}" in archive.sizes else "no"
            raise CorruptWeightsError(
                f"{origin} is damaged: {size:,} bytes should be in data/{key}, which has {found}."
            )
    return outline


def read_archive(file: IO[bytes], origin: str, *, largest: int = LARGEST_PICKLE) -> TorchArchive:
    """The pickle in an archive, after a check that all readers see the same records in it.

    Raises:
        UnsafeWeightsError: For a record that torch would not have written, or that has two names.
        CorruptWeightsError: For an archive that is cut off, put together, or has a wrong checksum.
        WeightsLimitError: For a pickle of more than ``largest`` bytes, or too many records.
    """
    members = _check_end(file, origin)
    end = file.seek(0, os.SEEK_END)
    with zipfile.ZipFile(file) as archive:
        records = archive.infolist()
        if len(records) != members:
            raise CorruptWeightsError(
                f"{origin} is damaged: {members:,} records are announced, {len(records):,} listed."
            )
        root = records[0].filename.partition("/")[0] + "/" if records else ""
        sizes = {record.filename.removeprefix(root): record.file_size for record in records}
        for record in records:
            _check_record(record, root, origin)
            if _offset_of_data(file, record, origin) + record.file_size > end:
                raise CorruptWeightsError(f"{origin} is damaged: {record.filename!r} reaches beyond its end.")
        if len({name.casefold() for name in sizes}) < len(records):
            raise UnsafeWeightsError(f"{origin} holds two records of one name: readers differ in which one counts.")
        if not records or records[0].header_offset:
            raise CorruptWeightsError(f"{origin} holds bytes before its records: it was assembled from parts.")
        if sizes.get(PICKLE, 0) > largest:
            raise WeightsLimitError(
                f"{origin} holds a pickle of {sizes[PICKLE]:,} bytes, where {largest:,} are allowed."
            )
        if VERSION not in sizes:
            raise CorruptWeightsError(f"{origin} is damaged: its record {VERSION!r} is missing.")
        for name, pattern in FACTS.items():
            if name in sizes:
                _check_fact(file, archive.getinfo(root + name), pattern, origin)
        return TorchArchive(_content(file, archive.getinfo(root + PICKLE), origin), sizes)


def check_sums(file: IO[bytes], origin: str) -> None:
    """Compare every record with its CRC-32, which torch does not; a writer that computes none leaves 0 there.

    Processes that load the file together compare each record in one of them.  Raises CorruptWeightsError.
    """
    portion = memoryview(bytearray(PORTION))
    with zipfile.ZipFile(file) as archive:
        own = (record for record in archive.infolist() if record.CRC and is_mine(crc32(record.filename.encode())))
        for record in own:
            file.seek(_offset_of_data(file, record, origin))
            found, left = 0, record.file_size
            while left > 0 and (count := file.readinto(portion[:left])):  # type: ignore[attr-defined]
                found = crc32(portion[:count], found)
                left -= count
            if left or found != record.CRC:
                raise CorruptWeightsError(f"{origin} is damaged: the checksum of {record.filename!r} is wrong.")


# --- Parts of an archive ----------------------------------------------------------------------------------------------


def _check_end(file: IO[bytes], origin: str) -> int:
    """The number of records that the end of an archive announces.

    Refuses an archive that does not end with its end, or whose records are more than a state dict needs.
    """
    before = zip_format.ZIP64_END_SIZE + zip_format.ZIP64_LOCATOR_SIZE
    length = before + zip_format.END_SIZE
    file.seek(-min(length, file.seek(0, os.SEEK_END)), os.SEEK_END)
    last = file.read().rjust(length, b"\0")
    end = EndRecord.of(last[before:])
    if end.signature != zip_format.END_SIGNATURE or end.comment_length:
        raise CorruptWeightsError(f"{origin} holds bytes after its records, or was cut off.")
    last_record: EndRecord | Zip64EndRecord = end
    if last.startswith(zip_format.ZIP64_LOCATOR_SIGNATURE, zip_format.ZIP64_END_SIZE):
        larger = Zip64EndRecord.of(last[: zip_format.ZIP64_END_SIZE])
        locator = Zip64Locator.of(last[zip_format.ZIP64_END_SIZE : before])
        place = (locator.disk, locator.offset, locator.disks)
        known = larger.record_size == zip_format.ZIP64_REST and place == (0, file.tell() - length, 1)
        if larger.signature != zip_format.ZIP64_END_SIGNATURE or not known:
            raise CorruptWeightsError(f"{origin} is damaged: its list of records is missing.")
        last_record = larger
    size, members = last_record.directory_size, last_record.members
    if (last_record.disk, last_record.directory_disk, last_record.members_on_disk) != (0, 0, members):
        raise CorruptWeightsError(f"{origin} is damaged: its records are said to be in several archives.")
    if size > LARGEST_DIRECTORY:
        raise WeightsLimitError(f"{origin} lists its records in {size:,} bytes; the maximum is {LARGEST_DIRECTORY:,}.")
    _check_directory(file, last_record, origin)
    return members


def _check_directory(file: IO[bytes], end: EndRecord | Zip64EndRecord, origin: str) -> None:
    """Refuse a list of records whose last entry reaches beyond its end, which readers cut off or refuse."""
    file.seek(end.directory_offset)
    directory = file.read(end.directory_size)
    position = 0
    for _ in range(end.members):
        if len(directory) - position < zip_format.ENTRY_SIZE:
            break
        position += zip_format.ENTRY_SIZE + sum(zip_format.lengths_in_entry(directory, position))
    if position != end.directory_size:
        raise CorruptWeightsError(f"{origin} is damaged: the list of its records has another length than it says.")


def _check_record(record: zipfile.ZipInfo, root: str, origin: str) -> None:
    name = record.filename.removeprefix(root)
    if name not in RECORDS and not STORAGE.fullmatch(name):
        raise UnsafeWeightsError(f"{origin} holds {record.filename!r}, which no state dict needs.", hint=RESAVE)
    if record.compress_type != zipfile.ZIP_STORED or record.flag_bits & ENCRYPTED:
        raise UnsafeWeightsError(f"{origin} holds {record.filename!r} compressed or encrypted, as torch never does.")
    if record.compress_size != record.file_size or record.volume or record.external_attr & zip_format.DOS_DIRECTORY:
        raise CorruptWeightsError(
            f"{origin} is damaged: the entry of {record.filename!r} is not that of a plain record."
        )


def _offset_of_data(file: IO[bytes], record: zipfile.ZipInfo, origin: str) -> int:
    """The offset of the bytes of a record, after a check that both of its headers give it one name."""
    file.seek(record.header_offset)
    header = LocalHeader.of(file.read(zip_format.LOCAL_SIZE))
    if header.signature != zip_format.LOCAL_SIGNATURE or file.read(header.name_length) != record.orig_filename.encode():
        raise UnsafeWeightsError(f"{origin} calls {record.filename!r} by another name before its bytes.")
    return record.header_offset + header.length


def _check_fact(file: IO[bytes], record: zipfile.ZipInfo, pattern: re.Pattern[bytes], origin: str) -> None:
    """Refuse a small record that torch could not parse."""
    if record.file_size > LARGEST_FACT or pattern.fullmatch(_content(file, record, origin)) is None:
        raise CorruptWeightsError(f"{origin} is damaged: {record.filename!r} holds what torch never writes there.")


def _content(file: IO[bytes], record: zipfile.ZipInfo, origin: str) -> bytes:
    """The bytes of a record; a writer that computes no checksum leaves 0 there, which ``zipfile`` would refuse."""
    file.seek(_offset_of_data(file, record, origin))
    data = file.read(record.file_size)
    if record.CRC not in (0, crc32(data)):
        raise CorruptWeightsError(f"{origin} is damaged: the checksum of {record.filename!r} is wrong.")
    return data
