"""The one way from files to a model, to which every door leads."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import evolve

from registry import discovery
from registry.config.adapter import find_adapter
from registry.config.load import ConfigFile, find_config
from registry.discovery import Architecture
from registry.errors import RegistryError, UntrainedWarning, warn
from registry.files.filenames import GENERATION_CONFIG_NAME, JOURNAL_NAME, MANIFEST_NAME
from registry.files.strict_json import read_json_object
from registry.formatting import first_of
from registry.generation.generate import GenerationDefaults
from registry.loading.classes import ClassArguments
from registry.loading.fill import fill
from registry.loading.meta import build, within_memory
from registry.loading.options import Alternatives, LoadOptions
from registry.loading.report import LoadReport
from registry.loading.slots import slots_of
from registry.loading.untrained import fingerprints, recorded
from registry.nn import onednn
from registry.records import Paths
from registry.sharding.shares import own_class
from registry.sources.files import Files
from registry.weights.checkpoint import Checkpoint, open_checkpoint
from registry.weights.containers import opened
from registry.weights.containers import state_dict as tensors_in
from registry.weights.matching import is_allowed

if TYPE_CHECKING:
    from registry.loading.adapters.lora import LoraAdapter
    from registry.loading.model import Model

ModelT = TypeVar("ModelT", bound="Model")

MOST_PATTERNS = 8
"""Patterns that a warning lists."""


@within_memory()
def load_into(
    cls: type[ModelT],
    files: Files,
    arguments: ClassArguments,
    options: LoadOptions,
    *,
    described: ConfigFile | None = None,
    checkpoint: Checkpoint | None = None,
    adapter: "LoraAdapter | None" = None,
) -> ModelT:
    """Build a model of a class, and fill it from files.

    Args:
        cls: The model's class.
        files: The files of the model.
        arguments: The arguments of the class next to its configuration.
        options: How the weights go into the model.
        described: The configuration, where it was read already.
        checkpoint: The weights, where they are not those among the files.
        adapter: What is added to the weights, whose base model the files are.

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
    checkpoint = checkpoint or _opened(files, described.architecture, options)
    model = _built(cls, described, arguments)
    if checkpoint.names is not None:
        checkpoint = evolve(checkpoint, names=checkpoint.names.configured(model.config))
    if adapter is not None:
        from registry.loading.adapters.merge import adapted  # rarely needed

        checkpoint = adapted(model, model.layout, checkpoint, adapter)
    alternatives = Alternatives(
        config=model.config,
        remake=lambda values: _built(cls, described, arguments.replaced(values)),
        tasks=lambda: _fitting_tasks(described.architecture, model.config, checkpoint),
    )
    _divide(model, options)
    report = fill(model, checkpoint, model.layout, model.init_module, options, alternatives)
    model.load_report = report
    initial = (*report.new, *report.missing, *report.untrained)
    model.initial_values = fingerprints(model.local_state(), initial) if initial else {}
    meant = bool(report.new) and _means_new_head(model, report.new, described, arguments)
    _warn_of_untrained(model, report, options, meant=meant)
    model.generation_config = GenerationDefaults(checkpoint.generation_config)
    model.name_or_path = (files if adapter is None else adapter.file.files).source.asked
    model.after_loading(**arguments.after_loading)
    if onednn.is_faster():
        onednn.enable(model)
    return model.eval()


def _divide(model: "Model", options: LoadOptions) -> None:
    """Divide a model that has no values yet over the processes that are to share it, if there are any."""
    if options.processes is None:
        return
    from registry.sharding.dividing import divide  # which imports torch.distributed

    divide(model, options.processes)
    model.processes = options.processes


def _opened(files: Files, architecture: Architecture, options: LoadOptions) -> Checkpoint:
    """The weights among the files; which parts were never trained, one process finds out for all that share them."""
    finds_out = options.processes is None or options.processes.agreement.is_first
    return open_weights(files, architecture, options.formats, compares=finds_out)


def _built(cls: type[ModelT], described: ConfigFile, arguments: ClassArguments) -> ModelT:
    said = {**arguments.fields_of_constructor(cls.config_class), **arguments.overrides}
    config = described.read(said, task=discovery.model_class_task(cls))
    return build(lambda: cls(config, *arguments.inputs, **arguments.constructor))


def _fitting_tasks(architecture: Architecture, config: Any, checkpoint: Checkpoint) -> list[str]:
    from registry.loading.differences.fitness import fitting_tasks  # for errors only; it imports the models

    return fitting_tasks(architecture, config, checkpoint)


