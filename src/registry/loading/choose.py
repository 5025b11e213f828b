"""The classes that load the files of a model: which task it is for, which model and which tokenizer."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from registry import discovery
from registry.config.load import ConfigFile
from registry.discovery import Architecture
from registry.errors import MissingTokenizerError, UnknownTaskError, did_you_mean
from registry.records import TASK_ALIASES, Card
from registry.sources.files import Files

if TYPE_CHECKING:
    from registry.loading.model import Model
    from registry.tokenization.load import Processor


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


def processor_of(
    architecture: Architecture, files: Files, options: Mapping[str, Any] = MappingProxyType({})
) -> "Processor":
    """The tokenizer, or other processor, among the files of a model of an architecture.

    Raises:
        MissingTokenizerError: The architecture has none, or the model has no files for it.
    """
    from registry.tokenization.load import read_tokenizer  # a model alone needs none

    spec = architecture.tokenizer
    if spec is None:
        raise MissingTokenizerError(
            f"No installed plugin declares a tokenizer for the architecture {architecture.name!r}."
        )
    cls: type[Processor] = discovery.load_class(spec)
    return read_tokenizer(cls, files, options)
