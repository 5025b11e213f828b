"""How files and answers of sites, servers and other programs are parsed."""

import os
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

from tests.fuzz.answering import Answering
from tests.fuzz.inputs import Files, put
from tests.fuzz.seeds import programs

import registry
from registry.cache import upkeep
from registry.cache.cache import Cache
from registry.discovery.entry_points import installed_plugins
from registry.discovery.overlay import read_overlay
from registry.download import fetch as fetching
from registry.download import hub, retries
from registry.download.policy import Policy
from registry.errors import HTTPStatusError, RegistryError
from registry.files import urls
from registry.sources import lockfile
from registry.sources.hub import HubSource
from registry.sources.resolve import resolve
from registry.tokenization.corpus.readers import rows_of

# --- Servers ----------------------------------------------------------------------------------------------------------


def listing(files: Files, directory: Path) -> None:
    """The files of a repository, as the hub lists them."""
    paths = put(files, directory)

    def fetch(url: str, *_: object, **__: object) -> Path:
        name = "listing" if "/api/" in url else url.partition(f"/{programs.COMMIT}/")[2]
        if name in paths:
            return paths[name]
        raise HTTPStatusError("404 Not Found", status=404)

    with patch.object(fetching, "fetch", fetch), patch.object(fetching, "is_held", lambda *_, **__: True):
        policy = Policy(cache_dir=directory / "cache", offline=False)
        HubSource(asked="o/n", rule="a test", repository="o/n").files(None, policy)


def answer(files: Files, directory: Path) -> None:
    """Fetch a file and, as the hub's, a listing, from a server that answers so."""
    put({}, directory)
    with _server().answering(list(files.values())) as url, patch.object(retries, "sleep", lambda _seconds: None):
        policy = Policy(cache_dir=directory / "cache", offline=False, progress=False)
        fetching.fetch(url, policy, is_listing=len(files) % 2 == 0)


@cache
def _server() -> Answering:
    return Answering()


# --- What sites and programs write ------------------------------------------------------------------------------------


def lock(files: Files, directory: Path) -> None:
    """Read a lock file, and hold models to it."""
    for path in put(files, directory).values():
        found = lockfile.Lock(path, lockfile.read(path))
        policy = Policy(cache_dir=directory / "cache", offline=True)
        for name in ("gpt2", "hub:o/n", "https://example.org/m"):
            source = found.narrow(resolve(name), policy)
            with suppress(RegistryError):
                source.files(None, policy)


def entry_points(files: Files, directory: Path) -> None:
    """Find the plugins that distributions announce."""
    put(files, directory)
    with patch.object(sys, "path", [str(directory)]), patch.object(sys, "meta_path", _plain_finders()):
        installed_plugins()


def _plain_finders() -> list[Any]:
    from importlib.machinery import PathFinder

    return [finder for finder in sys.meta_path if finder is PathFinder or not hasattr(finder, "find_distributions")]


def cards(files: Files, directory: Path) -> None:
    """Read a site's cards, and use each."""
    paths = list(put(files, directory).values())
    with patch.dict(os.environ, {"REGISTRY_CARDS": os.pathsep.join(map(str, paths))}):
        for name in ("bert-base-uncased", "our-encoder", "ours", "packed"):
            with suppress(RegistryError):
                str(registry.info(name))
                source = resolve(name)
                source.files(None, Policy(cache_dir=directory / "cache", offline=True))
    for entry in read_overlay(paths, frozenset()).entries:
        entry.checked()


def cached(files: Files, directory: Path) -> None:
    """Use, verify and prune a cache in which others may have written."""
    put(files, directory)
    policy = Policy(cache_dir=directory / "cache", offline=True)
    found = Cache.at(directory / "cache")
    with patch.dict(os.environ, {"HF_HUB_CACHE": str(directory / "hub")}):
        for url in (f"{programs.HUB}/o/n/resolve/{programs.COMMIT}/config.json", "https://example.org/m/config.json"):
            with suppress(RegistryError):
                fetching.fetch(url, policy)
        with suppress(RegistryError):
            HubSource(asked="o/n", rule="a test", repository="o/n").files(None, policy)
        upkeep.kept(found)
        upkeep.verify(found)
        upkeep.prune(found)


def bulk(files: Files, directory: Path) -> None:
    """Read the rows of files of texts."""
    for path in put(files, directory).values():
        for row in rows_of([path], "text"):
            str(row)


def name(files: Files, directory: Path) -> None:
    """Take names and URLs for what they are."""
    for data in files.values():
        for line in data.decode("utf-8", "surrogateescape").split("\n")[:50]:
            urls.shown(line)
            with suppress(RegistryError):
                urls.name_in(hub.canonical(line))
            with suppress(RegistryError):
                resolve(line)
