"""A name -> its source: a card, a directory, a file, a package, a URL or a repository of the hub.

A source says nothing of the architecture; that is decided once the configuration is on disk.  The classes of sources
are imported where they are made: most names are those of cards, whose lookup is to import nothing else.
"""

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from registry import discovery
from registry.errors import (
    ConfigError,
    MissingFileError,
    UnknownModelError,
    did_you_mean,
    suggestions,
    warn,
)
from registry.files.filenames import ADAPTER_CONFIG_NAME, ARCHIVE_SUFFIXES, INDEX_SUFFIX
from registry.files.signatures import TABLE_END
from registry.files.urls import HUB_HOSTS, is_url, shown, split_digest
from registry.formatting import enumeration
from registry.records import HUB, Card
from registry.sources.source import Source


def resolve(name: str | os.PathLike[str], *, revision: str | None = None) -> Source:
    """Decide what a name means.  Rules are tried in this order:

    1. A URL: ``file:path``, ``https:``, ``http:``, ``hub:organization/name@revision``, ``pkg:distribution/path``.
       A page of the hub means the model that it shows.
    2. A path: a ``Path`` or another ``os.PathLike``, or text that starts with ``.``, ``/``, ``~`` or a drive.
       ``model.ckpt`` names a checkpoint of TensorFlow where there is a ``model.ckpt.index``.
    3. The name or an alias of a card.  It wins over a file or directory of the same name, with a warning.
    4. An existing file or directory.
    5. ``organization/name``: a repository of the hub.

    Args:
        name: The name of a model.
        revision: Branch, tag or commit, for a model that is on the hub.

    Returns:
        The source; ``source.rule`` is the reason, and ``source.asked`` the name.

    Raises:
        UnknownModelError: No rule applies; it has suggestions.
        MissingFileError: A path leads nowhere.
        UnknownOptionError: The source has no revisions.
    """
    if isinstance(name, str):
        source = _first_that_applies(name)
    elif isinstance(name, os.PathLike):
        path = Path(os.fsdecode(name))
        source = _on_disk(str(path), path, "it is a Path")
    else:
        raise TypeError(f"A model is named by a str or a Path, not by {name!r:.80}.")
    return source if revision is None else source.at(revision)


def unknown_model(name: str) -> UnknownModelError:
    """The error for a name that means nothing here, with the names that may have been meant."""
    cards = discovery.every(Card)
    names = [word for card in cards for word in (card.name, *card.aliases)]
    architectures = sorted({card.architecture for card in cards})
    return UnknownModelError(
        f"no model is named {shown(name)}.{_misspelled(name) or did_you_mean(name, names)}",
        suggestions=suggestions(name, names),
        hint="It was read as a name, since no such file or directory exists; "
        f"`registry list` prints the {len(cards)} known names"
        f"{f', of {enumeration(architectures)}' if architectures else ''}, and models of the hub "
        f"are named organization/name."
        f"{discovery.failures()}",
    )


def _misspelled(name: str) -> str:
    """A sentence, after a space, on a name that is nearly one of the hub; empty where there is nothing to say."""
    if name.strip() != name:
        return f" There is white space around it; without, it is {shown(name.strip())}."
    kind, _, rest = name.partition("/")
    if kind in ("datasets", "spaces") and "/" in rest:
        return f" On the hub, {rest!r} is one of its {kind}, and no model."
    parts = name.split("/")
    if kind == "models" and len(parts) == 3:
        return f" A repository of the hub is named without 'models/': {rest!r}."
    if len(parts) > 2 and all(re.fullmatch(r"[\w.-]+", part) for part in parts):
        url = f"{HUB}/{parts[0]}/{parts[1]}/resolve/main/{'/'.join(parts[2:])}"
        return f" A repository of the hub is organization/name; a directory in it is given by its URL: {url!r}."
    return ""


# --- Rules ------------------------------------------------------------------------------------------------------------


def _first_that_applies(asked: str) -> Source:
    for rule in () if "\0" in asked else (_url, _path, _card, _existing, _repository):
        source = rule(asked)
        if source is not None:
            return source
    raise unknown_model(asked)


def _url(asked: str) -> Source | None:
    scheme, colon, rest = asked.partition(":")
    rule = _SCHEMES.get(scheme.lower()) if colon else None
    if rule is not None:
        if not is_url(asked):
            raise UnknownModelError(f"{shown(asked)} is not a URL: its server or its port is wrong.")
        return rule(asked, rest)
    if rest.startswith("//") and re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]+", scheme):
        raise UnknownModelError(
            f"the URL {shown(asked)} cannot be opened.",
            hint=f"URLs begin with {': or '.join(_SCHEMES)}:.{_instead(scheme.lower(), rest)}",
        )
    return None


