"""What a plugin declares: frozen records which hold strings, never classes.

Calling the hooks of a plugin is therefore cheap, and imports neither torch nor any architecture.  Every record checks
itself in its constructor, so that an error points at the line of its author.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias

from attrs import Attribute, evolve, field, fields, frozen

from registry.files.filenames import ARCHIVE_SUFFIXES
from registry.files.urls import redacted, shown
from registry.formatting import format_count, format_size, html_table
from registry.namespace import import_object

OUTPUTS: Mapping[str, Mapping[str, tuple[str | int, ...]]] = MappingProxyType(
    {
        "base": {"last_hidden_state": ("batch", "tokens", "any")},
        "pretraining": {
            "prediction_logits": ("batch", "tokens", "vocabulary"),
            "seq_relationship_logits": ("batch", 2),
        },
        "masked-lm": {"logits": ("batch", "tokens", "vocabulary")},
        "next-sentence-prediction": {"logits": ("batch", 2)},
        "sequence-classification": {"logits": ("batch", "labels")},
        "token-classification": {"logits": ("batch", "tokens", "labels")},
        "multiple-choice": {"logits": ("batch", "choices")},
        "question-answering": {"start_logits": ("batch", "tokens"), "end_logits": ("batch", "tokens")},
        "causal-lm": {"logits": ("batch", "tokens", "vocabulary")},
        "double-heads": {"logits": ("batch", "choices", "tokens", "vocabulary"), "mc_logits": ("batch", "choices")},
        "seq2seq-lm": {"logits": ("batch", "tokens", "vocabulary")},
        "image-classification": {"logits": ("batch", "labels")},
    }
)
"""Fields of the output that every model of a task has, with their axes, each a size or a word of ``AXES``."""

TASKS = tuple(OUTPUTS)
"""The field's words for tasks; a plugin may add words of its own."""

TASK_ALIASES: Mapping[str, str] = MappingProxyType(
    {
        "fill-mask": "masked-lm",
        "text-generation": "causal-lm",
        "text-classification": "sequence-classification",
        "text2text-generation": "seq2seq-lm",
        "feature-extraction": "base",
    }
)
"""The hub's words for tasks -> ours, wherever a task is asked for."""

ROLES = ("config", "weights", "vocab", "merges", "special_tokens", "tokenizer", "tokenizer_config")
"""The roles of files in a model; a plugin may add words of its own."""

CORE_FORMATS = ("safetensors", "torch", "tensorflow", "numpy")
"""The formats of weights that the core reads for any architecture, the preferred one first."""

HUB = "https://huggingface.co"
"""The Hugging Face hub, whose files ``hub:organization/name@revision/file`` names."""

Paths: TypeAlias = Mapping[str, Path]
"""Files of one model: published file name -> path on this disk, whose own name may differ (in a cache)."""


# --- Checks -----------------------------------------------------------------------------------------------------------

Check: TypeAlias = Callable[[Any, "Attribute[Any]", Any], None]


def matching(pattern: str, meaning: str) -> Check:
    """A check that a complete string matches ``pattern``; ``meaning`` describes in messages what is allowed."""
    compiled = re.compile(pattern)

    def check(record: object, attribute: "Attribute[Any]", value: object) -> None:
        if not isinstance(value, str) or not compiled.fullmatch(value):
            found = shown(value) if isinstance(value, str) else repr(value)
            raise ValueError(f"{type(record).__name__}.{attribute.name} must be {meaning}, not {found}.")

    return check


def optional(check: Check) -> Check:
    """The same check, with None allowed."""

    def check_unless_none(record: object, attribute: "Attribute[Any]", value: object) -> None:
        if value is not None:
            check(record, attribute, value)

    return check_unless_none


def each(check: Check) -> Check:
    """The same check for every item of a tuple."""

    def check_items(record: object, attribute: "Attribute[Any]", value: Iterable[object]) -> None:
        for item in value:
            check(record, attribute, item)

    return check_items


