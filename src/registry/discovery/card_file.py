"""The format of a card file: models in TOML, new ones and additions to the cards of plugins.

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
plugin's card says.  A digest or size that contradicts the plugin's is an error.
"""

import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from attrs import evolve, frozen

from registry.errors import CardFileError, did_you_mean
from registry.files.urls import redacted_in
from registry.records import ROLES, Card, FileSpec

C = TypeVar("C", Card, FileSpec)

LARGEST_CARD_FILE = 2**20
"""Bytes; a card takes about a thousand."""
MOST_DOTS = 1000
"""In a line; tomllib takes quadratic time for a key of many parts."""

TEXT, TEXTS, NUMBER, TABLE, TABLES = "a text", "an array of texts", "a whole number", "a table", "an array of tables"

ADDITION_KEYS = {"aliases": TEXTS, "mirrors": TEXTS, "archives": TEXTS, "files": TABLES}
CARD_KEYS = {"architecture": TEXT, "task": TEXT, **ADDITION_KEYS, "tokenizer": TABLE, "num_parameters": NUMBER}
CARD_KEYS |= {"languages": TEXTS, "license": TEXT, "description": TEXT, "source": TEXT}
CARD_KEYS |= {"revision": TEXT, "config": TABLE}
FILE_KEYS = {"role": TEXT, "filename": TEXT, "urls": TEXTS, "sha256": TEXT, "size": NUMBER}


@frozen
class TomlKey:
    """A key of a card file, for messages."""

    path: Path
    key: str = ""

    def at(self, key: str) -> "TomlKey":
        """A key below this one."""
        return TomlKey(self.path, f"{self.key}.{key}" if self.key else key)

    def refuse(self, problem: object, hint: str | None = None) -> NoReturn:
        """Raise CardFileError."""
        where = f"{self.path}, {self.key}" if self.key else str(self.path)
        raise CardFileError(redacted_in(f"{where}: {problem}"), hint=hint)


@frozen(kw_only=True, eq=False)
class CardEntry:
    """One model of a card file: a new card, additions to a known one, or an error."""

    key: TomlKey
    name: str
    claims: tuple[str, ...]
    """The names that it gives to a model: its aliases, and of a new card the name."""
    card: Card | None = None
    """The new card; None when this adds to a known one."""
    added: Mapping[str, Any] = {}
    """The checked fields that are added to a known card."""
    error: CardFileError | None = None
    """Why it cannot be used."""

    def checked(self) -> "CardEntry":
        """The entry itself; raises CardFileError when it is wrong."""
        if self.error is not None:
            raise self.error.with_traceback(None)
        return self


# --- Entries ----------------------------------------------------------------------------------------------------------


def entries_of(path: Path) -> Iterator[CardEntry]:
    """The entries of a card file, wrong ones too.

    Raises CardFileError, with the line, for a file that cannot be read or is not TOML: it could name any model.
    """
    top = TomlKey(path)
    models = _checked(top, _read(top), {"models": TABLE}).get("models", {})
    for name, fields in models.items():
        key = top.at("models").at(name)
        claims = _claims(name, fields)
        try:
            if not isinstance(fields, dict):
                key.refuse(f"a model is described by {TABLE}, not by {fields!r}.")
            if "architecture" in fields:
                yield CardEntry(key=key, name=name, claims=claims, card=_new(key, name, fields))
            else:
                added = _checked(key, fields, ADDITION_KEYS, hint="A new model needs an `architecture`.")
                list(_files(key, added))  # checks them
                yield CardEntry(key=key, name=name, claims=claims, added=added)
        except CardFileError as problem:
            yield CardEntry(key=key, name=name, claims=claims, error=problem)


def _claims(name: str, fields: Any) -> tuple[str, ...]:
    """The names that an entry gives to a model, as far as they can be read: it may be wrong."""
    aliases = fields.get("aliases", ()) if isinstance(fields, dict) else ()
    texts = [aliases] if isinstance(aliases, str) else aliases if isinstance(aliases, list) else []
    adds = isinstance(fields, dict) and "architecture" not in fields
    return tuple(dict.fromkeys([*([] if adds else [name]), *(text for text in texts if isinstance(text, str))]))


def _read(key: TomlKey) -> dict[str, Any]:
    try:
        with key.path.open("rb") as file:
            data = file.read(LARGEST_CARD_FILE + 1)
        if len(data) > LARGEST_CARD_FILE:
            key.refuse(f"it holds more than {LARGEST_CARD_FILE:,} bytes.")
        if any(line.count(b".") > MOST_DOTS for line in data.split(b"\n")):
            key.refuse(f"it has a line with more than {MOST_DOTS:,} dots.")
        return tomllib.loads(data.decode("utf-8"))
    except OSError as problem:
        key.refuse(f"it cannot be read: {problem.strerror}.", hint="REGISTRY_CARDS names it.")
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as problem:
        key.refuse(f"it is not TOML: {problem}.")


