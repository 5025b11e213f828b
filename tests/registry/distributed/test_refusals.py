"""What processes that share a model do differently by mistake is the same error in all of them, within seconds."""

import shutil
from pathlib import Path

import torch

import registry
from registry.testing.ranks import RankPool

RANKED = str(Path(__file__).with_name("refusing.py"))
EXPECTED = {
    "another way on one rank": ("ParallelError", "parallel is 'tp' on rank 0 and 'fsdp' on rank 1"),
    "a misspelled way on one rank": ("UnknownOptionError", "parallel='fdsp' is not one of tp, fsdp, fsdp+tp"),
    "another shape of the mesh on one rank": (
        "ParallelError",
        "the mesh is 'cpu (fsdp=2, tp=1)' on rank 0 and 'cpu (fsdp=1, tp=2)' on rank 1",
    ),
    "another order of dimensions on one rank": (
        "ParallelError",
        "the mesh is 'cpu (fsdp=2, tp=1)' on rank 0 and 'cpu (tp=",
    ),
    "another name of the dimension on one rank": ("ParallelError", "needs a mesh with the dimensions ('fsdp',)"),
    "another device of the mesh on one rank": ("ParallelError", "the mesh is 'cpu (tp=2)' on rank 0 and 'cuda (tp=2)'"),
    "another type on one rank": ("ParallelError", "dtype is None on rank 0 and torch.bfloat16 on rank 1"),
    "another version on one rank": ("ParallelError", "versions is ('0.0'"),
    "other values of the same size": ("ParallelError", "files is {'model.safetensors': ("),
    "a name that one rank does not know": ("UnknownModelError", "bert-bas-uncased"),
    "a plan of layers that names nothing": ("ParallelError", "bert.encoder.layers.*"),
    "a plan of blocks that names nothing": ("ParallelError", "bert.encoder.layers.*"),
    "a size that does not divide": ("ParallelError", "num_attention_heads"),
    "the CPU in a mesh of GPUs": ("ParallelError", "devices of type 'cuda', and device='cpu' is of another"),
    "a way and no mesh on one rank": ("UnknownOptionError", "parallel='tp' needs a DeviceMesh of torch.distributed"),
    "no mesh on one rank": ("ParallelError", "bert' without mesh=, and the ranks [0, 1] are to share that model."),
    "a mesh of other ranks on one rank": (
        "ParallelError",
        "with the mesh of the ranks [1], and the ranks [0, 1] are to",
    ),
    "a rank that comes too late": ("ParallelError", "bert' with the mesh of the ranks [0, 1] in 0.1 seconds"),
    "a model that one rank loads alone before": ("nothing", ""),
    "a directory that another rank holds": ("SaveError", "is in use: another process has held it for 0.2 seconds"),
    "and after all that": ("nothing", ""),
}


def test_what_ranks_do_differently_is_the_same_error_on_all(
    models: Path, tmp_path: Path, registry_ranks: RankPool
) -> None:
    model = registry.load_model(models / "bert")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1)
    registry.save(model, tmp_path / "retrained")
    shutil.copytree(models / "bert", tmp_path / "saved")
    before = {path.name: path.read_bytes() for path in (tmp_path / "saved").iterdir()}
    arguments = (str(models / "bert"), str(tmp_path / "retrained"), str(tmp_path / "saved"))
    one, other = registry_ranks.run(f"{RANKED}:refusals", *arguments, patience=60)
    assert one == other
    for case, (kind, text) in EXPECTED.items():
        assert one[case][0] == kind, (case, one[case])
        assert text in one[case][1], (case, one[case])
    assert one.keys() == EXPECTED.keys()
    assert {path.name: path.read_bytes() for path in (tmp_path / "saved").iterdir()} == before


def test_ranks_with_meshes_across_do_not_wait_for_each_other(models: Path, four_ranks: RankPool) -> None:
    name = str(models / "bert")
    across = f"rank 1 loads '{name}' with the ranks [1, 3] and rank 3 loads '{name}' with the ranks [0, 1, 2, 3]"
    found = four_ranks.run(f"{RANKED}:meshes_across", name, patience=20)
    assert {kind for kind, _ in found} == {"ParallelError"}
    assert all(across in text for _, text in found)
