"""``registry embed NAME TEXT...``."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeAlias

import click

from registry.cli.names import name_argument
from registry.cli.output import echo_data, json_option, print_json, progress, say, warn
from registry.cli.pages import in_a_directory
from registry.cli.run.trained import device_option
from registry.cli.texts import all_texts, texts_argument
from registry.formatting import plural

if TYPE_CHECKING:
    from torch import Tensor

Embedded: TypeAlias = "Iterator[tuple[Sequence[str], Tensor]]"
"""Batches of texts, each with its vectors, ``(texts, width)``."""

ENDINGS = ("jsonl", "npy", "safetensors")


@click.command()
@name_argument()
@texts_argument
@click.option(
    "-o",
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    callback=in_a_directory,
    help=f"Output file: .{', .'.join(ENDINGS)}.",
)
@click.option("--format", type=click.Choice(ENDINGS), help="Output format (default: from the file's suffix).")
@click.option("--normalize", is_flag=True, help="Scale vectors to length 1, so that dot products are cosines.")
@click.option("--prompt", help="Text put before each text, or the name of one of the model's prompts.")
@click.option("--batch-size", type=click.IntRange(1), default=32, show_default=True, help="Texts per batch.")
@device_option
@json_option
def command(
    name: str,
    texts: tuple[str, ...],
    file: BinaryIO | None,
    out: Path | None,
    format: str | None,
    normalize: bool,
    prompt: str | None,
    batch_size: int,
    device: str | None,
    as_json: bool,
) -> None:
    """Compute embeddings of texts.

    Embeddings are those of sentence-transformers: the mean of the last hidden states over all tokens of a text, special
    tokens included, unless the model's modules.json says otherwise.  Texts beyond the model's longest input are
    truncated, with a warning.  Without TEXT, or for '-', the lines of stdin are embedded.  Without --out, JSON lines
    are printed.
    """
    format = _format(out, format)
    lines = all_texts(texts, file)
    from registry.cli.run.vectors import FORMATS, json_lines, write_vectors
    from registry.embedding.embed import SentenceEncoder
    from registry.loading.pretrained import load
    from registry.saving.folder import write_file

    loaded = load(name, "base", device=device)
    embedder = SentenceEncoder(
        loaded.model, loaded.tokenizer, loaded.sentence_modules, normalize=normalize, prompt=prompt
    )
    embedded = _with_texts(lines, embedder.batches(lines, batch_size))
    if out is not None or as_json or not sys.stdout.isatty():  # else the printed lines show the progress
        embedded = _with_progress(embedded, len(lines))
    if out is not None:
        write_file(out, lambda path: write_vectors(path, FORMATS[format], len(lines), embedder.width, embedded))
        if as_json:
            print_json({"path": out, "format": format, "rows": len(lines), "width": embedder.width})
        else:
            say(f"Wrote {plural(len(lines), 'vector')} of {embedder.width:,} numbers to {out}.")
    elif as_json:
        rows = [row for some, vectors in embedded for row in zip(some, vectors.tolist(), strict=True)]
        print_json([{"text": text, "vector": vector} for text, vector in rows])
    else:
        for some, vectors in embedded:
            echo_data(json_lines(some, vectors))
    if embedder.truncated:
        warn(f"{embedder.truncated:,} of {plural(len(lines), 'text')} were truncated at {embedder.max_tokens} tokens.")


def _format(out: Path | None, format: str | None) -> str:
    """The requested format.  Raises UsageError for an unknown suffix, and for binary data on stdout."""
    if out is None:
        if format not in (None, "jsonl"):
            raise click.UsageError(f"--format {format} needs --out.")
        return "jsonl"
    format = format or out.suffix.removeprefix(".")
    if format not in ENDINGS:
        raise click.UsageError(f"the suffix of {out} is not a known format: add --format {'|'.join(ENDINGS)}.")
    return format


def _with_texts(texts: Sequence[str], vectors: "Iterator[Tensor]") -> Embedded:
    """Vectors with their texts."""
    start = 0
    for some in vectors:
        yield texts[start : start + len(some)], some
        start += len(some)


def _with_progress(embedded: Embedded, total: int) -> Embedded:
    """The same batches, with a progress bar."""
    with progress("Embedding", total, unit="texts") as advance:
        for some, vectors in embedded:
            yield some, vectors
            advance(len(some))
