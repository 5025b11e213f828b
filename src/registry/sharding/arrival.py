"""Processes that are to share a model come to its load: what each brings, and which of them does something else.

A collective operation would leave the others to the timeout where one process loads without the mesh, or with another
one.  So they first meet in the store of the process group, where each leaves what it brings, and a note of what it
does, both pickled, as in torch's own exchange of objects.  Those that wait read the notes of those that are missing.
The first to find a mistake writes it down as the outcome, so that all have the same one, also a process that comes
late.
"""

import pickle
from collections.abc import Sequence
from hashlib import sha256
from time import monotonic, sleep
from typing import Any, NamedTuple

from registry.errors import ParallelError, RegistryError

PATIENCE = 30.0
"""Seconds for which others wait for a process that has loaded the same model without them, and may yet come."""
GRACE = 5.0
"""Seconds for which they wait for one whose arguments were refused."""
SHORTEST, LONGEST, UNNOTICED = 0.0005, 0.1, 0.25
"""Seconds between two looks into the store, at first and at last; and those before notes are read."""


def portable(error: Exception | None) -> Exception | str | None:
    """An error that another process can raise; the text of one that is none of the registry's."""
    if error is None:
        return None
    if isinstance(error, RegistryError):
        try:
            pickle.loads(pickle.dumps(error))  # noqa: S301  # what this process itself wrote
        except Exception:  # noqa: BLE001  # a plugin's error may hold anything
            return f"{type(error).__name__}: {error}"
        return error
    return f"{type(error).__name__}: {error}"


class Note(NamedTuple):
    """What a process did last in loading."""

    name: str
    """What it loads, as the caller named it."""
    ranks: tuple[int, ...] | None = None
    """The mesh; None for a model that is complete in that process."""
    place: str = ""
    """Where the processes of the mesh meet."""
    error: Exception | str | None = None
    """Why it could not share a model at all."""


def meet(ranks: Sequence[int], value: Any, name: str) -> list[Any]:
    """Wait until all processes of a mesh have come to a load.

    Args:
        ranks: The processes.
        value: What this one brings, picklable.
        name: What it loads.

    Returns:
        What each brings, in the order of ``ranks``.

    Raises:
        RegistryError: The error of a process that cannot come.
        ParallelError: One does something else, or did not come within the timeout of the store.
    """
    store, own = _store(), _rank()
    mesh = f"registry/{sha256(repr(sorted(ranks)).encode()).hexdigest()[:16]}"
    place = f"{mesh}/{store.add(f'{mesh}/{own}', 1)}"
    store.set(f"registry/note/{own}", pickle.dumps(Note(name, tuple(ranks), place)))
    store.set(f"{place}/{own}", pickle.dumps(value))
    store.add(f"{place}/come", 1)
    found = _Wait(store, place, ranks, name).problem()
    outcome = pickle.loads(store.compare_set(f"{place}/outcome", "", pickle.dumps(found)))  # noqa: S301  # our own
    if outcome is not None:
        raise outcome
    brought = store.multi_get([f"{place}/{rank}" for rank in ranks])
    return [pickle.loads(each) for each in brought]  # noqa: S301  # our own


def note_alone(name: str) -> None:
    """Note that this process has loaded a model for itself, if there are others."""
    if _has_others():
        _store().set(f"registry/note/{_rank()}", pickle.dumps(Note(name)))


def note_refusal(name: str, error: RegistryError) -> None:
    """Note that this process cannot share a model, if there are others."""
    if _has_others():
        _store().set(f"registry/note/{_rank()}", pickle.dumps(Note(name, error=portable(error))))


def raise_what_others_found() -> None:
    """Raise what others found, which waited in vain for this process to come, unless it has raised that itself."""
    if not _has_others():
        return
    store, own = _store(), _rank()
    if not store.check([f"registry/found/{own}"]):
        return
    place, error = pickle.loads(store.get(f"registry/found/{own}"))  # noqa: S301  # our own
    for key in ("found", "note"):
        store.delete_key(f"registry/{key}/{own}")
    mesh, _, number = place.rpartition("/")
    if store.add(f"{mesh}/{own}", 0) < int(number):
        store.add(f"{mesh}/{own}", 1)  # that load is over
        if error is not None:
            raise error


