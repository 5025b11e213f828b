"""Tensors without memory of their own are refused by name, and nothing is written."""

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

import registry
from registry.errors import SaveError
from registry.weights.write import weight_writers
from registry.zoo import BertConfig, BertModel

NAME = "encoder.layer.0.output.dense.weight"
FORMATS = ("safetensors", "torch")


class Wrapper(Tensor):
    """A tensor whose values are in another one, as those of torchao are."""

    @staticmethod
    def __new__(cls, inner: Tensor) -> "Wrapper":
        made: Wrapper = torch.Tensor._make_wrapper_subclass(cls, inner.shape, dtype=inner.dtype)
        return made

    def __init__(self, inner: Tensor) -> None:
        self.inner = inner

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten.detach.default:
            return cls(args[0].inner)
        raise NotImplementedError(func)


class Named(Tensor):
    """A subclass that is just its memory."""


@pytest.fixture
def model() -> BertModel:
    made = BertModel(
        BertConfig(
            vocab_size=8,
            hidden_size=4,
            num_hidden_layers=1,
            num_attention_heads=1,
            intermediate_size=4,
            max_position_embeddings=4,
        )
    )
    made.init_weights()
    return made


@pytest.fixture
def mesh(tmp_path: Path) -> Iterator[Any]:
    """A mesh of one process."""
    from torch import distributed
    from torch.distributed.device_mesh import init_device_mesh

    distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/group", rank=0, world_size=1)
    yield init_device_mesh("cpu", (1,))
    distributed.destroy_process_group()


def refused(model: nn.Module, folder: Path, words: str) -> str:
    """The message of saving the model, to a new directory and over an old one, which stay as they were."""
    old = folder / "old"
    old.mkdir(parents=True)
    (old / "notes.txt").write_text("mine")
    before = sorted(folder.rglob("*"))
    for target in (folder / "new", old):
        for format in FORMATS:
            with pytest.raises(SaveError, match=words) as caught:
                registry.save(model, target, format=format)  # type: ignore[arg-type]
            assert caught.value.hint
            assert sorted(folder.rglob("*")) == before
    return str(caught.value)


def replace(model: nn.Module, value: Any) -> None:
    model.encoder.layer[0].output.dense.weight = nn.Parameter(value, requires_grad=False)  # type: ignore[index, union-attr]


def test_a_parameter_on_the_meta_device_is_named(model: BertModel, tmp_path: Path) -> None:
    replace(model, torch.empty(4, 4, device="meta"))
    message = refused(model, tmp_path / "m", "meta device")
    assert NAME in message
    assert "init_weights" in message


def test_a_model_on_the_meta_device_is_refused_once_for_all_its_parameters(model: BertModel, tmp_path: Path) -> None:
    others = len(model.state_dict()) - 1
    message = refused(model.to("meta"), tmp_path / "m", "meta device")
    assert f"and {others} others like it" in message
    assert len(message) < 500


def test_a_fake_parameter_is_named(model: BertModel, tmp_path: Path) -> None:
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        fake = torch.zeros(4, 4)
    replace(model, fake)
    assert NAME in refused(model, tmp_path / "m", "FakeTensor")


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_quantized_parameter_is_named(model: BertModel, tmp_path: Path) -> None:
    replace(model, torch.quantize_per_tensor(torch.ones(4, 4), 0.1, 0, torch.qint8))
    message = refused(model, tmp_path / "m", "quantized")
    assert NAME in message
    assert "before it is quantized" in message


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_a_layer_that_torch_quantized_is_named(model: BertModel, tmp_path: Path) -> None:
    quantized = torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.Linear(4, 4)), {nn.Linear}, dtype=torch.qint8)
    model.encoder.layer[0].output.dense = quantized[0]
    message = refused(model, tmp_path / "m", "not a tensor")
    assert "encoder.layer.0.output.dense._packed_params" in message


