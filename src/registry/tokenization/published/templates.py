"""Chat templates in files: one, or several by their names."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from registry.errors import ConfigError
from registry.tokenization.vocabulary import decoded, read_bytes

DEFAULT = "default"
"""The name of the template that is taken unless another is named."""


def read_template(path: Path) -> str:
    """The text of a ``chat_template.jinja``.  Raises VocabError for a file that is no text in UTF-8."""
    return decoded(read_bytes(path), origin=str(path))


def templates_by_name(entries: list[Any], origin: str) -> dict[str, str]:
    """The templates of a ``tokenizer_config.json`` that has several.  Raises ConfigError."""
    found: dict[str, str] = {}
    for entry in entries:
        match entry:
            case {"name": str(name), "template": str(template)}:
                found[name] = template
            case _:
                raise ConfigError(
                    f"{origin}: chat_template must list objects with name and template, not {entry!r:.80}."
                )
    return found


def with_file(found: Any, template: str) -> Any:
    """What a tokenizer has, with the template of a file of its own, which is the default one."""
    return {**found, DEFAULT: template} if isinstance(found, Mapping) else template


def as_files(templates: Any) -> tuple[str | None, list[dict[str, str]]]:
    """The text of ``chat_template.jinja``, and the entries of a ``tokenizer_config.json`` where there are several."""
    if not isinstance(templates, Mapping):
        return templates, []
    return templates.get(DEFAULT), [{"name": name, "template": text} for name, text in templates.items()]
