"""What processes that share a model do differently by mistake is the same error in all of them, within seconds."""

import shutil
from pathlib import Path

import torch

import registry
from registry.testing.ranks import RankPool

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
    script = str(Path(__file__).with_name("refusing.py"))
    arguments = (str(models / "bert"), str(tmp_path / "retrained"), str(tmp_path / "saved"))
    one, other = registry_ranks.run(f"{script}:refusals", *arguments, patience=60)
    assert one == other
    for case, (kind, text) in EXPECTED.items():
        assert one[case][0] == kind, (case, one[case])
        assert text in one[case][1], (case, one[case])
    assert one.keys() == EXPECTED.keys()
    assert {path.name: path.read_bytes() for path in (tmp_path / "saved").iterdir()} == before
