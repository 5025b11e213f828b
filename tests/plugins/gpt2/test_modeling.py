"""What GPT-2 has of its own: pytorch-pretrained-bert's numbers, and how weights are initialized."""

import warnings
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from plugins.gpt2 import modeling
from plugins.gpt2.config import GPT2Config

SIZES: dict[str, Any] = {"n_positions": 20, "n_embd": 24, "n_layer": 3, "n_head": 4, "initializer_range": 0.3}
VOCABULARY = 61
NAMES = ("GPT2Model", "GPT2LMHeadModel", "GPT2DoubleHeadsModel")


@pytest.fixture
def pretrained_bert() -> ModuleType:
    """pytorch-pretrained-bert 0.6.2, which imports with warnings of its own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("pytorch_pretrained_bert")


@pytest.fixture
def ids() -> Tensor:
    return torch.randint(0, VOCABULARY, (4, 9), generator=torch.Generator().manual_seed(0))


def our(name: str) -> Any:
    torch.manual_seed(0)
    model = getattr(modeling, name)(GPT2Config(vocab_size=VOCABULARY, **SIZES)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def in_pretrained_bert(pretrained_bert: ModuleType, name: str, ours: Any) -> Any:
    theirs = getattr(pretrained_bert, name)(pretrained_bert.GPT2Config(VOCABULARY, n_ctx=20, **SIZES)).eval()
    state = {
        key.replace("lm_head.", "lm_head.decoder.").replace("_head.summary.", "_head.linear."): tensor
        for key, tensor in ours.state_dict().items()
    }
    missing, unexpected = theirs.load_state_dict(state, strict=False)
    assert unexpected == []
    assert all(key.endswith(".attn.bias") for key in missing)
    return theirs


@pytest.mark.parametrize("name", NAMES[:2])
def test_every_number_is_that_of_pytorch_pretrained_bert_with_and_without_a_past(
    name: str, pretrained_bert: ModuleType, ids: Tensor
) -> None:
    ours = our(name)
    theirs = in_pretrained_bert(pretrained_bert, name, ours)
    types, positions = ids.flip(0), torch.arange(2, 11)
    options = {"token_type_ids": types, "position_ids": positions.expand(4, -1)}
    assert_close(ours(ids, **options)[0], theirs(ids, **options)[0], atol=1e-5, rtol=0)
    mine, other = None, None
    for piece in ids.split((5, 1, 3), dim=1):
        output = ours(piece, past_key_values=mine)
        scores, other = theirs(piece, past=other)
        mine = output.past_key_values
        assert_close(output[0], scores, atol=1e-5, rtol=0)
        for pair, stacked in zip(mine, other, strict=True):
            assert_close(torch.stack(pair), stacked, atol=1e-5, rtol=0)
    assert_close(
        ours(ids[:, :1], past_key_values=other)[0],
        theirs(ids[:, :1], past=other)[0],
        atol=1e-5,
        rtol=0,
    )


def test_losses_are_those_of_pytorch_pretrained_bert_but_for_its_double_heads_which_shifted_the_choices(
    pretrained_bert: ModuleType, ids: Tensor
) -> None:
    ours = our("GPT2LMHeadModel")
    labels = ids.masked_fill(ids % 3 == 0, -1)
    theirs = in_pretrained_bert(pretrained_bert, "GPT2LMHeadModel", ours)
    assert_close(ours(ids, labels=labels).loss, theirs(ids, lm_labels=labels), atol=1e-5, rtol=0)

    double = our("GPT2DoubleHeadsModel")
    theirs = in_pretrained_bert(pretrained_bert, "GPT2DoubleHeadsModel", double)
    choices, numbers, right = ids.view(2, 2, 9), torch.tensor([[8, 3], [0, 4]]), torch.tensor([1, 0])
    found = double(choices, mc_token_ids=numbers, labels=choices, mc_labels=right)
    logits, mc_logits, _ = theirs(choices, numbers)
    assert_close((found.logits, found.mc_logits), (logits, mc_logits), atol=1e-5, rtol=0)
    assert_close(found.mc_loss, theirs(choices, numbers, mc_labels=right)[0], atol=1e-5, rtol=0)
    expected = -logits[..., :-1, :].log_softmax(-1).gather(-1, choices[..., 1:, None]).mean()
    assert_close(found.loss, expected, atol=1e-5, rtol=0)


def test_an_embedding_for_special_tokens_lies_behind_the_vocabulary() -> None:
    model = modeling.GPT2LMHeadModel(GPT2Config(vocab_size=VOCABULARY, n_special=2, **SIZES))
    assert model(torch.tensor([60, 62])).logits.shape == (2, 63)


@pytest.mark.parametrize("name", NAMES)
def test_new_weights_are_drawn_as_the_paper_says(name: str) -> None:
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=500, **{**SIZES, "n_embd": 64, "initializer_range": 0.02})
    model = getattr(modeling, name)(config)
    for key, parameter in model.named_parameters():
        if key.endswith("bias"):
            assert (parameter == 0).all(), key
        elif "ln_" in key:
            assert (parameter == 1).all(), key
        elif parameter.numel() > 1000:
            wanted = 0.02 / 6**0.5 if "c_proj" in key else 0.02  # two sums in each of three blocks
            assert abs(parameter.std() / wanted - 1) < 0.1, key
    trunk = model if name == "GPT2Model" else model.transformer
    assert not trunk.h[0].attn.c_attn.weight.equal(trunk.h[1].attn.c_attn.weight)
