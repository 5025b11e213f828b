"""A name becomes a working model: ``load``, its parts, and ``save``.

Torch is imported when a model is built or saved; configurations and tokenizers need none.
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from registry import discovery
from registry.config.config import Config, read_config
from registry.download.policy import Policy
from registry.errors import (
    ArchitectureMismatchError,
    MissingTokenizerError,
    SaveError,
    UnknownTaskError,
    VocabError,
    did_you_mean,
)
from registry.garbage import gc_paused
from registry.records import Card, ConfigSpec, ModelSpec
from registry.sources.files import Files
from registry.sources.resolve import resolve
from registry.sources.source import Source

if TYPE_CHECKING:
    import torch
    from torch import nn

    from registry.loading.fill import LoadReport
    from registry.loading.model import Model
    from registry.tokenization.base import Tokenizer
    from registry.weights.write import Format


@frozen(kw_only=True)
class Pretrained:
    """A model with all that belongs to it."""

    model: "Model"
    """In evaluation mode, its weights loaded."""
    config: Config
    """The model's configuration."""
    card: Card | None
    """What a plugin declares of the model; None for folders and addresses."""
    report: "LoadReport"
    """What was loaded from where."""
    _tokenizer: "Tokenizer | MissingTokenizerError" = field(alias="tokenizer", repr=False)

    @property
    def tokenizer(self) -> "Tokenizer":
        """The model's tokenizer.  Raises MissingTokenizerError when its files came with none."""
        if isinstance(self._tokenizer, MissingTokenizerError):
            raise self._tokenizer
        return self._tokenizer

    def save(
        self, directory: str | Path, *, format: "Format" = "safetensors", max_shard_size: int | str | None = None
    ) -> Path:
        """Save model, configuration and tokenizer as a folder; see ``registry.save``."""
        return save(self, directory, format=format, max_shard_size=max_shard_size)


def load(
    name: str | Path,
    task: str | None = None,
    *,
    dtype: "torch.dtype | None" = None,
    device: "torch.device | str | None" = None,
    cache_dir: str | Path | None = None,
    offline: bool | None = None,
    revision: str | None = None,
    allow_missing: Collection[str] = (),
    allow_unexpected: Collection[str] = (),
    progress: bool | None = None,
    **config_overrides: Any,
) -> Pretrained:
    """Load a model with its configuration and tokenizer, by name, path or address.

    ``task`` picks the head (``"masked-lm"``, ``"question-answering"``, ...); without it the card, then the
    configuration's ``architectures``, then the architecture's default decide.  ``config_overrides`` go to the model
    class where it takes them (``num_labels=3``), else replace fields of the configuration.

    Raises UnknownModelError, UnknownTaskError, UnknownOptionError, MissingFileError, ConfigError, VocabError, and
    WeightsMismatchError when weights are missing, surplus or misshapen.  A model is never returned half loaded.
    """
    how = {
        "dtype": dtype,
        "device": device,
        "cache_dir": cache_dir,
        "offline": offline,
        "revision": revision,
        "allow_missing": allow_missing,
        "allow_unexpected": allow_unexpected,
        "progress": progress,
    }
    resolution, model = _load_model(name, task, how | config_overrides)
    tokenizer: Tokenizer | MissingTokenizerError
    try:
        tokenizer = _load_tokenizer(resolution, model.config.architecture, cache_dir, offline, progress=progress)
    except MissingTokenizerError as missing:
        tokenizer = missing
    else:
        check_fit(tokenizer, model.config)
    assert model.load_report is not None
    return Pretrained(
        model=model, config=model.config, card=resolution.card, report=model.load_report, tokenizer=tokenizer
    )


def load_model(name: str | Path, task: str | None = None, **options: Any) -> "Model":
    """Load a model alone; options and errors are those of ``load``."""
    return _load_model(name, task, options)[1]


def load_tokenizer(
    name: str | Path,
    *,
    cache_dir: str | Path | None = None,
    offline: bool | None = None,
    revision: str | None = None,
    **tokenizer_options: Any,
) -> "Tokenizer":
    """Load the tokenizer of a model, by name, path or address; needs no torch model and no weights.

    Raises MissingTokenizerError when the model carries no files of a tokenizer.
    """
    resolution = resolve(name, revision=revision)
    architecture = _architecture(resolution, cache_dir, offline)
    return _load_tokenizer(resolution, architecture, cache_dir, offline, **tokenizer_options)


