"""Saves a model as a directory."""

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import torch

from registry import discovery
from registry._version import __version__
from registry.config.config import config_text
from registry.errors import RegistryError, SaveError
from registry.files.atomic import Writer, content_writer
from registry.files.filenames import CONFIG_NAME, GENERATION_CONFIG_NAME
from registry.loading.meta import build
from registry.loading.slots import FLOATS
from registry.loading.untrained import UNTRAINED, fingerprints, unchanged
from registry.saving.folder import write_folder
from registry.weights.writable import DEQUANTIZE

if TYPE_CHECKING:
    from registry.loading.model import Model
    from registry.tokenization.load import Processor


def save_model(
    model: "Model",
    directory: str | Path,
    weights: Mapping[str, Writer],
    tokenizer: "Processor | None" = None,
    further: Mapping[str, Writer] = MappingProxyType({}),
) -> Path:
    """Save a model's configuration, its weights, and a tokenizer, as a directory which every door loads again.

    Args:
        model: The model.
        directory: Where to save it.
        weights: Writers of the weight files, by file name.
        tokenizer: The tokenizer, or other processor, to save with it.
        further: Writers of other files that belong to the model, by file name.

    Returns:
        The directory.

    Raises:
        SaveError: A parameter has a type with which no model of its class is loaded, or a file could not be written;
            what was there before is then intact.
        VocabError: The tokenizer has ids beyond the embedding.
    """
    _refuse_quantized(model)
    if tokenizer is not None:
        from registry.loading.pretrained import check_fit  # which imports this module's callers

        check_fit(tokenizer, model.config)
    writers = {CONFIG_NAME: content_writer(_config_of(model))}
    if model.generation_config:
        writers[GENERATION_CONFIG_NAME] = content_writer(json.dumps(model.generation_config, indent=2) + "\n")
    writers |= {} if tokenizer is None else tokenizer.files()
    return write_folder(directory, {**writers, **further, **weights}, about=_about(model))


def _refuse_quantized(model: "Model") -> None:
    """Raise SaveError for parameters of types that loading refuses, such as the bytes that bitsandbytes packs."""
    found = {name: value for name, value in model.named_parameters() if value.dtype not in FLOATS}
    if not found:
        return
    try:
        meant = dict(build(lambda: type(model)(model.config)).named_parameters())
    except (RegistryError, TypeError, ValueError):  # its constructor needs more than the configuration
        meant = {}
    wrong = [name for name, value in found.items() if name not in meant or meant[name].dtype != value.dtype]
    if wrong:
        others = f" (and {len(wrong) - 1} others like it)" if len(wrong) > 1 else ""
        raise SaveError(
            f"Nothing was saved: {wrong[0]!r} is of the type {found[wrong[0]].dtype}, with which no "
            f"{type(model).__name__} is loaded{others}.",
            hint=DEQUANTIZE,
        )


def _config_of(model: "Model") -> str:
    """The configuration, with the class and the type of the weights next to it."""
    dtypes = {str(parameter.dtype).removeprefix("torch.") for parameter in model.parameters()}
    written = {"architectures": [type(model).__name__], **({"dtype": dtypes.pop()} if len(dtypes) == 1 else {})}
    return config_text({**model.config.to_dict(), **written})


def _about(model: "Model") -> dict[str, Any]:
    """What the manifest says of the model."""
    untrained = _untrained(model)
    return {
        "origin": None if model.load_report is None else model.load_report.source,
        "architecture": model.config.architecture,
        "task": discovery.model_class_task(type(model)),
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
