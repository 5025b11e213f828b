"""``registry evaluate NAME FILE``."""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click

from registry.cli.names import name_argument
from registry.cli.output import json_option, print_fields, print_json, progress
from registry.cli.texts import STDIN


@click.command()
@name_argument()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path))
@click.option("--batch-size", type=click.IntRange(min=1), default=1, show_default=True, help="Segments per batch.")
@click.option("--segment", type=click.IntRange(min=1), help="Context length per step (default: as in training).")
@json_option
def command(name: str, file: Path, batch_size: int, segment: int | None, as_json: bool) -> None:
    """Compute the perplexity of a text file.

    FILE is a text in UTF-8, or '-' for stdin.  A recurrent model keeps its memory between segments; the segments of
    other models overlap by half.
    """
    from time import perf_counter

    from registry.generation.perplexity import evaluate
    from registry.loading.pretrained import load

    loaded = load(name, "causal-lm")
    ids = _ids(loaded.tokenizer, file)
    started = perf_counter()
    with progress("Evaluating", len(ids), unit="tokens") as advance:
        found = evaluate(loaded.model, ids, batch_size=batch_size, segment=segment, on_tokens=advance)
    seconds = perf_counter() - started
    results: dict[str, Any] = {
        "model": str(loaded.card.name if loaded.card else name),
        "file": str(file),
        "tokens": found.tokens,
        "loss": found.loss,
        "perplexity": found.perplexity,
        "tokens_per_second": found.tokens / seconds,
    }
    if as_json:
        print_json(results)
        return
    print_fields(
        {
            "model": results["model"],
            "file": results["file"],
            "tokens": f"{found.tokens:,}",
            "loss": f"{found.loss:.4f} nats per token",
            "perplexity": f"{found.perplexity:.2f}",
            "speed": f"{results['tokens_per_second']:,.0f} tokens per second",
        }
    )


def _ids(tokenizer: Any, file: Path) -> Any:
    """The ids of a text file, or of stdin."""
    if str(file) != STDIN:
        return tokenizer.ids_of_file(file)
    with TemporaryDirectory() as directory:
        copy = Path(directory) / "stdin"
        copy.write_bytes(sys.stdin.buffer.read())
        return tokenizer.ids_of_file(copy)
