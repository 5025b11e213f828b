"""``adapter_config.json``: the configuration of an adapter of PEFT, which names the model that it adapts."""

import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from registry.errors import ConfigError, MissingFileError, RegistryError, UnknownModelError
from registry.files.filenames import ADAPTER_CONFIG_NAME, is_weights
from registry.files.strict_json import read_json_object
from registry.files.urls import shown
from registry.sources.files import Files
from registry.sources.resolve import resolve

TASKS = {
    "CAUSAL_LM": "causal-lm",
    "FEATURE_EXTRACTION": "base",
    "QUESTION_ANS": "question-answering",
    "SEQ_CLS": "sequence-classification",
    "TOKEN_CLS": "token-classification",
}
"""Tasks of PEFT -> ours."""

URL = r"(?!(hub|pkg):)[A-Za-z][A-Za-z0-9+.-]+:"
"""The beginning of a base model that is not looked for: what an adapter says opens no URL of any server."""


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
    return AdapterFile(path, keys, files, _base(keys, path, files))


def _base(keys: Mapping[str, Any], path: Path, files: Files) -> Files:
    """The files of the model that an adapter adapts, under the policy of its own."""
    name, revision = keys.get("base_model_name_or_path"), keys.get("revision")
    if not isinstance(name, str) or not name or not isinstance(revision, str | None):
        raise ConfigError(
            f"{path} does not name the base model of the adapter: base_model_name_or_path is {name!r:.200}.",
            hint="Write the name or the path of the model there, as registry.load takes it.",
        )
    if re.match(URL, name):
        raise ConfigError(f"{path} gives a URL for its base model, {shown(name)}, which is not opened.")
    try:
        source = resolve(name)
    except (MissingFileError, UnknownModelError) as problem:
        kind = f"{keys.get('peft_type')!s:.80}"
        raise MissingFileError(
            f"{path.parent} holds an adapter of PEFT ({kind}) for the base model {name!r:.200}, which is not here: "
            f"{problem.message}",
            hint=f"Write where it is into base_model_name_or_path of {ADAPTER_CONFIG_NAME}.",
        ) from problem
    return Files(source.at(revision) if revision and not source.in_place else source, files.policy)
