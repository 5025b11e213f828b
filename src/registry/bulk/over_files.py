"""``run``: a job over files, part by part."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from attrs import frozen

from registry.bulk.engines import Engine, Processes, in_this_process
from registry.bulk.job import Job, Part, check_format, described_inputs, opened, parts
from registry.bulk.work import Work
from registry.download.progress import ProgressBar
from registry.errors import InputError
from registry.tokenization.corpus.readers import checked_count, rows_of

ROWS = 2000
"""Rows of a part, unless given: seconds to minutes of work."""


@frozen
class Summary:
    """What a run did."""

    directory: Path
    rows: int
    """Rows of the input."""
    parts: int
    """Files of results in the directory."""
    computed: int
    """Rows that this run computed; the others were there."""


def run(
    work: Work,
    inputs: "Iterable[str | Path]",
    directory: "str | Path",
    *,
    format: str = "parquet",
    rows: int = ROWS,
    workers: int = 1,
    engine: Engine | None = None,
    progress: bool | None = None,
) -> Summary:
    """Compute something for each text of some files, into one file of results for each part.

    Memory is bounded by the parts that are being computed.  A run that was killed is continued by the same call: only
    parts that are missing are computed.  The input is checked whole before anything is computed.

    Args:
        work: What is computed: ``Embedder``, ``Classifier``, ``Tagger``, ``Perplexity``, or a ``Work`` of your own.
        inputs: Files: ``.txt`` (a text a line), ``.jsonl``, ``.parquet`` or ``.npy``.
        directory: Where ``part-00000.parquet`` and so on are written, with all columns of the input.
        format: ``"parquet"``, ``"jsonl"`` or, for vectors alone, ``"npy"``.
        rows: Rows of a part.
        workers: Processes.  A script that asks for several needs ``if __name__ == "__main__":``.
        engine: What computes the parts, such as ``engines.RayCluster()``, in place of processes.
        progress: Whether a bar is shown; None shows one on a terminal.

    Returns:
        The numbers of rows and parts.

    Raises:
        InputError: An input is damaged, or has no such column, or a number is impossible.
        SaveError: The directory holds another job, or another process works on it, or the disk refused.
        BulkError: Workers died of one part repeatedly.
        RegistryError: What loading the model raises.
    """
    paths = [Path(path) for path in inputs]
    check_format(format)
    for name, number in (("rows", rows), ("workers", workers)):
        if number < 1:
            raise InputError(f"{name} must be at least 1, not {number}.")
    if not paths:
        raise InputError("there are no input files.")
    total = checked_count(paths, work.column)
    job = Job(work, Path(directory), format)
    description = {"work": work.options(), "inputs": described_inputs(paths), "format": format, "rows": rows}
    computed = 0
    with opened(job, description), ProgressBar("Rows", total=total, unit="rows", shown=progress) as bar:

        def missing() -> Iterator[Part]:
            for part in parts(rows_of(paths, work.column), rows):
                if job.is_done(part.number):
                    bar.advance(part.rows)
                else:
                    yield part

        compute = engine or (in_this_process if workers == 1 else Processes(workers))
        for done in compute(job, missing()):
            computed += done
            bar.advance(done)
    return Summary(job.directory, total, -(-total // rows), computed)
