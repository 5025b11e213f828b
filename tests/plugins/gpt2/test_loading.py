"""The rules of loading, on GPT and GPT-2: every spelling that published files have, into every class."""

import re
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from plugins.gpt.config import OpenAIGPTConfig
from plugins.gpt.modeling import OpenAIGPTDoubleHeadsModel, OpenAIGPTLMHeadModel, OpenAIGPTModel
from plugins.gpt2.config import GPT2Config
from plugins.gpt2.modeling import GPT2DoubleHeadsModel, GPT2LMHeadModel, GPT2Model
from registry.errors import UntrainedWarning, WeightsMismatchError

TRUNKS = (GPT2Model, OpenAIGPTModel)
HEADS = (GPT2LMHeadModel, GPT2DoubleHeadsModel, OpenAIGPTLMHeadModel, OpenAIGPTDoubleHeadsModel)
SIZES = {"vocab_size": 61, "n_positions": 20, "n_embd": 24, "n_layer": 3, "n_head": 4}
State = dict[str, Tensor]


def config_of(cls: Any) -> Any:
    return (GPT2Config if cls.config_class is GPT2Config else OpenAIGPTConfig)(**SIZES)


def trunk_of(cls: Any) -> Any:
    return GPT2Model if cls.config_class is GPT2Config else OpenAIGPTModel


def fresh(cls: Any) -> Any:
    torch.manual_seed(1)
    model = cls(config_of(cls))
    with torch.no_grad():  # no parameter may look like another, nor like a fresh one
        for parameter in model.parameters():
            parameter.normal_()
    return model.eval()


def load(cls: Any, state: State, folder: Path, **options: Any) -> Any:
    """Load ``state`` from a file, as a user would."""
    folder.mkdir(exist_ok=True)
    config_of(cls).to_json_file(folder / "config.json")
    torch.save(state, folder / "pytorch_model.bin")
    return cls.from_pretrained(folder, **options)


def untrained(new: bool) -> Any:
    """The warning of newly initialized parts, where there are some."""
    return pytest.warns(UntrainedWarning, match="newly initialized") if new else nullcontext()


def prefix_of(state: State) -> str:
    return "transformer." if any(name.startswith("transformer.") for name in state) else ""


def openais_words(state: State) -> State:
    """As in files that were made of OpenAI's: ``ln_1.g``, ``ln_1.b``, ``c_attn.w``, ``c_attn.b``."""
    words = [(r"(ln_\w)\.weight$", r"\1.g"), (r"(c_\w+)\.weight$", r"\1.w"), (r"((?:ln|c)_\w+)\.bias$", r"\1.b")]
    renamed = {}
    for name, tensor in state.items():
        for pattern, word in words:
            name = re.sub(pattern, word, name)
        renamed[name] = tensor
    return renamed


def with_mask_buffers(state: State) -> State:
    triangle = torch.ones(20, 20).tril().view(1, 1, 20, 20)
    buffers = {}
    for i in range(SIZES["n_layer"]):
        buffers[f"{prefix_of(state)}h.{i}.attn.bias"] = triangle
        buffers[f"{prefix_of(state)}h.{i}.attn.masked_bias"] = torch.tensor(-1e4)
    return {**state, **buffers}


def wrapped(state: State) -> State:
    return {f"module.{name}": tensor for name, tensor in state.items()}


def in_pretrained_bert(state: State) -> State:
    """``lm_head.decoder.weight`` and ``multiple_choice_head.linear``."""
    return {
        name.replace("lm_head.", "lm_head.decoder.").replace("_head.summary.", "_head.linear."): tensor
        for name, tensor in state.items()
    }


def untied_copy(state: State) -> State:
    return {name: tensor.clone() for name, tensor in state.items()}


def head_left_out(state: State) -> State:
    return {name: tensor for name, tensor in state.items() if name != "lm_head.weight"}


def only_the_head(state: State) -> State:
    """As transformers saves GPT's double heads."""
    return {name: tensor for name, tensor in state.items() if not name.endswith(("wte.weight", "tokens_embed.weight"))}


SPELLINGS: tuple[Callable[[State], State], ...] = (dict, openais_words, with_mask_buffers, wrapped)
TIES: tuple[Callable[[State], State], ...] = (dict, untied_copy, head_left_out, only_the_head, in_pretrained_bert)


def assert_same(model: Any, expected: Any) -> None:
    state = expected.state_dict()
    assert [name for name, tensor in model.state_dict().items() if not tensor.equal(state[name])] == []


