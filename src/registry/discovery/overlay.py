"""Cards which a site declares in a TOML file, named by ``REGISTRY_CARDS``, instead of writing a plugin.

::

    [models.our-encoder]                        # a new name: the fields of a Card
    architecture = "bert"
    task = "masked-lm"
    mirrors = ["https://models.example.org/our-encoder"]
    files = [
        {role = "config", filename = "config.json", sha256 = "..."},
        {role = "weights", filename = "model.safetensors", size = 440449768},
        {role = "vocab", filename = "vocab.txt", urls = ["https://example.org/vocab.txt"]},
    ]

    [models.bert-base-uncased]                  # no architecture, so a known name: this is added to its card
    mirrors = ["https://models.example.org/bert-base-uncased"]
    files = [{filename = "vocab.txt", sha256 = "..."}]

A file of a model is looked for at ``<mirror>/<filename>`` for each mirror, then at its ``urls``, then where the
plugin's card says.  A digest or size that contradicts the plugin's is an error, and so is a new model under a name
which a first-party plugin declares: those names mean the same on every site.
"""

import tomllib
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from attrs import evolve, frozen

from registry.errors import CardFileError, RegistryWarning, did_you_mean
from registry.records import ROLES, Card, FileSpec

R = TypeVar("R", Card, FileSpec)

LARGEST_FILE = 4 * 2**20
"""Bytes; a card takes about a thousand."""

TEXT, TEXTS, NUMBER, TABLE, TABLES = "a text", "an array of texts", "a whole number", "a table", "an array of tables"

ADDITION_KEYS = {"aliases": TEXTS, "mirrors": TEXTS, "archives": TEXTS, "files": TABLES}
CARD_KEYS = {"architecture": TEXT, "task": TEXT, **ADDITION_KEYS, "tokenizer": TABLE, "num_parameters": NUMBER}
CARD_KEYS |= {"languages": TEXTS, "license": TEXT, "description": TEXT, "source": TEXT}
FILE_KEYS = {"role": TEXT, "filename": TEXT, "urls": TEXTS, "sha256": TEXT, "size": NUMBER}

Lookup = Callable[[str], Card | None]
"""Finds the card of a name or alias."""


@frozen
class Place:
    """A key of the file, for messages."""

    path: Path
    key: str = ""

    def at(self, key: str) -> "Place":
        """A key below this one."""
        return Place(self.path, f"{self.key}.{key}" if self.key else key)

    def refuse(self, problem: object, hint: str | None = None) -> NoReturn:
        """Raise CardFileError."""
        where = f"{self.path}, {self.key}" if self.key else str(self.path)
        raise CardFileError(f"{where}: {problem}", hint=hint)


def read_cards(path: Path, *, ours: Lookup, declared: Lookup) -> Iterator[Card]:
    """The cards in a file.  ``ours`` looks among first-party plugins alone, ``declared`` among all.

    Raises CardFileError, which names the file, and the line or key.  Additions to a model that no plugin declares are
    left out, with a warning: a site may have one file for environments that differ in their plugins.
    """
    top = Place(path)
    models = top.at("models")
    table = _checked(top, _read(top), {"models": TABLE}).get("models", {})
    taken: dict[str, str] = {}
    for name, fields in table.items():
        place = models.at(name)
        if not isinstance(fields, dict):
            place.refuse(f"a model is described by {TABLE}, not by {fields!r}.")
        card = (
            _new(place, name, fields, ours) if "architecture" in fields else _added(place, name, fields, ours, declared)
        )
        if card is not None:
            for word in (card.name, *card.aliases):
                if taken.setdefault(word, name) != name:
                    place.refuse(f"{word!r} is a name of {taken[word]!r} already.")
            yield card


def _read(place: Place) -> dict[str, Any]:
    try:
        with place.path.open("rb") as file:
            data = file.read(LARGEST_FILE + 1)
        if len(data) > LARGEST_FILE:
            place.refuse(f"it holds more than {LARGEST_FILE:,} bytes.")
        return tomllib.loads(data.decode("utf-8"))
    except OSError as problem:
        place.refuse(f"it cannot be read: {problem.strerror}.", hint="REGISTRY_CARDS names it.")
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as problem:
        place.refuse(f"it is not TOML: {problem}.")


# --- Cards ------------------------------------------------------------------------------------------------------------


def _new(place: Place, name: str, fields: Mapping[str, Any], ours: Lookup) -> Card:
    values = dict(_checked(place, fields, CARD_KEYS))
    _claim(place, (name, *values.get("aliases", ())), ours)
    for option, value in values.get("tokenizer", {}).items():
        if not isinstance(value, str | int | float):
            place.at(f"tokenizer.{option}").refuse(f"a text, number or truth value is needed, not {value!r}.")
    mirrors = values.pop("mirrors", ())
    files = [_file(at, keys, mirrors) for at, keys in _files(place, values)]
    if not files and not values.get("archives"):
        place.refuse("it has neither files nor archives.")
    return _made(place, lambda: Card(**{**values, "name": name, "files": files}))