class _Wait:
    """A process waits for others.

    Args:
        store: The store of the process group.
        place: Where they meet.
        ranks: Those of the mesh.
        name: What they load.
    """

    def __init__(self, store: Any, place: str, ranks: Sequence[int], name: str) -> None:
        self._store = store
        self._place = place
        self._ranks = tuple(ranks)
        self._name = name
        self._since: dict[int, float] = {}
        """When a note of each process was first read that says it does something else."""

    def problem(self) -> Exception | None:
        """Why not all have come; None once they have, or another process knows the outcome."""
        begun, pause = monotonic(), SHORTEST
        timeout = self._store.timeout.total_seconds()
        while int(self._store.get(f"{self._place}/come")) < len(self._ranks):
            if self._store.check([f"{self._place}/outcome"]):
                return None
            waited = monotonic() - begun
            for rank in self._missing() if waited > UNNOTICED else ():
                problem = self._elsewhere(rank)
                if problem is None and waited > timeout:
                    problem = ParallelError(
                        f"Rank {rank} did not come to load {self._name!r} with the mesh of the ranks "
                        f"{list(self._ranks)} in {timeout:g} seconds.",
                        hint="All processes of a mesh call it; timeout= of init_process_group is how long they wait.",
                    )
                if problem is not None:
                    return problem
            sleep(pause)
            pause = min(2 * pause, LONGEST)
        return None

    def _missing(self) -> list[int]:
        return [rank for rank in self._ranks if not self._store.check([f"{self._place}/{rank}"])]

    def _elsewhere(self, rank: int) -> Exception | None:
        """What a missing process does instead; None where it may yet come."""
        key = f"registry/note/{rank}"
        if not self._store.check([key]):
            return None
        note: Note = pickle.loads(self._store.get(key))  # noqa: S301  # our own
        if note.error is not None:
            return self._refused(rank, note.error)
        if note.ranks is not None and set(note.ranks) == set(self._ranks):
            return None
        if note.ranks is not None and self._waits_for_me(note):
            both = sorted([(_rank(), self._name, self._ranks), (rank, note.name, note.ranks)])
            loads = " and ".join(f"rank {one} loads {name!r} with the ranks {list(of)}" for one, name, of in both)
            crossed = ParallelError(
                f"The processes have meshes of other processes, and wait for each other: {loads}.",
                hint="Give all processes of a mesh the same mesh.",
            )
            self._store.compare_set(f"{note.place}/outcome", "", pickle.dumps(crossed))
            return crossed
        if note.name != self._name or not self._lasts(rank, PATIENCE):
            return None
        how = "without mesh=" if note.ranks is None else f"with the mesh of the ranks {list(note.ranks)}"
        found = ParallelError(
            f"Rank {rank} has loaded {self._name!r} {how}, and the ranks {list(self._ranks)} are to share that model.",
            hint="Give all processes the same mesh= and parallel=. One that is to load the model by itself before does "
            "so before the others call: torch.distributed.barrier().",
        )
        self._store.set(f"registry/found/{rank}", pickle.dumps((self._place, found)))
        return found

    def _refused(self, rank: int, error: Exception | str) -> Exception | None:
        if not self._lasts(rank, GRACE):
            return None
        self._store.set(f"registry/found/{rank}", pickle.dumps((self._place, None)))
        return error if isinstance(error, RegistryError) else ParallelError(f"Rank {rank} failed: {error}")

    def _lasts(self, rank: int, seconds: float) -> bool:
        return monotonic() - self._since.setdefault(rank, monotonic()) > seconds

    def _waits_for_me(self, note: Note) -> bool:
        """Whether a process waits in another load, to which this one does not come since it waits here."""
        assert note.ranks is not None
        own = _rank()
        done = [key for key in (f"{note.place}/{own}", f"{note.place}/outcome") if self._store.check([key])]
        return own in note.ranks and not done


def _has_others() -> bool:
    """Whether this is one of several processes of a group."""
    from torch import distributed as dist  # the module is imported where there is no group, too

    return dist.is_initialized() and dist.get_world_size() > 1


def _store() -> Any:
    from torch.distributed import distributed_c10d  # only where it is there already

    return distributed_c10d._get_default_store()


def _rank() -> int:
    from torch import distributed as dist

    return dist.get_rank()
