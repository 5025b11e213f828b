"""Transformer-XL among the tools of training: autocast, adapters, hooks, gradients for distributed training."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from plugins.transfo_xl.modeling import TransfoXLForSequenceClassification, TransfoXLModel
from registry.loading.model import Model
from registry.nn import onednn

KINDS: dict[str, dict[str, Any]] = {
    "": {},
    "every token sees all": {"same_length": False},
    "pre-norm": {"pre_lnorm": True},
}
each_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
each_type = pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)


# --- Autocast ---------------------------------------------------------------------------------------------------------


@each_type
@each_kind
@pytest.mark.parametrize("div_val", [1, 2])
def test_autocast_keeps_the_numbers_and_the_type_of_hidden_states(make, ids, kind, div_val, dtype) -> None:
    model = make(div_val=div_val, **kind)
    expected = model(ids[:, :9], labels=ids[:, :9], output_hidden_states=True, output_attentions=True)
    with torch.autocast("cpu", dtype=dtype):
        found = model(ids[:, :9], labels=ids[:, :9], output_hidden_states=True, output_attentions=True)
    assert {state.dtype for state in (*found.hidden_states, *found.mems)} == {torch.float32}
    assert found.loss.dtype == torch.float32
    assert_close(found.losses, expected.losses, atol=0.3, rtol=0.05)
    found.loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


@each_type
def test_generation_and_a_memory_cross_the_border_of_autocast(make, ids, dtype) -> None:
    model = make()
    with torch.no_grad():
        plain = model(ids[:, :9]).mems
        with torch.autocast("cpu", dtype=dtype):
            mems = model(ids[:, :9]).mems
            inside = model(ids[:, 9:12], mems=plain).logits
            assert model.generate(ids[:, :9], max_new_tokens=4).shape == (2, 13)
        outside = model(ids[:, 9:12], mems=mems).logits
        expected = model(ids[:, 9:12], mems=plain).logits
    assert outside.dtype == torch.float32
    for found in (inside.float(), outside):
        assert_close(found, expected, atol=0.5, rtol=0.05)


# --- Adapters ---------------------------------------------------------------------------------------------------------


class LowRank(nn.Module):
    """A linear layer and an adapter on it (Hu et al., 2021), without an attribute ``weight``."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        self.base = base
        self.down = nn.Parameter(0.3 * torch.randn(3, base.in_features))
        self.up = nn.Parameter(0.3 * torch.randn(base.out_features, 3))
        self.enabled = True

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + (x @ self.down.T @ self.up.T if self.enabled else 0)

    def merged(self) -> nn.Linear:
        merged = copy.deepcopy(self.base)  # without a tie: nothing else is adapted
        merged.weight.data += (self.up @ self.down).detach()
        return merged


def adapted(model: Any) -> tuple[Any, Any]:
    """The model with adapters on the projections of all layers, and the same with the adapters merged."""
    torch.manual_seed(1)
    for layer in model.transformer.layers:
        for name in ("qkv_net", "r_net", "o_net"):
            setattr(layer.dec_attn, name, LowRank(getattr(layer.dec_attn, name)))
    merged = copy.deepcopy(model)
    for layer in merged.transformer.layers:
        for name in ("qkv_net", "r_net", "o_net"):
            setattr(layer.dec_attn, name, getattr(layer.dec_attn, name).merged())
    return model, merged


@each_kind
@pytest.mark.parametrize("grad", [True, False])
def test_the_memory_is_projected_through_adapters(make, ids, kind, grad) -> None:
    model, merged = adapted(make(**kind))
    mems, others = None, None
    with torch.set_grad_enabled(grad):
        for part in ids.split(7, dim=1):
            found, expected = model(part, mems=mems), merged(part, mems=others)
            assert_close(found.logits, expected.logits, atol=1e-4, rtol=1e-4)
            mems, others = found.mems, expected.mems
        assert_close(list(mems), list(others), atol=1e-4, rtol=1e-4)
    text = model.generate(ids[:, :9], max_new_tokens=8)
    assert torch.equal(text, merged.generate(ids[:, :9], max_new_tokens=8))


