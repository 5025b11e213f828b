"""Gated networks and mixtures of experts, beside their formulas."""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import silu
from torch.testing import assert_close

from registry.nn.feed_forward import Experts, GatedFeedForward, MixtureOfExperts

NUMBER, WIDTH, INNER = 5, 4, 3


@pytest.fixture
def mixture() -> MixtureOfExperts:
    torch.manual_seed(0)
    layer = MixtureOfExperts(Experts(NUMBER, WIDTH, INNER, silu), top=2).double()
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter)
    return layer


def formula(layer: MixtureOfExperts, x: Tensor) -> Tensor:
    """The sum over all experts; weights are zero but for those chosen (Shazeer et al., 2017, equations 1 to 5)."""
    experts = layer.experts
    gate, up = torch.einsum("td,eid->tei", x, experts.gate_up_proj).split(INNER, dim=-1)
    every = torch.einsum("tei,edi->ted", silu(gate) * up, experts.down_proj)
    scores = (x @ layer.gate.weight.T).softmax(-1)
    kept = scores >= scores.topk(2).values[:, -1:]
    weights = scores * kept
    return torch.einsum("te,ted->td", weights / weights.sum(-1, keepdim=True), every)


@pytest.mark.parametrize("shape", [(7, WIDTH), (2, 3, WIDTH), (1, 1, WIDTH)])
def test_it_is_the_weighted_sum_of_the_chosen_experts(mixture: MixtureOfExperts, shape: tuple[int, ...]) -> None:
    x = torch.randn(shape, dtype=torch.float64)
    assert_close(mixture(x), formula(mixture, x.flatten(0, -2)).view(shape), atol=1e-6, rtol=1e-6)


def test_gradients_are_those_of_the_formula(mixture: MixtureOfExperts) -> None:
    x = torch.randn(6, WIDTH, dtype=torch.float64)
    for layer in (mixture, lambda x: formula(mixture, x)):
        mixture.zero_grad()
        layer(x).square().sum().backward()
        found = [parameter.grad for parameter in mixture.parameters() if parameter.grad is not None]
        assert len(found) == 3
        if layer is mixture:
            ours = [gradient.clone() for gradient in found]
    for one, other in zip(ours, found, strict=True):
        assert_close(one, other, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("rescale", [False, True])
def test_a_shared_expert_computes_every_token_by_its_own_gate(rescale: bool) -> None:
    torch.manual_seed(0)
    shared = GatedFeedForward(WIDTH, 6, silu)
    layer = MixtureOfExperts(Experts(NUMBER, WIDTH, INNER, silu), top=2, rescale=rescale, shared=shared).double()
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter)
    x = torch.randn(7, WIDTH, dtype=torch.float64)
    scores = (x @ layer.gate.weight.T).softmax(-1).topk(2).values.sum(-1, keepdim=True)
    of_experts = formula(layer, x) * (1.0 if rescale else scores)
    of_shared = (silu(x @ shared.gate_proj.weight.T) * (x @ shared.up_proj.weight.T)) @ shared.down_proj.weight.T
    gate = torch.sigmoid(x @ layer.shared_expert_gate.weight.T)
    assert_close(layer(x), of_experts + gate * of_shared, atol=1e-5, rtol=1e-5)
