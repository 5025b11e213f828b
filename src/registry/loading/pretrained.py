"""``load``, its parts, and ``save``.

Torch is imported when a model is built or saved; configurations and tokenizers need none.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import evolve

from registry.config.keywords import refusing_foreign
from registry.config.load import ConfigFile, find_config
from registry.errors import MissingTokenizerError, SaveError
from registry.garbage import gc_paused
from registry.loading.classes import ClassArguments, class_for, refuse_model_keywords, task_of
from registry.loading.loaded import Pretrained as Pretrained
from registry.loading.loaded import sentence_modules_of
from registry.sources.files import Files
from registry.tokenization.load import check_fit, processor_of
from registry.tokenization.load import load_tokenizer as load_tokenizer

if TYPE_CHECKING:
    import torch
    from torch import nn
    from torch.distributed.device_mesh import DeviceMesh

    from registry.loading.adapters.lora import LoraAdapter
    from registry.loading.model import Model
    from registry.loading.options import LoadOptions
    from registry.tokenization.load import Processor
    from registry.weights.matching import Patterns
    from registry.weights.write import Format


def load(
    name: str | os.PathLike[str],
    task: str | None = None,
    *,
    dtype: "torch.dtype | str | None" = None,
    device: "torch.device | str | int | None" = None,
    cache_dir: str | os.PathLike[str] | None = None,
    offline: bool | None = None,
    revision: str | None = None,
    allow_missing: "Patterns" = (),
    allow_unexpected: "Patterns" = (),
    progress: bool | None = None,
    format: str | None = None,
    mesh: "DeviceMesh | None" = None,
    parallel: str | None = None,
    **config_overrides: Any,
) -> Pretrained:
    """A model with its configuration and tokenizer.

    Args:
        name: A name, path or URL.
        task: What the model is for, and so its head (``"masked-lm"``, ``"question-answering"``).  Default: from the
            card, else from the configuration's ``architectures``, else the architecture's default.
        dtype: Type of the parameters, or its name (``"bfloat16"``); None for float32.
        device: Device of the parameters, or its name (``"cuda:0"``); None for the CPU.
        cache_dir: Directory for downloaded files.
        offline: True forbids every download; None asks the environment.
        revision: Branch, tag or commit of a repository of the hub.
        allow_missing: Patterns (``*`` and ``?``) of parameters that the file may lack; they are newly initialized.
            Never the whole base model.
        allow_unexpected: Patterns of names in the file that the model may lack; they are dropped.
        progress: Whether downloads show a bar; None shows one on a terminal.
        format: The format of weights to read, where the files have several: ``"safetensors"``, ``"torch"``, or the name
            of a plugin's.
        mesh: The processes that are to share the model, as a DeviceMesh of torch.distributed; each of them calls this.
            Without it, the model is complete in this process.
        parallel: How they share it.  With ``"tp"`` each computes a part of each layer, with ``"fsdp"`` each keeps a
            part of the parameters and gathers layer by layer; a mesh of one dimension will do for one of them.  With
            ``"fsdp+tp"`` both, over the dimensions of these names.
        config_overrides: Keywords of the model's class (``num_labels=3``); all others replace fields of the
            configuration.

    Returns:
        The model in evaluation mode, with its configuration, tokenizer and report.  A missing part, such as a head, is
        an error, unless ``task`` is given: then it is newly initialized.  An UntrainedWarning names it, unless
        ``num_labels``, ``id2label`` or ``allow_missing`` asks for a new head.

    Raises:
        UnknownModelError: Nothing has this name.
        UnknownTaskError: The architecture has no model for the task.
        UnknownOptionError: Neither the class nor its configuration has a keyword.
        MissingFileError: There is no configuration, or there are no weights.
        ConfigError: The configuration is impossible.
        VocabError: The vocabulary is damaged, or does not belong to the model.
        WeightsMismatchError: Weights are missing, unexpected, or of another shape.
        ParallelError: The processes cannot share the model in this way, or do not load the same.
    """
    from registry.loading.options import LoadOptions, sharing  # tokenizers need none

    with sharing(name, mesh, parallel) as processes:
        options = LoadOptions(
            dtype=dtype,
            device=device,
            allow_missing=allow_missing,
            allow_unexpected=allow_unexpected,
            formats=None if format is None else (format,),
            processes=processes,
        )
        files = Files.named(name, cache_dir=cache_dir, offline=offline, revision=revision, progress=progress)
        return _with_processor(files, *_load(files, task, options, config_overrides))


def load_model(
    name: str | os.PathLike[str],
    task: str | None = None,
    *,
    dtype: "torch.dtype | str | None" = None,
    device: "torch.device | str | int | None" = None,
    cache_dir: str | os.PathLike[str] | None = None,
    offline: bool | None = None,
    revision: str | None = None,
    allow_missing: "Patterns" = (),
    allow_unexpected: "Patterns" = (),
    progress: bool | None = None,
    format: str | None = None,
    mesh: "DeviceMesh | None" = None,
    parallel: str | None = None,
    **config_overrides: Any,
) -> "Model":
    """A model without its tokenizer; takes the arguments of ``load``, and raises its errors.

    Args:
        name: A name, path or URL.
        task: What the model is for.
        dtype: Type of the parameters.
        device: Device of the parameters.
        cache_dir: Directory for downloaded files.
        offline: True forbids every download.
        revision: Branch, tag or commit of a repository of the hub.
        allow_missing: Patterns of parameters which the file may lack.
        allow_unexpected: Patterns of names in the file which the model may lack.
        progress: Whether downloads show a bar.
        format: The format of weights to read, where the files have several.
        mesh: The processes that are to share the model.
        parallel: How they share it: ``"tp"``, ``"fsdp"`` or ``"fsdp+tp"``.
        config_overrides: Keywords of the model's class, and values that replace those of configuration fields.
    """
    from registry.loading.options import LoadOptions, sharing  # tokenizers need none

    with sharing(name, mesh, parallel) as processes:
        options = LoadOptions(
            dtype=dtype,
            device=device,
            allow_missing=allow_missing,
            allow_unexpected=allow_unexpected,
            formats=None if format is None else (format,),
            processes=processes,
        )
        files = Files.named(name, cache_dir=cache_dir, offline=offline, revision=revision, progress=progress)
        return _load(files, task, options, config_overrides)[1]


@refusing_foreign
def save(
    pretrained_or_model: "Pretrained | nn.Module",
    directory: str | Path,
    *,
    tokenizer: "Processor | None" = None,
    format: "Format" = "safetensors",
    max_shard_size: int | str | None = None,
) -> Path:
    """Save a model, its configuration and its tokenizer as a directory which every door loads again.

    Args:
        pretrained_or_model: What ``load`` returned, or a model, which may be wrapped for training (DataParallel,
            DistributedDataParallel, torch.compile).
        directory: Where to save it.
        tokenizer: The tokenizer to save with it; None for that of what ``load`` returned.
        format: ``"safetensors"``, or ``"torch"`` for a ``pytorch_model.bin``.
        max_shard_size: Bytes, also as text (``"2GB"``), of the largest file of weights.

    Returns:
        The directory.

    Raises:
        SaveError: It is not a model, or a file could not be written; what was there before is then intact.
        VocabError: The tokenizer has ids beyond the embedding.
    """
    if isinstance(pretrained_or_model, Pretrained):
        saves = pretrained_or_model.save
    else:
        saves = _unwrapped(pretrained_or_model).save_pretrained
    return saves(directory, tokenizer=tokenizer, format=format, max_shard_size=max_shard_size)


# --- Parts of loading -------------------------------------------------------------------------------------------------


@gc_paused()
def _load(
    files: Files, task: str | None, options: "LoadOptions", keywords: Mapping[str, Any]
) -> "tuple[ConfigFile, Model, Files]":
    """Load the class for a task; return the configuration as the files have it, the model, and the model's own files.

    These are others than the given ones where an adapter is given, which names its base model.
    """
    from registry.loading.load import adapter_among, load_into

    refuse_model_keywords(files.source, task, keywords)
    adapter = adapter_among(files)
    base = files if adapter is None else adapter.file.base
    described = find_config(base)
    options = evolve(options, allow_new=task is not None)
    task = task or _task_of_adapter(adapter, described) or task_of(base.source.card, described)
    cls = class_for(task, described.architecture, base)
    arguments = ClassArguments.of(cls, (), keywords)
    return described, load_into(cls, base, arguments, options, described=described, adapter=adapter), base


def _with_processor(files: Files, described: ConfigFile, model: "Model", base: Files) -> Pretrained:
    """What was loaded, with what makes its inputs, where the files have it; takes what ``_load`` returns."""
    processor: Processor | MissingTokenizerError
    try:
        processor = processor_of(described.architecture, files, base=base)
    except MissingTokenizerError as missing:
        processor = missing
    else:
        check_fit(processor, model.config)
    assert model.load_report is not None
    return Pretrained(
        model=model,
        config=model.config,
        card=files.source.card,
        report=model.load_report,
        processor=processor,
        modules=sentence_modules_of(base),
    )


def _task_of_adapter(adapter: "LoraAdapter | None", described: ConfigFile) -> str | None:
    """The task that an adapter was trained for; None where there is none, or it does not say."""
    if adapter is None:
        return None
    spec = described.architecture.model_named(adapter.file.class_name or "")
    return adapter.file.task or (None if spec is None else spec.task)


def _unwrapped(model: Any) -> "Model":
    from registry.loading.model import Model

    found = model
    while not isinstance(found, Model):
        found = getattr(found, "module", None) or getattr(found, "_orig_mod", None)
        if found is None and hasattr(model, "peft_config"):
            raise SaveError(
                f"A {type(model).__name__} is an adapter of PEFT around a model, and cannot be saved as one.",
                hint="registry.save(model.merge_and_unload(), directory) saves the model with it; "
                "model.save_pretrained(directory) the adapter alone, which registry.load applies to its base model.",
            )
        if found is None:
            raise SaveError(
                f"A {type(model).__name__} cannot be saved as a model of the registry.",
                hint="Give a model that derives from registry.loading.model.Model, or what registry.load returned.",
            )
    return found
