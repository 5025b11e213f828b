"""What a plugin declares: frozen records which hold strings, never classes.

Asking a plugin for its records is therefore cheap, and imports neither torch nor any architecture.  Every record
checks itself when it is made, so that an error points at the line of its author.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias

from attrs import Attribute, field, frozen

from registry.namespace import NAMESPACE, import_plugin_module

TASKS = (
    "base",
    "pretraining",
    "masked-lm",
    "next-sentence-prediction",
    "sequence-classification",
    "token-classification",
    "multiple-choice",
    "question-answering",
    "causal-lm",
    "double-heads",
)
"""The words for what a model is for; a plugin may add words of its own."""

ROLES = ("config", "weights", "vocab", "merges", "special_tokens", "tokenizer", "tokenizer_config")
"""What a file is to a model."""

Paths: TypeAlias = Mapping[str, Path]
"""Files of one model: published file name -> where it lies on this disk (a cache may call it otherwise there)."""


# --- Checks -----------------------------------------------------------------------------------------------------------

Check: TypeAlias = Callable[[Any, "Attribute[Any]", Any], None]


def matching(pattern: str, meaning: str) -> Check:
    """A check that a text matches ``pattern`` whole; ``meaning`` says in words what is allowed."""
    compiled = re.compile(pattern)

    def check(record: object, attribute: "Attribute[Any]", value: object) -> None:
        if not isinstance(value, str) or not compiled.fullmatch(value):
            raise ValueError(f"{type(record).__name__}.{attribute.name} must be {meaning}, not {value!r}.")

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
    """A tuple of strings; a single string, which would fall apart into letters, is refused."""
    if isinstance(value, str):
        raise TypeError(f"A sequence of strings is needed, not the single string {value!r}.")
    return tuple(value)


def _files(value: "Iterable[FileSpec]") -> "tuple[FileSpec, ...]":
    return tuple(value)


def _mapping(value: Mapping[str, Any]) -> Mapping[str, Any]:
    """A mapping that nobody can change."""
    return MappingProxyType(dict(value))


_word = matching(r"[a-z0-9]+([_-][a-z0-9]+)*", "lower-case letters, digits, '-' and '_'")
_card_name = matching(r"[a-z0-9]([a-z0-9._-]*[a-z0-9])?", "lower-case ASCII letters, digits, '.', '_' and '-'")
_alias = matching(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?", "a model name or 'organisation/name'")
_file_name = matching(r"(?!\.\.?$)[^/\\\x00-\x1f]{1,200}", "a plain file name without folders")
_url = matching(r"(https|http|hub|pkg|file):\S+", "an https:, hub:, pkg: or file: address")
_archive = matching(r"https?://\S+\.tar\.gz", "the https: address of a .tar.gz")
_language = matching(r"[a-z]{2,3}", "an ISO 639 code")
_digest = matching(r"[0-9a-f]{64}", "a sha256 digest of 64 lower-case hex digits")


# --- References -------------------------------------------------------------------------------------------------------


@frozen
class LazyRef:
    """The name of something that can be imported, ``"module:attribute"``; imported when it is first needed."""

    target: str = field(validator=matching(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*", "a reference of the form 'module:name'"))
    """``"package.module:Class"``; dots after the colon lead further in."""

    @property
    def name(self) -> str:
        """The last word: the class's name."""
        return self.target.rpartition(":")[2].rpartition(".")[2]

    def load(self) -> Any:
        """Import the module, and return what the reference names.

        Raises ImportError when the module cannot be imported, and AttributeError when it has no such name.
        """
        module, _, path = self.target.partition(":")
        found: Any = import_plugin_module(module)
        for name in path.split("."):
            found = getattr(found, name)
        return found

    def __str__(self) -> str:
        return self.target


def _ref(target: str | LazyRef) -> LazyRef:
    return target if isinstance(target, LazyRef) else LazyRef(target)


def _optional_ref(target: str | LazyRef | None) -> LazyRef | None:
    return None if target is None else _ref(target)