def _path(asked: str) -> Source | None:
    if not re.match(r"[./~\\]|[A-Za-z]:[/\\]", asked):
        return None
    return _on_disk(asked, Path(asked), f"it starts with {asked[0]!r}")


def _card(asked: str) -> Source | None:
    card = discovery.card(asked)
    if card is None:
        return None
    if os.path.lexists(asked):
        warn(
            f"{asked!r} is the name of a model and of a file or directory here; the model is meant. "
            f"Write './{asked}' for the other."
        )
    rule = "it is the name of a card" if asked == card.name else f"it is an alias of the card {card.name!r}"
    from registry.sources.card import CardSource

    return CardSource(asked=asked, rule=rule, card=card)


def _existing(asked: str) -> Source | None:
    if not any(map(os.path.exists, (asked, asked + INDEX_SUFFIX))):  # Path.exists raises for names that are too long
        return None
    return _on_disk(asked, Path(asked), "a file or directory of this name exists")


def _repository(asked: str) -> Source | None:
    if asked.lower().startswith(tuple(f"{host}/" for host in HUB_HOSTS)):
        return _web_url(f"https://{asked}", "")
    rule = "it has the form organization/name, and no such file or directory exists"
    return _in_hub(asked, asked, rule)


# --- URLs -------------------------------------------------------------------------------------------------------------


def _file_url(asked: str, rest: str) -> Source:
    """``file:gpt2`` as it stands, or ``file:///models/gpt2``, where special characters are written ``%20``."""
    path = unquote(urlsplit(asked).path) if rest.startswith("//") else rest
    return _on_disk(asked, Path(path), "it is a file: URL")


def _web_url(asked: str, _rest: str) -> Source:
    from registry.sources.web import WebArchiveSource, WebSource

    if (source := _hub_page(asked)) is not None:
        return source
    rule = "it is a web URL"
    try:
        path = urlsplit(asked).path
    except ValueError as problem:
        raise UnknownModelError(f"{shown(asked)} is not a URL: {problem}.") from problem
    if not path.endswith(ARCHIVE_SUFFIXES):
        return WebSource(asked=asked, rule=rule, url=asked)
    try:
        split_digest(asked)
    except ValueError as problem:
        raise UnknownModelError(f"{problem}.", hint="Leave the fragment out, or correct it.") from problem
    return WebArchiveSource(asked=asked, rule=rule, url=asked)


def _hub_page(asked: str) -> Source | None:
    """The model that a page of the hub shows; None where the URL is not a page."""
    if not asked.partition("//")[2].lower().startswith(HUB_HOSTS) and not os.environ.get("HF_ENDPOINT"):
        return None
    from registry.download import hub

    page = hub.page(asked)
    if page is None:
        return None
    rule = "it is the URL of a page of the hub"
    if page.kind in ("blob", "raw") and page.path.endswith(ARCHIVE_SUFFIXES):
        return _web_url(hub.HubFile(page.repository, page.revision or hub.DEFAULT_REVISION, page.path).url, "")
    if page.path and (page.kind == "tree" or "/" in page.path):
        directory = page.path if page.kind == "tree" else page.path.rpartition("/")[0]
        files = hub.HubFile(page.repository, page.revision or hub.DEFAULT_REVISION, directory).url
        raise UnknownModelError(
            f"{shown(asked)} shows {page.path!r} in the hub repository {page.repository!r}; a model is loaded from the "
            f"files at the top of a repository.",
            hint=f"Give the URL of that directory's files, {files!r}, or its path in a local copy. The repository "
            f"itself is {page.repository}.",
        )
    revision = None if page.revision in (None, hub.DEFAULT_REVISION) else page.revision
    if "/" not in page.repository:  # the first models of the hub have no organization
        card = _card(page.repository)
        if card is None:
            raise unknown_model(page.repository)
        return card if revision is None else card.at(revision)
    return _in_hub(asked, page.repository if revision is None else f"{page.repository}@{revision}", rule)


def _hub_url(asked: str, rest: str) -> Source:
    source = _in_hub(asked, rest, "it is a hub: URL")
    if source is None:
        raise UnknownModelError(
            f"{shown(asked)} is not of the form hub:organization/name or hub:organization/name@revision."
        )
    return source


