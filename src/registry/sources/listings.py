"""Which files of a repository, or of a folder on the web, make up a model.

The hub says in one answer which files a repository has, and which commit its branch is; only those are then asked for.
Any other server is asked for the names that models have, and what it has not is remembered.
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from attrs import frozen

from registry import discovery
from registry.cache import foreign
from registry.download import hub
from registry.download.fetch import fetch, held
from registry.download.policy import Policy
from registry.errors import CorruptWeightsError, FetchError, HTTPStatusError, MissingFileError, NotCachedError
from registry.files.strict_json import MEBIBYTE, read_json_object
from registry.files.urls import redacted
from registry.records import ConfigSpec, Paths, TokenizerSpec

WEIGHTS = (
    ("model.safetensors", "model.safetensors.index.json"),
    ("pytorch_model.bin", "pytorch_model.bin.index.json"),
)
"""Single file and index of each format, the preferred one first."""
OTHER_WEIGHTS = re.compile(r"checkpoint|.+\.ckpt(-\d+)?\..+|.+\.npy|params_shapes\.json")
"""Names of weights in formats that consist of several files: TensorFlow's, and OpenAI's arrays of numpy."""
TOKENIZER = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "special_tokens.txt",
)
"""Files of any tokenizer, beside those which its architecture declares."""
NO_FOLDER = re.compile(r".+\.(bin|safetensors|json|txt|model|npy|pt|pth|ckpt|zip|tar|gz|pkl)", re.IGNORECASE)
"""Last part of an address that means one file."""
LARGEST_LISTING = 64 * MEBIBYTE

Find = Callable[[str], Path | None]
"""The file of this name, or None where there is none."""


@frozen(kw_only=True)
class Listing:
    """A commit of a repository, and the files that are known to be in it."""

    commit: str
    names: frozenset[str]


def of_hub(repository: str, revision: str | None, roles: Collection[str] | None, how: Policy) -> Paths:
    """The files of a hub repository in these roles (None for all), at the commit that the revision was at first.

    Raises HTTPStatusError for what the hub does not show us, and what ``fetch`` raises.
    """
    try:
        known = _listing(repository, revision or hub.DEFAULT_REVISION, roles, how)
    except NotCachedError as problem:
        raise NotCachedError(
            f"what the hub repository {repository!r} holds is not known here: {problem.message}",
            hint=f"Where there is a network, `registry pull {repository}` fetches it into its cache, which may then be "
            "copied here.",
        ) from problem

    def find(name: str) -> Path | None:
        return fetch(hub.file_address(repository, known.commit, name), how) if name in known.names else None

    return _chosen(find, roles, others=filter(OTHER_WEIGHTS.fullmatch, sorted(known.names)))


def of_folder(url: str, roles: Collection[str] | None, how: Policy) -> Paths:
    """The files of a folder on the web in these roles (None for all).

    Raises MissingFileError when there is no configuration, and what ``fetch`` raises.
    """
    absent: list[str] = []
    cache = how.cache

    def find(name: str) -> Path | None:
        address = _inside(url, name)
        if cache.is_absent(address) and not how.update:
            return None
        try:
            return fetch(address, how)
        except HTTPStatusError as problem:
            if problem.status not in (403, 404, 410):  # S3 answers 403 for what is not there
                raise
            absent.append(address)
            return None

    found = _chosen(find, roles)
    if not any(held(_inside(url, name), how) for name in _config_names()):
        raise MissingFileError(
            f"{redacted(url)} holds no configuration: its server has none of {', '.join(_config_names())}.",
            hint="An address that ends in the name of a file, such as model.safetensors, is read as that file alone.",
        )
    for address in absent:
        cache.mark_absent(address)
    return found


def names_a_file(url: str) -> bool:
    """Whether an address means one file, and not a folder."""
    return NO_FOLDER.fullmatch(urlsplit(url).path.rpartition("/")[2]) is not None


# --- The listing of a repository --------------------------------------------------------------------------------------


def _listing(repository: str, revision: str, roles: Collection[str] | None, how: Policy) -> Listing:
    """What is in a repository: as it was when first asked, else as another program knows it, else as the hub says."""
    address = hub.listing_address(repository, revision)
    if not how.update and not held(address, how):
        snapshot = foreign.snapshot(repository, revision)
        if snapshot is not None:
            known = Listing(commit=snapshot.commit, names=snapshot.names)
            if how.is_offline or _suffices(known.names, roles):
                return known
            address = hub.listing_address(repository, snapshot.commit)
    return _read_listing(fetch(address, how), repository)


def _read_listing(path: Path, repository: str) -> Listing:
    keys = read_json_object(path, limit=LARGEST_LISTING, error=FetchError)
    try:
        names = frozenset(str(file["rfilename"]) for file in keys["siblings"])
        commit = str(keys["sha"])
    except (KeyError, TypeError) as problem:
        raise FetchError(
            f"The hub's answer for {repository!r} is not what its API promises: no 'sha', or no 'siblings'.",
            hint=f"{hub.endpoint()} was asked; the variable HF_ENDPOINT names another server.",
        ) from problem
    if not re.fullmatch(r"[\w.-]+", commit):
        raise FetchError(f"The hub names {commit!r:.80} as the commit of {repository!r}, which cannot be one.")
    return Listing(commit=commit, names=names)


def _suffices(names: Collection[str], roles: Collection[str] | None) -> bool:
    """Whether these files are enough for the roles."""
    wanted = {"config", "weights", "vocab"} if roles is None else set(roles)
    needs = {
        "config": _config_names(),
        "weights": [name for pair in WEIGHTS for name in pair],
        "vocab": ["tokenizer.json", *_vocabulary_names()],
    }
    return all(set(names) & set(options) for role, options in needs.items() if role in wanted)


# --- Choosing ---------------------------------------------------------------------------------------------------------


def _chosen(find: Find, roles: Collection[str] | None, *, others: Iterable[str] = ()) -> Paths:
    """The files of these roles: name -> path."""
    found: dict[str, Path] = {}
    if roles is None or "config" in roles:
        found |= _first(find, _config_names())
    if roles is None or "weights" in roles:
        found |= _weights(find) or _all(find, others)
    if roles is None or set(roles) - {"config", "weights"}:
        found |= _all(find, (*_vocabulary_names(), *TOKENIZER))
    return found


def _weights(find: Find) -> dict[str, Path]:
    for single, index in WEIGHTS:
        if (path := find(single)) is not None:
            return {single: path}
        if (path := find(index)) is not None:
            return {index: path, **_all(find, _shards(path))}
    return {}


def _shards(index: Path) -> Iterator[str]:
    """The plain names in an index of weights; whether it is right is judged when the weights are read."""
    where = read_json_object(index, limit=16 * MEBIBYTE, error=CorruptWeightsError).get("weight_map")
    names = dict.fromkeys(where.values() if isinstance(where, dict) else ())
    return (name for name in names if isinstance(name, str) and re.fullmatch(r"[\w-][\w.-]*", name))


def _all(find: Find, names: Iterable[str]) -> dict[str, Path]:
    return {name: path for name in dict.fromkeys(names) if (path := find(name)) is not None}


def _first(find: Find, names: Iterable[str]) -> dict[str, Path]:
    return next(({name: path} for name in names if (path := find(name)) is not None), {})


def _config_names() -> list[str]:
    declared = (name for spec in discovery.every(ConfigSpec) for name in spec.filenames)
    return list(dict.fromkeys(["config.json", *declared]))


def _vocabulary_names() -> list[str]:
    return list(dict.fromkeys(name for spec in discovery.every(TokenizerSpec) for name in spec.files.values()))


def _inside(url: str, name: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{name}"))
