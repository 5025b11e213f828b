"""Lock files: what each file of some models was, so that another computer loads the same or nothing.

::

    {
      "schema": 1,
      "models": {
        "gpt2": {
          "config.json": {
            "url": "https://huggingface.co/openai-community/gpt2/resolve/main/config.json",
            "revision": "607a30d783dfa663caf39e06633721c8d4cfcd7e",
            "size": 665,
            "sha256": "..."
          }
        }
      }
    }

Models and files stand in the order of the alphabet, so that two lock files of the same models are the same text.
``REGISTRY_LOCK`` names the file that is in force.  Then every model that has a name or an address must be in it, its
files are fetched from these addresses at these revisions, and any difference is an error.  Folders and files that are
given by their path are not locked: nothing fetches or changes them behind one's back.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import asdict, evolve, fields, frozen

from registry.cache.cache import Cache
from registry.cache.provenance import Origin, origins, recorded_address
from registry.download import hub
from registry.errors import LockError, did_you_mean
from registry.files.strict_json import MEBIBYTE, read_json_object
from registry.files.urls import redacted
from registry.records import Card, FileSpec, Paths
from registry.sources.resolve import Source

SCHEMA = 1
VARIABLE = "REGISTRY_LOCK"

Models = Mapping[str, Mapping[str, Origin]]
"""Key of a model -> name of a file -> what it was."""


@frozen
class Lock:
    """A lock file that is in force."""

    path: Path
    models: Models

    def narrow(self, resolution: Source, cache: Cache) -> Source:
        """The same model with only the addresses, digests and revision that are locked; raises LockError."""
        name = key(resolution)
        if name is None:
            return resolution
        if name not in self.models:
            raise LockError(
                f"{resolution} is not in {self.path}, which {VARIABLE} puts in force.{did_you_mean(name, self.models)}",
                hint=f"Lock it with the others, where {VARIABLE} is not set: `registry lock NAME ... > FILE`.",
            )
        files = self.models[name]
        if resolution.card is not None:
            return evolve(resolution, card=_narrowed(resolution.card, files, self.path))
        if resolution.kind == "hub" and not _is_listed(resolution, cache):
            commits = [file.revision for file in files.values() if file.revision]
            return evolve(resolution, revision=commits[0] if commits else resolution.revision)
        return resolution

    def check(self, resolution: Source, paths: Paths, cache: Cache, *, whole: bool) -> None:
        """Raise LockError, which lists what differs, unless these files (with ``whole``, all) are what is locked."""
        name = key(resolution)
        if name is None:
            return
        locked = self.models[name]
        problems = [f"{file} is missing" for file in locked if whole and file not in paths]
        for file, found in origins(resolution, paths, cache).items():
            if file not in locked:
                problems.append(f"{file} is not locked")
                continue
            for field in fields(Origin):
                now, then = getattr(found, field.name), getattr(locked[file], field.name)
                if now != then and not (field.name == "revision" and None in (now, then)):
                    problems.append(f"the {field.name} of {file} is {now}, and was {then}")
        if problems:
            raise LockError(
                f"{resolution} is not what {self.path} locks: {'; '.join(problems)}.",
                hint=f"If the change is wanted, lock it anew where {VARIABLE} is not set: `registry lock NAME ...`.",
            )


def in_force() -> Lock | None:
    """The lock file that ``REGISTRY_LOCK`` names, if it names one.  Raises LockError when it is damaged."""
    name = os.environ.get(VARIABLE)
    if not name:
        return None
    path = Path(os.path.expanduser(name))  # noqa: PTH111  # Path.expanduser raises where there is no home
    return Lock(path, read(path))


def key(resolution: Source) -> str | None:
    """What a model is called in a lock file: by its card, or its address; None for what lies on this disk."""
    if resolution.path is not None:
        return None
    name = resolution.card.name if resolution.card is not None else redacted(str(resolution.url))
    return name if resolution.revision is None else f"{name}@{resolution.revision}"


# --- Before anything is fetched ---------------------------------------------------------------------------------------


def _narrowed(card: Card, locked: Mapping[str, Origin], path: Path) -> Card:
    """The card with one address, size and digest for each file, or with none for files that were in an archive."""
    archives = [url for url in card.archives if any(_is(url, origin) for origin in locked.values())]
    single = {name: origin for name, origin in locked.items() if not any(_is(url, origin) for url in archives)}
    roles = {file.role for file in card.files if file.filename in single}
    files = [
        _pinned(file, single[file.filename], path) if file.filename in single else evolve(file, urls=())
        for file in card.files
        if file.filename in single or file.role not in roles
    ]
    return evolve(card, files=files, archives=archives)


def _pinned(file: FileSpec, locked: Origin, path: Path) -> FileSpec:
    urls = [url for url in file.urls if _is(url, locked)]
    for what, now, then in (("sha256", file.sha256, locked.sha256), ("size", file.size, locked.size)):
        if now not in (None, then):
            raise LockError(f"the card promises {what} {now} of {file.filename}, and {path} locks {then}.")
    if not urls:
        raise LockError(
            f"{path} locks {file.filename} at {locked.url}, which is not among its addresses now: "
            f"{', '.join(map(redacted, file.urls))}."
        )
    return evolve(file, urls=urls, sha256=locked.sha256, size=locked.size)


def _is(url: str, origin: Origin) -> bool:
    return recorded_address(url) == origin.url


def _is_listed(resolution: Source, cache: Cache) -> bool:
    """Whether it is settled which commit the revision is; ``check`` then compares."""
    repository = str(resolution.url).removeprefix("hub:")
    return cache.entry(hub.listing_address(repository, resolution.revision or hub.DEFAULT_REVISION)) is not None


# --- The file ---------------------------------------------------------------------------------------------------------


def dump(models: Models) -> str:
    """The text of a lock file."""
    values = {
        name: {file: _filled(asdict(origin)) for file, origin in sorted(files.items())}
        for name, files in sorted(models.items())
    }
    return json.dumps({"schema": SCHEMA, "models": values}, indent=2) + "\n"


def read(path: Path) -> Models:
    """The models in a lock file.  Raises LockError, which names the model and the file that is not as it should be."""
    keys = read_json_object(path, limit=64 * MEBIBYTE, error=LockError)
    if keys.get("schema") != SCHEMA or not isinstance(keys.get("models"), dict):
        raise LockError(
            f"{path} is no lock file: it needs 'schema', which is {SCHEMA}, and 'models'.",
            hint=f"{VARIABLE} names it; `registry lock NAME ... > FILE` writes one, where {VARIABLE} is not set.",
        )
    return {name: _read_model(name, files, path) for name, files in keys["models"].items()}


def _read_model(name: str, files: Any, path: Path) -> Mapping[str, Origin]:
    if not isinstance(files, dict) or not files:
        raise LockError(f"{path} locks no files of {name!r}.")
    found = {}
    for file, values in files.items():
        try:
            found[file] = Origin(**values)
        except (TypeError, ValueError) as problem:
            raise LockError(f"{path} is damaged at {file!r} of {name!r}: {problem}") from problem
    return found


def _filled(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