@pytest.mark.parametrize("tie", TIES)
@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("cls", HEADS)
def test_a_head_checkpoint_loads_in_every_spelling(
    cls: Any, spelling: Callable[[State], State], tie: Callable[[State], State], tmp_path: Path
) -> None:
    model = fresh(cls)
    loaded = load(cls, spelling(tie(dict(model.state_dict()))), tmp_path / "m")
    assert_same(loaded, model)
    table = loaded.transformer.wte if cls.config_class is GPT2Config else loaded.transformer.tokens_embed
    assert loaded.lm_head.weight is table.weight
    report = loaded.load_report
    assert report.new == report.missing == report.unexpected == ()


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("prefixed", [True, False])
@pytest.mark.parametrize("cls", [*TRUNKS, *HEADS])
def test_a_bare_checkpoint_fills_the_trunk_of_every_class(
    cls: Any, prefixed: bool, spelling: Callable[[State], State], tmp_path: Path
) -> None:
    bare = fresh(trunk_of(cls))
    state = {("transformer." if prefixed else "") + name: tensor for name, tensor in bare.state_dict().items()}
    with untrained("Double" in cls.__name__):
        loaded = load(cls, spelling(state), tmp_path / "m")
    assert_same(loaded if cls in TRUNKS else loaded.transformer, bare)
    choice = ("multiple_choice_head.summary.weight", "multiple_choice_head.summary.bias")
    assert loaded.load_report.new == (choice if "Double" in cls.__name__ else ())


@pytest.mark.parametrize("tie", TIES)
@pytest.mark.parametrize("cls", HEADS)
def test_a_head_checkpoint_fills_the_bare_model(cls: Any, tie: Callable[[State], State], tmp_path: Path) -> None:
    model = fresh(cls)
    loaded = load(trunk_of(cls), tie(dict(model.state_dict())), tmp_path / "m")
    assert_same(loaded, model.transformer)
    assert loaded.load_report.new == loaded.load_report.unexpected == ()


def test_the_choice_head_is_left_out_where_there_is_none(tmp_path: Path) -> None:
    for cls, other in ((GPT2DoubleHeadsModel, GPT2LMHeadModel), (OpenAIGPTDoubleHeadsModel, OpenAIGPTLMHeadModel)):
        report = load(other, dict(fresh(cls).state_dict()), tmp_path / cls.__name__).load_report
        assert set(report.dropped) == {"multiple_choice_head.summary.weight", "multiple_choice_head.summary.bias"}


@pytest.mark.parametrize("cls", [*TRUNKS, *HEADS])
def test_a_bias_is_no_mask_and_a_mask_no_bias(cls: Any, tmp_path: Path) -> None:
    state = with_mask_buffers(dict(fresh(cls).state_dict()))
    loaded = load(cls, state, tmp_path / "m")
    assert len(loaded.load_report.dropped) == 2 * SIZES["n_layer"]
    name = f"{prefix_of(state)}h.1.attn.c_attn.bias"
    assert name in loaded.load_report.loaded
    del state[name]
    with pytest.raises(WeightsMismatchError, match=r"h\.1\.attn\.c_attn\.bias"):
        load(cls, state, tmp_path / "n")


@pytest.mark.parametrize("cls", [*TRUNKS, *HEADS])
def test_a_position_table_of_another_length_is_an_error_that_says_so(cls: Any, tmp_path: Path) -> None:
    state = dict(fresh(cls).state_dict())
    name = next(name for name in state if name.endswith(("wpe.weight", "positions_embed.weight")))
    state[name] = torch.zeros(30, 24)
    with pytest.raises(WeightsMismatchError) as caught:
        load(cls, state, tmp_path / "m")
    assert f"{name} ((30, 24) in the file, (20, 24) in the model)" in str(caught.value)
    assert load(cls, state, tmp_path / "m", n_positions=30).state_dict()[name].shape == (30, 24)


def test_a_head_that_differs_from_the_embedding_is_an_error(tmp_path: Path) -> None:
    state = untied_copy(dict(fresh(GPT2LMHeadModel).state_dict()))
    state["lm_head.weight"][0, 0] += 1
    with pytest.raises(WeightsMismatchError, match="tied, but not equal"):
        load(GPT2LMHeadModel, state, tmp_path / "m")


def test_weights_of_the_other_architecture_are_refused(tmp_path: Path) -> None:
    state = dict(fresh(OpenAIGPTModel).state_dict())
    with pytest.raises(WeightsMismatchError, match="tokens_embed"):
        load(GPT2Model, state, tmp_path / "m")
