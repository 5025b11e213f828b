"""``registry classify NAME FILE...``."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from registry.cli.names import name_argument
from registry.cli.output import json_option, print_json, print_table, progress
from registry.cli.run.trained import device_option, load_for, tasks_with_labels
from registry.formatting import percent

OTHERS = "examples/registry-vit has a model that classifies images; for texts there is `registry predict`."
"""What to do about a model for another task."""


@click.command()
@name_argument(metavar="NAME|DIRECTORY")
@click.argument(
    "files", nargs=-1, required=True, metavar="FILE...", type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
@click.option("--top", type=click.IntRange(1), default=1, show_default=True, help="Labels per file.")
@click.option("--batch-size", type=click.IntRange(1), default=32, show_default=True, help="Files per batch.")
@device_option
@json_option
def command(name: str, files: tuple[Path, ...], top: int, batch_size: int, device: str | None, as_json: bool) -> None:
    """Classify images, or other files that a model's processor reads.

    The task is the one that the model was trained for.  Texts are for `registry predict`.
    """
    loaded, _ = load_for(name, tasks_with_labels(name), device, hint=OTHERS)
    from registry.bulk.predictions import classified_files
    from registry.tokenization.base import Tokenizer

    if isinstance(loaded.processor, Tokenizer):
        raise click.UsageError(f"{name} classifies texts: use `registry predict`.")
    found: list[Mapping[str, Any]] = []
    with progress("Classifying", len(files), unit="files") as advance:
        for start in range(0, len(files), batch_size):
            some = files[start : start + batch_size]
            found += classified_files(loaded, some)
            advance(len(some))
    if as_json:
        print_json(found)
        return
    rows = [row for answer in found for row in _rows(answer, top)]
    print_table(("label", "probability", "file"), rows, numbers=("probability",))


def _rows(answer: Mapping[str, Any], top: int) -> list[tuple[str, str, str]]:
    if "value" in answer:
        return [("", f"{answer['value']:.4g}", answer["file"])]
    ranked = sorted(answer["probabilities"].items(), key=lambda item: -item[1])
    most = max(top, len(answer.get("labels", ())))
    return [(label, percent(probability), answer["file"]) for label, probability in ranked[:most]]
