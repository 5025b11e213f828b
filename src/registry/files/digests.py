"""The size and sha256 of files."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from attrs import field, frozen, validators


@frozen
class FileDigest:
    """Size in bytes and sha256 (64 hex digits) of a file."""

    size: int = field(validator=validators.and_(validators.instance_of(int), validators.ge(0)))
    sha256: str = field(validator=validators.matches_re("[0-9a-f]{64}"))

    @classmethod
    def of(cls, path: Path) -> Self:
        """Read and hash a file.  Raises OSError."""
        return cls(path.stat().st_size, sha256_of(path))

    @classmethod
    def from_json(cls, keys: Mapping[str, Any]) -> Self:
        """The digest that ``to_json`` wrote.  Raises KeyError, TypeError or ValueError for anything else."""
        return cls(int(keys["size"]), str(keys["sha256"]))

    def to_json(self) -> dict[str, Any]:
        """The digest as an object of JSON."""
        return {"size": self.size, "sha256": self.sha256}


def sha256_of(path: Path) -> str:
    """The sha256 of a file, as 64 hex digits.  Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
