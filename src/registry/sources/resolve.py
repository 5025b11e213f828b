"""A name -> where its files are: a card, a folder, a file, a package, an address or a repository of the hub.

A resolution says nothing of the architecture; that is decided once the configuration is on disk.
"""

import os
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Literal, TypeAlias
from urllib.parse import unquote, urlsplit

from attrs import evolve, frozen

from registry import discovery
from registry.errors import (
    MissingFileError,
    RegistryWarning,
    UnknownModelError,
    UnknownOptionError,
    did_you_mean,
    suggestions,
)
from registry.records import Card

Kind: TypeAlias = Literal["card", "directory", "file", "checkpoint", "package", "url", "archive", "hub"]

ARCHIVE_SUFFIXES = (".tar.gz", ".tgz", ".zip")
INDEX_SUFFIX = ".index"
"""What TensorFlow adds to the name of a checkpoint, its prefix, for the file that says what is in it."""
TABLE_END = (0xDB4775248B80FB57).to_bytes(8, "little")
"""The last bytes of such a file, and of a checkpoint in TensorFlow's older format."""


@frozen(kw_only=True)
class Source:
    """What a name was understood to mean, and by which rule."""

    asked: str
    kind: Kind
    rule: str
    """Why it was understood so: ``"it is the name of a card"``."""
    card: Card | None = None
    path: Path | None = None
    """The directory, file or archive on this disk; of a checkpoint the prefix, mostly the name of no file."""
    url: str | None = None
    """The address: of a file or archive, ``pkg:distribution/path``, or ``hub:organisation/name``."""
    revision: str | None = None
    """Branch, tag or commit of a repository of the hub; None for the default."""

    def __str__(self) -> str:
        where = self.card.name if self.card else self.path or self.url
        return f"{_NOUNS[self.kind]} {str(where)!r}"


_NOUNS: dict[Kind, str] = {
    "card": "model",
    "directory": "directory",
    "file": "file",
    "checkpoint": "checkpoint",
    "package": "package data",
    "url": "address",
    "archive": "archive",
    "hub": "hub repository",
}


def resolve(name: str | Path, *, revision: str | None = None) -> Source:
    """Decide what a name means, by the first of these rules that applies.

    1. An address: ``file:path``, ``https:``, ``http:``, ``hub:organisation/name@revision``, ``pkg:distribution/path``.
    2. A path: a ``Path``, or text that starts with ``.``, ``/``, ``~`` or a drive.  ``model.ckpt`` names a checkpoint
       of TensorFlow where there is a ``model.ckpt.index``.
    3. The name or an alias of a card.  It wins over a file or directory of the same name, with a warning.
    4. An existing file or directory.
    5. ``organisation/name``: a repository of the hub.

    Raises UnknownModelError, with suggestions, when none applies; MissingFileError when a path leads nowhere; and
    UnknownOptionError for a ``revision`` of something that has no revisions.
    """
    if isinstance(name, Path):
        found = _on_disk(str(name), name, "it is a Path")
    elif isinstance(name, str):
        found = _first_that_applies(name)
    else:
        raise TypeError(f"A model is named by a str or a Path, not by {name!r}.")
    return found if revision is None else _at(found, revision)


def find_card(name: str) -> Card | None:
    """The card of this name or alias, if a plugin declares one."""
    return discovery.card(name)


def unknown_model(name: str) -> UnknownModelError:
    """The error for a name that nothing has, with up to three names that may have been meant."""
    cards = discovery.every(Card)
    names = [word for card in cards for word in (card.name, *card.aliases)]
    return UnknownModelError(
        f"no model is named {name!r}.{did_you_mean(name, names)}",
        suggestions=suggestions(name, names),
        hint="It was read as a name, since no such file or folder exists; "
        f"`registry list` prints the {len(cards)} known names.{discovery.failures()}",
    )


# --- Rules ------------------------------------------------------------------------------------------------------------


def _first_that_applies(asked: str) -> Source:
    for rule in (_address, _path, _card, _existing, _repository):
        found = rule(asked)
        if found is not None:
            return found
    raise unknown_model(asked)


def _address(asked: str) -> Source | None:
    scheme, colon, rest = asked.partition(":")
    rule = _SCHEMES.get(scheme.lower()) if colon else None
    if rule is not None:
        return rule(asked, rest)
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", asked):
        raise UnknownModelError(
            f"the address {asked!r} cannot be opened.", hint=f"Addresses begin with {': or '.join(_SCHEMES)}:."
        )
    return None


def _path(asked: str) -> Source | None:
    if not re.match(r"[./~\\]|[A-Za-z]:[/\\]", asked):
        return None
    return _on_disk(asked, Path(asked), f"it starts with {asked[0]!r}")


