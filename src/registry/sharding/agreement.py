"""Processes that load or save one model agree: an error of one is raised by all, and they mean the same files.

A process that raises alone would leave the others waiting in the next collective operation.  So outcomes are exchanged
first: where a block that all processes run ends, and before each collective operation inside of it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import distributed as dist
from torch.distributed.device_mesh import DeviceMesh

from registry.errors import ParallelError, RegistryError
from registry.sharding.arrival import portable


class Agreement:
    """The processes of a mesh, as far as they have to agree.

    Args:
        mesh: The mesh.
        arrive: Exchanges the first values, where not all processes may come: it takes the ranks and the own value.
    """

    def __init__(self, mesh: DeviceMesh, arrive: Callable[[list[int], Any], list[Any]] | None = None) -> None:
        self._mesh = mesh
        self._arrive = arrive
        self.groups = [mesh.get_group(number) for number in range(mesh.ndim)]
        """The process group of each dimension."""
        self.ranks: list[int] = mesh.mesh.flatten().tolist()
        """Global ranks of all processes, in the order of the mesh."""
        self._raised: Exception | None = None
        self._settled = 0

    @property
    def is_first(self) -> bool:
        """Whether this is the first process, which writes files."""
        return dist.get_rank() == self.ranks[0]

    def exchange(self, value: Any) -> list[Any]:
        """A picklable value of each process, in the order of the mesh.

        A mesh of all processes exchanges in the group of all, which is the same one whatever the mesh's shape is: so
        processes whose meshes differ do not wait for one another in different groups.
        """
        if self._arrive is not None:
            return self._come(value)
        if len(self.ranks) == dist.get_world_size():
            by_rank: list[Any] = [None] * len(self.ranks)
            dist.all_gather_object(by_rank, value)
            return [by_rank[rank] for rank in self.ranks]
        values = [value]
        for group in reversed(self.groups):
            found: list[Any] = [None] * dist.get_world_size(group)
            dist.all_gather_object(found, values, group=group)
            values = [one for several in found for one in several]
        return values

    def _come(self, value: Any) -> list[Any]:
        arrive, self._arrive = self._arrive, None
        assert arrive is not None
        try:
            return arrive(self.ranks, value)
        except Exception as problem:
            self._raised = problem  # by all of them, or the store is gone
            raise

    @contextmanager
    def together(self) -> Iterator[None]:
        """A block that all processes run; where one raises an error in it, all raise that error.

        Raises:
            ParallelError: In place of an error that is none of the registry's.
        """
        try:
            yield
        except Exception as problem:
            if problem is not self._raised:
                self._settle((problem, None))
            raise
        self.agree()

    @contextmanager
    def starting(self) -> Iterator[None]:
        """A block whose errors all raise until they have agreed once; after that each computes by itself.

        Raises:
            ParallelError: In place of an error that is none of the registry's.
        """
        before = self._settled
        try:
            yield
        except Exception as problem:
            if problem is not self._raised and self._settled == before:
                self._settle((problem, None))
            raise

    def agree(self, facts: Any = None, value: Any = None) -> list[Any]:
        """Wait until every process has come here, with the same facts.

        Args:
            facts: What must be the same: a mapping of words to values.
            value: A picklable value, which the others get.

        Returns:
            The value of each process, in the order of the mesh.

        Raises:
            ParallelError: Facts differ.
            RegistryError: The error of another process.
        """
        return self._settle((None, facts), value)

    def _settle(self, outcome: tuple[Exception | None, Any], value: Any = None) -> list[Any]:
        error, facts = outcome
        outcomes = self.exchange((portable(error), facts, value))
        for rank, (found, _, _) in zip(self.ranks, outcomes, strict=True):
            if found is not None:
                if not isinstance(found, RegistryError):
                    found = ParallelError(f"Rank {rank} failed: {found}")
                self._raised = found
                raise found from error
        self._compare([each for _, each, _ in outcomes])
        self._settled += 1
        return [each for _, _, each in outcomes]

    def _compare(self, facts: list[Any]) -> None:
        for rank, each in zip(self.ranks, facts, strict=True):
            for word in facts[0] or ():
                if each[word] != facts[0][word]:
                    self._raised = ParallelError(
                        f"The processes do not load the same: {word} is {_short(facts[0][word])} on rank "
                        f"{self.ranks[0]} and {_short(each[word])} on rank {rank}.",
                        hint="Give all processes the same arguments, the same files and the same versions.",
                    )
                    raise self._raised

    def first_state(self, device_type: str) -> "torch.Tensor":
        """The state of the first process's random numbers, on all processes."""
        states = self.exchange(random_state(device_type) if self.is_first else None)
        state: torch.Tensor = states[0]
        return state

    @contextmanager
    def equal_draws(self) -> Iterator[None]:
        """Have all processes draw the same random numbers, those that the first one would draw alone."""
        state = self.first_state("cpu")
        if self.is_first:
            yield
            return
        with torch.random.fork_rng(devices=()):
            torch.set_rng_state(state)
            yield


def random_state(device_type: str) -> torch.Tensor:
    """The state of torch's random numbers on a kind of device."""
    if device_type == "cuda":
        return torch.cuda.get_rng_state()
    return torch.get_rng_state()


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
