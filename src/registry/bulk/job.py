"""A job: its parts, and the directory that has them.

The directory has ``bulk.json``, which says what the job is, and one file for each part that is done.  A part is written
whole or not at all, so a job that was killed is continued: what is there is not computed again.  Another job is
refused.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from attrs import frozen

from registry._version import __version__
from registry.bulk.outputs import WRITERS
from registry.bulk.work import Columns, Work
from registry.errors import InputError, SaveError
from registry.files.atomic import content_writer, locked, remove_dead, replace_file, temporaries_of
from registry.formatting import json_text
from registry.tokenization.corpus.readers import Row

JOB_NAME = "bulk.json"


@frozen
class Part:
    """Some rows of the input, in its order."""

    number: int
    columns: Columns
    rows: int


@frozen
class Job:
    """What is computed, and where its parts are written."""

    work: Work
    directory: Path
    format: str

    def path(self, number: int) -> Path:
        """The file of a part."""
        return self.directory / f"part-{number:05}.{self.format}"

    def is_done(self, number: int) -> bool:
        """Whether a part was written."""
        return self.path(number).exists()

    def do(self, part: Part) -> int:
        """Compute a part and write its file; return its rows.

        Raises:
            SaveError: The disk refused.
            RegistryError: What the work raises.
        """
        computed = self.work(part.columns)
        try:
            replace_file(self.path(part.number), lambda path: WRITERS[self.format](path, computed, self.work.into))
        except OSError as problem:
            raise SaveError(f"{self.path(part.number)} could not be written: {problem}.") from problem
        return part.rows


def parts(rows: Iterable[Row], size: int) -> Iterator[Part]:
    """The rows, ``size`` at a time, as columns; a column that a row lacks is None there."""
    remaining, number = iter(rows), 0
    while some := list(islice(remaining, size)):
        names = dict.fromkeys(name for row in some for name in row)
        yield Part(number, {name: [row.get(name) for row in some] for name in names}, len(some))
        number += 1


@contextmanager
def opened(job: Job, description: Mapping[str, Any]) -> Iterator[None]:
    """Hold the directory of a job, which is made if need be.

    Args:
        job: The job.
        description: What decides about the contents of its parts, as JSON takes it.

    Raises:
        SaveError: Another process has the directory, or it holds something else than this job, or the disk refused.
    """
    said = {"registry": __version__, **description}
    try:
        job.directory.mkdir(parents=True, exist_ok=True)
        with locked(job.directory, patience=0) as held:
            if held is False:
                raise SaveError(f"{job.directory} is in use: another process works on it.")
            _check(job.directory, said)
            remove_dead(temporaries_of(job.directory))
            replace_file(job.directory / JOB_NAME, content_writer(json_text(said, indent=1) + "\n"))
            yield
    except OSError as problem:
        if isinstance(problem, SaveError):
            raise
        raise SaveError(f"{job.directory} cannot be used: {problem}.") from problem


def _check(directory: Path, said: Mapping[str, Any]) -> None:
    """Raise SaveError where the directory belongs to another job, or to none."""
    path = directory / JOB_NAME
    if not path.exists():
        if any(not name.name.startswith(".") for name in directory.iterdir()):
            raise SaveError(f"{directory} is not empty, and holds no bulk job.", hint="Choose a new directory.")
        return
    try:
        before = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        before = {}
    different = [
        key for key in said if not isinstance(before, dict) or before.get(key) != json.loads(json_text(said[key]))
    ]
    if different:
        key = different[0]
        was = before.get(key) if isinstance(before, dict) else None
        raise SaveError(
            f"{directory} holds parts of another job, with {key} {json_text(was)}, not {json_text(said[key])}.",
            hint="Choose a new directory, or remove this one.",
        )


def described_inputs(paths: Sequence[Path]) -> list[dict[str, Any]]:
    """Name, size and time of change of the files, by which a job that is continued sees whether they are the same."""
    return [
        {"path": str(path.resolve()), "size": path.stat().st_size, "mtime_ns": path.stat().st_mtime_ns}
        for path in paths
    ]


def check_format(format: str) -> None:
    """Raise InputError for a format that there is none of."""
    if format not in WRITERS:
        raise InputError(f"the format {format!r} is not one of {', '.join(WRITERS)}.")
