"""Models whose files keep q, k and v in one tensor, and experts one by one: loaded, compared, converted and saved."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import torch
from attrs import frozen
from click.testing import CliRunner
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import registry
from registry import discovery
from registry.cli import main
from registry.config import Config
from registry.config.fields import size
from registry.errors import WeightsMismatchError
from registry.hookspecs import hookimpl
from registry.loading.convert import convert
from registry.loading.model import Model
from registry.loading.slots import Slot
from registry.nn.outputs import EncoderOutput
from registry.records import ConfigSpec, ModelSpec
from registry.sharding.shares import Cut, share, with_fused_axis
from registry.weights.names import Layout, NameTable, StoredTensor, gathered, parted
from registry.weights.names.lazy import Stack


@frozen(kw_only=True)
class FusedConfig(Config):
    architecture: ClassVar[str] = "fused"
    model_type: ClassVar[str] = "fused"

    hidden_size: int = size(4)
    key_size: int = size(2)
    num_experts: int = size(3)


class FusedModel(Model):
    config_class = FusedConfig
    layout = Layout(
        names=NameTable(
            parted(
                "{p}.qkv.weight", ("{p}.q.weight", "{p}.kv.weight"), sizes=lambda c: (c.hidden_size, 2 * c.key_size)
            ),
            gathered("{p}.experts.{i}.weight", "{p}.experts"),
        )
    )

    def __init__(self, config: FusedConfig) -> None:
        super().__init__(config)
        self.block = nn.ModuleDict(
            {
                "q": nn.Linear(config.hidden_size, config.hidden_size, bias=False),
                "kv": nn.Linear(config.hidden_size, 2 * config.key_size, bias=False),
            }
        )
        self.block.experts = nn.Parameter(torch.empty(config.num_experts, config.hidden_size, config.hidden_size))
        self.init_weights()

    def init_module(self, module: nn.Module) -> None:
        for parameter in module.parameters(recurse=False):
            nn.init.normal_(parameter)

    def forward(self, input_ids: Tensor) -> EncoderOutput:
        return EncoderOutput(input_ids)


@pytest.fixture(autouse=True)
def _plugin() -> Iterator[None]:
    here = __name__
    assert here in sys.modules
    plugin = SimpleNamespace(
        registry_configs=hookimpl(
            lambda: [ConfigSpec(architecture="fused", cls=f"{here}:FusedConfig", model_types=("fused",))]
        ),
        registry_models=hookimpl(lambda: [ModelSpec(architecture="fused", task="base", cls=f"{here}:FusedModel")]),
    )
    discovery.register(plugin, "fused")
    yield
    discovery.unregister("fused")


@pytest.fixture
def file() -> dict[str, Tensor]:
    """The weights as a file has them."""
    torch.manual_seed(0)
    return {"block.qkv.weight": torch.rand(8, 4), **{f"block.experts.{i}.weight": torch.rand(4, 4) for i in range(3)}}


def published(directory: Path, tensors: dict[str, Tensor], format: str = "safetensors") -> Path:
    directory.mkdir()
    (directory / "config.json").write_text(json.dumps({"model_type": "fused"}))
    if format == "safetensors":
        save_file(tensors, directory / "model.safetensors")
    else:
        torch.save(tensors, directory / "pytorch_model.bin")
    return directory


def tensors_in(directory: Path) -> dict[str, Tensor]:
    single = directory / "pytorch_model.bin"
    if single.exists():
        return dict(torch.load(single, weights_only=True))
    return {name: tensor for path in directory.glob("*.safetensors") for name, tensor in load_file(path).items()}


@pytest.mark.parametrize("shard", [None, 70])
@pytest.mark.parametrize("format", ["safetensors", "torch"])
def test_what_is_loaded_is_saved_as_it_was(file: Any, format: Any, shard: int | None, tmp_path: Path) -> None:
    model = registry.load_model(published(tmp_path / "a", file, format))
    assert {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()} == {
        "block.experts": (3, 4, 4),
        "block.q.weight": (4, 4),
        "block.kv.weight": (4, 4),
    }
    assert model.block.kv.weight.equal(file["block.qkv.weight"][4:])
    report = model.load_report
    assert set(report.loaded) == set(model.state_dict())
    assert ("block.experts.2.weight", "block.experts") in report.renamed
    assert report.new == report.missing == report.unexpected == report.dropped == ()
    saved = registry.save(model, tmp_path / "b", format=format, max_shard_size=shard)
    if format == "safetensors" or shard is None:
        found = tensors_in(saved)
        assert found.keys() == file.keys()
        assert all(found[name].equal(file[name]) for name in file)
    again = registry.load_model(saved)
    assert all(again.state_dict()[name].equal(tensor) for name, tensor in model.state_dict().items())


def test_a_part_stays_mapped(file: Any, tmp_path: Path) -> None:
    model = registry.load_model(published(tmp_path / "a", file))
    q, kv = model.block.q.weight, model.block.kv.weight
    assert q.untyped_storage().data_ptr() == kv.untyped_storage().data_ptr()
    assert kv.data_ptr() - q.data_ptr() == q.nbytes


def test_the_model_own_names_are_read_as_well(file: Any, tmp_path: Path) -> None:
    model = registry.load_model(published(tmp_path / "a", file))
    (tmp_path / "b").mkdir()
    torch.save(model.state_dict(), tmp_path / "b" / "pytorch_model.bin")
    model.config.to_json_file(tmp_path / "b" / "config.json")
    again = registry.load_model(tmp_path / "b")
    assert all(again.state_dict()[name].equal(tensor) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"block.experts.1.weight": None}, r"block.experts \(the file lacks block.experts.1.weight\)"),
        ({"block.qkv.weight": None}, "2 missing in the file: block.q.weight, block.kv.weight"),
        ({"block.experts.3.weight": torch.zeros(4, 4)}, r"num_experts=4 makes the sizes agree"),
        ({"block.qkv.weight": torch.zeros(9, 4)}, r"of 9 along axis 0 is not parts of 4 \+ 4 = 8"),
        ({"block.other.weight": torch.zeros(1)}, "1 unexpected in the file: block.other.weight"),
        ({"block.experts.1.weight": torch.zeros(4, 5)}, r"gathers 3 tensors"),
    ],
)
def test_what_does_not_fit_is_refused_by_its_names(file: Any, changes: Any, said: str, tmp_path: Path) -> None:
    wrong = {name: tensor for name, tensor in {**file, **changes}.items() if tensor is not None}
    with pytest.raises(WeightsMismatchError, match=said):
        registry.load_model(published(tmp_path / "a", wrong))


@pytest.mark.parametrize("processes", [2, 3])
@pytest.mark.parametrize(("axis", "fused"), [(0, None), (1, None), (2, None), (2, 1)])
def test_a_process_gathers_its_share_alone(
    axis: int, fused: int | None, processes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reference is the share of the complete tensor: ``axis`` is of the parameter, with an axis more if fused."""
    file = {f"experts.{i}.{w}": torch.rand(6, 4) for i in range(5) for w in ("up", "gate")}
    table = NameTable(gathered(("experts.{i}.up", "experts.{i}.gate"), "experts"))
    source = table.translate({name: StoredTensor(name) for name in file}).sources["experts"]
    whole = torch.stack([torch.cat([file[f"experts.{i}.up"], file[f"experts.{i}.gate"]]) for i in range(5)])
    shape = with_fused_axis(whole.shape, fused, 2) if fused else whole.shape
    parts, copied, copy = [], [], Tensor.copy_
    monkeypatch.setattr(Tensor, "copy_", lambda self, other: (copied.append(other.numel()), copy(self, other))[1])
    for number in range(processes):
        mine = share(shape, [Cut(axis, number, processes)], fused)
        slot = Slot(nn.Module(), "experts", torch.empty(0), mine)
        parts.append(slot.part_of(source.lazy(file)))
        assert parts[-1].equal(mine.of(whole))
        assert sum(part.numel() for part in slot.mapped(source.lazy(file))) == mine.numel
    assert sum(part.numel() for part in parts) == whole.numel()
    assert sum(copied) <= (1 if fused is None else 2) * whole.numel()  # sets of features are joined once more


