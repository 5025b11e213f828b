"""The manifest of a saved directory, ``registry.json``: size and sha256 of each file, and where they come from."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import field, frozen

from registry.errors import ConfigError, warn
from registry.files.atomic import is_staging
from registry.files.digests import FileDigest
from registry.files.filenames import JOURNAL_NAME, MANIFEST_NAME
from registry.files.strict_json import read_json_object
from registry.formatting import first_of
from registry.records import Paths

SCHEMA = 1
IN_SUBDIRECTORY = r"(?!\.\.?/)[^/\\\x00-\x1f]+/(?!\.\.?$)[^/\\\x00-\x1f]+"
"""Names of files in a subdirectory: ``1_Pooling/config.json``."""


@frozen(kw_only=True)
class Manifest:
    """The content of ``registry.json`` in a saved directory."""

    files: Mapping[str, FileDigest]
    """Every file of the directory but the manifest itself."""
    about: Mapping[str, Any] = field(factory=dict)
    """Origin, architecture, task and versions."""

    def to_json(self) -> str:
        """The text of the file."""
        files = {name: digest.to_json() for name, digest in self.files.items()}
        return json.dumps({"schema": SCHEMA, **self.about, "files": files}, indent=2) + "\n"

    def located(self, paths: Paths) -> Paths:
        """``paths``, with the listed files that lie in subdirectories of the saved directory."""
        directory = paths[MANIFEST_NAME].parent
        inside = {name: directory / name for name in self.files if re.fullmatch(IN_SUBDIRECTORY, name)}
        return {**{name: path for name, path in inside.items() if path.is_file()}, **paths}

    def disagreements(self, paths: Paths) -> list[str]:
        """Names of files that are missing from ``paths``, or have another size; nothing is hashed."""
        found = self.located(paths)
        return [name for name, digest in self.files.items() if name not in found or _size(found[name]) != digest.size]


def read_manifest(paths: Paths) -> Manifest | None:
    """The manifest among ``paths``; None when there is none.

    Raises:
        ConfigError: It is damaged.
    """
    path = paths.get(MANIFEST_NAME)
    if path is None:
        return None
    keys = read_json_object(path)
    try:
        files = {str(name): FileDigest.from_json(entry) for name, entry in keys["files"].items()}
    except (KeyError, TypeError, ValueError, AttributeError) as problem:
        raise ConfigError(
            f"{path} is not a manifest of a saved directory: it lists no sizes and digests under 'files'.",
            hint=f"Remove {MANIFEST_NAME} if the directory was not written by this library.",
        ) from problem
    return Manifest(files=files, about={key: value for key, value in keys.items() if key != "files"})


def warn_of_disagreements(paths: Paths) -> None:
    """Warn about files that are not as the manifest says: a save was interrupted, or files were changed since."""
    if JOURNAL_NAME in paths:
        _warn_of_journal(paths)
    manifest = read_manifest(paths)
    changed = [] if manifest is None else manifest.disagreements(paths)
    if changed:
        warn(
            f"{', '.join(changed)} in {paths[MANIFEST_NAME].parent} differ in size from their entries in "
            f"{MANIFEST_NAME}: saving was interrupted, or they were changed since. Save the model again to repair it."
        )


def _warn_of_journal(paths: Paths) -> None:
    """Warn about a save whose files did not all get their names: this library reads what was saved, others may not."""
    directory = paths[JOURNAL_NAME].parent
    staged = [name for name, path in paths.items() if is_staging(path.parent.name)]
    warn(
        f"Saving into {directory} was interrupted while its files were renamed. The saved files are read, "
        f"{first_of(staged) or 'none'} from the staging directory; other libraries may read a mixture of two models. "
        f"Save the model again to repair it."
    )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1
