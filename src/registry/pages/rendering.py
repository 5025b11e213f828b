"""Templates and what stands beside them: style sheets and scripts."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from registry.formatting import format_count, format_size, percent

TEMPLATES = Path(__file__).parent / "templates"


def render(template: str, values: Mapping[str, Any]) -> str:
    """Fill a template of this folder; what a value holds is shown as text, never taken for HTML."""
    return _environment().get_template(template).render(values)


def source(*names: str) -> Markup:
    """The text of style sheets or scripts, one after the other; a template may have it as it stands."""
    return Markup("\n".join((TEMPLATES / name).read_text("utf-8") for name in names))  # noqa: S704  # our own files


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["source"] = source
    environment.filters.update(count=format_count, size=format_size, percent=percent)
    return environment
