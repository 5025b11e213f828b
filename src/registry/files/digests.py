"""The size and sha256 of files."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from zlib import crc32

from attrs import field, frozen, validators

if TYPE_CHECKING:
    from hashlib import _Hash


@frozen
class FileDigest:
    """Size and sha256 of a file."""

    size: int = field(validator=validators.and_(validators.instance_of(int), validators.ge(0)))
    """Bytes."""
    sha256: str = field(validator=validators.matches_re("[0-9a-f]{64}"))
    """64 hex digits."""

    @classmethod
    def of(cls, path: Path) -> "FileDigest":
        """The digest of a file, whose bytes are read.

        Raises:
            OSError: The file cannot be read.
        """
        return FileDigest(path.stat().st_size, sha256_of(path))

    @classmethod
    def from_json(cls, keys: Mapping[str, Any]) -> Self:
        """The digest that ``to_json`` wrote.

        Raises:
            KeyError: ``size`` or ``sha256`` is missing.
            TypeError: ``keys`` is not a mapping, or a value is of another type.
            ValueError: A value is impossible.
        """
        return cls(keys["size"], keys["sha256"])

    def to_json(self) -> dict[str, Any]:
        """The digest as a JSON object."""
        return {"size": self.size, "sha256": self.sha256}


def sha256_of(path: Path) -> str:
    """The sha256 of a file.

    Returns:
        64 hex digits.

    Raises:
        OSError: The file cannot be read.
    """
    return hash_file(path, hashlib.sha256())


def hash_file(path: Path, digest: "_Hash") -> str:
    """The hex digest of a file.

    Args:
        path: The file.
        digest: What hashes it, for instance ``hashlib.sha256()``; it may have begun with a prefix.

    Raises:
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: digest).hexdigest()


def sample_of(path: Path) -> tuple[int, int]:
    """Size and checksum of four pages of a file, spread over it: what tells checkpoints apart without reading them.

    Raises:
        OSError: The file cannot be read.
    """
    size, page, checksum = path.stat().st_size, 4096, 0
    with path.open("rb", buffering=0) as file:
        for number in range(4):
            file.seek(max(0, size - page) * number // 3)
            checksum = crc32(file.read(page), checksum)
    return size, checksum
