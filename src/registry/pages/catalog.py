"""The static site of all models that installed plugins declare: a table of them, and a page for each.

The site is a directory of plain files, for a local browser or any web server.  It can be read without scripts;
searching, filtering and sorting need them.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs
from attrs import frozen

from registry import discovery
from registry._version import __version__
from registry.catalog import estimated_size
from registry.config import Config
from registry.errors import SaveError
from registry.files.atomic import content_writer
from registry.formatting import format_size
from registry.pages.rendering import render, source
from registry.pages.snippets import python_snippet, shell_snippet
from registry.pages.structure import structure
from registry.records import Card
from registry.saving.folder import write_file
from registry.sources.card import is_local

DATA = "catalog.json"
"""The records of the site as JSON; it marks a directory as a catalog of ours."""
ASSETS = {"style.css": ("base.css", "catalog/catalog.css"), "catalog.js": ("catalog/catalog.js",)}
"""Assets of the pages, and the sources that each is made of."""

LANGUAGES = {"de": "German", "en": "English", "es": "Spanish", "fr": "French", "mul": "many", "zh": "Chinese"}
"""Names of languages by their ISO 639 code; others are shown by their code."""

BYTES = (("float32", 4), ("bfloat16 or float16", 2))
"""Data types of weights, and bytes per number."""
SIZES = (100_000_000, 500_000_000, 1_000_000_000, 5_000_000_000)
"""Upper limits in bytes by which the table can be filtered."""
TRAINING_BYTES = 16
"""Bytes per parameter in float32: the parameter, its gradient, and Adam's two moments (Kingma and Ba, 2015)."""


@frozen(kw_only=True)
class ModelEntry:
    """A model on the site."""

    card: Card
    plugin: str
    cached: bool

    @property
    def page(self) -> str:
        """The path of its page, relative to the root of the site."""
        return f"models/{self.card.name}.html"

    @property
    def size(self) -> int | None:
        """Bytes on disk, estimated where they are not published."""
        return estimated_size(self.card)

    @property
    def languages(self) -> str:
        """The names of its languages."""
        return ", ".join(LANGUAGES.get(code, code) for code in self.card.languages)


def write_catalog(directory: Path, cards: Iterable[Card], *, advance: Callable[[int], object] = lambda _: None) -> Path:
    """Write the site, or replace an earlier one; every file is either the old one or the new one.

    Args:
        directory: A new or empty directory, or an earlier catalog.
        cards: The models of the site.
        advance: Called with the number of pages written since its last call.

    Returns:
        The path of ``index.html``.

    Raises:
        SaveError: The directory contains something else.
    """
    earlier = _earlier_pages(directory)
    entries = [
        ModelEntry(card=card.without_secrets(), plugin=str(discovery.owner(card)), cached=is_local(card))
        for card in cards
    ]
    for page in earlier - {entry.page for entry in entries}:
        (directory / page).unlink(missing_ok=True)
    # the data first, so that the next run can replace an interrupted one
    write_file(directory / DATA, content_writer(_data(entries)))
    for name, sources in ASSETS.items():
        write_file(directory / name, content_writer(source(*sources)))
    for entry in entries:
        write_file(directory / entry.page, content_writer(_model_page(entry)))
        advance(1)
    return write_file(directory / "index.html", content_writer(_index(entries)))


def _earlier_pages(directory: Path) -> set[str]:
    """The pages of an earlier site; empty for a new directory.  Raises SaveError for a directory of other files."""
    if not directory.exists() or (directory.is_dir() and not any(directory.iterdir())):
        return set()
    try:
        names = [record["name"] for record in json.loads((directory / DATA).read_bytes())["models"]]
        return {f"models/{name}.html" for name in names if "/" not in name}
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise SaveError(
            f"{directory} is not an earlier catalog: it has no {DATA} with models.",
            hint="Choose a new or empty directory; nothing was written.",
        ) from problem


# --- Pages ------------------------------------------------------------------------------------------------------------


def _index(entries: Sequence[ModelEntry]) -> str:
    cards = [entry.card for entry in entries]
    return render(
        "catalog/index.html",
        {
            **_shared(""),
            "entries": entries,
            "filters": {
                "task": sorted({card.task for card in cards}),
                "architecture": sorted({card.architecture for card in cards}),
                "language": {code: LANGUAGES.get(code, code) for card in cards for code in sorted(card.languages)},
                "license": sorted({card.license for card in cards if card.license}),
            },
            "sizes": SIZES,
            "plugins": len({entry.plugin for entry in entries}),
            "on_disk": sum(entry.cached for entry in entries),
        },
    )


def _model_page(entry: ModelEntry) -> str:
    card = entry.card
    number = card.num_parameters
    drawn = structure(card)
    return render(
        "catalog/model.html",
        {
            **_shared("../"),
            "entry": entry,
            "card": card,
            "python": python_snippet(card),
            "shell": shell_snippet(card),
            "memory": [] if number is None else [(name, format_size(size * number)) for name, size in BYTES],
            "training": None if number is None else format_size(TRAINING_BYTES * number),
            "structure": drawn,
            "configuration": {} if drawn is None else configuration_rows(drawn.config),
            "revision": revision_of(card),
        },
    )


def configuration_rows(config: Config) -> dict[str, str]:
    """The values of a configuration as text: numbers, words, and what is switched on or off."""
    values = config.to_dict().items()
    return {
        key: str(value).lower() if isinstance(value, bool) else f"{value:,}" if isinstance(value, int) else str(value)
        for key, value in values
        if isinstance(value, (bool, int, float, str)) and key not in ("model_type", "transformers_version")
    }


def revision_of(card: Card) -> str | None:
    """The commit of the hub at which the card's files are; None where it names none."""
    urls = (url for file in card.files for url in file.urls if url.startswith("hub:"))
    return next((found[1] for url in urls if (found := re.search(r"@([^/]+)/", url))), None)


def _shared(root: str) -> dict[str, Any]:
    return {"root": root, "version": __version__, "today": datetime.now(UTC).date().isoformat()}


def _data(entries: Sequence[ModelEntry]) -> str:
    models = [
        {**attrs.asdict(entry.card, value_serializer=_plain), "plugin": entry.plugin, "cached": entry.cached}
        for entry in entries
    ]
    return json.dumps({"version": __version__, "models": models}, indent=2, ensure_ascii=False, default=dict) + "\n"


def _plain(_instance: object, _field: object, value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else value
