"""``adapter_config.json``: the configuration of an adapter of PEFT, which names the model that it adapts."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from registry.errors import RegistryError
from registry.files.filenames import ADAPTER_CONFIG_NAME, is_weights
from registry.files.strict_json import read_json_object
from registry.sources.files import Files
from registry.sources.resolve import resolve_base

TASKS = {
    "CAUSAL_LM": "causal-lm",
    "FEATURE_EXTRACTION": "base",
    "QUESTION_ANS": "question-answering",
    "SEQ_CLS": "sequence-classification",
    "TOKEN_CLS": "token-classification",
}
"""Tasks of PEFT -> ours."""


class AdapterFile(NamedTuple):
    """The configuration of an adapter; what its kind makes of the other keys is decided when it is applied."""

    path: Path
    keys: Mapping[str, Any]
    files: Files
    """The files next to it."""
    base: Files
    """The files of the model that it adapts."""

    @property
    def class_name(self) -> str | None:
        """The name of the class that was adapted, where PEFT noted it."""
        noted = self.keys.get("auto_mapping")
        name = noted.get("base_model_class") if isinstance(noted, dict) else None
        return name if isinstance(name, str) else None

    @property
    def task(self) -> str | None:
        """The task that the adapter was trained for, where the file says it."""
        return TASKS.get(str(self.keys.get("task_type")))


def find_adapter(files: Files) -> AdapterFile | None:
    """The adapter that is there in place of a model; None where the weights of a model are there, or neither.

    Args:
        files: The files of a directory, a repository or an archive.

    Raises:
        ConfigError: Its configuration is damaged, or names no base model.
        MissingFileError: There is no such base model.
    """
    source = files.source
    if source.card is not None or (source.in_place and files.find(ADAPTER_CONFIG_NAME) is None):
        return None
    found = files.of("config")
    path = found.get(ADAPTER_CONFIG_NAME)
    if path is None and not found:
        with suppress(RegistryError):  # what then is missing is the configuration of a model
            path = files.find(ADAPTER_CONFIG_NAME)
    if path is None or any(map(is_weights, found)):
        return None
    keys = read_json_object(path)
    return AdapterFile(path, keys, files, Files(resolve_base(path, keys), files.policy))
