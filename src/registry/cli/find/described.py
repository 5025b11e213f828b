"""A model as its files, or its card, describe it: nothing here reads a tensor or imports torch."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from math import prod
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from attrs import evolve

from registry.errors import RegistryError
from registry.formatting import first_of

if TYPE_CHECKING:
    from registry.config import Config
    from registry.config.load import ConfigFile
    from registry.records import Card
    from registry.sources.files import Files

SIZES = {
    "layers": "num_hidden_layers",
    "hidden size": "hidden_size",
    "heads": "num_attention_heads",
    "context": "max_position_embeddings",
    "vocabulary": "vocab_size",
}
"""What is shown of a configuration, and the name that most architectures have for it."""
UNITS = {"context": " tokens", "vocabulary": " tokens"}


def config_of_card(card: "Card", overrides: Mapping[str, Any] = MappingProxyType({})) -> "Config":
    """The configuration that a card describes: sizes that differ, and else the defaults of its architecture.

    Raises:
        ArchitectureMismatchError: No installed plugin declares the architecture.
        UnknownOptionError: An override names no field.
        ConfigError: A value is impossible.
    """
    from registry import discovery
    from registry.errors import ArchitectureMismatchError

    spec = discovery.architecture(card.architecture).config
    if spec is None:
        raise ArchitectureMismatchError(f"no installed plugin declares the architecture {card.architecture!r}.")
    config: Config = discovery.load_class(spec).from_dict(card.config, **overrides)
    return config


def sizes(config: "Config | None") -> dict[str, str]:
    """The sizes of a model, as text."""
    found = {label: getattr(config, name, None) for label, name in SIZES.items()}
    return {label: f"{size:,}{UNITS.get(label, '')}" for label, size in found.items() if isinstance(size, int)}


def sizes_of_card(card: "Card") -> dict[str, str]:
    """The sizes of a model with a card: of its configuration if that is here, else of the card."""
    from registry.config.load import load_config

    with suppress(RegistryError):
        return sizes(load_config(card.name, offline=True))
    with suppress(RegistryError):
        return sizes(config_of_card(card))
    return {}


def of_files(files: "Files") -> dict[str, str | None]:
    """What the files of a model without a card say of it, by the labels of ``registry info``.

    Raises:
        MissingFileError: There is no configuration.
        RegistryError: What else reading it raises.
    """
    from registry.config.load import find_config
    from registry.loading.classes import task_of

    described = find_config(files)
    architecture = described.architecture
    task = task_of(None, described)
    config = _checked(described)
    classifies = config is not None and {"id2label", "num_labels", "_num_labels"} & described.keys.keys()
    return {
        "architecture": architecture.name,
        "task": task,
        "class": first_of(described.architectures, 3) or None,
        **sizes(config),
        "labels": first_of(config.id2label.values(), 12) if config is not None and classifies else None,
        "tokenizer": None if architecture.tokenizer is None else architecture.tokenizer.cls.name,
        **({**_weights(files), **_manifest(files)} if _is_here(files) else {}),
    }


def of_hub(files: "Files") -> dict[str, str | None]:
    """What the hub says of a repository: its commit and its license; nothing for other sources.

    Raises:
        FetchError: The hub cannot be reached, or refuses.
    """
    from registry.sources.hub import HubSource, list_repository

    source = files.source
    if not isinstance(source, HubSource):
        return {}
    listing = list_repository(source.repository, source.revision or "main", None, files.policy)
    licenses = [tag.removeprefix("license:") for tag in listing.tags if tag.startswith("license:")]
    return {"commit": listing.commit, "license": ", ".join(licenses)}


def listed(files: "Files") -> Iterator[tuple[str, int | None]]:
    """The files of a model with their sizes in bytes; None for those that are not on this computer."""
    source = files.source
    if _is_here(files):
        for name, path in files.of().items():
            with suppress(OSError):
                yield name, path.stat().st_size
        return
    for name in sorted(source.names(files.policy)):
        size = None
        with suppress(RegistryError):
            if (found := source.find(name, evolve(files.policy, offline=True))) is not None:
                size = found.stat().st_size
        yield name, size


def _is_here(files: "Files") -> bool:
    """Whether the files of a source are on this computer whatever it is asked for."""
    return files.source.path is not None or files.source.in_place


def _checked(described: "ConfigFile") -> "Config | None":
    """The configuration; None where a value in it is impossible."""
    try:
        return described.config
    except RegistryError:
        return None


def _weights(files: "Files") -> dict[str, str | None]:
    """Numbers and types of the tensors, from the headers of their files."""
    from registry.weights.inspect import weights_of

    try:
        headers = weights_of(files).headers().values()
    except RegistryError as problem:
        return {"weights": problem.message}
    count = sum(prod(header.shape) for header in headers)
    types = sorted({header.dtype for header in headers})
    return {"weights": f"{count:,} numbers in {len(headers):,} tensors, {', '.join(types)}"}


def _manifest(files: "Files") -> dict[str, str | None]:
    """What the manifest of a saved directory says."""
    from registry.saving.manifest import read_manifest

    with suppress(RegistryError):
        manifest = read_manifest(files.of())
        if manifest is not None:
            origin, versions, untrained = (manifest.about.get(key) for key in ("origin", "versions", "untrained"))
            return {
                "loaded from": None if origin is None else str(origin),
                "saved by": ", ".join(f"{name} {version}" for name, version in dict(versions or {}).items()),
                "not trained": first_of(map(str, untrained or ()), 5),
            }
    return {}