@pytest.mark.parametrize("kind", [{}, {"div_val": 1}, {"div_val": 1, "cutoffs": []}], ids=str)
def test_words_are_scored_through_adapters(make, ids, kind) -> None:
    model = make(**kind)
    layers = model.crit.out_layers
    for number, layer in enumerate(layers):
        layers[number] = LowRank(layer)
    merged = copy.deepcopy(model)
    merged.crit.out_layers = nn.ModuleList(layer.merged() for layer in layers)
    assert_close(model(ids).logits, merged(ids).logits, atol=1e-4, rtol=1e-4)
    assert_close(model(ids, labels=ids).losses, merged(ids, labels=ids).losses, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(model(ids).logits, make(**kind)(ids).logits, atol=1e-2)


def test_an_adapter_that_is_switched_off_leaves_nothing_in_the_memory(make, ids) -> None:
    model, _ = adapted(make())
    with torch.no_grad():
        mems = model(ids[:, :9]).mems
        for module in model.modules():
            if isinstance(module, LowRank):
                module.enabled = False
        expected = model(ids[:, 9:12], mems=list(mems)).logits
        assert_close(model(ids[:, 9:12], mems=mems).logits, expected, atol=0, rtol=0)


def test_a_hook_on_a_projection_sees_the_memory(make, ids) -> None:
    model = make(same_length=False)
    net = model.transformer.layers[1].dec_attn.qkv_net
    with torch.no_grad():
        mems = model(ids[:, :9]).mems
        shapes: list[tuple[int, ...]] = []
        handle = net.register_forward_hook(lambda _net, _inputs, output: shapes.append(tuple(output.shape)))
        model(ids[:, 9:12], mems=mems)
        handle.remove()
    assert shapes == [(2, 10 + 3, 96)]


# --- Gradients --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("large", [True, False], ids=["by oneDNN", "by torch"])
@pytest.mark.parametrize("kind", [{}, {"div_val": 1}, {"tie_weight": False, "tie_projs": [False] * 3}], ids=str)
def test_words_that_a_batch_lacks_have_gradients_of_zero(make, ids, kind, large, monkeypatch) -> None:
    """Distributed training waits for a gradient of each parameter."""
    model = make(**kind).train()
    if large:
        monkeypatch.setattr("registry.nn.onednn.LARGE", 0)
        onednn.enable(model)
    model(ids % 7, labels=ids % 7).loss.backward()  # words of the first cluster
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []
    for number, table in enumerate(model.transformer.word_emb.emb_layers):
        rows = table.weight.grad[7:] if "div_val" in kind else table.weight.grad
        tail = kind.get("div_val") == 1 or number > 0
        assert (rows == 0).all() == tail


@pytest.mark.parametrize("cls", [TransfoXLModel, TransfoXLForSequenceClassification])
def test_they_have_in_the_other_classes(make, ids, cls) -> None:
    model = make(cls).train()
    output = model(ids % 7)
    (output.last_hidden_state if cls is TransfoXLModel else output.logits).sum().backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []


def test_nothing_is_computed_for_absent_words_without_gradients(make, ids) -> None:
    model, used = make(), []
    for number, table in enumerate(model.transformer.word_emb.emb_layers):
        table.register_forward_hook(lambda *_, number=number: used.append(number))
    with torch.no_grad():
        model(ids % 7)
    assert used == [0]


@pytest.mark.parametrize(
    "kind", [{"mem_len": 0}, {"mem_len": 0, "same_length": False}, {"same_length": False}], ids=str
)
def test_padding_makes_no_nan(make, ids, kind) -> None:
    model = make(**kind).train()
    mask = torch.ones_like(ids)
    mask[1, :4] = 0
    output = model(ids, attention_mask=mask, labels=ids, output_attentions=True)
    assert all(weights.isfinite().all() for weights in output.attentions)
    output.loss.backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


@pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning")  # torch's, of attention under vmap
def test_gradients_of_each_text_under_vmap_are_those_of_the_text_alone(make, ids) -> None:
    model = make()
    weights = {key: value.detach() for key, value in model.named_parameters()}

    def loss_of(weights: dict[str, Tensor], text: Tensor) -> Tensor:
        return torch.func.functional_call(model, weights, (text[None],), {"labels": text[None]}).loss

    found = torch.func.vmap(torch.func.grad(loss_of), (None, 0))(weights, ids)
    for number in range(len(ids)):
        model.zero_grad()
        loss_of(dict(model.named_parameters()), ids[number]).backward()
        for key, parameter in model.named_parameters():
            assert_close(found[key][number], parameter.grad, atol=1e-5, rtol=1e-4)


@pytest.mark.filterwarnings("ignore:Full backward hook is firing:UserWarning")  # of modules that take ids
def test_a_full_backward_hook_may_be_on_every_module(make, ids) -> None:
    def gradients(model: Any) -> list[Tensor]:
        model(ids, labels=ids).loss.backward()
        return [parameter.grad for parameter in model.parameters()]

    hooked, calls = make(), []
    for module in hooked.modules():
        if not isinstance(module, (nn.ModuleList, nn.ParameterList, Model)):  # torch wants outputs that are tensors
            module.register_full_backward_hook(lambda module, *_: calls.append(type(module).__name__))
    assert_close(gradients(hooked), gradients(make()), atol=1e-5, rtol=1e-4)
    assert calls.count("Linear") >= 3 * 5
