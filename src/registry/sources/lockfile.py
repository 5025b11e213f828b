"""Lock files: what each file of some models was, so that another computer loads the same or nothing.

::

    {
      "schema": 1,
      "models": {
        "gpt2": {
          "config.json": {
            "url": "https://example.org/gpt2/config.json",
            "revision": "607a30d783dfa663caf39e06633721c8d4cfcd7e",
            "size": 665,
            "sha256": "..."
          }
        }
      }
    }

Models and files are in alphabetical order, so that two lock files of the same models are the same text.  The variable
``REGISTRY_LOCK`` names the lock file in force.  Then every model with a name or a URL must be in it, its files are
fetched from these URLs at these revisions, and any difference is an error.  Directories and files that are given by
their path are not locked: nothing fetches or changes them unasked.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import frozen

from registry.download import hub
from registry.download.policy import Policy
from registry.errors import LockError, did_you_mean
from registry.files.strict_json import MEBIBYTE, read_json_object
from registry.files.urls import redacted
from registry.records import Paths
from registry.sources.origins import Origin, origins
from registry.sources.source import Source

SCHEMA = 1
VARIABLE = "REGISTRY_LOCK"
LARGEST = 64 * MEBIBYTE
MOST_VALUES = 1_000_000
"""In a lock file, which has five for each file."""

Models = Mapping[str, Mapping[str, Origin]]
"""``Source.lock_key`` of a model -> name of a file -> its origin."""


@frozen
class Lock:
    """The lock file in force."""

    path: Path
    models: Models

    def narrow(self, source: Source, policy: Policy) -> Source:
        """The same source with only the URLs, digests and revision that are locked.

        Raises:
            LockError: The lock file does not list it, or lists other URLs, sizes or digests than it has now.
        """
        name = source.lock_key
        if name is None:
            return source
        if name not in self.models:
            raise LockError(
                f"{source} is not in the lock file {self.path} (set by {VARIABLE}).{did_you_mean(name, self.models)}",
                hint=f"Lock it together with the others, where {VARIABLE} is not set: `registry lock NAME ... > FILE`.",
            )
        return source.locked(self.models[name], self.path, policy.cache)

    def check(self, source: Source, paths: Paths, policy: Policy, *, complete: bool) -> None:
        """Compare files with those that are locked.

        Args:
            source: The source as it was resolved.
            paths: Its files.
            policy: How they were fetched.
            complete: Whether these are all files of the source.

        Raises:
            LockError: Some differ; the message lists each difference.
        """
        name = source.lock_key
        if name is None:
            return
        locked = self.models[name]
        problems = [f"{file} is missing" for file in locked if complete and file not in paths]
        for file, origin in origins(source, paths, policy.cache).items():
            problems += _differences(file, origin, locked[file]) if file in locked else [f"{file} is not locked"]
        if problems:
            raise LockError(
                f"{source} differs from the lock file {self.path} (set by {VARIABLE}): {'; '.join(problems)}.",
                hint=f"If the change is wanted, lock it again where {VARIABLE} is not set: `registry lock NAME ...`.",
            )


def _differences(file: str, now: Origin, locked: Origin) -> list[str]:
    """In what two origins of a file differ; a revision that one of them lacks is not a difference."""
    fields = {
        "url": (redacted(_at_commit(now)), redacted(_at_commit(locked))),
        "size": (now.size, locked.size),
        "sha256": (now.sha256, locked.sha256),
    }
    if now.revision is not None and locked.revision is not None:
        fields["revision"] = (now.revision, locked.revision)
    return [
        f"the {name} of {file} is {found}, and was {then}" for name, (found, then) in fields.items() if found != then
    ]


def _at_commit(origin: Origin) -> str:
    """The URL of a file, of a branch of the hub at the commit that it was."""
    there = None if origin.revision is None else hub.at_revision(origin.url, origin.revision)
    return there or origin.url


def in_force() -> Lock | None:
    """The lock file that ``REGISTRY_LOCK`` names; None where it names none.

    Raises:
        LockError: The lock file is damaged.
    """
    name = os.environ.get(VARIABLE)
    if not name:
        return None
    path = Path(os.path.expanduser(name))  # noqa: PTH111  # Path.expanduser raises where there is no home
    return Lock(path, read(path))


# --- The file ---------------------------------------------------------------------------------------------------------


def dump(models: Models) -> str:
    """The text of a lock file."""
    values = {
        name: {file: origin.to_json() for file, origin in sorted(files.items())}
        for name, files in sorted(models.items())
    }
    return json.dumps({"schema": SCHEMA, "models": values}, indent=2) + "\n"


def read(path: Path) -> Models:
    """The models in a lock file.

    Raises:
        LockError: It is damaged; the message names the model and the file.
    """
    keys = read_json_object(path, limit=LARGEST, values=MOST_VALUES, error=LockError)
    if keys.get("schema") != SCHEMA or not isinstance(keys.get("models"), dict):
        raise LockError(
            f"{path} (set by {VARIABLE}) is not a lock file: it needs 'schema', which is {SCHEMA}, and 'models'.",
            hint=f"`registry lock NAME ... > FILE` writes one, where {VARIABLE} is not set.",
        )
    return {name: _read_model(name, files, path) for name, files in keys["models"].items()}


def _read_model(name: str, files: Any, path: Path) -> Mapping[str, Origin]:
    if not isinstance(files, dict) or not files:
        raise LockError(f"the lock file {path} (set by {VARIABLE}) lists no files of {name!r}.")
    found = {}
    for file, values in files.items():
        try:
            found[file] = Origin.from_json(values)
        except (TypeError, ValueError) as problem:
            raise LockError(
                f"the lock file {path} (set by {VARIABLE}) is damaged at {file!r} of {name!r}: {problem}"
            ) from problem
    return found
