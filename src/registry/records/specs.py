"""Records of classes, formats and layers, and the words that they use."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias

from attrs import field, frozen

from registry.namespace import import_object
from registry.records.checks import FILE_NAME, WORD, Declared, each, mapping, matching, strings

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

Paths: TypeAlias = Mapping[str, Path]
"""Files of one model: published file name -> path on this disk, whose own name may differ (in a cache)."""

AXES = ("batch", "choices", "tokens", "vocabulary", "labels", "any")
"""Words for the axes of outputs."""


# --- References -------------------------------------------------------------------------------------------------------


@frozen(eq=False, repr=False)
class LazyRef(Declared):
    """A reference to something that can be imported, ``"module:attribute"``; imported when it is first needed."""

    target: str = field(validator=matching(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*", "a reference of the form 'module:name'"))
    """``"package.module:Class"``; dots after the colon name attributes of attributes."""

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


def _shapes(value: Mapping[str, Iterable[str | int]]) -> Mapping[str, tuple[str | int, ...]]:
    """Shapes by field; the axes are known words, or sizes."""
    for name, axes in value.items():
        if isinstance(axes, str) or not all(axis in AXES or type(axis) is int for axis in axes):
            raise ValueError(f"The axes of {name!r} must be a tuple of sizes and of {', '.join(AXES)}, not {axes!r}.")
    return MappingProxyType({name: tuple(axes) for name, axes in value.items()})


@frozen(kw_only=True, eq=False, repr=False)
class ConfigSpec(Declared):
    """The configuration class of an architecture, and how its configuration files are recognized."""

    architecture: str = field(validator=WORD)
    """The architecture's name: ``gpt2``."""
    cls: LazyRef = field(converter=_ref)
    """The configuration class; importing it needs no torch."""
    model_types: tuple[str, ...] = field(converter=strings)
    """Values of ``model_type`` in a ``config.json`` that this architecture handles; the first is written on saving."""
    filenames: tuple[str, ...] = field(default=("config.json",), converter=strings, validator=each(FILE_NAME))
    """Names of the configuration file in a directory, the preferred one first."""
    default_task: str = field(default="base", validator=WORD)
    """The task where neither the caller, the card nor the configuration names one."""
    reader: LazyRef | None = field(default=None, converter=_optional_ref)
    """``reader(paths: Paths) -> Mapping[str, Any] | None``: the keys of the configuration in files that are not JSON,
    such as a single file with all of a model; None where the files are not of its kind.  It needs no torch, and is
    asked where no file of ``filenames`` is found."""

    @property
    def key(self) -> tuple[str, ...]:
        """Identifies the record: no two of a plugin may have the same."""
        return (self.architecture,)


@frozen(kw_only=True, eq=False, repr=False)
class ModelSpec(Declared):
    """The model class of an architecture for one task."""

    architecture: str = field(validator=WORD)
    """The architecture of the class."""
    task: str = field(validator=WORD)
    """A word of ``TASKS``, or the plugin's own."""
    cls: LazyRef = field(converter=_ref)
    """The model class, a subclass of ``registry.loading.model.Model``."""
    outputs: Mapping[str, tuple[str | int, ...]] = field(default=MappingProxyType({}), converter=_shapes, hash=False)
    """For a task of the plugin's own, the fields of the output that it promises, with their axes:
    ``{"logits": ("batch", "tokens", "labels")}``.  An axis is a size, or a word of ``AXES``."""

    @property
    def key(self) -> tuple[str, ...]:
        """Identifies the record: no two of a plugin may have the same."""
        return (self.architecture, self.task)


@frozen(kw_only=True, eq=False, repr=False)
class TokenizerSpec(Declared):
    """The tokenizer class of an architecture, or its other processor, and the files that it reads."""

    architecture: str = field(validator=WORD)
    """The architecture whose models take its ids."""
    cls: LazyRef = field(converter=_ref)
    """The tokenizer class, or any class that has ``from_files(paths)`` and ``files()``, such as a processor of images;
    importing it needs no torch."""
    files: Mapping[str, str] = field(converter=mapping, hash=False)
    """Role -> file name: ``{"vocab": "vocab.txt"}``.  These roles of a card are collected, whatever they are called."""

    @property
    def key(self) -> tuple[str, ...]:
        """Identifies the record: no two of a plugin may have the same."""
        return (self.architecture,)


@frozen(kw_only=True, eq=False, repr=False)
class WeightLoaderSpec(Declared):
    """A format of weight files: how it is recognized, and how it is read.

    The core reads ``CORE_FORMATS`` of any architecture.  For its own architecture a plugin may read one of them
    otherwise: where its record detects the files, it goes before the core's.
    """

    format: str = field(validator=WORD)
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
    filenames: tuple[str, ...] = field(default=(), converter=strings, validator=each(FILE_NAME))
    """Names of its files in a hub repository or web directory, where there are none in the formats of the core; files
    of other names are not fetched."""
    config: LazyRef | None = field(default=None, converter=_optional_ref)
    """``config(paths: Paths) -> Mapping[str, Any]``: the keys of the configuration, ``model_type`` among them, in a
    format that carries it.  It needs no torch, and is asked where no configuration in JSON is found."""
    tokenizer: LazyRef | None = field(default=None, converter=_optional_ref)
    """``tokenizer(paths: Paths) -> Mapping[str, str | bytes]``: the published files of the tokenizer, name and
    content, in a format that carries it; none where these files have no tokenizer.  It needs no torch, and is asked
    where no other file of a tokenizer is found."""

    @property
    def key(self) -> tuple[str, ...]:
        """Identifies the record: no two of a plugin may have the same."""
        return (self.architecture, self.format)


@frozen(kw_only=True, eq=False, repr=False)
class LayerSpec(Declared):
    """A layer of an architecture, for others to build with."""

    architecture: str = field(validator=WORD)
    """The architecture of the layer."""
    name: str = field(validator=WORD)
    """The layer's name: ``block``."""
    cls: LazyRef = field(converter=_ref)
    """The layer's class, a subclass of ``torch.nn.Module``."""
    summary: str
    """One sentence."""

    @property
    def key(self) -> tuple[str, ...]:
        """Identifies the record: no two of a plugin may have the same."""
        return (self.architecture, self.name)