def save(
    pretrained_or_model: "Pretrained | nn.Module",
    directory: str | Path,
    *,
    tokenizer: "Tokenizer | None" = None,
    format: "Format" = "safetensors",
    max_shard_size: int | str | None = None,
) -> Path:
    """Save a model, its configuration and its tokenizer as a folder which every door loads again.

    A model wrapped for training (DataParallel, DistributedDataParallel, torch.compile) is unwrapped.  Raises SaveError;
    what was in the folder before is then intact.
    """
    model: Any = pretrained_or_model
    if isinstance(model, Pretrained):
        if tokenizer is None and not isinstance(model._tokenizer, MissingTokenizerError):
            tokenizer = model._tokenizer
        model = model.model
    return _unwrapped(model).save_pretrained(
        directory, tokenizer=tokenizer, format=format, max_shard_size=max_shard_size
    )


def check_fit(tokenizer: "Tokenizer", config: Config) -> None:
    """Raise VocabError when the tokenizer has an id beyond the rows of the model's embedding."""
    rows = config.total_tokens_embeddings
    highest = max(tokenizer.get_vocab().values())
    if rows is not None and highest >= rows:
        token = tokenizer.convert_ids_to_tokens(highest)
        raise VocabError(
            f"The tokenizer does not belong to the model: its token {token!r} has the id {highest}, but the model "
            f"embeds {rows} tokens (ids 0 to {rows - 1}).",
            hint="Load the two from one folder, or correct the vocabulary file there.",
        )


# --- Parts ------------------------------------------------------------------------------------------------------------


@gc_paused()
def _load_model(name: str | Path, task: str | None, keywords: Mapping[str, Any]) -> "tuple[Source, Model]":
    from registry.loading.model import LoadOptions

    how = LoadOptions(**{key: value for key, value in keywords.items() if key in LoadOptions.names()})
    others = {key: value for key, value in keywords.items() if key not in LoadOptions.names()}
    resolution = resolve(name, revision=how.revision)
    paths = Files(resolution, Policy(**how.fetching)).of("config")
    config, keys = read_config(resolution, paths)
    spec = _model_spec(config.architecture, task or task_of(resolution.card, config.architecture, keys), resolution)
    cls: type[Model] = discovery.load_class(spec)
    return resolution, cls._load(resolution, config, (), others, how)


def task_of(card: Card | None, architecture: str, keys: Mapping[str, Any]) -> str:
    """The task of a checkpoint: its card's, else that of the class which wrote it, else the architecture's default."""
    if card is not None:
        return card.task
    written_by = keys.get("architectures") or ()
    declared = discovery.architecture(architecture)
    found = next(filter(None, map(declared.model_named, written_by)), None)
    return _config_spec(architecture).default_task if found is None else found.task


def _config_spec(architecture: str) -> ConfigSpec:
    found = discovery.architecture(architecture).config
    if found is None:
        raise ArchitectureMismatchError(
            f"No installed plugin declares the architecture {architecture!r}.", hint="`registry plugins` lists them."
        )
    return found


def _model_spec(architecture: str, task: str, resolution: Source) -> ModelSpec:
    models = discovery.architecture(architecture).models
    found = models.get(task)
    if found is None:
        tasks = list(models)
        raise UnknownTaskError(
            f"{resolution} is of the architecture {architecture!r}, which has no model for the task {task!r}."
            f"{did_you_mean(task, tasks)}",
            hint=f"Its tasks are: {', '.join(tasks) or 'none'}.",
        )
    return found


def _architecture(resolution: Source, cache_dir: str | Path | None, offline: bool | None) -> str:
    if resolution.card is not None:
        return resolution.card.architecture
    paths = Files(resolution, Policy(cache_dir=cache_dir, offline=offline)).of("config")
    return read_config(resolution, paths)[0].architecture


def _load_tokenizer(
    resolution: Source,
    architecture: str,
    cache_dir: str | Path | None,
    offline: bool | None,
    *,
    progress: bool | None = None,
    **tokenizer_options: Any,
) -> "Tokenizer":
    spec = discovery.architecture(architecture).tokenizer
    if spec is None:
        raise MissingTokenizerError(f"No installed plugin declares a tokenizer for the architecture {architecture!r}.")
    cls: type[Tokenizer] = discovery.load_class(spec)
    how: dict[str, Any] = {"cache_dir": cache_dir, "offline": offline, "progress": progress}
    return cls.from_resolution(resolution, **how, **tokenizer_options)


def _unwrapped(model: Any) -> "Model":
    from registry.loading.model import Model

    found = model
    while not isinstance(found, Model):
        found = getattr(found, "module", None) or getattr(found, "_orig_mod", None)
        if found is None:
            raise SaveError(
                f"A {type(model).__name__} cannot be saved as a model of the registry.",
                hint="Give a model that derives from registry.loading.model.Model, or what registry.load returned.",
            )
    return found
