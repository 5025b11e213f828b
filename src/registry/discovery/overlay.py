"""A site's card files, named by ``REGISTRY_CARDS``, as an overlay on the cards of plugins; see ``card_file``.

An overlay is a value, not a plugin: it is read from the files as they are, and applied to whichever card wins.  A wrong
entry is an error (CardFileError) of those who use its model, or list all; the other entries stand.  New names
and aliases must not be those of first-party plugins: these mean the same on every site.
"""

import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TypeAlias

from attrs import evolve, field, frozen

from registry.discovery.card_file import CardEntry, add, entries_of
from registry.discovery.plugin import PluginInfo, names_of
from registry.errors import CardFileError
from registry.records import Card

Reserved: TypeAlias = frozenset[tuple[str, str]]
"""Names and aliases of first-party cards, each with the name of its card."""


@frozen(eq=False)
class Overlay:
    """The entries of all card files, as one value."""

    entries: tuple[CardEntry, ...]
    _additions: dict[str, list[int]] = field(init=False)
    """The numbers of the entries that add to a known card, by its name."""
    _applied: dict[int, tuple[Card, Card]] = field(factory=dict, init=False)
    """By identity of a card, it and its overlaid form: an overlaid card is the same object each time."""

    @_additions.default
    def _by_name(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for number, entry in enumerate(self.entries):
            if entry.card is None:
                found.setdefault(entry.name, []).append(number)
        return found

    def giving(self, name: str) -> CardEntry | None:
        """The entry that gives this name to a model.  Raises CardFileError when it is wrong, or another does too."""
        entries = [entry.checked() for entry in self.entries if name in entry.claims]
        return entries[0] if entries else None

    def declaring(self, card: Card) -> Path | None:
        """The file that declares this very card as a new one."""
        return next((entry.key.path for entry in self.entries if entry.card is card), None)

    def apply(self, card: Card) -> Card:
        """The card with all that is added to it.  Raises CardFileError for an entry that is wrong or contradicts it."""
        numbers = {number for name in names_of(card) for number in self._additions.get(name, ())}
        entries = [self.entries[number] for number in sorted(numbers)]
        if not entries:
            return card
        if id(card) not in self._applied:
            overlaid = card
            for entry in reversed(entries):  # mirrors go before those that are there: the first file's come first
                overlaid = add(entry.checked(), overlaid)
            self._applied[id(card)] = card, overlaid
        return self._applied[id(card)][1]

    def origin(self, card: Card) -> Card:
        """The card to which this overlay was applied when ``card`` was made; itself when it was not."""
        return next((base for base, overlaid in self._applied.values() if overlaid is card), card)


# --- Reading ----------------------------------------------------------------------------------------------------------


def card_files() -> tuple[Path, ...]:
    """The files that ``REGISTRY_CARDS`` names."""
    names = filter(None, os.environ.get("REGISTRY_CARDS", "").split(os.pathsep))
    return tuple(Path(os.path.expanduser(name)) for name in names)  # noqa: PTH111  # Path's raises where there is no home


def read_overlay(paths: Sequence[Path], reserved: Reserved) -> Overlay:
    """The overlay of these files as they are now, parsed once as long as they stay as they are.

    Raises CardFileError, with file and line, for a file that cannot be read or is not TOML: it could name any model.
    """
    return _overlay(tuple((path, _stamp(path)) for path in paths), reserved)


def _stamp(path: Path) -> tuple[int, ...]:
    """What changes when a file does."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return ()
    return status.st_mtime_ns, status.st_size, status.st_ino


@lru_cache(maxsize=4)
def _overlay(files: tuple[tuple[Path, tuple[int, ...]], ...], reserved: Reserved) -> Overlay:
    known = dict(reserved)
    claimed: dict[str, str] = {}
    return Overlay(tuple(_unique(entry, known, claimed) for path, _ in files for entry in entries_of(path)))


def _unique(entry: CardEntry, reserved: Mapping[str, str], claimed: dict[str, str]) -> CardEntry:
    """The entry; as a wrong one when a first-party plugin or an earlier entry has one of its names."""
    try:
        for name in entry.claims:
            if name in reserved:
                entry.key.refuse(
                    f"{name!r} is a name of {reserved[name]!r}, which comes with the registry.",
                    hint="Choose another name; to add mirrors and digests to a known card, leave out `architecture`.",
                )
            if name in claimed:
                entry.key.refuse(f"{name!r} is a name of {claimed[name]!r} already.")
        claimed.update(dict.fromkeys(entry.claims, entry.name))
    except CardFileError as problem:
        return evolve(entry, error=entry.error or problem)
    return entry


# --- Listing ----------------------------------------------------------------------------------------------------------


def describe_card_files(paths: Sequence[Path], reserved: Reserved, cards: Mapping[str, Card]) -> list[PluginInfo]:
    """Card files as they are listed next to plugins, each with all of its errors.

    ``cards`` are those of plugins, by every name, to which the files may add.
    """
    try:
        together: Overlay | None = read_overlay(paths, reserved)
    except CardFileError:
        together = None
    return [_describe(path, together, reserved, cards) for path in paths]


def _describe(path: Path, together: Overlay | None, reserved: Reserved, cards: Mapping[str, Card]) -> PluginInfo:
    try:
        overlay = together or read_overlay((path,), reserved)
        entries = [entry for entry in overlay.entries if entry.key.path == path]
        problems = [problem for entry in entries if (problem := _problem(entry, cards))]
    except CardFileError as problem:
        entries, problems = [], [problem]
    right = [entry for entry in entries if _problem(entry, cards) is None]
    declares = {
        "cards": tuple(entry.name for entry in right if entry.card is not None),
        "additions": tuple(entry.name for entry in right if entry.card is None),
    }
    return PluginInfo(
        name=path.name,
        distribution=None,
        version=None,
        state="failed" if problems else "loaded",
        first_party=False,
        declares={word: names for word, names in declares.items() if names},
        shadowed={},
        import_seconds=0.0,
        error="\n".join(map(str, problems)) or None,
    )


def _problem(entry: CardEntry, cards: Mapping[str, Card]) -> CardFileError | None:
    """What is wrong with an entry; an addition may contradict the card that it adds to."""
    try:
        if entry.checked().card is None and entry.name in cards:
            add(entry, cards[entry.name])
    except CardFileError as problem:
        return problem
    return None
