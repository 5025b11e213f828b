"""The one way from files to a model, to which every door leads."""

import inspect
import os
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from attrs import evolve

from registry import discovery
from registry.config import Config
from registry.config.keywords import unknown_keyword
from registry.config.load import ConfigFile, find_config
from registry.discovery import Architecture
from registry.errors import UnknownOptionError
from registry.loading.fill import fill
from registry.loading.meta import build, within_memory
from registry.loading.options import LoadOptions
from registry.nn import onednn
from registry.saving.manifest import warn_of_disagreements
from registry.sources.files import Files
from registry.weights.checkpoint import Checkpoint, open_checkpoint

if TYPE_CHECKING:
    from torch import Tensor

    from registry.loading.model import Model

ModelT = TypeVar("ModelT", bound="Model")


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
        return cls(inputs=inputs, constructor=taken[0], after_loading=taken[1], overrides=taken[2])

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
    of_loading = set(inspect.signature(model.from_pretrained).parameters) - {"name_or_path", "inputs", "kwargs"}
    return unknown_keyword(
        key,
        f"{model.__name__} has no option {key!r}, and {config} no such field.",
        {*options, *fields, *of_loading},
        f"{model.__name__} takes {', '.join(sorted(options)) or 'no options'}; "
        f"{config} has {', '.join(sorted(fields))}.",
    )


@within_memory()
def load_into(
    cls: type[ModelT],
    files: Files,
    arguments: ClassArguments,
    options: LoadOptions,
    *,
    described: ConfigFile | None = None,
    checkpoint: Checkpoint | None = None,
) -> ModelT:
    """Build a model of a class, and fill it from files.

    Args:
        cls: The model's class.
        files: The files of the model.
        arguments: The arguments of the class next to its configuration.
        options: How the weights go into the model.
        described: The configuration, where it was read already.
        checkpoint: The weights, where they are not those among the files.

    Returns:
        The model, in evaluation mode.  A model is never returned half loaded.

    Raises:
        ArchitectureMismatchError: The files are of another architecture than the class.
        ConfigError: The configuration is impossible.
        MissingFileError: There is no configuration, or there are no weights.
        WeightsMismatchError: Weights are missing, unexpected, or of another shape.
        WeightsLimitError: The weights need more memory than there is.
    """
    described = described or find_config(files, expected=cls.config_class.architecture)
    said = {**arguments.fields_of_constructor(cls.config_class), **arguments.overrides}
    config = described.read(said, task=discovery.model_class_task(cls))
    checkpoint = checkpoint or open_weights(files, described.architecture, options.formats)
    model = build(lambda: cls(config, *arguments.inputs, **arguments.constructor))
    model.load_report = fill(model, checkpoint, model.layout, model.init_module, options)
    model.after_loading(**arguments.after_loading)
    onednn.enable(model)
    return model.eval()


def open_weights(files: Files, architecture: Architecture, formats: Collection[str] | None = None) -> Checkpoint:
    """The weights among the files of a model; warns of files that differ from the manifest of a saved directory."""
    paths = files.of("weights")
    warn_of_disagreements(paths)
    return evolve(open_checkpoint(paths, architecture, formats), source=str(files.source))


def given_weights(state_dict: "Mapping[str, Tensor]", files: Files) -> Checkpoint:
    """The weights that a caller gives with the files of a model, whose configuration they fit."""
    source = f"a state_dict, configured by {files.source}"
    return Checkpoint(tensors=state_dict, format="state_dict", source=source, borrowed=True)
