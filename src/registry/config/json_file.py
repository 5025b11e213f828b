"""A ``config.json``: the name of the file in errors of its values, and the text that is written."""

import json
import os
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from registry.errors import ConfigError


@contextmanager
def naming(path: str | os.PathLike[str], overrides: Collection[str] = ()) -> Iterator[None]:
    """Name a file in errors of the configuration that is read from it, and the keywords that replaced its keys."""
    try:
        yield
    except ConfigError as problem:
        replaced = f" (with {', '.join(f'{key}=' for key in overrides)})" if overrides else ""
        raise ConfigError(
            f"{path}{replaced}: {problem.message}", hint=problem.hint or _advice(problem, overrides)
        ) from problem


def _advice(problem: ConfigError, overrides: Collection[str]) -> str | None:
    """How to open a file with an impossible value all the same."""
    key = re.match(r"(\w+) (?:\(.*\) )?must ", problem.message)
    if key is None or key[1] in overrides:
        return None
    replaces = f"{key[1]}= as a keyword replaces the value of the file before it is checked"
    only = re.match(r"\w+ must be ('[^']*'|True|False), not ", problem.message)
    other = f": with {only[1]}, other numbers are computed than the weights were trained for" if only else ""
    return f"{replaces}{other}."


def config_text(keys: Mapping[str, Any]) -> str:
    """The text of a ``config.json``: sorted keys, two spaces, a final newline.

    Raises:
        ConfigError: A value is nothing that JSON can hold, such as NaN or an object.
    """
    try:
        return json.dumps(keys, indent=2, sort_keys=True, allow_nan=False) + "\n"
    except (TypeError, ValueError) as problem:
        raise ConfigError(f"This configuration cannot be written as JSON: {problem}.") from problem