@pytest.mark.parametrize("layout", [torch.sparse_coo, torch.sparse_csr])
@pytest.mark.filterwarnings("ignore:Sparse CSR")
def test_a_sparse_parameter_is_named(model: BertModel, tmp_path: Path, layout: torch.layout) -> None:
    replace(model, torch.eye(4).to_sparse(layout=layout))
    message = refused(model, tmp_path / "m", "sparse")
    assert NAME in message
    assert "to_dense" in message


def test_a_masked_tensor_is_named() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        masked = torch.masked.masked_tensor(torch.ones(2), torch.tensor([True, False]))
    with pytest.raises(SaveError, match="'a' is a MaskedTensor"):
        weight_writers({"a": masked})


def test_a_parameter_that_is_divided_over_processes_is_named(model: BertModel, mesh: Any, tmp_path: Path) -> None:
    from torch.distributed.tensor import Shard, distribute_tensor

    replace(model, distribute_tensor(torch.ones(4, 4), mesh, [Shard(0)]))
    message = refused(model, tmp_path / "m", "DTensor")
    assert NAME in message
    assert "full_state_dict" in message


def test_what_the_remedy_for_divided_parameters_gives_is_saved(model: BertModel, mesh: Any, tmp_path: Path) -> None:
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
    from torch.distributed.tensor import Shard, distribute_tensor

    whole = torch.arange(16.0).reshape(4, 4)
    replace(model, distribute_tensor(whole, mesh, [Shard(0)]))
    state = get_model_state_dict(model, options=StateDictOptions(full_state_dict=True))
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    model.config.to_json_file(tmp_path / "config.json")
    gathered = BertModel.from_pretrained(tmp_path, state_dict=state)
    again = BertModel.from_pretrained(registry.save(gathered, tmp_path / "saved"))
    assert again.state_dict()[NAME].equal(whole)


def test_a_tensor_that_wraps_another_is_named(model: BertModel, tmp_path: Path) -> None:
    replace(model, Wrapper(torch.ones(4, 4)))
    assert NAME in refused(model, tmp_path / "m", "Wrapper")


def test_a_tensor_whose_memory_was_freed_is_named() -> None:
    hollow = torch.ones(4)
    hollow.untyped_storage().resize_(0)
    with pytest.raises(SaveError, match="'a' is a tensor without memory"):
        weight_writers({"a": hollow})


def test_a_layer_without_a_shape_is_named() -> None:
    with pytest.raises(SaveError, match="'a' is not initialized"):
        weight_writers({"a": nn.LazyLinear(2).weight})


def test_a_tensor_under_a_transform_is_named() -> None:
    def save(x: Tensor) -> Tensor:
        with pytest.raises(SaveError, match="'a' is"):
            weight_writers({"a": x})
        return x.sum()

    torch.func.grad(save)(torch.ones(2))


@pytest.mark.filterwarnings("ignore:.*prototype")
@pytest.mark.parametrize("layout", [torch.strided, torch.jagged])
def test_a_nested_tensor_is_named(layout: torch.layout, model: BertModel, tmp_path: Path) -> None:
    replace(model, torch.nested.nested_tensor([torch.ones(2, 3), torch.ones(1, 3)], layout=layout))
    message = refused(model, tmp_path / "m", "is nested: its rows have lengths of their own")
    assert NAME in message
    assert "to_padded_tensor" in message


