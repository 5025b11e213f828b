"""Decides which architecture a configuration file describes."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from registry import discovery
from registry.discovery import Architecture
from registry.errors import ArchitectureMismatchError, did_you_mean
from registry.formatting import first_of
from registry.records import ConfigSpec

if TYPE_CHECKING:
    from pathlib import Path

FEWEST_KEYS = 4
"""Keys that a file must share with an architecture to be taken for its: many architectures have a ``vocab_size``."""


def identify(
    keys: Mapping[str, Any], path: "Path", *, declared: str | None = None, fallback: str | None = None
) -> Architecture:
    """What plugins declare of the architecture that a configuration file describes.

    The architecture comes from ``model_type``.  Where the file has none (pytorch-pretrained-bert wrote none), it comes
    from the card, from the keys, or from the name of the file.

    Args:
        keys: The keys of the file.
        path: The file.
        declared: The architecture that the model's card gives.
        fallback: The architecture that is meant when nothing else decides.

    Raises:
        ArchitectureMismatchError: No installed plugin declares the architecture, or nothing decides.
    """
    if keys.get("model_type") not in (None, ""):
        return _of_model_type(keys["model_type"], path)
    name = declared or _by_keys(keys) or _by_file_name(path.name) or fallback
    found = None if name is None else discovery.architecture(name)
    if found is not None and found.config is not None:
        return found
    raise ArchitectureMismatchError(
        f"{path} has no model_type, and neither its name nor its keys ({first_of(sorted(keys), 6) or 'none'}) are "
        f"those of an installed architecture.",
        hint='Add "model_type" to the file, or load it with the class that it was written for.' + discovery.failures(),
    )


def _of_model_type(model_type: object, path: "Path") -> Architecture:
    spec = discovery.architecture_of_model_type(model_type)
    if spec is None and isinstance(model_type, str):  # some files have the name with other letters
        spec = discovery.architecture_of_model_type(model_type.lower().replace("_", "-"))
    if spec is not None:
        return discovery.architecture(spec.architecture)
    known = [word for spec in discovery.every(ConfigSpec) for word in spec.model_types]
    raise ArchitectureMismatchError(
        f"{path} has model_type {model_type!r}, which no installed plugin declares."
        f"{did_you_mean(str(model_type), known)}",
        hint=f"Install a plugin that declares it; installed ones declare: {', '.join(known) or 'nothing'}. "
        f"An example plugin for Llama and its relatives is in the repository: examples/registry-llama."
        + discovery.failures(),
    )


def _by_file_name(filename: str) -> str | None:
    owners = [spec.architecture for spec in discovery.every(ConfigSpec) if filename in spec.filenames]
    return owners[0] if len(owners) == 1 else None


def _by_keys(keys: Mapping[str, Any]) -> str | None:
    """The architecture whose fields are most similar to ``keys`` (Jaccard index), if one is, and most keys fit."""
    from registry.config.config import METADATA_KEYS, Config  # most files name their architecture

    similarity: dict[str, float] = {}
    for spec in discovery.every(ConfigSpec):
        cls: type[Config] = discovery.load_class(spec)
        known = set(cls.keys()) - set(cls.general_names) - set(Config.keys())
        shared = known & set(keys)
        likely = 2 * len(shared) >= len(set(keys) - set(METADATA_KEYS)) and len(shared) >= FEWEST_KEYS
        if likely and shared.issuperset(cls.required_keys):
            similarity[spec.architecture] = len(shared) / len(known | set(keys))
    best = sorted(similarity, key=lambda name: similarity[name], reverse=True)
    if not best or (len(best) > 1 and similarity[best[0]] == similarity[best[1]]):
        return None
    return best[0]
