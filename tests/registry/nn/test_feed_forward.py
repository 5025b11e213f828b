"""Feed-forward networks and mixtures of experts, beside their formulas."""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import silu
from torch.testing import assert_close

from registry.nn.feed_forward import Experts, FeedForward, GatedFeedForward, MixtureOfExperts

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


def test_networks_have_the_names_that_they_are_given_and_compute_their_formulas() -> None:
    torch.manual_seed(2)
    plain = FeedForward(WIDTH, INNER, torch.relu, names=("fc1", "fc2"))
    gated = GatedFeedForward(WIDTH, INNER, silu, names=("w1", "w3", "w2"))
    assert sorted(plain.state_dict()) == ["fc1.bias", "fc1.weight", "fc2.bias", "fc2.weight"]
    assert sorted(gated.state_dict()) == ["w1.weight", "w2.weight", "w3.weight"]
    x = torch.randn(2, 6, WIDTH)
    fc1, fc2 = plain.get_submodule("fc1"), plain.get_submodule("fc2")
    assert_close(plain(x), (x @ fc1.weight.T + fc1.bias).clamp(min=0) @ fc2.weight.T + fc2.bias)
    w1, w2, w3 = (gated.get_submodule(name).weight for name in ("w1", "w2", "w3"))
    assert_close(gated(x), (silu(x @ w1.T) * (x @ w3.T)) @ w2.T)


def test_features_inside_are_dropped_in_training_alone() -> None:
    for layer in (
        FeedForward(WIDTH, INNER, torch.relu, bias=False, dropout=1.0),
        GatedFeedForward(WIDTH, INNER, silu, dropout=1.0),
    ):
        x = torch.ones(1, WIDTH)
        assert not layer.train()(x).any()
        assert layer.eval()(x).any()