def revive(reference: str | type, state: Mapping[str, Any] | None = None) -> Any:
    """Remake a pickled object of a plugin's class, whatever an application calls ``plugins``.

    A class named as text is imported as a ``LazyRef`` is; ``state`` goes to its ``__setstate__``, or into its
    ``__dict__``.  Without a state, the pickle supplies it afterwards (as torch modules need, which may refer to
    themselves).
    """
    cls: Any = LazyRef(reference).load() if isinstance(reference, str) else reference
    made = cls.__new__(cls)
    if state is not None:
        if hasattr(made, "__setstate__"):
            made.__setstate__(state)
        else:
            vars(made).update(state)
    return made


def reference_to(cls: type) -> str | type:
    """What ``revive`` needs to find a class again: its name where ``plugins`` may be hidden, else the class itself."""
    in_namespace = cls.__module__.partition(".")[0] == NAMESPACE
    return f"{cls.__module__}:{cls.__qualname__}" if in_namespace else cls


# --- Records ----------------------------------------------------------------------------------------------------------


@frozen(kw_only=True)
class ConfigSpec:
    """The configuration of an architecture, and how a folder that holds one is recognised."""

    architecture: str = field(validator=_word)
    """The architecture's name: ``gpt2``."""
    cls: LazyRef = field(converter=_ref)
    """The configuration class; importing it needs no torch."""
    model_types: tuple[str, ...] = field(converter=_strings)
    """Values of ``model_type`` in a ``config.json`` which this architecture claims; the first is written on saving."""
    filenames: tuple[str, ...] = field(default=("config.json",), converter=_strings, validator=each(_file_name))
    """Names under which folders hold the configuration, the preferred one first."""
    default_task: str = field(default="base", validator=_word)
    """The task when neither caller, card nor configuration names one."""

    @property
    def key(self) -> tuple[str, ...]:
        """What may be declared only once."""
        return (self.architecture,)


@frozen(kw_only=True)
class ModelSpec:
    """The model class of an architecture for one task."""

    architecture: str = field(validator=_word)
    """The architecture that the class is of."""
    task: str = field(validator=_word)
    """A word of ``TASKS``, or the plugin's own."""
    cls: LazyRef = field(converter=_ref)
    """The model class, a subclass of ``registry.loading.model.Model``."""

    @property
    def key(self) -> tuple[str, ...]:
        """What may be declared only once."""
        return (self.architecture, self.task)


@frozen(kw_only=True)
class TokenizerSpec:
    """The tokenizer class of an architecture, and the files which it reads."""

    architecture: str = field(validator=_word)
    """The architecture whose models take what it returns."""
    cls: LazyRef = field(converter=_ref)
    """The tokenizer class; importing it needs no torch."""
    files: Mapping[str, str] = field(converter=_mapping, hash=False)
    """Role -> file name: ``{"vocab": "vocab.txt"}``."""

    @property
    def key(self) -> tuple[str, ...]:
        """What may be declared only once."""
        return (self.architecture,)


@frozen(kw_only=True)
class WeightLoaderSpec:
    """A format of weight files: how it is recognised, and how it is read."""

    format: str = field(validator=_word)
    """The format's name: ``safetensors``."""
    detect: LazyRef = field(converter=_ref)
    """``detect(paths: Paths) -> bool``: imports no torch, and reads at most 4 KiB."""
    loader: LazyRef = field(converter=_ref)
    """``loader(paths: Paths) -> Mapping[str, Tensor]``: lazy, a tensor is read when it is asked for."""
    names: LazyRef | None = field(default=None, converter=_optional_ref)
    """A ``NameTable`` from the file's names to the model's, where they differ."""
    headers: LazyRef | None = field(default=None, converter=_optional_ref)
    """``headers(paths: Paths) -> Mapping[str, Header]``: imports no torch, and reads no tensor.  Without it, a look at
    the file (`registry inspect`) reads the tensors."""
    architecture: str = field(
        default="*", validator=matching(r"\*|[a-z0-9]+([_-][a-z0-9]+)*", "an architecture or '*'")
    )
    """The architecture whose files these are; ``*`` for any."""

    @property
    def key(self) -> tuple[str, ...]:
        """What may be declared only once."""
        return (self.architecture, self.format)


