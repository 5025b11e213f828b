"""Linear layers, beside their formula in float64."""

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # the field's name for it
from torch.profiler import profile
from torch.testing import assert_close

from registry.nn.onednn import FEW, LARGE, Linear, linear

WIDTH, FEATURES = 2048, 512
"""Sizes of a weight that is large enough even for a single row."""
assert FEW * WIDTH * FEATURES >= LARGE

needs_onednn = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this torch is built without oneDNN")


def exact(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    product = x.double() @ weight.double().t()
    return (product if bias is None else product + bias.double()).float()


def operations(call: Callable[[], Tensor]) -> set[str]:
    with profile() as watched:
        call()
    return {event.key for event in watched.key_averages()}


@pytest.mark.parametrize("shape", [(), (1,), (FEW + 1,), (0,), (3, 40), (2, 0), (2, 3, 4)])
@pytest.mark.parametrize("out", [1, WIDTH])
@pytest.mark.parametrize("biased", [False, True])
def test_every_row_is_multiplied_with_the_weight(shape: tuple[int, ...], out: int, biased: bool) -> None:
    x, weight, bias = torch.randn(*shape, FEATURES), torch.randn(out, FEATURES), torch.randn(out) if biased else None
    with torch.no_grad():
        assert_close(linear(x, weight, bias), exact(x, weight, bias), atol=2e-4, rtol=1e-4)


def test_views_are_multiplied_like_copies() -> None:
    x, weight = torch.randn(FEATURES, 30).t(), torch.randn(FEATURES, WIDTH).t()
    with torch.inference_mode():
        assert_close(linear(x, weight), exact(x, weight, None), atol=2e-4, rtol=1e-4)
        x = torch.randn(5, 30, FEATURES).transpose(0, 1)
        assert_close(linear(x, weight[7:]), exact(x, weight[7:], None), atol=2e-4, rtol=1e-4)


@needs_onednn
def test_large_products_of_float32_are_left_to_onednn(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, x = Linear(FEATURES, WIDTH), torch.randn(30, FEATURES)

    def is_used(layer: nn.Module = layer, x: Tensor = x) -> bool:
        return "aten::mkldnn_linear" in operations(lambda: layer(x))

    assert is_used()
    with torch.no_grad():
        assert is_used()
        assert is_used(x=x[:1])
        assert not is_used(Linear(FEATURES, 8))
        assert not is_used(Linear(FEATURES, WIDTH, dtype=torch.float64), x.double())
        with torch.autocast("cpu", torch.bfloat16):
            assert not is_used()
        for owner, name, value in (
            (torch.backends.mkldnn, "enabled", False),
            (torch.backends.mkldnn, "is_available", lambda: False),
            (torch.compiler, "is_compiling", lambda: True),
        ):
            with monkeypatch.context() as patched:
                patched.setattr(owner, name, value)
                assert not is_used()
        assert is_used()


@pytest.mark.parametrize("shape", [(30,), (2, 15), (0,)])
@pytest.mark.parametrize(
    "needed",
    [(True, True, True), (True, False, False), (False, True, True), (False, True, False), (False, False, True)],
)
def test_gradients_are_those_of_torch(shape: tuple[int, ...], needed: tuple[bool, ...]) -> None:
    sizes = (*shape, FEATURES), (WIDTH, FEATURES), (WIDTH,)
    inputs = [torch.randn(size, requires_grad=wanted) for size, wanted in zip(sizes, needed, strict=True)]
    wanted = [tensor for tensor in inputs if tensor.requires_grad]
    direction = torch.randn(*shape, WIDTH)
    found = torch.autograd.grad(linear(*inputs), wanted, direction)
    assert_close(found, torch.autograd.grad(F.linear(*inputs), wanted, direction), atol=1e-3, rtol=1e-4)


def test_gradients_have_gradients() -> None:
    x, weight = torch.randn(30, FEATURES, requires_grad=True), torch.randn(WIDTH, FEATURES, requires_grad=True)

    def penalty(product: Tensor) -> tuple[Tensor, ...]:
        (slope,) = torch.autograd.grad(product.square().mean(), x, create_graph=True)
        return torch.autograd.grad(slope.square().sum(), [x, weight])

    assert_close(penalty(linear(x, weight)), penalty(F.linear(x, weight)), atol=1e-3, rtol=1e-3)
    per_weight = torch.func.grad(lambda weight: linear(x.detach(), weight).square().mean())(weight.detach())
    assert_close(per_weight, torch.autograd.grad(F.linear(x, weight).square().mean(), weight)[0], atol=1e-3, rtol=1e-3)


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")  # torch.func calls it
@pytest.mark.parametrize("by", [torch.no_grad, torch.enable_grad])
def test_products_are_mapped_and_differentiated_forwards(by: Callable[[], AbstractContextManager[None]]) -> None:
    x, weight, bias = torch.randn(4, 30, FEATURES), torch.randn(WIDTH, FEATURES), torch.randn(WIDTH)
    changes = tuple(map(torch.randn_like, (x, weight, bias)))
    with by():
        mapped = torch.vmap(linear, (0, None, None))(x, weight, bias)
        assert_close(mapped, F.linear(x, weight, bias), atol=1e-3, rtol=1e-4)
        weights = torch.stack([weight, weight.flip(0)])
        mapped = torch.vmap(linear, (None, 0))(x, weights)
        assert_close(mapped, torch.stack([F.linear(x, one) for one in weights]), atol=1e-3, rtol=1e-4)
        found = torch.func.jvp(linear, (x, weight, bias), changes)
        assert_close(found, torch.func.jvp(F.linear, (x, weight, bias), changes), atol=1e-3, rtol=1e-4)
        found = torch.func.jvp(lambda weight: linear(x, weight), (weight,), changes[1:2])
        assert_close(found[1], F.linear(x, changes[1]), atol=1e-3, rtol=1e-4)


def test_each_example_has_a_gradient_of_its_own() -> None:
    layer, x = Linear(FEATURES, WIDTH), torch.randn(3, 30, FEATURES)

    def loss(weights: dict[str, Tensor], x: Tensor) -> Tensor:
        return torch.func.functional_call(layer, weights, (x,)).square().mean()

    weights = {name: weight.detach() for name, weight in layer.named_parameters()}
    found = torch.vmap(torch.func.grad(loss), (None, 0))(weights, x)
    for number, one in enumerate(x):
        alone = torch.autograd.grad(F.linear(one, layer.weight, layer.bias).square().mean(), list(layer.parameters()))
        assert_close([found[name][number] for name in weights], list(alone), atol=1e-3, rtol=1e-3)


def test_autocast_rounds_as_torch_does() -> None:
    layer, x = Linear(FEATURES, WIDTH), torch.randn(30, FEATURES)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert_close(layer(x), F.linear(x, layer.weight, layer.bias))


def test_it_is_compiled_and_exported() -> None:
    layer, x = Linear(FEATURES, WIDTH).eval(), torch.randn(30, FEATURES)
    with torch.no_grad():
        expected = layer(x)
        assert_close(torch.compile(layer, backend="eager", fullgraph=True)(x), expected, atol=1e-4, rtol=1e-4)
        assert_close(torch.export.export(layer, (x,)).module()(x), expected, atol=1e-4, rtol=1e-4)


def test_rows_of_another_width_are_refused_as_torch_does() -> None:
    x, weight = torch.randn(30, FEATURES - 1), torch.randn(WIDTH, FEATURES)
    with torch.no_grad(), pytest.raises(RuntimeError, match="cannot be multiplied"):
        linear(x, weight)
