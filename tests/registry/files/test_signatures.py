"""What a file is by its first bytes."""

import gzip
import io
import json
import pickle
import tarfile
import zipfile
from pathlib import Path

import pytest
import safetensors.torch
import torch

from registry.files.signatures import describe, recognize, recognize_stand_in, start_of

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n"


def tar() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a"))
    return file.getvalue()


def zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a", "a")
    return file.getvalue()


@pytest.mark.parametrize(
    ("start", "kind"),
    [
        (b"\n <!DOCTYPE html><html>", "an HTML page"),
        (b"<HTML lang=en>", "an HTML page"),
        (b"<?xml version='1.0'?>", "an XML document"),
        (b"<head>", "an HTML or XML page"),
        (LFS, "a git-lfs pointer instead of the file (run `git lfs pull`)"),
        (gzip.compress(b"a", mtime=0), "a gzip file"),
        (zipped(), "a zip archive"),
        (tar(), "a tar archive that is not compressed"),
        (pickle.dumps([1]), "a pickle"),
        (json.dumps({"a": 1}).encode(), "a JSON file"),
        (b"GGUF\x03\0\0\0", "a GGUF file"),
        (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
        (b"\x93NUMPY\x01\0", "a NumPy array"),
        (safetensors.torch.save({"a": torch.ones(2)}), "a safetensors file"),
        (b"12345678{", "an unknown file"),
        (b"", "an empty file"),
        (b"hello", "an unknown file"),
    ],
)
def test_a_file_is_described_by_its_first_bytes(start: bytes, kind: str) -> None:
    assert describe(start) == kind
    assert recognize(start) == (None if kind in ("an empty file", "an unknown file") else kind)


def test_only_pages_and_pointers_stand_in_for_a_file() -> None:
    assert recognize_stand_in(b"<!doctype html>") == "an HTML page"
    assert "git lfs pull" in (recognize_stand_in(LFS) or "")
    for start in (b"", b"{}", gzip.compress(b""), b"<svg>", pickle.dumps(1)):
        assert recognize_stand_in(start) is None


def test_the_start_of_a_file_is_read_and_no_more(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(2000))
    assert start_of(tmp_path / "file") == bytes(512)
    assert start_of(tmp_path / "file", 4) == bytes(4)