def _count(record: object, attribute: "Attribute[Any]", value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{type(record).__name__}.{attribute.name} must be a whole number, not {value!r}.")


def _strings(value: Iterable[str]) -> tuple[str, ...]:
    """A tuple of strings; a single string, which would be taken for a sequence of letters, is refused."""
    if isinstance(value, str):
        raise TypeError(f"A sequence of strings is needed, not the single string {shown(value)}.")
    return tuple(value)


def _parted(url: str) -> tuple[str, str, str]:
    return url.partition("#")


def _shown_urls(urls: Iterable[str]) -> str:
    return repr(tuple(map(redacted, urls)))


def _files(value: "Iterable[FileSpec]") -> "tuple[FileSpec, ...]":
    return tuple(value)


def _mapping(value: Mapping[str, Any]) -> Mapping[str, Any]:
    """A mapping that cannot be changed."""
    return MappingProxyType(dict(value))


AXES = ("batch", "choices", "tokens", "vocabulary", "labels", "any")
"""Words for the axes of outputs."""


def _shapes(value: Mapping[str, Iterable[str | int]]) -> Mapping[str, tuple[str | int, ...]]:
    """Shapes by field; the axes are known words, or sizes."""
    for name, axes in value.items():
        if isinstance(axes, str) or not all(axis in AXES or type(axis) is int for axis in axes):
            raise ValueError(f"The axes of {name!r} must be a tuple of sizes and of {', '.join(AXES)}, not {axes!r}.")
    return MappingProxyType({name: tuple(axes) for name, axes in value.items()})


def _remade(cls: type, values: Mapping[str, Any]) -> Any:
    return cls(**values)


def _reduce(record: Any) -> tuple[Any, ...]:
    """Pickle or copy a record by its fields; a read-only mapping, which cannot be pickled, becomes a dict meanwhile."""
    values = {field.name: getattr(record, field.name) for field in fields(type(record))}
    plain = {name: dict(value) if isinstance(value, Mapping) else value for name, value in values.items()}
    return _remade, (type(record), plain)


def _repr(record: Any) -> str:
    """The fields of a record.  One function for all: those that attrs generates take a tenth of a start."""
    texts = []
    for attribute in fields(type(record)):
        show = attribute.repr if callable(attribute.repr) else repr
        texts.append(f"{attribute.name}={show(getattr(record, attribute.name))}")
    return f"{type(record).__name__}({', '.join(texts)})"


_word = matching(r"[a-z0-9]+([_-][a-z0-9]+)*", "lower-case letters, digits, '-' and '_'")
_card_name = matching(r"[a-z0-9]([a-z0-9._-]*[a-z0-9])?", "lower-case ASCII letters, digits, '.', '_' and '-'")
_alias = matching(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?", "a model name or 'organization/name'")
_file_name = matching(r"(?!\.\.?$)[^/\\\x00-\x1f]{1,200}", "a plain file name without directories")
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


# --- References -------------------------------------------------------------------------------------------------------


@frozen
class LazyRef:
    """A reference to something that can be imported, ``"module:attribute"``; imported when it is first needed."""

    target: str = field(validator=matching(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*", "a reference of the form 'module:name'"))
    """``"package.module:Class"``; dots after the colon name attributes of attributes."""

    __repr__ = _repr

    @property
    def name(self) -> str:
        """The last part: the name of the class."""
        return self.target.rpartition(":")[2].rpartition(".")[2]

    def load(self) -> Any:
        """Import the module, and return the attribute that the reference names.

        Raises:
            ImportError: The module cannot be imported.
            AttributeError: The module has no such attribute.
        """
        return import_object(self.target)

    def __str__(self) -> str:
        return self.target


def _ref(target: str | LazyRef) -> LazyRef:
    return target if isinstance(target, LazyRef) else LazyRef(target)


def _optional_ref(target: str | LazyRef | None) -> LazyRef | None:
    return None if target is None else _ref(target)


# --- Records ----------------------------------------------------------------------------------------------------------


@frozen(kw_only=True)
class ConfigSpec:
    """The configuration class of an architecture, and how its configuration files are recognized."""

    architecture: str = field(validator=_word)
    """The architecture's name: ``gpt2``."""
    cls: LazyRef = field(converter=_ref)
    """The configuration class; importing it needs no torch."""
    model_types: tuple[str, ...] = field(converter=_strings)
    """Values of ``model_type`` in a ``config.json`` that this architecture handles; the first is written on saving."""
    filenames: tuple[str, ...] = field(default=("config.json",), converter=_strings, validator=each(_file_name))
    """Names of the configuration file in a directory, the preferred one first."""
    default_task: str = field(default="base", validator=_word)
    """The task where neither the caller, the card nor the configuration names one."""
    reader: LazyRef | None = field(default=None, converter=_optional_ref)
    """``reader(paths: Paths) -> Mapping[str, Any] | None``: the keys of the configuration in files that are not JSON,
    such as a single file with all of a model; None where the files are not of its kind.  It needs no torch, and is
    asked where no file of ``filenames`` is found."""

    __repr__ = _repr

    @property
    def key(self) -> tuple[str, ...]:
        """Identifies the record: no two of a plugin may have the same."""
        return (self.architecture,)


@frozen(kw_only=True)
class ModelSpec:
    """The model class of an architecture for one task."""

    architecture: str = field(validator=_word)
    """The architecture of the class."""
    task: str = field(validator=_word)
    """A word of ``TASKS``, or the plugin's own."""
    cls: LazyRef = field(converter=_ref)
    """The model class, a subclass of ``registry.loading.model.Model``."""
    outputs: Mapping[str, tuple[str | int, ...]] = field(default=MappingProxyType({}), converter=_shapes, hash=False)
    """For a task of the plugin's own, the fields of the output that it promises, with their axes:
    ``{"logits": ("batch", "tokens", "labels")}``.  An axis is a size, or a word of ``AXES``."""

    __repr__ = _repr
    __reduce__ = _reduce

    @property
    def key(self) -> tuple[str, ...]:
        """Identifies the record: no two of a plugin may have the same."""
        return (self.architecture, self.task)


@frozen(kw_only=True)
class TokenizerSpec:
    """The tokenizer class of an architecture, or its other processor, and the files that it reads."""

    architecture: str = field(validator=_word)
    """The architecture whose models take its ids."""
    cls: LazyRef = field(converter=_ref)
    """The tokenizer class, or any class that has ``from_files(paths)`` and ``files()``, such as a processor of images;
    importing it needs no torch."""
    files: Mapping[str, str] = field(converter=_mapping, hash=False)
    """Role -> file name: ``{"vocab": "vocab.txt"}``.  These roles of a card are collected, whatever they are called."""

    __repr__ = _repr
    __reduce__ = _reduce

    @property
    def key(self) -> tuple[str, ...]:
        """Identifies the record: no two of a plugin may have the same."""
        return (self.architecture,)


@frozen(kw_only=True)
class WeightLoaderSpec:
    """A format of weight files: how it is recognized, and how it is read.

    The core reads ``CORE_FORMATS`` of any architecture.  For its own architecture a plugin may read one of them
    otherwise: where its record detects the files, it goes before the core's.
    """

    format: str = field(validator=_word)
    """The format's name: ``safetensors``."""
    detect: LazyRef = field(converter=_ref)
    """``detect(paths: Paths) -> bool``: imports no torch, and reads at most 4 KiB."""
    loader: LazyRef = field(converter=_ref)
    """``loader(paths: Paths) -> Mapping[str, Tensor]``: lazy, a tensor is read when it is accessed."""
    names: LazyRef | None = field(default=None, converter=_optional_ref)
    """A ``NameTable`` from the file's names to the model's, where they differ; None where they do not."""
    headers: LazyRef | None = field(default=None, converter=_optional_ref)
    """``headers(paths: Paths) -> Mapping[str, Header]``: imports no torch, and reads no tensor.  Without it,
    `registry inspect` reads the tensors."""
    architecture: str = field(
        default="*", validator=matching(r"\*|[a-z0-9]+([_-][a-z0-9]+)*", "an architecture or '*'")
    )
    """The architecture of the files; ``*`` for any."""
    filenames: tuple[str, ...] = field(default=(), converter=_strings, validator=each(_file_name))
    """Names of its files in a hub repository or web directory, where there are none in the formats of the core; files
    of other names are not fetched."""
    config: LazyRef | None = field(default=None, converter=_optional_ref)
    """``config(paths: Paths) -> Mapping[str, Any]``: the keys of the configuration, ``model_type`` among them, in a
    format that carries it.  It needs no torch, and is asked where no configuration in JSON is found."""
    tokenizer: LazyRef | None = field(default=None, converter=_optional_ref)
    """``tokenizer(paths: Paths) -> Mapping[str, str | bytes]``: the published files of the tokenizer, name and
    content, in a format that carries it; none where these files have no tokenizer.  It needs no torch, and is asked
    where no other file of a tokenizer is found."""

    __repr__ = _repr

    @property
    def key(self) -> tuple[str, ...]:
        """Identifies the record: no two of a plugin may have the same."""
        return (self.architecture, self.format)


@frozen(kw_only=True)
class FileSpec:
    """One published file of a model: its role, its name, and where it is available."""

    role: str = field(validator=_word)
    """A word of ``ROLES``, or the plugin's own."""
    filename: str = field(validator=_path_inside)
    """The published name: ``model.safetensors``, ``1_Pooling/config.json``; its name in a cache may differ."""
    urls: tuple[str, ...] = field(default=(), converter=_strings, validator=each(_url), repr=_shown_urls)
    """URLs in the order in which they are tried; ``Card.on_hub`` adds that of the hub."""
    sha256: str | None = field(default=None, validator=optional(_digest))
    """The digest; None where it is not known."""
    size: int | None = field(default=None, validator=optional(_count))
    """Bytes; None where the number is not known."""

    __repr__ = _repr

    @urls.validator
    def _plain_http_needs_a_digest(self, _attribute: object, urls: tuple[str, ...]) -> None:
        for url in urls:
            if url.startswith("http:") and self.sha256 is None:
                raise ValueError(f"{shown(url)} can be modified in transit: declare its sha256, or give an https: URL.")


@frozen(kw_only=True)
class Card:
    """What is known about a model before any of its files is read.

    ``Card.on_hub`` makes one whose files lie in a repository of the Hugging Face hub.
    """

    name: str = field(validator=_card_name)
    """The name under which the model is loaded; once published, it means the same weights forever."""
    architecture: str = field(validator=_word)
    """The architecture of the weights: that of a ``ConfigSpec``, of any plugin."""
    task: str = field(validator=_word)
    """The richest task whose weights the file holds complete."""
    files: tuple[FileSpec, ...] = field(converter=_files)
    """The model's files; of several with one role, the first that is available is taken."""
    archives: tuple[str, ...] = field(default=(), converter=_strings, validator=each(_archive), repr=_shown_urls)
    """URLs of archives (``.tar.gz``, ``.tgz``, ``.zip``) that hold the same files.  A fragment ``#sha256=<hex digits>``
    is the digest of the archive; a plain http: URL needs it."""
    aliases: tuple[str, ...] = field(default=(), converter=_strings, validator=each(_alias))
    """Other names of the model, such as ``organization/name`` on the hub."""
    tokenizer: Mapping[str, Any] = field(default=MappingProxyType({}), converter=_mapping, hash=False)
    """Options of the tokenizer that belong to the weights: ``{"do_lower_case": True, "max_len": 512}``."""
    config: Mapping[str, Any] = field(default=MappingProxyType({}), converter=_mapping, hash=False)
    """Fields of the configuration that decide sizes and differ from the architecture's defaults."""
    num_parameters: int | None = field(default=None, validator=optional(_count))
    """Parameters of the model class of ``task``; tied ones are counted once."""
    languages: tuple[str, ...] = field(default=(), converter=_strings, validator=each(_language))
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

    __reduce__ = _reduce

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


@frozen(kw_only=True)
class LayerSpec:
    """A layer of an architecture, for others to build with."""

    architecture: str = field(validator=_word)
    """The architecture of the layer."""
    name: str = field(validator=_word)
    """The layer's name: ``block``."""
    cls: LazyRef = field(converter=_ref)
    """The layer's class, a subclass of ``torch.nn.Module``."""
    summary: str
    """One sentence."""

    __repr__ = _repr

    @property
    def key(self) -> tuple[str, ...]:
        """Identifies the record: no two of a plugin may have the same."""
        return (self.architecture, self.name)


Record: TypeAlias = ConfigSpec | ModelSpec | TokenizerSpec | WeightLoaderSpec | Card | LayerSpec
