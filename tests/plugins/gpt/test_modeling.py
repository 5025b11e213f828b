"""What GPT has of its own: pytorch-pretrained-bert's numbers, special tokens, and how weights are initialized."""

import copy
import pickle
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

import registry
from plugins.gpt import modeling
from plugins.gpt.config import OpenAIGPTConfig
from registry.errors import ConfigError, WeightsMismatchError

SIZES: dict[str, Any] = {"n_positions": 20, "n_embd": 24, "n_layer": 3, "n_head": 4, "initializer_range": 0.3}
VOCABULARY = 61
NAMES = ("OpenAIGPTModel", "OpenAIGPTLMHeadModel", "OpenAIGPTDoubleHeadsModel")

each_class = pytest.mark.parametrize("name", NAMES)


@pytest.fixture
def pretrained_bert() -> ModuleType:
    """pytorch-pretrained-bert 0.6.2, which imports with warnings of its own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("pytorch_pretrained_bert")


@pytest.fixture
def ids() -> Tensor:
    return torch.randint(0, VOCABULARY, (4, 9), generator=torch.Generator().manual_seed(0))


def our(name: str, **changes: Any) -> Any:
    torch.manual_seed(0)
    config = OpenAIGPTConfig(**{"vocab_size": VOCABULARY, **SIZES, **changes})
    model = getattr(modeling, name)(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def table_of(model: Any) -> Tensor:
    return getattr(model, "transformer", model).tokens_embed.weight


# --- pytorch-pretrained-bert ------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:dropout2d")  # of its choice head
@each_class
def test_every_number_is_that_of_pytorch_pretrained_bert(name: str, pretrained_bert: ModuleType, ids: Tensor) -> None:
    ours = our(name, n_special=3)
    theirs = getattr(pretrained_bert, name)(
        pretrained_bert.OpenAIGPTConfig(VOCABULARY, n_special=3, n_ctx=20, **SIZES)
    ).eval()
    state = {
        key.replace("lm_head.", "lm_head.decoder.").replace("_head.summary.", "_head.linear."): tensor
        for key, tensor in ours.state_dict().items()
    }
    assert theirs.load_state_dict(state, strict=False).unexpected_keys == []
    types = torch.full_like(ids, VOCABULARY + 1)
    if "Double" not in name:
        expected = theirs(ids, token_type_ids=types)
        assert_close(ours(ids, token_type_ids=types)[0], expected, atol=1e-5, rtol=0)
    if name == "OpenAIGPTLMHeadModel":
        labels = ids.masked_fill(ids % 3 == 0, -1)
        assert_close(ours(ids, labels=labels).loss, theirs(ids, lm_labels=labels), atol=1e-5, rtol=0)
    if "Double" in name:
        choices, numbers, right = ids.view(2, 2, 9), torch.tensor([[8, 3], [0, 4]]), torch.tensor([1, 0])
        found = ours(choices, mc_token_ids=numbers, labels=choices, mc_labels=right)
        expected = theirs(choices, numbers, lm_labels=choices, mc_labels=right)
        assert_close([found.loss, found.mc_loss], expected, atol=1e-5, rtol=0)
        assert_close((found.logits, found.mc_logits), theirs(choices, numbers), atol=1e-5, rtol=0)


# --- Special tokens ---------------------------------------------------------------------------------------------------


@each_class
def test_special_tokens_get_rows_behind_the_vocabulary(name: str, ids: Tensor) -> None:
    model = our(name)
    before, expected = table_of(model).clone(), model(ids)
    model.set_num_special_tokens(3)
    assert table_of(model).shape == (64, 24)
    assert_close(table_of(model)[:61], before, atol=0, rtol=0)
    assert 0.1 < table_of(model)[61:].std() < 0.6
    assert model.config.n_special == model.config.total_tokens_embeddings - 61 == 3
    found = model(torch.full((2,), 63))
    if name == "OpenAIGPTModel":
        assert_close(model(ids)[0], expected[0])
    else:
        assert model.lm_head.weight is table_of(model)
        assert found.logits.shape == (2, 64)
        assert (model.lm_head.out_features, model.transformer.config) == (64, model.config)
        assert_close(model(ids).logits[..., :61], expected.logits)


@each_class
def test_special_tokens_that_stay_keep_their_rows(name: str) -> None:
    model = our(name)
    model.set_num_special_tokens(3)
    three = table_of(model).clone()
    model.set_num_special_tokens(3)
    assert_close(table_of(model), three, atol=0, rtol=0)
    model.set_num_special_tokens(5)
    assert_close(table_of(model)[:64], three, atol=0, rtol=0)
    model.set_num_special_tokens(1)
    assert_close(table_of(model), three[:62], atol=0, rtol=0)
    model.double().set_num_special_tokens(2)
    assert table_of(model).dtype == torch.float64
    with pytest.raises(ConfigError, match="n_special"):
        model.set_num_special_tokens(-1)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert table_of(other).equal(table_of(model))


@each_class
def test_special_tokens_are_asked_for_while_loading(name: str, tmp_path: Path) -> None:
    model = our(name)
    registry.save(model, tmp_path / "plain")
    cls = type(model)
    task = {"OpenAIGPTModel": "base", "OpenAIGPTLMHeadModel": "causal-lm"}.get(name, "double-heads")
    for loaded in (
        cls.from_pretrained(tmp_path / "plain", num_special_tokens=3),
        registry.load_model(tmp_path / "plain", task, num_special_tokens=3),
    ):
        assert table_of(loaded).shape == (64, 24)
        assert_close(table_of(loaded)[:61], table_of(model), atol=0, rtol=0)
        assert not loaded.training
    registry.save(loaded, tmp_path / "special")
    again = cls.from_pretrained(tmp_path / "special")
    assert_close(table_of(again), table_of(loaded), atol=0, rtol=0)
    assert table_of(cls.from_pretrained(tmp_path / "special", num_special_tokens=3)).equal(table_of(loaded))
    assert table_of(cls.from_pretrained(tmp_path / "special", num_special_tokens=0)).equal(table_of(model))
    with pytest.raises(WeightsMismatchError, match="tokens_embed"):
        cls.from_pretrained(tmp_path / "plain", n_special=3)


# --- Initialisation ---------------------------------------------------------------------------------------------------


@each_class
def test_new_weights_are_drawn_as_the_paper_says(name: str) -> None:
    torch.manual_seed(0)
    sizes = {**SIZES, "vocab_size": 500, "n_embd": 64, "initializer_range": 0.02}
    model = getattr(modeling, name)(OpenAIGPTConfig(**sizes))
    for key, parameter in model.named_parameters():
        if key.endswith("bias"):
            assert (parameter == 0).all(), key
        elif "ln_" in key:
            assert (parameter == 1).all(), key
        elif parameter.numel() > 1000:
            assert abs(parameter.std() / 0.02 - 1) < 0.1, key
    trunk = getattr(model, "transformer", model)
    assert not trunk.h[0].attn.c_attn.weight.equal(trunk.h[1].attn.c_attn.weight)
