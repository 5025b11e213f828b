import torch
from torch.nn import functional as F  # noqa: N812  # the field's name for it
from torch.testing import assert_close

from registry.layers.conv1d import Conv1D


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
