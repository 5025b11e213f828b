"""Products by oneDNN beside their formula in float64; layers that are enabled, copied, moved and disabled."""

import copy
import gc
import pickle
import threading
import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # the field's name for it
from torch.profiler import profile
from torch.testing import assert_close

from plugins.gpt2.config import GPT2Config
from plugins.gpt2.modeling import GPT2LMHeadModel
from registry.nn import onednn
from registry.nn.linear import Conv1D, FunctionalLinear
from registry.nn.onednn import (
    FEW,
    LARGE,
    MANY,
    MANY_STEPS,
    PACKED_ROWS,
    STEPS_OF_PACKING,
    disable,
    disable_unsuitable,
    enable,
    for_decoding,
    linear,
)

WIDTH, FEATURES = 2048, 512
"""Sizes of a weight that is large enough even for a single row."""
assert FEW * WIDTH * FEATURES >= LARGE

needs_onednn = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this torch is built without oneDNN")


@pytest.fixture(autouse=True)
def _on_amd(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is tested is what loading and decoding do where oneDNN is faster, whatever processor this is."""
    monkeypatch.setattr(onednn, "is_faster", lambda: True)
    monkeypatch.setattr(onednn, "packing_is_faster", lambda: False)


IS_FASTER, PACKING_IS_FASTER = onednn.is_faster.__wrapped__, onednn.packing_is_faster.__wrapped__  # type: ignore[attr-defined]
"""The functions themselves, without their caches."""


@pytest.mark.parametrize(
    ("processor", "faster"),
    [
        ("processor\t: 0\nvendor_id\t: AuthenticAMD\ncpu family\t: 25\n", True),
        ("processor\t: 0\nvendor_id\t: GenuineIntel\ncpu family\t: 6\n", False),
        ("processor\t: 0\nBogoMIPS\t: 243.75\nCPU implementer\t: 0x41\n", False),
        (None, True),
    ],
)
def test_the_maker_of_the_processor_says_whether_onednn_is_faster(
    processor: str | None, faster: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    described = tmp_path / "cpuinfo"
    if processor is not None:
        described.write_text(processor)
    monkeypatch.setattr(onednn, "Path", lambda _: described)
    monkeypatch.setattr(onednn.platform, "processor", lambda: "AMD64 Family 25 Model 33 Stepping 2, AuthenticAMD")
    assert IS_FASTER() is faster
    assert PACKING_IS_FASTER() is (processor is not None and "Intel" in processor)


def test_where_mkl_is_faster_float32_is_decoded_without_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onednn, "is_faster", lambda: False)
    with for_decoding(nn.Sequential(model := Conv1D(8, 8)), MANY_STEPS):
        assert own_forwards(model) == [False]
    with for_decoding(model.bfloat16(), MANY_STEPS):
        assert own_forwards(model) == [True]


def enabled(layer: nn.Module) -> nn.Module:
    enable(layer)
    return layer


def own_forwards(model: nn.Module) -> list[bool]:
    """Which layers with a weight have a ``forward`` of their own."""
    return ["forward" in vars(layer) for layer in model.modules() if hasattr(layer, "weight")]


def exact(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    product = x.double() @ weight.double().t()
    return (product if bias is None else product + bias.double()).float()


def operations(call: Callable[[], Tensor]) -> set[str]:
    with profile() as audited:
        call()
    return {event.key for event in audited.key_averages()}


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
    layer, x = enabled(nn.Linear(FEATURES, WIDTH)), torch.randn(30, FEATURES)

    def is_used(layer: nn.Module = layer, x: Tensor = x) -> bool:
        return "aten::mkldnn_linear" in operations(lambda: layer(x))

    assert is_used()
    with torch.no_grad():
        assert is_used()
        assert is_used(x=x[:1])
        assert not is_used(enabled(nn.Linear(FEATURES, 8)))
        assert not is_used(enabled(nn.Linear(FEATURES, WIDTH, dtype=torch.float64)), x.double())
        assert not is_used(nn.Linear(FEATURES, WIDTH))
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
    layer, x = enabled(nn.Linear(FEATURES, WIDTH)), torch.randn(3, 30, FEATURES)

    def loss(weights: dict[str, Tensor], x: Tensor) -> Tensor:
        return torch.func.functional_call(layer, weights, (x,)).square().mean()

    weights = {name: weight.detach() for name, weight in layer.named_parameters()}
    found = torch.vmap(torch.func.grad(loss), (None, 0))(weights, x)
    for number, one in enumerate(x):
        alone = torch.autograd.grad(F.linear(one, layer.weight, layer.bias).square().mean(), list(layer.parameters()))
        assert_close([found[name][number] for name in weights], list(alone), atol=1e-3, rtol=1e-3)


def test_autocast_rounds_as_torch_does() -> None:
    layer, x = enabled(nn.Linear(FEATURES, WIDTH)), torch.randn(30, FEATURES)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert_close(layer(x), F.linear(x, layer.weight, layer.bias))


def test_it_is_compiled_and_exported() -> None:
    layer, x = enabled(nn.Linear(FEATURES, WIDTH)).eval(), torch.randn(30, FEATURES)
    with torch.no_grad():
        expected = layer(x)
        assert_close(torch.compile(layer, backend="eager", fullgraph=True)(x), expected, atol=1e-4, rtol=1e-4)
        assert_close(torch.export.export(layer, (x,)).module()(x), expected, atol=1e-4, rtol=1e-4)


def test_rows_of_another_width_are_refused_as_torch_does() -> None:
    x, weight = torch.randn(30, FEATURES - 1), torch.randn(WIDTH, FEATURES)
    with torch.no_grad(), pytest.raises(RuntimeError, match="cannot be multiplied"):
        linear(x, weight)


# --- The switch -------------------------------------------------------------------------------------------------------


class Scaled(nn.Linear):
    """A layer that computes something else."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


def test_only_layers_that_compute_a_plain_product_in_float32_are_enabled_and_their_class_stays() -> None:
    model = nn.Sequential(
        nn.Linear(2, 2), Conv1D(2, 2), Scaled(2, 2), nn.Linear(2, 2).bfloat16(), nn.Linear(2, 2, device="meta")
    )
    enable(model)
    assert own_forwards(model) == [True, True, False, False, False]
    assert [type(layer) for layer in model[:2]] == [nn.Linear, Conv1D]
    first = vars(model[0])["forward"]
    enable(model)
    assert vars(model[0])["forward"] is first
    disable(model)
    assert not any(own_forwards(model))


def test_a_forward_of_another_library_stays() -> None:
    layer = nn.Linear(2, 2)
    vars(layer)["forward"] = other = lambda x: x
    enable(layer)
    disable(layer)
    with for_decoding(nn.Sequential(layer), MANY_STEPS):
        pass
    assert vars(layer)["forward"] is other


@needs_onednn
def test_functional_products_are_enabled_too() -> None:
    model = nn.ModuleDict({"product": FunctionalLinear()})
    x, weight = torch.randn(30, FEATURES), torch.randn(WIDTH, FEATURES)
    with torch.no_grad():
        assert "aten::mkldnn_linear" not in operations(lambda: model["product"](x, weight))
        enable(model)
        assert "aten::mkldnn_linear" in operations(lambda: model["product"](x, weight))
        assert_close(model["product"](x, weight), exact(x, weight, None), atol=2e-4, rtol=1e-4)
        copied = copy.deepcopy(model)
        disable(model)
        assert "aten::mkldnn_linear" not in operations(lambda: model["product"](x, weight))
        assert "aten::mkldnn_linear" in operations(lambda: copied["product"](x, weight))


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
@pytest.mark.parametrize("name", ["a layer", "a model"])
def test_a_copy_multiplies_with_its_own_weights(name: str, duplicate: Callable[[nn.Module], nn.Module]) -> None:
    layer = nn.Linear(FEATURES, WIDTH)
    model = enabled(layer if name == "a layer" else nn.Sequential(layer))
    other = duplicate(model)
    x = torch.randn(3, FEATURES)
    with torch.no_grad():
        expected = model(x)
        layer.weight.zero_()
        assert_close(other(x), expected)
    assert own_forwards(other) == [True]


def test_an_enabled_layer_is_freed_without_garbage_collection() -> None:
    layer = enabled(nn.Linear(2, 2))
    alive = weakref.ref(layer)
    gc.disable()
    try:
        del layer
        assert alive() is None
    finally:
        gc.enable()


def test_weights_that_were_assigned_later_are_used() -> None:
    layer, x = enabled(nn.Linear(FEATURES, WIDTH)), torch.randn(3, FEATURES)
    layer.weight = nn.Parameter(torch.ones(WIDTH, FEATURES))
    nn.init.zeros_(layer.bias)
    assert_close(layer(x), x.sum(1, keepdim=True).expand(3, WIDTH), atol=1e-4, rtol=1e-4)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:torch.quantize_per_tensor:UserWarning")
def test_tools_that_look_for_linear_layers_find_them() -> None:
    model = enabled(nn.Sequential(nn.Linear(8, 8), nn.ReLU()))
    quantized = torch.ao.quantization.quantize_dynamic(model, {nn.Linear}, dtype=torch.qint8)
    assert type(quantized[0]) is not nn.Linear
    assert quantized(torch.ones(1, 8)).shape == (1, 8)
    pruned = torch.nn.utils.parametrizations.weight_norm(enabled(nn.Linear(8, 8)))
    x = torch.randn(2, 8)
    assert_close(pruned(x), F.linear(x, pruned.weight, pruned.bias))


def test_recomputed_activations_have_the_same_gradients() -> None:
    layer, x = enabled(nn.Linear(FEATURES, WIDTH)), torch.randn(30, FEATURES, requires_grad=True)
    torch.utils.checkpoint.checkpoint(layer, x, use_reentrant=False).square().sum().backward()
    found, x.grad = x.grad, None
    layer(x).square().sum().backward()
    assert_close(found, x.grad)


def test_a_model_that_leaves_float32_or_the_cpu_runs_the_methods_of_its_classes() -> None:
    model = GPT2LMHeadModel(GPT2Config(vocab_size=9, n_positions=8, n_embd=8, n_layer=1, n_head=2))
    layers = [layer for layer in model.modules() if isinstance(layer, (nn.Linear, Conv1D))]
    for convert in (nn.Module.bfloat16, nn.Module.double, lambda model: model.to("meta")):
        model.float() if layers[0].weight.device.type == "cpu" else None
        enable(model)
        assert all("forward" in vars(layer) for layer in layers)
        model.to(torch.float32)
        assert all("forward" in vars(layer) for layer in layers)
        convert(model)
        assert not any("forward" in vars(layer) for layer in layers)


def test_layers_that_are_no_longer_suitable_are_disabled_alone() -> None:
    model = enabled(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)))
    model[1].double()
    disable_unsuitable(model)
    assert own_forwards(model) == [True, False]


