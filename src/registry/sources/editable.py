"""Where the files of an editable installation are: its distribution lists none of them."""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from importlib.metadata import Distribution


def editable_path(distribution: "Distribution", inner: str) -> Path | None:
    """The file or folder ``package/path/in/it`` of what ``pip install -e`` installed; None if there is none.

    The package is where Python would import it from, and must lie in the folder that was installed.
    """
    project = _project(distribution)
    package, _, rest = inner.partition("/")
    spec = find_spec(package) if project is not None and package.isidentifier() else None
    for location in (spec.submodule_search_locations if spec is not None else None) or ():
        path = Path(location, rest).resolve()
        if project is not None and path.is_relative_to(project) and path.exists():
            return path
    return None


def _project(distribution: "Distribution") -> Path | None:
    """The folder of an editable installation, from the record that pip leaves (PEP 610); None for any other."""
    try:
        record = json.loads(distribution.read_text("direct_url.json") or "{}")
        if record.get("dir_info", {}).get("editable") is True:
            return Path(unquote(urlsplit(record["url"]).path)).resolve()
    except (ValueError, KeyError, AttributeError):
        return None  # damaged, or of another shape: as if it were not there
    return None
