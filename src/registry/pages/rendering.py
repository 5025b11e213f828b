"""Templates, style sheets and scripts."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from registry.extras import import_extra
from registry.formatting import format_count, format_size, percent

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

TEMPLATES = Path(__file__).parent / "templates"


def render(template: str, values: Mapping[str, Any]) -> str:
    """Fill a template; values are escaped, so that they are shown as text and never parsed as HTML."""
    return _environment().get_template(template).render(values)


def source(*names: str) -> "Markup":
    """The concatenated text of style sheets or scripts; templates insert it unescaped."""
    from markupsafe import Markup  # jinja2 brings it

    return Markup("\n".join((TEMPLATES / name).read_text("utf-8") for name in names))  # noqa: S704  # our own files


@cache
def _environment() -> "Environment":
    jinja2 = import_extra("jinja2", "A page")
    environment: Environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["source"] = source
    environment.filters.update(count=format_count, size=format_size, percent=percent)
    return environment
