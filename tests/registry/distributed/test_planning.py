"""``registry.plan``: what each process would hold, from the configuration alone."""

import json
import sys
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from torch.autograd.graph import saved_tensors_hooks

import registry
from registry.cli import main
from registry.distributed.planning import estimate
from registry.errors import ParallelError, UnknownOptionError
from registry.loading.meta import build
from registry.testing.ranks import RankPool
from registry.zoo import BertConfig, BertForMaskedLM, GPT2Config, GPT2LMHeadModel

RANKED = str(Path(__file__).with_name("ranked.py"))


@pytest.mark.parametrize("name", ["bert", "gpt2", "xl"])
def test_bytes_are_those_that_processes_hold(models: Path, name: str, registry_ranks: RankPool) -> None:
    for way in ("tp", "fsdp"):
        found = registry.plan(str(models / name), mesh={way: 2})
        assert list(found.per_process) == registry_ranks.run(f"{RANKED}:held", str(models / name), way)


def test_a_large_model_is_planned_in_seconds(tmp_path: Path) -> None:
    """On 64 processes, with as many layers as 70 billion parameters have: a million calls of Python."""
    sizes = {"n_embd": 4096, "n_layer": 80, "n_head": 64, "vocab_size": 50257, "n_positions": 2048}
    (tmp_path / "config.json").write_text(
        json.dumps({"model_type": "gpt2", **sizes, "architectures": ["GPT2LMHeadModel"]})
    )
    GPT2Config  # noqa: B018  # imported before calls are counted
    calls = 0

    def count(_frame: object, event: str, _value: object) -> None:
        nonlocal calls
        calls += event == "call"

    sys.setprofile(count)
    try:
        found = registry.plan(str(tmp_path), mesh={"fsdp": 8, "tp": 8}, dtype="bfloat16", batch=(2, 1024))
    finally:
        sys.setprofile(None)
    assert calls < 2_000_000
    assert not torch.distributed.is_initialized()
    assert found.parameters > 16e9
    assert len(found.per_process) == 64
    assert found.most < 1.01 * found.nbytes / 64
    assert found.optimizer == 2 * found.most
    assert found.recomputed < found.activations / 4
    assert found.complete == (
        "transformer.h.*.attn.c_proj.bias",
        "transformer.h.*.ln_1.bias",
        "transformer.h.*.ln_1.weight",
        "transformer.h.*.ln_2.bias",
        "transformer.h.*.ln_2.weight",
        "transformer.h.*.mlp.c_proj.bias",
        "transformer.ln_f.bias",
        "transformer.ln_f.weight",
        "transformer.wpe.weight",
    )
    assert "'transformer.h.*.attn.c_attn': colwise:3" in str(found)


@pytest.mark.parametrize("kind", ["bert", "gpt2"])
def test_activations_are_those_that_autograd_keeps(kind: str) -> None:
    """Within a third: what exactly is kept is a matter of torch's kernels."""
    batch, tokens = 4, 64
    if kind == "bert":
        sizes = {"hidden_size": 64, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 256}
        make = lambda: BertForMaskedLM(BertConfig(vocab_size=500, **sizes))  # noqa: E731
    else:
        make = lambda: GPT2LMHeadModel(GPT2Config(vocab_size=500, n_embd=64, n_layer=4, n_head=4))  # noqa: E731
    model = make().eval()
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    ids = torch.randint(5, 500, (batch, tokens))
    with saved_tensors_hooks(pack, lambda tensor: tensor):
        output = model(ids, labels=ids)
    found = estimate(build(make), {"tp": 1}, batch=(batch, tokens)).activations
    assert found == pytest.approx(sum(kept.values()), rel=0.34), output.loss


def test_what_cannot_be_planned_is_an_error(models: Path) -> None:
    name = str(models / "bert")
    with pytest.raises(ParallelError, match="num_attention_heads is 4, which 3 processes cannot share evenly"):
        registry.plan(name, mesh={"tp": 3})
    with pytest.raises(UnknownOptionError, match="'dp'"):
        registry.plan(name, mesh={"dp": 2})
    with pytest.raises(ParallelError, match="no dimension"):
        registry.plan(name, mesh={})
    with pytest.raises(ParallelError, match="0 processes"):
        registry.plan(name, mesh={"tp": 0})
    with pytest.raises(UnknownOptionError, match="adagrad"):
        registry.plan(name, mesh={"tp": 2}, optimizer="adagrad")


def test_the_command_prints_a_table(models: Path) -> None:
    run = CliRunner().invoke(main, ["plan", str(models / "gpt2"), "--mesh", "fsdp=2,tp=2", "--batch", "8x32"])
    assert run.exit_code == 0, run.output
    assert "colwise:3" in run.stdout
    assert "fsdp 2, tp 2" in run.stdout
    run = CliRunner().invoke(main, ["plan", str(models / "gpt2"), "--mesh", "fsdp=2,tp=2", "--json"])
    assert len(json.loads(run.stdout)["per_process"]) == 4
    for wrong in (["--mesh", "two"], ["--mesh", "tp=2", "--batch", "many"]):
        assert CliRunner().invoke(main, ["plan", str(models / "gpt2"), *wrong]).exit_code != 0