def _means_new_head(model: "Model", new: Collection[str], described: ConfigFile, arguments: ClassArguments) -> bool:
    """Whether a number of classes was given, and a new part is a head whose size it is."""
    if not arguments.means_a_head:
        return False
    shapes = {name: slot.shape for name, slot in slots_of(model).items()}
    try:
        other = _built(own_class(model), described, arguments.with_labels(model.config.num_labels + 1)).state_dict()
    except (RegistryError, TypeError, ValueError):  # the class alone says how it takes the number
        return True
    return any(tuple(other[name].shape) != shapes[name] for name in new)


def _warn_of_untrained(model: "Model", report: LoadReport, options: LoadOptions, *, meant: bool) -> None:
    """Warn about parts that a file lacks, unless a head is meant, and of those that were saved without training."""
    trainable = dict(model.named_parameters(remove_duplicate=False))  # a buffer is as the constructor computed it
    kinds = {
        "lacks {}, which are newly initialized": () if meant else report.new,
        "was saved with {} as they were initialized": report.untrained,
    }
    for kind, names in kinds.items():
        unmeant = [name for name in names if name in trainable and not is_allowed([name], options.allow_missing)]
        if unmeant:
            warn(
                f"{report.source} {kind.format(first_of(unmeant, 4))}: outputs of this {own_class(model).__name__} "
                f"that depend on them are random until they are trained. To silence this: "
                f"{_silenced(_part_patterns(model, unmeant))}.",
                UntrainedWarning,
            )


def _part_patterns(model: Any, names: Iterable[str]) -> list[str]:
    """Patterns for the parts of a model to which these names belong; the names themselves where they are in none."""
    every = list(model.state_dict())
    full = model.layout.in_full(every)
    parts = ((name, model.layout.part_of(full[name])) for name in names)
    found = (name if part is None else f"{model.layout.as_in(every, part)}*" for name, part in parts)
    return list(dict.fromkeys(found))


def _silenced(patterns: Sequence[str]) -> str:
    """What silences the warning: the patterns, or a filter where they would be most of the model."""
    few = len(patterns) <= MOST_PATTERNS
    return f"allow_missing={patterns}" if few else "warnings.simplefilter('ignore', registry.errors.UntrainedWarning)"


def open_weights(
    files: Files, architecture: Architecture, formats: Collection[str] | None = None, *, compares: bool = True
) -> Checkpoint:
    """The weights among the files of a model; warns about files that differ from the manifest of a saved directory.

    Args:
        files: The files of the model.
        architecture: Its architecture.
        formats: The only formats to look for.
        compares: Whether to compare tensors with what the manifest says of those that were never trained.
    """
    paths = files.of("weights")
    saved_here = MANIFEST_NAME in paths or JOURNAL_NAME in paths
    if saved_here:
        from registry.saving.manifest import warn_of_disagreements  # which other libraries' files need not

        warn_of_disagreements(paths)
    checkpoint = open_checkpoint(paths, architecture, formats, files)
    untrained = _untrained_in(paths, checkpoint) if saved_here and compares else []
    defaults = paths.get(GENERATION_CONFIG_NAME)
    generation = {} if defaults is None else read_json_object(defaults)
    return evolve(checkpoint, source=str(files.source), untrained=untrained, generation_config=generation)


def _untrained_in(paths: Paths, checkpoint: Checkpoint) -> list[str]:
    """Names of tensors that were saved as they were initialized, by the manifest of a saved directory."""
    from registry.saving.manifest import read_manifest

    manifest = read_manifest(paths)
    return [] if manifest is None else recorded(manifest.about, checkpoint.tensors)


def adapter_among(files: Files) -> "LoraAdapter | None":
    """The adapter that files hold in place of the weights of a model; None where they hold none.

    Raises:
        UnsupportedError: It cannot be added to weights.
        ConfigError: Its configuration is impossible.
        MissingFileError: Its base model, or its weights, are missing.
    """
    file = find_adapter(files)
    if file is None:
        return None
    from registry.loading.adapters.lora import read_lora  # rarely needed

    return read_lora(file)


def given_weights(state_dict: "Mapping[str, Any]", files: Files) -> Checkpoint:
    """The weights that a caller gives with the files of a model, whose configuration they fit.

    Containers of training programs are opened, as they are in files.
    """
    import torch

    source = f"a state_dict, configured by {files.source}"
    tensors = opened(state_dict, torch.Tensor, "The state_dict")
    if isinstance(tensors, dict) and any(isinstance(value, Mapping) for value in tensors.values()):
        tensors = tensors_in(tensors, torch.Tensor, "The state_dict")  # which names the key
    return Checkpoint(tensors=tensors, format="state_dict", source=source, borrowed=True)
