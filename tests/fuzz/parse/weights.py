"""How weights and archives are parsed: headers and loaders must agree."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.fuzz.inputs import Files, put

from registry.archives.unpack import unpack
from registry.errors import RegistryError
from registry.records import Paths
from registry.weights.headers import header_of
from registry.weights.tensorflow.index import OTHER_TYPES


class DisagreementError(Exception):
    """Two readers of one input find different things."""


def weights(module: Any, files: Files, directory: Path) -> None:
    """Headers and tensors, which must agree; of tensors whose bytes are damaged headers know nothing."""
    paths = put(files, directory)
    if not module.detect(paths):
        return
    told, refused = _outcome(lambda: dict(module.headers(paths)))
    read, damaged = _outcome(lambda: _loaded(module, paths, told or {}))
    if damaged is not None and refused is None and "checksum" in damaged.message:
        raise damaged
    if told != read:
        raise DisagreementError(f"headers {refused or told!r:.100}; tensors {damaged or read!r:.100}")
    if refused is not None:
        raise refused


def _loaded(module: Any, paths: Paths, told: Mapping[str, Any]) -> dict[str, Any]:
    """The headers of the tensors that are loaded; those of types that no weights have are listed, and not loaded."""
    tensors = module.load(paths)
    unread = [name for name in told if told[name].dtype in OTHER_TYPES.values() and name in tensors]
    return {name: told[name] if name in unread else header_of(tensors[name]) for name in tensors}


def _outcome(read: Callable[[], Any]) -> tuple[Any, RegistryError | None]:
    try:
        return read(), None
    except RegistryError as error:
        return None, error


def archive(files: Files, directory: Path) -> None:
    """Unpack an archive."""
    for name, path in put(files, directory).items():
        unpacked = directory / f"{name}.d"
        unpacked.mkdir()
        unpack(path, unpacked, called=name)
