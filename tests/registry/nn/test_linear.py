import torch
from torch.nn import functional as F  # noqa: N812  # the field's name for it
from torch.testing import assert_close

from registry.nn.linear import Conv1D, FunctionalLinear


def test_it_is_a_linear_layer_with_its_weight_transposed() -> None:
    torch.manual_seed(0)
    layer = Conv1D(3, 5)
    torch.nn.init.normal_(layer.bias)
    for shape in ((3,), (1, 3), (7, 3), (2, 4, 3), (0, 3)):
        x = torch.randn(shape)
        assert_close(layer(x), F.linear(x, layer.weight.t(), layer.bias))
    transposed = torch.randn(3, 6).t()
    assert_close(layer(transposed), F.linear(transposed, layer.weight.t(), layer.bias))
    assert repr(layer) == "Conv1D(in_features=3, out_features=5)"
    assert {name: tuple(p.shape) for name, p in layer.named_parameters()} == {"weight": (3, 5), "bias": (5,)}


def test_weights_are_initialized_as_openai_did() -> None:
    layer = Conv1D(100, 200)
    assert abs(layer.weight.std() - 0.02) < 0.001
    assert (layer.bias == 0).all()


def test_a_functional_layer_has_no_parameters_of_its_own() -> None:
    x, weight, bias = torch.randn(2, 3), torch.randn(5, 3), torch.randn(5)
    layer = FunctionalLinear()
    assert not layer.state_dict()
    assert_close(layer(x, weight, bias), x @ weight.t() + bias)
    assert_close(layer(x, weight[1:3]), x @ weight[1:3].t())