def _claim(place: Place, names: Iterable[str], ours: Lookup) -> None:
    """Refuse names which first-party plugins declare."""
    for name in names:
        if (known := ours(name)) is not None:
            place.refuse(
                f"{name!r} is a name of {known.name!r}, which comes with the registry.",
                hint="Choose another name; to add mirrors and digests to a known card, leave out `architecture`.",
            )


def _added(place: Place, name: str, fields: Mapping[str, Any], ours: Lookup, declared: Lookup) -> Card | None:
    values = _checked(place, fields, ADDITION_KEYS, hint="A new model needs an `architecture`.")
    _claim(place, values.get("aliases", ()), ours)
    card = declared(name)
    if card is None:
        warnings.warn(
            f"{place.path} adds to {name!r}, which no installed plugin declares; a new model needs an `architecture`.",
            RegistryWarning,
            stacklevel=2,
        )
        return None
    known = {file.filename: file for file in card.files}
    said = {keys["filename"]: (at, keys) for at, keys in _files(place, values)}
    for filename, (at, _) in said.items():
        if filename not in known:
            at.refuse(f"the card of {card.name!r} has no file {filename!r}.{did_you_mean(filename, known)}")
    mirrors = values.get("mirrors", ())
    files = [_merged(*said.get(file.filename, (place, {})), file, mirrors) for file in card.files]
    aliases = (*card.aliases, *values.get("aliases", ()))
    archives = (*values.get("archives", ()), *card.archives)
    return _made(place, lambda: evolve(card, files=files, aliases=aliases, archives=archives))


# --- Files ------------------------------------------------------------------------------------------------------------


def _files(place: Place, values: Mapping[str, Any]) -> Iterator[tuple[Place, Mapping[str, Any]]]:
    """The files that are described, each with its place; by number until its name is known."""
    seen = set()
    for number, fields in enumerate(values.get("files", ()), 1):
        filename = fields.get("filename")
        at = place.at(f"files, {filename if isinstance(filename, str) else f'number {number}'}")
        keys = _checked(at, fields, FILE_KEYS)
        if filename is None or filename in seen:
            at.refuse("it has no filename." if filename is None else "it is described twice.")
        seen.add(filename)
        yield at, keys


def _file(place: Place, keys: Mapping[str, Any], mirrors: Iterable[str]) -> FileSpec:
    urls = (*_at(mirrors, keys["filename"]), *keys.get("urls", ()))
    if "role" not in keys:
        place.refuse(f"it has no role, such as {', '.join(ROLES[:3])}.")
    if not urls:
        place.refuse("it has no address: give `urls` here, or `mirrors` of the model.")
    return _made(place, lambda: FileSpec(**{**keys, "urls": urls}))


def _merged(place: Place, keys: Mapping[str, Any], file: FileSpec, mirrors: Iterable[str]) -> FileSpec:
    """A file of a plugin's card, with what is said of it here."""
    for key in ("role", "sha256", "size"):
        known = getattr(file, key)
        if key in keys and known not in (None, keys[key]):
            place.refuse(f"its {key} is {known!r} on the plugin's card, which {keys[key]!r} contradicts.")
    urls = dict.fromkeys((*_at(mirrors, file.filename), *keys.get("urls", ()), *file.urls))
    told = {key: keys[key] for key in ("sha256", "size") if key in keys}
    return _made(place, lambda: evolve(file, urls=tuple(urls), **told))


def _at(mirrors: Iterable[str], filename: str) -> Iterator[str]:
    return (f"{mirror.rstrip('/')}/{filename}" for mirror in mirrors)


# --- Checks -----------------------------------------------------------------------------------------------------------

_IS: Mapping[str, Callable[[Any], bool]] = {
    TEXT: lambda value: isinstance(value, str),
    TEXTS: lambda value: isinstance(value, list) and all(isinstance(item, str) for item in value),
    NUMBER: lambda value: isinstance(value, int) and not isinstance(value, bool),
    TABLE: lambda value: isinstance(value, dict),
    TABLES: lambda value: isinstance(value, list) and all(isinstance(item, dict) for item in value),
}


def _checked(
    place: Place, fields: Mapping[str, Any], kinds: Mapping[str, str], hint: str | None = None
) -> Mapping[str, Any]:
    """The same, when every key is known and every value of its kind."""
    for key, value in fields.items():
        if key not in kinds:
            place.refuse(f"{key!r} is no key here.{did_you_mean(key, kinds)}", hint or f"Keys are {', '.join(kinds)}.")
        if not _IS[kinds[key]](value):
            place.at(key).refuse(f"{kinds[key]} is needed, not {value!r}.")
    return fields


def _made(place: Place, make: Callable[[], R]) -> R:
    try:
        return make()
    except (TypeError, ValueError) as problem:
        place.refuse(str(problem))
