"""What is known about a model before any of its files is read: its card, with the files."""

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from attrs import evolve, field, frozen

from registry.files.filenames import ARCHIVE_SUFFIXES
from registry.files.urls import redacted, shown
from registry.formatting import format_count, format_size, html_table
from registry.records.checks import WORD, Declared, each, mapping, matching, optional, strings, whole_number

HUB = "https://huggingface.co"
"""The Hugging Face hub, whose files ``hub:organization/name@revision/file`` names."""

_card_name = matching(r"[a-z0-9]([a-z0-9._-]*[a-z0-9])?", "lower-case ASCII letters, digits, '.', '_' and '-'")
_alias = matching(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?", "a model name or 'organization/name'")
_path_inside = matching(
    r"((?!\.\.?/)[^/\\\x00-\x1f]{1,100}/)?(?!\.\.?$)[^/\\\x00-\x1f]{1,200}",
    "a plain file name, at most in one directory",
)
_url = matching(r"(https|http|hub|pkg|file):\S+", "an https:, hub:, pkg: or file: URL")
_archive = matching(
    rf"https?://[^\s#]+({'|'.join(map(re.escape, ARCHIVE_SUFFIXES))})(#sha256=[0-9a-f]{{64}})?",
    f"the https: URL of a {', '.join(ARCHIVE_SUFFIXES[:-1])} or {ARCHIVE_SUFFIXES[-1]}, at most with a fragment "
    "'#sha256=' and 64 lower-case hex digits",
)
_language = matching(r"[a-z]{2,3}", "an ISO 639 code")
_digest = matching(r"[0-9a-f]{64}", "a sha256 digest of 64 lower-case hex digits")


def _parted(url: str) -> tuple[str, str, str]:
    return url.partition("#")


def _shown_urls(urls: Iterable[str]) -> str:
    return repr(tuple(map(redacted, urls)))


def _files(value: "Iterable[FileSpec]") -> "tuple[FileSpec, ...]":
    return tuple(value)


@frozen(kw_only=True, eq=False, repr=False)
class FileSpec(Declared):
    """One published file of a model: its role, its name, and where it is available."""

    role: str = field(validator=WORD)
    """A word of ``ROLES``, or the plugin's own."""
    filename: str = field(validator=_path_inside)
    """The published name: ``model.safetensors``, ``1_Pooling/config.json``; its name in a cache may differ."""
    urls: tuple[str, ...] = field(default=(), converter=strings, validator=each(_url), repr=_shown_urls)
    """URLs in the order in which they are tried; ``Card.on_hub`` adds that of the hub."""
    sha256: str | None = field(default=None, validator=optional(_digest))
    """The digest; None where it is not known."""
    size: int | None = field(default=None, validator=optional(whole_number))
    """Bytes; None where the number is not known."""

    @urls.validator
    def _plain_http_needs_a_digest(self, _attribute: object, urls: tuple[str, ...]) -> None:
        for url in urls:
            if url.startswith("http:") and self.sha256 is None:
                raise ValueError(f"{shown(url)} can be modified in transit: declare its sha256, or give an https: URL.")


@frozen(kw_only=True, eq=False, repr=False)
class Card(Declared):
    """What is known about a model before any of its files is read.

    ``Card.on_hub`` makes one whose files lie in a repository of the Hugging Face hub.
    """

    name: str = field(validator=_card_name)
    """The name under which the model is loaded; once published, it means the same weights forever."""
    architecture: str = field(validator=WORD)
    """The architecture of the weights: that of a ``ConfigSpec``, of any plugin."""
    task: str = field(validator=WORD)
    """The richest task whose weights the file holds complete."""
    files: tuple[FileSpec, ...] = field(converter=_files)
    """The model's files; of several with one role, the first that is available is taken."""
    archives: tuple[str, ...] = field(default=(), converter=strings, validator=each(_archive), repr=_shown_urls)
    """URLs of archives (``.tar.gz``, ``.tgz``, ``.zip``) that hold the same files.  A fragment ``#sha256=<hex digits>``
    is the digest of the archive; a plain http: URL needs it."""
    aliases: tuple[str, ...] = field(default=(), converter=strings, validator=each(_alias))
    """Other names of the model, such as ``organization/name`` on the hub."""
    tokenizer: Mapping[str, Any] = field(default=MappingProxyType({}), converter=mapping, hash=False)
    """Options of the tokenizer that belong to the weights: ``{"do_lower_case": True, "max_len": 512}``."""
    config: Mapping[str, Any] = field(default=MappingProxyType({}), converter=mapping, hash=False)
    """Fields of the configuration that decide sizes and differ from the architecture's defaults."""
    num_parameters: int | None = field(default=None, validator=optional(whole_number))
    """Parameters of the model class of ``task``; tied ones are counted once."""
    languages: tuple[str, ...] = field(default=(), converter=strings, validator=each(_language))
    """ISO 639 codes; ``mul`` for many."""
    license: str | None = field(default=None, validator=optional(matching(r"\S+", "an SPDX identifier")))
    """The license of the weights, as an SPDX identifier: ``Apache-2.0``."""
    description: str = ""
    """One sentence."""
    source: str | None = field(default=None, validator=optional(matching(r"https://\S+", "an https: URL")))
    """A page about the model."""
    revision: str | None = field(default=None, validator=optional(matching(r"[\w.-]+", "a commit, branch or tag")))
    """Commit, branch or tag of the hub repository at which its files are; None for the main branch."""

    def without_secrets(self) -> "Card":
        """The same card for people: no URL of it holds a user name, a password or the value of a query."""
        files = [evolve(file, urls=map(redacted, file.urls)) for file in self.files]
        archives = [f"{redacted(url)}{mark}{fragment}" for url, mark, fragment in map(_parted, self.archives)]
        return evolve(self, files=files, archives=archives)

    @archives.validator
    def _plain_http_needs_a_digest(self, _attribute: object, archives: tuple[str, ...]) -> None:
        for url in archives:
            if url.startswith("http:") and "#" not in url:
                raise ValueError(
                    f"{shown(url)} can be modified in transit: append '#sha256=' and its digest, or give an https: URL."
                )

    @classmethod
    def on_hub(
        cls,
        repository: str,
        files: "Iterable[FileSpec]",
        *,
        revision: str | None = None,
        elsewhere: "Iterable[FileSpec]" = (),
        **fields: Any,
    ) -> "Card":
        """A card whose files lie in a repository of the Hugging Face hub, under their published names.

        Args:
            repository: ``organization/name``.  It is also the alias of the model, and its page is the ``source``,
                unless ``fields`` say otherwise.
            files: The files.  The hub's URL is tried after their own URLs on this disk (``pkg:``, ``file:``), and
                before all their others.
            revision: A commit, branch or tag of the repository; its main branch when None.
            elsewhere: Files that are not in the repository, tried after those that are: other editions, for which the
                sizes and digests of ``files`` are not promised.
            fields: The other fields of the card.

        Raises:
            ValueError: A field, the repository or the revision is not of the right form.
        """
        if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository):
            raise ValueError(f"A repository must be 'organization/name', not {repository!r}.")
        if revision is not None and not re.fullmatch(r"[\w.-]+", revision):
            raise ValueError(f"A revision must be a commit, branch or tag, not {revision!r}.")
        at = repository if revision is None else f"{repository}@{revision}"
        placed = [evolve(file, urls=_with_hub(f"hub:{at}/{file.filename}", file.urls)) for file in files]
        known = {"aliases": (repository,), "source": f"{HUB}/{repository}", "revision": revision}
        return cls(files=(*placed, *elsewhere), **{**known, **fields})

    @property
    def key(self) -> tuple[str, ...]:
        """Identifies the record: no two of a plugin may have the same."""
        return (self.name,)

    def __repr__(self) -> str:
        number = format_count(self.num_parameters)
        texts = (self.architecture, self.task, number and f"{number} parameters", format_size(self.size))
        return f"<Card {self.name!r}: {', '.join(text for text in texts if text)}>"

    def _repr_html_(self) -> str:
        card = self.without_secrets()
        rows = {
            "architecture": card.architecture,
            "task": card.task,
            "aliases": ", ".join(card.aliases),
            "parameters": format_count(card.num_parameters),
            "files": "\n".join(f"{file.filename} {format_size(file.size)}".strip() for file in card.files),
            "languages": ", ".join(card.languages),
            "license": card.license or "",
            "source": card.source or "",
            "description": card.description,
        }
        return html_table(card.name, rows)

    @property
    def size(self) -> int | None:
        """Total bytes of the preferred file of every role; None when one of the sizes is not known."""
        preferred = {file.role: file.size for file in reversed(self.files)}
        return None if None in preferred.values() else sum(size for size in preferred.values() if size is not None)


def _with_hub(url: str, others: Iterable[str]) -> tuple[str, ...]:
    """The URLs of a file, sorted: those on this disk, the hub's, all others."""
    here = [other for other in others if other.startswith(("pkg:", "file:"))]
    return (*here, url, *(other for other in others if other not in here))
