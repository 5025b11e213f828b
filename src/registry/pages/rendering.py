"""Templates, style sheets and scripts."""

import base64
import ctypes
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from registry._version import __version__
from registry.download import hub
from registry.extras import import_extra
from registry.formatting import format_count, format_size, percent

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup
    from torch import Tensor

TEMPLATES = Path(__file__).parent / "templates"


def render(template: str, values: Mapping[str, Any]) -> str:
    """Fill a template; values are escaped, so that they are shown as text and never parsed as HTML."""
    return _environment().get_template(template).render(values)


def single_page(directory: str, title: str, data: Mapping[str, Any], values: Mapping[str, Any]) -> str:
    """A page that is one file, with its style sheet, its script and its data.

    Args:
        directory: The directory of its ``page.html``, ``page.css`` and ``page.js``, in ``templates``.
        title: Its title.
        data: What its script reads, as JSON; no text in it can end the element that it is in.
        values: What its template is filled with.
    """
    shared = {"directory": directory, "title": title, "data": data, "version": __version__}
    return render(f"{directory}/page.html", {**shared, **values})


def base64_of(tensor: "Tensor") -> str:
    """The bytes of a tensor on the CPU as base64, in the order of this computer: little-endian, as browsers read."""
    tensor = tensor.contiguous()
    return base64.b64encode(ctypes.string_at(tensor.data_ptr(), tensor.nbytes)).decode("ascii")


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
    environment.filters.update(count=format_count, size=format_size, percent=percent, address=hub.canonical)
    return environment