def test_nothing_is_gathered_before_all_is_checked(file: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[tuple[int, ...]] = []
    read = Stack.read
    monkeypatch.setattr(Stack, "read", lambda self: (reads.append(self.shape), read(self))[1])
    with pytest.raises(WeightsMismatchError, match="unexpected"):
        registry.load_model(published(tmp_path / "a", {**file, "block.other": torch.zeros(1)}))
    assert reads == []
    registry.load_model(published(tmp_path / "b", file))
    assert reads == [(3, 4, 4)]


def test_a_gathered_tensor_may_be_missing_where_the_caller_allows_it(file: Any, tmp_path: Path) -> None:
    del file["block.experts.1.weight"]
    model = registry.load_model(published(tmp_path / "a", file), allow_missing="block.experts")
    assert model.load_report.missing == ("block.experts",)
    assert model.load_report.dropped == ("block.experts.0.weight", "block.experts.2.weight")
    assert model.block.experts.isfinite().all()


def test_parts_that_were_never_trained_are_recorded_by_the_names_in_the_file(tmp_path: Path) -> None:
    model = FusedModel(FusedConfig())
    with torch.no_grad():
        model.block.kv.weight.add_(1)  # a training of this part alone: its tensor in the file has changed
    registry.save(model, tmp_path / "a")
    about = json.loads((tmp_path / "a" / "registry.json").read_text())
    assert set(about["untrained"]) == {f"block.experts.{i}.weight" for i in range(3)}
    with pytest.warns(registry.errors.UntrainedWarning, match="block.experts"):
        assert registry.load_model(tmp_path / "a").load_report.untrained == ("block.experts",)


def test_convert_diff_and_inspect_show_the_names_in_the_file(file: Any, tmp_path: Path) -> None:
    source = published(tmp_path / "a", file, "torch")
    done = convert(source, tmp_path / "b", progress=False)
    assert done.report.unexpected == ()
    assert tensors_in(tmp_path / "b").keys() == file.keys()
    save_file(file, tmp_path / "plain.safetensors")
    for other in ("b", "plain.safetensors"):
        told = CliRunner().invoke(main, ["diff", str(source), str(tmp_path / other)])
        assert (told.exit_code, told.output) == (0, "3 of 3 tensors are equal.\n")
    told = CliRunner().invoke(main, ["inspect", str(tmp_path / "b"), "--json"])
    assert json.loads(told.output)["block.qkv.weight"]["shape"] == [8, 4]