# --- Weights (in, out), and decoding ----------------------------------------------------------------------------------


@needs_onednn
def test_many_rows_give_the_same_numbers_and_gradients_as_a_linear_layer() -> None:
    torch.manual_seed(0)
    layer, x = enabled(Conv1D(256, 512)), torch.randn(2, MANY, 256, requires_grad=True)
    plain = nn.Linear(256, 512)
    plain.load_state_dict({"weight": layer.weight.t(), "bias": layer.bias})
    assert "aten::mkldnn_linear" in operations(lambda: layer(x))
    assert "aten::mkldnn_linear" not in operations(lambda: layer(x[:, : MANY // 2 - 1]))
    assert_close(layer(x), plain(x), atol=1e-5, rtol=1e-5)
    layer(x).square().sum().backward()
    found, x.grad = x.grad, None
    plain(x).square().sum().backward()
    assert_close(found, x.grad, atol=1e-4, rtol=1e-4)
    assert_close(layer.weight.grad, plain.weight.grad.t(), atol=1e-4, rtol=1e-4)
    assert_close(layer.bias.grad, plain.bias.grad, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("rows", [1, 8, 200])
@pytest.mark.parametrize("on", [False, True])
def test_transposed_copies_give_the_same_numbers(dtype: torch.dtype, rows: int, on: bool) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(Conv1D(768, 1024), Conv1D(1024, 256)).to(dtype)
    if on:
        enable(model)
    before = [vars(layer).get("forward") for layer in model]
    x = torch.randn(rows, 768, dtype=dtype)
    with torch.inference_mode():
        expected = model(x)
        with for_decoding(model, MANY_STEPS):
            assert all(own_forwards(model))
            assert_close(model(x), expected, atol=1e-5 if dtype == torch.float32 else 1e-2, rtol=1e-2)
            assert_close(copy.deepcopy(model)(x), model(x))
    assert [vars(layer).get("forward") for layer in model] == before


@needs_onednn
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("dtype", PACKED_ROWS)
def test_packed_copies_give_the_same_numbers(dtype: torch.dtype, bias: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if dtype == torch.bfloat16 and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        pytest.skip("oneDNN makes no products of bfloat16 on this processor")
    monkeypatch.setattr(onednn, "packing_is_faster", lambda: True)
    torch.manual_seed(0)
    model = nn.Sequential(Conv1D(64, 96), nn.Linear(96, 80, bias=bias)).to(dtype)
    rows = PACKED_ROWS[dtype][-1]
    close = {"atol": 1e-2, "rtol": 1e-2} if dtype == torch.bfloat16 else {"atol": 1e-5, "rtol": 1e-5}
    x = torch.randn(rows, 3, 64, dtype=dtype)
    with torch.inference_mode():
        expected = model(x)
        with for_decoding(model, STEPS_OF_PACKING[dtype], rows):
            assert all(own_forwards(model))
            assert_close(model(x), expected, **close)
            assert_close(model(x[:1, 0]), expected[:1, 0], **close)
            compiled = torch.compile(model, backend="eager", fullgraph=True)
            assert_close(compiled(x), expected, **close)
            for copied in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
                assert_close(copied(x), model(x))
    assert not any(own_forwards(model))


@needs_onednn
@pytest.mark.parametrize("dtype", PACKED_ROWS)
def test_autocast_computes_with_the_weights_themselves(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():  # then nothing is packed, and there is nothing to compare
        pytest.skip("oneDNN makes no products of bfloat16 on this processor")
    monkeypatch.setattr(onednn, "packing_is_faster", lambda: True)
    torch.manual_seed(0)
    model = nn.Sequential(Conv1D(64, 96), nn.Linear(96, 80)).to(dtype)
    x = torch.randn(8, 64)
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        expected = model(x)
        with for_decoding(model, STEPS_OF_PACKING[dtype], 8):
            assert all(own_forwards(model))
            assert_close(model(x), expected, atol=0, rtol=0)


@needs_onednn
def test_weights_are_packed_only_where_it_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onednn, "packing_is_faster", lambda: True)
    model = nn.Sequential(Conv1D(8, 8), nn.Linear(8, 8), nn.Linear(8, 8, dtype=torch.float64))
    many = STEPS_OF_PACKING[torch.float32]
    for steps, rows, packed in (
        (MANY_STEPS - 1, 8, [False, False, False]),
        (MANY_STEPS, 8, [False, True, False]),
        (many, 8, [True, True, False]),
        (many, 1, [False, False, False]),
        (many, FEW + 1, [False, False, False]),
    ):
        with for_decoding(model, steps, rows):
            assert own_forwards(model) == packed, (steps, rows)
    half = nn.Sequential(Conv1D(8, 8), nn.Linear(8, 8)).to(torch.bfloat16)
    many = STEPS_OF_PACKING[torch.bfloat16]
    supported = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    for steps, rows, wanted in (
        (many - 1, 1, False),
        (many, 1, supported),
        (many, MANY, supported),
        (many, 999, False),
    ):
        with for_decoding(half, steps, rows):
            assert own_forwards(half) == [wanted, wanted], (steps, rows)
    monkeypatch.setattr(torch.backends.mkldnn, "enabled", False)
    with for_decoding(model, many, 8):
        assert not any(own_forwards(model))


class Third(nn.Module):
    """A layer of a third party, with its weight ``(in, out)``."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(8, 8)), None

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight


def test_a_third_partys_layer_takes_part(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = nn.Sequential(Third(), Conv1D(8, 8)), torch.randn(2, 8)
    with for_decoding(model, MANY_STEPS):
        assert own_forwards(model) == [False, True]
    monkeypatch.setattr(onednn, "IN_OUT", {*onednn.IN_OUT, Third.forward})
    expected = model(x)
    with for_decoding(model, MANY_STEPS):
        assert own_forwards(model) == [True, True]
        assert_close(model(x), expected)


def test_weights_are_transposed_only_where_it_pays_and_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    model = nn.Sequential(Conv1D(8, 8), Conv1D(8, 8))
    with for_decoding(model, MANY_STEPS - 1):
        assert own_forwards(model) == [False, False]
    monkeypatch.setattr(onednn, "MOST_BYTES", model[0].weight.nbytes)
    with for_decoding(model, MANY_STEPS):
        assert own_forwards(model) == [True, False]
    with for_decoding(object(), MANY_STEPS):
        pass


def test_no_copy_stays_when_memory_runs_out(monkeypatch: pytest.MonkeyPatch) -> None:
    model = nn.Sequential(Conv1D(8, 8), Conv1D(8, 8))

    def transpose(layer: Conv1D) -> Tensor:
        if layer is model[1]:
            raise MemoryError
        return layer.weight.detach().t().contiguous()

    monkeypatch.setattr(onednn, "_transposed_copy", transpose)
    with pytest.raises(MemoryError), for_decoding(model, MANY_STEPS):
        pass
    assert not any(own_forwards(model))


def test_weights_that_change_are_used_by_the_next_generation() -> None:
    layer, x = Conv1D(8, 8), torch.ones(1, 8)
    with pytest.raises(KeyError), for_decoding(layer, MANY_STEPS):
        raise KeyError
    nn.init.ones_(layer.weight)
    with for_decoding(layer, MANY_STEPS):
        assert (layer(x) == 8).all()


def test_two_threads_leave_no_copy_when_they_decode_with_one_model() -> None:
    layer, begun, ended = enabled(Conv1D(8, 8)), threading.Event(), threading.Event()
    before = vars(layer)["forward"]

    def other() -> None:
        with for_decoding(layer, MANY_STEPS):
            begun.set()
            ended.wait(30)

    with for_decoding(layer, MANY_STEPS):
        thread = threading.Thread(target=other)
        thread.start()
        assert begun.wait(30)
    ended.set()
    thread.join()
    assert vars(layer)["forward"] is before