class Mute(Tensor):
    """A tensor that answers no question."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise RuntimeError("this operation is not implemented")


def test_a_tensor_whose_class_raises_errors_is_named() -> None:
    with pytest.raises(SaveError, match="'a' is a Mute, which torch cannot look into"):
        weight_writers({"a": torch.ones(2).as_subclass(Mute)})


class Packed(nn.Parameter):
    """Packed bytes with what unpacks them next to them, as the weights of bitsandbytes are."""

    def __new__(cls, data: Tensor, state: object = None) -> "Packed":
        made: Packed = torch.Tensor._make_subclass(cls, data, False)  # type: ignore[attr-defined]
        made.state = state
        return made


TYPES: dict[str, Tensor] = {
    "packed": torch.zeros(8, 1, dtype=torch.uint8),
    "int8": torch.zeros(4, 4, dtype=torch.int8),
    "float8": torch.zeros(4, 4).to(torch.float8_e4m3fn),
    "complex": torch.zeros(4, 4, dtype=torch.complex64),
}


@pytest.mark.parametrize("kind", TYPES)
def test_a_parameter_of_a_type_that_does_not_load_is_named(kind: str, model: BertModel, tmp_path: Path) -> None:
    model.encoder.layer[0].output.dense.weight = Packed(TYPES[kind])
    model.encoder.layer[0].intermediate.dense.weight = Packed(TYPES[kind])
    message = refused(
        model, tmp_path / "m", f"of type {TYPES[kind].dtype}, with which no BertModel is loaded".replace("8", ".")
    )
    assert "'encoder.layer.0.intermediate.dense.weight'" in message
    assert "(and 1 others like it)" in message
    assert "before it is quantized" in message


class Counted(BertModel):
    """A model with a parameter of whole numbers."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.steps = nn.Parameter(torch.zeros(1, dtype=torch.int64), requires_grad=False)


def test_a_parameter_of_whole_numbers_that_the_class_has_is_saved(model: BertModel, tmp_path: Path) -> None:
    made = Counted(model.config)
    made.steps += 3
    again = Counted.from_pretrained(registry.save(made, tmp_path / "m"))
    assert again.steps.tolist() == [3]


@pytest.mark.parametrize("format", FORMATS)
def test_views_that_negate_or_conjugate_are_saved_as_they_look(format: str, tmp_path: Path) -> None:
    numbers = torch.tensor([1 + 2j, 3 - 4j], dtype=torch.complex64)
    tensors = {"conjugated": numbers.conj(), "plain": numbers, "negated": torch._neg_view(torch.ones(3))}
    for name, writer in weight_writers(tensors, format=format).items():
        writer(tmp_path / name)
    (path,) = tmp_path.iterdir()
    read = safetensors.torch.load_file(path) if format == "safetensors" else torch.load(path, weights_only=True)
    assert read["conjugated"].tolist() == [1 - 2j, 3 + 4j]
    assert read["plain"].tolist() == numbers.tolist()
    assert read["negated"].tolist() == [-1, -1, -1]


def test_all_kinds_are_told_in_one_message() -> None:
    with pytest.raises(SaveError, match=r"'a' is on the meta device.*; 'c' is sparse") as caught:
        weight_writers({"a": torch.ones(2, device="meta"), "b": torch.ones(2), "c": torch.eye(2).to_sparse()})
    assert "to_dense" in str(caught.value)


@pytest.mark.parametrize("format", FORMATS)
def test_tensors_with_memory_are_saved(tmp_path: Path, format: str) -> None:
    tensors = {
        "expanded": torch.ones(1).expand(5),
        "empty": torch.ones(0),
        "parameter": nn.Parameter(torch.ones(2)),
        "buffer": nn.Buffer(torch.ones(2)),
        "subclass": torch.ones(2).as_subclass(Named),
    }
    for name, writer in weight_writers(tensors, format=format).items():
        writer(tmp_path / name)
        assert (tmp_path / name).stat().st_size > 0


NOT_IN_SAFETENSORS = [torch.ones(2, dtype=torch.complex128), torch.ones(2, dtype=torch.uint8).view(torch.bits8)]


@pytest.mark.parametrize("tensor", NOT_IN_SAFETENSORS, ids=lambda tensor: str(tensor.dtype))
def test_a_type_that_safetensors_lack_is_refused_and_torch_has_it(tensor: Tensor, tmp_path: Path) -> None:
    with pytest.raises(SaveError, match=f"'a' is of type {tensor.dtype}, which safetensors do not have"):
        weight_writers({"a": tensor})
    weight_writers({"a": tensor}, format="torch")["pytorch_model.bin"](tmp_path / "w")
    read = torch.load(tmp_path / "w", weights_only=True)["a"]
    assert read.dtype == tensor.dtype
    assert read.view(torch.uint8).equal(tensor.view(torch.uint8))
