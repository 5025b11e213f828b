"""Saves a model as a directory."""

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import NamedTemporaryFile
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from registry import discovery
from registry._version import __version__
from registry.config.json_file import config_text
from registry.errors import RegistryError, SaveError
from registry.files.atomic import Writer, content_writer, locked
from registry.files.filenames import CONFIG_NAME, GENERATION_CONFIG_NAME
from registry.loading.meta import build
from registry.loading.slots import FLOATS
from registry.loading.untrained import UNTRAINED, fingerprints, unchanged
from registry.saving.folder import write_folder
from registry.sharding.shares import own_class
from registry.weights.writable import DEQUANTIZE
from registry.weights.write import bytes_of, streamed_shards, streamed_writers, weight_writers

if TYPE_CHECKING:
    from registry.loading.model import Model
    from registry.sharding.gathering import HeldTensor
    from registry.tokenization.load import Processor

PATIENCE = 10.0
"""Seconds to wait for a directory that another process holds, while others wait for this one."""


def save_model(
    model: "Model",
    directory: str | Path,
    weights: Mapping[str, Writer],
    tokenizer: "Processor | None" = None,
    further: Mapping[str, Writer] = MappingProxyType({}),
    untrained: Mapping[str, str] | None = None,
) -> Path:
    """Save a model's configuration, its weights, and a tokenizer, as a directory which every door loads again.

    Args:
        model: The model.
        directory: Where to save it.
        weights: Writers of the weight files, by file name.
        tokenizer: The tokenizer, or other processor, to save with it.
        further: Writers of other files that belong to the model, by file name.
        untrained: Fingerprints of the tensors that were never trained, which may be computed while the weights are
            written; None to compare the model with its initial values.

    Returns:
        The directory.

    Raises:
        SaveError: A parameter has a type with which no model of its class is loaded, or a file could not be written;
            what was there before is then intact.
        VocabError: The tokenizer has ids beyond the embedding.
    """
    _refuse_quantized(model)
    if tokenizer is not None:
        from registry.tokenization.load import check_fit  # a model alone needs none

        check_fit(tokenizer, model.config)
    writers = {CONFIG_NAME: content_writer(_config_of(model))}
    if model.generation_config:
        writers[GENERATION_CONFIG_NAME] = content_writer(json.dumps(model.generation_config, indent=2) + "\n")
    writers |= {} if tokenizer is None else tokenizer.files()
    if untrained is None:
        untrained = _untrained(model)
    return write_folder(directory, {**writers, **further, **weights}, about=_about(model, untrained))


def save_divided(
    model: "Model",
    directory: str | Path,
    tokenizer: "Processor | None" = None,
    *,
    format: str = "safetensors",
    max_shard_size: int | str | None = None,
    further: Mapping[str, Writer] = MappingProxyType({}),
) -> Path:
    """Save a model that several processes share, as one of them would save it; all of them must call this.

    The first process writes, and has one complete tensor at a time in memory.  The format of torch, and a layout whose
    table gathers or parts tensors, need all of them at once: these wait in files without a name next to the directory,
    on a disk with room for the model twice.

    Args:
        model: The model.
        directory: Where to save it.
        tokenizer: The tokenizer to save with it.
        format: ``"safetensors"`` or ``"torch"``.
        max_shard_size: Bytes of the largest file of weights.
        further: Writers of other files that belong to the model, by file name.

    Returns:
        The directory.

    Raises:
        SaveError: As for ``save_model``, in all processes.
    """
    from registry.sharding.gathering import Gathering, parts_of  # which import torch.distributed

    assert model.processes is not None
    agreement = model.processes.agreement
    target = Path(os.path.realpath(directory))
    with agreement.together():
        if agreement.is_first:
            _check_free(target)
        parts = parts_of(model)
        shards = None
        if format == "safetensors" and not model.layout.names.rules:
            parts = _without_tied(parts, model.layout.ties)
            shards = streamed_shards({name: part.header for name, part in parts.items()}, max_shard_size)
            parts = {name: parts[name] for shard in shards for name in shard}
        same = unchanged(model.initial_values, model.local_state(), model.layout)
        facts = {"the directory": str(target), "the format": format, "max_shard_size": max_shard_size}
        untrained = set.intersection(*map(set, agreement.agree(facts, list(same))))
        marks = {name: "" for name in parts if name in untrained}
        gathering = Gathering(parts, model.processes)
        try:
            if agreement.is_first:
                tensors = _marking(gathering, marks)
                if shards is None:
                    complete = model.layout.published(_complete(parts, _in_files(tensors, target)))
                    found = {name: made.tensor for name, made in complete.items()}
                    marks = {name: mark for name, mark in marks.items() if name in found}
                    writers = weight_writers(found, model.layout.ties, format=format, max_shard_size=max_shard_size)
                else:
                    writers = streamed_writers(shards, tensors)
                save_model(model, target, writers, tokenizer, further, marks)
        finally:
            gathering.drain()
    return target


