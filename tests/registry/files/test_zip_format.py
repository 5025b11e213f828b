"""Records of zip archives, compared with those that Python's ``zipfile`` writes."""

import io
import zipfile
from zlib import crc32

import pytest

from registry.files import zip_format


def test_the_records_that_zipfile_writes_are_parsed() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.txt", b"text" * 100)
        archive.writestr("b.txt", b"")
    data = buffer.getvalue()
    first, second = zipfile.ZipFile(buffer).infolist()
    header = zip_format.LocalHeader.of(data[: zip_format.LOCAL_SIZE])
    assert header.signature == zip_format.LOCAL_SIGNATURE
    assert (header.crc, header.size) == (crc32(b"text" * 100), 400)
    assert (header.method, header.compressed_size) == (zipfile.ZIP_DEFLATED, first.compress_size)
    assert header.length + header.compressed_size == second.header_offset
    end = zip_format.EndRecord.of(data[-zip_format.END_SIZE :])
    assert (end.signature, end.members, end.comment_length) == (zip_format.END_SIGNATURE, 2, 0)
    assert end.directory_offset + end.directory_size + zip_format.END_SIZE == len(data)


def test_the_zip64_records_of_many_members_are_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 1)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for number in range(3):
            archive.writestr(f"{number}", b"")
    data = buffer.getvalue()
    locator = len(data) - zip_format.END_SIZE - zip_format.ZIP64_LOCATOR_SIZE
    assert data[locator:].startswith(zip_format.ZIP64_LOCATOR_SIGNATURE)
    end = zip_format.Zip64EndRecord.of(data[locator - zip_format.ZIP64_END_SIZE : locator])
    assert (end.signature, end.members) == (zip_format.ZIP64_END_SIGNATURE, 3)
    assert end.directory_offset + end.directory_size == locator - zip_format.ZIP64_END_SIZE