def _card(asked: str) -> Source | None:
    card = find_card(asked)
    if card is None:
        return None
    if os.path.lexists(asked):
        warnings.warn(
            f"{asked!r} is the name of a model and of a file or folder here; the model is meant. "
            f"Write './{asked}' for the other.",
            RegistryWarning,
            stacklevel=4,
        )
    rule = "it is the name of a card" if asked == card.name else f"it is an alias of the card {card.name!r}"
    return Source(asked=asked, kind="card", rule=rule, card=card)


def _existing(asked: str) -> Source | None:
    if not any(map(os.path.exists, (asked, asked + INDEX_SUFFIX))):  # Path.exists raises for names that are too long
        return None
    return _on_disk(asked, Path(asked), "a file or folder of this name exists")


def _repository(asked: str) -> Source | None:
    rule = "it has the form organisation/name, and no such file or folder exists"
    return _in_hub(asked, asked, rule)


# --- Addresses --------------------------------------------------------------------------------------------------------


def _file_address(asked: str, rest: str) -> Source:
    """``file:gpt2`` as it stands, or ``file:///models/gpt2``, where special characters are written ``%20``."""
    path = unquote(urlsplit(asked).path) if rest.startswith("//") else rest
    return _on_disk(asked, Path(path), "it is a file: address")


def _web_address(asked: str, _rest: str) -> Source:
    kind: Kind = "archive" if urlsplit(asked).path.endswith(ARCHIVE_SUFFIXES) else "url"
    return Source(asked=asked, kind=kind, rule="it is a web address", url=asked)


def _hub_address(asked: str, rest: str) -> Source:
    found = _in_hub(asked, rest, "it is a hub: address")
    if found is None:
        raise UnknownModelError(
            f"{asked!r} is not of the form hub:organisation/name or hub:organisation/name@revision."
        )
    return found


def _package_address(asked: str, rest: str) -> Source:
    if not re.fullmatch(r"[^/]+/.+", rest):
        raise UnknownModelError(f"{asked!r} is not of the form pkg:distribution/path/in/it.")
    return Source(asked=asked, kind="package", rule="it is a pkg: address", url=asked)


_SCHEMES: dict[str, Callable[[str, str], Source]] = {
    "file": _file_address,
    "https": _web_address,
    "http": _web_address,
    "hub": _hub_address,
    "pkg": _package_address,
}


# --- Parts ------------------------------------------------------------------------------------------------------------


def _on_disk(asked: str, path: Path, rule: str) -> Source:
    path = Path(os.path.expanduser(path))  # noqa: PTH111  # Path.expanduser raises where there is no home
    if os.path.isdir(path):  # noqa: PTH112  # the methods of Path raise for names that are too long
        return Source(asked=asked, kind="directory", rule=rule, path=path)
    prefix = os.fspath(path).removesuffix(INDEX_SUFFIX)
    if os.path.isfile(prefix + INDEX_SUFFIX):  # noqa: PTH113
        return Source(asked=asked, kind="checkpoint", rule=f"{rule}, and an index lies there", path=Path(prefix))
    if os.path.isfile(path):  # noqa: PTH113
        kind: Kind = "checkpoint" if _is_table(path) else "file"
        kind = "archive" if path.name.endswith(ARCHIVE_SUFFIXES) else kind
        return Source(asked=asked, kind=kind, rule=rule, path=path)
    raise MissingFileError(
        f"there is no file or folder {str(path)!r}.{did_you_mean(path.name, _beside(path))}",
        hint=f"It was read as a path, since {rule}; `registry list` prints the names of known models.",
    )


def _is_table(path: Path) -> bool:
    """Whether a file is a checkpoint of TensorFlow's older format, in which a prefix is the name of a file."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - len(TABLE_END)))
            return file.read() == TABLE_END
    except OSError:
        return False


def _beside(path: Path) -> list[str]:
    try:
        return os.listdir(path.parent)  # noqa: PTH208  # names are all that is wanted
    except (OSError, ValueError):
        return []


def _in_hub(asked: str, repository: str, rule: str) -> Source | None:
    found = re.fullmatch(r"([A-Za-z0-9][\w.-]*/[\w.-]+)(?:@([\w./-]+))?", repository)
    if found is None:
        return None
    return Source(asked=asked, kind="hub", rule=rule, url=f"hub:{found[1]}", revision=found[2])


def _at(found: Source, revision: str) -> Source:
    """The same, at a revision; only what the hub serves has revisions."""
    if found.kind not in ("hub", "card"):
        raise UnknownOptionError(f"{found} has no revisions, so revision={revision!r} means nothing.")
    if found.revision not in (None, revision):
        raise UnknownOptionError(
            f"{found.asked!r} names the revision {found.revision!r}, and revision={revision!r} another."
        )
    return evolve(found, revision=revision)