def _check_free(directory: Path) -> None:
    """Raise SaveError where another process holds a directory: one that waits for it keeps all others waiting."""
    with locked(directory, patience=PATIENCE) as held:
        if held is False:
            raise SaveError(
                f"{directory} is in use: another process has held it for {PATIENCE:g} seconds.",
                hint="Save into another directory, or when that process is done.",
            )


def _without_tied(parts: "Mapping[str, HeldTensor]", ties: Sequence[Sequence[str]]) -> "dict[str, HeldTensor]":
    """The tensors without those that a declared tie restores: of each group, the first name stays."""
    omitted: set[str] = set()
    for group in ties:
        present = [name for name in group if name in parts]
        omitted.update(name for name in present[1:] if parts[name].tensor is parts[present[0]].tensor)
    return {name: part for name, part in parts.items() if name not in omitted}


def _complete(parts: "Mapping[str, HeldTensor]", tensors: Iterator[tuple[str, Tensor | None]]) -> dict[str, Tensor]:
    """All tensors in the first process, a tied one as one tensor under all its names."""
    found = {name: tensor for name, tensor in tensors if tensor is not None}
    first: dict[int, str] = {}
    for name, part in parts.items():
        first.setdefault(id(part.tensor), name)
    return {name: found[first[id(part.tensor)]] for name, part in parts.items()}


def _in_files(tensors: Iterable[tuple[str, Tensor | None]], target: Path) -> Iterator[tuple[str, Tensor | None]]:
    """The tensors, each mapped from a file of its own, which nothing else can open and which ends with the tensor."""
    place = next(path for path in target.parents if path.is_dir())
    for name, tensor in tensors:
        if tensor is None or not tensor.numel():
            yield name, tensor
            continue
        try:
            with NamedTemporaryFile(dir=place, prefix=f".{target.name[:100]}.") as file:
                file.write(bytes_of(tensor))
                file.flush()
                mapped = torch.from_file(file.name, size=tensor.numel(), dtype=tensor.dtype)
        except OSError as problem:
            raise SaveError(f"{place} has no room for a copy of {name!r}: {problem}.") from problem
        yield name, mapped.view(tensor.shape)


def _marking(
    gathering: Iterable[tuple[str, Tensor | None]], marks: dict[str, str]
) -> Iterator[tuple[str, Tensor | None]]:
    """The complete tensors; the fingerprints of those in ``marks`` are noted on the way."""
    for name, tensor in gathering:
        if tensor is not None and name in marks:
            marks.update(fingerprints({name: tensor}, [name]))
        yield name, tensor


def _refuse_quantized(model: "Model") -> None:
    """Raise SaveError for parameters of types that loading refuses, such as the bytes that bitsandbytes packs."""
    found = {name: value for name, value in model.named_parameters() if value.dtype not in FLOATS}
    if not found:
        return
    try:
        meant = dict(build(lambda: own_class(model)(model.config)).named_parameters())
    except (RegistryError, TypeError, ValueError):  # its constructor needs more than the configuration
        meant = {}
    wrong = [name for name, value in found.items() if name not in meant or meant[name].dtype != value.dtype]
    if wrong:
        others = f" (and {len(wrong) - 1} others like it)" if len(wrong) > 1 else ""
        raise SaveError(
            f"Nothing was saved: {wrong[0]!r} is of type {found[wrong[0]].dtype}, with which no "
            f"{own_class(model).__name__} is loaded{others}.",
            hint=DEQUANTIZE,
        )


def _config_of(model: "Model") -> str:
    """The configuration, with the class and the type of the weights next to it."""
    dtypes = {str(parameter.dtype).removeprefix("torch.") for parameter in model.parameters()}
    written = {"architectures": [own_class(model).__name__], **({"dtype": dtypes.pop()} if len(dtypes) == 1 else {})}
    return config_text({**model.config.to_dict(), **written})


def _about(model: "Model", untrained: Mapping[str, str]) -> Mapping[str, Any]:
    """What the manifest says of the model."""
    return {
        "origin": None if model.load_report is None else model.load_report.source,
        "architecture": model.config.architecture,
        "task": discovery.model_class_task(own_class(model)),
        "versions": {"torch-registry": __version__, "torch": torch.__version__},
        **({UNTRAINED: untrained} if untrained else {}),
    }


def _untrained(model: "Model") -> dict[str, str]:
    """Fingerprints of the tensors that were never trained, by their names in the file."""
    tensors = model.state_dict()
    same = unchanged(model.initial_values, tensors, model.layout)
    if not same or not model.layout.names.rules:
        return dict(same)
    made = model.layout.published(tensors)
    names = [name for name, one in made.items() if {*one.ours} <= same.keys()]
    return dict(fingerprints({name: one.tensor for name, one in made.items()}, names))
