"""Checkpoints of training: a model, its optimizer and schedule, and the state of random numbers, through DCP.

A checkpoint is a directory.  Each save writes a directory of its own inside of it, and then replaces one small file
that says which one counts; so a save that is killed leaves the one before.  The number of processes, and the way in
which they share the model, may change between saving and loading.
"""

import json
import os
import shutil
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from registry.errors import CorruptWeightsError, MissingFileError
from registry.files.atomic import content_writer, replace_file, sync_directory, sync_file
from registry.files.strict_json import read_json_object

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler

# DCP is imported when something is saved or loaded: it takes half a second.

POINTER = "checkpoint.json"
"""The file that says which directory counts, and holds what is not a tensor."""
VERSION = 1


class Saving:
    """A save that continues while training does.

    Args:
        written: What is done once the tensors are written.
        finish: Makes the new checkpoint count.
    """

    def __init__(self, written: "Future[Any]", finish: Callable[[], object]) -> None:
        self._finish = finish
        self._done: Future[None] = Future()
        written.add_done_callback(self._complete)

    def _complete(self, written: "Future[Any]") -> None:
        from registry.distributed.dcp import as_save_errors

        try:
            with as_save_errors():
                written.result()
                self._finish()
        except Exception as problem:  # noqa: BLE001  # raised where the result is asked for
            self._done.set_exception(problem)
        else:
            self._done.set_result(None)

    def result(self) -> None:
        """Wait until the checkpoint is written and counts.

        Raises:
            SaveError: It could not be written; the one before still counts.
        """
        self._done.result()


_PENDING: dict[str, Saving] = {}
"""Asynchronous saves, by their directories, until the next one there."""


def save(
    path: str | os.PathLike[str],
    model: "nn.Module",
    optimizer: "Optimizer | None" = None,
    scheduler: "LRScheduler | None" = None,
    *,
    asynchronous: bool = False,
) -> Saving | None:
    """Save the state of training; all processes that share the model call this.

    Args:
        path: The directory of the checkpoint; what it holds is replaced once all is written.
        model: A model, divided or not.
        optimizer: Its optimizer.
        scheduler: The schedule of its learning rate.
        asynchronous: Whether to return once the tensors are copied, and write them while training continues.

    Returns:
        None; of an asynchronous save what waits for it.  The next save into the directory waits by itself.

    Raises:
        SaveError: The checkpoint could not be written; the one before still counts.
    """
    from registry.distributed.dcp import agreement_of, as_save_errors, write, write_later
    from registry.distributed.stored import stored
    from registry.distributed.training import place_of, plain, random_states, tensors_of

    root = _settled(path)
    agreement = agreement_of(model)
    with nullcontext() if agreement is None else agreement.together():
        parts, options = tensors_of(model, optimizer)
        tensors = {**stored(parts, copied=asynchronous), **random_states(model)}
        schedule = None if scheduler is None else plain(scheduler.state_dict())
        facts = {"random": place_of(model)[1], "optimizer": options, "scheduler": schedule}
        first = agreement is None or agreement.is_first
        number = 0
        if first:
            with as_save_errors():
                root.mkdir(parents=True, exist_ok=True)
                _remove_others(root, _current(root))
                number = 1 + max((int(path.name) for path in _numbered(root)), default=0)
        if agreement is not None:
            number = agreement.agree({"the directory": str(root)}, number)[0]
        target = root / f"{number:08d}"

        def finish() -> None:
            if first:
                _make_count(root, target, facts)

        if asynchronous:
            _PENDING[str(root)] = Saving(write_later(tensors, target, agreement), finish)
            return _PENDING[str(root)]
        write(tensors, target, agreement)
        with as_save_errors():
            finish()
    return None


