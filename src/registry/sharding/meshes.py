"""Which processes divide a model, and how: the arguments ``mesh=`` and ``parallel=``."""

import socket
from functools import partial
from typing import Any

import torch
from attrs import field, frozen
from torch import Tensor
from torch import distributed as dist
from torch.distributed.device_mesh import DeviceMesh

from registry.errors import ParallelError, RegistryError, UnknownOptionError, did_you_mean
from registry.sharding.agreement import Agreement
from registry.sharding.arrival import meet, note_refusal

WAYS = {"tp": ("tp",), "fsdp": ("fsdp",), "fsdp+tp": ("fsdp", "tp")}
"""The values of ``parallel=``, and the dimensions of the mesh that each needs."""


@frozen(kw_only=True, eq=False)
class ProcessMesh:
    """The processes that divide a model."""

    mesh: DeviceMesh
    tensor: DeviceMesh | None
    """The dimension over which layers are divided; None where they are not."""
    sharded: DeviceMesh | None
    """The dimension over which parameters are sharded; None where they are not."""
    agreement: Agreement = field(repr=False)
    """What all of them agree on."""
    hosts: tuple[str, ...] = field(repr=False)
    """The machine of each, in the order of the mesh."""

    @classmethod
    def of(cls, mesh: Any, parallel: Any, name: str) -> "ProcessMesh":
        """The processes that share a model.

        All processes of the mesh call it.  An error of one is raised by all, also where one is given no mesh, or has
        loaded without one.

        Args:
            mesh: The mesh.
            parallel: The way.
            name: The model, as the caller named it.

        Raises:
            UnknownOptionError: ``parallel`` is not a way, or only one of the two is given.
            ParallelError: The mesh does not have the dimensions that are needed, or this process is not in it, or the
                processes have different meshes or ways.
        """
        try:
            _check_member(mesh, parallel)
        except RegistryError as problem:
            note_refusal(name, problem)
            raise
        agreement = Agreement(mesh, partial(meet, name=name))
        with agreement.starting():
            _check_way(parallel)
            names = _names(mesh, parallel)
            _check_backend(mesh)
            hosts = agreement.agree(_facts(mesh, names, parallel), socket.gethostname())
        found = {name: (mesh if mesh.ndim == 1 else mesh[name]) if name in WAYS[parallel] else None for name in names}
        return cls(
            mesh=mesh, tensor=found.get("tp"), sharded=found.get("fsdp"), agreement=agreement, hosts=tuple(hosts)
        )

    def device(self, wanted: torch.device | None) -> torch.device:
        """The device of the parameters: the mesh's.

        Raises:
            ParallelError: ``wanted`` is of another type.
        """
        kind = self.mesh.device_type
        if wanted is not None and wanted.type != kind:
            raise ParallelError(
                f"The mesh is of devices of type {kind!r}, and device={str(wanted)!r} is of another.",
                hint=f"Leave device= out, or make a mesh of {wanted.type!r} devices.",
            )
        if wanted is not None:
            return wanted
        return torch.device(kind) if kind == "cpu" else torch.device(kind, torch.accelerator.current_device_index())

    def on_this_machine(self) -> tuple[int, int]:
        """The number of this process among those on this machine, and how many these are."""
        mine = self.hosts[self.agreement.ranks.index(dist.get_rank())]
        here = [rank for rank, host in zip(self.agreement.ranks, self.hosts, strict=True) if host == mine]
        return here.index(dist.get_rank()), len(here)

    # --- What generation needs

    def same_step(self, tokens: Tensor, ended: Tensor) -> tuple[Tensor, Tensor]:
        """The tokens of a step, and which texts have ended, as the first process of each tensor parallel group says."""
        if self.tensor is None:
            return tokens, ended
        both = torch.stack([tokens, ended.to(tokens.dtype)])
        group = self.tensor.get_group()
        dist.broadcast(both, src=dist.get_global_rank(group, 0), group=group)
        return both[0], both[1].bool()

    def everywhere(self, true: bool) -> bool:
        """Whether something is true in all processes: those that are done compute with the others until all are."""
        flag = torch.tensor([int(true)], device=self.device(None))
        for group in self.agreement.groups:
            dist.all_reduce(flag, op=dist.ReduceOp.MIN, group=group)
        return bool(flag.item())

    def check_same(self, **facts: Any) -> None:
        """Raise ParallelError unless all processes give the same facts: all must compute as often."""
        self.agreement.agree(facts)


def _check_member(mesh: Any, parallel: Any) -> None:
    """Raise an error unless this process is in a mesh."""
    if not isinstance(mesh, DeviceMesh):
        _check_way(parallel)
        given = "is not given" if mesh is None else f"is a {type(mesh).__name__}"
        raise UnknownOptionError(
            f"parallel={parallel!r} needs a DeviceMesh of torch.distributed, and mesh= {given}.",
            hint='mesh = torch.distributed.device_mesh.init_device_mesh("cpu", (2,)) makes one.',
        )
    if mesh.get_coordinate() is None:
        raise ParallelError(f"Rank {dist.get_rank()} is not in the mesh, {mesh}.")


def _check_way(parallel: Any) -> None:
    """Raise UnknownOptionError for what is not a way to share a model."""
    if not isinstance(parallel, str) or parallel not in WAYS:
        near = did_you_mean(parallel, WAYS) if isinstance(parallel, str) else ""
        raise UnknownOptionError(f"parallel={parallel!r} is not one of {', '.join(WAYS)}.{near}")


def _facts(mesh: DeviceMesh, names: tuple[str, ...], parallel: str) -> dict[str, Any]:
    """What is the same in all processes that share a model."""
    sizes = ", ".join(f"{name}={size}" for name, size in zip(names, mesh.shape, strict=True))
    return {"parallel": parallel, "the mesh": f"{mesh.device_type} ({sizes})", "its ranks": mesh.mesh.tolist()}


def _names(mesh: DeviceMesh, parallel: str) -> tuple[str, ...]:
    """The names of the mesh's dimensions, which must be those that are needed."""
    needed = WAYS[parallel]
    if mesh.mesh_dim_names is None and mesh.ndim == len(needed) == 1:
        return needed
    if set(mesh.mesh_dim_names or ()) != set(needed):
        found = "without names" if mesh.mesh_dim_names is None else f"{mesh.mesh_dim_names}"
        raise ParallelError(
            f"parallel={parallel!r} needs a mesh with the dimensions {needed}, and this one has {mesh.ndim}, {found}.",
            hint=f"init_device_mesh({mesh.device_type!r}, sizes, mesh_dim_names={needed}) makes such a mesh; for one "
            f"way alone give the part of a larger mesh, mesh[{needed[0]!r}].",
        )
    return tuple(mesh.mesh_dim_names or ())


def _check_backend(mesh: DeviceMesh) -> None:
    """Raise ParallelError for a mesh whose processes cannot exchange tensors of its own device."""
    configured = dist.get_backend_config(mesh.get_group(0))
    if f"{mesh.device_type}:" not in configured:
        raise ParallelError(
            f"The mesh is of devices of type {mesh.device_type!r}, for which its process group has no backend: it "
            f"has {configured}.",
            hint='init_process_group("cpu:gloo,cuda:nccl") has one for each.',
        )