def _package_url(asked: str, rest: str) -> Source:
    from registry.sources.packages import PackageSource

    if not re.fullmatch(r"[^/]+/.+", rest):
        raise UnknownModelError(f"{asked!r} is not of the form pkg:distribution/path/in/it.")
    return PackageSource(asked=asked, rule="it is a pkg: URL", url=asked)


_SCHEMES: dict[str, Callable[[str, str], Source]] = {
    "file": _file_url,
    "https": _web_url,
    "http": _web_url,
    "hub": _hub_url,
    "pkg": _package_url,
}


def _instead(scheme: str, rest: str) -> str:
    if scheme not in ("hf", "huggingface"):
        return ""
    repository = re.fullmatch(r"//([\w.-]+/[\w.-]+)/?", rest)
    return f" A repository of the hub is hub:{repository[1] if repository else 'organization/name'}."


# --- Base models of adapters ------------------------------------------------------------------------------------------

OPENED = r"(?!(hub|pkg):)[A-Za-z][A-Za-z0-9+.-]+:"
"""The beginning of a base model that is not looked for: what an adapter says opens no URL of any server."""


def resolve_base(path: Path, keys: Mapping[str, Any]) -> Source:
    """Where the base model of an adapter of PEFT is.

    Args:
        path: The ``adapter_config.json``, for errors.
        keys: Its content.

    Raises:
        ConfigError: It names no base model, or one that is not looked for.
        MissingFileError: There is no such model.
    """
    name, revision = keys.get("base_model_name_or_path"), keys.get("revision")
    if not isinstance(name, str) or not name or not isinstance(revision, str | None):
        raise ConfigError(
            f"{path} does not name the base model of the adapter: base_model_name_or_path is {name!r:.200}.",
            hint="Write the name or the path of the model there, as registry.load takes it.",
        )
    if re.match(OPENED, name):
        raise ConfigError(f"{path} gives a URL for its base model, {shown(name)}, which is not opened.")
    try:
        source = resolve(name)
    except (MissingFileError, UnknownModelError) as problem:
        kind = f"{keys.get('peft_type')!s:.80}"
        raise MissingFileError(
            f"{path.parent} holds an adapter of PEFT ({kind}) for the base model {name!r:.200}, which is not here: "
            f"{problem.message}",
            hint=f"Write where it is into base_model_name_or_path of {ADAPTER_CONFIG_NAME}.",
        ) from problem
    return source.at(revision) if revision and not source.in_place else source


# --- Parts ------------------------------------------------------------------------------------------------------------


def _on_disk(asked: str, path: Path, rule: str) -> Source:
    from registry.sources.on_disk import ArchiveSource, CheckpointSource, DirectorySource, FileSource

    path = Path(os.path.expanduser(path))  # noqa: PTH111  # Path.expanduser raises where there is no home
    if os.path.isdir(path):  # noqa: PTH112  # the methods of Path raise for names that are too long
        return DirectorySource(asked=asked, rule=rule, path=path)
    prefix = os.fspath(path).removesuffix(INDEX_SUFFIX)
    if os.path.isfile(prefix + INDEX_SUFFIX):  # noqa: PTH113
        return CheckpointSource(asked=asked, rule=f"{rule}, and an index is there", path=Path(prefix))
    if not os.path.isfile(path):  # noqa: PTH113
        raise MissingFileError(
            f"there is no file or directory {shown(asked)}.{did_you_mean(path.name, _siblings(path))}",
            hint=f"It was read as a path, since {rule}; `registry list` prints the names of known models.",
        )
    if path.name.endswith(ARCHIVE_SUFFIXES):
        return ArchiveSource(asked=asked, rule=rule, path=path)
    kind = CheckpointSource if _is_table(path) else FileSource
    return kind(asked=asked, rule=rule, path=path)


def _is_table(path: Path) -> bool:
    """Whether a file is a checkpoint of TensorFlow's older format, in which a prefix is the name of a file."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - len(TABLE_END)))
            return file.read() == TABLE_END
    except OSError:
        return False


def _siblings(path: Path) -> list[str]:
    try:
        return os.listdir(path.parent)  # noqa: PTH208  # only the names are needed
    except (OSError, ValueError):
        return []


def _in_hub(asked: str, repository: str, rule: str) -> Source | None:
    from registry.sources.hub import HubSource

    found = re.fullmatch(r"([A-Za-z0-9][\w.-]*/[\w.-]+)(?:@([\w./-]+))?", repository.rstrip("/"))
    if found is None:
        return None
    return HubSource(asked=asked, rule=rule, repository=found[1], revision=found[2])
