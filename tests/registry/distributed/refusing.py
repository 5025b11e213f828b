"""What each process of ``test_refusals.py`` runs."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import patch

from torch import distributed as dist
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

import registry
from plugins.bert.modeling import BertPreTrainedModel
from registry.files.atomic import locked
from registry.loading import save
from registry.sharding.plans import ParallelPlan
from registry.testing.on_ranks import mesh_for
from registry.testing.ranks import function

ERROR_OF = f"{Path(__file__).with_name('ranked.py')}:error_of"
ABSENT = ParallelPlan(blocks=("bert.encoder.layers.*",), tensor={"bert.encoder.layers.*.query": "colwise"})


def refusals(directory: str, retrained: str, saved: str) -> dict[str, tuple[str, str]]:
    """What each kind of bad input raises."""
    error_of = function(ERROR_OF)
    mesh, mine = mesh_for("tp"), bool(dist.get_rank())

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
        "a directory that another rank holds": error_of(save_over_a_held_directory),
        "and after all that": error_of(load),
    }
