"""The class of a model: for which task it is, and which keywords of a load are its own."""

import inspect
import os
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from registry import discovery
from registry.config import Config
from registry.config.keywords import FOREIGN, refuse_unknown, unknown_keyword
from registry.config.load import ConfigFile, config_keywords
from registry.discovery import Architecture
from registry.errors import RegistryError, UnknownOptionError, UnknownTaskError, did_you_mean
from registry.records import TASK_ALIASES, Card, ModelSpec
from registry.sources.files import Files
from registry.sources.source import Source

if TYPE_CHECKING:
    from registry.loading.model import Model

HEAD_OPTIONS = frozenset(("num_labels", "id2label", "label2id"))
"""Options that describe a head, and so say that one is meant."""


def task_of(card: Card | None, described: ConfigFile) -> str:
    """The task of a checkpoint: its card's, else that of the class which wrote it, else the architecture's default."""
    if card is not None:
        return card.task
    found = filter(None, map(described.architecture.model_named, described.architectures))
    written_by = next(found, None)
    assert described.architecture.config is not None
    return described.architecture.config.default_task if written_by is None else written_by.task


def class_for(task: str, architecture: Architecture, files: Files) -> "type[Model]":
    """The model class of an architecture for a task.

    Raises:
        UnknownTaskError: The architecture has no model for the task.
    """
    spec = architecture.models.get(task) or architecture.models.get(TASK_ALIASES.get(task, task))
    if spec is None:
        tasks = list(architecture.models)
        raise UnknownTaskError(
            f"{files.source} is of the architecture {architecture.name!r}, which has no model for the task {task!r}."
            f"{did_you_mean(task, tasks)}",
            hint=f"Its tasks are: {', '.join(tasks) or 'none'}.",
        )
    cls: type[Model] = discovery.load_class(spec)
    return cls


# --- Its keywords -----------------------------------------------------------------------------------------------------


class ClassArguments(NamedTuple):
    """The arguments of a model's class next to its configuration."""

    inputs: tuple[Any, ...]
    """Positional arguments of the constructor."""
    constructor: Mapping[str, Any]
    """Keywords of the constructor."""
    after_loading: Mapping[str, Any]
    """Keywords of ``Model.after_loading``."""
    overrides: Mapping[str, Any]
    """Values that replace those of configuration fields."""
    positional: tuple[str, ...] = ()
    """Names of the positional arguments."""

    @property
    def means_a_head(self) -> bool:
        """Whether they say how many classes a head is to have, so that a new one is not a surprise."""
        return bool(HEAD_OPTIONS & {*self.constructor, *self.overrides, *self.positional})

    @classmethod
    def of(cls, model: "type[Model]", inputs: tuple[Any, ...], keywords: Mapping[str, Any]) -> "ClassArguments":
        """Divide keywords among constructor, ``after_loading`` and configuration; the first that has one gets it.

        Raises:
            UnknownOptionError: None of the three has a keyword, or a path is given as a positional argument.
        """
        if inputs and isinstance(inputs[0], (str, os.PathLike)):
            raise UnknownOptionError(
                f"{model.__name__}.from_pretrained was given {str(inputs[0])!r} as a second positional argument, which "
                f"would go to the constructor.",
                hint=f"If it is the cache directory, write cache_dir={str(inputs[0])!r}.",
            )
        own, later = own_keywords(model)
        fields = set(model.config_class.keys()) - own - later
        for key in keywords:
            if key not in own | later | fields:
                raise _unknown(key, model, own | later, fields)
        taken = [{key: value for key, value in keywords.items() if key in names} for names in (own, later, fields)]
        names = [name for name in inspect.signature(model.__init__).parameters if name not in ("self", "config")]
        return cls(
            inputs=inputs,
            constructor=taken[0],
            after_loading=taken[1],
            overrides=taken[2],
            positional=tuple(names[: len(inputs)]),
        )

    def with_labels(self, number: int) -> "ClassArguments":
        """The same for another number of classes."""
        plain = ClassArguments(
            inputs=() if HEAD_OPTIONS & {*self.positional} else self.inputs,
            constructor={key: value for key, value in self.constructor.items() if key not in HEAD_OPTIONS},
            after_loading=self.after_loading,
            overrides={key: value for key, value in self.overrides.items() if key not in HEAD_OPTIONS},
        )
        return plain.replaced({"num_labels": number})

    def replaced(self, values: Mapping[str, Any]) -> "ClassArguments":
        """The same with other values for some options, each for the constructor where it was given that one."""
        own = {key: value for key, value in values.items() if key in self.constructor}
        rest = {key: value for key, value in values.items() if key not in own}
        return ClassArguments(
            inputs=self.inputs,
            constructor={**self.constructor, **own},
            after_loading=self.after_loading,
            overrides={**self.overrides, **rest},
            positional=self.positional,
        )

    def fields_of_constructor(self, config: type[Config]) -> Mapping[str, Any]:
        """Keywords of the constructor that are fields of the configuration as well, such as ``num_labels``."""
        fields = config.keys()
        return {key: value for key, value in self.constructor.items() if key in fields and value is not None}


def own_keywords(model: "type[Model]") -> tuple[set[str], set[str]]:
    """The keywords of a class's constructor, next to its configuration, and those of its ``after_loading``."""
    own = set(inspect.signature(model.__init__).parameters) - {"self", "config"}
    return own, set(inspect.signature(model.after_loading).parameters) - {"self"} - own


def _unknown(key: str, model: "type[Model]", options: Collection[str], fields: Collection[str]) -> UnknownOptionError:
    config = model.config_class.__name__
    of_loading = set(inspect.signature(model.from_pretrained).parameters) - {
        "pretrained_model_name_or_path",
        "inputs",
        "kwargs",
    }
    return unknown_keyword(
        key,
        f"{model.__name__} has no option {key!r}, and {config} no such field.",
        {*options, *fields, *of_loading},
        f"{model.__name__} takes {', '.join(sorted(options)) or 'no options'}; "
        f"{config} has {', '.join(sorted(fields))}.",
    )


def refuse_model_keywords(source: Source, task: str | None, keywords: Mapping[str, Any]) -> None:
    """Refuse keywords that no model takes which the source may hold.

    Where a card names the architecture, these are the keywords of one class.  The files of a repository or a URL
    say the architecture once they are here, and so all that is installed counts.

    Raises:
        UnknownOptionError: No such model takes a keyword.
    """
    if not keywords:
        return
    card = source.card
    if card is not None:
        spec = discovery.architecture(card.architecture).models.get(task or card.task)
        if spec is not None:
            ClassArguments.of(discovery.load_class(spec), (), keywords)
        return
    known = config_keywords(None)
    if known.issuperset(keywords) or (source.in_place and FOREIGN.keys().isdisjoint(keywords)):
        return
    refuse_unknown(keywords, known | set(_class_keywords()), "No model has")


def _class_keywords() -> Iterator[str]:
    """The keywords of all classes of models; a plugin that fails has none."""
    for spec in discovery.every(ModelSpec):
        try:
            cls: type[Model] = discovery.load_class(spec)
        except RegistryError:
            continue
        for keywords in own_keywords(cls):
            yield from keywords
