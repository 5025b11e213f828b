import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812  # the field's name for it
from torch.testing import assert_close

from registry.nn import conv1d
from registry.nn.conv1d import MANY, MANY_TIMES, Conv1D, turned


def test_it_is_a_linear_layer_with_its_weight_the_other_way_round() -> None:
    torch.manual_seed(0)
    layer = Conv1D(3, 5)
    torch.nn.init.normal_(layer.bias)
    for shape in ((3,), (1, 3), (7, 3), (2, 4, 3), (0, 3)):
        x = torch.randn(shape)
        assert_close(layer(x), F.linear(x, layer.weight.t(), layer.bias))
    turned = torch.randn(3, 6).t()
    assert_close(layer(turned), F.linear(turned, layer.weight.t(), layer.bias))
    assert repr(layer) == "Conv1D(in_features=3, out_features=5)"
    assert {name: tuple(p.shape) for name, p in layer.named_parameters()} == {"weight": (3, 5), "bias": (5,)}


def test_new_weights_are_drawn_as_openai_drew_them() -> None:
    layer = Conv1D(100, 200)
    assert abs(layer.weight.std() - 0.02) < 0.001
    assert (layer.bias == 0).all()


def test_many_rows_give_the_same_numbers_and_gradients_as_a_linear_layer() -> None:
    torch.manual_seed(0)
    layer, x = Conv1D(256, 512), torch.randn(2, MANY, 256, requires_grad=True)
    plain = nn.Linear(256, 512)
    plain.load_state_dict({"weight": layer.weight.t(), "bias": layer.bias})
    assert_close(layer(x), plain(x), atol=1e-5, rtol=1e-5)
    layer(x).square().sum().backward()
    found, x.grad = x.grad, None
    plain(x).square().sum().backward()
    assert_close(found, x.grad, atol=1e-4, rtol=1e-4)
    assert_close(layer.weight.grad, plain.weight.grad.t(), atol=1e-4, rtol=1e-4)
    assert_close(layer.bias.grad, plain.bias.grad, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("rows", [1, 8, 200])
def test_turned_weights_give_the_same_numbers(dtype: torch.dtype, rows: int) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(Conv1D(768, 1024), Conv1D(1024, 256)).to(dtype)
    x = torch.randn(rows, 768, dtype=dtype)
    with torch.inference_mode():
        expected = model(x)
        with turned(model, MANY_TIMES):
            assert not any(layer._turned is None for layer in model)
            assert_close(model(x), expected, atol=1e-5 if dtype == torch.float32 else 1e-2, rtol=1e-2)
    assert all(layer._turned is None for layer in model)


def test_weights_are_turned_only_where_it_pays_and_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    model = nn.Sequential(Conv1D(8, 8), Conv1D(8, 8))
    with turned(model, MANY_TIMES - 1):
        assert [layer._turned is None for layer in model] == [True, True]
    monkeypatch.setattr(conv1d, "MOST_BYTES", model[0].weight.nbytes)
    with turned(model, MANY_TIMES):
        assert [layer._turned is None for layer in model] == [False, True]
    with turned(object(), MANY_TIMES):
        pass


def test_nothing_stays_turned_when_memory_runs_out(monkeypatch: pytest.MonkeyPatch) -> None:
    model = nn.Sequential(Conv1D(8, 8), Conv1D(8, 8))

    def copy(layer: Conv1D) -> torch.Tensor:
        if layer is model[1]:
            raise MemoryError
        return layer.weight.detach().t().contiguous()

    monkeypatch.setattr(conv1d, "_turned_copy", copy)
    with pytest.raises(MemoryError), turned(model, MANY_TIMES):
        pass
    assert all(layer._turned is None for layer in model)


def test_weights_that_change_are_seen_by_the_next_generation() -> None:
    layer, x = Conv1D(8, 8), torch.ones(1, 8)
    with pytest.raises(KeyError), turned(layer, MANY_TIMES):
        raise KeyError
    nn.init.ones_(layer.weight)
    with turned(layer, MANY_TIMES):
        assert (layer(x) == 8).all()
