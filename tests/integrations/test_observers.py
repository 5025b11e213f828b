"""Libraries that look at single modules: captum explains, opacus trains in private.  Padding changes nothing."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from registry.zoo import (
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
)

pytestmark = pytest.mark.integrations

BERT = BertConfig(
    vocab_size=61,
    hidden_size=16,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=20,
    max_position_embeddings=8,  # as many as there are tokens: a wrong axis would fit
    hidden_dropout_prob=0.0,
    attention_probs_dropout_prob=0.0,
    initializer_range=0.3,
)
GPT2 = GPT2Config(vocab_size=61, n_embd=16, n_layer=2, n_head=2, n_positions=8, initializer_range=0.3)
GPT2 = GPT2.replace(attn_pdrop=0.0, embd_pdrop=0.0, resid_pdrop=0.0)
IDS = torch.randint(5, 61, (8, 8), generator=torch.Generator().manual_seed(0))
MASK = (torch.arange(8) < torch.tensor([8, 5, 2, 8, 1, 3, 7, 8])[:, None]).long()


def one(number: int) -> tuple[Tensor, Tensor]:
    """A text alone, without its padding."""
    tokens = int(MASK[number].sum())
    return IDS[number : number + 1, :tokens], MASK[number : number + 1, :tokens]


# --- captum -----------------------------------------------------------------------------------------------------------

LAYERS: dict[str, Callable[[Any], nn.Module]] = {
    "words": lambda model: model.bert.embeddings.word_embeddings,
    "embeddings": lambda model: model.bert.embeddings,
    "a layer": lambda model: model.bert.encoder.layer[1],
    "a projection": lambda model: model.bert.encoder.layer[0].attention.self.query,
}


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.filterwarnings("ignore:Setting (forward|backward).*:UserWarning")
def test_captum_attributes_a_padded_batch_as_each_text_alone(layer: str) -> None:
    attr = pytest.importorskip("captum.attr", reason="the extra `integrations` is not installed")
    torch.manual_seed(0)
    model = BertForSequenceClassification(BERT).eval()

    def score(ids: Tensor, mask: Tensor) -> Tensor:
        return model(ids, attention_mask=mask).logits[:, 0]

    module = LAYERS[layer](model)
    gradients = attr.LayerIntegratedGradients(score, module)
    found = attr.LayerActivation(score, module).attribute(IDS, additional_forward_args=(MASK,))
    scores = gradients.attribute(IDS, IDS * 0, additional_forward_args=(MASK,), n_steps=5)
    assert found.shape == scores.shape == (8, 8, 16)
    for number in range(8):
        ids, mask = one(number)
        tokens = ids.shape[1]
        alone = attr.LayerActivation(score, module).attribute(ids, additional_forward_args=(mask,))
        assert_close(found[number : number + 1, :tokens], alone, atol=1e-5, rtol=1e-4)
        alone = gradients.attribute(ids, ids * 0, additional_forward_args=(mask,), n_steps=5)
        assert_close(scores[number : number + 1, :tokens], alone, atol=1e-5, rtol=1e-4)
        assert scores[number, tokens:].count_nonzero() == 0


# --- opacus -----------------------------------------------------------------------------------------------------------


def loss_of(model: nn.Module, ids: Tensor, mask: Tensor) -> Tensor:
    logits = model(ids, attention_mask=mask).logits
    known = mask if logits.dim() == 3 else mask[:, 0]
    return (logits.square().sum(-1) * known).sum()


@pytest.mark.parametrize(
    "make", [lambda: BertForSequenceClassification(BERT), lambda: BertForMaskedLM(BERT), lambda: GPT2LMHeadModel(GPT2)]
)
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning", "ignore::DeprecationWarning")
def test_opacus_finds_the_gradient_of_each_text(make: Callable[[], Any]) -> None:
    opacus = pytest.importorskip("opacus", reason="the extra `integrations` is not installed")
    torch.manual_seed(0)
    model = make()
    alone = []
    for number in range(8):
        model.zero_grad()
        loss_of(model, *one(number)).backward()
        alone.append({name: parameter.grad for name, parameter in model.named_parameters()})
    model.zero_grad()
    loss_of(opacus.GradSampleModule(model, loss_reduction="sum"), IDS, MASK).backward()
    for name, parameter in model.named_parameters():
        expected = [torch.zeros_like(parameter) if each[name] is None else each[name] for each in alone]
        assert_close(parameter.grad_sample, torch.stack(expected), atol=1e-4, rtol=1e-4, msg=lambda t, n=name: n + t)
