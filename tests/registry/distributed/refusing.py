"""What each process of ``test_refusals.py`` runs."""

from collections.abc import Callable
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from time import sleep
from typing import Any
from unittest.mock import patch

from torch import distributed as dist
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

import registry
from plugins.bert.modeling import BertPreTrainedModel
from registry.files.atomic import locked
from registry.loading import save
from registry.sharding import arrival
from registry.sharding.plans import ParallelPlan
from registry.testing.on_ranks import mesh_for
from registry.testing.ranks import function

ERROR_OF = f"{Path(__file__).with_name('ranked.py')}:error_of"
ABSENT = ParallelPlan(blocks=("bert.encoder.layers.*",), tensor={"bert.encoder.layers.*.query": "colwise"})


def refusals(directory: str, retrained: str, saved: str) -> dict[str, tuple[str, str]]:
    """What each kind of bad input raises."""
    error_of = function(ERROR_OF)
    mesh, mine = mesh_for("tp"), bool(dist.get_rank())
    square = init_device_mesh("cpu", (2, 1), mesh_dim_names=("fsdp", "tp"))

    def load(name: str = directory, **options: Any) -> Any:
        return registry.load_model(name, **{"mesh": mesh, "parallel": "tp", **options})

    def over(shape: tuple[int, ...], names: str, parallel: str) -> Any:
        return load(mesh=init_device_mesh("cpu", shape, mesh_dim_names=tuple(names.split())), parallel=parallel)

    def with_other_version() -> Any:
        with patch("registry.loading.fill.__version__", f"0.{dist.get_rank()}"):
            return load()

    def with_absent_names(way: str) -> Any:
        with patch.object(BertPreTrainedModel, "parallel_plan", ABSENT):
            return load(parallel=way)

    def in_vain(other: Callable[[], object]) -> tuple[str, str]:
        """The error of the first rank, which waits for the other, and of that one: at once, or at its next load."""
        with patch.multiple(arrival, PATIENCE=0.05, GRACE=0.05, UNNOTICED=0.05):
            found = error_of(other if mine else lambda: load(parallel="fsdp", mesh=square["fsdp"]))
            dist.barrier()
            return error_of(load) if found == ("nothing", "") else found

    def too_late() -> tuple[str, str]:
        store = arrival._store()
        before = store.timeout
        store.set_timeout(timedelta(seconds=0.1))
        try:
            return in_vain(lambda: None)
        finally:
            store.set_timeout(before)

    def alone_before() -> object:
        if mine:
            load(mesh=None, parallel=None)
            sleep(0.1)  # others read the note meanwhile, and wait on
        with patch.object(arrival, "UNNOTICED", 0.02):
            return load()

    def save_over_a_held_directory() -> Any:
        model = load()
        with patch.object(save, "PATIENCE", 0.2), locked(Path(saved)) if mine else nullcontext():
            dist.barrier()  # else the other may hold it first, and wait for this one
            return registry.save(model, saved)

    return {
        "another way on one rank": error_of(lambda: load(parallel="fsdp" if mine else "tp")),
        "a misspelled way on one rank": error_of(lambda: load(parallel="fdsp" if mine else "fsdp")),
        "another shape of the mesh on one rank": error_of(
            lambda: over((1, 2) if mine else (2, 1), "fsdp tp", "fsdp+tp")
        ),
        "another order of dimensions on one rank": error_of(
            lambda: over((2, 1), "tp fsdp" if mine else "fsdp tp", "fsdp+tp")
        ),
        "another name of the dimension on one rank": error_of(lambda: over((2,), "tp" if mine else "fsdp", "fsdp")),
        "another device of the mesh on one rank": error_of(
            lambda: load(mesh=DeviceMesh("cuda" if mine else "cpu", [0, 1]))
        ),
        "another type on one rank": error_of(lambda: load(dtype="bfloat16" if mine else None)),
        "another version on one rank": error_of(with_other_version),
        "other values of the same size": error_of(lambda: load(retrained if mine else directory)),
        "a name that one rank does not know": error_of(lambda: load("bert-bas-uncased" if mine else directory)),
        "a plan of layers that names nothing": error_of(lambda: with_absent_names("tp")),
        "a plan of blocks that names nothing": error_of(lambda: with_absent_names("fsdp")),
        "a size that does not divide": error_of(lambda: load(parallel="tp", num_attention_heads=3, hidden_size=24)),
        "the CPU in a mesh of GPUs": error_of(lambda: load(mesh=DeviceMesh("cuda", [0, 1]), device="cpu")),
        "a way and no mesh on one rank": in_vain(lambda: load(mesh=None)),
        "no mesh on one rank": in_vain(lambda: load(mesh=None, parallel=None)),
        "a mesh of other ranks on one rank": in_vain(lambda: load(mesh=square["tp"])),
        "a rank that comes too late": too_late(),
        "a model that one rank loads alone before": error_of(alone_before),
        "a directory that another rank holds": error_of(save_over_a_held_directory),
        "and after all that": error_of(load),
    }


def meshes_across(directory: str) -> tuple[str, str]:
    """What four ranks raise, one of which takes a column of their mesh for the mesh."""
    mesh = mesh_for("fsdp+tp")
    mine, parallel = (mesh["fsdp"], "fsdp") if dist.get_rank() == 1 else (mesh, "fsdp+tp")
    found: tuple[str, str] = function(ERROR_OF)(lambda: registry.load_model(directory, mesh=mine, parallel=parallel))
    return found
