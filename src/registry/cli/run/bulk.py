"""``registry bulk KIND NAME FILE...``."""

from pathlib import Path
from typing import Any

import click

from registry.cli.names import name_argument
from registry.cli.output import json_option, print_json, say
from registry.cli.run.trained import device_option
from registry.formatting import plural

KINDS = {"embed": "Embedder", "classify": "Classifier", "tag": "Tagger", "perplexity": "Perplexity"}
"""What can be computed, and the class of ``registry.bulk`` that computes it."""
ONLY_EMBED = ("normalize", "prompt")


@click.command()
@click.argument("kind", type=click.Choice(list(KINDS)))
@name_argument()
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=click.Path(path_type=Path))
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="Directory of the results.")
@click.option("--format", type=click.Choice(["parquet", "jsonl", "npy"]), default="parquet", show_default=True)
@click.option("--column", default="text", show_default=True, help="Column of the texts, in files that have columns.")
@click.option("--rows", type=click.IntRange(1), default=2000, show_default=True, help="Rows of a part.")
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True, help="Processes, or actors of Ray.")
@click.option(
    "--ray",
    metavar="[ADDRESS]",
    is_flag=False,
    flag_value="local",
    help="Compute on a Ray cluster; by default Ray is started on this machine.",
)
@click.option("--tokens-per-batch", type=click.IntRange(1), default=2048, show_default=True, help="Padding included.")
@click.option("--normalize", is_flag=True, help="embed: scale vectors to length 1.")
@click.option("--prompt", help="embed: text put before each text, or the name of one of the model's prompts.")
@click.option("--dtype", metavar="NAME", help="Type of the weights, such as bfloat16 (default: float32).")
@device_option
@json_option
def command(
    kind: str,
    name: str,
    files: tuple[Path, ...],
    out: Path,
    format: str,
    column: str,
    rows: int,
    workers: int,
    ray: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Embed, classify, tag or score the texts of large files.

    FILE is a .txt file with a text a line, a .jsonl, .parquet or .npy file.  Results are written to one file per part,
    with all columns of the input.  A job that was stopped, however it was, is continued by the same command: parts that
    are there are not computed again.
    """
    from registry import bulk
    from registry.bulk.engines import RayCluster

    given = {key: options.pop(key) for key in ONLY_EMBED}
    if kind == "embed":
        options |= given
    elif any(given.values()):
        raise click.UsageError(f"{' and '.join(f'--{key}' for key in ONLY_EMBED)} are options of embed.")
    work = getattr(bulk, KINDS[kind])(name, column=column, **options)
    engine = None if ray is None else RayCluster(ray, workers)
    done = bulk.run(work, files, out, format=format, rows=rows, workers=workers, engine=engine)
    if as_json:
        print_json({"directory": out, "rows": done.rows, "parts": done.parts, "computed": done.computed})
    else:
        say(f"{plural(done.rows, 'row')} in {plural(done.parts, 'part')} of {out}; computed now: {done.computed:,}.")