def load(
    path: str | os.PathLike[str],
    model: "nn.Module",
    optimizer: "Optimizer | None" = None,
    scheduler: "LRScheduler | None" = None,
) -> None:
    """Continue from a checkpoint; all processes that share the model call this.

    Values are copied into the parameters; the processes may be others than those that saved it.

    Args:
        path: The directory of the checkpoint.
        model: The model, of the same class.
        optimizer: Its optimizer, of the same kind.
        scheduler: The schedule of its learning rate.

    Raises:
        MissingFileError: There is no checkpoint, or none of the optimizer or the schedule.
        CorruptWeightsError: It is damaged.
        UnsafeWeightsError: Its description asks for what none needs.
        WeightsMismatchError: It is of another model or optimizer.
    """
    from registry.distributed.dcp import agreement_of, check_names, description_of, read
    from registry.distributed.stored import stored
    from registry.distributed.training import (
        MODEL,
        RANDOM,
        random_to_read,
        revived,
        set_optimizer,
        set_random_states,
        tensors_of,
    )

    root = _settled(path)
    agreement = agreement_of(model)
    with nullcontext() if agreement is None else agreement.together():
        pointer = _pointer(root)
        for what, wanted in (("optimizer", optimizer), ("scheduler", scheduler)):
            if wanted is not None and pointer.get(what) is None:
                raise MissingFileError(f"The checkpoint {root} was saved without {what}.")
        directory = root / pointer["directory"]
        parts, options = tensors_of(model, optimizer)
        tensors = stored(parts)
        there = {
            name: shape
            for name, shape in description_of(directory).items()
            if not name.startswith(RANDOM) and (optimizer is not None or name.startswith(MODEL))
        }
        check_names(directory, there, {name: tuple(tensor.shape) for name, tensor in tensors.items()})
        random = random_to_read(model, pointer["random"])
        if agreement is not None:
            agreement.agree({"the checkpoint": pointer["directory"]})
        read({**tensors, **random}, directory, agreement)
        if optimizer is not None and options is not None:
            state = {name: part.tensor for name, part in parts.items() if not name.startswith(MODEL)}
            set_optimizer(model, optimizer, state, {**options, **pointer["optimizer"]})
        if scheduler is not None:
            scheduler.load_state_dict(revived(pointer["scheduler"]))
        set_random_states(random)


# --- Directories ------------------------------------------------------------------------------------------------------


def _settled(path: str | os.PathLike[str]) -> Path:
    """The directory of a checkpoint, once no save into it is still running.  Raises SaveError."""
    root = Path(os.path.realpath(path))
    if (pending := _PENDING.pop(str(root), None)) is not None:
        pending.result()
    return root


def _pointer(root: Path) -> Mapping[str, Any]:
    if not (root / POINTER).is_file():
        raise MissingFileError(
            f"{root} holds no training checkpoint: its file {POINTER} is missing.",
            hint="registry.checkpoint.save writes one; a directory of registry.save is loaded by registry.load.",
        )
    found = read_json_object(root / POINTER, error=CorruptWeightsError)
    directory = found.get("directory")
    if found.get("version") != VERSION or not isinstance(directory, str) or not directory.isdigit():
        raise CorruptWeightsError(f"{root / POINTER} is damaged, or was written by another version.")
    return found


def _current(root: Path) -> str | None:
    return str(_pointer(root)["directory"]) if (root / POINTER).is_file() else None


def _numbered(root: Path) -> list[Path]:
    return [path for path in root.iterdir() if path.name.isdigit()]


def _remove_others(root: Path, kept: str | None) -> None:
    """Remove what saves that were killed left, and what does not count any more."""
    for path in _numbered(root):
        if path.name != kept:
            shutil.rmtree(path, ignore_errors=True)


def _make_count(root: Path, target: Path, facts: Mapping[str, Any]) -> None:
    for file in target.iterdir():
        sync_file(file)
    sync_directory(target)
    pointer = {"version": VERSION, "directory": target.name, **facts}
    replace_file(root / POINTER, content_writer(json.dumps(pointer, indent=1) + "\n"))
    _remove_others(root, target.name)