@frozen(kw_only=True)
class FileSpec:
    """One published file of a model: what it is to the model, what it is called, and where it can be had."""

    role: str = field(validator=_word)
    """A word of ``ROLES``, or the plugin's own."""
    filename: str = field(validator=_file_name)
    """The published name: ``model.safetensors``; files of a cache may be called otherwise."""
    urls: tuple[str, ...] = field(converter=_strings, validator=each(_url))
    """Addresses in the order in which they are tried."""
    sha256: str | None = field(default=None, validator=optional(_digest))
    """The digest, null where it is not known."""
    size: int | None = field(default=None, validator=optional(_count))
    """Bytes, null where it is not known."""

    @urls.validator
    def _plain_http_needs_a_digest(self, _attribute: object, urls: tuple[str, ...]) -> None:
        for url in urls:
            if url.startswith("http:") and self.sha256 is None:
                raise ValueError(f"{url!r} can be changed on its way: declare its sha256, or give an https: address.")


@frozen(kw_only=True)
class Card:
    """All that is known of a model before any of its files is touched."""

    name: str = field(validator=_card_name)
    """The name under which the model is loaded; once published, it means the same weights for ever."""
    architecture: str = field(validator=_word)
    """The architecture of the weights: that of a ``ConfigSpec``, of any plugin."""
    task: str = field(validator=_word)
    """The richest task whose weights the file holds complete."""
    files: tuple[FileSpec, ...] = field(converter=_files)
    """The model's files; of several with one role, the first that can be had is taken."""
    archives: tuple[str, ...] = field(default=(), converter=_strings, validator=each(_archive))
    """Addresses of tar.gz archives which hold the same files."""
    aliases: tuple[str, ...] = field(default=(), converter=_strings, validator=each(_alias))
    """Other names for the same, such as ``organisation/name`` on the hub."""
    tokenizer: Mapping[str, Any] = field(default=MappingProxyType({}), converter=_mapping, hash=False)
    """Options of the tokenizer that belong to the weights: ``{"do_lower_case": True, "max_len": 512}``."""
    config: Mapping[str, Any] = field(default=MappingProxyType({}), converter=_mapping, hash=False)
    """Fields of the configuration whose values are not the architecture's defaults, as far as they decide sizes."""
    num_parameters: int | None = field(default=None, validator=optional(_count))
    """Parameters of the model class of ``task``; tied ones count once."""
    languages: tuple[str, ...] = field(default=(), converter=_strings, validator=each(_language))
    """ISO 639 codes; ``mul`` for many."""
    license: str | None = field(default=None, validator=optional(matching(r"\S+", "an SPDX identifier")))
    """The licence of the weights, as an SPDX identifier: ``Apache-2.0``."""
    description: str = ""
    """One sentence."""
    source: str | None = field(default=None, validator=optional(matching(r"https://\S+", "an https: address")))
    """A page about the model."""

    @property
    def key(self) -> tuple[str, ...]:
        """What may be declared only once."""
        return (self.name,)

    @property
    def size(self) -> int | None:
        """Bytes of the preferred file of every role together; None when one of them is not known."""
        preferred = {file.role: file.size for file in reversed(self.files)}
        return None if None in preferred.values() else sum(size for size in preferred.values() if size is not None)


@frozen(kw_only=True)
class LayerSpec:
    """A layer of an architecture, which others may build with."""

    architecture: str = field(validator=_word)
    """The architecture that the layer is of."""
    name: str = field(validator=_word)
    """The layer's name: ``block``."""
    cls: LazyRef = field(converter=_ref)
    """The layer's class, a subclass of ``torch.nn.Module``."""
    summary: str
    """One sentence."""

    @property
    def key(self) -> tuple[str, ...]:
        """What may be declared only once."""
        return (self.architecture, self.name)


Record: TypeAlias = ConfigSpec | ModelSpec | TokenizerSpec | WeightLoaderSpec | Card | LayerSpec