# --- Cards ------------------------------------------------------------------------------------------------------------


def _new(key: TomlKey, name: str, fields: Mapping[str, Any]) -> Card:
    values = dict(_checked(key, fields, CARD_KEYS))
    for option, value in values.get("tokenizer", {}).items():
        if not isinstance(value, str | int | float):
            key.at(f"tokenizer.{option}").refuse(f"a text, number or truth value is needed, not {value!r}.")
    mirrors = values.pop("mirrors", ())
    files = [_file(at, keys, mirrors) for at, keys in _files(key, values)]
    if not files and not values.get("archives"):
        key.refuse("it has neither files nor archives.")
    return _made(key, lambda: Card(**{**values, "name": name, "files": files}))


def add(entry: CardEntry, card: Card) -> Card:
    """A card with the additions of an entry.

    Raises CardFileError when the card has no such file, or another role, digest or size of it.
    """
    known = {file.filename: file for file in reversed(card.files)}  # the first of several editions of a file
    said = {keys["filename"]: (at, keys) for at, keys in _files(entry.key, entry.added)}
    for filename, (at, _) in said.items():
        if filename not in known:
            at.refuse(f"the card of {card.name!r} has no file {filename!r}.{did_you_mean(filename, known)}")
    mirrors = entry.added.get("mirrors", ())
    files = [
        _merged(*said.get(file.filename, (entry.key, {})), file, mirrors) if known[file.filename] is file else file
        for file in card.files
    ]
    aliases = (*card.aliases, *entry.added.get("aliases", ()))
    archives = (*entry.added.get("archives", ()), *card.archives)
    return _made(entry.key, lambda: evolve(card, files=files, aliases=aliases, archives=archives))


# --- Files ------------------------------------------------------------------------------------------------------------


def _files(key: TomlKey, values: Mapping[str, Any]) -> Iterator[tuple[TomlKey, Mapping[str, Any]]]:
    """The files that are described, each with its key; by number until its name is known."""
    seen = set()
    for number, fields in enumerate(values.get("files", ()), 1):
        filename = fields.get("filename")
        at = key.at(f"files, {filename if isinstance(filename, str) else f'number {number}'}")
        keys = _checked(at, fields, FILE_KEYS)
        if filename is None or filename in seen:
            at.refuse("it has no filename." if filename is None else "it is described twice.")
        seen.add(filename)
        yield at, keys


def _file(key: TomlKey, keys: Mapping[str, Any], mirrors: Iterable[str]) -> FileSpec:
    urls = (*_at(mirrors, keys["filename"]), *keys.get("urls", ()))
    if "role" not in keys:
        key.refuse(f"it has no role, such as {', '.join(ROLES[:3])}.")
    if not urls:
        key.refuse("it has no URL: give `urls` here, or `mirrors` of the model.")
    return _made(key, lambda: FileSpec(**{**keys, "urls": urls}))


def _merged(key: TomlKey, keys: Mapping[str, Any], file: FileSpec, mirrors: Iterable[str]) -> FileSpec:
    """A file of a plugin's card, with the additions of the entry."""
    for name in ("role", "sha256", "size"):
        known = getattr(file, name)
        if name in keys and known not in (None, keys[name]):
            key.refuse(f"its {name} is {known!r} on the plugin's card, which {keys[name]!r} contradicts.")
    urls = dict.fromkeys((*_at(mirrors, file.filename), *keys.get("urls", ()), *file.urls))
    given = {name: keys[name] for name in ("sha256", "size") if name in keys}
    return _made(key, lambda: evolve(file, urls=tuple(urls), **given))


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
    key: TomlKey, fields: Mapping[str, Any], kinds: Mapping[str, str], hint: str | None = None
) -> Mapping[str, Any]:
    """The same, when every key is known and every value of its kind."""
    for name, value in fields.items():
        if name not in kinds:
            key.refuse(
                f"{name!r} is not a key here.{did_you_mean(name, kinds)}", hint or f"Keys are {', '.join(kinds)}."
            )
        if not _IS[kinds[name]](value):
            key.at(name).refuse(f"{kinds[name]} is needed, not {value!r}.")
    return fields


def _made(key: TomlKey, make: Callable[[], C]) -> C:
    try:
        return make()
    except (TypeError, ValueError) as problem:
        key.refuse(str(problem))
