"""Chat templates in files: one, or several by their names."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from registry.errors import ConfigError
from registry.tokenization.vocabulary import decoded, read_bytes

DEFAULT = "default"
"""The name of the template that is taken unless another is named."""
OTHERS = "additional_chat_templates"
"""The directory in which transformers writes templates of other names."""


def read_template(path: Path) -> str:
    """The text of a ``chat_template.jinja``.  Raises VocabError for a file that is not text in UTF-8."""
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


def with_files(found: Any, path: Path) -> Any:
    """The templates that a tokenizer has, with those in files of their own, which go first.

    Args:
        found: A template, templates by their names, or None.
        path: The ``chat_template.jinja``, which is the default one; others are in a directory next to it.
    """
    others = {other.stem: read_template(other) for other in sorted(path.parent.glob(f"{OTHERS}/*.jinja"))}
    if isinstance(found, Mapping) or others:
        return {**(found if isinstance(found, Mapping) else {}), DEFAULT: read_template(path), **others}
    return read_template(path)


def as_files(templates: Any) -> tuple[str | None, list[dict[str, str]]]:
    """The text of ``chat_template.jinja``, or the entries of a ``tokenizer_config.json`` where there are several."""
    if isinstance(templates, Mapping):
        return None, [{"name": name, "template": text} for name, text in templates.items()]
    return templates, []
